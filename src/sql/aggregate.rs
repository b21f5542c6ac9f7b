//! `avg` of the dense types. Its state is a `double precision[]`: the number of rows, then the sum
//! of every dimension; `{0}` before the first row. `sum` is the `+` operator; for `bf16vec` and
//! `bytevec`, whose elements hold no sums, it is taken from the same state, and both results are a
//! `vector`.

use super::dense::{DenseArg, build, export};
use crate::pg::array;
use crate::pg::error::{OrRaise, raise};
use crate::pg::fmgr::Call;
use crate::pg::varlena::Detoasted;
use crate::vector::{Element, VectorError, arithmetic, dense};
use half::{bf16, f16};
use pgrx::pg_sys::Datum;

/// The numbers of a state.
fn state<'a>(value: &'a Detoasted, function: &'static str) -> Result<&'a [f64], VectorError> {
    array::doubles(value.body()).ok_or(VectorError::ExpectedStateArray { function })
}

/// What is particular about the functions of one type.
trait Summed: Element {
    const ACCUM: &'static str;
}

/// What is particular about the functions of a result type.
trait Average: Element {
    const AVG: &'static str;
}

impl Summed for f32 {
    const ACCUM: &'static str = "vector_accum";
}

impl Summed for f16 {
    const ACCUM: &'static str = "halfvec_accum";
}

impl Summed for bf16 {
    const ACCUM: &'static str = "bf16vec_accum";
}

impl Summed for i8 {
    const ACCUM: &'static str = "bytevec_accum";
}

impl Average for f32 {
    const AVG: &'static str = "vector_avg";
}

impl Average for f16 {
    const AVG: &'static str = "halfvec_avg";
}

/// Adds a row to a state.
fn accumulate<E: Summed>(call: Call) -> Datum {
    let mut old = call.arg_varlena(0);
    let row = DenseArg::<E>::new(call, 1);
    let sums = state(&old, E::ACCUM).or_raise();
    if sums.len() == 1 {
        return array::build_double(row.len() + 1, |new| {
            new[0] = sums[0];
            add_row(new, &row).or_raise();
        });
    }
    dense::check_typmod(row.len(), sums.len() as i32 - 1).or_raise();
    if old.is_in_place() && call.is_aggregate() {
        // SAFETY: it is the state of the aggregate that is running.
        let sums = array::doubles_mut(unsafe { old.body_mut() }).expect("checked above");
        add_row(sums, &row).or_raise();
        old.into_datum()
    } else {
        array::build_double(sums.len(), |new| {
            new.copy_from_slice(sums);
            add_row(new, &row).or_raise();
        })
    }
}

fn add_row<E: Element>(sums: &mut [f64], row: &[E]) -> Result<(), VectorError> {
    sums[0] += 1.0;
    let sums = &mut sums[1..];
    let mut overflow = false;
    arithmetic::widened_blocks(row, |at, block| {
        for (sum, &x) in sums[at..].iter_mut().zip(block) {
            *sum += x as f64;
            overflow |= sum.is_infinite();
        }
    });
    match overflow {
        true => Err(VectorError::Overflow),
        false => Ok(()),
    }
}

/// Adds the states of two workers. The element type is not in the state; what is wrong with one is
/// said of `vector`.
fn combine<E: Element>(call: Call) -> Datum {
    let (a, b) = (call.arg_varlena(0), call.arg_varlena(1));
    let a = state(&a, "vector_combine").or_raise();
    let b = state(&b, "vector_combine").or_raise();
    let (long, short) = if a.len() == 1 { (b, a) } else { (a, b) };
    if long.len() > 1 {
        dense::check_dims::<E>(long.len() - 1).or_raise();
    }
    if short.len() > 1 {
        dense::check_typmod(short.len() - 1, long.len() as i32 - 1).or_raise();
    }
    array::build_double(long.len(), |sums| {
        sums.copy_from_slice(long);
        sums[0] += short[0];
        for (sum, x) in sums[1..].iter_mut().zip(&short[1..]) {
            *sum += x;
            if sum.is_infinite() {
                raise(VectorError::Overflow);
            }
        }
    })
}

/// The vector of `element(sum, rows)` for every sum of a state; NULL where there were no rows.
fn finish<E: Element>(
    call: Call,
    function: &'static str,
    element: impl Fn(f64, f64) -> Result<E, VectorError>,
) -> Datum {
    let value = call.arg_varlena(0);
    let sums = state(&value, function).or_raise();
    let (rows, sums) = (sums[0], &sums[1..]);
    if rows == 0.0 {
        return call.null();
    }
    let dims = dense::check_dims::<E>(sums.len()).or_raise();
    build(dims, |out: &mut [E]| {
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = element(*sum, rows)?;
        }
        Ok(())
    })
}

/// The mean of the rows of a state.
fn average<E: Average>(call: Call) -> Datum {
    finish(call, E::AVG, |sum, rows| {
        E::try_from_f32((sum / rows) as f32)
    })
}

crate::pg_fn! {
    /// `vector_sum(double precision[]) -> vector`: the sum of the rows of a state
    fn vector_sum(call) {
        finish(call, "vector_sum", |sum, _| {
            f32::try_from_f32(sum as f32).map_err(|_| VectorError::Overflow)
        })
    }
}

export! { f32:
    vector_accum = accumulate,
    vector_combine = combine,
    vector_avg = average,
}

export! { f16:
    halfvec_accum = accumulate,
    halfvec_avg = average,
}

export! { bf16: bf16vec_accum = accumulate, }
export! { i8: bytevec_accum = accumulate, }
