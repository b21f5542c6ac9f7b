//! Building an index. Here: of the plain layout; [`super::blocks::build`] has the other. The table is
//! read into memory, the graph linked by threads, and the pages written in order. Where memory runs
//! out, what is there is written and the rest is inserted row by row.

use super::blocks;
use super::insert::{Insert, effective_ef_construction};
use super::options;
use super::storage::{Hnsw, META_BLOCK};
use super::tids::{self, TidLists};
use crate::am::column::{Column, Method};
use crate::am::filter::keys;
use crate::distance::{Element, Value};
use crate::hnsw::format::{
    self, BLOCKS, CHUNK, Layout, MAGIC, Meta, NewNode, NodeId, NodeMut, Opaque, PLAIN, PageKind,
    RawTid, VERSION,
};
use crate::hnsw::{Graph, Level, Params, Pushed, Worker};
use crate::pg::buffer::{Exclusive, PAGE_SIZE};
use crate::pg::change::{Change, Logging};
use crate::pg::progress::{self, Phase};
use crate::pg::relation::Index;
use crate::pg::rows::Rows;
use crate::pg::threads;
use bytemuck::Zeroable;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicU64, Ordering};

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn ambuild(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
) -> *mut pg_sys::IndexBuildResult {
    // SAFETY: the server passes an open index.
    let index = unsafe { Index::new(index) };
    let hnsw = declared(index);
    options::tell_raised(index, hnsw.params);
    let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
    // SAFETY: what the server passed, for as long as this runs.
    let rows = unsafe { Rows::new(heap, index, info) };
    let (heap_rows, index_rows) = match hnsw.shape.block {
        Some(_) => blocks::build::build(hnsw, rows),
        None => build_plain(hnsw, rows),
    };
    if index.needs_wal() {
        // SAFETY: all pages are standard and of this index.
        unsafe { pg_sys::log_newpage_range(index.raw(), fork, 0, index.blocks(), true) };
    }
    // SAFETY: allocates in the caller's context, or raises.
    unsafe {
        let result = pg_sys::palloc0(size_of::<pg_sys::IndexBuildResult>())
            .cast::<pg_sys::IndexBuildResult>();
        (*result).heap_tuples = heap_rows;
        (*result).index_tuples = index_rows as f64;
        result
    }
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn ambuildempty(index: pg_sys::Relation) {
    // SAFETY: the server passes an open index.
    let index = unsafe { Index::new(index) };
    let mut hnsw = declared(index);
    hnsw.shape = super::shape::without_rows(&hnsw);
    let fork = pg_sys::ForkNumber::INIT_FORKNUM;
    write_meta_page(&hnsw, fork, |meta| meta.seed = fastrand::u64(1..));
    // The init fork of an unlogged index outlives a crash, so it is logged always.
    // SAFETY: all pages are standard and of this index.
    unsafe { pg_sys::log_newpage_range(index.raw(), fork, 0, index.blocks_in(fork), true) };
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn ambuildphasename(number: i64) -> *mut std::ffi::c_char {
    progress::phase_name(number).map_or(std::ptr::null_mut(), |name| name.as_ptr().cast_mut())
}

/// What columns `hnsw` takes.
const HNSW: Method = Method {
    name: "hnsw",
    max_dims: Element::max_dims,
};

/// The index that a CREATE INDEX describes.
fn declared(index: Index) -> Hnsw {
    let column = Column::declared(index, HNSW);
    keys::check_declared(index);
    let params = options::declared_params(index);
    Hnsw {
        index,
        column,
        params,
        shape: super::shape::declared(index, column, params),
    }
}

/// Builds an index of the plain layout. Returns the numbers of heap rows and of rows indexed.
fn build_plain(hnsw: Hnsw, rows: Rows) -> (f64, u64) {
    write_meta_page(&hnsw, pg_sys::ForkNumber::MAIN_FORKNUM, |_| {});
    let mut build = Build::new(hnsw);
    progress::phase(Phase::LoadingTuples);
    let heap_rows = rows.each(|value, tid| {
        // SAFETY: a non-NULL value of the indexed column.
        let value = unsafe { build.hnsw.column.value(value) };
        build.add(value, tid);
    });
    build.write_graph();
    (heap_rows, build.rows)
}

/// Writes block 0 of an empty index, unlogged.
pub fn write_meta_page(hnsw: &Hnsw, fork: pg_sys::ForkNumber::Type, set: impl FnOnce(&mut Meta)) {
    let mut page = Exclusive::extend(hnsw.index, fork);
    assert_eq!(
        page.block(),
        META_BLOCK,
        "the metapage is the first page of an index"
    );
    let mut change = Change::begin(hnsw.index, Logging::AtEndOfBuild);
    let mut target = change.new_page(&mut page, &Opaque::new(PageKind::Meta, 0));
    let block = hnsw.shape.block;
    let meta = target.contents_mut::<Meta>();
    *meta = Meta {
        magic: MAGIC,
        version: VERSION as u32,
        space: hnsw.column.space.code(),
        dims: hnsw.column.dims,
        m: hnsw.params.m,
        ef_construction: hnsw.params.ef_construction,
        entry: RawTid::NONE,
        entry_level: 0,
        node_page: 0,
        tid_page: 0,
        slots: hnsw.shape.slots,
        layout: if block.is_some() { BLOCKS } else { PLAIN },
        quantizer: block.and_then(|b| b.quantizer).map_or(0, |q| q as u8),
        code_dims: block.map_or(0, |b| b.code_dims),
        keys: block.map_or(0, |b| b.keys),
        map_quantizer: super::shape::map_quantizer(hnsw.shape).map_or(0, |q| q as u8),
        reach: 1.0,
        ..Meta::zeroed()
    };
    set(meta);
    change.commit();
}

/// State of a build.
struct Build {
    hnsw: Hnsw,
    /// rows are collected here, until memory runs out
    graph: Option<Graph>,
    tids: TidLists,
    memory_limit: usize,
    insert: Insert,
    rows: u64,
    inserted: u64,
}

impl Build {
    fn new(hnsw: Hnsw) -> Self {
        // SAFETY: reads a setting.
        let kilobytes = unsafe { pg_sys::maintenance_work_mem } as usize;
        let params = Params {
            ef_construction: effective_ef_construction(&hnsw) as u16,
            ..hnsw.params
        };
        let highest = format::highest_level(params.m);
        let seed = fastrand::u64(..);
        Build {
            hnsw,
            graph: Some(Graph::new(hnsw.column.space, params, highest, seed)),
            tids: TidLists::default(),
            memory_limit: kilobytes.saturating_mul(1024),
            insert: Insert::new(hnsw, Logging::AtEndOfBuild),
            rows: 0,
            inserted: 0,
        }
    }

    fn memory(&self) -> usize {
        // nodes are written with their addresses at hand
        let graph = self.graph.as_ref();
        graph.map_or(0, |graph| {
            graph.memory() + graph.len() * 2 * size_of::<NodeId>()
        }) + self.tids.memory()
    }

    fn add(&mut self, value: Value, tid: RawTid) {
        if !self.hnsw.column.is_indexable(&value) {
            return;
        }
        self.rows += 1;
        let Some(graph) = &mut self.graph else {
            self.insert.row(value, tid);
            self.inserted += 1;
            progress::tuples_done(self.inserted);
            return;
        };
        match graph.push(value.payload()) {
            Pushed::New(_) => self.tids.push_first(tid, &[]),
            Pushed::Duplicate(node) => self.tids.push_more(node, tid, &[]),
        }
        progress::tuples_done(self.rows);
        if self.memory() > self.memory_limit {
            notice_out_of_memory(self.rows);
            self.write_graph();
            progress::phase(Phase::InsertingTuples);
        }
    }

    /// Links the graph in memory and writes its pages; later rows are inserted one by one.
    fn write_graph(&mut self) {
        let Some(graph) = self.graph.take() else {
            return;
        };
        link(&graph, self.hnsw.index);
        progress::phase(Phase::WritingIndex);
        Writer::new(&self.hnsw, &graph, &self.tids).write();
        self.tids = TidLists::default();
    }
}

fn notice_out_of_memory(rows: u64) {
    ErrorReport::new(
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        format!("hnsw graph no longer fits into maintenance_work_mem after {rows} tuples"),
        "vectorext",
    )
    .set_detail("The remaining rows are inserted one by one, which is slower.")
    .set_hint("Raise maintenance_work_mem to speed up the build.")
    .report(pgrx::PgLogLevel::NOTICE);
}

/// Links all nodes, on as many threads as the server allows a build.
fn link(graph: &Graph, index: Index) {
    progress::phase(Phase::BuildingGraph);
    let total = graph.len() as u64;
    progress::tuples_total(total);
    progress::tuples_done(0);
    let threads = threads::for_maintenance(graph.len().div_ceil(100));
    pgrx::debug1!(
        "linking the graph of index \"{}\" using {threads} parallel workers",
        index.name()
    );
    let next = AtomicU64::new(0);
    threads::run(
        threads,
        |stop| {
            let mut worker = Worker::new(graph);
            while !stop.load(Ordering::Relaxed) {
                let node = next.fetch_add(1, Ordering::Relaxed);
                if node >= total {
                    break;
                }
                graph.insert(node as u32, &mut worker);
            }
        },
        || progress::tuples_done(next.load(Ordering::Relaxed).min(total)),
    );
}

/// Writes a graph to pages, in the order of blocks.
struct Writer<'a> {
    hnsw: &'a Hnsw,
    graph: &'a Graph,
    tids: &'a TidLists,
    /// where each node goes
    ids: Vec<NodeId>,
    /// newest TID list of the nodes that have any
    lists: FxHashMap<u32, NodeId>,
    next_block: u32,
}

impl<'a> Writer<'a> {
    fn new(hnsw: &'a Hnsw, graph: &'a Graph, tids: &'a TidLists) -> Self {
        Writer {
            hnsw,
            graph,
            tids,
            ids: Vec::with_capacity(graph.len()),
            lists: FxHashMap::default(),
            next_block: hnsw.index.blocks(),
        }
    }

    fn layout(&self, node: u32) -> (Layout, Level) {
        let level = self.graph.level(node);
        let len = self.graph.operand(node).payload.len();
        (Layout::choose(len, level, self.hnsw.shape), level)
    }

    fn write(mut self) {
        let (lists, tid_page) = self.tids.write(self.hnsw);
        self.lists = lists;
        self.next_block = self.hnsw.index.blocks();
        self.assign();
        let last_page = self.write_nodes();
        let entry = self.graph.entry();
        super::place::change_meta(self.hnsw, Logging::AtEndOfBuild, |meta| {
            if let Some((node, level)) = entry {
                meta.entry = self.ids[node as usize].into();
                meta.entry_level = level as u16;
            }
            meta.node_page = last_page.unwrap_or(0);
            meta.tid_page = tid_page.unwrap_or(0);
        });
    }

    fn extend_with(&mut self, kind: PageKind) -> Exclusive {
        let page = tids::extend_with(self.hnsw, kind);
        assert_eq!(
            page.block(),
            self.next_block,
            "nobody else extends an index being built"
        );
        self.next_block += 1;
        page
    }

    /// Decides where every node goes: pages of nodes are filled in order; the chunks of a node
    /// follow its page.
    fn assign(&mut self) {
        let capacity = PAGE_SIZE - crate::page::HEADER - size_of::<Opaque>();
        let mut next_block = self.next_block;
        let mut block = 0;
        let mut offset = 0;
        let mut free = 0;
        for node in 0..self.graph.len() as u32 {
            let (layout, _) = self.layout(node);
            let needed = layout.size + 4;
            if needed > free {
                block = next_block;
                next_block += 1;
                offset = 0;
                free = capacity;
            }
            offset += 1;
            free -= needed;
            self.ids.push(NodeId { block, offset });
            next_block += layout.chunks as u32;
        }
    }

    fn write_nodes(&mut self) -> Option<u32> {
        let shape = self.hnsw.shape;
        let mut page: Option<Exclusive> = None;
        for node in 0..self.graph.len() as u32 {
            pgrx::check_for_interrupts!();
            let id = self.ids[node as usize];
            if page.as_ref().is_none_or(|page| page.block() != id.block) {
                drop(page.take());
                page = Some(self.extend_with(PageKind::Nodes));
            }
            let (layout, level) = self.layout(node);
            let value = self.graph.operand(node);
            let chunks: Vec<NodeId> = value
                .payload
                .chunks(CHUNK)
                .take(layout.chunks)
                .enumerate()
                .map(|(index, piece)| {
                    let mut page = self.extend_with(PageKind::Chunk);
                    let item = format::encode_chunk(id, 0, index as u16, piece);
                    let offset = tids::add(self.hnsw, &mut page, &item);
                    NodeId {
                        block: page.block(),
                        offset,
                    }
                })
                .collect();
            let (tids, keys) = self.tids.inline(node);
            let mut item = NewNode {
                level,
                generation: 0,
                value: value.payload,
                norm_squared: value.norm_squared,
                chunks: &chunks,
                tids: &tids,
                keys: &keys,
                more_tids: self.lists.get(&node).map_or(RawTid::NONE, |&at| at.into()),
            }
            .encode(shape);
            let mut writer = self.hnsw.check(id.block, || NodeMut::of(&mut item, shape));
            for level in 0..=level {
                let links = self.graph.links(node, level);
                writer.set_links(level, links.iter().map(|l| self.ids[l.node as usize]));
            }
            let target = page.as_mut().expect("the node's page was made just now");
            let offset = tids::add(self.hnsw, target, &item);
            assert_eq!(
                (target.block(), offset),
                (id.block, id.offset),
                "nodes go where assigned"
            );
            if node % 1024 == 0 {
                progress::tuples_done(node as u64);
            }
        }
        page.map(|page| page.block())
    }
}
