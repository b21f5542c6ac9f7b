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

mod erase;
mod remove;
mod repair;
mod room;

use super::blocks::{self, index::Blocks};
use super::place;
use super::storage::{Hnsw, META_BLOCK, read_meta};
use crate::hnsw::Level;
use crate::hnsw::format::{Node, NodeId, Opaque, PageKind, RawTid};
use crate::page::PageView;
use crate::pg::buffer::{Access, Shared, Strategy, free_space_map};
use crate::pg::change::Logging;
use crate::pg::relation::{Index, Turnstile};
use crate::pg::vacuum::{delay_point, stats_of, whether_dead};
use pgrx::pg_sys;
use rustc_hash::FxHashSet;
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
        let stats = stats_of(stats);
        let (hnsw, meta) = Hnsw::open(Index::new((*info).index));
        let Some(is_dead) = whether_dead(callback, callback_state) else {
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
        vacuum.remove_tuples(map, &is_dead);
        if !vacuum.deleted.is_empty() {
            vacuum.wait_for_inserts();
            vacuum.replace_entry();
            match Blocks::open(hnsw, &meta) {
                Some(blocks) => vacuum.repair_blocks(Rc::new(blocks)),
                None => vacuum.repair(),
            }
            vacuum.wait_for_inserts();
            stats.pages_deleted = 0;
            stats.pages_newly_deleted += vacuum.erase();
        }
        stats.num_index_tuples = vacuum.kept as f64;
        stats.tuples_removed += vacuum.removed as f64;
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

/// How many nodes VACUUM keeps in mind to see whether links lead to them.
fn most_unlinked() -> usize {
    // SAFETY: reads a setting.
    let kilobytes = unsafe { pg_sys::maintenance_work_mem } as usize;
    kilobytes.saturating_mul(1024) / (2 * 2 * size_of::<NodeId>())
}

/// Whether a block is a page of nodes.
pub fn is_node_page(hnsw: &Hnsw, block: u32, page: PageView<'_>) -> bool {
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

impl Vacuum {
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
}
