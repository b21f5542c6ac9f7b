//! A scan of the code map: every row that a filter wants, nearest first, at the price of one look at
//! each entry of the pages that can have such rows.
//!
//! A pass over the map estimates the distance of all rows wanted and keeps the nearest, as many as
//! memory allows. The nearest of these are then read from their nodes and ranked as a walk's rows
//! are. How far estimates are off is seen on the way: rows are ranked until the next estimate,
//! less a multiple of that, is beyond the rows to be handed out. So a row can be missed as in a walk,
//! and comes late, but none is ever lost.

use super::index::Blocks;
use super::measure::Measure;
use super::search::{PageBlocks, ScanRow};
use crate::am::filter::Filter;
use crate::hnsw::blocks::map::{MapLayout, MapPage, MapRow};
use crate::hnsw::blocks::{Near, Nearest, Ranking};
use crate::hnsw::format::{NodeId, RawTid};
use crate::keys::Verdict;
use crate::pg::conditions::Conditions;
use crate::quantize::Query;
use rustc_hash::FxHashSet;
use std::cmp::Ordering;

/// Codes gathered before they are estimated together.
const GATHERED: usize = 256;
/// Rows read from their nodes together, so that their memory is asked for ahead.
const RANKED_AT_ONCE: usize = 8;
/// The same of rows that are put to conditions in the table before.
const TESTED_AT_ONCE: usize = 32;
/// Rows put in order at first, and how many times more the next time.
const SORTED_AT_FIRST: usize = 256;
const SORTED_NEXT: usize = 4;
/// Rows read before what their estimates are off by says that no others are within a distance.
const LEAST_READ: u64 = 32;
/// Pages between two looks at interrupts.
const PAGES_BETWEEN_CHECKS: usize = 32;

/// An entry of the map with its estimated distance.
#[derive(Debug, Clone, Copy)]
struct Estimated {
    estimate: f32,
    row: MapRow,
}

impl Estimated {
    fn place(&self) -> (u16, u16, u16) {
        let RawTid {
            block_hi,
            block_lo,
            offset,
        } = self.row.tid;
        (block_hi, block_lo, offset)
    }
}

impl PartialEq for Estimated {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Estimated {}

impl PartialOrd for Estimated {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Estimated {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_estimate = self.estimate.total_cmp(&other.estimate);
        by_estimate.then_with(|| self.place().cmp(&other.place()))
    }
}

/// Codes with their factors, gathered from all over the map.
#[derive(Default)]
struct Batch {
    rows: Vec<MapRow>,
    adds: Vec<f32>,
    scales: Vec<f32>,
    codes: Vec<u8>,
    estimates: Vec<f32>,
}

impl Batch {
    fn push(&mut self, page: &MapPage<'_>, code_len: usize, slot: usize) {
        self.rows.push(page.rows()[slot]);
        self.adds.push(page.adds()[slot]);
        self.scales.push(page.scales()[slot]);
        self.codes
            .extend_from_slice(&page.codes()[slot * code_len..][..code_len]);
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.adds.clear();
        self.scales.clear();
        self.codes.clear();
    }
}

/// What a scan of the map is to do.
pub struct Plan {
    /// the pages of the map that can have rows that are wanted
    pub pages: Vec<u32>,
    /// nodes whose rows were handed out before, or do not pass, or are known
    pub passed_over: FxHashSet<NodeId>,
    /// rows that pass, and were not handed out
    pub known: Vec<Near<ScanRow>>,
    /// rows that LIMIT and OFFSET ask for, or more
    pub rank: usize,
    /// how many standard deviations of an estimate a row may be nearer than it seems
    pub deviations: f32,
    /// what visible rows have to pass to be ranked; `None` where all do
    pub sieve: Option<Conditions>,
    /// rows that are farther for certain are of no use; infinite where all are
    pub within: f32,
    /// bytes it may hold
    pub memory_limit: usize,
}

/// A scan of the map.
pub struct MapScan {
    layout: MapLayout,
    plan: Plan,
    /// nodes that were read, or whose rows were handed out before
    seen: FxHashSet<NodeId>,
    /// rows still to be ranked, farthest first
    waiting: Vec<Estimated>,
    /// rows farther than all of these, in no order
    unsorted: Vec<Estimated>,
    /// how many of them are put in order next
    sorted_next: usize,
    /// the farthest of the pass before: the next one goes on there
    after: Option<Estimated>,
    begun: bool,
    /// there are rows beyond those that the pass kept
    left_out: bool,
    ranking: Ranking<ScanRow>,
    /// distances of the rows ranked
    distances: Vec<f32>,
    goal: Nearest,
    /// rows read from their nodes
    read: u64,
    /// sum of squared errors of their estimates
    squared_errors: f64,
    /// rows handed out, or that nobody sees
    returned: usize,
    batch: Batch,
    verdicts: Vec<Verdict>,
    /// rows that are looked at together
    together: Vec<Estimated>,
    tids: Vec<RawTid>,
    passes: Vec<bool>,
    /// distances estimated
    pub estimated: u64,
}

impl MapScan {
    /// A scan that has not begun.
    pub fn new(layout: MapLayout, mut plan: Plan) -> MapScan {
        let known = std::mem::take(&mut plan.known);
        let mut scan = MapScan {
            layout,
            seen: std::mem::take(&mut plan.passed_over),
            waiting: Vec::new(),
            unsorted: Vec::new(),
            sorted_next: SORTED_AT_FIRST,
            after: None,
            begun: false,
            left_out: false,
            ranking: Ranking::default(),
            distances: Vec::new(),
            goal: Nearest::of_rank(plan.rank),
            read: 0,
            squared_errors: 0.0,
            returned: 0,
            batch: Batch::default(),
            verdicts: Vec::new(),
            together: Vec::new(),
            tids: Vec::new(),
            passes: Vec::new(),
            estimated: 0,
            plan,
        };
        for near in known {
            scan.add(near);
        }
        scan
    }

    /// Ranks a row.
    fn add(&mut self, near: Near<ScanRow>) {
        self.distances.push(near.distance);
        self.goal.push(near.distance);
        self.ranking.push(near);
    }

    /// The next row; `None` after the last. Rows may come that are nearer than one before.
    pub fn next(
        &mut self,
        store: &mut PageBlocks<ScanRow>,
        measure: &mut Measure,
    ) -> Option<Near<ScanRow>> {
        loop {
            pgrx::check_for_interrupts!();
            self.rank(store, measure);
            if self.ranking.is_empty() && self.is_exhausted() {
                return None;
            }
            let query = &store.query;
            let mut unseen = 0;
            let next = self.ranking.pop(|row| {
                let exact = measure.of(row, query);
                unseen += exact.is_none() as usize;
                exact
            });
            self.returned += unseen;
            let Some(near) = next else {
                // all that was ranked is handed out, or seen by nobody
                self.aim(2 * self.plan.rank);
                continue;
            };
            if self.returned >= self.plan.rank && !self.is_exhausted() {
                self.ranking.push(near);
                self.aim(2 * self.plan.rank);
                continue;
            }
            self.returned += 1;
            return Some(near);
        }
    }

    /// Rows measured exactly.
    pub fn measured(&self) -> u64 {
        self.ranking.measured()
    }

    /// Rows read from their nodes.
    pub fn computed(&self) -> u64 {
        self.read
    }

    fn is_exhausted(&self) -> bool {
        self.begun && self.waiting.is_empty() && self.unsorted.is_empty() && !self.left_out
    }

    fn aim(&mut self, rank: usize) {
        self.plan.rank = rank;
        self.goal = Nearest::of_rank(rank);
        for &distance in &self.distances {
            self.goal.push(distance);
        }
    }

    /// Ranks rows until those that are still waiting are too far to be among the nearest wanted.
    fn rank(&mut self, store: &mut PageBlocks<ScanRow>, measure: &mut Measure) {
        loop {
            self.sort();
            if !self.begun || (self.waiting.is_empty() && self.left_out) {
                self.pass(store);
                self.sort();
            }
            let Some(next) = self.waiting.last() else {
                return;
            };
            let deviation = match self.read {
                0 => f32::INFINITY,
                count => (self.squared_errors / count as f64).sqrt() as f32,
            };
            let nearest = next.estimate - self.plan.deviations * deviation;
            if nearest > self.goal.worst() {
                return;
            }
            if nearest > self.plan.within && self.read >= LEAST_READ {
                self.waiting.clear();
                self.unsorted.clear();
                self.left_out = false;
                return;
            }
            pgrx::check_for_interrupts!();
            // once it is known how far estimates are off, conditions come before the node
            let is_known = self.read >= LEAST_READ;
            match self.plan.sieve.filter(|_| is_known) {
                Some(sieve) => self.rank_passing(store, measure, &sieve),
                None => self.rank_next(store, measure),
            }
        }
    }

    /// Takes the next rows out.
    fn take(&mut self, count: usize) {
        let rest = self.waiting.len().saturating_sub(count);
        let seen = &self.seen;
        let is_new = |next: &Estimated| next.row.node.id().is_some_and(|id| !seen.contains(&id));
        self.together.clear();
        let next = self.waiting.drain(rest..).rev();
        self.together.extend(next.filter(is_new));
    }

    /// Ranks the next rows, if they pass.
    fn rank_next(&mut self, store: &mut PageBlocks<ScanRow>, measure: &mut Measure) {
        self.take(RANKED_AT_ONCE);
        for next in &self.together {
            if let Some(id) = next.row.node.id() {
                store.prefetch_head(id);
            }
        }
        for n in 0..self.together.len() {
            let next = self.together[n];
            if let Some(near) = self.read(next, store)
                && self
                    .plan
                    .sieve
                    .is_none_or(|sieve| measure.passes(&near.row, &sieve))
            {
                self.add(near);
            }
        }
    }

    /// The same where most rows do not pass: they cost no look at their nodes.
    fn rank_passing(
        &mut self,
        store: &mut PageBlocks<ScanRow>,
        measure: &mut Measure,
        sieve: &Conditions,
    ) {
        self.take(TESTED_AT_ONCE);
        self.tids.clear();
        self.tids
            .extend(self.together.iter().map(|next| next.row.tid));
        measure.reader.prefetch(&self.tids);
        let mut passes = std::mem::take(&mut self.passes);
        measure.reader.pass_each(&self.tids, sieve, &mut passes);
        for n in (0..self.together.len()).filter(|&n| passes[n]) {
            if let Some(near) = self.read(self.together[n], store) {
                self.add(near);
            }
        }
        self.passes = passes;
    }

    /// Reads a row from its node, unless that was seen before, or the row is too far.
    fn read(&mut self, next: Estimated, store: &mut PageBlocks<ScanRow>) -> Option<Near<ScanRow>> {
        let id = next.row.node.id().filter(|&id| self.seen.insert(id))?;
        let near = store.read(id, next.row.generation)?;
        let error = (next.estimate - near.distance) as f64;
        self.squared_errors += error * error;
        self.read += 1;
        (near.distance - near.error <= self.plan.within).then_some(near)
    }

    /// Puts the nearest of the rows that are in no order in order, where there are no others.
    fn sort(&mut self) {
        if !self.waiting.is_empty() || self.unsorted.is_empty() {
            return;
        }
        let count = self.sorted_next.min(self.unsorted.len());
        self.sorted_next = self.sorted_next.saturating_mul(SORTED_NEXT);
        // the nearest come last, where they are taken off cheaply
        let rest = self.unsorted.len() - count;
        if rest > 0 {
            self.unsorted.select_nth_unstable_by(rest, |a, b| b.cmp(a));
        }
        self.waiting.extend(self.unsorted.drain(rest..));
        self.waiting.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// Looks at the whole map for the nearest rows beyond those of the pass before.
    fn pass(&mut self, store: &mut PageBlocks<ScanRow>) {
        let blocks = store.blocks.clone();
        let filter = store.filter.clone();
        let capacity = (self.plan.memory_limit / (3 * size_of::<Estimated>())).max(1000);
        let mut kept = Kept {
            nearest: Vec::new(),
            capacity,
            after: self.after,
            limit: None,
        };
        store.count_pages(self.plan.pages.len() as u64);
        for n in 0..self.plan.pages.len() {
            if n.is_multiple_of(PAGES_BETWEEN_CHECKS) {
                pgrx::check_for_interrupts!();
            }
            self.page(store, &blocks, filter.as_deref(), self.plan.pages[n]);
            if self.batch.rows.len() >= GATHERED {
                self.flush(&store.query, &blocks, &mut kept);
            }
        }
        self.flush(&store.query, &blocks, &mut kept);
        self.begun = true;
        self.left_out = kept.limit.is_some();
        if kept.nearest.len() > capacity {
            kept.cut();
            self.left_out = true;
        }
        self.after = kept.nearest.iter().max().copied();
        self.unsorted = kept.nearest;
        self.sorted_next = SORTED_AT_FIRST;
    }

    /// Gathers what is wanted of a page.
    fn page(
        &mut self,
        store: &PageBlocks<ScanRow>,
        blocks: &Blocks,
        filter: Option<&Filter>,
        block: u32,
    ) {
        let hnsw = &blocks.hnsw;
        let locked = store.hints().pin(hnsw.index, block).lock();
        let page = hnsw.check(block, || MapPage::of(locked.page(), self.layout));
        let code_len = self.layout.code_len();
        self.verdicts.clear();
        self.verdicts.resize(page.count, Verdict::Yes);
        if let Some(filter) = filter {
            filter
                .conditions
                .narrow(|column| page.keys(column), &mut self.verdicts);
        }
        let allowed = filter.and_then(|filter| filter.allowed());
        for (slot, &verdict) in self.verdicts.iter().enumerate() {
            if verdict == Verdict::No {
                continue;
            }
            let row = &page.rows()[slot];
            let is_wanted = allowed.is_none_or(|allowed| allowed.contains(row.tid))
                && (self.seen.is_empty()
                    || row.node.id().is_some_and(|id| !self.seen.contains(&id)));
            if is_wanted {
                self.batch.push(&page, code_len, slot);
            }
        }
    }

    fn flush(&mut self, query: &Query, blocks: &Blocks, kept: &mut Kept) {
        let batch = &mut self.batch;
        batch.estimates.clear();
        batch.estimates.resize(batch.rows.len(), 0.0);
        query.estimate(
            self.layout.quantizer,
            blocks.codec.dims(),
            &batch.codes,
            &batch.adds,
            &batch.scales,
            &mut batch.estimates,
        );
        self.estimated += batch.rows.len() as u64;
        for (&row, &estimate) in batch.rows.iter().zip(&batch.estimates) {
            kept.push(Estimated { estimate, row });
        }
        batch.clear();
    }
}

/// The nearest rows of a pass.
struct Kept {
    nearest: Vec<Estimated>,
    capacity: usize,
    after: Option<Estimated>,
    /// what is farther was left out
    limit: Option<Estimated>,
}

impl Kept {
    #[inline]
    fn push(&mut self, new: Estimated) {
        if self.after.is_some_and(|after| new <= after)
            || self.limit.is_some_and(|limit| new > limit)
        {
            return;
        }
        self.nearest.push(new);
        if self.nearest.len() >= 2 * self.capacity {
            self.cut();
        }
    }

    /// Leaves out what is beyond capacity.
    fn cut(&mut self) {
        let (_, &mut limit, _) = self.nearest.select_nth_unstable(self.capacity - 1);
        self.nearest.truncate(self.capacity);
        self.limit = Some(limit);
    }
}
