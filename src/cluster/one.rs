//! One row and all centroids: what a single insert asks for, without the blocks that many rows share.

use super::Rows;
use super::choose::{Chooser, two};
use super::lists::{CANDIDATES, Near, Pair};
use crate::distance::lanes::Isa;
use std::cell::RefCell;

/// A row's nearest centroid; of equally near ones, the first.
pub fn nearest_to(centroids: &Rows, rows: &Rows, row: usize) -> Near {
    let mut nearest = Near::FAR;
    ROOM.with_borrow_mut(|room| {
        room.measure(centroids, rows, row);
        for (list, &distance) in (0..).zip(&room.distances) {
            if distance < nearest.distance {
                nearest = Near { list, distance };
            }
        }
    });
    nearest.distance = (nearest.distance + rows.squares[row]).max(0.0);
    nearest
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
}

#[derive(Default)]
struct Room {
    products: Vec<i32>,
    distances: Vec<f32>,
    chooser: Chooser,
}

impl Room {
    /// Squared distances to all centroids, less the row's own square.
    fn measure(&mut self, centroids: &Rows, rows: &Rows, row: usize) {
        rows.products(row, centroids, &mut self.products);
        let twice_scale = 2.0 * rows.scales[row];
        let terms = centroids.squares.iter().zip(&centroids.scales);
        let distance = |((square, scale), &product): ((&f32, &f32), &i32)| {
            square - twice_scale * scale * product as f32
        };
        self.distances.clear();
        self.distances
            .extend(terms.zip(&self.products).map(distance));
    }
}

/// The two lists of a row, as [`Lists::nearest_two`](super::Lists::nearest_two) chooses them.
pub fn two_nearest_to(centroids: &Rows, rows: &Rows, row: usize) -> Pair {
    ROOM.with_borrow_mut(|room| {
        room.measure(centroids, rows, row);
        let (distances, chooser) = (&mut room.distances, &mut room.chooser);
        distances.resize(distances.len().next_multiple_of(16), f32::INFINITY);
        chooser.gather(Isa::best(), distances, CANDIDATES);
        two(centroids, rows.squares[row], &chooser.nearest)
    })
}
