//! A scan's walk over the graph of the plain layout, batch by batch.

use super::last_scan::LastScan;
use super::options::{self, IterativeScan};
use super::reached::Reached;
use super::storage::{Hnsw, PageNode, PageStore};
use super::wanted::Wanted;
use crate::am::ordered::Request;
use crate::distance::Metric;
use crate::hnsw::format::{Meta, NodeId};
use crate::hnsw::{Candidate, Distance, Searcher, Stream};
use crate::pg::heap::HeapReader;
use crate::planner::running::Node;
use rustc_hash::FxHashSet;

/// A walk goes on at least this long before a sweep takes over.
const LEAST_WALK: u64 = 10_000;
/// Share of the index's rows after which a sweep is cheaper than walking on.
const WALK_SHARE: f64 = 0.25;
/// Rows that a walk keeps for each up to the last of a page. In forty tight clusters of 200 rows pages 40 and 250 rows
/// behind have a recall of .96 and .87 with four, .99 and .97 with eight or more.
const ROOM_OF_PAGE: usize = 16;

/// A walk, batch by batch.
pub struct Walk {
    pub(super) store: PageStore,
    stream: Stream<PageStore>,
    /// what is left of the current batch, farthest first
    batch: Vec<Candidate<PageNode>>,
    batches: u32,
    ef: usize,
    mode: IterativeScan,
    pub(super) reached: Reached<Candidate<PageNode>>,
    /// rows beyond are of no use
    pub(super) within: Distance,
    /// not all rows are wanted
    is_limited: bool,
    /// rows within, too late to be in order; they come last
    late: Vec<Candidate<PageNode>>,
    /// where a sweep may follow
    pub(super) handed_out: FxHashSet<NodeId>,
    most_visits: u64,
    memory_limit: usize,
}

impl Walk {
    /// A walk that has handed out nothing; `None` in an empty index.
    ///
    /// It takes `reader` where rows are put to conditions before they count, which the other modes do not.
    pub fn new(
        hnsw: Hnsw,
        meta: &Meta,
        request: Request,
        mode: IterativeScan,
        reader: &mut Option<HeapReader>,
    ) -> Option<Walk> {
        let limit = request.limit();
        let asked = match mode {
            IterativeScan::Auto => asked(&request, reader),
            _ => None,
        };
        let mut store = PageStore::new(hnsw, request.target.query).among(asked);
        let Some((entry, entry_level)) = store.entry(meta) else {
            *reader = store.take_reader().or(reader.take());
            return None;
        };
        let mut searcher = Searcher::default();
        let entries = searcher.descend(&mut store, entry, entry_level, 0);
        let stream = Stream::new(&mut store, entries);
        let most_visits = hnsw.estimated_nodes(store.query.payload().len()) * WALK_SHARE;
        let ef_search = options::ef_search() as usize;
        let wanted = limit.and_then(|limit| limit.wanted());
        let ef = match (mode, wanted) {
            // room beyond the last row asked for, so that it, too, is the right one; more for a page, before which
            // hardly any row may be missed
            (IterativeScan::Auto, Some(rows)) => {
                let rows = rows.min(usize::MAX as u64 / 32) as usize;
                let room = match limit.is_some_and(|limit| limit.skips()) {
                    true => ROOM_OF_PAGE * rows,
                    false => rows + rows / 2,
                };
                ef_search.max(room)
            }
            // what is missed then is missing
            (IterativeScan::Auto, None) if request.target.within < f64::INFINITY => 4 * ef_search,
            _ => ef_search,
        };
        let ef = match store.is_choosy() {
            true => among_others(ef, &hnsw, &store, request.node),
            false => ef,
        };
        Some(Walk {
            store,
            stream,
            batch: Vec::new(),
            batches: 0,
            ef,
            mode,
            reached: Reached::of(limit),
            within: Distance(request.target.within),
            is_limited: wanted.is_some(),
            late: Vec::new(),
            handed_out: FxHashSet::default(),
            most_visits: most_visits as u64,
            memory_limit: options::scan_memory(),
        })
    }

    /// What the table was read with.
    pub fn take_reader(&mut self) -> Option<HeapReader> {
        self.store.take_reader()
    }

    /// What the walk has done so far.
    pub fn done(&self) -> LastScan {
        LastScan {
            expanded: self.stream.expanded(),
            computed: self.stream.visited(),
            pages: self.store.pages(),
            ..LastScan::default()
        }
    }

    /// The next node; `None` where the walk ends.
    pub fn next(&mut self) -> Option<PageNode> {
        self.reached.catch_up();
        loop {
            while let Some(&candidate) = self.batch.last() {
                if candidate.distance > self.within {
                    // left where it is: the walk is at the edge
                    return self.late.pop().map(|late| late.node);
                }
                self.batch.pop();
                let late = self
                    .reached
                    .last
                    .is_some_and(|last| candidate.distance < last.distance);
                if late && self.mode != IterativeScan::RelaxedOrder {
                    if self.within < Distance(f64::INFINITY) {
                        self.late.push(candidate);
                    }
                    continue;
                }
                self.reached.hand_out(candidate);
                if self.mode == IterativeScan::Auto {
                    self.handed_out.insert(candidate.node.id);
                }
                return Some(candidate.node);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Whether a sweep has to follow, now that the walk has ended: not where what is left is too far.
    pub fn leaves_rows(&self) -> bool {
        let next = self.batch.last();
        let is_at_edge = next.is_some_and(|candidate| candidate.distance > self.within);
        self.mode == IterativeScan::Auto && !is_at_edge
    }

    /// Whether rows within may be missing from the batch: its last ones are those that a walk knows
    /// least of.
    fn is_short(&self) -> bool {
        let inside = self.batch.iter().filter(|row| row.distance <= self.within);
        let inside = inside.count();
        let is_at_edge = inside < self.batch.len();
        self.within < Distance(f64::INFINITY)
            && 3 * inside > self.batch.len()
            && (is_at_edge || !self.is_limited)
    }

    /// Searches the next batch; false where the walk ends.
    fn fill(&mut self) -> bool {
        if self.batches > 0 {
            if self.mode == IterativeScan::Off || self.stream.is_exhausted() {
                return false;
            }
            if self.mode == IterativeScan::Auto {
                // each batch half as large again as the one before: the work grows with the rows
                // asked for, and the restarts only with its logarithm
                self.ef += self.ef / 2 + 1;
            }
        }
        let first = self.batches == 0;
        self.batches += 1;
        let (most_visits, memory_limit, mode) = (self.most_visits, self.memory_limit, self.mode);
        if !first && self.is_over_bound() {
            if mode == IterativeScan::Auto {
                return false;
            }
            // what was seen already is still handed out
            self.batch = self.stream.rest(&mut self.store);
            self.batch.reverse();
            return !self.batch.is_empty();
        }
        let max_tuples = options::MAX_SCAN_TUPLES.get() as u64;
        let proceed = |stream: &Stream<PageStore>| {
            pgrx::check_for_interrupts!();
            match mode {
                IterativeScan::Auto => {
                    stream.visited() < LEAST_WALK
                        || (stream.visited() < most_visits && stream.memory() < memory_limit)
                }
                _ => first || stream.visited() < max_tuples,
            }
        };
        self.batch = self.stream.next_batch(&mut self.store, self.ef, proceed);
        self.store.release();
        if first && self.store.is_choosy() && self.stream.finds_more_afar() {
            // the sweep knows all of them
            self.batch.clear();
            return false;
        }
        while mode == IterativeScan::Auto && self.is_short() && !self.is_over_bound() {
            let more = self.batch.len().max(self.ef);
            let more = self.stream.next_batch(&mut self.store, more, proceed);
            if more.is_empty() {
                break;
            }
            self.batch.extend(more);
            self.batch.sort_unstable();
        }
        let visited_all = first && self.batch.len() < self.ef;
        if mode == IterativeScan::Auto && visited_all && self.stream.visited() >= most_visits {
            // the walk came by every row it can reach; the sweep knows the place of the others, too
            self.batch.clear();
            return false;
        }
        if mode == IterativeScan::Auto && self.is_over_bound() {
            // the batch was cut short: its rows may not be the nearest, the sweep has them all
            self.batch.clear();
            return false;
        }
        self.batch.reverse();
        !self.batch.is_empty()
    }

    fn is_over_bound(&self) -> bool {
        let memory = self.stream.memory() + self.store.memory();
        match self.mode {
            IterativeScan::Auto => {
                self.stream.visited() >= LEAST_WALK
                    && (self.stream.visited() >= self.most_visits || memory >= self.memory_limit)
            }
            _ => {
                self.stream.visited() >= options::MAX_SCAN_TUPLES.get() as u64
                    || memory >= self.memory_limit
            }
        }
    }
}

/// How many rows of those that pass a walk is to find that is for `ef`: they are thinner than all, and farther from
/// where it begins. By inner products all links lead to long vectors, and from these hardly any to the others, so that
/// rows of a farther rank are found by looking at as many as it takes to have that rank among all.
fn among_others(ef: usize, hnsw: &Hnsw, store: &PageStore, node: Option<Node>) -> usize {
    let ef = 2 * ef;
    if hnsw.column.space.metric != Metric::InnerProduct {
        return ef;
    }
    let rows = hnsw.estimated_nodes(store.query.payload().len());
    let expected = node.map_or(rows, |node| node.expected_rows());
    let times = (rows / expected.max(1.0)).max(1.0);
    (ef as f64 * times).min(rows.max(ef as f64)) as usize
}

/// What is asked of rows but a distance, at which the walk ends by itself.
fn asked(request: &Request, reader: &mut Option<HeapReader>) -> Option<Wanted> {
    let filter = request.filter.clone();
    let filter = filter.filter(|filter| filter.allowed().is_some());
    let conditions = request.node.map(|node| node.conditions());
    let conditions = conditions.unwrap_or_default();
    let asks = filter.is_some() || !conditions.is_empty();
    if !asks || request.target.within < f64::INFINITY {
        return None;
    }
    let reader = reader.take()?;
    Some(Wanted::new(filter, conditions, reader))
}
