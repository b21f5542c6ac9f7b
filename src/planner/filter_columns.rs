//! Conditions on filter columns that the server keeps from a scan in the order of distance, although
//! the index can serve them.
//!
//! * `column = ANY (array)` and `IN` on any column but the first. A btree scans once for each
//!   element, which loses its order. Up to PostgreSQL 16 `build_index_paths` therefore makes two paths
//!   of every index, whatever its access method: one in order without these conditions, one with them
//!   and without order.
//! * A boolean column alone: `WHERE flag`, `WHERE NOT flag`, which is also what the server makes of
//!   `flag = true`. Up to 15 it takes that for a condition only where the operator family is its own
//!   (`IsBooleanOpfamily`).
//!
//! Both would be filters above the scan. Here they are added to the conditions of the scan's path.

use super::paths;
use crate::pg::list;
use pgrx::pg_sys::{self, NodeTag};

/// A condition on a filter column.
struct Found {
    condition: *mut pg_sys::RestrictInfo,
    /// what the scan is asked
    qual: *mut pg_sys::RestrictInfo,
    column: usize,
}

/// Adds such conditions to the paths of a table's vector indexes.
///
/// # Safety
/// `rel` is a table whose paths the server has made.
pub unsafe fn add(root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo) {
    // SAFETY: lists of the planner; what is made here is in its memory.
    unsafe {
        for index in list::of::<pg_sys::IndexOptInfo>((*rel).indexlist) {
            if !crate::am::is_ours(&*index) || !is_usable(index) {
                continue;
            }
            let found = found_for(root, index);
            if found.is_empty() {
                continue;
            }
            let known: Vec<_> = paths_of(rel, index).collect();
            // A path that lacked its conditions may have been found no better than another one's.
            let dropped: Vec<_> = match known.iter().any(|&path| is_ordered(path)) {
                true => Vec::new(),
                false => alone(root, rel, index)
                    .filter(|&path| is_ordered(path))
                    .collect(),
            };
            for path in known.into_iter().chain(dropped) {
                let clauses = with_conditions((*path).indexclauses, &found);
                if clauses == (*path).indexclauses {
                    continue;
                }
                let better = pg_sys::create_index_path(
                    root,
                    index,
                    clauses,
                    (*path).indexorderbys,
                    (*path).indexorderbycols,
                    (*path).path.pathkeys,
                    (*path).indexscandir,
                    (*path).path.pathtype == NodeTag::T_IndexOnlyScan,
                    std::ptr::null_mut(),
                    1.0,
                    false,
                );
                (*rel).pathlist = pg_sys::list_delete_ptr((*rel).pathlist, path.cast());
                pg_sys::add_path(rel, better.cast());
            }
        }
    }
}

/// All conditions on filter columns that a scan of an index can serve.
///
/// # Safety
/// `index` is of `rel`, which is being planned.
pub unsafe fn clauses_of(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    index: *mut pg_sys::IndexOptInfo,
) -> *mut pg_sys::List {
    // SAFETY: as promised by the caller.
    unsafe {
        if (*index).nkeycolumns < 2 {
            return std::ptr::null_mut();
        }
        let known = alone(root, rel, index).next();
        let known = known.map_or(std::ptr::null_mut(), |path| (*path).indexclauses);
        with_conditions(known, &found_for(root, index))
    }
}

/// Whether a scan of an index has all rows that a query can want.
///
/// # Safety
/// `index` is of a table that is being planned.
pub unsafe fn is_usable(index: *mut pg_sys::IndexOptInfo) -> bool {
    // SAFETY: as promised by the caller.
    unsafe { (*index).indpred.is_null() || (*index).predOK }
}

/// The paths of an index that the table has.
unsafe fn paths_of(
    rel: *mut pg_sys::RelOptInfo,
    index: *mut pg_sys::IndexOptInfo,
) -> impl Iterator<Item = *mut pg_sys::IndexPath> {
    // SAFETY: the planner's list.
    unsafe {
        list::of::<pg_sys::Path>((*rel).pathlist)
            .filter_map(|path| paths::index_path(path))
            .filter(move |&path| (*path).indexinfo == index)
    }
}

/// The paths that an index would have by itself.
unsafe fn alone(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    index: *mut pg_sys::IndexOptInfo,
) -> impl Iterator<Item = *mut pg_sys::IndexPath> {
    // SAFETY: the index is of the table.
    unsafe {
        let indexes = pg_sys::lappend(std::ptr::null_mut(), index.cast());
        paths::of_indexes(root, rel, indexes).filter_map(|path| paths::index_path(path))
    }
}

unsafe fn is_ordered(path: *mut pg_sys::IndexPath) -> bool {
    // SAFETY: a valid path.
    unsafe { !(*path).indexorderbys.is_null() }
}

/// A list of index conditions with those that it lacks, in the order of columns; itself where it has
/// them all.
unsafe fn with_conditions(clauses: *mut pg_sys::List, found: &[Found]) -> *mut pg_sys::List {
    // SAFETY: lists of index clauses; new nodes are in the planner's memory.
    unsafe {
        let mut all: Vec<_> = list::of::<pg_sys::IndexClause>(clauses).collect();
        let known = all.len();
        for found in found {
            if all.iter().any(|&clause| (*clause).rinfo == found.condition) {
                continue;
            }
            let clause =
                pg_sys::palloc0(size_of::<pg_sys::IndexClause>()).cast::<pg_sys::IndexClause>();
            (*clause).type_ = NodeTag::T_IndexClause;
            (*clause).rinfo = found.condition;
            (*clause).indexquals = pg_sys::lappend(std::ptr::null_mut(), found.qual.cast());
            (*clause).indexcol = found.column as pg_sys::AttrNumber;
            all.push(clause);
        }
        if all.len() == known {
            return clauses;
        }
        all.sort_by_key(|&clause| (*clause).indexcol);
        all.into_iter().fold(std::ptr::null_mut(), |list, clause| {
            pg_sys::lappend(list, clause.cast())
        })
    }
}

/// Conditions of the kinds in question that an index's filter columns can serve.
unsafe fn found_for(
    root: *mut pg_sys::PlannerInfo,
    index: *mut pg_sys::IndexOptInfo,
) -> Vec<Found> {
    // SAFETY: an index of a table that is being planned.
    unsafe {
        let columns = 1..(*index).nkeycolumns as usize;
        paths::conditions_for(index)
            .filter_map(|condition| {
                columns.clone().find_map(|column| {
                    let qual = qual_on(root, index, column, condition)?;
                    Some(Found {
                        condition,
                        qual,
                        column,
                    })
                })
            })
            .collect()
    }
}

/// What a condition asks of a column; `None` where it is of another kind, or on something else.
unsafe fn qual_on(
    root: *mut pg_sys::PlannerInfo,
    index: *mut pg_sys::IndexOptInfo,
    column: usize,
    condition: *mut pg_sys::RestrictInfo,
) -> Option<*mut pg_sys::RestrictInfo> {
    // SAFETY: an expression's tag names its struct; arrays of the index have a member for each column.
    unsafe {
        let expression = (*condition).clause.cast::<pg_sys::Node>();
        let family = *(*index).opfamily.add(column);
        let is_column =
            |node: *mut pg_sys::Node| pg_sys::match_index_to_operand(node, column as i32, index);
        if (*expression).type_ == NodeTag::T_ScalarArrayOpExpr {
            let any = expression.cast::<pg_sys::ScalarArrayOpExpr>();
            let mut sides = list::of::<pg_sys::Node>((*any).args);
            let (left, right) = (sides.next()?, sides.next()?);
            let collation = *(*index).indexcollations.add(column);
            let matches = (*any).useOr
                && is_column(left)
                && pg_sys::is_pseudo_constant_for_index(root, right, index)
                && (collation == pg_sys::InvalidOid || collation == (*any).inputcollid)
                && pg_sys::op_in_opfamily((*any).opno, family);
            return matches.then_some(condition);
        }
        if *(*index).opcintype.add(column) != pg_sys::BOOLOID {
            return None;
        }
        let (flag, value) = match (*expression).type_ {
            NodeTag::T_BoolExpr => {
                let not = expression.cast::<pg_sys::BoolExpr>();
                if (*not).boolop != pg_sys::BoolExprType::NOT_EXPR {
                    return None;
                }
                (list::of::<pg_sys::Node>((*not).args).next()?, false)
            }
            NodeTag::T_BooleanTest => {
                let test = expression.cast::<pg_sys::BooleanTest>();
                let value = match (*test).booltesttype {
                    pg_sys::BoolTestType::IS_TRUE => true,
                    pg_sys::BoolTestType::IS_FALSE => false,
                    _ => return None,
                };
                ((*test).arg.cast(), value)
            }
            _ => (expression, true),
        };
        if !is_column(flag) {
            return None;
        }
        let equals = pg_sys::make_opclause(
            pg_sys::Oid::from_u32(pg_sys::BooleanEqualOperator),
            pg_sys::BOOLOID,
            false,
            flag.cast(),
            pg_sys::makeBoolConst(value, false).cast(),
            pg_sys::InvalidOid,
            pg_sys::InvalidOid,
        );
        pg_sys::set_opfuncid(equals.cast());
        let qual =
            pg_sys::palloc0(size_of::<pg_sys::RestrictInfo>()).cast::<pg_sys::RestrictInfo>();
        qual.write(*condition);
        (*qual).clause = equals;
        (*qual).orclause = std::ptr::null_mut();
        // what was computed of the other expression
        (*qual).eval_cost.startup = -1.0;
        (*qual).norm_selec = -1.0;
        (*qual).outer_selec = -1.0;
        Some(qual)
    }
}
