//! Kernels over dense f32 elements. Sums are kept in f32.

/// Squared Euclidean distance. Both operands have the same length.
#[inline]
pub fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// Inner product. Both operands have the same length. `inner_product(a, a)` is the squared norm.
#[inline]
pub fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Taxicab distance. Both operands have the same length.
#[inline]
pub fn l1(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).sum()
}
