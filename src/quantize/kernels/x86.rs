//! The kernels for x86-64.

// SAFETY (all blocks of this module): intrinsics of the instruction set that the caller promises; every
// read and write is inside a slice, as the comments at them say.

use super::{Batch, GROUP, Line, QueryCode, Tables};
use std::arch::x86_64::*;

/// # Safety
/// The slices have the same length.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub unsafe fn dot_vnni(a: &[i8], b: &[i8], sum_b: i32) -> i32 {
    let (len, a, b) = (a.len(), a.as_ptr(), b.as_ptr());
    // the instruction multiplies unsigned by signed: (a + 128) b, and the sum takes 128 b off
    let offset = _mm512_set1_epi8(-128);
    let mut sums = [_mm512_setzero_si512(); 4];
    let mut at = 0;
    while at + 256 <= len {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: ends at `len` at most.
            let (x, y) = unsafe {
                (
                    _mm512_loadu_si512(a.add(at + 64 * i).cast()),
                    _mm512_loadu_si512(b.add(at + 64 * i).cast()),
                )
            };
            *sum = _mm512_dpbusd_epi32(*sum, _mm512_xor_si512(x, offset), y);
        }
        at += 256;
    }
    for sum in &mut sums {
        if at >= len {
            break;
        }
        let mask = first_64(len - at);
        // SAFETY: the mask ends at `len`; what it leaves out is not read.
        let (x, y) = unsafe {
            (
                _mm512_maskz_loadu_epi8(mask, a.add(at)),
                _mm512_maskz_loadu_epi8(mask, b.add(at)),
            )
        };
        *sum = _mm512_dpbusd_epi32(*sum, _mm512_xor_si512(x, offset), y);
        at += 64;
    }
    let [s, t, u, v] = sums;
    let sum = _mm512_add_epi32(_mm512_add_epi32(s, t), _mm512_add_epi32(u, v));
    // a sum from a damaged page may be any number
    _mm512_reduce_add_epi32(sum).wrapping_sub(sum_b.wrapping_mul(128))
}

/// # Safety
/// `one` is a multiple of 64 long, `many` so many times as long as `sums` and `out` are.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub unsafe fn dots_vnni(one: &[i8], many: &[i8], sums: &[i32], out: &mut [i32]) {
    let (len, one) = (one.len(), one.as_ptr());
    // as in `dot_vnni`
    let offset = _mm512_set1_epi8(-128);
    for (first, (out, sums)) in out.chunks_mut(4).zip(sums.chunks(4)).enumerate() {
        // the last code once more, where fewer are left
        // SAFETY: each begins in `many`, where `len` bytes are left.
        let code =
            |i: usize| unsafe { many.as_ptr().add((4 * first + i.min(out.len() - 1)) * len) };
        let (a, b, c, d) = (code(0), code(1), code(2), code(3));
        // in registers, not in an array
        let zero = _mm512_setzero_si512();
        let (mut of_a, mut of_b, mut of_c, mut of_d) = (zero, zero, zero, zero);
        let mut at = 0;
        while at < len {
            // SAFETY: ends at `len` at most, as the following do.
            let x = unsafe { _mm512_loadu_si512(one.add(at).cast()) };
            let x = _mm512_xor_si512(x, offset);
            // SAFETY: as above.
            of_a = _mm512_dpbusd_epi32(of_a, x, unsafe { _mm512_loadu_si512(a.add(at).cast()) });
            // SAFETY: as above.
            of_b = _mm512_dpbusd_epi32(of_b, x, unsafe { _mm512_loadu_si512(b.add(at).cast()) });
            // SAFETY: as above.
            of_c = _mm512_dpbusd_epi32(of_c, x, unsafe { _mm512_loadu_si512(c.add(at).cast()) });
            // SAFETY: as above.
            of_d = _mm512_dpbusd_epi32(of_d, x, unsafe { _mm512_loadu_si512(d.add(at).cast()) });
            at += 64;
        }
        let totals = [
            _mm512_reduce_add_epi32(of_a),
            _mm512_reduce_add_epi32(of_b),
            _mm512_reduce_add_epi32(of_c),
            _mm512_reduce_add_epi32(of_d),
        ];
        for ((out, sum), total) in out.iter_mut().zip(sums).zip(totals) {
            *out = total.wrapping_sub(sum.wrapping_mul(128));
        }
    }
}

/// # Safety
/// The slices have the same length.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub unsafe fn dot_avx512(a: &[i8], b: &[i8]) -> i32 {
    let (len, a, b) = (a.len(), a.as_ptr(), b.as_ptr());
    let mut sums = [_mm512_setzero_si512(); 2];
    let mut at = 0;
    while at < len {
        for (i, sum) in sums.iter_mut().enumerate() {
            let from = (at + 32 * i).min(len);
            let mask = first_64(len - from) as u32;
            // SAFETY: the mask ends at `len`; what it leaves out is not read.
            let (x, y) = unsafe {
                (
                    _mm256_maskz_loadu_epi8(mask, a.add(from)),
                    _mm256_maskz_loadu_epi8(mask, b.add(from)),
                )
            };
            let products = _mm512_madd_epi16(_mm512_cvtepi8_epi16(x), _mm512_cvtepi8_epi16(y));
            *sum = _mm512_add_epi32(*sum, products);
        }
        at += 64;
    }
    _mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1]))
}

/// # Safety
/// The slices have the same length.
#[target_feature(enable = "avx2")]
pub unsafe fn dot_avx2(a: &[i8], b: &[i8]) -> i32 {
    let (a_blocks, a_rest) = a.as_chunks::<32>();
    let (b_blocks, b_rest) = b.as_chunks::<32>();
    let mut sums = [_mm256_setzero_si256(); 4];
    for (a, b) in a_blocks.chunks(4).zip(b_blocks.chunks(4)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            // SAFETY: arrays of 32 bytes; loads need no alignment.
            let (a, b) = unsafe { (load_256(a.as_ptr()), load_256(b.as_ptr())) };
            *sum = _mm256_add_epi32(*sum, signed_products(a, b));
        }
    }
    let (mut x, mut y) = ([0; 32], [0; 32]);
    x[..a_rest.len()].copy_from_slice(a_rest);
    y[..b_rest.len()].copy_from_slice(b_rest);
    // SAFETY: as above.
    let (x, y) = unsafe { (load_256(x.as_ptr()), load_256(y.as_ptr())) };
    let [s, t, u, v] = sums;
    let sum = _mm256_add_epi32(_mm256_add_epi32(s, t), _mm256_add_epi32(u, v));
    sum_256(_mm256_add_epi32(sum, signed_products(x, y)))
}

/// # Safety
/// `one` is a multiple of 64 long, `many` so many times as long as `out` is.
#[target_feature(enable = "avx2")]
pub unsafe fn dots_avx2(one: &[i8], many: &[i8], out: &mut [i32]) {
    let len = one.len();
    for (first, out) in (0..).step_by(4).zip(out.chunks_mut(4)) {
        // the last code once more, where fewer are left
        // SAFETY: each begins in `many`, where `len` bytes are left.
        let code = |i: usize| unsafe { many.as_ptr().add((first + i.min(out.len() - 1)) * len) };
        let codes = [code(0), code(1), code(2), code(3)];
        let mut sums = [_mm256_setzero_si256(); 4];
        for at in (0..len).step_by(32) {
            // SAFETY: ends at `len` at most, as the following do.
            let x = unsafe { load_256(one.as_ptr().add(at)) };
            for (sum, code) in sums.iter_mut().zip(codes) {
                // SAFETY: as above.
                let y = unsafe { load_256(code.add(at)) };
                *sum = _mm256_add_epi32(*sum, signed_products(x, y));
            }
        }
        let mut totals = [0; 4];
        // SAFETY: four numbers are stored to four.
        unsafe { _mm_storeu_si128(totals.as_mut_ptr().cast(), add_four(sums)) };
        out.copy_from_slice(&totals[..out.len()]);
    }
}

/// # Safety
/// 32 bytes are there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_256(from: *const i8) -> __m256i {
    // SAFETY: as promised by the caller; the load needs no alignment.
    unsafe { _mm256_loadu_si256(from.cast()) }
}

/// Products of signed bytes, added in fours: |x| times y with the sign of x. Bytes of y are -127 to 127, so that signs
/// can be changed, and a pair of products fits 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn signed_products(x: __m256i, y: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(y, x));
    _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
}

/// The sum of each of four.
#[inline]
#[target_feature(enable = "avx2")]
fn add_four([a, b, c, d]: [__m256i; 4]) -> __m128i {
    let sums = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    let upper = _mm256_extracti128_si256::<1>(sums);
    _mm_add_epi32(_mm256_castsi256_si128(sums), upper)
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum_256(x: __m256i) -> i32 {
    let halves = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
    let pairs = _mm_add_epi32(halves, _mm_shuffle_epi32::<0b01_00_11_10>(halves));
    _mm_cvtsi128_si32(_mm_add_epi32(
        pairs,
        _mm_shuffle_epi32::<0b10_11_00_01>(pairs),
    ))
}

/// A mask of the first `count` of 64.
#[inline(always)]
fn first_64(count: usize) -> u64 {
    match count {
        0 => 0,
        1..64 => !0 >> (64 - count),
        _ => !0,
    }
}

/// # Safety
/// As [`super::estimate`] checks.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub unsafe fn estimate_vnni(query: &[i8], batch: Batch<'_>, line: Line, out: &mut [f32]) {
    // SAFETY: as promised by the caller, here and below.
    unsafe {
        match batch.quantizer.bits() {
            1 => wide::estimate::<1, true>(query, batch, line, out),
            2 => wide::estimate::<2, true>(query, batch, line, out),
            3 => wide::estimate::<3, true>(query, batch, line, out),
            4 => wide::estimate::<4, true>(query, batch, line, out),
            5 => wide::estimate::<5, true>(query, batch, line, out),
            6 => wide::estimate::<6, true>(query, batch, line, out),
            7 => wide::estimate::<7, true>(query, batch, line, out),
            _ => wide::estimate::<8, true>(query, batch, line, out),
        }
    }
}

/// # Safety
/// As [`super::estimate`] checks.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub unsafe fn estimate_avx512(query: &[i8], batch: Batch<'_>, line: Line, out: &mut [f32]) {
    // SAFETY: as promised by the caller, here and below.
    unsafe {
        match batch.quantizer.bits() {
            1 => wide::estimate::<1, false>(query, batch, line, out),
            2 => wide::estimate::<2, false>(query, batch, line, out),
            3 => wide::estimate::<3, false>(query, batch, line, out),
            4 => wide::estimate::<4, false>(query, batch, line, out),
            5 => wide::estimate::<5, false>(query, batch, line, out),
            6 => wide::estimate::<6, false>(query, batch, line, out),
            7 => wide::estimate::<7, false>(query, batch, line, out),
            _ => wide::estimate::<8, false>(query, batch, line, out),
        }
    }
}

/// # Safety
/// As [`super::estimate`] checks.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn estimate_avx2(query: QueryCode<'_>, batch: Batch<'_>, line: Line, out: &mut [f32]) {
    // SAFETY: as promised by the caller, here and below.
    unsafe {
        match batch.quantizer.bits() {
            1 => narrow::estimate::<1>(query, batch, line, out),
            2 => narrow::estimate::<2>(query, batch, line, out),
            3 => narrow::estimate::<3>(query, batch, line, out),
            4 => narrow::estimate::<4>(query, batch, line, out),
            5 => narrow::estimate::<5>(query, batch, line, out),
            6 => narrow::estimate::<6>(query, batch, line, out),
            7 => narrow::estimate::<7>(query, batch, line, out),
            _ => narrow::estimate::<8>(query, batch, line, out),
        }
    }
}

/// Pairs of bytes of a code whose sums, and those of the two of a pair, fit 16 bits.
const PAIRS_OF_16_BITS: usize = 128;

/// # Safety
/// As [`super::estimate_groups`] checks.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn estimate_groups(tables: Tables<'_>, batch: Batch<'_>, line: Line, out: &mut [f32]) {
    let len = tables.lows.len();
    let (lows, highs) = (tables.lows.as_ptr(), tables.highs.as_ptr());
    let lowest = _mm256_set1_epi8(0x0f);
    let groups = batch.codes.chunks_exact(GROUP * len);
    let factors = batch.adds.chunks_exact(GROUP);
    let factors = factors.zip(batch.scales.chunks_exact(GROUP));
    for ((out, group), (adds, scales)) in out.chunks_exact_mut(GROUP).zip(groups).zip(factors) {
        let mut sums = [_mm256_set1_epi32(tables.least); 2];
        for first in (0..len).step_by(2 * PAIRS_OF_16_BITS) {
            // of two bytes each: both halves of 16 bits, and the upper ones alone
            let (mut both, mut upper) = (_mm256_setzero_si256(), _mm256_setzero_si256());
            for at in (first..len.min(first + 2 * PAIRS_OF_16_BITS)).step_by(2) {
                // SAFETY: `len` is even, so two bytes of all codes of the group are there, and two tables of each kind.
                let (codes, lows, highs) = unsafe {
                    (
                        load_256(group.as_ptr().add(GROUP * at).cast()),
                        load_256(lows.add(at).cast()),
                        load_256(highs.add(at).cast()),
                    )
                };
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), lowest);
                let low = _mm256_and_si256(codes, lowest);
                let low = _mm256_shuffle_epi8(lows, low);
                let sum = _mm256_add_epi8(low, _mm256_shuffle_epi8(highs, high));
                both = _mm256_add_epi16(both, sum);
                upper = _mm256_add_epi16(upper, _mm256_srli_epi16::<8>(sum));
            }
            // of the codes 0, 2, 4, ... and of 1, 3, 5, ...
            let even = add_halves(_mm256_sub_epi16(both, _mm256_slli_epi16::<8>(upper)));
            let odd = add_halves(upper);
            let [first, last] = &mut sums;
            *first = _mm256_add_epi32(*first, _mm256_cvtepu16_epi32(_mm_unpacklo_epi16(even, odd)));
            *last = _mm256_add_epi32(*last, _mm256_cvtepu16_epi32(_mm_unpackhi_epi16(even, odd)));
        }
        for (n, sums) in (0..).step_by(8).zip(sums) {
            // SAFETY: half a group of each.
            unsafe {
                let adds = _mm256_loadu_ps(adds.as_ptr().add(n));
                let scales = _mm256_loadu_ps(scales.as_ptr().add(n));
                _mm256_storeu_ps(out.as_mut_ptr().add(n), finish(line, adds, scales, sums));
            }
        }
    }
}

/// The same of four bytes of each code at a time.
///
/// # Safety
/// As [`super::estimate_groups`] checks.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub unsafe fn estimate_groups_512(
    tables: Tables<'_>,
    batch: Batch<'_>,
    line: Line,
    out: &mut [f32],
) {
    let len = tables.lows.len();
    let (lows, highs) = (tables.lows.as_ptr(), tables.highs.as_ptr());
    let lowest = _mm512_set1_epi8(0x0f);
    let groups = batch.codes.chunks_exact(GROUP * len);
    let factors = batch.adds.chunks_exact(GROUP);
    let factors = factors.zip(batch.scales.chunks_exact(GROUP));
    for ((out, group), (adds, scales)) in out.chunks_exact_mut(GROUP).zip(groups).zip(factors) {
        let mut sums = _mm512_set1_epi32(tables.least);
        for first in (0..len).step_by(2 * PAIRS_OF_16_BITS) {
            // as in `estimate_groups`
            let (mut both, mut upper) = (_mm512_setzero_si512(), _mm512_setzero_si512());
            for at in (first..len.min(first + 2 * PAIRS_OF_16_BITS)).step_by(4) {
                // SAFETY: `len` is a multiple of eight, so four bytes of all codes of the group are there, and four
                // tables of each kind.
                let (codes, lows, highs) = unsafe {
                    (
                        _mm512_loadu_si512(group.as_ptr().add(GROUP * at).cast()),
                        _mm512_loadu_si512(lows.add(at).cast()),
                        _mm512_loadu_si512(highs.add(at).cast()),
                    )
                };
                let high = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), lowest);
                let low = _mm512_and_si512(codes, lowest);
                let low = _mm512_shuffle_epi8(lows, low);
                let sum = _mm512_add_epi8(low, _mm512_shuffle_epi8(highs, high));
                both = _mm512_add_epi16(both, sum);
                upper = _mm512_add_epi16(upper, _mm512_srli_epi16::<8>(sum));
            }
            let even = _mm512_sub_epi16(both, _mm512_slli_epi16::<8>(upper));
            let (even, odd) = (add_quarters(even), add_quarters(upper));
            let (x, y) = (_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd));
            let added = _mm512_cvtepu16_epi32(_mm256_set_m128i(y, x));
            sums = _mm512_add_epi32(sums, added);
        }
        // SAFETY: sixteen of each.
        unsafe {
            let adds = _mm512_loadu_ps(adds.as_ptr());
            let scales = _mm512_loadu_ps(scales.as_ptr());
            let estimates = wide::finish(line, adds, scales, sums);
            _mm512_storeu_ps(out.as_mut_ptr(), estimates);
        }
    }
}

/// The sums of numbers of all four quarters.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_quarters(x: __m512i) -> __m128i {
    let lower = _mm512_castsi512_si256(x);
    add_halves(_mm256_add_epi16(lower, _mm512_extracti64x4_epi64::<1>(x)))
}

/// Codes that are turned at once.
const TURNED: usize = 2 * GROUP;
/// Codes from which on it is worth to turn as many.
pub const WORTH_TABLES: usize = 12;
/// Bytes of codes whose sums fit 16 bits.
const BYTES_OF_16_BITS: usize = 256;

/// Codes one after another are turned, 32 at a time, so that their bytes lie together, and then are as groups.
///
/// # Safety
/// As [`super::estimate_bits`] checks.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn estimate_bits(tables: Tables<'_>, batch: Batch<'_>, line: Line, out: &mut [f32]) {
    let len = tables.lows.len();
    let all = batch.adds.len();
    for (first, out) in (0..).step_by(TURNED).zip(out.chunks_mut(TURNED)) {
        // the last code once more where there are no more
        let codes: [*const u8; TURNED] =
            std::array::from_fn(|n| batch.codes[(first + n).min(all - 1) * len..].as_ptr());
        let mut sums = [_mm256_set1_epi32(tables.least); 4];
        for start in (0..len).step_by(BYTES_OF_16_BITS) {
            let mut added = [_mm256_setzero_si256(); 2];
            for at in (start..len.min(start + BYTES_OF_16_BITS)).step_by(GROUP) {
                // SAFETY: sixteen bytes of all codes are there, or eight.
                added = unsafe {
                    match len - at {
                        GROUP.. => add_columns::<GROUP>(tables, &codes, at, added),
                        _ => add_columns::<8>(tables, &codes, at, added),
                    }
                };
            }
            let [both, upper] = added;
            // of the codes 0, 2, 4, ... and of 1, 3, 5, ...
            let even = _mm256_sub_epi16(both, _mm256_slli_epi16::<8>(upper));
            let (x, y) = (
                _mm256_unpacklo_epi16(even, upper),
                _mm256_unpackhi_epi16(even, upper),
            );
            let parts = [
                _mm256_castsi256_si128(x),
                _mm256_castsi256_si128(y),
                _mm256_extracti128_si256::<1>(x),
                _mm256_extracti128_si256::<1>(y),
            ];
            for (sum, part) in sums.iter_mut().zip(parts) {
                *sum = _mm256_add_epi32(*sum, _mm256_cvtepu16_epi32(part));
            }
        }
        let (mut adds, mut scales, mut estimates) = ([0.0; TURNED], [0.0; TURNED], [0.0; TURNED]);
        adds[..out.len()].copy_from_slice(&batch.adds[first..first + out.len()]);
        scales[..out.len()].copy_from_slice(&batch.scales[first..first + out.len()]);
        for (n, sums) in (0..).step_by(8).zip(sums) {
            // SAFETY: a quarter of each.
            unsafe {
                let adds = _mm256_loadu_ps(adds.as_ptr().add(n));
                let scales = _mm256_loadu_ps(scales.as_ptr().add(n));
                let of_eight = finish(line, adds, scales, sums);
                _mm256_storeu_ps(estimates.as_mut_ptr().add(n), of_eight);
            }
        }
        out.copy_from_slice(&estimates[..out.len()]);
    }
}

/// Adds what some bytes of codes add to their products, as pairs of bytes, and that of the upper one of each pair.
///
/// # Safety
/// So many bytes of each code are there from `at` on: sixteen, or eight.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add_columns<const COUNT: usize>(
    tables: Tables<'_>,
    codes: &[*const u8; TURNED],
    at: usize,
    [mut both, mut upper]: [__m256i; 2],
) -> [__m256i; 2] {
    let row = |n: usize| {
        // SAFETY: as promised by the caller.
        let of = |n: usize| unsafe {
            let code = codes[n].add(at);
            match COUNT {
                GROUP => _mm_loadu_si128(code.cast()),
                _ => _mm_loadl_epi64(code.cast()),
            }
        };
        _mm256_set_m128i(of(n + GROUP), of(n))
    };
    let mut half_turned = [_mm256_setzero_si256(); GROUP];
    for n in 0..4 {
        let four = turned([row(n), row(n + 4), row(n + 8), row(n + 12)]);
        half_turned[4 * n..4 * n + 4].copy_from_slice(&four);
    }
    let lowest = _mm256_set1_epi8(0x0f);
    let lows: &[[u8; GROUP]; COUNT] = tables.lows[at..].first_chunk().expect("tables");
    let highs: &[[u8; GROUP]; COUNT] = tables.highs[at..].first_chunk().expect("tables");
    for n in 0..COUNT / 4 {
        let columns = turned([0, 4, 8, 12].map(|m| half_turned[m + n]));
        for (m, codes) in columns.into_iter().enumerate() {
            let low = _mm256_and_si256(codes, lowest);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), lowest);
            let low = _mm256_shuffle_epi8(twice(&lows[4 * n + m]), low);
            let high = _mm256_shuffle_epi8(twice(&highs[4 * n + m]), high);
            let sum = _mm256_add_epi8(low, high);
            both = _mm256_add_epi16(both, sum);
            upper = _mm256_add_epi16(upper, _mm256_srli_epi16::<8>(sum));
        }
    }
    [both, upper]
}

/// Sixteen bytes in both halves.
#[inline]
#[target_feature(enable = "avx2")]
fn twice(bytes: &[u8; GROUP]) -> __m256i {
    // SAFETY: sixteen bytes are there; the load needs no alignment.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

/// Half of what makes columns of sixteen rows of sixteen bytes, in each half of a register: of rows n, n + 4, n + 8 and
/// n + 12, for each n below four. What comes out are rows 4n to 4n + 3, of which the same makes columns 4n to 4n + 3.
#[inline]
#[target_feature(enable = "avx2")]
fn turned([a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
    let (even, odd) = (
        [_mm256_unpacklo_epi8(a, c), _mm256_unpackhi_epi8(a, c)],
        [_mm256_unpacklo_epi8(b, d), _mm256_unpackhi_epi8(b, d)],
    );
    [
        _mm256_unpacklo_epi8(even[0], odd[0]),
        _mm256_unpackhi_epi8(even[0], odd[0]),
        _mm256_unpacklo_epi8(even[1], odd[1]),
        _mm256_unpackhi_epi8(even[1], odd[1]),
    ]
}

/// The sums of numbers of both halves.
#[inline]
#[target_feature(enable = "avx2")]
fn add_halves(x: __m256i) -> __m128i {
    _mm_add_epi16(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x))
}

/// [`Line::at`] of eight, in the same order of operations.
#[inline]
#[target_feature(enable = "avx2")]
fn finish(line: Line, adds: __m256, scales: __m256, products: __m256i) -> __m256 {
    let twice = _mm256_slli_epi32::<1>(products);
    let products = _mm256_cvtepi32_ps(_mm256_sub_epi32(twice, _mm256_set1_epi32(line.centre)));
    let own = _mm256_add_ps(_mm256_set1_ps(line.base), adds);
    let own = _mm256_add_ps(own, _mm256_set1_ps(line.offset));
    let scales = _mm256_mul_ps(scales, _mm256_set1_ps(line.scale));
    let far = _mm256_set1_ps(f32::MAX);
    // of a NaN and another, the minimum is the second operand
    let finite = _mm256_min_ps(_mm256_sub_ps(own, _mm256_mul_ps(scales, products)), far);
    _mm256_max_ps(finite, _mm256_set1_ps(-f32::MAX))
}

/// A code inside a batch.
#[derive(Clone, Copy)]
struct Code {
    /// its first byte
    start: *const u8,
    /// bytes from one plane to the next
    plane_len: usize,
    /// dimensions
    dims: usize,
}

impl Code {
    /// 64 bits of a plane.
    ///
    /// # Safety
    /// The word is one of the code's.
    #[inline(always)]
    unsafe fn word(self, plane: usize, word: usize) -> u64 {
        let at = plane * self.plane_len + 8 * word;
        // SAFETY: inside the code, as promised by the caller.
        unsafe { self.start.add(at).cast::<u64>().read_unaligned() }
    }
}

/// Codes `first..first + 4` of a batch; the last one again where there are no more.
#[inline(always)]
fn four(batch: Batch<'_>, bits: usize, first: usize) -> [Code; 4] {
    let len = batch.quantizer.code_len(batch.dims);
    let last = batch.adds.len() - 1;
    std::array::from_fn(|i| Code {
        start: batch.codes[(first + i).min(last) * len..].as_ptr(),
        plane_len: len / bits,
        dims: batch.dims,
    })
}

/// AVX-512.
mod wide {
    use super::*;

    #[inline(always)]
    pub unsafe fn estimate<const BITS: usize, const VNNI: bool>(
        query: &[i8],
        batch: Batch<'_>,
        line: Line,
        out: &mut [f32],
    ) {
        for first in (0..out.len()).step_by(16) {
            let left = (out.len() - first).min(16);
            // SAFETY: masks end with the slices, which are as long as `out`.
            unsafe {
                let mut rows = [_mm512_setzero_si512(); 4];
                for (row, first) in rows[..left.div_ceil(4)]
                    .iter_mut()
                    .zip((first..).step_by(4))
                {
                    *row = four_products::<BITS, VNNI>(query, four(batch, BITS, first));
                }
                let products = add_rows(rows);
                let mask = super::first_64(left) as u16;
                let adds = _mm512_maskz_loadu_ps(mask, batch.adds.as_ptr().add(first));
                let scales = _mm512_maskz_loadu_ps(mask, batch.scales.as_ptr().add(first));
                let estimates = finish(line, adds, scales, products);
                _mm512_mask_storeu_ps(out.as_mut_ptr().add(first), mask, estimates);
            }
        }
    }

    /// [`Line::at`], in the same order of operations.
    #[inline(always)]
    pub unsafe fn finish(line: Line, adds: __m512, scales: __m512, products: __m512i) -> __m512 {
        unsafe {
            let twice = _mm512_slli_epi32::<1>(products);
            let products =
                _mm512_cvtepi32_ps(_mm512_sub_epi32(twice, _mm512_set1_epi32(line.centre)));
            let own = _mm512_add_ps(_mm512_set1_ps(line.base), adds);
            let own = _mm512_add_ps(own, _mm512_set1_ps(line.offset));
            let scales = _mm512_mul_ps(scales, _mm512_set1_ps(line.scale));
            let far = _mm512_set1_ps(f32::MAX);
            // of a NaN and another, the minimum is the second operand
            let finite = _mm512_min_ps(_mm512_sub_ps(own, _mm512_mul_ps(scales, products)), far);
            _mm512_max_ps(finite, _mm512_set1_ps(-f32::MAX))
        }
    }

    /// Products of four codes with the query; each quarter of the result has a part of all four.
    #[inline(always)]
    unsafe fn four_products<const BITS: usize, const VNNI: bool>(
        query: &[i8],
        codes: [Code; 4],
    ) -> __m512i {
        unsafe {
            let mut sums = [_mm512_setzero_si512(); 4];
            for word in 0..codes[0].dims.div_ceil(64) {
                // SAFETY: the query is as long as a code and filled up to a multiple of 64.
                let query = _mm512_loadu_si512(query.as_ptr().add(64 * word).cast());
                for (sum, code) in sums.iter_mut().zip(codes) {
                    *sum = add_products::<BITS, VNNI>(*sum, numbers::<BITS>(code, word), query);
                }
            }
            let [a, b, c, d] = sums;
            let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd))
        }
    }

    /// The unsigned numbers of 64 dimensions.
    #[inline(always)]
    unsafe fn numbers<const BITS: usize>(code: Code, word: usize) -> __m512i {
        unsafe {
            if BITS == 8 {
                let mask = super::first_64(code.dims - 64 * word);
                // SAFETY: the mask ends with the code.
                let bytes = _mm512_maskz_loadu_epi8(mask, code.start.add(64 * word).cast());
                return _mm512_xor_si512(bytes, _mm512_maskz_set1_epi8(mask, -128));
            }
            let mut numbers = _mm512_maskz_set1_epi8(code.word(0, word), 1);
            for plane in 1..BITS {
                let bit = _mm512_set1_epi8(1 << plane);
                numbers = _mm512_mask_add_epi8(numbers, code.word(plane, word), numbers, bit);
            }
            numbers
        }
    }

    /// Adds products of unsigned and signed bytes to sums, in fours.
    #[inline(always)]
    unsafe fn add_products<const BITS: usize, const VNNI: bool>(
        sums: __m512i,
        numbers: __m512i,
        query: __m512i,
    ) -> __m512i {
        unsafe {
            if VNNI {
                return _mm512_dpbusd_epi32(sums, numbers, query);
            }
            if BITS < 8 {
                return _mm512_add_epi32(sums, fours(numbers, query));
            }
            // a pair of products must fit 16 bits: 2 * 127 * 127 does, 2 * 255 * 127 does not
            let low = _mm512_and_si512(numbers, _mm512_set1_epi8(0x7f));
            let high = _mm512_and_si512(_mm512_srli_epi16::<7>(numbers), _mm512_set1_epi8(1));
            let high = _mm512_slli_epi32::<7>(fours(high, query));
            _mm512_add_epi32(_mm512_add_epi32(sums, fours(low, query)), high)
        }
    }

    /// Products of bytes, added in fours; those of a pair fit 16 bits.
    #[inline(always)]
    unsafe fn fours(numbers: __m512i, query: __m512i) -> __m512i {
        unsafe {
            let pairs = _mm512_maddubs_epi16(numbers, query);
            _mm512_madd_epi16(pairs, _mm512_set1_epi16(1))
        }
    }

    #[inline(always)]
    unsafe fn add_halves(x: __m512i, y: __m512i) -> __m512i {
        unsafe {
            _mm512_add_epi32(
                _mm512_shuffle_i32x4::<0b01_00_01_00>(x, y),
                _mm512_shuffle_i32x4::<0b11_10_11_10>(x, y),
            )
        }
    }

    /// Adds the quarters of each row; row after row, four sums each.
    #[inline(always)]
    unsafe fn add_rows([a, b, c, d]: [__m512i; 4]) -> __m512i {
        unsafe {
            let (ab, cd) = (add_halves(a, b), add_halves(c, d));
            _mm512_add_epi32(
                _mm512_shuffle_i32x4::<0b10_00_10_00>(ab, cd),
                _mm512_shuffle_i32x4::<0b11_01_11_01>(ab, cd),
            )
        }
    }
}

/// AVX2. Bits are not easily spread over bytes one after another. Those at the same place of all bytes are: eight
/// bytes of a code, four times, each shifted to another place, have every other bit of 64 in the lowest bits, and the
/// rest in the next ones. The query's bytes come in that order ([`super::fill_turned`]).
mod narrow {
    use super::*;

    /// Words of 64 dimensions whose products of one bit fit sums of 16 bits: each adds 2 * 2 * 127 at most.
    const WORDS_OF_16_BITS: usize = 64;

    #[inline(always)]
    pub unsafe fn estimate<const BITS: usize>(
        query: QueryCode<'_>,
        batch: Batch<'_>,
        line: Line,
        out: &mut [f32],
    ) {
        let of_offset = match BITS {
            8 => sum(&query.bytes[..batch.dims]).wrapping_mul(128),
            _ => 0,
        };
        for (first, out) in (0..).step_by(4).zip(out.chunks_mut(4)) {
            let (adds, scales) = (
                four_of(&batch.adds[first..]),
                four_of(&batch.scales[first..]),
            );
            // SAFETY: as promised by the caller; four numbers are stored to four.
            unsafe {
                let codes = four(batch, BITS, first);
                let products = match BITS {
                    1 => four_products_of_one_bit(query.turned, codes),
                    8 => four_products_of_bytes(query.bytes, codes),
                    _ => four_products::<BITS>(query.turned, codes),
                };
                let products = _mm_add_epi32(products, _mm_set1_epi32(of_offset));
                let adds = _mm_loadu_ps(adds.as_ptr());
                let scales = _mm_loadu_ps(scales.as_ptr());
                let estimates = finish(line, adds, scales, products);
                match out.first_chunk_mut::<4>() {
                    Some(out) => _mm_storeu_ps(out.as_mut_ptr(), estimates),
                    None => {
                        let mut last = [0.0; 4];
                        _mm_storeu_ps(last.as_mut_ptr(), estimates);
                        out.copy_from_slice(&last[..out.len()]);
                    }
                }
            }
        }
    }

    /// The first four, or as many as there are and zeros.
    #[inline(always)]
    fn four_of(numbers: &[f32]) -> [f32; 4] {
        match numbers.first_chunk() {
            Some(four) => *four,
            None => std::array::from_fn(|i| numbers.get(i).copied().unwrap_or_default()),
        }
    }

    /// [`Line::at`], in the same order of operations.
    #[inline(always)]
    unsafe fn finish(line: Line, adds: __m128, scales: __m128, products: __m128i) -> __m128 {
        unsafe {
            let twice = _mm_slli_epi32::<1>(products);
            let products = _mm_cvtepi32_ps(_mm_sub_epi32(twice, _mm_set1_epi32(line.centre)));
            let own = _mm_add_ps(_mm_set1_ps(line.base), adds);
            let own = _mm_add_ps(own, _mm_set1_ps(line.offset));
            let scales = _mm_mul_ps(scales, _mm_set1_ps(line.scale));
            let far = _mm_set1_ps(f32::MAX);
            // of a NaN and another, the minimum is the second operand
            let finite = _mm_min_ps(_mm_sub_ps(own, _mm_mul_ps(scales, products)), far);
            _mm_max_ps(finite, _mm_set1_ps(-f32::MAX))
        }
    }

    #[inline(always)]
    fn sum(bytes: &[i8]) -> i32 {
        bytes.iter().map(|&byte| byte as i32).sum()
    }

    /// Products of four codes of one bit with the query.
    #[inline(always)]
    unsafe fn four_products_of_one_bit(turned: &[i8], codes: [Code; 4]) -> __m128i {
        unsafe {
            let words = codes[0].dims.div_ceil(64);
            let (lowest, next) = (_mm256_set1_epi8(1), _mm256_set1_epi8(2));
            let mut sums = [_mm256_setzero_si256(); 4];
            for first in (0..words).step_by(WORDS_OF_16_BITS) {
                let mut of_lowest = [_mm256_setzero_si256(); 4];
                let mut of_next = [_mm256_setzero_si256(); 4];
                for word in first..words.min(first + WORDS_OF_16_BITS) {
                    let [query_of_lowest, query_of_next] = two(turned, word);
                    for (i, code) in codes.into_iter().enumerate() {
                        let bits = four_times(code.word(0, word));
                        let x = _mm256_and_si256(bits, lowest);
                        let y = _mm256_and_si256(bits, next);
                        let x = _mm256_maddubs_epi16(x, query_of_lowest);
                        let y = _mm256_maddubs_epi16(y, query_of_next);
                        of_lowest[i] = _mm256_add_epi16(of_lowest[i], x);
                        of_next[i] = _mm256_add_epi16(of_next[i], y);
                    }
                }
                let one = _mm256_set1_epi16(1);
                for (i, sum) in sums.iter_mut().enumerate() {
                    // the next ones count twice
                    let next = _mm256_srai_epi16::<1>(of_next[i]);
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(of_lowest[i], one));
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(next, one));
                }
            }
            add_four(sums)
        }
    }

    /// Products of four codes of two to seven bits with the query.
    #[inline(always)]
    unsafe fn four_products<const BITS: usize>(turned: &[i8], codes: [Code; 4]) -> __m128i {
        unsafe {
            let mut sums = [_mm256_setzero_si256(); 4];
            for word in 0..codes[0].dims.div_ceil(64) {
                let query = two(turned, word);
                for (sum, code) in sums.iter_mut().zip(codes) {
                    let [x, y] = numbers::<BITS>(code, word);
                    let products = match BITS {
                        // the sum of two pairs fits 16 bits: 4 * 63 * 127
                        ..7 => _mm256_madd_epi16(
                            _mm256_add_epi16(
                                _mm256_maddubs_epi16(x, query[0]),
                                _mm256_maddubs_epi16(y, query[1]),
                            ),
                            _mm256_set1_epi16(1),
                        ),
                        _ => _mm256_add_epi32(fours(x, query[0]), fours(y, query[1])),
                    };
                    *sum = _mm256_add_epi32(*sum, products);
                }
            }
            add_four(sums)
        }
    }

    /// Products of four codes of bytes with the query, without their offset.
    #[inline(always)]
    unsafe fn four_products_of_bytes(query: &[i8], codes: [Code; 4]) -> __m128i {
        unsafe {
            let dims = codes[0].dims;
            let mut sums = [_mm256_setzero_si256(); 4];
            for at in (0..dims / 32 * 32).step_by(32) {
                // SAFETY: ends with the code, and the query is as long.
                let query = load_256(query.as_ptr().add(at));
                for (sum, code) in sums.iter_mut().zip(codes) {
                    let code = load_256(code.start.add(at).cast());
                    *sum = _mm256_add_epi32(*sum, signed_products(code, query));
                }
            }
            let at = dims / 32 * 32;
            if at < dims {
                // SAFETY: the query is filled up to a multiple of 64.
                let query = load_256(query.as_ptr().add(at));
                for (sum, code) in sums.iter_mut().zip(codes) {
                    let mut rest = [0i8; 32];
                    let rest_of_code = code.start.add(at).cast();
                    // SAFETY: ends with the code, and in the array.
                    std::ptr::copy_nonoverlapping(rest_of_code, rest.as_mut_ptr(), dims - at);
                    let rest = load_256(rest.as_ptr());
                    *sum = _mm256_add_epi32(*sum, signed_products(rest, query));
                }
            }
            add_four(sums)
        }
    }

    /// The query's bytes for 64 dimensions: those of every other bit, and of the rest.
    #[inline(always)]
    unsafe fn two(turned: &[i8], word: usize) -> [__m256i; 2] {
        // SAFETY: the query is as long as a code and filled up to a multiple of 64.
        unsafe {
            let from = turned.as_ptr().add(64 * word);
            [load_256(from), load_256(from.add(32))]
        }
    }

    /// 64 bits four times, shifted so that all places come to the lowest two of each byte: bits 0 and 1, 2 and 3, 4 and 5,
    /// 6 and 7.
    #[inline(always)]
    unsafe fn four_times(word: u64) -> __m256i {
        unsafe {
            let places = _mm256_setr_epi64x(0, 2, 4, 6);
            _mm256_srlv_epi64(_mm256_set1_epi64x(word as i64), places)
        }
    }

    /// The unsigned numbers of 64 dimensions: those of every other bit, and of the rest.
    #[inline(always)]
    unsafe fn numbers<const BITS: usize>(code: Code, word: usize) -> [__m256i; 2] {
        unsafe {
            let (lowest, next) = (_mm256_set1_epi8(1), _mm256_set1_epi8(2));
            let (mut x, mut y) = (_mm256_setzero_si256(), _mm256_setzero_si256());
            // the highest plane first: what is there doubles
            for plane in (0..BITS).rev() {
                let bits = four_times(code.word(plane, word));
                x = _mm256_or_si256(_mm256_add_epi8(x, x), _mm256_and_si256(bits, lowest));
                y = _mm256_or_si256(_mm256_add_epi8(y, y), _mm256_and_si256(bits, next));
            }
            // those are twice the numbers, 254 at most
            let halves = _mm256_and_si256(_mm256_srli_epi16::<1>(y), _mm256_set1_epi8(0x7f));
            [x, halves]
        }
    }

    /// Products of bytes, added in fours; those of a pair fit 16 bits.
    #[inline(always)]
    unsafe fn fours(numbers: __m256i, query: __m256i) -> __m256i {
        unsafe {
            let pairs = _mm256_maddubs_epi16(numbers, query);
            _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
        }
    }
}
