//! What threads do with the rows of a batch: each row's lists, its codes, and how far it is from the queries.

use super::neighbours::{Coded, Neighbour, bound_of, keep_nearest};
use crate::am::ivf::sample::{Scratch, push_row};
use crate::cluster::{self, Alone, Lists, Pair, Queries};
use crate::hnsw::format::RawTid;
use crate::ivf::format::RowForm;
use crate::quantize::{
    Centre, CentreRef, Codec, Coding, Compact, ListEncoder, ListFactors, Rotated,
};
use std::ops::Range;

/// What threads read.
pub struct Shared<'a> {
    pub ivf: Threaded<'a>,
    pub lists: Lists<'a>,
    pub centroids: &'a cluster::Rows,
    pub centres: Vec<Centre>,
    pub copies: usize,
    pub queries: Vec<Coded>,
    /// the same, as rows are compared with them
    pub compared: Queries,
}

/// What threads need of an index; the index itself belongs to the backend's thread.
pub struct Threaded<'a> {
    pub codec: Option<&'a Codec>,
    pub coding: Option<&'a Coding>,
    pub column: crate::am::column::Column,
    pub form: RowForm,
    pub row_len: usize,
    pub keeps_vectors: bool,
}

/// Rows of a batch: values one after another, each from a multiple of 8 bytes.
#[derive(Default)]
pub struct Batch {
    pub words: Vec<u64>,
    pub norms: Vec<f32>,
    pub tids: Vec<RawTid>,
    /// of all rows, one for each filter column
    pub keys: Vec<u64>,
}

/// What a chunk of a batch became.
#[derive(Default)]
pub struct Made {
    pub lists: Vec<Pair>,
    /// codes of all rows, for each of their lists
    pub codes: Vec<u8>,
    pub factors: Vec<ListFactors>,
    pub compacts: Vec<(Compact, Vec<i8>)>,
    /// the nearest of a query, by its number
    pub near: Vec<(usize, Vec<Neighbour>)>,
}

impl Batch {
    pub fn payload(&self, row: usize, len: usize) -> &[u8] {
        let words = len.div_ceil(8);
        bytemuck::cast_slice(&self.words[row * words..][..words])
    }
}

/// The lists of a row, each once.
pub fn lists_of(pair: Pair, copies: usize) -> impl Iterator<Item = u32> {
    let second = (copies > 1 && pair.second != pair.first).then_some(pair.second);
    std::iter::once(pair.first).chain(second)
}

/// A thread's working memory.
pub struct Worker {
    rows: cluster::Rows,
    scratch: Scratch,
    encoder: ListEncoder,
    code: Vec<u8>,
}

impl Worker {
    pub fn new(shared: &Shared<'_>) -> Worker {
        Worker {
            rows: cluster::Rows::new(shared.centroids.dims()),
            scratch: Scratch::default(),
            encoder: ListEncoder::default(),
            code: Vec::new(),
        }
    }

    pub fn work(
        &mut self,
        shared: &Shared<'_>,
        batch: &Batch,
        range: Range<usize>,
        bounds: &[f32],
    ) -> Made {
        let mut made = Made::default();
        let ivf = &shared.ivf;
        let payload_len = ivf
            .column
            .payload_len()
            .expect("all values of an ivf index are of one length");
        self.rows.clear();
        let mut rotated = Vec::new();
        let mut compacts: Vec<Compact> = Vec::new();
        for row in range.clone() {
            let payload = &batch.payload(row, payload_len)[..payload_len];
            push_row(
                ivf.codec,
                ivf.column,
                payload,
                &mut self.scratch,
                &mut self.rows,
            );
            compacts.push(self.scratch.factors);
            if matches!(ivf.form, RowForm::Codes(_)) {
                rotated.push(self.scratch.rotated.clone());
            }
            if ivf.keeps_vectors {
                made.compacts
                    .push((self.scratch.factors, self.scratch.code.clone()));
            }
        }
        made.lists = match shared.copies {
            2 => shared.lists.nearest_two(&self.rows, &mut Alone),
            _ => {
                let nearest = shared.lists.nearest(&self.rows, &mut Alone);
                let pair = |near: cluster::Near| Pair {
                    first: near.list,
                    second: near.list,
                };
                nearest.into_iter().map(pair).collect()
            }
        };
        if let (Some(coding), Some(codec)) = (ivf.coding, ivf.codec) {
            for (row, pair) in rotated.iter().zip(&made.lists) {
                for list in lists_of(*pair, shared.copies) {
                    let factors = self.encode(shared, codec, coding, row, list as usize);
                    made.factors.push(factors);
                    made.codes.extend_from_slice(&self.code);
                }
            }
        }
        self.compare(shared, batch, range, &compacts, bounds, &mut made);
        made
    }

    fn encode(
        &mut self,
        shared: &Shared<'_>,
        codec: &Codec,
        coding: &Coding,
        row: &Rotated,
        list: usize,
    ) -> ListFactors {
        self.code.resize(shared.ivf.row_len, 0);
        let centre = CentreRef {
            factors: shared.centres[list],
            code: shared.centroids.code(list),
        };
        coding.encode(codec, centre, row, &mut self.encoder, &mut self.code)
    }

    /// Compares the rows with all queries, and keeps for each what is nearer than its bound.
    fn compare(
        &self,
        shared: &Shared<'_>,
        batch: &Batch,
        range: Range<usize>,
        compacts: &[Compact],
        bounds: &[f32],
        made: &mut Made,
    ) {
        let bounds_before = bounds;
        let mut bounds = bounds_before.to_vec();
        let mut nearest: Vec<Vec<Neighbour>> = vec![Vec::new(); shared.queries.len()];
        let term = |row: usize| match shared.ivf.codec {
            Some(_) => compacts[row].add,
            None => 0.0,
        };
        let near = |row: usize, query: usize, distance: f32| {
            let known = &mut nearest[query];
            if batch.tids[range.start + row] != shared.queries[query].tid {
                let lists = made.lists[row];
                keep_nearest(known, Neighbour { distance, lists });
            }
            bound_of(known).min(bounds_before[query])
        };
        shared.compared.compare(&self.rows, term, &mut bounds, near);
        let near = nearest.into_iter().enumerate();
        made.near = near.filter(|(_, near)| !near.is_empty()).collect();
    }
}
