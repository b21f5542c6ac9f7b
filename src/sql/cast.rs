//! Casts of the dense types: to their type modifier, from and to arrays, between each other.

use super::dense::{DenseArg, build, export};
use crate::pg::array::{self, NumberArray};
use crate::pg::error::OrRaise;
use crate::pg::fmgr::Call;
use crate::vector::{Element, VectorError, dense};
use half::f16;
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
    E::narrow_all(from, to);
    match to.iter().position(|element| element.check().is_err()) {
        None => Ok(()),
        Some(at) => E::try_from_f32(from[at]).map(|_| ()),
    }
}

/// From int4, float4, float8 and numeric arrays.
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

fn to_vector<E: Element>(call: Call) -> Datum {
    let from = DenseArg::<E>::new(call, 0);
    let dims = checked_dims::<f32>(from.len(), call).or_raise();
    build(dims, |out: &mut [f32]| {
        E::widen_all(&from, out);
        Ok(())
    })
}

fn from_vector<E: Element>(call: Call) -> Datum {
    let from = DenseArg::<f32>::new(call, 0);
    let dims = checked_dims::<E>(from.len(), call).or_raise();
    build(dims, |out: &mut [E]| narrow_checked(&from, out))
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
    halfvec_to_vector = to_vector,
    vector_to_halfvec = from_vector,
}
