//! The exact neighbours of some rows, and the lists that they are in: what a search is calibrated by.

use super::work::{Shared, lists_of};
use crate::am::ivf::index::Ivf;
use crate::am::ivf::sample::{QueryRow, Scratch, push_row};
use crate::cluster::{self, Pair, Queries};
use crate::hnsw::format::RawTid;
use crate::ivf::calibrate::{self, Calibration};
use crate::ivf::format::CurvePoint;
use crate::quantize::{CentreRef, Compact, CompactRef};

/// A query's code.
pub struct Coded {
    pub tid: RawTid,
    pub factors: Compact,
    pub code: Vec<i8>,
}

/// A row near a query.
#[derive(Debug, Clone, Copy)]
pub struct Neighbour {
    pub distance: f32,
    pub lists: Pair,
}

/// Measures the calibration curve: in which lists the neighbours of queries are.
pub fn curve(shared: &Shared<'_>, neighbours: &[Vec<Neighbour>]) -> Vec<CurvePoint> {
    let lists = shared.centroids.len();
    let mut calibration = Calibration::new(lists);
    let mut ranks = vec![0usize; lists];
    let mut order: Vec<u32> = (0..lists as u32).collect();
    for (query, near) in shared.queries.iter().zip(neighbours) {
        pgrx::check_for_interrupts!();
        let distances = shared.distances(query);
        order.sort_unstable_by(|&a, &b| {
            distances[a as usize]
                .total_cmp(&distances[b as usize])
                .then(a.cmp(&b))
        });
        for (rank, &list) in order.iter().enumerate() {
            ranks[list as usize] = rank;
        }
        let places: Vec<usize> = near
            .iter()
            .map(|near| {
                lists_of(near.lists, shared.copies)
                    .map(|list| ranks[list as usize])
                    .min()
                    .unwrap_or(0)
            })
            .collect();
        calibration.add(&places);
    }
    calibration.curve(calibrate::ERRORS_OF_BUILD)
}

/// Keeps a row if it is among the nearest.
pub fn keep_nearest(known: &mut Vec<Neighbour>, near: Neighbour) {
    let at = known.partition_point(|other| other.distance <= near.distance);
    known.insert(at, near);
    known.truncate(calibrate::RANK);
}

pub fn bound_of(near: &[Neighbour]) -> f32 {
    match near.get(calibrate::RANK - 1) {
        Some(last) => last.distance,
        None => f32::INFINITY,
    }
}

/// Queries as rows are compared with them: by internal distances, or by the signs that differ.
pub fn compared(ivf: &Ivf, queries: &[Coded]) -> Queries {
    let mut rows = cluster::Rows::new(ivf.shape.dims as usize);
    let mut terms = Vec::with_capacity(queries.len());
    for query in queries {
        match &ivf.codec {
            Some(codec) => {
                rows.push_scaled(query.factors.scale, &query.code);
                terms.push(query.factors.add + codec.between_stored());
            }
            None => {
                // signs have a product of the dimensions less twice those that differ
                rows.push_scaled(0.25, &query.code);
                terms.push(ivf.shape.dims as f32 / 2.0);
            }
        }
    }
    Queries::new(&rows, &terms)
}

pub fn coded(ivf: &Ivf, query: QueryRow) -> Coded {
    let mut rows = cluster::Rows::new(ivf.shape.dims as usize);
    let mut scratch = Scratch::default();
    push_row(
        ivf.codec.as_deref(),
        ivf.column,
        query.value.payload(),
        &mut scratch,
        &mut rows,
    );
    Coded {
        tid: query.tid,
        factors: scratch.factors,
        code: scratch.code,
    }
}

impl Shared<'_> {
    /// Distances of all centroids to a query, as a search orders them.
    fn distances(&self, query: &Coded) -> Vec<f32> {
        match self.ivf.codec {
            Some(codec) => {
                let compact = CompactRef {
                    factors: query.factors,
                    code: &query.code,
                };
                let coded = codec.query_of(compact);
                (0..self.centroids.len())
                    .map(|list| {
                        let centre = CentreRef {
                            factors: self.centres[list],
                            code: self.centroids.code(list),
                        };
                        coded.base(centre).distance
                    })
                    .collect()
            }
            None => (0..self.centroids.len())
                .map(|list| signs_apart(&query.code, self.centroids.code(list)))
                .collect(),
        }
    }
}

/// How many signs of two bit strings differ.
fn signs_apart(a: &[i8], b: &[i8]) -> f32 {
    a.iter().zip(b).filter(|(a, b)| a != b).count() as f32
}
