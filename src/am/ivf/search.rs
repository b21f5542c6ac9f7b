//! A search of the nearest lists, batch by batch.
//!
//! A batch reads some lists as a whole and keeps the rows whose lower bounds leave them a chance. They
//! are looked at more closely one by one, nearest bound first, until the order of the first is certain.
//! When more rows are asked for than a batch was for, the next one reads twice as many lists for twice as
//! many rows, less those handed out: the work grows with the rows asked for, and restarts only with its
//! logarithm.
//!
//! Where rows have to pass a filter, or some turned out to be filtered out above the scan, batches go
//! through a sieve ([`super::sieve`]).

use super::index::{self, Ivf};
use super::last_scan::LastScan;
use super::looks::{self, Looks, key};
use super::options::{IterativeScan, Settings};
use super::probe::{self, AllBut, FoundRow, Probe, Reading, Target};
use super::sieve;
use crate::am::filter::Filter;
use crate::am::ordered::Request;
use crate::hnsw::format::RawTid;
use crate::ivf::calibrate;
use crate::ivf::format::{Meta, Rerank};
use crate::ivf::order::{Candidate, Candidates, Exact, Order, join_copies};
use crate::ivf::reach::{self, Spread};
use crate::pg::conditions::Conditions;
use crate::pg::heap::HeapReader;
use crate::planner::running::Node;
use crate::quantize::DEVIATIONS;
use pgrx::pg_sys;
use rustc_hash::{FxHashMap, FxHashSet};
use std::cell::Cell;
use std::mem::take;
use std::ops::Range;
use std::rc::Rc;

/// Rows that a search looks for where nobody says how many are wanted.
const USUAL_ROWS: usize = 40;
/// Bytes that a batch takes for each row it is for.
const BYTES_PER_ROW: usize = 256;
/// Rows of a batch at least, whatever the memory.
const LEAST_ROWS: usize = 1000;
/// Deviations that bounds allow for where all lists are read, and nothing is left to chance.
const CERTAIN_DEVIATIONS: f32 = 5.0;
/// Rows that may be missed beyond which bounds of [`DEVIATIONS`] pass over few enough; below it they follow the tail of a
/// normal distribution, roughly.
const PASSED_OVER: f32 = 0.05;
/// Candidates whose rows are asked for ahead: of one bit a dimension so many times as are wanted are compared, give or
/// take, and within limits.
const PREFETCHED_PER_ROW: usize = 4;
const PREFETCHED: usize = 32;
const MOST_PREFETCHED: usize = 256;

/// Rows that have to be seen in the lists nearest to them before what lists have tells of others: second copies are far
/// from the centroids of theirs, and a list whose own rows were deleted has no others.
const LEAST_AT_HOME: u64 = 30;

/// Rows of a search whose memory, some 100 bytes for each, is worth keeping for the next statement.
const MOST_KEPT: usize = 20_000;

thread_local! {
    /// of the last search that ended
    static KEPT: Cell<Option<Box<Memory>>> = const { Cell::new(None) };
}

/// What a search has allocated, for the next one to use.
#[derive(Default)]
struct Memory {
    target: Target,
    probe: probe::Memory,
    floats: Vec<f32>,
    candidates: Candidates<FoundRow>,
    order: Order<FoundRow>,
    copies: FxHashMap<u64, u32>,
    handed_out: FxHashSet<u64>,
    seen: FxHashSet<u64>,
}

/// A search of an index. It can begin anew, which keeps its memory.
pub struct Search {
    ivf: Rc<Ivf>,
    pub(super) meta: Meta,
    pub(super) settings: Settings,
    pub(super) target: Target,
    pub(super) probe: Probe,
    pub(super) looks: Looks,
    floats: Vec<f32>,
    pub(super) candidates: Candidates<FoundRow>,
    order: Order<FoundRow>,
    /// where the first copies of rows are among the candidates
    copies: FxHashMap<u64, u32>,
    /// rows beyond this distance may have been left out
    limit: f32,
    /// share of the rows up to the last of a page that may be missed, where OFFSET skips some
    pub(super) missed_of_page: Option<f32>,
    /// rows handed out, or not seen, before the next batch
    pub(super) rank: usize,
    /// most rows of a batch
    pub(super) most_rows: usize,
    /// lists searched in this batch, and at first
    pub(super) probes: usize,
    first_probes: usize,
    /// rows that batches pass over: handed out, or not to be seen
    pub(super) handed_out: FxHashSet<u64>,
    pub(super) returned: usize,
    last: Option<Exact<FoundRow>>,
    /// nearer than what was handed out before they were found; they come last
    late: Vec<Exact<FoundRow>>,
    ended: bool,
    /// the plan node that the search runs for
    node: Option<Node>,
    /// which rows are wanted; `None` where all are
    pub(super) filter: Option<Rc<Filter>>,
    /// internal distance beyond which no row is wanted; infinite where none is given
    pub(super) within: f32,
    /// what rows have to pass to count as found; `None` where all count
    sieve: Option<Conditions>,
    /// rows that a batch with a sieve is for
    sifted: usize,
    /// rows of a step that wait to be put to the sieve
    pub(super) waiting: Vec<Candidate<FoundRow>>,
    /// no list that was not read has a row within the radius
    pub(super) has_all_within: bool,
}

impl Search {
    /// A search that has not begun. `reader` is of the same scan.
    pub fn new(ivf: Ivf, meta: &Meta, reader: HeapReader) -> Search {
        let ivf = Rc::new(ivf);
        let memory = *KEPT.take().unwrap_or_default();
        Search {
            probe: Probe::new(ivf.clone(), meta, memory.probe),
            looks: Looks::new(ivf.clone(), reader, memory.seen),
            settings: Settings::of(ivf.check(index::META_BLOCK, || meta.method())),
            ivf,
            meta: *meta,
            target: memory.target,
            floats: memory.floats,
            candidates: memory.candidates,
            order: memory.order,
            copies: memory.copies,
            limit: f32::INFINITY,
            missed_of_page: None,
            rank: 0,
            most_rows: 0,
            probes: 0,
            first_probes: 0,
            handed_out: memory.handed_out,
            returned: 0,
            last: None,
            late: Vec::new(),
            ended: false,
            node: None,
            filter: None,
            within: f32::INFINITY,
            sieve: None,
            sifted: 0,
            waiting: Vec::new(),
            has_all_within: false,
        }
    }

    /// Starts a search.
    pub fn begin(&mut self, meta: &Meta, request: Request) {
        if meta.reach.to_bits() != self.meta.reach.to_bits() || meta.seed != self.meta.seed {
            self.ivf = Rc::new(Ivf::of_meta(self.ivf.index, self.ivf.shape, meta));
        }
        self.meta = *meta;
        let settings = Settings::of(self.ivf.check(index::META_BLOCK, || meta.method()));
        self.settings = settings.grown(meta.lists as usize, self.ivf.given_lists(meta));
        if request.asks_for_all {
            self.settings.iterative_scan = IterativeScan::Auto;
        }
        let value = request.target.query;
        if let Some(codec) = &self.ivf.codec {
            index::floats_of(self.ivf.column, value.payload(), &mut self.floats);
            self.target.query.reset(codec, &self.floats);
        }
        self.target.value = value;
        self.looks.begin(&self.ivf);
        self.handed_out.clear();
        self.late.clear();
        self.last = None;
        (self.returned, self.ended, self.has_all_within) = (0, false, false);
        (self.node, self.filter) = (request.node, request.filter);
        self.within = match request.target.within < f64::INFINITY {
            true => self.looks.within(&self.target, request.target.within),
            false => f32::INFINITY,
        };
        // SAFETY: reads a setting.
        let memory = unsafe { pg_sys::work_mem } as usize * 1024;
        self.most_rows = (memory / BYTES_PER_ROW).max(LEAST_ROWS);
        let limit = self.node.and_then(|node| node.limit);
        self.missed_of_page = None;
        if let (Some(limit), Some(target)) = (limit, &mut self.settings.target_recall) {
            let of_page = limit.recall_up_to_page(*target);
            self.missed_of_page = (of_page > *target).then_some(1.0 - of_page);
            *target = of_page;
        }
        let wanted = limit.and_then(|limit| limit.wanted());
        let wanted = wanted.map_or(USUAL_ROWS, |rows| rows.min(usize::MAX as u64 / 4) as usize);
        self.rank = wanted.clamp(calibrate::RANK, self.most_rows);
        self.sifted = self.rank;
        let (ivf, target) = (&self.ivf, &self.target);
        self.probe.begin(ivf, &self.meta, target);
        self.probes = self.probes_for(self.rank);
        self.first_probes = self.probes;
        if self.is_calibrated() {
            let rows = self.meta.rows as f64 * self.meta.copies as f64;
            self.probes = self.probe.filled(self.probes, rows, target);
        }
        self.sieve = self.first_sieve();
        self.batch();
    }

    /// What rows have to pass from the first batch on.
    fn first_sieve(&self) -> Option<Conditions> {
        let conditions = self.conditions();
        let expects_few = self.node.is_some_and(|node| node.expects_few());
        let has_filter = self.filter.is_some() || self.within < f32::INFINITY;
        (has_filter || (expects_few && !conditions.is_empty())).then_some(conditions)
    }

    /// What the scan may put rows to by itself: in the other modes it ends where it ends, whatever becomes
    /// of its rows.
    fn conditions(&self) -> Conditions {
        match (self.settings.iterative_scan, self.node) {
            (IterativeScan::Auto, Some(node)) => node.conditions(),
            _ => Conditions::default(),
        }
    }

    /// From the second batch on, rows count only if the snapshot sees them and they pass what the plan node
    /// asks: false where nothing is known to filter them out, or this was done before.
    fn begin_sieve(&mut self) -> bool {
        if self.sieve.is_some() || self.settings.iterative_scan != IterativeScan::Auto {
            return false;
        }
        let conditions = self.conditions();
        if conditions.is_empty() && self.looks.unseen == 0 {
            return false;
        }
        self.sieve = Some(conditions);
        true
    }

    /// Lists to search for so many rows.
    pub(super) fn probes_for(&self, rank: usize) -> usize {
        let lists = self.probe.directory.lists().len();
        self.settings.probes_for(self.meta.curve(), lists, rank)
    }

    /// Lists that may be searched at all.
    pub(super) fn most_probes(&self) -> usize {
        let lists = self.probe.directory.lists().len();
        match self.settings.iterative_scan {
            IterativeScan::Auto => lists,
            // what the index has keys for is found as it is in an index of nothing else
            IterativeScan::Off if self.filter.is_some() => lists,
            IterativeScan::Off => self.first_probes.min(lists),
            _ => self.settings.max_probes.max(self.first_probes).min(lists),
        }
    }

    /// Takes the directory as it is now: rows of a list that is gone are in others. Where there are more lists by
    /// now, numbers of them stand for as large a part: a search of all goes on as one of all.
    pub(super) fn read_directory(&mut self) {
        let before = self.probe.directory.lists().len().max(1);
        self.meta = index::read_meta(self.ivf.index);
        self.probe.read_directory(&self.meta, &self.target);
        let now = self.probe.directory.lists().len();
        if now > before {
            self.settings = self.settings.grown(now, Some(before));
            self.first_probes = (self.first_probes * now).div_ceil(before);
            self.probes = (self.probes * now).div_ceil(before);
        }
    }

    /// Reads the lists of a batch.
    fn batch(&mut self) {
        match self.sieve {
            None => self.plain_batch(),
            Some(conditions) => {
                let rows = self.sifted.min(self.most_rows);
                self.rank = self.returned + rows;
                self.sift(rows, conditions);
            }
        }
        self.looks.seen.clear();
        self.order.clear();
        let joins = self.sieve.is_none() && self.meta.copies > 1;
        let (kept, limit) = self.candidates.finish();
        if joins {
            join_copies(kept, &mut self.copies, |row| key(row.tid));
        }
        self.order.extend(kept.drain(..));
        self.limit = limit;
        if self.reads_table() {
            let soon = (PREFETCHED_PER_ROW * self.rank).clamp(PREFETCHED, MOST_PREFETCHED);
            let nearest = self.order.nearest().take(soon);
            let tids: Vec<RawTid> = nearest.map(|row| row.tid).collect();
            // the others' values when they are coming; by compact codes hardly any of them is read
            let at_once = match self.ivf.shape.rerank {
                Rerank::Heap => looks::VALUES_AHEAD,
                _ => soon,
            };
            self.looks.reader.prefetch_whole(&tids, at_once);
        }
    }

    /// Whether rows of a batch are looked at in the table when it is their turn.
    fn reads_table(&self) -> bool {
        let is_exact = self.ivf.keeps_values() || self.ivf.shape.rerank == Rerank::None;
        !is_exact && self.sieve.is_none()
    }

    /// A batch in which all rows count.
    fn plain_batch(&mut self) {
        loop {
            pgrx::check_for_interrupts!();
            let lists = self.probe.directory.lists().len();
            self.probes = self.probes.min(lists);
            self.probe.sort(self.probes, &self.target);
            // a row may be in two lists and count twice
            let rows = (self.rank - self.returned.min(self.rank)).clamp(1, self.most_rows);
            self.candidates.begin(rows * self.meta.copies as usize);
            self.probe.begin_batch();
            let reading = Reading {
                filter: None,
                deviations: self.deviations(self.probes == lists),
                within: f32::INFINITY,
                is_measured: false,
            };
            if self.read_on(0, reading) {
                break;
            }
            self.read_directory();
        }
    }

    /// Reads the lists of a batch in which all rows count, and more where the nearest seem to be in many;
    /// false where a list is gone by now.
    fn read_on(&mut self, read: usize, mut reading: Reading<'_>) -> bool {
        let mut read = read;
        // the places of rows in so few lists tell nothing, and for more rows than the curve speaks of it is a guess
        let is_guess = self.probes < reach::FEWEST_TOLD_BY_PLACES
            || self.rank > calibrate::RANK
            || self.probes > self.first_probes;
        reading.is_measured = self.is_calibrated() && is_guess;
        if reading.is_measured {
            self.probe.begin_step();
        }
        loop {
            self.probe.sort(self.probes, &self.target);
            let lists = read..self.probes;
            read = self.probes;
            let handed_out = &self.handed_out;
            let mut into = AllBut {
                candidates: &mut self.candidates,
                is_left_out: |tid| !handed_out.is_empty() && handed_out.contains(&key(tid)),
            };
            if !self.probe.read(lists, &self.target, reading, &mut into) {
                return false;
            }
            let most = self.probe.directory.lists().len();
            let step = reach::step_from(read).min(most);
            let next = match self.spread() {
                None => return true,
                Some(Spread::Anywhere) => {
                    if !reading.is_measured {
                        self.probe.begin_step();
                        reading.is_measured = true;
                    }
                    step
                }
                Some(Spread::Wide) => step,
                // once the curve has proved not to fit, the lists not read are asked, too
                Some(Spread::Near) if reading.is_measured => self.likely(read..step),
                Some(Spread::Near) => return true,
            };
            if next <= read {
                return true;
            }
            self.probes = next;
        }
    }

    /// Whether the search is to find a share of the nearest, however many lists it takes.
    fn is_calibrated(&self) -> bool {
        self.settings.target_recall.is_some() && self.settings.iterative_scan == IterativeScan::Auto
    }

    /// Standard deviations that bounds of codes allow for: as the last rows of a page beyond OFFSET need them, or
    /// where all lists are read, and nothing else is left to chance, for certain.
    pub(super) fn deviations(&self, is_all: bool) -> f32 {
        match self.missed_of_page {
            Some(missed) => DEVIATIONS.max((2.0 * (PASSED_OVER / missed).max(1.0).ln()).sqrt()),
            None if is_all => CERTAIN_DEVIATIONS,
            None => DEVIATIONS,
        }
    }

    /// How many lists to read by what is known of those that were not, up to the end of `unread`.
    fn likely(&mut self, unread: Range<usize>) -> usize {
        let wanted = self.rank * self.meta.copies as usize;
        let missed = 1.0 - self.settings.target_recall.unwrap_or(sieve::USUAL_RECALL) as f64;
        let tolerated = sieve::TOLERATED * missed * wanted as f64;
        let is_page = self.missed_of_page.is_some();
        if self.ivf.coding.is_some() && self.probe.at_home < LEAST_AT_HOME {
            return unread.end;
        }
        let (probe, kept) = (&mut self.probe, self.candidates.kept());
        let expected = probe.expected(&self.target, kept, wanted);
        expected.map_or(unread.start, |farthest| {
            probe.likely(&self.target, unread, farthest, 1.0, tolerated, is_page)
        })
    }

    /// Where the nearest rows are; `None` where it does not matter.
    fn spread(&self) -> Option<Spread> {
        let lists = self.probe.directory.lists().len();
        if !self.is_calibrated() || self.probes >= lists {
            return None;
        }
        if self.candidates.missing() > 0 {
            // rows that lists hold because there is no other are not near
            return Some(Spread::Anywhere);
        }
        let mut nearest = self.candidates.nearest(|row| (key(row.tid), row.place));
        // a row in two lists counts with the nearer one
        nearest.sort_unstable();
        nearest.dedup_by_key(|(tid, _)| *tid);
        let places = nearest.iter().map(|&(_, place)| place as usize);
        Some(Spread::of(places, self.probes, self.rank))
    }

    /// The next row; `None` where there is none.
    pub fn next(&mut self) -> Option<RawTid> {
        while !self.ended {
            let mode = self.settings.iterative_scan;
            // rows that the snapshot does not see took part in the rank: those beyond it were not
            // searched for yet
            let seen = self.returned + self.looks.unseen;
            if mode == IterativeScan::Auto && seen >= self.rank && !self.has_all() {
                self.next_batch();
                continue;
            }
            let asks_ahead = self.reads_table() && self.ivf.shape.rerank == Rerank::Heap;
            let (looks, target) = (&mut self.looks, &self.target);
            let next = self.order.pop(self.limit, |row, coming| {
                if let Some(coming) = coming.filter(|_| asks_ahead) {
                    looks.ask_for(coming);
                }
                looks.look(target, row)
            });
            // a batch of dead rows alone must not come back in the next
            self.handed_out.extend(self.looks.gone.drain(..));
            let Some(exact) = next else {
                self.ended = !self.next_batch();
                continue;
            };
            self.handed_out.insert(key(exact.row.tid));
            let is_late = self.last.is_some_and(|last| exact.operator < last.operator);
            if is_late {
                match mode {
                    IterativeScan::Auto => {
                        self.late.push(exact);
                        continue;
                    }
                    IterativeScan::StrictOrder => continue,
                    _ => {}
                }
            }
            self.last = Some(exact);
            self.returned += 1;
            return Some(exact.row.tid);
        }
        if !self.late.is_empty() {
            // farthest first, to be popped from the end
            self.late.sort_by(|a, b| b.operator.total_cmp(&a.operator));
        }
        self.late.pop().map(|exact| exact.row.tid)
    }

    /// Whether this batch has every row that there is.
    fn has_all(&self) -> bool {
        let is_all = self.has_all_within || self.probes == self.probe.directory.lists().len();
        self.limit == f32::INFINITY && is_all
    }

    /// Searches on; false where the search is at its end.
    fn next_batch(&mut self) -> bool {
        if self.has_all() {
            return false;
        }
        let is_complete = self.limit == f32::INFINITY;
        let lists = self.probe.directory.lists().len();
        let more = self.handed_out.len();
        if self.begin_sieve() {
            // what was handed out and filtered out is missing yet
        } else if self.sieve.is_some() {
            if is_complete && self.probes >= self.most_probes() {
                return false;
            }
            self.sifted = self.sifted.saturating_mul(2);
        } else {
            match self.settings.iterative_scan {
                IterativeScan::Auto => {
                    self.probes = (2 * self.probes).min(lists);
                    self.rank = self.rank.max(more) * 2;
                    self.probes = self.probes.max(self.probes_for(self.rank));
                }
                _ if !is_complete => self.rank = self.rank.max(more) * 4,
                IterativeScan::Off => return false,
                _ => {
                    let most = self.most_probes();
                    if self.probes >= most {
                        return false;
                    }
                    self.probes = (self.probes + self.first_probes).min(most);
                    self.rank = self.rank.max(more) * 2;
                }
            }
        }
        self.looks.unseen = 0;
        self.batch();
        true
    }

    /// What the search has done so far; `returned` is for the caller to fill in.
    pub fn done(&self) -> LastScan {
        LastScan {
            lists: self.probe.directory.lists().len() as u64,
            probes: self.probe.probed,
            pages: self.probe.pages + self.looks.pages,
            estimated: self.probe.estimated,
            compared: self.looks.compared,
            reranked: self.looks.reranked,
            returned: 0,
            target_recall: self.settings.target_recall,
        }
    }

    /// Lets go of pages: the search is to begin anew.
    pub fn pause(&mut self) {
        self.looks.reader.release();
    }

    /// Lets go of everything held of the table, and of its memory.
    pub fn end(&mut self) {
        self.looks.reader.end();
        let (found, met) = (self.handed_out.capacity(), self.candidates.capacity());
        if found.max(met) > MOST_KEPT {
            return;
        }
        let mut memory = Memory {
            target: take(&mut self.target),
            probe: self.probe.take_memory(),
            floats: take(&mut self.floats),
            candidates: take(&mut self.candidates),
            order: take(&mut self.order),
            copies: take(&mut self.copies),
            handed_out: take(&mut self.handed_out),
            seen: take(&mut self.looks.seen),
        };
        memory.order.clear();
        memory.handed_out.clear();
        memory.seen.clear();
        KEPT.set(Some(Box::new(memory)));
    }
}
