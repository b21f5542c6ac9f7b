//! Bit strings: the server's own `bit` and `bit varying` types.
//!
//! A value, after the varlena length word: the number of bits as i32 in native byte order, then
//! the bits, first bit in the high bit of the first byte, padded with zeros to whole bytes.

use super::VectorError;

const TYPE_NAME: &str = "bit";

/// A borrowed bit string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitRef<'a> {
    /// number of bits
    pub len: usize,
    /// the bits, padded with zeros to whole bytes
    pub bytes: &'a [u8],
}

impl<'a> BitRef<'a> {
    /// Views a stored value.
    ///
    /// # Errors
    /// `DamagedValue` where the number of bits contradicts the number of bytes.
    ///
    /// ```
    /// use vectorext::vector::BitRef;
    /// let mut body = 11i32.to_ne_bytes().to_vec();
    /// body.extend([0b1010_0000, 0b0110_0000]);
    /// assert_eq!(BitRef::from_body(&body)?.len, 11);
    /// assert!(BitRef::from_body(&body[..5]).is_err());
    /// # Ok::<(), vectorext::vector::VectorError>(())
    /// ```
    #[inline]
    pub fn from_body(body: &'a [u8]) -> Result<Self, VectorError> {
        if let Some((len, bytes)) = body.split_first_chunk()
            && let Ok(len) = usize::try_from(i32::from_ne_bytes(*len))
            && bytes.len() == len.div_ceil(8)
        {
            return Ok(BitRef { len, bytes });
        }
        Err(VectorError::DamagedValue {
            type_name: TYPE_NAME,
        })
    }

    /// Checks that two operands can be compared by distance.
    ///
    /// # Errors
    /// `DifferentBitLengths`.
    #[inline]
    pub fn check_same_len(&self, other: &BitRef<'_>) -> Result<(), VectorError> {
        if self.len == other.len {
            return Ok(());
        }
        Err(VectorError::DifferentBitLengths {
            left: self.len,
            right: other.len,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_values_are_refused() {
        let mut body = [0u8; 7];
        for (len, good) in [
            (24, true),
            (17, true),
            (16, false),
            (25, false),
            (-1, false),
        ] {
            body[..4].copy_from_slice(&i32::to_ne_bytes(len));
            assert_eq!(BitRef::from_body(&body).is_ok(), good, "{len}");
        }
        for len in 0..4 {
            assert!(BitRef::from_body(&body[..len]).is_err());
        }
        assert_eq!(
            BitRef::from_body(&[0; 4]),
            Ok(BitRef { len: 0, bytes: &[] })
        );
    }

    #[test]
    fn lengths_must_agree() {
        let value = |len| BitRef { len, bytes: &[0] };
        assert_eq!(value(3).check_same_len(&value(3)), Ok(()));
        let error = value(3).check_same_len(&value(2)).unwrap_err();
        assert_eq!(error.to_string(), "different bit lengths 3 and 2");
    }
}
