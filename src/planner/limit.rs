//! How many rows a LIMIT above an index scan asks for.
//!
//! An index scan is not told. It has to decide how far to search before it hands out its first
//! row, so an executor hook notes for every index scan of ours the Limit node above it.

use pgrx::pg_sys;
use std::cell::RefCell;

/// An index scan of a running query and the Limit node above it.
struct Entry {
    scan: *mut pg_sys::IndexScanState,
    limit: *mut pg_sys::LimitState,
    query: usize,
}

thread_local! {
    static ENTRIES: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
    static PREVIOUS: std::cell::Cell<pg_sys::ExecutorStart_hook_type> = const { std::cell::Cell::new(None) };
}

/// Installs the hook. Called once, when the library is loaded.
pub fn init() {
    // SAFETY: called from _PG_init, on the backend's thread.
    unsafe {
        PREVIOUS.set(pg_sys::ExecutorStart_hook);
        pg_sys::ExecutorStart_hook = Some(executor_start);
    }
}

/// Rows that the LIMIT (with its OFFSET) above a scan asks for; `None` where there is none.
///
/// # Safety
/// `scan` is being executed.
pub unsafe fn rows_wanted(scan: pg_sys::IndexScanDesc) -> Option<u64> {
    ENTRIES.with_borrow(|entries| {
        let entry = entries
            .iter()
            .rev()
            // SAFETY: entries live no longer than their query's memory, which has the scan's state.
            .find(|e| unsafe { (*e.scan).iss_ScanDesc == scan })?;
        // SAFETY: as above; a Limit node has computed its bounds before it asks its child for a row.
        let limit = unsafe { &*entry.limit };
        (!limit.noCount)
            .then(|| (limit.count.max(0) as u64).saturating_add(limit.offset.max(0) as u64))
    })
}

/// Forgets the entries of a query when its memory goes.
struct Forget(usize);

impl Drop for Forget {
    fn drop(&mut self) {
        ENTRIES.with_borrow_mut(|entries| entries.retain(|entry| entry.query != self.0));
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn executor_start(query: *mut pg_sys::QueryDesc, flags: i32) {
    // SAFETY: the server passes a query; its plan state tree stays until its memory goes, and with
    // it our entries.
    unsafe {
        // The server's own function has its guard already. An ERROR that passes two of them one
        // inside the other ends the process.
        match PREVIOUS.get() {
            Some(previous) => pg_sys::ffi::pg_guard_ffi_boundary(|| previous(query, flags)),
            None => pg_sys::standard_ExecutorStart(query, flags),
        }
        if (*query).planstate.is_null() {
            return;
        }
        let mut found = Vec::new();
        walk((*query).planstate, (&raw mut found).cast());
        if found.is_empty() {
            return;
        }
        let context = (*(*query).estate).es_query_cxt;
        pgrx::PgMemoryContexts::For(context).leak_and_drop_on_delete(Forget(query as usize));
        ENTRIES.with_borrow_mut(|entries| {
            entries.extend(found.into_iter().map(|(scan, limit)| Entry {
                scan,
                limit,
                query: query as usize,
            }))
        });
    }
}

type Found = Vec<(*mut pg_sys::IndexScanState, *mut pg_sys::LimitState)>;

mod server {
    use pgrx::pg_sys;
    pub type Walker =
        unsafe extern "C-unwind" fn(*mut pg_sys::PlanState, *mut std::ffi::c_void) -> bool;
    // The bindings have it from 16 on, where its name is another.
    unsafe extern "C-unwind" {
        #[cfg_attr(
            not(any(feature = "pg14", feature = "pg15")),
            link_name = "planstate_tree_walker_impl"
        )]
        pub fn planstate_tree_walker(
            state: *mut pg_sys::PlanState,
            walker: Walker,
            context: *mut std::ffi::c_void,
        ) -> bool;
    }
}

/// Visits a plan state tree with its subplans and notes scans below Limit nodes.
unsafe extern "C-unwind" fn walk(
    state: *mut pg_sys::PlanState,
    found: *mut std::ffi::c_void,
) -> bool {
    // SAFETY: the server's walker passes non-null plan states of the tree; `found` is our vector.
    unsafe {
        if (*state).type_ == pg_sys::NodeTag::T_LimitState {
            scans_below((*state).lefttree, state.cast(), &mut *found.cast::<Found>());
        }
        server::planstate_tree_walker(state, walk, found)
    }
}

/// Notes index scans that a Limit reads through nodes that pass rows on in order.
unsafe fn scans_below(
    state: *mut pg_sys::PlanState,
    limit: *mut pg_sys::LimitState,
    found: &mut Found,
) {
    use pg_sys::NodeTag::*;
    if state.is_null() {
        return;
    }
    // SAFETY: a plan state's tag names its struct.
    unsafe {
        match (*state).type_ {
            T_IndexScanState => found.push((state.cast(), limit)),
            T_ResultState | T_LockRowsState | T_ProjectSetState | T_IncrementalSortState => {
                scans_below((*state).lefttree, limit, found);
            }
            T_SubqueryScanState => {
                let scan = state.cast::<pg_sys::SubqueryScanState>();
                scans_below((*scan).subplan, limit, found);
            }
            T_AppendState => {
                let append = state.cast::<pg_sys::AppendState>();
                for n in 0..(*append).as_nplans as usize {
                    scans_below(*(*append).appendplans.add(n), limit, found);
                }
            }
            T_MergeAppendState => {
                let append = state.cast::<pg_sys::MergeAppendState>();
                for n in 0..(*append).ms_nplans as usize {
                    scans_below(*(*append).mergeplans.add(n), limit, found);
                }
            }
            _ => {}
        }
    }
}
