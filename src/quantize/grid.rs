//! Grids of unsigned numbers: which one stands for a residual best, and how numbers are packed.

use super::{Quantizer, compact, inline, sums};

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
        Quantizer::Rabitq2 | Quantizer::Rabitq3 | Quantizer::Rabitq4 | Quantizer::Sq4 => {
            compact::encode(residual, code);
            inline::numbers(quantizer, code, numbers);
        }
        Quantizer::Sq8 => {
            compact::encode(residual, code);
            for (u, &i) in numbers.iter_mut().zip(&*code) {
                *u = i as u8 ^ 0x80;
            }
        }
        Quantizer::Rabitq5 | Quantizer::Rabitq6 | Quantizer::Rabitq7 | Quantizer::Rabitq8 => {
            fit_scaled(quantizer.bits(), residual, numbers);
        }
        Quantizer::Binary | Quantizer::Pq8 | Quantizer::Pq4 => {
            unreachable!("{} is no grid", quantizer.name())
        }
    }
}

/// With many bits hardly anything is lost by trying a few scalings instead of all: grids that reach from
/// the largest coordinate down to half of it.
#[inline(always)]
fn fit_scaled(bits: usize, residual: &[f32], numbers: &mut [u8]) {
    const SCALINGS: usize = 11;
    let positive = (1u32 << (bits - 1)) as f32;
    let largest = sums::largest(residual);
    // the integer below, as in `compact::encode` by what the float has no room for
    const WHOLE: f32 = 12_582_912.0;
    let magnitude = |r: f32, steps: f32| {
        let magnitude = (r.abs() * steps - 0.5 + WHOLE) - WHOLE + 0.5;
        if magnitude < positive {
            magnitude
        } else {
            positive - 0.5
        }
    };
    let (mut best, mut steps) = (0.0, 0.0);
    for scaling in 0..SCALINGS {
        let reach = largest * (1.0 - 0.05 * scaling as f32);
        let tried = positive / reach;
        if !tried.is_finite() {
            continue;
        }
        let product = sums::sum2(residual, residual, |r, _| r.abs() * magnitude(r, tried));
        let squares = sums::sum2(residual, residual, |r, _| {
            let magnitude = magnitude(r, tried);
            magnitude * magnitude
        });
        let cosine_squared = product / squares * product;
        if cosine_squared > best {
            (best, steps) = (cosine_squared, tried);
        }
    }
    for (u, &r) in numbers.iter_mut().zip(residual) {
        let magnitude = magnitude(r, steps);
        let g = if r < 0.0 { -magnitude } else { magnitude };
        *u = (g + (positive - 0.5)) as i32 as u8;
    }
}

/// Packs numbers as the module's table says.
pub(super) fn pack(quantizer: Quantizer, numbers: &[u8], out: &mut [u8]) {
    match quantizer {
        Quantizer::Sq8 | Quantizer::Rabitq8 => {
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
