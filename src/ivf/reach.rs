//! How many lists a search reads that counts only rows which pass a filter, and when one that counts all
//! goes on.
//!
//! The calibration curve says how many lists hold the nearest rows of all, for queries like the table's rows.
//! Those that pass are farther down the ranks, and may be anywhere: spread evenly, near the query, or all in
//! lists far from it. So lists are read in steps. As long as there are too few rows, a step is as long as the
//! share of rows that passed says it takes. Then three have to agree that it is enough: the curve, asked for
//! the rank that the last of them has among all rows; the last list that mattered, which is to be left behind
//! by half the way again; and the lists not read, which by their centroids' distances and how far rows were
//! from such, hold hardly any nearer row, or would if the lists read last had held what that says of them. Where all rows count, the curve is asked first, and the others
//! only where the nearest rows are not where it says.

use super::calibrate::RANK;
use crate::chance::below;

/// How much farther than the last list that mattered a search looks.
const MARGIN: f64 = 1.5;
/// How many times the lists read a step may lead to.
const LONGEST_STEP: f64 = 4.0;
/// Rows from which one may tell how far rows are from their lists' centroids.
const LEAST_MEASURED: f64 = 30.0;

/// What a search has met so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Met {
    /// lists read
    pub lists: usize,
    /// rows that passed, of those wanted
    pub passed: usize,
    /// rows wanted
    pub wanted: usize,
    /// share of the rows that pass
    pub share: f64,
    /// lists read up to the one that the last of the nearest rows came from
    pub last: usize,
    /// lists read up to the last one with a row within the radius that was asked for; `None` where none
    /// was
    pub within: Option<usize>,
    /// lists to be read by what is known of the others
    pub likely: usize,
}

impl Met {
    /// How many lists are to be read next in all; `None` where the search has gone far enough. `probes_for`
    /// is how many lists hold the rows of a rank.
    pub fn next(&self, most: usize, probes_for: impl Fn(usize) -> usize) -> Option<usize> {
        let margin = |lists: usize| (lists as f64 * MARGIN).ceil() as usize;
        // what rows that come will say of the others is not known yet
        let likely = self.likely.min(margin(self.lists));
        let aim = if self.passed >= self.wanted {
            let rank = self.wanted as f64 / self.share.clamp(1e-9, 1.0);
            probes_for(rank as usize).max(margin(self.last)).max(likely)
        } else if let Some(within) = self.within {
            // rows that are left pass or not; lists that are left are too far
            probes_for(self.wanted).max(margin(within)).max(likely)
        } else {
            let missing = self.wanted as f64 / (self.passed as f64).max(0.5);
            let step = missing.clamp(MARGIN, LONGEST_STEP);
            (self.lists as f64 * step).ceil() as usize
        };
        let aim = aim.min(most);
        (aim > self.lists).then_some(aim)
    }
}

/// Lists from which on the places of rows in them tell something.
pub const FEWEST_TOLD_BY_PLACES: usize = 3;

/// What the places of the nearest rows say of a search in which all rows count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// hardly one of them is in the last lists read
    Near,
    /// others may be in the lists beyond
    Wide,
    /// they are as likely to be in any list: a query unlike the table's rows
    Anywhere,
}

impl Spread {
    /// `places` says for each of the nearest how many lists were read before its own; `rank` rows are wanted.
    pub fn of(places: impl Iterator<Item = usize>, lists: usize, rank: usize) -> Spread {
        // Of a search that the curve fits, few of the nearest rows are in the last third. Of one that goes
        // for rows unlike the table's it may be a third of them. For more rows than the curve was measured
        // with it is a guess.
        let most_late = match rank <= RANK {
            true => 0.2,
            false => 0.1,
        };
        let late = (lists as f64 / MARGIN) as usize;
        let (mut all, mut in_last) = (0usize, 0usize);
        for place in places {
            all += 1;
            in_last += (place >= late) as usize;
        }
        match in_last {
            _ if lists < FEWEST_TOLD_BY_PLACES => Spread::Near,
            0 | 1 => Spread::Near,
            _ if 3 * in_last >= all => Spread::Anywhere,
            _ if in_last as f64 > most_late * all as f64 => Spread::Wide,
            _ => Spread::Near,
        }
    }
}

/// How many times as many rows there are as was foretold, by the lists read last: as many as were found there
/// against as many as there should have been. Three of each are added, for chance may have it otherwise: where none
/// is found, up to three may be expected (the rule of three). At most one, for what rows that come late say is said
/// by their lists.
pub fn borne_out(found: usize, foretold: f64) -> f64 {
    ((found as f64 + 3.0) / (foretold + 3.0)).min(1.0)
}

/// How many lists a step that goes on leads to.
pub fn step_from(lists: usize) -> usize {
    (lists as f64 * MARGIN).ceil() as usize
}

/// How much farther than their lists' centroids rows are, of some. Distances may be estimates: how far they are
/// spread is then the spread of the rows and the errors of the estimates together, and the errors are to be left
/// out of it. Otherwise rough codes make any list seem to hold a row nearer than the nearest.
///
/// Lists may be as different as a knot of near copies and all that is left between such, so what is expected of one
/// that was not read is not the average of the others: it is like any of them, a mixture of normal distributions.
#[derive(Debug, Clone, Default)]
pub struct Offsets {
    all: Moments,
    /// of each list with rows, in the order of reading
    lists: Vec<Moments>,
    /// see [`Offsets::settle`]
    kinds: Vec<Kind>,
}

/// Sums over rows.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    /// distance of the list's centroid
    centre: f32,
    /// rows, the same where what was met long ago counts less
    rows: f64,
    count: f64,
    sum: f64,
    squares: f64,
    /// of the estimates
    squared_errors: f64,
}

/// Lists whose rows are about as far from their centroids as each other's.
#[derive(Debug, Clone, Copy)]
struct Kind {
    /// part of all rows that is theirs
    part: f64,
    mean: f64,
    deviation: f64,
}

impl Kind {
    /// Part of the rows of a list that is nearer than `bound`.
    fn nearer(&self, centre: f32, bound: f32) -> f64 {
        below((bound as f64 - centre as f64 - self.mean) / self.deviation)
    }
}

/// Part of the variance of estimates that is the rows' own, at least.
const LEAST_OWN: f64 = 0.05;
/// Kinds of lists that are told apart.
const KINDS: usize = 6;

impl Moments {
    fn add(&mut self, other: &Moments) {
        self.rows += other.rows;
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
        self.squared_errors += other.squared_errors;
    }

    /// As many rows that are like `all`, but for a part of the way to what these are.
    fn between(&self, all: &Moments, part: f64) -> Moments {
        let way = |of: fn(&Moments) -> f64| {
            let usual = of(all) / all.count * self.count;
            usual + part * (of(self) - usual)
        };
        Moments {
            sum: way(|rows| rows.sum),
            squares: way(|rows| rows.squares),
            squared_errors: way(|rows| rows.squared_errors),
            ..*self
        }
    }

    fn times(&mut self, part: f64) {
        self.count *= part;
        self.sum *= part;
        self.squares *= part;
        self.squared_errors *= part;
    }

    fn mean(&self) -> f64 {
        self.sum / self.count
    }

    fn mean_square(&self) -> f64 {
        self.squares / self.count
    }

    fn variance(&self) -> f64 {
        (self.squares / self.count - self.mean() * self.mean()).max(f64::MIN_POSITIVE)
    }

    /// Part of the variance that is the rows' own.
    fn own(&self) -> f64 {
        (1.0 - self.squared_errors / self.count / self.variance()).clamp(LEAST_OWN, 1.0)
    }

    /// What they are like, of so many rows in all.
    fn kind(&self, of: f64) -> Kind {
        Kind {
            part: self.count / of,
            mean: self.mean(),
            deviation: (self.own() * self.variance()).sqrt(),
        }
    }
}

impl Offsets {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.all = Moments::default();
        self.lists.clear();
        self.kinds.clear();
    }

    /// Makes what was met so far count less than what comes.
    pub fn fade(&mut self) {
        if self.all.count >= 2.0 * LEAST_MEASURED {
            let part = LEAST_MEASURED / self.all.count;
            self.all.times(part);
            for list in &mut self.lists {
                list.times(part);
            }
        }
    }

    /// Adds rows of a list whose centroid is at this distance, and of their estimates the sum of the squared
    /// standard errors; 0 of distances that are exact.
    #[inline]
    pub fn add(&mut self, centre: f32, distances: &[f32], squared_errors: f32) {
        if distances.is_empty() {
            return;
        }
        let (mut sum, mut squares) = (0f32, 0f32);
        for &distance in distances {
            let offset = distance - centre;
            sum += offset;
            squares += offset * offset;
        }
        let rows = Moments {
            centre,
            rows: distances.len() as f64,
            count: distances.len() as f64,
            sum: sum as f64,
            squares: squares as f64,
            squared_errors: squared_errors as f64,
        };
        self.all.add(&rows);
        match self.lists.last_mut() {
            Some(last) if last.centre.to_bits() == centre.to_bits() => last.add(&rows),
            _ => self.lists.push(rows),
        }
    }

    /// Puts lists together whose rows are about as far from their centroids as each other's. To be called before
    /// what was added is asked for.
    pub fn settle(&mut self) {
        self.kinds.clear();
        let mut kinds: Vec<Moments> = Vec::new();
        let mut lists: Vec<&Moments> = self.lists.iter().collect();
        // inner products are as often above the centroid's as below
        lists.sort_unstable_by(|a, b| a.mean_square().total_cmp(&b.mean_square()));
        let mut before = 0.0;
        for list in lists {
            let kind = (before / self.all.count * KINDS as f64) as usize;
            before += list.count;
            if kinds.len() <= kind {
                kinds.resize(kind + 1, Moments::default());
            }
            kinds[kind].add(list);
        }
        kinds.retain(|kind| kind.count > 0.0);
        let part = self.told_apart();
        let kinds = kinds.iter().map(|kind| kind.between(&self.all, part));
        self.kinds
            .extend(kinds.map(|kind| kind.kind(self.all.count)));
    }

    /// How much of what lists differ by is their own, and not that few rows of each were met: what their mean squares
    /// vary beyond what those of as many rows of the same lists do (empirical Bayes, Efron and Morris, 1973).
    fn told_apart(&self) -> f64 {
        let (mean, variance) = (self.all.mean(), self.all.variance());
        let of_squares = 2.0 * variance * variance + 4.0 * mean * mean * variance;
        let (mut between, mut by_chance) = (0.0, 0.0);
        for list in &self.lists {
            let off = list.mean_square() - self.all.mean_square();
            between += list.count * off * off;
            by_chance += list.count * of_squares / list.rows;
        }
        match between > by_chance {
            true => 1.0 - by_chance / between,
            false => 0.0,
        }
    }

    /// What to expect of the distance of a row, by its estimate: nearer to what rows of its list are like, the
    /// rougher the estimate is.
    pub fn expected(&self, centre: f32, estimate: f32) -> f32 {
        if self.all.count < LEAST_MEASURED {
            return estimate;
        }
        let usual = centre as f64 + self.all.mean();
        (usual + self.all.own() * (estimate as f64 - usual)) as f32
    }

    /// How many rows nearer than `bound` some lists hold, as far as one can tell; lists as
    /// [`likely`](Self::likely) has them. `None` where too few rows were met to tell.
    pub fn foretold(&self, lists: impl Iterator<Item = (f32, f64)>, bound: f32) -> Option<f64> {
        if self.all.count < LEAST_MEASURED {
            return None;
        }
        let nearer = lists.map(|(centre, rows)| rows * self.nearer(centre, bound));
        Some(nearer.sum())
    }

    /// Part of a list's rows that is nearer than `bound`.
    fn nearer(&self, centre: f32, bound: f32) -> f64 {
        let kinds = self.kinds.iter();
        kinds
            .map(|kind| kind.part * kind.nearer(centre, bound))
            .sum()
    }

    /// How many of some lists to read, nearest first: so many that the others hold no more than `tolerated`
    /// rows nearer than `bound`, as far as one can tell. A list has a centroid's distance and a number of
    /// rows, of which a share passes. `None` where too few rows were met to tell.
    pub fn likely(
        &self,
        lists: impl DoubleEndedIterator<Item = (f32, f64)> + ExactSizeIterator,
        bound: f32,
        tolerated: f64,
    ) -> Option<usize> {
        if self.all.count < LEAST_MEASURED {
            return None;
        }
        let mut left = lists.len();
        let mut missed = 0.0;
        for (centre, rows) in lists.rev() {
            missed += rows * self.nearer(centre, bound);
            if missed > tolerated {
                break;
            }
            left -= 1;
        }
        Some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists read of 1,000, where a list has as many rows that pass as `passing` says, 10 are wanted,
    /// and the nearest come first.
    fn reach(passing: impl Fn(usize) -> usize) -> (usize, usize) {
        let probes_for = |rank: usize| (20.0 * (rank as f64 / 10.0).powf(0.2)) as usize;
        let mut met = Met {
            lists: 0,
            passed: 0,
            wanted: 10,
            share: 0.0,
            last: 0,
            within: None,
            likely: 0,
        };
        let (mut next, mut steps) = (20, 0);
        loop {
            for list in met.lists..next {
                if met.passed < met.wanted && passing(list) > 0 {
                    met.last = list + 1;
                }
                met.passed += passing(list);
            }
            met.lists = next;
            met.share = met.passed as f64 / (100.0 * next as f64);
            steps += 1;
            match met.next(1000, probes_for) {
                Some(lists) => next = lists,
                None => return (next, steps),
            }
        }
    }

    #[test]
    fn the_fewer_rows_pass_the_more_lists_are_read() {
        let every = |n: usize| reach(move |list| (list % n == 0) as usize);
        let (all, _) = reach(|_| 100);
        let (some, few, hardly_any) = (every(1), every(10), every(100));
        assert!(all <= 25, "{all}");
        assert!(some.0 > all && few.0 > some.0 && hardly_any.0 > few.0);
        assert!(
            few.0 < 400 && hardly_any.0 == 1000,
            "{few:?} {hardly_any:?}"
        );
        assert!(few.1 <= 6 && hardly_any.1 <= 6, "few steps");
    }

    #[test]
    fn rows_far_away_are_found_and_left_behind() {
        let (lists, _) = reach(|list| if list >= 300 { 50 } else { 0 });
        assert!((450..700).contains(&lists), "{lists}");
    }

    #[test]
    fn where_nothing_passes_all_lists_are_read_once() {
        let (lists, steps) = reach(|_| 0);
        assert!(lists == 1000 && steps < 6, "{lists} {steps}");
    }

    #[test]
    fn a_radius_ends_the_search_though_rows_are_missing() {
        let met = Met {
            lists: 20,
            passed: 3,
            wanted: 10,
            share: 0.01,
            last: 4,
            within: Some(6),
            likely: 0,
        };
        assert_eq!(met.next(1000, |_| 20), None);
        let farther = Met {
            within: Some(18),
            ..met
        };
        assert_eq!(farther.next(1000, |_| 20), Some(27));
    }

    #[test]
    fn nearest_rows_in_the_last_lists_take_a_search_on() {
        let of_rank = |rank, places: &[usize]| Spread::of(places.iter().copied(), 30, rank);
        let some_late = [0, 0, 1, 2, 2, 3, 3, 4, 5, 5, 7, 22, 29];
        assert_eq!(of_rank(10, &some_late), Spread::Near);
        assert_eq!(of_rank(13, &some_late), Spread::Wide);
        let spread = |places: &[usize]| of_rank(10, places);
        assert_eq!(spread(&[0, 0, 1, 2, 2, 3, 5, 9]), Spread::Near);
        assert_eq!(spread(&[0, 0, 1, 2, 2, 3, 5, 29]), Spread::Near);
        assert_eq!(spread(&[0, 0, 1, 2, 2, 3, 20, 29]), Spread::Wide);
        assert_eq!(spread(&[0, 4, 9, 14, 20, 24, 29]), Spread::Anywhere);
        assert_eq!(step_from(30), 45);
    }

    #[test]
    fn lists_that_hold_nearer_rows_are_told_by_their_centroids() {
        assert!((below(-1.0) - 0.158_655).abs() < 1e-5 && (below(2.0) - 0.977_250).abs() < 1e-5);
        let mut rng = fastrand::Rng::with_seed(1);
        let mut offsets = Offsets::default();
        assert_eq!(offsets.likely([(0.0, 1.0)].into_iter(), 1.0, 0.1), None);
        // sums of twelve uniform numbers: mean 10, deviation 1
        let of_row = |rng: &mut fastrand::Rng| 4.0 + (0..12).map(|_| rng.f32()).sum::<f32>();
        for centre in 0..10 {
            let centre = centre as f32 / 10.0;
            let rows: Vec<f32> = (0..100).map(|_| centre + of_row(&mut rng)).collect();
            offsets.add(centre, &rows, 0.0);
        }
        offsets.settle();
        let lists: Vec<(f32, f64)> = (10..100).map(|n| (n as f32 / 10.0, 100.0)).collect();
        // nearer than 9 of 100 rows: of a centroid at 1 two in a hundred, at 2 one in a thousand
        let likely = |bound| offsets.likely(lists.iter().copied(), bound, 0.25);
        let (near, far) = (likely(9.0).unwrap(), likely(12.0).unwrap());
        assert!((8..16).contains(&near), "{near}");
        assert!((38..46).contains(&far), "{far}");
        assert_eq!(likely(0.0), Some(0));
    }

    #[test]
    fn what_was_foretold_of_lists_counts_as_far_as_it_was_found() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut of_row = || (0..12).map(|_| rng.f32()).sum::<f32>();
        let mut offsets = Offsets::default();
        assert_eq!(offsets.foretold([(0.0, 1.0)].into_iter(), 1.0), None);
        let mut found = 0;
        for _ in 0..50 {
            let rows: Vec<f32> = (0..100).map(|_| of_row()).collect();
            offsets.add(0.0, &rows, 0.0);
            found += rows.iter().filter(|&&row| row < 4.5).count();
        }
        offsets.settle();
        let foretold = offsets.foretold((0..50).map(|_| (0.0, 100.0)), 4.5);
        let foretold = foretold.unwrap();
        assert!(
            (found as f64 / foretold - 1.0).abs() < 0.2,
            "{found} {foretold}"
        );
        assert!(borne_out(found, foretold) > 0.8);
        assert_eq!(borne_out(0, 9.0), 0.25);
        assert_eq!(borne_out(0, 0.0), 1.0);
        assert_eq!(borne_out(20, 3.0), 1.0, "never more than foretold");
    }

    #[test]
    fn errors_of_estimates_are_no_reason_to_read_more_lists() {
        let mut rng = fastrand::Rng::with_seed(2);
        let mut normal = || (0..12).map(|_| rng.f32()).sum::<f32>() - 6.0;
        let (mut exact, mut rough) = (Offsets::default(), Offsets::default());
        for _ in 0..20 {
            let rows: Vec<f32> = (0..100).map(|_| 10.0 + normal()).collect();
            let estimates: Vec<f32> = rows.iter().map(|row| row + 2.0 * normal()).collect();
            exact.add(0.0, &rows, 0.0);
            rough.add(0.0, &estimates, 4.0 * 100.0);
        }
        exact.settle();
        rough.settle();
        let lists: Vec<(f32, f64)> = (0..100).map(|n| (n as f32 / 10.0, 100.0)).collect();
        let likely = |offsets: &Offsets| offsets.likely(lists.iter().copied(), 9.0, 0.25).unwrap();
        let (by_rows, by_estimates) = (likely(&exact), likely(&rough));
        assert!(
            by_rows.abs_diff(by_estimates) <= 4,
            "{by_rows} {by_estimates}"
        );
        assert_eq!(exact.expected(1.0, 9.0), 9.0);
        let expected = rough.expected(0.0, 5.0);
        assert!(
            (8.5..9.5).contains(&expected),
            "a fifth of the way: {expected}"
        );
    }
}
