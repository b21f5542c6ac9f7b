//! Kernels over dense signed bytes. All sums are integers and exact, so that every instruction set
//! gives the same result; operands of more than 33,000 elements would overflow them.

use super::cosine_from_parts;
use super::lanes::Isa;

/// Squared Euclidean distance. Both operands have the same length.
#[inline]
pub fn l2_squared(a: &[i8], b: &[i8]) -> i32 {
    kernels::l2_squared(Isa::best(), a, b)[0]
}

/// Inner product. Both operands have the same length. `inner_product(a, a)` is the squared norm.
#[inline]
pub fn inner_product(a: &[i8], b: &[i8]) -> i32 {
    kernels::inner_product(Isa::best(), a, b)[0]
}

/// Taxicab distance. Both operands have the same length.
#[inline]
pub fn l1(a: &[i8], b: &[i8]) -> i32 {
    kernels::l1(Isa::best(), a, b)[0]
}

/// Cosine distance, from 0 to 2; NaN where a norm is zero. Both operands have the same length.
///
/// ```
/// use vectorext::distance::i8::cosine_distance;
/// assert_eq!(cosine_distance(&[3, 4], &[6, 8]), 0.0);
/// assert_eq!(cosine_distance(&[3, 4], &[-4, 3]), 1.0);
/// ```
#[inline]
pub fn cosine_distance(a: &[i8], b: &[i8]) -> f64 {
    let [product, norm_a, norm_b] = kernels::cosine_parts(Isa::best(), a, b);
    cosine_from_parts(product as f64, norm_a as f64, norm_b as f64)
}

/// A register of bytes, and one of integer sums.
///
/// # Safety
/// Methods may only be called where the processor has the instruction set. Elements must be there
/// to read.
trait Bytes: Copy {
    /// Number of bytes.
    const WIDTH: usize;
    /// Integer sums that add up to one.
    type Sums: Copy;
    unsafe fn zero() -> Self::Sums;
    /// `WIDTH` elements.
    unsafe fn load(from: *const i8) -> Self;
    /// The first `count` elements (less than `WIDTH`), and zero after them.
    unsafe fn load_first(from: *const i8, count: usize) -> Self;
    /// Adds products.
    unsafe fn products(sums: Self::Sums, a: Self, b: Self) -> Self::Sums;
    /// Adds squares of differences.
    unsafe fn squares(sums: Self::Sums, a: Self, b: Self) -> Self::Sums;
    /// Adds magnitudes of differences.
    unsafe fn magnitudes(sums: Self::Sums, a: Self, b: Self) -> Self::Sums;
    /// What two sums add up to.
    unsafe fn total(sums: [Self::Sums; 2]) -> i32;
}

/// What a kernel sums, over pairs of bytes.
trait Terms<const SUMS: usize> {
    /// # Safety
    /// As [`Bytes`].
    unsafe fn add<V: Bytes>(sums: &mut [V::Sums; SUMS], a: V, b: V);
}

struct L2Squared;
struct InnerProduct;
struct L1;
/// Inner product and both squared norms, in one pass.
struct CosineParts;

// SAFETY (all blocks of the four impls): as promised by the caller of `Terms::add`.
impl Terms<1> for L2Squared {
    #[inline(always)]
    unsafe fn add<V: Bytes>([sums]: &mut [V::Sums; 1], a: V, b: V) {
        *sums = unsafe { V::squares(*sums, a, b) };
    }
}

impl Terms<1> for InnerProduct {
    #[inline(always)]
    unsafe fn add<V: Bytes>([sums]: &mut [V::Sums; 1], a: V, b: V) {
        *sums = unsafe { V::products(*sums, a, b) };
    }
}

impl Terms<1> for L1 {
    #[inline(always)]
    unsafe fn add<V: Bytes>([sums]: &mut [V::Sums; 1], a: V, b: V) {
        *sums = unsafe { V::magnitudes(*sums, a, b) };
    }
}

impl Terms<3> for CosineParts {
    #[inline(always)]
    unsafe fn add<V: Bytes>([ab, aa, bb]: &mut [V::Sums; 3], a: V, b: V) {
        unsafe {
            *ab = V::products(*ab, a, b);
            *aa = V::products(*aa, a, a);
            *bb = V::products(*bb, b, b);
        }
    }
}

/// Sums the terms of all pairs, in two chains to hide the latency of one.
///
/// # Safety
/// The processor has the instruction set of `V`.
#[inline(always)]
unsafe fn fold<V: Bytes, M: Terms<SUMS>, const SUMS: usize>(a: &[i8], b: &[i8]) -> [i32; SUMS] {
    let len = a.len().min(b.len());
    let (a, b) = (a.as_ptr(), b.as_ptr());
    // SAFETY: every load ends at `len` at most; the rest is promised by the caller.
    unsafe {
        let [mut even, mut odd] = [[V::zero(); SUMS]; 2];
        let mut at = 0;
        while at + 2 * V::WIDTH <= len {
            M::add(&mut even, V::load(a.add(at)), V::load(b.add(at)));
            let next = at + V::WIDTH;
            M::add(&mut odd, V::load(a.add(next)), V::load(b.add(next)));
            at += 2 * V::WIDTH;
        }
        if at + V::WIDTH <= len {
            M::add(&mut even, V::load(a.add(at)), V::load(b.add(at)));
            at += V::WIDTH;
        }
        if at < len {
            let x = V::load_first(a.add(at), len - at);
            M::add(&mut odd, x, V::load_first(b.add(at), len - at));
        }
        // no closure: one that is not inlined would be compiled without the instruction set
        let mut totals = [0; SUMS];
        let mut i = 0;
        while i < SUMS {
            totals[i] = V::total([even[i], odd[i]]);
            i += 1;
        }
        totals
    }
}

/// Sixteen bytes in plain Rust, widened, for the compiler to vectorise.
#[derive(Clone, Copy)]
struct Portable([i16; 16]);

impl Portable {
    #[inline(always)]
    fn widen(bytes: &[i8; 16]) -> Self {
        let mut wide = [0; 16];
        for (wide, &byte) in wide.iter_mut().zip(bytes) {
            *wide = byte as i16;
        }
        Portable(wide)
    }

    #[inline(always)]
    fn add(mut sums: [i32; 16], term: impl Fn(usize) -> i32) -> [i32; 16] {
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum += term(i);
        }
        sums
    }
}

impl Bytes for Portable {
    const WIDTH: usize = 16;
    type Sums = [i32; 16];

    #[inline(always)]
    unsafe fn zero() -> [i32; 16] {
        [0; 16]
    }
    #[inline(always)]
    unsafe fn load(from: *const i8) -> Self {
        // SAFETY: as promised by the caller; an array is as aligned as its elements.
        Self::widen(unsafe { &*from.cast::<[i8; 16]>() })
    }
    #[inline(always)]
    unsafe fn load_first(from: *const i8, count: usize) -> Self {
        let mut bytes = [0i8; 16];
        // SAFETY: as promised by the caller.
        bytes[..count].copy_from_slice(unsafe { std::slice::from_raw_parts(from, count) });
        Self::widen(&bytes)
    }
    #[inline(always)]
    unsafe fn products(sums: [i32; 16], a: Self, b: Self) -> [i32; 16] {
        Self::add(sums, |i| a.0[i] as i32 * b.0[i] as i32)
    }
    #[inline(always)]
    unsafe fn squares(sums: [i32; 16], a: Self, b: Self) -> [i32; 16] {
        let difference = |i: usize| a.0[i] - b.0[i];
        Self::add(sums, |i| difference(i) as i32 * difference(i) as i32)
    }
    #[inline(always)]
    unsafe fn magnitudes(sums: [i32; 16], a: Self, b: Self) -> [i32; 16] {
        Self::add(sums, |i| (a.0[i] - b.0[i]).abs() as i32)
    }
    #[inline(always)]
    unsafe fn total([x, y]: [[i32; 16]; 2]) -> i32 {
        x.iter().sum::<i32>() + y.iter().sum::<i32>()
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Bytes;
    use std::arch::x86_64::*;

    // SAFETY (all blocks of this module): intrinsics of the instruction set that the trait's
    // contract promises, over memory that the caller promises.

    /// Sixteen bytes, widened, of AVX2.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256i);

    impl Bytes for Avx2 {
        const WIDTH: usize = 16;
        type Sums = __m256i;

        #[inline(always)]
        unsafe fn zero() -> __m256i {
            unsafe { _mm256_setzero_si256() }
        }
        #[inline(always)]
        unsafe fn load(from: *const i8) -> Self {
            Avx2(unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast())) })
        }
        #[inline(always)]
        unsafe fn load_first(from: *const i8, count: usize) -> Self {
            let mut bytes = [0i8; 16];
            unsafe {
                std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), count);
                Self::load(bytes.as_ptr())
            }
        }
        #[inline(always)]
        unsafe fn products(sums: __m256i, a: Self, b: Self) -> __m256i {
            unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(a.0, b.0)) }
        }
        #[inline(always)]
        unsafe fn squares(sums: __m256i, a: Self, b: Self) -> __m256i {
            unsafe {
                let difference = Avx2(_mm256_sub_epi16(a.0, b.0));
                Self::products(sums, difference, difference)
            }
        }
        #[inline(always)]
        unsafe fn magnitudes(sums: __m256i, a: Self, b: Self) -> __m256i {
            unsafe {
                let magnitude = _mm256_abs_epi16(_mm256_sub_epi16(a.0, b.0));
                Self::products(sums, Avx2(magnitude), Avx2(_mm256_set1_epi16(1)))
            }
        }
        #[inline(always)]
        unsafe fn total([x, y]: [__m256i; 2]) -> i32 {
            unsafe {
                let sum = _mm256_add_epi32(x, y);
                let low = _mm256_castsi256_si128(sum);
                let sum = _mm_add_epi32(low, _mm256_extracti128_si256::<1>(sum));
                let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
                let other = _mm_shuffle_epi32::<0b10_11_00_01>(sum);
                _mm_cvtsi128_si32(_mm_add_epi32(sum, other))
            }
        }
    }

    /// Thirty-two bytes, widened, of AVX-512 F, BW and VL.
    #[derive(Clone, Copy)]
    pub struct Avx512(__m512i);

    impl Bytes for Avx512 {
        const WIDTH: usize = 32;
        type Sums = __m512i;

        #[inline(always)]
        unsafe fn zero() -> __m512i {
            unsafe { _mm512_setzero_si512() }
        }
        #[inline(always)]
        unsafe fn load(from: *const i8) -> Self {
            Avx512(unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(from.cast())) })
        }
        #[inline(always)]
        unsafe fn load_first(from: *const i8, count: usize) -> Self {
            unsafe {
                let bytes = _mm256_maskz_loadu_epi8((1 << count) - 1, from);
                Avx512(_mm512_cvtepi8_epi16(bytes))
            }
        }
        #[inline(always)]
        unsafe fn products(sums: __m512i, a: Self, b: Self) -> __m512i {
            unsafe { _mm512_add_epi32(sums, _mm512_madd_epi16(a.0, b.0)) }
        }
        #[inline(always)]
        unsafe fn squares(sums: __m512i, a: Self, b: Self) -> __m512i {
            unsafe {
                let difference = Avx512(_mm512_sub_epi16(a.0, b.0));
                Self::products(sums, difference, difference)
            }
        }
        #[inline(always)]
        unsafe fn magnitudes(sums: __m512i, a: Self, b: Self) -> __m512i {
            unsafe {
                let magnitude = _mm512_abs_epi16(_mm512_sub_epi16(a.0, b.0));
                Self::products(sums, Avx512(magnitude), Avx512(_mm512_set1_epi16(1)))
            }
        }
        #[inline(always)]
        unsafe fn total([x, y]: [__m512i; 2]) -> i32 {
            unsafe { _mm512_reduce_add_epi32(_mm512_add_epi32(x, y)) }
        }
    }

    /// Sixty-four bytes of AVX-512 VNNI, which multiplies unsigned bytes by signed ones.
    #[derive(Clone, Copy)]
    pub struct Vnni(__m512i);

    impl Vnni {
        /// The bytes plus 128, without sign.
        #[inline(always)]
        unsafe fn raised(self) -> __m512i {
            unsafe { _mm512_xor_si512(self.0, _mm512_set1_epi8(-128)) }
        }
    }

    impl Bytes for Vnni {
        const WIDTH: usize = 64;
        /// What is added, and what has to be taken off again.
        type Sums = [__m512i; 2];

        #[inline(always)]
        unsafe fn zero() -> [__m512i; 2] {
            unsafe { [_mm512_setzero_si512(); 2] }
        }
        #[inline(always)]
        unsafe fn load(from: *const i8) -> Self {
            Vnni(unsafe { _mm512_loadu_si512(from.cast()) })
        }
        #[inline(always)]
        unsafe fn load_first(from: *const i8, count: usize) -> Self {
            Vnni(unsafe { _mm512_maskz_loadu_epi8((1 << count) - 1, from) })
        }
        /// `(a + 128) b`, less `128 b`.
        #[inline(always)]
        unsafe fn products([sum, excess]: [__m512i; 2], a: Self, b: Self) -> [__m512i; 2] {
            unsafe {
                [
                    _mm512_dpbusd_epi32(sum, a.raised(), b.0),
                    _mm512_dpbusd_epi32(excess, _mm512_set1_epi8(-128), b.0),
                ]
            }
        }
        #[inline(always)]
        unsafe fn squares([sum, excess]: [__m512i; 2], a: Self, b: Self) -> [__m512i; 2] {
            unsafe {
                // up to 255, so widened before they are squared
                let magnitude =
                    _mm512_sub_epi8(_mm512_max_epi8(a.0, b.0), _mm512_min_epi8(a.0, b.0));
                let zero = _mm512_setzero_si512();
                let low = _mm512_unpacklo_epi8(magnitude, zero);
                let high = _mm512_unpackhi_epi8(magnitude, zero);
                let sum = _mm512_dpwssd_epi32(sum, low, low);
                [_mm512_dpwssd_epi32(sum, high, high), excess]
            }
        }
        #[inline(always)]
        unsafe fn magnitudes([sum, excess]: [__m512i; 2], a: Self, b: Self) -> [__m512i; 2] {
            unsafe {
                let eights = _mm512_sad_epu8(a.raised(), b.raised());
                [_mm512_add_epi32(sum, eights), excess]
            }
        }
        #[inline(always)]
        unsafe fn total([x, y]: [[__m512i; 2]; 2]) -> i32 {
            unsafe {
                let sum = _mm512_add_epi32(x[0], y[0]);
                let excess = _mm512_add_epi32(x[1], y[1]);
                _mm512_reduce_add_epi32(_mm512_sub_epi32(sum, excess))
            }
        }
    }
}

/// The kernels for every instruction set; the processor must have the one asked for.
mod kernels {
    use super::*;

    macro_rules! kernel {
        ($name:ident, $terms:ty, $sums:literal) => {
            #[inline(always)]
            pub(super) fn $name(isa: Isa, a: &[i8], b: &[i8]) -> [i32; $sums] {
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
                fn vnni(a: &[i8], b: &[i8]) -> [i32; $sums] {
                    // SAFETY: what this function is compiled for is what the bytes need.
                    unsafe { fold::<x86::Vnni, $terms, $sums>(a, b) }
                }

                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
                fn avx512(a: &[i8], b: &[i8]) -> [i32; $sums] {
                    // SAFETY: as above.
                    unsafe { fold::<x86::Avx512, $terms, $sums>(a, b) }
                }

                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2")]
                fn avx2(a: &[i8], b: &[i8]) -> [i32; $sums] {
                    // SAFETY: as above.
                    unsafe { fold::<x86::Avx2, $terms, $sums>(a, b) }
                }

                #[inline(never)]
                fn portable(a: &[i8], b: &[i8]) -> [i32; $sums] {
                    // SAFETY: these bytes need nothing.
                    unsafe { fold::<Portable, $terms, $sums>(a, b) }
                }

                match isa {
                    // SAFETY: an `Isa` other than the portable one is only made where it was detected.
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512Vnni => unsafe { vnni(a, b) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => unsafe { avx512(a, b) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => unsafe { avx2(a, b) },
                    Isa::Portable => portable(a, b),
                }
            }
        };
    }

    kernel!(l2_squared, L2Squared, 1);
    kernel!(inner_product, InnerProduct, 1);
    kernel!(l1, L1, 1);
    kernel!(cosine_parts, CosineParts, 3);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Checks every kernel on every path against sums in i64.
    fn check_all_paths(a: &[i8], b: &[i8]) {
        let sum = |term: fn(i64, i64) -> i64| -> i32 {
            let terms = a.iter().zip(b).map(|(&x, &y)| term(x as i64, y as i64));
            i32::try_from(terms.sum::<i64>()).unwrap()
        };
        let l2 = sum(|x, y| (x - y) * (x - y));
        let l1 = sum(|x, y| (x - y).abs());
        let parts = [sum(|x, y| x * y), sum(|x, _| x * x), sum(|_, y| y * y)];
        for isa in Isa::available() {
            assert_eq!(kernels::l2_squared(isa, a, b), [l2], "{isa:?} {}", a.len());
            assert_eq!(kernels::l1(isa, a, b), [l1], "{isa:?} {}", a.len());
            assert_eq!(
                kernels::inner_product(isa, a, b),
                [parts[0]],
                "{isa:?} {}",
                a.len()
            );
            assert_eq!(
                kernels::cosine_parts(isa, a, b),
                parts,
                "{isa:?} {}",
                a.len()
            );
        }
    }

    #[test]
    fn extremes_do_not_overflow() {
        for dims in [1, 63, 64, 65, 16_000] {
            for (x, y) in [
                (-128, -128),
                (-128, 127),
                (127, -128),
                (127, 127),
                (0, -128),
            ] {
                check_all_paths(&vec![x; dims], &vec![y; dims]);
            }
        }
    }

    #[test]
    fn every_tail_is_summed() {
        let mut random = fastrand::Rng::with_seed(1);
        for dims in 0..=200 {
            let mut bytes = || -> Vec<i8> { (0..dims).map(|_| random.i8(..)).collect() };
            check_all_paths(&bytes(), &bytes());
        }
    }

    #[test]
    fn zero_vectors_have_no_direction() {
        assert!(cosine_distance(&[1, 2], &[0, 0]).is_nan());
        assert!(cosine_distance(&[0, 0], &[0, 0]).is_nan());
    }

    #[test]
    fn a_vector_is_at_no_distance_from_itself() {
        let mut random = fastrand::Rng::with_seed(2);
        for dims in [1, 2, 100, 1536, 16_000] {
            let a: Vec<i8> = (0..dims).map(|_| random.i8(1..)).collect();
            let opposite: Vec<i8> = a.iter().map(|x| -x).collect();
            assert_eq!(cosine_distance(&a, &a), 0.0);
            assert_eq!(cosine_distance(&a, &opposite), 2.0);
        }
    }

    proptest! {
        #[test]
        fn all_paths_are_exact(pairs in prop::collection::vec(any::<(i8, i8)>(), 0..600)) {
            let (a, b): (Vec<i8>, Vec<i8>) = pairs.into_iter().unzip();
            check_all_paths(&a, &b);
        }
    }
}
