//! The sort expression of an ordered index scan is computed for nobody.
//!
//! `SELECT id FROM items ORDER BY embedding <=> $1 LIMIT 10` carries the distance as a junk column
//! from the scan to the end of the plan, where it is thrown away. For a vector that is out of line
//! in the table computing it means to fetch the vector, which takes longer than the search. So
//! where nothing above the scan can look at the column, a planner hook makes it NULL.

use super::allow_list_scan;
use pgrx::pg_sys::{self, NodeTag};
use std::cell::Cell;

thread_local! {
    static PREVIOUS: Cell<pg_sys::planner_hook_type> = const { Cell::new(None) };
}

/// Installs the hook. Called once, when the library is loaded.
pub fn init() {
    // SAFETY: called from _PG_init, on the backend's thread.
    unsafe {
        PREVIOUS.set(pg_sys::planner_hook);
        pg_sys::planner_hook = Some(plan);
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn plan(
    parse: *mut pg_sys::Query,
    query: *const std::ffi::c_char,
    options: i32,
    bound: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: the server passes what a planner needs; the plan it makes is ours until returned.
    unsafe {
        // The server's own function has its guard already. An ERROR that passes two of them one
        // inside the other ends the process.
        let planned = match PREVIOUS.get() {
            Some(previous) => {
                pg_sys::ffi::pg_guard_ffi_boundary(|| previous(parse, query, options, bound))
            }
            None => pg_sys::standard_planner(parse, query, options, bound),
        };
        // rows that are written may be what the junk column identifies
        if (*planned).commandType == pg_sys::CmdType::CMD_SELECT && (*planned).rowMarks.is_null() {
            root((*planned).planTree);
            each((*planned).subplans, |plan| root(plan));
        }
        planned
    }
}

/// Calls `f` on the plans of a list.
unsafe fn each(list: *mut pg_sys::List, mut f: impl FnMut(*mut pg_sys::Plan)) {
    if list.is_null() {
        return;
    }
    // SAFETY: a list of pointers to plans.
    unsafe {
        for n in 0..(*list).length as usize {
            f((*(*list).elements.add(n)).ptr_value.cast());
        }
    }
}

/// Handles the topmost node of a query, whose junk columns nobody sees.
unsafe fn root(plan: *mut pg_sys::Plan) {
    // SAFETY: a plan's tag names its struct.
    unsafe {
        if !plan.is_null() && (*plan).type_ == NodeTag::T_IndexScan {
            strip((*plan).targetlist, plan.cast());
        }
        if !plan.is_null()
            && let Some(search) = allow_list_scan::search_below(plan)
        {
            strip((*plan).targetlist, search);
        }
        limits(plan);
    }
}

/// Looks for Limit nodes in a plan tree. Each is the topmost node of its query or subquery, so
/// nothing above it sees junk columns either.
unsafe fn limits(plan: *mut pg_sys::Plan) {
    if plan.is_null() {
        return;
    }
    // SAFETY: a plan's tag names its struct.
    unsafe {
        pg_sys::check_stack_depth();
        match (*plan).type_ {
            NodeTag::T_Limit => {
                let limit = plan.cast::<pg_sys::Limit>();
                let below = (*plan).lefttree;
                // WITH TIES compares the sort columns of rows
                if (*limit).limitOption == pg_sys::LimitOption::LIMIT_OPTION_COUNT
                    && !below.is_null()
                {
                    if (*below).type_ == NodeTag::T_IndexScan {
                        strip((*below).targetlist, below.cast());
                    } else if let Some(search) = allow_list_scan::search_below(below) {
                        strip((*below).targetlist, search);
                    }
                }
            }
            NodeTag::T_SubqueryScan => {
                let scan = plan.cast::<pg_sys::SubqueryScan>();
                root((*scan).subplan);
            }
            NodeTag::T_Append => {
                let append = plan.cast::<pg_sys::Append>();
                each((*append).appendplans, |plan| limits(plan));
            }
            NodeTag::T_MergeAppend => {
                let append = plan.cast::<pg_sys::MergeAppend>();
                each((*append).mergeplans, |plan| limits(plan));
            }
            _ => {}
        }
        limits((*plan).lefttree);
        limits((*plan).righttree);
    }
}

/// Makes those junk columns NULL that are what a scan is ordered by.
unsafe fn strip(targets: *mut pg_sys::List, scan: *mut pg_sys::IndexScan) {
    // SAFETY: lists of the plan hold what the server's structs say.
    unsafe {
        let order = (*scan).indexorderbyorig;
        if order.is_null() || targets.is_null() || !is_ours((*scan).indexid) {
            return;
        }
        for n in 0..(*targets).length as usize {
            let target = (*(*targets).elements.add(n))
                .ptr_value
                .cast::<pg_sys::TargetEntry>();
            if !(*target).resjunk {
                continue;
            }
            let expression = (*target).expr;
            let is_order = (0..(*order).length as usize).any(|n| {
                let by = (*(*order).elements.add(n)).ptr_value;
                pg_sys::equal(by, expression.cast())
            });
            if is_order {
                let of_type = pg_sys::exprType(expression.cast());
                let null = pg_sys::makeNullConst(of_type, -1, pg_sys::InvalidOid);
                (*target).expr = null.cast();
            }
        }
    }
}

/// Whether an index is of an access method of this extension.
unsafe fn is_ours(index: pg_sys::Oid) -> bool {
    // SAFETY: the planner has locked the index; an open index has its access method's functions.
    unsafe {
        let relation = pg_sys::index_open(index, pg_sys::NoLock as i32);
        let method = (*relation).rd_indam;
        let ours = crate::am::is_our_method(&*method);
        pg_sys::index_close(relation, pg_sys::NoLock as i32);
        ours
    }
}
