//! VACUUM: dead heap tuples leave the index in three passes.
//!
//! 1. Heap tuples are taken out of nodes; a node without any is marked deleted. It still leads
//!    searches on, but is not handed out, and no insert links to it.
//! 2. After every insert that may have seen such a node alive has ended (the turnstile), links to
//!    deleted nodes are replaced; links that live stay. A new entry point is chosen where the old
//!    one is deleted. A live node that no link leads to any more is attached to the nearest one.
//! 3. After every insert that may be on its way through deleted nodes has ended (the turnstile
//!    again), these are erased: nothing links to them any more. Their space is free.
//!
//! A crash between passes leaves marked nodes for the next VACUUM. Scans may hold addresses of
//! erased nodes; the generation tells them.

use super::blocks::{self, index::Blocks};
use super::insert::{Back, Neighbourhood, effective_ef_construction};
use super::place::{self, with_node_mut};
use super::storage::{Hnsw, META_BLOCK, PageNode, PageStore, read_meta};
use crate::hnsw::blocks::map::MapLayout;
use crate::hnsw::format::{DELETED, Node, NodeId, Opaque, PageKind, RawTid};
use crate::hnsw::{Candidate, Distance, Level, Searcher};
use crate::pg::buffer::{
    self, Access, Change, Exclusive, Logging, PageMut, Shared, Strategy, free_space_map,
};
use crate::pg::relation::{Index, Turnstile};
use pgrx::pg_sys;
use rustc_hash::{FxHashMap, FxHashSet};
use std::rc::Rc;

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn ambulkdelete(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
    callback: pg_sys::IndexBulkDeleteCallback,
    callback_state: *mut std::ffi::c_void,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: the server passes an open index, and a callback with its state; the result is
    // allocated in the caller's context.
    unsafe {
        let stats = if stats.is_null() {
            pg_sys::palloc0(size_of::<pg_sys::IndexBulkDeleteResult>()).cast()
        } else {
            stats
        };
        let (hnsw, meta) = Hnsw::open(Index::new((*info).index));
        let Some(callback) = callback else {
            return stats;
        };
        let mut vacuum = Vacuum {
            hnsw,
            access: Access::Sequential(Strategy::of((*info).strategy)),
            deleted: FxHashSet::default(),
            best_entry: None,
            unlinked: FxHashSet::default(),
            most_unlinked: most_unlinked(),
            kept: 0,
            removed: 0,
        };
        let map = blocks::map::layout(&hnsw, &meta);
        vacuum.remove_tuples(map, &mut |mut tid| callback(&mut tid, callback_state));
        if !vacuum.deleted.is_empty() {
            vacuum.wait_for_inserts();
            vacuum.replace_entry();
            match Blocks::open(hnsw, &meta) {
                Some(blocks) => vacuum.repair_blocks(Rc::new(blocks)),
                None => vacuum.repair(),
            }
            vacuum.wait_for_inserts();
            (*stats).pages_deleted = 0;
            (*stats).pages_newly_deleted += vacuum.erase();
        }
        (*stats).num_index_tuples = vacuum.kept as f64;
        (*stats).tuples_removed += vacuum.removed as f64;
        stats
    }
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn amvacuumcleanup(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: the server passes an open index.
    unsafe {
        if (*info).analyze_only || stats.is_null() {
            return stats;
        }
        let index = Index::new((*info).index);
        free_space_map::publish(index);
        (*stats).num_pages = index.blocks();
        stats
    }
}

struct Vacuum {
    hnsw: Hnsw,
    access: Access,
    deleted: FxHashSet<NodeId>,
    /// the live node of the highest level seen
    best_entry: Option<(Level, NodeId)>,
    /// live nodes that no link of a live node was seen to lead to; of a large index the first
    /// that memory has room for
    unlinked: FxHashSet<NodeId>,
    most_unlinked: usize,
    kept: u64,
    removed: u64,
}

/// The TIDs that are not dead, and their keys.
fn living(tids: &[RawTid], keys: &[u64], is_dead: &mut IsDead<'_>) -> (Vec<RawTid>, Vec<u64>) {
    let columns = keys.len() / tids.len().max(1);
    let mut living = (Vec::with_capacity(tids.len()), Vec::new());
    for (n, &tid) in tids.iter().enumerate() {
        if !is_dead(item_pointer(tid)) {
            living.0.push(tid);
            living.1.extend_from_slice(&keys[n * columns..][..columns]);
        }
    }
    living
}

/// Answers interrupts and sleeps as vacuum_cost_delay asks.
pub fn delay_point() {
    // SAFETY: called without locks on pages.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::vacuum_delay_point();
        #[cfg(feature = "pg18")]
        pg_sys::vacuum_delay_point(false);
    }
}

fn item_pointer(tid: RawTid) -> pg_sys::ItemPointerData {
    pg_sys::ItemPointerData {
        ip_blkid: pg_sys::BlockIdData {
            bi_hi: tid.block_hi,
            bi_lo: tid.block_lo,
        },
        ip_posid: tid.offset,
    }
}

/// How many nodes VACUUM keeps in mind to see whether links lead to them.
fn most_unlinked() -> usize {
    // SAFETY: reads a setting.
    let kilobytes = unsafe { pg_sys::maintenance_work_mem } as usize;
    kilobytes.saturating_mul(1024) / (2 * 2 * size_of::<NodeId>())
}

/// Whether a block is a page of nodes.
pub fn is_node_page(hnsw: &Hnsw, block: u32, page: crate::page::PageView<'_>) -> bool {
    !page.is_new() && hnsw.check(block, || Opaque::of(page)).0 == PageKind::Nodes
}

/// Runs `f` on every node of a block, if it is a page of nodes.
fn each_node_of(hnsw: &Hnsw, block: u32, access: Access, mut f: impl FnMut(NodeId, &Node<'_>)) {
    let page = Shared::read(hnsw.index, block, access);
    if !is_node_page(hnsw, block, page.page()) {
        return;
    }
    for offset in 1..=page.page().item_count() {
        let id = NodeId { block, offset };
        if let Some(node) = hnsw.node_on(page.page(), id) {
            f(id, &node);
        }
    }
}

type IsDead<'a> = dyn FnMut(pg_sys::ItemPointerData) -> bool + 'a;

impl Vacuum {
    /// Pass 1.
    fn remove_tuples(&mut self, map: Option<MapLayout>, is_dead: &mut IsDead<'_>) {
        let mut map_room = blocks::map::Room::default();
        let mut block = META_BLOCK + 1;
        while block < self.hnsw.index.blocks() {
            delay_point();
            let mut page = Exclusive::lock(self.hnsw.index, block, self.access);
            if is_node_page(&self.hnsw, block, page.page()) {
                self.remove_from_page(&mut page, is_dead);
            } else if let Some(map) = map {
                map_room.remove(&self.hnsw, map, &mut page, &mut |tid| {
                    is_dead(item_pointer(tid))
                });
            }
            // the free space map is not WAL-logged: a crash or a promotion may have lost what
            // an earlier VACUUM recorded
            self.record_room(&page);
            block += 1;
        }
        map_room.publish(&self.hnsw);
    }

    /// Records what inserts can use of a page.
    fn record_room(&self, page: &Exclusive) {
        if page.page().is_new() {
            return;
        }
        let kind = self.hnsw.check(page.block(), || Opaque::of(page.page())).0;
        if matches!(kind, PageKind::Nodes | PageKind::Free) {
            record_free(&self.hnsw, page);
        }
    }

    fn remove_from_page(&mut self, page: &mut Exclusive, is_dead: &mut IsDead<'_>) {
        struct Edit {
            id: NodeId,
            tids: Vec<RawTid>,
            keys: Vec<u64>,
            delete: bool,
        }
        let hnsw = self.hnsw;
        let block = page.block();
        let mut edits = Vec::new();
        for offset in 1..=page.page().item_count() {
            let id = NodeId { block, offset };
            let Some(node) = hnsw.node_on(page.page(), id) else {
                continue;
            };
            if node.is_deleted() {
                self.deleted.insert(id);
                continue;
            }
            let before = node.tids().len();
            let level = node.header.level;
            let has_lists = node.header.more_tids != RawTid::NONE;
            let (tids, keys) = living(node.tids(), node.keys(), is_dead);
            self.removed += (before - tids.len()) as u64;
            let listed = if has_lists {
                self.shrink_lists(page, id, is_dead)
            } else {
                0
            };
            let live = tids.len() as u64 + listed;
            self.kept += live;
            let delete = live == 0;
            if delete {
                self.deleted.insert(id);
            } else {
                if self.unlinked.len() < self.most_unlinked {
                    self.unlinked.insert(id);
                }
                if self.best_entry.is_none_or(|(best, _)| level > best) {
                    self.best_entry = Some((level, id));
                }
            }
            if delete || tids.len() < before {
                edits.push(Edit {
                    id,
                    tids,
                    keys,
                    delete,
                });
            }
        }
        if edits.is_empty() {
            return;
        }
        let mut change = Change::begin(hnsw.index, Logging::EachChange);
        let mut target = change.page(page);
        for edit in edits {
            with_node_mut(&hnsw, &mut target, edit.id, |node| {
                node.set_tids(&edit.tids, &edit.keys);
                if edit.delete {
                    node.header().flags |= DELETED;
                }
            });
        }
        change.commit();
    }

    /// Takes dead tuples out of a node's TID lists and removes empty ones. Returns how many tuples
    /// are left in lists.
    fn shrink_lists(&mut self, page: &mut Exclusive, id: NodeId, is_dead: &mut IsDead<'_>) -> u64 {
        let hnsw = self.hnsw;
        let mut left = 0;
        let mut previous = None;
        let (mut next, generation) = match hnsw.node_on(page.page(), id) {
            Some(node) => (node.header.more_tids, node.header.generation),
            None => return 0,
        };
        let mut walk = place::ChainWalk::new();
        while let Some(at) = next.id() {
            walk.step(&hnsw, at);
            if at.block == id.block {
                super::storage::raise_damaged(
                    hnsw.index,
                    id.block,
                    crate::page::Damage("TID list on a page of nodes"),
                );
            }
            let mut list = Exclusive::lock(hnsw.index, at.block, Access::Random);
            let (before, (tids, keys)) =
                place::with_tid_list(&hnsw, list.page(), at, generation, |list| {
                    next = list.header.next;
                    (list.tids.len(), living(list.tids, list.keys, is_dead))
                });
            self.removed += (before - tids.len()) as u64;
            left += tids.len() as u64;
            if tids.is_empty() {
                let chain = Chain {
                    page: &mut *page,
                    id,
                    previous,
                };
                chain.unlink(&hnsw, &mut list, at, next);
                record_if_free(&hnsw, &list);
                continue;
            }
            previous = Some(at);
            if tids.len() < before {
                let mut change = Change::begin(hnsw.index, Logging::EachChange);
                place::with_tid_list_mut(&hnsw, &mut change.page(&mut list), at, |list| {
                    list.set(&tids, &keys)
                });
                change.commit();
            }
        }
        left
    }

    /// Waits until every insert that began before now has ended. After pass 1, later ones see which
    /// nodes are deleted; after pass 2, later ones do not come by them.
    fn wait_for_inserts(&self) {
        drop(Turnstile::lock(
            self.hnsw.index,
            META_BLOCK,
            pg_sys::ExclusiveLock,
        ));
    }

    /// Chooses a new entry point where the old one is deleted.
    fn replace_entry(&mut self) {
        let _alone = Turnstile::lock(self.hnsw.index, META_BLOCK, pg_sys::ExclusiveLock);
        let meta = read_meta(self.hnsw.index);
        if !meta
            .entry
            .id()
            .is_some_and(|entry| self.deleted.contains(&entry))
        {
            return;
        }
        if self.best_entry.is_none() {
            // all that pass 1 saw is deleted, but rows may have come since
            self.best_entry = self.highest_live_node();
        }
        let best = self.best_entry;
        place::change_meta(&self.hnsw, Logging::EachChange, |meta| match best {
            Some((level, id)) => {
                meta.entry = id.into();
                meta.entry_level = level as u16;
            }
            None => {
                meta.entry = RawTid::NONE;
                meta.entry_level = 0;
            }
        });
    }

    fn highest_live_node(&self) -> Option<(Level, NodeId)> {
        let mut best: Option<(Level, NodeId)> = None;
        for block in META_BLOCK + 1..self.hnsw.index.blocks() {
            pgrx::check_for_interrupts!();
            self.each_node(block, |id, node| {
                let level = node.header.level;
                if !node.is_deleted() && best.is_none_or(|(highest, _)| level > highest) {
                    best = Some((level, id));
                }
            });
        }
        best
    }

    fn each_node(&self, block: u32, f: impl FnMut(NodeId, &Node<'_>)) {
        each_node_of(&self.hnsw, block, self.access, f);
    }

    /// Pass 2: replaces links to deleted nodes, the entry point's first.
    fn repair(&mut self) {
        let mut repair = Repair {
            hnsw: self.hnsw,
            deleted: &self.deleted,
            near: Neighbourhood::new(self.hnsw),
            searcher: Searcher::default(),
        };
        if let Some(entry) = read_meta(self.hnsw.index).entry.id() {
            repair.node(entry);
        }
        let mut block = META_BLOCK + 1;
        while block < self.hnsw.index.blocks() {
            delay_point();
            let mut broken = Vec::new();
            self.each_node(block, |id, node| {
                if !node.is_deleted() && repair.is_broken(node) {
                    broken.push(id);
                }
            });
            for id in broken {
                delay_point();
                repair.node(id);
            }
            let unlinked = &mut self.unlinked;
            let access = self.access;
            if !unlinked.is_empty() {
                repair.each_live_link(block, access, |link| {
                    unlinked.remove(&link);
                });
            }
            block += 1;
        }
        for id in std::mem::take(&mut self.unlinked) {
            delay_point();
            repair.reattach(id);
        }
    }

    /// Pass 2 over an index of blocks.
    fn repair_blocks(&mut self, blocks: Rc<Blocks>) {
        let live = self.kept;
        let mut repair = blocks::vacuum::Repair::new(blocks, &self.deleted);
        repair.entries(live);
        let mut block = META_BLOCK + 1;
        while block < self.hnsw.index.blocks() {
            delay_point();
            repair.page(block, self.access);
            block += 1;
        }
        for block in META_BLOCK + 1..block {
            if self.unlinked.is_empty() {
                break;
            }
            delay_point();
            repair.linked_from(block, self.access, &mut self.unlinked);
        }
        for id in std::mem::take(&mut self.unlinked) {
            delay_point();
            repair.reattach(id);
        }
        repair.calibrate(live);
    }

    /// Pass 3: erases deleted nodes. Returns the number of pages that became empty.
    fn erase(&mut self) -> u32 {
        let mut by_block: FxHashMap<u32, Vec<u16>> = FxHashMap::default();
        for id in &self.deleted {
            by_block.entry(id.block).or_default().push(id.offset);
        }
        let mut blocks: Vec<(u32, Vec<u16>)> = by_block.into_iter().collect();
        blocks.sort_unstable();
        let mut emptied = 0;
        for (block, offsets) in blocks {
            delay_point();
            let mut page = Exclusive::lock(self.hnsw.index, block, self.access);
            for &offset in &offsets {
                emptied += self.erase_chunks(&page, NodeId { block, offset });
            }
            let mut change = Change::begin(self.hnsw.index, Logging::EachChange);
            remove_item(&self.hnsw, &mut change, &mut page, &offsets);
            change.commit();
            let free = self.hnsw.check(block, || Opaque::of(page.page())).0 == PageKind::Free;
            emptied += free as u32;
            record_free(&self.hnsw, &page);
        }
        emptied
    }

    /// Frees the chunks of a deleted node. They go before it, so that a crash in between leaves
    /// nothing that nobody refers to.
    fn erase_chunks(&self, page: &Exclusive, id: NodeId) -> u32 {
        let hnsw = self.hnsw;
        let Some(node) = hnsw.node_on(page.page(), id) else {
            return 0;
        };
        let mut emptied = 0;
        for (index, chunk) in node.chunks().iter().enumerate() {
            let Some(at) = chunk.id().filter(|at| at.block != id.block) else {
                continue;
            };
            let mut page = Exclusive::lock(hnsw.index, at.block, self.access);
            let ours = hnsw.check(at.block, || {
                let generation = node.header.generation;
                super::storage::chunk_of_node(page.page(), at, id, generation, index)
                    .map(|piece| piece.is_some())
            });
            if ours {
                let mut change = Change::begin(hnsw.index, Logging::EachChange);
                remove_item(&hnsw, &mut change, &mut page, &[at.offset]);
                change.commit();
                record_free(&hnsw, &page);
                emptied += 1;
            }
        }
        emptied
    }
}

/// The chain of a node's TID lists up to one that is to be removed.
struct Chain<'p> {
    /// the node's page
    page: &'p mut Exclusive,
    /// the node
    id: NodeId,
    /// the list that refers to the one to be removed; `None` where the node does
    previous: Option<NodeId>,
}

impl Chain<'_> {
    /// Removes a list; what referred to it refers to `next`. The node's page is part of the change
    /// in any case: its lock keeps scans on a standby out of the chain.
    fn unlink(self, hnsw: &Hnsw, list: &mut Exclusive, at: NodeId, next: RawTid) {
        let mut apart = self
            .previous
            .filter(|previous| previous.block != at.block)
            .map(|previous| Exclusive::lock(hnsw.index, previous.block, Access::Random));
        let mut change = Change::begin(hnsw.index, Logging::EachChange);
        let mut node_page = change.page(self.page);
        let list_page = remove_item(hnsw, &mut change, list, &[at.offset]);
        match self.previous {
            None => with_node_mut(hnsw, &mut node_page, self.id, |node| {
                node.header().more_tids = next;
            }),
            Some(previous) => {
                let mut target = match &mut apart {
                    Some(page) => change.page(page),
                    None => list_page,
                };
                place::with_tid_list_mut(hnsw, &mut target, previous, |list| {
                    list.header.next = next;
                });
            }
        }
        change.commit();
    }
}

/// Removes items from a page and raises its generation; a page without items becomes free.
fn remove_item<'g>(
    hnsw: &Hnsw,
    change: &mut Change<'g>,
    page: &'g mut Exclusive,
    offsets: &[u16],
) -> PageMut<'g> {
    let block = page.block();
    let generation = hnsw
        .check(block, || Opaque::of(page.page()))
        .1
        .generation
        .wrapping_add(1);
    let view = page.page();
    let is_last =
        (1..=view.item_count()).all(|n| offsets.contains(&n) || matches!(view.item(n), Ok(None)));
    if is_last {
        return change.new_page(page, &Opaque::new(PageKind::Free, generation));
    }
    let mut target = change.page(page);
    for &offset in offsets {
        target.remove_item(offset);
    }
    target.special_mut::<Opaque>().generation = generation;
    target
}

/// Records what a page of nodes, or an empty one, has free.
fn record_free(hnsw: &Hnsw, page: &Exclusive) {
    let free = match hnsw.check(page.block(), || Opaque::of(page.page())).0 {
        PageKind::Free => free_space_map::EMPTY_PAGE,
        _ => buffer::room(page.page()),
    };
    free_space_map::record(hnsw.index, page.block(), free);
}

/// Records a page that has become empty. TID pages with lists left are found by the hint only.
fn record_if_free(hnsw: &Hnsw, page: &Exclusive) {
    if hnsw.check(page.block(), || Opaque::of(page.page())).0 == PageKind::Free {
        free_space_map::record(hnsw.index, page.block(), free_space_map::EMPTY_PAGE);
    }
}

/// Mends the links of live nodes.
struct Repair<'a> {
    hnsw: Hnsw,
    deleted: &'a FxHashSet<NodeId>,
    near: Neighbourhood,
    searcher: Searcher<PageStore>,
}

impl Repair<'_> {
    /// Runs `f` on every ground-layer link of the live nodes of a block.
    fn each_live_link(&self, block: u32, access: Access, mut f: impl FnMut(NodeId)) {
        each_node_of(&self.hnsw, block, access, |_, node| {
            if !node.is_deleted() {
                node.links(0)
                    .iter()
                    .map_while(|link| link.id())
                    .for_each(&mut f);
            }
        });
    }

    /// Whether a node links to a deleted one, or to none at all.
    fn is_broken(&self, node: &Node<'_>) -> bool {
        let mut ground = node.links(0).iter().map_while(|link| link.id());
        ground.next().is_none()
            || (0..=node.header.level).any(|level| {
                let mut links = node.links(level).iter().map_while(|link| link.id());
                links.any(|link| self.deleted.contains(&link))
            })
    }

    fn node(&mut self, id: NodeId) {
        let Some((level, node)) = self.hnsw.with_node(id, Access::Random, |node| {
            let generation = node.header.generation;
            (
                node.header.level,
                PageNode {
                    id,
                    generation,
                    live: !node.is_deleted(),
                },
            )
        }) else {
            return;
        };
        if node.live {
            for level in (0..=level).rev() {
                self.level(node, level);
            }
        }
    }

    /// Chooses a node's links at a level anew: from those that live, the neighbours of those that
    /// do not, and where these are few, a search.
    fn level(&mut self, node: PageNode, level: Level) {
        let capacity = self.hnsw.params.capacity(level);
        for _ in 0..super::insert::LINK_ATTEMPTS {
            let Some(before) = self.near.links_of(node, level) else {
                return;
            };
            let links: Vec<NodeId> = before.iter().map_while(|link| link.id()).collect();
            let (dead, live): (Vec<NodeId>, Vec<NodeId>) = links
                .into_iter()
                .partition(|link| self.deleted.contains(link));
            if dead.is_empty() && !(live.is_empty() && level == 0) {
                return;
            }
            let mut candidates = self.candidates(node, level, &live, &dead);
            let most = 2 * effective_ef_construction(&self.hnsw);
            candidates.truncate(most);
            let chosen = self.near.select(&candidates, capacity);
            // Links that live stay, whatever the heuristic says now: one of them may be the only
            // one that leads to its node.
            let added = chosen.iter().filter(|c| !live.contains(&c.node));
            let added: Vec<_> = added.take(capacity - live.len()).copied().collect();
            let after: Vec<NodeId> = live
                .iter()
                .copied()
                .chain(added.iter().map(|c| c.node))
                .collect();
            if !self
                .near
                .replace_links(node, level, &before, &after, Logging::EachChange)
            {
                continue;
            }
            for candidate in &added {
                if let Some((to, back)) = self.back(node.id, level, candidate) {
                    self.near.link_back(to, back, Logging::EachChange);
                }
            }
            return;
        }
    }

    /// The link back to `node` from a neighbour; `None` where the neighbour is gone.
    fn back(
        &self,
        node: NodeId,
        level: Level,
        neighbour: &Candidate<NodeId>,
    ) -> Option<(PageNode, Back)> {
        let generation = self
            .hnsw
            .with_node(neighbour.node, Access::Random, |found| {
                found.header.generation
            })?;
        let to = PageNode {
            id: neighbour.node,
            generation,
            live: true,
        };
        let back = Back {
            level,
            new: node,
            distance: neighbour.distance,
        };
        Some((to, back))
    }

    /// Makes a node that nothing leads to a neighbour of the nearest one.
    fn reattach(&mut self, id: NodeId) {
        let Some(node) = self.hnsw.with_node(id, Access::Random, |node| PageNode {
            id,
            generation: node.header.generation,
            live: !node.is_deleted(),
        }) else {
            return;
        };
        if node.live
            && let Some(nearest) = self.search(node, 0).first()
            && let Some((to, back)) = self.back(id, 0, nearest)
        {
            self.near.force_link(to, back, Logging::EachChange);
        }
    }

    fn candidates(
        &mut self,
        node: PageNode,
        level: Level,
        live: &[NodeId],
        dead: &[NodeId],
    ) -> Vec<Candidate<NodeId>> {
        let mut ids: FxHashSet<NodeId> = live.iter().copied().collect();
        for &link in dead {
            self.hnsw.with_node(link, Access::Random, |found| {
                ids.extend(found.links(level).iter().map_while(|link| link.id()));
            });
        }
        ids.retain(|id| *id != node.id && !self.deleted.contains(id));
        let mut candidates: Vec<Candidate<NodeId>> = ids
            .into_iter()
            .map(|id| Candidate {
                distance: self.near.distance(node.id, id),
                node: id,
            })
            .filter(|candidate| candidate.distance.0 < f64::INFINITY)
            .collect();
        if candidates.len() < self.hnsw.params.m as usize || dead.len() >= live.len() {
            for found in self.search(node, level) {
                if candidates.iter().all(|c| c.node != found.node) {
                    candidates.push(found);
                }
            }
        }
        candidates.sort_unstable();
        candidates
    }

    /// The live nodes around a node, found from the entry point.
    fn search(&mut self, node: PageNode, level: Level) -> Vec<Candidate<NodeId>> {
        let meta = read_meta(self.hnsw.index);
        if level as u16 > meta.entry_level {
            return Vec::new();
        }
        let Some(value) = self.near.load(node.id) else {
            return Vec::new();
        };
        let mut store = PageStore::new(self.hnsw, value);
        let Some((entry, entry_level)) = store.entry(&meta) else {
            return Vec::new();
        };
        let entry = self.searcher.descend(&mut store, entry, entry_level, level);
        let ef = effective_ef_construction(&self.hnsw);
        self.searcher
            .search_layer(&mut store, &[entry], ef, level)
            .into_iter()
            .filter(|found| found.node.id != node.id)
            .map(|found| Candidate {
                distance: Distance(found.distance.0),
                node: found.node.id,
            })
            .collect()
    }
}
