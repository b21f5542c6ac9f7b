//! Distance metrics and their kernels. Every kernel dispatches at run time to the best code the
//! processor has, and gives the same result for the same operands on the same machine wherever
//! it is called from: an index and the SQL operator must agree to the last bit.

pub mod bit;
mod dense;
pub mod f16;
pub mod f32;
mod lanes;
pub mod sparse;

/// Cosine distance from an inner product and the two squared norms (each an inner product of a
/// vector with itself): 0 for the same direction, 2 for opposite ones, NaN where a norm is zero.
///
/// The SQL operators compute just this, so that an index that stores squared norms agrees with
/// them to the last bit.
#[inline(always)]
pub fn cosine_from_parts(inner_product: f32, norm_a: f32, norm_b: f32) -> f64 {
    let similarity = inner_product as f64 / (norm_a as f64 * norm_b as f64).sqrt();
    1.0 - similarity.clamp(-1.0, 1.0)
}
