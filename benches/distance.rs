//! Time of one distance of dense vectors, by element type, metric and dimensions, beside simsimd's,
//! where it has the metric. `cargo bench --bench distance`

// criterion_group! makes a public function without documentation
#![allow(missing_docs)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use half::{bf16, f16};
use simsimd::SpatialSimilarity;
use std::hint::black_box;
use std::time::Duration;
use vectorext::vector::Element;

/// Vectors to take turns with: many enough that the branch predictor learns no answer, few enough
/// to stay in the second-level cache, as a graph search's hot vectors do.
const VECTORS: usize = 32;

fn vectors<E: Element>(dims: usize) -> Vec<Vec<E>> {
    let mut random = fastrand::Rng::with_seed(1);
    // bytes use their whole range, floats are what most embeddings are
    let reach = if E::has_near(1e3) { 1.0 } else { 127.0 };
    let mut element = || E::narrow((random.f32() * 2.0 - 1.0) * reach);
    (0..VECTORS)
        .map(|_| (0..dims).map(|_| element()).collect())
        .collect()
}

/// An element type of ours as simsimd has it.
trait Peer: Element {
    /// simsimd's type of the same bits.
    type Simsimd: SpatialSimilarity;

    fn theirs(vector: &[Self]) -> &[Self::Simsimd] {
        assert_eq!(size_of::<Self>(), size_of::<Self::Simsimd>());
        // SAFETY: simsimd's types are wrappers of the bits that ours are; the size was checked.
        unsafe { std::slice::from_raw_parts(vector.as_ptr().cast(), vector.len()) }
    }
}

impl Peer for f32 {
    type Simsimd = f32;
}
impl Peer for f16 {
    type Simsimd = simsimd::f16;
}
impl Peer for bf16 {
    type Simsimd = simsimd::bf16;
}
impl Peer for i8 {
    type Simsimd = i8;
}

fn bench<E: Peer>(c: &mut Criterion) {
    type Metric<E> = (&'static str, fn(&[E], &[E]) -> f64);
    let metrics: [Metric<E>; 7] = [
        ("l2_squared", E::l2_squared),
        ("l2_squared simsimd", |a, b| {
            E::Simsimd::l2sq(E::theirs(a), E::theirs(b)).unwrap_or(f64::NAN)
        }),
        ("inner_product", E::inner_product),
        ("inner_product simsimd", |a, b| {
            E::Simsimd::dot(E::theirs(a), E::theirs(b)).unwrap_or(f64::NAN)
        }),
        ("cosine_distance", E::cosine_distance),
        ("cosine_distance simsimd", |a, b| {
            E::Simsimd::cosine(E::theirs(a), E::theirs(b)).unwrap_or(f64::NAN)
        }),
        ("l1", E::l1),
    ];
    for (name, metric) in metrics {
        let mut group = c.benchmark_group(format!("{}/{name}", E::TYPE_NAME));
        group
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1));
        for dims in [128, 384, 768, 1536] {
            let vectors = vectors::<E>(dims);
            let query = &vectors[0];
            let mut next = 0;
            group.throughput(Throughput::Elements(1));
            group.bench_function(BenchmarkId::from_parameter(dims), |bencher| {
                bencher.iter(|| {
                    next = (next + 1) % VECTORS;
                    metric(black_box(query), black_box(&vectors[next]))
                })
            });
        }
    }
}

criterion_group!(
    benches,
    bench::<f32>,
    bench::<f16>,
    bench::<bf16>,
    bench::<i8>
);
criterion_main!(benches);
