//! The nearest of many distances.

use super::flat::least_of;
use super::lists::Near;
use crate::distance::lanes::{Isa, for_every_isa};

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
