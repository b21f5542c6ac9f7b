//! Time of one distance of dense vectors, by metric, element type and dimensions.
//! `cargo bench --bench distance`

// criterion_group! makes a public function without documentation
#![allow(missing_docs)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use half::f16;
use std::hint::black_box;
use std::time::Duration;
use vectorext::vector::Element;

/// Vectors to take turns with: many enough that the branch predictor learns no answer, few enough
/// to stay in the second-level cache, as a graph search's hot vectors do.
const VECTORS: usize = 32;

fn vectors<E: Element>(dims: usize) -> Vec<Vec<E>> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut element = || E::narrow(random.f32() * 2.0 - 1.0);
    (0..VECTORS)
        .map(|_| (0..dims).map(|_| element()).collect())
        .collect()
}

fn bench<E: Element>(c: &mut Criterion) {
    type Metric<E> = (&'static str, fn(&[E], &[E]) -> f64);
    let metrics: [Metric<E>; 4] = [
        ("l2_squared", |a, b| E::l2_squared(a, b) as f64),
        ("inner_product", |a, b| E::inner_product(a, b) as f64),
        ("l1", |a, b| E::l1(a, b) as f64),
        ("cosine_distance", |a, b| E::cosine_distance(a, b)),
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

criterion_group!(benches, bench::<f32>, bench::<f16>);
criterion_main!(benches);
