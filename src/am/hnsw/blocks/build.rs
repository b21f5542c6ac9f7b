//! Building an index of blocks: rows are encoded as they come, the graph is linked by threads over
//! compact codes, and the pages are written in an order that puts neighbours near each other.
//!
//! What does not fit into `maintenance_work_mem` goes on in temporary files that are mapped into
//! memory. Some rows are held back until all others are linked: searches for them measure the
//! calibration curve, and then they are linked, too.

use super::index::{self, Blocks, floats_of, hash_of};
use super::write::Writer;
use super::{calibration, codebook};
use crate::am::filter::keys::FilterColumns;
use crate::am::hnsw::insert::effective_ef_construction;
use crate::am::hnsw::place;
use crate::am::hnsw::shape;
use crate::am::hnsw::storage::{Hnsw, read_meta};
use crate::am::hnsw::tids::TidLists;
use crate::am::mean::Mean;
use crate::distance::Value;
use crate::hnsw::blocks::build::{Graph, Intake, Pushed, Shape};
use crate::hnsw::blocks::calibrate::{self, Calibration};
use crate::hnsw::blocks::memory::Backing;
use crate::hnsw::blocks::{Attached, Codes, Preview, Worker, measure};
use crate::hnsw::format::RawTid;
use crate::pg::change::Logging;
use crate::pg::progress::{self, Phase};
use crate::pg::rows::Rows;
use crate::pg::{sample, temporary, threads};
use crate::quantize::Codec;
use pgrx::pg_sys;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Rows from which the centroid is computed.
const SAMPLE: usize = 10_000;
/// Rows held back to measure the calibration curve with.
const MOST_HELD_BACK: usize = 1_000;
/// One of so many rows at most is held back.
const HELD_BACK_SHARE: usize = 10;
/// Rows below which nothing is measured.
const LEAST_MEASURED: usize = 500;

/// Builds an index whose metapage is still to be written. Returns the numbers of heap rows and of
/// rows indexed.
pub fn build(mut hnsw: Hnsw, table: Rows) -> (f64, u64) {
    let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
    let mean = mean_of_sample(&hnsw, table);
    let (centroid, reach) = (mean.centroid(), mean.reach());
    if centroid.is_empty() {
        hnsw.shape = shape::without_rows(&hnsw);
    }
    let seed = fastrand::u64(1..);
    crate::am::hnsw::build::write_meta_page(&hnsw, fork, |meta| {
        meta.seed = seed;
        meta.reach = reach;
    });
    if !centroid.is_empty() {
        let first = index::write_centroid(&hnsw, fork, &centroid);
        place::change_meta(&hnsw, Logging::AtEndOfBuild, |meta| meta.centroid = first);
    }
    let mut codec = Codec::new(
        hnsw.column.space.metric,
        hnsw.column.dims as usize,
        seed,
        &centroid,
        reach,
    );
    if let Some(pq) = hnsw.shape.block.and_then(|block| block.pq()) {
        let book = codebook::learn(&hnsw, table, &codec, pq, memory());
        let first = codebook::write(&hnsw, &book);
        place::change_meta(&hnsw, Logging::AtEndOfBuild, |meta| meta.codebook = first);
        codec = codec.with_codebook(book);
    }
    let meta = read_meta(hnsw.index);
    hnsw.params = meta.params();
    let Some(blocks) = Blocks::open(hnsw, &meta) else {
        unreachable!("an index of blocks was declared");
    };
    let blocks = Rc::new(blocks);
    let mut load = Load::new(blocks.clone(), codec);
    progress::phase(Phase::LoadingTuples);
    let mut filter_columns = FilterColumns::of(hnsw.index);
    let heap_rows = table.each_with_all(|row, tid| {
        // SAFETY: a non-NULL value of the indexed column.
        let value = unsafe { hnsw.column.value(row.values[0]) };
        // SAFETY: values of the index's columns.
        load.add(&value, tid, unsafe { filter_columns.keys(row) });
    });
    let rows = load.rows;
    load.finish();
    (heap_rows, rows)
}

/// What a sample of the table tells of its vectors.
fn mean_of_sample(hnsw: &Hnsw, table: Rows) -> Mean {
    let column = hnsw.column;
    let mut mean = Mean::new(column.space.metric, column.dims as usize);
    let mut floats = Vec::new();
    sample::sample(table, SAMPLE as u64, fastrand::u64(..), |datum, _| {
        // SAFETY: a non-NULL value of the indexed column.
        let value = unsafe { column.value(datum) };
        floats_of(column.space.element, &value, &mut floats);
        mean.add(&floats);
    });
    mean
}

/// Memory of a build.
fn memory() -> usize {
    // SAFETY: reads a setting.
    let kilobytes = unsafe { pg_sys::maintenance_work_mem } as usize;
    kilobytes.saturating_mul(1024)
}

type Spill = Box<dyn FnMut() -> io::Result<Backing>>;

/// Rows on their way into the graph.
struct Load {
    blocks: Rc<Blocks>,
    intake: Intake<Spill>,
    files: temporary::Files,
    tids: TidLists,
    floats: Vec<f32>,
    scratch: Vec<f32>,
    code: Vec<i8>,
    rows: u64,
}

impl Load {
    fn new(blocks: Rc<Blocks>, codec: Codec) -> Self {
        let shape = Shape {
            slots: blocks.layout.slots(),
            ef_construction: effective_ef_construction(&blocks.hnsw),
            seed: fastrand::u64(..),
        };
        let files = temporary::Files::within_limit();
        let mut opened = files.clone();
        let spill: Spill = Box::new(move || opened.file());
        let intake =
            Intake::new(codec, shape, memory(), spill).unwrap_or_else(|e| temporary::raise_io(e));
        Load {
            code: vec![0; blocks.hnsw.column.dims as usize],
            blocks,
            intake,
            files,
            tids: TidLists::default(),
            floats: Vec::new(),
            scratch: Vec::new(),
            rows: 0,
        }
    }

    fn add(&mut self, value: &Value, tid: RawTid, keys: &[u64]) {
        let column = self.blocks.hnsw.column;
        if !column.is_indexable(value) {
            return;
        }
        self.rows += 1;
        floats_of(column.space.element, value, &mut self.floats);
        let factors = self
            .blocks
            .codec
            .encode(&self.floats, &mut self.scratch, &mut self.code);
        let compact = crate::quantize::CompactRef {
            factors,
            code: &self.code,
        };
        match self.intake.push(compact, hash_of(value)) {
            Ok(Pushed::New(_)) => self.tids.push_first(tid, keys),
            Ok(Pushed::Duplicate(node)) => self.tids.push_more(node, tid, keys),
            Err(error) => temporary::raise_io(error),
        }
        progress::tuples_done(self.rows);
    }

    /// Links the graph and writes it.
    fn finish(self) {
        let Load {
            blocks,
            intake,
            mut files,
            tids,
            ..
        } = self;
        let spill = intake.is_spilled().then_some(&mut files);
        let mut graph = intake.finish().unwrap_or_else(|e| temporary::raise_io(e));
        let held_back = match graph.len() {
            few if few < LEAST_MEASURED => 0,
            many => MOST_HELD_BACK.min(many / HELD_BACK_SHARE),
        };
        let nodes = graph.len();
        let linked = nodes - held_back;
        link(&mut graph, 0..linked, &blocks.hnsw);
        let codes = codes_of(&blocks, &graph, spill).unwrap_or_else(|e| temporary::raise_io(e));
        let calibration = calibrate(&graph, codes.as_ref(), linked);
        if held_back > 0 {
            link(&mut graph, linked..nodes, &blocks.hnsw);
        }

        progress::phase(Phase::WritingIndex);
        Writer::new(&blocks, &graph, codes.as_ref(), &tids).write();
        calibration::store(
            &blocks,
            Logging::AtEndOfBuild,
            &calibration,
            nodes as u64,
            1.0,
        );
    }
}

/// Links the nodes of some turns, on as many threads as the server allows a build.
fn link(graph: &mut Graph, turns: Range<usize>, hnsw: &Hnsw) {
    progress::phase(Phase::BuildingGraph);
    progress::tuples_total(turns.end as u64);
    progress::tuples_done(turns.start as u64);
    let threads = threads::for_maintenance(turns.len().div_ceil(100));
    pgrx::debug1!(
        "linking the graph of index \"{}\" using {threads} parallel workers",
        hnsw.index.name()
    );
    let next = AtomicUsize::new(turns.start);
    let linking = &*graph;
    threads::run(
        threads,
        |stop| {
            let mut worker = Worker::default();
            while !stop.load(Ordering::Relaxed) {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                if turn >= turns.end {
                    break;
                }
                linking.link(linking.at_turn(turn), &mut worker);
            }
        },
        || progress::tuples_done(next.load(Ordering::Relaxed).min(turns.end) as u64),
    );
    let result = Mutex::new((graph, Ok(Attached::default())));
    threads::run(
        1,
        |stop| {
            let mut locked = result.lock().unwrap_or_else(PoisonError::into_inner);
            let (graph, attached) = &mut *locked;
            *attached = graph.attach_unreached(&mut Worker::default(), stop);
        },
        || {},
    );
    let (_, attached) = result.into_inner().unwrap_or_else(PoisonError::into_inner);
    let attached = attached.unwrap_or_else(|e| temporary::raise_io(e));
    pgrx::debug1!(
        "attached {} nodes that nothing led to, {} as entries",
        attached.by_link + attached.as_entry,
        attached.as_entry
    );
}

/// The nearest linked nodes of each query.
fn exact_neighbours(graph: &Graph, queries: &[u32]) -> Vec<Vec<u32>> {
    if queries.is_empty() {
        return Vec::new();
    }
    let threads = threads::for_maintenance(graph.len().div_ceil(100));
    let share = queries.len().div_ceil(threads);
    let found: Mutex<Vec<Vec<u32>>> = Mutex::new(vec![Vec::new(); queries.len()]);
    let next = AtomicUsize::new(0);
    threads::run(
        threads,
        |stop| {
            let first = next.fetch_add(1, Ordering::Relaxed) * share;
            let Some(part) = queries.get(first..(first + share).min(queries.len())) else {
                return;
            };
            let nearest = graph.exact_nearest(part, calibrate::RANK, stop);
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            for (n, nearest) in nearest.into_iter().enumerate() {
                found[first + n] = nearest.into_iter().map(|near| near.node).collect();
            }
        },
        || {},
    );
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The inline codes of all nodes; none in the layout compact.
fn codes_of(
    blocks: &Blocks,
    graph: &Graph,
    spill: Option<&mut temporary::Files>,
) -> io::Result<Option<Codes>> {
    let shape = &blocks.layout.block;
    let Some(quantizer) = shape.quantizer else {
        return Ok(None);
    };
    let file = spill.map(temporary::Files::file).transpose()?;
    let run = |work: &(dyn Fn(&AtomicBool) + Sync)| {
        threads::run(
            threads::for_maintenance(graph.len().div_ceil(100)),
            work,
            || {},
        );
    };
    Codes::of(graph, quantizer, shape.code_dims as usize, file, run).map(Some)
}

/// Measures the calibration curve with the nodes whose turn to be linked is still to come.
fn calibrate(graph: &Graph, codes: Option<&Codes>, linked: usize) -> Calibration {
    let queries: Vec<u32> = (linked..graph.len())
        .map(|turn| graph.at_turn(turn))
        .collect();
    let nearest = exact_neighbours(graph, &queries);
    let measured = Mutex::new(Calibration::default());
    let next = AtomicUsize::new(0);
    threads::run(
        threads::for_maintenance(queries.len().div_ceil(100)),
        |stop| {
            let mut preview = Preview::new(graph, codes);
            let next = || next.fetch_add(1, Ordering::Relaxed);
            let part = measure(&mut preview, &queries, &nearest, next, stop);
            let mut measured = measured.lock().unwrap_or_else(PoisonError::into_inner);
            measured.merge(&part);
        },
        || {},
    );
    measured
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
}
