//! Insert of one row into an index of blocks.
//!
//! The new node is written with its own links first; then the neighbours that the heuristic chose
//! link back, one page at a time. Whether a link back is worth a place is decided from what the
//! neighbour's own block holds: spans, verdicts, and codes of its neighbours, against which the new
//! value is estimated. So each link back is one page visit.

use super::calibration::{self, Measured};
use super::entries::{self, Entry};
use super::index::{Blocks, floats_of, hash_of};
use super::map;
use super::search::{Keep, PageBlocks};
use crate::am::column::Column;
use crate::am::filter::keys::FilterColumns;
use crate::am::hnsw::insert::effective_ef_construction;
use crate::am::hnsw::place;
use crate::am::hnsw::storage::{Hnsw, META_BLOCK, read_meta};
use crate::distance::{Metric, Value};
use crate::hnsw::blocks::SEEDS;
use crate::hnsw::blocks::format::{
    Block, BlockMut, Kept, Span, compact_of, encode_value, hash_of_value,
};
use crate::hnsw::blocks::map::MapRow;
use crate::hnsw::blocks::{Effort, SLACK, Walk, calibrate};
use crate::hnsw::format::{Meta, NewNode, NodeId, NodeMut, RawTid};
use crate::pg::buffer::{Access, Exclusive};
use crate::pg::change::{Change, Logging};
use crate::pg::relation::Turnstile;
use crate::pg::rows::Values;
use crate::quantize::{CompactRef, Factors, Query};
use pgrx::pg_sys;
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// Nodes below which inserts measure nothing.
const LEAST_MEASURED: f64 = 1_000.0;
/// Share of inserts that measure while there is no curve, or the index has outgrown it.
const UNMEASURED_SHARE: f64 = 0.2;
/// Share of inserts that measure otherwise.
const MEASURED_SHARE: f64 = 0.01;
/// An index so many times larger than when its curve was measured has outgrown it: it finds less
/// with the same multiple.
const OUTGROWN: f64 = 1.25;
/// Queries after which what was measured goes to the metapage.
const QUERIES_AT_ONCE: u64 = 100;
/// Share of a new measurement in the curve.
const NEW_SHARE: f32 = 0.25;
/// The same where the index has outgrown the curve.
const OUTGROWN_SHARE: f32 = 0.75;
/// Vectors up to so many times longer than the index's reach leave it as it is (inner product).
const LONGEST: f32 = 1.5;
/// Expansions between two looks at interrupts.
const STEPS_BETWEEN_CHECKS: usize = 64;

/// A node that an insert's search has expanded.
#[derive(Clone)]
pub struct Found {
    /// the node
    pub id: NodeId,
    /// tells it from a later node at the same address
    pub generation: u32,
    /// its value: factors, hash, compact code
    pub value: Rc<[u8]>,
}

impl Keep for Found {
    fn of(id: NodeId, block: &Block<'_>) -> Self {
        Found {
            id,
            generation: block.header.generation,
            value: block.value().into(),
        }
    }
}

/// A neighbour of a node.
#[derive(Clone)]
pub struct Neighbour {
    /// the node
    pub found: Found,
    /// distance to it
    pub distance: f32,
    /// a nearer neighbour covers the way
    pub covered: bool,
}

/// A heap tuple, and the keys of its filter columns.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    /// the heap tuple
    pub tid: RawTid,
    /// one for each filter column
    pub keys: &'a [u64],
}

/// Inserts into one index.
pub struct Insert {
    blocks: Rc<Blocks>,
    logging: Logging,
    filter_columns: FilterColumns,
    walk: Walk<PageBlocks<Found>>,
    store: PageBlocks<Found>,
    rng: fastrand::Rng,
    floats: Vec<f32>,
    scratch: Vec<f32>,
    seeds: Vec<(NodeId, f32)>,
    /// how many nodes the index has, about
    nodes: f64,
    inserted: u64,
    /// length of the vector being inserted, under inner product, or 0
    norm: f32,
}

/// A new node on its way into the graph.
pub struct Newcomer<'a> {
    /// its address
    pub id: NodeId,
    /// what its neighbours keep of it
    pub kept: Kept<'a>,
    /// its value as a query
    pub query: &'a Query,
    /// what `query`'s distances lack to be distances between nodes
    pub offset: f32,
    /// its distances to nodes, as far as they are known
    pub known: &'a FxHashMap<NodeId, f32>,
    /// the nodes that it links to
    pub links: &'a [NodeId],
}

impl Insert {
    /// Working memory for inserts into an index. Of the server's it takes some that lives as long as
    /// the memory context that is current.
    pub fn new(blocks: Rc<Blocks>, logging: Logging) -> Self {
        let nodes = blocks.hnsw.estimated_nodes(blocks.layout.block.value_len());
        Insert {
            store: PageBlocks::new(blocks.clone(), Query::default()),
            filter_columns: FilterColumns::of(blocks.hnsw.index),
            blocks,
            logging,
            walk: Walk::default(),
            rng: fastrand::Rng::new(),
            floats: Vec::new(),
            scratch: Vec::new(),
            seeds: Vec::new(),
            nodes,
            inserted: 0,
            norm: 0.0,
        }
    }

    /// The indexed column.
    pub fn column(&self) -> Column {
        self.blocks.hnsw.column
    }

    /// Inserts a row.
    ///
    /// # Safety
    /// `row` has values of the index's columns.
    pub unsafe fn row(&mut self, value: &Value, row: Values<'_>, tid: RawTid) {
        let mut floats = std::mem::take(&mut self.floats);
        floats_of(self.blocks.hnsw.column.space.element, value, &mut floats);
        let mut code = vec![0i8; floats.len()];
        let factors = self
            .blocks
            .codec
            .encode(&floats, &mut self.scratch, &mut code);
        self.norm = match self.blocks.hnsw.column.space.metric {
            Metric::InnerProduct => {
                let squares = floats.iter().map(|&x| x as f64 * x as f64);
                squares.sum::<f64>().sqrt().min(f32::MAX as f64) as f32
            }
            _ => 0.0,
        };
        self.floats = floats;
        let compact = CompactRef {
            factors,
            code: &code,
        };
        // SAFETY: as promised by the caller.
        let keys = unsafe { self.filter_columns.keys(row) }.to_vec();
        let row = Row { tid, keys: &keys };
        self.encoded(&encode_value(compact, hash_of(value)), row);
    }

    /// Inserts a row whose value is encoded.
    pub fn encoded(&mut self, value: &[u8], row: Row<'_>) {
        let index = self.blocks.hnsw.index;
        // Inserts share the turnstile, so that VACUUM can wait for those in flight; the first one
        // has it alone, so that there is one entry point.
        let share = Turnstile::lock(index, META_BLOCK, pg_sys::ShareLock);
        let meta = read_meta(index);
        if meta.entry.id().is_some() {
            let meta = self.reach(meta);
            return self.row_at(&meta, value, row);
        }
        drop(share);
        let _alone = Turnstile::lock(index, META_BLOCK, pg_sys::ExclusiveLock);
        let meta = self.reach(read_meta(index));
        self.row_at(&meta, value, row);
    }

    /// Sees to it that the index reaches about as far as the vector being inserted, and that this
    /// session knows. Under inner product distances are counted from the reach, and where it is
    /// far too small or too large for the vectors there, they tell nothing: an index that was
    /// created empty takes it from its first vector. Spans of links from before it grew are too short
    /// by what it grew, and are replaced with time.
    fn reach(&mut self, meta: Meta) -> Meta {
        let is_first = meta.entry.id().is_none() && self.norm != meta.reach;
        let mut meta = meta;
        if self.norm > 0.0 && (is_first || self.norm > LONGEST * meta.reach) {
            let norm = self.norm;
            place::change_meta(&self.blocks.hnsw, self.logging, |meta| {
                if is_first || norm > meta.reach {
                    meta.reach = norm;
                }
            });
            meta = read_meta(self.blocks.hnsw.index);
        }
        if let Some(blocks) = self.blocks.of_reach(&meta) {
            self.blocks = Rc::new(blocks);
            self.store = PageBlocks::new(self.blocks.clone(), Query::default());
        }
        meta
    }

    /// A value that is being inserted is a query that the graph does not know: now and then one
    /// measures the curve, so that an index that grows by inserts is calibrated, too. What is measured
    /// counts once one statement has enough of it: COPY does, a statement of a few rows does not.
    fn measure_now_and_then(&mut self, meta: &Meta, value: &[u8]) {
        let nodes = self.nodes + self.inserted as f64;
        let is_outgrown = nodes > OUTGROWN * meta.calibrated_nodes as f64;
        let (share, weight) = match meta.curve_len {
            0 if nodes > LEAST_MEASURED => (UNMEASURED_SHARE, NEW_SHARE),
            0 => return,
            _ if is_outgrown => (UNMEASURED_SHARE, OUTGROWN_SHARE),
            _ => (MEASURED_SHARE, NEW_SHARE),
        };
        // a build inserts what it has measured with
        if self.logging == Logging::AtEndOfBuild || self.rng.f64() >= share {
            return;
        }
        let seed = meta.seed;
        let mut measured = calibration::take(seed);
        self.measure(value, &mut measured);
        if measured.queries() >= QUERIES_AT_ONCE {
            let blocks = &self.blocks;
            return calibration::store(blocks, self.logging, &measured, nodes as u64, weight);
        }
        calibration::keep(seed, measured);
    }

    fn row_at(&mut self, meta: &Meta, value: &[u8], row: Row<'_>) {
        let blocks = self.blocks.clone();
        self.measure_now_and_then(meta, value);
        let candidates = self.search(meta, value);
        for candidate in &candidates {
            let same = hash_of_value(&candidate.found.value) == hash_of_value(value)
                && *candidate.found.value == *value;
            let (id, generation) = (candidate.found.id, candidate.found.generation);
            if same
                && place::add_tid(
                    &blocks.hnsw,
                    self.logging,
                    id,
                    generation,
                    row.tid,
                    row.keys,
                )
            {
                return self.add_to_map(value, row, id, generation);
            }
        }
        let offset = match candidates.first() {
            Some(first) => {
                first.distance - self.store.query.distance(compact_of(&first.found.value))
            }
            None => 0.0,
        };
        let known: FxHashMap<NodeId, f32> = candidates
            .iter()
            .map(|candidate| (candidate.found.id, candidate.distance))
            .collect();
        let neighbours = select(&blocks, candidates, blocks.layout.slots());
        let (id, generation) = place_block(&blocks, self.logging, value, row, &neighbours);
        let mut code = vec![0; blocks.layout.block.code_len()];
        let links: Vec<NodeId> = neighbours.iter().map(|n| n.found.id).collect();
        let newcomer = Newcomer {
            id,
            kept: kept_of(&blocks, compact_of(value), &mut code),
            query: &self.store.query,
            offset,
            known: &known,
            links: &links,
        };
        let mut is_linked = false;
        for neighbour in neighbours.iter().filter(|neighbour| !neighbour.covered) {
            let linked = link_back(
                &blocks,
                self.logging,
                neighbour,
                &newcomer,
                Insistence::IfWorthIt,
            );
            is_linked |= linked != Linked::No;
        }
        if let Some(nearest) = neighbours.first()
            && !is_linked
        {
            // no neighbour wants it, but no search finds what nothing leads to
            link_in_any_case(&blocks, self.logging, nearest, value, &newcomer);
        }
        self.enter(meta, value, id);
        self.add_to_map(value, row, id, generation);
    }

    fn add_to_map(&self, value: &[u8], row: Row<'_>, id: NodeId, generation: u32) {
        let Some(layout) = self.blocks.map else {
            return;
        };
        let entry = map::NewEntry {
            row: MapRow {
                tid: row.tid,
                node: id.into(),
                generation,
            },
            keys: row.keys,
            compact: compact_of(value),
        };
        map::add(&self.blocks, layout, self.logging, &entry);
    }

    /// The first node is the entry point; a random part of all is in the entry table.
    fn enter(&mut self, meta: &Meta, value: &[u8], id: NodeId) {
        self.inserted += 1;
        if meta.entry.id().is_none() {
            place::change_meta(&self.blocks.hnsw, self.logging, |meta| {
                meta.entry = id.into()
            });
        }
        let nodes = self.nodes + self.inserted as f64;
        let share = entries::wanted(nodes) - entries::wanted(nodes - 1.0);
        if self.rng.f64() < share {
            let entry = Entry::of(&self.blocks, id, compact_of(value));
            entries::add(&self.blocks, self.logging, &[entry]);
        }
    }

    /// Measures with a value that is not in the graph which multiple finds its neighbours.
    pub fn measure(&mut self, value: &[u8], measured: &mut Measured) {
        let meta = read_meta(self.blocks.hnsw.index);
        let Insert {
            blocks,
            walk,
            store,
            seeds,
            ..
        } = self;
        store.query.reset_of(&blocks.codec, compact_of(value));
        store.seeds(&meta, SEEDS, seeds);
        let mut steps = 0usize;
        let reached = calibrate::trace(
            walk,
            store,
            seeds.drain(..),
            calibrate::thorough(),
            |_, _| {
                steps += 1;
                if steps.is_multiple_of(STEPS_BETWEEN_CHECKS) {
                    pgrx::check_for_interrupts!();
                }
                true
            },
        );
        measured.add_found(&reached, walk.found());
    }

    /// The nodes nearest to a value, nearest first.
    pub fn search(&mut self, meta: &Meta, value: &[u8]) -> Vec<Neighbour> {
        let Insert {
            blocks,
            walk,
            store,
            seeds,
            ..
        } = self;
        let compact = compact_of(value);
        store.query.reset_of(&blocks.codec, compact);
        store.seeds(meta, SEEDS, seeds);
        walk.start(seeds.drain(..));
        walk.aim(Effort {
            rank: effective_ef_construction(&blocks.hnsw),
            multiple: 1.0,
            ef: 0,
            ..Effort::default()
        });
        let mut steps = 0usize;
        while walk.step(store).is_some() {
            steps += 1;
            if steps.is_multiple_of(STEPS_BETWEEN_CHECKS) {
                pgrx::check_for_interrupts!();
            }
        }
        let found = walk.found().iter().map(|near| Neighbour {
            distance: blocks.codec.distance(compact, compact_of(&near.row.value)),
            found: near.row.clone(),
            covered: false,
        });
        let mut found: Vec<Neighbour> = found.collect();
        found.sort_unstable_by(|a, b| {
            let by_distance = a.distance.total_cmp(&b.distance);
            by_distance.then_with(|| a.found.id.cmp(&b.found.id))
        });
        found
    }
}

/// Chooses neighbours (Algorithm 4 of the paper, with keepPrunedConnections, and the slack that
/// builds give): the chosen first, then covered ones while there is room, both nearest first.
pub fn select(blocks: &Blocks, candidates: Vec<Neighbour>, slots: usize) -> Vec<Neighbour> {
    let mut chosen: Vec<Neighbour> = Vec::with_capacity(slots + 1);
    // which of them only the slack lets in
    let mut loose: Vec<bool> = Vec::with_capacity(slots + 1);
    let mut covered: Vec<Neighbour> = Vec::new();
    for mut candidate in candidates {
        if chosen.len() == slots && !loose.contains(&true) {
            break;
        }
        let compact = compact_of(&candidate.found.value);
        let mut is_loose = false;
        candidate.covered = chosen.iter().zip(&loose).any(|(other, other_is_loose)| {
            let other = compact_of(&other.found.value);
            let between = blocks.codec.distance(compact, other);
            is_loose |= between <= candidate.distance && !other_is_loose;
            between * SLACK <= candidate.distance
        });
        if candidate.covered {
            covered.push(candidate);
            continue;
        }
        chosen.push(candidate);
        loose.push(is_loose);
        if chosen.len() > slots {
            let last = loose.iter().rposition(|&loose| loose).unwrap_or(slots);
            chosen.remove(last);
            loose.remove(last);
        }
    }
    let room = slots - chosen.len();
    chosen.extend(covered.into_iter().take(room));
    chosen
}

/// What neighbours keep of a node; empty in the compact layout. `code` has room for its code.
pub fn kept_of<'a>(blocks: &Blocks, compact: CompactRef<'_>, code: &'a mut [u8]) -> Kept<'a> {
    let shape = &blocks.layout.block;
    let factors = match shape.quantizer {
        Some(quantizer) => {
            blocks
                .codec
                .quantize(compact, quantizer, shape.code_dims as usize, code)
        }
        None => Factors {
            add: 0.0,
            scale: 0.0,
        },
    };
    Kept { factors, code }
}

/// The item of a new block.
pub fn encode_block(blocks: &Blocks, new: &NewNode<'_>, neighbours: &[Neighbour]) -> Vec<u8> {
    let hnsw: &Hnsw = &blocks.hnsw;
    let mut item = new.encode(hnsw.shape);
    let mut node = hnsw.check(META_BLOCK, || NodeMut::of(&mut item, hnsw.shape));
    encode_links(blocks, &mut node, neighbours);
    item
}

/// Replaces the links of a block.
pub fn encode_links(blocks: &Blocks, node: &mut NodeMut<'_>, neighbours: &[Neighbour]) {
    let mut links = BlockMut::of(node, &blocks.layout);
    links.clear_all();
    let mut code = vec![0; blocks.layout.block.code_len()];
    for (slot, neighbour) in neighbours.iter().enumerate() {
        let span = Span::new(neighbour.distance, neighbour.covered);
        let kept = kept_of(blocks, compact_of(&neighbour.found.value), &mut code);
        links.set(slot, neighbour.found.id, span, Some(kept));
    }
}

fn place_block(
    blocks: &Blocks,
    logging: Logging,
    value: &[u8],
    row: Row<'_>,
    neighbours: &[Neighbour],
) -> (NodeId, u32) {
    let mut its_generation = 0;
    let size = blocks.layout.size;
    let id = place::place_item(&blocks.hnsw, logging, size, |generation| {
        its_generation = generation;
        let new = NewNode {
            level: 0,
            generation,
            value,
            norm_squared: 0.0,
            chunks: &[],
            tids: &[row.tid],
            keys: row.keys,
            more_tids: RawTid::NONE,
        };
        encode_block(blocks, &new, neighbours)
    });
    (id, its_generation)
}

/// Whether a link back must be there afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insistence {
    /// a full list stays as it is
    IfThereIsRoom,
    /// a full list may leave it out
    IfWorthIt,
    /// a full list gives up its farthest, best one that the new node leads to
    InAnyCase,
}

/// What became of a link back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linked {
    /// it is not there
    No,
    /// it is there
    Yes,
    /// it is there, and nothing may lead to this node any more, which had its place
    InPlaceOf(NodeId),
}

/// Links the nearest neighbour back to a new node of that value, whatever that takes. A node that
/// loses its link for it gets one from the new node: where a crowd of nodes has the same code, each
/// new one comes to the same neighbour, and would cut off the one before.
pub fn link_in_any_case(
    blocks: &Blocks,
    logging: Logging,
    nearest: &Neighbour,
    value: &[u8],
    newcomer: &Newcomer<'_>,
) {
    let linked = link_back(blocks, logging, nearest, newcomer, Insistence::InAnyCase);
    let Linked::InPlaceOf(displaced) = linked else {
        return;
    };
    let compact = compact_of(value);
    let mut code = vec![0; blocks.layout.block.code_len()];
    let read = blocks.with_block(displaced, Access::Random, |block| {
        let distance = blocks.codec.distance(compact, block.compact());
        (!block.is_deleted()).then(|| (distance, kept_of(blocks, block.compact(), &mut code)))
    });
    let Some(Some((distance, kept))) = read else {
        return;
    };
    let hnsw = &blocks.hnsw;
    let mut page = Exclusive::lock(hnsw.index, newcomer.id.block, Access::Random);
    let Some(block) = blocks.block_on(page.page(), newcomer.id) else {
        return;
    };
    let (count, spans) = (block.links().len(), block.spans());
    if block.is_deleted() || block.links().contains(&displaced.into()) {
        return;
    }
    let covered = spans[..count].iter().rposition(|span| span.is_covered());
    let slot = match covered {
        _ if count < blocks.layout.slots() => count,
        Some(slot) => slot,
        None => count - 1,
    };
    let mut change = Change::begin(hnsw.index, logging);
    place::with_node_mut(hnsw, &mut change.page(&mut page), newcomer.id, |node| {
        let span = Span::new(distance, true);
        BlockMut::of(node, &blocks.layout).set(slot, displaced, span, Some(kept));
    });
    change.commit();
}

/// Links a neighbour back to a new node.
pub fn link_back(
    blocks: &Blocks,
    logging: Logging,
    neighbour: &Neighbour,
    newcomer: &Newcomer<'_>,
    insistence: Insistence,
) -> Linked {
    let hnsw = &blocks.hnsw;
    let id = neighbour.found.id;
    let more = match blocks.layout.block.quantizer {
        Some(_) => None,
        None => Some(distances_around(blocks, id, newcomer)),
    };
    let mut page = Exclusive::lock(hnsw.index, id.block, Access::Random);
    let Some(block) = blocks.block_on(page.page(), id) else {
        return Linked::No;
    };
    if block.header.generation != neighbour.found.generation || block.is_deleted() {
        return Linked::No;
    }
    let links = block.links();
    if links.contains(&RawTid::from(newcomer.id)) {
        return Linked::Yes;
    }
    let mut between = Vec::new();
    match block.estimate(newcomer.query, &mut between) {
        Some(estimates) => {
            for distance in estimates {
                *distance += newcomer.offset;
            }
            between.truncate(links.len());
        }
        None => between.resize(links.len(), f32::INFINITY),
    }
    for (link, distance) in links.iter().zip(&mut between) {
        let known = link.id().and_then(|link| {
            let first = newcomer.known.get(&link);
            first.or_else(|| more.as_ref()?.get(&link)).copied()
        });
        if let Some(known) = known {
            *distance = known;
        }
    }
    let spans = &block.spans()[..links.len()];
    let around: Vec<bool> = links
        .iter()
        .map(|link| link.id().is_some_and(|id| newcomer.links.contains(&id)))
        .collect();
    let new = NewLink {
        distance: neighbour.distance,
        between: &between,
        around: &around,
        insistence,
    };
    let admission = admit(spans, &new, blocks.layout.slots());
    let Some(admission) = admission else {
        return Linked::No;
    };
    let displaced = admission.replaced.filter(|&slot| !around[slot]);
    let displaced = displaced.and_then(|slot| links[slot].id());
    let mut change = Change::begin(hnsw.index, logging);
    place::with_node_mut(hnsw, &mut change.page(&mut page), id, |node| {
        let mut links = BlockMut::of(node, &blocks.layout);
        for &slot in &admission.newly_covered {
            links.set_span(slot, admission.spans[slot]);
        }
        let slot = admission.replaced.unwrap_or_else(|| links.count());
        links.set(slot, newcomer.id, admission.span, Some(newcomer.kept));
    });
    change.commit();
    displaced.map_or(Linked::Yes, Linked::InPlaceOf)
}

/// Distances of a new node to the neighbours of another, read from their blocks: what the compact
/// layout keeps nowhere else.
fn distances_around(
    blocks: &Blocks,
    id: NodeId,
    newcomer: &Newcomer<'_>,
) -> FxHashMap<NodeId, f32> {
    let links: Vec<NodeId> = blocks
        .with_block(id, Access::Random, |block| {
            // a list with room takes the link without looking
            let links = block.links();
            let links = links.iter().filter_map(|link| link.id());
            links
                .filter(|link| !newcomer.known.contains_key(link))
                .collect()
        })
        .unwrap_or_default();
    links
        .into_iter()
        .filter_map(|link| {
            let distance = blocks.with_block(link, Access::Random, |block| {
                newcomer.query.distance(block.compact()) + newcomer.offset
            })?;
            Some((link, distance))
        })
        .collect()
}

/// What becomes of a list that takes a new link.
#[derive(Debug, PartialEq)]
pub struct Admission {
    /// the new link's span
    pub span: Span,
    /// the link whose place it takes; `None` where there is room
    pub replaced: Option<usize>,
    /// links whose way it covers
    pub newly_covered: Vec<usize>,
    /// all spans afterwards
    pub spans: Vec<Span>,
}

/// A link that asks for a place in a list.
pub struct NewLink<'a> {
    /// its length
    pub distance: f32,
    /// how far from the new node those are that the list has links to
    pub between: &'a [f32],
    /// to which of them the new node has a link itself
    pub around: &'a [bool],
    /// whether it can be refused
    pub insistence: Insistence,
}

/// Decides on a new link, given the spans of those there. `None` where a full list is better
/// without it.
pub fn admit(spans: &[Span], new: &NewLink<'_>, slots: usize) -> Option<Admission> {
    let (distance, between) = (new.distance, new.between);
    let covered = spans.iter().zip(between).any(|(span, &between)| {
        !span.is_covered() && span.distance() <= distance && between * SLACK <= distance
    });
    let span = Span::new(distance, covered);
    let mut after = spans.to_vec();
    let mut newly_covered = Vec::new();
    if !covered {
        for (slot, span) in after.iter_mut().enumerate() {
            let farther = span.distance() > distance;
            if farther && !span.is_covered() && between[slot] * SLACK <= span.distance() {
                *span = span.with_verdict(true);
                newly_covered.push(slot);
            }
        }
    }
    let mut replaced = None;
    if spans.len() >= slots && new.insistence == Insistence::IfThereIsRoom {
        return None;
    }
    if spans.len() >= slots {
        // the farthest covered link goes, or the farthest where none is covered
        let farthest = |is_one: &dyn Fn(usize) -> bool| {
            let ones = (0..after.len()).filter(|&slot| is_one(slot));
            ones.max_by(|&a, &b| after[a].distance().total_cmp(&after[b].distance()))
        };
        let covered_one = |slot: usize| after[slot].is_covered();
        let insists = new.insistence == Insistence::InAnyCase;
        // what the new node leads to stays reachable
        let worst = farthest(&|slot| covered_one(slot) && new.around[slot])
            .or_else(|| farthest(&|slot| insists && new.around[slot]))
            .or_else(|| farthest(&covered_one))
            .or_else(|| farthest(&|_| true))?;
        if !insists {
            let worst_covered = after[worst].is_covered();
            let is_worse = match (covered, worst_covered) {
                (true, false) => true,
                (false, true) => false,
                _ => distance >= after[worst].distance(),
            };
            if is_worse {
                return None;
            }
        }
        replaced = Some(worst);
        newly_covered.retain(|&slot| slot != worst);
    }
    Some(Admission {
        span,
        replaced,
        newly_covered,
        spans: after,
    })
}
