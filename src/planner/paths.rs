//! What the extension adds to the planner's paths of a table, in this order: conditions on filter
//! columns that the server leaves out of an ordered scan ([`super::filter_columns`]), scans for
//! distances below a bound ([`super::within`]), and bitmaps of other indexes handed to searches
//! ([`super::allow_list`]).

use super::{allow_list, filter_columns, within};
use crate::pg::list;
use pgrx::pg_sys::{self, NodeTag};
use std::cell::Cell;

thread_local! {
    static PREVIOUS: Cell<pg_sys::set_rel_pathlist_hook_type> = const { Cell::new(None) };
}

/// Installs the hook. Called once, when the library is loaded.
pub fn init() {
    // SAFETY: called from _PG_init, on the backend's thread.
    unsafe {
        PREVIOUS.set(pg_sys::set_rel_pathlist_hook);
        pg_sys::set_rel_pathlist_hook = Some(set_rel_pathlist);
    }
    allow_list::init();
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn set_rel_pathlist(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    relid: pg_sys::Index,
    entry: *mut pg_sys::RangeTblEntry,
) {
    // SAFETY: the server passes a relation whose paths it has made.
    unsafe {
        if let Some(previous) = PREVIOUS.get() {
            pg_sys::ffi::pg_guard_ffi_boundary(|| previous(root, rel, relid, entry));
        }
        if (*entry).rtekind != pg_sys::RTEKind::RTE_RELATION
            || (*rel).baserestrictinfo.is_null()
            || !pg_sys::enable_indexscan
            || !list::of::<pg_sys::IndexOptInfo>((*rel).indexlist)
                .any(|index| crate::am::is_ours(&*index))
        {
            return;
        }
        filter_columns::add(root, rel);
        within::add(root, rel);
        allow_list::add(root, rel);
    }
}

/// The paths that the server makes of some indexes of a table if there are no others, none of them
/// parameterised.
///
/// # Safety
/// `rel` is a table that is being planned, `indexes` are of it.
pub unsafe fn of_indexes(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    indexes: *mut pg_sys::List,
) -> impl Iterator<Item = *mut pg_sys::Path> {
    // SAFETY: a copy of the planner's struct, in its memory, where it stays as long as the paths
    // that refer to it. It has no joins, so that no parameterised paths are made.
    unsafe {
        let copy = pg_sys::palloc(size_of::<pg_sys::RelOptInfo>()).cast::<pg_sys::RelOptInfo>();
        copy.write(*rel);
        (*copy).pathlist = std::ptr::null_mut();
        (*copy).partial_pathlist = std::ptr::null_mut();
        (*copy).joininfo = std::ptr::null_mut();
        (*copy).has_eclass_joins = false;
        (*copy).consider_parallel = false;
        (*copy).indexlist = indexes;
        if !indexes.is_null() {
            pg_sys::create_index_paths(root, copy);
        }
        list::of::<pg_sys::Path>((*copy).pathlist).filter(move |&path| {
            (*path).parent = rel;
            (*path).param_info.is_null()
        })
    }
}

/// The path of an index, unless it is another kind of path, or parameterised.
///
/// # Safety
/// `path` is a valid path.
pub unsafe fn index_path(path: *mut pg_sys::Path) -> Option<*mut pg_sys::IndexPath> {
    // SAFETY: a path's tag names its struct.
    unsafe {
        let is_one = (*path).type_ == NodeTag::T_IndexPath && (*path).param_info.is_null();
        is_one.then_some(path.cast())
    }
}

/// The conditions of a table that an index's scan can be asked to serve: for a partial index without
/// those that its predicate implies, and with row security none before those that guard the rows.
///
/// # Safety
/// `index` is of a table that is being planned.
pub unsafe fn conditions_for(
    index: *mut pg_sys::IndexOptInfo,
) -> impl Iterator<Item = *mut pg_sys::RestrictInfo> {
    // SAFETY: the planner's lists.
    unsafe {
        let rel = (*index).rel;
        list::of::<pg_sys::RestrictInfo>((*index).indrestrictinfo).filter(move |&condition| {
            !(*condition).pseudoconstant
                && pg_sys::restriction_is_securely_promotable(condition, rel)
        })
    }
}
