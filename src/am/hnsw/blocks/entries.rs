//! The entry table on pages: codes of a random part of the nodes, scanned whole to find where a
//! walk starts.

use super::index::Blocks;
use crate::am::damaged::raise_damaged;
use crate::am::hnsw::place;
use crate::am::hnsw::storage::META_BLOCK;
use crate::hnsw::blocks::format::{ENTRY_QUANTIZER, Entries, EntriesMut, Kept};
use crate::hnsw::format::{Meta, NodeId, Opaque, PageKind};
use crate::page::Damage;
use crate::pg::buffer::{Access, Exclusive, Hints, Shared};
use crate::pg::change::{Change, Logging};
use crate::quantize::{CompactRef, Factors, Query};
use rustc_hash::FxHashSet;

/// Entries a table of an index with `nodes` nodes should have.
pub fn wanted(nodes: f64) -> f64 {
    2.0 * nodes.max(0.0).sqrt()
}

/// Tells a chain of pages that is longer than the index, which only damage makes.
struct Chain {
    left: u32,
}

impl Chain {
    fn of(blocks: &Blocks) -> Chain {
        Chain {
            left: blocks.hnsw.index.blocks(),
        }
    }

    fn step(&mut self, blocks: &Blocks, block: u32) {
        if self.left == 0 {
            raise_damaged(
                blocks.hnsw.index,
                block,
                Damage("the entry table leads back to itself"),
            );
        }
        self.left -= 1;
    }
}

/// The `count` entries nearest to the query by their estimates, nearest first. Returns how many
/// pages the table has.
pub fn nearest(
    blocks: &Blocks,
    hints: &Hints,
    query: &Query,
    meta: &Meta,
    count: usize,
    seeds: &mut Vec<(NodeId, f32)>,
) -> u32 {
    let hnsw = &blocks.hnsw;
    let mut estimates = [0.0f32; 512];
    // twice as many seeds are gathered before those too far go: cheaper than keeping them sorted
    let mut farthest = f32::INFINITY;
    let mut next = meta.entries;
    // few pages: no use in knowing the index's length before there are many
    let mut steps = 0u32;
    let mut chain: Option<Chain> = None;
    while next != 0 {
        steps += 1;
        if steps > 64 {
            chain
                .get_or_insert_with(|| Chain::of(blocks))
                .step(blocks, next);
        }
        let page = hints.pin(hnsw.index, next).lock();
        let entries = hnsw.check(next, || Entries::of(page.page(), blocks.entries));
        let (nodes, adds, scales) = (entries.nodes(), entries.adds(), entries.scales());
        let code_len = blocks.entries.code_len();
        for from in (0..entries.count).step_by(estimates.len()) {
            let to = (from + estimates.len()).min(entries.count);
            let estimates = &mut estimates[..to - from];
            query.estimate(
                ENTRY_QUANTIZER,
                hnsw.column.dims as usize,
                &entries.codes()[from * code_len..to * code_len],
                &adds[from..to],
                &scales[from..to],
                estimates,
            );
            for (i, &estimate) in estimates.iter().enumerate() {
                if estimate >= farthest {
                    continue;
                }
                let Some(id) = nodes[from + i].id() else {
                    continue;
                };
                seeds.push((id, estimate));
                if seeds.len() == 2 * count {
                    farthest = keep_nearest(seeds, count);
                }
            }
        }
        next = entries.next;
    }
    if seeds.len() > count {
        keep_nearest(seeds, count);
    }
    seeds.sort_unstable_by(|a, b| a.1.total_cmp(&b.1));
    steps
}

/// Leaves the `count` nearest of more seeds, in any order. Returns the distance of the farthest.
fn keep_nearest(seeds: &mut Vec<(NodeId, f32)>, count: usize) -> f32 {
    let (_, farthest, _) = seeds.select_nth_unstable_by(count - 1, |a, b| a.1.total_cmp(&b.1));
    let farthest = farthest.1;
    seeds.truncate(count);
    farthest
}

/// What the table keeps of a node.
pub struct Entry {
    /// the node
    pub node: NodeId,
    factors: Factors,
    code: Vec<u8>,
}

impl Entry {
    /// The entry of a node with that compact code.
    pub fn of(blocks: &Blocks, node: NodeId, compact: CompactRef<'_>) -> Entry {
        let mut code = vec![0; blocks.entries.code_len()];
        let dims = blocks.codec.dims();
        let factors = blocks
            .codec
            .quantize(compact, ENTRY_QUANTIZER, dims, &mut code);
        Entry {
            node,
            factors,
            code,
        }
    }

    fn kept(&self) -> Kept<'_> {
        Kept {
            factors: self.factors,
            code: &self.code,
        }
    }
}

/// Adds entries: to pages of the table that have room, or to a new first page.
pub fn add(blocks: &Blocks, logging: Logging, entries: &[Entry]) {
    let hnsw = &blocks.hnsw;
    let mut entries = entries.iter().peekable();
    let mut next = crate::am::hnsw::storage::read_meta(hnsw.index).entries;
    let mut chain = Chain::of(blocks);
    while next != 0 && entries.peek().is_some() {
        chain.step(blocks, next);
        let mut page = Exclusive::lock(hnsw.index, next, Access::Random);
        let there = hnsw.check(next, || Entries::of(page.page(), blocks.entries));
        next = there.next;
        let room = blocks.entries.capacity - there.count;
        if room > 0 {
            let mut change = Change::begin(hnsw.index, logging);
            let mut target = change.page(&mut page);
            let contents = target.contents_bytes_mut(blocks.entries.size);
            let mut table = EntriesMut::of(contents, blocks.entries);
            for entry in entries.by_ref().take(room) {
                table.push(entry.node, entry.kept());
            }
            change.commit();
        }
    }
    while entries.peek().is_some() {
        // a new page in front, written whole in the change that leads to it
        let mut page = place::empty_page(hnsw, logging, PageKind::Entries);
        let block = page.block();
        let mut meta_page = Exclusive::lock(hnsw.index, META_BLOCK, Access::Random);
        let first = hnsw.check(META_BLOCK, || Meta::of(meta_page.page()).map(|m| m.entries));
        let mut opaque = Opaque::new(PageKind::Entries, 0);
        opaque.next = first;
        let mut change = Change::begin(hnsw.index, logging);
        let mut target = change.new_page(&mut page, &opaque);
        let contents = target.contents_bytes_mut(blocks.entries.size);
        contents.fill(0);
        let mut table = EntriesMut::of(contents, blocks.entries);
        for entry in entries.by_ref().take(blocks.entries.capacity) {
            table.push(entry.node, entry.kept());
        }
        change.page(&mut meta_page).contents_mut::<Meta>().entries = block;
        change.commit();
    }
}

/// Takes the entries of deleted nodes out. Returns those that are left.
pub fn remove(blocks: &Blocks, deleted: &FxHashSet<NodeId>) -> FxHashSet<NodeId> {
    let hnsw = &blocks.hnsw;
    let mut left = FxHashSet::default();
    let mut next = crate::am::hnsw::storage::read_meta(hnsw.index).entries;
    let mut chain = Chain::of(blocks);
    while next != 0 {
        pgrx::check_for_interrupts!();
        chain.step(blocks, next);
        let block = next;
        let gone;
        {
            let page = Shared::read(hnsw.index, block, Access::Random);
            let entries = hnsw.check(block, || Entries::of(page.page(), blocks.entries));
            next = entries.next;
            let nodes = entries.nodes().iter().filter_map(|node| node.id());
            let (dead, live): (Vec<NodeId>, Vec<NodeId>) =
                nodes.partition(|id| deleted.contains(id));
            gone = !dead.is_empty();
            left.extend(live);
        }
        if !gone {
            continue;
        }
        let mut page = Exclusive::lock(hnsw.index, block, Access::Random);
        let slots: Vec<usize> = {
            let entries = hnsw.check(block, || Entries::of(page.page(), blocks.entries));
            let nodes = entries.nodes().iter().enumerate();
            nodes
                .filter(|(_, node)| node.id().is_some_and(|id| deleted.contains(&id)))
                .map(|(slot, _)| slot)
                .collect()
        };
        let mut change = Change::begin(hnsw.index, Logging::EachChange);
        let mut target = change.page(&mut page);
        let contents = target.contents_bytes_mut(blocks.entries.size);
        let mut table = EntriesMut::of(contents, blocks.entries);
        for &slot in slots.iter().rev() {
            table.remove(slot);
        }
        change.commit();
    }
    left
}
