//! Heap tuples of the nodes of a graph being built, and the pages of those with many.

use super::place;
use super::storage::Hnsw;
use crate::hnsw::format::{self, INLINE_TIDS, MAX_LIST_TIDS, NodeId, Opaque, PageKind, RawTid};
use crate::pg::buffer::{self, Change, Exclusive, Logging};
use pgrx::pg_sys;
use rustc_hash::FxHashMap;

/// Heap tuples by node, as rows come in.
#[derive(Default)]
pub struct TidLists {
    /// the first of each node by its number
    first: Vec<RawTid>,
    /// further ones
    more: FxHashMap<u32, Vec<RawTid>>,
    more_count: usize,
}

impl TidLists {
    /// The heap tuple of the next new node.
    pub fn push_first(&mut self, tid: RawTid) {
        self.first.push(tid);
    }

    /// A further heap tuple of a node.
    pub fn push_more(&mut self, node: u32, tid: RawTid) {
        self.more.entry(node).or_default().push(tid);
        self.more_count += 1;
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.first.len() * size_of::<RawTid>()
            + self.more.len() * 64
            + self.more_count * 2 * size_of::<RawTid>()
    }

    /// The heap tuples that do not fit into a node's item.
    fn overflow(&self, node: u32) -> &[RawTid] {
        self.more
            .get(&node)
            .and_then(|tids| tids.get(INLINE_TIDS - 1..))
            .unwrap_or(&[])
    }

    /// All heap tuples of a node.
    fn all(&self, node: u32) -> impl Iterator<Item = RawTid> + '_ {
        let more = self.more.get(&node).map_or(&[][..], Vec::as_slice);
        std::iter::once(self.first[node as usize]).chain(more.iter().copied())
    }

    /// The heap tuples in a node's item.
    pub fn inline(&self, node: u32) -> Vec<RawTid> {
        self.all(node).take(INLINE_TIDS).collect()
    }

    /// Writes the TID lists of an index being built, so that nodes can refer to them. Only of nodes
    /// that are `included`. Returns the newest list of each node that has any, and the last page.
    pub fn write(&self, hnsw: &Hnsw) -> (FxHashMap<u32, NodeId>, Option<u32>) {
        let mut nodes: Vec<u32> = self.more.keys().copied().collect();
        nodes.sort_unstable();
        let mut lists = FxHashMap::default();
        let mut page: Option<Exclusive> = None;
        for node in nodes {
            let mut next = RawTid::NONE;
            for tids in self.overflow(node).chunks(MAX_LIST_TIDS) {
                pgrx::check_for_interrupts!();
                // nodes of a build have generation 0, as their pages
                let capacity = (tids.len() + 8).min(MAX_LIST_TIDS);
                let item = format::encode_tid_list(0, next, capacity, tids);
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
