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
use crate::am::hnsw::scan::{all_tids, memory_limit};
use crate::distance::Value;
use crate::hnsw::blocks::{Effort, Exact, Near, Ranking, Walk, calibrate};
use crate::hnsw::format::{Meta, NodeId, Opaque, PageKind, RawTid};
use crate::pg::buffer::{Access, Shared, Strategy};
use crate::pg::heap::HeapReader;
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
    /// the row handed out last
    last: Option<Last>,
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
            effort: Effort {
                rank: 0,
                multiple: 1.0,
                ef: 0,
            },
            batches: 0,
            ranked: 0,
            reranked: 0,
            returned: 0,
            allowed: 0,
            last: None,
            handed_out: Vec::new(),
            sweep: None,
            most_expansions: 0,
            memory_limit: 0,
        }
    }

    /// Starts a search. `wanted` is what LIMIT and OFFSET ask for.
    pub fn begin(&mut self, meta: &Meta, query: Value, wanted: Option<u64>) {
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
        self.ranking.clear();
        self.handed_out.clear();
        self.sweep = None;
        (self.batches, self.ranked, self.returned, self.allowed) = (0, 0, 0, 0);
        self.last = None;
        self.mode = options::ITERATIVE_SCAN.get();
        self.target = options::TARGET_RECALL.get() as f32;
        self.memory_limit = memory_limit();
        let nodes = blocks.hnsw.estimated_nodes(blocks.layout.block.value_len());
        self.most_expansions = LEAST_WALK.max((nodes * WALK_SHARE) as u64);
        let ef_search = options::ef_search() as usize;
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
    }

    fn aim_at(&mut self, rank: usize) {
        let multiple = match self.target {
            target if target > 0.0 => {
                calibrate::at_rank(calibrate::multiple_for(self.meta.curve(), target), rank)
            }
            _ => 1.0,
        };
        self.effort = Effort {
            rank,
            multiple,
            ef: self.ef,
        };
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
        loop {
            pgrx::check_for_interrupts!();
            if let Some(sweep) = &mut self.sweep {
                let (measure, query) = (&mut self.measure, &self.store.query);
                return sweep.next(measure, query);
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
                if let Some(near) = next {
                    if self.returned >= self.allowed {
                        self.ranking.push(near);
                        continue;
                    }
                    if self.mode != IterativeScan::RelaxedOrder && !self.comes_after_last(&near) {
                        // too late; where all rows are asked for, the sweep finds it again
                        continue;
                    }
                    self.last = Some(Last { near, exact: None });
                    return Some(near);
                }
            }
            if !self.fill() {
                if self.mode != IterativeScan::Auto || self.sweep.is_some() {
                    return None;
                }
                self.begin_sweep();
            }
        }
    }

    /// Whether a row of a later batch is no nearer than the row handed out last.
    fn comes_after_last(&mut self, near: &Near<ScanRow>) -> bool {
        let Some(last) = &mut self.last else {
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
            // each batch as large as all before: the work grows with the rows asked for, and the
            // restarts only with its logarithm
            if self.ef > 0 {
                self.ef *= 2;
            }
            self.aim_at(2 * self.effort.rank);
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
        while self.walk.step(&mut self.store).is_some() {
            steps += 1;
            if steps.is_multiple_of(STEPS_BETWEEN_CHECKS) {
                pgrx::check_for_interrupts!();
                if self.is_over_bound() && (self.mode == IterativeScan::Auto || !first) {
                    break;
                }
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
        if self.mode == IterativeScan::Auto && self.is_over_bound() {
            // the batch was cut short: its rows may not be the nearest, the sweep has them all
            return false;
        }
        self.walk.work().expanded > before || !self.ranking.is_empty()
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
        self.sweep = Some(Box::new(Sweep {
            ranking: Ranking::default(),
            handed_out: self.handed_out.drain(..).collect(),
            late: Vec::new(),
            after: self.last.as_ref().map_or(f32::NEG_INFINITY, |last| {
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

/// The row handed out last.
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
    ranking: Ranking<ScanRow>,
    handed_out: FxHashSet<NodeId>,
    /// nearer than what the walk handed out last; they come last
    late: Vec<Near<ScanRow>>,
    /// what the walk handed out last
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
                self.pass(&measure.blocks.clone(), query);
                continue;
            }
            if let Some(near) = self.ranking.pop(|row| measure.of(row, query)) {
                if !self.ended && near.distance + near.error > self.limit {
                    // a row of the next pass may be nearer
                    self.ranking.push(near);
                    self.pass(&measure.blocks.clone(), query);
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
            for near in self.late.drain(..) {
                self.ranking.push(near);
            }
        }
    }

    /// Collects the nearest rows beyond those collected before, as many as memory allows.
    fn pass(&mut self, blocks: &Blocks, query: &Query) {
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
                let near = Near {
                    distance,
                    error: query.error_bound(compact),
                    row: ScanRow::of(id, &found),
                };
                self.most_error = self.most_error.max(near.error);
                if near.distance + near.error < self.after {
                    if !self.begun {
                        self.late.push(near);
                    }
                    continue;
                }
                if self
                    .farthest
                    .is_some_and(|farthest| (distance, id) <= farthest)
                {
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
