//! Rows that another index says may match, from a TIDBitmap.

use crate::allow_list::AllowList;
use pgrx::pg_sys::{self, BlockNumber};

/// Copies a bitmap.
///
/// # Safety
/// `bitmap` is valid and nobody iterates over it.
pub unsafe fn of(bitmap: *mut pg_sys::TIDBitmap) -> AllowList {
    let mut list = AllowList::default();
    // SAFETY: as promised by the caller.
    unsafe {
        each_page(bitmap, |block, offsets| {
            pgrx::check_for_interrupts!();
            list.push(block, offsets);
        });
    }
    list
}

/// Calls `f` for every page of a bitmap, in the order of the table; with no offsets for a page all of
/// whose rows may match.
///
/// # Safety
/// As [`of`].
#[cfg(not(feature = "pg18"))]
unsafe fn each_page(
    bitmap: *mut pg_sys::TIDBitmap,
    mut f: impl FnMut(BlockNumber, Option<&[u16]>),
) {
    // SAFETY: a page found is valid until the next one is asked for.
    unsafe {
        let iterator = pg_sys::tbm_begin_iterate(bitmap);
        while let Some(page) = pg_sys::tbm_iterate(iterator).as_ref() {
            let offsets = (page.ntuples >= 0).then(|| page.offsets.as_slice(page.ntuples as usize));
            f(page.blockno, offsets);
        }
        pg_sys::tbm_end_iterate(iterator);
    }
}

/// Calls `f` for every page of a bitmap, in the order of the table; with no offsets for a page all of
/// whose rows may match.
///
/// # Safety
/// As [`of`].
#[cfg(feature = "pg18")]
unsafe fn each_page(
    bitmap: *mut pg_sys::TIDBitmap,
    mut f: impl FnMut(BlockNumber, Option<&[u16]>),
) {
    let mut offsets = [0u16; 2048];
    // SAFETY: as promised by the caller; a page has no more line pointers than `offsets` has room.
    unsafe {
        let iterator = pg_sys::tbm_begin_private_iterate(bitmap);
        let mut page = pg_sys::TBMIterateResult::default();
        while pg_sys::tbm_private_iterate(iterator, &raw mut page) {
            if page.lossy {
                f(page.blockno, None);
                continue;
            }
            let count = pg_sys::tbm_extract_page_tuple(
                &raw mut page,
                offsets.as_mut_ptr(),
                offsets.len() as u32,
            );
            f(page.blockno, Some(&offsets[..count as usize]));
        }
        pg_sys::tbm_end_private_iterate(iterator);
    }
}
