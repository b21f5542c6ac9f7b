//! What nodes and the metapage refer to: pieces of values, lists of heap TIDs, the entry point, the
//! entry table; and what nobody refers to.

use super::{Check, Item, LOOKS, Wrong};
use crate::am::check::claims::{Claim, Claims, Items, fingerprint, fingerprint_of_keys};
use crate::am::hnsw::blocks::entries::wanted;
use crate::am::hnsw::storage::{META_BLOCK, chunk_of_node};
use crate::check::Findings;
use crate::distance::{Operand, Value};
use crate::hnsw::blocks::format::{ENTRY_QUANTIZER, Entries};
use crate::hnsw::check::value_of;
use crate::hnsw::format::{NodeId, Opaque, PageKind, RawTid, TidList};
use crate::pg::attempt::PageCopy;
use crate::pg::buffer::Access;
use crate::pg::rows::Values;
use rustc_hash::FxHashSet;
use std::ops::Range;

impl Check {
    /// Adds the rows that a node claims, of those in a range of the table's blocks, and checks what
    /// it refers to where `is_first`.
    pub fn claims(
        &mut self,
        id: NodeId,
        item: &Item,
        range: &Range<u32>,
        is_first: bool,
        all: &mut Claims,
        found: &mut Findings<'_>,
    ) {
        let (value, rows) = match self.value_and_rows(id, item) {
            Ok(read) => read,
            Err(_) => {
                if is_first {
                    self.settle(id, found, |check, item| {
                        check.value_and_rows(id, item).map(drop)
                    });
                }
                // what can be read of a damaged node is not lost
                let node = self.node(item);
                (0, rows_of(node.tids(), node.keys()).collect())
            }
        };
        let mut seen = FxHashSet::default();
        for (tid, keys) in rows {
            if let Some(tid) = tid.id()
                && range.contains(&tid.block)
                && seen.insert(tid)
            {
                all.items.push(Claim::new(tid, id, value, keys));
            }
        }
    }

    /// What stands for a node's value; and all its heap TIDs, each with what stands for its keys.
    fn value_and_rows(&mut self, id: NodeId, item: &Item) -> Result<(u64, Vec<Row>), Wrong> {
        let tids = self.all_rows(id, item)?;
        let node = self.node(item);
        if let Some(block) = self.as_block(item) {
            return Ok((fingerprint(block.value()), tids));
        }
        if node.chunks().is_empty() {
            return Ok((fingerprint(node.inline()), tids));
        }
        let value = self.assembled(id, item)?;
        let operand = Operand {
            payload: value.payload(),
            norm_squared: node.header.norm_squared,
        };
        value_of(&self.expected, operand).map_err(|wrong| Wrong::new(id, wrong))?;
        Ok((fingerprint(value.payload()), tids))
    }

    /// Puts the pieces of a value together.
    fn assembled(&mut self, id: NodeId, item: &Item) -> Result<Value, Wrong> {
        let node = self.node(item);
        let len = node.header.value_len as usize;
        let generation = node.header.generation;
        let mut bytes: Vec<u8> = Vec::with_capacity(len);
        for (index, chunk) in node.chunks().iter().enumerate() {
            let wrong = |message: &str| Wrong::new(id, format!("chunk {index} {message}"));
            let at = chunk
                .id()
                .filter(|at| at.block != META_BLOCK && at.block < self.index.blocks())
                .ok_or_else(|| wrong("is nowhere"))?;
            self.other
                .read(self.index, at.block, Access::Random)
                .map_err(|message| wrong(&message))?;
            let piece = chunk_of_node(self.other.page(), at, id, generation, index)
                .map_err(|damage| wrong(damage.0))?
                .ok_or_else(|| wrong("is not that of the node"))?;
            bytes.extend_from_slice(piece);
            self.chunks.remove(&at.block);
        }
        bytes.extend_from_slice(node.inline());
        if bytes.len() != len {
            return Err(Wrong::new(id, "chunks that do not make up the value"));
        }
        let mut value = Value::default();
        value.fill(len, |target| target.copy_from_slice(&bytes));
        Ok(value)
    }

    /// A node's heap TIDs: its own, and those of its lists.
    fn all_rows(&mut self, id: NodeId, item: &Item) -> Result<Vec<Row>, Wrong> {
        let node = self.node(item);
        let mut rows: Vec<Row> = rows_of(node.tids(), node.keys()).collect();
        let generation = node.header.generation;
        let mut next = node.header.more_tids;
        let mut seen = FxHashSet::default();
        while let Some(at) = next.id() {
            pgrx::check_for_interrupts!();
            let wrong = |message: &str| Wrong::new(id, format!("its TID list {message}"));
            if at.block == META_BLOCK || at.block >= self.index.blocks() {
                return Err(wrong("is past the end of the index"));
            }
            if !seen.insert(at) {
                return Err(wrong("leads back to itself"));
            }
            self.other
                .read(self.index, at.block, Access::Random)
                .map_err(|message| wrong(&message))?;
            let page = self.other.page();
            if !matches!(Opaque::of(page), Ok((PageKind::Tids, _))) || page.is_new() {
                return Err(wrong("is on a page of another kind"));
            }
            let list = page
                .item(at.offset)
                .map_err(|damage| wrong(damage.0))?
                .ok_or_else(|| wrong("is not there"))?;
            let list = TidList::of(list).map_err(|damage| wrong(damage.0))?;
            if list.header.generation != generation {
                return Err(wrong("is of another node"));
            }
            rows.extend(rows_of(list.tids, list.keys));
            next = list.header.next;
        }
        for at in seen {
            self.lists.remove(&at);
        }
        Ok(rows)
    }

    /// What no node and no chain leads to.
    pub fn leftovers(&mut self, found: &mut Findings<'_>) {
        for at in std::mem::take(&mut self.lists) {
            let mut page = PageCopy::new();
            if page.read(self.index, at.block, Access::Random).is_ok()
                && let Ok((PageKind::Tids, _)) = Opaque::of(page.page())
                && let Ok(Some(_)) = page.page().item(at.offset)
            {
                found.error(at.block, at.offset, "TID list that no node leads to");
            }
        }
        for block in std::mem::take(&mut self.chunks) {
            found.warning(
                block,
                None,
                "chunk that no node leads to, left by a crash: REINDEX gives its page back",
            );
        }
        for block in std::mem::take(&mut self.used_pages) {
            let read = self.other.read(self.index, block, Access::Random);
            match (read, Opaque::of(self.other.page())) {
                // written by the build that makes the index, and never again: a crash leaves none
                (Ok(()), Ok((kind @ (PageKind::Centroid | PageKind::Codebook), _))) => {
                    let message = format!("page of kind {kind:?} that nothing leads to");
                    found.error(block, None, message);
                }
                _ => found.warning(
                    block,
                    None,
                    "page of an entry table that nothing leads to, left by a crash: REINDEX gives it back",
                ),
            }
        }
    }

    /// The entry point is a node of the highest level.
    pub fn entry_point(&mut self, found: &mut Findings<'_>) {
        let (highest, live) = self.directory.live();
        let mut last = None;
        for _ in 0..=LOOKS {
            let meta = crate::am::hnsw::storage::read_meta(self.index);
            last = match meta.entry.id() {
                None if live > 1 => Some("no entry point, and there are nodes"),
                None => None,
                Some(entry) => match self.read(entry) {
                    None => Some("the entry point is no node"),
                    Some(item) if self.node(&item).header.level as u16 != meta.entry_level => {
                        Some("the entry point is of another level")
                    }
                    Some(_) => None,
                },
            };
            self.meta = meta;
            if last.is_none() {
                break;
            }
        }
        if let Some(message) = last {
            found.error(META_BLOCK, None, message);
        } else if live > 0 && highest > Some(self.meta.entry_level as u8) {
            found.warning(
                META_BLOCK,
                None,
                "the entry point is not of the highest level: a later insert raises it",
            );
        }
        for hint in [self.meta.node_page, self.meta.tid_page] {
            if hint >= self.index.blocks() {
                found.error(META_BLOCK, None, "placement hint past the end of the index");
            }
        }
    }

    /// The entry table: a chain of pages, each entry a node with that node's code.
    pub fn entry_table(&mut self, found: &mut Findings<'_>) {
        for first in [self.meta.centroid, self.meta.codebook] {
            let mut block = first;
            while block != 0 && self.used_pages.remove(&block) {
                block = self.next_of(block);
            }
        }
        let (mut block, mut seen) = (self.meta.entries, FxHashSet::default());
        let mut entered: FxHashSet<NodeId> = FxHashSet::default();
        while block != 0 {
            pgrx::check_for_interrupts!();
            self.used_pages.remove(&block);
            if self.codes.codec.is_none() || block >= self.index.blocks() {
                let message = "the entry table goes on where it cannot";
                return found.error(META_BLOCK, None, message);
            }
            if !seen.insert(block) {
                return found.error(block, None, "the entry table leads back to itself");
            }
            let mut wrong = Vec::new();
            for look in 0..=LOOKS {
                match self.entries_of(block) {
                    Ok((_, bad)) if bad.is_empty() => break,
                    Ok((_, bad)) => wrong = if look == LOOKS { bad } else { Vec::new() },
                    Err(message) => return found.error(block, None, message),
                }
            }
            for message in wrong {
                found.error(block, None, message);
            }
            for id in self
                .entries_of(block)
                .map_or(Vec::new(), |(nodes, _)| nodes)
            {
                self.directory.reach(id);
                if !entered.insert(id) {
                    // an insert enters its node while VACUUM fills the table up
                    let message =
                        format!("item {} of block {} is entered twice", id.offset, id.block);
                    found.warning(block, None, message);
                }
            }
            block = self.next_of(block);
        }
        let (_, live) = self.directory.live();
        let count = entered.len();
        if self.codes.codec.is_some() && live > 1000 && (count as f64) < wanted(live as f64) / 8.0 {
            let message = format!(
                "the entry table has {count} entries of {live} nodes: searches begin far from their goal, REINDEX"
            );
            found.warning(META_BLOCK, None, message);
        }
    }

    fn next_of(&mut self, block: u32) -> u32 {
        let read = self.other.read(self.index, block, Access::Random);
        match (read, Opaque::of(self.other.page())) {
            (Ok(()), Ok((_, opaque))) => opaque.next,
            _ => 0,
        }
    }

    /// The nodes that a page of the table has entries of, and what is wrong with any.
    fn entries_of(&mut self, block: u32) -> Result<(Vec<NodeId>, Vec<String>), String> {
        let mut page = PageCopy::new();
        page.read(self.index, block, Access::Random)?;
        if page.page().is_new() {
            return Err("the entry table goes on where no page is".into());
        }
        let layout = self.expected.entry_layout();
        let entries = Entries::of(page.page(), layout).map_err(|damage| damage.0)?;
        let mut wrong = Vec::new();
        let mut code = vec![0; layout.code_len()];
        for (n, node) in entries.nodes().iter().enumerate() {
            let Some(id) = node.id() else {
                continue; // told with the page
            };
            let shown = format!("entry {n}, item {} of block {},", id.offset, id.block);
            let Some(item) = self.read(id) else {
                wrong.push(format!("{shown} is no node"));
                continue;
            };
            let Some(block) = self.as_block(&item) else {
                continue; // told with its page
            };
            let Some((codec, _)) = &self.codes.codec else {
                continue;
            };
            let dims = codec.dims();
            let factors = codec.quantize(block.compact(), ENTRY_QUANTIZER, dims, &mut code);
            let kept = &entries.codes()[n * layout.code_len()..][..layout.code_len()];
            let same = entries.adds()[n].to_bits() == factors.add.to_bits()
                && entries.scales()[n].to_bits() == factors.scale.to_bits()
                && kept == code;
            if !same {
                wrong.push(format!("{shown} has another code than its node"));
            }
        }
        let nodes = entries.nodes().iter().filter_map(|node| node.id());
        Ok((nodes.collect(), wrong))
    }
}

impl Items for Check {
    fn has(&mut self, item: NodeId, tid: RawTid) -> bool {
        let Some(copy) = self.read(item) else {
            return false;
        };
        if self.node(&copy).is_deleted() {
            return false;
        }
        match self.all_rows(item, &copy) {
            Ok(rows) => rows.iter().any(|(of, _)| *of == tid),
            Err(_) => self.node(&copy).tids().contains(&tid),
        }
    }

    fn has_copy(&mut self, copy: NodeId, tid: RawTid) -> bool {
        self.map_rows(copy.block).iter().any(|row| row.tid == tid)
    }

    fn look_at(&mut self, row: Values<'_>) -> bool {
        let value = row
            .first()
            .and_then(|value| self.codes.fingerprint_of(value));
        let Some(value) = value else {
            return false;
        };
        let keys = match self.shape.keys() {
            0 => 0,
            // SAFETY: the server computed it as a row of the index.
            _ => fingerprint_of_keys(unsafe { self.filters.keys(row) }),
        };
        self.row = (value, keys);
        true
    }

    fn difference(&mut self, item: &Claim) -> Option<&'static str> {
        let (value, keys) = self.row;
        if item.value != value {
            Some("value")
        } else if item.keys != keys {
            Some("key of a filter column")
        } else {
            None
        }
    }

    fn difference_of_copy(&mut self, copy: &Claim, item: Option<&Claim>) -> Option<&'static str> {
        let node = item.map(|item| item.item());
        if node.is_some_and(|node| {
            self.stands_for_now(node)
                .is_some_and(|now| now != copy.value)
        }) {
            Some("node in the code map")
        } else if copy.keys != self.row.1 {
            Some("key in the code map")
        } else {
            None
        }
    }

    fn copies_are(&self) -> Option<&'static str> {
        self.expected.map().map(|_| "the code map")
    }
}

/// A heap TID, and what stands for its keys.
type Row = (RawTid, u64);

/// Heap TIDs with their keys, which are one TID's after another's.
fn rows_of<'a>(tids: &'a [RawTid], keys: &'a [u64]) -> impl Iterator<Item = Row> + 'a {
    let columns = keys.len() / tids.len().max(1);
    let of = move |n: usize| fingerprint_of_keys(&keys[n * columns..][..columns]);
    tids.iter().enumerate().map(move |(n, &tid)| (tid, of(n)))
}

/// Stands for the address and the generation of a node.
pub fn stands_for(node: NodeId, generation: u32) -> u64 {
    let folded = (generation ^ generation >> 16) as u16;
    (folded as u64) << 48 | (node.block as u64) << 16 | node.offset as u64
}
