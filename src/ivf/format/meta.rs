//! The metapage: what an index is, and what its searches have to know.

use super::directory::EntryLayout;
use super::{CONTENTS, ListLayout, MAGIC, Opaque, PageKind, VERSION, VectorLayout, contents};
use crate::distance::{Element, Metric, Space};
use crate::page::{Damage, PageView};
use crate::quantize::{BadPq, PqShape, Quantizer};
use bytemuck::{Pod, Zeroable};

/// Columns that the server lets an index have (INDEX_MAX_KEYS).
const MOST_COLUMNS: usize = 32;
/// Most points of a calibration curve.
pub const MOST_CURVE_POINTS: usize = 16;

/// A measured point: which recall it takes which share of the lists to reach.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | share of the lists that are searched |
/// | 4 | 4 | recall |
#[derive(Debug, Clone, Copy, PartialEq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct CurvePoint {
    /// searched lists, as a share of all
    pub share: f32,
    /// share of the ten nearest that are in them
    pub recall: f32,
}

/// The access method that an index belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Method {
    /// `ivf`
    Ivf = 1,
    /// `ivfflat`: pgvector's options and settings
    Ivfflat = 2,
}

/// How the nearest rows by code are put into exact order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Rerank {
    /// by the values in the table
    Heap = 1,
    /// by compact codes in the index, then by the values of the table where these leave it open
    Index = 2,
    /// not at all
    None = 3,
}

/// How rows are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// numbers of a few bits for each dimension
    Grid(Quantizer),
    /// signs
    Binary,
    /// product quantization
    Pq {
        /// segments of a code
        segments: u16,
        /// bits of a segment, 4 or 8
        bits: u8,
    },
}

/// Number of [`Code::Binary`] on the metapage; others are a [`Quantizer`]'s.
const BINARY: u8 = 64;
/// Number of [`Code::Pq`].
const PQ: u8 = 65;

impl Code {
    /// Name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Code::Grid(quantizer) => quantizer.name(),
            Code::Binary => "binary",
            Code::Pq { .. } => "pq",
        }
    }

    /// Bytes of a code of `dims` dimensions. Refuses segments and bits that there are not.
    pub fn code_len(self, dims: usize) -> Result<usize, BadPq> {
        Ok(match self {
            Code::Grid(quantizer) => quantizer.code_len(dims),
            Code::Binary => Quantizer::Rabitq1.code_len(dims),
            Code::Pq { segments, bits } => {
                PqShape::new(dims, segments as usize, bits as usize)?.code_len()
            }
        })
    }

    fn number(self) -> u8 {
        match self {
            Code::Grid(quantizer) => quantizer as u8,
            Code::Binary => BINARY,
            Code::Pq { .. } => PQ,
        }
    }
}

/// What lists keep of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowForm {
    /// a code with its factors
    Codes(Code),
    /// the value in full; with its squared norm under cosine
    Values,
}

/// What the pages of an index look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// what is indexed
    pub space: Space,
    /// dimensions (bits for `bit`) of values
    pub dims: u32,
    /// what lists keep of a row
    pub form: RowForm,
    /// bytes of a row's code or value
    pub row_len: u32,
    /// how rows get into exact order
    pub rerank: Rerank,
    /// filter columns: those of the index after the first
    pub filters: u8,
}

impl Shape {
    /// Whether lists keep squared norms beside values.
    pub fn has_norms(&self) -> bool {
        self.form == RowForm::Values && self.space.metric == Metric::Cosine
    }

    /// Whether lists keep addresses of compact codes.
    pub fn has_addresses(&self) -> bool {
        self.rerank == Rerank::Index && self.form != RowForm::Values
    }

    /// Whether lists' centroids are bit strings, and not codes.
    pub fn has_bit_centroids(&self) -> bool {
        self.space.element == Element::Bit
    }

    /// Bytes of a list's centroid in the directory.
    pub fn centroid_len(&self) -> usize {
        match self.has_bit_centroids() {
            true => (self.dims as usize).div_ceil(8),
            false => self.dims as usize,
        }
    }

    /// Whether a row, a centroid and a compact code fit on their pages.
    pub fn fits(&self) -> bool {
        let dims = self.dims as usize;
        dims > 0
            && (self.filters as usize) < MOST_COLUMNS
            && dims <= 8 * CONTENTS
            && (self.row_len as usize) <= CONTENTS
            && ListLayout::of(self).capacity() > 0
            && EntryLayout::of(self).capacity() > 0
            && (!self.has_addresses() || VectorLayout::of(self).capacity() > 0)
    }
}

/// The metapage.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | magic, "VXI1" |
/// | 4 | 4 | version |
/// | 8 | 4 | space ([`Space::code`]) |
/// | 12 | 4 | dimensions |
/// | 16 | 1 | access method ([`Method`]) |
/// | 17 | 1 | quantizer ([`Quantizer`], 64 `binary`, 65 `pq`), 0 for values in full |
/// | 18 | 1 | [`Rerank`] |
/// | 19 | 1 | lists that a row is put into, 1 or 2 |
/// | 20 | 4 | bytes of a row's code or value |
/// | 24 | 8 | seed of the rotation; names the index among those of a server |
/// | 32 | 4 | reach: length that queries are scaled to under inner product |
/// | 36 | 4 | first page of the centroid, or 0 for zero |
/// | 40 | 4 | first page of the codebook, or 0 |
/// | 44 | 4 | bytes of the codebook |
/// | 48 | 4 | first page of the directory |
/// | 52 | 4 | lists |
/// | 56 | 4 | id that the next list gets |
/// | 60 | 4 | generation of the directory: raised with every change of its lists but their rows and last pages |
/// | 64 | 8 | rows, when last counted |
/// | 72 | 8 | rows when the curve was measured |
/// | 80 | 4 | lists when the curve was measured |
/// | 84 | 4 | points of the curve |
/// | 88 | 4 | `Vectors` page that had room last, or 0; a hint |
/// | 92 | 1 | 1 where the lists' number was given, and does not follow from the rows |
/// | 93 | 1 | `pq`: bits of a segment |
/// | 94 | 2 | `pq`: segments |
/// | 96 | 128 | the curve, [`CurvePoint`]s by rising share |
/// | 224 | 1 | filter columns |
/// | 225 | 7 | 0 |
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Meta {
    /// [`MAGIC`]
    pub magic: u32,
    /// [`VERSION`]
    pub version: u32,
    /// [`Space::code`]
    pub space: i32,
    /// dimensions, or bits
    pub dims: u32,
    /// a [`Method`]
    pub method: u8,
    /// a [`Quantizer`], or 0
    pub quantizer: u8,
    /// a [`Rerank`]
    pub rerank: u8,
    /// lists of a row
    pub copies: u8,
    /// bytes of a row's code or value
    pub row_len: u32,
    /// of the rotation
    pub seed: u64,
    /// see [`crate::quantize::Codec`]
    pub reach: f32,
    /// first page of the centroid
    pub centroid: u32,
    /// first page of the codebook
    pub codebook: u32,
    /// bytes of the codebook
    pub codebook_len: u32,
    /// first page of the directory
    pub directory: u32,
    /// lists
    pub lists: u32,
    /// the next [`ListId`]
    pub next_list: u32,
    /// of the directory
    pub generation: u32,
    /// rows, when last counted
    pub rows: u64,
    /// rows when the curve was measured
    pub calibrated_rows: u64,
    /// lists when the curve was measured
    pub calibrated_lists: u32,
    /// points of the curve
    pub curve_points: u32,
    /// a `Vectors` page with room
    pub vector_page: u32,
    /// 1 where `lists` was given
    pub lists_are_given: u8,
    /// `pq`: bits of a segment
    pub pq_bits: u8,
    /// `pq`: segments
    pub pq_segments: u16,
    /// the curve
    pub curve: [CurvePoint; MOST_CURVE_POINTS],
    /// filter columns
    pub filters: u8,
    /// zero
    pub reserved: [u8; 7],
}

const _: () = assert!(size_of::<Meta>() == 232);

impl Meta {
    /// The metapage of an empty index of a shape.
    pub fn new(method: Method, shape: &Shape) -> Meta {
        Meta {
            magic: MAGIC,
            version: VERSION as u32,
            space: shape.space.code(),
            dims: shape.dims,
            method: method as u8,
            quantizer: match shape.form {
                RowForm::Codes(code) => code.number(),
                RowForm::Values => 0,
            },
            pq_bits: match shape.form {
                RowForm::Codes(Code::Pq { bits, .. }) => bits,
                _ => 0,
            },
            pq_segments: match shape.form {
                RowForm::Codes(Code::Pq { segments, .. }) => segments,
                _ => 0,
            },
            rerank: shape.rerank as u8,
            copies: 1,
            row_len: shape.row_len,
            filters: shape.filters,
            reach: 1.0,
            next_list: 1,
            ..Meta::zeroed()
        }
    }

    /// Reads and checks a metapage.
    pub fn of(page: PageView<'_>) -> Result<&Meta, Damage> {
        Opaque::expect(page, PageKind::Meta)?;
        let meta: &Meta = bytemuck::from_bytes(contents(page, size_of::<Meta>())?);
        if meta.magic != MAGIC || meta.version != VERSION as u32 {
            return Err(Damage("not a metapage of this version"));
        }
        if !matches!(meta.copies, 1 | 2) {
            return Err(Damage("lists of a row out of range on the metapage"));
        }
        if meta.curve_points as usize > MOST_CURVE_POINTS
            || meta
                .curve()
                .iter()
                .any(|p| !p.share.is_finite() || !p.recall.is_finite())
        {
            return Err(Damage("calibration out of range on the metapage"));
        }
        if !(meta.reach.is_finite() && meta.reach > 0.0) {
            return Err(Damage("reach out of range on the metapage"));
        }
        meta.method()?;
        meta.shape()?;
        Ok(meta)
    }

    /// The access method.
    pub fn method(&self) -> Result<Method, Damage> {
        match self.method {
            1 => Ok(Method::Ivf),
            2 => Ok(Method::Ivfflat),
            _ => Err(Damage("unknown access method on the metapage")),
        }
    }

    /// What the index's pages look like.
    pub fn shape(&self) -> Result<Shape, Damage> {
        let space = Space::from_code(self.space).ok_or(Damage("unknown space on the metapage"))?;
        let form = match self.quantizer {
            0 => RowForm::Values,
            BINARY => RowForm::Codes(Code::Binary),
            PQ => RowForm::Codes(Code::Pq {
                segments: self.pq_segments,
                bits: self.pq_bits,
            }),
            code => RowForm::Codes(Code::Grid(
                Quantizer::grid_from_code(code)
                    .ok_or(Damage("unknown quantizer on the metapage"))?,
            )),
        };
        let row_len = match form {
            RowForm::Codes(code) => code.code_len(self.dims as usize).ok(),
            RowForm::Values => space.element.payload_len(self.dims),
        };
        if row_len != Some(self.row_len as usize) {
            return Err(Damage("rows of another length on the metapage"));
        }
        let rerank = match self.rerank {
            1 => Rerank::Heap,
            2 => Rerank::Index,
            3 => Rerank::None,
            _ => return Err(Damage("unknown rerank on the metapage")),
        };
        let shape = Shape {
            space,
            dims: self.dims,
            form,
            row_len: self.row_len,
            rerank,
            filters: self.filters,
        };
        match shape.fits() {
            true => Ok(shape),
            false => Err(Damage("dimensions out of range on the metapage")),
        }
    }

    /// The calibration curve; empty where nothing was measured.
    pub fn curve(&self) -> &[CurvePoint] {
        &self.curve[..(self.curve_points as usize).min(MOST_CURVE_POINTS)]
    }
}
