//! The kernels over dense elements, written once for all element types and instruction sets.

use super::lanes::{Lanes, Load};

/// What a kernel sums, over pairs of lanes.
pub(super) trait Terms<const SUMS: usize> {
    /// Adds the terms of the pairs `(x, y)` to the sums.
    ///
    /// # Safety
    /// As [`Lanes`].
    unsafe fn add<V: Lanes>(sums: &mut [V; SUMS], x: V, y: V);
}

pub(super) struct L2Squared;
pub(super) struct InnerProduct;
pub(super) struct L1;
/// Inner product and both squared norms, in one pass.
pub(super) struct CosineParts;

// SAFETY (all blocks of the four impls): as promised by the caller of `Terms::add`.
impl Terms<1> for L2Squared {
    #[inline(always)]
    unsafe fn add<V: Lanes>([sum]: &mut [V; 1], x: V, y: V) {
        unsafe {
            let difference = x.sub(y);
            *sum = difference.mul_add(difference, *sum);
        }
    }
}

impl Terms<1> for InnerProduct {
    #[inline(always)]
    unsafe fn add<V: Lanes>([sum]: &mut [V; 1], x: V, y: V) {
        unsafe { *sum = x.mul_add(y, *sum) }
    }
}

impl Terms<1> for L1 {
    #[inline(always)]
    unsafe fn add<V: Lanes>([sum]: &mut [V; 1], x: V, y: V) {
        unsafe { *sum = sum.add(x.sub(y).abs()) }
    }
}

impl Terms<3> for CosineParts {
    #[inline(always)]
    unsafe fn add<V: Lanes>([xy, xx, yy]: &mut [V; 3], x: V, y: V) {
        unsafe {
            *xy = x.mul_add(y, *xy);
            *xx = x.mul_add(x, *xx);
            *yy = y.mul_add(y, *yy);
        }
    }
}

/// Sums the terms of all pairs. Four independent chains of additions hide the latency of one. The
/// order of additions depends on the length alone, not on what is summed: the inner product in
/// [`CosineParts`] is to the last bit that of [`InnerProduct`].
///
/// # Safety
/// The processor has the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn fold<V: Load<T>, T, M: Terms<SUMS>, const SUMS: usize>(
    a: &[T],
    b: &[T],
) -> [f32; SUMS] {
    let len = a.len().min(b.len());
    let (a, b) = (a.as_ptr(), b.as_ptr());
    // SAFETY: every load ends at `len` at most; the rest is promised by the caller.
    unsafe {
        let mut chains = [[V::zero(); SUMS]; 4];
        let mut at = 0;
        while at + 4 * V::WIDTH <= len {
            for (i, chain) in chains.iter_mut().enumerate() {
                let here = at + i * V::WIDTH;
                M::add(chain, V::load(a.add(here)), V::load(b.add(here)));
            }
            at += 4 * V::WIDTH;
        }
        for chain in &mut chains[..3] {
            if at + V::WIDTH <= len {
                M::add(chain, V::load(a.add(at)), V::load(b.add(at)));
                at += V::WIDTH;
            }
        }
        let rest = len - at;
        if rest > 0 {
            let x = V::load_first(a.add(at), rest);
            M::add(&mut chains[3], x, V::load_first(b.add(at), rest));
        }
        let [c0, c1, c2, c3] = chains;
        // no closure: one that is not inlined would be compiled without the instruction set
        let mut sums = [0.0; SUMS];
        let mut i = 0;
        while i < SUMS {
            sums[i] = c0[i].add(c1[i]).add(c2[i].add(c3[i])).sum();
            i += 1;
        }
        sums
    }
}

/// Defines the kernels of one element type in the module where it is called.
macro_rules! dense_kernels {
    ($element:ty) => {
        /// Squared Euclidean distance. Both operands have the same length.
        #[inline]
        pub fn l2_squared(a: &[$element], b: &[$element]) -> f32 {
            kernels::l2_squared($crate::distance::lanes::Isa::best(), a, b)[0]
        }

        /// Inner product. Both operands have the same length. `inner_product(a, a)` is the
        /// squared norm.
        #[inline]
        pub fn inner_product(a: &[$element], b: &[$element]) -> f32 {
            kernels::inner_product($crate::distance::lanes::Isa::best(), a, b)[0]
        }

        /// Taxicab distance. Both operands have the same length.
        #[inline]
        pub fn l1(a: &[$element], b: &[$element]) -> f32 {
            kernels::l1($crate::distance::lanes::Isa::best(), a, b)[0]
        }

        /// Cosine distance, from 0 to 2; NaN where a norm is zero. Both operands have the same
        /// length. To the last bit [`cosine_from_parts`](super::cosine_from_parts) of the inner
        /// product and the squared norms, though computed in one pass.
        #[inline]
        pub fn cosine_distance(a: &[$element], b: &[$element]) -> f64 {
            let isa = $crate::distance::lanes::Isa::best();
            let [product, norm_a, norm_b] = kernels::cosine_parts(isa, a, b);
            $crate::distance::cosine_from_parts(product as f64, norm_a as f64, norm_b as f64)
        }

        /// The kernels for every instruction set; the processor must have the one asked for.
        mod kernels {
            use $crate::distance::dense::{self, dense_kernel};

            dense_kernel!(l2_squared, $element, dense::L2Squared, 1);
            dense_kernel!(inner_product, $element, dense::InnerProduct, 1);
            dense_kernel!(l1, $element, dense::L1, 1);
            dense_kernel!(cosine_parts, $element, dense::CosineParts, 3);
        }

        #[cfg(test)]
        mod tests {
            $crate::distance::dense::tests::dense_kernel_tests!($element);
        }
    };
}
pub(super) use dense_kernels;

/// One kernel, compiled for every instruction set.
macro_rules! dense_kernel {
    ($name:ident, $element:ty, $terms:ty, $sums:literal) => {
        #[inline(always)]
        pub(super) fn $name(
            isa: $crate::distance::lanes::Isa,
            a: &[$element],
            b: &[$element],
        ) -> [f32; $sums] {
            use $crate::distance::dense::fold;
            use $crate::distance::lanes;

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
            fn avx512(a: &[$element], b: &[$element]) -> [f32; $sums] {
                // SAFETY: what this function is compiled for is what the lanes need.
                unsafe { fold::<lanes::Avx512, $element, $terms, $sums>(a, b) }
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2(a: &[$element], b: &[$element]) -> [f32; $sums] {
                // SAFETY: what this function is compiled for is what the lanes need.
                unsafe { fold::<lanes::Avx2, $element, $terms, $sums>(a, b) }
            }

            #[inline(never)]
            fn portable(a: &[$element], b: &[$element]) -> [f32; $sums] {
                // SAFETY: these lanes need nothing.
                unsafe { fold::<lanes::Portable, $element, $terms, $sums>(a, b) }
            }

            match isa {
                // SAFETY: an `Isa` other than the portable one is only made where it was detected.
                #[cfg(target_arch = "x86_64")]
                lanes::Isa::Avx512 | lanes::Isa::Avx512Vnni => unsafe { avx512(a, b) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                lanes::Isa::Avx2 => unsafe { avx2(a, b) },
                lanes::Isa::Portable => portable(a, b),
            }
        }
    };
}
pub(super) use dense_kernel;

#[cfg(test)]
pub(super) mod tests {
    /// The tests of the kernels of one element type.
    macro_rules! dense_kernel_tests {
        ($element:ty) => {
            use super::*;
            use proptest::prelude::*;
            use $crate::distance::cosine_from_parts;
            use $crate::distance::lanes::Isa;
            use $crate::vector::Element;

            /// Two vectors of `dims` elements from -1 to 1, of a seed.
            fn pair(dims: usize, seed: u64) -> (Vec<$element>, Vec<$element>) {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut vector = || {
                    (0..dims)
                        .map(|_| <$element>::narrow(random.f32() * 2.0 - 1.0))
                        .collect()
                };
                (vector(), vector())
            }

            /// Sum of the terms in f64, and of their magnitudes.
            fn reference(
                a: &[$element],
                b: &[$element],
                term: impl Fn(f64, f64) -> f64,
            ) -> (f64, f64) {
                let terms = a
                    .iter()
                    .zip(b)
                    .map(|(x, y)| term(x.widen() as f64, y.widen() as f64));
                terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()))
            }

            /// No sum of n rounded terms is off by more than (n + 1) half units of its size; ours
            /// add up in at least four chains.
            fn assert_near(actual: f32, (sum, size): (f64, f64), dims: usize) {
                let bound = (dims as f64 + 4.0) * f32::EPSILON as f64 * size / 2.0;
                assert!(
                    (actual as f64 - sum).abs() <= bound,
                    "{actual} {sum} {bound}"
                );
            }

            fn check_all_paths(dims: usize, seed: u64) {
                let (a, b) = pair(dims, seed);
                for isa in Isa::available() {
                    let l2 = reference(&a, &b, |x, y| (x - y) * (x - y));
                    assert_near(kernels::l2_squared(isa, &a, &b)[0], l2, dims);
                    let ip = reference(&a, &b, |x, y| x * y);
                    assert_near(kernels::inner_product(isa, &a, &b)[0], ip, dims);
                    let l1 = reference(&a, &b, |x, y| (x - y).abs());
                    assert_near(kernels::l1(isa, &a, &b)[0], l1, dims);
                    let bits = |parts: [f32; 3]| parts.map(f32::to_bits);
                    assert_eq!(
                        bits(kernels::cosine_parts(isa, &a, &b)),
                        bits([
                            kernels::inner_product(isa, &a, &b)[0],
                            kernels::inner_product(isa, &a, &a)[0],
                            kernels::inner_product(isa, &b, &b)[0],
                        ]),
                        "fused and separate sums differ: {isa:?} {dims}"
                    );
                }
            }

            #[test]
            fn every_tail_on_every_path_is_near_the_sum_in_f64() {
                for dims in 0..=130 {
                    check_all_paths(dims, dims as u64);
                }
            }

            #[test]
            fn large_dimensions_on_every_path_are_near_the_sum_in_f64() {
                for dims in [384, 768, 1000, 1536, 2047, 3072, 4097, 16_000] {
                    check_all_paths(dims, dims as u64);
                }
            }

            #[test]
            fn zero_vectors_have_no_direction() {
                let (a, _) = pair(20, 1);
                let zero = vec![<$element>::narrow(0.0); 20];
                assert!(cosine_distance(&a, &zero).is_nan());
                assert!(cosine_distance(&zero, &zero).is_nan());
            }

            #[test]
            fn cosine_stays_in_range() {
                for seed in 0..200 {
                    let (a, _) = pair(seed as usize % 40 + 1, seed);
                    let scaled = |by: f32| -> Vec<$element> {
                        a.iter()
                            .map(|x| <$element>::narrow(x.widen() * by))
                            .collect()
                    };
                    let same = cosine_distance(&a, &scaled(2.0));
                    let opposite = cosine_distance(&a, &scaled(-0.5));
                    assert!((0.0..1e-3).contains(&same), "{same}");
                    assert!((2.0 - 1e-3..=2.0).contains(&opposite), "{opposite}");
                }
            }

            proptest! {
                #[test]
                fn any_dims_and_values_on_every_path(dims in 0usize..600, seed: u64) {
                    check_all_paths(dims, seed);
                }

                #[test]
                fn cosine_is_what_an_index_computes_from_parts(dims in 0usize..600, seed: u64) {
                    let (a, b) = pair(dims, seed);
                    let parts = cosine_from_parts(
                        inner_product(&a, &b) as f64,
                        inner_product(&a, &a) as f64,
                        inner_product(&b, &b) as f64,
                    );
                    prop_assert_eq!(cosine_distance(&a, &b).to_bits(), parts.to_bits());
                }

                #[test]
                fn metrics_are_symmetric(dims in 0usize..300, seed: u64) {
                    let (a, b) = pair(dims, seed);
                    prop_assert_eq!(l2_squared(&a, &b), l2_squared(&b, &a));
                    prop_assert_eq!(inner_product(&a, &b), inner_product(&b, &a));
                    prop_assert_eq!(l1(&a, &b), l1(&b, &a));
                }
            }
        };
    }
    pub(in crate::distance) use dense_kernel_tests;
}
