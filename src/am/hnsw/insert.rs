//! Insert of one row into the graph on pages (Algorithm 1 of the paper, one page lock at a time).
//!
//! The new node is written with its own links first; then each neighbour links back. A crash in
//! between leaves a node that fewer links lead to, which scans and VACUUM tolerate.

use super::blocks::{self, index::Blocks};
use super::place::{self, Placement};
use super::storage::{Hnsw, META_BLOCK, PageNode, PageStore, read_meta};
use crate::distance::{Operand, Value};
use crate::hnsw::format::{Meta, NodeId, RawTid};
use crate::hnsw::{Candidate, Distance, Level, Searcher, format, select_neighbours};
use crate::pg::buffer::{Access, Exclusive, Hints};
use crate::pg::change::{Change, Logging};
use crate::pg::relation::{Index, Turnstile};
use crate::pg::rows::{Values, raw_tid};
use pgrx::pg_sys::{self, Datum};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// How often a back-link is tried again when its neighbour's list changes underneath.
pub const LINK_ATTEMPTS: usize = 8;
/// Bytes of values kept at hand during one insert.
const VALUES_AT_HAND: usize = 16 << 20;

#[allow(clippy::too_many_arguments, reason = "the server's signature")]
#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn aminsert(
    index: pg_sys::Relation,
    values: *mut Datum,
    isnull: *mut bool,
    heap_tid: pg_sys::ItemPointer,
    _heap: pg_sys::Relation,
    _check_unique: pg_sys::IndexUniqueCheck::Type,
    _index_unchanged: bool,
    info: *mut pg_sys::IndexInfo,
) -> bool {
    // SAFETY: the server passes an open index with one value for each column, and a valid TID; the
    // description stays for the statement, and with it what we keep there.
    let (index, row, value, tid, kept) = unsafe {
        if *isnull {
            return false;
        }
        let columns = (*(*index).rd_att).natts as usize;
        let row = Values {
            values: std::slice::from_raw_parts(values, columns),
            nulls: std::slice::from_raw_parts(isnull, columns),
        };
        let kept = (*info).ii_AmCache.cast::<blocks::insert::Insert>().as_mut();
        (Index::new(index), row, *values, raw_tid(heap_tid), kept)
    };
    if let Some(insert) = kept {
        let column = insert.column();
        // SAFETY: a non-NULL value of the indexed column.
        let value = unsafe { column.value(value) };
        if column.is_indexable(&value) {
            // SAFETY: values of the index's columns.
            unsafe { insert.row(&value, row, tid) };
        }
        return false;
    }
    let (hnsw, meta) = Hnsw::open(index);
    // SAFETY: a non-NULL value of the indexed column.
    let value = unsafe { hnsw.column.value(value) };
    if hnsw.column.is_indexable(&value) {
        match Blocks::open(hnsw, &meta) {
            Some(blocks) => {
                // SAFETY: the memory of the statement's description of the index; values of its
                // columns.
                unsafe {
                    let mut context = pgrx::PgMemoryContexts::For((*info).ii_Context);
                    let insert = context.switch_to(|context| {
                        let insert =
                            blocks::insert::Insert::new(Rc::new(blocks), Logging::EachChange);
                        context.leak_and_drop_on_delete(insert)
                    });
                    (*info).ii_AmCache = insert.cast();
                    (*insert).row(&value, row, tid);
                }
            }
            None => Insert::new(hnsw, Logging::EachChange).row(value, tid),
        }
    }
    false
}

/// Inserts into one index.
pub struct Insert {
    hnsw: Hnsw,
    logging: Logging,
    searcher: Searcher<PageStore>,
    rng: fastrand::Rng,
}

impl Insert {
    /// Working memory for inserts into an index.
    pub fn new(hnsw: Hnsw, logging: Logging) -> Self {
        Insert {
            hnsw,
            logging,
            searcher: Searcher::default(),
            rng: fastrand::Rng::new(),
        }
    }

    /// Inserts a row.
    pub fn row(&mut self, value: Value, tid: RawTid) {
        let hnsw = self.hnsw;
        let highest = format::highest_level(hnsw.params.m);
        let level = hnsw.params.random_level(&mut self.rng, highest);
        // Inserts share the turnstile, so that VACUUM can wait for those in flight; one that
        // raises the entry point has it alone, so that entry points rise one at a time.
        let share = Turnstile::lock(hnsw.index, META_BLOCK, pg_sys::ShareLock);
        let meta = read_meta(hnsw.index);
        if meta.entry.id().is_some() && level as u16 <= meta.entry_level {
            return self.row_at(&meta, value, level, tid);
        }
        drop(share);
        let _alone = Turnstile::lock(hnsw.index, META_BLOCK, pg_sys::ExclusiveLock);
        let meta = read_meta(hnsw.index);
        self.row_at(&meta, value, level, tid);
    }

    fn row_at(&mut self, meta: &Meta, value: Value, level: Level, tid: RawTid) {
        let hnsw = self.hnsw;
        let mut store = PageStore::new(hnsw, value);
        let mut links: Vec<Vec<Candidate<PageNode>>> = vec![Vec::new(); level as usize + 1];
        let mut near = Neighbourhood::new(hnsw);
        if let Some((entry, entry_level)) = store.entry(meta) {
            let mut entries = self.searcher.descend(&mut store, entry, entry_level, level);
            for level in (0..=level.min(entry_level)).rev() {
                let ef = effective_ef_construction(&hnsw);
                let nearest = self.searcher.search_layer(&mut store, &entries, ef, level);
                if level == 0 && self.add_to_equal(&mut store, &nearest, tid) {
                    return;
                }
                let by_id = nearest.iter().map(|c| Candidate {
                    distance: c.distance,
                    node: c.node.id,
                });
                let chosen = near.select(&by_id.collect::<Vec<_>>(), hnsw.params.capacity(level));
                links[level as usize] = nearest
                    .iter()
                    .filter(|c| chosen.iter().any(|other| other.node == c.node.id))
                    .copied()
                    .collect();
                if !nearest.is_empty() {
                    entries = nearest;
                }
            }
        }
        let own: Vec<Vec<NodeId>> = links
            .iter()
            .map(|list| list.iter().map(|neighbour| neighbour.node.id).collect())
            .collect();
        let placement = Placement {
            value: store.query.operand(),
            level,
            tid,
            links: &own,
        };
        let id = place::place_node(&hnsw, self.logging, &placement);
        near.remember(id, Value::of(store.query.operand()));
        for (level, list) in links.iter().enumerate() {
            let back = |neighbour: &Candidate<PageNode>| Back {
                level: level as Level,
                new: id,
                distance: neighbour.distance,
            };
            let mut is_linked = false;
            for neighbour in list {
                is_linked |= near.link_back(neighbour.node, back(neighbour), self.logging);
            }
            if let Some(nearest) = list.iter().min()
                && !is_linked
                && level == 0
            {
                // no neighbour wants it, but no search finds what nothing leads to
                near.force_link(nearest.node, back(nearest), self.logging);
            }
        }
        if meta.entry.id().is_none() || level as u16 > meta.entry_level {
            place::change_meta(&hnsw, self.logging, |meta| {
                meta.entry = id.into();
                meta.entry_level = level as u16;
            });
        }
    }

    /// Adds the heap tuple to a node that has this very value, if one of `nearest` does.
    fn add_to_equal(
        &mut self,
        store: &mut PageStore,
        nearest: &[Candidate<PageNode>],
        tid: RawTid,
    ) -> bool {
        let query = store.query.operand();
        let to_itself = Distance(self.hnsw.column.space.distance(query, query));
        for candidate in nearest.iter().filter(|c| c.distance == to_itself) {
            let Some(value) = store.load(candidate.node.id) else {
                continue;
            };
            if value.payload() == store.query.payload()
                && place::add_tid(
                    &self.hnsw,
                    self.logging,
                    candidate.node.id,
                    candidate.node.generation,
                    tid,
                    &[],
                )
            {
                return true;
            }
        }
        false
    }
}

/// The candidate list's size while inserting: `ef_construction`, but never less than a node has
/// links on the ground layer.
pub fn effective_ef_construction(hnsw: &Hnsw) -> usize {
    (hnsw.params.ef_construction as usize).max(hnsw.params.capacity(0))
}

/// A link back from a neighbour to a new node.
#[derive(Clone, Copy)]
pub struct Back {
    /// layer of the link
    pub level: Level,
    /// the new node
    pub new: NodeId,
    /// distance between the two
    pub distance: Distance,
}

/// Values of the nodes around an insert, read once each.
pub struct Neighbourhood {
    hnsw: Hnsw,
    values: FxHashMap<NodeId, Option<Value>>,
    bytes: usize,
    scratch: Value,
    hints: Hints,
}

impl Neighbourhood {
    /// Knows no value yet.
    pub fn new(hnsw: Hnsw) -> Self {
        Neighbourhood {
            hnsw,
            values: FxHashMap::default(),
            bytes: 0,
            scratch: Value::default(),
            hints: Hints::of(hnsw.index),
        }
    }

    fn fetch(&mut self, id: NodeId) {
        if self.values.contains_key(&id) {
            return;
        }
        let page = self.hints.pin(self.hnsw.index, id.block).lock();
        let value = self.hnsw.node_on(page.page(), id).and_then(|node| {
            self.hnsw
                .with_value(id, &node, &mut self.scratch, Value::of)
        });
        self.bytes += value.as_ref().map_or(0, |value| value.payload().len()) + 64;
        self.values.insert(id, value);
    }

    /// Forgets all values where they have become too many.
    fn trim(&mut self) {
        if self.bytes > VALUES_AT_HAND {
            self.values.clear();
            self.bytes = 0;
        }
    }

    fn value(&self, id: NodeId) -> Option<Operand<'_>> {
        self.values.get(&id)?.as_ref().map(Value::operand)
    }

    /// Keeps a value at hand that need not be read.
    pub fn remember(&mut self, id: NodeId, value: Value) {
        self.bytes += value.payload().len() + 64;
        self.values.insert(id, Some(value));
    }

    /// Copies a node's value; `None` where the node is gone.
    pub fn load(&mut self, id: NodeId) -> Option<Value> {
        self.fetch(id);
        self.values.get(&id)?.clone()
    }

    /// Distance between two nodes; infinite where one is gone.
    pub fn distance(&mut self, a: NodeId, b: NodeId) -> Distance {
        self.fetch(a);
        self.fetch(b);
        let (Some(a), Some(b)) = (self.value(a), self.value(b)) else {
            return Distance(f64::INFINITY);
        };
        Distance(self.hnsw.column.space.distance(a, b))
    }

    /// The neighbours that the heuristic chooses. A candidate that is gone by now is far from all.
    pub fn select(
        &mut self,
        candidates: &[Candidate<NodeId>],
        capacity: usize,
    ) -> Vec<Candidate<NodeId>> {
        if candidates.len() <= capacity {
            return candidates.to_vec();
        }
        self.trim();
        for candidate in candidates {
            self.fetch(candidate.node);
        }
        // the heuristic compares by the hundred: values by position, looked up once
        let values: Vec<Option<Operand<'_>>> =
            candidates.iter().map(|c| self.value(c.node)).collect();
        let by_position: Vec<Candidate<usize>> = candidates
            .iter()
            .enumerate()
            .map(|(node, c)| Candidate {
                distance: c.distance,
                node,
            })
            .collect();
        let space = self.hnsw.column.space;
        let chosen = select_neighbours(&by_position, capacity, |a, b| {
            Distance(match (values[a], values[b]) {
                (Some(a), Some(b)) => space.distance(a, b),
                _ => f64::INFINITY,
            })
        });
        chosen.into_iter().map(|c| candidates[c.node]).collect()
    }

    /// Adds a link to a neighbour's list, which chooses anew where it is full.
    /// Says whether the link is there now.
    pub fn link_back(&mut self, neighbour: PageNode, back: Back, logging: Logging) -> bool {
        self.change_links(neighbour, back, logging, |near, used| {
            let chosen = near.choose(neighbour.id, used, back);
            chosen.contains(&back.new).then_some(chosen)
        })
    }

    /// Adds a link to a neighbour's list in any case: a full one gives up its farthest.
    pub fn force_link(&mut self, neighbour: PageNode, back: Back, logging: Logging) -> bool {
        self.change_links(neighbour, back, logging, |near, used| {
            let farthest = (0..used.len()).max_by_key(|&i| near.distance(neighbour.id, used[i]))?;
            let mut links = used.to_vec();
            links[farthest] = back.new;
            Some(links)
        })
    }

    /// Adds a link to a neighbour's list; `when_full` says what a full one becomes, if anything.
    fn change_links(
        &mut self,
        neighbour: PageNode,
        back: Back,
        logging: Logging,
        when_full: impl Fn(&mut Self, &[NodeId]) -> Option<Vec<NodeId>>,
    ) -> bool {
        for _ in 0..LINK_ATTEMPTS {
            let Some(list) = self.links_of(neighbour, back.level) else {
                return false; // the neighbour is gone, or about to be
            };
            let mut links = list.iter().map_while(|link| link.id()).collect::<Vec<_>>();
            if links.contains(&back.new) {
                return true;
            }
            if links.len() < list.len() {
                links.push(back.new);
            } else {
                match when_full(self, &links) {
                    Some(changed) => links = changed,
                    None => return false,
                }
            }
            if self.replace_links(neighbour, back.level, &list, &links, logging) {
                return true;
            }
        }
        false
    }

    /// The links of a full list with the new one: the heuristic leaves one out, or more where
    /// nodes are gone.
    fn choose(&mut self, owner: NodeId, links: &[NodeId], back: Back) -> Vec<NodeId> {
        let mut candidates: Vec<Candidate<NodeId>> = links
            .iter()
            .map(|&link| Candidate {
                distance: self.distance(owner, link),
                node: link,
            })
            .filter(|candidate| candidate.distance.0 < f64::INFINITY)
            .collect();
        candidates.push(Candidate {
            distance: back.distance,
            node: back.new,
        });
        candidates.sort_unstable();
        self.select(&candidates, links.len())
            .into_iter()
            .map(|chosen| chosen.node)
            .collect()
    }

    /// The link slots of a live node at a level.
    pub fn links_of(&self, node: PageNode, level: Level) -> Option<Vec<RawTid>> {
        self.hnsw.with_node(node.id, Access::Random, |found| {
            let usable = found.header.generation == node.generation
                && !found.is_deleted()
                && level <= found.header.level;
            usable.then(|| found.links(level).to_vec())
        })?
    }

    /// Writes a node's links at a level, if they still are what they were. False: look again.
    pub fn replace_links(
        &self,
        node: PageNode,
        level: Level,
        before: &[RawTid],
        after: &[NodeId],
        logging: Logging,
    ) -> bool {
        let mut page = Exclusive::lock(self.hnsw.index, node.id.block, Access::Random);
        let unchanged = self
            .hnsw
            .node_on(page.page(), node.id)
            .is_some_and(|found| {
                found.header.generation == node.generation && found.links(level) == before
            });
        if !unchanged {
            return false;
        }
        let mut change = Change::begin(self.hnsw.index, logging);
        place::with_node_mut(&self.hnsw, &mut change.page(&mut page), node.id, |writer| {
            writer.set_links(level, after.iter().copied());
        });
        change.commit();
        true
    }
}
