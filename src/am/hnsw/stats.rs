//! `vector_index_stats(regclass)`: what an index holds and where its bytes are, page by page.

use super::storage::Hnsw;
use crate::hnsw::blocks::format::{Entries, EntryLayout};
use crate::hnsw::format::{self, Meta, Node, NodeId, Opaque, PageKind, RawTid};
use crate::page::{HEADER, PageView};
use crate::pg::array::{build_bigint, build_real};
use crate::pg::buffer::{Access, PAGE_SIZE, Shared, Strategy};
use crate::pg::fmgr::{Call, int4, int8};
use crate::pg::readable::Readable;
use crate::pg::varlena::text;
use crate::pg_fn;
use pgrx::pg_sys::Datum;

pg_fn! {
    /// `vector_index_stats(regclass)`; raises what [`Readable::open`] does.
    fn vector_index_stats(call) {
        let oid = (call.arg(0).value() as u32).into();
        let readable = Readable::open(oid, "hnsw", super::is_ours);
        let (hnsw, meta) = Hnsw::open(readable.index());
        let mut stats = Stats::new(&hnsw);
        stats.read(&hnsw);
        stats.row(call, &hnsw, &meta)
    }
}

/// Bytes of an index by what they hold.
#[derive(Default)]
struct Bytes {
    /// values: in full, or as compact codes with their factors
    vectors: u64,
    /// addresses of neighbours, used or not
    links: u64,
    /// what is kept beside links: neighbours' codes, their factors, spans; keys; the code map
    codes: u64,
    /// heap TIDs in nodes and in lists, used or not
    tuples: u64,
    /// pages of the entry table
    entries: u64,
    /// room for new items
    free: u64,
}

struct Stats {
    live: u64,
    dead: u64,
    heap_tuples: u64,
    /// layers that have nodes
    levels: u64,
    entry_points: u64,
    /// live nodes by the number of their links on the ground layer
    degrees: Vec<i64>,
    bytes: Bytes,
    pages: u64,
}

impl Stats {
    fn new(hnsw: &Hnsw) -> Stats {
        Stats {
            live: 0,
            dead: 0,
            heap_tuples: 0,
            levels: 0,
            entry_points: 0,
            degrees: vec![0; hnsw.shape.slots as usize + 1],
            bytes: Bytes::default(),
            pages: 0,
        }
    }

    /// Reads every page once, through a small ring of buffers.
    fn read(&mut self, hnsw: &Hnsw) {
        let access = Access::Sequential(Strategy::bulk_read());
        let blocks = hnsw.index.blocks();
        self.pages = blocks as u64;
        for block in 1..blocks {
            pgrx::check_for_interrupts!();
            let page = Shared::read(hnsw.index, block, access);
            self.add_page(hnsw, block, page.page());
        }
    }

    fn add_page(&mut self, hnsw: &Hnsw, block: u32, page: PageView<'_>) {
        if page.is_new() {
            self.bytes.free += PAGE_SIZE as u64;
            return;
        }
        let (lower, upper) = page.bounds();
        let room = upper.saturating_sub(lower) as u64;
        match hnsw.check(block, || Opaque::of(page)).0 {
            PageKind::Meta | PageKind::Centroid | PageKind::Codebook => {}
            PageKind::Free => {
                self.bytes.free += (PAGE_SIZE - HEADER - size_of::<Opaque>()) as u64;
            }
            PageKind::Nodes => {
                self.bytes.free += room;
                for offset in 1..=page.item_count() {
                    if let Some(node) = hnsw.node_on(page, NodeId { block, offset }) {
                        self.add_node(hnsw, &node);
                    }
                }
            }
            PageKind::Chunk => {
                self.bytes.free += room;
                for item in items(hnsw, block, page) {
                    let (_, piece) = hnsw.check(block, || format::chunk_of(item));
                    self.bytes.vectors += piece.len() as u64;
                }
            }
            PageKind::Tids => {
                self.bytes.free += room;
                for item in items(hnsw, block, page) {
                    let list = hnsw.check(block, || format::TidList::of(item));
                    self.heap_tuples += list.tids.len() as u64;
                    self.bytes.tuples += item.len() as u64;
                }
            }
            PageKind::Entries => {
                let layout = EntryLayout::of(hnsw.column.dims);
                let entries = hnsw.check(block, || Entries::of(page, layout));
                self.entry_points += entries.count as u64;
                self.bytes.entries += PAGE_SIZE as u64;
            }
            PageKind::Map | PageKind::Directory => self.bytes.codes += PAGE_SIZE as u64,
        }
    }

    fn add_node(&mut self, hnsw: &Hnsw, node: &Node<'_>) {
        let level = node.header.level;
        self.levels = self.levels.max(level as u64 + 1);
        if node.is_deleted() {
            self.dead += 1;
        } else {
            self.live += 1;
            let links = node.links(0).iter().filter(|link| link.offset != 0);
            self.degrees[links.count()] += 1;
        }
        self.heap_tuples += node.tids().len() as u64;
        let slots = hnsw.shape.slots as usize + level as usize * hnsw.shape.m as usize;
        let tids = size_of_val(&node.header.tids) + size_of_val(&node.header.more_tids);
        self.bytes.vectors += node.inline().len() as u64;
        self.bytes.links += (slots * size_of::<RawTid>()) as u64;
        self.bytes.codes += node.beside().len() as u64;
        self.bytes.tuples += tids as u64;
    }

    /// The result row, in the order of the columns in the SQL script.
    fn row(&self, call: Call, hnsw: &Hnsw, meta: &Meta) -> Datum {
        let (layout, quantizer, code_dims) = match hnsw.shape.block {
            None => ("plain", "none", None),
            Some(block) => match block.quantizer {
                Some(quantizer) => {
                    let dims = match quantizer.is_pq() {
                        true => block.dims,
                        false => block.code_dims,
                    };
                    ("inline", quantizer.name(), Some(dims))
                }
                None => ("compact", "sq8", Some(block.dims)),
            },
        };
        let entry_points = match hnsw.shape.block {
            None => meta.entry.id().is_some() as u64,
            Some(_) => self.entry_points,
        };
        let curve = meta.curve();
        let is_calibrated = !curve.is_empty();
        let bytes = &self.bytes;
        let total = self.pages * PAGE_SIZE as u64;
        let parts = [
            bytes.vectors,
            bytes.links,
            bytes.codes,
            bytes.tuples,
            bytes.entries,
            bytes.free,
        ];
        let overhead = total - parts.iter().sum::<u64>().min(total);
        call.row(&[
            Some(text(layout)),
            Some(text(quantizer)),
            Some(int4(hnsw.column.dims as i32)),
            code_dims.map(|dims| int4(dims as i32)),
            Some(int4(hnsw.params.m as i32)),
            Some(int4(hnsw.params.ef_construction as i32)),
            Some(int4(hnsw.shape.slots as i32)),
            Some(int8(self.live)),
            Some(int8(self.dead)),
            Some(int8(self.heap_tuples)),
            Some(int4(self.levels as i32)),
            Some(int8(entry_points)),
            Some(build_bigint(self.degrees.len(), |array| {
                array.copy_from_slice(&self.degrees);
            })),
            Some(int8(total)),
            Some(int8(bytes.vectors)),
            Some(int8(bytes.links)),
            Some(int8(bytes.codes)),
            Some(int8(bytes.tuples)),
            Some(int8(bytes.entries)),
            Some(int8(bytes.free)),
            Some(int8(overhead)),
            is_calibrated.then(|| {
                build_real(curve.len(), |array| {
                    for (element, point) in array.iter_mut().zip(curve) {
                        *element = point.multiple;
                    }
                })
            }),
            is_calibrated.then(|| {
                build_real(curve.len(), |array| {
                    for (element, point) in array.iter_mut().zip(curve) {
                        *element = point.recall;
                    }
                })
            }),
            is_calibrated.then(|| int8(meta.calibrated_nodes as u64)),
        ])
    }
}

/// The items of a page.
fn items<'a>(hnsw: &'a Hnsw, block: u32, page: PageView<'a>) -> impl Iterator<Item = &'a [u8]> {
    (1..=page.item_count()).filter_map(move |offset| hnsw.check(block, || page.item(offset)))
}
