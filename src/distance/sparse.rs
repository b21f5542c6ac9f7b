//! Kernels over sparse vectors.
//!
//! A distance needs the positions that both vectors have (the *matches*) and, for l1 and l2, also
//! the ones that only one has. The shorter list is walked element by element; each element is
//! compared with a block of 16 indices of the longer list at once, and blocks that end before the
//! element are skipped. That costs `short + long / 16` steps with few mispredicted branches, where
//! a merge takes `short + long` steps that the processor can't guess.
//!
//! **One result everywhere.** Sums are kept in 16 lanes of f32 and folded in a fixed order: the
//! n-th match goes to lane n mod 16; the n-th element of a vector, where unmatched, to lane n mod
//! 16 of that vector's sum. Products are rounded before they are added. AVX-512, AVX2 and portable
//! code only differ in how a block is searched, so results are equal to the last bit on every
//! processor, and `f(a, b)` equals `f(b, a)`.

use super::cosine_from_parts;
use crate::vector::SparseRef;

/// Squared Euclidean distance. Both operands have the same number of dimensions.
pub fn l2_squared(a: SparseRef<'_>, b: SparseRef<'_>) -> f32 {
    dispatch::<SquaredDifference>(a, b)
}

/// Inner product. Both operands have the same number of dimensions. `inner_product(a, a)` is the
/// squared norm.
pub fn inner_product(a: SparseRef<'_>, b: SparseRef<'_>) -> f32 {
    dispatch::<Product>(a, b)
}

/// Taxicab distance. Both operands have the same number of dimensions.
pub fn l1(a: SparseRef<'_>, b: SparseRef<'_>) -> f32 {
    dispatch::<AbsoluteDifference>(a, b)
}

/// Cosine distance, in 0 to 2; NaN where a vector is zero or a squared norm overflows f32.
///
/// Defined as [`cosine_from_parts`] of the inner products, so that an index that stores
/// squared norms finds the same distance.
pub fn cosine_distance(a: SparseRef<'_>, b: SparseRef<'_>) -> f64 {
    cosine_from_parts(
        inner_product(a, b) as f64,
        squared_norm(a) as f64,
        squared_norm(b) as f64,
    )
}

/// `inner_product(a, a)`, to the last bit, without searching for the matches.
pub fn squared_norm(a: SparseRef<'_>) -> f32 {
    let mut sums = Lanes::new();
    for values in a.values.chunks(LANES) {
        sums.add_unmatched::<SquaredDifference>(values, 0);
    }
    sums.fold()
}

const LANES: usize = 16;

/// What is summed up.
trait Metric {
    /// Whether positions that only one vector has count.
    const UNMATCHED: bool;
    /// The term of a position that both vectors have.
    fn pair(x: f32, y: f32) -> f32;
    /// The term of a position that only one vector has.
    fn single(x: f32) -> f32;
}

struct Product;
impl Metric for Product {
    const UNMATCHED: bool = false;
    #[inline(always)]
    fn pair(x: f32, y: f32) -> f32 {
        x * y
    }
    #[inline(always)]
    fn single(_: f32) -> f32 {
        0.0
    }
}

struct SquaredDifference;
impl Metric for SquaredDifference {
    const UNMATCHED: bool = true;
    #[inline(always)]
    fn pair(x: f32, y: f32) -> f32 {
        (x - y) * (x - y)
    }
    #[inline(always)]
    fn single(x: f32) -> f32 {
        x * x
    }
}

struct AbsoluteDifference;
impl Metric for AbsoluteDifference {
    const UNMATCHED: bool = true;
    #[inline(always)]
    fn pair(x: f32, y: f32) -> f32 {
        (x - y).abs()
    }
    #[inline(always)]
    fn single(x: f32) -> f32 {
        x.abs()
    }
}

/// How a block is searched.
trait Search: Copy {
    /// Bit n is set where `block[n] == index`.
    fn matches(self, block: &[i32; LANES], index: i32) -> u32;
}

#[derive(Clone, Copy)]
struct Portable;
impl Search for Portable {
    #[inline(always)]
    fn matches(self, block: &[i32; LANES], index: i32) -> u32 {
        let mut mask = 0;
        for (lane, &x) in block.iter().enumerate() {
            mask |= ((x == index) as u32) << lane;
        }
        mask
    }
}

#[inline]
fn dispatch<M: Metric>(a: SparseRef<'_>, b: SparseRef<'_>) -> f32 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("bmi1")
        {
            // SAFETY: the features the kernel is compiled for were just detected.
            return unsafe { x86::sum_avx512::<M>(a, b) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1") {
            // SAFETY: as above.
            return unsafe { x86::sum_avx2::<M>(a, b) };
        }
    }
    sum::<M, _>(Portable, a, b)
}

/// Sixteen partial sums.
struct Lanes([f32; LANES]);

impl Lanes {
    #[inline(always)]
    fn new() -> Self {
        Lanes([0.0; LANES])
    }

    /// Adds `M::single` of each value whose bit in `matched` is not set. Fewer than 16 values are
    /// the last of their vector.
    #[inline(always)]
    fn add_unmatched<M: Metric>(&mut self, values: &[f32], matched: u32) {
        let mut terms = [0.0; LANES];
        if let Some(values) = values.first_chunk::<LANES>() {
            for lane in 0..LANES {
                let hit = matched & (1 << lane) != 0;
                terms[lane] = if hit { 0.0 } else { M::single(values[lane]) };
            }
        } else {
            for (lane, (term, value)) in terms.iter_mut().zip(values).enumerate() {
                let hit = matched & (1 << lane) != 0;
                *term = if hit { 0.0 } else { M::single(*value) };
            }
        }
        for (sum, term) in self.0.iter_mut().zip(terms) {
            *sum += term;
        }
    }

    /// The sum of the lanes, folded in halves.
    #[inline(always)]
    fn fold(mut self) -> f32 {
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                self.0[lane] += self.0[lane + width];
            }
            width /= 2;
        }
        self.0[0]
    }
}

/// Matches whose values wait to be summed: found one by one, added up sixteen at a time.
struct Matches {
    positions: [(u32, u32); LANES],
    len: usize,
    sums: Lanes,
}

impl Matches {
    #[inline(always)]
    fn new() -> Self {
        Matches {
            positions: [(0, 0); LANES],
            len: 0,
            sums: Lanes::new(),
        }
    }

    /// Notes a match of the elements at `i` and `j` if `found`. Written before it is known
    /// whether there is one: a branch here would be guessed wrong at each match.
    #[inline(always)]
    fn note<M: Metric>(&mut self, found: bool, i: usize, j: usize, x: &[f32], y: &[f32]) {
        self.positions[self.len] = (i as u32, j as u32);
        self.len += found as usize;
        if self.len == LANES {
            self.add::<M>(x, y);
        }
    }

    #[inline(always)]
    fn add<M: Metric>(&mut self, x: &[f32], y: &[f32]) {
        let (mut xs, mut ys) = ([0.0; LANES], [0.0; LANES]);
        for (lane, &(i, j)) in self.positions[..self.len].iter().enumerate() {
            xs[lane] = x[i as usize];
            ys[lane] = y[j as usize];
        }
        for lane in 0..LANES {
            self.sums.0[lane] += M::pair(xs[lane], ys[lane]);
        }
        self.len = 0;
    }
}

/// The block of the longer list that is being searched.
struct Block<'a> {
    indices: &'a [i32; LANES],
    /// Position of the block's first element.
    start: usize,
    /// Bits of the elements that have been matched.
    matched: u32,
}

/// The sum of `M` over two vectors.
#[inline(always)]
fn sum<M: Metric, S: Search>(search: S, a: SparseRef<'_>, b: SparseRef<'_>) -> f32 {
    let (short, long) = if a.indices.len() <= b.indices.len() {
        (a, b)
    } else {
        (b, a)
    };
    let mut matches = Matches::new();
    let mut short_only = Lanes::new();
    let mut long_only = Lanes::new();

    // The last block, filled up with an index that no vector has; it is never left.
    let (full, rest) = long.indices.as_chunks::<LANES>();
    let mut last = [i32::MAX; LANES];
    last[..rest.len()].copy_from_slice(rest);
    let mut block = Block {
        indices: full.first().unwrap_or(&last),
        start: 0,
        matched: 0,
    };

    for (n, chunk) in short.indices.chunks(LANES).enumerate() {
        let mut chunk_matched = 0;
        for (lane, &index) in chunk.iter().enumerate() {
            while block.indices[LANES - 1] < index {
                let mut next = block.start / LANES + 1;
                if M::UNMATCHED {
                    let values = &long.values[block.start..];
                    long_only.add_unmatched::<M>(values, block.matched);
                } else if full.get(next).is_some_and(|b| b[LANES - 1] < index) {
                    next = gallop(full, next + 1, index);
                }
                block = Block {
                    indices: full.get(next).unwrap_or(&last),
                    start: next * LANES,
                    matched: 0,
                };
            }
            let hits = search.matches(block.indices, index);
            if M::UNMATCHED {
                block.matched |= hits;
                chunk_matched |= ((hits != 0) as u32) << lane;
            }
            let j = block.start + hits.trailing_zeros() as usize;
            matches.note::<M>(hits != 0, n * LANES + lane, j, short.values, long.values);
        }
        if M::UNMATCHED {
            short_only.add_unmatched::<M>(&short.values[n * LANES..], chunk_matched);
        }
    }
    matches.add::<M>(short.values, long.values);

    if M::UNMATCHED {
        for values in long.values[block.start.min(long.values.len())..].chunks(LANES) {
            long_only.add_unmatched::<M>(values, block.matched);
            block.matched = 0;
        }
    }
    matches.sums.fold() + (short_only.fold() + long_only.fold())
}

/// The first block from `from` on that does not end before `index`: doubling steps, then a binary
/// search of the last one (Bentley and Yao, 1976), because lists may differ in length by a
/// factor of 16,000.
#[cold]
fn gallop(blocks: &[[i32; LANES]], from: usize, index: i32) -> usize {
    let ends_before = |block: &[i32; LANES]| block[LANES - 1] < index;
    let (mut low, mut step) = (from, 1);
    while blocks.get(low + step).is_some_and(ends_before) {
        low += step;
        step *= 2;
    }
    let high = (low + step).min(blocks.len());
    let low = low.min(high);
    low + blocks[low..high].partition_point(ends_before)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, Metric, Search, SparseRef};
    use std::arch::x86_64::*;

    /// Proof that AVX-512F is there.
    #[derive(Clone, Copy)]
    struct Avx512(());
    impl Search for Avx512 {
        #[inline(always)]
        fn matches(self, block: &[i32; LANES], index: i32) -> u32 {
            // SAFETY: only made where AVX-512F is enabled; 64 bytes are readable, unaligned.
            unsafe {
                let block = _mm512_loadu_si512(block.as_ptr().cast());
                _mm512_cmpeq_epi32_mask(block, _mm512_set1_epi32(index)) as u32
            }
        }
    }

    /// Proof that AVX2 is there.
    #[derive(Clone, Copy)]
    struct Avx2(());
    impl Search for Avx2 {
        #[inline(always)]
        fn matches(self, block: &[i32; LANES], index: i32) -> u32 {
            // SAFETY: only made where AVX2 is enabled; 2 x 32 bytes are readable, unaligned.
            unsafe {
                let index = _mm256_set1_epi32(index);
                let low = _mm256_loadu_si256(block.as_ptr().cast());
                let high = _mm256_loadu_si256(block.as_ptr().add(8).cast());
                let low = _mm256_castsi256_ps(_mm256_cmpeq_epi32(low, index));
                let high = _mm256_castsi256_ps(_mm256_cmpeq_epi32(high, index));
                (_mm256_movemask_ps(low) | _mm256_movemask_ps(high) << 8) as u32
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512vl,bmi1")]
    pub fn sum_avx512<M: Metric>(a: SparseRef<'_>, b: SparseRef<'_>) -> f32 {
        super::sum::<M, _>(Avx512(()), a, b)
    }

    #[target_feature(enable = "avx2,bmi1")]
    pub fn sum_avx2<M: Metric>(a: SparseRef<'_>, b: SparseRef<'_>) -> f32 {
        super::sum::<M, _>(Avx2(()), a, b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    type Elements = BTreeMap<i32, f32>;

    #[derive(Debug)]
    struct Owned {
        indices: Vec<i32>,
        values: Vec<f32>,
    }

    impl Owned {
        fn new(elements: &Elements) -> Self {
            Owned {
                indices: elements.keys().copied().collect(),
                values: elements.values().copied().collect(),
            }
        }

        fn view(&self) -> SparseRef<'_> {
            SparseRef {
                dims: 100_000,
                indices: &self.indices,
                values: &self.values,
            }
        }
    }

    /// A vector of up to `max` elements among the first `spread` positions: with a small spread
    /// there are many matches, with a large one few.
    fn vector(max: usize) -> impl Strategy<Value = Elements> {
        prop_oneof![Just(40), Just(400), Just(100_000)].prop_flat_map(move |spread| {
            prop::collection::btree_map(0..spread, -100.0f32..100.0, 0..max)
        })
    }

    /// In f64, position by position.
    fn reference(a: &Elements, b: &Elements, term: impl Fn(f64, f64) -> f64) -> f64 {
        let positions: BTreeSet<i32> = a.keys().chain(b.keys()).copied().collect();
        let at = |v: &Elements, i| v.get(&i).copied().unwrap_or(0.0) as f64;
        positions.iter().map(|&i| term(at(a, i), at(b, i))).sum()
    }

    fn all_paths<M: Metric>(a: SparseRef<'_>, b: SparseRef<'_>) -> Vec<f32> {
        let mut results = vec![sum::<M, _>(Portable, a, b), sum::<M, _>(Portable, b, a)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1") {
                // SAFETY: detected.
                results.push(unsafe { x86::sum_avx2::<M>(a, b) });
            }
        }
        results.push(dispatch::<M>(a, b));
        results.push(dispatch::<M>(b, a));
        results
    }

    fn check<M: Metric>(
        a: &Elements,
        b: &Elements,
        term: impl Fn(f64, f64) -> f64,
    ) -> Result<(), TestCaseError> {
        let (x, y) = (Owned::new(a), Owned::new(b));
        let results = all_paths::<M>(x.view(), y.view());
        for result in &results {
            prop_assert_eq!(result.to_bits(), results[0].to_bits());
        }
        let expected = reference(a, b, &term);
        let scale = reference(a, b, |x, y| term(x, y).abs()).max(1.0);
        prop_assert!(
            (results[0] as f64 - expected).abs() <= scale * 1e-5,
            "{} is not {expected}",
            results[0]
        );
        Ok(())
    }

    fn check_all(a: &Elements, b: &Elements) -> Result<(), TestCaseError> {
        check::<Product>(a, b, |x, y| x * y)?;
        check::<SquaredDifference>(a, b, |x, y| (x - y) * (x - y))?;
        check::<AbsoluteDifference>(a, b, |x, y| (x - y).abs())
    }

    proptest! {
        #[test]
        fn every_path_gives_the_same_bits_and_the_right_sum(a in vector(200), b in vector(200)) {
            check_all(&a, &b)?;
        }

        #[test]
        fn lists_of_very_different_length_are_searched_right(a in vector(12), b in vector(3000)) {
            check_all(&a, &b)?;
        }

        #[test]
        fn squared_norm_is_the_inner_product_with_itself(a in vector(200)) {
            let a = Owned::new(&a);
            let a = a.view();
            prop_assert_eq!(squared_norm(a).to_bits(), inner_product(a, a).to_bits());
            prop_assert_eq!(l2_squared(a, a), 0.0);
            prop_assert_eq!(l1(a, a), 0.0);
        }

        #[test]
        fn cosine_distance_is_what_an_index_recombines(a in vector(200), b in vector(200)) {
            let (a, b) = (Owned::new(&a), Owned::new(&b));
            let (a, b) = (a.view(), b.view());
            let parts = inner_product(a, a) as f64 * inner_product(b, b) as f64;
            let defined = 1.0 - (inner_product(a, b) as f64 / parts.sqrt()).clamp(-1.0, 1.0);
            prop_assert_eq!(cosine_distance(a, b).to_bits(), defined.to_bits());
        }
    }

    #[test]
    fn overflow_is_infinite_and_zero_vectors_have_no_direction() {
        let large = Owned::new(&Elements::from([(0, 3e38)]));
        let negative = Owned::new(&Elements::from([(0, -3e38)]));
        let zero = Owned::new(&Elements::new());
        let (large, negative, zero) = (large.view(), negative.view(), zero.view());
        assert_eq!(inner_product(large, large), f32::INFINITY);
        assert_eq!(l1(large, negative), f32::INFINITY);
        assert_eq!(l2_squared(large, negative), f32::INFINITY);
        assert!(cosine_distance(large, large).is_nan());
        assert!(cosine_distance(large, zero).is_nan());
        assert_eq!(inner_product(zero, zero), 0.0);
    }

    #[test]
    fn lists_that_are_not_sorted_end_in_some_number() {
        // a damaged value must not crash the server; what it is compared to does not matter
        let indices: Vec<i32> = (0..100).map(|i| (i * 37) % 50 - 10).collect();
        let values = vec![1.0; 100];
        let damaged = SparseRef {
            dims: 50,
            indices: &indices,
            values: &values,
        };
        let good: Vec<i32> = (0..33).collect();
        let good = SparseRef {
            dims: 50,
            indices: &good,
            values: &values[..33],
        };
        for (a, b) in [(damaged, good), (good, damaged), (damaged, damaged)] {
            assert!(inner_product(a, b).is_finite());
            assert!(l2_squared(a, b).is_finite());
            assert!(l1(a, b).is_finite());
        }
    }
}
