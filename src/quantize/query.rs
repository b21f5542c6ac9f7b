//! A query against the codes of an index.

use super::binary::Signs;
use super::codec::{length_to, norm};
use super::fast_scan::Bytewise;
use super::kernels::{self, Batch, Line, QueryCode};
use super::pq::Tables;
use super::{Codec, CompactRef, Quantizer, finite, narrow};
use crate::distance::Metric;
use crate::distance::lanes::{Isa, for_every_isa};

/// A query as codes are compared with it: a compact code of its own, and what its distances start from.
///
/// After its first use it allocates nothing; [`Query::reset`] makes it another query.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// one byte for each dimension, then zeros up to a multiple of 64
    code: Vec<i8>,
    /// the same in bit planes, where kernels want them
    pub(super) planes: Vec<u64>,
    /// the same turned, where kernels want that
    pub(super) turned: Vec<i8>,
    dims: usize,
    /// sums of the code's first 0, 64, 128, ... bytes
    sums: Vec<i32>,
    scratch: Vec<f32>,
    /// distances are (base + add + offset) - 2 <r_q, r_x>
    base: f32,
    offset: f32,
    scale: f32,
    /// |r_q - f i|
    error: f32,
    /// |r_q|
    norm: f32,
    /// internal distances of exact ones are `per_exact * exact + at_zero`
    per_exact: f64,
    at_zero: f64,
    /// |c|
    centroid_norm: f32,
    /// whether `add` of a code is |r|^2
    add_is_norm_squared: bool,
    /// for inline codes of product quantization, where the codec has a codebook
    tables: Tables,
    /// for inline codes of signs
    signs: Signs,
    /// for codes of one bit for each dimension
    pub(super) bytewise: Bytewise,
}

impl Query {
    /// Makes it the query for `x`, a vector of the codec's dimensions and finite values.
    pub fn reset(&mut self, codec: &Codec, x: &[f32]) {
        reset(Isa::best(), self, codec, x);
    }

    #[inline(always)]
    fn start_from(&mut self, isa: Isa, codec: &Codec, x: &[f32]) {
        let length = match codec.metric() {
            Metric::L2 => 0.0,
            _ => norm(x),
        };
        let factor = match codec.metric() {
            Metric::L2 => 1.0,
            Metric::Cosine => length_to(1.0, length),
            _ => length_to(codec.reach, length),
        };
        self.start(codec);
        let code = &mut self.code[..self.dims];
        let (encoded, unit) = codec.encode_scaled(isa, x, factor, &mut self.scratch, code);
        self.norm = narrow((encoded.norm_squared as f64).sqrt() * unit);
        let norm_squared = encoded.norm_squared as f64 * unit * unit;
        match codec.metric() {
            Metric::InnerProduct => {
                self.base = narrow(-2.0 * factor * codec.product_with_centroid(x));
                self.offset = narrow(2.0 * codec.reach * codec.reach);
                self.per_exact = 2.0 * factor;
            }
            _ => self.base = narrow(norm_squared),
        }
        let compact = encoded.compact(0.0, unit);
        self.scale = compact.scale;
        self.error = compact.error;
    }

    /// Makes it the query for a stored vector: distances then are [`Codec::distance`].
    pub fn reset_of(&mut self, codec: &Codec, c: CompactRef<'_>) {
        self.start(codec);
        self.code[..self.dims].copy_from_slice(c.code);
        self.base = c.factors.add;
        self.offset = codec.between_stored;
        self.scale = c.factors.scale;
        self.error = c.factors.error;
        self.norm = self.residual_norm(c);
        self.finish(Isa::best(), codec);
    }

    #[inline(always)]
    fn start(&mut self, codec: &Codec) {
        self.dims = codec.dims();
        self.code.clear();
        self.code.resize(self.dims.next_multiple_of(64), 0);
        self.offset = 0.0;
        self.centroid_norm = narrow(codec.centroid_norm());
        self.add_is_norm_squared = codec.metric() != Metric::InnerProduct;
        (self.per_exact, self.at_zero) = match codec.metric() {
            Metric::L2 => (1.0, 0.0),
            Metric::Cosine => (2.0, 0.0),
            _ => (2.0, 2.0 * codec.reach * codec.reach),
        };
    }

    #[inline(always)]
    fn finish(&mut self, isa: Isa, codec: &Codec) {
        kernels::prepare(isa, &self.code, &mut self.planes, &mut self.turned);
        self.sums.clear();
        self.sums.push(0);
        let mut sum = 0;
        for code in self.code.chunks_exact(64) {
            sum += code.iter().map(|&i| i as i32).sum::<i32>();
            self.sums.push(sum);
        }
        self.signs.reset(&self.code, self.dims);
        self.bytewise.fill(isa, &self.code, self.scale);
        if let Some(book) = &codec.book {
            let mut tables = std::mem::take(&mut self.tables);
            tables.fill(book, self);
            self.tables = tables;
        }
    }

    /// Number of dimensions.
    #[inline]
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// |r_q|: its length relative to the index's centroid.
    #[inline]
    pub fn norm(&self) -> f32 {
        self.norm
    }

    /// |r_q - f i|
    #[inline]
    pub(super) fn error(&self) -> f32 {
        self.error
    }

    /// The code's bytes, with zeros up to a multiple of 64.
    #[inline]
    pub(super) fn bytes(&self) -> &[i8] {
        &self.code
    }

    #[inline]
    pub(super) fn code(&self) -> QueryCode<'_> {
        QueryCode {
            bytes: &self.code,
            planes: &self.planes,
            turned: &self.turned,
        }
    }

    /// How its estimates are made, but for the centre of a quantizer's numbers.
    #[inline]
    pub(super) fn line(&self) -> Line {
        Line {
            base: self.base,
            offset: self.offset,
            scale: self.scale,
            centre: 0,
        }
    }

    /// Sum of the code's first `dims` bytes.
    #[inline]
    pub(super) fn sum_of(&self, dims: usize) -> i32 {
        let rest = &self.code[dims / 64 * 64..dims];
        self.sums[dims / 64] + rest.iter().map(|&i| i as i32).sum::<i32>()
    }

    /// Internal distance of a stored vector, nearly exact.
    #[inline]
    pub fn distance(&self, c: CompactRef<'_>) -> f32 {
        let (query, sum) = (&self.code[..self.dims], c.factors.sum);
        let dot = kernels::dot(Isa::best(), query, c.code, sum) as f32;
        let scale = self.scale * c.factors.scale;
        finite((self.base + c.factors.add + self.offset) - 2.0 * (scale * dot))
    }

    /// How far [`Query::distance`] can be from the internal distance of the original vectors.
    ///
    /// The product of residuals <r_q, r_x> is off by <r_q, e_x> + <e_q, f i>, where e are the two
    /// codes' errors. Their directions are random by the rotation and independent of each other, so
    /// the deviation is that of two independent terms; seven times that, or the product of
    /// lengths (Cauchy and Schwarz) where that is less, bounds it.
    pub fn error_bound(&self, c: CompactRef<'_>) -> f32 {
        let (norm, centroid) = (self.norm as f64, self.centroid_norm as f64);
        let other_norm = self.residual_norm(c) as f64;
        let error = c.factors.error as f64;
        let coded_norm = length(other_norm, error);
        let (theirs, ours) = (norm * error, coded_norm * self.error as f64);
        let deviations = 7.0 / (self.dims as f64).sqrt();
        let product = (deviations * length(theirs, ours)).min(theirs + ours);
        // floats were rounded on the way
        let sizes = [self.base, self.offset, c.factors.add].map(|x| x.abs() as f64);
        let rounding = 1e-5 * (sizes.iter().sum::<f64>() + 2.0 * norm * other_norm)
            + 1e-6 * centroid * (norm + other_norm);
        narrow(2.0 * product + rounding)
    }

    /// |r| of a stored vector.
    fn residual_norm(&self, c: CompactRef<'_>) -> f32 {
        if self.add_is_norm_squared && c.factors.add < f32::MAX {
            return c.factors.add.sqrt();
        }
        let coded_squared = kernels::dot(Isa::best(), c.code, c.code, c.factors.sum);
        let coded = c.factors.scale as f64 * (coded_squared as f64).sqrt();
        let error = c.factors.error as f64;
        narrow((coded * coded - error * error).max(0.0).sqrt())
    }

    /// The internal distance that belongs to a distance of
    /// [`Space::distance`](crate::distance::Space::distance) (squared L2, cosine distance, negative
    /// inner product).
    #[inline]
    pub fn internal(&self, exact: f64) -> f32 {
        narrow(self.per_exact * exact + self.at_zero)
    }

    /// Estimated internal distances of inline codes that lie one after another, each of
    /// [`Quantizer::code_len`] bytes: one for each of `adds`, `scales` and `out`. For product quantization the
    /// query was made with a codec that has the codebook.
    pub fn estimate(
        &self,
        quantizer: Quantizer,
        code_dims: usize,
        codes: &[u8],
        adds: &[f32],
        scales: &[f32],
        out: &mut [f32],
    ) {
        let start = self.base + self.offset;
        let batch = Batch {
            quantizer,
            dims: code_dims,
            codes,
            adds,
            scales,
        };
        match quantizer {
            Quantizer::Binary => self.signs.estimate(start, self.norm, batch, out),
            Quantizer::Pq8 | Quantizer::Pq4 => {
                self.tables.estimate(start, codes, adds, scales, out)
            }
            Quantizer::Rabitq1 => self.bytewise.estimate_apart(self.line(), batch, out),
            _ => {
                let line = Line {
                    centre: quantizer.centre_of(self.sum_of(code_dims)),
                    ..self.line()
                };
                kernels::estimate(Isa::best(), self.code(), batch, line, out);
            }
        }
    }

    /// The same of codes of [`Quantizer::Rabitq1`] that lie in groups ([`fast_scan`](super::fast_scan)), the last ones,
    /// fewer than a group has, one after another.
    pub fn estimate_grouped(&self, codes: &[u8], adds: &[f32], scales: &[f32], out: &mut [f32]) {
        let batch = Batch {
            quantizer: Quantizer::Rabitq1,
            dims: self.dims,
            codes,
            adds,
            scales,
        };
        self.bytewise.estimate(self.line(), batch, out);
    }
}

for_every_isa! {
    pub(super) fn reset(isa: Isa, query: &mut Query, codec: &Codec, x: &[f32]) {
        query.start_from(isa, codec, x);
        query.finish(isa, codec);
    }
}

/// Length of a vector of two coordinates, of sizes that f32 can hold or their products.
#[inline(always)]
fn length(x: f64, y: f64) -> f64 {
    (x * x + y * y).sqrt()
}
