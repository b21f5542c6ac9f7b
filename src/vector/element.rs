//! What a dense vector can be made of.

use super::VectorError;
use super::decimal::{self, TextRoom, write_shortest};
use crate::distance;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// An element type of dense vectors, and all that is particular about the SQL type made of it.
pub trait Element: bytemuck::Pod + PartialOrd {
    /// SQL name of the vector type.
    const TYPE_NAME: &'static str;
    /// Most dimensions of a value of the type.
    const MAX_DIMS: usize;

    /// The element as f32, exactly.
    fn widen(self) -> f32;
    /// The nearest element (ties to even). What is beyond the range becomes infinite, or the end of
    /// the range where the type has no infinity.
    fn narrow(value: f32) -> Self;
    /// Whether [`narrow`](Element::narrow) gives an element near `value`: not where that is beyond
    /// the range, infinite or NaN.
    fn has_near(value: f32) -> bool;
    /// Refuses what no stored vector contains.
    fn check(self) -> Result<Self, VectorError>;
    /// Whether the element is a zero of either sign.
    fn is_zero(self) -> bool;
    /// The element from its bytes in network order; `bytes` has the size of one element.
    fn from_network(bytes: &[u8]) -> Self;
    /// Writes the element in network order; `bytes` has the size of one element.
    fn to_network(self, bytes: &mut [u8]);
    /// The element at the start of a text, and the bytes it takes.
    fn read(text: &[u8]) -> Result<(Self, usize), Unreadable>;
    /// Writes the element's text; returns its length.
    fn write(self, text: &mut TextRoom) -> usize;
    /// [`widen`](Element::widen) of every element; both have the same length.
    fn widen_all(from: &[Self], to: &mut [f32]);
    /// [`narrow`](Element::narrow) of every value; both have the same length. Returns whether
    /// [`has_near`](Element::has_near) holds for all.
    fn narrow_all(from: &[f32], to: &mut [Self]) -> bool;

    /// Squared Euclidean distance.
    fn l2_squared(a: &[Self], b: &[Self]) -> f64;
    /// Inner product.
    fn inner_product(a: &[Self], b: &[Self]) -> f64;
    /// Taxicab distance.
    fn l1(a: &[Self], b: &[Self]) -> f64;
    /// Cosine distance.
    fn cosine_distance(a: &[Self], b: &[Self]) -> f64;

    /// The nearest element; an error where `value` is not finite or out of the type's range.
    #[inline]
    fn try_from_f32(value: f32) -> Result<Self, VectorError> {
        if Self::has_near(value) {
            return Ok(Self::narrow(value));
        }
        let type_name = Self::TYPE_NAME;
        Err(if value.is_nan() {
            VectorError::NotANumber { type_name }
        } else if value.is_infinite() {
            VectorError::Infinite { type_name }
        } else {
            let mut number = Vec::new();
            write_shortest(value, &mut number);
            VectorError::OutOfRange {
                type_name,
                number: String::from_utf8_lossy(&number).into_owned(),
            }
        })
    }
}

/// Why a text does not start with an element.
#[derive(Debug, Clone, PartialEq)]
pub enum Unreadable {
    /// It does not start with a number of the kind; what is wrong, where that can be said.
    Syntax(Option<&'static str>),
    /// The number, of so many bytes, is out of the type's range.
    OutOfRange(usize),
    /// No stored vector contains it.
    Refused(VectorError),
}

/// What all element types have in common but for names.
macro_rules! shared_items {
    ($element:ty, $module:ident, $type_name:literal) => {
        const TYPE_NAME: &'static str = $type_name;
        const MAX_DIMS: usize = 16_000;

        #[inline(always)]
        fn from_network(bytes: &[u8]) -> Self {
            let mut native = [0; size_of::<$element>()];
            native.copy_from_slice(bytes);
            <$element>::from_be_bytes(native)
        }
        #[inline(always)]
        fn to_network(self, bytes: &mut [u8]) {
            bytes.copy_from_slice(&self.to_be_bytes());
        }
        #[inline(always)]
        fn l2_squared(a: &[Self], b: &[Self]) -> f64 {
            distance::$module::l2_squared(a, b) as f64
        }
        #[inline(always)]
        fn inner_product(a: &[Self], b: &[Self]) -> f64 {
            distance::$module::inner_product(a, b) as f64
        }
        #[inline(always)]
        fn l1(a: &[Self], b: &[Self]) -> f64 {
            distance::$module::l1(a, b) as f64
        }
        #[inline(always)]
        fn cosine_distance(a: &[Self], b: &[Self]) -> f64 {
            distance::$module::cosine_distance(a, b)
        }
    };
}

/// What the floating-point types have in common.
macro_rules! float_items {
    () => {
        #[inline(always)]
        fn has_near(value: f32) -> bool {
            Self::narrow(value).is_finite()
        }
        #[inline(always)]
        fn check(self) -> Result<Self, VectorError> {
            let type_name = Self::TYPE_NAME;
            if self.is_finite() {
                Ok(self)
            } else if self.is_infinite() {
                Err(VectorError::Infinite { type_name })
            } else {
                Err(VectorError::NotANumber { type_name })
            }
        }
        #[inline(always)]
        fn read(text: &[u8]) -> Result<(Self, usize), Unreadable> {
            let number = decimal::parse_prefix(text).ok_or(Unreadable::Syntax(None))?;
            let element = Self::narrow(number.value);
            if number.overflowed || (element.is_infinite() && number.value.is_finite()) {
                return Err(Unreadable::OutOfRange(number.len));
            }
            let element = element.check().map_err(Unreadable::Refused)?;
            Ok((element, number.len))
        }
        #[inline(always)]
        fn write(self, text: &mut TextRoom) -> usize {
            decimal::shortest_text(self.widen(), text)
        }
    };
}

/// What the two half-precision types have in common.
macro_rules! half_items {
    () => {
        #[inline(always)]
        fn widen(self) -> f32 {
            self.to_f32()
        }
        #[inline(always)]
        fn narrow(value: f32) -> Self {
            Self::from_f32(value)
        }
        #[inline(always)]
        fn is_zero(self) -> bool {
            self.to_bits() << 1 == 0
        }
        fn widen_all(from: &[Self], to: &mut [f32]) {
            from.convert_to_f32_slice(to);
        }
        fn narrow_all(from: &[f32], to: &mut [Self]) -> bool {
            to.convert_from_f32_slice(from);
            to.iter().fold(true, |all, x| all & x.is_finite())
        }
    };
}

impl Element for f32 {
    shared_items!(f32, f32, "vector");
    float_items!();

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
    #[inline(always)]
    fn narrow(value: f32) -> Self {
        value
    }
    #[inline(always)]
    fn is_zero(self) -> bool {
        self == 0.0
    }
    fn widen_all(from: &[Self], to: &mut [f32]) {
        to.copy_from_slice(from);
    }
    fn narrow_all(from: &[f32], to: &mut [Self]) -> bool {
        to.copy_from_slice(from);
        to.iter().fold(true, |all, x| all & x.is_finite())
    }
}

impl Element for f16 {
    shared_items!(f16, f16, "halfvec");
    float_items!();
    half_items!();
}

impl Element for bf16 {
    shared_items!(bf16, bf16, "bf16vec");
    float_items!();
    half_items!();
}

impl Element for i8 {
    shared_items!(i8, i8, "bytevec");

    #[inline(always)]
    fn widen(self) -> f32 {
        self as f32
    }
    #[inline(always)]
    fn narrow(value: f32) -> Self {
        value.round_ties_even() as i8
    }
    #[inline(always)]
    fn has_near(value: f32) -> bool {
        // what rounds to -128 or 127, half a step to even
        (-128.5..127.5).contains(&value)
    }
    #[inline(always)]
    fn check(self) -> Result<Self, VectorError> {
        Ok(self)
    }
    #[inline(always)]
    fn is_zero(self) -> bool {
        self == 0
    }
    /// Digits with a sign or not, as for the server's integer types.
    #[inline(always)]
    fn read(text: &[u8]) -> Result<(Self, usize), Unreadable> {
        let sign_len = matches!(text.first(), Some(b'+' | b'-')) as usize;
        let digits = text[sign_len..].iter().take_while(|c| c.is_ascii_digit());
        let (magnitude, count) = digits.fold((0i32, 0), |(value, count), digit| {
            // far outside of the range, far inside of i32
            let value = (value * 10 + (digit - b'0') as i32).min(1 << 20);
            (value, count + 1)
        });
        let len = sign_len + count;
        let goes_on = |c: &u8| c.is_ascii_alphanumeric() || *c == b'.';
        if count == 0 || text.get(len).is_some_and(goes_on) {
            return Err(Unreadable::Syntax(Some(
                "Elements of a bytevec are integers from -128 to 127.",
            )));
        }
        let value = match text[0] {
            b'-' => -magnitude,
            _ => magnitude,
        };
        match i8::try_from(value) {
            Ok(element) => Ok((element, len)),
            Err(_) => Err(Unreadable::OutOfRange(len)),
        }
    }
    #[inline(always)]
    fn write(self, text: &mut TextRoom) -> usize {
        let magnitude = self.unsigned_abs();
        let sign_len = (self < 0) as usize;
        text[0] = b'-';
        let count = 1 + (magnitude > 9) as usize + (magnitude > 99) as usize;
        let mut rest = magnitude;
        for digit in text[sign_len..sign_len + count].iter_mut().rev() {
            *digit = b'0' + rest % 10;
            rest /= 10;
        }
        sign_len + count
    }
    fn widen_all(from: &[Self], to: &mut [f32]) {
        for (to, &from) in to.iter_mut().zip(from) {
            *to = from as f32;
        }
    }
    fn narrow_all(from: &[f32], to: &mut [Self]) -> bool {
        let mut all = true;
        for (to, &from) in to.iter_mut().zip(from) {
            *to = Self::narrow(from);
            all &= Self::has_near(from);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blocks_agree<E: Element>(values: &[f32]) -> Result<(), TestCaseError> {
        let mut narrow = vec![E::zeroed(); values.len()];
        let all = E::narrow_all(values, &mut narrow);
        prop_assert_eq!(all, values.iter().all(|&v| E::has_near(v)));
        let mut wide = vec![0f32; values.len()];
        E::widen_all(&narrow, &mut wide);
        for ((value, element), wide) in values.iter().zip(narrow).zip(wide) {
            let alone = E::narrow(*value);
            prop_assert_eq!(bytemuck::bytes_of(&alone), bytemuck::bytes_of(&element));
            prop_assert_eq!(element.widen().to_bits(), wide.to_bits());
        }
        Ok(())
    }

    fn is_near<E: Element>(
        value: f32,
        step: f32,
        least: f32,
        beyond: f32,
    ) -> Result<(), TestCaseError> {
        match E::try_from_f32(value) {
            Ok(element) => {
                let off = (element.widen() - value).abs();
                prop_assert!(off <= (value.abs() * step).max(least), "{value} {off}");
            }
            Err(_) => prop_assert!(value.is_nan() || value.abs() >= beyond, "{value}"),
        }
        Ok(())
    }

    #[test]
    fn bytes_are_rounded_and_bounded_like_the_server_s_integers() {
        for (value, expected) in [
            (0.5, Some(0)),
            (1.5, Some(2)),
            (-2.5, Some(-2)),
            (127.49, Some(127)),
            (127.5, None),
            (-128.5, Some(-128)),
            (-128.51, None),
            (f32::INFINITY, None),
            (f32::NAN, None),
        ] {
            assert_eq!(i8::try_from_f32(value).ok(), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn conversions_in_blocks_are_those_of_one(
            bits in prop::collection::vec(any::<u32>(), 0..40),
            bytes in prop::collection::vec(-140f32..140.0, 0..40),
        ) {
            let values: Vec<f32> = bits.iter().map(|&b| f32::from_bits(b)).filter(|v| !v.is_nan()).collect();
            blocks_agree::<f32>(&values)?;
            blocks_agree::<f16>(&values)?;
            blocks_agree::<bf16>(&values)?;
            blocks_agree::<i8>(&values)?;
            blocks_agree::<i8>(&bytes)?;
        }

        #[test]
        fn elements_from_f32_are_finite_and_near(value in any::<f32>(), small in -200f32..200.0) {
            is_near::<f32>(value, 0.0, 0.0, f32::INFINITY)?;
            is_near::<f16>(value, 1.0 / 2048.0, 3e-8, 65520.0)?;
            is_near::<bf16>(value, 1.0 / 256.0, 1e-40, 3.3961775e38)?;
            is_near::<i8>(value, 0.0, 0.5, 127.5)?;
            is_near::<i8>(small, 0.0, 0.5, 127.5)?;
        }
    }
}
