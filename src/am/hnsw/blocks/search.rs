//! Blocks on pages, as a search reads them.

use super::entries;
use super::index::Blocks;
use crate::hnsw::blocks::format::Block;
use crate::hnsw::blocks::{BlockStore, KeySet, Near};
use crate::hnsw::format::{INLINE_TIDS, Meta, NodeId, Opaque, RawTid};
use crate::pg::buffer::{Hints, Pinned};
use crate::quantize::Query;
use std::rc::Rc;

/// Entries from which a search starts.
const SEEDS: usize = 4;
/// Pages pinned ahead of the one that is read. The server keeps few pins cheaply.
const PINS_AHEAD: usize = 5;

/// What a search keeps of a block that it has expanded.
pub trait Keep: Sized {
    /// Takes it from a live block.
    fn of(id: NodeId, block: &Block<'_>) -> Self;
}

/// A row of a scan: where it is, and its heap tuples.
#[derive(Debug, Clone, Copy)]
pub struct ScanRow {
    /// the node
    pub id: NodeId,
    /// tells it from a later node at the same address
    pub generation: u32,
    tid_count: u8,
    /// there are TID lists beside
    pub has_lists: bool,
    tids: [RawTid; INLINE_TIDS],
}

impl ScanRow {
    /// The heap tuples in the block.
    pub fn tids(&self) -> &[RawTid] {
        &self.tids[..self.tid_count as usize]
    }
}

impl Keep for ScanRow {
    #[inline]
    fn of(id: NodeId, block: &Block<'_>) -> Self {
        ScanRow {
            id,
            generation: block.header.generation,
            tid_count: block.header.tid_count as u8,
            has_lists: block.header.more_tids != RawTid::NONE,
            tids: block.header.tids,
        }
    }
}

/// A search over pages.
pub struct PageBlocks<K> {
    /// the index
    pub blocks: Rc<Blocks>,
    /// what is searched for
    pub query: Query,
    hints: Hints,
    estimates: Vec<f32>,
    /// nodes whose compact codes were read as neighbours; layout compact
    visited: KeySet,
    links: Vec<NodeId>,
    pages: u64,
    keep: std::marker::PhantomData<K>,
}

impl<K: Keep> PageBlocks<K> {
    /// A search for `query`.
    pub fn new(blocks: Rc<Blocks>, query: Query) -> Self {
        PageBlocks {
            hints: Hints::of(blocks.hnsw.index),
            estimates: Vec::new(),
            visited: KeySet::new(),
            links: Vec::new(),
            pages: 0,
            blocks,
            query,
            keep: std::marker::PhantomData,
        }
    }

    /// Nodes to start from, with their estimated distances.
    pub fn seeds(&mut self, meta: &Meta, seeds: &mut Vec<(NodeId, f32)>) {
        self.visited.clear();
        seeds.clear();
        let table = entries::nearest(&self.blocks, &self.hints, &self.query, meta, SEEDS, seeds);
        self.pages = table as u64;
        if seeds.is_empty()
            && let Some(entry) = meta.entry.id()
        {
            seeds.push((entry, 0.0));
        }
    }

    /// Pages read since [`seeds`](Self::seeds) began the search.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Reads the compact codes of a node's neighbours: those not read before.
    fn visit(&mut self, neighbour: &mut impl FnMut(NodeId, f32)) {
        let index = self.blocks.hnsw.index;
        let mut links = std::mem::take(&mut self.links);
        links.retain(|id| self.visited.insert(key_of(*id)));
        self.pages += links.len() as u64;
        let mut pins: [Option<Pinned>; PINS_AHEAD] = [const { None }; PINS_AHEAD];
        for step in 0..links.len() + PINS_AHEAD - 1 {
            if let Some(id) = links.get(step) {
                let pin = self.hints.pin(index, id.block);
                pin.prefetch_page();
                pins[step % PINS_AHEAD] = Some(pin);
            }
            if let Some(at) = step.checked_sub(PINS_AHEAD - 3)
                && let (Some(id), Some(pin)) = (links.get(at), &pins[at % PINS_AHEAD])
            {
                pin.prefetch_item(id.offset, self.blocks.layout.head_lines());
            }
            if let Some(at) = step.checked_sub(PINS_AHEAD - 1)
                && let Some(pin) = pins[at % PINS_AHEAD].take()
            {
                let page = pin.lock();
                if let Some(block) = self.blocks.block_on(page.page(), links[at]) {
                    neighbour(links[at], self.query.distance(block.compact()));
                }
            }
        }
        self.links = links;
    }
}

#[inline]
fn key_of(id: NodeId) -> u64 {
    (id.block as u64) << 16 | id.offset as u64
}

impl<K: Keep> BlockStore for PageBlocks<K> {
    type Node = NodeId;
    type Row = K;

    #[inline]
    fn key(node: NodeId) -> u64 {
        key_of(node)
    }

    fn expand(&mut self, id: NodeId, mut neighbour: impl FnMut(NodeId, f32)) -> Option<Near<K>> {
        self.pages += 1;
        let page = self.hints.pin(self.blocks.hnsw.index, id.block).lock();
        let block = self.blocks.block_on(page.page(), id)?;
        let near = (!block.is_deleted()).then(|| {
            let compact = block.compact();
            Near {
                distance: self.query.distance(compact),
                error: self.query.error_bound(compact),
                row: K::of(id, &block),
            }
        });
        let links = block.links();
        match block.estimate(&self.query, &mut self.estimates) {
            Some(estimates) => {
                for (link, &mut estimate) in links.iter().zip(estimates) {
                    if let Some(id) = link.id() {
                        neighbour(id, estimate);
                    }
                }
            }
            None => {
                self.links.clear();
                self.links.extend(links.iter().filter_map(|link| link.id()));
                drop(page);
                self.visit(&mut neighbour);
            }
        }
        near
    }

    #[inline]
    fn prefetch(&mut self, id: NodeId) {
        let size = self.blocks.layout.size;
        let from_end = size_of::<Opaque>() + id.offset as usize * size;
        self.hints
            .prefetch(self.blocks.hnsw.index, id.block, from_end, size);
    }
}
