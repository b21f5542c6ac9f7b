//! The first pass of VACUUM: dead heap tuples are taken out of nodes and their lists.

use super::room::{record_free, record_if_free, remove_item};
use super::{Vacuum, is_node_page};
use crate::am::damaged::raise_damaged;
use crate::am::hnsw::blocks;
use crate::am::hnsw::place::{self, with_node_mut};
use crate::am::hnsw::storage::{Hnsw, META_BLOCK};
use crate::hnsw::blocks::map::MapLayout;
use crate::hnsw::format::{DELETED, NodeId, Opaque, PageKind, RawTid};
use crate::page::Damage;
use crate::pg::buffer::{Access, Exclusive};
use crate::pg::change::{Change, Logging};
use crate::pg::vacuum::delay_point;

type IsDead<'a> = dyn Fn(RawTid) -> bool + 'a;

impl Vacuum {
    /// Pass 1.
    pub fn remove_tuples(&mut self, map: Option<MapLayout>, is_dead: &IsDead<'_>) {
        let mut map_room = blocks::map::Room::default();
        let mut block = META_BLOCK + 1;
        while block < self.hnsw.index.blocks() {
            delay_point();
            let mut page = Exclusive::lock(self.hnsw.index, block, self.access);
            if is_node_page(&self.hnsw, block, page.page()) {
                self.remove_from_page(&mut page, is_dead);
            } else if let Some(map) = map {
                map_room.remove(&self.hnsw, map, &mut page, &mut |tid| is_dead(tid));
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

    fn remove_from_page(&mut self, page: &mut Exclusive, is_dead: &IsDead<'_>) {
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
    fn shrink_lists(&mut self, page: &mut Exclusive, id: NodeId, is_dead: &IsDead<'_>) -> u64 {
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
                raise_damaged(hnsw.index, id.block, Damage("TID list on a page of nodes"));
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
}

/// The TIDs that are not dead, and their keys.
fn living(tids: &[RawTid], keys: &[u64], is_dead: &IsDead<'_>) -> (Vec<RawTid>, Vec<u64>) {
    let columns = keys.len() / tids.len().max(1);
    let mut living = (Vec::with_capacity(tids.len()), Vec::new());
    for (n, &tid) in tids.iter().enumerate() {
        if !is_dead(tid) {
            living.0.push(tid);
            living.1.extend_from_slice(&keys[n * columns..][..columns]);
        }
    }
    living
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
