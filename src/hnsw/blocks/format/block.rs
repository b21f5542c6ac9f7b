//! A block: a node with its compact code, its links, and what it keeps beside them.

use super::shape::{BlockLayout, CODE_AT};
use crate::hnsw::format::{
    DELETED, INLINE_TIDS, NODE, Node, NodeHeader, NodeId, NodeMut, RawTid, node_keys,
};
use crate::page::Damage;
use crate::quantize::{Compact, CompactRef, Factors, Query};
use bytemuck::{Pod, Zeroable};

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
            || header.tid_count as usize > INLINE_TIDS
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
        self.header.flags & DELETED != 0
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

    /// Whether all is zero between the parts of the block.
    pub fn padding_is_zero(&self) -> bool {
        let layout = self.layout;
        let beside = |at: usize| layout.beside_at + at;
        let factors = match layout.block.quantizer {
            Some(_) => 4 * layout.slots,
            None => 0,
        };
        let parts = &layout.parts;
        let gaps = [
            size_of::<NodeHeader>() + layout.block.value_len()..layout.links_at,
            layout.links_at + layout.slots * size_of::<RawTid>()..layout.beside_at,
            beside(2 * layout.slots)..beside(parts.adds_at),
            beside(parts.adds_at + factors)..beside(parts.scales_at),
            beside(parts.scales_at + factors)..beside(parts.codes_at),
        ];
        gaps.into_iter()
            .all(|gap| self.item[gap].iter().all(|&byte| byte == 0))
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
