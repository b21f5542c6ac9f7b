//! The graph on pages: the storage trait of the algorithms, and reading of nodes.

use super::wanted::Wanted;
use crate::am::column::Column;
use crate::am::damaged::{self, raise_damaged};
use crate::am::version::OtherVersion;
use crate::distance::{Element, Operand, Value};
use crate::hnsw::format::{self, Layout, Meta, Node, NodeId, Opaque, PageKind, RawTid, Shape};
use crate::hnsw::{Candidate, Distance, Level, Params, Store};
use crate::page::{Damage, PageView};
use crate::pg::buffer::{Access, Hints, Pinned, Shared};
use crate::pg::heap::HeapReader;
use crate::pg::relation::Index;
use rustc_hash::FxHashSet;
use std::cell::RefCell;

/// Block of the metapage.
pub const META_BLOCK: u32 = 0;

/// An open hnsw index: what its metapage says once and for all.
#[derive(Clone, Copy)]
pub struct Hnsw {
    /// the relation
    pub index: Index,
    /// what it indexes
    pub column: Column,
    /// parameters of the graph
    pub params: Params,
    /// what its nodes look like
    pub shape: Shape,
}

impl Hnsw {
    /// Reads the metapage. Raises XX002 where it is not one of ours or of another operator class.
    pub fn open(index: Index) -> (Hnsw, Meta) {
        let meta = read_meta(index);
        let column = match Column::built(index, meta.space, meta.dims) {
            Ok(column) => column,
            Err(damage) => raise_damaged(index, META_BLOCK, damage),
        };
        (
            Hnsw {
                index,
                column,
                params: meta.params(),
                shape: match meta.shape() {
                    Ok(shape) => shape,
                    Err(damage) => raise_damaged(index, META_BLOCK, damage),
                },
            },
            meta,
        )
    }

    /// How many nodes with values of `value_len` bytes the index has room for: an estimate that
    /// needs no ANALYZE.
    pub fn estimated_nodes(&self, value_len: usize) -> f64 {
        let layout = Layout::choose(value_len, 0, self.shape);
        let on_a_page = (format::MAX_ITEM / layout.size) as f64;
        let pages = self.index.blocks().saturating_sub(1) as f64;
        pages / (1.0 / on_a_page + layout.chunks as f64)
    }

    /// Runs `f` on a node, unless it is gone; the page stays locked for reading meanwhile.
    #[inline]
    pub fn with_node<R>(
        &self,
        id: NodeId,
        access: Access,
        f: impl FnOnce(Node<'_>) -> R,
    ) -> Option<R> {
        let page = Shared::read(self.index, id.block, access);
        self.node_on(page.page(), id).map(f)
    }

    /// The node at an address of a page; `None` where there is none any more.
    #[inline]
    pub fn node_on<'a>(&self, page: PageView<'a>, id: NodeId) -> Option<Node<'a>> {
        self.check(id.block, || {
            let (kind, _) = Opaque::of(page)?;
            if kind != PageKind::Nodes {
                // freed, and perhaps taken for something else
                return if kind == PageKind::Meta {
                    Err(Damage("link to the metapage"))
                } else {
                    Ok(None)
                };
            }
            let Some(item) = page.item(id.offset)? else {
                return Ok(None);
            };
            let node = Node::of(item, self.shape)?;
            let len = node.header.value_len as usize;
            if self.value_len().is_some_and(|expected| expected != len) {
                return Err(Damage("value of the wrong length"));
            }
            Ok(Some(node))
        })
    }

    /// Length of every node's value; `None` where it varies.
    #[inline]
    pub fn value_len(&self) -> Option<usize> {
        match self.shape.block {
            Some(block) => Some(block.value_len()),
            None => self.column.payload_len(),
        }
    }

    /// Raises what `read` finds wrong with a block.
    #[inline]
    pub fn check<T>(&self, block: u32, read: impl FnOnce() -> Result<T, Damage>) -> T {
        read().unwrap_or_else(|damage| raise_damaged(self.index, block, damage))
    }

    /// Runs `f` on a node's value. `scratch` takes values that are in pieces. `None` where pieces
    /// of a deleted node are gone already.
    #[inline]
    pub fn with_value<R>(
        &self,
        id: NodeId,
        node: &Node<'_>,
        scratch: &mut Value,
        f: impl FnOnce(Operand<'_>) -> R,
    ) -> Option<R> {
        let norm_squared = node.header.norm_squared;
        if node.chunks().is_empty() {
            let payload = node.inline();
            self.check_sparse(id, payload);
            return Some(f(Operand {
                payload,
                norm_squared,
            }));
        }
        if !self.assemble(id, node, scratch) {
            return None;
        }
        self.check_sparse(id, scratch.payload());
        Some(f(Operand {
            payload: scratch.payload(),
            norm_squared,
        }))
    }

    /// Puts the pieces of a value together; false where they are gone with their deleted node.
    fn assemble(&self, id: NodeId, node: &Node<'_>, scratch: &mut Value) -> bool {
        let mut complete = true;
        scratch.fill(node.header.value_len as usize, |value| {
            let mut rest = value;
            for (index, &chunk) in node.chunks().iter().enumerate() {
                let Some(at) = chunk.id().filter(|at| at.block != id.block) else {
                    raise_damaged(
                        self.index,
                        id.block,
                        Damage("node without one of its chunks"),
                    );
                };
                let page = Shared::read(self.index, at.block, Access::Random);
                let piece = self.check(at.block, || {
                    chunk_of_node(page.page(), at, id, node.header.generation, index)
                });
                let Some(piece) = piece else {
                    if !node.is_deleted() {
                        raise_damaged(self.index, at.block, Damage("chunk of another node"));
                    }
                    complete = false;
                    return;
                };
                if piece.len() > rest.len() {
                    raise_damaged(self.index, at.block, Damage("chunk longer than its value"));
                }
                let (now, later) = rest.split_at_mut(piece.len());
                now.copy_from_slice(piece);
                rest = later;
            }
            if rest.len() != node.inline().len() {
                raise_damaged(
                    self.index,
                    id.block,
                    Damage("chunks shorter than their value"),
                );
            }
            rest.copy_from_slice(node.inline());
        });
        complete
    }

    /// A sparse payload must be what its own header says before a kernel sees it.
    #[inline]
    fn check_sparse(&self, id: NodeId, payload: &[u8]) {
        if self.column.space.element != Element::Sparse {
            return;
        }
        let count = payload
            .get(4..8)
            .map(|b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        let fits = count.is_some_and(|n| n >= 0 && payload.len() as i64 == 12 + 8 * n as i64);
        if !fits {
            raise_damaged(self.index, id.block, Damage("malformed sparse value"));
        }
    }

    /// Copies a node's value; `None` where the node is gone.
    pub fn load(&self, id: NodeId, scratch: &mut Value) -> Option<Value> {
        self.with_node(id, Access::Random, |node| {
            self.with_value(id, &node, scratch, Value::of)
        })?
    }
}

/// The metapage as it is now.
pub fn read_meta(index: Index) -> Meta {
    damaged::read_meta(index, META_BLOCK, Meta::of, other_version)
}

/// The format's version, where it is not the one read here.
pub fn other_version(metapage: PageView<'_>) -> Option<OtherVersion> {
    OtherVersion::of(metapage, format::MAGIC, format::VERSION)
}

/// Piece `index` of the value of `owner`; `None` where the page has another item now.
pub fn chunk_of_node<'a>(
    page: PageView<'a>,
    at: NodeId,
    owner: NodeId,
    generation: u32,
    index: usize,
) -> Result<Option<&'a [u8]>, Damage> {
    let (kind, _) = Opaque::of(page)?;
    if kind != PageKind::Chunk {
        return Ok(None);
    }
    let Some(item) = page.item(at.offset)? else {
        return Ok(None);
    };
    let (header, piece) = format::chunk_of(item)?;
    let ours = header.owner == RawTid::from(owner)
        && header.generation == generation
        && header.index as usize == index;
    Ok(ours.then_some(piece))
}

/// A node a search has visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageNode {
    /// its address
    pub id: NodeId,
    /// tells it from a later node at the same address
    pub generation: u32,
    /// it was not deleted when visited
    pub live: bool,
}

/// A search over pages.
pub struct PageStore {
    /// the index
    pub hnsw: Hnsw,
    /// what is searched for
    pub query: Value,
    /// which nodes count; all that are there where nothing is asked of rows
    wanted: RefCell<Option<Wanted>>,
    seen: FxHashSet<NodeId>,
    scratch: Value,
    hints: Hints,
    /// links still to be read of a visit
    ahead: Vec<NodeId>,
    pages: u64,
}

/// Pages pinned ahead of the one that is read. The server keeps few pins cheaply.
const PINS_AHEAD: usize = 5;
/// How far ahead a node's first bytes are asked for.
const ITEMS_AHEAD: usize = 2;
/// Cache lines asked for of a node; the processor follows from there by itself.
const LINES_AHEAD: usize = 8;

impl PageStore {
    /// A search for `query`.
    pub fn new(hnsw: Hnsw, query: Value) -> Self {
        PageStore {
            hnsw,
            query,
            wanted: RefCell::new(None),
            seen: FxHashSet::default(),
            scratch: Value::default(),
            hints: Hints::of(hnsw.index),
            ahead: Vec::new(),
            pages: 0,
        }
    }

    /// The same where only nodes count that have a row that is wanted.
    pub fn among(self, wanted: Option<Wanted>) -> Self {
        PageStore {
            wanted: RefCell::new(wanted),
            ..self
        }
    }

    /// Whether something is asked of rows.
    pub fn is_choosy(&self) -> bool {
        self.wanted.borrow().is_some()
    }

    /// Gives up the pin on the page of the table that was read last.
    pub fn release(&mut self) {
        if let Some(wanted) = self.wanted.get_mut() {
            wanted.reader.release();
        }
    }

    /// What the table was read with.
    pub fn take_reader(&mut self) -> Option<HeapReader> {
        self.wanted.take().map(|wanted| wanted.reader)
    }

    /// The entry point as a candidate, with its level; `None` in an empty index.
    ///
    /// VACUUM may have replaced and erased the entry point since `meta` was read: then the
    /// metapage tells another one by now.
    pub fn entry(&mut self, meta: &Meta) -> Option<(Candidate<PageNode>, Level)> {
        let mut meta = *meta;
        let mut found = Vec::new();
        loop {
            let id = meta.entry.id()?;
            self.restart(&[]);
            self.visit(&[id], &mut found);
            if let Some(entry) = found.pop() {
                return Some((entry, meta.entry_level as Level));
            }
            let now = read_meta(self.hnsw.index);
            if now.entry == meta.entry {
                raise_damaged(self.hnsw.index, id.block, Damage("no entry point"));
            }
            meta = now;
        }
    }

    /// Pages of nodes read so far; pieces of values on pages of their own are not counted.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Bytes of the set of nodes seen.
    pub fn memory(&self) -> usize {
        let known = self.wanted.borrow().as_ref().map_or(0, Wanted::memory);
        self.seen.capacity() * (size_of::<NodeId>() + 1) + known
    }

    /// The value of a node; `None` where it is gone.
    pub fn load(&mut self, id: NodeId) -> Option<Value> {
        self.hnsw.load(id, &mut self.scratch)
    }

    fn read(&mut self, id: NodeId, page: PageView<'_>) -> Option<Candidate<PageNode>> {
        let node = self.hnsw.node_on(page, id)?;
        let distance = self.distance_to(id, &node)?;
        let (generation, live) = (node.header.generation, !node.is_deleted());
        Some(Candidate {
            distance,
            node: PageNode {
                id,
                generation,
                live,
            },
        })
    }

    /// Distance of a node's value to the query, while its page is locked.
    #[inline]
    pub fn distance_to(&mut self, id: NodeId, node: &Node<'_>) -> Option<Distance> {
        let (hnsw, query) = (self.hnsw, &self.query);
        hnsw.with_value(id, node, &mut self.scratch, |value| {
            Distance(hnsw.column.space.distance(query.operand(), value))
        })
    }
}

impl Store for PageStore {
    type Link = NodeId;
    type Node = PageNode;

    fn links(&mut self, node: PageNode, level: Level, links: &mut Vec<NodeId>) {
        links.clear();
        self.pages += 1;
        let page = self.hints.pin(self.hnsw.index, node.id.block).lock();
        if let Some(found) = self.hnsw.node_on(page.page(), node.id)
            && found.header.generation == node.generation
        {
            links.extend(found.links(level).iter().map_while(|link| link.id()));
        }
    }

    /// What a visit costs is waiting for memory, several times in a row: the buffer's descriptor,
    /// the page's header, the node. So the pages of the next nodes are pinned, and their bytes
    /// asked for, while a node is read.
    fn visit(&mut self, links: &[NodeId], found: &mut Vec<Candidate<PageNode>>) {
        let mut ahead = std::mem::take(&mut self.ahead);
        ahead.clear();
        ahead.extend(links.iter().filter(|&&id| self.seen.insert(id)));
        self.pages += ahead.len() as u64;
        let mut pins: [Option<Pinned>; PINS_AHEAD] = [const { None }; PINS_AHEAD];
        for step in 0..ahead.len() + PINS_AHEAD - 1 {
            if let Some(id) = ahead.get(step) {
                let pin = self.hints.pin(self.hnsw.index, id.block);
                pin.prefetch_page();
                pins[step % PINS_AHEAD] = Some(pin);
            }
            if let Some(at) = step.checked_sub(PINS_AHEAD - 1 - ITEMS_AHEAD)
                && let Some(id) = ahead.get(at)
                && let Some(pin) = &pins[at % PINS_AHEAD]
            {
                pin.prefetch_item(id.offset, LINES_AHEAD);
            }
            if let Some(at) = step.checked_sub(PINS_AHEAD - 1)
                && let Some(pin) = pins[at % PINS_AHEAD].take()
            {
                let page = pin.lock();
                found.extend(self.read(ahead[at], page.page()));
            }
        }
        self.ahead = ahead;
    }

    #[inline]
    fn is_live(&self, node: PageNode) -> bool {
        let mut wanted = self.wanted.borrow_mut();
        let wanted = wanted.as_mut();
        node.live && wanted.is_none_or(|wanted| wanted.has_row_of(&self.hnsw, node))
    }

    fn restart(&mut self, seen: &[Candidate<PageNode>]) {
        self.seen.clear();
        self.seen
            .extend(seen.iter().map(|candidate| candidate.node.id));
    }
}
