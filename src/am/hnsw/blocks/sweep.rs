//! The sweep: a scan over all pages of nodes, for what a walk did not hand out, in an index without
//! a code map.

use super::measure::Measure;
use super::search::{Keep, ScanRow};
use crate::hnsw::blocks::{Near, Ranking};
use crate::hnsw::format::{NodeId, Opaque, PageKind};
use crate::keys::Verdict;
use crate::pg::buffer::{Access, Shared, Strategy};
use crate::pg::conditions::Conditions;
use crate::quantize::Query;
use rustc_hash::FxHashSet;
use std::collections::BinaryHeap;

/// A row of a sweep, by near distance, then by address.
struct Swept(Near<ScanRow>);

impl PartialEq for Swept {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Swept {}

impl PartialOrd for Swept {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Swept {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_distance = self.0.distance.total_cmp(&other.0.distance);
        by_distance.then_with(|| self.0.row.id.cmp(&other.0.row.id))
    }
}

/// What a sweep is to do.
pub struct Plan {
    /// nodes whose rows were handed out before
    pub handed_out: FxHashSet<NodeId>,
    /// the last row that the user has got from the walk
    pub after: f32,
    /// what rows have to pass; `None` where all do
    pub sieve: Option<Conditions>,
    /// rows that are farther for certain are of no use; infinite where all are
    pub within: f32,
    /// bytes it may hold
    pub memory_limit: usize,
}

/// A pass, or several, over all pages: every row that the walk did not hand out, in exact order.
pub struct Sweep {
    plan: Plan,
    /// rows that are to be handed out
    pub ranking: Ranking<ScanRow>,
    /// nearer than the last row that the user has got from the walk; they come last
    pub late: Vec<Near<ScanRow>>,
    is_at_last: bool,
    /// rows up to here are all in `ranking` or handed out; those that may be beyond wait for the next pass
    limit: f32,
    begun: bool,
    ended: bool,
    most_error: f32,
    /// the farthest row collected so far
    farthest: Option<(f32, NodeId)>,
    /// distances computed, in all passes
    pub computed: u64,
    /// pages read
    pub pages: u64,
    capacity: usize,
}

impl Sweep {
    /// A sweep that has not begun.
    pub fn new(plan: Plan) -> Sweep {
        Sweep {
            ranking: Ranking::default(),
            late: Vec::new(),
            is_at_last: false,
            limit: f32::NEG_INFINITY,
            begun: false,
            ended: false,
            most_error: 0.0,
            farthest: None,
            computed: 0,
            pages: 0,
            capacity: (plan.memory_limit / size_of::<Swept>()).max(1000),
            plan,
        }
    }

    /// The next row; `None` after the last.
    pub fn next(&mut self, measure: &mut Measure, query: &Query) -> Option<Near<ScanRow>> {
        loop {
            if !self.begun || (!self.ended && self.ranking.is_empty()) {
                self.pass(measure, query);
                continue;
            }
            if let Some(near) = self.ranking.pop(|row| measure.of(row, query)) {
                if !self.ended && near.distance + near.error > self.limit {
                    // a row of the next pass may be nearer
                    self.ranking.push(near);
                    self.pass(measure, query);
                    continue;
                }
                return Some(near);
            }
            if !self.ended {
                continue;
            }
            if self.late.is_empty() {
                return None;
            }
            self.is_at_last = true;
            for near in self.late.drain(..) {
                self.ranking.push(near);
            }
        }
    }

    /// Whether only those rows are left that come too late.
    pub fn is_at_last(&self) -> bool {
        self.is_at_last
    }

    /// Collects the nearest rows beyond those collected before, as many as memory allows.
    fn pass(&mut self, measure: &mut Measure, query: &Query) {
        let blocks = measure.blocks.clone();
        let filter = measure.filter.clone();
        let filter = filter.as_deref();
        let hnsw = &blocks.hnsw;
        let mut nearest: BinaryHeap<Swept> = BinaryHeap::new();
        let mut left_out = false;
        let access = Access::Sequential(Strategy::bulk_read());
        for block in 1..hnsw.index.blocks() {
            pgrx::check_for_interrupts!();
            let page = Shared::read(hnsw.index, block, access);
            self.pages += 1;
            let view = page.page();
            if view.is_new() || hnsw.check(block, || Opaque::of(view)).0 != PageKind::Nodes {
                continue;
            }
            let mut rows = Vec::new();
            for offset in 1..=view.item_count() {
                let id = NodeId { block, offset };
                let Some(found) = blocks.block_on(view, id) else {
                    continue;
                };
                if found.is_deleted() || self.plan.handed_out.contains(&id) {
                    continue;
                }
                let mut row = ScanRow::of(id, &found);
                let verdict = filter.map_or(Verdict::Yes, |f| row.narrow(f, found.keys()));
                if verdict == Verdict::No {
                    continue;
                }
                let compact = found.compact();
                self.computed += 1;
                let near = Near {
                    distance: query.distance(compact),
                    error: query.error_bound(compact),
                    row,
                };
                rows.push((near, verdict));
            }
            // conditions may run anything, so no page is locked
            drop(page);
            for (mut near, verdict) in rows {
                let (distance, id) = (near.distance, near.row.id);
                self.most_error = self.most_error.max(near.error);
                let is_late = distance + near.error < self.plan.after;
                let is_done = (is_late && self.begun)
                    || self
                        .farthest
                        .is_some_and(|farthest| (distance, id) <= farthest);
                if is_done || distance - near.error > self.plan.within {
                    continue;
                }
                if let (Some(filter), Verdict::Open) = (filter, verdict)
                    && !near.row.settle(&blocks, filter)
                {
                    continue;
                }
                if let Some(conditions) = &self.plan.sieve
                    && !measure.passes(&near.row, conditions)
                {
                    continue;
                }
                if is_late {
                    self.late.push(near);
                    continue;
                }
                nearest.push(Swept(near));
                if nearest.len() > self.capacity {
                    nearest.pop();
                    left_out = true;
                }
            }
        }
        self.begun = true;
        self.ended = !left_out;
        if let Some(Swept(near)) = nearest.peek() {
            self.farthest = Some((near.distance, near.row.id));
            self.limit = near.distance - self.most_error;
        }
        for Swept(near) in nearest {
            self.ranking.push(near);
        }
    }
}
