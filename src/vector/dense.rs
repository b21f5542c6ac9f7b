//! Dense vectors as bytes, without the length word that the server puts in front:
//!
//! | offset | size       | field                                         |
//! |-------:|-----------:|-----------------------------------------------|
//! |      0 |          2 | number of dimensions, int16                   |
//! |      2 |          2 | reserved, zero                                |
//! |      4 | dims * n   | elements: f32 (`vector`), f16 (`halfvec`), bf16 (`bf16vec`), i8 (`bytevec`) |
//!
//! All in the byte order of the machine. Elements of a stored value are finite.

use super::{Element, VectorError};

/// Bytes before the first element.
pub const HEADER_LEN: usize = 4;

/// Length of the body of a vector of `dims` dimensions.
pub const fn body_len<E: Element>(dims: usize) -> usize {
    HEADER_LEN + dims * size_of::<E>()
}

/// The elements of a body that is aligned to 4 bytes. How many they are is read from the body's
/// length, so that no content can lead a reader out of it.
#[inline(always)]
pub fn elements<E: Element>(body: &[u8]) -> &[E] {
    let count = body.len().saturating_sub(HEADER_LEN) / size_of::<E>();
    match body.get(HEADER_LEN..HEADER_LEN + count * size_of::<E>()) {
        Some(elements) if count > 0 => bytemuck::cast_slice(elements),
        _ => &[],
    }
}

/// Writes the header into a zeroed body of [`body_len`] bytes and lends its elements for writing.
#[inline(always)]
pub fn init<E: Element>(body: &mut [u8]) -> &mut [E] {
    let (header, elements) = body.split_at_mut(HEADER_LEN);
    let elements: &mut [E] = bytemuck::cast_slice_mut(elements);
    header[..2].copy_from_slice(&(elements.len() as i16).to_ne_bytes());
    elements
}

/// Refuses a number of dimensions that no value of the type has.
#[inline]
pub fn check_dims<E: Element>(dims: usize) -> Result<usize, VectorError> {
    let type_name = E::TYPE_NAME;
    match dims {
        0 => Err(VectorError::NoDimensions { type_name }),
        _ if dims > E::MAX_DIMS => Err(VectorError::TooManyDimensions {
            type_name,
            max: E::MAX_DIMS,
        }),
        _ => Ok(dims),
    }
}

/// Refuses a number of dimensions other than the type modifier's, if there is one (not negative).
#[inline]
pub fn check_typmod(dims: usize, typmod: i32) -> Result<(), VectorError> {
    match usize::try_from(typmod) {
        Ok(expected) if expected != dims => Err(VectorError::UnexpectedDimensions {
            expected,
            actual: dims,
        }),
        _ => Ok(()),
    }
}

/// The type modifier of `type(dims)`.
pub fn typmod<E: Element>(modifiers: &[i32]) -> Result<i32, VectorError> {
    let type_name = E::TYPE_NAME;
    match *modifiers {
        [dims] if dims < 1 => Err(VectorError::TypmodTooSmall { type_name }),
        [dims] if dims as usize > E::MAX_DIMS => Err(VectorError::TypmodTooLarge {
            type_name,
            max: E::MAX_DIMS,
        }),
        [dims] => Ok(dims),
        _ => Err(VectorError::InvalidTypmod),
    }
}

/// Refuses operands of unequal dimensions.
#[inline(always)]
pub fn check_same_dims<E: Element>(a: &[E], b: &[E]) -> Result<(), VectorError> {
    if a.len() == b.len() {
        return Ok(());
    }
    Err(VectorError::DifferentDimensions {
        type_name: E::TYPE_NAME,
        left: a.len(),
        right: b.len(),
    })
}

/// Dimensions that the header of the binary form announces. The binary form is the body with
/// every field in network order.
pub fn dims_from_network<E: Element>(header: [u8; HEADER_LEN]) -> Result<usize, VectorError> {
    let dims = u16::from_be_bytes([header[0], header[1]]);
    let unused = u16::from_be_bytes([header[2], header[3]]);
    let dims = check_dims::<E>(dims as usize)?;
    match unused {
        0 => Ok(dims),
        _ => Err(VectorError::UnusedNotZero {
            actual: unused as i32,
        }),
    }
}

/// Reads the elements of the binary form; `bytes` holds as many as `to` has room for.
pub fn elements_from_network<E: Element>(bytes: &[u8], to: &mut [E]) -> Result<(), VectorError> {
    let chunks = bytes.chunks_exact(size_of::<E>());
    for (element, bytes) in to.iter_mut().zip(chunks) {
        *element = E::from_network(bytes).check()?;
    }
    Ok(())
}

/// Writes the binary form into `body_len` bytes.
pub fn to_network<E: Element>(elements: &[E], bytes: &mut [u8]) {
    let (header, rest) = bytes.split_at_mut(HEADER_LEN);
    header.fill(0);
    header[..2].copy_from_slice(&(elements.len() as u16).to_be_bytes());
    let chunks = rest.chunks_exact_mut(size_of::<E>());
    for (element, bytes) in elements.iter().zip(chunks) {
        element.to_network(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;
    use proptest::prelude::*;

    fn network_round_trip<E: Element + std::fmt::Debug>(values: &[E]) {
        let mut wire = vec![0xFF; body_len::<E>(values.len())];
        to_network(values, &mut wire);
        let (header, rest) = wire.split_at(HEADER_LEN);
        assert_eq!(
            dims_from_network::<E>(header.try_into().unwrap()),
            Ok(values.len())
        );
        let mut back = vec![E::zeroed(); values.len()];
        elements_from_network(rest, &mut back).unwrap();
        assert_eq!(
            bytemuck::cast_slice::<E, u8>(values),
            bytemuck::cast_slice::<E, u8>(&back)
        );
    }

    #[test]
    fn body_is_pgvector_s() {
        let mut storage = [0u32; 3];
        let body: &mut [u8] = bytemuck::cast_slice_mut(&mut storage);
        init::<f32>(body).copy_from_slice(&[1.0, -2.5]);
        assert_eq!(body[..2], 2i16.to_ne_bytes());
        assert_eq!(body[2..4], [0, 0]);
        assert_eq!(body[8..12], (-2.5f32).to_ne_bytes());
        assert_eq!(elements::<f32>(body), [1.0, -2.5]);
    }

    #[test]
    fn network_order_is_big_endian() {
        let mut wire = [0; 8];
        to_network(&[f16::from_f32(1.0), f16::from_f32(-2.0)], &mut wire);
        assert_eq!(wire, [0, 2, 0, 0, 0x3C, 0x00, 0xC0, 0x00]);
    }

    #[test]
    fn hostile_headers_are_refused() {
        use VectorError::*;
        let dims = |header| dims_from_network::<f32>(header);
        assert_eq!(dims([0x3E, 0x80, 0, 0]), Ok(16_000));
        assert!(matches!(dims([0, 0, 0, 0]), Err(NoDimensions { .. })));
        assert!(matches!(
            dims([0x3E, 0x81, 0, 0]),
            Err(TooManyDimensions { .. })
        ));
        assert!(matches!(
            dims([0xFF, 0xFF, 0, 0]),
            Err(TooManyDimensions { .. })
        ));
        assert_eq!(
            dims([0, 1, 0xFF, 0xFF]),
            Err(UnusedNotZero { actual: 65535 })
        );
    }

    #[test]
    fn truncated_bodies_have_the_elements_that_are_there() {
        let storage = [0u32; 4];
        let body: &[u8] = bytemuck::cast_slice(&storage);
        for len in 0..body.len() {
            assert_eq!(
                elements::<f32>(&body[..len]).len(),
                len.saturating_sub(4) / 4
            );
            assert_eq!(
                elements::<f16>(&body[..len]).len(),
                len.saturating_sub(4) / 2
            );
        }
    }

    #[test]
    fn typmods() {
        assert_eq!(typmod::<f32>(&[3]), Ok(3));
        assert_eq!(typmod::<f16>(&[16_000]), Ok(16_000));
        for (modifiers, message) in [
            (&[0][..], "dimensions for type halfvec must be at least 1"),
            (&[-1], "dimensions for type halfvec must be at least 1"),
            (&[16_001], "dimensions for type halfvec cannot exceed 16000"),
            (&[3, 2], "invalid type modifier"),
            (&[], "invalid type modifier"),
        ] {
            assert_eq!(typmod::<f16>(modifiers).unwrap_err().to_string(), message);
        }
        assert_eq!(check_typmod(3, -1), Ok(()));
        assert_eq!(
            check_typmod(3, 2).unwrap_err().to_string(),
            "expected 2 dimensions, not 3"
        );
    }

    proptest! {
        #[test]
        fn binary_forms_read_back(values in prop::collection::vec(any::<f32>(), 1..200)) {
            let values: Vec<f32> = values.into_iter().filter(|v| v.is_finite()).collect();
            prop_assume!(!values.is_empty());
            network_round_trip(&values);
            let halves: Vec<f16> = values.iter().map(|&v| f16::from_f32(v % 65504.0)).collect();
            network_round_trip(&halves);
        }

        #[test]
        fn no_binary_form_smuggles_what_text_refuses(bytes: [u8; 8]) {
            let mut elements = [0f32; 2];
            if elements_from_network(&bytes, &mut elements).is_ok() {
                prop_assert!(elements.iter().all(|e| e.is_finite()));
            }
            let mut elements = [f16::ZERO; 4];
            if elements_from_network(&bytes, &mut elements).is_ok() {
                prop_assert!(elements.iter().all(|e| e.is_finite()));
            }
        }
    }
}
