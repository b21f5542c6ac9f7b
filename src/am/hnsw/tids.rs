//! Heap tuples of nodes: read during scans; in a build, collected and written to pages.

use super::place;
use super::storage::Hnsw;
use crate::hnsw::format::{self, INLINE_TIDS, Node, NodeId, Opaque, PageKind, RawTid};
use crate::pg::buffer::{self, Access, Exclusive};
use crate::pg::change::{Change, Logging};
use pgrx::pg_sys;
use rustc_hash::FxHashMap;

/// Heap tuples by node, as rows come in, with the keys of their filter columns.
#[derive(Default)]
pub struct TidLists {
    /// the first of each node by its number
    first: Vec<RawTid>,
    /// their keys, one tuple's after another's
    first_keys: Vec<u64>,
    /// further ones
    more: FxHashMap<u32, More>,
    more_count: usize,
    /// filter columns
    columns: usize,
}

/// Further heap tuples of a node.
#[derive(Default)]
struct More {
    tids: Vec<RawTid>,
    keys: Vec<u64>,
}

impl TidLists {
    /// The heap tuple of the next new node, and its keys.
    pub fn push_first(&mut self, tid: RawTid, keys: &[u64]) {
        self.columns = keys.len();
        self.first.push(tid);
        self.first_keys.extend_from_slice(keys);
    }

    /// A further heap tuple of a node, and its keys.
    pub fn push_more(&mut self, node: u32, tid: RawTid, keys: &[u64]) {
        let more = self.more.entry(node).or_default();
        more.tids.push(tid);
        more.keys.extend_from_slice(keys);
        self.more_count += 1;
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        let tuple = size_of::<RawTid>() + 8 * self.columns;
        self.first.len() * tuple + self.more.len() * 96 + self.more_count * 2 * tuple
    }

    /// All heap tuples of a node with their keys.
    fn all(&self, node: u32) -> impl Iterator<Item = (RawTid, &[u64])> {
        let columns = self.columns;
        let more = self.more.get(&node).into_iter();
        let more = more.flat_map(move |more| {
            let keys = (0..more.tids.len()).map(move |n| &more.keys[n * columns..][..columns]);
            more.tids.iter().copied().zip(keys)
        });
        let first = node as usize;
        let first_keys = &self.first_keys[first * columns..][..columns];
        std::iter::once((self.first[first], first_keys)).chain(more)
    }

    /// How many heap tuples a node has.
    pub fn count(&self, node: u32) -> usize {
        1 + self.more.get(&node).map_or(0, |more| more.tids.len())
    }

    /// Heap tuple `n` (from 0) of a node, and its keys.
    pub fn row(&self, node: u32, n: usize) -> (RawTid, &[u64]) {
        let columns = self.columns;
        let (tids, keys, at) = match n {
            0 => (&self.first, &self.first_keys, node as usize),
            _ => {
                let more = &self.more[&node];
                (&more.tids, &more.keys, n - 1)
            }
        };
        (tids[at], &keys[at * columns..][..columns])
    }

    /// The heap tuples in a node's item, and their keys, one tuple's after another's.
    pub fn inline(&self, node: u32) -> (Vec<RawTid>, Vec<u64>) {
        let (mut tids, mut keys) = (Vec::new(), Vec::new());
        for (tid, its_keys) in self.all(node).take(INLINE_TIDS) {
            tids.push(tid);
            keys.extend_from_slice(its_keys);
        }
        (tids, keys)
    }

    /// Writes the TID lists of an index being built, so that nodes can refer to them.
    /// Returns the newest list of each node that has any, and the last page.
    pub fn write(&self, hnsw: &Hnsw) -> (FxHashMap<u32, NodeId>, Option<u32>) {
        let mut nodes: Vec<u32> = self.more.keys().copied().collect();
        nodes.sort_unstable();
        let mut lists = FxHashMap::default();
        let mut page: Option<Exclusive> = None;
        for node in nodes {
            let mut next = RawTid::NONE;
            let more = &self.more[&node];
            // what does not fit into the node's item
            let inline = INLINE_TIDS - 1;
            let (Some(tids), Some(keys)) = (
                more.tids.get(inline..),
                more.keys.get(inline * self.columns..),
            ) else {
                continue;
            };
            let most = format::max_list_tids(self.columns);
            for (n, tids) in tids.chunks(most).enumerate() {
                pgrx::check_for_interrupts!();
                // nodes of a build have generation 0, as their pages
                let capacity = (tids.len() + 8).min(most);
                let keys = &keys[n * most * self.columns..][..tids.len() * self.columns];
                let item = format::encode_tid_list(0, next, capacity, tids, keys, self.columns);
                let full = page
                    .as_ref()
                    .is_none_or(|p| buffer::room(p.page()) < item.len());
                if full {
                    page = Some(extend_with(hnsw, PageKind::Tids));
                }
                let target = page.as_mut().expect("a page was made just now");
                let at = NodeId {
                    block: target.block(),
                    offset: add(hnsw, target, &item),
                };
                next = at.into();
                lists.insert(node, at);
            }
        }
        (lists, page.map(|page| page.block()))
    }
}

/// A new page at the end of an index being built, unlogged.
pub fn extend_with(hnsw: &Hnsw, kind: PageKind) -> Exclusive {
    let mut page = Exclusive::extend(hnsw.index, pg_sys::ForkNumber::MAIN_FORKNUM);
    let mut change = Change::begin(hnsw.index, Logging::AtEndOfBuild);
    change.new_page(&mut page, &Opaque::new(kind, 0));
    change.commit();
    page
}

/// Adds an item to a page of a build, unlogged.
pub fn add(hnsw: &Hnsw, page: &mut Exclusive, item: &[u8]) -> u16 {
    let mut change = Change::begin(hnsw.index, Logging::AtEndOfBuild);
    let added = change.page(page).add_item(item);
    change.commit();
    added.unwrap_or_else(|| place::raise_no_room(hnsw, page.block()))
}

/// Reads the heap tuples of a node, the first one last, unless it is gone.
pub fn tids_of(hnsw: &Hnsw, id: NodeId, generation: u32, tids: &mut Vec<RawTid>) {
    hnsw.with_node(id, Access::Random, |node| {
        if node.header.generation == generation && !node.is_deleted() {
            each_tid(hnsw, id, &node, |tid, _| tids.push(tid));
            tids.reverse();
        }
    });
}

/// Hands all heap tuples of a node whose page is locked to `f`, with their keys.
pub fn each_tid(hnsw: &Hnsw, id: NodeId, node: &Node<'_>, mut f: impl FnMut(RawTid, &[u64])) {
    let columns = hnsw.shape.keys();
    let mut each = |tids: &[RawTid], keys: &[u64]| {
        for (n, &tid) in tids.iter().enumerate() {
            f(tid, &keys[n * columns..][..columns]);
        }
    };
    each(node.tids(), node.keys());
    let mut next = node.header.more_tids;
    let mut walk = place::ChainWalk::new();
    while let Some(at) = next.id() {
        walk.step(hnsw, at);
        next = place::read_tid_list(hnsw, id, at, node.header.generation, |list| {
            each(list.tids, list.keys);
            list.header.next
        });
    }
}
