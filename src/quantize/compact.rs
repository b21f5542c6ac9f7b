//! The compact code: a rotated residual as signed bytes.

use super::{narrow, sums};
use bytemuck::{Pod, Zeroable};

/// What stands beside the bytes of a compact code, 16 bytes:
///
/// | offset | field |
/// |---|---|
/// | 0 | `add` |
/// | 4 | `scale` |
/// | 8 | `error` |
/// | 12 | `sum` |
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Default, Pod, Zeroable)]
pub struct Compact {
    /// the vector's own term of a distance, see the module's table
    pub add: f32,
    /// f = |r|^2 / <i, r>, by which a product of codes is an unbiased product of residuals; 0 where
    /// the residual is zero
    pub scale: f32,
    /// |r - f i|
    pub error: f32,
    /// sum of the code's bytes
    pub sum: i32,
}

const _: () = assert!(size_of::<Compact>() == 16);

/// A compact code as it lies in memory or on a page.
#[derive(Debug, Clone, Copy)]
pub struct CompactRef<'a> {
    /// what stands beside the bytes
    pub factors: Compact,
    /// one byte for each dimension, -127 to 127
    pub code: &'a [i8],
}

/// A residual's bytes and what is known of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Encoded {
    pub norm_squared: f32,
    pub scale: f32,
    pub error: f32,
    pub sum: i32,
}

impl Encoded {
    /// The factors of a residual that was `unit` times longer than the one encoded.
    pub(super) fn compact(self, add: f64, unit: f64) -> Compact {
        Compact {
            add: narrow(add),
            scale: narrow(self.scale as f64 * unit),
            error: narrow(self.error as f64 * unit),
            sum: self.sum,
        }
    }
}

/// Rounds a residual to bytes: i = round(127 r / max |r|).
#[inline(always)]
pub(super) fn encode(residual: &[f32], code: &mut [i8]) -> Encoded {
    let largest = sums::largest(residual);
    if largest == 0.0 {
        code.fill(0);
        return Encoded::default();
    }
    let steps = 127.0 / largest;
    for (i, r) in code.iter_mut().zip(residual) {
        *i = round(r * steps);
    }
    let norm_squared = sums::sum2(residual, residual, |r, s| r * s);
    let product = sums::sum2(residual, code, |r, i| r * i as f32);
    let scale = norm_squared / product;
    let error = sums::sum2(residual, code, |r, i| {
        let e = r - scale * i as f32;
        e * e
    });
    Encoded {
        norm_squared,
        scale,
        error: error.sqrt(),
        sum: code.iter().map(|&i| i as i32).sum(),
    }
}

/// The nearest integer, of ties the even one; `x` is between -128 and 127.
#[inline(always)]
fn round(x: f32) -> i8 {
    // 1.5 * 2^23: what is added to it is rounded to an integer, which then is the low bits. Unlike
    // `round_ties_even` and `as`, this is three instructions wherever there are vectors.
    (x + 12_582_912.0).to_bits() as i8
}
