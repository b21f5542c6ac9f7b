//! A random sample of the rows that an index is being built from.

use super::rows::Rows;
use crate::hnsw::format::RawTid;
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
/// once. `seed` decides which rows of an unchanged table. The rows are those the build itself will see: the same predicate, expressions and, for
/// `CONCURRENTLY`, an MVCC snapshot.
///
/// What `f` allocates from the server is for `f` to free, as in a build.
pub fn sample(
    table: Rows,
    rows_wanted: u64,
    seed: u64,
    mut f: impl FnMut(Datum, RawTid),
) -> Sample {
    let heap = table.heap();
    // SAFETY: an open table.
    let blocks =
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(heap, pg_sys::ForkNumber::MAIN_FORKNUM) };
    let mut rng = fastrand::Rng::with_seed(seed);
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
        let mut given = 0;
        table.each_of(start, length, |value, tid| {
            seen += 1;
            if given < share {
                given += 1;
                f(value, tid);
            }
        });
        rows += given;
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
