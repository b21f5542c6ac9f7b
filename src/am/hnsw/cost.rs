//! What an index scan costs, for the planner.

use super::options;
use super::storage::read_meta;
use crate::am::cost::{Answers, Considered, Estimate, answer, is_estimated_by};
use crate::distance::Space;
use crate::hnsw::format::{BLOCKS, Meta};
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
/// Cost of a row that is put to conditions in the table, beside what the server counts for reading it.
/// 1.5 to 2.5 us on a machine that had other work.
const TEST: f64 = 100.0;
/// Rows put to conditions in vain for each that is: those that may be as near as the last one wanted.
const TESTED_BEYOND: f64 = 0.2;
/// Cost of beginning a scan of it: the query is rotated and coded.
const SCAN: f64 = 200.0;
/// Rows expanded beyond what leads there, at the default recall.
const CALIBRATED_ROWS: f64 = 20.0;
/// Nodes that a walk expands for each of these that passes conditions on rows of the table, and twice as many as a
/// scan of the map reads.
const MET_PER_FOUND: f64 = 1.8;
/// Length of a value in bytes from which it is out of line. The planner does not count what a
/// sequential scan then takes to fetch it, about 6 units a row, so neither may we.
const OUT_OF_LINE: usize = 2000;
/// Cost of a visited node whose value is out of line in the table.
const VISIT_OUT_OF_LINE: f64 = 0.5;

/// Whether an index that the planner considers is of this access method.
pub fn is_ours(index: &pg_sys::IndexOptInfo) -> bool {
    is_estimated_by(index, Some(amcostestimate))
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
    let answers = Answers {
        startup: startup_cost,
        total: total_cost,
        selectivity,
        correlation,
        pages,
    };
    // SAFETY: the server's arguments.
    unsafe {
        answer(root, path, loop_count, answers, |scan| {
            Shape::of(scan).estimate()
        });
    }
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
    /// cost of reading a page, beside that of looking it up in memory
    page: f64,
    is_blocks: bool,
    /// hnsw.ef_search where it is a floor
    set_ef: Option<f64>,
    target_recall: f64,
    /// see [`Considered`]
    matching: f64,
    passing: f64,
    wanted: f64,
}

impl Shape {
    fn of(scan: &Considered<'_>) -> Shape {
        let meta = read_meta(scan.index);
        let pages = scan.info.pages as f64;
        let (random_page, _) = scan.page_costs();
        Shape {
            rows: scan.rows(),
            pages,
            m: meta.m as f64,
            is_out_of_line: value_len(&meta) > OUT_OF_LINE,
            ef: options::ef_search() as f64,
            page: random_page * scan.missed(pages),
            is_blocks: meta.layout == BLOCKS,
            set_ef: (options::ef_search_is_set() || options::TARGET_RECALL.get() <= 0.0)
                .then(|| options::ef_search() as f64),
            target_recall: scan.recall_up_to_page(options::TARGET_RECALL.get()),
            matching: scan.matching,
            passing: scan.passing,
            wanted: scan.wanted,
        }
    }

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
        let expansion = per_tuple * EXPANSION + self.page;
        let entries = 2.0 * self.rows.sqrt() * per_tuple * ENTRY;
        let found = match self.set_ef {
            Some(ef) => ef,
            None => CALIBRATED_ROWS * (0.05 / (1.0 - self.target_recall)).sqrt(),
        };
        let expansions = (found + 4.0 * self.rows.max(1.0).ln()).min(self.rows);
        let begun = entries + per_tuple * SCAN;
        // with conditions the walk passes through nodes that do not meet them, unless a look at all
        // entries of the code map is cheaper
        let among = (self.matching * self.passing).max(1e-9);
        let (leading, met) = match self.passing < 1.0 {
            false => (0.0, expansions / among),
            true => ((expansions - found).max(0.0), MET_PER_FOUND * found / among),
        };
        let walk = (leading + met) * expansion;
        let read = expansions + MET_PER_FOUND / 2.0 * found * (1.0 / self.passing - 1.0);
        let map = self.rows / MAP_ENTRIES * (per_tuple * MAP_PAGE + self.page)
            + self.rows * self.matching * per_tuple * MAP_MATCH
            + read * expansion;
        let matching = self.rows * self.matching;
        let mut startup = begun
            + match among < 1.0 {
                true => walk.min(map),
                false => walk,
            };
        if self.passing < 1.0 {
            // the server counts those that are tested until there are enough
            let tested = (TESTED_BEYOND * self.wanted / self.passing).min(matching);
            startup += tested * per_tuple * TEST;
        }
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
        let visit = per_tuple * in_memory + self.page;
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
