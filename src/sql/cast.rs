//! Casts of the dense types: to their type modifier, from and to arrays, between each other.

use super::dense::{DenseArg, build, export};
use crate::pg::array::{self, NumberArray};
use crate::pg::error::OrRaise;
use crate::pg::fmgr::Call;
use crate::pg_fn;
use crate::vector::{Element, VectorError, arithmetic, dense};
use half::{bf16, f16};
use pgrx::pg_sys::Datum;

/// Applies the type modifier of a column.
fn to_typmod<E: Element>(call: Call) -> Datum {
    let vector = DenseArg::<E>::new(call, 0);
    dense::check_typmod(vector.len(), call.arg_i32(1)).or_raise();
    vector.into_datum()
}

/// Dimensions of a result, if they are allowed and what the type modifier in argument 1 says.
fn checked_dims<E: Element>(dims: usize, call: Call) -> Result<usize, VectorError> {
    dense::check_dims::<E>(dims)?;
    dense::check_typmod(dims, call.arg_i32(1))?;
    Ok(dims)
}

/// Rounds f32 to elements; an error where one is not finite or out of range.
fn narrow_checked<E: Element>(from: &[f32], to: &mut [E]) -> Result<(), VectorError> {
    if E::narrow_all(from, to) {
        return Ok(());
    }
    let refused = from.iter().find(|&&value| !E::has_near(value));
    refused.map_or(Ok(()), |&value| E::try_from_f32(value).map(|_| ()))
}

/// From int2, int4, float4, float8 and numeric arrays.
fn from_array<E: Element>(call: Call) -> Datum {
    let array = NumberArray::new(call.arg_varlena(0)).or_raise();
    let dims = checked_dims::<E>(array.len(), call).or_raise();
    let mut values = vec![0f32; dims];
    array.read_into(&mut values);
    build(dims, |out: &mut [E]| narrow_checked(&values, out))
}

fn to_real_array<E: Element>(call: Call) -> Datum {
    let vector = DenseArg::<E>::new(call, 0);
    array::build_real(vector.len(), |out| E::widen_all(&vector, out))
}

/// From integer bytes, exactly.
fn to_integers<T: bytemuck::Pod + From<i8>>(
    call: Call,
    build: impl FnOnce(usize, &mut dyn FnMut(&mut [T])) -> Datum,
) -> Datum {
    let vector = DenseArg::<i8>::new(call, 0);
    build(vector.len(), &mut |out| {
        for (out, &element) in out.iter_mut().zip(&*vector) {
            *out = element.into();
        }
    })
}

/// From one dense type to another.
fn convert<From: Element, To: Element>(call: Call) -> Datum {
    let from = DenseArg::<From>::new(call, 0);
    let dims = checked_dims::<To>(from.len(), call).or_raise();
    build(dims, |out: &mut [To]| {
        let mut result = Ok(());
        arithmetic::widened_blocks(&from, |at, block| {
            if result.is_ok() {
                result = narrow_checked(block, &mut out[at..at + block.len()]);
            }
        });
        result
    })
}

/// Exports casts from one dense type to another.
macro_rules! export_casts {
    ($($name:ident = $from:ty => $to:ty,)*) => {
        $(pg_fn!(fn $name(call) { convert::<$from, $to>(call) });)*
    };
}

export! { f32:
    vector = to_typmod,
    array_to_vector = from_array,
    vector_to_float4 = to_real_array,
}

export! { f16:
    halfvec = to_typmod,
    array_to_halfvec = from_array,
    halfvec_to_float4 = to_real_array,
}

export! { bf16:
    bf16vec = to_typmod,
    array_to_bf16vec = from_array,
    bf16vec_to_float4 = to_real_array,
}

export! { i8:
    bytevec = to_typmod,
    array_to_bytevec = from_array,
    bytevec_to_float4 = to_real_array,
}

pg_fn! {
    /// `bytevec_to_int2(bytevec, integer, boolean) -> smallint[]`
    fn bytevec_to_int2(call) { to_integers(call, |len, fill| array::build_smallint(len, fill)) }
}

pg_fn! {
    /// `bytevec_to_int4(bytevec, integer, boolean) -> integer[]`
    fn bytevec_to_int4(call) { to_integers(call, |len, fill| array::build_integer(len, fill)) }
}

export_casts! {
    halfvec_to_vector = f16 => f32,
    vector_to_halfvec = f32 => f16,
    bf16vec_to_vector = bf16 => f32,
    vector_to_bf16vec = f32 => bf16,
    bf16vec_to_halfvec = bf16 => f16,
    halfvec_to_bf16vec = f16 => bf16,
    bytevec_to_vector = i8 => f32,
    vector_to_bytevec = f32 => i8,
    bytevec_to_halfvec = i8 => f16,
    halfvec_to_bytevec = f16 => i8,
    bytevec_to_bf16vec = i8 => bf16,
    bf16vec_to_bytevec = bf16 => i8,
}
