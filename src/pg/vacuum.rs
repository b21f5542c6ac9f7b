//! VACUUM, as an index takes part in it.

use super::rows::item_pointer;
use crate::hnsw::format::RawTid;
use pgrx::pg_sys;

/// What VACUUM counts in: new where this is its first call.
///
/// # Safety
/// `stats` is null, or what an earlier call of the same VACUUM returned.
pub unsafe fn stats_of<'a>(
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

/// Tells whether a row is dead; `None` where the server does not say.
///
/// # Safety
/// The arguments are what the server passed to `ambulkdelete`, which runs as long as the result is used.
pub unsafe fn whether_dead(
    callback: pg_sys::IndexBulkDeleteCallback,
    state: *mut std::ffi::c_void,
) -> Option<impl Fn(RawTid) -> bool> {
    let callback = callback?;
    Some(move |tid: RawTid| {
        if tid.offset == 0 {
            // damage: no row has such an address, and the server takes none
            return false;
        }
        let mut tid = item_pointer(tid);
        // SAFETY: the server's callback with its state.
        unsafe { callback(&raw mut tid, state) }
    })
}

/// Answers interrupts and sleeps as vacuum_cost_delay asks.
pub fn delay_point() {
    // SAFETY: called without locks on pages.
    unsafe {
        #[cfg(feature = "pg18")]
        pg_sys::vacuum_delay_point(false);
        #[cfg(not(feature = "pg18"))]
        pg_sys::vacuum_delay_point();
    }
}
