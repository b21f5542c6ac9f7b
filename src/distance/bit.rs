//! Kernels over bit strings, as bytes; padding bits are zero in both operands.
//!
//! Both metrics count bits, so every code path gives the same result to the last bit: AVX-512
//! with VPOPCNTDQ, AVX2 with a table of nibble counts (Muła, Kurz and Lemire, "Faster Population
//! Counts Using AVX2 Instructions", 2018), the POPCNT instruction, or portable code (which is
//! already the `CNT` instruction on aarch64).

/// Number of differing bits. Both operands have the same length; bytes that only one of them has
/// are not counted.
#[inline]
pub fn hamming(a: &[u8], b: &[u8]) -> u64 {
    let (a, b) = same_length(a, b);
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512vpopcntdq") && is_x86_feature_detected!("avx512bw") {
            // SAFETY: the features the kernel is compiled for were just detected.
            return unsafe { x86::hamming_avx512(a, b) };
        }
        if a.len() >= x86::AVX2_PAYS_FROM && is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            return unsafe { x86::hamming_avx2(a, b) };
        }
        if is_x86_feature_detected!("popcnt") {
            // SAFETY: as above.
            return unsafe { x86::hamming_popcnt(a, b) };
        }
    }
    hamming_portable(a, b)
}

/// Jaccard distance, 1 - |a and b| / |a or b|; 1 where no bit is set in both. Both operands have
/// the same length; bytes that only one of them has are not counted.
#[inline]
pub fn jaccard(a: &[u8], b: &[u8]) -> f64 {
    let counts = common_and_any(a, b);
    if counts.common == 0 {
        1.0
    } else {
        1.0 - counts.common as f64 / counts.any as f64
    }
}

/// Bit counts of an intersection and a union.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    common: u64,
    any: u64,
}

#[inline]
fn common_and_any(a: &[u8], b: &[u8]) -> Counts {
    let (a, b) = same_length(a, b);
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512vpopcntdq") && is_x86_feature_detected!("avx512bw") {
            // SAFETY: the features the kernel is compiled for were just detected.
            return unsafe { x86::common_and_any_avx512(a, b) };
        }
        if a.len() >= x86::AVX2_PAYS_FROM && is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            return unsafe { x86::common_and_any_avx2(a, b) };
        }
        if is_x86_feature_detected!("popcnt") {
            // SAFETY: as above.
            return unsafe { x86::common_and_any_popcnt(a, b) };
        }
    }
    common_and_any_portable(a, b)
}

/// The common length, so that no kernel can read past the shorter operand.
#[inline(always)]
fn same_length<'a>(a: &'a [u8], b: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    debug_assert_eq!(a.len(), b.len());
    let len = a.len().min(b.len());
    (&a[..len], &b[..len])
}

/// Calls `f` with the operands' 64-bit words, the last one filled up with zeros.
#[inline(always)]
fn for_each_word(a: &[u8], b: &[u8], mut f: impl FnMut(u64, u64)) {
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    for (x, y) in a_words.iter().zip(b_words) {
        f(u64::from_le_bytes(*x), u64::from_le_bytes(*y));
    }
    let (mut x, mut y) = ([0; 8], [0; 8]);
    x[..a_rest.len()].copy_from_slice(a_rest);
    y[..b_rest.len()].copy_from_slice(b_rest);
    f(u64::from_le_bytes(x), u64::from_le_bytes(y));
}

#[inline(always)]
fn hamming_portable(a: &[u8], b: &[u8]) -> u64 {
    let mut differing = 0;
    for_each_word(a, b, |x, y| differing += (x ^ y).count_ones() as u64);
    differing
}

#[inline(always)]
fn common_and_any_portable(a: &[u8], b: &[u8]) -> Counts {
    let mut counts = Counts::default();
    for_each_word(a, b, |x, y| {
        counts.common += (x & y).count_ones() as u64;
        counts.any += (x | y).count_ones() as u64;
    });
    counts
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Counts;
    use std::arch::x86_64::*;

    /// Below this many bytes POPCNT is as fast as the AVX2 table.
    pub const AVX2_PAYS_FROM: usize = 64;

    #[target_feature(enable = "popcnt")]
    pub fn hamming_popcnt(a: &[u8], b: &[u8]) -> u64 {
        super::hamming_portable(a, b)
    }

    #[target_feature(enable = "popcnt")]
    pub fn common_and_any_popcnt(a: &[u8], b: &[u8]) -> Counts {
        super::common_and_any_portable(a, b)
    }

    /// Calls `f` with 64 bytes of each operand, the last ones filled up with zeros.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn for_each_64(a: &[u8], b: &[u8], mut f: impl FnMut(__m512i, __m512i)) {
        let (a_blocks, a_rest) = a.as_chunks::<64>();
        let (b_blocks, b_rest) = b.as_chunks::<64>();
        for (x, y) in a_blocks.iter().zip(b_blocks) {
            // SAFETY: 64 bytes are readable; the load needs no alignment.
            unsafe {
                f(
                    _mm512_loadu_si512(x.as_ptr().cast()),
                    _mm512_loadu_si512(y.as_ptr().cast()),
                )
            };
        }
        let rest = a_rest.len().min(b_rest.len());
        if rest > 0 {
            let mask = u64::MAX >> (64 - rest);
            // SAFETY: a masked load touches no byte whose mask bit is 0.
            unsafe {
                f(
                    _mm512_maskz_loadu_epi8(mask, a_rest.as_ptr().cast()),
                    _mm512_maskz_loadu_epi8(mask, b_rest.as_ptr().cast()),
                )
            };
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
    pub fn hamming_avx512(a: &[u8], b: &[u8]) -> u64 {
        let mut differing = _mm512_setzero_si512();
        for_each_64(a, b, |x, y| {
            let ones = _mm512_popcnt_epi64(_mm512_xor_si512(x, y));
            differing = _mm512_add_epi64(differing, ones);
        });
        _mm512_reduce_add_epi64(differing) as u64
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
    pub fn common_and_any_avx512(a: &[u8], b: &[u8]) -> Counts {
        let mut common = _mm512_setzero_si512();
        let mut any = _mm512_setzero_si512();
        for_each_64(a, b, |x, y| {
            common = _mm512_add_epi64(common, _mm512_popcnt_epi64(_mm512_and_si512(x, y)));
            any = _mm512_add_epi64(any, _mm512_popcnt_epi64(_mm512_or_si512(x, y)));
        });
        Counts {
            common: _mm512_reduce_add_epi64(common) as u64,
            any: _mm512_reduce_add_epi64(any) as u64,
        }
    }

    /// Number of ones in each quarter of `bytes`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn ones_avx2(bytes: __m256i) -> __m256i {
        let ones_in_nibble = _mm256_setr_epi8(
            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2,
            3, 3, 4,
        );
        let nibble = _mm256_set1_epi8(0x0f);
        let low = _mm256_and_si256(bytes, nibble);
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), nibble);
        let ones = _mm256_add_epi8(
            _mm256_shuffle_epi8(ones_in_nibble, low),
            _mm256_shuffle_epi8(ones_in_nibble, high),
        );
        _mm256_sad_epu8(ones, _mm256_setzero_si256())
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn sum_avx2(quarters: __m256i) -> u64 {
        let halves = _mm_add_epi64(
            _mm256_castsi256_si128(quarters),
            _mm256_extracti128_si256::<1>(quarters),
        );
        (_mm_cvtsi128_si64(halves) as u64)
            .wrapping_add(_mm_cvtsi128_si64(_mm_unpackhi_epi64(halves, halves)) as u64)
    }

    /// Calls `f` with 32 bytes of each operand; returns what is left of them.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn for_each_32<'a>(
        a: &'a [u8],
        b: &'a [u8],
        mut f: impl FnMut(__m256i, __m256i),
    ) -> (&'a [u8], &'a [u8]) {
        let (a_blocks, a_rest) = a.as_chunks::<32>();
        let (b_blocks, b_rest) = b.as_chunks::<32>();
        for (x, y) in a_blocks.iter().zip(b_blocks) {
            // SAFETY: 32 bytes are readable; the load needs no alignment.
            unsafe {
                f(
                    _mm256_loadu_si256(x.as_ptr().cast()),
                    _mm256_loadu_si256(y.as_ptr().cast()),
                )
            };
        }
        (a_rest, b_rest)
    }

    #[target_feature(enable = "avx2,popcnt")]
    pub fn hamming_avx2(a: &[u8], b: &[u8]) -> u64 {
        let mut differing = _mm256_setzero_si256();
        let (a_rest, b_rest) = for_each_32(a, b, |x, y| {
            differing = _mm256_add_epi64(differing, ones_avx2(_mm256_xor_si256(x, y)));
        });
        sum_avx2(differing) + super::hamming_portable(a_rest, b_rest)
    }

    #[target_feature(enable = "avx2,popcnt")]
    pub fn common_and_any_avx2(a: &[u8], b: &[u8]) -> Counts {
        let mut common = _mm256_setzero_si256();
        let mut any = _mm256_setzero_si256();
        let (a_rest, b_rest) = for_each_32(a, b, |x, y| {
            common = _mm256_add_epi64(common, ones_avx2(_mm256_and_si256(x, y)));
            any = _mm256_add_epi64(any, ones_avx2(_mm256_or_si256(x, y)));
        });
        let rest = super::common_and_any_portable(a_rest, b_rest);
        Counts {
            common: sum_avx2(common) + rest.common,
            any: sum_avx2(any) + rest.any,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two byte strings of one length, at an odd address, so that alignment can't be assumed.
    fn operands() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        (0usize..400).prop_flat_map(|len| {
            (
                prop::collection::vec(any::<u8>(), len + 1),
                prop::collection::vec(any::<u8>(), len + 1),
            )
        })
    }

    /// Counts bit by bit, sharing nothing with the kernels.
    fn count(a: &[u8], b: &[u8], op: impl Fn(bool, bool) -> bool) -> u64 {
        let bit = |s: &[u8], i: usize| s[i / 8] >> (i % 8) & 1 == 1;
        (0..a.len() * 8)
            .filter(|&i| op(bit(a, i), bit(b, i)))
            .count() as u64
    }

    proptest! {
        #[test]
        fn every_path_counts_the_same_bits((a, b) in operands()) {
            let (a, b) = (&a[1..], &b[1..]);
            let differing = count(a, b, |x, y| x != y);
            let counts = Counts { common: count(a, b, |x, y| x && y), any: count(a, b, |x, y| x || y) };
            prop_assert_eq!(hamming(a, b), differing);
            prop_assert_eq!(hamming_portable(a, b), differing);
            prop_assert_eq!(common_and_any(a, b), counts);
            prop_assert_eq!(common_and_any_portable(a, b), counts);
            #[cfg(target_arch = "x86_64")]
            {
                if is_x86_feature_detected!("popcnt") {
                    // SAFETY: detected, here and below.
                    prop_assert_eq!(unsafe { x86::hamming_popcnt(a, b) }, differing);
                    prop_assert_eq!(unsafe { x86::common_and_any_popcnt(a, b) }, counts);
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: detected.
                    prop_assert_eq!(unsafe { x86::hamming_avx2(a, b) }, differing);
                    prop_assert_eq!(unsafe { x86::common_and_any_avx2(a, b) }, counts);
                }
            }
        }

        #[test]
        fn jaccard_is_a_symmetric_distance_in_0_to_1((a, b) in operands()) {
            let d = jaccard(&a, &b);
            prop_assert!((0.0..=1.0).contains(&d));
            prop_assert_eq!(d, jaccard(&b, &a));
            if a.iter().any(|&x| x != 0) {
                prop_assert_eq!(jaccard(&a, &a), 0.0);
            }
        }
    }

    #[test]
    fn nothing_in_common_is_distance_one() {
        assert_eq!(jaccard(&[], &[]), 1.0);
        assert_eq!(jaccard(&[0; 9], &[0; 9]), 1.0);
        assert_eq!(jaccard(&[0xf0], &[0x0f]), 1.0);
        assert_eq!(jaccard(&[0xff; 80], &[0x0f; 80]), 0.5);
        assert_eq!(hamming(&[], &[]), 0);
        assert_eq!(hamming(&[0xff; 100], &[0; 100]), 800);
    }
}
