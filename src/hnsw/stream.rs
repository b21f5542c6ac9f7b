//! Search of the ground layer as a stream: one best-first walk that hands out its nearest rows in
//! batches and goes on from where it stopped when more are asked for.
//!
//! The first batch of `ef` is Algorithm 2 of the paper. What that algorithm throws away (nodes
//! farther than the worst of the `ef` nearest) is kept, so that a later batch continues instead of
//! starting again: LIMIT above `ef`, filters and cursors cost only their additional rows.

use super::{Candidate, Store};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A resumable walk.
pub struct Stream<S: Store> {
    links: Vec<S::Link>,
    seen: Vec<Candidate<S::Node>>,
    /// seen, not expanded
    frontier: BinaryHeap<Reverse<Candidate<S::Node>>>,
    /// live, not handed out, and nearer than anything in `deferred` when put here
    found: BinaryHeap<Reverse<Candidate<S::Node>>>,
    /// seen while the batch was full and too far for it: neither in `frontier` nor in `found` yet
    deferred: Vec<Candidate<S::Node>>,
    expanded: u64,
    /// for each of them that is live, how many were expanded before it
    live_after: Vec<u64>,
    visited: u64,
}

/// Live nodes expanded from which on it is told where they are.
const LEAST_TOLD: usize = 16;
/// They are far when the later half of the nodes expanded has so many times those of the nearer half.
const FAR: usize = 2;

impl<S: Store> Stream<S> {
    /// A walk that starts at the ground layer from `entries`.
    pub fn new(store: &mut S, entries: Vec<Candidate<S::Node>>) -> Self {
        store.restart(&entries);
        Stream {
            links: Vec::new(),
            seen: Vec::new(),
            frontier: BinaryHeap::new(),
            found: BinaryHeap::new(),
            visited: entries.len() as u64,
            deferred: entries,
            expanded: 0,
            live_after: Vec::new(),
        }
    }

    /// The next batch, nearest first: `ef` rows, or fewer where the walk has no more. Rows of a
    /// later batch can be nearer than rows of an earlier one; the caller decides what that means.
    /// `proceed` is asked after every expansion; `false` ends the batch with what it has.
    pub fn next_batch(
        &mut self,
        store: &mut S,
        ef: usize,
        mut proceed: impl FnMut(&Self) -> bool,
    ) -> Vec<Candidate<S::Node>> {
        for candidate in self.deferred.drain(..) {
            self.frontier.push(Reverse(candidate));
            if store.is_live(candidate.node) {
                self.found.push(Reverse(candidate));
            }
        }
        let mut nearest: BinaryHeap<Candidate<S::Node>> = BinaryHeap::new();
        while nearest.len() < ef
            && let Some(Reverse(candidate)) = self.found.pop()
        {
            nearest.push(candidate);
        }
        while let Some(&Reverse(candidate)) = self.frontier.peek() {
            if nearest.len() >= ef
                && nearest
                    .peek()
                    .is_some_and(|worst| candidate.distance > worst.distance)
            {
                break;
            }
            self.frontier.pop();
            if store.is_live(candidate.node) {
                self.live_after.push(self.expanded);
            }
            self.expanded += 1;
            store.links(candidate.node, 0, &mut self.links);
            self.seen.clear();
            store.visit(&self.links, &mut self.seen);
            for &seen in &self.seen {
                self.visited += 1;
                let full = nearest.len() >= ef;
                if full
                    && nearest
                        .peek()
                        .is_some_and(|worst| seen.distance >= worst.distance)
                {
                    self.deferred.push(seen);
                    continue;
                }
                self.frontier.push(Reverse(seen));
                if store.is_live(seen.node) {
                    nearest.push(seen);
                    if full && let Some(worst) = nearest.pop() {
                        self.found.push(Reverse(worst));
                    }
                }
            }
            if !proceed(self) {
                break;
            }
        }
        nearest.into_sorted_vec()
    }

    /// Everything seen and not handed out, nearest first, without going any further.
    pub fn rest(&mut self, store: &mut S) -> Vec<Candidate<S::Node>> {
        let mut rest: Vec<_> = self
            .found
            .drain()
            .map(|Reverse(candidate)| candidate)
            .collect();
        let deferred = self.deferred.drain(..);
        rest.extend(deferred.filter(|candidate| store.is_live(candidate.node)));
        self.frontier.clear();
        rest.sort_unstable();
        rest
    }

    /// Whether every node that can be reached has been seen and handed out.
    pub fn is_exhausted(&self) -> bool {
        self.frontier.is_empty() && self.found.is_empty() && self.deferred.is_empty()
    }

    /// Nodes whose distance was computed so far.
    pub fn visited(&self) -> u64 {
        self.visited
    }

    /// Nodes whose neighbours were read so far.
    pub fn expanded(&self) -> u64 {
        self.expanded
    }

    /// Whether live nodes are far from the query: there are hardly any around it, and then many. A walk that has just
    /// come to some knows little of what is nearer elsewhere. Where they are anywhere, 80 of them seem so to two walks
    /// in a thousand.
    pub fn finds_more_afar(&self) -> bool {
        let near = self
            .live_after
            .partition_point(|&at| at < self.expanded / 2);
        let all = self.live_after.len();
        all >= LEAST_TOLD && FAR * near < all - near
    }

    /// Bytes the walk holds, without the store's own.
    pub fn memory(&self) -> usize {
        (self.frontier.capacity() + self.found.capacity() + self.deferred.capacity())
            * size_of::<Candidate<S::Node>>()
    }
}
