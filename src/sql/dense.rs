//! `vector`, `halfvec`, `bf16vec` and `bytevec`: input and output, distances, operators and functions. Each is written
//! once over [`Element`]; the tables at the end give them the C names that SQL scripts of pgvector
//! expect.

use crate::pg::array;
use crate::pg::error::{OrRaise, raise};
use crate::pg::fmgr::{Call, boolean, float8, int4};
use crate::pg::message::Message;
use crate::pg::varlena::{self, Detoasted};
use crate::vector::bytevec::ByteRange;
use crate::vector::{Element, VectorError, arithmetic, dense, text};
use half::{bf16, f16};
use pgrx::pg_sys::Datum;
use std::cmp::Ordering;
use std::marker::PhantomData;
use std::ops::Deref;

/// A dense vector among a function's arguments.
pub struct DenseArg<E>(Detoasted, PhantomData<E>);

impl<E: Element> DenseArg<E> {
    /// Argument `n` of the call.
    #[inline(always)]
    pub fn new(call: Call, n: usize) -> Self {
        DenseArg(call.arg_varlena(n), PhantomData)
    }

    /// The argument as a result.
    pub fn into_datum(self) -> Datum {
        self.0.into_datum()
    }
}

impl<E: Element> Deref for DenseArg<E> {
    type Target = [E];

    #[inline(always)]
    fn deref(&self) -> &[E] {
        dense::elements(self.0.body())
    }
}

/// Builds a vector; `fill` writes its zeroed elements.
pub fn build<E: Element>(
    dims: usize,
    fill: impl FnOnce(&mut [E]) -> Result<(), VectorError>,
) -> Datum {
    varlena::build(dense::body_len::<E>(dims), |body| {
        fill(dense::init(body)).or_raise()
    })
}

fn build_from<E: Element>(elements: &[E]) -> Datum {
    build(elements.len(), |out| {
        out.copy_from_slice(elements);
        Ok(())
    })
}

fn input<E: Element>(call: Call) -> Datum {
    let elements: Vec<E> = text::parse(call.arg_cstring(0)).or_raise();
    dense::check_typmod(elements.len(), call.arg_i32(2)).or_raise();
    build_from(&elements)
}

fn output<E: Element>(call: Call) -> Datum {
    varlena::cstring(&text::format(&DenseArg::<E>::new(call, 0)))
}

fn typmod_in<E: Element>(call: Call) -> Datum {
    int4(dense::typmod::<E>(&array::typmods(&call.arg_varlena(0))).or_raise())
}

fn receive<E: Element>(call: Call) -> Datum {
    let mut message = Message::arg(call, 0);
    let mut header = [0; dense::HEADER_LEN];
    header.copy_from_slice(message.bytes(dense::HEADER_LEN));
    let dims = dense::dims_from_network::<E>(header).or_raise();
    dense::check_typmod(dims, call.arg_i32(2)).or_raise();
    let bytes = message.bytes(dims * size_of::<E>());
    build(dims, |out: &mut [E]| {
        dense::elements_from_network(bytes, out)
    })
}

fn send<E: Element>(call: Call) -> Datum {
    let vector = DenseArg::<E>::new(call, 0);
    varlena::build(dense::body_len::<E>(vector.len()), |bytes| {
        dense::to_network(&vector, bytes)
    })
}

/// A function of two vectors of equal dimensions.
#[inline(always)]
fn binary<E: Element>(call: Call, f: impl FnOnce(&[E], &[E]) -> Datum) -> Datum {
    let (a, b) = (DenseArg::<E>::new(call, 0), DenseArg::<E>::new(call, 1));
    let (a, b) = (&*a, &*b);
    if a.len() != b.len() {
        unequal(a, b);
    }
    f(a, b)
}

#[cold]
#[inline(never)]
fn unequal<E: Element>(a: &[E], b: &[E]) -> ! {
    raise(VectorError::DifferentDimensions {
        type_name: E::TYPE_NAME,
        left: a.len(),
        right: b.len(),
    })
}

/// As [`binary`], for exports with `try`: without a guard, where both arguments are in place and
/// have as many dimensions.
#[inline(always)]
fn try_binary<E: Element>(call: Call, f: impl FnOnce(&[E], &[E]) -> Datum) -> Option<Datum> {
    let (a, b) = (call.arg_plain(0)?, call.arg_plain(1)?);
    (a.len() == b.len()).then(|| f(dense::elements(a), dense::elements(b)))
}

#[inline(always)]
fn l2_distance<E: Element>(a: &[E], b: &[E]) -> Datum {
    float8(E::l2_squared(a, b).sqrt())
}

#[inline(always)]
fn l2_squared_distance<E: Element>(a: &[E], b: &[E]) -> Datum {
    float8(E::l2_squared(a, b))
}

#[inline(always)]
fn inner_product<E: Element>(a: &[E], b: &[E]) -> Datum {
    float8(E::inner_product(a, b))
}

#[inline(always)]
fn negative_inner_product<E: Element>(a: &[E], b: &[E]) -> Datum {
    float8(-E::inner_product(a, b))
}

#[inline(always)]
fn cosine_distance<E: Element>(a: &[E], b: &[E]) -> Datum {
    float8(E::cosine_distance(a, b))
}

#[inline(always)]
fn l1_distance<E: Element>(a: &[E], b: &[E]) -> Datum {
    float8(E::l1(a, b))
}

/// The angle between unit vectors, from 0 to 1.
#[inline(always)]
fn spherical_distance<E: Element>(a: &[E], b: &[E]) -> Datum {
    let cosine = E::inner_product(a, b).clamp(-1.0, 1.0);
    float8(cosine.acos() / std::f64::consts::PI)
}

fn dims<E: Element>(call: Call) -> Datum {
    int4(DenseArg::<E>::new(call, 0).len() as i32)
}

fn norm<E: Element>(call: Call) -> Datum {
    float8(arithmetic::norm::<E>(&DenseArg::new(call, 0)))
}

fn normalize<E: Element>(call: Call) -> Datum {
    let vector = DenseArg::<E>::new(call, 0);
    build(vector.len(), |out| arithmetic::normalize(&vector, out))
}

fn add<E: Element>(call: Call) -> Datum {
    binary(call, |a, b| {
        build(a.len(), |out: &mut [E]| arithmetic::add(a, b, out))
    })
}

fn subtract<E: Element>(call: Call) -> Datum {
    binary(call, |a, b| {
        build(a.len(), |out: &mut [E]| arithmetic::subtract(a, b, out))
    })
}

fn multiply<E: Element>(call: Call) -> Datum {
    binary(call, |a, b| {
        build(a.len(), |out: &mut [E]| arithmetic::multiply(a, b, out))
    })
}

fn concatenate<E: Element>(call: Call) -> Datum {
    let (a, b) = (DenseArg::<E>::new(call, 0), DenseArg::<E>::new(call, 1));
    let dims = dense::check_dims::<E>(a.len() + b.len()).or_raise();
    build(dims, |out: &mut [E]| {
        let (head, tail) = out.split_at_mut(a.len());
        head.copy_from_slice(&a);
        tail.copy_from_slice(&b);
        Ok(())
    })
}

/// Builds the server's `bit`: number of bits as int4, then the bits, which `fill` writes.
fn build_bits(len: usize, fill: impl FnOnce(&mut [u8])) -> Datum {
    varlena::build(4 + len.div_ceil(8), |body| {
        let (header, bits) = body.split_at_mut(4);
        header.copy_from_slice(&(len as i32).to_ne_bytes());
        fill(bits);
    })
}

fn binary_quantize<E: Element>(call: Call) -> Datum {
    let vector = DenseArg::<E>::new(call, 0);
    build_bits(vector.len(), |bits| {
        arithmetic::binary_quantize(&vector, bits)
    })
}

fn binary_quantize_above<E: Element>(call: Call) -> Datum {
    let vector = DenseArg::<E>::new(call, 0);
    build_bits(vector.len(), |bits| {
        arithmetic::binary_quantize_above(&vector, call.arg_f64(1), bits)
    })
}

/// To `bytevec`, by a quantile of the vector's own magnitudes.
fn quantize_to_bytevec<E: Element>(call: Call) -> Datum {
    let vector = DenseArg::<E>::new(call, 0);
    let range = ByteRange::of_quantile(&vector, call.arg_f64(1)).or_raise();
    build_bytes(&vector, range)
}

/// To `bytevec`, between two bounds.
fn quantize_between<E: Element>(call: Call) -> Datum {
    let range = ByteRange::between(call.arg_f64(1), call.arg_f64(2)).or_raise();
    build_bytes(&DenseArg::<E>::new(call, 0), range)
}

fn build_bytes<E: Element>(vector: &[E], range: ByteRange) -> Datum {
    build(vector.len(), |bytes| {
        range.quantize(vector, bytes);
        Ok(())
    })
}

fn subvector<E: Element>(call: Call) -> Datum {
    let vector = DenseArg::<E>::new(call, 0);
    build_from(arithmetic::subvector(&vector, call.arg_i32(1), call.arg_i32(2)).or_raise())
}

#[inline(always)]
fn order<E: Element>(call: Call) -> Ordering {
    let (a, b) = (DenseArg::<E>::new(call, 0), DenseArg::<E>::new(call, 1));
    arithmetic::compare(&a, &b)
}

fn compare<E: Element>(call: Call) -> Datum {
    int4(order::<E>(call) as i32)
}

fn lt<E: Element>(call: Call) -> Datum {
    boolean(order::<E>(call).is_lt())
}

fn le<E: Element>(call: Call) -> Datum {
    boolean(order::<E>(call).is_le())
}

fn eq<E: Element>(call: Call) -> Datum {
    boolean(order::<E>(call).is_eq())
}

fn ne<E: Element>(call: Call) -> Datum {
    boolean(order::<E>(call).is_ne())
}

fn ge<E: Element>(call: Call) -> Datum {
    boolean(order::<E>(call).is_ge())
}

fn gt<E: Element>(call: Call) -> Datum {
    boolean(order::<E>(call).is_gt())
}

/// Exports generic functions for one element type: C name = function.
macro_rules! export {
    ($element:ty: $($name:ident = $($function:ident)::+,)*) => {
        $($crate::pg_fn!(fn $name(call) { $($function)::+::<$element>(call) });)*
    };
}
pub(super) use export;

/// As [`export`], for functions of two vectors of equal dimensions, with the least overhead.
macro_rules! export_distances {
    ($element:ty: $($name:ident = $function:ident,)*) => {
        $($crate::pg_fn!(fn $name(call) try {
            super::try_binary(call, super::$function::<$element>)
        } else {
            super::binary(call, super::$function::<$element>)
        });)*
    };
}

/// The exported symbols, apart from the generic functions whose names some of them share.
mod symbols {
    use super::{bf16, f16};

    export! { f32:
        vector_in = super::input,
        vector_out = super::output,
        vector_typmod_in = super::typmod_in,
        vector_recv = super::receive,
        vector_send = super::send,
        vector_dims = super::dims,
        vector_norm = super::norm,
        l2_normalize = super::normalize,
        binary_quantize = super::binary_quantize,
        binary_quantize_above = super::binary_quantize_above,
        vector_quantize_to_bytevec = super::quantize_to_bytevec,
        vector_quantize_between = super::quantize_between,
        subvector = super::subvector,
        vector_add = super::add,
        vector_sub = super::subtract,
        vector_mul = super::multiply,
        vector_concat = super::concatenate,
        vector_lt = super::lt,
        vector_le = super::le,
        vector_eq = super::eq,
        vector_ne = super::ne,
        vector_ge = super::ge,
        vector_gt = super::gt,
        vector_cmp = super::compare,
    }

    export_distances! { f32:
        l2_distance = l2_distance,
        inner_product = inner_product,
        cosine_distance = cosine_distance,
        l1_distance = l1_distance,
        vector_l2_squared_distance = l2_squared_distance,
        vector_negative_inner_product = negative_inner_product,
        vector_spherical_distance = spherical_distance,
    }

    export! { f16:
        halfvec_in = super::input,
        halfvec_out = super::output,
        halfvec_typmod_in = super::typmod_in,
        halfvec_recv = super::receive,
        halfvec_send = super::send,
        halfvec_vector_dims = super::dims,
        halfvec_l2_norm = super::norm,
        halfvec_l2_normalize = super::normalize,
        halfvec_binary_quantize = super::binary_quantize,
        halfvec_binary_quantize_above = super::binary_quantize_above,
        halfvec_quantize_to_bytevec = super::quantize_to_bytevec,
        halfvec_quantize_between = super::quantize_between,
        halfvec_subvector = super::subvector,
        halfvec_add = super::add,
        halfvec_sub = super::subtract,
        halfvec_mul = super::multiply,
        halfvec_concat = super::concatenate,
        halfvec_lt = super::lt,
        halfvec_le = super::le,
        halfvec_eq = super::eq,
        halfvec_ne = super::ne,
        halfvec_ge = super::ge,
        halfvec_gt = super::gt,
        halfvec_cmp = super::compare,
    }

    export_distances! { f16:
        halfvec_l2_distance = l2_distance,
        halfvec_inner_product = inner_product,
        halfvec_cosine_distance = cosine_distance,
        halfvec_l1_distance = l1_distance,
        halfvec_l2_squared_distance = l2_squared_distance,
        halfvec_negative_inner_product = negative_inner_product,
        halfvec_spherical_distance = spherical_distance,
    }

    export! { bf16:
        bf16vec_in = super::input,
        bf16vec_out = super::output,
        bf16vec_typmod_in = super::typmod_in,
        bf16vec_recv = super::receive,
        bf16vec_send = super::send,
        bf16vec_vector_dims = super::dims,
        bf16vec_l2_norm = super::norm,
        bf16vec_l2_normalize = super::normalize,
        bf16vec_binary_quantize = super::binary_quantize,
        bf16vec_binary_quantize_above = super::binary_quantize_above,
        bf16vec_quantize_to_bytevec = super::quantize_to_bytevec,
        bf16vec_quantize_between = super::quantize_between,
        bf16vec_subvector = super::subvector,
        bf16vec_add = super::add,
        bf16vec_sub = super::subtract,
        bf16vec_mul = super::multiply,
        bf16vec_concat = super::concatenate,
        bf16vec_lt = super::lt,
        bf16vec_le = super::le,
        bf16vec_eq = super::eq,
        bf16vec_ne = super::ne,
        bf16vec_ge = super::ge,
        bf16vec_gt = super::gt,
        bf16vec_cmp = super::compare,
    }

    export_distances! { bf16:
        bf16vec_l2_distance = l2_distance,
        bf16vec_inner_product = inner_product,
        bf16vec_cosine_distance = cosine_distance,
        bf16vec_l1_distance = l1_distance,
        bf16vec_l2_squared_distance = l2_squared_distance,
        bf16vec_negative_inner_product = negative_inner_product,
    }

    export! { i8:
        bytevec_in = super::input,
        bytevec_out = super::output,
        bytevec_typmod_in = super::typmod_in,
        bytevec_recv = super::receive,
        bytevec_send = super::send,
        bytevec_vector_dims = super::dims,
        bytevec_l2_norm = super::norm,
        bytevec_binary_quantize = super::binary_quantize,
        bytevec_binary_quantize_above = super::binary_quantize_above,
        bytevec_subvector = super::subvector,
        bytevec_add = super::add,
        bytevec_sub = super::subtract,
        bytevec_mul = super::multiply,
        bytevec_concat = super::concatenate,
        bytevec_lt = super::lt,
        bytevec_le = super::le,
        bytevec_eq = super::eq,
        bytevec_ne = super::ne,
        bytevec_ge = super::ge,
        bytevec_gt = super::gt,
        bytevec_cmp = super::compare,
    }

    export_distances! { i8:
        bytevec_l2_distance = l2_distance,
        bytevec_inner_product = inner_product,
        bytevec_cosine_distance = cosine_distance,
        bytevec_l1_distance = l1_distance,
        bytevec_l2_squared_distance = l2_squared_distance,
        bytevec_negative_inner_product = negative_inner_product,
    }
}
