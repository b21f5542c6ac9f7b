//! Search of a graph of blocks: one resumable best-first walk over estimates.
//!
//! The frontier is ordered by estimated distance. Expanding a node is one page visit: it tells the
//! node's own near distance (from its compact code) and estimates for its neighbours. A walk for
//! `rank` rows ends when the nearest estimate left exceeds the *multiple* times the distance of the
//! `rank`-th nearest row found, so that easy queries end early and hard ones go on. Neighbours
//! beyond that bound are put aside and come back when more rows are asked for.

use super::untested::Untested;
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

/// Where blocks are kept: in memory, or in an index's pages. A store knows its query.
pub trait BlockStore {
    /// Names a block.
    type Node: Copy + Ord;
    /// What a search keeps of a row it has found.
    type Row;

    /// A number of its own for every node, never 0.
    fn key(node: Self::Node) -> u64;

    /// Reads a block: its own row, unless it is deleted or gone, and every neighbour with its
    /// distance.
    fn expand(
        &mut self,
        node: Self::Node,
        neighbour: impl FnMut(Self::Node, f32),
    ) -> Option<Near<Self::Row>>;

    /// Says that a node may be expanded soon.
    fn prefetch(&mut self, _node: Self::Node) {}
}

/// A row found, with its distance to the query as its compact code tells it.
#[derive(Debug, Clone, Copy)]
pub struct Near<R> {
    /// internal distance ([`crate::quantize`])
    pub distance: f32,
    /// how far the distance of the vector itself can be from it
    pub error: f32,
    /// the row
    pub row: R,
}

/// Standard deviations of distances by compact codes: what is farther from another row is told by them.
const TOLD_BY: f32 = 2.0;
/// Standard deviations that the error of [`Near`] stands for ([`crate::quantize::Query::error_bound`]).
const OF_ERROR: f32 = 7.0;

impl<R> Near<R> {
    /// So many standard deviations of the distance.
    #[inline]
    pub fn deviations(&self, count: f32) -> f32 {
        self.error * (count / OF_ERROR)
    }

    /// What the distance of the vector itself is hardly above.
    #[inline]
    pub fn hardly_above(&self) -> f32 {
        self.distance + self.deviations(TOLD_BY)
    }
}

/// A node seen and not expanded.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen<N> {
    estimate: f32,
    node: N,
}

impl<N: Copy + Ord> Eq for Seen<N> {}

impl<N: Copy + Ord> PartialOrd for Seen<N> {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<N: Copy + Ord> Ord for Seen<N> {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.estimate
            .total_cmp(&other.estimate)
            .then_with(|| self.node.cmp(&other.node))
    }
}

/// The nearest distances found, as many as a rank asks for; tells the farthest of them.
#[derive(Debug, Default)]
pub struct Nearest {
    heap: BinaryHeap<TotalF32>,
    rank: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct TotalF32(f32);

impl Eq for TotalF32 {}

impl PartialOrd for TotalF32 {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TotalF32 {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Nearest {
    /// Of that many distances, none found yet.
    pub fn of_rank(rank: usize) -> Self {
        Nearest {
            heap: BinaryHeap::new(),
            rank,
        }
    }

    /// Adds a distance.
    #[inline]
    pub fn push(&mut self, distance: f32) {
        if self.heap.len() < self.rank {
            self.heap.push(TotalF32(distance));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && distance < worst.0
        {
            worst.0 = distance;
        }
    }

    /// Distance of the row of that rank; infinite while fewer are found.
    #[inline]
    pub fn worst(&self) -> f32 {
        if self.heap.len() < self.rank {
            return f32::INFINITY;
        }
        self.heap.peek().map_or(f32::NEG_INFINITY, |worst| worst.0)
    }

    fn reset<R>(&mut self, rank: usize, found: &[Near<R>]) {
        self.heap.clear();
        self.rank = rank;
        for near in found {
            self.push(near.distance);
        }
    }
}

/// Nodes seen: an open-addressing set of their keys, cleared cheaply from query to query.
#[derive(Debug)]
pub struct KeySet {
    slots: Vec<u64>,
    used: usize,
}

impl Default for KeySet {
    fn default() -> Self {
        KeySet::new()
    }
}

impl KeySet {
    const SMALLEST: usize = 1024;

    /// An empty set.
    pub fn new() -> Self {
        KeySet {
            slots: Vec::new(),
            used: 0,
        }
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        if self.slots.len() > 16 * Self::SMALLEST {
            self.slots = vec![0; Self::SMALLEST];
        } else {
            self.slots.fill(0);
        }
        self.used = 0;
    }

    /// Adds a key, which is not 0; false where it was there.
    #[inline]
    pub fn insert(&mut self, key: u64) -> bool {
        if self.slots.is_empty() {
            self.slots = vec![0; Self::SMALLEST];
        }
        let mask = self.slots.len() - 1;
        let mut at = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask;
        loop {
            match self.slots[at] {
                0 => break,
                there if there == key => return false,
                _ => at = (at + 1) & mask,
            }
        }
        self.slots[at] = key;
        self.used += 1;
        if 2 * self.used > self.slots.len() {
            self.grow();
        }
        true
    }

    #[cold]
    fn grow(&mut self) {
        let larger = vec![0; 4 * self.slots.len()];
        let keys = std::mem::replace(&mut self.slots, larger);
        self.used = 0;
        for key in keys.into_iter().filter(|&key| key != 0) {
            self.insert(key);
        }
    }
}

/// Which of the rows that wait are put to a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tested {
    /// those nearer than what the walk expands next, as far as estimates tell
    Nearer,
    /// as far as the walk is aimed
    All,
}

/// How far a walk goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// rows that the walk is to find
    pub rank: usize,
    /// stopping multiple on plain distance for that rank; at least 1
    pub multiple: f32,
    /// a walk does not end before it has this many rows, and has expanded every node that seemed
    /// nearer than the farthest of them: pgvector's meaning of `ef_search`. 0 is no such floor
    pub ef: usize,
    /// nodes that seem no farther than this are expanded, whatever the multiple says
    pub reach: f32,
    /// rows farther than this are of no use; infinite where all are
    pub within: f32,
    /// how many standard deviations of an estimate a row may be nearer than it seems, where `within`
    /// says how far the walk goes
    pub deviations: f32,
}

impl Default for Effort {
    fn default() -> Self {
        Effort {
            rank: 0,
            multiple: 1.0,
            ef: 0,
            reach: f32::NEG_INFINITY,
            within: f32::INFINITY,
            deviations: 0.0,
        }
    }
}

/// So many rows have to be nearer than anything left before a walk that looks no farther than
/// [`Effort::within`] knows that it has arrived.
const ARRIVED: usize = 10;

/// What a walk has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// nodes whose block was read
    pub expanded: u64,
    /// neighbours' distances estimated
    pub estimated: u64,
}

/// The internal distance that a multiple of the plain distance `worst` is.
#[inline]
pub(super) fn bound(worst: f32, multiple: f32) -> f32 {
    if worst.is_infinite() {
        return worst;
    }
    // an inner product beyond the build's largest makes distances negative
    worst + (multiple * multiple - 1.0) * worst.abs()
}

/// Nodes asked for ahead of their expansion.
const FLIGHT: usize = 2;

/// Entries that a search starts from. The nearest few lead to the neighbourhood of most queries; the
/// others wait until the walk comes to their distance, and most walks end before. A query far from
/// all rows has about equally near ones in places that do not lead to each other: there they count.
pub const SEEDS: usize = 32;

/// A walk. It can be used again for another query, which keeps its memory.
pub struct Walk<S: BlockStore> {
    frontier: BinaryHeap<Reverse<Seen<S::Node>>>,
    /// taken from the frontier and asked for, to be expanded next, the first one first
    flight: VecDeque<Seen<S::Node>>,
    /// beyond the bound when they were seen; a node can be here several times
    aside: Vec<Seen<S::Node>>,
    seen: KeySet,
    /// every row found, in the order of expansion
    found: Vec<Near<S::Row>>,
    /// expanded, and to be put to a test before they are found
    untested: Untested<S::Row>,
    /// working space of tests
    tests: Vec<Near<S::Row>>,
    verdicts: Vec<bool>,
    /// rows put to that test
    tested: u64,
    /// distances of all rows expanded where they are put to it
    met: Vec<f32>,
    nearest: Nearest,
    floor: Nearest,
    /// of all rows, wanted or not
    arrival: Nearest,
    /// sum of what estimates of expanded nodes were off by, squared; of walks within a distance
    squared_errors: f64,
    estimates_seen: u64,
    effort: Effort,
    work: Work,
}

impl<S: BlockStore> Default for Walk<S> {
    fn default() -> Self {
        Walk {
            frontier: BinaryHeap::new(),
            flight: VecDeque::with_capacity(FLIGHT),
            aside: Vec::new(),
            seen: KeySet::new(),
            found: Vec::new(),
            untested: Untested::default(),
            tests: Vec::new(),
            verdicts: Vec::new(),
            tested: 0,
            met: Vec::new(),
            nearest: Nearest::default(),
            floor: Nearest::default(),
            effort: Effort::default(),
            arrival: Nearest::of_rank(ARRIVED),
            squared_errors: 0.0,
            estimates_seen: 0,
            work: Work::default(),
        }
    }
}

impl<S: BlockStore> Walk<S> {
    /// Forgets the last query and starts from `seeds`, nodes with estimates.
    pub fn start(&mut self, seeds: impl IntoIterator<Item = (S::Node, f32)>) {
        self.frontier.clear();
        self.flight.clear();
        self.aside.clear();
        self.seen.clear();
        self.found.clear();
        self.untested.clear();
        self.tested = 0;
        self.met.clear();
        self.work = Work::default();
        for (node, estimate) in seeds {
            if self.seen.insert(S::key(node)) {
                self.frontier.push(Reverse(Seen { estimate, node }));
            }
        }
        self.arrival.reset::<S::Row>(ARRIVED, &[]);
        (self.squared_errors, self.estimates_seen) = (0.0, 0);
        self.aim(Effort {
            rank: 1,
            ..Effort::default()
        });
    }

    /// Sets how far the walk is to go from here. What was put aside and is within the new bound
    /// comes back.
    pub fn aim(&mut self, effort: Effort) {
        self.effort = effort;
        self.nearest.reset(effort.rank, &self.found);
        self.floor.reset(effort.ef, &self.found);
        let bound = self.bound();
        let mut i = 0;
        while i < self.aside.len() {
            if self.aside[i].estimate > bound {
                i += 1;
                continue;
            }
            let seen = self.aside.swap_remove(i);
            if self.seen.insert(S::key(seen.node)) {
                self.frontier.push(Reverse(seen));
            }
        }
    }

    /// What is farther need not be expanded.
    #[inline]
    fn bound(&self) -> f32 {
        let Effort {
            multiple,
            ef,
            reach,
            within,
            deviations,
            ..
        } = self.effort;
        let mut farthest = bound(self.nearest.worst(), multiple).max(reach);
        if ef > 0 {
            farthest = farthest.max(self.floor.worst());
        }
        if within < f32::INFINITY {
            let arrived = self.arrival.worst().max(within);
            let unsure = arrived + deviations * self.deviation();
            farthest = farthest.min(bound(arrived, multiple).max(unsure));
        }
        farthest
    }

    /// How far off estimates are, as far as the walk has seen.
    fn deviation(&self) -> f32 {
        match self.estimates_seen {
            0 => 0.0,
            count => (self.squared_errors / count as f64).sqrt() as f32,
        }
    }

    /// Expands a node: the nearest of the frontier, except that a few are taken out ahead, so that
    /// their memory is there when they are expanded. All within the bound are expanded sooner or
    /// later, so the order matters little. `None` where the walk has got as far as it was to go, or
    /// seen everything; else the index of the row in [`Walk::found`], unless the node had none.
    #[inline]
    pub fn step(&mut self, store: &mut S) -> Option<Option<usize>> {
        let near = self.expand_next(store)?;
        Some(near.map(|near| self.find(near)))
    }

    /// The same where rows have to pass a test before they count as found: the row waits for
    /// [`Walk::test_waiting`]. `None` where the walk has got as far as it was to go.
    #[inline]
    pub fn step_and_wait(&mut self, store: &mut S) -> Option<()> {
        if let Some(near) = self.expand_next(store)? {
            self.met.push(near.distance);
            self.untested.push(near);
        }
        Some(())
    }

    /// Puts rows that wait to the test, nearest first, because tests are dear: those `nearer` than what is
    /// expanded next, or all, but none that is farther than the rows aimed at. `passes` says of some at a time
    /// which of them pass.
    pub fn test_waiting(
        &mut self,
        which: Tested,
        mut passes: impl FnMut(&[Near<S::Row>], &mut Vec<bool>),
    ) {
        let next = match which {
            Tested::Nearer => self.next_estimate().unwrap_or(f32::INFINITY),
            Tested::All => f32::INFINITY,
        };
        let mut rows = std::mem::take(&mut self.tests);
        let mut verdicts = std::mem::take(&mut self.verdicts);
        loop {
            let farthest = self.farthest_aimed_at();
            self.untested.take(next, farthest, &mut rows);
            if rows.is_empty() {
                break;
            }
            self.tested += rows.len() as u64;
            passes(&rows, &mut verdicts);
            for (near, &passes) in rows.drain(..).zip(&verdicts) {
                if passes {
                    self.find(near);
                }
            }
        }
        (self.tests, self.verdicts) = (rows, verdicts);
    }

    /// A row farther than this is not among those that the walk is to find, as it stands.
    #[inline]
    fn farthest_aimed_at(&self) -> f32 {
        match self.effort.ef {
            0 => self.nearest.worst(),
            _ => self.nearest.worst().max(self.floor.worst()),
        }
    }

    #[inline]
    fn find(&mut self, near: Near<S::Row>) -> usize {
        self.nearest.push(near.distance);
        if self.effort.ef > 0 {
            self.floor.push(near.distance);
        }
        self.found.push(near);
        self.found.len() - 1
    }

    /// Expands the next node; `None` where there is none within the bound.
    #[inline]
    fn expand_next(&mut self, store: &mut S) -> Option<Option<Near<S::Row>>> {
        let bound = self.bound();
        let next = loop {
            while self.flight.len() < FLIGHT
                && let Some(&Reverse(next)) = self.frontier.peek()
                && next.estimate <= bound
            {
                self.frontier.pop();
                store.prefetch(next.node);
                self.flight.push_back(next);
            }
            let next = self.flight.pop_front()?;
            if next.estimate <= bound {
                break next;
            }
            // the bound has come nearer since: as if it had never been taken out
            self.frontier.push(Reverse(next));
        };
        let Walk {
            frontier,
            aside,
            seen,
            work,
            ..
        } = self;
        work.expanded += 1;
        let near = store.expand(next.node, |node, estimate| {
            work.estimated += 1;
            if estimate > bound {
                aside.push(Seen { estimate, node });
            } else if seen.insert(S::key(node)) {
                frontier.push(Reverse(Seen { estimate, node }));
            }
        });
        if self.effort.within < f32::INFINITY
            && let Some(near) = &near
        {
            self.arrival.push(near.distance);
            let error = (next.estimate - near.distance) as f64;
            self.squared_errors += error * error;
            self.estimates_seen += 1;
        }
        Some(near)
    }

    /// From here on rows have to pass a test: of those found `is_at_once` are put to it now, the others by
    /// [`Walk::test_waiting`]. To be followed by [`Walk::aim`].
    pub fn begin_tests(
        &mut self,
        is_at_once: impl Fn(&Near<S::Row>) -> bool,
        mut passes: impl FnMut(&Near<S::Row>) -> bool,
    ) {
        self.met.extend(self.found.iter().map(|near| near.distance));
        for near in std::mem::take(&mut self.found) {
            if !is_at_once(&near) {
                self.untested.push(near);
                continue;
            }
            self.tested += 1;
            if passes(&near) {
                self.found.push(near);
            }
        }
    }

    /// Sets a stopping multiple no larger than the one aimed with.
    pub fn narrow(&mut self, multiple: f32) {
        self.effort.multiple = self.effort.multiple.min(multiple);
    }

    /// Estimate of the node that is expanded next, if any is left within the bound.
    pub fn next_estimate(&self) -> Option<f32> {
        let waiting = self.frontier.peek().map(|Reverse(next)| next.estimate);
        let flying = self.flight.iter().map(|next| next.estimate);
        flying.chain(waiting).min_by(f32::total_cmp)
    }

    /// Distance of the row of the rank aimed at; infinite while fewer are found.
    pub fn farthest_wanted(&self) -> f32 {
        self.nearest.worst()
    }

    /// How far the walk goes, as it is aimed.
    pub fn reach(&self) -> f32 {
        self.bound()
    }

    /// Distances of the rows expanded, those that failed the test, too, in the order of expansion.
    pub fn met(&self) -> &[f32] {
        &self.met
    }

    /// How far a walk reaches that expands about so many of the nodes left, the nearest ones.
    pub fn reach_of(&self, count: usize) -> f32 {
        let waiting = self.frontier.iter().map(|Reverse(seen)| seen);
        let left = waiting.chain(&self.flight).chain(&self.aside);
        let mut left: Vec<f32> = left.map(|seen| seen.estimate).collect();
        match count {
            0 => f32::NEG_INFINITY,
            count if count >= left.len() => f32::INFINITY,
            count => *left.select_nth_unstable_by(count - 1, f32::total_cmp).1,
        }
    }

    /// How many of the rows found may be among the `rank` nearest, as their compact codes leave it open: about as
    /// many as that, but more where rows are nearer to each other than codes can tell.
    pub fn open_places(&self) -> usize {
        let worst = self.nearest.worst();
        if worst == f32::INFINITY {
            return self.effort.rank;
        }
        let mut nearest = Nearest::of_rank(self.effort.rank);
        for near in &self.found {
            nearest.push(near.hardly_above());
        }
        let farthest = nearest.worst();
        let is_open = |near: &&Near<S::Row>| near.distance - near.deviations(TOLD_BY) <= farthest;
        self.found.iter().filter(is_open).count()
    }

    /// Rows found so far, in the order of expansion.
    pub fn found(&self) -> &[Near<S::Row>] {
        &self.found
    }

    /// Rows put to the test.
    pub fn tested(&self) -> u64 {
        self.tested
    }

    /// Whether every node that can be reached has been expanded, and put to the test if there is one.
    pub fn is_exhausted(&self) -> bool {
        self.frontier.is_empty()
            && self.flight.is_empty()
            && self.aside.is_empty()
            && self.untested.is_empty()
    }

    /// What the walk has done.
    pub fn work(&self) -> Work {
        self.work
    }

    /// Bytes the walk holds.
    pub fn memory(&self) -> usize {
        (self.frontier.len() + self.aside.len()) * size_of::<Seen<S::Node>>()
            + self.seen.slots.len() * size_of::<u64>()
            + (self.found.len() + self.untested.len()) * size_of::<Near<S::Row>>()
            + self.met.len() * size_of::<f32>()
    }
}

/// Rows in exact order, from near distances with bounds on their error: a row whose place they
/// leave open is measured exactly.
pub struct Ranking<R> {
    rows: BinaryHeap<Reverse<Ranked<R>>>,
    measured: u64,
}

struct Ranked<R> {
    /// no farther than the row
    low: f32,
    /// no nearer than the row
    high: f32,
    /// distance as the operator computes it, once measured
    exact: Option<f64>,
    row: R,
}

impl<R> PartialEq for Ranked<R> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<R> Eq for Ranked<R> {}

impl<R> PartialOrd for Ranked<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R> Ord for Ranked<R> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.low.total_cmp(&other.low).then_with(|| {
            // of two that seem equally far the one not yet measured comes first
            let (a, b) = (self.exact, other.exact);
            let key = |exact: Option<f64>| exact.unwrap_or(f64::NEG_INFINITY);
            key(a).total_cmp(&key(b))
        })
    }
}

/// An exact distance: as the operator computes it, and as an internal one.
#[derive(Debug, Clone, Copy)]
pub struct Exact {
    /// the operator's
    pub operator: f64,
    /// the same as an internal distance
    pub internal: f32,
}

impl<R> Default for Ranking<R> {
    fn default() -> Self {
        Ranking {
            rows: BinaryHeap::new(),
            measured: 0,
        }
    }
}

impl<R> Ranking<R> {
    /// Adds a row.
    pub fn push(&mut self, near: Near<R>) {
        self.rows.push(Reverse(Ranked {
            low: near.distance - near.error,
            high: near.distance + near.error,
            exact: None,
            row: near.row,
        }));
    }

    /// Takes out the nearest row. `measure` computes a row's exact distance; `None` where the row
    /// is not visible, and left out.
    pub fn pop(&mut self, mut measure: impl FnMut(&R) -> Option<Exact>) -> Option<Near<R>> {
        loop {
            let Reverse(first) = self.rows.pop()?;
            let is_certain = first.exact.is_some()
                || self
                    .rows
                    .peek()
                    .is_none_or(|Reverse(second)| second.low > first.high);
            if is_certain {
                return Some(Near {
                    distance: (first.low + first.high) / 2.0,
                    error: (first.high - first.low) / 2.0,
                    row: first.row,
                });
            }
            self.measured += 1;
            if let Some(exact) = measure(&first.row) {
                self.rows.push(Reverse(Ranked {
                    low: exact.internal,
                    high: exact.internal,
                    exact: Some(exact.operator),
                    row: first.row,
                }));
            }
        }
    }

    /// Rows left.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Rows measured exactly so far.
    pub fn measured(&self) -> u64 {
        self.measured
    }

    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.measured = 0;
    }
}
