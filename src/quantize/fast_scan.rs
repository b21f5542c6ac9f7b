//! Codes of one bit for each dimension, sixteen at a time.
//!
//! What four bits of a code add to its product with a query is one of sixteen numbers. A register holds all sixteen, and
//! one instruction looks them up for as many codes (André, Kermarrec and Le Scouarnec, VLDB 2015, "Fast Scan"; for
//! RaBitQ: Gao and Long, 2024), if the same byte of all those codes lies together. So sixteen codes of `len` bytes
//! are a **group** of 16 `len` bytes: the first byte of each, then the second of each. List pages keep groups; codes that
//! stand one after another, as those of a node's neighbours do, are turned on the way, by AVX2, 32 at a time.
//!
//! Numbers are looked up and added as bytes, two at a time, so the query's own are scaled down as far as it takes for those
//! of eight dimensions to fit: to about seven bits, which is far less than what one bit of a row is off by. Products are
//! exact, and the same on every processor.

use super::kernels::{self, Batch, Line, QueryCode};
use super::{Quantizer, finite};
use crate::distance::lanes::Isa;

/// Codes of a group.
pub const GROUP: usize = 16;

/// What the query's numbers of eight dimensions may add up to, signs aside; each may be rounded up by a half.
const MOST_OF_EIGHT: i32 = 255 - 4;

/// Changes the codes of a group, one after another, to how a group has them.
pub fn group(codes: &mut [u8]) {
    transposed::<false>(codes);
}

/// Changes a group to codes one after another.
pub fn ungroup(codes: &mut [u8]) {
    transposed::<true>(codes);
}

fn transposed<const BACK: bool>(codes: &mut [u8]) {
    assert!(codes.len().is_multiple_of(GROUP));
    let len = codes.len() / GROUP;
    let before = codes.to_vec();
    for row in 0..GROUP {
        for byte in 0..len {
            let (apart, together) = (row * len + byte, byte * GROUP + row);
            match BACK {
                false => codes[together] = before[apart],
                true => codes[apart] = before[together],
            }
        }
    }
}

/// A query as codes of one bit are compared with it. Can be used again for the next query.
#[derive(Debug, Clone, Default)]
pub(super) struct Bytewise {
    /// the query's numbers, zeros up to a multiple of 64
    code: Vec<i8>,
    planes: Vec<u64>,
    turned: Vec<i8>,
    /// for each byte of a code what its lower four bits add, and what its upper ones do, less `least`
    lows: Vec<[u8; GROUP]>,
    highs: Vec<[u8; GROUP]>,
    /// the sum of all numbers below zero of the first 0, 1, 2, ... bytes of a code, and of all
    leasts: Vec<i32>,
    sums: Vec<i32>,
    scale: f32,
}

impl Bytewise {
    /// Makes it that of a query's numbers, which stand for so much each.
    #[inline(always)]
    pub(super) fn fill(&mut self, isa: Isa, numbers: &[i8], scale: f32) {
        let sizes = numbers.as_chunks::<8>().0.iter().map(size);
        let most = sizes.max().unwrap_or_default();
        self.code.clear();
        self.code.extend_from_slice(numbers);
        self.scale = scale;
        if most > MOST_OF_EIGHT {
            let factor = MOST_OF_EIGHT as f32 / most as f32;
            self.scale = finite(scale / factor);
            for number in &mut self.code {
                *number = (*number as f32 * factor).round_ties_even() as i8;
            }
        }
        kernels::prepare(isa, &self.code, &mut self.planes, &mut self.turned);
        self.lows.clear();
        self.highs.clear();
        self.leasts.clear();
        self.sums.clear();
        let (mut least, mut sum) = (0, 0);
        for eight in self.code.as_chunks::<8>().0 {
            self.leasts.push(least);
            self.sums.push(sum);
            least += eight.iter().map(|&i| i.min(0) as i32).sum::<i32>();
            sum += eight.iter().map(|&i| i as i32).sum::<i32>();
            let (low, high) = eight.split_at(4);
            self.lows.push(table(low));
            self.highs.push(table(high));
        }
        self.leasts.push(least);
        self.sums.push(sum);
    }

    /// Estimates of codes: those of whole groups as groups have them, the rest one after another.
    pub(super) fn estimate(&self, line: Line, batch: Batch<'_>, out: &mut [f32]) {
        self.estimate_by(Isa::best(), line, batch, out);
    }

    fn estimate_by(&self, isa: Isa, line: Line, batch: Batch<'_>, out: &mut [f32]) {
        let (groups, rest) = batch.split_at(out.len() / GROUP * GROUP);
        let (of_groups, of_rest) = out.split_at_mut(groups.adds.len());
        let line = self.line(line, batch.dims);
        if !of_groups.is_empty() {
            kernels::estimate_groups(isa, self.tables(batch), groups, line, of_groups);
        }
        kernels::estimate_bits(isa, self.code(), self.tables(batch), rest, line, of_rest);
    }

    /// Estimates of codes one after another, of as many dimensions as the query, or fewer.
    pub(super) fn estimate_apart(&self, line: Line, batch: Batch<'_>, out: &mut [f32]) {
        self.estimate_apart_by(Isa::best(), line, batch, out);
    }

    fn estimate_apart_by(&self, isa: Isa, line: Line, batch: Batch<'_>, out: &mut [f32]) {
        let line = self.line(line, batch.dims);
        kernels::estimate_bits(isa, self.code(), self.tables(batch), batch, line, out);
    }

    /// Leaves what is the same on every processor.
    #[cfg(test)]
    pub(super) fn forget_what_kernels_want(&mut self) {
        self.planes.clear();
        self.turned.clear();
    }

    fn tables(&self, batch: Batch<'_>) -> kernels::Tables<'_> {
        let len = batch.quantizer.code_len(batch.dims);
        kernels::Tables {
            lows: &self.lows[..len],
            highs: &self.highs[..len],
            least: self.leasts[len],
        }
    }

    fn line(&self, line: Line, dims: usize) -> Line {
        let rest = &self.code[dims / 8 * 8..dims];
        let sum = self.sums[dims / 8] + rest.iter().map(|&i| i as i32).sum::<i32>();
        Line {
            scale: self.scale,
            centre: Quantizer::Rabitq1.centre_of(sum),
            ..line
        }
    }

    fn code(&self) -> QueryCode<'_> {
        QueryCode {
            bytes: &self.code,
            planes: &self.planes,
            turned: &self.turned,
        }
    }
}

/// The sum without signs.
#[inline(always)]
fn size(numbers: &[i8; 8]) -> i32 {
    numbers.iter().map(|&i| (i as i32).abs()).sum()
}

/// What each choice of four numbers adds up to, less what all below zero do: no more than 255.
#[inline(always)]
fn table(four: &[i8]) -> [u8; GROUP] {
    let mut sums = [0u8; GROUP];
    for (bit, &number) in four.iter().enumerate() {
        for (choice, sum) in sums.iter_mut().enumerate() {
            // those below zero add their size where they are not chosen
            let is_added = (choice >> bit & 1 == 1) == (number > 0);
            *sum = sum.wrapping_add(is_added as u8 * number.unsigned_abs());
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::Quantizer;
    use proptest::prelude::*;

    /// Codes one after another, of bits that `random` makes, and zero past `dims`.
    fn codes(dims: usize, count: usize, mut random: impl FnMut() -> u64) -> Vec<u8> {
        let word = |at: usize, random: u64| match dims - 64 * at {
            left @ ..64 => random & !(!0 << left),
            _ => random,
        };
        let words = (0..count).flat_map(|_| 0..dims.div_ceil(64));
        let words = words.map(|at| word(at, random()));
        words.flat_map(u64::to_le_bytes).collect()
    }

    /// Asserts that estimates of groups are those of codes one after another, on every path.
    fn groups_are_as_their_codes(numbers: &[i8], dims: usize, codes: &[u8]) {
        let len = Quantizer::Rabitq1.code_len(dims);
        let count = codes.len() / len;
        let factors: Vec<f32> = (0..count).map(|i| 0.3 + i as f32 * 1.7).collect();
        let batch = Batch {
            quantizer: Quantizer::Rabitq1,
            dims,
            codes,
            adds: &factors,
            scales: &factors,
        };
        let line = Line {
            base: 1.1,
            offset: -0.7,
            scale: 0.0,
            centre: 0,
        };
        let mut grouped = codes.to_vec();
        grouped.chunks_exact_mut(GROUP * len).for_each(group);
        for isa in Isa::available() {
            let mut query = Bytewise::default();
            query.fill(isa, numbers, 0.013);
            let mut expected = vec![f32::NAN; count];
            let of_all = query.line(line, dims);
            kernels::estimate(isa, query.code(), batch, of_all, &mut expected);
            let mut apart = vec![f32::NAN; count];
            query.estimate_apart_by(isa, line, batch, &mut apart);
            assert_eq!(apart, expected, "{isa:?}");
            let mut found = vec![f32::NAN; count];
            let of_groups = Batch {
                codes: &grouped,
                ..batch
            };
            query.estimate_by(isa, line, of_groups, &mut found);
            assert_eq!(found, expected, "{isa:?}");
        }
        grouped.chunks_exact_mut(GROUP * len).for_each(ungroup);
        assert_eq!(grouped, codes);
    }

    proptest! {
        #[test]
        fn groups_are_estimated_as_their_codes_are(
            (dims, numbers) in (1usize..700).prop_flat_map(|dims| {
                (Just(dims), prop::collection::vec(-127i8..=127, dims))
            }),
            count in 0usize..70,
            largest in 1i8..=127,
            seed: u64,
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut numbers: Vec<i8> = numbers.iter().map(|&i| i % largest).collect();
            numbers.resize(dims.next_multiple_of(64), 0);
            groups_are_as_their_codes(&numbers, dims, &codes(dims, count, || random.u64(..)));
        }

        #[test]
        fn a_query_is_scaled_down_no_further_than_it_takes(
            numbers in prop::collection::vec(-127i8..=127, 128), largest in 1i8..=127
        ) {
            let numbers: Vec<i8> = numbers.iter().map(|&i| i % largest).collect();
            let mut query = Bytewise::default();
            query.fill(Isa::Portable, &numbers, 0.01);
            let most = query.code.as_chunks::<8>().0.iter().map(size).max().unwrap();
            let before = numbers.as_chunks::<8>().0.iter().map(size).max().unwrap();
            prop_assert!(most <= 255 && (most == before || most >= MOST_OF_EIGHT - 4));
            for (&now, &before) in query.code.iter().zip(&numbers) {
                let off = query.scale * now as f32 - 0.01 * before as f32;
                prop_assert!(off.abs() <= 0.501 * query.scale, "{} for {}", now, before);
            }
        }
    }

    #[test]
    fn sums_of_the_longest_codes_do_not_overflow() {
        for dims in [2_040, 2_048, 2_056, 4_096, 15_999, 16_000] {
            for of_all in [-127, 127, 31] {
                let mut numbers = vec![of_all; dims];
                numbers.resize(dims.next_multiple_of(64), 0);
                groups_are_as_their_codes(&numbers, dims, &codes(dims, GROUP + 1, || !0));
            }
        }
    }
}
