//! Which stopping multiple reaches which recall: measured on rows withheld from the graph, and
//! looked up by searches.
//!
//! A row that is in the graph gives itself away as a query (its own links lead to its neighbours),
//! so the rows measured with are inserted only afterwards. One walk tells the whole curve: the order
//! of expansion does not depend on where a walk stops.

use super::format::{CurvePoint, MOST_CURVE_POINTS};
use super::walk::{BlockStore, Effort, Near, Nearest, Walk, bound};

/// Rows that the curve speaks of: recall of the ten nearest.
pub const RANK: usize = 10;
/// The multiples that are measured. Searches of most data end at the first ones; where rows are in small groups far
/// from each other, it takes the last ones to come from one group to the next.
pub const MULTIPLES: [f32; MOST_CURVE_POINTS] = [
    1.0, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 1.08, 1.1, 1.13, 1.17, 1.25, 1.5, 2.0, 4.0, 16.0,
];
/// The curve is measured with some hundred queries, so it may be too good by chance: it is kept so
/// many standard errors lower.
const STANDARD_ERRORS: f32 = 3.0;
/// Recall that is not worth going on for where the target is out of reach.
const NEARLY: f32 = 0.0005;
/// What is assumed of an index that was never measured: more effort than data needed so far.
const UNMEASURED: [CurvePoint; 5] = [
    point(1.05, 0.85),
    point(1.1, 0.95),
    point(1.15, 0.98),
    point(1.2, 0.99),
    point(1.3, 0.999),
];

const fn point(multiple: f32, recall: f32) -> CurvePoint {
    CurvePoint { multiple, recall }
}

/// The smallest multiple that reached a recall, between two measured ones by interpolation; where none did, the
/// one from which on hardly anything more was found.
pub fn multiple_for(curve: &[CurvePoint], target: f32) -> f32 {
    let curve = if curve.is_empty() { &UNMEASURED } else { curve };
    let Some(at) = curve.iter().position(|point| point.recall >= target) else {
        let best = curve.last().map_or(0.0, |point| point.recall);
        let nearly = curve.iter().find(|point| point.recall >= best - NEARLY);
        return nearly.map_or(1.0, |point| point.multiple).max(1.0);
    };
    let above = curve[at];
    let Some(below) = at.checked_sub(1).map(|at| curve[at]) else {
        return above.multiple.max(1.0);
    };
    let share = (target - below.recall) / (above.recall - below.recall).max(f32::EPSILON);
    (below.multiple + share * (above.multiple - below.multiple)).max(1.0)
}

/// The multiple for another rank: the further down a row is, the closer together distances are.
/// Measured: the fourth root or so of the ratio keeps recall flat from rank 10 to 100.
pub fn at_rank(multiple: f32, rank: usize) -> f32 {
    let ratio = RANK as f32 / rank.max(RANK) as f32;
    1.0 + (multiple - 1.0) * ratio.powf(0.15)
}

/// What one walk tells: how many rows searches with each of [`MULTIPLES`] would have found.
pub type Reached = [usize; MOST_CURVE_POINTS];

/// Walks as far as `effort` says and notes how many rows had been found where searches with smaller
/// multiples end; searches with larger ones count as finding all that it found. `proceed` is asked
/// after every step, with all rows found so far; `false` ends the walk.
pub fn trace<S: BlockStore>(
    walk: &mut Walk<S>,
    store: &mut S,
    seeds: impl IntoIterator<Item = (S::Node, f32)>,
    effort: Effort,
    mut proceed: impl FnMut(&mut S, &[Near<S::Row>]) -> bool,
) -> Reached {
    walk.start(seeds);
    walk.aim(effort);
    let mut nearest = Nearest::of_rank(RANK);
    let mut reached = [usize::MAX; MOST_CURVE_POINTS];
    let mut at = 0;
    loop {
        let worst = nearest.worst();
        if let Some(estimate) = walk.next_estimate()
            && worst.is_finite()
        {
            while at < MOST_CURVE_POINTS && estimate > bound(worst, MULTIPLES[at]) {
                reached[at] = walk.found().len();
                at += 1;
            }
        }
        match walk.step(store) {
            None => return reached,
            Some(None) => {}
            Some(Some(found)) => nearest.push(walk.found()[found].distance),
        }
        if !proceed(store, walk.found()) {
            return reached;
        }
    }
}

/// The effort of a walk that is to find all of the ten nearest, or nearly.
pub fn thorough() -> Effort {
    Effort {
        rank: 40 * RANK,
        multiple: 1.0,
        ef: 0,
        ..Effort::default()
    }
}

/// Measures the curve, one query after another.
#[derive(Debug, Default)]
pub struct Calibration {
    /// found of the nearest, by multiple
    hits: [u64; MOST_CURVE_POINTS],
    /// sum of the squares of each query's hits
    squares: [u64; MOST_CURVE_POINTS],
    wanted: u64,
    queries: u64,
    /// the neighbours were what a walk found, not what there is
    is_assumed: bool,
}

impl Calibration {
    /// Adds one query: what its walk [`trace`]d, and where in the order of expansion its exact
    /// neighbours were found. A neighbour that was not is `usize::MAX`.
    pub fn add(&mut self, reached: &Reached, nearest: &[usize]) {
        for (n, &reached) in reached.iter().enumerate() {
            let hits = nearest.iter().filter(|&&at| at < reached).count() as u64;
            self.hits[n] += hits;
            self.squares[n] += hits * hits;
        }
        self.wanted += nearest.len() as u64;
        self.queries += 1;
    }

    /// Adds one query whose neighbours are taken to be the nearest that a [`thorough`] walk found.
    pub fn add_found<R>(&mut self, reached: &Reached, found: &[Near<R>]) {
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_unstable_by(|&a, &b| found[a].distance.total_cmp(&found[b].distance));
        order.truncate(RANK);
        self.is_assumed = true;
        self.add(reached, &order);
    }

    /// Adds what another thread measured.
    pub fn merge(&mut self, other: &Calibration) {
        for n in 0..MOST_CURVE_POINTS {
            self.hits[n] += other.hits[n];
            self.squares[n] += other.squares[n];
        }
        self.wanted += other.wanted;
        self.queries += other.queries;
        self.is_assumed |= other.is_assumed;
    }

    /// Queries added.
    pub fn queries(&self) -> u64 {
        self.queries
    }

    /// The curve; empty where nothing was measured.
    pub fn curve(&self) -> Vec<CurvePoint> {
        if self.wanted == 0 {
            return Vec::new();
        }
        let each = self.wanted as f32 / self.queries as f32;
        let queries = self.queries as f32;
        let mut best = 0.0f32;
        (0..MOST_CURVE_POINTS)
            .map(|n| {
                let mean = self.hits[n] as f32 / queries;
                let variance = (self.squares[n] as f32 / queries - mean * mean).max(0.0);
                let error = (variance / queries).sqrt();
                let recall = (mean - STANDARD_ERRORS * error) / each;
                // what a walk never comes by is missing from both: measured, as much again
                let unknown = if self.is_assumed { 1.0 - recall } else { 0.0 };
                best = best.max(recall - unknown);
                point(MULTIPLES[n], best)
            })
            .collect()
    }
}
