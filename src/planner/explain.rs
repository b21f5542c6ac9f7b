//! `EXPLAIN (ANALYZE)`: what the scans of an hnsw index did, beside their plan node. PostgreSQL 18
//! and later let an extension say so; before, `hnsw_last_scan()` tells.

use crate::am::hnsw::scan;
use crate::pg::readable::may_read;
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::{CString, c_char};

thread_local! {
    static PREVIOUS: Cell<pg_sys::explain_per_node_hook_type> = const { Cell::new(None) };
}

/// Installs the hook. Called once, when the library is loaded.
pub fn init() {
    // SAFETY: called from _PG_init, on the backend's thread.
    unsafe {
        PREVIOUS.set(pg_sys::explain_per_node_hook);
        pg_sys::explain_per_node_hook = Some(explain_node);
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn explain_node(
    node: *mut pg_sys::PlanState,
    ancestors: *mut pg_sys::List,
    relationship: *const c_char,
    plan_name: *const c_char,
    explain: *mut pg_sys::ExplainState,
) {
    // SAFETY: the server passes a node of a plan that was started and not ended, so its scan is open.
    unsafe {
        if let Some(previous) = PREVIOUS.get() {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                previous(node, ancestors, relationship, plan_name, explain)
            });
        }
        if !(*explain).analyze || (*node).type_ != pg_sys::NodeTag::T_IndexScanState {
            return;
        }
        let descriptor = (*node.cast::<pg_sys::IndexScanState>()).iss_ScanDesc;
        if descriptor.is_null() || !scan::is_ours(descriptor) {
            return;
        }
        // as `hnsw_last_scan()`: what a search met tells of rows that the role may not see
        let table = (*descriptor).heapRelation;
        if table.is_null() || !may_read((*table).rd_id) {
            return;
        }
        let total = scan::total(descriptor);
        let parts = [
            (c"Nodes Expanded", "expanded", total.expanded),
            (c"Distances Estimated", "estimated", total.estimated),
            (c"Distances Computed", "computed", total.computed),
            (c"Graph Pages", "pages", total.pages),
            (c"Rows Reranked", "reranked", total.reranked),
        ];
        if (*explain).format == pg_sys::ExplainFormat::EXPLAIN_FORMAT_TEXT {
            let words = parts.map(|(_, word, count)| format!("{word}={count}"));
            let line = CString::new(words.join(" ")).expect("no NUL in numbers");
            pg_sys::ExplainPropertyText(c"Graph Search".as_ptr(), line.as_ptr(), explain);
            return;
        }
        for (name, _, count) in parts {
            pg_sys::ExplainPropertyInteger(name.as_ptr(), std::ptr::null(), count as i64, explain);
        }
    }
}
