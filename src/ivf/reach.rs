//! How many lists a search reads that counts only rows which pass a filter.
//!
//! The calibration curve says how many lists hold the nearest rows of all. Those that pass are farther down
//! the ranks, and may be anywhere: spread evenly, near the query, or all in lists far from it. So lists are
//! read in steps. As long as there are too few rows, a step is as long as the share of rows that passed says
//! it takes. Then the curve is asked for the rank that the last of them has among all rows, and the search
//! goes on until it has left the list behind that gave it the last of its rows by half the way again.

/// How much farther than the last list that mattered a search looks.
const MARGIN: f64 = 1.5;
/// How many times the lists read a step may lead to.
const LONGEST_STEP: f64 = 4.0;

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
}

impl Met {
    /// How many lists are to be read next in all; `None` where the search has gone far enough. `probes_for`
    /// is how many lists hold the rows of a rank.
    pub fn next(&self, most: usize, probes_for: impl Fn(usize) -> usize) -> Option<usize> {
        let margin = |lists: usize| (lists as f64 * MARGIN).ceil() as usize;
        let aim = if self.passed >= self.wanted {
            let rank = self.wanted as f64 / self.share.clamp(1e-9, 1.0);
            probes_for(rank as usize).max(margin(self.last))
        } else if let Some(within) = self.within {
            // rows that are left pass or not; lists that are left are too far
            probes_for(self.wanted).max(margin(within))
        } else {
            let missing = self.wanted as f64 / (self.passed as f64).max(0.5);
            let step = missing.clamp(MARGIN, LONGEST_STEP);
            (self.lists as f64 * step).ceil() as usize
        };
        let aim = aim.min(most);
        (aim > self.lists).then_some(aim)
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
        };
        assert_eq!(met.next(1000, |_| 20), None);
        let farther = Met {
            within: Some(18),
            ..met
        };
        assert_eq!(farther.next(1000, |_| 20), Some(27));
    }
}
