//! How many lists to search for which recall: measured by the build with rows of the table as queries,
//! whose exact neighbours are known with the lists they are in.

use super::format::{CurvePoint, MOST_CURVE_POINTS};

/// Neighbours of each query that are counted.
pub const RANK: usize = 10;
/// Standard errors by which the curve of a build is kept low: of eleven builds on sentence embeddings with 1,000
/// queries and two, two missed a target of .95, by .002 at most.
pub const ERRORS_OF_BUILD: f32 = 3.0;
/// The same of an index that has grown, whose few queries make each error a large one.
pub const ERRORS_OF_GROWTH: f32 = 2.0;
/// Neighbours that a search of codes passes over in the lists it reads, because an estimate is farther off
/// than its bound allows for. Measured: .0025 of 116,659 sentence embeddings by `rabitq1`, whose
/// estimates spread most. Whoever reads all lists allows for more.
const PASSED_OVER: f32 = 0.003;
/// Recalls that the curve has points for.
const LEVELS: [f32; MOST_CURVE_POINTS] = [
    0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.975, 0.98, 0.985, 0.99, 0.995, 0.999,
];

/// Measures the curve, one query after another.
#[derive(Debug)]
pub struct Calibration {
    /// neighbours found by the list, in the order of search, that has them first
    found: Vec<u64>,
    /// the same for each query, as (list, neighbours), to tell how much queries differ
    queries: Vec<Vec<u32>>,
    wanted: u64,
}

impl Calibration {
    /// Nothing measured yet of an index with so many lists.
    pub fn new(lists: usize) -> Calibration {
        Calibration {
            found: vec![0; lists],
            queries: Vec::new(),
            wanted: 0,
        }
    }

    /// Adds a query: for each of its nearest rows, how many lists are searched before the first that
    /// has it.
    pub fn add(&mut self, places: &[usize]) {
        for &place in places {
            self.found[place] += 1;
        }
        self.wanted += places.len() as u64;
        self.queries
            .push(places.iter().map(|&place| place as u32).collect());
    }

    /// The curve, so many standard errors low: for each level of recall the share of lists that reaches it, and
    /// one point for all lists. Empty where nothing was measured.
    pub fn curve(&self, standard_errors: f32) -> Vec<CurvePoint> {
        if self.wanted == 0 {
            return Vec::new();
        }
        let lists = self.found.len();
        let mut curve: Vec<CurvePoint> = Vec::new();
        let mut sum = 0;
        let mut levels = LEVELS.iter().peekable();
        for (at, found) in self.found.iter().enumerate() {
            sum += found;
            let mean = sum as f32 / self.wanted as f32 * (1.0 - PASSED_OVER);
            while let Some(&&level) = levels.peek() {
                if mean < level || mean - standard_errors * self.error(at, mean) < level {
                    break;
                }
                levels.next();
                let share = (at + 1) as f32 / lists as f32;
                match curve.last_mut() {
                    Some(last) if last.share == share => last.recall = level,
                    _ => curve.push(CurvePoint {
                        share,
                        recall: level,
                    }),
                }
            }
        }
        curve
    }

    /// Standard error of the recall of the first lists up to `at`.
    fn error(&self, at: usize, mean: f32) -> f32 {
        let count = self.queries.len() as f32;
        let squares: f32 = self
            .queries
            .iter()
            .filter(|places| !places.is_empty())
            .map(|places| {
                let hits = places.iter().filter(|&&place| place as usize <= at).count();
                let recall = hits as f32 / places.len() as f32;
                (recall - mean) * (recall - mean)
            })
            .sum();
        (squares / count).sqrt() / count.sqrt()
    }
}

/// The lists to search of `lists` for a recall, by a curve; all of them where nothing was
/// measured.
pub fn probes_for(curve: &[CurvePoint], lists: usize, target: f32, rank: usize) -> usize {
    let all = lists.max(1);
    let share = match curve {
        [] => 1.0,
        curve => share_for(curve, target),
    };
    // the farther down the ranks, the more lists rows are spread over
    let wider = (rank.max(RANK) as f32 / RANK as f32).powf(RANK_EXPONENT);
    ((share * all as f32 * wider).ceil() as usize).clamp(1, all)
}

/// How probes grow with the rows asked for.
const RANK_EXPONENT: f32 = 0.2;

fn share_for(curve: &[CurvePoint], target: f32) -> f32 {
    let after = curve.partition_point(|point| point.recall < target);
    let Some(high) = curve.get(after) else {
        return share_beyond(curve, target);
    };
    let Some(low) = after.checked_sub(1).map(|at| curve[at]) else {
        return high.share;
    };
    // between two points the share grows with the logarithm of what is missed
    let missed = |recall: f32| (1.0 - recall).max(1e-4).ln();
    let part = (missed(low.recall) - missed(target)) / (missed(low.recall) - missed(high.recall));
    low.share + part.clamp(0.0, 1.0) * (high.share - low.share)
}

/// The share for a recall that no point reaches: what is missed falls on by the power of the share with which it fell
/// between the last two points, and no faster than the share grows. All lists where there are no two.
fn share_beyond(curve: &[CurvePoint], target: f32) -> f32 {
    let [.., low, high] = curve else {
        return 1.0;
    };
    let missed = |recall: f32| (1.0 - recall).max(1e-4).ln();
    let power = (high.share / low.share).ln() / (missed(low.recall) - missed(high.recall));
    let farther = (power.max(1.0) * (missed(high.recall) - missed(target))).exp();
    (high.share * farther).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_asks_for_more_lists_the_higher_the_recall() {
        let mut calibration = Calibration::new(100);
        for query in 0..200 {
            let places: Vec<usize> = (0..10).map(|n| (n * n * (query % 7 + 1)) / 10).collect();
            calibration.add(&places);
        }
        let curve = calibration.curve(ERRORS_OF_BUILD);
        assert!(curve.len() > 5 && curve.len() <= MOST_CURVE_POINTS);
        let probes = |target| probes_for(&curve, 100, target, 10);
        assert!(probes(0.5) < probes(0.8) && probes(0.8) < probes(0.95));
        assert!(probes(0.95) <= probes(0.99) && probes(0.99) <= 100);
        assert!(probes_for(&curve, 100, 0.8, 1000) > probes(0.8));
    }

    #[test]
    fn where_recall_is_not_reached_all_lists_are_searched() {
        let mut calibration = Calibration::new(10);
        calibration.add(&[0, 0, 9, 9]);
        assert_eq!(
            probes_for(&calibration.curve(ERRORS_OF_BUILD), 10, 0.9999, 10),
            10
        );
    }

    #[test]
    fn beyond_the_curve_more_lists_are_searched_the_higher_the_recall() {
        // half as many missed takes twice the lists
        let curve: Vec<CurvePoint> = (0..4)
            .map(|n| CurvePoint {
                share: 0.01 * (1 << n) as f32,
                recall: 1.0 - 0.08 / (1 << n) as f32,
            })
            .collect();
        let probes = |target| probes_for(&curve, 10_000, target, RANK);
        assert!((800..=802).contains(&probes(0.99)));
        assert!((1590..=1610).contains(&probes(0.995)));
        assert!((7900..=8100).contains(&probes(0.999)));
        assert_eq!(probes(0.9999), 10_000);
    }

    #[test]
    fn one_list_is_searched() {
        assert_eq!(probes_for(&[], 1, 0.95, 10), 1);
    }
}
