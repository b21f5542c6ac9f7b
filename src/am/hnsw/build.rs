//! Building an index: the table is read into memory, the graph linked by threads, and the pages
//! written in order. Where memory runs out, what is there is written and the rest is inserted row
//! by row.

use super::column::Column;
use super::insert::{Insert, effective_ef_construction, raw_tid};
use super::options;
use super::storage::{Hnsw, META_BLOCK};
use crate::distance::Value;
use crate::hnsw::format::{
    self, CHUNK, INLINE_TIDS, Layout, MAGIC, MAX_LIST_TIDS, Meta, NewNode, NodeId, NodeMut, Opaque,
    PageKind, RawTid, VERSION,
};
use crate::hnsw::{Graph, Level, Params, Pushed, Worker};
use crate::pg::buffer::{self, Change, Exclusive, Logging, PAGE_SIZE};
use crate::pg::progress::{self, Phase};
use crate::pg::relation::Index;
use crate::pg::threads;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::pg_sys::{self, Datum};
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
    let hnsw = Hnsw {
        index,
        column: Column::declared(index),
        params: options::declared_params(index),
    };
    options::tell_raised(index, hnsw.params);
    let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
    write_meta_page(&hnsw, fork);

    let mut build = Build::new(hnsw);
    progress::phase(Phase::LoadingTuples);
    // SAFETY: the server's table, index and description of the build; the callback gets `build`.
    let heap_rows = unsafe {
        pg_sys::table_index_build_scan(
            heap,
            index.raw(),
            info,
            true,
            true,
            Some(row),
            (&raw mut build).cast(),
            std::ptr::null_mut(),
        )
    };
    build.write_graph();
    if index.needs_wal() {
        // SAFETY: all pages are standard and of this index.
        unsafe { pg_sys::log_newpage_range(index.raw(), fork, 0, index.blocks(), true) };
    }
    // SAFETY: allocates in the caller's context, or raises.
    unsafe {
        let result = pg_sys::palloc0(size_of::<pg_sys::IndexBuildResult>())
            .cast::<pg_sys::IndexBuildResult>();
        (*result).heap_tuples = heap_rows;
        (*result).index_tuples = build.rows as f64;
        result
    }
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn ambuildempty(index: pg_sys::Relation) {
    // SAFETY: the server passes an open index.
    let index = unsafe { Index::new(index) };
    let hnsw = Hnsw {
        index,
        column: Column::declared(index),
        params: options::declared_params(index),
    };
    let fork = pg_sys::ForkNumber::INIT_FORKNUM;
    write_meta_page(&hnsw, fork);
    // The init fork of an unlogged index outlives a crash, so it is logged always.
    // SAFETY: all pages are standard and of this index.
    unsafe { pg_sys::log_newpage_range(index.raw(), fork, 0, index.blocks_in(fork), true) };
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn ambuildphasename(number: i64) -> *mut std::ffi::c_char {
    progress::phase_name(number).map_or(std::ptr::null_mut(), |name| name.as_ptr().cast_mut())
}

/// Writes block 0 of an empty index, unlogged.
fn write_meta_page(hnsw: &Hnsw, fork: pg_sys::ForkNumber::Type) {
    let mut page = Exclusive::extend(hnsw.index, fork);
    assert_eq!(
        page.block(),
        META_BLOCK,
        "the metapage is the first page of an index"
    );
    let mut change = Change::begin(hnsw.index, Logging::AtEndOfBuild);
    let mut target = change.new_page(&mut page, &Opaque::new(PageKind::Meta, 0));
    *target.contents_mut::<Meta>() = Meta {
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
        reserved: 0,
    };
    change.commit();
}

/// State of a build.
struct Build {
    hnsw: Hnsw,
    /// rows are collected here, until memory runs out
    graph: Option<Graph>,
    /// heap tuples of nodes; the first of each node by its number
    first_tids: Vec<RawTid>,
    /// further ones
    more_tids: FxHashMap<u32, Vec<RawTid>>,
    more_count: usize,
    memory_limit: usize,
    insert: Insert,
    rows: u64,
    inserted: u64,
}

/// Called by the server for every row.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn row(
    _index: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    values: *mut Datum,
    isnull: *mut bool,
    _alive: bool,
    state: *mut std::ffi::c_void,
) {
    pgrx::check_for_interrupts!();
    // SAFETY: `state` is the build that passed this callback, which waits for the scan; the
    // arrays have an entry for the indexed column.
    unsafe {
        if *isnull {
            return;
        }
        let build = &mut *state.cast::<Build>();
        let value = build.hnsw.column.value(*values);
        build.add(value, raw_tid(tid));
    }
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
            first_tids: Vec::new(),
            more_tids: FxHashMap::default(),
            more_count: 0,
            memory_limit: kilobytes.saturating_mul(1024),
            insert: Insert::new(hnsw, Logging::AtEndOfBuild),
            rows: 0,
            inserted: 0,
        }
    }

    fn memory(&self) -> usize {
        // nodes are written with their addresses at hand
        let per_node = size_of::<RawTid>() + 2 * size_of::<NodeId>();
        self.graph.as_ref().map_or(0, Graph::memory)
            + self.first_tids.len() * per_node
            + self.more_tids.len() * 64
            + self.more_count * 2 * size_of::<RawTid>()
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
            Pushed::New(_) => self.first_tids.push(tid),
            Pushed::Duplicate(node) => {
                self.more_tids.entry(node).or_default().push(tid);
                self.more_count += 1;
            }
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
        let tids = Tids {
            first: &self.first_tids,
            more: &self.more_tids,
        };
        Writer::new(&self.hnsw, &graph, tids).write();
        self.first_tids = Vec::new();
        self.more_tids = FxHashMap::default();
        self.more_count = 0;
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
    // SAFETY: reads a setting.
    let workers = unsafe { pg_sys::max_parallel_maintenance_workers } as usize;
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (workers + 1)
        .min(available)
        .min(graph.len().div_ceil(100))
        .max(1);
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

/// Heap tuples of the nodes of a graph.
#[derive(Clone, Copy)]
struct Tids<'a> {
    first: &'a [RawTid],
    more: &'a FxHashMap<u32, Vec<RawTid>>,
}

impl<'a> Tids<'a> {
    /// The heap tuples that do not fit into the node's item.
    fn overflow(self, node: u32) -> &'a [RawTid] {
        self.more
            .get(&node)
            .and_then(|tids| tids.get(INLINE_TIDS - 1..))
            .unwrap_or(&[])
    }

    fn inline(&self, node: u32) -> Vec<RawTid> {
        let more = self.more.get(&node).map_or(&[][..], Vec::as_slice);
        std::iter::once(self.first[node as usize])
            .chain(more.iter().copied())
            .take(INLINE_TIDS)
            .collect()
    }
}

/// Writes a graph to pages, in the order of blocks.
struct Writer<'a> {
    hnsw: &'a Hnsw,
    graph: &'a Graph,
    tids: Tids<'a>,
    /// where each node goes
    ids: Vec<NodeId>,
    /// newest TID list of the nodes that have any
    lists: FxHashMap<u32, NodeId>,
    next_block: u32,
}

impl<'a> Writer<'a> {
    fn new(hnsw: &'a Hnsw, graph: &'a Graph, tids: Tids<'a>) -> Self {
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
        (Layout::choose(len, level, self.hnsw.params.m), level)
    }

    fn write(mut self) {
        let tid_page = self.write_tid_lists();
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

    fn extend(&mut self) -> Exclusive {
        let page = Exclusive::extend(self.hnsw.index, pg_sys::ForkNumber::MAIN_FORKNUM);
        assert_eq!(
            page.block(),
            self.next_block,
            "nobody else extends an index being built"
        );
        self.next_block += 1;
        page
    }

    /// Writes the TID lists first, so that nodes can refer to them.
    fn write_tid_lists(&mut self) -> Option<u32> {
        let tids = self.tids;
        let mut nodes: Vec<u32> = tids.more.keys().copied().collect();
        nodes.sort_unstable();
        let mut page: Option<Exclusive> = None;
        for node in nodes {
            let mut next = RawTid::NONE;
            for tids in tids.overflow(node).chunks(MAX_LIST_TIDS) {
                pgrx::check_for_interrupts!();
                // nodes of a build have generation 0, as their pages
                let capacity = (tids.len() + 8).min(MAX_LIST_TIDS);
                let item = format::encode_tid_list(0, next, capacity, tids);
                let full = page
                    .as_ref()
                    .is_none_or(|p| buffer::room(p.page()) < item.len());
                if full {
                    page = Some(self.extend_with(PageKind::Tids));
                }
                let target = page.as_mut().expect("a page was made just now");
                let at = NodeId {
                    block: target.block(),
                    offset: add(self.hnsw, target, &item),
                };
                next = at.into();
                self.lists.insert(node, at);
            }
        }
        page.map(|page| page.block())
    }

    fn extend_with(&mut self, kind: PageKind) -> Exclusive {
        let mut page = self.extend();
        let mut change = Change::begin(self.hnsw.index, Logging::AtEndOfBuild);
        change.new_page(&mut page, &Opaque::new(kind, 0));
        change.commit();
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
        let m = self.hnsw.params.m;
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
                    let offset = add(self.hnsw, &mut page, &item);
                    NodeId {
                        block: page.block(),
                        offset,
                    }
                })
                .collect();
            let mut item = NewNode {
                level,
                generation: 0,
                value: value.payload,
                norm_squared: value.norm_squared,
                chunks: &chunks,
                tids: &self.tids.inline(node),
                more_tids: self.lists.get(&node).map_or(RawTid::NONE, |&at| at.into()),
            }
            .encode(m);
            let mut writer = self.hnsw.check(id.block, || NodeMut::of(&mut item, m));
            for level in 0..=level {
                let links = self.graph.links(node, level);
                writer.set_links(level, links.iter().map(|l| self.ids[l.node as usize]));
            }
            let target = page.as_mut().expect("the node's page was made just now");
            let offset = add(self.hnsw, target, &item);
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

/// Adds an item to a page of a build, unlogged.
fn add(hnsw: &Hnsw, page: &mut Exclusive, item: &[u8]) -> u16 {
    let mut change = Change::begin(hnsw.index, Logging::AtEndOfBuild);
    let offset = change
        .page(page)
        .add_item(item)
        .expect("room was computed from the item's size");
    change.commit();
    offset
}
