//! Two lists of one.

use super::{Alone, Lists, Rows};

/// The smaller half has at least a share of 1 / LEAST of the rows.
const LEAST: usize = 4;

const ITERATIONS: usize = 10;

/// The two halves of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Halves {
    /// their two centroids
    pub centroids: Rows,
    /// for each row, whether it is in the second half
    pub in_second: Vec<bool>,
}

/// Divides rows, at least two, by 2-means. Where one half would have less than a quarter of the rows, it gets
/// those of the other that are nearest to it.
pub fn split(rows: &Rows, seed: u64) -> Halves {
    assert!(rows.len() >= 2, "half of a row");
    let mut random = fastrand::Rng::with_seed(seed);
    let first = random.usize(..rows.len());
    // the second start is as likely as its distance from the first is large (k-means++)
    let mut start = Rows::new(rows.dims());
    start.push_scaled(rows.scale(first), rows.code(first));
    let nearest = Lists::of(&start).nearest(rows, &mut Alone);
    let total: f64 = nearest.iter().map(|near| near.distance as f64).sum();
    let mut left = random.f64() * total;
    let second = nearest.iter().position(|near| {
        left -= near.distance as f64;
        left < 0.0
    });
    let second = second.unwrap_or(if first == 0 { 1 } else { 0 });
    start.push_scaled(rows.scale(second), rows.code(second));
    let mut halves = Halves {
        centroids: start,
        in_second: Vec::new(),
    };
    for _ in 0..ITERATIONS {
        let in_second = sides(rows, &halves.centroids);
        if in_second == halves.in_second {
            break;
        }
        halves.centroids = means(rows, &in_second);
        halves.in_second = in_second;
    }
    halves
}

/// Which side each row is on.
fn sides(rows: &Rows, centroids: &Rows) -> Vec<bool> {
    // how much nearer the second centroid is
    let nearer = |row: usize| {
        let products = [0, 1].map(|side| rows.product(row, centroids, side));
        let gain = 2.0 * (products[1] - products[0]);
        gain - (centroids.squares[1] - centroids.squares[0])
    };
    let mut order: Vec<(f32, u32)> = (0..rows.len() as u32)
        .map(|row| (nearer(row as usize), row))
        .collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let wanted = order.partition_point(|&(nearer, _)| nearer <= 0.0);
    let least = (rows.len() / LEAST).max(1);
    let cut = wanted.clamp(least, rows.len() - least);
    let mut in_second = vec![false; rows.len()];
    for &(_, row) in &order[cut..] {
        in_second[row as usize] = true;
    }
    in_second
}

fn means(rows: &Rows, in_second: &[bool]) -> Rows {
    let mut centroids = Rows::new(rows.dims());
    for side in [false, true] {
        let mut point = vec![0.0; rows.dims()];
        let mut count = 0;
        for row in (0..rows.len()).filter(|&row| in_second[row] == side) {
            count += 1;
            let scale = rows.scale(row);
            for (sum, &i) in point.iter_mut().zip(rows.code(row)) {
                *sum += scale * i as f32;
            }
        }
        point.iter_mut().for_each(|x| *x /= count.max(1) as f32);
        centroids.push_point(&point);
    }
    centroids
}
