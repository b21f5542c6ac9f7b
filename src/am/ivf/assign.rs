//! One pass over the table: each row's lists and codes, found by threads in batches, on their way to the
//! pages of lists; and the exact neighbours of some rows, which the calibration needs.

use super::index::Ivf;
use super::sample::{Centroids, QueryRow, Scratch, memory, push_row};
use crate::cluster::{self, Alone, Lists, Pair, Queries};
use crate::distance::Value;
use crate::hnsw::blocks::memory::Backing;
use crate::hnsw::format::RawTid;
use crate::ivf::calibrate::{self, Calibration};
use crate::ivf::format::{
    CurvePoint, Keys, ListRow, Opaque, PageKind, RowForm, VectorAddress, VectorPageMut,
};
use crate::ivf::runs::{Runs, Sorted};
use crate::pg::buffer::{Access, Change, Exclusive, Logging};
use crate::pg::progress;
use crate::pg::{temporary, threads};
use crate::quantize::{Centre, CentreRef, Coding, Compact, CompactRef, ListEncoder, ListFactors};
use bytemuck::{Pod, Zeroable};
use pgrx::pg_sys;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Rows that a thread takes at a time.
const CHUNK: usize = 500;
/// Most chunks of a batch.
const MOST_CHUNKS: usize = 64;
/// Lists below which nothing is measured: all are searched.
const LEAST_LISTS: usize = 4;

/// What stands before the keys and the code of a row in a run, 32 bytes.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Header {
    tid: RawTid,
    address: VectorAddress,
    norm_squared: f32,
    add: f32,
    scale: f32,
    error: f32,
    is_second: u32,
}

const _: () = assert!(size_of::<Header>() == 32);

/// A record of a run as a row of a list of an index with so many filter columns.
pub fn row_of(record: &[u8], filters: usize) -> ListRow<'_> {
    let (header, rest) = record.split_at(size_of::<Header>());
    let (keys, code) = rest.split_at(filters * size_of::<u64>());
    let header: Header = bytemuck::pod_read_unaligned(header);
    ListRow {
        tid: header.tid,
        is_second: header.is_second != 0,
        factors: ListFactors {
            add: header.add,
            scale: header.scale,
            error: header.error,
        },
        address: header.address,
        norm_squared: header.norm_squared,
        keys: Keys::of(keys),
        code,
    }
}

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

/// What threads read.
struct Shared<'a> {
    ivf: Threaded<'a>,
    lists: Lists<'a>,
    centroids: &'a cluster::Rows,
    centres: Vec<Centre>,
    copies: usize,
    queries: Vec<Coded>,
    /// the same, as rows are compared with them
    compared: Queries,
}

/// What threads need of an index; the index itself belongs to the backend's thread.
struct Threaded<'a> {
    codec: Option<&'a crate::quantize::Codec>,
    coding: Option<&'a Coding>,
    column: crate::am::column::Column,
    form: RowForm,
    row_len: usize,
    keeps_vectors: bool,
}

/// A query's code.
struct Coded {
    tid: RawTid,
    factors: Compact,
    code: Vec<i8>,
}

/// A row near a query.
#[derive(Debug, Clone, Copy)]
struct Neighbour {
    distance: f32,
    lists: Pair,
}

/// Rows of a batch: values one after another, each from a multiple of 8 bytes.
#[derive(Default)]
struct Batch {
    words: Vec<u64>,
    norms: Vec<f32>,
    tids: Vec<RawTid>,
    /// of all rows, one for each filter column
    keys: Vec<u64>,
}

/// What a chunk of a batch became.
#[derive(Default)]
struct Made {
    lists: Vec<Pair>,
    /// codes of all rows, for each of their lists
    codes: Vec<u8>,
    factors: Vec<ListFactors>,
    compacts: Vec<(Compact, Vec<i8>)>,
    /// the nearest of a query, by its number
    near: Vec<(usize, Vec<Neighbour>)>,
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
            threads: threads::for_maintenance(usize::MAX),
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
        let curve = self.curve();
        Assigned {
            rows: self.runs.finish(),
            count: self.count,
            curve,
            vector_page: self.vectors.map_or(0, |vectors| vectors.block),
        }
    }

    /// Measures the calibration curve.
    fn curve(&self) -> Vec<CurvePoint> {
        let lists = self.shared.centroids.len();
        let mut calibration = Calibration::new(lists);
        let mut ranks = vec![0usize; lists];
        let mut order: Vec<u32> = (0..lists as u32).collect();
        for (query, near) in self.shared.queries.iter().zip(&self.neighbours) {
            pgrx::check_for_interrupts!();
            let distances = self.shared.distances(query);
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
                    lists_of(near.lists, self.shared.copies)
                        .map(|list| ranks[list as usize])
                        .min()
                        .unwrap_or(0)
                })
                .collect();
            calibration.add(&places);
        }
        calibration.curve(calibrate::ERRORS_OF_BUILD)
    }
}

/// The lists of a row, each once.
fn lists_of(pair: Pair, copies: usize) -> impl Iterator<Item = u32> {
    let second = (copies > 1 && pair.second != pair.first).then_some(pair.second);
    std::iter::once(pair.first).chain(second)
}

/// Keeps a row if it is among the nearest.
fn keep_nearest(known: &mut Vec<Neighbour>, near: Neighbour) {
    let at = known.partition_point(|other| other.distance <= near.distance);
    known.insert(at, near);
    known.truncate(calibrate::RANK);
}

fn bound_of(near: &[Neighbour]) -> f32 {
    match near.get(calibrate::RANK - 1) {
        Some(last) => last.distance,
        None => f32::INFINITY,
    }
}

/// Queries as rows are compared with them: by internal distances, or by the signs that differ.
fn compared(ivf: &Ivf, queries: &[Coded]) -> Queries {
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

fn coded(ivf: &Ivf, query: QueryRow) -> Coded {
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

impl Batch {
    fn payload(&self, row: usize, len: usize) -> &[u8] {
        let words = len.div_ceil(8);
        bytemuck::cast_slice(&self.words[row * words..][..words])
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

/// A thread's working memory.
struct Worker {
    rows: cluster::Rows,
    scratch: Scratch,
    encoder: ListEncoder,
    code: Vec<u8>,
}

impl Worker {
    fn new(shared: &Shared<'_>) -> Worker {
        Worker {
            rows: cluster::Rows::new(shared.centroids.dims()),
            scratch: Scratch::default(),
            encoder: ListEncoder::default(),
            code: Vec::new(),
        }
    }

    fn work(
        &mut self,
        shared: &Shared<'_>,
        batch: &Batch,
        range: std::ops::Range<usize>,
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
        codec: &crate::quantize::Codec,
        coding: &Coding,
        row: &crate::quantize::Rotated,
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
        range: std::ops::Range<usize>,
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

/// Writes compact codes to new pages in the order in which they come.
struct Vectors<'a> {
    ivf: &'a Ivf,
    /// the page that is being filled, or 0
    block: u32,
    slot: usize,
}

impl<'a> Vectors<'a> {
    fn new(ivf: &'a Ivf) -> Self {
        Vectors {
            ivf,
            block: 0,
            slot: 0,
        }
    }

    fn put(&mut self, tid: RawTid, compact: CompactRef<'_>) -> VectorAddress {
        let (index, layout) = (self.ivf.index, self.ivf.vectors);
        let is_new = self.block == 0 || self.slot == layout.capacity();
        let mut page = match is_new {
            true => Exclusive::extend(index, pg_sys::ForkNumber::MAIN_FORKNUM),
            false => Exclusive::lock(index, self.block, Access::Random),
        };
        let mut change = Change::begin(index, Logging::AtEndOfBuild);
        let block = page.block();
        let mut target = match is_new {
            true => change.new_page(&mut page, &Opaque::new(PageKind::Vectors)),
            false => change.page(&mut page),
        };
        if is_new {
            (self.block, self.slot) = (block, 0);
        }
        let bytes = target.contents_bytes_mut(layout.contents_len());
        VectorPageMut::new(bytes, layout).set(self.slot, tid, compact);
        change.commit();
        self.slot += 1;
        VectorAddress::new(self.block, self.slot - 1)
    }
}
