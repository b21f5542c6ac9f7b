//! What an index scan costs, for the planner.

use super::index::{META_BLOCK, check, read_meta};
use super::options::{Declared, Settings};
use crate::am::cost::{Answers, Considered, Estimate, answer, is_estimated_by};
use crate::ivf::calibrate;
use crate::ivf::format::{ListLayout, RowForm, Shape};
use pgrx::pg_sys;

/// Cost of a centroid compared with the query, for each of its bytes, in units of cpu_tuple_cost: 20 ns, by
/// what a sequential scan of vectors takes for what the planner counts.
const CENTROID_BYTE: f64 = 0.0015;
/// Cost of a row estimated by its code, and for each byte of that.
const ESTIMATE: f64 = 0.15;
const ESTIMATE_BYTE: f64 = 0.003;
/// Cost of a row compared by its value: for each of its bytes.
const VALUE_BYTE: f64 = 0.0015;
/// Cost of a row whose keys are looked at.
const KEY: f64 = 0.1;
/// How much farther a search among few rows goes than the curve says.
const MARGIN: f64 = 1.5;
/// Cost of a row that is looked at in the table.
const LOOK: f64 = 30.0;
/// Cost of beginning a scan: the query is rotated and coded.
const SCAN: f64 = 300.0;
/// Rows looked at for each that is wanted.
const LOOKS: f64 = 4.0;
/// Cost of a row that is put to conditions in the table, beside what the server counts for reading it.
const TEST: f64 = 100.0;
/// Rows put to conditions in vain for each that is: those that may be as near as the last one wanted.
const TESTED_BEYOND: f64 = 1.0;

/// Whether an index that the planner considers is of one of these access methods.
pub fn is_ours(index: &pg_sys::IndexOptInfo) -> bool {
    is_estimated_by(index, Some(amcostestimate))
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
    unsafe { answer(root, path, loop_count, answers, estimate) }
}

/// Rows looked at for each that comes next, where rows are filtered out: the rougher codes are, the more
/// seem to be as near. Measured with one bit a dimension: 40 to 70.
fn sifted_per_row(shape: &Shape) -> f64 {
    match shape.form {
        RowForm::Codes(_) => {
            let bits = 8.0 * shape.row_len as f64 / shape.dims.max(1) as f64;
            1.0 + 50.0 / (bits * bits).max(1.0)
        }
        RowForm::Values => 1.0,
    }
}

/// A scan reads its lists before its first row, and the others while more rows are asked for. The fewer rows
/// meet conditions, the more lists.
fn estimate(scan: &Considered<'_>) -> Estimate {
    // SAFETY: reads a setting.
    let per_tuple = unsafe { pg_sys::cpu_tuple_cost };
    let (random_page, next_page) = scan.page_costs();
    let (index, meta) = (scan.index, read_meta(scan.index));
    let method = check(index, META_BLOCK, || meta.method());
    let declared = Declared::of(index, method).lists;
    let mut settings = Settings::of(method).grown(meta.lists as usize, declared);
    let target = &mut settings.target_recall;
    *target = target.map(|target| scan.recall_up_to_page(target as f64) as f32);
    let shape = check(index, META_BLOCK, || meta.shape());
    let lists = meta.lists.max(1) as usize;
    let rows = scan.rows();
    let matching = scan.matching.clamp(1e-9, 1.0);
    let among = (matching * scan.passing).clamp(1e-9, 1.0);
    let rank = calibrate::RANK as f64 / among;
    let probes = settings.probes_for(meta.curve(), lists, rank as usize);
    let probes = match among < 1.0 {
        true => (probes as f64 * MARGIN).max(rank / rows.max(1.0) * lists as f64),
        false => probes as f64,
    };
    let probes = probes.min(lists as f64);
    let share = probes / lists as f64;

    let in_lists = rows * meta.copies as f64;
    let of_match = match shape.form {
        RowForm::Codes(_) => ESTIMATE + ESTIMATE_BYTE * shape.row_len as f64,
        RowForm::Values => ESTIMATE + VALUE_BYTE * shape.row_len as f64,
    };
    let per_row = match matching < 1.0 {
        true => KEY + matching * of_match,
        false => of_match,
    };
    let rows = rows * matching;
    let looks = match shape.form {
        RowForm::Codes(_) => LOOKS * calibrate::RANK as f64,
        RowForm::Values => 0.0,
    };
    // a list's pages lie one after the other
    let capacity = ListLayout::of(&shape).capacity().max(1) as f64;
    let list_pages = (in_lists / capacity).max(lists as f64);
    let missed = scan.missed(list_pages);
    let reading = |lists: f64, pages: f64| {
        missed * (lists.min(pages) * random_page + (pages - lists).max(0.0) * next_page)
    };
    let fixed = per_tuple * (SCAN + lists as f64 * shape.centroid_len() as f64 * CENTROID_BYTE);
    let all = per_tuple * in_lists * per_row;
    let startup = fixed
        + share * all
        + reading(probes, share * list_pages)
        + per_tuple * LOOK * looks.min(rows);
    let (startup, sifted) = match scan.passing < 1.0 {
        // the server counts those that are tested until there are enough
        true => {
            let beyond = (TESTED_BEYOND * scan.wanted / scan.passing).min(rows);
            (startup + per_tuple * TEST * beyond, 1.0)
        }
        false => (startup, sifted_per_row(&shape)),
    };
    // the other lists are read twice: batches begin anew
    let rest = 1.0 - share;
    let total = startup
        + 2.0 * rest * all
        + 2.0 * reading(lists as f64 - probes, rest * list_pages)
        + per_tuple * LOOK * sifted * (rows - looks).max(0.0);
    Estimate { startup, total }
}
