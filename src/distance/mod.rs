//! Distance metrics and their kernels. Every kernel dispatches at run time to the best code the
//! processor has, and gives the same result for the same operands on the same machine wherever
//! it is called from: an index and the SQL operator must agree to the last bit.

pub mod bit;
pub mod f16;
pub mod f32;
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
