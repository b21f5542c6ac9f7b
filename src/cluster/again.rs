//! Which lists rows belong to after centroids moved a little.

use super::Rows;
use super::choose::Chooser;
use super::crew::{Crew, Tasks};
use super::flat::Flat;
use super::lists::{Lists, Near};
use super::tile::WIDTH;
use super::train::Members;
use std::sync::atomic::AtomicBool;

/// Lists that a row is compared with: those nearest to the one that it was in. A panel of products is as wide.
const AROUND: usize = WIDTH;

/// So many times as many lists there are at least for it to be worth it.
const WORTH: usize = 4;

/// Lists whose rows are one task.
const TASK: usize = 16;

impl Lists<'_> {
    /// Whether [`Lists::nearest_again`] takes less time than [`Lists::nearest`].
    pub(super) fn are_many(&self) -> bool {
        self.flat().is_some() && self.centroids.len() >= WORTH * AROUND
    }

    /// What [`Lists::nearest`] has for rows that were nearest to these lists before centroids moved; but a row is only
    /// compared with the lists around the one that it was in, so one in some hundreds gets another than the nearest.
    pub(super) fn nearest_again(
        &self,
        rows: &Rows,
        before: &[Near],
        crew: &mut dyn Crew,
    ) -> Vec<Near> {
        let flat = self.flat().expect("lists that are all looked at");
        let members = Members::of(before, self.centroids.len());
        // in the order of lists, so that each task has a part of them
        let mut found = vec![Near::FAR; rows.len()];
        let mut parts = Vec::new();
        let mut rest = &mut found[..];
        for first in (0..self.centroids.len()).step_by(TASK) {
            let lists = first..(first + TASK).min(self.centroids.len());
            let count = lists.clone().map(|list| members.of_list(list).len()).sum();
            let (part, others) = rest.split_at_mut(count);
            parts.push((lists, part));
            rest = others;
        }
        let tasks = Tasks::new(parts);
        crew.run(&|stop: &AtomicBool| {
            let width = flat.whole();
            let mut chooser = Chooser::default();
            let mut distances = vec![0.0; TASK * width];
            while let Some((lists, part)) = tasks.next(stop) {
                let numbers: Vec<u32> = lists.clone().map(|list| list as u32).collect();
                let of_list = |at: usize| at * width..(at + 1) * width;
                flat.distances(self.centroids, &numbers, of_list, &mut distances);
                let mut rest = part;
                for (list, distances) in lists.zip(distances.chunks_exact(width)) {
                    let numbers = members.of_list(list);
                    let (part, others) = rest.split_at_mut(numbers.len());
                    rest = others;
                    if numbers.is_empty() {
                        continue;
                    }
                    chooser.gather(self.isa, distances, AROUND);
                    let around = chooser.nearest.iter().map(|near| near.list);
                    let mut around: Vec<u32> = around.collect();
                    // of equally near ones the first
                    around.sort_unstable();
                    Flat::of(self.isa, &self.centroids.some(&around))
                        .improve(rows, numbers, 0, part);
                    for (near, &row) in part.iter_mut().zip(numbers) {
                        near.list = around[near.list as usize];
                        near.distance = (near.distance + rows.squares[row as usize]).max(0.0);
                    }
                }
            }
        });
        let mut nearest = vec![Near::FAR; rows.len()];
        for (near, &row) in found.into_iter().zip(members.all()) {
            nearest[row as usize] = near;
        }
        nearest
    }
}
