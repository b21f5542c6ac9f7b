//! Products of codes. They are sums of integers and exact, so every instruction set gives the same;
//! what follows in floats is done in the same order, so that estimates are the same to the last bit.
//!
//! A code that stands in bit planes is turned into its unsigned numbers u a register at a time, and
//! those meet the query's signed bytes in one product of bytes. Where bits are not easily spread over
//! bytes (the portable code), the query stands in bit planes as well, and ones are counted. AVX2 spreads those at the same
//! place of all bytes, and the query's bytes are put in that order.

use super::fast_scan::GROUP;
use super::{Quantizer, finite};
use crate::distance::lanes::Isa;

#[cfg(target_arch = "x86_64")]
mod x86;

/// A query's code as kernels take it.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueryCode<'a> {
    /// bytes, zeros up to a multiple of 64
    pub bytes: &'a [i8],
    /// the same as bit planes, for the portable code: eight words for each 64 bytes
    pub planes: &'a [u64],
    /// the same in the order in which AVX2 has a code's bits, for that: see [`fill_turned`]
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub turned: &'a [i8],
}

/// Inline codes, one after another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch<'a> {
    pub quantizer: Quantizer,
    /// dimensions of a code
    pub dims: usize,
    pub codes: &'a [u8],
    pub adds: &'a [f32],
    pub scales: &'a [f32],
}

impl<'a> Batch<'a> {
    /// What kernels rely on when they read: as many codes and factors as estimates. Bytes of a code.
    #[inline]
    fn len_checked(self, out: &[f32]) -> usize {
        let len = self.quantizer.code_len(self.dims);
        assert_eq!(self.codes.len(), out.len() * len);
        assert!(self.adds.len() == out.len() && self.scales.len() == out.len());
        len
    }

    /// The first codes, and the others.
    pub(super) fn split_at(self, count: usize) -> (Batch<'a>, Batch<'a>) {
        let len = self.quantizer.code_len(self.dims);
        let (codes, other_codes) = self.codes.split_at(count * len);
        let (adds, other_adds) = self.adds.split_at(count);
        let (scales, other_scales) = self.scales.split_at(count);
        let first = Batch {
            codes,
            adds,
            scales,
            ..self
        };
        let others = Batch {
            codes: other_codes,
            adds: other_adds,
            scales: other_scales,
            ..self
        };
        (first, others)
    }
}

/// A query for groups of codes: see [`super::fast_scan`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables<'a> {
    /// of each byte of a code, what its lower and its upper four bits add; the two together no more than 255
    pub lows: &'a [[u8; GROUP]],
    pub highs: &'a [[u8; GROUP]],
    /// what is to be added to the sum of all
    pub least: i32,
}

impl Tables<'_> {
    /// What kernels rely on when they read: tables for all bytes of codes of this length.
    #[inline]
    fn check(self, len: usize) {
        assert!(self.lows.len() == len && self.highs.len() == len && len.is_multiple_of(8));
    }
}

/// How estimates are made of products: (base + add + offset) - (scale_x * scale) * (2 product - centre),
/// where the product is of unsigned numbers with the query's bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub base: f32,
    pub offset: f32,
    pub scale: f32,
    pub centre: i32,
}

impl Line {
    #[inline(always)]
    pub(super) fn at(self, add: f32, scale: f32, product: i32) -> f32 {
        self.with(add, scale, (2 * product - self.centre) as f32)
    }

    #[inline(always)]
    pub(super) fn with(self, add: f32, scale: f32, product: f32) -> f32 {
        finite((self.base + add + self.offset) - (scale * self.scale) * product)
    }
}

/// What estimates read of a query besides its bytes.
#[inline(always)]
pub(super) fn prepare(isa: Isa, bytes: &[i8], planes: &mut Vec<u64>, turned: &mut Vec<i8>) {
    match isa {
        Isa::Portable => {
            let _ = turned;
            fill_planes(bytes, planes);
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => fill_turned(bytes, turned),
        #[cfg(target_arch = "x86_64")]
        _ => {}
    }
}

/// A query's bytes as [`x86`]'s AVX2 kernels want them: of each 64 those of bits 0 of eight bytes of a code, of bits 2,
/// 4 and 6, then of bits 1, 3, 5 and 7.
#[cfg(target_arch = "x86_64")]
fn fill_turned(bytes: &[i8], turned: &mut Vec<i8>) {
    turned.clear();
    for bytes in bytes.as_chunks::<64>().0 {
        let mut rows: [u64; 8] = bytemuck::cast(*bytes);
        transpose(&mut rows);
        let rows = [0, 2, 4, 6, 1, 3, 5, 7].map(|bit| rows[bit]);
        turned.extend_from_slice(bytemuck::cast_slice(&rows));
    }
}

/// Transposes eight rows of eight bytes, by blocks of four, two and one (Warren, Hacker's Delight, 7-3).
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transpose(rows: &mut [u64; 8]) {
    for (distance, lower) in [
        (4, 0x0000_0000_ffff_ffff),
        (2, 0x0000_ffff_0000_ffff),
        (1, 0x00ff_00ff_00ff_00ff),
    ] {
        for row in (0..8).filter(|row| row & distance == 0) {
            let bits = 8 * distance;
            let change = (rows[row] >> bits ^ rows[row + distance]) & lower;
            rows[row + distance] ^= change;
            rows[row] ^= change << bits;
        }
    }
}

/// The bit planes of a query's bytes: bit b of byte j is bit j % 64 of word 8 (j / 64) + b.
fn fill_planes(bytes: &[i8], planes: &mut Vec<u64>) {
    planes.clear();
    for bytes in bytes.chunks_exact(64) {
        let mut words = [0u64; 8];
        for (at, &byte) in bytes.iter().enumerate() {
            for (bit, word) in words.iter_mut().enumerate() {
                *word |= ((byte as u8 >> bit & 1) as u64) << at;
            }
        }
        planes.extend(words);
    }
}

/// Inner product of two codes of the same length; `sum_b` is the sum of `b`.
#[inline]
pub(super) fn dot(isa: Isa, a: &[i8], b: &[i8], sum_b: i32) -> i32 {
    assert_eq!(a.len(), b.len());
    match isa {
        // SAFETY: an `Isa` other than the portable one is only made where it was detected; the lengths
        // are equal.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => unsafe { x86::dot_vnni(a, b, sum_b) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { x86::dot_avx512(a, b) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { x86::dot_avx2(a, b) },
        Isa::Portable => {
            let _ = sum_b;
            dot_portable(a, b)
        }
    }
}

/// Inner products of one code with many of the same length, one after another, whose sums are `sums`. The length is
/// a multiple of 64.
pub(super) fn dots(isa: Isa, one: &[i8], many: &[i8], sums: &[i32], out: &mut [i32]) {
    assert!(!one.is_empty() && one.len().is_multiple_of(64));
    assert_eq!(many.len(), out.len() * one.len());
    assert_eq!(sums.len(), out.len());
    match isa {
        // SAFETY: an `Isa` other than the portable one is only made where it was detected; lengths
        // were just checked.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => unsafe { x86::dots_vnni(one, many, sums, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { x86::dots_avx2(one, many, out) },
        _ => {
            let codes = many.chunks_exact(one.len()).zip(sums);
            for (out, (code, &sum)) in out.iter_mut().zip(codes) {
                *out = dot(isa, one, code, sum);
            }
        }
    }
}

fn dot_portable(a: &[i8], b: &[i8]) -> i32 {
    let pairs = a.iter().zip(b);
    pairs.map(|(&a, &b)| a as i32 * b as i32).sum()
}

/// Estimates for all codes of a batch.
#[inline]
pub(super) fn estimate(
    isa: Isa,
    query: QueryCode<'_>,
    batch: Batch<'_>,
    line: Line,
    out: &mut [f32],
) {
    // what kernels rely on when they read
    assert!(batch.dims > 0 && batch.dims <= query.bytes.len());
    assert!(query.bytes.len().is_multiple_of(64));
    batch.len_checked(out);
    match isa {
        // SAFETY: an `Isa` other than the portable one is only made where it was detected; lengths
        // were just checked.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => unsafe { x86::estimate_vnni(query.bytes, batch, line, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { x86::estimate_avx512(query.bytes, batch, line, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => {
            assert_eq!(query.turned.len(), query.bytes.len());
            // SAFETY: as above.
            unsafe { x86::estimate_avx2(query, batch, line, out) }
        }
        Isa::Portable => estimate_portable(query, batch, line, out),
    }
}

/// Estimates for all codes of one bit of a batch, one after another.
#[inline]
pub(super) fn estimate_bits(
    isa: Isa,
    query: QueryCode<'_>,
    tables: Tables<'_>,
    batch: Batch<'_>,
    line: Line,
    out: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Avx2 && out.len() >= x86::WORTH_TABLES {
        tables.check(batch.len_checked(out));
        // SAFETY: an `Isa` other than the portable one is only made where it was detected; lengths were just checked.
        return unsafe { x86::estimate_bits(tables, batch, line, out) };
    }
    let _ = tables;
    estimate(isa, query, batch, line, out);
}

/// Estimates for all codes of a batch of whole groups.
#[inline]
pub(super) fn estimate_groups(
    isa: Isa,
    tables: Tables<'_>,
    batch: Batch<'_>,
    line: Line,
    out: &mut [f32],
) {
    assert!(out.len().is_multiple_of(GROUP));
    tables.check(batch.len_checked(out));
    match isa {
        Isa::Portable => estimate_groups_portable(tables, batch, line, out),
        // SAFETY: an `Isa` other than the portable one is only made where it was detected; lengths were just checked.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { x86::estimate_groups(tables, batch, line, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        _ => unsafe { x86::estimate_groups_512(tables, batch, line, out) },
    }
}

fn estimate_groups_portable(tables: Tables<'_>, batch: Batch<'_>, line: Line, out: &mut [f32]) {
    let groups = batch.codes.chunks_exact(GROUP * tables.lows.len());
    let factors = batch.adds.chunks_exact(GROUP);
    let factors = factors.zip(batch.scales.chunks_exact(GROUP));
    for ((out, group), (adds, scales)) in out.chunks_exact_mut(GROUP).zip(groups).zip(factors) {
        let mut sums = [tables.least; GROUP];
        let tables = tables.lows.iter().zip(tables.highs);
        for (bytes, (low, high)) in group.chunks_exact(GROUP).zip(tables) {
            for (sum, &byte) in sums.iter_mut().zip(bytes) {
                *sum += low[byte as usize & 15] as i32 + high[byte as usize >> 4] as i32;
            }
        }
        for (n, sum) in sums.into_iter().enumerate() {
            out[n] = line.at(adds[n], scales[n], sum);
        }
    }
}

fn estimate_portable(query: QueryCode<'_>, batch: Batch<'_>, line: Line, out: &mut [f32]) {
    let bits = batch.quantizer.bits();
    let codes = batch
        .codes
        .chunks_exact(batch.quantizer.code_len(batch.dims));
    let factors = batch.adds.iter().zip(batch.scales);
    for ((out, code), (&add, &scale)) in out.iter_mut().zip(codes).zip(factors) {
        let product = match bits {
            8 => unsigned_dot(&code[..batch.dims], &query.bytes[..batch.dims]),
            _ => {
                let planes = code.chunks_exact(code.len() / bits).enumerate();
                planes
                    .map(|(bit, plane)| count(plane, query.planes) << bit)
                    .sum()
            }
        };
        *out = line.at(add, scale, product);
    }
}

/// Product of a code's bytes, offset by 128 to be unsigned, and a query's.
#[inline(always)]
fn unsigned_dot(code: &[u8], query: &[i8]) -> i32 {
    let pairs = code.iter().zip(query);
    pairs.map(|(&i, &q)| (i ^ 0x80) as i32 * q as i32).sum()
}

/// Product of a plane of ones and zeros and a query in planes.
#[inline(always)]
fn count(plane: &[u8], query: &[u64]) -> i32 {
    let (words, _) = plane.as_chunks::<8>();
    let (query, _) = query.as_chunks::<8>();
    let mut counts = [0u32; 8];
    for (word, planes) in words.iter().zip(query) {
        let word = u64::from_le_bytes(*word);
        for (count, plane) in counts.iter_mut().zip(planes) {
            *count += (word & plane).count_ones();
        }
    }
    let [magnitudes @ .., sign] = counts;
    let places = magnitudes.iter().enumerate();
    let magnitude: i32 = places.map(|(bit, &count)| (count << bit) as i32).sum();
    magnitude - ((sign as i32) << 7)
}
