//! What a dense vector can be made of.

use super::VectorError;
use super::decimal::write_shortest;
use crate::distance;
use half::f16;
use half::slice::HalfFloatSliceExt;

/// An element type of dense vectors, and all that is particular about the SQL type made of it.
pub trait Element: bytemuck::Pod + PartialOrd {
    /// SQL name of the vector type.
    const TYPE_NAME: &'static str;
    /// Most dimensions of a value of the type.
    const MAX_DIMS: usize;

    /// The element as f32, exactly.
    fn widen(self) -> f32;
    /// The nearest element (ties to even), infinite where `value` is too large.
    fn narrow(value: f32) -> Self;
    /// Whether the element is an infinity.
    fn is_infinity(self) -> bool;
    /// Whether the element is neither infinite nor NaN.
    fn is_number(self) -> bool;
    /// Whether the element is a zero of either sign.
    fn is_zero(self) -> bool;
    /// The element from its bytes in network order; `bytes` has the size of one element.
    fn from_network(bytes: &[u8]) -> Self;
    /// Writes the element in network order; `bytes` has the size of one element.
    fn to_network(self, bytes: &mut [u8]);
    /// [`widen`](Element::widen) of every element; both have the same length.
    fn widen_all(from: &[Self], to: &mut [f32]);
    /// [`narrow`](Element::narrow) of every value; both have the same length.
    fn narrow_all(from: &[f32], to: &mut [Self]);

    /// Squared Euclidean distance.
    fn l2_squared(a: &[Self], b: &[Self]) -> f32;
    /// Inner product.
    fn inner_product(a: &[Self], b: &[Self]) -> f32;
    /// Taxicab distance.
    fn l1(a: &[Self], b: &[Self]) -> f32;
    /// Cosine distance.
    fn cosine_distance(a: &[Self], b: &[Self]) -> f64;

    /// Refuses what no stored vector contains.
    #[inline]
    fn check(self) -> Result<Self, VectorError> {
        if self.is_number() {
            return Ok(self);
        }
        let type_name = Self::TYPE_NAME;
        Err(if self.is_infinity() {
            VectorError::Infinite { type_name }
        } else {
            VectorError::NotANumber { type_name }
        })
    }

    /// The nearest element; an error where `value` is not finite or out of the type's range.
    #[inline]
    fn try_from_f32(value: f32) -> Result<Self, VectorError> {
        let element = Self::narrow(value);
        if element.is_infinity() && value.is_finite() {
            let mut number = Vec::new();
            write_shortest(value, &mut number);
            return Err(VectorError::OutOfRange {
                type_name: Self::TYPE_NAME,
                number: String::from_utf8_lossy(&number).into_owned(),
            });
        }
        element.check()
    }
}

/// What differs between the element types only in names and sizes.
macro_rules! shared_items {
    ($element:ty, $module:ident, $type_name:literal) => {
        const TYPE_NAME: &'static str = $type_name;
        const MAX_DIMS: usize = 16_000;

        #[inline(always)]
        fn is_infinity(self) -> bool {
            self.is_infinite()
        }
        #[inline(always)]
        fn is_number(self) -> bool {
            self.is_finite()
        }
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
        fn l2_squared(a: &[Self], b: &[Self]) -> f32 {
            distance::$module::l2_squared(a, b)
        }
        #[inline(always)]
        fn inner_product(a: &[Self], b: &[Self]) -> f32 {
            distance::$module::inner_product(a, b)
        }
        #[inline(always)]
        fn l1(a: &[Self], b: &[Self]) -> f32 {
            distance::$module::l1(a, b)
        }
        #[inline(always)]
        fn cosine_distance(a: &[Self], b: &[Self]) -> f64 {
            distance::$module::cosine_distance(a, b)
        }
    };
}

impl Element for f32 {
    shared_items!(f32, f32, "vector");

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
    fn narrow_all(from: &[f32], to: &mut [Self]) {
        to.copy_from_slice(from);
    }
}

impl Element for f16 {
    shared_items!(f16, f16, "halfvec");

    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
    #[inline(always)]
    fn narrow(value: f32) -> Self {
        f16::from_f32(value)
    }
    #[inline(always)]
    fn is_zero(self) -> bool {
        self.to_bits() << 1 == 0
    }
    fn widen_all(from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }
    fn narrow_all(from: &[f32], to: &mut [Self]) {
        to.convert_from_f32_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn conversions_in_blocks_are_those_of_one(bits in prop::collection::vec(any::<u32>(), 0..40)) {
            let values: Vec<f32> = bits.iter().map(|&b| f32::from_bits(b)).filter(|v| !v.is_nan()).collect();
            let mut halves = vec![f16::ZERO; values.len()];
            f16::narrow_all(&values, &mut halves);
            let mut wide = vec![0f32; values.len()];
            f16::widen_all(&halves, &mut wide);
            for ((value, half), wide) in values.iter().zip(halves).zip(wide) {
                prop_assert_eq!(f16::narrow(*value).to_bits(), half.to_bits());
                prop_assert_eq!(half.widen().to_bits(), wide.to_bits());
            }
        }

        #[test]
        fn elements_from_f32_are_finite_and_near(value in any::<f32>()) {
            prop_assert_eq!(f32::try_from_f32(value).is_ok(), value.is_finite());
            match f16::try_from_f32(value) {
                Ok(half) => prop_assert!((half.widen() - value).abs() <= (value.abs() / 2048.0).max(3e-8)),
                Err(_) => prop_assert!(value.is_nan() || value.abs() >= 65520.0),
            }
        }
    }
}
