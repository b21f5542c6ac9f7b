//! What is promised of codes and estimates, for every instruction set that this machine has.

use super::kernels::{Batch, Line, QueryCode};
use super::rotation::Rotation;
use super::*;
use crate::distance::Metric;
use crate::distance::lanes::Isa;
use proptest::prelude::*;

pub(super) const METRICS: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];
pub(super) const QUANTIZERS: [Quantizer; 10] = Quantizer::GRIDS;

/// A compact code with its bytes.
pub(super) struct Stored {
    factors: Compact,
    code: Vec<i8>,
}

impl Stored {
    pub(super) fn new(codec: &Codec, x: &[f32]) -> Self {
        let mut code = vec![0; x.len()];
        let factors = codec.encode(x, &mut Vec::new(), &mut code);
        Stored { factors, code }
    }

    pub(super) fn as_ref(&self) -> CompactRef<'_> {
        CompactRef {
            factors: self.factors,
            code: &self.code,
        }
    }

    /// The estimate of its inline code.
    pub(super) fn estimate(
        &self,
        codec: &Codec,
        query: &Query,
        quantizer: Quantizer,
        dims: usize,
    ) -> f32 {
        let mut code = vec![0xa5; quantizer.code_len(dims)];
        let f = codec.quantize(self.as_ref(), quantizer, dims, &mut code);
        let mut out = [f32::NAN];
        query.estimate(quantizer, dims, &code, &[f.add], &[f.scale], &mut out);
        out[0]
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum()
}

/// A vector of about normally distributed components.
pub(super) fn normal(random: &mut fastrand::Rng, dims: usize) -> Vec<f32> {
    let mut component = || (0..12).map(|_| random.f32()).sum::<f32>() - 6.0;
    (0..dims).map(|_| component()).collect()
}

fn scaled(x: &[f32], by: f32) -> Vec<f32> {
    x.iter().map(|x| x * by).collect()
}

/// What the operators compute, in f64.
pub(super) fn exact(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    match metric {
        Metric::L2 => {
            let pairs = a.iter().zip(b);
            pairs.map(|(&a, &b)| (a as f64 - b as f64).powi(2)).sum()
        }
        Metric::Cosine => 1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
        _ => -dot(a, b),
    }
}

#[test]
fn a_rotation_keeps_lengths_and_angles() {
    let mut random = fastrand::Rng::with_seed(1);
    let dims = [
        1, 2, 3, 5, 31, 63, 64, 100, 384, 768, 1000, 1023, 1536, 3072, 16_000,
    ];
    for dims in dims {
        let rotation = Rotation::new(dims, 7);
        let (mut a, mut b) = (normal(&mut random, dims), normal(&mut random, dims));
        let before = [dot(&a, &a), dot(&b, &b), dot(&a, &b)];
        rotation.apply(&mut a);
        rotation.apply(&mut b);
        let after = [dot(&a, &a), dot(&b, &b), dot(&a, &b)];
        let size = (before[0] * before[1]).sqrt();
        for (before, after) in before.iter().zip(after) {
            assert!(
                (before - after).abs() < 1e-6 * size,
                "{dims}: {before} {after}"
            );
        }
    }
}

/// Whatever direction a vector has, each coordinate gets its share: over seeds, the mean square of
/// every coordinate is near 1 / D, and no coordinate is ever far beyond a normal deviate.
#[test]
fn a_rotation_spreads_a_single_coordinate_evenly() {
    for dims in [64, 100, 384, 768, 1000, 1023, 1536] {
        for from in [0, dims / 3, dims / 2 + 1, dims - 1] {
            let mut squares = vec![0.0; dims];
            let seeds = 200;
            for seed in 0..seeds {
                let mut x = vec![0.0; dims];
                x[from] = 1.0;
                Rotation::new(dims, seed).apply(&mut x);
                for (sum, x) in squares.iter_mut().zip(x) {
                    let share = x as f64 * x as f64 * dims as f64;
                    assert!(share < 36.0, "{dims} {from} {seed}: {share}");
                    *sum += share / seeds as f64;
                }
            }
            // blocks of a sixteenth: 200 seeds leave little noise in their means
            for (at, block) in squares.chunks(dims.div_ceil(16)).enumerate() {
                let mean = block.iter().sum::<f64>() / block.len() as f64;
                assert!((0.75..1.25).contains(&mean), "{dims} {from} {at}: {mean}");
            }
        }
    }
}

#[test]
fn a_seed_is_one_rotation_for_ever() {
    // indexes on disk depend on these bits
    let mut x: Vec<f32> = (0..12).map(|i| i as f32).collect();
    Rotation::new(12, 42).apply(&mut x);
    let bits: Vec<u32> = x.iter().map(|x| x.to_bits()).collect();
    assert_eq!(bits, GOLDEN_ROTATION, "{x:?}");

    let sums = [64, 1000, 1536].map(|dims| {
        let mut x: Vec<f32> = (0..dims).map(|i| (i * i % 101) as f32).collect();
        Rotation::new(dims, 42).apply(&mut x);
        let bits = x.iter().map(|x| x.to_bits() as u64);
        bits.fold(0u64, |sum, bits| sum.rotate_left(7) ^ bits)
    });
    assert_eq!(sums, GOLDEN_SUMS, "{sums:#x?}");

    let codec = Codec::new(Metric::L2, 12, 42, &[], 0.0);
    let x: Vec<f32> = (0..12).map(|i| (i * i % 7) as f32 - 2.0).collect();
    let stored = Stored::new(&codec, &x);
    assert_eq!(stored.code, GOLDEN_CODE);
    let inline = |quantizer: Quantizer| {
        let mut code = vec![0; quantizer.code_len(12)];
        codec.quantize(stored.as_ref(), quantizer, 12, &mut code);
        code
    };
    let planes = |code: Vec<u8>| -> Vec<u64> {
        let words = code.as_chunks::<8>().0.iter();
        words.map(|word| u64::from_le_bytes(*word)).collect()
    };
    assert_eq!(planes(inline(Quantizer::Rabitq1)), GOLDEN_PLANES[..1]);
    assert_eq!(planes(inline(Quantizer::Rabitq2)), GOLDEN_PLANES[1..3]);
    assert_eq!(planes(inline(Quantizer::Rabitq4)), GOLDEN_PLANES[3..]);
}

const GOLDEN_ROTATION: [u32; 12] = [
    0xbf5f_0ed9,
    0xbf65_7d86,
    0x40f3_a590,
    0xc0b2_d7bd,
    0xc01a_fb0e,
    0x4048_e6d0,
    0xc0e1_2317,
    0x4110_918b,
    0x412d_2318,
    0x4129_fd69,
    0xc0b6_a09e,
    0x401a_8278,
];
const GOLDEN_CODE: [i8; 12] = [76, -103, 50, 114, -6, 127, 49, -42, -20, 10, -108, 84];
const GOLDEN_PLANES: [u64; 7] = [0xa6d, 0x9b9, 0xa6d, 0xcfe, 0x17c, 0x9b9, 0xa6d];
/// of 64, 1000 and 1536 dimensions
const GOLDEN_SUMS: [u64; 3] = [
    0xe649_8931_2a29_f0ab,
    0x5301_dc98_850c_8e8c,
    0xc56d_5508_71d1_1075,
];

/// Vectors that are hard to encode, of about length 1.
fn adversarial(dims: usize) -> Vec<Vec<f32>> {
    let unit = (dims as f32).recip().sqrt();
    let mut all = vec![
        vec![unit; dims],
        (0..dims)
            .map(|i| if i % 2 == 0 { unit } else { -unit })
            .collect(),
        // each component half of the one before
        (0..dims).map(|i| 0.8 * 0.5f32.powi(i as i32)).collect(),
        (0..dims)
            .map(|i| {
                if i < dims / 2 {
                    1e-3 * unit
                } else {
                    1.4 * unit
                }
            })
            .collect(),
    ];
    for at in [0, dims / 2, dims - 1] {
        let mut one = vec![0.0; dims];
        one[at] = 1.0;
        all.push(one.clone());
        one[dims / 3] += 1e-4;
        all.push(one);
    }
    all
}

fn check_bounds(codec: &Codec, vectors: &[Vec<f32>]) {
    for (at, b) in vectors.iter().enumerate() {
        let query = codec.query(b);
        let other = Stored::new(codec, b);
        let query_of = codec.query_of(other.as_ref());
        for a in &vectors[at / 2..] {
            let stored = Stored::new(codec, a);
            for query in [&query, &query_of] {
                let wanted = query.internal(exact(codec.metric(), a, b));
                let got = query.distance(stored.as_ref());
                let bound = query.error_bound(stored.as_ref());
                assert!(
                    (wanted - got).abs() <= bound,
                    "{:?} {}: {wanted} {got} {bound}",
                    codec.metric(),
                    codec.dims()
                );
            }
            let between = codec.distance(stored.as_ref(), other.as_ref());
            assert_eq!(query_of.distance(stored.as_ref()), between);
            assert_eq!(codec.distance(other.as_ref(), stored.as_ref()), between);
        }
    }
}

#[test]
fn distances_are_within_their_bound() {
    let mut random = fastrand::Rng::with_seed(2);
    for metric in METRICS {
        for dims in [1, 2, 3, 7, 64, 100, 384, 1000, 1536] {
            for length in [1e-6, 1.0, 1e6] {
                let unit = length / (dims as f32).sqrt();
                let random_vectors = (0..12).map(|_| scaled(&normal(&mut random, dims), unit));
                let mut vectors: Vec<Vec<f32>> = random_vectors.collect();
                vectors.extend(adversarial(dims).iter().map(|x| scaled(x, length)));
                let centroid = match metric {
                    Metric::Cosine => scaled(&vectors[11], 0.3 / length),
                    _ => scaled(&vectors[11], 0.5),
                };
                for centroid in [&centroid[..], &[]] {
                    let codec = Codec::new(metric, dims, 3, centroid, 1.5 * length);
                    check_bounds(&codec, &vectors);
                }
            }
        }
    }
}

#[test]
fn a_bound_is_a_small_part_of_the_distance() {
    let mut random = fastrand::Rng::with_seed(8);
    for dims in [384, 1536] {
        let codec = Codec::new(Metric::L2, dims, 3, &[], 0.0);
        let (a, b) = (normal(&mut random, dims), normal(&mut random, dims));
        let stored = Stored::new(&codec, &a);
        let query = codec.query(&b);
        let bound = query.error_bound(stored.as_ref()) / query.distance(stored.as_ref());
        assert!(bound < 0.15 / (dims as f32).sqrt(), "{dims}: {bound}");
    }
}

#[test]
fn equal_vectors_are_at_distance_nearly_zero() {
    let mut random = fastrand::Rng::with_seed(4);
    for metric in [Metric::L2, Metric::Cosine] {
        for dims in [1, 5, 100, 1536] {
            let x = normal(&mut random, dims);
            let codec = Codec::new(metric, dims, 1, &[], 0.0);
            let stored = Stored::new(&codec, &x);
            let size = stored.factors.add;
            let error = stored.factors.error;
            // 2 |r|^2 - 2 f^2 |i|^2 = -2 |e|^2
            let distance = codec.distance(stored.as_ref(), stored.as_ref());
            assert!((distance + 2.0 * error * error).abs() < 1e-5 * size);
        }
    }
}

/// Error of <r_q, r_x> in lengths |r_q| |r_x| sin(angle), times sqrt(D): mean and deviation over
/// pairs of vectors and over seeds.
fn errors(dims: usize, code_dims: usize, near: f32) -> Vec<(Quantizer, f64, f64)> {
    const SEEDS: u64 = 1200;
    let mut random = fastrand::Rng::with_seed(5);
    let mut sums = [(0.0, 0.0); QUANTIZERS.len()];
    for seed in 0..SEEDS {
        let codec = Codec::new(Metric::L2, dims, seed, &[], 0.0);
        let (q, other) = (normal(&mut random, dims), normal(&mut random, dims));
        let query = codec.query(&q);
        let pairs = q.iter().zip(&other);
        let x: Vec<f32> = pairs.map(|(q, o)| near * q + (1.0 - near) * o).collect();
        let stored = Stored::new(&codec, &x);
        let exact = exact(Metric::L2, &q, &x);
        let (qq, xx, qx) = (dot(&q, &q), dot(&x, &x), dot(&q, &x));
        let across = (qq * xx - qx * qx).sqrt();
        for (quantizer, (sum, squares)) in QUANTIZERS.into_iter().zip(&mut sums) {
            let estimate = stored.estimate(&codec, &query, quantizer, code_dims);
            let error = (exact - estimate as f64) / 2.0 / across * (dims as f64).sqrt();
            *sum += error / SEEDS as f64;
            *squares += error * error / SEEDS as f64;
        }
    }
    let pairs = QUANTIZERS.into_iter().zip(sums);
    pairs
        .map(|(quantizer, (mean, squares))| (quantizer, mean, (squares - mean * mean).sqrt()))
        .collect()
}

/// sqrt(1 / cos^2 - 1), with cos^2 = 1 - distortion of the best uniform quantizer of a normal
/// deviate (Max, 1960): 0.3634, 0.1188, 0.03744, 0.01154, 0.003495, 0.001041, 0.000304. In units of
/// distance at |r| = |r_q|, near the query and 384 dimensions, the first are 5.5, 2.7, 1.4 and 0.8 %.
/// Of few dimensions the largest is not large, and many bits do better than that. The grid of `sq4`
/// reaches to the largest coordinate and is a little coarser than the best.
fn deviation_of(quantizer: Quantizer) -> std::ops::Range<f64> {
    match quantizer {
        Quantizer::Rabitq1 => 0.68..0.83,
        Quantizer::Rabitq2 => 0.33..0.41,
        Quantizer::Rabitq3 => 0.177..0.217,
        Quantizer::Rabitq4 => 0.09..0.119,
        Quantizer::Sq4 => 0.1..0.16,
        Quantizer::Rabitq5 => 0.048..0.067,
        Quantizer::Rabitq6 => 0.026..0.039,
        Quantizer::Rabitq7 => 0.013..0.025,
        // the codes' own bytes add a little
        Quantizer::Rabitq8 | Quantizer::Sq8 => 0.0..0.018,
        Quantizer::Binary | Quantizer::Pq8 | Quantizer::Pq4 => unreachable!("no grid"),
    }
}

#[test]
fn estimates_are_unbiased_and_as_good_as_their_bits_allow() {
    for dims in [100, 384, 1000] {
        for near in [0.0, 0.7] {
            for (quantizer, mean, deviation) in errors(dims, dims, near) {
                let noise = 4.0 * deviation / 1200f64.sqrt();
                let label = format!("{dims} {quantizer:?}: {mean} {deviation}");
                assert!(mean.abs() < noise + 1e-3, "{label}");
                assert!(deviation_of(quantizer).contains(&deviation), "{label}");
            }
        }
    }
}

#[test]
fn estimates_from_fewer_dimensions_are_unbiased() {
    for (dims, code_dims) in [(1000, 500), (384, 200)] {
        for near in [0.0, 0.7] {
            for (quantizer, mean, deviation) in errors(dims, code_dims, near) {
                let noise = 4.0 * deviation / 1200f64.sqrt();
                assert!(mean.abs() < noise, "{quantizer:?} {near}: {mean} {noise}");
                assert!(deviation < 4.0, "{quantizer:?} {near}: {deviation}");
            }
        }
    }
}

/// Extended RaBitQ's grid vector is the best one: no other scaling has a smaller angle.
#[test]
fn no_other_scaling_of_the_grid_is_nearer() {
    let mut random = fastrand::Rng::with_seed(6);
    for dims in [3, 64, 130, 384] {
        let codec = Codec::new(Metric::L2, dims, 1, &[], 0.0);
        let stored = Stored::new(&codec, &normal(&mut random, dims));
        for (quantizer, levels) in [
            (Quantizer::Rabitq2, 2.0),
            (Quantizer::Rabitq3, 4.0),
            (Quantizer::Rabitq4, 8.0),
        ] {
            let bits = quantizer.bits();
            let mut code = vec![0; quantizer.code_len(dims)];
            codec.quantize(stored.as_ref(), quantizer, dims, &mut code);
            let grid = grid(quantizer, dims, &code);
            let cosine = |grid: &[f64]| {
                let pairs = grid.iter().zip(&stored.code);
                let product: f64 = pairs.map(|(g, &i)| g * i as f64).sum();
                product / grid.iter().map(|g| g * g).sum::<f64>().sqrt()
            };
            let ours = cosine(&grid);
            for step in 1..2000 {
                let t = step as f64 / 2000.0 * levels / 8.0;
                let other = stored.code.iter().map(|&i| {
                    let level = (i.unsigned_abs() as f64 * t).floor().min(levels - 1.0) + 0.5;
                    if i < 0 { -level } else { level }
                });
                let other = cosine(&other.collect::<Vec<_>>());
                assert!(
                    other <= ours * (1.0 + 1e-12),
                    "{dims} {bits} {t}: {ours} {other}"
                );
            }
        }
    }
}

/// Grid values of an inline code, read bit by bit as the module's documentation says.
fn grid(quantizer: Quantizer, dims: usize, code: &[u8]) -> Vec<f64> {
    let bits = quantizer.bits();
    let value = |at: usize| match quantizer {
        Quantizer::Sq8 => code[at] as i8 as f64,
        Quantizer::Rabitq8 => code[at] as i8 as f64 + 0.5,
        _ => {
            let plane_len = code.len() / bits;
            let bit = |plane: usize| (code[plane * plane_len + at / 8] >> (at % 8) & 1) as usize;
            let u: usize = (0..bits).map(|plane| bit(plane) << plane).sum();
            u as f64 - ((1 << bits) - 1) as f64 / 2.0
        }
    };
    (0..dims).map(value).collect()
}

#[test]
fn zero_and_constant_vectors_have_distances() {
    for metric in METRICS {
        for dims in [1, 3, 64, 200] {
            let (zero, ones) = (vec![0.0; dims], vec![1.0; dims]);
            for centroid in [&zero, &ones] {
                let codec = Codec::new(metric, dims, 1, centroid, (dims as f32).sqrt());
                for a in [&zero, &ones] {
                    for b in [&zero, &ones] {
                        let query = codec.query(a);
                        let stored = Stored::new(&codec, b);
                        let got = query.distance(stored.as_ref());
                        let wanted = exact(metric, a, b);
                        if !wanted.is_nan() {
                            let bound = query.error_bound(stored.as_ref());
                            assert!((got - query.internal(wanted)).abs() <= bound);
                        }
                        assert!(got.is_finite());
                        for quantizer in QUANTIZERS {
                            let got = stored.estimate(&codec, &query, quantizer, dims);
                            assert!(got.is_finite(), "{metric:?} {quantizer:?}");
                        }
                    }
                }
            }
        }
    }
    let codec = Codec::new(Metric::Cosine, 2, 1, &[], 0.0);
    assert_eq!(codec.query(&[1.0, 2.0]).internal(f64::INFINITY), f32::MAX);
}

#[test]
fn reused_queries_are_as_new() {
    let mut random = fastrand::Rng::with_seed(9);
    type Reset<'a> = &'a dyn Fn(&mut Query);
    let mut reused = Query::default();
    for dims in [300, 5, 1000, 64] {
        for metric in METRICS {
            let codec = Codec::new(metric, dims, 1, &vec![0.1; dims], 20.0);
            let (a, b) = (normal(&mut random, dims), normal(&mut random, dims));
            let stored = Stored::new(&codec, &a);
            let queries: [(Query, Reset<'_>); 2] = [
                (codec.query(&b), &|q| q.reset(&codec, &b)),
                (codec.query_of(stored.as_ref()), &|q| {
                    q.reset_of(&codec, stored.as_ref())
                }),
            ];
            for (fresh, reset) in queries {
                reset(&mut reused);
                assert_eq!(reused.internal(1.5), fresh.internal(1.5));
                let other = Stored::new(&codec, &b);
                let both = [&reused, &fresh];
                let [x, y] = both.map(|q| q.distance(other.as_ref()));
                assert_eq!(x, y);
                let [x, y] = both.map(|q| q.error_bound(other.as_ref()));
                assert_eq!(x, y);
                for quantizer in QUANTIZERS {
                    let [x, y] = both.map(|q| other.estimate(&codec, q, quantizer, dims - 2));
                    assert_eq!(x, y);
                }
            }
        }
    }
}

/// Of clustered vectors, the fifty best by estimate hold nearly all of the ten nearest.
#[test]
fn the_nearest_are_among_the_best_estimates() {
    let mut random = fastrand::Rng::with_seed(10);
    let dims = 200;
    let centres: Vec<Vec<f32>> = (0..20).map(|_| normal(&mut random, dims)).collect();
    let mut vector = || {
        let centre = &centres[random.usize(..centres.len())];
        let noise = normal(&mut random, dims);
        let pairs = centre.iter().zip(noise);
        pairs.map(|(c, n)| c + 0.6 * n).collect::<Vec<f32>>()
    };
    let vectors: Vec<Vec<f32>> = (0..2000).map(|_| vector()).collect();
    let queries: Vec<Vec<f32>> = (0..20).map(|_| vector()).collect();
    for metric in METRICS {
        let longest = vectors.iter().map(|x| dot(x, x)).fold(0.0, f64::max).sqrt();
        let codec = Codec::new(metric, dims, 1, &[], longest as f32);
        let stored: Vec<Stored> = vectors.iter().map(|x| Stored::new(&codec, x)).collect();
        for (quantizer, least) in [
            (Quantizer::Rabitq1, 0.8),
            (Quantizer::Rabitq2, 0.97),
            (Quantizer::Rabitq3, 0.99),
            (Quantizer::Rabitq4, 0.999),
            (Quantizer::Sq4, 0.999),
            (Quantizer::Rabitq6, 0.999),
            (Quantizer::Sq8, 0.999),
        ] {
            let mut found = 0;
            for q in &queries {
                let query = codec.query(q);
                let order = |distance: &dyn Fn(usize) -> f64| {
                    let mut order: Vec<usize> = (0..vectors.len()).collect();
                    order.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)));
                    order
                };
                let exact: Vec<f64> = vectors.iter().map(|x| exact(metric, x, q)).collect();
                let estimates = stored
                    .iter()
                    .map(|x| x.estimate(&codec, &query, quantizer, dims));
                let estimates: Vec<f32> = estimates.collect();
                let nearest = order(&|i| exact[i]);
                let best = order(&|i| estimates[i] as f64);
                found += nearest[..10]
                    .iter()
                    .filter(|i| best[..50].contains(i))
                    .count();
            }
            let recall = found as f64 / (10 * queries.len()) as f64;
            assert!(recall >= least, "{metric:?} {quantizer:?}: {recall}");
        }
    }
}

fn bytes(len: usize) -> impl Strategy<Value = Vec<i8>> {
    prop::collection::vec(-127i8..=127, len)
}

/// A query's bytes, the dimensions of codes and codes for it.
fn batches() -> impl Strategy<Value = (Vec<i8>, usize, Vec<u8>, usize)> {
    (1usize..700, 0usize..40, 0..QUANTIZERS.len()).prop_flat_map(|(dims, count, which)| {
        let len = QUANTIZERS[which].code_len(dims);
        (
            bytes(dims.next_multiple_of(64)),
            Just(dims),
            prop::collection::vec(any::<u8>(), count * len),
            Just(which),
        )
    })
}

proptest! {
    #[test]
    fn products_of_codes_are_exact_on_every_path(
        (a, b) in (0usize..1200).prop_flat_map(|len| (bytes(len), bytes(len)))
    ) {
        let exact: i32 = a.iter().zip(&b).map(|(&a, &b)| a as i32 * b as i32).sum();
        let sum = b.iter().map(|&b| b as i32).sum();
        for isa in Isa::available() {
            prop_assert_eq!(kernels::dot(isa, &a, &b, sum), exact, "{:?}", isa);
        }
    }

    #[test]
    fn products_of_one_code_with_many_are_those_with_each(
        (one, many) in (1usize..8, 0usize..12).prop_flat_map(|(blocks, count)| {
            (bytes(64 * blocks), bytes(64 * blocks * count))
        })
    ) {
        let codes = || many.chunks_exact(one.len());
        let sums: Vec<i32> = codes().map(|code| code.iter().map(|&b| b as i32).sum()).collect();
        let product = |code: &[i8]| one.iter().zip(code).map(|(&a, &b)| a as i32 * b as i32).sum();
        let exact: Vec<i32> = codes().map(product).collect();
        for isa in Isa::available() {
            let mut out = vec![0; exact.len()];
            kernels::dots(isa, &one, &many, &sums, &mut out);
            prop_assert_eq!(&out, &exact, "{:?}", isa);
        }
    }

    #[test]
    fn estimates_are_the_same_bits_on_every_path((mut query, dims, mut codes, which) in batches()) {
        let quantizer = QUANTIZERS[which];
        let len = quantizer.code_len(dims);
        // the dimensions past a code's are any in the query, and zero in the code
        for code in codes.chunks_exact_mut(len) {
            match quantizer.bits() {
                8 => code[dims..].fill(0),
                _ => for plane in code.chunks_exact_mut(len / quantizer.bits()) {
                    for at in dims..dims.next_multiple_of(64) {
                        plane[at / 8] &= !(1 << (at % 8));
                    }
                }
            }
        }
        query[0] = -127;
        let count = codes.len() / len;
        let factors: Vec<f32> = (0..count).map(|i| 0.3 + i as f32 * 1.7).collect();
        let batch = Batch { quantizer, dims, codes: &codes, adds: &factors, scales: &factors };
        let sum: i32 = query[..dims].iter().map(|&i| i as i32).sum();
        let centre = quantizer.centre_of(sum);
        let line = Line { base: 1.1, offset: -0.7, scale: 0.013, centre };
        let expected: Vec<f32> = codes.chunks_exact(len).zip(&factors).map(|(code, &f)| {
            let grid = grid(quantizer, dims, code);
            let product: f64 = grid.iter().zip(&query).map(|(g, &q)| g * q as f64).sum();
            (line.base + f + line.offset) - (f * line.scale) * (2.0 * product) as f32
        }).collect();
        for isa in Isa::available() {
            let (mut planes, mut turned) = (Vec::new(), Vec::new());
            kernels::prepare(isa, &query, &mut planes, &mut turned);
            let query = QueryCode { bytes: &query, planes: &planes, turned: &turned };
            let mut out = vec![f32::NAN; count];
            kernels::estimate(isa, query, batch, line, &mut out);
            prop_assert_eq!(&out, &expected, "{:?}", isa);
        }
    }

    #[test]
    fn sums_of_the_longest_codes_do_not_overflow(
        dims in 4_000usize..16_001,
        which in 0..QUANTIZERS.len(),
        of_query in prop::sample::select(vec![-127i8, 127]),
    ) {
        let quantizer = QUANTIZERS[which];
        // the largest numbers of all dimensions
        let mut code = vec![0; quantizer.code_len(dims)];
        match quantizer.bits() {
            8 => code[..dims].fill(127),
            bits => {
                let len = code.len() / bits;
                for plane in code.chunks_exact_mut(len) {
                    for at in 0..dims {
                        plane[at / 8] |= 1 << (at % 8);
                    }
                }
            }
        }
        let query = vec![of_query; dims.next_multiple_of(64)];
        let largest = (1 << quantizer.bits()) - 1;
        let product = largest * of_query as i32 * dims as i32;
        let batch = Batch { quantizer, dims, codes: &code, adds: &[0.0], scales: &[1.0] };
        let line = Line { base: 0.0, offset: 0.0, scale: 1.0, centre: 0 };
        for isa in Isa::available() {
            let (mut planes, mut turned) = (Vec::new(), Vec::new());
            kernels::prepare(isa, &query, &mut planes, &mut turned);
            let query = QueryCode { bytes: &query, planes: &planes, turned: &turned };
            let mut out = [f32::NAN];
            kernels::estimate(isa, query, batch, line, &mut out);
            prop_assert_eq!(out[0], line.at(0.0, 1.0, product), "{:?}", isa);
        }
    }

    #[test]
    fn encoding_gives_the_same_bits_on_every_path(dims in 1usize..700, which in 0usize..3, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let codec = Codec::new(METRICS[which], dims, seed, &normal(&mut random, dims), 9.0);
        let x = normal(&mut random, dims);
        let encoded = |isa| {
            let mut code = vec![0; dims];
            (codec::encode(isa, &codec, &x, &mut Vec::new(), &mut code), code)
        };
        let query = |isa| {
            let mut query = Query::default();
            query::reset(isa, &mut query, &codec, &x);
            // these are there only where they are read
            query.planes.clear();
            query.turned.clear();
            query.bytewise.forget_what_kernels_want();
            format!("{query:?}")
        };
        let (first, first_query) = (encoded(Isa::Portable), query(Isa::Portable));
        for isa in Isa::available() {
            prop_assert_eq!(encoded(isa), first.clone(), "{:?}", isa);
            prop_assert_eq!(query(isa), first_query.clone(), "{:?}", isa);
        }
    }

    #[test]
    fn nothing_is_ever_nan_or_infinite(
        dims in 1usize..80,
        exponents in prop::array::uniform4(-44i32..=38),
        which in 0usize..3,
        with_centroid: bool,
        seed: u64,
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut vector = |exponent: i32| -> Vec<f32> {
            let size = 10f64.powi(exponent);
            (0..dims).map(|_| ((random.f64() * 2.0 - 1.0) * size) as f32).collect()
        };
        let [a, b, centroid] = [0, 1, 2].map(|i| vector(exponents[i]));
        let centroid = if with_centroid { &centroid[..] } else { &[] };
        let reach = 10f64.powi(exponents[3]) as f32;
        let codec = Codec::new(METRICS[which], dims, seed, centroid, reach);
        let (a, b) = (Stored::new(&codec, &a), (Stored::new(&codec, &b), b));
        let (b, raw) = b;
        for factors in [a.factors, b.factors] {
            prop_assert!(factors.add.is_finite() && factors.scale.is_finite());
            prop_assert!(factors.error.is_finite(), "{:?}", factors);
        }
        prop_assert!(codec.distance(a.as_ref(), b.as_ref()).is_finite());
        for query in [codec.query(&raw), codec.query_of(b.as_ref())] {
            prop_assert!(query.distance(a.as_ref()).is_finite());
            prop_assert!(query.error_bound(a.as_ref()).is_finite());
            for quantizer in QUANTIZERS {
                prop_assert!(a.estimate(&codec, &query, quantizer, dims).is_finite());
            }
        }
    }

    #[test]
    fn lengths_at_the_edges_of_f32_keep_their_bound(exponent in -30i32..=30, dims in 50usize..200, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let size = 10f32.powi(exponent);
        let [a, b] = [(); 2].map(|()| scaled(&normal(&mut random, dims), size));
        // of these, only the cosine has a result that f32 can hold at any size
        let codec = Codec::new(Metric::Cosine, dims, seed, &[], 0.0);
        let query = codec.query(&a);
        let stored = Stored::new(&codec, &b);
        let wanted = query.internal(exact(Metric::Cosine, &a, &b));
        let bound = query.error_bound(stored.as_ref());
        prop_assert!((query.distance(stored.as_ref()) - wanted).abs() <= bound);
        if (-16..=16).contains(&exponent) {
            let codec = Codec::new(Metric::L2, dims, seed, &[], 0.0);
            let query = codec.query(&a);
            let stored = Stored::new(&codec, &b);
            let wanted = query.internal(exact(Metric::L2, &a, &b));
            let bound = query.error_bound(stored.as_ref());
            prop_assert!((query.distance(stored.as_ref()) - wanted).abs() <= bound);
        }
    }
}
