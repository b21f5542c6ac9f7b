//! What the rows on a list page are estimated at, and which of them a search is offered.

use super::wanted::Wanted;
use super::{FoundRow, Intake, Probe, Reading, Seen, Target};
use crate::distance::{Metric, Operand, Space};
use crate::ivf::format::{Bf16, ListPage, Rerank, VectorAddress};
use crate::ivf::screen::{Errors, SCREENED, Screen};
use crate::keys::Verdict;
use crate::quantize::fast_scan::GROUP;
use crate::quantize::{Base, Lookups};

/// Pages of which at least this part of the rows are wanted are estimated as a whole.
const WHOLE: usize = 4;
/// The same where codes stand in groups, of which many are estimated in the time of one.
const WHOLE_OF_GROUPS: usize = 12;

/// Rows whose distances are estimated at once, before some more of the next page are asked for.
const ESTIMATED: usize = 4 * GROUP;

/// Rows of a list of which one sees how far they are from its centroid.
const SAMPLED: usize = 8;

/// A list that is being read.
#[derive(Clone, Copy)]
pub struct List<'a> {
    pub target: &'a Target,
    pub base: Base,
    /// distance of its centroid
    pub centre: f32,
    pub place: usize,
    pub reading: Reading<'a>,
}

impl List<'_> {
    /// How far estimates may be off.
    #[inline(always)]
    fn errors(&self) -> Errors {
        Errors {
            base: self.base,
            deviations: self.reading.deviations,
        }
    }

    /// The sum of the squared standard errors of some rows, where that is to be known.
    fn squared_errors<'a>(&self, of_rows: impl Iterator<Item = &'a Bf16>) -> f32 {
        match self.reading.is_measured {
            true => of_rows
                .map(|of_row| self.errors().deviation(of_row.get()).powi(2))
                .sum(),
            false => 0.0,
        }
    }
}

impl Probe {
    pub fn estimate_all(&mut self, page: &ListPage<'_>, list: List<'_>) {
        let count = page.count();
        self.estimated += count as u64;
        self.estimates.resize(count, 0.0);
        let of = Lookups {
            query: &list.target.query,
            lookup: &self.lookup,
            base: list.base,
        };
        let out = &mut self.estimates;
        let (coding, codes) = (self.ivf.coding(), page.codes());
        let (adds, scales) = (page.adds(), page.scales());
        let len = codes.len() / count.max(1);
        let lines = self.ahead.left().div_ceil(count.div_ceil(ESTIMATED).max(1));
        // a whole number of groups, where codes stand in such
        for first in (0..count).step_by(ESTIMATED) {
            let some = first..(first + ESTIMATED).min(count);
            self.ahead.ask(lines);
            let codes = &codes[some.start * len..some.end * len];
            coding.estimate_page(
                of,
                codes,
                &adds[some.clone()],
                &scales[some.clone()],
                &mut out[some],
            );
        }
        self.note_estimates(list, list.squared_errors(page.errors().iter()));
    }

    /// Notes what the estimates at hand tell of the list.
    fn note_estimates(&mut self, list: List<'_>, squared_errors: f32) {
        let Reading {
            within,
            is_measured,
            ..
        } = list.reading;
        if is_measured {
            self.offsets
                .add(list.centre, &self.estimates, squared_errors);
        }
        if within < f32::INFINITY && self.estimates.iter().any(|&x| x <= within) {
            self.last_within = self.last_within.max(list.place + 1);
        }
    }

    pub fn offer_all(&mut self, page: &ListPage<'_>, list: List<'_>, into: &mut impl Intake) {
        let (tids, errors, addresses) = (page.tids(), page.errors(), page.addresses());
        let is_estimate_all = self.ivf.shape.rerank == Rerank::None;
        let line = list.errors();
        let mut bound = into.bound();
        let mut screen = Screen::default();
        for first in (0..errors.len()).step_by(SCREENED) {
            let some = first..(first + SCREENED).min(errors.len());
            let estimates = &self.estimates[some.clone()];
            let mut near = screen.pass(line, estimates, &errors[some], bound);
            while near != 0 {
                let at = near.trailing_zeros() as usize;
                near &= near - 1;
                let (n, low) = (first + at, screen.lows[at]);
                if low > bound {
                    // since others of these were taken
                    into.leave_out(low);
                    continue;
                }
                let estimate = self.estimates[n];
                let row = FoundRow {
                    tid: tids[n],
                    address: addresses.get(n).copied().unwrap_or_default(),
                    place: list.place as u32,
                    seen: Seen::InList,
                    is_open: false,
                    distance: estimate as f64,
                };
                let (low, high) = match is_estimate_all {
                    true => (estimate, estimate),
                    false => (low, estimate + line.error(errors[n].get())),
                };
                into.take(low, high, row);
                bound = into.bound();
            }
        }
        into.leave_out(screen.least());
    }

    /// Offers the rows of a page that a filter leaves. Where a radius is asked for, all rows are estimated:
    /// those that are not wanted tell how far the radius goes, too.
    pub fn offer_wanted(&mut self, page: &ListPage<'_>, list: List<'_>, into: &mut impl Intake) {
        let wanted = self.wanted.slots.len();
        self.matched += wanted as u64;
        let whole = match self.ivf.lists.has_groups() {
            true => WHOLE_OF_GROUPS,
            false => WHOLE,
        };
        let is_whole = wanted * whole >= page.count() || list.reading.within < f32::INFINITY;
        if is_whole {
            self.estimate_all(page, list);
        } else {
            self.estimated += wanted as u64;
            self.estimate_wanted(page, list);
            let errors = page.errors();
            let errors = self.wanted.slots.iter().map(|&slot| &errors[slot as usize]);
            self.note_estimates(list, list.squared_errors(errors));
        }
        let (tids, errors, addresses) = (page.tids(), page.errors(), page.addresses());
        let is_estimate_all = self.ivf.shape.rerank == Rerank::None;
        for (n, &slot) in self.wanted.slots.iter().enumerate() {
            let slot = slot as usize;
            let estimate = self.estimates[if is_whole { slot } else { n }];
            let error = match is_estimate_all {
                true => 0.0,
                false => list.errors().error(errors[slot].get()),
            };
            let low = estimate - error;
            if low > into.bound() {
                into.leave_out(low);
                continue;
            }
            let row = FoundRow {
                tid: tids[slot],
                address: addresses.get(slot).copied().unwrap_or_default(),
                place: list.place as u32,
                seen: Seen::InList,
                is_open: self.wanted.is_open(slot),
                distance: estimate as f64,
            };
            into.take(low, estimate + error, row);
        }
    }

    /// Sees of some rows of a list, wanted or not, how far from its centroid they are: those wanted may be too few to
    /// tell what lists are like, or all of the same few lists.
    pub fn sample(&mut self, page: &ListPage<'_>, list: List<'_>) {
        let slots = (0..page.count() as u16).step_by(page.count().div_ceil(SAMPLED).max(1));
        self.wanted.slots.clear();
        self.wanted.slots.extend(slots);
        self.estimated += self.wanted.slots.len() as u64;
        if self.ivf.keeps_values() {
            self.estimates.clear();
            for n in 0..self.wanted.slots.len() {
                let distance = self.distance(page, list, self.wanted.slots[n] as usize);
                self.estimates.push(distance as f32);
            }
            self.measure_values(page, list);
            return;
        }
        self.estimate_wanted(page, list);
        let errors = page.errors();
        let slots = self.wanted.slots.iter();
        let errors = list.squared_errors(slots.map(|&slot| &errors[slot as usize]));
        self.offsets.add(list.centre, &self.estimates, errors);
    }

    /// Estimates the distances of the rows wanted.
    fn estimate_wanted(&mut self, page: &ListPage<'_>, list: List<'_>) {
        self.wanted.gather(page);
        self.estimates.resize(self.wanted.slots.len(), 0.0);
        let of = Lookups {
            query: &list.target.query,
            lookup: &self.lookup,
            base: list.base,
        };
        let Wanted {
            codes,
            adds,
            scales,
            ..
        } = &self.wanted;
        let out = &mut self.estimates;
        self.ivf.coding().estimate(of, codes, adds, scales, out);
    }

    /// The distance of a value.
    fn distance(&self, page: &ListPage<'_>, list: List<'_>, n: usize) -> f64 {
        self.distance_in(self.ivf.shape.space, page, list, n)
    }

    /// The same by the metric of a space of the same values.
    fn distance_in(&self, space: Space, page: &ListPage<'_>, list: List<'_>, n: usize) -> f64 {
        let value = Operand {
            payload: &page.value(n)[..self.ivf.shape.row_len as usize],
            norm_squared: page.norms().get(n).copied().unwrap_or_default(),
        };
        space.distance(list.target.value.operand(), value)
    }

    /// Learns what L2 is of rows of some distance by l1, from a page's.
    fn learn_of_l1(&mut self, page: &ListPage<'_>, list: List<'_>) {
        let by_l2 = Space {
            metric: Metric::L2,
            ..self.ivf.shape.space
        };
        let (mut squares, mut squares_of_l1) = (0.0, 0.0);
        for n in 0..page.count() {
            squares += self.distance_in(by_l2, page, list, n);
            squares_of_l1 += self.distance(page, list, n).powi(2);
        }
        if squares_of_l1 > 0.0 {
            self.squares_of_l1 = (squares / squares_of_l1) as f32;
        }
    }

    /// Offers values by their distances: those that a filter leaves, or all of the page.
    pub fn offer_values(&mut self, page: &ListPage<'_>, list: List<'_>, into: &mut impl Intake) {
        let within = list.reading.within;
        let is_filtered = list.reading.filter.is_some();
        self.estimates.clear();
        for (n, &tid) in page.tids().iter().enumerate() {
            let is_wanted = !is_filtered || self.wanted.verdicts[n] != Verdict::No;
            if !is_wanted && within == f32::INFINITY {
                continue;
            }
            let distance = self.distance(page, list, n);
            let near = distance as f32;
            self.estimated += 1;
            if list.reading.is_measured {
                self.estimates.push(near);
            }
            if !is_wanted {
                continue;
            }
            self.matched += 1;
            if near > into.bound() {
                into.leave_out(near);
                continue;
            }
            let row = FoundRow {
                tid,
                address: VectorAddress::NONE,
                place: list.place as u32,
                seen: Seen::InList,
                is_open: is_filtered && self.wanted.is_open(n),
                distance,
            };
            into.take(near, near, row);
        }
        if list.reading.is_measured {
            self.note_values(page, list);
        }
    }

    /// The same of values: their distances are compared with the radius as they are, with the centroid's
    /// as internal ones.
    fn note_values(&mut self, page: &ListPage<'_>, list: List<'_>) {
        let within = list.reading.within;
        if within < f32::INFINITY && self.estimates.iter().any(|&x| x <= within) {
            self.last_within = self.last_within.max(list.place + 1);
        }
        self.measure_values(page, list);
    }

    /// Takes distances of values as what the list's rows are like.
    fn measure_values(&mut self, page: &ListPage<'_>, list: List<'_>) {
        let is_l1 = self.ivf.shape.space.metric == Metric::L1;
        if is_l1 && self.squares_of_l1 == 0.0 {
            self.learn_of_l1(page, list);
        }
        let mut distances = std::mem::take(&mut self.estimates);
        for distance in &mut distances {
            *distance = self.internal_of(list.target, *distance);
        }
        self.offsets.add(list.centre, &distances, 0.0);
        self.estimates = distances;
    }
}
