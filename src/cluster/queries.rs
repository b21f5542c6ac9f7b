//! Some rows that all others are compared with.

use super::Rows;
use super::flat::Flat;
use crate::distance::lanes::Isa;

/// Rows compared at a time: their distances to a thousand queries stay in the cache.
const BLOCK: usize = 48;

/// Queries to compare rows with. A distance is the row's term and the query's less twice their inner
/// product.
#[derive(Debug, Clone)]
pub struct Queries {
    flat: Flat,
    count: usize,
}

impl Queries {
    /// Queries with their terms.
    pub fn new(rows: &Rows, terms: &[f32]) -> Queries {
        assert_eq!(rows.len(), terms.len(), "a term for each query");
        Queries {
            flat: Flat::with_terms(Isa::best(), rows, terms),
            count: rows.len(),
        }
    }

    /// Tells `near` of every pair of a row and a query, by their numbers, whose distance is below the
    /// query's bound, and keeps what it returns as that query's bound from then on.
    pub fn compare(
        &self,
        rows: &Rows,
        terms: impl Fn(usize) -> f32,
        bounds: &mut [f32],
        mut near: impl FnMut(usize, usize, f32) -> f32,
    ) {
        let width = self.flat.whole();
        if self.count == 0 {
            return;
        }
        let mut distances = vec![0.0; BLOCK.min(rows.len()) * width];
        let numbers: Vec<u32> = (0..rows.len() as u32).collect();
        for numbers in numbers.chunks(BLOCK) {
            let of_row = |at: usize| at * width..(at + 1) * width;
            self.flat.distances(rows, numbers, of_row, &mut distances);
            for (&row, distances) in numbers.iter().zip(distances.chunks_exact(width)) {
                let term = terms(row as usize);
                for (from, distances) in (0..self.count)
                    .step_by(Self::GROUP)
                    .zip(distances.chunks(Self::GROUP))
                {
                    let bounds = &mut bounds[from..(from + distances.len()).min(self.count)];
                    let is_near = |(distance, bound): (&f32, &f32)| distance + term < *bound;
                    if !distances
                        .iter()
                        .zip(&*bounds)
                        .fold(false, |any, pair| any | is_near(pair))
                    {
                        continue;
                    }
                    for (n, bound) in bounds.iter_mut().enumerate() {
                        let distance = distances[n] + term;
                        if distance < *bound {
                            *bound = near(row as usize, from + n, distance);
                        }
                    }
                }
            }
        }
    }

    /// Queries whose bounds are looked at together.
    const GROUP: usize = 16;
}
