//! Floats into signed bytes: what `quantize_to_bytevec` computes.
//!
//! Bytes go from -127 to 127, so that a vector and its opposite stay opposite.

use super::arithmetic::widened_blocks;
use super::{Element, VectorError};

/// The range of values that the bytes from -127 to 127 stand for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ByteRange {
    middle: f64,
    /// bytes for each unit of the values; 0 where all values are zero
    scale: f64,
}

impl ByteRange {
    /// From `lower` to `upper`.
    ///
    /// # Errors
    /// `InvalidByteRange` where they are not finite or not in this order.
    pub fn between(lower: f64, upper: f64) -> Result<Self, VectorError> {
        let width = upper - lower;
        if width > 0.0 && width.is_finite() {
            return Ok(ByteRange {
                middle: lower + width / 2.0,
                scale: 254.0 / width,
            });
        }
        Err(VectorError::InvalidByteRange { lower, upper })
    }

    /// From -r to r, where r is the `quantile` of the vector's magnitudes: the smallest that so
    /// large a share of the elements does not exceed. Where that is zero, the largest magnitude.
    ///
    /// # Errors
    /// `InvalidQuantile` where `quantile` is not above 0 and at most 1.
    pub fn of_quantile<E: Element>(vector: &[E], quantile: f64) -> Result<Self, VectorError> {
        if !(quantile > 0.0 && quantile <= 1.0) {
            return Err(VectorError::InvalidQuantile { quantile });
        }
        let mut magnitudes: Vec<f32> = vector.iter().map(|x| x.widen().abs()).collect();
        let rank = (quantile * magnitudes.len() as f64).ceil() as usize;
        let Some(last) = magnitudes.len().checked_sub(1) else {
            return Ok(ByteRange {
                middle: 0.0,
                scale: 0.0,
            });
        };
        let rank = rank.saturating_sub(1).min(last);
        let mut radius = *magnitudes.select_nth_unstable_by(rank, f32::total_cmp).1;
        if radius == 0.0 {
            radius = magnitudes.iter().fold(0.0, |most, &x| most.max(x));
        }
        let scale = if radius > 0.0 {
            127.0 / radius as f64
        } else {
            0.0
        };
        Ok(ByteRange { middle: 0.0, scale })
    }

    /// The nearest byte of every element (ties to even); what is out of the range becomes the end
    /// of it. Both have the same length.
    pub fn quantize<E: Element>(self, vector: &[E], bytes: &mut [i8]) {
        widened_blocks(vector, |at, block| {
            for (byte, &x) in bytes[at..].iter_mut().zip(block) {
                let scaled = (x as f64 - self.middle) * self.scale;
                *byte = scaled.round_ties_even().clamp(-127.0, 127.0) as i8;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_quantile(vector: &[f32], quantile: f64) -> Vec<i8> {
        let mut bytes = vec![0; vector.len()];
        let range = ByteRange::of_quantile(vector, quantile).unwrap();
        range.quantize(vector, &mut bytes);
        bytes
    }

    fn between(vector: &[f32], lower: f64, upper: f64) -> Vec<i8> {
        let mut bytes = vec![0; vector.len()];
        ByteRange::between(lower, upper)
            .unwrap()
            .quantize(vector, &mut bytes);
        bytes
    }

    #[test]
    fn outliers_are_clipped() {
        let mut vector: Vec<f32> = (0..100).map(|i| (i - 50) as f32).collect();
        vector[0] = -1e6;
        let bytes = by_quantile(&vector, 0.99);
        assert_eq!(bytes[0], -127);
        // 49 is the 99th of 100 magnitudes
        assert_eq!(bytes[99], 127);
        assert_eq!(bytes[51], (127.0f64 / 49.0).round() as i8);
        let bytes = by_quantile(&vector, 1.0);
        assert_eq!((bytes[0], bytes[99]), (-127, 0));
    }

    #[test]
    fn the_scale_of_a_vector_does_not_matter() {
        let vector = [0.3f32, -0.1, 0.25, 0.0];
        let larger = vector.map(|x| x * 1e30);
        assert_eq!(by_quantile(&vector, 1.0), [127, -42, 106, 0]);
        assert_eq!(by_quantile(&larger, 1.0), by_quantile(&vector, 1.0));
        assert_eq!(by_quantile(&vector.map(|x| -x), 1.0), [-127, 42, -106, 0]);
    }

    #[test]
    fn mostly_zero_vectors_keep_what_they_have() {
        let mut vector = vec![0f32; 1000];
        assert_eq!(by_quantile(&vector, 0.5), vec![0; 1000]);
        vector[7] = -3.0;
        assert_eq!(by_quantile(&vector, 0.5)[7], -127);
        assert_eq!(by_quantile(&[], 0.5), []);
    }

    #[test]
    fn ranges_are_mapped_end_to_end() {
        assert_eq!(
            between(&[-1.0, -0.5, 0.0, 1.0, 2.0], -1.0, 1.0),
            [-127, -64, 0, 127, 127]
        );
        assert_eq!(
            between(&[0.0, 5.0, 10.0, -4.0], 0.0, 10.0),
            [-127, 0, 127, -127]
        );
    }

    #[test]
    fn impossible_ranges_are_refused() {
        let inf = f64::INFINITY;
        for (lower, upper) in [
            (1.0, 1.0),
            (2.0, 1.0),
            (f64::NAN, 1.0),
            (-inf, 0.0),
            (-1e308, 1e308),
        ] {
            assert!(ByteRange::between(lower, upper).is_err(), "{lower} {upper}");
        }
        for quantile in [0.0, -1.0, 1.1, f64::NAN, inf] {
            assert!(ByteRange::of_quantile(&[1f32], quantile).is_err());
        }
    }
}
