//! Which lists are nearest to a query, without the distances of all.
//!
//! A directory in memory has a byte for each dimension of each centroid: half a megabyte for 1,366 lists of 384
//! dimensions, read for each search, of which most are far. So it has codes of one bit a dimension beside them, in groups
//! ([`fast_scan`](crate::quantize::fast_scan)). They give lower bounds of all, and the bytes are read only where these leave a chance.

use super::order::Ranked;
use crate::quantize::fast_scan::{GROUP, group};
use crate::quantize::{CentreRef, Quantizer, Query};

/// Dimensions from which on codes of one bit tell enough.
const FEWEST_DIMS: usize = 128;
/// Lists from which on it is worth to look at them twice.
const FEWEST_LISTS: usize = 256;
/// One in so many lists, and no more, is told from the others by lower bounds.
const FEW: usize = 8;
/// Standard deviations that lower bounds allow for: of a list that is left out wrongly, hardly any row would have been
/// among the nearest, and what is measured of a search at a build has left it out as well.
const DEVIATIONS: f32 = 2.0;

/// Codes of one bit a dimension of all centroids.
#[derive(Debug, Default)]
pub struct Rough {
    codes: Vec<u8>,
    adds: Vec<f32>,
    scales: Vec<f32>,
    /// standard deviations of estimates where the query has length 1
    errors: Vec<f32>,
}

impl Rough {
    /// The codes of centroids of so many dimensions, where they are worth having.
    pub fn of<'a>(
        dims: usize,
        centres: impl ExactSizeIterator<Item = CentreRef<'a>>,
    ) -> Option<Rough> {
        let lists = centres.len();
        if dims < FEWEST_DIMS || lists < FEWEST_LISTS {
            return None;
        }
        let len = Quantizer::Rabitq1.code_len(dims);
        let mut rough = Rough {
            codes: vec![0; lists * len],
            ..Rough::default()
        };
        for (centre, code) in centres.zip(rough.codes.chunks_exact_mut(len)) {
            let factors = centre.signs(code);
            rough.adds.push(factors.add);
            rough.scales.push(factors.scale);
            rough.errors.push(factors.error);
        }
        let groups = rough.codes.chunks_exact_mut(GROUP * len);
        groups.for_each(group);
        Some(rough)
    }

    /// Bytes.
    pub fn memory(&self) -> usize {
        self.codes.len() + 12 * self.adds.len()
    }

    /// Lower bounds of the distances of all lists, in the order of the centroids.
    pub fn lower_bounds(&self, query: &Query, bounds: &mut Vec<f32>) {
        bounds.clear();
        bounds.resize(self.adds.len(), 0.0);
        let (adds, scales) = (&self.adds, &self.scales);
        query.estimate_grouped(&self.codes, adds, scales, bounds);
        let deviation = DEVIATIONS * query.norm();
        for (bound, error) in bounds.iter_mut().zip(&self.errors) {
            *bound -= deviation * error;
        }
    }
}

/// Whether so many of the lists are few enough for lower bounds to tell them from the others.
pub fn are_few(wanted: usize, lists: usize) -> bool {
    wanted <= lists / FEW
}

/// Puts those of the nearest `wanted` lists first, in their order, of lists that are ranked by lower bounds or distances.
/// `measure` has the distance of one; those that it was asked for have that as their rank.
pub fn nearest_first(order: &mut [Ranked], wanted: usize, mut measure: impl FnMut(usize) -> f32) {
    let mut measure_all = |some: &mut [Ranked]| {
        let measured = some.iter_mut().map(|ranked| {
            let list = ranked.number();
            *ranked = Ranked::of(measure(list), list as u32);
            *ranked
        });
        measured.max()
    };
    let wanted = wanted.min(order.len());
    if wanted == 0 {
        return;
    }
    if wanted < order.len() {
        order.select_nth_unstable(wanted - 1);
    }
    let (first, others) = order.split_at_mut(wanted);
    let farthest = measure_all(first);
    // those that may be nearer than one of them
    let mut near = 0;
    for n in 0..others.len() {
        if Some(others[n]) < farthest {
            others.swap(near, n);
            near += 1;
        }
    }
    measure_all(&mut others[..near]);
    let order = &mut order[..wanted + near];
    if near > 0 {
        order.select_nth_unstable(wanted - 1);
    }
    order[..wanted].sort_unstable();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::Metric;
    use crate::quantize::{Centre, Codec, Rotated};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_nearest_come_first_whatever_bounds_say_below_distances(
            lists in prop::collection::vec((-5f32..100.0, 0f32..20.0), 1..300),
            steps in prop::collection::vec(1usize..60, 1..4),
        ) {
            let ranked = lists.iter().zip(0..).map(|(&(distance, slack), n)| Ranked::of(distance - slack, n));
            let mut order: Vec<Ranked> = ranked.collect();
            let exact = lists.iter().zip(0..).map(|(&(distance, _), n)| Ranked::of(distance, n));
            let mut expected: Vec<Ranked> = exact.collect();
            expected.sort_unstable();
            let mut sorted = 0;
            for more in steps {
                let more = more.min(lists.len() - sorted);
                nearest_first(&mut order[sorted..], more, |list| lists[list].0);
                sorted += more;
                prop_assert_eq!(&order[..sorted], &expected[..sorted]);
            }
        }
    }

    /// Of 600 centroids and 40 queries in 192 dimensions, how many of each query's 30 nearest lists come first, and
    /// how many of the 600 are measured.
    #[test]
    fn lower_bounds_leave_out_hardly_a_list() {
        let (dims, lists, wanted) = (192, 600, 30);
        let mut random = fastrand::Rng::with_seed(11);
        // a few strong directions, as embeddings have
        let mut point = || -> Vec<f32> {
            let axes = (0..dims).map(|n| 1.0 / (1.0 + n as f32 / 12.0));
            axes.map(|size| size * (random.f32() + random.f32() - 1.0))
                .collect()
        };
        for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
            let codec = Codec::new(metric, dims, 7, &vec![0.01; dims], 3.0);
            let mut rotated = Rotated::default();
            let centres: Vec<(Centre, Vec<i8>)> = (0..lists)
                .map(|_| {
                    codec.rotate(&point(), &mut rotated);
                    let mut code = vec![0; dims];
                    (codec.centre(&rotated, &mut code), code)
                })
                .collect();
            let of = |n: usize| CentreRef {
                factors: centres[n].0,
                code: &centres[n].1,
            };
            let rough = Rough::of(dims, (0..lists).map(of)).unwrap();
            let (mut found, mut measured) = (0, 0);
            for _ in 0..40 {
                let query = codec.query(&point());
                let distance = |list: usize| query.base(of(list)).distance;
                let mut bounds = Vec::new();
                rough.lower_bounds(&query, &mut bounds);
                let ranked = bounds
                    .iter()
                    .zip(0..)
                    .map(|(&bound, n)| Ranked::of(bound, n));
                let mut order: Vec<Ranked> = ranked.collect();
                nearest_first(&mut order, wanted, |list| {
                    measured += 1;
                    distance(list)
                });
                let mut expected: Vec<Ranked> = (0..lists)
                    .map(|n| Ranked::of(distance(n), n as u32))
                    .collect();
                expected.sort_unstable();
                found += expected[..wanted]
                    .iter()
                    .filter(|list| order[..wanted].contains(list))
                    .count();
            }
            assert!(found >= 40 * wanted * 99 / 100, "{metric:?}: {found}");
            assert!(measured <= 40 * lists / 2, "{metric:?}: {measured}");
        }
    }
}
