//! The second pass of VACUUM over the plain layout: links to deleted nodes are replaced.

use super::{Vacuum, each_node_of};
use crate::am::hnsw::insert::{Back, LINK_ATTEMPTS, Neighbourhood, effective_ef_construction};
use crate::am::hnsw::storage::{Hnsw, META_BLOCK, PageNode, PageStore, read_meta};
use crate::hnsw::format::{Node, NodeId};
use crate::hnsw::{Candidate, Distance, Level, Searcher};
use crate::pg::buffer::Access;
use crate::pg::change::Logging;
use crate::pg::vacuum::delay_point;
use rustc_hash::FxHashSet;

impl Vacuum {
    /// Pass 2: replaces links to deleted nodes, the entry point's first.
    pub fn repair(&mut self) {
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
        for _ in 0..LINK_ATTEMPTS {
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
        let entries = self.searcher.descend(&mut store, entry, entry_level, level);
        let ef = effective_ef_construction(&self.hnsw);
        self.searcher
            .search_layer(&mut store, &entries, ef, level)
            .into_iter()
            .filter(|found| found.node.id != node.id)
            .map(|found| Candidate {
                distance: Distance(found.distance.0),
                node: found.node.id,
            })
            .collect()
    }
}
