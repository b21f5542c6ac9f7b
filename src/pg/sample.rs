//! A random sample of the rows that an index is being built from.

use super::relation::Index;
use pgrx::pg_sys::{self, Datum};

/// Rows that one place of the table gives: more places say more of the table, and cost more.
const ROWS_PER_RANGE: u64 = 50;

/// What was sampled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// values handed out
    pub rows: u64,
    /// values that the whole table has for the index; an estimate, unless all of it was read
    pub table_rows: f64,
}

/// Hands the indexed values of about `rows_wanted` rows from all over the table to `f`, of all rows
/// where the table has fewer. NULLs are left out.
///
/// The table is divided into as many equal parts as it takes to get 50 rows from each. The parts
/// are visited in random order, and in each a run of blocks from a random place is read. Where few
/// rows are indexed (a partial index, deleted rows) the runs grow; at worst the whole table is read
/// once. The rows are those the build itself will see: the same predicate, expressions and, for
/// `CONCURRENTLY`, an MVCC snapshot.
///
/// What `f` allocates from the server is for `f` to free, as in a build.
///
/// # Safety
/// `heap`, `index` and `info` are what the server passed to `ambuild`, which is running.
pub unsafe fn sample(
    heap: pg_sys::Relation,
    index: Index,
    info: *mut pg_sys::IndexInfo,
    rows_wanted: u64,
    mut f: impl FnMut(Datum),
) -> Sample {
    // SAFETY: an open table.
    let blocks =
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(heap, pg_sys::ForkNumber::MAIN_FORKNUM) };
    let table = Table { heap, index, info };
    let mut rng = fastrand::Rng::new();
    let parts = Parts::new(blocks, rows_wanted);
    let mut order: Vec<u32> = (0..parts.count).collect();
    rng.shuffle(&mut order);

    // SAFETY: an open table.
    let scans_before = unsafe { scans_counted(heap).map_or(0, |scans| *scans) };
    let mut rows = 0;
    let mut seen = 0;
    let mut blocks_read: u64 = 0;
    let mut run = 1;
    for (visited, part) in order.into_iter().enumerate() {
        // what earlier parts lacked or gave too much, the others make up for
        let parts_left = parts.count as u64 - visited as u64;
        let share = rows_wanted.saturating_sub(rows).div_ceil(parts_left);
        if share == 0 {
            break;
        }
        let range = parts.range(part);
        if blocks_read > 0 {
            let enough = (share as f64 * blocks_read as f64 / seen as f64).ceil();
            // no more than twice the last: one empty part does not say that all are
            run = enough.clamp(1.0, 2.0 * run as f64) as u32;
        }
        let length = run.min(range.len() as u32);
        let start = range.start + rng.u32(0..=range.len() as u32 - length);
        // SAFETY: as promised by the caller.
        let (given, found) = unsafe { table.read(start, length, share, &mut f) };
        rows += given;
        seen += found;
        blocks_read += length as u64;
    }
    // a sample is no scan of the table, and surely not one for every run of blocks
    // SAFETY: an open table.
    if let Some(scans) = unsafe { scans_counted(heap) } {
        *scans = scans_before;
    }
    Sample {
        rows,
        table_rows: if blocks_read == 0 {
            0.0
        } else {
            seen as f64 * (blocks as f64 / blocks_read as f64)
        },
    }
}

/// The sequential scans of a table that its statistics will show.
///
/// # Safety
/// `heap` is open.
unsafe fn scans_counted<'a>(heap: pg_sys::Relation) -> Option<&'a mut i64> {
    // SAFETY: as promised by the caller; on the backend's thread.
    unsafe {
        let stats = (*heap).pgstat_info.as_mut()?;
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        return Some(&mut stats.t_counts.t_numscans);
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        return Some(&mut stats.counts.numscans);
    }
}

/// The blocks of a table in equal parts.
struct Parts {
    blocks: u32,
    count: u32,
}

impl Parts {
    fn new(blocks: u32, rows_wanted: u64) -> Self {
        let count = rows_wanted
            .div_ceil(ROWS_PER_RANGE)
            .min(blocks as u64)
            .min(u32::MAX as u64);
        Parts {
            blocks,
            count: count as u32,
        }
    }

    /// The blocks of a part; never empty.
    fn range(&self, part: u32) -> std::ops::Range<u32> {
        let edge = |part: u64| (part * self.blocks as u64 / self.count as u64) as u32;
        edge(part as u64)..edge(part as u64 + 1)
    }
}

/// What an index is built from.
#[derive(Clone, Copy)]
struct Table {
    heap: pg_sys::Relation,
    index: Index,
    info: *mut pg_sys::IndexInfo,
}

/// What is done with the rows of one run of blocks.
struct Run<'f> {
    f: &'f mut dyn FnMut(Datum),
    /// rows handed to `f`
    given: u64,
    /// rows seen
    found: u64,
    /// rows to hand to `f` at most
    most: u64,
}

impl Table {
    /// Hands out at most `most` rows of a run of blocks: how many were given, and how many there
    /// are.
    ///
    /// # Safety
    /// As for [`sample`].
    unsafe fn read(
        self,
        start: u32,
        length: u32,
        most: u64,
        f: &mut dyn FnMut(Datum),
    ) -> (u64, u64) {
        let mut run = Run {
            f,
            given: 0,
            found: 0,
            most,
        };
        // SAFETY: as promised by the caller; the callback gets `run`. Nothing between the guard
        // and the server has a destructor.
        unsafe {
            let scan = (*(*self.heap).rd_tableam)
                .index_build_range_scan
                .expect("table access methods have it");
            // Any version that may be visible to somebody will do, so that nobody is waited for;
            // with CONCURRENTLY the server reads by a snapshot of its own, and it says so.
            let any_visible = !(*self.info).ii_Concurrent;
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                scan(
                    self.heap,
                    self.index.raw(),
                    self.info,
                    // from where we say, not from where another scan is
                    false,
                    any_visible,
                    // the progress reported is the build's
                    false,
                    start,
                    length,
                    Some(row),
                    (&raw mut run).cast(),
                    std::ptr::null_mut(),
                )
            });
        }
        (run.given, run.found)
    }
}

/// Called by the server for every row.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn row(
    _index: pg_sys::Relation,
    _tid: pg_sys::ItemPointer,
    values: *mut Datum,
    isnull: *mut bool,
    _alive: bool,
    state: *mut std::ffi::c_void,
) {
    pgrx::check_for_interrupts!();
    // SAFETY: `state` is the run that passed this callback, which waits for the scan; the arrays
    // have an entry for the indexed column.
    unsafe {
        if *isnull {
            return;
        }
        let run = &mut *state.cast::<Run>();
        run.found += 1;
        if run.given < run.most {
            run.given += 1;
            (run.f)(*values);
        }
    }
}
