//! Sparse vectors: the `sparsevec` type.
//!
//! A value on disk is pgvector's, after the varlena length word, in native byte order:
//!
//! | bytes | content |
//! |---|---|
//! | 0..4 | number of dimensions, i32, 1 to [`SparseRef::MAX_DIMS`] |
//! | 4..8 | number of elements *n*, i32, 0 to [`SparseRef::MAX_ELEMENTS`] |
//! | 8..12 | unused, zero |
//! | 12..12 + 4*n* | indices, i32, ascending, distinct, from 0 |
//! | 12 + 4*n*..12 + 8*n* | values, f32, finite, not zero |
//!
//! The binary form that clients send is the same in network byte order. In text, indices count
//! from 1: `{1:1.5,3:2}/5`.

use super::VectorError;
use super::decimal;
use super::dense::check_typmod;
use std::cmp::Ordering;

const TYPE_NAME: &str = "sparsevec";
const HEADER_LEN: usize = 12;

/// A borrowed sparse vector: values at sorted, distinct, 0-based indices below `dims`.
#[derive(Debug, Clone, Copy)]
pub struct SparseRef<'a> {
    /// number of dimensions
    pub dims: usize,
    /// positions of the non-zero elements, ascending
    pub indices: &'a [i32],
    /// the non-zero elements
    pub values: &'a [f32],
}

impl<'a> SparseRef<'a> {
    /// Most dimensions of a value.
    pub const MAX_DIMS: usize = 1_000_000_000;

    /// Most elements of a value that are not zero.
    pub const MAX_ELEMENTS: usize = 16_000;

    /// Views a value that this extension stored: checks what memory safety and loop bounds rest
    /// on (the lengths), not the elements. [`SparseRef::validate`] checks those.
    ///
    /// # Errors
    /// `DamagedValue` where the lengths contradict each other or the limits, or where `body` is
    /// not aligned to 4 bytes.
    #[inline]
    pub fn from_body(body: &'a [u8]) -> Result<Self, VectorError> {
        Self::split_body(body).ok_or(VectorError::DamagedValue {
            type_name: TYPE_NAME,
        })
    }

    #[inline(always)]
    fn split_body(body: &'a [u8]) -> Option<Self> {
        let (header, elements) = body.split_at_checked(HEADER_LEN)?;
        let header: &[i32] = bytemuck::try_cast_slice(header).ok()?;
        let (dims, count) = (header[0] as usize, header[1] as usize);
        // negative numbers are beyond the limits as usize
        if dims == 0 || dims > Self::MAX_DIMS || count > Self::MAX_ELEMENTS {
            return None;
        }
        if elements.len() != count * 8 {
            return None;
        }
        let (indices, values) = elements.split_at(count * 4);
        Some(SparseRef {
            dims,
            indices: bytemuck::try_cast_slice(indices).ok()?,
            values: bytemuck::try_cast_slice(values).ok()?,
        })
    }

    /// Checks every element: for bytes that come from outside or may be damaged.
    ///
    /// # Errors
    /// What [`WireHeader::read_elements`] says of the same elements.
    pub fn validate(&self) -> Result<(), VectorError> {
        check_dims(self.dims as i64)?;
        check_count(self.indices.len() as i64, self.dims)?;
        check_indices(self.indices, self.dims)?;
        for &value in self.values {
            check_finite(value)?;
            if value == 0.0 {
                return Err(VectorError::ZeroElement);
            }
        }
        Ok(())
    }

    /// Length of the body on disk.
    pub fn body_len(&self) -> usize {
        HEADER_LEN + 8 * self.indices.len()
    }

    /// Writes the body that [`SparseRef::from_body`] reads; `out` has [`SparseRef::body_len`]
    /// bytes.
    pub fn write_body(&self, out: &mut [u8]) {
        let (header, elements) = out.split_at_mut(HEADER_LEN);
        let words = [self.dims as i32, self.indices.len() as i32, 0];
        header.copy_from_slice(bytemuck::cast_slice(&words));
        let (indices, values) = elements.split_at_mut(4 * self.indices.len());
        indices.copy_from_slice(bytemuck::cast_slice(self.indices));
        values.copy_from_slice(bytemuck::cast_slice(self.values));
    }

    /// Appends the binary form.
    pub fn write_wire(&self, out: &mut Vec<u8>) {
        out.reserve(self.body_len());
        let header = [self.dims as i32, self.indices.len() as i32, 0];
        for word in header.iter().chain(self.indices) {
            out.extend_from_slice(&word.to_be_bytes());
        }
        for value in self.values {
            out.extend_from_slice(&value.to_be_bytes());
        }
    }

    /// Appends the text form.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        // an index of up to 10 digits, a colon, a comma
        out.reserve(self.indices.len() * (12 + decimal::MAX_TEXT_LEN) + 13);
        out.push(b'{');
        for (n, (&index, &value)) in self.indices.iter().zip(self.values).enumerate() {
            if n > 0 {
                out.push(b',');
            }
            write_integer((index as u32).wrapping_add(1), out);
            out.push(b':');
            decimal::write_shortest(value, out);
        }
        out.extend_from_slice(b"}/");
        write_integer(self.dims as u32, out);
    }

    /// Checks that two operands can be compared by distance.
    ///
    /// # Errors
    /// `DifferentDimensions`.
    #[inline]
    pub fn check_same_dims(&self, other: &SparseRef<'_>) -> Result<(), VectorError> {
        if self.dims == other.dims {
            return Ok(());
        }
        Err(VectorError::DifferentDimensions {
            type_name: TYPE_NAME,
            left: self.dims,
            right: other.dims,
        })
    }

    /// The order of btree: that of the dense vectors as SQL arrays, element by element, then by
    /// length.
    pub fn compare(&self, other: &SparseRef<'_>) -> Ordering {
        // the sign of the element that faces a zero decides
        let against_zero = |value: f32| {
            if value < 0.0 {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        };
        let (left, right) = (self.elements(), other.elements());
        for ((i, x), (j, y)) in left.zip(right) {
            match i.cmp(&j) {
                Ordering::Less => return against_zero(x),
                Ordering::Greater => return against_zero(y).reverse(),
                Ordering::Equal if x < y => return Ordering::Less,
                Ordering::Equal if x > y => return Ordering::Greater,
                Ordering::Equal => {}
            }
        }
        // one has more elements; they count where the other still has dimensions
        let common = self.indices.len().min(other.indices.len());
        if let Some((j, y)) = other.elements().nth(common)
            && (j as usize) < self.dims
        {
            return against_zero(y).reverse();
        }
        if let Some((i, x)) = self.elements().nth(common)
            && (i as usize) < other.dims
        {
            return against_zero(x);
        }
        self.dims.cmp(&other.dims)
    }

    /// Index (from 0) and value of each element.
    pub fn elements(&self) -> impl Iterator<Item = (i32, f32)> + use<'a> {
        self.indices
            .iter()
            .copied()
            .zip(self.values.iter().copied())
    }

    /// Euclidean norm, summed in f64.
    pub fn l2_norm(&self) -> f64 {
        let squares = self.values.iter().map(|&x| x as f64 * x as f64);
        // not sum(), which is -0 where there is nothing to sum
        squares.fold(0.0, |sum, square| sum + square).sqrt()
    }

    /// The vector scaled to norm 1; elements that become zero are dropped. A zero vector stays.
    pub fn l2_normalized(&self) -> SparseVector {
        let norm = self.l2_norm();
        let mut result = SparseVector::zero(self.dims);
        for (index, value) in self.elements() {
            result.push_unless_zero(index, (value as f64 / norm) as f32);
        }
        result
    }

    /// Writes the elements into `dense`, which has `dims` zeros; `f` converts an element.
    ///
    /// # Errors
    /// `DamagedValue` where an index is out of bounds, and what `f` returns.
    pub fn write_dense<T>(
        &self,
        dense: &mut [T],
        mut f: impl FnMut(f32) -> Result<T, VectorError>,
    ) -> Result<(), VectorError> {
        for (index, value) in self.elements() {
            // a negative index is beyond any length as usize
            let element = dense
                .get_mut(index as usize)
                .ok_or(VectorError::DamagedValue {
                    type_name: TYPE_NAME,
                })?;
            *element = f(value)?;
        }
        Ok(())
    }
}

/// A sparse vector that owns its elements.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseVector {
    dims: usize,
    indices: Vec<i32>,
    values: Vec<f32>,
}

impl SparseVector {
    fn zero(dims: usize) -> Self {
        SparseVector {
            dims,
            indices: Vec::new(),
            values: Vec::new(),
        }
    }

    fn push_unless_zero(&mut self, index: i32, value: f32) {
        if value != 0.0 {
            self.indices.push(index);
            self.values.push(value);
        }
    }

    /// The vector, borrowed.
    pub fn view(&self) -> SparseRef<'_> {
        SparseRef {
            dims: self.dims,
            indices: &self.indices,
            values: &self.values,
        }
    }

    /// The type modifier of `sparsevec(dims)`.
    ///
    /// # Errors
    /// `InvalidTypmod` where it is not one number, `TypmodTooSmall`, `TypmodTooLarge`.
    pub fn typmod(modifiers: &[i32]) -> Result<i32, VectorError> {
        let type_name = TYPE_NAME;
        match *modifiers {
            [dims] if dims < 1 => Err(VectorError::TypmodTooSmall { type_name }),
            [dims] if dims as usize > SparseRef::MAX_DIMS => Err(VectorError::TypmodTooLarge {
                type_name,
                max: SparseRef::MAX_DIMS,
            }),
            [dims] => Ok(dims),
            _ => Err(VectorError::InvalidTypmod),
        }
    }

    /// A vector of `dims` dimensions from elements (index from 0, value) in any order. Zeros are
    /// dropped. A `typmod` that is not negative is the number of dimensions that a column asks
    /// for, here and below.
    ///
    /// # Errors
    /// The dimensions or the number of elements are beyond the limits, or a column's; an index is
    /// out of bounds or there twice; a value is NaN or infinite.
    ///
    /// ```
    /// use vectorext::vector::SparseVector;
    /// let vector = SparseVector::from_elements(5, -1, vec![(2, 2.0), (0, 1.5), (1, 0.0)])?;
    /// assert_eq!(vector.view().indices, [0, 2]);
    /// # Ok::<(), vectorext::vector::VectorError>(())
    /// ```
    pub fn from_elements(
        dims: i64,
        typmod: i32,
        mut elements: Vec<(i32, f32)>,
    ) -> Result<Self, VectorError> {
        let dims = check_dims(dims)?;
        check_typmod(dims, typmod)?;
        elements.retain(|&(_, value)| value != 0.0);
        check_count(elements.len() as i64, SparseRef::MAX_DIMS)?;
        elements.sort_unstable_by_key(|&(index, _)| index);
        let (indices, values): (Vec<i32>, Vec<f32>) = elements.into_iter().unzip();
        check_indices(&indices, dims)?;
        values.iter().try_for_each(|&value| check_finite(value))?;
        Ok(SparseVector {
            dims,
            indices,
            values,
        })
    }

    /// The non-zero elements of a dense vector.
    ///
    /// # Errors
    /// The dimensions or the number of elements are beyond the limits, or a column's; a value is
    /// NaN or infinite.
    pub fn from_dense(
        dense: impl ExactSizeIterator<Item = f32>,
        typmod: i32,
    ) -> Result<Self, VectorError> {
        let dims = check_dims(dense.len() as i64)?;
        check_typmod(dims, typmod)?;
        let mut result = SparseVector::zero(dims);
        for (index, value) in dense.enumerate() {
            result.push_unless_zero(index as i32, value);
        }
        check_count(result.indices.len() as i64, dims)?;
        result.values.iter().try_for_each(|&x| check_finite(x))?;
        Ok(result)
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// `InvalidSyntax`; `OutOfRange` for a value that f32 cannot hold; and those of
    /// [`SparseVector::from_elements`].
    ///
    /// ```
    /// use vectorext::vector::SparseVector;
    /// let vector = SparseVector::parse(b"{3:2,1:1.5}/5", -1)?;
    /// assert_eq!(vector.view().dims, 5);
    /// assert_eq!(vector.view().indices, [0, 2]);
    /// assert_eq!(vector.view().values, [1.5, 2.0]);
    /// # Ok::<(), vectorext::vector::VectorError>(())
    /// ```
    pub fn parse(text: &[u8], typmod: i32) -> Result<Self, VectorError> {
        // zeros count here: it bounds the work before anything is read
        let written = 1 + text.iter().filter(|&&byte| byte == b',').count();
        check_count(written as i64, SparseRef::MAX_DIMS)?;
        let mut elements = Vec::with_capacity(written);
        let mut scanner = Scanner { text, at: 0 };

        if !scanner.take(b'{') {
            return Err(scanner.syntax(Some("Vector contents must start with \"{\".")));
        }
        if !scanner.take(b'}') {
            loop {
                elements.push(scanner.element()?);
                if scanner.take(b'}') {
                    break;
                }
                if !scanner.take(b',') {
                    return Err(scanner.syntax(None));
                }
            }
        }
        if !scanner.take(b'/') {
            return Err(scanner.syntax(Some("Unexpected end of input.")));
        }
        let dims = scanner.integer()?;
        scanner.skip_space();
        if scanner.at < text.len() {
            return Err(scanner.syntax(Some("Junk after closing.")));
        }
        Self::from_elements(dims, typmod, elements)
    }
}

/// The start of the binary form: what it takes to know how many bytes follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireHeader {
    dims: usize,
    count: usize,
}

impl WireHeader {
    /// Bytes of the header.
    pub const LEN: usize = HEADER_LEN;

    /// Reads and checks the first [`WireHeader::LEN`] bytes of a message.
    ///
    /// # Errors
    /// `TruncatedMessage` where there are fewer; dimensions or number of elements that are beyond
    /// the limits, or not a column's; `UnusedNotZero`.
    pub fn read(bytes: &[u8], typmod: i32) -> Result<Self, VectorError> {
        let words = words(bytes, 3)?;
        let [dims, count, unused] = [0, 1, 2].map(|n| i32::from_be_bytes(words[n]));
        let dims = check_dims(dims as i64)?;
        let count = check_count(count as i64, dims)?;
        check_typmod(dims, typmod)?;
        if unused != 0 {
            return Err(VectorError::UnusedNotZero { actual: unused });
        }
        Ok(WireHeader { dims, count })
    }

    /// Bytes that follow the header.
    pub fn elements_len(&self) -> usize {
        8 * self.count
    }

    /// Reads and checks the bytes that follow the header.
    ///
    /// # Errors
    /// `TruncatedMessage` where there are fewer than [`WireHeader::elements_len`]; else the first
    /// rule of the format that is broken.
    pub fn read_elements(&self, bytes: &[u8]) -> Result<SparseVector, VectorError> {
        let (indices, values) = words(bytes, 2 * self.count)?.split_at(self.count);
        let vector = SparseVector {
            dims: self.dims,
            indices: indices.iter().map(|&x| i32::from_be_bytes(x)).collect(),
            values: values.iter().map(|&x| f32::from_be_bytes(x)).collect(),
        };
        vector.view().validate()?;
        Ok(vector)
    }
}

/// The first `count` 32-bit words.
fn words(bytes: &[u8], count: usize) -> Result<&[[u8; 4]], VectorError> {
    let words = bytes.as_chunks::<4>().0;
    words.get(..count).ok_or(VectorError::TruncatedMessage)
}

/// A position in a text form. White space may stand around every token.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn skip_space(&mut self) {
        // what PostgreSQL's scanner takes for a space
        while let Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) = self.text.get(self.at) {
            self.at += 1;
        }
    }

    /// Whether `byte` is the next token; it is passed then.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.text.get(self.at) == Some(&byte);
        self.at += found as usize;
        found
    }

    /// `index:value`, with the index made 0-based.
    fn element(&mut self) -> Result<(i32, f32), VectorError> {
        // what i32 cannot hold is out of bounds, and stays so
        let index = self.integer()?.clamp(-i32::MAX as i64, i32::MAX as i64) - 1;
        if !self.take(b':') {
            return Err(self.syntax(None));
        }
        Ok((index as i32, self.value()?))
    }

    /// A decimal integer. What i64 cannot hold becomes the nearest that it can.
    fn integer(&mut self) -> Result<i64, VectorError> {
        self.skip_space();
        let rest = &self.text[self.at..];
        let sign_len = matches!(rest.first(), Some(b'+' | b'-')) as usize;
        let digits = rest[sign_len..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        let (magnitude, digits) = digits.fold((0i64, 0), |(value, count), byte| {
            let value = value.saturating_mul(10);
            (value.saturating_add((byte - b'0') as i64), count + 1)
        });
        if digits == 0 {
            return Err(self.syntax(None));
        }
        let negative = rest[0] == b'-';
        self.at += sign_len + digits;
        Ok(if negative { -magnitude } else { magnitude })
    }

    fn value(&mut self) -> Result<f32, VectorError> {
        self.skip_space();
        let rest = &self.text[self.at..];
        let number = decimal::parse_prefix(rest).ok_or_else(|| self.syntax(None))?;
        let written = &rest[..number.len];
        if number.overflowed || (number.value == 0.0 && !is_written_as_zero(written)) {
            return Err(VectorError::OutOfRange {
                type_name: TYPE_NAME,
                number: String::from_utf8_lossy(written).into_owned(),
            });
        }
        check_finite(number.value)?;
        self.at += number.len;
        Ok(number.value)
    }

    fn syntax(&self, detail: Option<&'static str>) -> VectorError {
        VectorError::InvalidSyntax {
            type_name: TYPE_NAME,
            input: String::from_utf8_lossy(self.text).into_owned(),
            detail,
        }
    }
}

/// Whether the significand of a finite number has only zeros, so that zero is not an underflow.
fn is_written_as_zero(number: &[u8]) -> bool {
    let hexadecimal = number.iter().any(|byte| byte | 0x20 == b'x');
    let exponent_mark = if hexadecimal { b'p' } else { b'e' };
    number
        .iter()
        .take_while(|&byte| byte | 0x20 != exponent_mark)
        .all(|byte| matches!(byte, b'0' | b'.' | b'+' | b'-' | b'x' | b'X'))
}

/// Appends a number in decimal. The formatting machinery would take longer than the element.
fn write_integer(mut value: u32, out: &mut Vec<u8>) {
    let mut digits = [0; 10];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

fn check_dims(dims: i64) -> Result<usize, VectorError> {
    if dims < 1 {
        return Err(VectorError::NoDimensions {
            type_name: TYPE_NAME,
        });
    }
    if dims > SparseRef::MAX_DIMS as i64 {
        return Err(VectorError::TooManyDimensions {
            type_name: TYPE_NAME,
            max: SparseRef::MAX_DIMS,
        });
    }
    Ok(dims as usize)
}

fn check_count(count: i64, dims: usize) -> Result<usize, VectorError> {
    if count < 0 {
        return Err(VectorError::NegativeElementCount);
    }
    if count > SparseRef::MAX_ELEMENTS as i64 {
        return Err(VectorError::TooManyElements {
            max: SparseRef::MAX_ELEMENTS,
        });
    }
    if count > dims as i64 {
        return Err(VectorError::MoreElementsThanDimensions);
    }
    Ok(count as usize)
}

fn check_indices(indices: &[i32], dims: usize) -> Result<(), VectorError> {
    let mut previous = None;
    for &index in indices {
        // a negative index is beyond any number of dimensions as usize
        if index as usize >= dims {
            return Err(VectorError::IndexOutOfBounds);
        }
        match previous.map(|previous| index.cmp(&previous)) {
            Some(Ordering::Less) => return Err(VectorError::IndicesNotAscending),
            Some(Ordering::Equal) => return Err(VectorError::DuplicateIndices),
            Some(Ordering::Greater) | None => previous = Some(index),
        }
    }
    Ok(())
}

fn check_finite(value: f32) -> Result<(), VectorError> {
    if value.is_nan() {
        return Err(VectorError::NotANumber {
            type_name: TYPE_NAME,
        });
    }
    if value.is_infinite() {
        return Err(VectorError::Infinite {
            type_name: TYPE_NAME,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
