//! Kernels over dense f16 elements. Sums are kept in f32.

/// Squared Euclidean distance. Both operands have the same length.
#[inline]
pub fn l2_squared(a: &[half::f16], b: &[half::f16]) -> f32 {
    a.iter()
        .zip(b)
        .map(|(x, y)| (x.to_f32() - y.to_f32()) * (x.to_f32() - y.to_f32()))
        .sum()
}

/// Inner product. Both operands have the same length. `inner_product(a, a)` is the squared norm.
#[inline]
pub fn inner_product(a: &[half::f16], b: &[half::f16]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x.to_f32() * y.to_f32()).sum()
}

/// Taxicab distance. Both operands have the same length.
#[inline]
pub fn l1(a: &[half::f16], b: &[half::f16]) -> f32 {
    a.iter()
        .zip(b)
        .map(|(x, y)| (x.to_f32() - y.to_f32()).abs())
        .sum()
}
