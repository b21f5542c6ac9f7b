//! One pass over the table: each row's lists and codes, found by threads in batches, on their way to the
//! pages of lists; and the exact neighbours of some rows, which the calibration needs.

mod neighbours;
mod record;
mod vectors;
mod work;

use super::index::Ivf;
use super::sample::{Centroids, QueryRow, memory};
use crate::cluster::Lists;
use crate::distance::Value;
use crate::hnsw::blocks::memory::Backing;
use crate::hnsw::format::RawTid;
use crate::ivf::format::{CurvePoint, RowForm, VectorAddress};
use crate::ivf::runs::{Runs, Sorted};
use crate::pg::progress;
use crate::pg::{temporary, threads};
use crate::quantize::{Centre, CompactRef};
use neighbours::{Neighbour, bound_of, coded, compared, keep_nearest};
use record::Header;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use vectors::Vectors;
use work::{Batch, Made, Shared, Threaded, Worker, lists_of};

pub use record::row_of;

/// Rows that a thread takes at a time.
const CHUNK: usize = 500;
/// Most chunks of a batch.
const MOST_CHUNKS: usize = 64;
/// Lists below which nothing is measured: all are searched.
const LEAST_LISTS: usize = 4;

/// What an assignment is about.
pub struct Plan<'a> {
    /// the index
    pub ivf: &'a Ivf,
    /// its lists
    pub centroids: &'a Centroids,
    /// lists of a row, 1 or 2
    pub copies: usize,
    /// rows whose neighbours are wanted
    pub queries: Vec<QueryRow>,
}

/// What came of it.
pub struct Assigned {
    /// records by list
    pub rows: Sorted,
    /// rows assigned
    pub count: u64,
    /// the calibration curve
    pub curve: Vec<CurvePoint>,
    /// the last page of compact codes, or 0
    pub vector_page: u32,
}

type Spill = Box<dyn FnMut() -> io::Result<Backing>>;

/// Rows on their way into lists.
pub struct Assignment<'a> {
    shared: Shared<'a>,
    runs: Runs<Spill>,
    batch: Batch,
    most_rows: usize,
    threads: usize,
    count: u64,
    neighbours: Vec<Vec<Neighbour>>,
    vectors: Option<Vectors<'a>>,
}

impl<'a> Assignment<'a> {
    /// No rows yet.
    pub fn new(plan: Plan<'a>) -> Self {
        let Plan {
            ivf,
            centroids,
            copies,
            queries,
        } = plan;
        let rows = &centroids.rows;
        let centres = match &ivf.codec {
            Some(codec) => (0..rows.len())
                .map(|list| codec.centre_of(rows.scale(list), rows.code(list)))
                .collect(),
            None => vec![Centre::default(); rows.len()],
        };
        let row_len = ivf.shape.row_len as usize;
        let files = temporary::Files::within_limit();
        let spill: Spill = {
            let mut files = files.clone();
            Box::new(move || files.file())
        };
        let queries = match rows.len() >= LEAST_LISTS {
            true => queries.into_iter().map(|query| coded(ivf, query)).collect(),
            false => Vec::new(),
        };
        let threads = threads::for_maintenance(usize::MAX);
        pgrx::debug1!(
            "assigning rows to lists of index \"{}\" using {threads} parallel workers",
            ivf.index.name()
        );
        let in_batch = memory() / 8 / (row_len.max(4 * ivf.shape.dims as usize) * 3 + 64);
        Assignment {
            neighbours: vec![Vec::new(); queries.len()],
            shared: Shared {
                ivf: Threaded {
                    codec: ivf.codec.as_deref(),
                    coding: ivf.coding.as_deref(),
                    column: ivf.column,
                    form: ivf.shape.form,
                    row_len,
                    keeps_vectors: ivf.shape.has_addresses(),
                },
                lists: Lists::of(rows),
                centroids: rows,
                centres,
                copies,
                compared: compared(ivf, &queries),
                queries,
            },
            runs: Runs::new(
                rows.len(),
                size_of::<Header>() + ivf.shape.filters as usize * size_of::<u64>() + row_len,
                memory() / 2,
                spill,
            ),
            batch: Batch::default(),
            most_rows: in_batch.clamp(CHUNK, CHUNK * MOST_CHUNKS),
            threads,
            count: 0,
            vectors: ivf.shape.has_addresses().then(|| Vectors::new(ivf)),
        }
    }

    /// Adds a row with a key for each filter column, unless its value cannot be found by distance.
    pub fn add(&mut self, value: &Value, tid: RawTid, keys: &[u64]) {
        if !self.shared.ivf.column.is_indexable(value) {
            return;
        }
        self.count += 1;
        self.batch.words.extend_from_slice(value.words());
        self.batch.norms.push(value.operand().norm_squared);
        self.batch.tids.push(tid);
        self.batch.keys.extend_from_slice(keys);
        if self.batch.tids.len() >= self.most_rows {
            self.flush();
            progress::tuples_done(self.count);
        }
    }

    /// Assigns the rows of the batch.
    fn flush(&mut self) {
        let rows = self.batch.tids.len();
        let chunks = rows.div_ceil(CHUNK);
        if chunks == 0 {
            return;
        }
        // only rows that are nearer than the farthest neighbour known matter
        let bounds: Vec<f32> = self.neighbours.iter().map(|near| bound_of(near)).collect();
        let made: Vec<Mutex<Made>> = (0..chunks).map(|_| Mutex::default()).collect();
        let next = AtomicUsize::new(0);
        let (shared, batch) = (&self.shared, &self.batch);
        threads::run(
            self.threads.min(chunks),
            |stop| {
                let mut worker = Worker::new(shared);
                while !stop.load(Ordering::Relaxed) {
                    let chunk = next.fetch_add(1, Ordering::Relaxed);
                    let Some(place) = made.get(chunk) else { break };
                    let range = chunk * CHUNK..((chunk + 1) * CHUNK).min(rows);
                    let result = worker.work(shared, batch, range, &bounds);
                    *place.lock().unwrap_or_else(PoisonError::into_inner) = result;
                }
            },
            || {},
        );
        for (chunk, made) in made.into_iter().enumerate() {
            pgrx::check_for_interrupts!();
            let made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
            self.keep(chunk * CHUNK, made);
        }
        self.batch.words.clear();
        self.batch.norms.clear();
        self.batch.tids.clear();
        self.batch.keys.clear();
    }

    /// Takes what a chunk became, whose first row has this number in the batch.
    fn keep(&mut self, first: usize, made: Made) {
        for (query, near) in made.near {
            for near in near {
                keep_nearest(&mut self.neighbours[query], near);
            }
        }
        let row_len = self.shared.ivf.row_len;
        let keys_len = self.batch.keys.len() / self.batch.tids.len().max(1);
        let code_from = size_of::<Header>() + keys_len * size_of::<u64>();
        let mut record = vec![0; code_from + row_len];
        let mut code_at = 0;
        for (n, pair) in made.lists.iter().enumerate() {
            let row = first + n;
            let tid = self.batch.tids[row];
            let address = match (&mut self.vectors, made.compacts.get(n)) {
                (Some(vectors), Some((factors, code))) => vectors.put(
                    tid,
                    CompactRef {
                        factors: *factors,
                        code,
                    },
                ),
                _ => VectorAddress::NONE,
            };
            for list in lists_of(*pair, self.shared.copies) {
                let factors = made.factors.get(code_at).copied().unwrap_or_default();
                let header = Header {
                    tid,
                    address,
                    norm_squared: self.batch.norms[row],
                    add: factors.add,
                    scale: factors.scale,
                    error: factors.error,
                    is_second: (list != pair.first) as u32,
                };
                record[..size_of::<Header>()].copy_from_slice(bytemuck::bytes_of(&header));
                let code = match self.shared.ivf.form {
                    RowForm::Codes(_) => &made.codes[code_at * row_len..][..row_len],
                    RowForm::Values => &self.batch.payload(row, row_len)[..row_len],
                };
                let keys = &self.batch.keys[row * keys_len..][..keys_len];
                record[size_of::<Header>()..code_from].copy_from_slice(bytemuck::cast_slice(keys));
                record[code_from..].copy_from_slice(code);
                self.runs
                    .push(list, &record)
                    .unwrap_or_else(|error| temporary::raise_io(error));
                code_at += 1;
            }
        }
    }

    /// Assigns what is left.
    pub fn finish(mut self) -> Assigned {
        self.flush();
        progress::phase(progress::Phase::Calibrating);
        let curve = neighbours::curve(&self.shared, &self.neighbours);
        Assigned {
            rows: self.runs.finish(),
            count: self.count,
            curve,
            vector_page: self.vectors.map_or(0, |vectors| vectors.block),
        }
    }
}
