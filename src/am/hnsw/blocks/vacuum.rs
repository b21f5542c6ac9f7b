//! VACUUM's second pass over an index of blocks: links to deleted nodes are replaced.
//!
//! A node's new neighbours come from those of its deleted ones, whose blocks tell their distances
//! at one visit each. All nodes of a page are mended in one change. Nodes that are deleted and no
//! longer led to are queries nobody has asked yet: the calibration curve is measured with them.

use super::calibration;
use super::entries::{self, Entry};
use super::index::Blocks;
use super::insert::{
    Found, Insert, Insistence, Neighbour, Newcomer, encode_links, kept_of, link_back,
    link_in_any_case, select,
};
use super::search::Keep;
use crate::am::hnsw::insert::effective_ef_construction;
use crate::am::hnsw::place;
use crate::am::hnsw::storage::read_meta;
use crate::am::hnsw::vacuum::is_node_page;
use crate::hnsw::blocks::format::{Block, compact_of};
use crate::hnsw::format::{NodeId, RawTid};
use crate::pg::buffer::{Access, Exclusive, Hints, Shared};
use crate::pg::change::{Change, Logging};
use crate::pg::vacuum::delay_point;
use crate::quantize::Query;
use rustc_hash::{FxHashMap, FxHashSet};
use std::rc::Rc;

/// Candidates looked at closely for each link of a node.
const CANDIDATES_PER_LINK: usize = 2;
/// Deleted nodes that the curve is measured with.
const MOST_QUERIES: usize = 200;

/// Mends the links of live nodes.
pub struct Repair<'a> {
    blocks: Rc<Blocks>,
    deleted: &'a FxHashSet<NodeId>,
    hints: Hints,
    query: Query,
    insert: Insert,
    estimates: Vec<f32>,
    rng: fastrand::Rng,
}

/// A node whose links are to be mended, as it was read.
struct Broken {
    itself: Found,
    links: Vec<RawTid>,
}

impl<'a> Repair<'a> {
    /// Working memory for one VACUUM.
    pub fn new(blocks: Rc<Blocks>, deleted: &'a FxHashSet<NodeId>) -> Self {
        Repair {
            deleted,
            hints: Hints::of(blocks.hnsw.index),
            query: Query::default(),
            insert: Insert::new(blocks.clone(), Logging::EachChange),
            estimates: Vec::new(),
            rng: fastrand::Rng::new(),
            blocks,
        }
    }

    fn with_block<R>(&self, id: NodeId, f: impl FnOnce(Block<'_>) -> R) -> Option<R> {
        let page = self.hints.pin(self.blocks.hnsw.index, id.block).lock();
        self.blocks.block_on(page.page(), id).map(f)
    }

    fn is_broken(&self, block: &Block<'_>) -> bool {
        let links = block.links();
        links.is_empty()
            || links
                .iter()
                .any(|link| link.id().is_some_and(|id| self.deleted.contains(&id)))
    }

    /// Mends all nodes of a page of nodes.
    pub fn page(&mut self, block: u32, access: Access) {
        // A node that an insert links to meanwhile is mended again. The others of its page are done,
        // so this ends.
        loop {
            let broken = self.broken_on(block, access);
            if broken.is_empty() || self.mend(block, broken) {
                break;
            }
            delay_point();
        }
    }

    /// Takes what the live nodes of a page link to out of `unlinked`. Called when all pages are
    /// mended, for a link back may take the place of another.
    pub fn linked_from(&self, block: u32, access: Access, unlinked: &mut FxHashSet<NodeId>) {
        let page = Shared::read(self.blocks.hnsw.index, block, access);
        if !is_node_page(&self.blocks.hnsw, block, page.page()) {
            return;
        }
        for offset in 1..=page.page().item_count() {
            let id = NodeId { block, offset };
            if let Some(found) = self.blocks.block_on(page.page(), id)
                && !found.is_deleted()
            {
                for link in found.links().iter().filter_map(|link| link.id()) {
                    unlinked.remove(&link);
                }
            }
        }
    }

    fn broken_on(&self, block: u32, access: Access) -> Vec<Broken> {
        let page = Shared::read(self.blocks.hnsw.index, block, access);
        if !is_node_page(&self.blocks.hnsw, block, page.page()) {
            return Vec::new();
        }
        let ids = (1..=page.page().item_count()).map(|offset| NodeId { block, offset });
        ids.filter_map(|id| {
            let found = self.blocks.block_on(page.page(), id)?;
            let broken = !found.is_deleted() && self.is_broken(&found);
            broken.then(|| Broken {
                itself: Found::of(id, &found),
                links: found.slots().to_vec(),
            })
        })
        .collect()
    }

    /// Mends nodes of one page in one change. False where one of them has changed meanwhile.
    fn mend(&mut self, block: u32, broken: Vec<Broken>) -> bool {
        let mended: Vec<(Broken, Vec<Neighbour>)> = broken
            .into_iter()
            .map(|node| {
                let neighbours = self.neighbours(&node);
                (node, neighbours)
            })
            .collect();
        let blocks = &self.blocks;
        let hnsw = &blocks.hnsw;
        let mut page = Exclusive::lock(hnsw.index, block, Access::Random);
        let mut unchanged = true;
        let mut still: Vec<&(Broken, Vec<Neighbour>)> = Vec::new();
        for node in &mended {
            let found = blocks.block_on(page.page(), node.0.itself.id);
            let same = found.is_some_and(|found| {
                found.header.generation == node.0.itself.generation && found.slots() == node.0.links
            });
            match same {
                true => still.push(node),
                false => unchanged = false,
            }
        }
        if !still.is_empty() {
            let mut change = Change::begin(hnsw.index, Logging::EachChange);
            let mut target = change.page(&mut page);
            for (node, neighbours) in still {
                place::with_node_mut(hnsw, &mut target, node.itself.id, |writer| {
                    encode_links(blocks, writer, neighbours);
                });
            }
            change.commit();
        }
        drop(page);
        for (node, neighbours) in &mended {
            self.link_back(node, neighbours);
        }
        unchanged
    }

    /// Links a node's new neighbours back to it, where that is worth it.
    fn link_back(&mut self, node: &Broken, neighbours: &[Neighbour]) {
        let compact = compact_of(&node.itself.value);
        self.query.reset_of(&self.blocks.codec, compact);
        let mut code = vec![0; self.blocks.layout.block.code_len()];
        let known: FxHashMap<NodeId, f32> = neighbours
            .iter()
            .map(|neighbour| (neighbour.found.id, neighbour.distance))
            .collect();
        let links: Vec<NodeId> = neighbours.iter().map(|n| n.found.id).collect();
        let newcomer = Newcomer {
            id: node.itself.id,
            kept: kept_of(&self.blocks, compact, &mut code),
            query: &self.query,
            offset: 0.0,
            known: &known,
            links: &links,
        };
        for neighbour in neighbours.iter().filter(|neighbour| !neighbour.covered) {
            let is_new = !node.links.contains(&RawTid::from(neighbour.found.id));
            if is_new {
                link_back(
                    &self.blocks,
                    Logging::EachChange,
                    neighbour,
                    &newcomer,
                    Insistence::IfWorthIt,
                );
            }
        }
    }

    /// The neighbours of a node anew: of those that live, those of its deleted ones, and where
    /// these are few, a search.
    fn neighbours(&mut self, node: &Broken) -> Vec<Neighbour> {
        let slots = self.blocks.layout.slots();
        let id = node.itself.id;
        let links = node.links.iter().filter_map(|link| link.id());
        let (dead, live): (Vec<NodeId>, Vec<NodeId>) =
            links.partition(|link| self.deleted.contains(link));
        self.query
            .reset_of(&self.blocks.codec, compact_of(&node.itself.value));
        let mut seen: FxHashSet<NodeId> = live.iter().copied().collect();
        seen.insert(id);
        let mut near: Vec<(f32, NodeId)> = Vec::new();
        for &gone in &dead {
            self.neighbours_of(gone, &mut seen, &mut near);
        }
        let most = effective_ef_construction(&self.blocks.hnsw).max(slots * CANDIDATES_PER_LINK);
        if near.len() > most {
            near.select_nth_unstable_by(most, |a, b| a.0.total_cmp(&b.0));
            near.truncate(most);
        }
        let ids = live
            .iter()
            .copied()
            .chain(near.into_iter().map(|(_, id)| id));
        let mut candidates = self.candidates(&node.itself, ids);
        if candidates.len() < slots / 2 {
            let found = self.search(&node.itself);
            for neighbour in found {
                if candidates.iter().all(|c| c.found.id != neighbour.found.id) {
                    candidates.push(neighbour);
                }
            }
        }
        candidates.sort_unstable_by(|a, b| {
            let by_distance = a.distance.total_cmp(&b.distance);
            by_distance.then_with(|| a.found.id.cmp(&b.found.id))
        });
        self.keep_live(
            select(&self.blocks, candidates.clone(), slots),
            candidates,
            &live,
        )
    }

    /// Links that live stay before covered new ones, whatever the heuristic says of them now: one of
    /// them may be the only one that leads to its node, or to an island.
    fn keep_live(
        &self,
        mut selected: Vec<Neighbour>,
        candidates: Vec<Neighbour>,
        live: &[NodeId],
    ) -> Vec<Neighbour> {
        let slots = self.blocks.layout.slots();
        for mut candidate in candidates {
            let is_live = live.contains(&candidate.found.id);
            if !is_live || selected.iter().any(|n| n.found.id == candidate.found.id) {
                continue;
            }
            if selected.len() >= slots {
                let last_new = selected
                    .iter()
                    .rposition(|n| n.covered && !live.contains(&n.found.id));
                match last_new {
                    Some(at) => drop(selected.remove(at)),
                    None => break,
                }
            }
            candidate.covered = true;
            selected.push(candidate);
        }
        selected
    }

    /// The live neighbours of a deleted node with their distances to the query.
    fn neighbours_of(
        &mut self,
        gone: NodeId,
        seen: &mut FxHashSet<NodeId>,
        near: &mut Vec<(f32, NodeId)>,
    ) {
        let page = self.hints.pin(self.blocks.hnsw.index, gone.block).lock();
        let Some(block) = self.blocks.block_on(page.page(), gone) else {
            return;
        };
        let links = block.links();
        if let Some(estimates) = block.estimate(&self.query, &mut self.estimates) {
            for (link, &mut estimate) in links.iter().zip(estimates) {
                if let Some(id) = link.id()
                    && !self.deleted.contains(&id)
                    && seen.insert(id)
                {
                    near.push((estimate, id));
                }
            }
            return;
        }
        let mut ids: Vec<NodeId> = links.iter().filter_map(|link| link.id()).collect();
        drop(page);
        ids.retain(|id| !self.deleted.contains(id) && seen.insert(*id));
        for id in ids {
            let distance = self.with_block(id, |block| self.query.distance(block.compact()));
            near.extend(distance.map(|distance| (distance, id)));
        }
    }

    /// Reads candidates; those gone or deleted meanwhile are left out.
    fn candidates(&self, itself: &Found, ids: impl Iterator<Item = NodeId>) -> Vec<Neighbour> {
        let compact = compact_of(&itself.value);
        ids.filter_map(|id| {
            let found = self.with_block(id, |block| {
                (!block.is_deleted()).then(|| Found::of(id, &block))
            })??;
            Some(Neighbour {
                distance: self
                    .blocks
                    .codec
                    .distance(compact, compact_of(&found.value)),
                found,
                covered: false,
            })
        })
        .collect()
    }

    /// The live nodes around a node, found from the entry table.
    fn search(&mut self, itself: &Found) -> Vec<Neighbour> {
        let meta = read_meta(self.blocks.hnsw.index);
        let mut found = self.insert.search(&meta, &itself.value);
        found.retain(|neighbour| neighbour.found.id != itself.id);
        found
    }

    /// Makes a node that nothing leads to a neighbour of the nearest one.
    pub fn reattach(&mut self, id: NodeId) {
        let found = self.with_block(id, |block| {
            let links: Vec<NodeId> = block.links().iter().filter_map(|link| link.id()).collect();
            (!block.is_deleted()).then(|| (Found::of(id, &block), links))
        });
        let Some(Some((itself, links))) = found else {
            return;
        };
        let nearest = self.search(&itself).into_iter().next();
        let Some(nearest) = nearest else {
            return;
        };
        let compact = compact_of(&itself.value);
        self.query.reset_of(&self.blocks.codec, compact);
        let mut code = vec![0; self.blocks.layout.block.code_len()];
        let newcomer = Newcomer {
            id,
            kept: kept_of(&self.blocks, compact, &mut code),
            query: &self.query,
            offset: nearest.distance - self.query.distance(compact_of(&nearest.found.value)),
            known: &FxHashMap::default(),
            links: &links,
        };
        link_in_any_case(
            &self.blocks,
            Logging::EachChange,
            &nearest,
            &itself.value,
            &newcomer,
        );
    }

    /// Takes deleted nodes out of the entry table and fills it up with live ones.
    pub fn entries(&mut self, live: u64) {
        let left = entries::remove(&self.blocks, self.deleted);
        let wanted = entries::wanted(live as f64);
        if left.len() as f64 >= wanted / 2.0 || live == 0 {
            return;
        }
        let share = (wanted - left.len() as f64) / live as f64;
        let mut new = Vec::new();
        for block in 1..self.blocks.hnsw.index.blocks() {
            delay_point();
            let page = Shared::read(self.blocks.hnsw.index, block, Access::Random);
            if !is_node_page(&self.blocks.hnsw, block, page.page()) {
                continue;
            }
            for offset in 1..=page.page().item_count() {
                let id = NodeId { block, offset };
                if let Some(found) = self.blocks.block_on(page.page(), id)
                    && !found.is_deleted()
                    && !left.contains(&id)
                    && self.rng.f64() < share
                {
                    new.push(Entry::of(&self.blocks, id, found.compact()));
                }
            }
        }
        entries::add(&self.blocks, Logging::EachChange, &new);
    }

    /// Measures the calibration curve with deleted nodes, which nothing leads to any more.
    pub fn calibrate(&mut self, live: u64) {
        if self.deleted.len() < MOST_QUERIES / 2 || live < MOST_QUERIES as u64 {
            return;
        }
        let step = (self.deleted.len() / MOST_QUERIES).max(1);
        let queries: Vec<NodeId> = self.deleted.iter().copied().step_by(step).collect();
        let mut measured = calibration::Measured::default();
        for id in queries.into_iter().take(MOST_QUERIES) {
            delay_point();
            let value = self.with_block(id, |block| block.value().to_vec());
            if let Some(value) = value {
                self.insert.measure(&value, &mut measured);
            }
        }
        calibration::store(&self.blocks, Logging::EachChange, &measured, live, 1.0);
    }
}
