//! Kernels over sparse vectors: merges of two sorted index lists.

use crate::vector::SparseRef;

fn merge(a: SparseRef<'_>, b: SparseRef<'_>, mut f: impl FnMut(f32, f32)) {
    let (mut i, mut j) = (0, 0);
    while i < a.indices.len() || j < b.indices.len() {
        let x = a.indices.get(i).copied().unwrap_or(i32::MAX);
        let y = b.indices.get(j).copied().unwrap_or(i32::MAX);
        f(
            if x <= y { a.values[i] } else { 0.0 },
            if y <= x { b.values[j] } else { 0.0 },
        );
        i += (x <= y) as usize;
        j += (y <= x) as usize;
    }
}

/// Squared Euclidean distance.
pub fn l2_squared(a: SparseRef<'_>, b: SparseRef<'_>) -> f32 {
    let mut sum = 0.0;
    merge(a, b, |x, y| sum += (x - y) * (x - y));
    sum
}

/// Inner product. `inner_product(a, a)` is the squared norm.
pub fn inner_product(a: SparseRef<'_>, b: SparseRef<'_>) -> f32 {
    let mut sum = 0.0;
    merge(a, b, |x, y| sum += x * y);
    sum
}

/// Taxicab distance.
pub fn l1(a: SparseRef<'_>, b: SparseRef<'_>) -> f32 {
    let mut sum = 0.0;
    merge(a, b, |x, y| sum += (x - y).abs());
    sum
}
