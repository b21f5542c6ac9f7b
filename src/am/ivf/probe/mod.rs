//! Reading lists: which are nearest to a query, and what rows are on their pages.

mod offer;
mod wanted;

use super::directory::{self, Directory, Listed};
use super::index::Ivf;
use super::storage::{Steps, Visit};
use crate::am::filter::Filter;
use crate::distance::{Metric, Value};
use crate::hnsw::format::RawTid;
use crate::ivf::format::{Meta, RowForm, VectorAddress};
use crate::ivf::order::{Candidate, Candidates, Ranked};
use crate::ivf::reach::Offsets;
use crate::ivf::rough;
use crate::pg::ahead::Ahead;
use crate::pg::buffer::Hints;
use crate::quantize::{DEVIATIONS, Lookup, Query};
use offer::List;
use std::mem::take;
use std::ops::Range;
use std::rc::Rc;
use wanted::Wanted;

/// Lists stand for as many of average size where they have this part of their rows.
const LEAST_FILLED: f64 = 0.5;

/// So many of the first lists read are each sampled, later one in so many.
const SAMPLED_EACH: usize = 32;
/// See [`SAMPLED_EACH`].
const SAMPLED_NEXT: usize = 8;
/// Lists not read of which one sees what their rows are like.
const SAMPLED_LISTS: usize = 16;

/// What is searched for.
#[derive(Default)]
pub struct Target {
    /// its codes; none for bit strings
    pub query: Query,
    /// its value
    pub value: Value,
}

impl Target {
    /// As centroids are compared with it.
    fn of(&self, ivf: &Ivf) -> directory::Target<'_> {
        match ivf.codec {
            Some(_) => directory::Target::Query(&self.query),
            None => directory::Target::Bits(&self.value),
        }
    }
}

/// A row of a list, as a search keeps it.
#[derive(Debug, Clone, Copy)]
pub struct FoundRow {
    /// where it is in the table
    pub tid: RawTid,
    /// its compact code
    pub address: VectorAddress,
    /// which of the lists it was met in, counted from the nearest
    pub place: u32,
    /// how closely it was looked at
    pub seen: Seen,
    /// its keys leave open whether it is wanted
    pub is_open: bool,
    /// exact distance, or estimate
    pub distance: f64,
}

/// How closely a row was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// by its code in a list
    InList,
    /// by its compact code
    ByCompactCode,
    /// it is known to be wanted, and how far it is
    Whole,
}

/// Takes in the rows that a search meets.
pub trait Intake {
    /// Rows whose lower bound is above this are left out.
    fn bound(&self) -> f32;
    /// A row of this lower bound was left out.
    fn leave_out(&mut self, low: f32);
    /// A row between two bounds.
    fn take(&mut self, low: f32, high: f32, row: FoundRow);
}

/// Takes in all rows but some.
pub struct AllBut<'a, F> {
    /// what it keeps them in
    pub candidates: &'a mut Candidates<FoundRow>,
    /// whether a row is one of those
    pub is_left_out: F,
}

impl<F: Fn(RawTid) -> bool> Intake for AllBut<'_, F> {
    #[inline(always)]
    fn bound(&self) -> f32 {
        self.candidates.bound()
    }

    #[inline(always)]
    fn leave_out(&mut self, low: f32) {
        self.candidates.leave_out(low);
    }

    #[inline]
    fn take(&mut self, low: f32, high: f32, row: FoundRow) {
        if !(self.is_left_out)(row.tid) {
            self.candidates.keep(low, high, row);
        }
    }
}

/// How lists are read.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// which rows are wanted; `None` where all are
    pub filter: Option<&'a Filter>,
    /// standard deviations that bounds allow for
    pub deviations: f32,
    /// internal distance beyond which no row is wanted
    pub within: f32,
    /// whether it is to be known how far rows are from their lists' centroids
    pub is_measured: bool,
}

impl Reading<'_> {
    /// How lists are read of which one only sees what their rows are like.
    fn of_sample(filter: Option<&Filter>) -> Reading<'_> {
        Reading {
            filter,
            deviations: DEVIATIONS,
            within: f32::INFINITY,
            is_measured: true,
        }
    }
}

/// What a search has allocated, for the next one to use.
#[derive(Default)]
pub struct Memory {
    distances: Vec<f32>,
    nearest: Vec<Ranked>,
    lookup: Lookup,
    estimates: Vec<f32>,
    shares: Vec<(u64, u64)>,
}

/// The lists of an index in the order of a query.
pub struct Probe {
    ivf: Rc<Ivf>,
    hints: Hints,
    /// the lists
    pub directory: Rc<Directory>,
    /// distances of all centroids, or lower bounds of them
    distances: Vec<f32>,
    /// lists, nearest first as far as they are sorted
    nearest: Vec<Ranked>,
    sorted: usize,
    /// only distances of the lists that are sorted were measured for certain
    is_rough: bool,
    /// what the quantizer prepared for the query
    lookup: Lookup,
    estimates: Vec<f32>,
    /// the page that is read next
    ahead: Ahead,
    /// rows of a page that are wanted
    wanted: Wanted,
    /// lists read up to the last one with a row within the radius
    pub last_within: usize,
    /// how far rows are from their lists' centroids
    offsets: Offsets,
    /// under l1, what its square is to be multiplied with to be about squared L2; 0 where it is not known yet
    squares_of_l1: f32,
    /// of each list read, `met` and `matched` before it
    shares: Vec<(u64, u64)>,
    /// rows met, and of them those that keys and allow-list leave
    pub met: u64,
    /// see `met`
    pub matched: u64,
    /// of the rows whose distance from a centroid was measured, where all count, those that are in the list nearest to
    /// them
    pub at_home: u64,
    /// lists read, each time counted
    pub probed: u64,
    /// list pages read
    pub pages: u64,
    /// distances estimated
    pub estimated: u64,
}

impl Probe {
    /// A reader of no lists yet.
    pub fn new(ivf: Rc<Ivf>, meta: &Meta, memory: Memory) -> Probe {
        Probe {
            directory: Directory::of(&ivf, meta),
            hints: Hints::of(ivf.index),
            ivf,
            distances: memory.distances,
            nearest: memory.nearest,
            sorted: 0,
            is_rough: false,
            lookup: memory.lookup,
            estimates: memory.estimates,
            ahead: Ahead::NONE,
            wanted: Wanted::default(),
            last_within: 0,
            offsets: Offsets::default(),
            squares_of_l1: 0.0,
            shares: memory.shares,
            met: 0,
            matched: 0,
            at_home: 0,
            probed: 0,
            pages: 0,
            estimated: 0,
        }
    }

    /// Gives away its memory.
    pub fn take_memory(&mut self) -> Memory {
        Memory {
            distances: take(&mut self.distances),
            nearest: take(&mut self.nearest),
            lookup: take(&mut self.lookup),
            estimates: take(&mut self.estimates),
            shares: take(&mut self.shares),
        }
    }

    /// Begins to search for another value, in an index as it is by now.
    pub fn begin(&mut self, ivf: &Rc<Ivf>, meta: &Meta, target: &Target) {
        self.ivf = ivf.clone();
        (self.probed, self.pages, self.estimated) = (0, 0, 0);
        self.squares_of_l1 = 0.0;
        if let Some(coding) = &self.ivf.coding {
            coding.prepare(&target.query, &mut self.lookup);
        }
        self.read_directory(meta, target);
    }

    /// Takes the directory as the metapage names it, with none of its lists sorted.
    pub fn read_directory(&mut self, meta: &Meta, target: &Target) {
        self.directory = Directory::of(&self.ivf, meta);
        self.is_rough = self.directory.rough().is_some();
        match self.directory.rough() {
            Some(rough) => rough.lower_bounds(&target.query, &mut self.distances),
            None => {
                let to = target.of(&self.ivf);
                self.directory
                    .distances(&self.ivf, &to, &mut self.distances);
            }
        }
        self.nearest.clear();
        let ranked = self.distances.iter().zip(0..);
        self.nearest
            .extend(ranked.map(|(&distance, list)| Ranked::of(distance, list)));
        self.sorted = 0;
    }

    /// Measures the distances of all lists, if that was not done yet.
    fn measure_all(&mut self, target: &Target) {
        if !take(&mut self.is_rough) {
            return;
        }
        let to = target.of(&self.ivf);
        self.directory
            .distances(&self.ivf, &to, &mut self.distances);
        for ranked in &mut self.nearest[self.sorted..] {
            let list = ranked.number();
            *ranked = Ranked::of(self.distances[list], list as u32);
        }
    }

    /// Puts the nearest lists first, in their order.
    pub fn sort(&mut self, count: usize, target: &Target) {
        if count <= self.sorted {
            return;
        }
        if !rough::are_few(count, self.nearest.len()) {
            self.measure_all(target);
        }
        let unsorted = &mut self.nearest[self.sorted..];
        let more = count - self.sorted;
        if self.is_rough {
            let (directory, distances) = (&self.directory, &mut self.distances);
            rough::nearest_first(unsorted, more, |list| {
                let centre = directory.centre(list).expect("codes");
                distances[list] = target.query.base(centre).distance;
                distances[list]
            });
        } else {
            if more < unsorted.len() {
                unsorted.select_nth_unstable(more - 1);
            }
            unsorted[..more].sort_unstable();
        }
        self.sorted = count;
    }

    /// Copies of rows in all lists, as far as they were counted.
    pub fn copies(&self) -> usize {
        let lists = self.directory.lists().iter();
        lists.map(|listed| self.counted(listed)).sum()
    }

    /// How far to go in a range of lists for no more than about so many rows, by one list at least.
    pub fn end_of(&self, lists: Range<usize>, most: usize) -> usize {
        let mut rows = 0;
        for place in lists.clone() {
            let at = self.nearest[place].number();
            rows += self.counted(&self.directory.lists()[at]);
            if rows > most {
                return place.max(lists.start + 1);
            }
        }
        lists.end
    }

    /// How many lists to read in place of some of average size, where `copies` are in all lists: more where
    /// the nearest are nearly empty, as deletes leave them.
    pub fn filled(&mut self, probes: usize, copies: f64, target: &Target) -> usize {
        let lists = self.nearest.len();
        let average = copies / lists as f64;
        let (mut rows, mut end, mut aim) = (0, 0, probes);
        loop {
            self.sort(aim, target);
            for place in end..aim {
                let at = self.nearest[place].number();
                rows += self.counted(&self.directory.lists()[at]);
            }
            end = aim;
            if end >= lists || rows as f64 >= LEAST_FILLED * probes as f64 * average {
                return end;
            }
            aim = (2 * end).min(lists);
        }
    }

    /// Share of the rows met that keys and allow-list leave: of all, or of the later half of the lists read where
    /// that is clearly more. Where what matches is far from the query, the first lists say nothing of the next ones.
    pub fn matching(&self) -> f64 {
        let since = |(met, matched): (u64, u64)| {
            let rows = (self.met - met).max(1) as f64;
            ((self.matched - matched) as f64 / rows, rows)
        };
        let half = self.shares.get(self.shares.len() / 2).copied();
        let (of_all, _) = since((0, 0));
        let (of_last, last) = since(half.unwrap_or_default());
        let by_chance = 2.0 * (of_all / last).sqrt();
        match of_last > of_all + by_chance {
            true => of_last,
            false => of_all,
        }
    }

    /// Begins to measure how far rows are from the centroids of farther lists.
    pub fn begin_step(&mut self) {
        self.offsets.fade();
    }

    /// How many rows nearer than `bound` the lists at these places should have, if a share of their rows pass: see
    /// [`Offsets::foretold`].
    pub fn foretold(&mut self, places: Range<usize>, bound: f32, share: f64) -> Option<f64> {
        debug_assert!(places.end <= self.sorted);
        self.offsets.settle();
        let lists = self.nearest[places].iter().map(|ranked| {
            let rows = self.counted(&self.directory.lists()[ranked.number()]);
            (self.distances[ranked.number()], share * rows as f64)
        });
        self.offsets.foretold(lists, bound)
    }

    /// How many lists are to be read in all, and no more than up to the end of `unread`, by what is known of those that
    /// were not: see [`Offsets::likely`]. `share` of their rows pass. As many as may be where nothing is known,
    /// and under l1, whose distances L2 tells only roughly, where hardly any may be missed: `is_page`.
    pub fn likely(
        &mut self,
        target: &Target,
        unread: Range<usize>,
        bound: f32,
        share: f64,
        tolerated: f64,
        is_page: bool,
    ) -> usize {
        if is_page && self.ivf.shape.space.metric == Metric::L1 {
            return unread.end;
        }
        // of those beyond it only matters what they hold together
        self.measure_all(target);
        self.sort(unread.end, target);
        self.offsets.settle();
        let lists = self.nearest[unread.start..].iter().map(|ranked| {
            let rows = self.counted(&self.directory.lists()[ranked.number()]);
            (self.distances[ranked.number()], share * rows as f64)
        });
        match self.offsets.likely(lists, bound, tolerated) {
            None => unread.end,
            Some(more) => (unread.start + more).min(unread.end),
        }
    }

    /// A distance as lists of the index have them, as centroids have them. Under l1, whose lists are placed by L2, it is
    /// what squared L2 is of rows met that are as far by l1.
    pub fn internal_of(&self, target: &Target, distance: f32) -> f32 {
        match (&self.ivf.codec, self.ivf.shape.space.metric) {
            (Some(_), Metric::L1) => self.squares_of_l1 * distance * distance,
            (Some(_), _) if self.ivf.keeps_values() => target.query.internal(distance as f64),
            _ => distance,
        }
    }

    /// How far the last of so many nearest copies is expected to be, by the estimates of those kept: see
    /// [`Offsets::expected`]. `None` where fewer are kept.
    pub fn expected<'a>(
        &self,
        target: &Target,
        kept: impl Iterator<Item = &'a Candidate<FoundRow>>,
        wanted: usize,
    ) -> Option<f32> {
        // bounds of rough codes are far beyond what they are expected to be
        let expected = kept.map(|Candidate { row, .. }| {
            let centre = self.distances[self.nearest[row.place as usize].number()];
            let estimate = self.internal_of(target, row.distance as f32);
            self.offsets.expected(centre, estimate)
        });
        let mut expected: Vec<f32> = expected.collect();
        if wanted == 0 || expected.len() < wanted {
            return None;
        }
        let (_, &mut last, _) = expected.select_nth_unstable_by(wanted - 1, f32::total_cmp);
        Some(last)
    }

    fn counted(&self, listed: &Listed) -> usize {
        let full = (listed.pages as usize).saturating_sub(1) * self.ivf.lists.capacity();
        full.max(listed.rows as usize)
    }

    /// Begins to count what is met.
    pub fn begin_batch(&mut self) {
        (self.met, self.matched, self.last_within) = (0, 0, 0);
        self.at_home = 0;
        self.offsets.clear();
        self.shares.clear();
    }

    /// Reads some of the lists, which are sorted as far as that; false where one is gone by now.
    pub fn read(
        &mut self,
        lists: Range<usize>,
        target: &Target,
        reading: Reading<'_>,
        into: &mut impl Intake,
    ) -> bool {
        let directory = self.directory.clone();
        let end = lists.end;
        for place in lists {
            pgrx::check_for_interrupts!();
            let at = self.nearest[place].number();
            let next = self.nearest[..end].get(place + 1);
            let next = next.map(|next| directory.lists()[next.number()]);
            self.probed += 1;
            self.shares.push((self.met, self.matched));
            let listed = directory.lists()[at];
            let list = self.list(&directory, at, place, target, reading);
            if !self.read_list(&listed, next.as_ref(), list, into) {
                return false;
            }
        }
        true
    }

    /// Begins to ask for a page of a list that has so many rows from there on, as far as they were counted.
    fn prefetch(&mut self, block: u32, rows: usize) {
        self.ahead.ask_all();
        let parts = self.ivf.lists.read_by_all(rows);
        self.ahead = Ahead::of(&self.hints, self.ivf.index, block, parts);
    }

    /// Sees of some lists that were not read what their rows are like; false where one is gone by now.
    pub fn sample_unread(&mut self, read: usize, target: &Target, filter: Option<&Filter>) -> bool {
        self.measure_all(target);
        self.offsets.fade();
        let directory = self.directory.clone();
        let step = (self.nearest.len() - read).div_ceil(SAMPLED_LISTS);
        for place in (read..self.nearest.len()).step_by(step.max(1)) {
            let at = self.nearest[place].number();
            let listed = directory.lists()[at];
            let list = self.list(&directory, at, place, target, Reading::of_sample(filter));
            let ivf = self.ivf.clone();
            self.pages += 1;
            let locked = self.hints.pin(ivf.index, listed.first).lock();
            let Visit::Page(page) = ivf.list_page(listed.first, locked.page(), listed.id) else {
                drop(locked);
                ivf.check_gone(listed.id, listed.first);
                return false;
            };
            self.sample(&page, list);
        }
        true
    }

    /// Begins with a list.
    fn list<'a>(
        &mut self,
        directory: &Directory,
        at: usize,
        place: usize,
        target: &'a Target,
        reading: Reading<'a>,
    ) -> List<'a> {
        let base = directory.base(at, &target.query, self.distances[at]);
        if let (Some(coding), Some(centre)) = (&self.ivf.coding, directory.centre(at)) {
            coding.enter(&target.query, centre, &mut self.lookup);
        }
        List {
            target,
            base: base.unwrap_or_default(),
            centre: self.distances[at],
            place,
            reading,
        }
    }

    fn read_list(
        &mut self,
        listed: &Listed,
        next: Option<&Listed>,
        list: List<'_>,
        into: &mut impl Intake,
    ) -> bool {
        let mut block = listed.first;
        let mut left = self.counted(listed);
        let ivf = self.ivf.clone();
        let mut steps = Steps::new();
        let read = self.shares.len();
        let is_due = read < SAMPLED_EACH || read.is_multiple_of(SAMPLED_NEXT);
        let mut is_sampled = is_due && list.reading.is_measured && list.reading.filter.is_some();
        while block != 0 {
            self.pages += 1;
            steps.step(&ivf, block);
            let locked = self.hints.pin(ivf.index, block).lock();
            let Visit::Page(page) = ivf.list_page(block, locked.page(), listed.id) else {
                drop(locked);
                ivf.check_gone(listed.id, block);
                return false;
            };
            block = page.next;
            left = left.saturating_sub(page.count());
            match next {
                _ if block != 0 => self.prefetch(block, left),
                Some(next) => self.prefetch(next.first, self.counted(next)),
                None => {}
            }
            self.met += page.count() as u64;
            if ivf.keeps_values() || list.reading.filter.is_some() {
                self.ahead.ask_all();
            }
            match (ivf.shape.form, list.reading.filter) {
                (RowForm::Codes(_), None) => {
                    self.matched += page.count() as u64;
                    self.estimate_all(&page, list);
                    if list.reading.is_measured {
                        self.at_home += page.firsts() as u64;
                    }
                    self.offer_all(&page, list, into);
                }
                (RowForm::Codes(_), Some(filter)) => {
                    if self.wanted.find(&page, filter) || list.reading.within < f32::INFINITY {
                        self.offer_wanted(&page, list, into);
                    }
                }
                (RowForm::Values, filter) => {
                    if let Some(filter) = filter {
                        self.wanted.find(&page, filter);
                    }
                    self.offer_values(&page, list, into);
                }
            }
            // as long as nothing matches all lists are read anyway
            if is_sampled && self.matched > 0 {
                self.sample(&page, list);
                is_sampled = false;
            }
        }
        true
    }
}
