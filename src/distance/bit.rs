//! Kernels over bit strings, as bytes; padding bits are zero in both operands.

/// Number of differing bits. Both operands have the same length.
#[inline]
pub fn hamming(a: &[u8], b: &[u8]) -> u64 {
    a.iter()
        .zip(b)
        .map(|(x, y)| (x ^ y).count_ones() as u64)
        .sum()
}

/// Jaccard distance, 1 - |a and b| / |a or b|; 1 where both are empty.
#[inline]
pub fn jaccard(a: &[u8], b: &[u8]) -> f64 {
    let (mut both, mut any) = (0u64, 0u64);
    for (x, y) in a.iter().zip(b) {
        both += (x & y).count_ones() as u64;
        any += (x | y).count_ones() as u64;
    }
    if both == 0 {
        1.0
    } else {
        1.0 - both as f64 / any as f64
    }
}
