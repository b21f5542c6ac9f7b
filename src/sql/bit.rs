//! Distances between the server's own bit strings.

use crate::distance::bit;
use crate::pg::error::OrRaise;
use crate::pg::fmgr::{Call, float8};
use crate::pg_fn;
use crate::vector::BitRef;
use pgrx::pg_sys::Datum;

/// The metric of two `bit` arguments, which must have one length.
#[inline(always)]
fn distance(call: Call, metric: impl FnOnce(&[u8], &[u8]) -> f64) -> Datum {
    let (a, b) = (call.arg_varlena(0), call.arg_varlena(1));
    let a = BitRef::from_body(a.body()).or_raise();
    let b = BitRef::from_body(b.body()).or_raise();
    a.check_same_len(&b).or_raise();
    float8(metric(a.bytes, b.bytes))
}

pg_fn! {
    /// `hamming_distance(bit, bit) -> float8`, `<~>`
    fn hamming_distance(call) {
        distance(call, |a, b| bit::hamming(a, b) as f64)
    }
}

pg_fn! {
    /// `jaccard_distance(bit, bit) -> float8`, `<%>`
    fn jaccard_distance(call) {
        distance(call, bit::jaccard)
    }
}
