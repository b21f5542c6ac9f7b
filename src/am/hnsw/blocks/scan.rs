//! Scans of an index of blocks: a walk over estimates, rows handed out in exact order.
//!
//! Rows found are ranked by their compact codes; where these leave the order open, the table's own
//! values decide. With `hnsw.iterative_scan = auto` a scan never ends before every row was handed
//! out: where the walk has no more, or has cost as much as looking at all codes, a scan of the code
//! map takes over, or in an index without one a sweep over all pages.
//!
//! A scan with a filter walks through nodes that it does not want, and counts those that it does.
//! Where the map's own keys say that the walk would cost more than the map, there is none.
//!
//! What else the plan node asks of rows is put to them once rows were filtered out above the scan, or
//! at once where the planner expects that.

use super::index::Blocks;
use super::map;
use super::map_scan::{MapScan, Plan};
use super::measure::Measure;
use super::search::{PageBlocks, SEEDS_OF_ALL, ScanRow};
use super::sweep::{self, Sweep};
use crate::am::filter::Filter;
use crate::am::hnsw::last_scan::LastScan;
use crate::am::hnsw::options::{self, IterativeScan};
use crate::am::hnsw::reached::Reached;
use crate::am::ordered::Request;
use crate::am::sphere::Target;
use crate::distance::Value;
use crate::hnsw::blocks::map::{MapLayout, MapPage};
use crate::hnsw::blocks::{Effort, Exact, Near, Ranking, SEEDS, Tested, Walk, calibrate};
use crate::hnsw::format::{Meta, NodeId, RawTid};
use crate::keys::{self, Verdict};
use crate::pg::conditions::Conditions;
use crate::pg::heap::HeapReader;
use crate::planner::running::Node;
use crate::quantize::Query;
use rustc_hash::FxHashSet;
use std::cell::Cell;
use std::rc::Rc;

/// A walk without a filter goes on at least for this many expansions.
const LEAST_WALK: u64 = 2_000;
/// Share of the index's nodes after whose expansion a sweep over all pages is cheaper than walking
/// on.
const WALK_SHARE: f64 = 0.25;
/// The same for a scan of the code map.
const MAP_SHARE: f64 = 1.0 / 150.0;
/// A walk with a filter goes on at least for this many expansions.
const LEAST_FILTERED_WALK: f64 = 100.0;
/// Expansions that lead a walk to where the nearest rows are.
const LEADING_THERE: f64 = 40.0;
/// Pages of the map from which the share of rows that a filter wants is told.
const SAMPLED_PAGES: usize = 12;
/// Rows for which a walk's stopping multiple was calibrated.
const CALIBRATED_RANK: usize = calibrate::RANK;
/// So many rows, if nothing else is asked of them, may be found sooner by a look at all codes.
const LARGE_RANK: usize = 100;
/// What a row of the map costs that is read from its node, in units of an expansion.
const READ_OF_MAP: f64 = 1.0;
/// Part of the rows which may be missed before a page that a scan of the map looks for. What it foretells is of rows like
/// those read, and behind them come other groups. Measured: pages 250 rows behind, in the second of two tight clusters,
/// have a recall of .91 to .92 without.
const MISSED_OF_PAGE: f64 = 0.2;
/// A rank that no row has.
const MOST_ROWS: usize = usize::MAX / 8;
/// Part of the stopping multiple's way beyond 1 that a walk which puts rows to a test goes before it looks whether it
/// has gone far enough. Which rows are met on the way says little of where those that pass are.
const FIRST_MARGIN: f32 = 2.0 / 3.0;
/// Part of its expansions that a walk goes on by to see whether there is anything nearer.
const EXTENSION: f32 = 0.5;
/// Part of the rows that may be missed which such a step may bring where it is the last one; one more, for chance,
/// where so many rows are wanted.
const TOLERATED_GAIN: f32 = 0.2;
/// See [`TOLERATED_GAIN`].
const ONE_BY_CHANCE: f32 = 20.0;
/// Expansions between two tests of rows that wait for them.
const STEPS_BETWEEN_TESTS: u64 = 16;
/// Expansions between two looks at interrupts.
const STEPS_BETWEEN_CHECKS: u64 = 64;

/// A scan of an index of blocks. It can begin anew, which keeps its memory.
pub struct BlockScan {
    meta: Meta,
    store: PageBlocks<ScanRow>,
    walk: Walk<PageBlocks<ScanRow>>,
    ranking: Ranking<ScanRow>,
    measure: Measure,
    seeds: Vec<(NodeId, f32)>,
    floats: Vec<f32>,
    mode: IterativeScan,
    target: f32,
    /// which is more than was asked for, because of rows that OFFSET skips
    is_page: bool,
    ef: usize,
    effort: Effort,
    batches: u32,
    /// rows of `walk.found()` that have been ranked
    ranked: usize,
    /// rows measured exactly before the sweep
    reranked: u64,
    /// rows handed out of this batch and all before
    returned: usize,
    /// rows to hand out before the next batch
    allowed: usize,
    reached: Reached<Last>,
    /// the plan node that the scan runs for
    node: Option<Node>,
    /// internal distance beyond which no row passes; infinite where all may
    within: f32,
    /// all rows up to there are wanted
    wants_all: bool,
    /// what visible rows have to pass to count as found, once rows have been filtered out
    sieve: Option<Conditions>,
    /// nodes none of whose rows pass
    failed: Vec<NodeId>,
    /// rows that the snapshot did not see
    unseen: u64,
    handed_out: Vec<NodeId>,
    sweep: Option<Box<Sweep>>,
    /// what the index's code map is scanned by, once it is
    map_scan: Option<Box<MapScan>>,
    /// rows of the map that came too late; they come last
    late: Ranking<ScanRow>,
    most_expansions: u64,
    memory_limit: usize,
}

impl BlockScan {
    /// A scan that has not begun. `reader` is of the same scan.
    pub fn new(blocks: Rc<Blocks>, meta: &Meta, reader: HeapReader) -> Self {
        let Memory {
            query,
            walk,
            ranking,
            seeds,
            floats,
        } = SPARE.take().unwrap_or_default();
        BlockScan {
            meta: *meta,
            store: PageBlocks::new(blocks.clone(), query),
            walk,
            ranking,
            measure: Measure {
                blocks,
                query: Value::default(),
                reader,
                filter: None,
                lists: Vec::new(),
            },
            seeds,
            floats,
            mode: IterativeScan::Auto,
            target: 0.0,
            is_page: false,
            ef: 0,
            effort: Effort::default(),
            batches: 0,
            ranked: 0,
            reranked: 0,
            returned: 0,
            allowed: 0,
            reached: Reached::of(None),
            node: None,
            within: f32::INFINITY,
            wants_all: false,
            sieve: None,
            failed: Vec::new(),
            unseen: 0,
            handed_out: Vec::new(),
            sweep: None,
            map_scan: None,
            late: Ranking::default(),
            most_expansions: 0,
            memory_limit: 0,
        }
    }

    /// Starts a search.
    pub fn begin(&mut self, meta: &Meta, request: Request, mode: IterativeScan) {
        let limit = request.limit();
        let Request {
            target: Target { query, within, .. },
            node,
            filter,
            ..
        } = request;
        self.node = node;
        self.sieve = None;
        self.failed.clear();
        self.unseen = 0;
        self.within = f32::INFINITY;
        self.meta = *meta;
        if let Some(blocks) = self.store.blocks.of_reach(meta) {
            let blocks = Rc::new(blocks);
            self.store = PageBlocks::new(blocks.clone(), Query::default());
            self.measure.blocks = blocks;
        }
        let blocks = self.store.blocks.clone();
        super::index::floats_of(blocks.hnsw.column.space.element, &query, &mut self.floats);
        self.store.query.reset(&blocks.codec, &self.floats);
        self.measure.query = query;
        if within < f64::INFINITY {
            // what rounding could make of it; rows are put to the condition all the same
            let internal = self.store.query.internal(within);
            self.within = internal + internal.abs() * 1e-5 + f32::MIN_POSITIVE;
        }
        self.ranking.clear();
        self.handed_out.clear();
        self.sweep = None;
        self.map_scan = None;
        self.late.clear();
        self.store.filter = filter.clone();
        self.measure.filter = filter;
        (self.batches, self.ranked, self.returned, self.allowed) = (0, 0, 0, 0);
        self.reached = Reached::of(limit);
        self.mode = mode;
        let target = options::TARGET_RECALL.get() as f32;
        self.target = limit.map_or(target, |limit| limit.recall_up_to_page(target));
        self.memory_limit = options::scan_memory();
        let nodes = blocks.hnsw.estimated_nodes(blocks.layout.block.value_len());
        let share = match self.map() {
            Some(_) => MAP_SHARE,
            None => WALK_SHARE,
        };
        self.most_expansions = LEAST_WALK.max((nodes * share) as u64);
        let ef_search = options::ef_search() as usize;
        let wanted = limit.and_then(|limit| limit.wanted());
        let wanted = wanted.map_or(0, |rows| rows.min(usize::MAX as u64 / 4) as usize);
        let classic = self.target <= 0.0;
        self.wants_all = within < f64::INFINITY
            && self.mode == IterativeScan::Auto
            && limit.and_then(|limit| limit.wanted()).is_none();
        self.ef = match self.mode {
            IterativeScan::Auto if !classic && !options::ef_search_is_set() => 0,
            // room beyond the last row asked for, so that it, too, is the right one
            IterativeScan::Auto => ef_search.max(wanted.saturating_add(wanted / 2)),
            _ => ef_search,
        };
        let rank = if classic {
            1
        } else {
            wanted.max(CALIBRATED_RANK)
        };
        self.aim_at(rank);
        self.allowed = match self.mode {
            IterativeScan::Auto => self.effort.rank.max(self.ef),
            _ => self.ef,
        };
        if self.mode == IterativeScan::Auto
            && node.is_some_and(|node| node.expects_few() || node.allowed().is_some())
        {
            self.sieve = self.sieve_of_node();
        }
        // among rows that fail here and there a walk finds more than a look at all codes does
        self.is_page = self.target > target;
        let is_late_page = rank >= LARGE_RANK && self.is_page;
        let is_large = rank >= LARGE_RANK
            && self.mode == IterativeScan::Auto
            && !self.wants_all
            && self.sieve_of_node().is_none();
        if (self.store.filter.is_some() || self.sieve.is_some() || is_large)
            && let Some(layout) = self.map()
            && self.begin_among_few(layout, is_late_page)
        {
            return;
        }
        let mut seeds = std::mem::take(&mut self.seeds);
        let count = match self.wants_all {
            true => SEEDS_OF_ALL,
            false => SEEDS,
        };
        self.store.seeds(meta, count, &mut seeds);
        self.walk.start(seeds.drain(..));
        self.seeds = seeds;
        self.walk.aim(self.effort);
    }

    /// The code map, unless there is none, or nothing in it.
    fn map(&self) -> Option<MapLayout> {
        self.store.blocks.map.filter(|_| self.meta.map != 0)
    }

    /// Decides how to search where rows have to pass something, by what the map's keys tell of a filter and
    /// the planner of other conditions: true where the map is scanned at once. So it is for a page far behind an
    /// OFFSET, whatever that costs: rows so far down may be of groups that no walk comes by, and of a page hardly
    /// any of those before it may be missed.
    fn begin_among_few(&mut self, layout: MapLayout, is_late_page: bool) -> bool {
        let filter = self.store.filter.clone();
        let mut pages = Vec::new();
        let none = keys::Conditions::default();
        let conditions = filter.as_ref().map_or(&none, |filter| &filter.conditions);
        let all = self.candidates(layout, conditions, &mut pages);
        let rows = (all as usize * layout.capacity) as f64;
        let candidates = (pages.len() * layout.capacity) as f64;
        let wanted = match &filter {
            None => candidates,
            Some(filter) => match filter.allowed().and_then(|allowed| allowed.count()) {
                Some(count) if count as f64 * 100.0 < rows => count as f64,
                _ => candidates * self.wanted_share(filter, layout, &pages),
            },
        };
        let passing = match (self.sieve, self.node) {
            (Some(_), Some(node)) => wanted.min(node.expected_rows()),
            _ => wanted,
        };
        // in units of an expansion with what goes with it, 2.5 microseconds where rows have 384 dimensions
        let rank = match self.wants_all {
            true => CALIBRATED_RANK,
            false => self.effort.rank,
        } as f64;
        let met = rows / passing.max(0.5);
        let routed = (LEADING_THERE + 2.0 * rank).max(self.ef as f64) * rows / wanted.max(0.5);
        let walk = match self.sieve {
            None => routed,
            // measured at 1 to 20 %: what leads there is not tested, what is tested is waited for
            Some(_) => (1.25 * routed).max(LEADING_THERE + (3.6 * rank).max(self.ef as f64) * met),
        };
        let allowed = filter.as_ref().and_then(|filter| filter.allowed());
        let judged = match allowed {
            None => 0.002 * candidates,
            Some(_) => 0.006 * candidates,
        };
        // for one that passes as many as fail and are as near, and half as many more
        let tested = match self.sieve {
            None => 0.0,
            Some(_) => 0.7 * 1.5 * rank * (wanted / passing.max(0.5)).max(1.0),
        };
        let read = READ_OF_MAP * (rank - CALIBRATED_RANK as f64).max(0.0);
        let map = 0.3 * pages.len() as f64 + judged + 0.01 * wanted + tested + read + 60.0;
        if walk < map && !is_late_page {
            self.most_expansions = map.max(LEAST_FILTERED_WALK) as u64;
            return false;
        }
        self.walk.start(std::iter::empty());
        self.begin_map(layout, pages);
        true
    }

    /// Share of the rows on these pages of the map that a filter wants, from a few of them.
    fn wanted_share(&mut self, filter: &Filter, layout: MapLayout, pages: &[u32]) -> f64 {
        let hnsw = &self.store.blocks.hnsw;
        let (mut seen, mut wanted) = (0usize, 0usize);
        let mut verdicts = Vec::new();
        let step = pages.len().div_ceil(SAMPLED_PAGES).max(1);
        let sampled = pages.iter().skip(step / 2).step_by(step);
        for &block in sampled.clone() {
            let locked = self.store.hints().pin(hnsw.index, block).lock();
            let page = hnsw.check(block, || MapPage::of(locked.page(), layout));
            verdicts.clear();
            verdicts.resize(page.count, Verdict::Yes);
            filter
                .conditions
                .narrow(|column| page.keys(column), &mut verdicts);
            seen += page.count;
            let verdicts = verdicts.iter().zip(page.rows());
            wanted += verdicts
                .filter(|&(&verdict, row)| {
                    let allowed = filter.allowed();
                    verdict != Verdict::No && allowed.is_none_or(|list| list.contains(row.tid))
                })
                .count();
        }
        self.store.count_pages(sampled.count() as u64);
        wanted as f64 / seen.max(1) as f64
    }

    /// The pages of the map that can have rows that meet conditions. Returns how many it has at all.
    fn candidates(
        &mut self,
        layout: MapLayout,
        conditions: &keys::Conditions,
        pages: &mut Vec<u32>,
    ) -> u32 {
        let hnsw = self.store.blocks.hnsw;
        let (directory, all) = map::candidates(&hnsw, layout, &self.meta, conditions, pages);
        self.store.count_pages(directory as u64);
        all
    }

    /// Turns to the map. What a walk has put to the same test is not put to it again.
    fn begin_map(&mut self, layout: MapLayout, pages: Vec<u32>) {
        self.reranked = self.ranking.measured();
        self.ranking.clear();
        let mut passed_over: FxHashSet<NodeId> = self.handed_out.drain(..).collect();
        let mut known = Vec::new();
        if self.walk.tested() > 0 {
            let found = self.walk.found().iter();
            known.extend(found.filter(|near| passed_over.insert(near.row.id)));
            passed_over.extend(self.failed.drain(..));
        }
        let passing = match (self.sieve, self.node) {
            (Some(_), Some(node)) => {
                let rows = (pages.len() * layout.capacity).max(1) as f64;
                node.expected_rows() / rows
            }
            _ => 1.0,
        };
        self.map_scan = Some(Box::new(MapScan::new(
            layout,
            Plan {
                pages,
                passed_over,
                known,
                rank: self.effort.rank.max(CALIBRATED_RANK),
                missed: self.missed_of_map(),
                deviations: self.deviations(),
                sieve: self.sieve,
                passing,
                within: self.within,
                memory_limit: self.memory_limit,
            },
        )));
    }

    fn aim_at(&mut self, rank: usize) {
        let (rank, multiple) = match self.wants_all {
            // the distance alone says how far, and before the first row is handed out
            true => (MOST_ROWS, self.multiple_at(CALIBRATED_RANK)),
            false => (rank, self.multiple_at(rank)),
        };
        self.effort = Effort {
            rank,
            multiple,
            ef: self.ef,
            within: self.within,
            deviations: self.deviations(),
            ..Effort::default()
        };
    }

    /// How many standard deviations of an estimate a row may be nearer than it seems: as many as leave
    /// so many of the rows wanted beyond. The tail of a normal distribution, roughly.
    fn deviations(&self) -> f32 {
        (2.0 * (0.25 / self.missed_of_map() as f32).max(1.0).ln()).sqrt()
    }

    /// The recall that scans of the map aim at: a floor under what is searched asks for more than usual.
    fn sought_recall(&self) -> f32 {
        match self.ef {
            0 => self.target,
            _ => self.target.max(0.99),
        }
    }

    /// Share of the rows up to the last one wanted that a scan of the map may miss.
    fn missed_of_map(&self) -> f64 {
        let missed = 1.0 - self.sought_recall() as f64;
        match self.is_page {
            true => missed * MISSED_OF_PAGE,
            false => missed,
        }
    }

    /// Which rank the row that the walk compares with has among all rows, those that fail the
    /// conditions too, as the walk has found so far.
    fn rank_of_all(&self) -> usize {
        if self.wants_all {
            return CALIBRATED_RANK;
        }
        let tested = self.walk.tested() as usize;
        let found = self.walk.found().len().max(1);
        (self.effort.rank.saturating_mul(tested) / found)
            .clamp(self.effort.rank, tested.max(self.effort.rank))
    }

    /// The stopping multiple on the distance of a row that has so many others before it.
    fn multiple_at(&self, rank: usize) -> f32 {
        // The curve was measured without filters. Among fewer rows a walk goes astray more easily,
        // and what passes may all be among the farthest rows of a batch, where a walk misses most.
        // A walk that goes on does so for a filter above it.
        let missed = match self.batches {
            0 if self.store.filter.is_none() => 1.0 - self.target,
            _ => (1.0 - self.target) / 2.0,
        };
        match self.target {
            target if target > 0.0 => {
                let multiple = calibrate::multiple_for(self.meta.curve(), 1.0 - missed);
                calibrate::at_rank(multiple, rank)
            }
            _ => 1.0,
        }
    }

    /// The heap tuples of the next row, last one first; false where there is none.
    pub fn next(&mut self, tids: &mut Vec<RawTid>) -> bool {
        while let Some(near) = self.next_row() {
            self.returned += 1;
            let row = near.row;
            if self.may_turn_to_map() && self.map_scan.is_none() {
                self.handed_out.push(row.id);
            }
            row.all_tids(&self.store.blocks, self.store.filter.as_deref(), tids);
            tids.reverse();
            if !tids.is_empty() {
                return true;
            }
        }
        false
    }

    fn next_row(&mut self) -> Option<Near<ScanRow>> {
        let near = self.next_of_all()?;
        let is_beyond = near.distance - near.error > self.within;
        // rows come in order, so that no row after it is nearer
        (!is_beyond || self.mode == IterativeScan::RelaxedOrder).then_some(near)
    }

    fn next_of_all(&mut self) -> Option<Near<ScanRow>> {
        self.reached.catch_up();
        loop {
            pgrx::check_for_interrupts!();
            if let Some(sweep) = &mut self.sweep {
                let near = sweep.next(&mut self.measure, &self.store.query)?;
                let is_last = sweep.is_at_last();
                if !is_last && !self.comes_after_last(&near) {
                    let sweep = self.sweep.as_mut().expect("it was just there");
                    sweep.late.push(near);
                    continue;
                }
                if !is_last {
                    self.reached.hand_out(Last { near, exact: None });
                }
                return Some(near);
            }
            if self.map_scan.is_some() {
                return self.next_of_map();
            }
            if self.returned < self.allowed {
                let query = &self.store.query;
                let (next, unseen) = self.measure.pop(&mut self.ranking, query);
                // rows that the snapshot does not see took part in the walk's rank: those beyond
                // it were not searched for yet
                self.returned += unseen;
                self.unseen += unseen as u64;
                if let Some(near) = next {
                    if self.returned >= self.allowed {
                        self.ranking.push(near);
                        continue;
                    }
                    if self.mode != IterativeScan::RelaxedOrder && !self.comes_after_last(&near) {
                        // too late; where all rows are asked for, the sweep finds it again
                        continue;
                    }
                    self.reached.hand_out(Last { near, exact: None });
                    return Some(near);
                }
            }
            if !self.fill() {
                let has_all = self.within < f32::INFINITY && !self.is_over_bound();
                if !self.may_turn_to_map() || has_all {
                    return None;
                }
                self.begin_sweep();
            }
        }
    }

    /// Whether the walk is not all that the scan can do.
    fn may_turn_to_map(&self) -> bool {
        self.mode == IterativeScan::Auto || (self.store.filter.is_some() && self.map().is_some())
    }

    fn next_of_map(&mut self) -> Option<Near<ScanRow>> {
        if self.mode == IterativeScan::Off && self.returned >= self.ef {
            return None;
        }
        while let Some(scan) = &mut self.map_scan
            && let Some(near) = scan.next(&mut self.store, &mut self.measure)
        {
            let is_in_order =
                self.mode == IterativeScan::RelaxedOrder || self.comes_after_last(&near);
            if is_in_order {
                self.reached.hand_out(Last { near, exact: None });
                return Some(near);
            }
            if self.mode == IterativeScan::Auto {
                self.late.push(near);
            }
        }
        let (measure, query) = (&mut self.measure, &self.store.query);
        self.late.pop(|row| measure.of(row, query))
    }

    /// Whether a row of a later batch is no nearer than the last row that the user has got.
    fn comes_after_last(&mut self, near: &Near<ScanRow>) -> bool {
        let Some(last) = &mut self.reached.last else {
            return true;
        };
        let (low, high) = (
            last.near.distance - last.near.error,
            last.near.distance + last.near.error,
        );
        if near.distance - near.error > high {
            return true;
        }
        if near.distance + near.error < low {
            return false;
        }
        let (measure, query) = (&mut self.measure, &self.store.query);
        let Some(exact) = measure.of(&near.row, query) else {
            return true;
        };
        if last.exact.is_none() {
            last.exact = measure.of(&last.near.row, query);
        }
        match last.exact {
            Some(last) => exact.operator >= last.operator,
            // what the snapshot does not see bounds nothing; what came before it is nearer than `low`
            None => exact.internal >= low,
        }
    }

    /// Walks on for the next batch; false where the walk ends.
    fn fill(&mut self) -> bool {
        if self.batches > 0 {
            if self.mode == IterativeScan::Off {
                return false;
            }
            if self.walk.is_exhausted() {
                self.allowed = usize::MAX;
                return !self.ranking.is_empty();
            }
            if !(self.mode == IterativeScan::Auto && self.begin_sieve()) {
                // each batch as large as all before: the work grows with the rows asked for, and the
                // restarts only with its logarithm
                if self.ef > 0 {
                    self.ef *= 2;
                }
                self.aim_at(self.effort.rank.saturating_mul(2));
            }
            self.allowed = match self.mode {
                IterativeScan::Auto => self.effort.rank.max(self.ef),
                _ => self.allowed + self.ef,
            };
        }
        let first = self.batches == 0;
        self.batches += 1;
        if !first && self.is_over_bound() {
            if self.may_turn_to_map() {
                return false;
            }
            // what was seen already is still handed out
            let is_new = self.allowed < usize::MAX && !self.ranking.is_empty();
            self.allowed = usize::MAX;
            return is_new;
        }
        if !first {
            self.walk.aim(self.effort);
        }
        let before = self.walk.work().expanded;
        let mut steps = 0u64;
        let sieve = self.sieve;
        self.test_waiting(Tested::Nearer);
        let mut so_far = SoFar::of_rank(self.effort.rank);
        let mut is_cut = false;
        loop {
            while match &sieve {
                None => self.walk.step(&mut self.store),
                Some(_) => self.walk.step_and_wait(&mut self.store).map(|()| None),
            }
            .is_some()
            {
                steps += 1;
                if sieve.is_some() && steps.is_multiple_of(STEPS_BETWEEN_TESTS) {
                    self.test_waiting(Tested::Nearer);
                }
                if steps.is_multiple_of(STEPS_BETWEEN_CHECKS) {
                    pgrx::check_for_interrupts!();
                    if sieve.is_some() {
                        let multiple = self.multiple_at(self.rank_of_all());
                        self.walk.narrow(1.0 + (multiple - 1.0) * so_far.margin);
                    }
                    is_cut = self.is_over_bound() && (self.may_turn_to_map() || !first);
                    if is_cut {
                        break;
                    }
                }
            }
            if is_cut {
                break;
            }
            self.test_waiting(Tested::All);
            if !self.aim_farther(&mut so_far) {
                break;
            }
        }
        let farthest = self.walk.farthest_wanted();
        let mut tids = std::mem::take(&mut self.measure.lists);
        tids.clear();
        for near in &self.walk.found()[self.ranked..] {
            self.ranking.push(*near);
            if near.distance <= farthest {
                tids.extend(near.row.tids().first());
            }
        }
        self.measure.reader.prefetch(&tids);
        self.measure.lists = tids;
        self.ranked = self.walk.found().len();
        if self.may_turn_to_map() && self.is_over_bound() {
            // the batch was cut short: its rows may not be the nearest, the sweep has them all
            return false;
        }
        self.walk.work().expanded > before || !self.ranking.is_empty()
    }

    /// Aims a walk that has got where it was aimed at somewhat farther; false where it has gone far enough.
    ///
    /// The curve speaks of the ten nearest rows. How far a walk goes for a hundred, or for ten that are the hundredth
    /// of all because others fail, is a guess, and a bad one where links lead among rows that are near to everything.
    /// So such a walk goes on until going farther has brought hardly anything nearer. Nor does the curve know of rows
    /// that are nearer to each other than codes can tell: all of these are looked for.
    fn aim_farther(&mut self, so_far: &mut SoFar) -> bool {
        let farthest = self.walk.farthest_wanted();
        let is_measured = self.mode == IterativeScan::Auto && self.target > 0.0;
        if !(is_measured || self.sieve.is_some()) || farthest == f32::INFINITY {
            return false;
        }
        let places = self.walk.open_places();
        let is_open = is_measured && places > so_far.rank + so_far.rank / 8 + 1;
        if !is_open && (self.is_known(so_far) || !self.has_gained(so_far, farthest)) {
            return false;
        }
        let rank = self.effort.rank;
        let multiple = match self.sieve {
            Some(_) => {
                so_far.margin = 1.0;
                self.multiple_at(self.rank_of_all())
            }
            None => self.multiple_at(rank),
        };
        so_far.reach = so_far.reach.max(self.walk.reach());
        if is_open {
            so_far.rank = places + places / 4;
        } else {
            let more = self.walk.work().expanded as f32 * EXTENSION;
            so_far.reach = so_far.reach.max(self.walk.reach_of(more as usize));
            so_far.is_extended = true;
        }
        (so_far.found, so_far.met) = (self.walk.found().len(), self.walk.met().len());
        self.walk.aim(Effort {
            rank: so_far.rank,
            // the way beyond is that of the rows wanted, and gone already
            multiple: if so_far.rank > rank { 1.0 } else { multiple },
            reach: so_far.reach,
            ..self.effort
        });
        true
    }

    /// Whether the curve speaks of such a walk.
    fn is_known(&self, so_far: &SoFar) -> bool {
        self.sieve.is_none() && so_far.rank <= CALIBRATED_RANK
    }

    /// Whether the last step of a walk has found more than a few that are no farther than the last row wanted, or
    /// none was made yet. Of rows that are put to a test those that fail say as much of the way as others.
    fn has_gained(&self, so_far: &SoFar, farthest: f32) -> bool {
        if !so_far.is_extended {
            return true;
        }
        let tolerated = TOLERATED_GAIN * (1.0 - self.target);
        let is_more = |distances: &mut dyn Iterator<Item = f32>, before: usize| {
            let (mut all, mut gained) = (0usize, 0usize);
            for (n, _) in distances
                .enumerate()
                .filter(|&(_, distance)| distance <= farthest)
            {
                all += 1;
                gained += (n >= before) as usize;
            }
            let all = all as f32;
            gained > (tolerated * all + (all / ONE_BY_CHANCE).min(1.0)) as usize
        };
        let mut found = self.walk.found().iter().map(|near| near.distance);
        let mut met = self.walk.met().iter().copied();
        is_more(&mut found, so_far.found) || is_more(&mut met, so_far.met)
    }

    /// Puts rows that the walk has expanded to what the plan node asks, where it does.
    fn test_waiting(&mut self, which: Tested) {
        let Some(sieve) = &self.sieve else {
            return;
        };
        let (measure, failed) = (&mut self.measure, &mut self.failed);
        self.walk.test_waiting(which, |rows, passes| {
            measure.pass_each(rows, sieve, passes);
            let failing = rows.iter().zip(&*passes).filter(|(_, passes)| !**passes);
            failed.extend(failing.map(|(near, _)| near.row.id));
        });
    }

    /// What the plan node asks of rows beside what the index has keys for; `None` where every row
    /// passes.
    fn sieve_of_node(&self) -> Option<Conditions> {
        let conditions = self.node.map(|node| node.conditions()).unwrap_or_default();
        let has_list = self
            .store
            .filter
            .as_ref()
            .is_some_and(|f| f.allowed().is_some());
        let passes_all = conditions.is_empty() && !has_list && self.unseen == 0;
        (!passes_all).then_some(conditions)
    }

    /// From the second batch on, rows are put to the plan node's conditions as they are found, and
    /// only those that are visible and pass count: rows that are filtered out are not ranked, and
    /// those that are left can be searched for as many as LIMIT asks for. False where that has been
    /// done, or cannot be.
    fn begin_sieve(&mut self) -> bool {
        if self.sieve.is_some() {
            return false;
        }
        let Some(sieve) = self.sieve_of_node() else {
            return false;
        };
        let handed_out: FxHashSet<NodeId> = self.handed_out.iter().copied().collect();
        let (measure, failed) = (&mut self.measure, &mut self.failed);
        self.walk.begin_tests(
            |near| handed_out.contains(&near.row.id),
            |near| test(measure, failed, near, &sieve),
        );
        // those that passed have been handed out
        self.ranking.clear();
        self.returned = self.walk.found().len();
        self.ranked = self.returned;
        self.aim_at(self.effort.rank);
        self.sieve = Some(sieve);
        true
    }

    /// Whether rows have to pass something, and the map can be turned to.
    fn is_among_few(&self) -> bool {
        (self.store.filter.is_some() || self.sieve.is_some()) && self.map().is_some()
    }

    fn is_over_bound(&self) -> bool {
        let expanded = self.walk.work().expanded;
        match self.mode {
            _ if self.is_among_few() => {
                expanded >= self.most_expansions || self.walk.memory() >= self.memory_limit
            }
            IterativeScan::Auto => {
                expanded >= LEAST_WALK
                    && (expanded >= self.most_expansions || self.walk.memory() >= self.memory_limit)
            }
            _ => {
                let slots = self.store.blocks.layout.slots() as u64;
                let most = options::MAX_SCAN_TUPLES.get() as u64;
                // pgvector counts the tuples visited, about half of a node's links are new ones
                expanded.saturating_mul(slots / 2) >= most
                    || self.walk.memory() >= self.memory_limit
            }
        }
    }

    /// Turns to the code map for everything not handed out yet; to all pages where there is none.
    fn begin_sweep(&mut self) {
        if self.sieve.is_none() && self.mode == IterativeScan::Auto {
            self.sieve = self.sieve_of_node();
        }
        if let Some(layout) = self.map() {
            let mut pages = Vec::new();
            let filter = self.store.filter.clone();
            let none = keys::Conditions::default();
            let conditions = filter.as_ref().map_or(&none, |filter| &filter.conditions);
            self.candidates(layout, conditions, &mut pages);
            return self.begin_map(layout, pages);
        }
        self.reranked = self.ranking.measured();
        self.ranking.clear();
        let last = self.reached.last.as_ref().map(|last| &last.near);
        self.sweep = Some(Box::new(Sweep::new(sweep::Plan {
            after: last.map_or(f32::NEG_INFINITY, |last| last.distance - last.error),
            handed_out: self.handed_out.drain(..).collect(),
            sieve: self.sieve,
            within: self.within,
            memory_limit: self.memory_limit,
        })));
    }

    /// What the scan has done so far; `returned` is for the caller to fill in.
    pub fn done(&self) -> LastScan {
        let work = self.walk.work();
        let mut done = LastScan {
            expanded: work.expanded,
            estimated: work.estimated,
            computed: self.walk.found().len() as u64,
            pages: self.store.pages(),
            reranked: self.ranking.measured(),
            multiple: Some(self.effort.multiple),
            target_recall: Some(self.target),
            ..LastScan::default()
        };
        if let Some(scan) = &self.map_scan {
            done.estimated += scan.estimated;
            done.computed += scan.computed();
            done.reranked = self.reranked + scan.measured();
            done.swept = true;
        }
        if let Some(sweep) = &self.sweep {
            done.computed += sweep.computed;
            done.pages += sweep.pages;
            done.reranked = self.reranked + sweep.ranking.measured();
            done.swept = true;
        }
        done
    }

    /// Reads the table, for whoever has the scan while it rests.
    pub fn reader(&mut self) -> &mut HeapReader {
        &mut self.measure.reader
    }

    /// Lets go of pages: the scan is to begin anew.
    pub fn pause(&mut self) {
        self.measure.reader.release();
    }

    /// Lets go of everything held of index and table.
    pub fn end(&mut self) {
        self.measure.reader.end();
        if self.walk.memory() > MOST_SPARE {
            return;
        }
        self.walk.start(std::iter::empty());
        self.ranking.clear();
        SPARE.set(Some(Memory {
            query: std::mem::take(&mut self.store.query),
            walk: std::mem::take(&mut self.walk),
            ranking: std::mem::take(&mut self.ranking),
            seeds: std::mem::take(&mut self.seeds),
            floats: std::mem::take(&mut self.floats),
        }));
    }
}

/// Working memory of a scan, kept for the next one of this backend: a statement of one search would
/// else spend some of its time on getting it from the system and giving it back.
#[derive(Default)]
struct Memory {
    query: Query,
    walk: Walk<PageBlocks<ScanRow>>,
    ranking: Ranking<ScanRow>,
    seeds: Vec<(NodeId, f32)>,
    floats: Vec<f32>,
}

/// Bytes of a walk that are worth keeping.
const MOST_SPARE: usize = 1 << 20;

thread_local! {
    static SPARE: Cell<Option<Memory>> = const { Cell::new(None) };
}

/// Whether a row passes; notes its node where it does not.
fn test(
    measure: &mut Measure,
    failed: &mut Vec<NodeId>,
    near: &Near<ScanRow>,
    sieve: &Conditions,
) -> bool {
    let passes = measure.passes(&near.row, sieve);
    if !passes {
        failed.push(near.row.id);
    }
    passes
}

/// How far a walk has been taken beyond where it was aimed at first.
struct SoFar {
    /// rows that it looks for: more than are wanted where codes cannot tell which these are
    rank: usize,
    /// see [`FIRST_MARGIN`]
    margin: f32,
    /// see [`Effort::reach`]
    reach: f32,
    /// rows found, and expanded, when it was aimed last
    found: usize,
    /// see `found`
    met: usize,
    /// it was aimed farther than the curve says
    is_extended: bool,
}

impl SoFar {
    fn of_rank(rank: usize) -> SoFar {
        SoFar {
            rank,
            margin: FIRST_MARGIN,
            reach: f32::NEG_INFINITY,
            found: 0,
            met: 0,
            is_extended: false,
        }
    }
}

/// A row handed out.
struct Last {
    near: Near<ScanRow>,
    /// once it was needed
    exact: Option<Exact>,
}
