//! Which lists rows belong to.

use super::crew::{Crew, Tasks};
use super::tile::{HEIGHT, Panels, Products, WIDTH};
use super::{Alone, Rows};
use crate::distance::lanes::{Isa, for_every_isa};
use std::borrow::Cow;
use std::sync::atomic::AtomicBool;

/// How much SOAR minds that a row's residual to its second list is parallel to that to its first: the
/// paper's lambda.
const LAMBDA: f32 = 2.0;

/// Lists, nearest first, that the second one is chosen from.
const CANDIDATES: usize = 24;

/// Rows compared with one panel of centroids after the other.
const BLOCK: usize = 40 * HEIGHT;

/// Distances kept at a time while second lists are looked for.
const KEPT: usize = 256 << 10;

/// Centroids to compare rows with.
#[derive(Debug, Clone)]
pub struct Lists<'a> {
    isa: Isa,
    centroids: Cow<'a, Rows>,
    panels: Panels,
    /// scales and squares of the centroids, and what is never nearest up to a whole panel
    scales: Vec<f32>,
    squares: Vec<f32>,
}

/// A row's nearest list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Near {
    /// number of the list
    pub list: u32,
    /// squared distance to its centroid
    pub distance: f32,
}

/// The two lists a row is in; the same twice where there is only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pair {
    /// the nearest
    pub first: u32,
    /// the one that SOAR adds
    pub second: u32,
}

impl Lists<'_> {
    /// Lists with these centroids, at least one.
    pub fn of(centroids: &Rows) -> Lists<'_> {
        Lists::with(Isa::best(), centroids)
    }

    /// The same, to be kept.
    pub fn owning(centroids: Rows) -> Lists<'static> {
        Lists::around(Isa::best(), Cow::Owned(centroids))
    }

    pub(super) fn with(isa: Isa, centroids: &Rows) -> Lists<'_> {
        Lists::around(isa, Cow::Borrowed(centroids))
    }

    fn around(isa: Isa, centroids: Cow<'_, Rows>) -> Lists<'_> {
        assert!(!centroids.is_empty(), "no lists");
        let panels = Panels::of(isa, &centroids);
        let whole = panels.len() * WIDTH;
        let filled = |values: &[f32], with| {
            let mut values = values.to_vec();
            values.resize(whole, with);
            values
        };
        Lists {
            isa,
            scales: filled(&centroids.scales, 0.0),
            squares: filled(&centroids.squares, f32::INFINITY),
            centroids,
            panels,
        }
    }

    /// Their centroids.
    pub fn centroids(&self) -> &Rows {
        &self.centroids
    }

    /// The nearest list of each row; of equally near ones, the first.
    pub fn nearest(&self, rows: &Rows, crew: &mut dyn Crew) -> Vec<Near> {
        assert_eq!(rows.dims(), self.centroids.dims(), "dimensions of rows");
        let mut all = vec![FAR; rows.len()];
        let tasks = Tasks::new(all.chunks_mut(BLOCK).zip((0..).step_by(BLOCK)));
        crew.run(&|stop: &AtomicBool| {
            let mut tile = Tile::default();
            while let Some((nearest, start)) = tasks.next(stop) {
                for panel in 0..self.panels.len() {
                    for (first, nearest) in
                        (start..).step_by(HEIGHT).zip(nearest.chunks_mut(HEIGHT))
                    {
                        self.fill(rows, first, nearest.len(), panel, &mut tile);
                        improve(self.isa, &tile.distances, panel, nearest);
                    }
                }
                for (nearest, row) in nearest.iter_mut().zip(start..) {
                    nearest.distance = (nearest.distance + rows.squares[row]).max(0.0);
                }
            }
        });
        all
    }

    /// [`Lists::nearest`] of one row, on this thread.
    pub fn nearest_of(&self, rows: &Rows) -> Vec<Near> {
        self.nearest(rows, &mut Alone)
    }

    /// For each row its nearest list, and of the others the one with the least
    /// |r'|^2 + 2 <r', r>^2 / |r|^2, where r and r' are what is left of the row relative to the first and
    /// the other list: so that a query for which r is a bad stretch meets a better one (SOAR).
    pub fn nearest_two(&self, rows: &Rows, crew: &mut dyn Crew) -> Vec<Pair> {
        assert_eq!(rows.dims(), self.centroids.dims(), "dimensions of rows");
        let whole = self.panels.len() * WIDTH;
        let block = (KEPT / whole).clamp(HEIGHT, BLOCK) / HEIGHT * HEIGHT;
        let mut all = vec![Pair::default(); rows.len()];
        let tasks = Tasks::new(all.chunks_mut(block).zip((0..).step_by(block)));
        crew.run(&|stop: &AtomicBool| {
            let mut tile = Tile::default();
            let mut distances = vec![0.0; block * whole];
            let mut chooser = Chooser::default();
            while let Some((pairs, start)) = tasks.next(stop) {
                for panel in 0..self.panels.len() {
                    for at in (0..pairs.len()).step_by(HEIGHT) {
                        let height = (pairs.len() - at).min(HEIGHT);
                        self.fill(rows, start + at, height, panel, &mut tile);
                        for (row, from) in (at..at + height).zip(&tile.distances) {
                            distances[row * whole + panel * WIDTH..][..WIDTH].copy_from_slice(from);
                        }
                    }
                }
                for (at, pair) in pairs.iter_mut().enumerate() {
                    let distances = &distances[at * whole..][..whole];
                    *pair = self.choose(rows, start + at, distances, &mut chooser);
                }
            }
        });
        all
    }

    /// Distances of a tile of rows to the centroids of a panel, each less the row's own square.
    fn fill(&self, rows: &Rows, first: usize, height: usize, panel: usize, tile: &mut Tile) {
        // a tile that is not full has its last row again
        let numbers: [usize; HEIGHT] = std::array::from_fn(|i| first + i.min(height - 1));
        let codes = numbers.map(|row| rows.padded(row));
        self.panels.products(panel, codes, &mut tile.products);
        let offset = self.panels.offset();
        let beside = Beside {
            scales: self.scales[panel * WIDTH..][..WIDTH]
                .try_into()
                .expect("a panel"),
            squares: self.squares[panel * WIDTH..][..WIDTH]
                .try_into()
                .expect("a panel"),
            rows: numbers.map(|row| (2.0 * rows.scales[row], offset * rows.sums[row])),
        };
        measure(self.isa, &tile.products, &beside, &mut tile.distances);
    }

    fn choose(&self, rows: &Rows, row: usize, distances: &[f32], chooser: &mut Chooser) -> Pair {
        chooser.gather(self.isa, distances);
        let Some(&first) = chooser.nearest.first() else {
            // nothing can be said of the distances; any list will do
            return Pair::default();
        };
        let (squares, first_distance) = (rows.squares[row], first.distance);
        let of_centroid = |near: Near| {
            let square = self.centroids.squares[near.list as usize];
            (square - near.distance) / 2.0
        };
        let residual = squares + first_distance;
        let mut best = (f32::INFINITY, first.list);
        for &near in &chooser.nearest[1..] {
            let between =
                self.centroids
                    .product(first.list as usize, &self.centroids, near.list as usize);
            let along = squares - of_centroid(first) - of_centroid(near) + between;
            let penalty = match residual > 0.0 {
                true => LAMBDA * along * along / residual,
                false => 0.0,
            };
            let loss = squares + near.distance + penalty;
            if loss < best.0 || best.1 == first.list {
                best = (loss, near.list);
            }
        }
        Pair {
            first: first.list,
            second: best.1,
        }
    }
}

const FAR: Near = Near {
    list: 0,
    distance: f32::INFINITY,
};

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
    fn improve(isa: Isa, distances: &[[f32; WIDTH]; HEIGHT], panel: usize, nearest: &mut [Near]) {
        let _ = isa;
        for (distances, nearest) in distances.iter().zip(nearest) {
            let least = least_of(distances);
            if least < nearest.distance {
                let lane = distances.iter().position(|&d| d == least).unwrap_or(0);
                *nearest = Near {
                    list: (panel * WIDTH + lane) as u32,
                    distance: least,
                };
            }
        }
    }
}

/// The least of some multiple of 16 numbers.
#[inline(always)]
fn least_of(distances: &[f32]) -> f32 {
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

/// Finds the nearest of many lists.
#[derive(Default)]
struct Chooser {
    least: Vec<f32>,
    nearest: Vec<Near>,
}

impl Chooser {
    /// Leaves the [`CANDIDATES`] nearest, nearest first.
    fn gather(&mut self, isa: Isa, distances: &[f32]) {
        leasts(isa, distances, &mut self.least);
        // so many of the groups' least are no farther: at least as many distances are
        let bound = match self.least.len() > CANDIDATES {
            true => {
                *self
                    .least
                    .select_nth_unstable_by(CANDIDATES - 1, f32::total_cmp)
                    .1
            }
            false => f32::MAX,
        };
        self.nearest.clear();
        below(isa, distances, bound, &mut self.nearest);
        let order =
            |a: &Near, b: &Near| a.distance.total_cmp(&b.distance).then(a.list.cmp(&b.list));
        if self.nearest.len() > CANDIDATES {
            self.nearest.select_nth_unstable_by(CANDIDATES, order);
            self.nearest.truncate(CANDIDATES);
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
