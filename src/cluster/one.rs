//! One row and all centroids: what a single insert asks for, without the blocks that many rows share.

use super::Rows;
use super::choose::{Chooser, two};
use super::lists::{CANDIDATES, Near, Pair};
use crate::distance::lanes::Isa;
use std::cell::RefCell;

/// A row's nearest centroid; of equally near ones, the first.
pub fn nearest_to(centroids: &Rows, rows: &Rows, row: usize) -> Near {
    let mut nearest = Near::FAR;
    for (list, distance) in (0..).zip(distances(centroids, rows, row)) {
        if distance < nearest.distance {
            nearest = Near { list, distance };
        }
    }
    nearest.distance = (nearest.distance + rows.squares[row]).max(0.0);
    nearest
}

thread_local! {
    static ROOM: RefCell<(Vec<f32>, Chooser)> = RefCell::default();
}

/// The two lists of a row, as [`Lists::nearest_two`](super::Lists::nearest_two) chooses them.
pub fn two_nearest_to(centroids: &Rows, rows: &Rows, row: usize) -> Pair {
    ROOM.with_borrow_mut(|(room, chooser)| {
        room.clear();
        room.extend(distances(centroids, rows, row));
        room.resize(room.len().next_multiple_of(16), f32::INFINITY);
        chooser.gather(Isa::best(), room, CANDIDATES);
        two(centroids, rows.squares[row], &chooser.nearest)
    })
}

/// Squared distances to all centroids, less the row's own square.
fn distances<'a>(
    centroids: &'a Rows,
    rows: &'a Rows,
    row: usize,
) -> impl Iterator<Item = f32> + 'a {
    assert_eq!(rows.dims(), centroids.dims(), "dimensions of rows");
    let squares = centroids.squares.iter().enumerate();
    squares.map(move |(list, square)| square - 2.0 * rows.product(row, centroids, list))
}
