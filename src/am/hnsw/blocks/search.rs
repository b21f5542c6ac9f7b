//! Blocks on pages, as a search reads them.

use super::entries;
use super::index::Blocks;
use crate::am::filter::Filter;
use crate::am::hnsw::tids::each_tid;
use crate::hnsw::blocks::format::Block;
use crate::hnsw::blocks::{BlockStore, KeySet, Near};
use crate::hnsw::format::{INLINE_TIDS, Meta, NodeId, Opaque, RawTid};
use crate::keys::Verdict;
use crate::pg::buffer::{Access, Hints, Pinned};
use crate::quantize::Query;
use std::rc::Rc;

/// Entries from which a search starts where all rows within a distance are wanted: they may be in islands.
pub const SEEDS_OF_ALL: usize = 64;
/// Pages pinned ahead of the one that is read. The server keeps few pins cheaply.
const PINS_AHEAD: usize = 5;

/// What a search keeps of a block that it has expanded.
pub trait Keep: Sized {
    /// Takes it from a live block.
    fn of(id: NodeId, block: &Block<'_>) -> Self;

    /// Keeps of it what a filter may want, given the keys in the block.
    fn narrow(&mut self, _filter: &Filter, _keys: &[u64]) -> Verdict {
        Verdict::Yes
    }

    /// Decides what [`narrow`](Keep::narrow) left open. No page of the index is locked.
    fn settle(&mut self, _blocks: &Blocks, _filter: &Filter) -> bool {
        true
    }
}

/// A row of a scan: where it is, and its heap tuples.
#[derive(Debug, Clone, Copy)]
pub struct ScanRow {
    /// the node
    pub id: NodeId,
    /// tells it from a later node at the same address
    pub generation: u32,
    tid_count: u8,
    /// bit by bit: keys did not tell whether the scan wants the heap tuple
    open: u8,
    /// there are TID lists beside
    pub has_lists: bool,
    tids: [RawTid; INLINE_TIDS],
}

impl ScanRow {
    /// The heap tuples in the block that the scan wants.
    pub fn tids(&self) -> &[RawTid] {
        &self.tids[..self.tid_count as usize]
    }

    /// The heap tuple that the scan wants, where there is one and for certain no other.
    pub fn only_tid(&self) -> Option<RawTid> {
        match (self.tids(), self.has_lists) {
            (&[tid], false) => Some(tid),
            _ => None,
        }
    }

    /// Appends all heap tuples of the row that the scan wants, those in lists as well.
    pub fn all_tids(&self, blocks: &Blocks, filter: Option<&Filter>, tids: &mut Vec<RawTid>) {
        if !self.has_lists {
            return tids.extend_from_slice(self.tids());
        }
        let hnsw = &blocks.hnsw;
        let mut open = Vec::new();
        hnsw.with_node(self.id, Access::Random, |node| {
            if node.header.generation != self.generation || node.is_deleted() {
                return;
            }
            each_tid(hnsw, self.id, &node, |tid, keys| {
                match filter.map_or(Verdict::Yes, |filter| filter.of_row(tid, keys)) {
                    Verdict::No => {}
                    Verdict::Open => open.push(tid),
                    Verdict::Yes => tids.push(tid),
                }
            });
        });
        if let Some(filter) = filter {
            open.retain(|&tid| filter.settle(tid) == Verdict::Yes);
        }
        tids.extend(open);
    }
}

impl Keep for ScanRow {
    #[inline]
    fn of(id: NodeId, block: &Block<'_>) -> Self {
        ScanRow {
            id,
            generation: block.header.generation,
            tid_count: block.header.tid_count as u8,
            open: 0,
            has_lists: block.header.more_tids != RawTid::NONE,
            tids: block.header.tids,
        }
    }

    #[inline]
    fn narrow(&mut self, filter: &Filter, keys: &[u64]) -> Verdict {
        let count = self.tid_count as usize;
        let columns = keys.len() / count.max(1);
        let mut wanted = 0;
        for n in 0..count {
            let tid = self.tids[n];
            let verdict = filter.of_row(tid, &keys[n * columns..][..columns]);
            if verdict == Verdict::No {
                continue;
            }
            self.open |= ((verdict == Verdict::Open) as u8) << wanted;
            self.tids[wanted] = tid;
            wanted += 1;
        }
        self.tid_count = wanted as u8;
        match (self.open, wanted) {
            (0, 1..) => Verdict::Yes,
            (0, 0) if !self.has_lists => Verdict::No,
            _ => Verdict::Open,
        }
    }

    fn settle(&mut self, blocks: &Blocks, filter: &Filter) -> bool {
        let (count, open) = (self.tid_count as usize, self.open);
        let mut wanted = 0;
        for n in 0..count {
            let tid = self.tids[n];
            if open >> n & 1 == 0 || filter.settle(tid) == Verdict::Yes {
                self.tids[wanted] = tid;
                wanted += 1;
            }
        }
        (self.tid_count, self.open) = (wanted as u8, 0);
        if wanted == 0 && self.has_lists {
            let mut tids = Vec::new();
            self.all_tids(blocks, Some(filter), &mut tids);
            return !tids.is_empty();
        }
        wanted > 0
    }
}

/// A search over pages.
pub struct PageBlocks<K> {
    /// the index
    pub blocks: Rc<Blocks>,
    /// what is searched for
    pub query: Query,
    /// which rows are wanted; `None` where all are. Others lead the way but are not found
    pub filter: Option<Rc<Filter>>,
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
            filter: None,
            keep: std::marker::PhantomData,
        }
    }

    /// Nodes to start from, `count` of them, with their estimated distances.
    pub fn seeds(&mut self, meta: &Meta, count: usize, seeds: &mut Vec<(NodeId, f32)>) {
        self.visited.clear();
        seeds.clear();
        let table = entries::nearest(&self.blocks, &self.hints, &self.query, meta, count, seeds);
        self.pages = table as u64;
        if seeds.is_empty()
            && let Some(entry) = meta.entry.id()
        {
            seeds.push((entry, 0.0));
        }
    }

    /// Reads a node by itself: its row, unless it is deleted, gone, another one by now, or not
    /// wanted.
    pub fn read(&mut self, id: NodeId, generation: u32) -> Option<Near<K>> {
        self.pages += 1;
        let page = self.hints.pin(self.blocks.hnsw.index, id.block).lock();
        let block = self.blocks.block_on(page.page(), id)?;
        if block.header.generation != generation {
            return None;
        }
        let mut verdict = Verdict::Yes;
        let near = near_of(
            &self.query,
            self.filter.as_deref(),
            id,
            &block,
            &mut verdict,
        );
        drop(page);
        self.settle(near, verdict)
    }

    #[inline]
    fn settle(&self, near: Option<Near<K>>, verdict: Verdict) -> Option<Near<K>> {
        let mut near = near?;
        match (&self.filter, verdict) {
            (Some(filter), Verdict::Open) => near.row.settle(&self.blocks, filter).then_some(near),
            _ => Some(near),
        }
    }

    /// Asks for a node that will be read by itself soon.
    #[inline]
    pub fn prefetch_head(&self, id: NodeId) {
        let size = self.blocks.layout.size;
        let from_end = size_of::<Opaque>() + id.offset as usize * size;
        let head = 64 * self.blocks.layout.head_lines();
        let index = self.blocks.hnsw.index;
        self.hints.prefetch(index, id.block, from_end, head);
    }

    /// Where blocks of the index were last in the buffer pool.
    pub fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Counts pages read for the search by somebody else.
    pub fn count_pages(&mut self, pages: u64) {
        self.pages += pages;
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

/// A block's row with its near distance, unless it is deleted or for certain not wanted; `verdict`
/// becomes what is known of that.
#[inline]
fn near_of<K: Keep>(
    query: &Query,
    filter: Option<&Filter>,
    id: NodeId,
    block: &Block<'_>,
    verdict: &mut Verdict,
) -> Option<Near<K>> {
    if block.is_deleted() {
        return None;
    }
    let mut row = K::of(id, block);
    if let Some(filter) = filter {
        *verdict = row.narrow(filter, block.keys());
        if *verdict == Verdict::No {
            return None;
        }
    }
    let compact = block.compact();
    Some(Near {
        distance: query.distance(compact),
        error: query.error_bound(compact),
        row,
    })
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
        let mut verdict = Verdict::Yes;
        let near = near_of(
            &self.query,
            self.filter.as_deref(),
            id,
            &block,
            &mut verdict,
        );
        let links = block.links();
        match block.estimate(&self.query, &mut self.estimates) {
            Some(estimates) => {
                for (link, &mut estimate) in links.iter().zip(estimates) {
                    if let Some(id) = link.id() {
                        neighbour(id, estimate);
                    }
                }
                drop(page);
            }
            None => {
                self.links.clear();
                self.links.extend(links.iter().filter_map(|link| link.id()));
                drop(page);
                self.visit(&mut neighbour);
            }
        }
        self.settle(near, verdict)
    }

    #[inline]
    fn prefetch(&mut self, id: NodeId) {
        let size = self.blocks.layout.size;
        let from_end = size_of::<Opaque>() + id.offset as usize * size;
        self.hints
            .prefetch(self.blocks.hnsw.index, id.block, from_end, size);
    }
}
