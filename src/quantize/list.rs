//! Codes relative to the centroid of a list, for an index of lists. The module's documentation has the
//! formulas.

use super::codec::{length_to, norm};
use super::compact::{self, CompactRef};
use super::kernels::{self, Batch, Line};
use super::pq::Codebook;
use super::{Codec, Compact, Quantizer, Query, finite, grid, inline, narrow, sums};
use crate::distance::Metric;
use crate::distance::lanes::{Isa, for_every_isa};
use bytemuck::{Pod, Zeroable};

/// What stands beside the bytes of a list's centroid, 16 bytes. The centroid *is* what scale and bytes
/// give, C = `scale` i in the rotated space, so there is no error to keep.
///
/// | offset | field |
/// |---|---|
/// | 0 | `add` |
/// | 4 | `scale` |
/// | 8 | `norm` |
/// | 12 | `sum` |
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Default, Pod, Zeroable)]
pub struct Centre {
    /// the centroid's own term of a distance, see the table of [`quantize`](super)
    pub add: f32,
    /// by which the bytes are multiplied
    pub scale: f32,
    /// |C|
    pub norm: f32,
    /// sum of the bytes
    pub sum: i32,
}

const _: () = assert!(size_of::<Centre>() == 16);

/// A list's centroid as it lies in memory or on a page.
#[derive(Debug, Clone, Copy)]
pub struct CentreRef<'a> {
    /// what stands beside the bytes
    pub factors: Centre,
    /// one byte for each dimension, -127 to 127
    pub code: &'a [i8],
}

impl<'a> CentreRef<'a> {
    /// As a compact code that is off by nothing.
    #[inline(always)]
    fn compact(self) -> CompactRef<'a> {
        let Centre {
            add, scale, sum, ..
        } = self.factors;
        CompactRef {
            factors: Compact {
                add,
                scale,
                error: 0.0,
                sum,
            },
            code: self.code,
        }
    }

    /// The signs of the bytes as a code of [`Quantizer::Rabitq1`], written to `out`, which has its length: the centroid
    /// as [`Query::estimate_grouped`] takes it, relative to the index's. `error` is that of a query of length 1.
    pub fn signs(self, out: &mut [u8]) -> ListFactors {
        let dims = self.code.len();
        let factors = inline::quantize(self.compact(), Quantizer::Rabitq1, dims, out);
        let sizes = self.code.iter().map(|&i| i.unsigned_abs() as i64);
        let along = sizes.sum::<i64>() as f64;
        // of what the signs' direction leaves of the centroid
        let across = match along {
            0.0 => 0.0,
            _ => dims as f64 * inline::norm_squared(self.code) as f64 / (along * along) - 1.0,
        };
        let others = (dims - 1).max(1) as f64;
        ListFactors {
            add: factors.add,
            scale: factors.scale,
            error: narrow(2.0 * self.factors.norm as f64 * (across.max(0.0) / others).sqrt()),
        }
    }
}

/// A vector on its way into codes: R(x - c), in units such that no square of it overflows or vanishes.
#[derive(Debug, Clone, Default)]
pub struct Rotated {
    values: Vec<f32>,
    unit: f64,
}

impl Rotated {
    /// The vector in the rotated space, relative to the index's centroid.
    pub fn values(&self) -> impl ExactSizeIterator<Item = f32> + '_ {
        let unit = self.unit;
        self.values.iter().map(move |&x| narrow(x as f64 * unit))
    }

    /// Takes values of the rotated space.
    pub fn set(&mut self, values: &[f32]) {
        self.values.clear();
        self.values.extend_from_slice(values);
        self.unit = 1.0;
        self.normalise();
    }

    #[inline(always)]
    fn normalise(&mut self) {
        let largest = sums::largest(&self.values);
        if largest == 0.0 || (1e-12..1e15).contains(&largest) {
            return;
        }
        let unit = (largest as f64).log2().floor().exp2();
        for x in &mut self.values {
            *x = (*x as f64 / unit) as f32;
        }
        self.unit *= unit;
    }
}

/// What stands beside the bytes of a list code.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ListFactors {
    /// the row's own term of a distance
    pub add: f32,
    /// |r|^2 / <g, r>: by which the grid vector is an unbiased residual
    pub scale: f32,
    /// standard deviation of an estimate where the query is at distance 1 from the centroid
    pub error: f32,
}

/// Encodes rows relative to centroids; keeps its working memory.
#[derive(Debug, Clone, Default)]
pub struct ListEncoder {
    residual: Vec<f32>,
    code: Vec<i8>,
    numbers: Vec<u8>,
    decoded: Vec<f32>,
}

/// Standard deviations of an estimate that a lower bound allows for: the epsilon_0 of RaBitQ, 1.9,
/// which the paper finds to lose nothing that matters.
pub const DEVIATIONS: f32 = 1.9;

/// Where a query's distances to the rows of one list start from.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Base {
    /// internal distance of the query to the centroid
    pub distance: f32,
    /// |q - C| in the rotated space: an estimate's deviation is that times its row's `error`
    pub span: f32,
    /// deviation that the query's own code adds
    pub slack: f32,
}

impl Base {
    /// What the internal distance of a row is hardly below: [`DEVIATIONS`] less than its estimate.
    #[inline(always)]
    pub fn lower(self, estimate: f32, error: f32) -> f32 {
        estimate - DEVIATIONS * (self.span * error + self.slack)
    }
}

impl Codec {
    /// Takes a vector of finite values to the rotated space.
    pub fn rotate(&self, x: &[f32], out: &mut Rotated) {
        rotate(Isa::best(), self, x, out);
    }

    /// Takes a compact code back to the rotated space. List codes made from it can be made again as
    /// long as the compact code is there.
    pub fn decode(&self, c: CompactRef<'_>, out: &mut Rotated) {
        out.values.clear();
        out.values.extend(c.code.iter().map(|&i| i as f32));
        out.unit = c.factors.scale as f64;
    }

    /// The compact code of a rotated vector, the same as of the vector itself.
    pub fn encode_rotated(&self, x: &Rotated, code: &mut [i8]) -> Compact {
        encode_rotated(Isa::best(), self, x, code)
    }

    /// Makes a list's centroid of a point of the rotated space, and writes its bytes.
    pub fn centre(&self, point: &Rotated, code: &mut [i8]) -> Centre {
        assert_eq!(point.values.len(), self.dims(), "dimensions of a centroid");
        assert_eq!(code.len(), self.dims(), "dimensions of a code");
        let scale = nearest_bytes(&point.values, code);
        self.centre_of(narrow(scale as f64 * point.unit), code)
    }

    /// The factors of a centroid that has these bytes and this scale.
    pub fn centre_of(&self, scale: f32, code: &[i8]) -> Centre {
        let sum = code.iter().map(|&i| i as i32).sum();
        let squares = kernels::dot(Isa::best(), code, code, sum) as f64;
        let norm_squared = squares * scale as f64 * scale as f64;
        let add = match self.metric() {
            Metric::InnerProduct => {
                let product = sums::sum2(self.rotated_centroid(), code, |c, i| c * i as f32);
                -2.0 * product as f64 * scale as f64
            }
            _ => norm_squared,
        };
        Centre {
            add: narrow(add),
            scale,
            norm: narrow(norm_squared.sqrt()),
            sum,
        }
    }

    /// Writes the code of a row relative to the centroid of a list; `out` has
    /// [`Quantizer::code_len`] bytes for the codec's dimensions. The result is the same on every
    /// processor.
    pub fn encode_in(
        &self,
        centre: CentreRef<'_>,
        row: &Rotated,
        quantizer: Quantizer,
        encoder: &mut ListEncoder,
        out: &mut [u8],
    ) -> ListFactors {
        assert_eq!(row.values.len(), self.dims(), "dimensions of a row");
        assert_eq!(centre.code.len(), self.dims(), "dimensions of a centroid");
        assert_eq!(out.len(), quantizer.code_len(self.dims()));
        let factors = encode_in(Isa::best(), self, centre, row, quantizer, encoder);
        grid::pack(quantizer, &encoder.numbers, out);
        factors
    }

    /// What is left of a row when the centroid of a list is taken off, added to `out`: what a codebook is
    /// trained on.
    pub fn residual_in(&self, centre: CentreRef<'_>, row: &Rotated, out: &mut Vec<f32>) {
        let mut residual = Vec::new();
        let unit = residual_in(Isa::best(), centre, row, &mut residual);
        out.extend(residual.iter().map(|&r| narrow(r as f64 * unit)));
    }

    pub(super) fn entries_in(
        &self,
        centre: CentreRef<'_>,
        row: &Rotated,
        book: &Codebook,
        encoder: &mut ListEncoder,
        out: &mut [u8],
    ) -> ListFactors {
        let ListEncoder {
            residual, decoded, ..
        } = encoder;
        let unit = residual_in(Isa::best(), centre, row, residual);
        decoded.resize(self.dims(), 0.0);
        book.encode(residual, unit, out, decoded);
        entries_in(Isa::best(), self, centre, residual, unit, decoded)
    }

    pub(super) fn signs_in(
        &self,
        centre: CentreRef<'_>,
        row: &Rotated,
        encoder: &mut ListEncoder,
        out: &mut [u8],
    ) -> ListFactors {
        let ListEncoder {
            residual, numbers, ..
        } = encoder;
        let unit = residual_in(Isa::best(), centre, row, residual);
        numbers.clear();
        numbers.extend(residual.iter().map(|&r| (r >= 0.0) as u8));
        grid::pack(Quantizer::Rabitq1, numbers, out);
        signs_in(Isa::best(), self, centre, residual, unit)
    }
}

/// Rounds a point to bytes; returns the scale that puts them nearest to it, which is not the unbiased one
/// of a compact code.
pub(crate) fn nearest_bytes(point: &[f32], code: &mut [i8]) -> f32 {
    let sum = compact::encode(point, code).sum;
    let product = sums::sum2(point, code, |r, i| r * i as f32) as f64;
    match product_of_bytes(code, code, sum) {
        0 => 0.0,
        squares => narrow(product / squares as f64),
    }
}

/// Inner product of two codes; `sum_b` is the sum of the second.
#[inline]
pub(crate) fn product_of_bytes(a: &[i8], b: &[i8], sum_b: i32) -> i32 {
    kernels::dot(Isa::best(), a, b, sum_b)
}

/// Inner products of one code with many, one after another, whose sums are `sums`; all are a multiple of 64 long.
pub(crate) fn products_of_bytes(one: &[i8], many: &[i8], sums: &[i32], out: &mut [i32]) {
    kernels::dots(Isa::best(), one, many, sums, out);
}

for_every_isa! {
    pub(super) fn rotate(isa: Isa, codec: &Codec, x: &[f32], out: &mut Rotated) {
        let factor = match codec.metric() {
            Metric::Cosine => length_to(1.0, norm(x)),
            _ => 1.0,
        };
        out.unit = codec.rotate_scaled(isa, x, factor, &mut out.values);
    }
}

for_every_isa! {
    fn encode_rotated(isa: Isa, codec: &Codec, x: &Rotated, code: &mut [i8]) -> Compact {
        let _ = isa;
        codec.compact_of(&x.values, x.unit, code)
    }
}

for_every_isa! {
    pub(super) fn encode_in(isa: Isa, codec: &Codec, centre: CentreRef<'_>, row: &Rotated, quantizer: Quantizer, encoder: &mut ListEncoder) -> ListFactors {
        let _ = isa;
        let ListEncoder { residual, code, numbers, .. } = encoder;
        let dims = codec.dims();
        let unit = subtract(row, centre, residual);
        numbers.resize(dims, 0);
        code.resize(dims, 0);
        grid::fit(quantizer, residual, code, numbers);
        let centred = quantizer.centre();
        let residual = Residual { codec, centre, values: residual, unit };
        residual.factors(numbers, |u| u as f32 - centred, unit)
    }
}

for_every_isa! {
    fn residual_in(isa: Isa, centre: CentreRef<'_>, row: &Rotated, residual: &mut Vec<f32>) -> f64 {
        let _ = isa;
        subtract(row, centre, residual)
    }
}

for_every_isa! {
    fn entries_in(isa: Isa, codec: &Codec, centre: CentreRef<'_>, values: &[f32], unit: f64, decoded: &[f32]) -> ListFactors {
        let _ = isa;
        let residual = Residual { codec, centre, values, unit };
        residual.factors(decoded, |g| g, 1.0)
    }
}

for_every_isa! {
    fn signs_in(isa: Isa, codec: &Codec, centre: CentreRef<'_>, values: &[f32], unit: f64) -> ListFactors {
        let _ = isa;
        let residual = Residual { codec, centre, values, unit };
        let norm_squared = sums::sum2(values, values, |r, s| r * s);
        let norm = (norm_squared as f64).sqrt() * unit;
        // a sign differs by chance, most at right angles: half a turn times sqrt(1/4 / D)
        let deviation = std::f64::consts::FRAC_PI_2 / (codec.dims() as f64).sqrt();
        ListFactors {
            add: narrow(residual.add(norm_squared)),
            scale: narrow(norm),
            error: narrow(2.0 * norm * deviation),
        }
    }
}

/// `unit * values`, what is left of a row in a list.
#[derive(Clone, Copy)]
struct Residual<'a> {
    codec: &'a Codec,
    centre: CentreRef<'a>,
    values: &'a [f32],
    unit: f64,
}

impl Residual<'_> {
    /// The row's own term, but for what its code adds.
    #[inline(always)]
    fn add(self, norm_squared: f32) -> f64 {
        match self.codec.metric() {
            Metric::InnerProduct => {
                let centroid = self.codec.rotated_centroid();
                let with_centroid = sums::sum2(self.values, centroid, |r, c| r * c);
                let with_centre = sums::sum2(self.values, self.centre.code, |r, i| r * i as f32);
                let with_centre = with_centre as f64 * self.centre.factors.scale as f64;
                -2.0 * (with_centroid as f64 + with_centre) * self.unit
            }
            _ => norm_squared as f64 * self.unit * self.unit,
        }
    }

    /// Factors of a code that stands for the direction `g(code)`; a step of `g` in the original space is
    /// `step` times as long as one of the values.
    #[inline(always)]
    fn factors<T: Copy>(self, code: &[T], g: impl Fn(T) -> f32, step: f64) -> ListFactors {
        let values = self.values;
        let norm_squared = sums::sum2(values, values, |r, s| r * s);
        let product = sums::sum2(values, code, |r, c| r * g(c));
        let scale = if product > 0.0 {
            norm_squared / product
        } else {
            0.0
        };
        let error = sums::sum2(values, code, |r, c| {
            let e = r - scale * g(c);
            e * e
        });
        let across = sums::sum2(self.centre.code, code, |i, c| i as f32 * g(c));
        let scale = scale as f64;
        let across = across as f64 * self.centre.factors.scale as f64 * scale * self.unit;
        let others = ((values.len() - 1).max(1) as f64).sqrt();
        ListFactors {
            add: narrow(self.add(norm_squared) + 2.0 * across),
            scale: narrow(scale * step),
            error: narrow(2.0 * (error as f64).sqrt() * self.unit / others),
        }
    }
}

/// What is left of a row when a centroid is taken off; returns its unit.
#[inline(always)]
fn subtract(row: &Rotated, centre: CentreRef<'_>, residual: &mut Vec<f32>) -> f64 {
    let largest = centre.factors.scale as f64 * 127.0;
    let unit = match largest / row.unit {
        // a centroid far larger than the row
        ratio if ratio > 1e15 => largest.log2().floor().exp2(),
        _ => row.unit,
    };
    let own = (row.unit / unit) as f32;
    let scale = (centre.factors.scale as f64 / unit) as f32;
    residual.clear();
    let pairs = row.values.iter().zip(centre.code);
    residual.extend(pairs.map(|(&x, &i)| x * own - scale * i as f32));
    let largest = sums::largest(residual);
    if largest == 0.0 || (1e-12..1e15).contains(&largest) {
        return unit;
    }
    let further = (largest as f64).log2().floor().exp2();
    for r in residual.iter_mut() {
        *r = (*r as f64 / further) as f32;
    }
    unit * further
}

impl Query {
    /// Where distances to the rows of a list start from. [`Query::estimate`] with [`Quantizer::Sq8`] over the
    /// centroids' bytes, adds and scales gives the same distances for many lists; then
    /// [`Query::base_at`] has the rest.
    #[inline]
    pub fn base(&self, centre: CentreRef<'_>) -> Base {
        let factors = centre.factors;
        let distance = self.distance(centre.compact());
        self.base_at(distance, factors.add, factors.norm)
    }

    /// [`Query::base`] of a list whose centroid has this internal distance, this `add` and this `norm`.
    #[inline]
    pub fn base_at(&self, distance: f32, add: f32, norm: f32) -> Base {
        let line = self.line();
        let product = (line.base as f64 + line.offset as f64) + add as f64 - distance as f64;
        let own = self.norm() as f64;
        let squared = own * own + norm as f64 * norm as f64 - product;
        let span = narrow(squared.max(0.0).sqrt());
        // <e_q, C + r> with |r| hardly above twice the span for the rows that matter
        let deviation = 2.0 * self.error() / (self.dims() as f32).sqrt();
        Base {
            distance,
            span,
            slack: finite(deviation * (norm + 2.0 * span)),
        }
    }

    /// Estimated internal distances of the rows of a list, of codes that lie one after another: one for
    /// each of `adds`, `scales` and `out`.
    #[inline]
    pub fn estimate_in(
        &self,
        base: Base,
        quantizer: Quantizer,
        codes: &[u8],
        adds: &[f32],
        scales: &[f32],
        out: &mut [f32],
    ) {
        let dims = self.dims();
        let batch = Batch {
            quantizer,
            dims,
            codes,
            adds,
            scales,
        };
        let line = Line {
            base: base.distance,
            offset: 0.0,
            centre: quantizer.centre_of(self.sum_of(dims)),
            ..self.line()
        };
        kernels::estimate(Isa::best(), self.code(), batch, line, out);
    }
}
