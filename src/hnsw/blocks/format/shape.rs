//! What blocks of an index have room for, and where everything lies in them.

use crate::hnsw::format::{INLINE_TIDS, Layout, MAX_ITEM, Meta, NodeHeader, Opaque, RawTid, Shape};
use crate::page::Damage;
use crate::quantize::{Compact, PqShape, Quantizer};

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
pub(super) const CODE_AT: usize = size_of::<Compact>() + size_of::<u64>();
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
            keys => codes_end.next_multiple_of(8) + 8 * INLINE_TIDS * keys as usize,
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
pub(super) struct Parts {
    pub(super) adds_at: usize,
    pub(super) scales_at: usize,
    pub(super) codes_at: usize,
    pub(super) code_len: usize,
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

/// Where everything in a block lies: computed once for an index.
#[derive(Debug, Clone, Copy)]
pub struct BlockLayout {
    /// the shape it follows from
    pub shape: Shape,
    /// what is beside links
    pub block: BlockShape,
    pub(super) slots: usize,
    pub(super) links_at: usize,
    pub(super) beside_at: usize,
    pub(super) parts: Parts,
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

const _: () = {
    assert!(size_of::<Compact>() == 16);
    assert!(CODE_AT == 24);
};
