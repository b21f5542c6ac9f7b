//! Merge joins over searches. A row that a search comes by late, after farther ones were handed out, comes last
//! (`hnsw/README.md`); a merge join calls that an internal error. So it sorts what a search hands it, which is
//! nearly in order.

use crate::pg::list;
use pgrx::pg_sys::{self, JoinPathExtraData, JoinType, NodeTag, RelOptInfo};
use std::cell::Cell;

thread_local! {
    static PREVIOUS: Cell<pg_sys::set_join_pathlist_hook_type> = const { Cell::new(None) };
}

/// Installs the hook. Called once, when the library is loaded.
pub fn init() {
    // SAFETY: called from _PG_init, on the backend's thread.
    unsafe {
        PREVIOUS.set(pg_sys::set_join_pathlist_hook);
        pg_sys::set_join_pathlist_hook = Some(set_join_pathlist);
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn set_join_pathlist(
    root: *mut pg_sys::PlannerInfo,
    join: *mut RelOptInfo,
    outer: *mut RelOptInfo,
    inner: *mut RelOptInfo,
    kind: JoinType::Type,
    extra: *mut JoinPathExtraData,
) {
    // SAFETY: the server passes a join whose paths it has made.
    unsafe {
        if let Some(previous) = PREVIOUS.get() {
            pg_sys::ffi::pg_guard_ffi_boundary(|| previous(root, join, outer, inner, kind, extra));
        }
        for paths in [(*join).pathlist, (*join).partial_pathlist] {
            for path in list::of::<pg_sys::Path>(paths) {
                if (*path).type_ == NodeTag::T_MergePath {
                    sort_searches(path.cast());
                }
            }
        }
    }
}

/// Has a merge join sort those of its sides that come from a search and are in order as they are.
unsafe fn sort_searches(path: *mut pg_sys::MergePath) {
    // SAFETY: a path of a join, with both sides.
    unsafe {
        let (outer, inner) = ((*path).jpath.outerjoinpath, (*path).jpath.innerjoinpath);
        if (*path).outersortkeys.is_null() && is_of_search(outer) {
            (*path).outersortkeys = (*outer).pathkeys;
        }
        if (*path).innersortkeys.is_null() && is_of_search(inner) {
            (*path).innersortkeys = (*inner).pathkeys;
        }
    }
}

/// Whether the order of a path's rows is that of a search.
unsafe fn is_of_search(path: *mut pg_sys::Path) -> bool {
    use NodeTag::*;
    // SAFETY: a path's tag names its struct.
    unsafe {
        match (*path).type_ {
            T_IndexPath => {
                let path = path.cast::<pg_sys::IndexPath>();
                !(*path).indexorderbys.is_null() && crate::am::is_ours(&*(*path).indexinfo)
            }
            T_CustomPath => {
                let methods = (*path.cast::<pg_sys::CustomPath>()).methods;
                std::ptr::eq(methods, super::allow_list_scan::path_methods())
            }
            T_SubqueryScanPath => is_of_search((*path.cast::<pg_sys::SubqueryScanPath>()).subpath),
            T_ProjectionPath => is_of_search((*path.cast::<pg_sys::ProjectionPath>()).subpath),
            T_ProjectSetPath => is_of_search((*path.cast::<pg_sys::ProjectSetPath>()).subpath),
            T_MaterialPath => is_of_search((*path.cast::<pg_sys::MaterialPath>()).subpath),
            T_LimitPath => is_of_search((*path.cast::<pg_sys::LimitPath>()).subpath),
            T_LockRowsPath => is_of_search((*path.cast::<pg_sys::LockRowsPath>()).subpath),
            T_WindowAggPath => is_of_search((*path.cast::<pg_sys::WindowAggPath>()).subpath),
            T_UpperUniquePath => is_of_search((*path.cast::<pg_sys::UpperUniquePath>()).subpath),
            T_GatherMergePath => is_of_search((*path.cast::<pg_sys::GatherMergePath>()).subpath),
            T_AppendPath => list::of((*path.cast::<pg_sys::AppendPath>()).subpaths)
                .any(|path| is_of_search(path)),
            T_MergeAppendPath => list::of((*path.cast::<pg_sys::MergeAppendPath>()).subpaths)
                .any(|path| is_of_search(path)),
            // a join's order is that of its outer side
            T_NestPath | T_MergePath => {
                is_of_search((*path.cast::<pg_sys::JoinPath>()).outerjoinpath)
            }
            _ => false,
        }
    }
}
