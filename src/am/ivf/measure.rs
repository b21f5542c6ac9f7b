//! The curve of an index that has grown: measured with rows of its own as queries, whose neighbours among
//! all rows are found by reading all lists once.

use super::arrange::{Alone, Table};
use super::directory::{Directory, Target};
use super::index::{Ivf, change_meta, floats_of, read_meta};
use super::storage::{Steps, Visit};
use crate::distance::{Operand, Value};
use crate::hnsw::format::RawTid;
use crate::ivf::calibrate::{Calibration, ERRORS_OF_GROWTH, RANK};
use crate::ivf::format::{ListPage, MOST_CURVE_POINTS, Meta, RowForm};
use crate::pg::buffer::{Access, Logging, Shared};
use crate::pg::heap::TableReader;
use crate::quantize::{Lookup, Lookups, Query};
use std::collections::BinaryHeap;

/// Rows that are searched for.
const QUERIES: usize = 160;
/// Lists below which nothing is measured: all are searched.
const LEAST_LISTS: u32 = 4;
/// An index has outgrown its curve when it has so many times the lists that it was measured with, or so many
/// times fewer lists or rows: the nearest rows of fewer are spread over more lists.
const OUTGROWN: f64 = 1.2;
/// Copies kept for each query, the nearest by estimate. The table tells of those that may be nearest indeed: a
/// few dozen where codes are precise, nearly all where they are a few bits of a few dimensions.
const KEPT: usize = 400;

/// Whether the curve is of another index by now.
pub fn is_outgrown(meta: &Meta) -> bool {
    let has_shrunk = |now: f64, before: f64| now * OUTGROWN < before;
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
    let directory = Directory::of(ivf, &meta);
    let mut queries = queries(ivf, &meta, &directory, table);
    let mut copies = 0;
    for at in 0..directory.lists().len() {
        pgrx::check_for_interrupts!();
        copies += read_list(ivf, &directory, at, &mut queries);
    }
    let mut calibration = Calibration::new(directory.lists().len());
    for query in queries {
        let places = query.places(ivf, table);
        if places.len() == RANK {
            calibration.add(&places);
        }
    }
    let curve = calibration.curve(ERRORS_OF_GROWTH);
    let rows = copies / meta.copies as u64;
    change_meta(ivf.index, Logging::EachChange, |meta| {
        meta.curve = Default::default();
        let points = curve.len().min(MOST_CURVE_POINTS);
        meta.curve[..points].copy_from_slice(&curve[..points]);
        meta.curve_points = points as u32;
        meta.calibrated_lists = directory.lists().len() as u32;
        (meta.rows, meta.calibrated_rows) = (rows, rows);
    });
}

/// A row that is searched for.
struct Sought {
    tid: RawTid,
    value: Value,
    query: Query,
    /// what the quantizer prepared for it
    lookup: Lookup,
    /// distance of each list's centroid
    distances: Vec<f32>,
    /// for each list, how many are searched before it
    places: Vec<u32>,
    nearest: BinaryHeap<Copied>,
}

/// A copy of a row near a query; the farthest is the greatest.
#[derive(Clone, Copy)]
struct Copied {
    /// of values the operator's, of codes an estimate of the internal one
    distance: f64,
    /// what it is hardly below
    lower: f64,
    tid: RawTid,
    place: u32,
}

impl PartialEq for Copied {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Copied {}

impl PartialOrd for Copied {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Copied {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.distance.total_cmp(&other.distance)
    }
}

/// Rows at random: of a random list, from one of its pages.
fn queries<F: Fn() -> TableReader>(
    ivf: &Ivf,
    meta: &Meta,
    directory: &Directory,
    table: &mut Table<F>,
) -> Vec<Sought> {
    let mut random = fastrand::Rng::with_seed(meta.seed ^ meta.generation as u64);
    let mut queries = Vec::new();
    let mut floats = Vec::new();
    for _ in 0..4 * QUERIES {
        if queries.len() == QUERIES {
            break;
        }
        let listed = directory.lists()[random.usize(..directory.lists().len())];
        let page = Shared::read(ivf.index, listed.first, Access::Random);
        let Visit::Page(page) = ivf.list_page(listed.first, page.page(), listed.id) else {
            continue;
        };
        if page.count() == 0 {
            continue;
        }
        let row = page.row(random.usize(..page.count()));
        let tid = row.tid;
        let value = match ivf.keeps_values() {
            true => Some(Value::of(Operand {
                payload: &row.code[..ivf.shape.row_len as usize],
                norm_squared: row.norm_squared,
            })),
            false => table.reader().fetch(tid, |datum| {
                // SAFETY: a non-NULL value of the indexed column.
                unsafe { ivf.column.value(datum) }
            }),
        };
        let Some(value) = value else {
            continue;
        };
        let mut query = Query::default();
        if let Some(codec) = &ivf.codec {
            floats_of(ivf.column, value.payload(), &mut floats);
            query.reset(codec, &floats);
        }
        let mut lookup = Lookup::default();
        if let Some(coding) = &ivf.coding {
            coding.prepare(&query, &mut lookup);
        }
        let target = match ivf.codec {
            Some(_) => Target::Query(&query),
            None => Target::Bits(&value),
        };
        let mut distances = Vec::new();
        directory.distances(ivf, &target, &mut distances);
        let mut order: Vec<u32> = (0..distances.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| {
            let (x, y) = (distances[a as usize], distances[b as usize]);
            x.total_cmp(&y).then(a.cmp(&b))
        });
        let mut places = vec![0; order.len()];
        for (place, list) in order.into_iter().enumerate() {
            places[list as usize] = place as u32;
        }
        queries.push(Sought {
            tid,
            value,
            query,
            lookup,
            distances,
            places,
            nearest: BinaryHeap::new(),
        });
    }
    queries
}

/// Offers all rows of a list to all queries. Nobody arranges lists meanwhile. Returns the number of copies in it.
fn read_list(ivf: &Ivf, directory: &Directory, at: usize, queries: &mut [Sought]) -> u64 {
    let listed = directory.lists()[at];
    let mut estimates = Vec::new();
    if let (Some(coding), Some(centre)) = (&ivf.coding, directory.centre(at)) {
        for query in queries.iter_mut() {
            coding.enter(&query.query, centre, &mut query.lookup);
        }
    }
    let mut block = listed.first;
    let mut steps = Steps::new();
    let mut copies = 0;
    while block != 0 {
        steps.step(ivf, block);
        let page = Shared::read(ivf.index, block, Access::Random);
        let Visit::Page(page) = ivf.list_page(block, page.page(), listed.id) else {
            return copies;
        };
        copies += page.count() as u64;
        for query in queries.iter_mut() {
            query.offer(ivf, directory, at, &page, &mut estimates);
        }
        block = page.next;
    }
    copies
}

impl Sought {
    fn offer(
        &mut self,
        ivf: &Ivf,
        directory: &Directory,
        at: usize,
        page: &ListPage<'_>,
        estimates: &mut Vec<f32>,
    ) {
        let tids = page.tids();
        let place = self.places[at];
        match ivf.shape.form {
            RowForm::Codes(_) => {
                estimates.resize(page.count(), 0.0);
                let base = directory.base(at, &self.query, self.distances[at]);
                let base = base.unwrap_or_default();
                let of = Lookups {
                    query: &self.query,
                    lookup: &self.lookup,
                    base,
                };
                ivf.coding()
                    .estimate(of, page.codes(), page.adds(), page.scales(), estimates);
                let rows = tids.iter().zip(estimates.iter().zip(page.errors()));
                for (&tid, (&estimate, error)) in rows {
                    let lower = base.lower(estimate, error.get());
                    self.keep(estimate as f64, lower as f64, tid, place);
                }
            }
            RowForm::Values => {
                let len = ivf.shape.row_len as usize;
                for (n, &tid) in tids.iter().enumerate() {
                    let value = Operand {
                        payload: &page.code(n)[..len],
                        norm_squared: page.norms().get(n).copied().unwrap_or_default(),
                    };
                    let distance = ivf.shape.space.distance(self.value.operand(), value);
                    self.keep(distance, distance, tid, place);
                }
            }
        }
    }

    #[inline]
    fn keep(&mut self, distance: f64, lower: f64, tid: RawTid, place: u32) {
        if tid == self.tid {
            return;
        }
        if self.nearest.len() == KEPT {
            match self.nearest.peek() {
                Some(worst) if worst.distance <= distance => return,
                _ => self.nearest.pop(),
            };
        }
        self.nearest.push(Copied {
            distance,
            lower,
            tid,
            place,
        });
    }

    /// For each of the nearest rows, how many lists are searched before one that has it.
    fn places<F: Fn() -> TableReader>(mut self, ivf: &Ivf, table: &mut Table<F>) -> Vec<usize> {
        let mut rows: Vec<Copied> = Vec::new();
        for copied in std::mem::take(&mut self.nearest) {
            match rows.iter_mut().find(|row| row.tid == copied.tid) {
                Some(row) => row.place = row.place.min(copied.place),
                None => rows.push(copied),
            }
        }
        rows.sort_unstable();
        if !ivf.keeps_values() {
            rows = self.exactly(ivf, rows, table);
        }
        rows.truncate(RANK);
        rows.into_iter().map(|row| row.place as usize).collect()
    }

    /// The nearest of some rows by what the table has of them, nearest first; they come in the order of their
    /// estimates.
    fn exactly<F: Fn() -> TableReader>(
        &self,
        ivf: &Ivf,
        rows: Vec<Copied>,
        table: &mut Table<F>,
    ) -> Vec<Copied> {
        let mut nearest: Vec<Copied> = Vec::new();
        for row in rows {
            pgrx::check_for_interrupts!();
            if nearest.len() == RANK && nearest[RANK - 1].distance <= row.lower {
                continue;
            }
            let exact = table.reader().fetch(row.tid, |datum| {
                // SAFETY: a non-NULL value of the indexed column.
                let value = unsafe { ivf.column.value(datum) };
                let space = ivf.shape.space;
                space.distance(self.value.operand(), value.operand())
            });
            if let Some(exact) = exact {
                let distance = self.query.internal(exact) as f64;
                let at = nearest.partition_point(|other| other.distance <= distance);
                nearest.insert(at, Copied { distance, ..row });
                nearest.truncate(RANK);
            }
        }
        nearest
    }
}
