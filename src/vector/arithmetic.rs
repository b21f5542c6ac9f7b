//! What SQL computes with dense vectors besides distances. Results go into slices of the operands'
//! length.

use super::{Element, VectorError};
use std::cmp::Ordering;

/// Elements widened at a time: half-precision conversions are fast in blocks only.
const BLOCK: usize = 64;

/// Calls `f` for blocks of elements as f32, with the index of the first of the block.
#[inline(always)]
pub fn widened_blocks<E: Element>(a: &[E], mut f: impl FnMut(usize, &[f32])) {
    let mut block = [0f32; BLOCK];
    for (i, elements) in a.chunks(BLOCK).enumerate() {
        let block = &mut block[..elements.len()];
        E::widen_all(elements, block);
        f(i * BLOCK, block);
    }
}

/// Element by element, in f32; an error where a result is beyond the elements' range.
#[inline(always)]
fn map2<E: Element>(
    a: &[E],
    b: &[E],
    out: &mut [E],
    operation: impl Fn(f32, f32) -> f32,
) -> Result<(), VectorError> {
    let mut y = [0f32; BLOCK];
    let mut result = [0f32; BLOCK];
    let mut overflow = false;
    widened_blocks(a, |at, x| {
        let (y, result) = (&mut y[..x.len()], &mut result[..x.len()]);
        E::widen_all(&b[at..at + x.len()], y);
        for ((result, &x), &y) in result.iter_mut().zip(x).zip(&*y) {
            *result = operation(x, y);
        }
        overflow |= !E::narrow_all(result, &mut out[at..at + x.len()]);
    });
    match overflow {
        true => Err(VectorError::Overflow),
        false => Ok(()),
    }
}

/// `out = a + b`
pub fn add<E: Element>(a: &[E], b: &[E], out: &mut [E]) -> Result<(), VectorError> {
    map2(a, b, out, |x, y| x + y)
}

/// `out = a - b`
pub fn subtract<E: Element>(a: &[E], b: &[E], out: &mut [E]) -> Result<(), VectorError> {
    map2(a, b, out, |x, y| x - y)
}

/// `out = a * b`, element by element; a product that vanishes is an error.
pub fn multiply<E: Element>(a: &[E], b: &[E], out: &mut [E]) -> Result<(), VectorError> {
    map2(a, b, out, |x, y| x * y)?;
    let vanished =
        |((product, x), y): ((&E, &E), &E)| product.is_zero() & !x.is_zero() & !y.is_zero();
    match out.iter().zip(a).zip(b).any(vanished) {
        true => Err(VectorError::Underflow),
        false => Ok(()),
    }
}

/// Euclidean norm, in f64 throughout: squares of large f32 fit.
pub fn norm<E: Element>(a: &[E]) -> f64 {
    const LANES: usize = 8;
    let square = |x: f32| x as f64 * x as f64;
    let mut sums = [0f64; LANES];
    widened_blocks(a, |_, block| {
        let (chunks, rest) = block.as_chunks::<LANES>();
        for chunk in chunks {
            for (sum, &x) in sums.iter_mut().zip(chunk) {
                *sum += square(x);
            }
        }
        sums[0] += rest.iter().map(|&x| square(x)).sum::<f64>();
    });
    sums.iter().sum::<f64>().sqrt()
}

/// `out = a / |a|`; zero where `a` is.
pub fn normalize<E: Element>(a: &[E], out: &mut [E]) -> Result<(), VectorError> {
    let norm = norm(a);
    if norm == 0.0 {
        out.fill(E::zeroed());
        return Ok(());
    }
    let mut result = [0f32; BLOCK];
    let mut overflow = false;
    widened_blocks(a, |at, block| {
        let result = &mut result[..block.len()];
        for (result, &x) in result.iter_mut().zip(block) {
            *result = (x as f64 / norm) as f32;
        }
        overflow |= !E::narrow_all(result, &mut out[at..at + block.len()]);
    });
    match overflow {
        true => Err(VectorError::Overflow),
        false => Ok(()),
    }
}

/// One bit an element, first element in the highest bit of the first byte: set where `is_set` says
/// so. `bits` has a byte for every eight elements begun.
#[inline(always)]
fn bits_where<E: Element>(a: &[E], bits: &mut [u8], is_set: impl Fn(E) -> bool) {
    for (byte, elements) in bits.iter_mut().zip(a.chunks(8)) {
        *byte = elements
            .iter()
            .enumerate()
            .fold(0, |byte, (i, x)| byte | (is_set(*x) as u8) << (7 - i));
    }
}

/// One bit an element, first element in the highest bit of the first byte: set where positive.
/// `bits` has a byte for every eight elements begun.
pub fn binary_quantize<E: Element>(a: &[E], bits: &mut [u8]) {
    bits_where(a, bits, |x| x > E::zeroed());
}

/// As [`binary_quantize`], a bit being set where the element is above `threshold`.
pub fn binary_quantize_above<E: Element>(a: &[E], threshold: f64, bits: &mut [u8]) {
    bits_where(a, bits, |x| x.widen() as f64 > threshold);
}

/// `count` elements from the `start`-th on, counted from 1; cut to what the vector has, as SQL's
/// `substring` does.
pub fn subvector<E: Element>(a: &[E], start: i32, count: i32) -> Result<&[E], VectorError> {
    let nothing = VectorError::NoDimensions {
        type_name: E::TYPE_NAME,
    };
    if count < 1 {
        return Err(nothing);
    }
    let last = a.len() as i64;
    let from = (start as i64 - 1).clamp(0, last);
    let to = (start as i64 - 1 + count as i64).clamp(0, last);
    match a.get(from as usize..to as usize) {
        Some(part) if !part.is_empty() => Ok(part),
        _ => Err(nothing),
    }
}

/// The order of the comparison operators: the first unequal elements decide, then the lengths, as
/// with SQL arrays.
pub fn compare<E: Element>(a: &[E], b: &[E]) -> Ordering {
    a.iter()
        .zip(b)
        // elements are finite, so that they always compare
        .find_map(|(x, y)| x.partial_cmp(y).filter(|order| order.is_ne()))
        .unwrap_or(a.len().cmp(&b.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;
    use proptest::prelude::*;

    fn halves(values: &[f32]) -> Vec<f16> {
        values.iter().map(|&v| f16::from_f32(v)).collect()
    }

    #[test]
    fn arithmetic_overflows_and_underflows() {
        let mut out = [0f32; 1];
        assert_eq!(add(&[3e38], &[3e38], &mut out), Err(VectorError::Overflow));
        assert_eq!(
            subtract(&[-3e38], &[3e38], &mut out),
            Err(VectorError::Overflow)
        );
        assert_eq!(
            multiply(&[1e37], &[1e37], &mut out),
            Err(VectorError::Overflow)
        );
        assert_eq!(
            multiply(&[1e-37], &[1e-37], &mut out),
            Err(VectorError::Underflow)
        );
        assert_eq!(multiply(&[-0.0], &[1e-37], &mut out), Ok(()));
        let mut out = halves(&[0.0]);
        let (large, small) = (halves(&[65504.0]), halves(&[1e-7]));
        assert_eq!(add(&large, &large, &mut out), Err(VectorError::Overflow));
        assert_eq!(
            multiply(&small, &small, &mut out),
            Err(VectorError::Underflow)
        );
    }

    #[test]
    fn bytes_overflow_instead_of_wrapping_or_saturating() {
        let mut out = [0i8; 2];
        add(&[100, -100], &[27, -28], &mut out).unwrap();
        assert_eq!(out, [127, -128]);
        multiply(&[-16, 11], &[8, 11], &mut out).unwrap();
        assert_eq!(out, [-128, 121]);
        for (a, b) in [(100, 28), (-100, -29)] {
            assert_eq!(add(&[0, a], &[0, b], &mut out), Err(VectorError::Overflow));
        }
        assert_eq!(
            subtract(&[0, -128], &[0, 1], &mut out),
            Err(VectorError::Overflow)
        );
        assert_eq!(
            multiply(&[0, -16], &[0, -8], &mut out),
            Err(VectorError::Overflow)
        );
    }

    #[test]
    fn blocks_have_no_seams() {
        for dims in [1, 63, 64, 65, 127, 128, 129, 200] {
            let a: Vec<f32> = (0..dims).map(|i| i as f32 + 1.0).collect();
            let b: Vec<f32> = a.iter().map(|x| x * 0.5).collect();
            let by = |f: fn(f32, f32) -> f32| -> Vec<f32> {
                a.iter().zip(&b).map(|(&x, &y)| f(x, y)).collect()
            };
            let mut out = vec![0f32; dims];
            add(&a, &b, &mut out).unwrap();
            assert_eq!(out, by(|x, y| x + y));
            let (half_a, half_b, mut half_out) = (halves(&a), halves(&b), halves(&a));
            subtract(&half_a, &half_b, &mut half_out).unwrap();
            assert_eq!(half_out, halves(&by(|x, y| x - y)));
            multiply(&half_a, &half_b, &mut half_out).unwrap();
            assert_eq!(half_out, halves(&by(|x, y| x * y)));
            let squares: f64 = a.iter().map(|&x| x as f64 * x as f64).sum();
            assert_eq!(norm(&half_a), squares.sqrt());
            normalize(&half_a, &mut half_out).unwrap();
            let expected: Vec<f32> = a
                .iter()
                .map(|&x| (x as f64 / squares.sqrt()) as f32)
                .collect();
            assert_eq!(half_out, halves(&expected));
        }
    }

    #[test]
    fn norms_of_large_elements_are_finite() {
        assert!((norm(&[3e37f32, 4e37]) / 5e37 - 1.0).abs() < 1e-6);
        assert_eq!(norm(&[1f32; 25]), 5.0);
        let mut out = [0f32];
        normalize(&[3e38], &mut out).unwrap();
        assert_eq!(out, [1.0]);
        normalize(&[0.0], &mut out).unwrap();
        assert_eq!(out, [0.0]);
    }

    #[test]
    fn bits_start_at_the_top() {
        let mut bits = [0; 2];
        let signs = [0.0, 0.1, -0.2, -0.3, 0.4, 0.5, 0.6, -0.7, 0.8, -0.9, 1.0];
        binary_quantize::<f32>(&signs, &mut bits);
        assert_eq!(bits, [0b01001110, 0b10100000]);
        binary_quantize_above::<f32>(&signs, 0.45, &mut bits);
        assert_eq!(bits, [0b00000110, 0b10100000]);
        binary_quantize_above::<f32>(&signs, f64::NAN, &mut bits);
        assert_eq!(bits, [0, 0]);
    }

    #[test]
    fn subvectors_are_cut_like_substrings() {
        let a = [1f32, 2.0, 3.0, 4.0, 5.0];
        for (start, count, expected) in [
            (1, 3, &a[..3]),
            (3, 2, &a[2..4]),
            (-1, 3, &a[..1]),
            (3, 9, &a[2..]),
            (3, i32::MAX, &a[2..]),
            (-2147483644, i32::MAX, &a[..2]),
        ] {
            assert_eq!(subvector(&a, start, count), Ok(expected));
        }
        for (start, count) in [
            (1, 0),
            (3, -1),
            (-1, 2),
            (i32::MAX, 10),
            (6, 1),
            (i32::MIN, 1),
        ] {
            assert!(subvector(&a, start, count).is_err());
        }
    }

    #[test]
    fn elements_are_compared_before_lengths() {
        assert_eq!(compare(&[1f32, 2.0], &[1.0, 2.0, 3.0]), Ordering::Less);
        assert_eq!(compare(&[2f32], &[1.0, 2.0]), Ordering::Greater);
        assert_eq!(compare(&[0f32], &[-0.0]), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn comparison_is_a_total_order(
            vectors in prop::collection::vec(prop::collection::vec(-2i8..2, 1..4), 3)
        ) {
            let v: Vec<Vec<f32>> = vectors
                .iter()
                .map(|v| v.iter().map(|&x| x as f32).collect())
                .collect();
            prop_assert_eq!(compare(&v[0], &v[1]), compare(&v[1], &v[0]).reverse());
            if compare(&v[0], &v[1]).is_le() && compare(&v[1], &v[2]).is_le() {
                prop_assert!(compare(&v[0], &v[2]).is_le());
            }
        }
    }
}
