//! Values of filter columns as numbers, and the elements of arrays.

use pgrx::pg_sys::{self, Datum, Oid};

/// Of smallint, integer or bigint.
pub fn integer(type_id: Oid, value: Datum) -> i64 {
    match type_id {
        pg_sys::INT2OID => value.value() as i16 as i64,
        pg_sys::INT4OID => value.value() as i32 as i64,
        _ => value.value() as i64,
    }
}

/// Of real or double precision.
pub fn float(type_id: Oid, value: Datum) -> f64 {
    match type_id {
        pg_sys::FLOAT4OID => f32::from_bits(value.value() as u32) as f64,
        _ => f64::from_bits(value.value() as u64),
    }
}

/// The nearest double; numbers beyond its range become infinite.
///
/// # Safety
/// `value` is a numeric.
pub unsafe fn numeric(value: Datum) -> f64 {
    // SAFETY: as promised by the caller.
    let double = unsafe {
        pgrx::direct_function_call_as_datum(pg_sys::numeric_float8_no_overflow, &[Some(value)])
    };
    f64::from_bits(double.expect("a number is not NULL").value() as u64)
}

const MICROSECONDS_A_DAY: i64 = 86_400_000_000;

/// The day of a timestamp, and whether the timestamp is its first moment.
pub fn day_of(timestamp: i64) -> (i64, bool) {
    match timestamp {
        i64::MIN => (i32::MIN as i64, true),
        i64::MAX => (i32::MAX as i64, true),
        _ => (
            timestamp.div_euclid(MICROSECONDS_A_DAY),
            timestamp.rem_euclid(MICROSECONDS_A_DAY) == 0,
        ),
    }
}

/// The first moment of a day; `None` where no timestamp is so late.
pub fn midnight_of(day: i32) -> Option<i64> {
    match day {
        i32::MIN => Some(i64::MIN),
        i32::MAX => Some(i64::MAX),
        _ => (day as i64).checked_mul(MICROSECONDS_A_DAY),
    }
}

/// The elements of an array; of that type, or of the one the array names.
///
/// # Safety
/// `array` is a non-NULL array.
pub unsafe fn elements(array: Datum, element: Oid) -> Vec<Option<Datum>> {
    // SAFETY: as promised by the caller. The detoasted array and what is made of it live in the
    // current memory context.
    unsafe {
        let array = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        let element = match element {
            Oid::INVALID => (*array).elemtype,
            element => element,
        };
        let (mut len, mut by_value, mut align) = (0, false, 0);
        pg_sys::get_typlenbyvalalign(element, &raw mut len, &raw mut by_value, &raw mut align);
        let mut values: *mut Datum = std::ptr::null_mut();
        let mut nulls: *mut bool = std::ptr::null_mut();
        let mut count = 0;
        pg_sys::deconstruct_array(
            array,
            element,
            len as i32,
            by_value,
            align,
            &raw mut values,
            &raw mut nulls,
            &raw mut count,
        );
        (0..count as usize)
            .map(|n| (!*nulls.add(n)).then(|| *values.add(n)))
            .collect()
    }
}
