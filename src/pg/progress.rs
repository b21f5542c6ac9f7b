//! What `pg_stat_progress_create_index` shows.

use pgrx::pg_sys;

/// Phases of an index build, as numbered for the server; 1 is its own "initializing".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub enum Phase {
    /// reading the table
    LoadingTuples = 2,
    /// linking nodes in memory
    BuildingGraph = 3,
    /// writing pages
    WritingIndex = 4,
    /// inserting rows one by one into pages
    InsertingTuples = 5,
    /// reading random rows of the table
    SamplingTuples = 6,
    /// finding the centroids of lists
    Clustering = 7,
    /// reading the table, and finding each row's lists
    AssigningTuples = 8,
    /// measuring how many lists a search needs
    Calibrating = 9,
}

/// The phase's name for a number, as the server asks for it.
pub fn phase_name(number: i64) -> Option<&'static std::ffi::CStr> {
    Some(match number {
        1 => c"initializing",
        2 => c"loading tuples",
        3 => c"building graph",
        4 => c"writing index",
        5 => c"inserting tuples",
        6 => c"sampling tuples",
        7 => c"performing k-means",
        8 => c"assigning tuples",
        9 => c"calibrating",
        _ => return None,
    })
}

/// Announces a phase.
pub fn phase(phase: Phase) {
    update(pg_sys::PROGRESS_CREATEIDX_SUBPHASE, phase as i64);
}

/// Announces how many tuples there are in all.
pub fn tuples_total(count: u64) {
    update(pg_sys::PROGRESS_CREATEIDX_TUPLES_TOTAL, count as i64);
}

/// Announces how many tuples are done.
pub fn tuples_done(count: u64) {
    update(pg_sys::PROGRESS_CREATEIDX_TUPLES_DONE, count as i64);
}

fn update(parameter: u32, value: i64) {
    // SAFETY: writes to this backend's own status entry.
    unsafe { pg_sys::pgstat_progress_update_param(parameter as i32, value) }
}
