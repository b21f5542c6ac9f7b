//! Distance metrics and their kernels. Every kernel dispatches at run time to the best code the
//! processor has, and gives the same result for the same operands on the same machine wherever
//! it is called from: an index and the SQL operator must agree to the last bit.

pub mod bf16;
pub mod bit;
mod dense;
pub mod f16;
pub mod f32;
pub mod i8;
pub(crate) mod lanes;
mod space;
pub mod sparse;
mod value;

pub use space::{Element, Metric, Operand, Space};
pub use value::Value;

/// Asks the processor for the first cache lines of a payload, which the distance kernel is about
/// to read; the hardware's own prefetcher follows from there.
#[inline]
pub fn prefetch(payload: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in payload.chunks(64).take(4) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching never faults, and the address is inside the slice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = payload;
}

/// Cosine distance from an inner product and the two squared norms (each an inner product of a
/// vector with itself): 0 for the same direction, 2 for opposite ones, NaN where a norm is zero.
///
/// The SQL operators compute just this, so that an index that stores squared norms agrees with
/// them to the last bit.
#[inline(always)]
pub fn cosine_from_parts(inner_product: f64, norm_a: f64, norm_b: f64) -> f64 {
    let similarity = inner_product / (norm_a * norm_b).sqrt();
    1.0 - similarity.clamp(-1.0, 1.0)
}
