//! Grids of unsigned numbers: which one stands for a residual best, and how numbers are packed.

use super::{Quantizer, compact, inline};

/// Writes the number of each dimension: u stands for the grid value u - [`Quantizer::centre`].
///
/// Few bits take the grid vector at the smallest angle to the residual, found by extended RaBitQ's
/// Algorithm 1 over `code`, the residual in bytes. `code` is working space.
#[inline(always)]
pub(super) fn fit(quantizer: Quantizer, residual: &[f32], code: &mut [i8], numbers: &mut [u8]) {
    match quantizer {
        Quantizer::Rabitq1 => {
            for (u, &r) in numbers.iter_mut().zip(residual) {
                *u = (r >= 0.0) as u8;
            }
        }
        Quantizer::Rabitq2 | Quantizer::Rabitq4 => {
            compact::encode(residual, code);
            inline::numbers(quantizer, code, numbers);
        }
        Quantizer::Sq8 => {
            compact::encode(residual, code);
            for (u, &i) in numbers.iter_mut().zip(&*code) {
                *u = i as u8 ^ 0x80;
            }
        }
    }
}

/// Packs numbers as the module's table says.
pub(super) fn pack(quantizer: Quantizer, numbers: &[u8], out: &mut [u8]) {
    match quantizer {
        Quantizer::Sq8 => {
            let (bytes, padding) = out.split_at_mut(numbers.len());
            for (byte, &u) in bytes.iter_mut().zip(numbers) {
                *byte = u ^ 0x80;
            }
            padding.fill(0);
        }
        _ => planes(quantizer.bits(), numbers, out),
    }
}

fn planes(bits: usize, numbers: &[u8], out: &mut [u8]) {
    let plane_len = out.len() / bits;
    out.fill(0);
    for (at, numbers) in numbers.chunks(8).enumerate() {
        let mut eight = [0; 8];
        eight[..numbers.len()].copy_from_slice(numbers);
        let eight = u64::from_le_bytes(eight);
        for bit in 0..bits {
            // the product moves the lowest bit of byte j to bit 56 + j
            let ones = eight >> bit & 0x0101_0101_0101_0101;
            let byte = ones.wrapping_mul(0x0102_0408_1020_4080) >> 56;
            out[bit * plane_len + at] = byte as u8;
        }
    }
}
