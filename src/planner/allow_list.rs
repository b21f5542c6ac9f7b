//! Conditions that another index serves, in a search of a vector index.
//!
//! `WHERE tenant = 7 AND tags @> '{x}' ORDER BY embedding <=> $1 LIMIT 10` with a btree index on
//! `tenant` and a GIN index on `tags`: a custom plan node runs their bitmap scans, as a Bitmap Heap
//! Scan would, and hands the addresses of the rows to the vector index scan below it as an
//! [`AllowList`](crate::allow_list::AllowList). The scan puts its rows to all conditions all the
//! same, so the list saves work and decides nothing.

use super::{allow_list_scan, paths};
use crate::am::hnsw::cost;
use crate::pg::list;
use pgrx::pg_sys::{self, NodeTag};

/// What looking up a row in the list, and reading it from the table, costs in units of
/// cpu_tuple_cost beside its page.
const FETCH: f64 = 2.0;
/// Rows that are listed for next to nothing.
const LISTED_FREE: f64 = 256.0;

/// What so many rows take on their way from the other index into the list, in units of cpu_tuple_cost, beside what the
/// server counts: their pages are hashed and sorted. Measured: 0.35 us each of 5,800 rows all over a table, where a
/// search takes 3.5 us for what the planner counts as 1.0.
fn listing(rows: f64) -> f64 {
    rows * (rows / LISTED_FREE).log2().max(0.1)
}

/// Makes the plan node known to the server. Called once, when the library is loaded.
pub fn init() {
    allow_list_scan::init();
}

/// Adds paths of the node to those of a table.
///
/// # Safety
/// `rel` is a table whose paths the server has made.
pub unsafe fn add(root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo) {
    // SAFETY: the planner's lists.
    unsafe {
        if !pg_sys::enable_bitmapscan {
            return;
        }
        let searches: Vec<_> = list::of::<pg_sys::Path>((*rel).pathlist)
            .filter(|&path| is_search(path))
            .collect();
        if searches.is_empty() {
            return;
        }
        let Some(bitmap) = bitmap_of(root, rel) else {
            return;
        };
        for search in searches {
            let path = path_of(root, rel, search.cast(), bitmap);
            pg_sys::add_path(rel, path.cast());
        }
    }
}

/// Whether a path is an ordered scan of a vector index over the whole table.
unsafe fn is_search(path: *mut pg_sys::Path) -> bool {
    // SAFETY: a valid path; a path of an index has its description.
    unsafe {
        let Some(path) = paths::index_path(path) else {
            return false;
        };
        let index = (*path).indexinfo;
        // what a partial index's predicate implies is not put to rows again
        !(*path).indexorderbys.is_null()
            && (*index).indpred.is_null()
            && crate::am::is_ours(&*index)
    }
}

/// The cheapest bitmap over the conditions on a relation, as the server chooses it for a Bitmap
/// Heap Scan; `None` where no index serves any.
unsafe fn bitmap_of(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
) -> Option<*mut pg_sys::BitmapHeapPath> {
    // SAFETY: copies of the planner's structs, in its memory, where they stay as long as the paths
    // that refer to them.
    unsafe {
        let mut indexes = std::ptr::null_mut();
        for index in list::of::<pg_sys::IndexOptInfo>((*rel).indexlist) {
            if (*index).amhasgetbitmap && !crate::am::is_ours(&*index) {
                let bitmap_only = pg_sys::palloc(size_of::<pg_sys::IndexOptInfo>())
                    .cast::<pg_sys::IndexOptInfo>();
                bitmap_only.copy_from_nonoverlapping(index, 1);
                (*bitmap_only).amhasgettuple = false;
                indexes = pg_sys::lappend(indexes, bitmap_only.cast());
            }
        }
        let cheapest = paths::of_indexes(root, rel, indexes)
            .filter(|&path| (*path).type_ == NodeTag::T_BitmapHeapPath)
            .min_by(|&a, &b| (*a).total_cost.total_cmp(&(*b).total_cost))?;
        Some(cheapest.cast())
    }
}

/// The path of a search with an allow-list.
unsafe fn path_of(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    search: *mut pg_sys::IndexPath,
    bitmap: *mut pg_sys::BitmapHeapPath,
) -> *mut pg_sys::CustomPath {
    // SAFETY: paths of the relation; the new one is in the planner's memory.
    unsafe {
        let path = pg_sys::palloc0(size_of::<pg_sys::CustomPath>()).cast::<pg_sys::CustomPath>();
        let below = &(*search).path;
        (*path).path = pg_sys::Path {
            type_: NodeTag::T_CustomPath,
            pathtype: NodeTag::T_CustomScan,
            parallel_aware: false,
            parallel_safe: false,
            parallel_workers: 0,
            ..*below
        };
        (*path).flags = pg_sys::CUSTOMPATH_SUPPORT_PROJECTION;
        let paths = pg_sys::lappend(std::ptr::null_mut(), search.cast());
        (*path).custom_paths = pg_sys::lappend(paths, bitmap.cast());
        (*path).methods = allow_list_scan::path_methods();

        let (mut bitmap_cost, mut selectivity) = (0.0, 0.0);
        pg_sys::cost_bitmap_tree_node(
            (*bitmap).bitmapqual,
            &raw mut bitmap_cost,
            &raw mut selectivity,
        );
        let per_tuple = pg_sys::cpu_tuple_cost;
        let listed = (selectivity * (*rel).tuples).max(1.0);
        let wanted = match (*root).limit_tuples {
            limit if limit > 0.0 => limit as usize,
            _ => usize::MAX,
        };
        let (startup, total) = if cost::is_few(listed, wanted, (*rel).tuples) {
            // All are read before the first comes out. A Bitmap Heap Scan does the same and a Sort
            // more, which has no way out where there are more rows than was thought.
            // no dearer than the same rows are where the search looks at them one by one
            let heap = below.total_cost - (*search).indextotalcost;
            let one_by_one = heap / (*rel).tuples.max(1.0) * listed;
            let pages = ((*bitmap).path.total_cost - bitmap_cost).min(one_by_one);
            let startup = bitmap_cost + pages + listed * per_tuple;
            (startup, startup + (*rel).rows * per_tuple)
        } else {
            // the walk goes as far as it would, but reads rows of the list alone
            let heap = below.total_cost - (*search).indextotalcost;
            let startup = bitmap_cost + listing(listed) * per_tuple + below.startup_cost;
            let walk = (*search).indextotalcost - below.startup_cost;
            (
                startup,
                startup + walk + heap * selectivity + (*rel).rows * per_tuple * FETCH,
            )
        };
        (*path).path.startup_cost = startup;
        (*path).path.total_cost = total.max(startup);
        path
    }
}
