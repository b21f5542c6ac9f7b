//! The LIMIT above an index scan: how many rows it asks for, and how many have come through.
//!
//! An index scan is not told. It has to decide how far to search before it hands out its first
//! row, and which of the rows it has handed out were filtered out above it.

use pgrx::pg_sys;

/// Recall that no search is asked to go beyond for the rows of a page, as no setting asks for more.
const MOST_RECALL: f64 = 0.9999;

/// The recall of all rows up to the last of a page at which `target` of the page's own are found, where these are so large
/// a part of them.
pub fn recall_up_to_page(target: f64, page: f64) -> f64 {
    let missed = (1.0 - target) * page;
    (1.0 - missed).min(MOST_RECALL).max(target)
}

/// The Limit node above an index scan of a running query.
#[derive(Clone, Copy)]
pub struct Limit {
    state: *mut pg_sys::LimitState,
    counts: Counts,
}

/// What a Limit node's count of rows tells a scan below it.
#[derive(Clone, Copy, PartialEq)]
enum Counts {
    /// a row that passes has been counted before the scan is asked for the next one
    AtOnce,
    /// rows are collected in between
    Late,
}

impl Limit {
    /// # Safety
    /// `state` is of a running query, and outlives this.
    pub unsafe fn new(state: *mut pg_sys::LimitState) -> Self {
        Limit {
            state,
            counts: Counts::AtOnce,
        }
    }

    /// The same, where rows on their way to it are collected.
    pub fn through_a_sort(self) -> Self {
        Limit {
            counts: Counts::Late,
            ..self
        }
    }

    /// Rows that the LIMIT with its OFFSET asks for; `None` for all of them.
    pub fn wanted(&self) -> Option<u64> {
        // SAFETY: an entry, and a scan that holds this, live no longer than their query's memory,
        // which has the Limit's state; a Limit node computes its bounds before it asks for a row.
        let limit = unsafe { &*self.state };
        (!limit.noCount)
            .then(|| (limit.count.max(0) as u64).saturating_add(limit.offset.max(0) as u64))
    }

    /// Whether OFFSET leaves out rows before those wanted.
    pub fn skips(&self) -> bool {
        // SAFETY: as above.
        let limit = unsafe { &*self.state };
        !limit.noCount && limit.offset > 0
    }

    /// What to find of the rows up to the last one wanted, so that `target` of those after OFFSET are among them:
    /// each row that is missed before them has one more of those behind come into their places.
    pub fn recall_up_to_page(&self, target: f32) -> f32 {
        if !self.skips() || target <= 0.0 {
            return target;
        }
        // SAFETY: as above.
        let limit = unsafe { &*self.state };
        let (offset, count) = (limit.offset as f64, limit.count.max(1) as f64);
        recall_up_to_page(target as f64, count / (offset + count)) as f32
    }

    /// Rows that have reached the LIMIT, those that OFFSET skips among them. While the number stays
    /// the same, every row handed out has been filtered out. `None` where it cannot be told.
    pub fn passed(&self) -> Option<i64> {
        // SAFETY: as above.
        (self.counts == Counts::AtOnce).then(|| unsafe { (*self.state).position })
    }
}
