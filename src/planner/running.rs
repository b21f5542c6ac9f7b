//! Which node of a running query's plan an index scan runs for.
//!
//! An index scan is not told. An executor hook notes those of vectors with the Limit node above them.

use super::allow_list_scan;
use super::limit::Limit;
use crate::allow_list::AllowList;
use crate::pg::conditions::{Conditions, Radius, is_ordered_for_a_bound};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::rc::Rc;

/// An index scan of a running query. It lives no longer than the query's memory.
#[derive(Clone, Copy)]
pub struct Node {
    scan: *mut pg_sys::IndexScanState,
    /// the LIMIT above it
    pub limit: Option<Limit>,
}

impl Node {
    /// The conditions that the node puts to each row, to be evaluated by the scan itself.
    pub fn conditions(&self) -> Conditions {
        let known = with_entry(self.scan, |entry| entry.conditions).flatten();
        known.unwrap_or_else(|| {
            // SAFETY: a scan of a running query.
            let conditions = unsafe { Conditions::of(self.scan) };
            with_entry(self.scan, |entry| entry.conditions = Some(conditions));
            conditions
        })
    }

    /// The distance beyond which no row passes; `None` where none was given.
    pub fn radius(&self) -> Option<f64> {
        let known = with_entry(self.scan, |entry| entry.radius).flatten();
        let radius = known.unwrap_or_else(|| {
            // SAFETY: a scan of a running query.
            let radius = unsafe { Radius::of(self.scan) };
            with_entry(self.scan, |entry| entry.radius = Some(radius));
            radius
        })?;
        radius.value()
    }

    /// Whether the query asks for all rows within the radius, in whatever order.
    pub fn asks_for_no_order(&self) -> bool {
        // SAFETY: a scan of a running query.
        unsafe { is_ordered_for_a_bound(self.scan) }
    }

    /// The rows that another index says may match; `None` where all may.
    pub fn allowed(&self) -> Option<Rc<AllowList>> {
        with_entry(self.scan, |entry| entry.allowed.clone()).flatten()
    }

    /// How many rows the planner thinks pass the conditions.
    pub fn expected_rows(&self) -> f64 {
        // SAFETY: a scan of a running query has its plan.
        unsafe { (*(*self.scan).ss.ps.plan).plan_rows }
    }

    /// Whether the planner thinks that most rows fail the conditions.
    pub fn expects_few(&self) -> bool {
        // SAFETY: a scan of a running query has its plan and its table.
        unsafe {
            let state = &(*self.scan).ss;
            let rows = (*(*state.ss_currentRelation).rd_rel).reltuples;
            (*state.ps.plan).plan_rows < rows as f64 / 2.0
        }
    }
}

struct Entry {
    node: Node,
    /// once asked for
    conditions: Option<Conditions>,
    radius: Option<Option<Radius>>,
    allowed: Option<Rc<AllowList>>,
    query: usize,
}

/// Sets or takes back the rows that a scan is to look for.
pub fn allow(scan: *mut pg_sys::IndexScanState, list: Option<Rc<AllowList>>) {
    with_entry(scan, |entry| entry.allowed = list);
}

/// Calls `f` with the entry of a node; `None` where it was not noted.
fn with_entry<R>(scan: *mut pg_sys::IndexScanState, f: impl FnOnce(&mut Entry) -> R) -> Option<R> {
    ENTRIES.with_borrow_mut(|entries| {
        let mut latest = entries.iter_mut().rev();
        latest.find(|entry| entry.node.scan == scan).map(f)
    })
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

/// The plan node that an index scan runs for; `None` where it runs for none that was noted.
///
/// # Safety
/// `scan` is being executed.
pub unsafe fn node_of(scan: pg_sys::IndexScanDesc) -> Option<Node> {
    ENTRIES.with_borrow(|entries| {
        entries
            .iter()
            .rev()
            // SAFETY: entries live no longer than their query's memory, which has the scan's state.
            .find(|e| unsafe { (*e.node.scan).iss_ScanDesc == scan })
            .map(|entry| entry.node)
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
        let mut found: Found = Vec::new();
        walk((*query).planstate, (&raw mut found).cast());
        if found.is_empty() {
            return;
        }
        let context = (*(*query).estate).es_query_cxt;
        pgrx::PgMemoryContexts::For(context).leak_and_drop_on_delete(Forget(query as usize));
        ENTRIES.with_borrow_mut(|entries| {
            entries.extend(found.into_iter().map(|node| Entry {
                node,
                conditions: None,
                radius: None,
                allowed: None,
                query: query as usize,
            }))
        });
    }
}

type Found = Vec<Node>;

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

/// Visits a plan state tree with its subplans and notes index scans of vectors. Those below Limit nodes
/// come before, so that they are found with the Limit nearest to them.
unsafe extern "C-unwind" fn walk(
    state: *mut pg_sys::PlanState,
    found: *mut std::ffi::c_void,
) -> bool {
    // SAFETY: the server's walker passes non-null plan states of the tree; `found` is our vector.
    unsafe {
        if (*state).type_ == pg_sys::NodeTag::T_LimitState {
            let limit = Limit::new(state.cast());
            scans_below((*state).lefttree, limit, &mut *found.cast::<Found>());
        }
        if (*state).type_ == pg_sys::NodeTag::T_IndexScanState {
            let scan = state.cast::<pg_sys::IndexScanState>();
            let found = &mut *found.cast::<Found>();
            if is_search(scan) && found.iter().all(|node| node.scan != scan) {
                found.push(Node { scan, limit: None });
            }
        }
        server::planstate_tree_walker(state, walk, found)
    }
}

/// Whether an index scan is in an order of operators, or of one of our indexes without any.
unsafe fn is_search(scan: *mut pg_sys::IndexScanState) -> bool {
    // SAFETY: a scan of a plan that was started; EXPLAIN alone opens no index.
    unsafe {
        let index = (*scan).iss_RelationDesc;
        (*scan).iss_NumOrderByKeys > 0
            || (!index.is_null() && crate::am::is_our_method(&*(*index).rd_indam))
    }
}

/// Notes index scans that a Limit reads through nodes that pass rows on in order.
unsafe fn scans_below(state: *mut pg_sys::PlanState, limit: Limit, found: &mut Found) {
    use pg_sys::NodeTag::*;
    if state.is_null() {
        return;
    }
    // SAFETY: a plan state's tag names its struct.
    unsafe {
        match (*state).type_ {
            T_IndexScanState => found.push(Node {
                scan: state.cast(),
                limit: Some(limit),
            }),
            // a nested loop's outer side comes in order
            T_ResultState | T_LockRowsState | T_ProjectSetState | T_NestLoopState => {
                scans_below((*state).lefttree, limit, found);
            }
            T_IncrementalSortState => {
                scans_below((*state).lefttree, limit.through_a_sort(), found);
            }
            T_CustomScanState => {
                if let Some(search) = allow_list_scan::search_state_below(state) {
                    scans_below(search.cast(), limit, found);
                }
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
