//! Scans of an index of blocks: a walk over estimates, rows handed out in exact order.
//!
//! Rows found are ranked by their compact codes; where these leave the order open, the table's own
//! values decide. With `hnsw.iterative_scan = auto` a scan never ends before every row was handed
//! out: where the walk has no more, or has cost as much as reading the whole index, a sweep over
//! all pages takes over.

use super::index::Blocks;
use super::search::{Keep, PageBlocks, ScanRow};
use crate::am::hnsw::last_scan::LastScan;
use crate::am::hnsw::options::{self, IterativeScan};
use crate::am::hnsw::scan::{Order, all_tids, memory_limit};
use crate::distance::Value;
use crate::hnsw::blocks::{Effort, Exact, Near, Ranking, Walk, calibrate};
use crate::hnsw::format::{Meta, NodeId, Opaque, PageKind, RawTid};
use crate::pg::allow_list::AllowList;
use crate::pg::buffer::{Access, Shared, Strategy};
use crate::pg::conditions::Conditions;
use crate::pg::heap::HeapReader;
use crate::planner::running::Node;
use crate::quantize::Query;
use rustc_hash::FxHashSet;
use std::cell::Cell;
use std::collections::BinaryHeap;
use std::rc::Rc;

/// A walk goes on at least for this many expansions before a sweep takes over.
const LEAST_WALK: u64 = 2_000;
/// Share of the index's nodes after whose expansion a sweep is cheaper than walking on.
const WALK_SHARE: f64 = 0.25;
/// Rows for which a walk's stopping multiple was calibrated.
const CALIBRATED_RANK: usize = calibrate::RANK;
/// How much farther a walk looks each time it looks whether it has gone far enough.
const MARGIN_GROWTH: f32 = 1.5;
/// Expansions between two looks at interrupts.
const STEPS_BETWEEN_CHECKS: u64 = 64;

/// Computes exact distances from the table.
struct Measure {
    blocks: Rc<Blocks>,
    query: Value,
    reader: HeapReader,
    lists: Vec<RawTid>,
}

impl Measure {
    /// Exact distance of a row: of the first heap tuple that the snapshot sees. `None` where it
    /// sees none.
    fn of(&mut self, row: &ScanRow, query: &Query) -> Option<Exact> {
        let found = row.tids().iter().find_map(|&tid| self.fetch(tid));
        let operator = found.or_else(|| {
            if !row.has_lists {
                return None;
            }
            let mut lists = std::mem::take(&mut self.lists);
            lists.clear();
            tids_of(&self.blocks, row, &mut lists);
            let found = lists.iter().find_map(|&tid| self.fetch(tid));
            self.lists = lists;
            found
        })?;
        Some(Exact {
            operator,
            internal: query.internal(operator),
        })
    }

    /// Whether one of a row's heap tuples is visible and passes.
    fn passes(&mut self, row: &ScanRow, sieve: &Sieve) -> bool {
        let Sieve { conditions, list } = sieve;
        let allowed = |tid: &RawTid| list.as_ref().is_none_or(|list| list.contains(*tid));
        if row
            .tids()
            .iter()
            .any(|&tid| allowed(&tid) && self.reader.passes(tid, conditions))
        {
            return true;
        }
        if !row.has_lists {
            return false;
        }
        let mut lists = std::mem::take(&mut self.lists);
        lists.clear();
        tids_of(&self.blocks, row, &mut lists);
        let passes = lists
            .iter()
            .any(|&tid| allowed(&tid) && self.reader.passes(tid, conditions));
        self.lists = lists;
        passes
    }

    fn fetch(&mut self, tid: RawTid) -> Option<f64> {
        let (column, query) = (self.blocks.hnsw.column, &self.query);
        self.reader.fetch(tid, |datum| {
            // SAFETY: a non-NULL value of the indexed column.
            let value = unsafe { column.value(datum) };
            column.space.distance(query.operand(), value.operand())
        })
    }
}

/// Reads all heap tuples of a row, unless its node is gone.
fn tids_of(blocks: &Blocks, row: &ScanRow, tids: &mut Vec<RawTid>) {
    let hnsw = &blocks.hnsw;
    hnsw.with_node(row.id, Access::Random, |node| {
        if node.header.generation == row.generation && !node.is_deleted() {
            all_tids(hnsw, row.id, &node, tids);
        }
    });
}

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
    order: Order<Last>,
    /// the plan node that the scan runs for
    node: Option<Node>,
    /// internal distance beyond which no row passes; infinite where all may
    within: f32,
    /// in force, once rows have been filtered out
    sieve: Option<Sieve>,
    /// rows that the snapshot did not see
    unseen: u64,
    handed_out: Vec<NodeId>,
    sweep: Option<Box<Sweep>>,
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
                lists: Vec::new(),
            },
            seeds,
            floats,
            mode: IterativeScan::Auto,
            target: 0.0,
            ef: 0,
            effort: Effort::default(),
            batches: 0,
            ranked: 0,
            reranked: 0,
            returned: 0,
            allowed: 0,
            order: Order::of(None),
            node: None,
            within: f32::INFINITY,
            sieve: None,
            unseen: 0,
            handed_out: Vec::new(),
            sweep: None,
            most_expansions: 0,
            memory_limit: 0,
        }
    }

    /// Starts a search for a plan node.
    pub fn begin(&mut self, meta: &Meta, query: Value, node: Option<Node>) {
        let limit = node.and_then(|node| node.limit);
        self.node = node;
        self.sieve = None;
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
        if let Some(radius) = node.and_then(|node| node.radius()) {
            // what rounding could make of it; rows are put to the condition all the same
            let internal = self.store.query.internal(radius);
            self.within = internal + internal.abs() * 1e-5 + f32::MIN_POSITIVE;
        }
        self.ranking.clear();
        self.handed_out.clear();
        self.sweep = None;
        (self.batches, self.ranked, self.returned, self.allowed) = (0, 0, 0, 0);
        self.order = Order::of(limit);
        self.mode = options::ITERATIVE_SCAN.get();
        self.target = options::TARGET_RECALL.get() as f32;
        self.memory_limit = memory_limit();
        let nodes = blocks.hnsw.estimated_nodes(blocks.layout.block.value_len());
        self.most_expansions = LEAST_WALK.max((nodes * WALK_SHARE) as u64);
        let ef_search = options::ef_search() as usize;
        let wanted = limit.and_then(|limit| limit.wanted());
        let wanted = wanted.map_or(0, |rows| rows.min(usize::MAX as u64 / 4) as usize);
        let classic = self.target <= 0.0;
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
        let mut seeds = std::mem::take(&mut self.seeds);
        self.store.seeds(meta, &mut seeds);
        self.walk.start(seeds.drain(..));
        self.seeds = seeds;
        self.walk.aim(self.effort);
        if self.mode == IterativeScan::Auto
            && node.is_some_and(|node| node.expects_few() || node.allowed().is_some())
        {
            self.begin_filter();
        }
    }

    fn aim_at(&mut self, rank: usize) {
        self.effort = Effort {
            rank,
            multiple: self.multiple_at(rank),
            ef: self.ef,
            within: self.within,
        };
    }

    /// Which rank the row that the walk compares with has among all rows, those that fail the
    /// conditions too, as the walk has found so far.
    fn rank_of_all(&self) -> usize {
        let expanded = self.walk.work().expanded as usize;
        let found = self.walk.found().len().max(1);
        (self.effort.rank.saturating_mul(expanded) / found)
            .clamp(self.effort.rank, expanded.max(self.effort.rank))
    }

    /// The stopping multiple on the distance of a row that has so many others before it.
    fn multiple_at(&self, rank: usize) -> f32 {
        // A walk that goes on does so for a filter. What passes it may all be among the farthest
        // rows of a batch, where a walk misses most.
        let missed = match self.batches {
            0 => 1.0 - self.target,
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
            if self.mode == IterativeScan::Auto {
                self.handed_out.push(row.id);
            }
            if row.has_lists {
                tids_of(&self.store.blocks, &row, tids);
            } else {
                tids.extend_from_slice(row.tids());
            }
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
        self.order.catch_up();
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
                    self.order.hand_out(Last { near, exact: None });
                }
                return Some(near);
            }
            if self.returned < self.allowed {
                let (measure, query) = (&mut self.measure, &self.store.query);
                let mut unseen = 0;
                let next = self.ranking.pop(|row| {
                    let exact = measure.of(row, query);
                    unseen += exact.is_none() as usize;
                    exact
                });
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
                    self.order.hand_out(Last { near, exact: None });
                    return Some(near);
                }
            }
            if !self.fill() {
                let has_all = self.within < f32::INFINITY && !self.is_over_bound();
                if self.mode != IterativeScan::Auto || self.sweep.is_some() || has_all {
                    return None;
                }
                self.begin_sweep();
            }
        }
    }

    /// Whether a row of a later batch is no nearer than the last row that the user has got.
    fn comes_after_last(&mut self, near: &Near<ScanRow>) -> bool {
        let Some(last) = &mut self.order.accepted else {
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
            if !(self.mode == IterativeScan::Auto && self.begin_filter()) {
                // each batch as large as all before: the work grows with the rows asked for, and the
                // restarts only with its logarithm
                if self.ef > 0 {
                    self.ef *= 2;
                }
                self.aim_at(2 * self.effort.rank);
            }
            self.allowed = match self.mode {
                IterativeScan::Auto => self.effort.rank.max(self.ef),
                _ => self.allowed + self.ef,
            };
        }
        let first = self.batches == 0;
        self.batches += 1;
        if !first && self.is_over_bound() {
            if self.mode == IterativeScan::Auto {
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
        let sieve = self.sieve.clone();
        // Which rows are met on the way says little of where those that pass are. So a walk that
        // sieves goes on until going farther has brought nothing nearer.
        let mut margin = 1.0;
        let mut farthest = f32::NAN;
        let mut is_cut = false;
        loop {
            while self
                .walk
                .step_where(&mut self.store, |near| {
                    sieve
                        .as_ref()
                        .is_none_or(|sieve| self.measure.passes(&near.row, sieve))
                })
                .is_some()
            {
                steps += 1;
                if steps.is_multiple_of(STEPS_BETWEEN_CHECKS) {
                    pgrx::check_for_interrupts!();
                    if sieve.is_some() {
                        let multiple = self.multiple_at(self.rank_of_all());
                        self.walk.narrow(1.0 + (multiple - 1.0) * margin);
                    }
                    is_cut = self.is_over_bound() && (self.mode == IterativeScan::Auto || !first);
                    if is_cut {
                        break;
                    }
                }
            }
            if sieve.is_none() || is_cut || self.walk.farthest_wanted() == farthest {
                break;
            }
            farthest = self.walk.farthest_wanted();
            margin *= MARGIN_GROWTH;
            let multiple = self.multiple_at(self.rank_of_all());
            self.walk.aim(Effort {
                multiple: 1.0 + (multiple - 1.0) * margin,
                ..self.effort
            });
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
        if self.mode == IterativeScan::Auto && self.is_over_bound() {
            // the batch was cut short: its rows may not be the nearest, the sweep has them all
            return false;
        }
        self.walk.work().expanded > before || !self.ranking.is_empty()
    }

    /// From the second batch on, rows are put to the plan node's conditions as they are found, and
    /// only those that are visible and pass count: rows that are filtered out are not ranked, and those that are left
    /// can be searched for as many as LIMIT asks for. False where that has been done, or cannot be.
    fn begin_filter(&mut self) -> bool {
        if self.sieve.is_some() {
            return false;
        }
        let Some(sieve) = sieve(self.node, self.unseen == 0) else {
            return false;
        };
        let handed_out: FxHashSet<NodeId> = self.handed_out.iter().copied().collect();
        let measure = &mut self.measure;
        self.walk.retain(|near| measure.passes(&near.row, &sieve));
        self.ranking.clear();
        self.returned = 0;
        for near in self.walk.found() {
            if handed_out.contains(&near.row.id) {
                self.returned += 1;
            } else {
                self.ranking.push(*near);
            }
        }
        self.ranked = self.walk.found().len();
        self.aim_at(self.effort.rank);
        self.walk.aim(self.effort);
        self.sieve = Some(sieve);
        true
    }

    fn is_over_bound(&self) -> bool {
        let expanded = self.walk.work().expanded;
        match self.mode {
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

    fn begin_sweep(&mut self) {
        self.reranked = self.ranking.measured();
        self.ranking.clear();
        self.begin_filter();
        self.ranking.clear();
        self.sweep = Some(Box::new(Sweep {
            sieve: self.sieve.clone(),
            ranking: Ranking::default(),
            handed_out: self.handed_out.drain(..).collect(),
            late: Vec::new(),
            is_at_last: false,
            after: self
                .order
                .accepted
                .as_ref()
                .map_or(f32::NEG_INFINITY, |last| {
                    last.near.distance - last.near.error
                }),
            limit: f32::NEG_INFINITY,
            begun: false,
            ended: false,
            most_error: 0.0,
            farthest: None,
            computed: 0,
            pages: 0,
            capacity: (self.memory_limit / size_of::<Swept>()).max(1000),
        }));
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

/// What rows have to pass to count as found.
#[derive(Clone)]
struct Sieve {
    conditions: Conditions,
    /// rows that may pass; `None` for all
    list: Option<Rc<AllowList>>,
}

/// Begins to sieve rows for a plan node; `None` where every row passes.
fn sieve(node: Option<Node>, all_visible: bool) -> Option<Sieve> {
    let sieve = Sieve {
        conditions: node.map(|node| node.conditions()).unwrap_or_default(),
        list: node.and_then(|node| node.allowed()),
    };
    let passes_all = sieve.conditions.is_empty() && sieve.list.is_none() && all_visible;
    (!passes_all).then_some(sieve)
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

/// A row handed out.
struct Last {
    near: Near<ScanRow>,
    /// once it was needed
    exact: Option<Exact>,
}

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

/// A pass, or several, over all pages: every row that the walk did not hand out, in exact order.
struct Sweep {
    sieve: Option<Sieve>,
    ranking: Ranking<ScanRow>,
    handed_out: FxHashSet<NodeId>,
    /// nearer than the last row that the user has got from the walk; they come last
    late: Vec<Near<ScanRow>>,
    is_at_last: bool,
    /// the last row that the user has got from the walk
    after: f32,
    /// rows up to here are all in `ranking` or handed out; those that may be beyond wait for the next pass
    limit: f32,
    begun: bool,
    ended: bool,
    most_error: f32,
    /// the farthest row collected so far
    farthest: Option<(f32, NodeId)>,
    /// distances computed, in all passes
    computed: u64,
    /// pages read
    pages: u64,
    capacity: usize,
}

impl Sweep {
    fn next(&mut self, measure: &mut Measure, query: &Query) -> Option<Near<ScanRow>> {
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
    fn is_at_last(&self) -> bool {
        self.is_at_last
    }

    /// Collects the nearest rows beyond those collected before, as many as memory allows.
    fn pass(&mut self, measure: &mut Measure, query: &Query) {
        let blocks = measure.blocks.clone();
        let hnsw = &blocks.hnsw;
        let mut on_page = Vec::new();
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
            for offset in 1..=view.item_count() {
                let id = NodeId { block, offset };
                let Some(found) = blocks.block_on(view, id) else {
                    continue;
                };
                if found.is_deleted() || self.handed_out.contains(&id) {
                    continue;
                }
                let compact = found.compact();
                let distance = query.distance(compact);
                self.computed += 1;
                on_page.push(Near {
                    distance,
                    error: query.error_bound(compact),
                    row: ScanRow::of(id, &found),
                });
            }
            // conditions may run anything, so no page is locked
            drop(page);
            for near in on_page.drain(..) {
                self.most_error = self.most_error.max(near.error);
                let at = (near.distance, near.row.id);
                let is_late = near.distance + near.error < self.after;
                if self.farthest.is_some_and(|farthest| at <= farthest) || (is_late && self.begun) {
                    continue;
                }
                if let Some(sieve) = &self.sieve
                    && !measure.passes(&near.row, sieve)
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
