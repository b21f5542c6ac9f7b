//! A scan of the code map: every row that a filter wants, nearest first, at the price of one look at
//! each entry of the pages that can have such rows.
//!
//! A [`pass`] over the map estimates the distance of all rows wanted and keeps the nearest. These are put to what
//! else is asked of rows, nearest first, and those that pass are read from their nodes, which tells their
//! distances. How far estimates are off is seen on the way: the scan goes on until those that were not looked at
//! hold hardly any row nearer than the last one wanted, as far as estimates tell. So a row can be missed as in a
//! walk, and comes late, but none is ever lost.

mod pass;

use super::measure::Measure;
use super::search::{PageBlocks, ScanRow};
use crate::chance::Errors;
use crate::hnsw::blocks::map::MapLayout;
use crate::hnsw::blocks::{Near, Nearest, Ranking};
use crate::hnsw::format::{NodeId, RawTid};
use crate::pg::conditions::Conditions;
use pass::{Estimated, Kept, Pass, SAMPLED, Space};
use rustc_hash::FxHashSet;

/// Rows read from their nodes together.
const READ_AT_ONCE: usize = 8;
/// So many nodes are asked for ahead.
const READ_AHEAD: usize = 8;
/// Rows put to conditions together.
const TESTED_AT_ONCE: usize = 32;
/// Part of the rows tested that is tested next, in the order of the table.
const TESTED_NEXT: u64 = 8;
/// Of the rows that do not pass one in so many is read all the same, to see how far estimates are off.
const READ_OF_FAILED: u64 = 8;
/// Rows put to conditions before it is told that hardly any passes.
const LEAST_TESTED: u64 = 500;
/// Rows put in order at first, and how many times more the next time.
const SORTED_AT_FIRST: usize = 256;
const SORTED_NEXT: usize = 4;
/// Rows read before it is known how far estimates are off.
const LEAST_READ: u64 = 32;
/// Part of the rows read that is read more before it is asked again whether they are enough, where nothing
/// else is asked of rows.
const READ_BETWEEN: u64 = 32;
/// Rows that seem too far and are read all the same.
const CHECKED: u32 = 4;
/// Of the rows that were not read one in so many is asked how likely it is nearer; of those that are in no order one
/// in [`SAMPLED`].
const ASKED: usize = 4;
/// Rows less likely to be nearer are left out of account, and those farther than them.
const UNLIKELY: f64 = 1e-6;
/// Part of the misses allowed up to which they may add up, as far as estimates tell.
const COUNTED_MISSES: f64 = 0.75;
/// Rows kept by the first pass for each that is likely to be looked at, and some more.
const KEPT_PER_ROW: f64 = 8.0;
const KEPT_AT_LEAST: f64 = 2_000.0;
/// The same where rows are put to conditions, as a part of all: what is expected of these may be far off.
const KEPT_TO_TEST: f64 = 1.0 / 32.0;
/// How many times as many the next pass keeps.
const KEPT_NEXT: usize = 8;
/// Pages between two looks at interrupts.
const PAGES_BETWEEN_CHECKS: usize = 32;

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
    /// share of them that may be missed
    pub missed: f64,
    /// how many standard deviations of an estimate a row may be nearer than it seems, where `within` says
    /// how far the scan goes
    pub deviations: f32,
    /// what visible rows have to pass to be ranked; `None` where all do
    pub sieve: Option<Conditions>,
    /// share of the rows that are expected to pass
    pub passing: f64,
    /// rows that are farther for certain are of no use; infinite where all are
    pub within: f32,
    /// bytes it may hold
    pub memory_limit: usize,
}

/// Rows put to conditions, and those of them that passed.
#[derive(Clone, Copy, Default)]
struct Tests {
    tested: u64,
    passed: u64,
}

/// A scan of the map.
pub struct MapScan {
    layout: MapLayout,
    plan: Plan,
    /// nodes that were read, or whose rows were handed out before
    seen: FxHashSet<NodeId>,
    /// rows still to be read, farthest first
    waiting: Vec<Estimated>,
    /// rows farther than all of these, in no order
    unsorted: Vec<Estimated>,
    /// estimates of some of them, in order
    of_unsorted: Vec<f32>,
    /// how many of them are put in order next
    sorted_next: usize,
    /// rows that the next pass keeps
    capacity: usize,
    /// the farthest of the pass before: the next one goes on there
    after: Option<Estimated>,
    begun: bool,
    /// rows beyond those that the pass kept
    left_out: usize,
    /// estimates of some of them, in order
    sample: Vec<f32>,
    ranking: Ranking<ScanRow>,
    /// what the distances of the rows ranked are hardly above
    distances: Vec<f32>,
    goal: Nearest,
    /// rows read from their nodes
    read: u64,
    /// how many are read when it is asked again whether they are enough
    asked_at: u64,
    /// how many were read when some that seem too far were, too
    checked_at: u64,
    /// sum of squared errors of their estimates
    squared_errors: f64,
    /// how far estimates are off
    errors: Errors,
    tests: Tests,
    /// the same without the last half or so
    tests_before: Tests,
    /// rows handed out, or that nobody sees
    returned: usize,
    space: Space,
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
        let looked_at = plan.rank as f64 / plan.passing.clamp(1e-9, 1.0);
        let of_all = match plan.sieve {
            Some(_) => KEPT_TO_TEST * (plan.pages.len() * layout.capacity) as f64,
            None => 0.0,
        };
        let mut scan = MapScan {
            layout,
            seen: std::mem::take(&mut plan.passed_over),
            waiting: Vec::new(),
            unsorted: Vec::new(),
            of_unsorted: Vec::new(),
            sorted_next: SORTED_AT_FIRST,
            capacity: (KEPT_AT_LEAST + KEPT_PER_ROW * looked_at).max(of_all) as usize,
            after: None,
            begun: false,
            left_out: 0,
            sample: Vec::new(),
            ranking: Ranking::default(),
            distances: Vec::new(),
            goal: Nearest::of_rank(plan.rank),
            read: 0,
            asked_at: 0,
            checked_at: 0,
            squared_errors: 0.0,
            errors: Errors::default(),
            tests: Tests::default(),
            tests_before: Tests::default(),
            returned: 0,
            space: Space::default(),
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
        // of rows that codes cannot tell apart any may be among those wanted
        let distance = near.hardly_above();
        self.distances.push(distance);
        self.goal.push(distance);
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
            let (next, unseen) = measure.pop(&mut self.ranking, &store.query);
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
        self.begun && self.waiting.is_empty() && self.unsorted.is_empty() && self.left_out == 0
    }

    fn aim(&mut self, rank: usize) {
        self.plan.rank = rank;
        self.asked_at = 0;
        self.goal = Nearest::of_rank(rank);
        for &distance in &self.distances {
            self.goal.push(distance);
        }
    }

    /// Reads and ranks rows until hardly any of the others is among the nearest wanted.
    fn rank(&mut self, store: &mut PageBlocks<ScanRow>, measure: &mut Measure) {
        loop {
            pgrx::check_for_interrupts!();
            self.sort();
            if !self.begun || (self.waiting.is_empty() && self.left_out > 0) {
                self.pass(store);
                self.sort();
            }
            if self.is_enough() {
                match self.look_farther(store) {
                    true => continue,
                    false => return,
                }
            }
            match self.plan.sieve {
                None => self.read_next(store),
                Some(sieve) => self.test_next(&sieve, store, measure),
            }
        }
    }

    /// Whether those that wait can be left where they are: there is none, or they are too far.
    fn is_enough(&mut self) -> bool {
        let Some(next) = self.waiting.last() else {
            return true;
        };
        if self.read < LEAST_READ {
            return false;
        }
        let deviation = (self.squared_errors / self.read as f64).sqrt() as f32;
        if next.estimate - self.plan.deviations * deviation > self.plan.within {
            self.waiting.clear();
            self.unsorted.clear();
            self.left_out = 0;
            self.sample.clear();
            return true;
        }
        let farthest = self.goal.worst();
        if farthest == f32::INFINITY || self.read < self.asked_at {
            return false;
        }
        let is_enough = self.hardly_any_within(farthest as f64);
        if !is_enough {
            self.asked_at = self.read + self.read / READ_BETWEEN;
        }
        is_enough
    }

    /// Reads a few of the rows that seem too far, unless that was done since others were read: what errors near by say
    /// of them may be wrong, where codes tell groups of rows from each other and none within. False where nothing
    /// came of it.
    fn look_farther(&mut self, store: &mut PageBlocks<ScanRow>) -> bool {
        if self.read == self.checked_at {
            return false;
        }
        let before = self.read;
        let places = (0..CHECKED).map(|n| (1usize << n) - 1);
        let rows: Vec<Estimated> = places
            .filter_map(|place| self.waiting.iter().nth_back(place).copied())
            .collect();
        for next in rows {
            if self.plan.sieve.is_none() {
                if let Some(near) = self.read(next, store) {
                    self.add(near);
                }
            } else if let Some(id) = next.row.node.id().filter(|id| !self.seen.contains(id)) {
                self.look_at(id, next, store);
            }
        }
        self.checked_at = self.read;
        self.asked_at = 0;
        self.read > before
    }

    /// Whether hardly any of the rows that wait, and pass, is nearer than the last one wanted.
    fn hardly_any_within(&self, farthest: f64) -> bool {
        let tolerated = COUNTED_MISSES * self.plan.missed * self.plan.rank as f64;
        let share = self.share();
        let mut missed = 0.0;
        let mut is_more = |estimate: f32, of: usize| {
            let chance = self.errors.below(farthest, estimate as f64);
            missed += share * of as f64 * chance;
            (missed > tolerated, chance < UNLIKELY)
        };
        for next in self.waiting.iter().rev().step_by(ASKED) {
            match is_more(next.estimate, ASKED) {
                (true, _) => return false,
                (_, true) => return true,
                _ => {}
            }
        }
        for &estimate in self.of_unsorted.iter().chain(&self.sample) {
            match is_more(estimate, SAMPLED) {
                (true, _) => return false,
                (_, true) => return true,
                _ => {}
            }
        }
        true
    }

    /// Share of the rows that pass: of all, or of the last ones where these are clearly more, which say more of
    /// those that come next.
    fn share(&self) -> f64 {
        if self.plan.sieve.is_none() {
            return 1.0;
        }
        let of_all = (self.tests.passed + 1) as f64 / (self.tests.tested + 1) as f64;
        let last = self.tests.tested - self.tests_before.tested;
        let of_last = (self.tests.passed - self.tests_before.passed) as f64 / last.max(1) as f64;
        let by_chance = 2.0 * (of_all / last.max(1) as f64).sqrt();
        match of_last > of_all + by_chance {
            true => of_last,
            false => of_all,
        }
    }

    /// Whether hardly any of the rows pass, so that all of those at hand will be put to conditions anyway.
    fn is_hopeless(&self) -> bool {
        if self.tests.tested < LEAST_TESTED || self.goal.worst() < f32::INFINITY {
            return false;
        }
        let left = (self.waiting.len() + self.unsorted.len()) as f64;
        let missing = self.plan.rank.saturating_sub(self.distances.len());
        left > 0.0 && 2.0 * self.share() * left < missing as f64
    }

    /// Puts the next rows to conditions, in the order of the table, and reads those that pass from their nodes.
    fn test_next(
        &mut self,
        sieve: &Conditions,
        store: &mut PageBlocks<ScanRow>,
        measure: &mut Measure,
    ) {
        let is_hopeless = self.is_hopeless();
        let mut rows = std::mem::take(&mut self.together);
        rows.clear();
        if is_hopeless {
            // those that another pass may bring are to be put to them in as few passes as memory allows
            self.capacity = usize::MAX;
            rows.append(&mut self.waiting);
            rows.append(&mut self.unsorted);
        } else {
            let count = (self.tests.tested / TESTED_NEXT).max(TESTED_AT_ONCE as u64) as usize;
            let rest = self.waiting.len().saturating_sub(count);
            rows.extend(self.waiting.drain(rest..));
        }
        rows.retain(|next| self.is_new(next));
        rows.sort_unstable_by_key(Estimated::place);
        let mut passes = std::mem::take(&mut self.passes);
        for rows in rows.chunks(TESTED_AT_ONCE) {
            pgrx::check_for_interrupts!();
            self.tids.clear();
            self.tids.extend(rows.iter().map(|next| next.row.tid));
            measure.reader.prefetch(&self.tids);
            measure.reader.pass_each(&self.tids, sieve, &mut passes);
            for (&next, &passes) in rows.iter().zip(&passes) {
                self.note(passes);
                if passes {
                    if let Some(near) = self.read(next, store) {
                        self.add(near);
                    }
                } else if !is_hopeless
                    && (self.read < LEAST_READ || self.tests.tested.is_multiple_of(READ_OF_FAILED))
                    && let Some(id) = next.row.node.id()
                {
                    // another row of the node may pass: it counts as not seen
                    self.look_at(id, next, store);
                }
            }
        }
        self.passes = passes;
        self.together = rows;
    }

    /// Notes whether a row has passed.
    fn note(&mut self, passes: bool) {
        if self.tests.tested >= 2 * self.tests_before.tested.max(TESTED_AT_ONCE as u64) {
            self.tests_before = self.tests;
        }
        self.tests.tested += 1;
        self.tests.passed += passes as u64;
    }

    fn is_new(&self, next: &Estimated) -> bool {
        let id = next.row.node.id();
        id.is_some_and(|id| !self.seen.contains(&id))
    }

    /// Reads the next rows from their nodes.
    fn read_next(&mut self, store: &mut PageBlocks<ScanRow>) {
        let rest = self.waiting.len().saturating_sub(READ_AT_ONCE);
        let mut together = std::mem::take(&mut self.together);
        together.clear();
        together.extend(self.waiting.drain(rest..).rev());
        together.retain(|next| self.is_new(next));
        let ask_for = |next: Option<&Estimated>, store: &PageBlocks<ScanRow>| {
            if let Some(id) = next.and_then(|next| next.row.node.id()) {
                store.prefetch_head(id);
            }
        };
        for next in together.iter().take(READ_AHEAD) {
            ask_for(Some(next), store);
        }
        for (n, &next) in together.iter().enumerate() {
            ask_for(together.get(n + READ_AHEAD), store);
            if let Some(near) = self.read(next, store) {
                self.add(near);
            }
        }
        self.together = together;
    }

    /// Reads a row from its node, unless that was seen before, or the row is too far.
    fn read(&mut self, next: Estimated, store: &mut PageBlocks<ScanRow>) -> Option<Near<ScanRow>> {
        let id = next.row.node.id().filter(|&id| self.seen.insert(id))?;
        let near = self.look_at(id, next, store)?;
        (near.distance - near.error <= self.plan.within).then_some(near)
    }

    /// Reads a row from its node, and notes how far its estimate was off.
    fn look_at(
        &mut self,
        id: NodeId,
        next: Estimated,
        store: &mut PageBlocks<ScanRow>,
    ) -> Option<Near<ScanRow>> {
        let near = store.read(id, next.row.generation)?;
        let error = (near.distance - next.estimate) as f64;
        self.squared_errors += error * error;
        self.errors.add(next.estimate as f64, error);
        self.read += 1;
        Some(near)
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
        let some = self.unsorted.iter().step_by(SAMPLED);
        self.of_unsorted.clear();
        self.of_unsorted.extend(some.map(|next| next.estimate));
        self.of_unsorted.sort_unstable_by(f32::total_cmp);
    }

    /// Looks at the whole map for the nearest rows beyond those of the pass before.
    fn pass(&mut self, store: &mut PageBlocks<ScanRow>) {
        store.count_pages(self.plan.pages.len() as u64);
        let most = (self.plan.memory_limit / (3 * size_of::<Estimated>())).max(1000);
        let kept = Kept::new(self.capacity.min(most), self.after);
        self.capacity = self.capacity.saturating_mul(KEPT_NEXT);
        let mut pass = Pass::new(store, self.layout, &self.seen, &mut self.space, kept);
        for (n, &page) in self.plan.pages.iter().enumerate() {
            if n.is_multiple_of(PAGES_BETWEEN_CHECKS) {
                pgrx::check_for_interrupts!();
            }
            if let Some(&next) = self.plan.pages.get(n + 1) {
                pass.prefetch(next);
            }
            pass.page(page);
        }
        pass.flush();
        self.estimated += pass.estimated;
        let kept = pass.kept;
        self.begun = true;
        self.left_out = kept.left_out;
        self.sample = kept.sample;
        self.sample.sort_unstable_by(f32::total_cmp);
        self.after = kept.nearest.iter().max().copied();
        self.unsorted = kept.nearest;
        self.sorted_next = SORTED_AT_FIRST;
    }
}
