//! Which row of an ordered scan the user got last.

use crate::planner::limit::Limit;

/// Keeps rows that reach the user in order: knows the last one among those handed out that no filter
/// above the scan has kept back, as far as can be told. No nearer row may come after it.
pub struct Reached<T> {
    limit: Option<Limit>,
    /// rows that had passed when `last` was noted
    passed: i64,
    handed_out: Option<T>,
    /// the row that others may not come before
    pub last: Option<T>,
}

impl<T> Reached<T> {
    /// That of a scan that has handed out nothing.
    pub fn of(limit: Option<Limit>) -> Self {
        Reached {
            passed: limit.and_then(|limit| limit.passed()).unwrap_or(0),
            limit,
            handed_out: None,
            last: None,
        }
    }

    /// Notes what became of the row handed out last. Called when the next one is asked for.
    pub fn catch_up(&mut self) {
        if let Some(passed) = self.limit.and_then(|limit| limit.passed()) {
            if passed == self.passed {
                return;
            }
            self.passed = passed;
        }
        if let Some(row) = self.handed_out.take() {
            self.last = Some(row);
        }
    }

    /// Notes a row that is handed out.
    pub fn hand_out(&mut self, row: T) {
        self.handed_out = Some(row);
    }
}
