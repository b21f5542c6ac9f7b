//! An open index of blocks: its layout and its codec.

use super::codebook;
use crate::am::damaged::raise_damaged;
use crate::am::hnsw::storage::{Hnsw, META_BLOCK};
use crate::distance::{Element, Value};
use crate::hnsw::blocks::format::{Block, BlockLayout, CENTROID_FLOATS, EntryLayout};
use crate::hnsw::blocks::map::MapLayout;
use crate::hnsw::format::{Meta, NodeId, Opaque, PageKind};
use crate::page::{Damage, PageView};
use crate::pg::buffer::{Access, Exclusive, Shared};
use crate::pg::change::{Change, Logging};
use crate::quantize::Codec;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::rc::Rc;

/// Codecs that a backend keeps at hand.
const MOST_CODECS: usize = 8;

type Key = (u64, u32);

thread_local! {
    /// by the seed of the rotation, which no two indexes share, and reach
    static CODECS: RefCell<Vec<(Key, Rc<Codec>)>> = const { RefCell::new(Vec::new()) };
}

/// An open index of blocks.
pub struct Blocks {
    /// the index
    pub hnsw: Hnsw,
    /// where everything in a block lies
    pub layout: BlockLayout,
    /// where everything on a page of the entry table lies
    pub entries: EntryLayout,
    /// where everything on a page of the code map lies, where there is one
    pub map: Option<MapLayout>,
    /// makes codes and compares them
    pub codec: Rc<Codec>,
    /// the codec's, as the metapage had it
    reach: f32,
}

impl Blocks {
    /// Opens an index of blocks; `None` for one of the plain layout.
    pub fn open(hnsw: Hnsw, meta: &Meta) -> Option<Blocks> {
        let layout = BlockLayout::of(hnsw.shape)?;
        let wanted = (meta.seed, meta.reach.to_bits());
        let known = CODECS.with_borrow(|codecs| {
            let found = codecs.iter().find(|(key, codec)| {
                *key == wanted
                    && codec.dims() == meta.dims as usize
                    && codec.metric() == hnsw.column.space.metric
            });
            found.map(|(_, codec)| codec.clone())
        });
        let codec = known.unwrap_or_else(|| {
            let centroid = read_centroid(&hnsw, meta);
            let codec = Codec::new(
                hnsw.column.space.metric,
                meta.dims as usize,
                meta.seed,
                &centroid,
                meta.reach,
            );
            let codec = Rc::new(match layout.block.pq() {
                Some(pq) => codec.with_codebook(codebook::read(&hnsw, meta, pq)),
                None => codec,
            });
            CODECS.with_borrow_mut(|codecs| {
                if codecs.len() == MOST_CODECS {
                    codecs.remove(0);
                }
                codecs.push((wanted, codec.clone()));
            });
            codec
        });
        Some(Blocks {
            hnsw,
            layout,
            entries: EntryLayout::of(meta.dims),
            map: super::map::layout(&hnsw, meta),
            codec,
            reach: meta.reach,
        })
    }

    /// The index opened anew, where inserts have raised its reach since.
    pub fn of_reach(&self, meta: &Meta) -> Option<Blocks> {
        match self.reach.to_bits() == meta.reach.to_bits() {
            true => None,
            false => Blocks::open(self.hnsw, meta),
        }
    }

    /// The block at an address of a page; `None` where there is none any more.
    #[inline]
    pub fn block_on<'a>(&'a self, page: PageView<'a>, id: NodeId) -> Option<Block<'a>> {
        self.hnsw.check(id.block, || {
            let (kind, _) = Opaque::of(page)?;
            if kind != PageKind::Nodes {
                // freed, and perhaps taken for something else
                return match kind {
                    PageKind::Meta | PageKind::Centroid | PageKind::Codebook => {
                        Err(Damage("link to a page that never holds nodes"))
                    }
                    _ => Ok(None),
                };
            }
            match page.item(id.offset)? {
                Some(item) => Block::of(item, &self.layout).map(Some),
                None => Ok(None),
            }
        })
    }

    /// Runs `f` on a block, unless it is gone; the page stays locked for reading meanwhile.
    pub fn with_block<R>(
        &self,
        id: NodeId,
        access: Access,
        f: impl FnOnce(Block<'_>) -> R,
    ) -> Option<R> {
        let page = Shared::read(self.hnsw.index, id.block, access);
        self.block_on(page.page(), id).map(f)
    }
}

/// The elements of an indexed value as floats.
pub fn floats_of(element: Element, value: &Value, floats: &mut Vec<f32>) {
    floats.clear();
    element.widen_into(value.payload(), floats);
}

/// Hash of an indexed value. Values that are equal bit by bit, and only they, are one node.
pub fn hash_of(value: &Value) -> u64 {
    use std::hash::Hasher;
    let mut hasher = rustc_hash::FxHasher::default();
    for word in value.words() {
        // FxHasher is linear; so that near values do not cancel out, each word is spread first, by
        // steps that can be undone
        let spread = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hasher.write_u64(spread ^ (spread >> 32));
    }
    let mixed = hasher.finish().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

/// Reads the centroid from its pages; empty where it is zero.
fn read_centroid(hnsw: &Hnsw, meta: &Meta) -> Vec<f32> {
    let mut centroid = Vec::new();
    let mut block = meta.centroid;
    while block != 0 {
        let page = Shared::read(hnsw.index, block, Access::Random);
        let next = hnsw.check(block, || {
            let (kind, opaque) = Opaque::of(page.page())?;
            let left = meta.dims as usize - centroid.len();
            if kind != PageKind::Centroid || left == 0 {
                return Err(Damage("not the centroid"));
            }
            let bytes = page
                .page()
                .contents()?
                .get(..4 * left.min(CENTROID_FLOATS))
                .ok_or(Damage("centroid too short"))?;
            centroid.extend_from_slice(bytemuck::cast_slice::<u8, f32>(bytes));
            Ok(opaque.next)
        });
        block = next;
    }
    let is_whole = centroid.is_empty() || centroid.len() == meta.dims as usize;
    if !is_whole || centroid.iter().any(|x| !x.is_finite()) {
        raise_damaged(
            hnsw.index,
            META_BLOCK,
            Damage("the centroid is not what it must be"),
        );
    }
    centroid
}

/// Writes the centroid of an index being built to new pages; returns the first.
pub fn write_centroid(hnsw: &Hnsw, fork: pg_sys::ForkNumber::Type, centroid: &[f32]) -> u32 {
    let bytes = bytemuck::cast_slice(centroid);
    write_chain(hnsw, fork, PageKind::Centroid, bytes)
}

/// Writes bytes to a chain of new pages, unlogged; returns the first.
pub fn write_chain(
    hnsw: &Hnsw,
    fork: pg_sys::ForkNumber::Type,
    kind: PageKind,
    bytes: &[u8],
) -> u32 {
    let first = hnsw.index.blocks_in(fork);
    let mut rest = bytes.chunks(4 * CENTROID_FLOATS).peekable();
    while let Some(piece) = rest.next() {
        let mut page = Exclusive::extend(hnsw.index, fork);
        let mut opaque = Opaque::new(kind, 0);
        if rest.peek().is_some() {
            opaque.next = page.block() + 1;
        }
        let mut change = Change::begin(hnsw.index, Logging::AtEndOfBuild);
        let mut target = change.new_page(&mut page, &opaque);
        target
            .contents_bytes_mut(piece.len())
            .copy_from_slice(piece);
        change.commit();
    }
    first
}
