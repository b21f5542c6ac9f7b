//! The bytes of an index of blocks: what its nodes, its entry table and its centroid look like.
//!
//! A block is a node item ([`crate::hnsw::format`]) without levels above the ground and without chunks.
//! Its value is
//!
//! | bytes | what |
//! |---|---|
//! | 0..16 | factors of the compact code ([`Compact`]) |
//! | 16..24 | hash of the indexed value: equal values have equal hashes |
//! | 24.. | compact code: a signed byte for each dimension |
//!
//! and beside its links it keeps, link by link and each part padded to 8,
//!
//! | part | bytes of a link | what |
//! |---|---|---|
//! | spans | 2 | distance between the two ends and the heuristic's verdict ([`Span`]) |
//! | adds | 4 | layout inline: `add` of the neighbour's [`Factors`] |
//! | scales | 4 | layout inline: `scale` of them |
//! | codes | [`Quantizer::code_len`] | layout inline: the neighbour's code |
//!
//! Where the index has filter columns, the keys of the block's heap TIDs come last.
//!
//! Links in use come first. What belongs to an unused one is zero.

use crate::hnsw::format::{
    Layout, MAX_ITEM, Meta, NODE, Node, NodeHeader, NodeId, NodeMut, Opaque, PageKind, RawTid,
    Shape, node_keys,
};
use crate::page::{Damage, PageView};
use crate::quantize::{Compact, CompactRef, Factors, PqShape, Quantizer, Query};
use bytemuck::{Pod, Zeroable};

/// Most points of a calibration curve.
pub const MOST_CURVE_POINTS: usize = 16;

/// A measured point: which recall a stopping multiple reached.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | multiple |
/// | 4 | 4 | recall |
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct CurvePoint {
    /// a search ends when the nearest unexpanded node is farther than this multiple of the k-th
    /// nearest found, on plain distance
    pub multiple: f32,
    /// share of the ten nearest that searches then found
    pub recall: f32,
}

/// What an index of blocks keeps beside its links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockShape {
    /// dimensions of values
    pub dims: u32,
    /// quantizer of the neighbours' codes; `None` in the compact layout
    pub quantizer: Option<Quantizer>,
    /// dimensions of these codes; segments of those of product quantization
    pub code_dims: u32,
    /// filter columns whose keys are kept of each heap tuple
    pub keys: u8,
}

/// Most filter columns: what PostgreSQL allows beside the vector.
pub const MOST_KEYS: u8 = 31;

/// Bytes of a block's value before its compact code.
const CODE_AT: usize = size_of::<Compact>() + size_of::<u64>();
/// Share of 2m links that a block must have room for before it may have a smaller page share.
const LEAST_LINKS: f64 = 0.85;

impl BlockShape {
    /// The shape a metapage declares.
    pub fn of_meta(meta: &Meta) -> Result<BlockShape, Damage> {
        let quantizer = match meta.quantizer {
            0 => None,
            code => Some(
                Quantizer::from_code(code).ok_or(Damage("unknown quantizer on the metapage"))?,
            ),
        };
        let most = if quantizer.is_some() { meta.dims } else { 0 };
        let sensible = (quantizer.is_none() || meta.code_dims > 0) && meta.code_dims <= most;
        if !sensible || meta.keys > MOST_KEYS || meta.dims == 0 || meta.dims as usize > MAX_ITEM {
            return Err(Damage("dimensions out of range on the metapage"));
        }
        Ok(BlockShape {
            dims: meta.dims,
            quantizer,
            code_dims: meta.code_dims,
            keys: meta.keys,
        })
    }

    /// The shape of blocks of `dims` dimensions in a graph with parameter `m`, with inline codes of
    /// `quantizer` and keys of a number of filter columns: as many blocks to a page as leave room for nearly all 2m links. Where not even
    /// one block fits with codes of all dimensions, they have fewer. `None` where that would leave
    /// less than a quarter of them.
    pub fn inline(dims: u32, m: u16, quantizer: Quantizer, keys: u8) -> Option<Shape> {
        let block = |code_dims: u32| BlockShape {
            dims,
            quantizer: Some(quantizer),
            code_dims,
            keys,
        };
        if let Some(shape) = block(dims).on_pages(m) {
            return Some(shape);
        }
        let shape = |code_dims: u32| Shape {
            m,
            slots: least_links(m),
            block: Some(block(code_dims)),
        };
        let fewer = (1..=dims / 64)
            .rev()
            .map(|words| words * 64)
            .find(|&code_dims| shape(code_dims).block_size() <= MAX_ITEM)?;
        (4 * fewer >= dims).then(|| shape(fewer))
    }

    /// The shape of blocks with inline codes of product quantization; `None` where one does not fit on a page.
    pub fn of_segments(pq: PqShape, m: u16, keys: u8) -> Option<Shape> {
        let block = BlockShape {
            dims: pq.dims() as u32,
            quantizer: Some(match pq.bits() {
                4 => Quantizer::Pq4,
                _ => Quantizer::Pq8,
            }),
            code_dims: pq.segments() as u32,
            keys,
        };
        block.on_pages(m)
    }

    /// As many blocks to a page as leave room for nearly all 2m links.
    fn on_pages(self, m: u16) -> Option<Shape> {
        let shape = |slots: u16| Shape {
            m,
            slots,
            block: Some(self),
        };
        let fits = |slots: u16, on_page: usize| shape(slots).block_size() <= share_of_page(on_page);
        let least = least_links(m);
        let on_page = (1..=64).rev().find(|&on_page| fits(least, on_page))?;
        let slots = (least..=2 * m).rev().find(|&slots| fits(slots, on_page))?;
        Some(shape(slots))
    }

    /// What inline codes of product quantization are; `None` for other codes.
    pub fn pq(&self) -> Option<PqShape> {
        let quantizer = self.quantizer.filter(|quantizer| quantizer.is_pq())?;
        PqShape::new(
            self.dims as usize,
            self.code_dims as usize,
            quantizer.bits(),
        )
        .ok()
    }

    /// The shape of blocks without inline codes; `None` where one does not fit on a page.
    pub fn compact(dims: u32, m: u16, keys: u8) -> Option<Shape> {
        let shape = Shape {
            m,
            slots: 2 * m,
            block: Some(BlockShape {
                dims,
                quantizer: None,
                code_dims: 0,
                keys,
            }),
        };
        (shape.block_size() <= MAX_ITEM).then_some(shape)
    }

    /// Bytes of a block's value.
    pub fn value_len(&self) -> usize {
        CODE_AT + self.dims as usize
    }

    /// Bytes of a neighbour's code.
    pub fn code_len(&self) -> usize {
        self.quantizer
            .map_or(0, |quantizer| quantizer.code_len(self.code_dims as usize))
    }

    /// Bytes kept beside `slots` links, and of keys.
    pub fn beside_len(&self, slots: usize) -> usize {
        let parts = Parts::of(self, slots);
        let codes_end = parts.codes_at + slots * parts.code_len;
        match self.keys {
            0 => codes_end,
            keys => {
                codes_end.next_multiple_of(8) + 8 * crate::hnsw::format::INLINE_TIDS * keys as usize
            }
        }
    }
}

/// Links that a block has room for at least.
fn least_links(m: u16) -> u16 {
    (LEAST_LINKS * (2 * m) as f64).ceil() as u16
}

/// Largest item of which `count` fit on a page.
fn share_of_page(count: usize) -> usize {
    let page = 8192 - crate::page::HEADER - size_of::<Opaque>();
    (page / count - 4) & !7
}

/// Where the parts beside the links lie.
#[derive(Debug, Clone, Copy)]
struct Parts {
    adds_at: usize,
    scales_at: usize,
    codes_at: usize,
    code_len: usize,
}

impl Parts {
    #[inline]
    fn of(block: &BlockShape, slots: usize) -> Parts {
        let adds_at = (2 * slots).next_multiple_of(8);
        let factors = match block.quantizer {
            Some(_) => (4 * slots).next_multiple_of(8),
            None => 0,
        };
        Parts {
            adds_at,
            scales_at: adds_at + factors,
            codes_at: adds_at + 2 * factors,
            code_len: block.code_len(),
        }
    }
}

/// Distance between the ends of a link, and what the heuristic said of it when it last looked:
/// a bfloat16 whose lowest bit is 1 where a nearer neighbour covers the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Span(u16);

impl Span {
    /// A link of a length.
    #[inline]
    pub fn new(distance: f32, covered: bool) -> Span {
        // max() makes 0 of what is no number
        let rounded = distance.max(0.0).clamp(0.0, f32::MAX / 2.0).to_bits() >> 16;
        Span((rounded as u16 & !1) | covered as u16)
    }

    /// The distance, to two digits.
    #[inline]
    pub fn distance(self) -> f32 {
        f32::from_bits((self.0 as u32 & !1) << 16)
    }

    /// Whether a nearer neighbour covers the way.
    #[inline]
    pub fn is_covered(self) -> bool {
        self.0 & 1 != 0
    }

    /// The same link with another verdict.
    #[inline]
    pub fn with_verdict(self, covered: bool) -> Span {
        Span((self.0 & !1) | covered as u16)
    }
}

/// Where everything in a block lies: computed once for an index.
#[derive(Debug, Clone, Copy)]
pub struct BlockLayout {
    /// the shape it follows from
    pub shape: Shape,
    /// what is beside links
    pub block: BlockShape,
    slots: usize,
    links_at: usize,
    beside_at: usize,
    parts: Parts,
    /// bytes of the item
    pub size: usize,
}

impl BlockLayout {
    /// The layout of blocks of a shape; `None` for the plain layout.
    pub fn of(shape: Shape) -> Option<BlockLayout> {
        let block = shape.block?;
        let slots = shape.slots as usize;
        let links_at = size_of::<NodeHeader>() + block.value_len().next_multiple_of(8);
        let beside_at = (links_at + slots * size_of::<RawTid>()).next_multiple_of(8);
        Some(BlockLayout {
            shape,
            block,
            slots,
            links_at,
            beside_at,
            parts: Parts::of(&block, slots),
            size: Layout::choose(block.value_len(), 0, shape).size,
        })
    }

    /// Most links of a block.
    #[inline]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Cache lines of a block.
    #[inline]
    pub fn lines(&self) -> usize {
        self.size.div_ceil(64)
    }

    /// Cache lines of a block's header and value.
    #[inline]
    pub fn head_lines(&self) -> usize {
        self.links_at.div_ceil(64)
    }
}

/// A checked block for reading.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    /// its header
    pub header: &'a NodeHeader,
    item: &'a [u8],
    layout: &'a BlockLayout,
}

impl<'a> Block<'a> {
    /// Reads and checks a block.
    #[inline]
    pub fn of(item: &'a [u8], layout: &'a BlockLayout) -> Result<Block<'a>, Damage> {
        if item.len() != layout.size {
            return Err(Damage("block of the wrong size"));
        }
        let header: &NodeHeader = bytemuck::from_bytes(&item[..size_of::<NodeHeader>()]);
        if header.kind != NODE
            || header.level != 0
            || header.chunk_count != 0
            || header.value_len as usize != layout.block.value_len()
            || header.tid_count as usize > crate::hnsw::format::INLINE_TIDS
        {
            return Err(Damage("block header out of range"));
        }
        Ok(Block {
            header,
            item,
            layout,
        })
    }

    /// The block of a node that was checked as such.
    pub fn of_node(node: &Node<'a>, layout: &'a BlockLayout) -> Result<Block<'a>, Damage> {
        Block::of(node.item(), layout)
    }

    /// Whether the node is deleted.
    #[inline]
    pub fn is_deleted(&self) -> bool {
        self.header.flags & crate::hnsw::format::DELETED != 0
    }

    /// The compact code.
    #[inline]
    pub fn compact(&self) -> CompactRef<'a> {
        compact_of(self.value())
    }

    /// Hash of the indexed value.
    #[inline]
    pub fn hash(&self) -> u64 {
        hash_of_value(self.value())
    }

    /// Factors, hash and compact code.
    #[inline]
    pub fn value(&self) -> &'a [u8] {
        &self.item[size_of::<NodeHeader>()..][..self.layout.block.value_len()]
    }

    /// The slots of the links.
    #[inline]
    pub fn slots(&self) -> &'a [RawTid] {
        let end = self.layout.links_at + self.layout.slots * size_of::<RawTid>();
        bytemuck::cast_slice(&self.item[self.layout.links_at..end])
    }

    /// The links in use.
    #[inline]
    pub fn links(&self) -> &'a [RawTid] {
        let slots = self.slots();
        let used = slots.iter().position(|link| link.offset == 0);
        &slots[..used.unwrap_or(slots.len())]
    }

    /// The heap TIDs in the block.
    #[inline]
    pub fn tids(&self) -> &'a [RawTid] {
        &self.header.tids[..self.header.tid_count as usize]
    }

    /// The keys of these, one TID's after another's.
    #[inline]
    pub fn keys(&self) -> &'a [u64] {
        let columns = self.layout.block.keys as usize;
        &node_keys(self.item, columns)[..columns * self.header.tid_count as usize]
    }

    #[inline]
    fn beside(&self, at: usize, len: usize) -> &'a [u8] {
        &self.item[self.layout.beside_at + at..][..len]
    }

    /// Spans of all slots.
    #[inline]
    pub fn spans(&self) -> &'a [Span] {
        bytemuck::cast_slice(self.beside(0, 2 * self.layout.slots))
    }

    /// `add` of all slots; layout inline.
    #[inline]
    pub fn adds(&self) -> &'a [f32] {
        bytemuck::cast_slice(self.beside(self.layout.parts.adds_at, 4 * self.layout.slots))
    }

    /// `scale` of all slots; layout inline.
    #[inline]
    pub fn scales(&self) -> &'a [f32] {
        bytemuck::cast_slice(self.beside(self.layout.parts.scales_at, 4 * self.layout.slots))
    }

    /// Codes of the first `count` slots; layout inline.
    #[inline]
    pub fn codes(&self, count: usize) -> &'a [u8] {
        let parts = &self.layout.parts;
        self.beside(parts.codes_at, count * parts.code_len)
    }

    /// Estimates of the distances of all links in use to a query, in their order: layout inline.
    /// `None` in the compact layout, where a block holds no codes of its neighbours.
    #[inline]
    pub fn estimate<'e>(
        &self,
        query: &Query,
        estimates: &'e mut Vec<f32>,
    ) -> Option<&'e mut [f32]> {
        let quantizer = self.layout.block.quantizer?;
        let count = self.links().len();
        estimates.resize(self.layout.slots, 0.0);
        let estimates = &mut estimates[..count];
        query.estimate(
            quantizer,
            self.layout.block.code_dims as usize,
            self.codes(count),
            &self.adds()[..count],
            &self.scales()[..count],
            estimates,
        );
        Some(estimates)
    }

    /// Everything kept of a link; layout inline.
    pub fn kept(&self, slot: usize) -> Kept<'a> {
        let len = self.layout.parts.code_len;
        Kept {
            factors: Factors {
                add: self.adds()[slot],
                scale: self.scales()[slot],
            },
            code: &self.codes(self.layout.slots)[slot * len..][..len],
        }
    }
}

/// The compact code in a block's value.
#[inline]
pub fn compact_of(value: &[u8]) -> CompactRef<'_> {
    CompactRef {
        factors: bytemuck::pod_read_unaligned(&value[..size_of::<Compact>()]),
        code: bytemuck::cast_slice(&value[CODE_AT..]),
    }
}

/// The hash in a block's value.
#[inline]
pub fn hash_of_value(value: &[u8]) -> u64 {
    bytemuck::pod_read_unaligned(&value[size_of::<Compact>()..CODE_AT])
}

/// A block's value.
pub fn encode_value(compact: CompactRef<'_>, hash: u64) -> Vec<u8> {
    let mut value = Vec::with_capacity(CODE_AT + compact.code.len());
    value.extend_from_slice(bytemuck::bytes_of(&compact.factors));
    value.extend_from_slice(&hash.to_ne_bytes());
    value.extend_from_slice(bytemuck::cast_slice(compact.code));
    value
}

/// A neighbour's code and factors, as a link keeps them.
#[derive(Debug, Clone, Copy)]
pub struct Kept<'a> {
    /// factors of the code
    pub factors: Factors,
    /// the code
    pub code: &'a [u8],
}

/// A block for writing.
pub struct BlockMut<'a, 'l> {
    links: &'a mut [RawTid],
    beside: &'a mut [u8],
    layout: &'l BlockLayout,
}

impl<'a, 'l> BlockMut<'a, 'l> {
    /// The links of a node, and what is beside them.
    pub fn of(node: &'a mut NodeMut<'_>, layout: &'l BlockLayout) -> BlockMut<'a, 'l> {
        let (links, beside) = node.links_and_beside();
        BlockMut {
            links,
            beside,
            layout,
        }
    }

    fn part<T: Pod>(&mut self, at: usize, slot: usize) -> &mut T {
        let at = at + slot * size_of::<T>();
        bytemuck::from_bytes_mut(&mut self.beside[at..at + size_of::<T>()])
    }

    fn code(&mut self, slot: usize) -> &mut [u8] {
        let parts = &self.layout.parts;
        &mut self.beside[parts.codes_at + slot * parts.code_len..][..parts.code_len]
    }

    /// Links in use.
    pub fn count(&self) -> usize {
        let used = self.links.iter().position(|link| link.offset == 0);
        used.unwrap_or(self.links.len())
    }

    /// Writes a link. `kept` is what the inline layout keeps of the neighbour.
    pub fn set(&mut self, slot: usize, node: NodeId, span: Span, kept: Option<Kept<'_>>) {
        self.links[slot] = node.into();
        self.set_span(slot, span);
        if let (Some(_), Some(kept)) = (self.layout.block.quantizer, kept) {
            *self.part(self.layout.parts.adds_at, slot) = kept.factors.add;
            *self.part(self.layout.parts.scales_at, slot) = kept.factors.scale;
            self.code(slot).copy_from_slice(kept.code);
        }
    }

    /// Changes a link's span.
    pub fn set_span(&mut self, slot: usize, span: Span) {
        *self.part::<Span>(0, slot) = span;
    }

    /// Removes a link; the last one takes its place.
    pub fn remove(&mut self, slot: usize) {
        let last = self.count() - 1;
        if slot != last {
            self.links[slot] = self.links[last];
            let span = *self.part::<Span>(0, last);
            self.set_span(slot, span);
            if self.layout.block.quantizer.is_some() {
                let parts = self.layout.parts;
                for at in [parts.adds_at, parts.scales_at] {
                    *self.part::<f32>(at, slot) = *self.part::<f32>(at, last);
                }
                let from = parts.codes_at + last * parts.code_len;
                let to = parts.codes_at + slot * parts.code_len;
                self.beside.copy_within(from..from + parts.code_len, to);
            }
        }
        self.clear(last);
    }

    /// Removes all links.
    pub fn clear_all(&mut self) {
        self.links.fill(RawTid::NONE);
        self.beside.fill(0);
    }

    /// Zeroes an unused slot.
    fn clear(&mut self, slot: usize) {
        self.links[slot] = RawTid::NONE;
        *self.part::<u16>(0, slot) = 0;
        if self.layout.block.quantizer.is_some() {
            let parts = self.layout.parts;
            for at in [parts.adds_at, parts.scales_at] {
                *self.part::<f32>(at, slot) = 0.0;
            }
            self.code(slot).fill(0);
        }
    }
}

/// Start of an `Entries` page's contents; the entries follow, each part padded to 8: addresses,
/// adds, scales, codes (rabitq1 of all dimensions), each with room for as many as fit.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | entries in use |
/// | 4 | 4 | zero |
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct EntriesHeader {
    /// entries in use
    pub count: u32,
    /// zero
    pub reserved: u32,
}

/// Where the parts of an `Entries` page lie.
#[derive(Debug, Clone, Copy)]
pub struct EntryLayout {
    /// entries a page has room for
    pub capacity: usize,
    adds_at: usize,
    scales_at: usize,
    codes_at: usize,
    code_len: usize,
    /// bytes of the contents
    pub size: usize,
}

/// Quantizer of the entry table.
pub const ENTRY_QUANTIZER: Quantizer = Quantizer::Rabitq1;

impl EntryLayout {
    /// The layout for values of `dims` dimensions.
    pub fn of(dims: u32) -> EntryLayout {
        let code_len = ENTRY_QUANTIZER.code_len(dims as usize);
        let room =
            8192 - crate::page::HEADER - size_of::<Opaque>() - size_of::<EntriesHeader>() - 24;
        let capacity = room / (size_of::<RawTid>() + 8 + code_len);
        let tids_end = size_of::<EntriesHeader>() + capacity * size_of::<RawTid>();
        let adds_at = tids_end.next_multiple_of(8);
        let scales_at = adds_at + (4 * capacity).next_multiple_of(8);
        let codes_at = scales_at + (4 * capacity).next_multiple_of(8);
        EntryLayout {
            capacity,
            adds_at,
            scales_at,
            codes_at,
            code_len,
            size: codes_at + capacity * code_len,
        }
    }

    /// Bytes of an entry's code.
    pub fn code_len(&self) -> usize {
        self.code_len
    }
}

/// Contents of a page without entries.
static NO_ENTRIES: Aligned = Aligned([0; 8192]);

#[repr(C, align(8))]
struct Aligned([u8; 8192]);

/// A checked page of the entry table.
#[derive(Clone, Copy)]
pub struct Entries<'a> {
    contents: &'a [u8],
    layout: EntryLayout,
    /// entries in use
    pub count: usize,
    /// next page of the table, or 0
    pub next: u32,
}

impl<'a> Entries<'a> {
    /// Reads and checks a page.
    pub fn of(page: PageView<'a>, layout: EntryLayout) -> Result<Entries<'a>, Damage> {
        let (kind, opaque) = Opaque::of(page)?;
        if kind != PageKind::Entries {
            return Err(Damage("not a page of the entry table"));
        }
        let contents = match page.contents()? {
            // a crash came between making the page and filling it: it is in no table yet
            [] => &NO_ENTRIES.0[..layout.size],
            contents => contents
                .get(..layout.size)
                .ok_or(Damage("page of the entry table too short"))?,
        };
        let header: &EntriesHeader = bytemuck::from_bytes(&contents[..size_of::<EntriesHeader>()]);
        if header.count as usize > layout.capacity {
            return Err(Damage("too many entries on a page"));
        }
        Ok(Entries {
            contents,
            layout,
            count: header.count as usize,
            next: opaque.next,
        })
    }

    /// Addresses of the entries.
    pub fn nodes(&self) -> &'a [RawTid] {
        bytemuck::cast_slice(&self.contents[size_of::<EntriesHeader>()..][..6 * self.count])
    }

    /// Their `add` factors.
    pub fn adds(&self) -> &'a [f32] {
        bytemuck::cast_slice(&self.contents[self.layout.adds_at..][..4 * self.count])
    }

    /// Their `scale` factors.
    pub fn scales(&self) -> &'a [f32] {
        bytemuck::cast_slice(&self.contents[self.layout.scales_at..][..4 * self.count])
    }

    /// Their codes.
    pub fn codes(&self) -> &'a [u8] {
        &self.contents[self.layout.codes_at..][..self.layout.code_len * self.count]
    }

    /// Whether nothing is left of entries that were removed, as it must be.
    pub fn unused_is_zero(&self) -> bool {
        let layout = &self.layout;
        let parts = [
            (size_of::<EntriesHeader>(), 6, layout.adds_at),
            (layout.adds_at, 4, layout.scales_at),
            (layout.scales_at, 4, layout.codes_at),
            (layout.codes_at, layout.code_len, layout.size),
        ];
        parts.iter().all(|&(at, len, end)| {
            let unused = &self.contents[at + self.count * len..end];
            unused.iter().all(|&byte| byte == 0)
        })
    }
}

/// Contents of a page of the entry table, for writing.
pub struct EntriesMut<'a> {
    contents: &'a mut [u8],
    layout: EntryLayout,
}

impl<'a> EntriesMut<'a> {
    /// Contents of `layout.size` bytes.
    pub fn of(contents: &'a mut [u8], layout: EntryLayout) -> EntriesMut<'a> {
        EntriesMut { contents, layout }
    }

    fn header(&mut self) -> &mut EntriesHeader {
        bytemuck::from_bytes_mut(&mut self.contents[..size_of::<EntriesHeader>()])
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.contents[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Adds an entry; false where the page is full.
    pub fn push(&mut self, node: NodeId, kept: Kept<'_>) -> bool {
        let slot = self.header().count as usize;
        if slot >= self.layout.capacity {
            return false;
        }
        let layout = self.layout;
        self.write(
            size_of::<EntriesHeader>() + 6 * slot,
            bytemuck::bytes_of(&RawTid::from(node)),
        );
        self.write(layout.adds_at + 4 * slot, &kept.factors.add.to_ne_bytes());
        self.write(
            layout.scales_at + 4 * slot,
            &kept.factors.scale.to_ne_bytes(),
        );
        self.write(layout.codes_at + layout.code_len * slot, kept.code);
        self.header().count += 1;
        true
    }

    /// Removes an entry; the last one of the page takes its place.
    pub fn remove(&mut self, slot: usize) {
        let layout = self.layout;
        let last = self.header().count as usize - 1;
        let parts = [
            (size_of::<EntriesHeader>(), 6),
            (layout.adds_at, 4),
            (layout.scales_at, 4),
            (layout.codes_at, layout.code_len),
        ];
        for (at, len) in parts {
            let from = at + last * len;
            self.contents.copy_within(from..from + len, at + slot * len);
            self.contents[from..from + len].fill(0);
        }
        self.header().count -= 1;
    }
}

/// Floats of the centroid on one page.
pub const CENTROID_FLOATS: usize = (8192 - crate::page::HEADER - size_of::<Opaque>()) / 4;

const _: () = {
    assert!(size_of::<Compact>() == 16);
    assert!(size_of::<CurvePoint>() == 8);
    assert!(CODE_AT == 24);
};
