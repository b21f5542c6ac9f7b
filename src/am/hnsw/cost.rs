//! What an index scan costs, for the planner.

use super::options;
use super::storage::read_meta;
use crate::pg::relation::Index;
use pgrx::pg_sys;

/// A visited node costs a page access in memory and a distance: about twice what the planner
/// counts for passing a row through an operator.
const VISIT_IN_TUPLE_COSTS: f64 = 2.0;

#[allow(clippy::too_many_arguments, reason = "the server's signature")]
#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn amcostestimate(
    _root: *mut pg_sys::PlannerInfo,
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
        let estimate = if (*path).indexorderbys.is_null() {
            // without an order there is nothing to search for
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
            let m = read_meta(Index::new(relation)).m;
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
                m: m as f64,
                ef: options::EF_SEARCH.get() as f64,
                random_page_cost,
                cached: cached_share(info.pages as f64, loop_count),
            }
            .estimate()
        };
        *startup_cost = estimate.startup;
        *total_cost = estimate.total;
        *selectivity = 1.0;
        *correlation = 0.0;
        *pages = info.pages as f64;
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

struct Shape {
    rows: f64,
    pages: f64,
    m: f64,
    ef: f64,
    random_page_cost: f64,
    cached: f64,
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

    fn estimate(&self) -> Estimate {
        // SAFETY: reads settings.
        let per_tuple = unsafe { pg_sys::cpu_index_tuple_cost + pg_sys::cpu_operator_cost };
        let visit = VISIT_IN_TUPLE_COSTS * per_tuple + self.random_page_cost * (1.0 - self.cached);
        let startup = self.first_visits() * visit;
        // all rows: every node visited, every page read
        let all = self.rows * visit + self.pages * self.random_page_cost;
        Estimate {
            startup,
            total: startup + all,
        }
    }
}
