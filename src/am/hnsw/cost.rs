//! What an index scan costs, for the planner.

use super::options;
use super::storage::read_meta;
use crate::distance::Space;
use crate::hnsw::format::{BLOCKS, Meta};
use crate::pg::conditions::radius_in;
use crate::pg::list;
use crate::pg::relation::Index;
use pgrx::pg_sys;

/// Cost of a visited node in units of cpu_tuple_cost: a page looked up in memory, and a distance.
/// Measured: 0.35 us, where a sequential scan takes 1.8 us for what the planner counts as 1.0.
const VISIT: f64 = 15.0;
/// The same for each page that a node takes.
const VISIT_PAGE: f64 = 10.0;
/// Cost of a node expanded in an index of blocks: one page, whose codes tell of all neighbours.
/// Measured: 0.6 us.
const EXPANSION: f64 = 30.0;
/// Cost of an entry of its entry table.
const ENTRY: f64 = 0.25;
/// Cost of a page of its code map, which has about so many entries.
const MAP_PAGE: f64 = 25.0;
const MAP_ENTRIES: f64 = 90.0;
/// Cost of an entry of the map that meets the conditions of a scan.
const MAP_MATCH: f64 = 0.5;
/// Cost of beginning a scan of it: the query is rotated and coded.
const SCAN: f64 = 200.0;
/// Rows expanded beyond what leads there, at the default recall.
const CALIBRATED_ROWS: f64 = 20.0;
/// Length of a value in bytes from which it is out of line. The planner does not count what a
/// sequential scan then takes to fetch it, about 6 units a row, so neither may we.
const OUT_OF_LINE: usize = 2000;
/// Cost of a visited node whose value is out of line in the table.
const VISIT_OUT_OF_LINE: f64 = 0.5;
/// Share of the rows assumed within a radius that a query gives. Little is known of it, and a scan
/// that finds more than was thought costs a little more than sorting, one that was not tried where
/// there are few costs a hundred times as much.
pub const WITHIN_RADIUS: f64 = 0.005;

/// Whether the conditions have a bound on the distance that the path is ordered by: the scan ends there.
///
/// # Safety
/// A path of a relation that is being planned.
pub unsafe fn has_radius(path: &pg_sys::IndexPath) -> bool {
    // SAFETY: as promised by the caller.
    unsafe {
        let Some(order) = list::of::<pg_sys::Node>(path.indexorderbys).next() else {
            return false;
        };
        let rel = (*path.indexinfo).rel;
        list::of::<pg_sys::RestrictInfo>((*rel).baserestrictinfo)
            .any(|condition| radius_in((*condition).clause.cast(), order).is_some())
    }
}

/// Whether an index that the planner considers is of this access method.
pub fn is_ours(index: &pg_sys::IndexOptInfo) -> bool {
    let estimate = amcostestimate as *const ();
    index
        .amcostestimate
        .is_some_and(|of_index| std::ptr::eq(of_index as *const (), estimate))
}

/// Whether reading all of so many listed rows is cheaper than a walk that meets one of them among
/// every `rows / listed`.
pub fn is_few(listed: f64, wanted: usize, rows: f64) -> bool {
    // a row is read in about the time of two expansions, and a walk expands three or so nodes for
    // each row that it finds, more where these are far
    listed * listed <= 4.0 * wanted.max(10) as f64 * rows
}

#[allow(clippy::too_many_arguments, reason = "the server's signature")]
#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn amcostestimate(
    root: *mut pg_sys::PlannerInfo,
    path: *mut pg_sys::IndexPath,
    loop_count: f64,
    startup_cost: *mut pg_sys::Cost,
    total_cost: *mut pg_sys::Cost,
    selectivity: *mut pg_sys::Selectivity,
    correlation: *mut f64,
    pages: *mut f64,
) {
    // SAFETY: the server passes a path over one of our indexes, which is locked, and places for
    // the answers.
    unsafe {
        let info = &*(*path).indexinfo;
        let quals = quals_on_filter_columns(path);
        let matching = match quals.is_null() {
            true => 1.0,
            false => pg_sys::clauselist_selectivity(
                root,
                quals,
                (*info.rel).relid as i32,
                pg_sys::JoinType::JOIN_INNER,
                std::ptr::null_mut(),
            ),
        };
        let in_sphere = is_in_sphere(path);
        let has_target = in_sphere || !(*path).indexorderbys.is_null();
        let estimate = if !has_target || asks_for_null_vectors(path) {
            // there is nothing to search for
            #[cfg(feature = "pg18")]
            {
                (*path).path.disabled_nodes = 2;
            }
            Estimate {
                startup: f64::INFINITY,
                total: f64::INFINITY,
            }
        } else {
            let relation = pg_sys::index_open(info.indexoid, pg_sys::NoLock as i32);
            let meta = read_meta(Index::new(relation));
            pg_sys::index_close(relation, pg_sys::NoLock as i32);
            let mut random_page_cost = 0.0;
            pg_sys::get_tablespace_page_costs(
                info.reltablespace,
                &mut random_page_cost,
                std::ptr::null_mut(),
            );
            Shape {
                rows: info.tuples.max(0.0),
                pages: info.pages as f64,
                m: meta.m as f64,
                is_out_of_line: value_len(&meta) > OUT_OF_LINE,
                ef: options::ef_search() as f64,
                random_page_cost,
                cached: cached_share(info.pages as f64, loop_count),
                is_blocks: meta.layout == BLOCKS,
                set_ef: (options::ef_search_is_set() || options::TARGET_RECALL.get() <= 0.0)
                    .then(|| options::ef_search() as f64),
                target_recall: options::TARGET_RECALL.get(),
                matching,
            }
            .estimate()
        };
        let share = match in_sphere || has_radius(&*path) {
            true => WITHIN_RADIUS,
            false => 1.0,
        };
        *startup_cost = estimate.startup;
        *total_cost = match estimate.startup.is_finite() {
            true => estimate.startup + (estimate.total - estimate.startup) * share,
            false => f64::INFINITY,
        };
        *selectivity = matching * share;
        *correlation = 0.0;
        *pages = info.pages as f64;
    }
}

/// The conditions of a path on other columns than the vector.
///
/// # Safety
/// `path` is a valid path of an index.
pub unsafe fn quals_on_filter_columns(path: *const pg_sys::IndexPath) -> *mut pg_sys::List {
    // SAFETY: as promised by the caller; clauses of an index path are IndexClauses.
    unsafe {
        let clauses = list::of::<pg_sys::IndexClause>((*path).indexclauses)
            .filter(|&clause| (*clause).indexcol > 0)
            .fold(std::ptr::null_mut(), |list, clause| {
                pg_sys::lappend(list, clause.cast())
            });
        pg_sys::get_quals_from_indexclauses(clauses)
    }
}

/// Whether a condition is that the vector is in a sphere: no other operator on it is one.
///
/// # Safety
/// `path` is a valid path of an index.
pub unsafe fn is_in_sphere(path: *const pg_sys::IndexPath) -> bool {
    // SAFETY: as promised by the caller; clauses of an index path are IndexClauses.
    unsafe {
        list::of::<pg_sys::IndexClause>((*path).indexclauses).any(|clause| {
            let expression = (*(*clause).rinfo).clause;
            (*clause).indexcol == 0 && (*expression).type_ == pg_sys::NodeTag::T_OpExpr
        })
    }
}

/// Whether a condition is that the vector is NULL: such rows are in no index of ours.
///
/// # Safety
/// `path` is a valid path of an index.
pub unsafe fn asks_for_null_vectors(path: *const pg_sys::IndexPath) -> bool {
    // SAFETY: as promised by the caller; clauses of an index path are IndexClauses.
    unsafe {
        let clauses = pgrx::PgList::<pg_sys::IndexClause>::from_pg((*path).indexclauses);
        clauses.iter_ptr().any(|clause| {
            let expression = (*(*clause).rinfo).clause.cast::<pg_sys::NullTest>();
            (*clause).indexcol == 0
                && (*expression).xpr.type_ == pg_sys::NodeTag::T_NullTest
                && (*expression).nulltesttype == pg_sys::NullTestType::IS_NULL
        })
    }
}

/// Share of page accesses that find the page in memory: the part of the index that
/// effective_cache_size has room for, and nearly all when the scan is repeated.
fn cached_share(pages: f64, loop_count: f64) -> f64 {
    // SAFETY: reads a setting.
    let cache = unsafe { pg_sys::effective_cache_size } as f64;
    let once = if pages > 0.0 {
        (cache / pages).min(1.0)
    } else {
        1.0
    };
    1.0 - (1.0 - once) / loop_count.max(1.0)
}

/// Bytes of a value; those of a sparse vector, which vary, count as in line.
fn value_len(meta: &Meta) -> usize {
    Space::from_code(meta.space)
        .and_then(|space| space.element.payload_len(meta.dims))
        .unwrap_or(0)
}

struct Shape {
    rows: f64,
    pages: f64,
    m: f64,
    is_out_of_line: bool,
    ef: f64,
    random_page_cost: f64,
    cached: f64,
    is_blocks: bool,
    /// hnsw.ef_search where it is a floor
    set_ef: Option<f64>,
    target_recall: f64,
    /// share of the rows that meet the conditions on filter columns
    matching: f64,
}

struct Estimate {
    startup: f64,
    total: f64,
}

impl Shape {
    /// Nodes visited before the first row: the descent, and the neighbours of `ef` expanded nodes
    /// less those seen before, which are more the smaller the graph.
    fn first_visits(&self) -> f64 {
        if self.rows < 2.0 {
            return self.rows;
        }
        let levels = self.rows.ln() / self.m.ln().max(f64::MIN_POSITIVE);
        let unseen = 0.55 * levels / (1.0 + self.ef.ln());
        let visits = levels * self.m + self.ef * 2.0 * self.m * unseen.min(1.0);
        visits.min(self.rows)
    }

    /// An index of blocks: the entry table, then nodes expanded until the stopping rule holds. Of
    /// these there are more the larger the graph, and the more rows are to be sure of.
    fn estimate_blocks(&self, per_tuple: f64) -> Estimate {
        let page = self.random_page_cost * (1.0 - self.cached);
        let expansion = per_tuple * EXPANSION + page;
        let entries = 2.0 * self.rows.sqrt() * per_tuple * ENTRY;
        let found = match self.set_ef {
            Some(ef) => ef,
            None => CALIBRATED_ROWS * (0.05 / (1.0 - self.target_recall)).sqrt(),
        };
        let expansions = (found + 4.0 * self.rows.max(1.0).ln()).min(self.rows);
        let begun = entries + per_tuple * SCAN;
        // with conditions the walk passes through nodes that do not meet them, unless a look at all
        // entries of the code map is cheaper
        let walk = expansions / self.matching.clamp(1e-9, 1.0) * expansion;
        let map = self.rows / MAP_ENTRIES * (per_tuple * MAP_PAGE + page)
            + self.rows * self.matching * per_tuple * MAP_MATCH
            + expansions * expansion;
        let matching = self.rows * self.matching;
        let startup = begun
            + if self.matching < 1.0 {
                walk.min(map)
            } else {
                walk
            };
        Estimate {
            startup,
            total: startup + (matching - expansions).max(0.0) * expansion,
        }
    }

    fn estimate(&self) -> Estimate {
        // SAFETY: reads a setting.
        let per_tuple = unsafe { pg_sys::cpu_tuple_cost };
        if self.is_blocks {
            return self.estimate_blocks(per_tuple);
        }
        let pages_each = self.pages / self.rows.max(1.0);
        let in_memory = match self.is_out_of_line {
            true => VISIT_OUT_OF_LINE,
            false => VISIT + VISIT_PAGE * pages_each.min(16.0),
        };
        let visit = per_tuple * in_memory + self.random_page_cost * (1.0 - self.cached);
        let startup = self.first_visits() * visit;
        // Each further row expands a node, half of whose 2m neighbours are new, until none are left.
        // Cost is linear in the rows for the planner, so that of all rows is too high; a sort beats
        // it anyway.
        let all = (self.rows - self.first_visits()) * self.m * visit;
        Estimate {
            startup,
            total: startup + all,
        }
    }
}
