//! Signs against signs: the Hamming distance of two residuals' signs estimates their angle (Charikar, STOC
//! 2002), at half the precision of `rabitq1`, which has as many bits but the whole query.

use super::kernels::Line;
use super::{Base, CentreRef, Quantizer, Query, grid};
use crate::distance::bit::hamming;

/// Signs of a query's residual to a centroid.
#[derive(Debug, Clone, Default)]
pub(super) struct Signs {
    planes: Vec<u8>,
    numbers: Vec<u8>,
    /// of the angle that each number of different signs stands for
    cosines: Vec<f32>,
}

impl Signs {
    pub(super) fn reset(&mut self, query: &Query) {
        let dims = query.dims();
        if self.cosines.len() != dims + 1 {
            let cosine = |different: usize| {
                let angle = std::f64::consts::PI * different as f64 / dims as f64;
                angle.cos() as f32
            };
            self.cosines = (0..=dims).map(cosine).collect();
        }
        self.planes.resize(Quantizer::Rabitq1.code_len(dims), 0);
    }

    pub(super) fn of(&mut self, query: &Query, centre: CentreRef<'_>) {
        let scale = query.line().scale;
        let pairs = query.bytes()[..query.dims()].iter().zip(centre.code);
        let sign =
            |(&q, &c): (&i8, &i8)| (scale * q as f32 >= centre.factors.scale * c as f32) as u8;
        self.numbers.clear();
        self.numbers.extend(pairs.map(sign));
        grid::pack(Quantizer::Rabitq1, &self.numbers, &mut self.planes);
    }

    pub(super) fn estimate(
        &self,
        base: Base,
        codes: &[u8],
        adds: &[f32],
        scales: &[f32],
        out: &mut [f32],
    ) {
        assert_eq!(codes.len(), out.len() * self.planes.len());
        assert!(adds.len() == out.len() && scales.len() == out.len());
        let codes = codes.chunks_exact(self.planes.len());
        let factors = adds.iter().zip(scales);
        for ((out, code), (&add, &scale)) in out.iter_mut().zip(codes).zip(factors) {
            // a code from a damaged page may have bits past its dimensions
            let different = (hamming(code, &self.planes) as usize).min(self.cosines.len() - 1);
            let line = Line {
                base: base.distance,
                offset: 0.0,
                scale: 2.0 * base.span,
                centre: 0,
            };
            *out = line.with(add, scale, self.cosines[different]);
        }
    }
}
