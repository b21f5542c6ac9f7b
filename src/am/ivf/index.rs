//! An open index of lists: what its metapage says once and for all, and its codec.

use super::options::Declared;
use crate::am::column::Column;
use crate::am::damaged::{self, raise_damaged};
use crate::am::version::OtherVersion;
use crate::distance::Metric;
use crate::ivf::format::{
    self, CENTROID_FLOATS, CONTENTS, Code as RowCode, EntryLayout, ListLayout, Meta, Opaque,
    PageKind, RowForm, Shape, VectorLayout,
};
use crate::page::{Damage, PageView};
use crate::pg::buffer::{Access, Exclusive, Shared};
use crate::pg::change::{Change, Logging};
use crate::pg::relation::Index;
use crate::quantize::{Codebook, Codec, Coding, PqShape};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::rc::Rc;

/// Block of the metapage.
pub const META_BLOCK: u32 = 0;
/// Codecs that a backend keeps at hand.
const MOST_CODECS: usize = 8;

thread_local! {
    /// by the seed of the rotation, which no two indexes share
    static CODECS: RefCell<Vec<(u64, Rc<Codec>)>> = const { RefCell::new(Vec::new()) };
}

/// Raises what `read` finds wrong with a block.
#[inline]
pub fn check<T>(index: Index, block: u32, read: impl FnOnce() -> Result<T, Damage>) -> T {
    read().unwrap_or_else(|damage| raise_damaged(index, block, damage))
}

/// The metapage as it is now.
pub fn read_meta(index: Index) -> Meta {
    damaged::read_meta(index, META_BLOCK, Meta::of, other_version)
}

/// The format's version, where it is not the one read here.
pub fn other_version(metapage: PageView<'_>) -> Option<OtherVersion> {
    OtherVersion::of(metapage, format::MAGIC, format::VERSION)
}

/// Changes the metapage.
pub fn change_meta(index: Index, logging: Logging, change: impl FnOnce(&mut Meta)) {
    let mut page = Exclusive::lock(index, META_BLOCK, Access::Random);
    check(index, META_BLOCK, || Meta::of(page.page()).map(drop));
    let mut log = Change::begin(index, logging);
    change(log.page(&mut page).contents_mut::<Meta>());
    log.commit();
}

/// The number of an index's file, and the index's seed.
pub type Contents = (pg_sys::Oid, u64);

/// An open index of lists.
#[derive(Clone)]
pub struct Ivf {
    /// the relation
    pub index: Index,
    /// what it indexes
    pub column: Column,
    /// what its pages look like
    pub shape: Shape,
    /// where everything on a list page lies
    pub lists: ListLayout,
    /// where everything on a directory page lies
    pub entries: EntryLayout,
    /// where everything on a vector page lies
    pub vectors: VectorLayout,
    /// places lists in space, and makes codes; `None` for bit strings, whose centroids are such, too
    pub codec: Option<Rc<Codec>>,
    /// how rows are coded; `None` where lists keep values
    pub coding: Option<Rc<Coding>>,
    /// names the index among those of a server
    pub seed: u64,
}

impl Ivf {
    /// Opens an index. Raises XX002 where the metapage is not one of ours or of another operator class.
    pub fn open(index: Index) -> (Ivf, Meta) {
        let meta = read_meta(index);
        let shape = check(index, META_BLOCK, || meta.shape());
        check(index, META_BLOCK, || {
            Column::built(index, shape.space.code(), shape.dims).map(drop)
        });
        if shape.filters as usize + 1 != index.columns() {
            raise_damaged(
                index,
                META_BLOCK,
                Damage("the metapage has keys of other columns"),
            );
        }
        (Ivf::of_meta(index, shape, &meta), meta)
    }

    /// An index whose metapage was read.
    pub fn of_meta(index: Index, shape: Shape, meta: &Meta) -> Ivf {
        Ivf {
            index,
            column: Column {
                space: shape.space,
                dims: shape.dims,
            },
            shape,
            lists: ListLayout::of(&shape),
            entries: EntryLayout::of(&shape),
            vectors: VectorLayout::of(&shape),
            codec: (!shape.has_bit_centroids()).then(|| codec_of(index, &shape, meta)),
            coding: coding_of(index, &shape, meta),
            seed: meta.seed,
        }
    }

    /// Where centroids are to have length one, what has to be added to a row for its length to mean something: see
    /// [`Training::sphere`](crate::cluster::Training::sphere).
    pub fn sphere(&self) -> Option<&[f32]> {
        let codec = self.codec.as_ref()?;
        (codec.metric() == Metric::Cosine).then(|| codec.rotated_centroid())
    }

    /// Raises what `read` finds wrong with a block.
    #[inline]
    pub fn check<T>(&self, block: u32, read: impl FnOnce() -> Result<T, Damage>) -> T {
        check(self.index, block, read)
    }

    /// The codec of an index of values that are not bit strings.
    #[inline]
    pub fn codec(&self) -> &Rc<Codec> {
        self.codec
            .as_ref()
            .expect("only indexes of bit strings have no codec")
    }

    /// The number of lists that the user asked for.
    pub fn given_lists(&self, meta: &Meta) -> Option<usize> {
        let method = self.check(META_BLOCK, || meta.method());
        Declared::of(self.index, method).lists
    }

    /// Whether rows may be in two lists each.
    pub fn may_have_pairs(&self, meta: &Meta) -> bool {
        let method = self.check(META_BLOCK, || meta.method());
        !self.keeps_values() && Declared::of(self.index, method).copies != Some(1)
    }

    /// How rows of an index that keeps codes are coded.
    #[inline]
    pub fn coding(&self) -> &Rc<Coding> {
        self.coding
            .as_ref()
            .expect("an index of codes has learnt what it needs to make them")
    }

    /// Names what is in the index's file, for what a backend keeps of it. The seed alone does not: ALTER INDEX
    /// SET TABLESPACE copies the file, both go on from there, and which of them remains is decided when the
    /// transaction ends.
    pub fn contents(&self) -> Contents {
        (self.index.file_number(), self.seed)
    }

    /// Whether lists keep values in full.
    pub fn keeps_values(&self) -> bool {
        self.shape.form == RowForm::Values
    }
}

/// The metric by which lists are placed: L1 has no codes, and lists that are near by L2 hold what is
/// near by L1.
fn metric_of_lists(metric: Metric) -> Metric {
    match metric {
        Metric::InnerProduct | Metric::Cosine => metric,
        _ => Metric::L2,
    }
}

fn codec_of(index: Index, shape: &Shape, meta: &Meta) -> Rc<Codec> {
    let metric = metric_of_lists(shape.space.metric);
    let known = CODECS.with_borrow(|codecs| {
        let found = codecs.iter().find(|(seed, codec)| {
            *seed == meta.seed && codec.dims() == meta.dims as usize && codec.metric() == metric
        });
        found.map(|(_, codec)| codec.clone())
    });
    known.unwrap_or_else(|| {
        let centroid = read_centroid(index, meta);
        let dims = meta.dims as usize;
        let codec = Rc::new(Codec::new(metric, dims, meta.seed, &centroid, meta.reach));
        CODECS.with_borrow_mut(|codecs| {
            if codecs.len() == MOST_CODECS {
                codecs.remove(0);
            }
            codecs.push((meta.seed, codec.clone()));
        });
        codec
    })
}

/// How rows of an index are coded; `None` for values, and for product quantization before it has learnt.
fn coding_of(index: Index, shape: &Shape, meta: &Meta) -> Option<Rc<Coding>> {
    thread_local! {
        /// codebooks, by the seed of their index
        static KEPT: RefCell<Vec<(u64, Rc<Coding>)>> = const { RefCell::new(Vec::new()) };
    }
    let RowForm::Codes(code) = shape.form else {
        return None;
    };
    let (segments, bits) = match code {
        RowCode::Grid(quantizer) => return Some(Rc::new(Coding::Grid(quantizer))),
        RowCode::Binary => return Some(Rc::new(Coding::Binary)),
        RowCode::Pq { .. } if meta.codebook == 0 => return None,
        RowCode::Pq { segments, bits } => (segments as usize, bits as usize),
    };
    let known = KEPT.with_borrow(|kept| {
        let found = kept.iter().find(|(seed, _)| *seed == meta.seed);
        found.map(|(_, coding)| coding.clone())
    });
    Some(known.unwrap_or_else(|| {
        let bytes = read_codebook(index, meta);
        let coding = check(index, META_BLOCK, || {
            let shape = PqShape::new(shape.dims as usize, segments, bits)
                .map_err(|_| Damage("no such product quantizer"))?;
            let book = Codebook::from_bytes(shape, &bytes);
            book.map_err(|_| Damage("the codebook is not what it must be"))
                .map(Coding::Pq)
        });
        let coding = Rc::new(coding);
        KEPT.with_borrow_mut(|kept| {
            if kept.len() == MOST_CODECS {
                kept.remove(0);
            }
            kept.push((meta.seed, coding.clone()));
        });
        coding
    }))
}

fn read_codebook(index: Index, meta: &Meta) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut block = meta.codebook;
    while block != 0 {
        let page = Shared::read(index, block, Access::Random);
        block = check(index, block, || {
            let opaque = Opaque::expect(page.page(), PageKind::Codebook)?;
            let piece = page.page().contents()?;
            if piece.is_empty() || bytes.len() + piece.len() > meta.codebook_len as usize {
                return Err(Damage("codebook of another length"));
            }
            bytes.extend_from_slice(piece);
            Ok(opaque.next)
        });
    }
    bytes
}

/// Writes the codebook of an index being built to new pages; returns the first.
pub fn write_codebook(index: Index, bytes: &[u8]) -> u32 {
    let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
    write_chain(index, fork, PageKind::Codebook, bytes, CONTENTS)
}

/// The elements of an indexed value that is no bit string, as floats.
pub fn floats_of(column: Column, payload: &[u8], floats: &mut Vec<f32>) {
    floats.clear();
    column.space.element.widen_into(payload, floats);
}

/// Reads the centroid from its pages; empty where it is zero.
fn read_centroid(index: Index, meta: &Meta) -> Vec<f32> {
    let mut centroid: Vec<f32> = Vec::new();
    let mut block = meta.centroid;
    while block != 0 {
        let page = Shared::read(index, block, Access::Random);
        block = check(index, block, || {
            let opaque = Opaque::expect(page.page(), PageKind::Centroid)?;
            let left = meta.dims as usize - centroid.len();
            let bytes = page.page().contents()?;
            let piece = bytes.get(..4 * left.min(CENTROID_FLOATS));
            match piece {
                Some(piece @ [_, ..]) => centroid.extend_from_slice(bytemuck::cast_slice(piece)),
                _ => return Err(Damage("centroid of other dimensions")),
            }
            Ok(opaque.next)
        });
    }
    let is_whole = centroid.is_empty() || centroid.len() == meta.dims as usize;
    if !is_whole || centroid.iter().any(|x| !x.is_finite()) {
        raise_damaged(
            index,
            META_BLOCK,
            Damage("the centroid is not what it must be"),
        );
    }
    centroid
}

/// Writes the centroid of an index being built to new pages; returns the first.
pub fn write_centroid(index: Index, fork: pg_sys::ForkNumber::Type, centroid: &[f32]) -> u32 {
    let bytes = bytemuck::cast_slice(centroid);
    write_chain(index, fork, PageKind::Centroid, bytes, 4 * CENTROID_FLOATS)
}

/// Writes bytes to a chain of new pages, unlogged; returns the first.
fn write_chain(
    index: Index,
    fork: pg_sys::ForkNumber::Type,
    kind: PageKind,
    bytes: &[u8],
    on_page: usize,
) -> u32 {
    let first = index.blocks_in(fork);
    let mut rest = bytes.chunks(on_page).peekable();
    while let Some(piece) = rest.next() {
        let mut page = Exclusive::extend(index, fork);
        let mut opaque = Opaque::new(kind);
        if rest.peek().is_some() {
            opaque.next = page.block() + 1;
        }
        let mut change = Change::begin(index, Logging::AtEndOfBuild);
        change
            .new_page(&mut page, &opaque)
            .contents_bytes_mut(piece.len())
            .copy_from_slice(piece);
        change.commit();
    }
    first
}
