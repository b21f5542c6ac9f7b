//! What an index knows of its space: metric, rotation, centroid. From vectors to compact codes.

use super::compact::{self, Encoded};
use super::rotation::Rotation;
use super::{
    Codebook, Compact, CompactRef, Factors, Quantizer, Query, finite, inline, kernels, sums,
};
use crate::distance::Metric;
use crate::distance::lanes::{Isa, for_every_isa};

/// Encodes the vectors of one index, and tells how far apart they are by their codes.
#[derive(Debug, Clone)]
pub struct Codec {
    metric: Metric,
    rotation: Rotation,
    /// as given; zeros where nothing was
    centroid: Vec<f32>,
    rotated_centroid: Vec<f32>,
    centroid_norm: f64,
    /// length of a query under inner product
    pub(super) reach: f64,
    /// what is added to the distance of two stored vectors: 2 reach^2 - 2 |c|^2 under inner product
    pub(super) between_stored: f32,
    /// what inline codes of product quantization are made by
    pub(super) book: Option<Codebook>,
}

impl Codec {
    /// A codec of `dims` (at least 1) dimensions.
    ///
    /// `centroid` is in the original space (of normalised vectors under cosine); empty is zero.
    /// `reach` is the length that queries are scaled to under inner product, best that of the longest
    /// vector; 1 is taken where it is no positive number, and it means nothing under other metrics.
    ///
    /// # Panics
    /// Where the metric is none of L2, inner product and cosine, or the centroid has other dimensions.
    pub fn new(metric: Metric, dims: usize, seed: u64, centroid: &[f32], reach: f32) -> Codec {
        assert!(
            matches!(metric, Metric::L2 | Metric::InnerProduct | Metric::Cosine),
            "no codes for {metric:?}"
        );
        let rotation = Rotation::new(dims, seed);
        let centroid = match centroid {
            [] => vec![0.0; dims],
            _ => centroid.to_vec(),
        };
        assert_eq!(centroid.len(), dims, "dimensions of the centroid");
        let mut rotated_centroid = centroid.clone();
        rotation.apply(&mut rotated_centroid);
        let centroid_norm = norm(&centroid);
        let inner_product = metric == Metric::InnerProduct;
        let reach = match inner_product {
            true if reach > 0.0 && reach.is_finite() => reach as f64,
            true => 1.0,
            false => 0.0,
        };
        let between_stored = match inner_product {
            true => 2.0 * (reach * reach - centroid_norm * centroid_norm),
            false => 0.0,
        };
        Codec {
            metric,
            rotation,
            centroid,
            rotated_centroid,
            centroid_norm,
            reach,
            between_stored: super::narrow(between_stored),
            book: None,
        }
    }

    /// The same with the codebook that inline codes of product quantization are made by.
    ///
    /// # Panics
    /// Where that is of other dimensions.
    pub fn with_codebook(self, book: Codebook) -> Codec {
        assert_eq!(book.shape().dims(), self.dims(), "dimensions of a codebook");
        Codec {
            book: Some(book),
            ..self
        }
    }

    /// The metric it was made for.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Number of dimensions.
    pub fn dims(&self) -> usize {
        self.centroid.len()
    }

    /// |c|
    pub(super) fn centroid_norm(&self) -> f64 {
        self.centroid_norm
    }

    /// The centroid in the rotated space, relative to its origin.
    #[inline(always)]
    pub fn rotated_centroid(&self) -> &[f32] {
        &self.rotated_centroid
    }

    /// <x, c>
    #[inline(always)]
    pub(super) fn product_with_centroid(&self, x: &[f32]) -> f64 {
        let product = sums::sum2(x, &self.centroid, |x, c| x * c);
        if product.is_finite() {
            return product as f64;
        }
        let pairs = x.iter().zip(&self.centroid);
        pairs.map(|(&x, &c)| x as f64 * c as f64).sum()
    }

    /// Encodes a vector of finite values into `code`; both have the codec's dimensions. `scratch` is
    /// working space to be used again.
    pub fn encode(&self, x: &[f32], scratch: &mut Vec<f32>, code: &mut [i8]) -> Compact {
        encode(Isa::best(), self, x, scratch, code)
    }

    /// Encodes `factor * x`, leaving in `scratch` its residual divided by the unit that is returned.
    #[inline(always)]
    pub(super) fn encode_scaled(
        &self,
        isa: Isa,
        x: &[f32],
        factor: f64,
        scratch: &mut Vec<f32>,
        code: &mut [i8],
    ) -> (Encoded, f64) {
        assert_eq!(code.len(), self.dims(), "dimensions of a code");
        let unit = self.rotate_scaled(isa, x, factor, scratch);
        (compact::encode(scratch, code), unit)
    }

    /// Leaves in `out` the residual of `factor * x` divided by the unit that is returned.
    #[inline(always)]
    pub(super) fn rotate_scaled(
        &self,
        isa: Isa,
        x: &[f32],
        factor: f64,
        out: &mut Vec<f32>,
    ) -> f64 {
        assert_eq!(x.len(), self.dims(), "dimensions of a vector");
        out.resize(self.dims(), 0.0);
        let unit = self.residual(x, factor, out);
        self.rotation.rotate(isa, out);
        unit
    }

    /// The compact code of `unit * residual`.
    #[inline(always)]
    pub(super) fn compact_of(&self, residual: &[f32], unit: f64, code: &mut [i8]) -> Compact {
        assert_eq!(residual.len(), self.dims(), "dimensions of a residual");
        assert_eq!(code.len(), self.dims(), "dimensions of a code");
        let encoded = compact::encode(residual, code);
        encoded.compact(self.add_of(residual, encoded, unit), unit)
    }

    /// A vector's own term of a distance.
    #[inline(always)]
    fn add_of(&self, residual: &[f32], encoded: Encoded, unit: f64) -> f64 {
        match self.metric {
            Metric::InnerProduct => {
                let product = sums::sum2(residual, &self.rotated_centroid, |r, c| r * c);
                -2.0 * product as f64 * unit
            }
            _ => encoded.norm_squared as f64 * unit * unit,
        }
    }

    /// `factor * x - c` in units such that no square of it overflows or vanishes.
    #[inline(always)]
    fn residual(&self, x: &[f32], factor: f64, out: &mut [f32]) -> f64 {
        let narrow = factor as f32;
        for ((r, x), c) in out.iter_mut().zip(x).zip(&self.centroid) {
            *r = x * narrow - c;
        }
        if (1e-30..1e30).contains(&factor) && (1e-12..1e15).contains(&sums::largest(out)) {
            return 1.0;
        }
        self.residual_of_unusual_size(x, factor, out)
    }

    #[cold]
    fn residual_of_unusual_size(&self, x: &[f32], factor: f64, out: &mut [f32]) -> f64 {
        let residual = || {
            let pairs = x.iter().zip(&self.centroid);
            pairs.map(|(&x, &c)| x as f64 * factor - c as f64)
        };
        let largest = residual().fold(0.0, |largest: f64, r| largest.max(r.abs()));
        let unit = match largest {
            0.0 => 1.0,
            _ => largest.log2().floor().exp2(),
        };
        for (out, r) in out.iter_mut().zip(residual()) {
            *out = (r / unit) as f32;
        }
        unit
    }

    /// Internal distance of two stored vectors.
    #[inline]
    pub fn distance(&self, a: CompactRef<'_>, b: CompactRef<'_>) -> f32 {
        let dot = kernels::dot(Isa::best(), a.code, b.code, b.factors.sum) as f32;
        let scale = a.factors.scale * b.factors.scale;
        finite((a.factors.add + b.factors.add + self.between_stored) - 2.0 * (scale * dot))
    }

    /// What the distance of two stored vectors is more than their terms `add`, less twice the product of
    /// what their codes stand for.
    pub fn between_stored(&self) -> f32 {
        self.between_stored
    }

    /// Makes the inline code of the first `code_dims` dimensions, or in so many segments, from a compact
    /// code; `out` has [`Quantizer::code_len`] bytes. The result is the same on every processor.
    ///
    /// # Panics
    /// For product quantization without a codebook, or with one of other segments.
    pub fn quantize(
        &self,
        c: CompactRef<'_>,
        quantizer: Quantizer,
        code_dims: usize,
        out: &mut [u8],
    ) -> Factors {
        match quantizer {
            Quantizer::Pq8 | Quantizer::Pq4 => {
                assert_eq!(out.len(), quantizer.code_len(code_dims));
                self.codebook(quantizer, code_dims).quantize(c, out)
            }
            _ => inline::quantize(c, quantizer, code_dims, out),
        }
    }

    fn codebook(&self, quantizer: Quantizer, segments: usize) -> &Codebook {
        let book = self
            .book
            .as_ref()
            .expect("codes of segments need a codebook");
        let shape = book.shape();
        assert_eq!(
            (shape.bits(), shape.segments()),
            (quantizer.bits(), segments)
        );
        book
    }

    /// A query for a vector of finite values.
    pub fn query(&self, x: &[f32]) -> Query {
        let mut query = Query::default();
        query.reset(self, x);
        query
    }

    /// A stored vector as a query.
    pub fn query_of(&self, c: CompactRef<'_>) -> Query {
        let mut query = Query::default();
        query.reset_of(self, c);
        query
    }
}

for_every_isa! {
    pub(super) fn encode(isa: Isa, codec: &Codec, x: &[f32], scratch: &mut Vec<f32>, code: &mut [i8]) -> Compact {
        let factor = match codec.metric {
            Metric::Cosine => length_to(1.0, norm(x)),
            _ => 1.0,
        };
        let unit = codec.rotate_scaled(isa, x, factor, scratch);
        codec.compact_of(scratch, unit, code)
    }
}

/// Euclidean length, of any finite vector.
#[inline(always)]
pub(super) fn norm(x: &[f32]) -> f64 {
    let squared = sums::sum2(x, x, |x, y| x * y);
    if (1e-20..1e30).contains(&squared) {
        return (squared as f64).sqrt();
    }
    let squares = x.iter().map(|&x| x as f64 * x as f64);
    squares.sum::<f64>().sqrt()
}

/// The factor that scales a vector of length `norm` to another length; zero vectors stay.
#[inline(always)]
pub(super) fn length_to(wanted: f64, norm: f64) -> f64 {
    if norm > 0.0 { wanted / norm } else { 1.0 }
}
