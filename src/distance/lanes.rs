//! SIMD registers behind one trait, so that each kernel is written once.
//!
//! Every method is `inline(always)`: it becomes part of a kernel that is compiled for its
//! instruction set (`target_feature`), and only there may it be called.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use std::sync::atomic::{AtomicU8, Ordering};

/// Instruction sets that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Isa {
    /// What the target always has; on aarch64, that is NEON.
    Portable = 1,
    /// AVX2 with FMA and F16C: x86-64 since 2013.
    #[cfg(target_arch = "x86_64")]
    Avx2 = 2,
    /// AVX-512 F, BW and VL: x86-64 since 2017 (servers) or 2021.
    #[cfg(target_arch = "x86_64")]
    Avx512 = 3,
    /// The same with VNNI, products of bytes: x86-64 servers since 2019.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni = 4,
}

impl Isa {
    /// The best that this processor has.
    #[inline(always)]
    pub(crate) fn best() -> Self {
        static BEST: AtomicU8 = AtomicU8::new(0);
        #[cold]
        fn detect() -> Isa {
            let best = *Isa::available().last().expect("the portable one is there");
            BEST.store(best as u8, Ordering::Relaxed);
            best
        }
        match BEST.load(Ordering::Relaxed) {
            #[cfg(target_arch = "x86_64")]
            4 => Isa::Avx512Vnni,
            #[cfg(target_arch = "x86_64")]
            3 => Isa::Avx512,
            #[cfg(target_arch = "x86_64")]
            2 => Isa::Avx2,
            1 => Isa::Portable,
            _ => detect(),
        }
    }

    /// All that this processor has, the best last.
    pub(crate) fn available() -> Vec<Self> {
        let mut found = vec![Isa::Portable];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
        {
            found.push(Isa::Avx2);
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
            {
                found.push(Isa::Avx512);
                if is_x86_feature_detected!("avx512vnni") {
                    found.push(Isa::Avx512Vnni);
                }
            }
        }
        found
    }
}

/// Defines a function of plain Rust that is compiled for every instruction set, for the compiler to
/// vectorise; its first argument says which to run, and is there for what it calls. What it calls has to be `inline(always)`. The
/// compiler never reorders or fuses float operations, so that all give the same bits.
macro_rules! for_every_isa {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($isa:ident: Isa, $($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$meta])*
        #[inline]
        $vis fn $name($isa: $crate::distance::lanes::Isa, $($arg: $type),*) $(-> $result)? {
            use $crate::distance::lanes::Isa;

            #[inline(always)]
            fn body($isa: Isa, $($arg: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
            fn avx512($isa: Isa, $($arg: $type),*) $(-> $result)? {
                body($isa, $($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2($isa: Isa, $($arg: $type),*) $(-> $result)? {
                body($isa, $($arg),*)
            }

            match $isa {
                // SAFETY: an `Isa` other than the portable one is only made where it was detected.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 | Isa::Avx512Vnni => unsafe { avx512($isa, $($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => unsafe { avx2($isa, $($arg),*) },
                Isa::Portable => body($isa, $($arg),*),
            }
        }
    };
}
pub(crate) use for_every_isa;

/// A register of f32 lanes.
///
/// # Safety
/// Methods may only be called where the processor has the instruction set.
pub(crate) trait Lanes: Copy {
    /// Number of lanes.
    const WIDTH: usize;
    unsafe fn zero() -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn abs(self) -> Self;
    /// `self * other + sum`
    unsafe fn mul_add(self, other: Self, sum: Self) -> Self;
    /// Sum of all lanes.
    unsafe fn sum(self) -> f32;
    /// The Walsh-Hadamard transform of the lanes, strides ascending, without its factor.
    unsafe fn hadamard(self) -> Self;
    /// Writes `WIDTH` lanes, which must be there to write.
    unsafe fn store(self, to: *mut f32);
}

/// A register that can be filled with elements of type `T`.
///
/// # Safety
/// As [`Lanes`], and the elements must be there to read.
pub(crate) trait Load<T>: Lanes {
    /// `WIDTH` elements.
    unsafe fn load(from: *const T) -> Self;
    /// The first `count` elements (less than `WIDTH`), and zero in the lanes after them.
    unsafe fn load_first(from: *const T, count: usize) -> Self;
}

/// Lanes in plain Rust, for the compiler to vectorise.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 8]);

impl Portable {
    #[inline(always)]
    fn map2(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Portable(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl Lanes for Portable {
    const WIDTH: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Portable([0.0; 8])
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.map2(other, |x, y| x + y)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.map2(other, |x, y| x - y)
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        Portable(self.0.map(f32::abs))
    }
    #[inline(always)]
    unsafe fn mul_add(self, other: Self, sum: Self) -> Self {
        let product = |i: usize| {
            if cfg!(target_arch = "aarch64") {
                self.0[i].mul_add(other.0[i], sum.0[i])
            } else {
                // without an instruction for it, mul_add is a slow library call
                self.0[i] * other.0[i] + sum.0[i]
            }
        };
        Portable(std::array::from_fn(product))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (b + f)) + ((c + g) + (d + h))
    }
    #[inline(always)]
    unsafe fn hadamard(self) -> Self {
        let mut lanes = self.0;
        for stride in [1, 2, 4] {
            for lane in (0..8).filter(|lane| lane & stride == 0) {
                let (x, y) = (lanes[lane], lanes[lane + stride]);
                (lanes[lane], lanes[lane + stride]) = (x + y, x - y);
            }
        }
        Portable(lanes)
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as promised by the caller; an array is as aligned as its elements.
        unsafe { *to.cast() = self.0 }
    }
}

impl Load<f32> for Portable {
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as promised by the caller; an array is as aligned as its elements.
        Portable(unsafe { *from.cast() })
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        let mut lanes = [0.0; 8];
        // SAFETY: as promised by the caller.
        lanes[..count].copy_from_slice(unsafe { std::slice::from_raw_parts(from, count) });
        Portable(lanes)
    }
}

impl Load<f16> for Portable {
    #[inline(always)]
    unsafe fn load(from: *const f16) -> Self {
        let mut lanes = [0.0; 8];
        // SAFETY: as promised by the caller.
        unsafe { &*from.cast::<[f16; 8]>() }.convert_to_f32_slice(&mut lanes);
        Portable(lanes)
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f16, count: usize) -> Self {
        let mut elements = [f16::ZERO; 8];
        // SAFETY: as promised by the caller; then of an array of our own.
        unsafe {
            elements[..count].copy_from_slice(std::slice::from_raw_parts(from, count));
            Self::load(elements.as_ptr())
        }
    }
}

impl Load<bf16> for Portable {
    #[inline(always)]
    unsafe fn load(from: *const bf16) -> Self {
        // SAFETY: as promised by the caller; an array is as aligned as its elements.
        let elements = unsafe { &*from.cast::<[bf16; 8]>() };
        let mut lanes = [0.0; 8];
        for (lane, element) in lanes.iter_mut().zip(elements) {
            *lane = f32::from_bits((element.to_bits() as u32) << 16);
        }
        Portable(lanes)
    }
    #[inline(always)]
    unsafe fn load_first(from: *const bf16, count: usize) -> Self {
        let mut elements = [bf16::ZERO; 8];
        // SAFETY: as promised by the caller; then of an array of our own.
        unsafe {
            elements[..count].copy_from_slice(std::slice::from_raw_parts(from, count));
            Self::load(elements.as_ptr())
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Lanes, Load};
    use half::{bf16, f16};
    use std::arch::x86_64::*;

    // SAFETY (all blocks of this module): intrinsics of the instruction set that the trait's
    // contract promises, over memory that the caller promises.

    /// Eight lanes of AVX2 with FMA and F16C.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256);

    impl Lanes for Avx2 {
        const WIDTH: usize = 8;

        #[inline(always)]
        unsafe fn zero() -> Self {
            Avx2(unsafe { _mm256_setzero_ps() })
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Avx2(unsafe { _mm256_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            Avx2(unsafe { _mm256_sub_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn abs(self) -> Self {
            Avx2(unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0) })
        }
        #[inline(always)]
        unsafe fn mul_add(self, other: Self, sum: Self) -> Self {
            Avx2(unsafe { _mm256_fmadd_ps(self.0, other.0, sum.0) })
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe {
                let halves = _mm_add_ps(
                    _mm256_castps256_ps128(self.0),
                    _mm256_extractf128_ps::<1>(self.0),
                );
                let pairs = _mm_add_ps(halves, _mm_movehl_ps(halves, halves));
                _mm_cvtss_f32(_mm_add_ss(pairs, _mm_movehdup_ps(pairs)))
            }
        }
        #[inline(always)]
        unsafe fn hadamard(self) -> Self {
            unsafe {
                let x = self.0;
                let other = _mm256_permute_ps::<0b10_11_00_01>(x);
                let (sum, difference) = (_mm256_add_ps(other, x), _mm256_sub_ps(other, x));
                let x = _mm256_blend_ps::<0b1010_1010>(sum, difference);
                let other = _mm256_permute_ps::<0b01_00_11_10>(x);
                let (sum, difference) = (_mm256_add_ps(other, x), _mm256_sub_ps(other, x));
                let x = _mm256_blend_ps::<0b1100_1100>(sum, difference);
                let other = _mm256_permute2f128_ps::<0x01>(x, x);
                let (sum, difference) = (_mm256_add_ps(other, x), _mm256_sub_ps(other, x));
                Avx2(_mm256_blend_ps::<0b1111_0000>(sum, difference))
            }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self.0) }
        }
    }

    impl Load<f32> for Avx2 {
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Avx2(unsafe { _mm256_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            unsafe {
                let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
                let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lane);
                Avx2(_mm256_maskload_ps(from, mask))
            }
        }
    }

    impl Load<f16> for Avx2 {
        #[inline(always)]
        unsafe fn load(from: *const f16) -> Self {
            Avx2(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) })
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f16, count: usize) -> Self {
            let mut elements = [f16::ZERO; 8];
            unsafe {
                std::ptr::copy_nonoverlapping(from, elements.as_mut_ptr(), count);
                Self::load(elements.as_ptr())
            }
        }
    }

    impl Load<bf16> for Avx2 {
        #[inline(always)]
        unsafe fn load(from: *const bf16) -> Self {
            unsafe {
                let elements = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
                Avx2(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(elements)))
            }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const bf16, count: usize) -> Self {
            let mut elements = [bf16::ZERO; 8];
            unsafe {
                std::ptr::copy_nonoverlapping(from, elements.as_mut_ptr(), count);
                Self::load(elements.as_ptr())
            }
        }
    }

    /// Sixteen lanes of AVX-512 F, BW and VL.
    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);

    impl Lanes for Avx512 {
        const WIDTH: usize = 16;

        #[inline(always)]
        unsafe fn zero() -> Self {
            Avx512(unsafe { _mm512_setzero_ps() })
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Avx512(unsafe { _mm512_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            Avx512(unsafe { _mm512_sub_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn abs(self) -> Self {
            Avx512(unsafe { _mm512_abs_ps(self.0) })
        }
        #[inline(always)]
        unsafe fn mul_add(self, other: Self, sum: Self) -> Self {
            Avx512(unsafe { _mm512_fmadd_ps(self.0, other.0, sum.0) })
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe { _mm512_reduce_add_ps(self.0) }
        }
        #[inline(always)]
        unsafe fn hadamard(self) -> Self {
            unsafe {
                let x = self.0;
                let other = _mm512_permute_ps::<0b10_11_00_01>(x);
                let x = _mm512_mask_sub_ps(_mm512_add_ps(other, x), 0xaaaa, other, x);
                let other = _mm512_permute_ps::<0b01_00_11_10>(x);
                let x = _mm512_mask_sub_ps(_mm512_add_ps(other, x), 0xcccc, other, x);
                let other = _mm512_shuffle_f32x4::<0b10_11_00_01>(x, x);
                let x = _mm512_mask_sub_ps(_mm512_add_ps(other, x), 0xf0f0, other, x);
                let other = _mm512_shuffle_f32x4::<0b01_00_11_10>(x, x);
                Avx512(_mm512_mask_sub_ps(
                    _mm512_add_ps(other, x),
                    0xff00,
                    other,
                    x,
                ))
            }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
    }

    impl Load<f32> for Avx512 {
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Avx512(unsafe { _mm512_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            Avx512(unsafe { _mm512_maskz_loadu_ps((1 << count) - 1, from) })
        }
    }

    impl Load<f16> for Avx512 {
        #[inline(always)]
        unsafe fn load(from: *const f16) -> Self {
            Avx512(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) })
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f16, count: usize) -> Self {
            unsafe {
                let elements = _mm256_maskz_loadu_epi16((1 << count) - 1, from.cast());
                Avx512(_mm512_cvtph_ps(elements))
            }
        }
    }

    impl Avx512 {
        #[inline(always)]
        unsafe fn of_bf16(elements: __m256i) -> Self {
            unsafe {
                let wide = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(elements));
                Avx512(_mm512_castsi512_ps(wide))
            }
        }
    }

    impl Load<bf16> for Avx512 {
        #[inline(always)]
        unsafe fn load(from: *const bf16) -> Self {
            unsafe { Self::of_bf16(_mm256_loadu_si256(from.cast())) }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const bf16, count: usize) -> Self {
            unsafe { Self::of_bf16(_mm256_maskz_loadu_epi16((1 << count) - 1, from.cast())) }
        }
    }
}
