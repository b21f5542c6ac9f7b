//! One-dimensional SQL arrays of numbers: reading any kind as f32, building those of integers and
//! floats.

use super::numeric;
use super::varlena::{self, Detoasted};
use crate::vector::VectorError;
use pgrx::pg_sys::{self, Datum, Oid};

/// Bytes of an array before its dimensions, without the length word: number of dimensions,
/// offset of the elements (0 without NULL bitmap), element type.
const HEADER_LEN: usize = 12;

/// Bytes before the first element of a one-dimensional array without NULL bitmap, without the
/// length word: the header, the dimension and its lower bound. With the length word: 24.
const ELEMENTS_AT: usize = HEADER_LEN + 8;

/// The fields of an array's header.
struct Header {
    dimensions: i32,
    elements_at: Option<usize>,
    element_type: Oid,
    len: usize,
}

impl Header {
    fn of(body: &[u8]) -> Self {
        let field = |at: usize| {
            let bytes = body.get(at..at + 4).and_then(|b| b.try_into().ok());
            i32::from_ne_bytes(bytes.unwrap_or_default())
        };
        let dimensions = field(0);
        Header {
            dimensions,
            // the offset counts from the length word
            elements_at: usize::try_from(field(4))
                .ok()
                .and_then(|offset| offset.checked_sub(pg_sys::VARHDRSZ)),
            element_type: Oid::from(field(8) as u32),
            len: match dimensions {
                1 => field(HEADER_LEN) as usize,
                _ => 0,
            },
        }
    }
}

/// An array of int2, int4, float4, float8 or numeric without NULLs.
pub struct NumberArray {
    value: Detoasted,
    element_type: Oid,
    elements_at: usize,
    len: usize,
}

impl NumberArray {
    /// Takes a detoasted array. An array of more than one dimension, one with NULLs and one of
    /// any other type is an error.
    pub fn new(value: Detoasted) -> Result<Self, VectorError> {
        let body = value.body();
        let header = Header::of(body);
        if header.dimensions > 1 {
            return Err(VectorError::ArrayNotOneDimensional);
        }
        if header.elements_at.is_some() {
            let bitmap = &body[ELEMENTS_AT..];
            let is_set = |i: usize| bitmap[i / 8] >> (i % 8) & 1 == 1;
            if !(0..header.len).all(is_set) {
                return Err(VectorError::ArrayContainsNulls);
            }
        }
        if ![
            pg_sys::INT2OID,
            pg_sys::INT4OID,
            pg_sys::FLOAT4OID,
            pg_sys::FLOAT8OID,
            pg_sys::NUMERICOID,
        ]
        .contains(&header.element_type)
        {
            return Err(VectorError::UnsupportedArrayType);
        }
        Ok(NumberArray {
            element_type: header.element_type,
            elements_at: header.elements_at.unwrap_or(ELEMENTS_AT),
            len: header.len,
            value,
        })
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Writes each element's nearest f32 into `out`, which has room for [`len`](Self::len). An
    /// int4 or float8 too large becomes infinite; a numeric too large or too small raises the
    /// ERROR of its cast to `real`.
    pub fn read_into(&self, out: &mut [f32]) {
        match self.element_type {
            pg_sys::INT2OID => self.read_fixed(out, |bytes| i16::from_ne_bytes(bytes) as f32),
            pg_sys::INT4OID => self.read_fixed(out, |bytes| i32::from_ne_bytes(bytes) as f32),
            pg_sys::FLOAT4OID => self.read_fixed(out, f32::from_ne_bytes),
            pg_sys::FLOAT8OID => self.read_fixed(out, |bytes| f64::from_ne_bytes(bytes) as f32),
            _ => self.read_numeric(out),
        }
    }

    #[inline(always)]
    fn read_fixed<const SIZE: usize>(&self, out: &mut [f32], f: impl Fn([u8; SIZE]) -> f32) {
        if out.is_empty() {
            return;
        }
        let (elements, _) = self.value.body()[self.elements_at..].as_chunks::<SIZE>();
        for (out, bytes) in out.iter_mut().zip(&elements[..self.len]) {
            *out = f(*bytes);
        }
    }

    fn read_numeric(&self, out: &mut [f32]) {
        let body = self.value.body();
        let mut at = self.elements_at;
        for out in &mut out[..self.len] {
            // A zero byte is padding or starts an aligned length word; others start a value.
            // Alignment counts from the length word of the array, which is aligned itself.
            if body[at] == 0 {
                at = at.next_multiple_of(4);
            }
            // SAFETY: an array of numeric has one after the other, each a plain varlena that is
            // aligned unless its header is short.
            unsafe {
                let element = body[at..].as_ptr().cast::<pg_sys::varlena>();
                let data = pgrx::vardata_any(element).cast::<u8>();
                let len = pgrx::varsize_any_exhdr(element);
                let digits = std::slice::from_raw_parts(data, len);
                *out = numeric::to_f32(Datum::from(element.cast_mut()), digits);
                at += pgrx::varsize_any(element);
            }
        }
    }
}

/// The elements of a `double precision[]` body, where it has one dimension, an element at least
/// and no NULLs.
pub fn doubles(body: &[u8]) -> Option<&[f64]> {
    let header = Header::of(body);
    if header.dimensions != 1
        || header.elements_at.is_some()
        || header.element_type != pg_sys::FLOAT8OID
        || header.len == 0
    {
        return None;
    }
    bytemuck::try_cast_slice(body.get(ELEMENTS_AT..)?.get(..header.len * 8)?).ok()
}

/// As [`doubles`], for writing.
pub fn doubles_mut(body: &mut [u8]) -> Option<&mut [f64]> {
    let len = doubles(body)?.len();
    bytemuck::try_cast_slice_mut(&mut body[ELEMENTS_AT..ELEMENTS_AT + len * 8]).ok()
}

/// Builds a one-dimensional array in the current memory context; `fill` writes its zeroed elements.
fn build<T: bytemuck::Pod>(element_type: Oid, len: usize, fill: impl FnOnce(&mut [T])) -> Datum {
    varlena::build(ELEMENTS_AT + len * size_of::<T>(), |body| {
        let (header, elements) = body.split_at_mut(ELEMENTS_AT);
        let fields = [1, 0, u32::from(element_type) as i32, len as i32, 1];
        for (bytes, field) in header.chunks_exact_mut(4).zip(fields) {
            bytes.copy_from_slice(&field.to_ne_bytes());
        }
        fill(bytemuck::cast_slice_mut(elements));
    })
}

/// Builds a `real[]` of `len` elements in the current memory context; `fill` writes them.
pub fn build_real(len: usize, fill: impl FnOnce(&mut [f32])) -> Datum {
    build(pg_sys::FLOAT4OID, len, fill)
}

/// Builds a `smallint[]` of `len` elements in the current memory context; `fill` writes them.
pub fn build_smallint(len: usize, fill: impl FnOnce(&mut [i16])) -> Datum {
    build(pg_sys::INT2OID, len, fill)
}

/// Builds an `integer[]` of `len` elements in the current memory context; `fill` writes them.
pub fn build_integer(len: usize, fill: impl FnOnce(&mut [i32])) -> Datum {
    build(pg_sys::INT4OID, len, fill)
}

/// Builds a `bigint[]` of `len` elements in the current memory context; `fill` writes them.
pub fn build_bigint(len: usize, fill: impl FnOnce(&mut [i64])) -> Datum {
    build(pg_sys::INT8OID, len, fill)
}

/// Builds a `double precision[]` of `len` elements in the current memory context; `fill` writes
/// them.
pub fn build_double(len: usize, fill: impl FnOnce(&mut [f64])) -> Datum {
    build(pg_sys::FLOAT8OID, len, fill)
}

/// The integers of a type modifier (`cstring[]`), as typmod_in functions get it; raises an ERROR
/// where they are none.
pub fn typmods(array: &Detoasted) -> Vec<i32> {
    let mut count = 0;
    // SAFETY: the server passes a valid array to typmod_in functions, and returns `count` integers.
    unsafe {
        let typmods = pg_sys::ArrayGetIntegerTypmods(array.as_ptr().cast(), &mut count);
        std::slice::from_raw_parts(typmods, count as usize).to_vec()
    }
}
