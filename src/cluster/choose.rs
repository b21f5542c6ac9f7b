//! The nearest of many distances, and of these the two lists of a row.

use super::Rows;
use super::flat::least_of;
use super::lists::{Near, Pair};
use crate::distance::lanes::{Isa, for_every_isa};

/// How much SOAR minds that a row's residual to its second list is parallel to that to its first: the
/// paper's lambda.
const LAMBDA: f32 = 2.0;

/// Finds the nearest of many lists.
#[derive(Default)]
pub(super) struct Chooser {
    least: Vec<f32>,
    pub(super) nearest: Vec<Near>,
}

impl Chooser {
    /// Leaves the `count` nearest, nearest first, by their place among the distances.
    pub(super) fn gather(&mut self, isa: Isa, distances: &[f32], count: usize) {
        leasts(isa, distances, &mut self.least);
        // so many of the groups' least are no farther: at least as many distances are
        let bound = match self.least.len() > count {
            true => {
                *self
                    .least
                    .select_nth_unstable_by(count - 1, f32::total_cmp)
                    .1
            }
            false => f32::MAX,
        };
        self.nearest.clear();
        below(isa, distances, bound, &mut self.nearest);
        let order =
            |a: &Near, b: &Near| a.distance.total_cmp(&b.distance).then(a.list.cmp(&b.list));
        if self.nearest.len() > count {
            self.nearest.select_nth_unstable_by(count, order);
            self.nearest.truncate(count);
        }
        self.nearest.sort_unstable_by(order);
    }
}

/// Two of the nearest lists of a row with that square, whose distances are less than it.
pub(super) fn two(centroids: &Rows, square: f32, nearest: &[Near]) -> Pair {
    let Some(&first) = nearest.first() else {
        // nothing can be said of the distances; any list will do
        return Pair::default();
    };
    let product_with = |near: Near| (centroids.squares[near.list as usize] - near.distance) / 2.0;
    let residual = square + first.distance;
    let mut best = (f32::INFINITY, first.list);
    for &near in &nearest[1..] {
        let (one, other) = (first.list as usize, near.list as usize);
        let between = centroids.product(one, centroids, other);
        let along = square - product_with(first) - product_with(near) + between;
        let penalty = match residual > 0.0 {
            true => LAMBDA * along * along / residual,
            false => 0.0,
        };
        let loss = square + near.distance + penalty;
        if loss < best.0 || best.1 == first.list {
            best = (loss, near.list);
        }
    }
    Pair {
        first: first.list,
        second: best.1,
    }
}

for_every_isa! {
    fn leasts(isa: Isa, distances: &[f32], out: &mut Vec<f32>) {
        let _ = isa;
        out.clear();
        out.extend(distances.as_chunks::<16>().0.iter().map(|group| least_of(group)));
    }
}

for_every_isa! {
    fn below(isa: Isa, distances: &[f32], bound: f32, out: &mut Vec<Near>) {
        let _ = isa;
        for (group, distances) in distances.as_chunks::<16>().0.iter().enumerate() {
            let mut any = false;
            for &distance in distances {
                any |= distance <= bound;
            }
            if any {
                for (lane, &distance) in distances.iter().enumerate() {
                    if distance <= bound {
                        out.push(Near { list: (16 * group + lane) as u32, distance });
                    }
                }
            }
        }
    }
}
