//! A search of the nearest lists, batch by batch.
//!
//! A batch reads some lists as a whole and keeps the rows whose lower bounds leave them a chance. They
//! are looked at more closely one by one, nearest bound first, until the order of the first is certain.
//! When more rows are asked for than a batch was for, the next one reads twice as many lists for twice as
//! many rows, less those handed out: the work grows with the rows asked for, and restarts only with its
//! logarithm.

use super::directory::{Directory, Listed, Target};
use super::index::{self, Ivf};
use super::last_scan::LastScan;
use super::options::{IterativeScan, Settings};
use super::storage::{Steps, Visit};
use crate::distance::Value;
use crate::hnsw::format::RawTid;
use crate::ivf::calibrate;
use crate::ivf::format::{ListPage, Meta, Rerank, RowForm, VectorAddress, VectorPage};
use crate::ivf::order::{Candidates, Exact, Look, Order};
use crate::pg::buffer::Hints;
use crate::pg::heap::HeapReader;
use crate::quantize::{Base, DEVIATIONS, Lookup, Lookups, Query};
use pgrx::pg_sys;
use rustc_hash::FxHashSet;
use std::rc::Rc;

/// Rows that a search looks for where nobody says how many are wanted.
const USUAL_ROWS: usize = 40;
/// Bytes that a batch takes for each row it is for.
const BYTES_PER_ROW: usize = 256;
/// Rows of a batch at least, whatever the memory.
const LEAST_ROWS: usize = 1000;
/// Deviations that bounds allow for where all lists are read, and nothing is left to chance.
const CERTAIN_DEVIATIONS: f32 = 5.0;
/// Candidates whose heap pages are asked for ahead.
const PREFETCHED: usize = 32;

/// A row of a list, as a search keeps it.
#[derive(Debug, Clone, Copy)]
struct FoundRow {
    tid: RawTid,
    address: VectorAddress,
    seen: Seen,
    /// exact distance of a value, or estimate
    distance: f64,
}

/// How closely a row was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    InList,
    ByCompactCode,
}

fn key(tid: RawTid) -> u64 {
    (tid.block_hi as u64) << 32 | (tid.block_lo as u64) << 16 | tid.offset as u64
}

/// What takes a closer look at rows.
struct Looks {
    ivf: Rc<Ivf>,
    query: Query,
    value: Value,
    reader: HeapReader,
    hints: Hints,
    /// rows looked at in this batch
    seen: FxHashSet<u64>,
    compared: u64,
    reranked: u64,
    pages: u64,
    /// rows looked at that the snapshot does not see, in this batch
    unseen: usize,
    /// the same rows, not to be looked at again
    gone: Vec<u64>,
}

impl Looks {
    fn look(&mut self, row: &mut FoundRow) -> Look {
        if row.seen == Seen::InList && !self.seen.insert(key(row.tid)) {
            return Look::Gone;
        }
        if self.ivf.keeps_values() {
            return Look::Exact {
                operator: row.distance,
                internal: row.distance as f32,
            };
        }
        match self.ivf.shape.rerank {
            Rerank::None => {
                return Look::Exact {
                    operator: row.distance,
                    internal: row.distance as f32,
                };
            }
            Rerank::Index if row.seen == Seen::InList => {
                row.seen = Seen::ByCompactCode;
                if let Some(low) = self.by_compact_code(row) {
                    return Look::Closer(low);
                }
            }
            _ => {}
        }
        self.reranked += 1;
        let (column, query) = (self.ivf.column, &self.value);
        let exact = self.reader.fetch(row.tid, |datum| {
            // SAFETY: a non-NULL value of the indexed column.
            let value = unsafe { column.value(datum) };
            column.space.distance(query.operand(), value.operand())
        });
        match exact {
            Some(operator) => Look::Exact {
                operator,
                internal: self.query.internal(operator),
            },
            None => {
                self.unseen += 1;
                self.gone.push(key(row.tid));
                Look::Gone
            }
        }
    }

    /// Lower bound of a row by its compact code; `None` where that is gone.
    fn by_compact_code(&mut self, row: &FoundRow) -> Option<f32> {
        let (block, slot) = row.address.place()?;
        self.compared += 1;
        self.pages += 1;
        let page = self.hints.pin(self.ivf.index, block).lock();
        let page = self
            .ivf
            .check(block, || VectorPage::of(page.page(), self.ivf.vectors));
        let (tid, compact) = page.get(slot)?;
        (tid == row.tid).then(|| self.query.distance(compact) - self.query.error_bound(compact))
    }
}

/// A search of an index. It can begin anew, which keeps its memory.
pub struct Search {
    ivf: Rc<Ivf>,
    meta: Meta,
    settings: Settings,
    looks: Looks,
    /// what the quantizer prepared for the query
    lookup: Lookup,
    directory: Rc<Directory>,
    /// distances of all centroids
    distances: Vec<f32>,
    /// positions of lists in the directory, nearest first as far as they are sorted
    nearest: Vec<u32>,
    sorted: usize,
    floats: Vec<f32>,
    estimates: Vec<f32>,
    candidates: Candidates<FoundRow>,
    order: Order<FoundRow>,
    /// rows beyond this distance may have been left out
    limit: f32,
    /// rows that the batches so far are for
    rank: usize,
    /// most rows of a batch
    most_rows: usize,
    /// lists to search in this batch, and at first
    probes: usize,
    first_probes: usize,
    /// rows that batches pass over: handed out, or not to be seen
    handed_out: FxHashSet<u64>,
    returned: usize,
    last: Option<Exact<FoundRow>>,
    /// nearer than what was handed out before they were found; they come last
    late: Vec<Exact<FoundRow>>,
    ended: bool,
    probed: u64,
    pages: u64,
    estimated: u64,
}

impl Search {
    /// A search that has not begun. `reader` is of the same scan.
    pub fn new(ivf: Ivf, meta: &Meta, reader: HeapReader) -> Search {
        let ivf = Rc::new(ivf);
        let directory = Directory::of(&ivf, meta);
        Search {
            looks: Looks {
                ivf: ivf.clone(),
                query: Query::default(),
                value: Value::default(),
                reader,
                hints: Hints::of(ivf.index),
                seen: FxHashSet::default(),
                compared: 0,
                reranked: 0,
                pages: 0,
                unseen: 0,
                gone: Vec::new(),
            },
            settings: Settings::of(ivf.check(index::META_BLOCK, || meta.method())),
            ivf,
            meta: *meta,
            lookup: Lookup::default(),
            directory,
            distances: Vec::new(),
            nearest: Vec::new(),
            sorted: 0,
            floats: Vec::new(),
            estimates: Vec::new(),
            candidates: Candidates::default(),
            order: Order::default(),
            limit: f32::INFINITY,
            rank: 0,
            most_rows: 0,
            probes: 0,
            first_probes: 0,
            handed_out: FxHashSet::default(),
            returned: 0,
            last: None,
            late: Vec::new(),
            ended: false,
            probed: 0,
            pages: 0,
            estimated: 0,
        }
    }

    /// Starts a search. `wanted` is what LIMIT and OFFSET ask for.
    pub fn begin(&mut self, meta: &Meta, value: Value, wanted: Option<u64>) {
        if meta.reach.to_bits() != self.meta.reach.to_bits() || meta.seed != self.meta.seed {
            let ivf = Rc::new(Ivf::of_meta(self.ivf.index, self.ivf.shape, meta));
            self.looks.ivf = ivf.clone();
            self.ivf = ivf;
        }
        self.meta = *meta;
        self.settings = Settings::of(self.ivf.check(index::META_BLOCK, || meta.method()));
        if let Some(codec) = &self.ivf.codec {
            index::floats_of(self.ivf.column, value.payload(), &mut self.floats);
            self.looks.query.reset(codec, &self.floats);
        }
        if let Some(coding) = &self.ivf.coding {
            coding.prepare(&self.looks.query, &mut self.lookup);
        }
        self.looks.value = value;
        self.looks.unseen = 0;
        (self.looks.compared, self.looks.reranked, self.looks.pages) = (0, 0, 0);
        (self.probed, self.pages, self.estimated) = (0, 0, 0);
        self.handed_out.clear();
        self.late.clear();
        self.last = None;
        (self.returned, self.ended) = (0, false);
        // SAFETY: reads a setting.
        let memory = unsafe { pg_sys::work_mem } as usize * 1024;
        self.most_rows = (memory / BYTES_PER_ROW).max(LEAST_ROWS);
        let wanted = wanted.map_or(USUAL_ROWS, |rows| rows.min(usize::MAX as u64 / 4) as usize);
        self.rank = wanted.clamp(calibrate::RANK, self.most_rows);
        self.read_directory();
        self.probes = self.probes_for(self.rank);
        self.first_probes = self.probes;
        self.batch();
    }

    /// Lists to search for so many rows.
    fn probes_for(&self, rank: usize) -> usize {
        let lists = self.directory.lists().len();
        self.settings.probes_for(self.meta.curve(), lists, rank)
    }

    /// Takes the directory as the metapage names it, and measures all its lists.
    fn read_directory(&mut self) {
        self.directory = Directory::of(&self.ivf, &self.meta);
        let target = match self.ivf.codec {
            Some(_) => Target::Query(&self.looks.query),
            None => Target::Bits(&self.looks.value),
        };
        let distances = &mut self.distances;
        self.directory.distances(&self.ivf, &target, distances);
        self.nearest.clear();
        self.nearest.extend(0..self.directory.lists().len() as u32);
        self.sorted = 0;
    }

    /// Puts the nearest lists first, in their order.
    fn sort(&mut self, count: usize) {
        if count <= self.sorted {
            return;
        }
        let distances = &self.distances;
        let order = |a: &u32, b: &u32| {
            let (a, b) = (*a as usize, *b as usize);
            distances[a].total_cmp(&distances[b]).then(a.cmp(&b))
        };
        if count < self.nearest.len() {
            self.nearest.select_nth_unstable_by(count - 1, order);
        }
        self.nearest[..count].sort_unstable_by(order);
        self.sorted = count;
    }

    /// Reads the lists of a batch.
    fn batch(&mut self) {
        loop {
            pgrx::check_for_interrupts!();
            let lists = self.directory.lists().len();
            self.probes = self.probes.min(lists);
            self.sort(self.probes);
            // a row may be in two lists and count twice
            let rows = (self.rank - self.returned.min(self.rank)).clamp(1, self.most_rows);
            self.candidates.begin(rows * self.meta.copies as usize);
            let deviations = match self.probes == lists {
                true => CERTAIN_DEVIATIONS,
                false => DEVIATIONS,
            };
            if self.read_lists(deviations) {
                break;
            }
            // a list that is gone: its rows are in others now
            self.meta = index::read_meta(self.ivf.index);
            self.read_directory();
        }
        self.looks.seen.clear();
        self.order.clear();
        let (kept, limit) = self.candidates.finish();
        self.order.extend(kept);
        self.limit = limit;
        if self.ivf.shape.form != RowForm::Values && self.ivf.shape.rerank != Rerank::None {
            let tids: Vec<RawTid> = self
                .order
                .nearest(PREFETCHED)
                .into_iter()
                .map(|row| row.tid)
                .collect();
            self.looks.reader.prefetch(&tids);
        }
    }

    /// Reads the nearest lists; false where one is gone by now.
    fn read_lists(&mut self, deviations: f32) -> bool {
        let directory = self.directory.clone();
        for n in 0..self.probes {
            pgrx::check_for_interrupts!();
            let at = self.nearest[n] as usize;
            if let Some(&next) = self.nearest[..self.probes].get(n + 1) {
                let first = directory.lists()[next as usize].first;
                let (index, hints) = (self.ivf.index, &self.looks.hints);
                hints.prefetch(index, first, crate::pg::buffer::PAGE_SIZE, 256);
            }
            self.probed += 1;
            let listed = directory.lists()[at];
            let base = directory.base(at, &self.looks.query, self.distances[at]);
            if let (Some(coding), Some(centre)) = (&self.ivf.coding, directory.centre(at)) {
                coding.enter(&self.looks.query, centre, &mut self.lookup);
            }
            if !self.read_list(&listed, base.unwrap_or_default(), deviations) {
                return false;
            }
        }
        true
    }

    fn read_list(&mut self, listed: &Listed, base: Base, deviations: f32) -> bool {
        let mut block = listed.first;
        let ivf = self.ivf.clone();
        let mut steps = Steps::new();
        while block != 0 {
            self.pages += 1;
            steps.step(&ivf, block);
            let locked = self.looks.hints.pin(ivf.index, block).lock();
            let Visit::Page(page) = ivf.list_page(block, locked.page(), listed.id) else {
                drop(locked);
                ivf.check_gone(listed.id, block);
                return false;
            };
            block = page.next;
            self.estimated += page.count() as u64;
            match ivf.shape.form {
                RowForm::Codes(_) => {
                    let count = page.count();
                    self.estimates.resize(count, 0.0);
                    let of = Lookups {
                        query: &self.looks.query,
                        lookup: &self.lookup,
                        base,
                    };
                    ivf.coding().estimate(
                        of,
                        page.codes(),
                        page.adds(),
                        page.scales(),
                        &mut self.estimates,
                    );
                    self.offer_estimates(&page, base, deviations);
                }
                RowForm::Values => self.offer_values(&page),
            }
        }
        true
    }

    fn offer_estimates(&mut self, page: &ListPage<'_>, base: Base, deviations: f32) {
        let (tids, errors, addresses) = (page.tids(), page.errors(), page.addresses());
        let mut bound = self.candidates.bound();
        for (n, (&estimate, error)) in self.estimates.iter().zip(errors).enumerate() {
            let error = deviations * (base.span * error.get() + base.slack);
            let low = estimate - error;
            if low > bound {
                self.candidates.leave_out(low);
                continue;
            }
            let tid = tids[n];
            if !self.handed_out.is_empty() && self.handed_out.contains(&key(tid)) {
                continue;
            }
            let row = FoundRow {
                tid,
                address: addresses.get(n).copied().unwrap_or_default(),
                seen: Seen::InList,
                distance: estimate as f64,
            };
            let is_estimate_all = self.ivf.shape.rerank == Rerank::None;
            let (low, high) = match is_estimate_all {
                true => (estimate, estimate),
                false => (low, estimate + error),
            };
            self.candidates.keep(low, high, row);
            bound = self.candidates.bound();
        }
    }

    fn offer_values(&mut self, page: &ListPage<'_>) {
        let space = self.ivf.shape.space;
        let len = self.ivf.shape.row_len as usize;
        let query = self.looks.value.operand();
        for (n, &tid) in page.tids().iter().enumerate() {
            let value = crate::distance::Operand {
                payload: &page.code(n)[..len],
                norm_squared: page.norms().get(n).copied().unwrap_or_default(),
            };
            let distance = space.distance(query, value);
            let near = distance as f32;
            if near > self.candidates.bound() {
                self.candidates.leave_out(near);
            } else if self.handed_out.is_empty() || !self.handed_out.contains(&key(tid)) {
                let row = FoundRow {
                    tid,
                    address: VectorAddress::NONE,
                    seen: Seen::InList,
                    distance,
                };
                self.candidates.keep(near, near, row);
            }
        }
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
            let looks = &mut self.looks;
            let next = self.order.pop(self.limit, |row| looks.look(row));
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
        self.limit == f32::INFINITY && self.probes == self.directory.lists().len()
    }

    /// Searches on; false where the search is at its end.
    fn next_batch(&mut self) -> bool {
        if self.has_all() {
            return false;
        }
        let is_complete = self.limit == f32::INFINITY;
        let lists = self.directory.lists().len();
        let more = self.handed_out.len();
        match self.settings.iterative_scan {
            IterativeScan::Auto => {
                self.probes = (2 * self.probes).min(lists);
                self.rank = self.rank.max(more) * 2;
                self.probes = self.probes.max(self.probes_for(self.rank));
            }
            _ if !is_complete => self.rank = self.rank.max(more) * 4,
            IterativeScan::Off => return false,
            _ => {
                let most = self.settings.max_probes.max(self.first_probes).min(lists);
                if self.probes >= most {
                    return false;
                }
                self.probes = (self.probes + self.first_probes).min(most);
                self.rank = self.rank.max(more) * 2;
            }
        }
        self.looks.unseen = 0;
        self.batch();
        true
    }

    /// What the search has done so far; `returned` is for the caller to fill in.
    pub fn done(&self) -> LastScan {
        LastScan {
            lists: self.directory.lists().len() as u64,
            probes: self.probed,
            pages: self.pages + self.looks.pages,
            estimated: self.estimated,
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

    /// Lets go of everything held of the table.
    pub fn end(&mut self) {
        self.looks.reader.end();
    }
}

/// Every row, in any order: what a query that is at no distance from anything finds.
pub struct All {
    ivf: Ivf,
    directory: Rc<Directory>,
    /// the list to read next, by its position
    at: usize,
    rows: Vec<RawTid>,
    handed_out: FxHashSet<u64>,
    pages: u64,
}

impl All {
    /// All rows of an index.
    pub fn new(ivf: Ivf) -> All {
        All {
            directory: Directory::now(&ivf),
            ivf,
            at: 0,
            rows: Vec::new(),
            handed_out: FxHashSet::default(),
            pages: 0,
        }
    }

    /// The next row; `None` where there is none.
    pub fn next(&mut self) -> Option<RawTid> {
        loop {
            while let Some(tid) = self.rows.pop() {
                if self.handed_out.insert(key(tid)) {
                    return Some(tid);
                }
            }
            pgrx::check_for_interrupts!();
            let listed = *self.directory.lists().get(self.at)?;
            self.at += 1;
            if !self.read(&listed) {
                // a list that is gone: its rows are in others now
                self.directory = Directory::now(&self.ivf);
                self.at = 0;
            }
        }
    }

    fn read(&mut self, listed: &Listed) -> bool {
        let mut block = listed.first;
        let hints = Hints::of(self.ivf.index);
        let mut steps = Steps::new();
        while block != 0 {
            self.pages += 1;
            steps.step(&self.ivf, block);
            let locked = hints.pin(self.ivf.index, block).lock();
            let Visit::Page(page) = self.ivf.list_page(block, locked.page(), listed.id) else {
                drop(locked);
                self.ivf.check_gone(listed.id, block);
                return false;
            };
            self.rows.extend_from_slice(page.tids());
            block = page.next;
        }
        true
    }

    /// What the scan has done so far.
    pub fn done(&self) -> LastScan {
        LastScan {
            lists: self.directory.lists().len() as u64,
            probes: self.at as u64,
            pages: self.pages,
            ..LastScan::default()
        }
    }
}
