//! Vector pages: the compact code of each row once, whatever lists it is in (`rerank = index`).
//!
//! | bytes of the contents | what |
//! |---|---|
//! | 0..8 | 0 |
//! | then | heap TIDs, 6 bytes each; zero for a slot that is free |
//! | then | factors, 16 bytes each ([`Compact`]) |
//! | then | compact codes: a signed byte for each dimension, padded to 8 |

use super::{CONTENTS, Opaque, PageKind, Shape, contents};
use crate::hnsw::format::RawTid;
use crate::page::{Damage, PageView};
use crate::quantize::{Compact, CompactRef};
use bytemuck::{Pod, Zeroable};

/// Bytes before the arrays.
const HEAD: usize = 8;

/// Where a compact code is: 6 bytes. Slot 0xffff is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct VectorAddress {
    block_hi: u16,
    block_lo: u16,
    slot: u16,
}

impl Default for VectorAddress {
    fn default() -> Self {
        VectorAddress::NONE
    }
}

impl VectorAddress {
    /// No address.
    pub const NONE: VectorAddress = VectorAddress {
        block_hi: 0,
        block_lo: 0,
        slot: u16::MAX,
    };

    /// The address of a slot on a block.
    pub fn new(block: u32, slot: usize) -> VectorAddress {
        VectorAddress {
            block_hi: (block >> 16) as u16,
            block_lo: block as u16,
            slot: slot as u16,
        }
    }

    /// Block and slot, unless it is none.
    #[inline]
    pub fn place(self) -> Option<(u32, usize)> {
        let block = (self.block_hi as u32) << 16 | self.block_lo as u32;
        (self.slot != u16::MAX).then_some((block, self.slot as usize))
    }
}

/// Where everything on a vector page lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorLayout {
    dims: usize,
    capacity: usize,
}

impl VectorLayout {
    /// The layout of an index's vector pages.
    pub fn of(shape: &Shape) -> VectorLayout {
        let dims = shape.dims as usize;
        let most = (CONTENTS - HEAD) / (size_of::<RawTid>() + size_of::<Compact>() + dims);
        let layout = |capacity| VectorLayout { dims, capacity };
        let fits = |capacity: &usize| layout(*capacity).contents_len() <= CONTENTS;
        layout((0..=most).rev().find(fits).unwrap_or(0))
    }

    /// Slots on a page.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that a row takes of a page.
    pub fn slot_len(&self) -> usize {
        size_of::<RawTid>() + size_of::<Compact>() + self.code_len()
    }

    /// Bytes of a page's contents.
    pub fn contents_len(&self) -> usize {
        self.codes_at() + self.capacity * self.code_len()
    }

    fn factors_at(&self) -> usize {
        HEAD + (self.capacity * size_of::<RawTid>()).next_multiple_of(8)
    }

    fn codes_at(&self) -> usize {
        self.factors_at() + self.capacity * size_of::<Compact>()
    }

    fn code_len(&self) -> usize {
        self.dims.next_multiple_of(8)
    }

    fn tid(&self, slot: usize) -> std::ops::Range<usize> {
        let at = HEAD + slot * size_of::<RawTid>();
        at..at + size_of::<RawTid>()
    }

    fn factors(&self, slot: usize) -> std::ops::Range<usize> {
        let at = self.factors_at() + slot * size_of::<Compact>();
        at..at + size_of::<Compact>()
    }

    fn code(&self, slot: usize) -> std::ops::Range<usize> {
        let at = self.codes_at() + slot * self.code_len();
        at..at + self.dims
    }
}

/// A vector page for reading.
#[derive(Clone, Copy)]
pub struct VectorPage<'a> {
    bytes: &'a [u8],
    layout: VectorLayout,
}

impl<'a> VectorPage<'a> {
    /// Reads and checks a page.
    #[inline]
    pub fn of(page: PageView<'a>, layout: VectorLayout) -> Result<VectorPage<'a>, Damage> {
        Opaque::expect(page, PageKind::Vectors)?;
        Ok(VectorPage {
            bytes: contents(page, layout.contents_len())?,
            layout,
        })
    }

    /// The row in a slot and its compact code; `None` where the slot is free, or there is none.
    #[inline]
    pub fn get(&self, slot: usize) -> Option<(RawTid, CompactRef<'a>)> {
        if slot >= self.layout.capacity {
            return None;
        }
        let tid: RawTid = bytemuck::pod_read_unaligned(&self.bytes[self.layout.tid(slot)]);
        tid.id()?;
        let factors = bytemuck::pod_read_unaligned(&self.bytes[self.layout.factors(slot)]);
        let code = bytemuck::cast_slice(&self.bytes[self.layout.code(slot)]);
        Some((tid, CompactRef { factors, code }))
    }

    /// Whether all is zero where no code is.
    pub fn unused_is_zero(&self) -> bool {
        let layout = self.layout;
        let is_zero = |range: std::ops::Range<usize>| self.bytes[range].iter().all(|&b| b == 0);
        let tids_end = HEAD + layout.capacity * size_of::<RawTid>();
        is_zero(0..HEAD)
            && is_zero(tids_end..layout.factors_at())
            && (0..layout.capacity).all(|slot| {
                let code = layout.code(slot);
                let padding = code.end..code.start + layout.code_len();
                let is_free = self.get(slot).is_none();
                is_zero(padding)
                    && (!is_free
                        || (is_zero(layout.tid(slot))
                            && is_zero(layout.factors(slot))
                            && is_zero(code)))
            })
    }

    /// Slots that are free.
    pub fn free_slots(self) -> impl Iterator<Item = usize> {
        (0..self.layout.capacity).filter(move |&slot| self.get(slot).is_none())
    }
}

/// A vector page for writing.
pub struct VectorPageMut<'a> {
    bytes: &'a mut [u8],
    layout: VectorLayout,
}

impl<'a> VectorPageMut<'a> {
    /// The contents of a page that was checked, or of a new one: [`VectorLayout::contents_len`] bytes.
    pub fn new(bytes: &'a mut [u8], layout: VectorLayout) -> VectorPageMut<'a> {
        assert_eq!(bytes.len(), layout.contents_len());
        VectorPageMut { bytes, layout }
    }

    /// Writes a row's compact code into a slot.
    pub fn set(&mut self, slot: usize, tid: RawTid, compact: CompactRef<'_>) {
        assert!(slot < self.layout.capacity, "slot of a vector page");
        let layout = self.layout;
        self.bytes[layout.tid(slot)].copy_from_slice(bytemuck::bytes_of(&tid));
        self.bytes[layout.factors(slot)].copy_from_slice(bytemuck::bytes_of(&compact.factors));
        self.bytes[layout.code(slot)].copy_from_slice(bytemuck::cast_slice(compact.code));
    }

    /// Frees a slot, and erases its code.
    pub fn free(&mut self, slot: usize) {
        assert!(slot < self.layout.capacity, "slot of a vector page");
        for range in [
            self.layout.tid(slot),
            self.layout.factors(slot),
            self.layout.code(slot),
        ] {
            self.bytes[range].fill(0);
        }
    }
}
