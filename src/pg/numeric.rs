//! Reading `numeric` values without a function call of the server for each.
//!
//! The stored format (src/backend/utils/adt/numeric.c): a header of 16 bits, a weight of 16 bits
//! unless the header has room for it, then digits of base 10,000, the first of which counts
//! 10,000^weight.

use crate::vector::decimal::decimal_to_f32;
use pgrx::pg_sys::{self, Datum};

const SIGN_MASK: u16 = 0xC000;
const NEGATIVE: u16 = 0x4000;
const SHORT: u16 = 0x8000;
const SPECIAL: u16 = 0xC000;
const POSITIVE_INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;
const SHORT_NEGATIVE: u16 = 0x2000;
const SHORT_WEIGHT_SIGN: u16 = 0x0040;
const SHORT_WEIGHT_MASK: u16 = 0x003F;

/// The nearest f32, as the cast from `numeric` to `real` gives it; raises an ERROR as that does
/// where the number is out of range.
///
/// # Safety
/// `value` is a numeric, detoasted; `body` is what it holds after its length.
pub unsafe fn to_f32(value: Datum, body: &[u8]) -> f32 {
    body_to_f32(body).unwrap_or_else(|| {
        // SAFETY: as promised by the caller.
        let real =
            unsafe { pgrx::direct_function_call_as_datum(pg_sys::numeric_float4, &[Some(value)]) };
        let real = real.expect("a number is not NULL");
        f32::from_bits(real.value() as u32)
    })
}

/// The nearest f32 where it is quickly told.
fn body_to_f32(body: &[u8]) -> Option<f32> {
    let word = |bytes: &[u8]| u16::from_ne_bytes([bytes[0], bytes[1]]);
    let (header, rest) = body.split_first_chunk::<2>()?;
    let header = u16::from_ne_bytes(*header);
    let (negative, weight, digits) = match header & SIGN_MASK {
        SPECIAL => {
            return Some(match header & 0xF000 {
                POSITIVE_INFINITY => f32::INFINITY,
                NEGATIVE_INFINITY => f32::NEG_INFINITY,
                _ => f32::NAN,
            });
        }
        SHORT => {
            let weight = (header & SHORT_WEIGHT_MASK) as i64;
            let below = if header & SHORT_WEIGHT_SIGN != 0 {
                64
            } else {
                0
            };
            (header & SHORT_NEGATIVE != 0, weight - below, rest)
        }
        sign => {
            let (weight, rest) = rest.split_first_chunk::<2>()?;
            (sign == NEGATIVE, i16::from_ne_bytes(*weight) as i64, rest)
        }
    };
    let mut significand = 0u64;
    let mut exponent = 4 * (weight + 1);
    for digit in digits.chunks_exact(2) {
        // what no longer fits is cut off: there are more than 15 decimal digits already
        if significand > u64::MAX / 10_000 - 1 {
            break;
        }
        significand = significand * 10_000 + word(digit) as u64;
        exponent -= 4;
    }
    let magnitude = decimal_to_f32(significand, exponent)?;
    Some(if negative { -magnitude } else { magnitude })
}
