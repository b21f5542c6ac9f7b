//! The inline code: what a node keeps of each neighbour.

use super::{CompactRef, grid, kernels, narrow};
use crate::distance::lanes::Isa;
use std::cmp::Reverse;
use std::sync::LazyLock;

/// How an inline code is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Quantizer {
    /// one bit for each dimension
    Rabitq1 = 1,
    /// two bits for each dimension
    Rabitq2 = 2,
    /// four bits for each dimension
    Rabitq4 = 3,
    /// the compact code's own bytes
    Sq8 = 4,
    /// three bits for each dimension
    Rabitq3 = 5,
    /// five bits for each dimension
    Rabitq5 = 6,
    /// six bits for each dimension
    Rabitq6 = 7,
    /// seven bits for each dimension
    Rabitq7 = 8,
    /// eight bits for each dimension
    Rabitq8 = 9,
    /// four bits for each dimension, on a grid that reaches as far as the largest of them
    Sq4 = 10,
    /// the sign of each dimension, compared with the query's signs
    Binary = 11,
    /// product quantization with eight bits for each segment; its "dimensions" are segments
    Pq8 = 12,
    /// product quantization with four bits for each segment; its "dimensions" are segments
    Pq4 = 13,
}

impl Quantizer {
    /// Those with a number of a few bits for each dimension.
    pub const GRIDS: [Quantizer; 10] = [
        Quantizer::Rabitq1,
        Quantizer::Rabitq2,
        Quantizer::Rabitq3,
        Quantizer::Rabitq4,
        Quantizer::Rabitq5,
        Quantizer::Rabitq6,
        Quantizer::Rabitq7,
        Quantizer::Rabitq8,
        Quantizer::Sq4,
        Quantizer::Sq8,
    ];

    /// The quantizer that an index on disk names by this number.
    pub fn from_code(code: u8) -> Option<Self> {
        let others = [Quantizer::Binary, Quantizer::Pq8, Quantizer::Pq4];
        let mut all = Quantizer::GRIDS.into_iter().chain(others);
        all.find(|quantizer| *quantizer as u8 == code)
    }

    /// The same, of [`Quantizer::GRIDS`] only.
    pub fn grid_from_code(code: u8) -> Option<Self> {
        let named = |quantizer: &Quantizer| *quantizer as u8 == code;
        Quantizer::GRIDS.into_iter().find(named)
    }

    /// Whether it is product quantization, which has a codebook.
    #[inline(always)]
    pub fn is_pq(self) -> bool {
        matches!(self, Quantizer::Pq8 | Quantizer::Pq4)
    }

    /// Bits for each dimension.
    #[inline]
    pub fn bits(self) -> usize {
        match self {
            Quantizer::Rabitq1 | Quantizer::Binary => 1,
            Quantizer::Rabitq2 => 2,
            Quantizer::Rabitq3 => 3,
            Quantizer::Rabitq4 | Quantizer::Sq4 | Quantizer::Pq4 => 4,
            Quantizer::Rabitq5 => 5,
            Quantizer::Rabitq6 => 6,
            Quantizer::Rabitq7 => 7,
            Quantizer::Rabitq8 | Quantizer::Sq8 | Quantizer::Pq8 => 8,
        }
    }

    /// What is taken off a number to give its grid value: (2^bits - 1) / 2, and 128 for `sq8`.
    #[inline(always)]
    pub(super) fn centre(self) -> f32 {
        self.twice_centre() as f32 / 2.0
    }

    #[inline(always)]
    fn twice_centre(self) -> i32 {
        match self {
            Quantizer::Sq8 => 256,
            _ => (1 << self.bits()) - 1,
        }
    }

    /// Twice the product of all centres with a query whose bytes have this sum.
    #[inline(always)]
    pub(super) fn centre_of(self, sum: i32) -> i32 {
        self.twice_centre() * sum
    }

    /// Whether list pages have groups of its codes: see [`super::fast_scan`].
    #[inline]
    pub fn is_grouped(self) -> bool {
        self == Quantizer::Rabitq1
    }

    /// Name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Quantizer::Rabitq1 => "rabitq1",
            Quantizer::Rabitq2 => "rabitq2",
            Quantizer::Rabitq3 => "rabitq3",
            Quantizer::Rabitq4 => "rabitq4",
            Quantizer::Rabitq5 => "rabitq5",
            Quantizer::Rabitq6 => "rabitq6",
            Quantizer::Rabitq7 => "rabitq7",
            Quantizer::Rabitq8 => "rabitq8",
            Quantizer::Sq4 => "sq4",
            Quantizer::Sq8 => "sq8",
            Quantizer::Binary => "binary",
            Quantizer::Pq8 | Quantizer::Pq4 => "pq",
        }
    }

    /// Bytes of a code of `dims` dimensions, a multiple of 8.
    #[inline]
    pub fn code_len(self, dims: usize) -> usize {
        match (self, self.bits()) {
            (_, 8) => dims.next_multiple_of(8),
            (Quantizer::Pq4, _) => dims.div_ceil(2).next_multiple_of(8),
            (_, bits) => bits * dims.div_ceil(64) * 8,
        }
    }
}

/// What stands beside the bytes of an inline code.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Factors {
    /// as in [`Compact`](super::Compact), over all dimensions
    pub add: f32,
    /// |r|^2 over all dimensions, divided by <g, r> over those in the code; `binary`: |r|
    pub scale: f32,
}

/// Fills `out` (`code_len` bytes) with the code of the first `dims` dimensions; not for product quantization.
///
/// All sums are of integers and exact, so the result is the same everywhere.
pub(super) fn quantize(
    c: CompactRef<'_>,
    quantizer: Quantizer,
    dims: usize,
    out: &mut [u8],
) -> Factors {
    let code = &c.code[..dims];
    assert_eq!(out.len(), quantizer.code_len(dims));
    let product = match quantizer {
        Quantizer::Sq8 => {
            let (bytes, padding) = out.split_at_mut(dims);
            bytes.copy_from_slice(bytemuck::cast_slice(code));
            padding.fill(0);
            2 * norm_squared(code)
        }
        Quantizer::Binary => {
            pack_signs(code, out);
            let norm = (norm_squared(c.code) as f64).sqrt();
            return Factors {
                add: c.factors.add,
                scale: narrow(c.factors.scale as f64 * norm),
            };
        }
        Quantizer::Pq8 | Quantizer::Pq4 => unreachable!("a codebook makes codes of segments"),
        Quantizer::Rabitq1 => pack_signs(code, out),
        Quantizer::Rabitq2 => pack::<2>(code, &levels(code, &CROSSINGS_2), out),
        Quantizer::Rabitq3 => pack::<3>(code, &levels(code, &CROSSINGS_3), out),
        Quantizer::Rabitq4 => pack::<4>(code, &levels(code, &CROSSINGS_4), out),
        Quantizer::Sq4 => pack::<4>(code, &SIXTEENTHS, out),
        Quantizer::Rabitq5 | Quantizer::Rabitq6 | Quantizer::Rabitq7 | Quantizer::Rabitq8 => {
            let residual: Vec<f32> = code.iter().map(|&i| i as f32).collect();
            let mut numbers = vec![0; dims];
            grid::fit(quantizer, &residual, &mut [], &mut numbers);
            grid::pack(quantizer, &numbers, out);
            let pairs = numbers.iter().zip(code);
            let centre = quantizer.twice_centre() as i64;
            pairs
                .map(|(&u, &i)| (2 * u as i64 - centre) * i as i64)
                .sum()
        }
    };
    let scale = match product {
        0 => 0.0,
        _ => narrow(c.factors.scale as f64 * (2 * norm_squared(c.code)) as f64 / product as f64),
    };
    Factors {
        add: c.factors.add,
        scale,
    }
}

/// The numbers of a code of few bits: as [`quantize`] packs them.
pub(super) fn numbers(quantizer: Quantizer, code: &[i8], numbers: &mut [u8]) {
    let levels = match quantizer {
        Quantizer::Rabitq2 => levels(code, &CROSSINGS_2),
        Quantizer::Rabitq3 => levels(code, &CROSSINGS_3),
        Quantizer::Rabitq4 => levels(code, &CROSSINGS_4),
        Quantizer::Sq4 => SIXTEENTHS,
        _ => [0; 128],
    };
    let positive = 1 << (quantizer.bits() - 1);
    for (u, &i) in numbers.iter_mut().zip(code) {
        let level = levels[(i.unsigned_abs() & 127) as usize];
        *u = match i < 0 {
            true => positive - 1 - level,
            false => positive + level,
        };
    }
}

/// `sq4`: the level of a magnitude is a sixteenth of it.
const SIXTEENTHS: [u8; 128] = {
    let mut levels = [0; 128];
    let mut magnitude = 0;
    while magnitude < 128 {
        levels[magnitude] = magnitude as u8 / 16;
        magnitude += 1;
    }
    levels
};

pub(super) fn norm_squared(code: &[i8]) -> i64 {
    let sum = code.iter().map(|&i| i as i32).sum();
    kernels::dot(Isa::best(), code, code, sum) as i64
}

/// Writes a bit for each byte of the code, one where it is not negative; returns the sum of magnitudes.
fn pack_signs(code: &[i8], out: &mut [u8]) -> i64 {
    for (code, plane) in code.chunks(64).zip(out.chunks_exact_mut(8)) {
        let mut signs = 0;
        for (n, code) in code.chunks(8).enumerate() {
            // what there is not is as negative
            let mut eight = [0x80; 8];
            eight[..code.len()].copy_from_slice(bytemuck::cast_slice(code));
            let first_bits = !u64::from_le_bytes(eight) >> 7 & 0x0101_0101_0101_0101;
            // the product's top byte has the first bit of each byte
            signs |= (first_bits.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * n);
        }
        plane.copy_from_slice(&signs.to_le_bytes());
    }
    let magnitudes = code.iter().map(|&i| i.unsigned_abs() as i32);
    magnitudes.sum::<i32>() as i64
}

/// Writes the planes of grid values whose magnitudes are `levels[|i|] + 1/2`; returns twice their
/// inner product with the code.
fn pack<const BITS: usize>(code: &[i8], levels: &[u8; 128], out: &mut [u8]) -> i64 {
    let positive = 1 << (BITS - 1);
    let plane_len = out.len() / BITS;
    let mut product = 0;
    for (word, code) in code.chunks(64).enumerate() {
        let mut planes = [0u64; BITS];
        for (at, &i) in code.iter().enumerate() {
            let level = levels[(i.unsigned_abs() & 127) as usize];
            let u = if i < 0 {
                positive - 1 - level
            } else {
                positive + level
            };
            product += (2 * level as i64 + 1) * i.unsigned_abs() as i64;
            for (bit, plane) in planes.iter_mut().enumerate() {
                *plane |= ((u >> bit & 1) as u64) << at;
            }
        }
        for (bit, plane) in planes.iter().enumerate() {
            out[bit * plane_len + word * 8..][..8].copy_from_slice(&plane.to_le_bytes());
        }
    }
    product
}

/// As the grid shrinks, bytes of one magnitude cross to the next level.
#[derive(Debug, Clone, Copy)]
struct Crossing {
    magnitude: u8,
    level: u8,
}

static CROSSINGS_2: LazyLock<Vec<Crossing>> = LazyLock::new(|| crossings(2));
static CROSSINGS_3: LazyLock<Vec<Crossing>> = LazyLock::new(|| crossings(4));
static CROSSINGS_4: LazyLock<Vec<Crossing>> = LazyLock::new(|| crossings(8));

/// All crossings of a grid of `levels` magnitudes in their order: magnitude a reaches level l when the
/// scaling t reaches l / a.
fn crossings(levels: u8) -> Vec<Crossing> {
    let mut all: Vec<Crossing> = (1..levels)
        .flat_map(|level| (1..=127).map(move |magnitude| Crossing { magnitude, level }))
        .collect();
    // l / a < l' / a' in integers; of equals, larger magnitudes first
    all.sort_by(|x, y| {
        let left = x.level as u32 * y.magnitude as u32;
        let right = y.level as u32 * x.magnitude as u32;
        left.cmp(&right)
            .then(Reverse(x.magnitude).cmp(&Reverse(y.magnitude)))
    });
    all
}

/// The level of each magnitude in the grid that makes the smallest angle with the code: extended
/// RaBitQ, Algorithm 1, where bytes of the same magnitude move together, so that it takes a histogram
/// and a fixed sequence of crossings instead of a heap over dimensions.
fn levels(code: &[i8], crossings: &[Crossing]) -> [u8; 128] {
    let mut count = [0u32; 128];
    for i in code {
        count[(i.unsigned_abs() & 127) as usize] += 1;
    }
    // inner product with the code, and squared norm, of the grid vector: twice and four times
    let mut product = 0u64;
    for (magnitude, &count) in count.iter().enumerate() {
        product += magnitude as u64 * count as u64;
    }
    let mut norm_squared = code.len() as u64;
    let cosine_squared = |product: u64, norm_squared: u64| {
        let product = product as f64;
        product * product / norm_squared as f64
    };
    let mut best = cosine_squared(product, norm_squared);
    let mut best_at = 0;
    for (at, crossing) in crossings.iter().enumerate() {
        let count = count[crossing.magnitude as usize] as u64;
        if count == 0 {
            continue;
        }
        product += 2 * count * crossing.magnitude as u64;
        norm_squared += 8 * count * crossing.level as u64;
        let cosine = cosine_squared(product, norm_squared);
        if cosine > best {
            (best, best_at) = (cosine, at + 1);
        }
    }
    let mut levels = [0; 128];
    for crossing in &crossings[..best_at] {
        levels[crossing.magnitude as usize] = crossing.level;
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn signs_are_what_a_grid_of_one_level_is(code in proptest::collection::vec(any::<i8>(), 1..400)) {
            let len = Quantizer::Rabitq1.code_len(code.len());
            let (mut signs, mut grid) = (vec![0xff; len], vec![0xff; len]);
            prop_assert_eq!(pack_signs(&code, &mut signs), pack::<1>(&code, &[0; 128], &mut grid));
            prop_assert_eq!(signs, grid);
        }
    }
}
