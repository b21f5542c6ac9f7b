//! Linking the nodes of a graph in memory, by several threads at once.

use super::build::{Follow, Graph, Links, Near};
use crate::quantize::CompactRef;

/// Entries that a search starts from.
const SEEDS: usize = 4;

/// While linking, nodes are followed that are nearer than so many times the squared distance of the
/// candidate at a quarter of `ef_construction`. Measured: 23 % less time to link for .002 of recall
/// at equal `ef_search`.
const FAR: f32 = 1.1;

/// How far ahead records are asked for.
const AHEAD: usize = 10;

/// A link is covered by a nearer one whose end is this much nearer to its own end: internal distances
/// are squares, so this is 1.05 in plain distance. The paper has 1; Vamana (Subramanya and others,
/// NeurIPS 2019) calls it alpha. Links that are barely covered are worth following: recall at
/// `ef_construction` 64 becomes what 100 gives without, for less time.
pub const SLACK: f32 = 1.1;

/// One thread's working memory.
#[derive(Default)]
pub struct Worker {
    seen: Seen,
    nearest: Vec<Near>,
    neighbours: Vec<u32>,
    entries: Vec<Near>,
    links: Links,
    own: Links,
}

/// Set in the number of a node whose links have been followed.
const FOLLOWED: u32 = 1 << 31;

impl Graph {
    /// Links a node with its nearest neighbours among those linked before. Safe to call from many
    /// threads; a node that is linked already is left alone.
    pub fn link(&self, node: u32, worker: &mut Worker) {
        if !self.lists.mark_linked(node) {
            return;
        }
        let Worker { links, own, .. } = worker;
        let mut spare = (std::mem::take(links), std::mem::take(own));
        self.search(
            self.get(node),
            self.shape.ef_construction,
            Follow::Chosen,
            Some(self.shape.ef_construction / 4),
            worker,
        );
        self.choose(&worker.nearest, &mut spare.1);
        let (links, own) = (&mut spare.0, &spare.1);
        // its own list first: who comes by a link back finds it filled
        self.lists.change(node, links, |list| {
            list.chosen.extend_from_slice(&own.chosen);
            list.covered.extend_from_slice(&own.covered);
        });
        for neighbour in &own.chosen {
            let link = Near {
                node,
                distance: neighbour.distance,
            };
            self.lists
                .change(neighbour.node, links, |list| self.admit(list, link));
        }
        (worker.links, worker.own) = spare;
        if let Some(entry) = self.entries.nodes.iter().position(|&entry| entry == node) {
            self.entries.open(entry);
        }
    }

    /// Algorithm 4 of the paper with keepPrunedConnections: which of the candidates, nearest
    /// first, become neighbours.
    fn choose(&self, candidates: &[Near], links: &mut Links) {
        links.chosen.clear();
        links.covered.clear();
        for &candidate in candidates {
            let standing = self.standing(&links.chosen, candidate);
            if standing == Standing::Covered {
                links.covered.push(candidate);
                continue;
            }
            links.chosen.push(candidate.standing(standing));
            if links.chosen.len() > self.shape.slots {
                drop_chosen(&mut links.chosen);
            }
        }
        links
            .covered
            .truncate(self.shape.slots - links.chosen.len());
    }

    /// How a link stands against chosen ones that are nearer.
    #[inline]
    fn standing(&self, nearer: &[Near], link: Near) -> Standing {
        let code = self.get(link.node);
        let mut standing = Standing::Clear;
        for chosen in nearer {
            let between = self.codec.distance(self.get(chosen.node), code);
            if between * SLACK <= link.distance {
                return Standing::Covered;
            }
            if between <= link.distance && !chosen.is_loose() {
                standing = Standing::Loose;
            }
        }
        standing
    }

    /// Adds a link to a list, which keeps its order. A full list drops its farthest covered link;
    /// where none is covered its farthest loose one, and where none is loose its farthest.
    ///
    /// The new link is compared with the chosen ones only. What only a link covered that is now
    /// covered itself stays covered.
    fn admit(&self, list: &mut Links, link: Near) {
        if list.contains(link.node) {
            return;
        }
        let at = place(&list.chosen, link.distance);
        let standing = self.standing(&list.chosen[..at], link);
        if standing == Standing::Covered {
            let at = place(&list.covered, link.distance);
            list.covered.insert(at, link);
        } else {
            list.chosen.insert(at, link.standing(standing));
            let code = self.get(link.node);
            let mut i = at + 1;
            while i < list.chosen.len() {
                let other = list.chosen[i];
                let between = self.codec.distance(self.get(other.node), code);
                if between * SLACK <= other.distance {
                    list.chosen.remove(i);
                    let at = place(&list.covered, other.distance);
                    list.covered.insert(at, other);
                    continue;
                }
                if between <= other.distance && standing == Standing::Clear {
                    list.chosen[i] = other.standing(Standing::Loose);
                }
                i += 1;
            }
        }
        if list.len() > self.shape.slots && list.covered.pop().is_none() {
            drop_chosen(&mut list.chosen);
        }
    }

    /// The `ef` nodes nearest to a vector as far as a best-first walk finds them (Algorithm 2 of the
    /// paper), nearest first.
    pub fn nearest<'w>(
        &self,
        query: CompactRef<'_>,
        ef: usize,
        follow: Follow,
        worker: &'w mut Worker,
    ) -> &'w [Near] {
        self.search(query, ef, follow, None, worker);
        &worker.nearest
    }

    /// As [`Graph::nearest`]. With a rank to be certain of, nodes much farther than the one of that
    /// rank are not followed: they stay candidates, but what is around them is not looked at.
    fn search(
        &self,
        query: CompactRef<'_>,
        ef: usize,
        follow: Follow,
        patience: Option<usize>,
        worker: &mut Worker,
    ) {
        worker.seen.clear();
        self.nearest_entries(query, &mut worker.entries);
        let Worker {
            seen,
            nearest,
            neighbours,
            entries,
            ..
        } = worker;
        nearest.clear();
        for &entry in entries.iter() {
            seen.insert(entry.node);
            nearest.push(entry);
        }
        nearest.truncate(ef);
        let mut next = 0;
        while next < nearest.len() {
            let is_far = patience.is_some_and(|rank| {
                let certain = nearest.get(rank);
                certain.is_some_and(|near| nearest[next].distance > FAR * near.distance)
            });
            if is_far {
                break;
            }
            let node = nearest[next].node;
            nearest[next].node |= FOLLOWED;
            neighbours.clear();
            self.lists.read(node, follow, neighbours);
            neighbours.retain(|&neighbour| seen.insert(neighbour));
            for &neighbour in neighbours.iter().take(AHEAD) {
                self.records.prefetch(neighbour as usize);
            }
            next += 1;
            for (i, &neighbour) in neighbours.iter().enumerate() {
                if let Some(&ahead) = neighbours.get(i + AHEAD) {
                    self.records.prefetch(ahead as usize);
                }
                let distance = self.codec.distance(query, self.get(neighbour));
                if nearest.len() == ef {
                    if nearest[ef - 1].distance <= distance {
                        continue;
                    }
                    nearest.pop();
                }
                let at = place(nearest, distance);
                nearest.insert(
                    at,
                    Near {
                        distance,
                        node: neighbour,
                    },
                );
                next = next.min(at);
            }
            while next < nearest.len() && nearest[next].node & FOLLOWED != 0 {
                next += 1;
            }
            if let Some(near) = nearest.get(next) {
                self.lists.prefetch(near.node);
            }
        }
        for near in nearest {
            near.node &= !FOLLOWED;
        }
    }

    /// The open entries nearest to a vector, nearest first.
    fn nearest_entries(&self, query: CompactRef<'_>, found: &mut Vec<Near>) {
        found.clear();
        for (entry, &node) in self.entries.nodes.iter().enumerate() {
            if !self.entries.is_open(entry) {
                continue;
            }
            let distance = self.codec.distance(query, self.entries.records.get(entry));
            if found.len() == SEEDS {
                if found[SEEDS - 1].distance <= distance {
                    continue;
                }
                found.pop();
            }
            let at = place(found, distance);
            found.insert(at, Near { distance, node });
        }
    }
}

/// How a link stands against nearer ones of its list. The paper's heuristic takes the clear ones
/// alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// covered by none
    Clear,
    /// covered but for the slack: chosen while all chosen ones have room
    Loose,
    /// covered
    Covered,
}

impl Near {
    /// A chosen link's standing is the lowest bit of its distance.
    fn standing(self, standing: Standing) -> Near {
        let bits = self.distance.to_bits() & !1 | (standing == Standing::Loose) as u32;
        Near {
            distance: f32::from_bits(bits),
            node: self.node,
        }
    }

    fn is_loose(self) -> bool {
        self.distance.to_bits() & 1 == 1
    }
}

/// Drops the farthest loose link: clear ones lead out of a crowd of near neighbours. Without one
/// that is loose, drops the farthest.
fn drop_chosen(chosen: &mut Vec<Near>) {
    match chosen.iter().rposition(|link| link.is_loose()) {
        Some(at) => drop(chosen.remove(at)),
        None => drop(chosen.pop()),
    }
}

/// Where a distance belongs in a list, nearest first.
#[inline(always)]
fn place(list: &[Near], distance: f32) -> usize {
    list.partition_point(|near| near.distance <= distance)
}

/// A set of nodes: those that a search has seen. Open addressing, emptied by counting searches.
struct Seen {
    /// search in the high half, node in the low half
    places: Vec<u64>,
    search: u32,
    count: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Seen {
            places: vec![0; 2048],
            search: 1,
            count: 0,
        }
    }
}

impl Seen {
    fn clear(&mut self) {
        self.count = 0;
        self.search = self.search.wrapping_add(1);
        if self.search == 0 {
            self.places.fill(0);
            self.search = 1;
        }
    }

    /// Adds a node; false where it was there.
    #[inline(always)]
    fn insert(&mut self, node: u32) -> bool {
        let entry = (self.search as u64) << 32 | node as u64;
        let mask = self.places.len() - 1;
        let mut place = Self::hash(node) & mask;
        loop {
            let there = self.places[place];
            if there == entry {
                return false;
            }
            if there >> 32 != self.search as u64 {
                break;
            }
            place = (place + 1) & mask;
        }
        self.places[place] = entry;
        self.count += 1;
        if self.count * 2 > self.places.len() {
            self.double();
        }
        true
    }

    #[inline(always)]
    fn hash(node: u32) -> usize {
        (node.wrapping_mul(0x9E37_79B1) >> 7) as usize
    }

    #[cold]
    fn double(&mut self) {
        let doubled = vec![0; self.places.len() * 2];
        let old = std::mem::replace(&mut self.places, doubled);
        self.count = 0;
        for entry in old {
            if entry >> 32 == self.search as u64 {
                self.insert(entry as u32);
            }
        }
    }
}
