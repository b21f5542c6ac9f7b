//! Rows that have to pass a test before they count as found. Tests are dear, so rows wait for theirs until
//! nothing nearer is expected, and come to it nearest first, some at a time.

use super::walk::Near;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Rows put to a test together.
const TESTED_AT_ONCE: usize = 32;

/// Rows that wait for a test.
pub struct Untested<R> {
    rows: BinaryHeap<Reverse<ByLeast<R>>>,
}

impl<R> Default for Untested<R> {
    fn default() -> Self {
        Untested {
            rows: BinaryHeap::new(),
        }
    }
}

impl<R> Untested<R> {
    /// Adds a row.
    #[inline]
    pub fn push(&mut self, near: Near<R>) {
        self.rows.push(Reverse(ByLeast(near)));
    }

    /// Takes out the nearest rows, as many as are tested together: those no farther than `next`, and for which it
    /// is not certain that they are farther than `farthest`.
    pub fn take(&mut self, next: f32, farthest: f32, rows: &mut Vec<Near<R>>) {
        rows.clear();
        while rows.len() < TESTED_AT_ONCE
            && let Some(Reverse(first)) = self.rows.peek()
            && first.0.distance <= next
            && first.least() <= farthest
            && let Some(Reverse(ByLeast(near))) = self.rows.pop()
        {
            rows.push(near);
        }
    }

    /// Rows that wait.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.rows.clear();
    }
}

/// A row by the least distance that it can have.
struct ByLeast<R>(Near<R>);

impl<R> ByLeast<R> {
    fn least(&self) -> f32 {
        self.0.distance - self.0.error
    }
}

impl<R> PartialEq for ByLeast<R> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<R> Eq for ByLeast<R> {}

impl<R> PartialOrd for ByLeast<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R> Ord for ByLeast<R> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.least().total_cmp(&other.least())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_wait_until_nothing_nearer_is_expected_and_come_nearest_first() {
        let mut untested = Untested::default();
        for n in (0..100u32).rev() {
            untested.push(Near {
                distance: n as f32,
                error: 0.5,
                row: n,
            });
        }
        let mut rows = Vec::new();
        let mut take = |next, farthest| {
            untested.take(next, farthest, &mut rows);
            rows.iter().map(|near| near.row).collect::<Vec<_>>()
        };
        assert_eq!(take(3.0, f32::INFINITY), [0, 1, 2, 3]);
        assert_eq!(take(3.0, f32::INFINITY), []);
        assert_eq!(take(f32::INFINITY, 5.5), [4, 5, 6], "6 may be as near");
        assert_eq!(take(f32::INFINITY, f32::INFINITY).len(), TESTED_AT_ONCE);
        assert_eq!(untested.len(), 100 - 7 - TESTED_AT_ONCE);
    }
}
