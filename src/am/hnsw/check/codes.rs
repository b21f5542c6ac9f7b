//! Values as the index keeps them: compact codes of as many nodes as memory takes, to compare with
//! what links keep of them; and what an indexed value must look like.

use super::{Check, Item, node_on};
use crate::am::check::claims;
use crate::am::column::Column;
use crate::am::hnsw::blocks::index::{floats_of, hash_of};
use crate::check::Findings;
use crate::distance::Metric;
use crate::hnsw::blocks::format::{
    Block, BlockLayout, CENTROID_FLOATS, Span, compact_of, encode_value,
};
use crate::hnsw::check::Expected;
use crate::hnsw::format::{Meta, NodeId, Opaque, PageKind};
use crate::pg::attempt::PageCopy;
use crate::pg::buffer::Access;
use crate::pg::relation::Index;
use crate::quantize::{Codebook, Codec, CompactRef, Factors, PqShape};
use pgrx::pg_sys::Datum;

/// What is compared: values of nodes with values of rows, codes beside links with codes of nodes.
pub struct Codes {
    column: Column,
    /// `None` in the plain layout
    pub codec: Option<(Codec, BlockLayout)>,
    /// number of the first node whose value is at hand
    first: usize,
    /// values, one after the other; zeros where a line pointer has no node
    values: Vec<u8>,
    /// what links keep of each
    kept: Vec<u8>,
    floats: Vec<f32>,
    scratch: Vec<f32>,
}

/// The centroid or the codebook is not what it must be, and was told.
pub struct NoCodec;

impl Codes {
    /// Reads the centroid, and the codebook where there is one.
    pub fn new(
        index: Index,
        access: Access,
        meta: &Meta,
        column: Column,
        expected: &Expected,
        found: &mut Findings<'_>,
    ) -> Result<Self, NoCodec> {
        let codec = match expected.block_layout() {
            None => None,
            Some(layout) => {
                let metric = column.space.metric;
                if !matches!(metric, Metric::L2 | Metric::InnerProduct | Metric::Cosine) {
                    found.error(0, None, "blocks under a metric that has no codes");
                    return Err(NoCodec);
                }
                let centroid = centroid(index, access, meta).map_err(|(block, message)| {
                    found.error(block, None, message);
                    NoCodec
                })?;
                let dims = meta.dims as usize;
                let mut codec = Codec::new(metric, dims, meta.seed, &centroid, meta.reach);
                if let Some(pq) = layout.block.pq() {
                    let bytes = codebook(index, access, meta, pq).map_err(|(block, message)| {
                        found.error(block, None, message);
                        NoCodec
                    })?;
                    let Ok(book) = Codebook::from_bytes(pq, &bytes) else {
                        found.error(meta.codebook, None, "the codebook is none");
                        return Err(NoCodec);
                    };
                    codec = codec.with_codebook(book);
                }
                Some((codec, *layout))
            }
        };
        Ok(Codes {
            column,
            codec,
            first: 0,
            values: Vec::new(),
            kept: Vec::new(),
            floats: Vec::new(),
            scratch: Vec::new(),
        })
    }

    /// Gives its memory back.
    pub fn forget(&mut self) {
        self.values = Vec::new();
        self.kept = Vec::new();
    }

    /// Whether a link keeps what the node it leads to says, as far as its value is at hand.
    pub fn agrees(&self, block: &Block<'_>, slot: usize, number: usize) -> bool {
        let Some((codec, layout)) = &self.codec else {
            return true;
        };
        let (value_len, code_len) = (layout.block.value_len(), layout.block.code_len());
        let Some(at) = number.checked_sub(self.first) else {
            return true;
        };
        let Some(value) = self.values.get(at * value_len..(at + 1) * value_len) else {
            return true;
        };
        if !self.span_is_right(codec, block, slot, compact_of(value)) {
            return false;
        }
        let kept_len = size_of::<Factors>() + code_len;
        layout.block.quantizer.is_none() || {
            let kept = block.kept(slot);
            let expected = &self.kept[at * kept_len..][..kept_len];
            expected[..4] == kept.factors.add.to_ne_bytes()
                && expected[4..8] == kept.factors.scale.to_ne_bytes()
                && expected[8..] == *kept.code
        }
    }

    fn span_is_right(
        &self,
        codec: &Codec,
        block: &Block<'_>,
        slot: usize,
        other: CompactRef<'_>,
    ) -> bool {
        let distance = codec.distance(block.compact(), other);
        let kept = block.spans()[slot].with_verdict(false);
        let expected = Span::new(distance, false);
        // under inner product lengths count from the reach, which inserts raise
        let may_be_shorter = codec.metric() == Metric::InnerProduct;
        kept == expected || (may_be_shorter && kept.distance() <= expected.distance())
    }

    /// What is wrong with a link to a node of that value, if anything.
    pub fn judge(&self, block: &Block<'_>, slot: usize, value: &[u8]) -> Option<&'static str> {
        let (codec, layout) = self.codec.as_ref()?;
        let compact = compact_of(value);
        if !self.span_is_right(codec, block, slot, compact) {
            return Some("has a length that is not the distance of its ends");
        }
        let quantizer = layout.block.quantizer?;
        let mut code = vec![0; layout.block.code_len()];
        let dims = layout.block.code_dims as usize;
        let factors = codec.quantize(compact, quantizer, dims, &mut code);
        let kept = block.kept(slot);
        let same = kept.factors.add.to_bits() == factors.add.to_bits()
            && kept.factors.scale.to_bits() == factors.scale.to_bits()
            && kept.code == code;
        (!same).then_some("keeps another code than its neighbour's")
    }

    /// What stands for a row's value; `None` where it is not indexed.
    pub fn fingerprint_of(&mut self, value: Datum) -> Option<u64> {
        // SAFETY: the server computed it as the index's first column.
        let value = unsafe { self.column.value(value) };
        if !self.column.is_indexable(&value) {
            return None;
        }
        let Some((codec, _)) = &self.codec else {
            return Some(claims::fingerprint(value.payload()));
        };
        floats_of(self.column.space.element, &value, &mut self.floats);
        let mut code = vec![0i8; self.floats.len()];
        let factors = codec.encode(&self.floats, &mut self.scratch, &mut code);
        let compact = CompactRef {
            factors,
            code: &code,
        };
        Some(claims::fingerprint(&encode_value(compact, hash_of(&value))))
    }
}

impl Check {
    /// Takes the values of nodes from a block on to hand, as many as memory has room for. The first
    /// block that it has not; all at once where there is nothing to compare.
    pub fn load_codes(&mut self, from: u32) -> u32 {
        let Some((codec, layout)) = self.codes.codec.take() else {
            return self.blocks;
        };
        let (value_len, code_len) = (layout.block.value_len(), layout.block.code_len());
        let kept_len = size_of::<Factors>() + code_len;
        self.codes.values.clear();
        self.codes.kept.clear();
        self.codes.first = (0..from).map(|block| self.directory.count(block)).sum();
        let mut code = vec![0; code_len];
        let mut block = from;
        while block < self.blocks {
            pgrx::check_for_interrupts!();
            let count = self.directory.count(block);
            let memory = self.codes.values.len() + self.codes.kept.len();
            if memory > 0 && memory + count * (value_len + kept_len) > super::memory() {
                break;
            }
            let readable = count > 0 && self.page.read(self.index, block, self.access).is_ok();
            for offset in 1..=count as u16 {
                let id = NodeId { block, offset };
                let at = self.codes.values.len();
                self.codes.values.resize(at + value_len, 0);
                let kept_at = self.codes.kept.len();
                self.codes.kept.resize(kept_at + kept_len, 0);
                let node = readable
                    .then(|| node_on(self.page.page(), id, self.shape))
                    .flatten();
                let Some(found) = node.and_then(|node| Block::of_node(&node, &layout).ok()) else {
                    continue;
                };
                self.codes.values[at..].copy_from_slice(found.value());
                if let Some(quantizer) = layout.block.quantizer {
                    let dims = layout.block.code_dims as usize;
                    let factors = codec.quantize(found.compact(), quantizer, dims, &mut code);
                    let kept = &mut self.codes.kept[kept_at..];
                    kept[..4].copy_from_slice(&factors.add.to_ne_bytes());
                    kept[4..8].copy_from_slice(&factors.scale.to_ne_bytes());
                    kept[8..].copy_from_slice(&code);
                }
            }
            block += 1;
        }
        self.codes.codec = Some((codec, layout));
        block
    }

    /// A node's item as a block; `None` in the plain layout.
    pub fn as_block<'i>(&'i self, item: &'i Item) -> Option<Block<'i>> {
        let (_, layout) = self.codes.codec.as_ref()?;
        Block::of(item.bytes(), layout).ok()
    }
}

/// Reads the bytes of the codebook.
fn codebook(
    index: Index,
    access: Access,
    meta: &Meta,
    pq: PqShape,
) -> Result<Vec<u8>, (u32, String)> {
    let mut page = PageCopy::new();
    let mut bytes: Vec<u8> = Vec::new();
    let mut block = meta.codebook;
    while block != 0 {
        let wrong = |message: &str| (block, message.to_owned());
        if block >= index.blocks() {
            return Err(wrong("the codebook goes on past the end of the index"));
        }
        page.read(index, block, access)
            .map_err(|message| (block, message))?;
        let Ok((PageKind::Codebook, opaque)) = Opaque::of(page.page()) else {
            return Err(wrong("not a part of the codebook"));
        };
        let piece = page.page().contents().unwrap_or_default();
        if piece.is_empty() || bytes.len() + piece.len() > pq.codebook_len() {
            return Err(wrong("part of the codebook of another length"));
        }
        bytes.extend_from_slice(piece);
        block = opaque.next;
    }
    match bytes.len() == pq.codebook_len() {
        true => Ok(bytes),
        false => Err((meta.codebook, "the codebook ends too early".into())),
    }
}

/// Reads the centroid; empty where it is zero.
fn centroid(index: Index, access: Access, meta: &Meta) -> Result<Vec<f32>, (u32, String)> {
    let mut page = PageCopy::new();
    let mut centroid: Vec<f32> = Vec::new();
    let dims = meta.dims as usize;
    let mut block = meta.centroid;
    while block != 0 {
        let wrong = |message: &str| (block, message.to_owned());
        if block >= index.blocks() {
            return Err(wrong("the centroid goes on past the end of the index"));
        }
        page.read(index, block, access)
            .map_err(|message| (block, message))?;
        let kind = Opaque::of(page.page());
        let Ok((PageKind::Centroid, opaque)) = kind else {
            return Err(wrong("not a part of the centroid"));
        };
        let count = (dims - centroid.len()).min(CENTROID_FLOATS);
        let bytes = page.page().contents().ok();
        let floats = bytes.filter(|bytes| bytes.len() == 4 * count && count > 0);
        match floats {
            Some(bytes) => centroid.extend_from_slice(bytemuck::cast_slice(bytes)),
            None => return Err(wrong("part of the centroid of another length")),
        }
        block = opaque.next;
    }
    if !centroid.is_empty() && centroid.len() != dims {
        return Err((meta.centroid, "the centroid ends too early".into()));
    }
    if !centroid.iter().all(|x| x.is_finite()) {
        return Err((meta.centroid, "the centroid is no vector".into()));
    }
    Ok(centroid)
}
