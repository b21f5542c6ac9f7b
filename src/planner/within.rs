//! Distances below a bound, without an order: `WHERE embedding <=> $1 < 0.3`.
//!
//! A scan in the order of that distance ends at the bound, so it is an index scan for the condition,
//! and the server is offered it as one. Where the query asks for this order itself it has that scan
//! already. With `hnsw.iterative_scan` or `ivf.iterative_scan` at another setting than `auto` scans may end
//! before they have all rows, so then there is none; and a scan planned before knows by its order
//! ([`FOR_A_BOUND`]) that it is to go on all the same.

use super::{filter_columns, paths};
use crate::pg::conditions::{FLOAT_OPS, FOR_A_BOUND, bound_of};
use crate::pg::list;
use pgrx::pg_sys::{self, NodeTag, Oid};

/// The operator `=` of double precision.
const FLOAT8_EQUALS: Oid = Oid::from_u32(670);

/// Adds such scans to the paths of a table.
///
/// # Safety
/// `rel` is a table whose paths the server has made.
pub unsafe fn add(root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo) {
    // SAFETY: lists of the planner; what is made here is in its memory.
    unsafe {
        for index in list::of::<pg_sys::IndexOptInfo>((*rel).indexlist) {
            if !crate::am::ends_at_a_bound(&*index) || !filter_columns::is_usable(index) {
                continue;
            }
            for condition in paths::conditions_for(index) {
                let clause = (*condition).clause.cast();
                let Some(order) = distance_in(root, index, clause) else {
                    continue;
                };
                if is_ordered_by(rel, index, order) {
                    continue;
                }
                let path = pg_sys::create_index_path(
                    root,
                    index,
                    filter_columns::clauses_of(root, rel, index),
                    pg_sys::lappend(std::ptr::null_mut(), order.cast()),
                    pg_sys::lappend_int(std::ptr::null_mut(), 0),
                    pathkeys(root),
                    pg_sys::ScanDirection::ForwardScanDirection,
                    false,
                    std::ptr::null_mut(),
                    1.0,
                    false,
                );
                pg_sys::add_path(rel, path.cast());
            }
        }
    }
}

/// The distance in a condition `distance < radius`, as the index orders by it: with the column on its
/// left side.
unsafe fn distance_in(
    root: *mut pg_sys::PlannerInfo,
    index: *mut pg_sys::IndexOptInfo,
    condition: *mut pg_sys::Node,
) -> Option<*mut pg_sys::Node> {
    // SAFETY: an expression's tag names its struct.
    unsafe {
        let (distance, _) = bound_of(condition)?;
        if (*distance).type_ != NodeTag::T_OpExpr {
            return None;
        }
        let operator = distance.cast::<pg_sys::OpExpr>();
        let mut sides = list::of::<pg_sys::Node>((*operator).args);
        let (left, right) = (sides.next()?, sides.next()?);
        let is_column = |node| pg_sys::match_index_to_operand(node, 0, index);
        let is_constant = |node| pg_sys::is_pseudo_constant_for_index(root, node, index);
        let is_turned = !(is_column(left) && is_constant(right));
        if is_turned && !(is_column(right) && is_constant(left)) {
            return None;
        }
        let order = pg_sys::copyObjectImpl(operator.cast()).cast::<pg_sys::OpExpr>();
        (*order).location = FOR_A_BOUND;
        if is_turned {
            if pg_sys::get_commutator((*operator).opno) == pg_sys::InvalidOid {
                return None;
            }
            pg_sys::CommuteOpExpr(order);
        }
        let family = *(*index).opfamily;
        let sorts = pg_sys::get_op_opfamily_sortfamily((*order).opno, family);
        (sorts == FLOAT_OPS).then_some(order.cast())
    }
}

/// Whether the table has a path of an index in that order.
unsafe fn is_ordered_by(
    rel: *mut pg_sys::RelOptInfo,
    index: *mut pg_sys::IndexOptInfo,
    order: *mut pg_sys::Node,
) -> bool {
    // SAFETY: the planner's lists.
    unsafe {
        list::of::<pg_sys::Path>((*rel).pathlist)
            .filter_map(|path| paths::index_path(path))
            .filter(|&path| (*path).indexinfo == index)
            .flat_map(|path| list::of::<pg_sys::Node>((*path).indexorderbys))
            .any(|by| pg_sys::equal(by.cast(), order.cast()))
    }
}

/// What such a scan is said to be sorted by: the planner asks for something where an index has an order, and
/// nobody here asked for this one. So it is a constant, by which all rows are sorted. The distance itself would
/// be new to the planner, which takes no new expressions of partitions at this time.
unsafe fn pathkeys(root: *mut pg_sys::PlannerInfo) -> *mut pg_sys::List {
    #[cfg(not(feature = "pg18"))]
    let less = pg_sys::BTLessStrategyNumber as i32;
    #[cfg(feature = "pg18")]
    let less = pg_sys::CompareType::COMPARE_LT;
    // SAFETY: equivalence classes are complete once paths are made; new ones may be added.
    unsafe {
        let class = class_of_nothing(root);
        let key = pg_sys::make_canonical_pathkey(root, class, FLOAT_OPS, less, false);
        pg_sys::lappend(std::ptr::null_mut(), key.cast())
    }
}

/// The equivalence class of an unknown distance.
unsafe fn class_of_nothing(root: *mut pg_sys::PlannerInfo) -> *mut pg_sys::EquivalenceClass {
    // SAFETY: as promised by the caller.
    unsafe {
        let families = pg_sys::get_mergejoin_opfamilies(FLOAT8_EQUALS);
        let nothing = pg_sys::makeNullConst(pg_sys::FLOAT8OID, -1, pg_sys::InvalidOid);
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        return pg_sys::get_eclass_for_sort_expr(
            root,
            nothing.cast(),
            std::ptr::null_mut(),
            families,
            pg_sys::FLOAT8OID,
            pg_sys::InvalidOid,
            0,
            std::ptr::null_mut(),
            true,
        );
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        return pg_sys::get_eclass_for_sort_expr(
            root,
            nothing.cast(),
            families,
            pg_sys::FLOAT8OID,
            pg_sys::InvalidOid,
            0,
            std::ptr::null_mut(),
            true,
        );
    }
}
