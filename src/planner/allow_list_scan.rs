//! The plan node of [`allow_list`](super::allow_list): its first child searches a vector index, its
//! second one makes the bitmap.
//!
//! The child passes whole rows of the table, so the node is as its scan to the rest of the plan.
//! In a recheck of a locked row (EvalPlanQual) the child tests that row, and no list is made.

use super::running;
use crate::pg::allow_list;
use crate::pg::list;
use pgrx::pg_sys::{self, NodeTag};
use std::ffi::CStr;
use std::rc::Rc;

const NAME: &CStr = c"Vector Search in Bitmap";

/// The server's structs of functions, which it wants for as long as it runs.
struct Methods<T>(T);

// SAFETY: never written to, and used on the backend's thread alone.
unsafe impl<T> Sync for Methods<T> {}

static PATH: Methods<pg_sys::CustomPathMethods> = Methods(pg_sys::CustomPathMethods {
    CustomName: NAME.as_ptr(),
    PlanCustomPath: Some(plan_path),
    ReparameterizeCustomPathByChild: None,
});

static SCAN: Methods<pg_sys::CustomScanMethods> = Methods(pg_sys::CustomScanMethods {
    CustomName: NAME.as_ptr(),
    CreateCustomScanState: Some(create_state),
});

static EXEC: Methods<pg_sys::CustomExecMethods> = Methods(pg_sys::CustomExecMethods {
    CustomName: NAME.as_ptr(),
    BeginCustomScan: Some(begin),
    ExecCustomScan: Some(next),
    EndCustomScan: Some(end),
    ReScanCustomScan: Some(rescan),
    MarkPosCustomScan: None,
    RestrPosCustomScan: None,
    EstimateDSMCustomScan: None,
    InitializeDSMCustomScan: None,
    ReInitializeDSMCustomScan: None,
    InitializeWorkerCustomScan: None,
    ShutdownCustomScan: None,
    ExplainCustomScan: Some(explain),
});

/// Makes the node known to the server. Called once, when the library is loaded.
pub fn init() {
    // SAFETY: called from _PG_init; the struct is static.
    unsafe { pg_sys::RegisterCustomScanMethods(&SCAN.0) };
}

/// How a path of the node becomes a plan.
pub fn path_methods() -> *const pg_sys::CustomPathMethods {
    &PATH.0
}

/// The index scan below a plan of this node; `None` for other plans.
///
/// # Safety
/// `plan` is a valid plan.
pub unsafe fn search_below(plan: *mut pg_sys::Plan) -> Option<*mut pg_sys::IndexScan> {
    // SAFETY: a plan's tag names its struct; ours have an index scan as their first child.
    unsafe {
        if (*plan).type_ != NodeTag::T_CustomScan {
            return None;
        }
        let scan = plan.cast::<pg_sys::CustomScan>();
        if !std::ptr::eq((*scan).methods, &SCAN.0) {
            return None;
        }
        list::of::<pg_sys::IndexScan>((*scan).custom_plans).next()
    }
}

/// The state of the index scan below a node's state; `None` for other nodes.
///
/// # Safety
/// `state` is a valid plan state.
pub unsafe fn search_state_below(
    state: *mut pg_sys::PlanState,
) -> Option<*mut pg_sys::IndexScanState> {
    // SAFETY: a plan state's tag names its struct.
    unsafe {
        if (*state).type_ != NodeTag::T_CustomScanState {
            return None;
        }
        let state = state.cast::<pg_sys::CustomScanState>();
        if !std::ptr::eq((*state).methods, &EXEC.0) {
            return None;
        }
        list::of::<pg_sys::IndexScanState>((*state).custom_ps).next()
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn plan_path(
    _root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    path: *mut pg_sys::CustomPath,
    targets: *mut pg_sys::List,
    _clauses: *mut pg_sys::List,
    plans: *mut pg_sys::List,
) -> *mut pg_sys::Plan {
    // SAFETY: the server passes the plans of the path's two paths.
    unsafe {
        let mut below = list::of::<pg_sys::Plan>(plans);
        let (Some(search), Some(heap)) = (below.next(), below.next()) else {
            unreachable!("a path of two");
        };
        // the whole row is passed on
        (*search).targetlist = std::ptr::null_mut();
        let children = pg_sys::lappend(std::ptr::null_mut(), search.cast());
        let children = pg_sys::lappend(children, (*heap).lefttree.cast());

        let plan = pg_sys::palloc0(size_of::<pg_sys::CustomScan>()).cast::<pg_sys::CustomScan>();
        (*plan).scan.plan.type_ = NodeTag::T_CustomScan;
        (*plan).scan.plan.targetlist = targets;
        (*plan).scan.scanrelid = (*rel).relid;
        (*plan).flags = (*path).flags;
        (*plan).custom_plans = children;
        (*plan).methods = &SCAN.0;
        plan.cast()
    }
}

/// The server's state and ours.
#[repr(C)]
struct State {
    custom: pg_sys::CustomScanState,
    search: *mut pg_sys::PlanState,
    bitmap: *mut pg_sys::PlanState,
    has_list: bool,
    /// of the list made last
    rows: usize,
    lossy_pages: usize,
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn create_state(_scan: *mut pg_sys::CustomScan) -> *mut pg_sys::Node {
    // SAFETY: zeroes are a valid state.
    unsafe {
        let state = pg_sys::palloc0(size_of::<State>()).cast::<State>();
        (*state).custom.ss.ps.type_ = NodeTag::T_CustomScanState;
        (*state).custom.methods = &EXEC.0;
        state.cast()
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn begin(
    node: *mut pg_sys::CustomScanState,
    query: *mut pg_sys::EState,
    flags: i32,
) {
    // SAFETY: the state was made by `create_state`; the server has opened its table.
    unsafe {
        let state = node.cast::<State>();
        let scan = &raw mut (*node).ss;
        let plan = (*scan).ps.plan.cast::<pg_sys::CustomScan>();
        let mut children = list::of::<pg_sys::Plan>((*plan).custom_plans)
            .map(|child| pg_sys::ExecInitNode(child, query, flags));
        (*state).search = children.next().expect("two children");
        (*state).bitmap = children.next().expect("two children");
        let states = pg_sys::lappend(std::ptr::null_mut(), (*state).search.cast());
        (*node).custom_ps = pg_sys::lappend(states, (*state).bitmap.cast());
        // expressions are to take rows apart as the table has them
        let table = (*scan).ss_currentRelation;
        let slots = pg_sys::table_slot_callbacks(table);
        pg_sys::ExecInitScanTupleSlot(query, scan, (*table).rd_att, slots);
        pg_sys::ExecAssignScanProjectionInfo(scan);
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn next(
    node: *mut pg_sys::CustomScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the state is ours and begun.
    unsafe {
        let state = &mut *node.cast::<State>();
        let scan = &mut (*node).ss;
        if !state.has_list && (*scan.ps.state).es_epq_active.is_null() {
            make_list(state);
        }
        let passed = pg_sys::ExecProcNode(state.search);
        if passed.is_null() || (*passed).tts_flags & pg_sys::TTS_FLAG_EMPTY as u16 != 0 {
            return std::ptr::null_mut();
        }
        // the row of the table that the child's result is made of
        let row = (*(*state.search).ps_ExprContext).ecxt_scantuple;
        scan.ss_ScanTupleSlot = row;
        let context = scan.ps.ps_ExprContext;
        pg_sys::MemoryContextReset((*context).ecxt_per_tuple_memory);
        (*context).ecxt_scantuple = row;
        match scan.ps.ps_ProjInfo.is_null() {
            true => row,
            false => pg_sys::ExecProject(scan.ps.ps_ProjInfo),
        }
    }
}

/// Runs the bitmap scan and hands what it finds to the search.
unsafe fn make_list(state: &mut State) {
    // SAFETY: the children are begun.
    unsafe {
        let bitmap = pg_sys::MultiExecProcNode(state.bitmap).cast::<pg_sys::TIDBitmap>();
        let list = allow_list::of(bitmap);
        pg_sys::tbm_free(bitmap);
        (state.rows, state.lossy_pages) = (list.rows(), list.lossy_pages());
        running::allow(state.search.cast(), Some(Rc::new(list)));
        state.has_list = true;
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn rescan(node: *mut pg_sys::CustomScanState) {
    // SAFETY: the state is ours and begun.
    unsafe {
        let state = &mut *node.cast::<State>();
        let changed = (*node).ss.ps.chgParam;
        if !changed.is_null() {
            pg_sys::UpdateChangedParamSet(state.search, changed);
            pg_sys::UpdateChangedParamSet(state.bitmap, changed);
        }
        if !(*state.bitmap).chgParam.is_null() {
            // made anew when the first row is asked for
            running::allow(state.search.cast(), None);
            state.has_list = false;
        }
        pg_sys::ExecReScan(state.search);
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn end(node: *mut pg_sys::CustomScanState) {
    // SAFETY: the state is ours and begun.
    unsafe {
        let state = &mut *node.cast::<State>();
        running::allow(state.search.cast(), None);
        pg_sys::ExecEndNode(state.search);
        pg_sys::ExecEndNode(state.bitmap);
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn explain(
    node: *mut pg_sys::CustomScanState,
    _ancestors: *mut pg_sys::List,
    explain: *mut pg_sys::ExplainState,
) {
    // SAFETY: the state is ours; the server passes what it prints to.
    unsafe {
        let state = &*node.cast::<State>();
        if !(*explain).analyze || !state.has_list {
            return;
        }
        for (name, count) in [
            (c"Rows in Bitmap", state.rows),
            (c"Lossy Pages in Bitmap", state.lossy_pages),
        ] {
            if count > 0 || name == c"Rows in Bitmap" {
                let unit = std::ptr::null();
                pg_sys::ExplainPropertyInteger(name.as_ptr(), unit, count as i64, explain);
            }
        }
    }
}
