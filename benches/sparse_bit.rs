//! Kernels over sparse vectors and bit strings. `cargo bench --bench sparse_bit`
#![allow(missing_docs, reason = "criterion_group! makes a public function")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use vectorext::distance::{bit, sparse};
use vectorext::vector::SparseRef;

type Kernel = fn(SparseRef<'_>, SparseRef<'_>) -> f64;

struct Owned {
    indices: Vec<i32>,
    values: Vec<f32>,
}

impl Owned {
    /// `nnz` elements among `dims` positions, small positions more often, as in term vectors.
    fn random(nnz: usize, dims: i32) -> Self {
        let mut indices = std::collections::BTreeSet::new();
        while indices.len() < nnz {
            indices.insert((fastrand::f64().powi(2) * dims as f64) as i32);
        }
        Owned {
            values: indices.iter().map(|_| fastrand::f32() + 0.01).collect(),
            indices: indices.into_iter().collect(),
        }
    }

    fn view(&self) -> SparseRef<'_> {
        SparseRef {
            dims: 30_522,
            indices: &self.indices,
            values: &self.values,
        }
    }
}

fn reference_inner_product(a: SparseRef<'_>, b: SparseRef<'_>) -> f32 {
    let (mut i, mut j, mut sum) = (0, 0, 0.0);
    while i < a.indices.len() && j < b.indices.len() {
        let (x, y) = (a.indices[i], b.indices[j]);
        if x == y {
            sum += a.values[i] * b.values[j];
        }
        i += (x <= y) as usize;
        j += (y <= x) as usize;
    }
    sum
}

fn sparse_kernels(c: &mut Criterion) {
    fastrand::seed(1);
    for (short, long) in [(8, 64), (32, 128), (128, 128), (400, 400), (16, 8000)] {
        let mut group = c.benchmark_group(format!("sparse/{short}x{long}"));
        // many pairs: one pair alone would teach the branch predictor all its branches
        let pairs: Vec<_> = (0..256)
            .map(|_| (Owned::random(short, 30_522), Owned::random(long, 30_522)))
            .collect();
        group.throughput(Throughput::Elements(1));
        let kernels: [(&str, Kernel); 5] = [
            ("merge ip", |a, b| reference_inner_product(a, b) as f64),
            ("ip", |a, b| sparse::inner_product(a, b) as f64),
            ("cosine", sparse::cosine_distance),
            ("l2", |a, b| sparse::l2_squared(a, b) as f64),
            ("l1", |a, b| sparse::l1(a, b) as f64),
        ];
        for (name, kernel) in kernels {
            let mut next = 0;
            group.bench_function(name, |bench| {
                bench.iter(|| {
                    next = (next + 1) % pairs.len();
                    let (a, b) = &pairs[next];
                    kernel(black_box(a.view()), black_box(b.view()))
                })
            });
        }
        group.finish();
    }
}

fn bit_kernels(c: &mut Criterion) {
    fastrand::seed(1);
    for bits in [128usize, 384, 1024, 1536, 64_000] {
        let mut group = c.benchmark_group("bit");
        let bytes = |_| -> Vec<u8> { (0..bits / 8).map(|_| fastrand::u8(..)).collect() };
        let (a, b) = (bytes(0), bytes(1));
        group.bench_function(BenchmarkId::new("hamming", bits), |bench| {
            bench.iter(|| bit::hamming(black_box(&a), black_box(&b)))
        });
        group.bench_function(BenchmarkId::new("hamming simsimd", bits), |bench| {
            bench.iter(|| <u8 as simsimd::BinarySimilarity>::hamming(black_box(&a), black_box(&b)))
        });
        group.bench_function(BenchmarkId::new("jaccard", bits), |bench| {
            bench.iter(|| bit::jaccard(black_box(&a), black_box(&b)))
        });
        group.bench_function(BenchmarkId::new("jaccard simsimd", bits), |bench| {
            bench.iter(|| <u8 as simsimd::BinarySimilarity>::jaccard(black_box(&a), black_box(&b)))
        });
        group.finish();
    }
}

criterion_group!(benches, sparse_kernels, bit_kernels);
criterion_main!(benches);
