//! The rows that another index says may match: addresses of heap tuples, from a TIDBitmap.

use crate::hnsw::format::RawTid;
use pgrx::pg_sys::{self, BlockNumber};

/// Line pointers of a page that are told apart; beyond, and on pages of which the bitmap knows no
/// more than that they have matches, all rows count as allowed.
const OFFSETS: usize = 320;
type Offsets = [u64; OFFSETS / 64];
const ALL: Offsets = [u64::MAX; OFFSETS / 64];

/// Addresses of rows. It may have more than match, never fewer: whoever uses it puts the rows to
/// their conditions all the same.
#[derive(Debug, Default)]
pub struct AllowList {
    /// by block number
    pages: Vec<(BlockNumber, Offsets)>,
    rows: usize,
    lossy_pages: usize,
}

impl AllowList {
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

    fn push(&mut self, block: BlockNumber, offsets: Option<&[u16]>) {
        let known = offsets.filter(|all| all.iter().all(|&at| (at as usize) < OFFSETS));
        let mut page = [0; OFFSETS / 64];
        match known {
            Some(offsets) => {
                self.rows += offsets.len();
                for &at in offsets {
                    page[at as usize / 64] |= 1 << (at % 64);
                }
            }
            None => {
                self.lossy_pages += 1;
                page = ALL;
            }
        }
        self.pages.push((block, page));
    }

    /// Whether a row may match.
    #[inline]
    pub fn contains(&self, tid: RawTid) -> bool {
        let block = (tid.block_hi as u32) << 16 | tid.block_lo as u32;
        let Ok(at) = self.pages.binary_search_by_key(&block, |page| page.0) else {
            return false;
        };
        let offsets = &self.pages[at].1;
        match offsets.get(tid.offset as usize / 64) {
            Some(word) => word >> (tid.offset % 64) & 1 == 1,
            None => *offsets == ALL,
        }
    }

    /// How many rows are allowed; `None` where whole pages are.
    pub fn count(&self) -> Option<usize> {
        (self.lossy_pages == 0).then_some(self.rows)
    }

    /// Rows on pages whose rows are told apart.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Pages all of whose rows are allowed.
    pub fn lossy_pages(&self) -> usize {
        self.lossy_pages
    }

    /// All rows, in the order of the table. Only of a list without lossy pages.
    pub fn tids(&self) -> impl Iterator<Item = RawTid> {
        self.pages.iter().flat_map(|&(block, offsets)| {
            (0..OFFSETS as u16)
                .filter(move |&at| offsets[at as usize / 64] >> (at % 64) & 1 == 1)
                .map(move |offset| RawTid {
                    block_hi: (block >> 16) as u16,
                    block_lo: block as u16,
                    offset,
                })
        })
    }
}

/// Calls `f` for every page of a bitmap, in the order of the table; with no offsets for a page all of
/// whose rows may match.
///
/// # Safety
/// As [`AllowList::of`].
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
/// As [`AllowList::of`].
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
