//! Distances of rows to all of some centroids.

use super::Rows;
use super::lists::Near;
use super::tile::{HEIGHT, Panels, Products, WIDTH};
use crate::distance::lanes::{Isa, for_every_isa};

/// Centroids that are all looked at.
#[derive(Debug, Clone)]
pub(super) struct Flat {
    isa: Isa,
    panels: Panels,
    /// scales and squares of the centroids, and what is never nearest up to a whole panel
    scales: Vec<f32>,
    squares: Vec<f32>,
}

impl Flat {
    pub(super) fn of(isa: Isa, centroids: &Rows) -> Flat {
        Flat::with_terms(isa, centroids, &centroids.squares)
    }

    /// The same with other terms in place of the centroids' squares.
    pub(super) fn with_terms(isa: Isa, centroids: &Rows, terms: &[f32]) -> Flat {
        let panels = Panels::of(isa, centroids);
        let whole = panels.len() * WIDTH;
        let filled = |values: &[f32], with| {
            let mut values = values.to_vec();
            values.resize(whole, with);
            values
        };
        Flat {
            isa,
            scales: filled(&centroids.scales, 0.0),
            squares: filled(terms, f32::INFINITY),
            panels,
        }
    }

    /// Number of centroids, up to a whole panel.
    pub(super) fn whole(&self) -> usize {
        self.squares.len()
    }

    /// Improves what is known of the nearest centroids of some rows, whose distances are less their own
    /// squares; `first` is the number of the first centroid here.
    pub(super) fn improve(&self, rows: &Rows, numbers: &[u32], first: u32, nearest: &mut [Near]) {
        let mut tile = Tile::default();
        for panel in 0..self.panels.len() {
            let tiles = numbers.chunks(HEIGHT).zip(nearest.chunks_mut(HEIGHT));
            for (numbers, nearest) in tiles {
                self.fill(rows, numbers, panel, &mut tile);
                let first = first + (panel * WIDTH) as u32;
                improve(self.isa, &tile.distances, first, nearest);
            }
        }
    }

    /// Distances of some rows to all centroids, less the rows' own squares: those of the i-th row
    /// go to `out(i)`, [`Flat::whole`] long; what is no centroid is infinitely far.
    pub(super) fn distances(
        &self,
        rows: &Rows,
        numbers: &[u32],
        out: impl Fn(usize) -> std::ops::Range<usize>,
        to: &mut [f32],
    ) {
        let mut tile = Tile::default();
        for panel in 0..self.panels.len() {
            for (at, numbers) in (0..).step_by(HEIGHT).zip(numbers.chunks(HEIGHT)) {
                self.fill(rows, numbers, panel, &mut tile);
                for (row, from) in (at..at + numbers.len()).zip(&tile.distances) {
                    to[out(row)][panel * WIDTH..][..WIDTH].copy_from_slice(from);
                }
            }
        }
    }

    fn fill(&self, rows: &Rows, numbers: &[u32], panel: usize, tile: &mut Tile) {
        // a tile that is not full has its last row again
        let numbers: [usize; HEIGHT] =
            std::array::from_fn(|i| numbers[i.min(numbers.len() - 1)] as usize);
        let codes = numbers.map(|row| rows.padded(row));
        self.panels.products(panel, codes, &mut tile.products);
        let offset = self.panels.offset();
        let lanes = panel * WIDTH..(panel + 1) * WIDTH;
        let beside = Beside {
            scales: self.scales[lanes.clone()].try_into().expect("a panel"),
            squares: self.squares[lanes].try_into().expect("a panel"),
            rows: numbers.map(|row| (2.0 * rows.scales[row], offset * rows.sums[row])),
        };
        measure(self.isa, &tile.products, &beside, &mut tile.distances);
    }
}

/// Products and distances of a tile.
struct Tile {
    products: Products,
    distances: [[f32; WIDTH]; HEIGHT],
}

impl Default for Tile {
    fn default() -> Self {
        Tile {
            products: [[0; WIDTH]; HEIGHT],
            distances: [[0.0; WIDTH]; HEIGHT],
        }
    }
}

/// What stands beside the bytes of a tile.
struct Beside<'a> {
    scales: &'a [f32; WIDTH],
    squares: &'a [f32; WIDTH],
    /// twice the scale of each row, and by how much its products are too large
    rows: [(f32, i32); HEIGHT],
}

for_every_isa! {
    fn measure(isa: Isa, products: &Products, beside: &Beside<'_>, out: &mut [[f32; WIDTH]; HEIGHT]) {
        let _ = isa;
        for ((products, out), (twice_scale, offset)) in products.iter().zip(out).zip(beside.rows) {
            for lane in 0..WIDTH {
                let product = (products[lane] - offset) as f32;
                out[lane] = beside.squares[lane] - (twice_scale * beside.scales[lane]) * product;
            }
        }
    }
}

for_every_isa! {
    fn improve(isa: Isa, distances: &[[f32; WIDTH]; HEIGHT], first: u32, nearest: &mut [Near]) {
        let _ = isa;
        for (distances, nearest) in distances.iter().zip(nearest) {
            let least = least_of(distances);
            if least < nearest.distance {
                let lane = distances.iter().position(|&d| d == least).unwrap_or(0);
                *nearest = Near {
                    list: first + lane as u32,
                    distance: least,
                };
            }
        }
    }
}

/// The least of some multiple of 16 numbers.
#[inline(always)]
pub(super) fn least_of(distances: &[f32]) -> f32 {
    let less = |a: f32, b: f32| if b < a { b } else { a };
    let mut lanes = [f32::INFINITY; 16];
    for distances in distances.as_chunks::<16>().0 {
        for lane in 0..16 {
            lanes[lane] = less(lanes[lane], distances[lane]);
        }
    }
    let mut half = 8;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = less(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}
