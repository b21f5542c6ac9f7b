//! VACUUM: dead rows leave their lists.

use super::index::{Ivf, META_BLOCK, raise_damaged};
use crate::ivf::format::{ListPage, ListPageMut, Opaque, PageKind, VectorPage, VectorPageMut};
use crate::page::Damage;
use crate::pg::buffer::{Access, Change, Exclusive, Logging, Strategy};
use crate::pg::relation::Index;
use pgrx::pg_sys;

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn ambulkdelete(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
    callback: pg_sys::IndexBulkDeleteCallback,
    state: *mut std::ffi::c_void,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: the server passes an open index, and what it wants back from an earlier call.
    let (index, strategy, stats) = unsafe {
        let index = Index::new((*info).index);
        (index, Strategy::of((*info).strategy), stats_of(stats))
    };
    let (ivf, _) = Ivf::open(index);
    let Some(callback) = callback else {
        raise_damaged(index, META_BLOCK, Damage("VACUUM without a callback"));
    };
    let is_dead = |tid: crate::hnsw::format::RawTid| {
        let mut pointer = pg_sys::ItemPointerData {
            ip_blkid: pg_sys::BlockIdData {
                bi_hi: tid.block_hi,
                bi_lo: tid.block_lo,
            },
            ip_posid: tid.offset,
        };
        // SAFETY: the server's callback with its state.
        unsafe { callback(&raw mut pointer, state) }
    };
    let mut rows = 0;
    let mut removed = 0;
    for block in 1..index.blocks() {
        // SAFETY: answers interrupts and sleeps.
        unsafe {
            #[cfg(feature = "pg18")]
            pg_sys::vacuum_delay_point(false);
            #[cfg(not(feature = "pg18"))]
            pg_sys::vacuum_delay_point();
        }
        let mut page = Exclusive::lock(index, block, Access::Sequential(strategy));
        if page.page().is_new() {
            continue;
        }
        match ivf.check(block, || Opaque::of(page.page())).0 {
            PageKind::List => {
                let found = ivf.check(block, || ListPage::of(page.page(), &ivf.lists));
                let tids = found.tids();
                let dead: Vec<usize> = (0..tids.len()).filter(|&n| is_dead(tids[n])).collect();
                rows += tids.len() - dead.len();
                removed += dead.len();
                if dead.is_empty() {
                    continue;
                }
                let mut change = Change::begin(index, Logging::EachChange);
                let mut target = change.page(&mut page);
                let bytes = target.contents_bytes_mut(ivf.lists.contents_len());
                let mut writer = ListPageMut::new(bytes, &ivf.lists);
                for &row in dead.iter().rev() {
                    writer.swap_remove(row);
                }
                change.commit();
            }
            PageKind::Vectors => {
                let found = ivf.check(block, || VectorPage::of(page.page(), ivf.vectors));
                let slots = 0..ivf.vectors.capacity();
                let dead: Vec<usize> = slots
                    .filter(|&slot| found.get(slot).is_some_and(|(tid, _)| is_dead(tid)))
                    .collect();
                if dead.is_empty() {
                    continue;
                }
                let mut change = Change::begin(index, Logging::EachChange);
                let mut target = change.page(&mut page);
                let bytes = target.contents_bytes_mut(ivf.vectors.contents_len());
                let mut writer = VectorPageMut::new(bytes, ivf.vectors);
                for slot in dead {
                    writer.free(slot);
                }
                change.commit();
            }
            _ => {}
        }
    }
    stats.num_index_tuples = rows as f64;
    stats.tuples_removed += removed as f64;
    stats
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn amvacuumcleanup(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: as in `ambulkdelete`.
    unsafe {
        if (*info).analyze_only || stats.is_null() {
            return stats;
        }
        let index = Index::new((*info).index);
        (*stats).num_pages = index.blocks();
        stats
    }
}

/// # Safety
/// `stats` is null or what an earlier call returned.
unsafe fn stats_of<'a>(
    stats: *mut pg_sys::IndexBulkDeleteResult,
) -> &'a mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: as promised by the caller; palloc0 raises or gives zeroed memory.
    unsafe {
        if stats.is_null() {
            let size = size_of::<pg_sys::IndexBulkDeleteResult>();
            return &mut *pg_sys::palloc0(size).cast::<pg_sys::IndexBulkDeleteResult>();
        }
        &mut *stats
    }
}
