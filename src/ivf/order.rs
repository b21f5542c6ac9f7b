//! Candidates of a search, and rows in exact order.

use rustc_hash::FxHashMap;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::hash_map::Entry;

/// A row found in a list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<R> {
    /// what its internal distance is hardly below
    pub low: f32,
    /// what it is hardly above
    pub high: f32,
    /// the row
    pub row: R,
}

/// The rows of some lists that may be among the nearest.
#[derive(Debug)]
pub struct Candidates<R> {
    /// the least upper bounds, as many as rows are wanted
    highs: BinaryHeap<Bound>,
    wanted: usize,
    kept: Vec<Candidate<R>>,
    /// the least lower bound of those left out
    left_out: f32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound(f32);

impl Eq for Bound {}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl<R> Default for Candidates<R> {
    fn default() -> Self {
        Candidates {
            highs: BinaryHeap::new(),
            wanted: 0,
            kept: Vec::new(),
            left_out: f32::INFINITY,
        }
    }
}

impl<R> Candidates<R> {
    /// Begins a search for so many rows, at least one; one that is offered twice counts twice.
    pub fn begin(&mut self, wanted: usize) {
        self.highs.clear();
        self.kept.clear();
        self.wanted = wanted.max(1);
        self.left_out = f32::INFINITY;
    }

    /// A row whose lower bound is above this is not among those wanted.
    #[inline(always)]
    pub fn bound(&self) -> f32 {
        match self.highs.len() < self.wanted {
            true => f32::INFINITY,
            false => self.highs.peek().map_or(f32::INFINITY, |bound| bound.0),
        }
    }

    /// How many upper bounds are known fewer than rows are wanted.
    pub fn missing(&self) -> usize {
        self.wanted.saturating_sub(self.highs.len())
    }

    /// Something of each row that is among the nearest for certain, as far as bounds tell.
    pub fn nearest<T>(&self, of_row: impl Fn(&R) -> T) -> Vec<T> {
        let bound = self.bound();
        let is_near = |candidate: &&Candidate<R>| candidate.high <= bound;
        let nearest = self.kept.iter().filter(is_near);
        nearest.map(|candidate| of_row(&candidate.row)).collect()
    }

    /// Rows that it has memory for.
    pub fn capacity(&self) -> usize {
        self.kept.capacity()
    }

    /// The rows kept so far.
    pub fn kept(&self) -> impl Iterator<Item = &Candidate<R>> {
        self.kept.iter()
    }

    /// Leaves out rows of this lower bound, and farther ones.
    #[inline(always)]
    pub fn leave_out(&mut self, low: f32) {
        self.left_out = self.left_out.min(low);
    }

    /// Keeps a row between two bounds.
    #[inline]
    pub fn keep(&mut self, low: f32, high: f32, row: R) {
        if self.highs.len() < self.wanted {
            self.highs.push(Bound(high));
        } else if let Some(mut worst) = self.highs.peek_mut()
            && high < worst.0
        {
            worst.0 = high;
        }
        self.kept.push(Candidate { low, high, row });
    }

    /// Ends the search: those that may be among the nearest, and the least lower bound of all others.
    pub fn finish(&mut self) -> (&mut Vec<Candidate<R>>, f32) {
        let bound = self.bound();
        let left_out = &mut self.left_out;
        self.kept.retain(|candidate| {
            let is_near = candidate.low <= bound;
            if !is_near {
                *left_out = left_out.min(candidate.low);
            }
            is_near
        });
        (&mut self.kept, self.left_out)
    }
}

/// How far the errors of two estimates of a row, relative to two centroids, go together.
const CORRELATION: f32 = 0.5;

impl<R> Candidate<R> {
    /// Takes in what another estimate of the same row says.
    fn join(&mut self, other: &Candidate<R>) {
        let estimate = |of: &Candidate<R>| (of.low + of.high) / 2.0;
        let error = |of: &Candidate<R>| (of.high - of.low) / 2.0;
        let (a, b) = (estimate(self), estimate(other));
        let (s, t) = (error(self), error(other));
        // the weights that are best of independent ones
        let weight = t * t / (s * s + t * t).max(f32::MIN_POSITIVE);
        let estimate = b + weight * (a - b);
        let (s, t) = (weight * s, (1.0 - weight) * t);
        let error = (s * s + t * t + 2.0 * CORRELATION * s * t).sqrt();
        (self.low, self.high) = (estimate - error, estimate + error);
    }
}

/// Makes one of the candidates of a row that was found twice: two estimates say more than one. `at` is working memory.
pub fn join_copies<R: Copy>(
    candidates: &mut Vec<Candidate<R>>,
    at: &mut FxHashMap<u64, u32>,
    row: impl Fn(&R) -> u64,
) {
    at.clear();
    let mut kept = 0;
    for n in 0..candidates.len() {
        let candidate = candidates[n];
        match at.entry(row(&candidate.row)) {
            Entry::Occupied(first) => candidates[*first.get() as usize].join(&candidate),
            Entry::Vacant(new) => {
                new.insert(kept as u32);
                candidates[kept] = candidate;
                kept += 1;
            }
        }
    }
    candidates.truncate(kept);
}

/// What a closer look at a row told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Look {
    /// the snapshot does not see it, or it was seen before
    Gone,
    /// a better lower bound
    Closer(f32),
    /// its distance as the operator computes it, and as an internal one
    Exact {
        /// the operator's
        operator: f64,
        /// the same as an internal distance
        internal: f32,
    },
}

/// A row whose exact distance is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exact<R> {
    /// distance as the operator computes it
    pub operator: f64,
    /// internal distance
    pub internal: f32,
    /// the row
    pub row: R,
}

/// A distance and a number as one number to sort by: by the distance in the order of [`f32::total_cmp`], then by the
/// number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ranked(u64);

impl Ranked {
    /// Of these two.
    #[inline(always)]
    pub fn of(distance: f32, number: u32) -> Ranked {
        let bits = distance.to_bits();
        let negative = (bits as i32 >> 31) as u32;
        let order = bits ^ (negative | 1 << 31);
        Ranked((order as u64) << 32 | number as u64)
    }

    /// The distance.
    #[inline(always)]
    pub fn distance(self) -> f32 {
        let order = (self.0 >> 32) as u32;
        let positive = (order as i32 >> 31) as u32;
        f32::from_bits(order ^ (!positive | 1 << 31))
    }

    /// The number.
    #[inline(always)]
    pub fn number(self) -> usize {
        self.0 as u32 as usize
    }
}

/// The rows that come after one, as things are.
#[derive(Debug, Clone, Copy)]
pub struct Coming<'a, R> {
    rows: &'a [R],
    waiting: &'a [Ranked],
}

impl<'a, R> Coming<'a, R> {
    /// The one after so many others.
    #[inline]
    pub fn after(self, others: usize) -> Option<&'a R> {
        let at = self.waiting.len().checked_sub(others + 1)?;
        self.rows.get(self.waiting[at].number())
    }
}

/// Rows by their lower bounds. One is handed out when its distance is exact and no other's bound is
/// less.
#[derive(Debug)]
pub struct Order<R> {
    rows: Vec<R>,
    /// lower bounds of the rows not looked at, and which they are; the nearest last
    waiting: Vec<Ranked>,
    looked_at: BinaryHeap<Reverse<LookedAt<R>>>,
}

#[derive(Debug)]
struct LookedAt<R> {
    low: f32,
    /// distance as the operator computes it, once known
    exact: Option<f64>,
    row: R,
}

impl<R> PartialEq for LookedAt<R> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<R> Eq for LookedAt<R> {}

impl<R> PartialOrd for LookedAt<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R> Ord for LookedAt<R> {
    fn cmp(&self, other: &Self) -> Ordering {
        // of two that seem equally far the one whose distance is not known comes first
        let key = |exact: Option<f64>| exact.unwrap_or(f64::NEG_INFINITY);
        self.low
            .total_cmp(&other.low)
            .then_with(|| key(self.exact).total_cmp(&key(other.exact)))
    }
}

impl<R> Default for Order<R> {
    fn default() -> Self {
        Order {
            rows: Vec::new(),
            waiting: Vec::new(),
            looked_at: BinaryHeap::new(),
        }
    }
}

impl<R: Copy> Order<R> {
    /// Adds rows.
    pub fn extend(&mut self, candidates: impl IntoIterator<Item = Candidate<R>>) {
        for candidate in candidates {
            let ranked = Ranked::of(candidate.low, self.rows.len() as u32);
            self.waiting.push(ranked);
            self.rows.push(candidate.row);
        }
        self.waiting.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// Takes out the nearest row, unless that is farther than `limit`. `look` looks closer at a row, of those that it
    /// has not looked at yet with the others that wait.
    pub fn pop(
        &mut self,
        limit: f32,
        mut look: impl FnMut(&mut R, Option<Coming<'_, R>>) -> Look,
    ) -> Option<Exact<R>> {
        loop {
            let waiting = self.waiting.last().copied().map(Ranked::distance);
            let looked_at = self.looked_at.peek().map(|Reverse(first)| first.low);
            // of two that seem equally far the one not yet looked at comes first
            let is_new = match (waiting, looked_at) {
                (Some(waiting), Some(looked_at)) => waiting.total_cmp(&looked_at).is_le(),
                (waiting, _) => waiting.is_some(),
            };
            let low = if is_new { waiting } else { looked_at }?;
            if low > limit {
                return None;
            }
            let (row, what) = if is_new {
                let mut row = self.rows[self.waiting.pop()?.number()];
                let coming = Coming {
                    rows: &self.rows,
                    waiting: &self.waiting,
                };
                let what = look(&mut row, Some(coming));
                (row, what)
            } else {
                let Reverse(first) = self.looked_at.pop()?;
                if let Some(operator) = first.exact {
                    return Some(Exact {
                        operator,
                        internal: first.low,
                        row: first.row,
                    });
                }
                let mut row = first.row;
                let what = look(&mut row, None);
                (row, what)
            };
            let (low, exact) = match what {
                Look::Gone => continue,
                Look::Closer(closer) => (closer.max(low), None),
                Look::Exact { operator, internal } => (internal, Some(operator)),
            };
            self.looked_at.push(Reverse(LookedAt { low, exact, row }));
        }
    }

    /// The rows that were not looked at, nearest lower bounds first.
    pub fn nearest(&self) -> impl Iterator<Item = &R> {
        let waiting = self.waiting.iter().rev();
        waiting.map(|ranked| &self.rows[ranked.number()])
    }

    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.waiting.clear();
        self.looked_at.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranks_are_in_the_order_of_distances(a: f32, b: f32, numbers: (u32, u32)) {
            let (first, second) = (Ranked::of(a, numbers.0), Ranked::of(b, numbers.1));
            let order = a.total_cmp(&b).then(numbers.0.cmp(&numbers.1));
            prop_assert_eq!(first.cmp(&second), order);
            prop_assert_eq!(first.distance().to_bits(), a.to_bits());
            prop_assert_eq!(first.number(), numbers.0 as usize);
        }

        #[test]
        fn rows_come_in_exact_order_and_none_that_is_wanted_is_missing(
            rows in proptest::collection::vec((0f32..100.0, 0f32..10.0, -1f32..1.0), 1..200),
            wanted in 1usize..20,
        ) {
            // distance d; bounds low and high around an estimate off by less than the error
            let mut candidates = Candidates::default();
            candidates.begin(wanted);
            for (n, &(distance, error, part)) in rows.iter().enumerate() {
                let estimate = distance + part * error;
                let low = estimate - error;
                if low > candidates.bound() {
                    candidates.leave_out(low);
                } else {
                    candidates.keep(low, estimate + error, n);
                }
            }
            let mut order = Order::default();
            let (kept, limit) = candidates.finish();
            order.extend(kept.drain(..));
            let mut found = Vec::new();
            while let Some(exact) = order.pop(limit, |&mut n, _| Look::Exact {
                operator: rows[n].0 as f64,
                internal: rows[n].0,
            }) {
                found.push(exact.operator as f32);
            }
            let mut all: Vec<f32> = rows.iter().map(|row| row.0).collect();
            all.sort_by(f32::total_cmp);
            prop_assert!(found.len() >= wanted.min(all.len()));
            prop_assert_eq!(&found[..], &all[..found.len()]);
        }
    }
}
