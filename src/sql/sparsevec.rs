//! The `sparsevec` type: input and output, distances, order, casts.

use super::dense::{DenseArg, build};
use crate::distance::sparse;
use crate::pg::array::{self, NumberArray};
use crate::pg::error::OrRaise;
use crate::pg::fmgr::{Call, boolean, float8, int4};
use crate::pg::message::Message;
use crate::pg::varlena;
use crate::pg_fn;
use crate::vector::{Element, SparseRef, SparseVector, WireHeader, dense};
use half::{bf16, f16};
use pgrx::pg_sys::Datum;
use std::cmp::Ordering;

/// A stored value in the current memory context.
fn store(vector: SparseRef<'_>) -> Datum {
    varlena::build(vector.body_len(), |body| vector.write_body(body))
}

/// `f` of the `sparsevec` argument 0.
#[inline(always)]
fn with_one<R>(call: Call, f: impl FnOnce(SparseRef<'_>) -> R) -> R {
    let value = call.arg_varlena(0);
    f(SparseRef::from_body(value.body()).or_raise())
}

/// `f` of two `sparsevec` arguments.
#[inline(always)]
fn with_two<R>(call: Call, f: impl FnOnce(SparseRef<'_>, SparseRef<'_>) -> R) -> R {
    let (a, b) = (call.arg_varlena(0), call.arg_varlena(1));
    f(
        SparseRef::from_body(a.body()).or_raise(),
        SparseRef::from_body(b.body()).or_raise(),
    )
}

// ------------------------------------------------------------------------- input and output

pg_fn! {
    /// `sparsevec_in(cstring, oid, integer) -> sparsevec`
    fn sparsevec_in(call) {
        store(SparseVector::parse(call.arg_cstring(0), call.arg_i32(2)).or_raise().view())
    }
}

pg_fn! {
    /// `sparsevec_out(sparsevec) -> cstring`
    fn sparsevec_out(call) {
        let mut text = Vec::new();
        with_one(call, |vector| vector.write_text(&mut text));
        varlena::cstring(&text)
    }
}

pg_fn! {
    /// `sparsevec_typmod_in(cstring[]) -> integer`
    fn sparsevec_typmod_in(call) {
        int4(SparseVector::typmod(&array::typmods(&call.arg_varlena(0))).or_raise())
    }
}

pg_fn! {
    /// `sparsevec_recv(internal, oid, integer) -> sparsevec`
    fn sparsevec_recv(call) {
        let mut message = Message::arg(call, 0);
        let header = WireHeader::read(message.bytes(WireHeader::LEN), call.arg_i32(2)).or_raise();
        let vector = header.read_elements(message.bytes(header.elements_len())).or_raise();
        store(vector.view())
    }
}

pg_fn! {
    /// `sparsevec_send(sparsevec) -> bytea`
    fn sparsevec_send(call) {
        let mut wire = Vec::new();
        with_one(call, |vector| vector.write_wire(&mut wire));
        varlena::build(wire.len(), |body| body.copy_from_slice(&wire))
    }
}

// ---------------------------------------------------------------------- distances and norms

/// The metric of two `sparsevec` arguments, which must have equal dimensions.
#[inline(always)]
fn distance(call: Call, metric: impl FnOnce(SparseRef<'_>, SparseRef<'_>) -> f64) -> Datum {
    with_two(call, |a, b| {
        a.check_same_dims(&b).or_raise();
        float8(metric(a, b))
    })
}

pg_fn! {
    /// `l2_distance(sparsevec, sparsevec) -> float8`, `<->`
    fn sparsevec_l2_distance(call) {
        distance(call, |a, b| (sparse::l2_squared(a, b) as f64).sqrt())
    }
}

pg_fn! {
    /// `sparsevec_l2_squared_distance(sparsevec, sparsevec) -> float8`
    fn sparsevec_l2_squared_distance(call) {
        distance(call, |a, b| sparse::l2_squared(a, b) as f64)
    }
}

pg_fn! {
    /// `inner_product(sparsevec, sparsevec) -> float8`
    fn sparsevec_inner_product(call) {
        distance(call, |a, b| sparse::inner_product(a, b) as f64)
    }
}

pg_fn! {
    /// `sparsevec_negative_inner_product(sparsevec, sparsevec) -> float8`, `<#>`
    fn sparsevec_negative_inner_product(call) {
        distance(call, |a, b| -sparse::inner_product(a, b) as f64)
    }
}

pg_fn! {
    /// `cosine_distance(sparsevec, sparsevec) -> float8`, `<=>`
    fn sparsevec_cosine_distance(call) {
        distance(call, sparse::cosine_distance)
    }
}

pg_fn! {
    /// `l1_distance(sparsevec, sparsevec) -> float8`, `<+>`
    fn sparsevec_l1_distance(call) {
        distance(call, |a, b| sparse::l1(a, b) as f64)
    }
}

pg_fn! {
    /// `l2_norm(sparsevec) -> float8`
    fn sparsevec_l2_norm(call) {
        float8(with_one(call, |vector| vector.l2_norm()))
    }
}

pg_fn! {
    /// `l2_normalize(sparsevec) -> sparsevec`
    fn sparsevec_l2_normalize(call) {
        with_one(call, |vector| store(vector.l2_normalized().view()))
    }
}

// ------------------------------------------------------------------------------------ order

/// The btree comparison of two `sparsevec` arguments.
fn compare(call: Call) -> Ordering {
    with_two(call, |a, b| a.compare(&b))
}

pg_fn! {
    /// `sparsevec_lt(sparsevec, sparsevec) -> bool`, `<`
    fn sparsevec_lt(call) { boolean(compare(call).is_lt()) }
}

pg_fn! {
    /// `sparsevec_le(sparsevec, sparsevec) -> bool`, `<=`
    fn sparsevec_le(call) { boolean(compare(call).is_le()) }
}

pg_fn! {
    /// `sparsevec_eq(sparsevec, sparsevec) -> bool`, `=`
    fn sparsevec_eq(call) { boolean(compare(call).is_eq()) }
}

pg_fn! {
    /// `sparsevec_ne(sparsevec, sparsevec) -> bool`, `<>`
    fn sparsevec_ne(call) { boolean(compare(call).is_ne()) }
}

pg_fn! {
    /// `sparsevec_ge(sparsevec, sparsevec) -> bool`, `>=`
    fn sparsevec_ge(call) { boolean(compare(call).is_ge()) }
}

pg_fn! {
    /// `sparsevec_gt(sparsevec, sparsevec) -> bool`, `>`
    fn sparsevec_gt(call) { boolean(compare(call).is_gt()) }
}

pg_fn! {
    /// `sparsevec_cmp(sparsevec, sparsevec) -> integer`
    fn sparsevec_cmp(call) { int4(compare(call) as i32) }
}

// ------------------------------------------------------------------------------------ casts

pg_fn! {
    /// `sparsevec(sparsevec, integer, boolean) -> sparsevec`: checks the type modifier
    fn sparsevec(call) {
        let value = call.arg_varlena(0);
        let dims = SparseRef::from_body(value.body()).or_raise().dims;
        dense::check_typmod(dims, call.arg_i32(1)).or_raise();
        value.into_datum()
    }
}

/// A cast from a dense type.
fn from_dense<E: Element>(call: Call) -> Datum {
    let dense = DenseArg::<E>::new(call, 0);
    let values = dense.iter().map(|element| element.widen());
    store(
        SparseVector::from_dense(values, call.arg_i32(1))
            .or_raise()
            .view(),
    )
}

/// A cast to a dense type.
fn to_dense<E: Element>(call: Call) -> Datum {
    with_one(call, |vector| {
        let dims = dense::check_dims::<E>(vector.dims).or_raise();
        dense::check_typmod(dims, call.arg_i32(1)).or_raise();
        build(dims, |out: &mut [E]| {
            vector.write_dense(out, E::try_from_f32)
        })
    })
}

pg_fn! {
    /// `vector_to_sparsevec(vector, integer, boolean) -> sparsevec`
    fn vector_to_sparsevec(call) { from_dense::<f32>(call) }
}

pg_fn! {
    /// `halfvec_to_sparsevec(halfvec, integer, boolean) -> sparsevec`
    fn halfvec_to_sparsevec(call) { from_dense::<f16>(call) }
}

pg_fn! {
    /// `sparsevec_to_vector(sparsevec, integer, boolean) -> vector`
    fn sparsevec_to_vector(call) { to_dense::<f32>(call) }
}

pg_fn! {
    /// `sparsevec_to_halfvec(sparsevec, integer, boolean) -> halfvec`
    fn sparsevec_to_halfvec(call) { to_dense::<f16>(call) }
}

pg_fn! {
    /// `bf16vec_to_sparsevec(bf16vec, integer, boolean) -> sparsevec`
    fn bf16vec_to_sparsevec(call) { from_dense::<bf16>(call) }
}

pg_fn! {
    /// `sparsevec_to_bf16vec(sparsevec, integer, boolean) -> bf16vec`
    fn sparsevec_to_bf16vec(call) { to_dense::<bf16>(call) }
}

pg_fn! {
    /// `bytevec_to_sparsevec(bytevec, integer, boolean) -> sparsevec`
    fn bytevec_to_sparsevec(call) { from_dense::<i8>(call) }
}

pg_fn! {
    /// `sparsevec_to_bytevec(sparsevec, integer, boolean) -> bytevec`
    fn sparsevec_to_bytevec(call) { to_dense::<i8>(call) }
}

pg_fn! {
    /// `array_to_sparsevec(integer[], integer, boolean) -> sparsevec`, and from `real[]`,
    /// `double precision[]`, `numeric[]`
    fn array_to_sparsevec(call) {
        let array = NumberArray::new(call.arg_varlena(0)).or_raise();
        let mut values = vec![0.0; array.len()];
        array.read_into(&mut values);
        store(SparseVector::from_dense(values.into_iter(), call.arg_i32(1)).or_raise().view())
    }
}
