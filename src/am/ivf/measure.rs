//! The curve of an index that has grown or shrunk: measured with rows of its own as queries, whose neighbours
//! are found by searches that go on until hardly any could be elsewhere.

use super::arrange::{Alone, Table};
use super::directory::Directory;
use super::index::{Ivf, change_meta, floats_of, read_meta};
use super::looks::key;
use super::probe::{AllBut, FoundRow, Probe, Reading, Target};
use super::storage::Visit;
use crate::distance::{Operand, Value};
use crate::hnsw::format::RawTid;
use crate::ivf::calibrate::{Calibration, ERRORS_OF_GROWTH, RANK};
use crate::ivf::format::{MOST_CURVE_POINTS, Meta, Method};
use crate::ivf::order::{Candidate, Candidates};
use crate::pg::buffer::{Access, Shared};
use crate::pg::change::Logging;
use crate::pg::heap::TableReader;
use std::rc::Rc;

/// Rows that are searched for: fewer in a small index, whose VACUUM would take as long again.
const QUERIES: std::ops::RangeInclusive<usize> = 64..=640;
/// Rows for each of them.
const ROWS_PER_QUERY: usize = 128;
/// Lists below which nothing is measured: all are searched.
const LEAST_LISTS: u32 = 4;
/// An index has outgrown its curve when it has so many times the lists that it was measured with. The share of them
/// that a recall takes gets smaller, so the longer nothing is measured, the more rows searches read for nothing.
const OUTGROWN: f64 = 1.1;
/// The same when it has so many times fewer lists or rows: the nearest rows of fewer are spread over more lists.
const SHRUNK: f64 = 1.2;
/// The part of the lists that a search begins with.
const FIRST_PART: usize = 16;
/// Of the nearest rows, how many may be in lists that a search does not read.
const TOLERATED: f64 = 0.02;
/// Standard errors of an estimate that bounds allow for. A row that is nearer than its estimate by more is not
/// looked at, and a row of the next rank stands in its place: that has nothing to do with the list it is in.
const DEVIATIONS: f32 = 0.5;

/// Whether the curve is of another index by now. Searches of `ivfflat` do not go by it.
pub fn is_outgrown(meta: &Meta) -> bool {
    if matches!(meta.method(), Ok(Method::Ivfflat)) {
        return false;
    }
    let has_shrunk = |now: f64, before: f64| now * SHRUNK < before;
    let (lists, before) = (meta.lists as f64, meta.calibrated_lists as f64);
    meta.lists >= LEAST_LISTS
        && (meta.curve_points == 0
            || lists > OUTGROWN * before
            || has_shrunk(lists, before)
            || has_shrunk(meta.rows as f64, meta.calibrated_rows as f64))
}

/// Measures the curve, unless lists are being arranged.
pub fn measure<F: Fn() -> TableReader>(ivf: &Ivf, table: &mut Table<F>) {
    let Some(_alone) = Alone::try_new(ivf) else {
        return;
    };
    let meta = read_meta(ivf.index);
    if !is_outgrown(&meta) {
        // somebody else has measured it
        return;
    }
    let mut measuring = Measuring::new(ivf, meta, table);
    let Some(counts) = measuring.counts() else {
        return;
    };
    let copies: usize = counts.iter().sum();
    let rows = copies / meta.copies as usize;
    let queries = (rows / ROWS_PER_QUERY).clamp(*QUERIES.start(), *QUERIES.end());
    let mut random = fastrand::Rng::with_seed(meta.seed ^ meta.generation as u64);
    let mut calibration = Calibration::new(counts.len());
    for _ in 0..queries {
        pgrx::check_for_interrupts!();
        let Some(row) = measuring.pick(&counts, random.usize(..copies.max(1))) else {
            continue;
        };
        let Some(places) = measuring.places(row) else {
            return;
        };
        if places.len() == RANK {
            calibration.add(&places);
        }
    }
    let curve = calibration.curve(ERRORS_OF_GROWTH);
    change_meta(ivf.index, Logging::EachChange, |meta| {
        meta.curve = Default::default();
        let points = curve.len().min(MOST_CURVE_POINTS);
        meta.curve[..points].copy_from_slice(&curve[..points]);
        meta.curve_points = points as u32;
        meta.calibrated_lists = counts.len() as u32;
        (meta.rows, meta.calibrated_rows) = (rows as u64, rows as u64);
    });
}

/// Searches for rows of an index, whose lists stay as they are meanwhile.
struct Measuring<'a, F> {
    ivf: Rc<Ivf>,
    meta: Meta,
    table: &'a mut Table<F>,
    probe: Probe,
    target: Target,
    candidates: Candidates<FoundRow>,
    floats: Vec<f32>,
}

impl<'a, F: Fn() -> TableReader> Measuring<'a, F> {
    fn new(ivf: &Ivf, meta: Meta, table: &'a mut Table<F>) -> Self {
        let ivf = Rc::new(ivf.clone());
        Measuring {
            probe: Probe::new(ivf.clone(), &meta, Default::default()),
            ivf,
            meta,
            table,
            target: Target::default(),
            candidates: Candidates::default(),
            floats: Vec::new(),
        }
    }

    /// Copies in each list; `None` where one is gone.
    fn counts(&self) -> Option<Vec<usize>> {
        let lists = self.directory().lists().iter();
        lists
            .map(|listed| {
                pgrx::check_for_interrupts!();
                self.ivf.count(listed.id, listed.first)
            })
            .collect()
    }

    fn directory(&self) -> &Directory {
        &self.probe.directory
    }

    /// Makes the copy of this number among all lists', or one near it on its page, what is searched for. `None`
    /// where it is gone.
    fn pick(&mut self, counts: &[usize], mut number: usize) -> Option<RawTid> {
        let mut at = 0;
        while number >= *counts.get(at)? {
            number -= counts[at];
            at += 1;
        }
        let listed = self.directory().lists()[at];
        let mut block = listed.first;
        loop {
            let page = Shared::read(self.ivf.index, block, Access::Random);
            let Visit::Page(page) = self.ivf.list_page(block, page.page(), listed.id) else {
                return None;
            };
            if number >= page.count() && page.next != 0 {
                number -= page.count();
                block = page.next;
                continue;
            }
            let row = page.row(number.min(page.count().checked_sub(1)?));
            let tid = row.tid;
            let value = match self.ivf.keeps_values() {
                true => Value::of(Operand {
                    payload: row.code.value(self.ivf.shape.row_len as usize),
                    norm_squared: row.norm_squared,
                }),
                false => self.table.reader().fetch(tid, |datum| {
                    // SAFETY: a non-NULL value of the indexed column.
                    unsafe { self.ivf.column.value(datum) }
                })?,
            };
            if let Some(codec) = &self.ivf.codec {
                floats_of(self.ivf.column, value.payload(), &mut self.floats);
                self.target.query.reset(codec, &self.floats);
            }
            self.target.value = value;
            return Some(tid);
        }
    }

    /// For each of the rows nearest to what is searched for, how many lists are searched before one that has
    /// it. `None` where a list is gone.
    fn places(&mut self, row: RawTid) -> Option<Vec<usize>> {
        let wanted = RANK * self.meta.copies as usize;
        self.candidates.begin(wanted);
        self.probe.begin(&self.ivf, &self.meta, &self.target);
        self.probe.begin_batch();
        let reading = Reading {
            filter: None,
            deviations: DEVIATIONS,
            within: f32::INFINITY,
            is_measured: true,
        };
        let lists = self.directory().lists().len();
        let (mut read, mut next) = (0, lists.div_ceil(FIRST_PART));
        while read < next {
            self.probe.begin_step();
            self.probe.sort(next, &self.target);
            let mut into = AllBut {
                candidates: &mut self.candidates,
                is_left_out: |tid| tid == row,
            };
            let range = read..next;
            if !self.probe.read(range, &self.target, reading, &mut into) {
                return None;
            }
            read = next;
            next = self.next(read, wanted).min(2 * read).min(lists);
        }
        Some(self.nearest())
    }

    /// How many lists a search is to read, when it has read some.
    fn next(&mut self, read: usize, wanted: usize) -> usize {
        let lists = self.directory().lists().len();
        let kept = self.candidates.kept();
        match self.probe.expected(&self.target, kept, wanted) {
            None => lists,
            Some(farthest) => {
                let tolerated = TOLERATED * self.meta.copies as f64;
                let unread = read..(2 * read).clamp(read, lists);
                self.probe
                    .likely(&self.target, unread, farthest, 1.0, tolerated, false)
            }
        }
    }

    /// The places of the nearest rows, of what is kept.
    fn nearest(&mut self) -> Vec<usize> {
        let (kept, _) = self.candidates.finish();
        let mut kept: Vec<Candidate<FoundRow>> = std::mem::take(kept);
        kept.sort_unstable_by_key(|kept| (key(kept.row.tid), kept.row.place));
        kept.dedup_by_key(|kept| kept.row.tid);
        kept.sort_unstable_by(|a, b| a.row.distance.total_cmp(&b.row.distance));
        let mut nearest: Vec<(f64, usize)> = Vec::new();
        for Candidate { low, row, .. } in kept {
            if nearest.len() == RANK && nearest[RANK - 1].0 <= low as f64 {
                continue;
            }
            let Some(distance) = self.distance(&row) else {
                continue;
            };
            let at = nearest.partition_point(|other| other.0 <= distance);
            nearest.insert(at, (distance, row.place as usize));
            nearest.truncate(RANK);
        }
        nearest.into_iter().map(|(_, place)| place).collect()
    }

    /// How far a row is, as lists have distances; `None` where it is gone.
    fn distance(&mut self, row: &FoundRow) -> Option<f64> {
        if self.ivf.keeps_values() {
            return Some(row.distance);
        }
        pgrx::check_for_interrupts!();
        let exact = self.table.reader().fetch(row.tid, |datum| {
            // SAFETY: a non-NULL value of the indexed column.
            unsafe { self.ivf.column.distance(datum, self.target.value.operand()) }
        })??;
        Some(self.target.query.internal(exact) as f64)
    }
}
