//! The bytes of an `hnsw` index, version 4. All numbers are in the machine's byte order, as
//! everywhere in a PostgreSQL data directory.
//!
//! Every page has the standard PostgreSQL header, with a checksum in it ([`crate::page`]), and a special
//! area of 16 bytes ([`Opaque`]).
//! Block 0 is the metapage ([`Meta`]); every other page is of one [`PageKind`]:
//!
//! | kind | holds |
//! |---|---|
//! | `Nodes` | items that are nodes ([`NodeHeader`]) |
//! | `Chunk` | one item, a piece of one node's value ([`ChunkHeader`]) |
//! | `Tids` | items that are heap TID lists of nodes with many duplicates ([`TidListHeader`]) |
//! | `Free` | nothing; found through the free space map |
//! | `Centroid` | a piece of the centroid of an index of blocks ([`super::blocks::format`]) |
//! | `Entries` | a part of its entry table |
//! | `Map` | a part of its code map ([`super::blocks::map`]) |
//! | `Directory` | a part of the map's directory |
//!
//! A node item:
//!
//! | bytes | what |
//! |---|---|
//! | 0..64 | [`NodeHeader`] |
//! | 64.. | the end of the value, as much as is not in chunks; padded to 8 |
//! | then | 6 bytes for each chunk, first piece of the value first; the node's value is all chunks in order, then the inline bytes |
//! | then | 6 bytes for each link: 2m of level 0, m of level 1, ... ; unused ones are zero and come last |
//! | then | padding to 8 |
//! | then | in an index of blocks: what is kept beside each link ([`super::blocks::format`]) |
//! | then | in an index of blocks with filter columns: padding to 8, then the keys of each inline heap TID, 8 bytes for each filter column ([`crate::keys`]) |
//!
//! Values are what [`crate::distance::Operand`] says; in an index of blocks, compact codes. A node's level and size never change; links,
//! TIDs and flags do.

use crate::page::{Damage, PageView};
use bytemuck::{Pod, Zeroable};

use super::blocks::format::{BlockShape, CurvePoint, MOST_CURVE_POINTS};
use super::{Level, Params};

/// "VXH1" in the special area and the metapage.
pub const MAGIC: u32 = 0x3148_5856;
/// Version of the format.
pub const VERSION: u16 = 4;
/// Heap TIDs a node has room for before it needs a list of its own.
pub const INLINE_TIDS: usize = 6;
/// Bytes of a page that one item can take on an otherwise empty page.
pub const MAX_ITEM: usize = (8192 - crate::page::HEADER - size_of::<Opaque>() - 4) & !7;
/// Bytes of a value that a chunk holds.
pub const CHUNK: usize = MAX_ITEM - size_of::<ChunkHeader>();
/// Most chunks a value needs: a sparsevec of 16,000 elements.
const MAX_CHUNKS: usize = 16;

/// What a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum PageKind {
    /// block 0
    Meta = 1,
    /// nodes
    Nodes = 2,
    /// a piece of a value
    Chunk = 3,
    /// heap TID lists
    Tids = 4,
    /// nothing
    Free = 5,
    /// a piece of the centroid
    Centroid = 6,
    /// a part of the entry table
    Entries = 7,
    /// a part of the code map
    Map = 8,
    /// a part of the code map's directory
    Directory = 9,
    /// a piece of the codebook of product quantization
    Codebook = 10,
}

impl PageKind {
    fn of(number: u16) -> Option<PageKind> {
        use PageKind::*;
        [
            Meta, Nodes, Chunk, Tids, Free, Centroid, Entries, Map, Directory, Codebook,
        ]
        .into_iter()
        .find(|kind| *kind as u16 == number)
    }
}

/// The special area of every page.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | magic, "VXH1" |
/// | 4 | 2 | version |
/// | 6 | 2 | page kind |
/// | 8 | 4 | generation: raised whenever an item of the page is freed, never lowered |
/// | 12 | 4 | next page of the same chain (`Centroid`, `Codebook`, `Entries`, `Directory`); `Map`: another page that may have room; or 0 |
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Opaque {
    /// [`MAGIC`]
    pub magic: u32,
    /// [`VERSION`]
    pub version: u16,
    /// a [`PageKind`]
    pub kind: u16,
    /// counts how often an item of this page was freed
    pub generation: u32,
    /// next page of a chain, or 0
    pub next: u32,
}

impl Opaque {
    /// The special area of a page of `kind`.
    pub fn new(kind: PageKind, generation: u32) -> Self {
        Opaque {
            magic: MAGIC,
            version: VERSION,
            kind: kind as u16,
            generation,
            next: 0,
        }
    }

    /// Reads and checks a page's special area.
    #[inline]
    pub fn of(page: PageView<'_>) -> Result<(PageKind, &Opaque), Damage> {
        let bytes = page.special()?;
        let opaque: &Opaque = bytemuck::try_from_bytes(bytes)
            .map_err(|_| Damage("special area of a foreign size"))?;
        if opaque.magic != MAGIC {
            return Err(Damage("not a page of an hnsw index of vectorext"));
        }
        if opaque.version != VERSION {
            return Err(Damage("page of another format version"));
        }
        let kind = PageKind::of(opaque.kind).ok_or(Damage("unknown page kind"))?;
        Ok((kind, opaque))
    }
}

/// Address of an item: block and offset number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// block of the index
    pub block: u32,
    /// line pointer on the page, from 1
    pub offset: u16,
}

/// An item's address, or a heap TID, on disk: PostgreSQL's ItemPointerData. All zero is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct RawTid {
    /// upper half of the block number
    pub block_hi: u16,
    /// lower half of the block number
    pub block_lo: u16,
    /// offset number
    pub offset: u16,
}

impl RawTid {
    /// No address.
    pub const NONE: RawTid = RawTid {
        block_hi: 0,
        block_lo: 0,
        offset: 0,
    };

    /// The address, unless it is none.
    #[inline]
    pub fn id(self) -> Option<NodeId> {
        (self.offset != 0).then_some(NodeId {
            block: (self.block_hi as u32) << 16 | self.block_lo as u32,
            offset: self.offset,
        })
    }
}

impl From<NodeId> for RawTid {
    #[inline]
    fn from(id: NodeId) -> Self {
        RawTid {
            block_hi: (id.block >> 16) as u16,
            block_lo: id.block as u16,
            offset: id.offset,
        }
    }
}

/// Contents of block 0, right after the page header.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | magic, "VXH1" |
/// | 4 | 4 | version |
/// | 8 | 4 | space: 16 x element type + metric |
/// | 12 | 4 | dimensions (bits for `bit`) |
/// | 16 | 2 | m |
/// | 18 | 2 | ef_construction |
/// | 20 | 6 | entry point, or none |
/// | 26 | 2 | level of the entry point |
/// | 28 | 4 | block where an insert looks for room for a node first, or 0 |
/// | 32 | 4 | block where an insert looks for room for a TID list first, or 0 |
/// | 36 | 2 | links a node has on the ground layer |
/// | 38 | 1 | layout: 0 plain, 1 blocks |
/// | 39 | 1 | blocks: quantizer of the codes beside links, or 0 where there are none |
/// | 40 | 4 | blocks: dimensions of these codes; `pq`: their segments |
/// | 44 | 4 | blocks: largest norm in the build's sample; queries are scaled to it (inner product) |
/// | 48 | 8 | blocks: seed of the rotation |
/// | 56 | 4 | blocks: first page of the centroid, or 0 where it is zero |
/// | 60 | 4 | blocks: first page of the entry table, or 0 |
/// | 64 | 4 | blocks: points of the calibration curve |
/// | 68 | 4 | blocks: nodes when it was measured |
/// | 72 | 128 | blocks: the curve, see [`CurvePoint`] |
/// | 200 | 4 | blocks: first page of the code map's directory, or 0 where there is no map |
/// | 204 | 4 | blocks: page of the map where an insert looks for room first |
/// | 208 | 1 | blocks: filter columns whose keys nodes and map have |
/// | 209 | 1 | blocks: quantizer of the map's codes, or 0 where there is no map |
/// | 210 | 2 | zero |
/// | 212 | 4 | blocks: first page of the codebook of `pq`, or 0 |
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Meta {
    /// [`MAGIC`]
    pub magic: u32,
    /// [`VERSION`]
    pub version: u32,
    /// code of the index's [`crate::distance::Space`]
    pub space: i32,
    /// dimensions
    pub dims: u32,
    /// links per upper layer
    pub m: u16,
    /// size of the candidate list while inserting
    pub ef_construction: u16,
    /// entry point of every search; in an index of blocks only where the entry table is empty
    pub entry: RawTid,
    /// its level
    pub entry_level: u16,
    /// hint for node placement
    pub node_page: u32,
    /// hint for TID list placement
    pub tid_page: u32,
    /// links on the ground layer
    pub slots: u16,
    /// [`PLAIN`] or [`BLOCKS`]
    pub layout: u8,
    /// code of the [`crate::quantize::Quantizer`] of inline codes, or 0
    pub quantizer: u8,
    /// dimensions of inline codes; segments of those of product quantization
    pub code_dims: u32,
    /// see [`crate::quantize::Codec`]
    pub reach: f32,
    /// seed of the rotation
    pub seed: u64,
    /// first page of the centroid
    pub centroid: u32,
    /// first page of the entry table
    pub entries: u32,
    /// points of `curve` in use
    pub curve_len: u32,
    /// nodes in the index when the curve was measured
    pub calibrated_nodes: u32,
    /// which stopping multiple reached which recall
    pub curve: [CurvePoint; MOST_CURVE_POINTS],
    /// first page of the code map's directory
    pub map: u32,
    /// hint for new entries of the map
    pub map_page: u32,
    /// filter columns
    pub keys: u8,
    /// code of the [`crate::quantize::Quantizer`] of the map, or 0
    pub map_quantizer: u8,
    /// zero
    pub reserved: [u8; 2],
    /// first page of the codebook
    pub codebook: u32,
}

/// Layout of an index that keeps values in full.
pub const PLAIN: u8 = 0;
/// Layout of an index of blocks.
pub const BLOCKS: u8 = 1;

impl Meta {
    /// Reads and checks a metapage.
    pub fn of(page: PageView<'_>) -> Result<&Meta, Damage> {
        let (kind, _) = Opaque::of(page)?;
        if kind != PageKind::Meta {
            return Err(Damage("not a metapage"));
        }
        let contents = page.contents()?;
        let bytes = contents
            .get(..size_of::<Meta>())
            .ok_or(Damage("metapage too short"))?;
        let meta: &Meta = bytemuck::from_bytes(bytes);
        if meta.magic != MAGIC || meta.version != VERSION as u32 {
            return Err(Damage("metapage of another format"));
        }
        if !(2..=100).contains(&meta.m) || !(4..=1000).contains(&meta.ef_construction) {
            return Err(Damage("parameters out of range on the metapage"));
        }
        if meta.entry_level > highest_level(meta.m) as u16 {
            return Err(Damage("entry level out of range on the metapage"));
        }
        if meta.curve_len as usize > MOST_CURVE_POINTS {
            return Err(Damage("calibration curve out of range on the metapage"));
        }
        meta.shape()?;
        Ok(meta)
    }

    /// The graph's parameters.
    pub fn params(&self) -> Params {
        Params {
            m: self.m,
            ef_construction: self.ef_construction,
        }
    }

    /// What a node's item looks like.
    pub fn shape(&self) -> Result<Shape, Damage> {
        let block = match self.layout {
            PLAIN => None,
            BLOCKS => Some(BlockShape::of_meta(self)?),
            _ => return Err(Damage("unknown layout on the metapage")),
        };
        let shape = Shape {
            m: self.m,
            slots: self.slots,
            block,
        };
        let fits = block.is_none_or(|_| shape.block_size() <= MAX_ITEM);
        if self.slots < 2 || self.slots > 2 * self.m || !fits {
            return Err(Damage("shape of nodes out of range on the metapage"));
        }
        Ok(shape)
    }

    /// The calibration curve.
    pub fn curve(&self) -> &[CurvePoint] {
        &self.curve[..self.curve_len as usize]
    }
}

/// What a node's item looks like: how many links, and what beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// links per upper layer
    pub m: u16,
    /// links on the ground layer
    pub slots: u16,
    /// what an index of blocks keeps beside links; `None` in the plain layout
    pub block: Option<BlockShape>,
}

impl Shape {
    /// The plain layout of a graph with parameter `m`.
    pub fn plain(m: u16) -> Shape {
        Shape {
            m,
            slots: 2 * m,
            block: None,
        }
    }

    /// Highest level a node can have; blocks have one layer.
    pub fn highest_level(&self) -> Level {
        match self.block {
            Some(_) => 0,
            None => highest_level(self.m),
        }
    }

    /// Filter columns whose keys nodes have.
    #[inline]
    pub fn keys(&self) -> usize {
        self.block.map_or(0, |block| block.keys as usize)
    }

    /// Bytes of a block.
    pub fn block_size(&self) -> usize {
        let value = self.block.map_or(0, |block| block.value_len());
        Layout::with_chunks(value, 0, 0, *self).size
    }
}

/// The node is deleted: it leads the way until VACUUM has mended the links to it.
pub const DELETED: u16 = 1;

/// Start of a node item.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 1 | 1, a node |
/// | 1 | 1 | level |
/// | 2 | 2 | flags: 1 deleted |
/// | 4 | 4 | generation: the page's when the node was put on it |
/// | 8 | 4 | length of the value in bytes |
/// | 12 | 4 | squared norm of the value (cosine), or 0 |
/// | 16 | 2 | heap TIDs inline |
/// | 18 | 2 | chunks |
/// | 20 | 36 | heap TIDs |
/// | 56 | 6 | newest TID list, or none |
/// | 62 | 2 | zero |
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct NodeHeader {
    /// [`NODE`]
    pub kind: u8,
    /// highest layer the node is in
    pub level: u8,
    /// [`DELETED`]
    pub flags: u16,
    /// tells this node from an earlier one at the same address
    pub generation: u32,
    /// bytes of the value
    pub value_len: u32,
    /// squared norm, for cosine
    pub norm_squared: f32,
    /// how many of `tids` are in use
    pub tid_count: u16,
    /// how many chunks the value has
    pub chunk_count: u16,
    /// heap tuples with this value
    pub tids: [RawTid; INLINE_TIDS],
    /// more of them
    pub more_tids: RawTid,
    /// zero
    pub reserved: u16,
}

/// First byte of a node item.
pub const NODE: u8 = 1;
/// First byte of a chunk item.
pub const CHUNK_ITEM: u8 = 2;
/// First byte of a TID list item.
pub const TID_LIST: u8 = 3;

/// Start of a chunk item; the piece of the value follows.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 1 | 2, a chunk |
/// | 1 | 1 | zero |
/// | 2 | 2 | position among the node's chunks, from 0 |
/// | 4 | 4 | generation of the node it belongs to |
/// | 8 | 6 | the node it belongs to |
/// | 14 | 2 | bytes that follow |
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct ChunkHeader {
    /// [`CHUNK_ITEM`]
    pub kind: u8,
    /// zero
    pub reserved: u8,
    /// position
    pub index: u16,
    /// the owner's generation
    pub generation: u32,
    /// the owner
    pub owner: RawTid,
    /// bytes that follow
    pub len: u16,
}

/// Start of a TID list item. Room for `capacity` TIDs follows, and where the index has filter
/// columns, padded to 8, for the keys of each, 8 bytes for each column.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 1 | 3, a TID list |
/// | 1 | 1 | filter columns |
/// | 2 | 2 | TIDs in use |
/// | 4 | 2 | TIDs there is room for |
/// | 6 | 6 | next older list of the same node, or none |
/// | 12 | 4 | generation of the node it belongs to |
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct TidListHeader {
    /// [`TID_LIST`]
    pub kind: u8,
    /// filter columns
    pub keys: u8,
    /// TIDs in use
    pub count: u16,
    /// TIDs there is room for
    pub capacity: u16,
    /// next older list
    pub next: RawTid,
    /// the owner's generation
    pub generation: u32,
}

/// Most TIDs one list holds, with keys of so many filter columns.
pub const fn max_list_tids(keys: usize) -> usize {
    (MAX_ITEM - size_of::<TidListHeader>() - 7) / (size_of::<RawTid>() + 8 * keys)
}

/// Where a list's keys begin.
fn list_keys_at(capacity: usize) -> usize {
    size_of::<TidListHeader>() + (capacity * size_of::<RawTid>()).next_multiple_of(8)
}

const _: () = {
    assert!(size_of::<Opaque>() == 16);
    assert!(size_of::<Meta>() == 216);
    assert!(size_of::<NodeHeader>() == 64);
    assert!(size_of::<ChunkHeader>() == 16);
    assert!(size_of::<TidListHeader>() == 16);
    assert!(CHUNK.is_multiple_of(16));
};

/// Highest level a node can have so that its links fit on a page beside the longest list of chunks.
pub fn highest_level(m: u16) -> Level {
    let room = MAX_ITEM - size_of::<NodeHeader>() - (MAX_CHUNKS + 1) * size_of::<RawTid>();
    (room / (size_of::<RawTid>() * m as usize) - 2).min(63) as Level
}

/// Where the parts of a node item lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// pieces of the value on pages of their own
    pub chunks: usize,
    /// bytes of the value in the item
    pub inline: usize,
    chunks_at: usize,
    links_at: usize,
    beside_at: usize,
    /// bytes of the item
    pub size: usize,
}

impl Layout {
    /// How a value of `value_len` bytes and the links of a node of `level` are laid out: as few
    /// chunks as let the rest fit on one page.
    pub fn choose(value_len: usize, level: Level, shape: Shape) -> Layout {
        (0..)
            .map(|chunks| Layout::with_chunks(value_len, chunks, level, shape))
            .find(|layout| layout.size <= MAX_ITEM)
            .expect("links of every level up to the highest fit on a page")
    }

    #[inline]
    fn with_chunks(value_len: usize, chunks: usize, level: Level, shape: Shape) -> Layout {
        let inline = value_len.saturating_sub(chunks * CHUNK);
        let chunks_at = size_of::<NodeHeader>() + inline.next_multiple_of(8);
        let links_at = chunks_at + chunks * size_of::<RawTid>();
        let links = shape.slots as usize + level as usize * shape.m as usize;
        let beside_at = (links_at + links * size_of::<RawTid>()).next_multiple_of(8);
        let beside = shape
            .block
            .map_or(0, |block| block.beside_len(shape.slots as usize));
        Layout {
            chunks,
            inline,
            chunks_at,
            links_at,
            beside_at,
            size: beside_at + beside,
        }
    }

    /// Range of the links of `level` in the item.
    #[inline]
    fn links(&self, level: Level, shape: Shape) -> std::ops::Range<usize> {
        let (m, slots) = (shape.m as usize, shape.slots as usize);
        let (first, count) = match level {
            0 => (0, slots),
            _ => (slots + (level as usize - 1) * m, m),
        };
        let at = self.links_at + first * size_of::<RawTid>();
        at..at + count * size_of::<RawTid>()
    }
}

/// A checked node item.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    /// its header
    pub header: &'a NodeHeader,
    layout: Layout,
    item: &'a [u8],
    shape: Shape,
}

impl<'a> Node<'a> {
    /// Reads and checks a node item of a graph of that shape.
    #[inline]
    pub fn of(item: &'a [u8], shape: Shape) -> Result<Node<'a>, Damage> {
        let header = item
            .get(..size_of::<NodeHeader>())
            .and_then(|bytes| bytemuck::try_from_bytes::<NodeHeader>(bytes).ok())
            .ok_or(Damage("node too short"))?;
        if header.kind != NODE {
            return Err(Damage("not a node"));
        }
        if header.level > shape.highest_level() || header.chunk_count as usize > MAX_CHUNKS {
            return Err(Damage("node header out of range"));
        }
        let layout = Layout::with_chunks(
            header.value_len as usize,
            header.chunk_count as usize,
            header.level,
            shape,
        );
        if layout.size != item.len() {
            return Err(Damage("node of the wrong size"));
        }
        if header.tid_count as usize > INLINE_TIDS {
            return Err(Damage("too many heap TIDs in a node"));
        }
        Ok(Node {
            header,
            layout,
            item,
            shape,
        })
    }

    /// Whether the node is deleted.
    #[inline]
    pub fn is_deleted(&self) -> bool {
        self.header.flags & DELETED != 0
    }

    /// The part of the value that is in the item; the whole value where there are no chunks.
    #[inline]
    pub fn inline(&self) -> &'a [u8] {
        &self.item[size_of::<NodeHeader>()..][..self.layout.inline]
    }

    /// The chunks of the value, in order.
    #[inline]
    pub fn chunks(&self) -> &'a [RawTid] {
        bytemuck::cast_slice(&self.item[self.layout.chunks_at..self.layout.links_at])
    }

    /// The slots of the links at `level`; empty above the node's level.
    #[inline]
    pub fn links(&self, level: Level) -> &'a [RawTid] {
        if level > self.header.level {
            return &[];
        }
        bytemuck::cast_slice(&self.item[self.layout.links(level, self.shape)])
    }

    /// The whole item.
    #[inline]
    pub fn item(&self) -> &'a [u8] {
        self.item
    }

    /// What is kept beside the links; empty in the plain layout.
    #[inline]
    pub fn beside(&self) -> &'a [u8] {
        &self.item[self.layout.beside_at..]
    }

    /// The heap TIDs in the item.
    #[inline]
    pub fn tids(&self) -> &'a [RawTid] {
        &self.header.tids[..self.header.tid_count as usize]
    }

    /// The keys of these, one TID's after another's.
    #[inline]
    pub fn keys(&self) -> &'a [u64] {
        let columns = self.shape.keys();
        &node_keys(self.item, columns)[..columns * self.header.tid_count as usize]
    }
}

impl Node<'_> {
    /// Whether there are no keys where no heap TID is.
    pub fn unused_keys_are_zero(&self) -> bool {
        let columns = self.shape.keys();
        let unused = &node_keys(self.item, columns)[columns * self.header.tid_count as usize..];
        unused.iter().all(|&key| key == 0)
    }
}

/// The keys of all inline TIDs of a node: the end of its item.
#[inline]
pub(super) fn node_keys(item: &[u8], columns: usize) -> &[u64] {
    bytemuck::cast_slice(&item[item.len() - 8 * INLINE_TIDS * columns..])
}

/// A node item for writing, checked like [`Node`].
pub struct NodeMut<'a> {
    item: &'a mut [u8],
    layout: Layout,
    shape: Shape,
}

impl<'a> NodeMut<'a> {
    /// Checks a node item and gives access to what can change.
    pub fn of(item: &'a mut [u8], shape: Shape) -> Result<NodeMut<'a>, Damage> {
        let layout = Node::of(item, shape)?.layout;
        Ok(NodeMut {
            item,
            layout,
            shape,
        })
    }

    /// The header. Level, value length and chunk count stay as they are.
    pub fn header(&mut self) -> &mut NodeHeader {
        bytemuck::from_bytes_mut(&mut self.item[..size_of::<NodeHeader>()])
    }

    /// Writes the inline heap TIDs and their keys.
    pub fn set_tids(&mut self, tids: &[RawTid], keys: &[u64]) {
        let columns = self.shape.keys();
        let header = self.header();
        header.tids.fill(RawTid::NONE);
        header.tids[..tids.len()].copy_from_slice(tids);
        header.tid_count = tids.len() as u16;
        let at = self.item.len() - 8 * INLINE_TIDS * columns;
        let all: &mut [u64] = bytemuck::cast_slice_mut(&mut self.item[at..]);
        all.fill(0);
        all[..keys.len()].copy_from_slice(keys);
    }

    /// Adds a heap TID with its keys to a node that has room.
    pub fn push_tid(&mut self, tid: RawTid, keys: &[u64]) {
        let columns = self.shape.keys();
        let header = self.header();
        let slot = header.tid_count as usize;
        header.tids[slot] = tid;
        header.tid_count += 1;
        let at = self.item.len() - 8 * INLINE_TIDS * columns;
        let all: &mut [u64] = bytemuck::cast_slice_mut(&mut self.item[at..]);
        all[slot * columns..][..columns].copy_from_slice(keys);
    }

    /// The link slots at a level the node is in.
    pub fn links(&mut self, level: Level) -> &mut [RawTid] {
        let range = self.layout.links(level, self.shape);
        bytemuck::cast_slice_mut(&mut self.item[range])
    }

    /// The ground layer's link slots and what is kept beside them.
    pub fn links_and_beside(&mut self) -> (&mut [RawTid], &mut [u8]) {
        let range = self.layout.links(0, self.shape);
        let end = self.item.len() - 8 * INLINE_TIDS * self.shape.keys();
        let (before, beside) = self.item[..end].split_at_mut(self.layout.beside_at);
        (bytemuck::cast_slice_mut(&mut before[range]), beside)
    }

    /// Replaces the links at a level the node is in.
    pub fn set_links(&mut self, level: Level, links: impl IntoIterator<Item = NodeId>) {
        let slots = self.links(level);
        slots.fill(RawTid::NONE);
        for (slot, id) in slots.iter_mut().zip(links) {
            *slot = id.into();
        }
    }
}

/// What a new node is made of.
pub struct NewNode<'a> {
    /// highest layer
    pub level: Level,
    /// the page's generation
    pub generation: u32,
    /// the value
    pub value: &'a [u8],
    /// its squared norm, for cosine
    pub norm_squared: f32,
    /// where its chunks are, in order; as many as [`Layout::choose`] says
    pub chunks: &'a [NodeId],
    /// heap tuples, at most [`INLINE_TIDS`]
    pub tids: &'a [RawTid],
    /// their keys, one tuple's after another's
    pub keys: &'a [u64],
    /// more of them
    pub more_tids: RawTid,
}

impl NewNode<'_> {
    /// The item, without links.
    pub fn encode(&self, shape: Shape) -> Vec<u8> {
        let layout = Layout::with_chunks(self.value.len(), self.chunks.len(), self.level, shape);
        let mut item = vec![0u8; layout.size];
        let mut tids = [RawTid::NONE; INLINE_TIDS];
        tids[..self.tids.len()].copy_from_slice(self.tids);
        let header = NodeHeader {
            kind: NODE,
            level: self.level,
            flags: 0,
            generation: self.generation,
            value_len: self.value.len() as u32,
            norm_squared: self.norm_squared,
            tid_count: self.tids.len() as u16,
            chunk_count: self.chunks.len() as u16,
            tids,
            more_tids: self.more_tids,
            reserved: 0,
        };
        let start = size_of::<NodeHeader>();
        item[..start].copy_from_slice(bytemuck::bytes_of(&header));
        let inline = &self.value[self.value.len() - layout.inline..];
        item[start..start + inline.len()].copy_from_slice(inline);
        let mut at = layout.chunks_at;
        for &chunk in self.chunks {
            let raw = RawTid::from(chunk);
            item[at..at + 6].copy_from_slice(bytemuck::bytes_of(&raw));
            at += 6;
        }
        let keys_at = item.len() - 8 * INLINE_TIDS * shape.keys();
        let keys: &[u8] = bytemuck::cast_slice(self.keys);
        item[keys_at..keys_at + keys.len()].copy_from_slice(keys);
        item
    }
}

/// A checked chunk item: its header and its piece of the value.
pub fn chunk_of(item: &[u8]) -> Result<(&ChunkHeader, &[u8]), Damage> {
    if item.len() < size_of::<ChunkHeader>() {
        return Err(Damage("chunk too short"));
    }
    let (header, bytes) = item.split_at(size_of::<ChunkHeader>());
    let header: &ChunkHeader = bytemuck::from_bytes(header);
    if header.kind != CHUNK_ITEM {
        return Err(Damage("not a chunk"));
    }
    let bytes = bytes
        .get(..header.len as usize)
        .ok_or(Damage("chunk of the wrong size"))?;
    Ok((header, bytes))
}

/// The chunk item for piece `index` of a node's value.
pub fn encode_chunk(owner: NodeId, generation: u32, index: u16, piece: &[u8]) -> Vec<u8> {
    let header = ChunkHeader {
        kind: CHUNK_ITEM,
        reserved: 0,
        index,
        generation,
        owner: owner.into(),
        len: piece.len() as u16,
    };
    let mut item = bytemuck::bytes_of(&header).to_vec();
    item.extend_from_slice(piece);
    item.resize(item.len().next_multiple_of(8), 0);
    item
}

/// A checked TID list item.
#[derive(Clone, Copy)]
pub struct TidList<'a> {
    /// its header
    pub header: &'a TidListHeader,
    /// the TIDs in use
    pub tids: &'a [RawTid],
    /// their keys, all of one TID after those of the one before
    pub keys: &'a [u64],
}

impl<'a> TidList<'a> {
    /// Reads and checks an item.
    pub fn of(item: &'a [u8]) -> Result<TidList<'a>, Damage> {
        if item.len() < size_of::<TidListHeader>() {
            return Err(Damage("TID list too short"));
        }
        let (header, bytes) = item.split_at(size_of::<TidListHeader>());
        let header: &TidListHeader = bytemuck::from_bytes(header);
        if header.kind != TID_LIST {
            return Err(Damage("not a TID list"));
        }
        if header.count > header.capacity {
            return Err(Damage("TID list over its capacity"));
        }
        let capacity = header.capacity as usize;
        let tids = bytes
            .get(..capacity * size_of::<RawTid>())
            .ok_or(Damage("TID list of the wrong size"))?;
        let tids: &[RawTid] = bytemuck::cast_slice(tids);
        let words = header.keys as usize;
        let keys: &[u64] = match words {
            0 => &[],
            _ => {
                let all = item
                    .get(list_keys_at(capacity)..)
                    .and_then(|keys| keys.get(..8 * words * capacity))
                    .ok_or(Damage("TID list of the wrong size"))?;
                bytemuck::cast_slice(all)
            }
        };
        let count = header.count as usize;
        Ok(TidList {
            header,
            tids: &tids[..count],
            keys: &keys[..words * count],
        })
    }
}

/// A TID list item for writing, checked like [`TidList`].
pub struct TidListMut<'a> {
    /// its header
    pub header: &'a mut TidListHeader,
    /// all its slots
    pub slots: &'a mut [RawTid],
    /// the keys of all slots
    pub keys: &'a mut [u64],
}

impl<'a> TidListMut<'a> {
    /// Checks an item and gives access to all of it.
    pub fn of(item: &'a mut [u8]) -> Result<TidListMut<'a>, Damage> {
        let header = TidList::of(item)?.header;
        let (capacity, words) = (header.capacity as usize, header.keys as usize);
        let (header, bytes) = item.split_at_mut(size_of::<TidListHeader>());
        let keys_at = list_keys_at(capacity) - size_of::<TidListHeader>();
        let (tids, keys) = bytes.split_at_mut(keys_at.min(bytes.len()));
        Ok(TidListMut {
            header: bytemuck::from_bytes_mut(header),
            slots: bytemuck::cast_slice_mut(&mut tids[..capacity * size_of::<RawTid>()]),
            keys: match words {
                0 => &mut [],
                _ => bytemuck::cast_slice_mut(&mut keys[..8 * words * capacity]),
            },
        })
    }

    /// Writes what the list has from now on: TIDs, and their keys one after another.
    pub fn set(&mut self, tids: &[RawTid], keys: &[u64]) {
        self.slots.fill(RawTid::NONE);
        self.slots[..tids.len()].copy_from_slice(tids);
        self.keys.fill(0);
        self.keys[..keys.len()].copy_from_slice(keys);
        self.header.count = tids.len() as u16;
    }

    /// Adds a TID with its keys to a list that has room.
    pub fn push(&mut self, tid: RawTid, keys: &[u64]) {
        let slot = self.header.count as usize;
        self.slots[slot] = tid;
        self.keys[slot * keys.len()..][..keys.len()].copy_from_slice(keys);
        self.header.count += 1;
    }
}

/// A TID list item with room for `capacity`, at least as many as `tids`. `keys` are theirs, one
/// TID's after another's, `columns` for each.
pub fn encode_tid_list(
    generation: u32,
    next: RawTid,
    capacity: usize,
    tids: &[RawTid],
    keys: &[u64],
    columns: usize,
) -> Vec<u8> {
    let header = TidListHeader {
        kind: TID_LIST,
        keys: columns as u8,
        count: tids.len() as u16,
        capacity: capacity as u16,
        next,
        generation,
    };
    let mut item = bytemuck::bytes_of(&header).to_vec();
    item.extend_from_slice(bytemuck::cast_slice(tids));
    if columns > 0 {
        item.resize(list_keys_at(capacity), 0);
        item.extend_from_slice(bytemuck::cast_slice(keys));
    }
    let size = match columns {
        0 => size_of::<TidListHeader>() + capacity * size_of::<RawTid>(),
        _ => list_keys_at(capacity) + 8 * columns * capacity,
    };
    item.resize(size.next_multiple_of(8), 0);
    item
}
