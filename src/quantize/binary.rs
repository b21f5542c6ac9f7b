//! Signs against signs: the Hamming distance of two residuals' signs estimates their angle (Charikar, STOC
//! 2002), at half the precision of `rabitq1`, which has as many bits but the whole query.

use super::kernels::{Batch, Line};
use super::{CentreRef, Quantizer, Query, grid};
use crate::distance::bit::hamming;

/// Signs of a query, or of its residual to a centroid.
#[derive(Debug, Clone, Default)]
pub(super) struct Signs {
    planes: Vec<u8>,
    numbers: Vec<u8>,
    dims: usize,
}

impl Signs {
    /// The signs of a query, whose bytes are the first `dims`.
    pub(super) fn reset(&mut self, bytes: &[i8], dims: usize) {
        self.dims = dims;
        self.numbers.clear();
        self.numbers
            .extend(bytes[..dims].iter().map(|&i| (i >= 0) as u8));
        self.pack();
    }

    /// The signs of what is left of a query in a list.
    pub(super) fn of(&mut self, query: &Query, centre: CentreRef<'_>) {
        self.dims = query.dims();
        let scale = query.line().scale;
        let pairs = query.bytes()[..query.dims()].iter().zip(centre.code);
        let sign =
            |(&q, &c): (&i8, &i8)| (scale * q as f32 >= centre.factors.scale * c as f32) as u8;
        self.numbers.clear();
        self.numbers.extend(pairs.map(sign));
        self.pack();
    }

    fn pack(&mut self) {
        let len = Quantizer::Binary.code_len(self.dims);
        self.planes.resize(len, 0);
        grid::pack(Quantizer::Rabitq1, &self.numbers, &mut self.planes);
    }

    /// Estimates of codes of all dimensions, or of a multiple of 64, starting from `base` for a query of
    /// length `norm`.
    pub(super) fn estimate(&self, base: f32, norm: f32, batch: Batch<'_>, out: &mut [f32]) {
        let Batch {
            quantizer,
            dims,
            codes,
            adds,
            scales,
        } = batch;
        let line = Line {
            base,
            offset: 0.0,
            scale: 2.0 * norm,
            centre: 0,
        };
        assert!(dims == self.dims || dims.is_multiple_of(64));
        let planes = &self.planes[..quantizer.code_len(dims)];
        assert_eq!(codes.len(), out.len() * planes.len());
        assert!(adds.len() == out.len() && scales.len() == out.len());
        let codes = codes.chunks_exact(planes.len());
        let factors = adds.iter().zip(scales);
        for ((out, code), (&add, &scale)) in out.iter_mut().zip(codes).zip(factors) {
            let different = hamming(code, planes);
            *out = line.with(add, scale, cosine(different as u32, dims as u32));
        }
    }
}

/// The cosine of the angle that so many different signs stand for: of `different / dims` half turns, by the
/// series of the sine, to seven digits and on every processor the same.
#[inline(always)]
fn cosine(different: u32, dims: u32) -> f32 {
    let x = std::f32::consts::PI * (0.5 - different as f32 / dims as f32);
    let square = x * x;
    let factors = [
        -1.0 / 39_916_800.0,
        1.0 / 362_880.0,
        -1.0 / 5_040.0,
        1.0 / 120.0,
        -1.0 / 6.0,
        1.0,
    ];
    factors
        .iter()
        .fold(0.0, |sum, factor| sum * square + factor)
        * x
}
