//! Writing a graph that was built to pages, in the order of blocks: threads make nodes' items while the
//! backend's thread writes those before.

use super::entries::{self, Entry};
use super::index::Blocks;
use super::map;
use crate::am::damaged::raise_damaged;
use crate::am::hnsw::place;
use crate::am::hnsw::tids::TidLists;
use crate::hnsw::blocks::Codes;
use crate::hnsw::blocks::build::{Graph, Link, Verdict};
use crate::hnsw::blocks::format::{BlockLayout, BlockMut, Kept, Span, encode_value};
use crate::hnsw::blocks::map::MapRow;
use crate::hnsw::format::{NewNode, NodeId, NodeMut, Opaque, PageKind, RawTid, Shape};
use crate::page::Damage;
use crate::pg::buffer::{Exclusive, PAGE_SIZE};
use crate::pg::change::{Change, Logging};
use crate::pg::progress;
use crate::pg::threads;
use pgrx::pg_sys;
use rustc_hash::FxHashMap;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Bytes of items that are made before they are written.
const MADE_AHEAD: usize = 4 << 20;
/// Items that a thread makes at a time.
const PART: usize = 32;

/// Writes a graph to pages.
pub struct Writer<'a> {
    blocks: &'a Rc<Blocks>,
    items: Items<'a>,
}

/// Makes the items of nodes. Plain memory: for threads.
struct Items<'a> {
    shape: Shape,
    layout: &'a BlockLayout,
    graph: &'a Graph,
    /// none in the layout compact
    codes: Option<&'a Codes>,
    tids: &'a TidLists,
    /// newest TID list of the nodes that have any
    lists: FxHashMap<u32, NodeId>,
    /// where each node goes
    ids: Vec<RawTid>,
}

impl<'a> Writer<'a> {
    /// A writer of a linked graph with the codes and the heap tuples of its nodes.
    pub fn new(
        blocks: &'a Rc<Blocks>,
        graph: &'a Graph,
        codes: Option<&'a Codes>,
        tids: &'a TidLists,
    ) -> Writer<'a> {
        Writer {
            items: Items {
                shape: blocks.hnsw.shape,
                layout: &blocks.layout,
                graph,
                codes,
                tids,
                lists: FxHashMap::default(),
                ids: vec![RawTid::NONE; graph.len()],
            },
            blocks,
        }
    }

    /// Writes everything but the calibration curve.
    pub fn write(mut self) {
        let hnsw = &self.blocks.hnsw;
        let (lists, tid_page) = self.items.tids.write(hnsw);
        self.items.lists = lists;
        let order = order_of(self.items.graph, self.on_page());
        self.assign(&order);
        let last_page = self.write_nodes(&order);
        let entry_nodes = self.items.graph.entries().iter().copied();
        let entries: Vec<Entry> = entry_nodes
            .filter_map(|node| {
                let id = self.items.ids[node as usize].id()?;
                Some(Entry::of(self.blocks, id, self.items.graph.get(node)))
            })
            .collect();
        let entry = entries.first().map(|entry| entry.node);
        place::change_meta(hnsw, Logging::AtEndOfBuild, |meta| {
            meta.entry = entry.map_or(RawTid::NONE, RawTid::from);
            meta.node_page = last_page.unwrap_or(0);
            meta.tid_page = tid_page.unwrap_or(0);
        });
        entries::add(self.blocks, Logging::AtEndOfBuild, &entries);
        self.write_map();
    }

    /// Writes the code map: rows with equal keys beside each other.
    fn write_map(&self) {
        let Some(layout) = self.blocks.map else {
            return;
        };
        // numbers of nodes, and of heap tuples of each
        let mut order: Vec<(u32, u32)> = Vec::new();
        for node in 0..self.items.graph.len() as u32 {
            if self.items.ids[node as usize].id().is_some() {
                let count = self.items.tids.count(node) as u32;
                order.extend((0..count).map(|n| (node, n)));
            }
        }
        if layout.keys > 0 {
            pgrx::check_for_interrupts!();
            let keys = |&(node, n): &(u32, u32)| self.items.tids.row(node, n as usize).1;
            order.sort_by(|a, b| keys(a).cmp(keys(b)));
        }
        let shape = &self.blocks.layout.block;
        let is_same_code =
            shape.quantizer == Some(layout.quantizer) && shape.code_dims == shape.dims;
        map::write(self.blocks, layout, order.len(), |at, code, push| {
            let (node, n) = order[at];
            let (tid, keys) = self.items.tids.row(node, n as usize);
            let row = MapRow {
                tid,
                node: self.items.ids[node as usize],
                // nodes of a build have generation 0, as their pages
                generation: 0,
            };
            if is_same_code && let Some(codes) = &self.items.codes {
                return push(row, keys, codes.kept(node));
            }
            code.clear();
            code.resize(layout.code_len(), 0);
            let (quantizer, dims) = (layout.quantizer, shape.dims as usize);
            let compact = self.items.graph.get(node);
            let factors = self.blocks.codec.quantize(compact, quantizer, dims, code);
            push(row, keys, Kept { factors, code });
        });
    }

    /// Nodes that fit on a page.
    fn on_page(&self) -> usize {
        let capacity = PAGE_SIZE - crate::page::HEADER - size_of::<Opaque>();
        capacity / (self.blocks.layout.size + 4)
    }

    /// Decides where every node goes: pages of nodes are filled in order.
    fn assign(&mut self, order: &[u32]) {
        let on_page = self.on_page();
        let first = self.blocks.hnsw.index.blocks();
        for (n, &node) in order.iter().enumerate() {
            let id = NodeId {
                block: first + (n / on_page) as u32,
                offset: (n % on_page + 1) as u16,
            };
            self.items.ids[node as usize] = id.into();
        }
    }

    /// Writes all nodes; returns the last page.
    fn write_nodes(&self, order: &[u32]) -> Option<u32> {
        // the backend's thread is busy writing
        let makers = threads::for_maintenance(order.len().div_ceil(100)) - 1;
        let chunk = (MADE_AHEAD / self.blocks.layout.size).max(PART);
        let mut pages = NodePages {
            writer: self,
            page: None,
            written: 0,
        };
        let maker = &self.items;
        progress::tuples_done(0);
        let mut before: (&[u32], Vec<Vec<u8>>) = (&[], Vec::new());
        for nodes in order.chunks(chunk) {
            let ready = std::mem::take(&mut before);
            let made = Mutex::new(Vec::new());
            let next = AtomicUsize::new(0);
            let make = |stop: &AtomicBool| {
                let mine = maker.of_all(nodes, &next, stop);
                made.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(mine);
            };
            let mut is_written = false;
            threads::run(makers, make, || {
                if !std::mem::replace(&mut is_written, true) {
                    pages.write(ready.0, &ready.1);
                    // what is left, or everything where there are no threads
                    make(&AtomicBool::new(false));
                }
            });
            let items = made.into_inner().unwrap_or_else(PoisonError::into_inner);
            before = (nodes, self.in_order(items));
        }
        pages.write(before.0, &before.1);
        pages.page.map(|page| page.block())
    }

    /// Parts one after another. Raises XX002 where one could not be made.
    fn in_order(&self, mut parts: Vec<Part>) -> Vec<Vec<u8>> {
        parts.sort_unstable_by_key(|part| part.number);
        let mut items = Vec::new();
        for part in parts {
            match part.items {
                Ok(of_part) => items.extend(of_part),
                Err((block, damage)) => raise_damaged(self.blocks.hnsw.index, block, damage),
            }
        }
        items
    }
}

/// Pages of nodes on their way to the index.
struct NodePages<'w> {
    writer: &'w Writer<'w>,
    page: Option<Exclusive>,
    written: usize,
}

impl NodePages<'_> {
    /// Writes the items of some nodes to where these go.
    fn write(&mut self, nodes: &[u32], items: &[Vec<u8>]) {
        let index = self.writer.blocks.hnsw.index;
        for (&node, item) in nodes.iter().zip(items) {
            let Some(id) = self.writer.items.ids[node as usize].id() else {
                continue;
            };
            let is_new = self
                .page
                .as_ref()
                .is_none_or(|page| page.block() != id.block);
            if is_new {
                pgrx::check_for_interrupts!();
                drop(self.page.take());
                let mut new = Exclusive::extend(index, pg_sys::ForkNumber::MAIN_FORKNUM);
                assert_eq!(
                    new.block(),
                    id.block,
                    "nobody else extends an index being built"
                );
                let mut change = Change::begin(index, Logging::AtEndOfBuild);
                change.new_page(&mut new, &Opaque::new(PageKind::Nodes, 0));
                change.commit();
                self.page = Some(new);
            }
            let target = self
                .page
                .as_mut()
                .expect("the node's page was made just now");
            let mut change = Change::begin(index, Logging::AtEndOfBuild);
            let added = change.page(target).add_item(item);
            change.commit();
            if added != Some(id.offset) {
                raise_damaged(
                    index,
                    id.block,
                    Damage("a node did not go where it was assigned"),
                );
            }
            self.written += 1;
            if self.written.is_multiple_of(1024) {
                progress::tuples_done(self.written as u64);
            }
        }
    }
}

/// Items of nodes that follow each other.
struct Part {
    number: usize,
    /// or the block that one was for, and what is wrong with it
    items: Result<Vec<Vec<u8>>, (u32, Damage)>,
}

impl Items<'_> {
    /// Makes the items of those parts of some nodes that nobody else takes. Once `stop` is set it returns
    /// soon, with parts missing.
    fn of_all(&self, nodes: &[u32], next: &AtomicUsize, stop: &AtomicBool) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut links = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = nodes.chunks(PART).nth(number) else {
                break;
            };
            let items = part.iter().map(|&node| {
                let block = self.ids[node as usize].id().map_or(0, |id| id.block);
                self.of(node, &mut links).map_err(|damage| (block, damage))
            });
            parts.push(Part {
                number,
                items: items.collect(),
            });
        }
        parts
    }

    fn of(&self, node: u32, links: &mut Vec<Link>) -> Result<Vec<u8>, Damage> {
        let value = encode_value(self.graph.get(node), self.graph.hash(node));
        let (tids, keys) = self.tids.inline(node);
        let mut item = NewNode {
            level: 0,
            generation: 0,
            value: &value,
            norm_squared: 0.0,
            chunks: &[],
            tids: &tids,
            keys: &keys,
            more_tids: self.lists.get(&node).map_or(RawTid::NONE, |&at| at.into()),
        }
        .encode(self.shape);
        let mut writer = NodeMut::of(&mut item, self.shape)?;
        let mut target = BlockMut::of(&mut writer, self.layout);
        links.clear();
        self.graph.links(node, links);
        let neighbours = links.iter().filter_map(|link| {
            let id = self.ids[link.node as usize].id()?;
            Some((link, id))
        });
        for (slot, (link, id)) in neighbours.enumerate() {
            let span = Span::new(link.distance, link.verdict == Verdict::Covered);
            let code = self.codes.map(|codes| codes.kept(link.node));
            target.set(slot, id, span, code);
        }
        Ok(item)
    }
}

/// The order in which nodes go to pages.
fn order_of(graph: &Graph, on_page: usize) -> Vec<u32> {
    let order = Mutex::new(Vec::new());
    threads::run(
        1,
        |stop| {
            let found = graph.order(on_page, stop);
            *order.lock().unwrap_or_else(PoisonError::into_inner) = found;
        },
        || {},
    );
    order.into_inner().unwrap_or_else(PoisonError::into_inner)
}
