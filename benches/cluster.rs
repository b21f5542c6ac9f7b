//! Products of bytes for each second of assignment, k-means, splits. `cargo bench --bench cluster`
#![allow(missing_docs, reason = "criterion_group! makes a public function")]

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;
use vectorext::cluster::{Alone, Lists, Rows, Training, split, train};

/// Processor time of this thread, so that other work on the machine is not measured.
struct ProcessorTime(WallTime);

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the clock writes to the structure given.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self.0.formatter()
    }
}

fn rows(dims: usize, count: usize) -> Rows {
    let mut random = fastrand::Rng::with_seed(1);
    let mut rows = Rows::new(dims);
    for _ in 0..count {
        let point: Vec<f32> = (0..dims).map(|_| random.f32() - 0.5).collect();
        rows.push_point(&point);
    }
    rows
}

/// What the processor can do at most: as many products of bytes as instructions in a row, on registers.
#[cfg(target_arch = "x86_64")]
mod peak {
    use std::arch::x86_64::*;

    /// Instructions of a call.
    pub const COUNT: u64 = 24 * 1024;

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub fn vnni() -> i32 {
        let mut sums = [_mm512_setzero_si512(); 24];
        let ones = _mm512_set1_epi8(std::hint::black_box(1));
        for _ in 0..COUNT / 24 {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, ones, ones);
            }
        }
        sums.iter().map(|&sum| _mm512_reduce_add_epi32(sum)).sum()
    }
}

fn assignment(c: &mut Criterion<ProcessorTime>) {
    let mut group = c.benchmark_group("assignment, one thread, products of bytes");
    group
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(10);
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512vnni") {
        group.throughput(Throughput::Elements(64 * peak::COUNT));
        // SAFETY: just detected; AVX-512F comes with it.
        group.bench_function("peak", |b| b.iter(|| unsafe { peak::vnni() }));
    }
    for (dims, lists) in [(384, 1024), (384, 4096), (1536, 1024)] {
        let (rows, centroids) = (rows(dims, 2400), rows(dims, lists));
        let lists_of = Lists::of(&centroids);
        let products = rows.len() * lists * dims;
        group.throughput(Throughput::Elements(products as u64));
        let id = format!("{dims} x {lists} lists");
        group.bench_function(BenchmarkId::new("nearest", &id), |b| {
            b.iter(|| lists_of.nearest(black_box(&rows), &mut Alone))
        });
        group.bench_function(BenchmarkId::new("nearest two", &id), |b| {
            b.iter(|| lists_of.nearest_two(black_box(&rows), &mut Alone))
        });
    }
}

fn training(c: &mut Criterion<ProcessorTime>) {
    let mut group = c.benchmark_group("training");
    group
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(10);
    let sample = rows(384, 256 * 64);
    let asked = Training {
        lists: 256,
        iterations: 10,
        seed: 1,
        sphere: None,
    };
    group.bench_function("256 lists of 16,384 x 384", |b| {
        b.iter(|| train(black_box(&sample), asked, &mut Alone))
    });
    let list = rows(384, 1000);
    group.bench_function("split of 1,000 x 384", |b| {
        b.iter(|| split(black_box(&list), 1))
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ProcessorTime(WallTime));
    targets = assignment, training
}
criterion_main!(benches);
