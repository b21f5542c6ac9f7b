//! Time of encoding, of products of codes and of estimates. `cargo bench --bench quantize`
#![allow(missing_docs, reason = "criterion_group! makes a public function")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use simsimd::SpatialSimilarity;
use std::hint::black_box;
use std::time::Duration;
use vectorext::distance::Metric;
use vectorext::quantize::{Codec, Compact, CompactRef, Quantizer, Query};

/// Neighbours of a node.
const NEIGHBOURS: usize = 32;
const DIMS: [usize; 4] = [128, 384, 768, 1536];

struct Stored {
    factors: Compact,
    code: Vec<i8>,
}

impl Stored {
    fn as_ref(&self) -> CompactRef<'_> {
        CompactRef {
            factors: self.factors,
            code: &self.code,
        }
    }
}

fn vectors(dims: usize) -> Vec<Vec<f32>> {
    let mut random = fastrand::Rng::with_seed(1);
    (0..NEIGHBOURS)
        .map(|_| (0..dims).map(|_| random.f32() * 2.0 - 1.0).collect())
        .collect()
}

fn codec(dims: usize) -> Codec {
    Codec::new(Metric::Cosine, dims, 1, &vec![0.01; dims], 1.0)
}

fn store(codec: &Codec, vectors: &[Vec<f32>]) -> Vec<Stored> {
    let mut scratch = Vec::new();
    let store = |x: &Vec<f32>| {
        let mut code = vec![0; x.len()];
        let factors = codec.encode(x, &mut scratch, &mut code);
        Stored { factors, code }
    };
    vectors.iter().map(store).collect()
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("from a vector");
    group
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    for dims in [128, 384, 768, 1000, 1536, 3072] {
        let codec = codec(dims);
        let x = &vectors(dims)[0];
        let (mut scratch, mut code) = (Vec::new(), vec![0; dims]);
        group.bench_function(BenchmarkId::new("encode", dims), |b| {
            b.iter(|| codec.encode(black_box(x), &mut scratch, &mut code))
        });
        let mut query = Query::default();
        group.bench_function(BenchmarkId::new("query", dims), |b| {
            b.iter(|| query.reset(&codec, black_box(x)))
        });
    }
}

fn product(c: &mut Criterion) {
    let mut group = c.benchmark_group("distance");
    group
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    for dims in DIMS {
        let codec = codec(dims);
        let stored = store(&codec, &vectors(dims));
        let query = codec.query_of(stored[0].as_ref());
        let mut next = 0;
        group.bench_function(BenchmarkId::new("of codes", dims), |b| {
            b.iter(|| {
                next = (next + 1) % NEIGHBOURS;
                codec.distance(black_box(stored[0].as_ref()), stored[next].as_ref())
            })
        });
        group.bench_function(BenchmarkId::new("of a query", dims), |b| {
            b.iter(|| {
                next = (next + 1) % NEIGHBOURS;
                black_box(&query).distance(stored[next].as_ref())
            })
        });
        group.bench_function(BenchmarkId::new("simsimd i8 dot", dims), |b| {
            b.iter(|| {
                next = (next + 1) % NEIGHBOURS;
                i8::dot(black_box(&stored[0].code), &stored[next].code)
            })
        });
    }
}

fn inline(c: &mut Criterion) {
    for quantizer in [
        Quantizer::Rabitq1,
        Quantizer::Rabitq2,
        Quantizer::Rabitq4,
        Quantizer::Sq8,
    ] {
        let mut group = c.benchmark_group(quantizer.name());
        group
            .warm_up_time(Duration::from_millis(200))
            .measurement_time(Duration::from_millis(800));
        for dims in DIMS {
            let codec = codec(dims);
            let vectors = vectors(dims);
            let len = quantizer.code_len(dims);
            let mut codes = vec![0; NEIGHBOURS * len];
            let (mut adds, mut scales) = (Vec::new(), Vec::new());
            let stored = store(&codec, &vectors);
            for (stored, code) in stored.iter().zip(codes.chunks_exact_mut(len)) {
                let factors = codec.quantize(stored.as_ref(), quantizer, dims, code);
                adds.push(factors.add);
                scales.push(factors.scale);
            }
            let query = codec.query(&vectors[1]);
            let mut out = [0.0; NEIGHBOURS];
            group.bench_function(BenchmarkId::new("estimate 32", dims), |b| {
                b.iter(|| {
                    let codes = black_box(&codes);
                    query.estimate(quantizer, dims, codes, &adds, &scales, &mut out);
                    out[0]
                })
            });
            let code = &mut codes[..len];
            group.bench_function(BenchmarkId::new("quantize", dims), |b| {
                b.iter(|| codec.quantize(black_box(stored[0].as_ref()), quantizer, dims, code))
            });
        }
    }
}

criterion_group!(benches, encode, product, inline);
criterion_main!(benches);
