//! What is promised of codes relative to a list's centroid.

use super::tests::{METRICS, QUANTIZERS, Stored, exact, normal};
use super::*;
use crate::cluster::{Alone, Threads};
use crate::distance::Metric;
use crate::distance::lanes::Isa;
use proptest::prelude::*;

/// A list: its centroid's factors and bytes.
struct List {
    factors: Centre,
    code: Vec<i8>,
}

impl List {
    fn at(codec: &Codec, x: &[f32]) -> List {
        let mut point = Rotated::default();
        codec.rotate(x, &mut point);
        let mut code = vec![0; codec.dims()];
        let factors = codec.centre(&point, &mut code);
        List { factors, code }
    }

    fn as_ref(&self) -> CentreRef<'_> {
        CentreRef {
            factors: self.factors,
            code: &self.code,
        }
    }

    fn encode(&self, codec: &Codec, x: &[f32], quantizer: Quantizer) -> (ListFactors, Vec<u8>) {
        let mut row = Rotated::default();
        codec.rotate(x, &mut row);
        let mut out = vec![0xa5; quantizer.code_len(codec.dims())];
        let mut encoder = ListEncoder::default();
        let factors = codec.encode_in(self.as_ref(), &row, quantizer, &mut encoder, &mut out);
        (factors, out)
    }
}

fn mixed(a: &[f32], b: &[f32], share: f32) -> Vec<f32> {
    let pairs = a.iter().zip(b);
    pairs.map(|(a, b)| (1.0 - share) * a + share * b).collect()
}

fn estimate(query: &Query, base: Base, q: Quantizer, f: ListFactors, code: &[u8]) -> f32 {
    let mut out = [f32::NAN];
    query.estimate_in(base, q, code, &[f.add], &[f.scale], &mut out);
    out[0]
}

/// Over seeds and vectors, an estimate less the exact distance, in the deviations that factors and base
/// foretell, has mean zero and deviation one; hardly any row is nearer than its lower bound.
#[test]
fn list_estimates_are_unbiased_and_deviate_as_foretold() {
    let dims = 200;
    for metric in METRICS {
        for quantizer in QUANTIZERS {
            let mut random = fastrand::Rng::with_seed(11);
            let (mut errors, mut below) = (Vec::new(), 0);
            for seed in 0..1000 {
                let [centroid, centre, x, q] = [(); 4].map(|()| normal(&mut random, dims));
                // the index's centroid is among the lists, the query somewhere between list and row
                let centroid: Vec<f32> = centroid.iter().map(|c| 0.3 * c).collect();
                let x = mixed(&centre, &x, 0.6);
                let q = mixed(&x, &mixed(&q, &centre, 0.3), 0.6);
                let of_codec = match metric {
                    Metric::Cosine => centroid.iter().map(|c| c / 14.0).collect(),
                    _ => centroid.clone(),
                };
                let codec = Codec::new(metric, dims, seed, &of_codec, 15.0);
                let list = List::at(&codec, &centre);
                let query = codec.query(&q);
                let base = query.base(list.as_ref());
                let (factors, code) = list.encode(&codec, &x, quantizer);
                let got = estimate(&query, base, quantizer, factors, &code);
                let wanted = query.internal(exact(metric, &x, &q));
                let deviation = base.span * factors.error + base.slack;
                errors.push(((got - wanted) / deviation) as f64);
                below += (wanted < base.lower(got, factors.error)) as usize;
            }
            let n = errors.len() as f64;
            let mean = errors.iter().sum::<f64>() / n;
            let deviation = (errors.iter().map(|e| e * e).sum::<f64>() / n).sqrt();
            let label = format!("{metric:?} {quantizer:?}: {mean} {deviation} {below}");
            assert!(mean.abs() < 4.0 * deviation / n.sqrt(), "{label}");
            assert!(deviation < 1.1, "{label}");
            // the query's own part is foretold generously, and for many bits it is all there is
            // and the angle between the query and the residual takes its sine off
            let least = if quantizer.bits() <= 4 { 0.4 } else { 0.1 };
            assert!(deviation > least, "{label}");
            assert!(below <= 45, "{label}");
        }
    }
}

#[test]
fn a_centroid_scanned_as_a_code_gives_the_same_base() {
    let mut random = fastrand::Rng::with_seed(12);
    for metric in METRICS {
        for dims in [1, 3, 64, 100, 384] {
            let codec = Codec::new(metric, dims, 5, &normal(&mut random, dims), 3.0);
            let q = normal(&mut random, dims);
            let query = codec.query(&q);
            let list = List::at(&codec, &normal(&mut random, dims));
            let base = query.base(list.as_ref());
            let mut code: Vec<u8> = list.code.iter().map(|&i| i as u8).collect();
            code.resize(Quantizer::Sq8.code_len(dims), 0);
            let mut out = [0.0];
            let (adds, scales) = ([list.factors.add], [list.factors.scale]);
            query.estimate(Quantizer::Sq8, dims, &code, &adds, &scales, &mut out);
            assert_eq!(out[0], base.distance, "{metric:?} {dims}");
            let again = query.base_at(out[0], list.factors.add, list.factors.norm);
            assert_eq!(again, base, "{metric:?} {dims}");
        }
    }
}

/// base, add and the product make the exact distance where the grid has the residual exactly: with the
/// centroid itself as a row nothing is left to estimate.
#[test]
fn a_row_at_its_centroid_is_at_the_distance_of_the_list() {
    let mut random = fastrand::Rng::with_seed(13);
    for metric in METRICS {
        for quantizer in QUANTIZERS {
            let dims = 130;
            let codec = Codec::new(metric, dims, 5, &normal(&mut random, dims), 3.0);
            let list = List::at(&codec, &normal(&mut random, dims));
            let query = codec.query(&normal(&mut random, dims));
            let base = query.base(list.as_ref());
            let mut row = Rotated::default();
            let centre = CompactRef {
                factors: Compact {
                    scale: list.factors.scale,
                    ..Compact::default()
                },
                code: &list.code,
            };
            codec.decode(centre, &mut row);
            let mut out = vec![0; quantizer.code_len(dims)];
            let mut encoder = ListEncoder::default();
            let factors = codec.encode_in(list.as_ref(), &row, quantizer, &mut encoder, &mut out);
            let got = estimate(&query, base, quantizer, factors, &out);
            let size = base.distance.abs() + base.span * base.span;
            assert!((got - base.distance).abs() < 1e-5 * size, "{metric:?}");
            assert!(base.span * factors.error < 1e-5 * size, "{metric:?}");
        }
    }
}

#[test]
fn rotating_first_gives_the_same_compact_code() {
    let mut random = fastrand::Rng::with_seed(14);
    for metric in METRICS {
        let dims = 100;
        let codec = Codec::new(metric, dims, 1, &normal(&mut random, dims), 3.0);
        for size in [1e-30f32, 1.0, 1e30] {
            let x: Vec<f32> = normal(&mut random, dims).iter().map(|x| x * size).collect();
            let (mut one, mut other) = (vec![0; dims], vec![0; dims]);
            let expected = codec.encode(&x, &mut Vec::new(), &mut one);
            let mut row = Rotated::default();
            codec.rotate(&x, &mut row);
            assert_eq!(codec.encode_rotated(&row, &mut other), expected);
            assert_eq!(one, other);
        }
    }
}

proptest! {
    #[test]
    fn list_codes_are_the_same_bits_on_every_path(
        dims in 1usize..300, which in 0usize..3, quantizer in 0..QUANTIZERS.len(), seed: u64,
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let codec = Codec::new(METRICS[which], dims, seed, &normal(&mut random, dims), 9.0);
        let list = List::at(&codec, &normal(&mut random, dims));
        let x = normal(&mut random, dims);
        let made = |isa| {
            let mut row = Rotated::default();
            list::rotate(isa, &codec, &x, &mut row);
            let mut encoder = ListEncoder::default();
            let quantizer = QUANTIZERS[quantizer];
            let f = list::encode_in(isa, &codec, list.as_ref(), &row, quantizer, &mut encoder);
            (f, format!("{row:?} {encoder:?}"))
        };
        let first = made(Isa::Portable);
        for isa in Isa::available() {
            prop_assert_eq!(made(isa), first.clone(), "{:?}", isa);
        }
    }

    #[test]
    fn nothing_of_a_list_is_ever_nan_or_infinite(
        dims in 1usize..80,
        exponents in prop::array::uniform5(-44i32..=38),
        which in 0usize..3,
        seed: u64,
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut vector = |exponent: i32| -> Vec<f32> {
            let size = 10f64.powi(exponent);
            (0..dims).map(|_| ((random.f64() * 2.0 - 1.0) * size) as f32).collect()
        };
        let [x, q, centre, centroid] = [0, 1, 2, 3].map(|i| vector(exponents[i]));
        let reach = 10f64.powi(exponents[4]) as f32;
        let codec = Codec::new(METRICS[which], dims, seed, &centroid, reach);
        let list = List::at(&codec, &centre);
        prop_assert!(list.factors.add.is_finite() && list.factors.norm.is_finite());
        let query = codec.query(&q);
        let base = query.base(list.as_ref());
        prop_assert!(base.distance.is_finite() && base.span.is_finite(), "{:?}", base);
        prop_assert!(base.slack.is_finite(), "{:?}", base);
        for quantizer in QUANTIZERS {
            let (f, code) = list.encode(&codec, &x, quantizer);
            prop_assert!(f.add.is_finite() && f.scale.is_finite(), "{:?}", f);
            prop_assert!(f.error.is_finite(), "{:?}", f);
            prop_assert!(estimate(&query, base, quantizer, f, &code).is_finite());
        }
    }
}

proptest! {
    #[test]
    fn codes_and_codebooks_of_any_bytes_are_estimated_from_without_harm(
        dims in 1usize..150, which in 0usize..3, coding in 0..QUANTIZERS.len() + 3, seed: u64,
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let codec = Codec::new(METRICS[which], dims, seed, &normal(&mut random, dims), 9.0);
        let list = List::at(&codec, &normal(&mut random, dims));
        let book = |random: &mut fastrand::Rng, bits: usize| {
            let shape = PqShape::new(dims, random.usize(1..=dims), bits).unwrap();
            // with even bytes no float is infinite, which is refused, as another test shows
            let bytes: Vec<u8> = (0..shape.codebook_len()).map(|_| random.u8(..) & 0xfe).collect();
            Coding::Pq(Codebook::from_bytes(shape, &bytes).unwrap())
        };
        let coding = match coding.checked_sub(QUANTIZERS.len()) {
            None => Coding::Grid(QUANTIZERS[coding]),
            Some(0) => Coding::Binary,
            Some(n) => book(&mut random, 4 * n),
        };
        let query = codec.query(&normal(&mut random, dims));
        let base = query.base(list.as_ref());
        let mut lookup = Lookup::default();
        coding.prepare(&query, &mut lookup);
        coding.enter(&query, list.as_ref(), &mut lookup);
        let rows = random.usize(..40);
        let codes: Vec<u8> = (0..rows * coding.code_len(dims)).map(|_| random.u8(..)).collect();
        // as they come from a page: any bits
        let factors: Vec<f32> = (0..rows).map(|_| f32::from_bits(random.u32(..))).collect();
        let mut out = vec![0.0; rows];
        let of = Lookups { query: &query, lookup: &lookup, base };
        coding.estimate(of, &codes, &factors, &factors, &mut out);
        // a compact code of any bytes
        let code: Vec<i8> = (0..dims).map(|_| random.i8(..)).collect();
        let factors = crate::quantize::Compact {
            add: f32::from_bits(random.u32(..)),
            scale: f32::from_bits(random.u32(..)),
            error: f32::from_bits(random.u32(..)),
            sum: random.i32(..),
        };
        let compact = crate::quantize::CompactRef { factors, code: &code };
        let _ = (query.distance(compact), query.error_bound(compact), codec.distance(compact, compact));
        let mut decoded = Rotated::default();
        codec.decode(compact, &mut decoded);
        let mut made = vec![0; coding.code_len(dims)];
        coding.encode(&codec, list.as_ref(), &decoded, &mut ListEncoder::default(), &mut made);
    }
}

/// A codebook for residuals like those of the tests: normal ones.
fn codebook(dims: usize, segments: usize, bits: usize) -> Codebook {
    codebook_of_length(0.6, dims, segments, bits)
}

fn codebook_of_length(length: f32, dims: usize, segments: usize, bits: usize) -> Codebook {
    let mut random = fastrand::Rng::with_seed(21);
    let rows = (0..2000).flat_map(|_| normal(&mut random, dims));
    let residuals: Vec<f32> = rows.map(|x| length * x).collect();
    let shape = PqShape::new(dims, segments, bits).unwrap();
    Codebook::train(shape, &residuals, 1, &mut Alone)
}

/// A coding's estimates for fifty rows of a list: error, in the deviations foretold.
fn errors_in_a_list(coding: &Coding, metric: Metric, dims: usize, seed: u64) -> Vec<f64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let unit = (dims as f32).sqrt().recip();
    let codec = Codec::new(metric, dims, seed, &vec![0.2 * unit; dims], 9.0);
    let mut near = |centre: &[f32], by: f32| mixed(centre, &normal(&mut random, dims), by);
    let centre = near(&vec![0.0; dims], 1.0);
    let list = List::at(&codec, &centre);
    let q = near(&centre, 0.5);
    let query = codec.query(&q);
    let base = query.base(list.as_ref());
    let mut lookup = Lookup::default();
    coding.prepare(&query, &mut lookup);
    coding.enter(&query, list.as_ref(), &mut lookup);
    let len = coding.code_len(dims);
    let mut codes = vec![0xa5; 50 * len];
    let mut encoder = ListEncoder::default();
    let (mut adds, mut scales, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
    for code in codes.chunks_exact_mut(len) {
        let x = near(&centre, 0.6);
        let mut row = Rotated::default();
        codec.rotate(&x, &mut row);
        let f = coding.encode(&codec, list.as_ref(), &row, &mut encoder, code);
        adds.push(f.add);
        scales.push(f.scale);
        let deviation = base.span * f.error + base.slack;
        wanted.push((query.internal(exact(metric, &x, &q)), deviation));
    }
    let mut out = vec![f32::NAN; 50];
    let of = Lookups {
        query: &query,
        lookup: &lookup,
        base,
    };
    coding.estimate(of, &codes, &adds, &scales, &mut out);
    let pairs = out.iter().zip(wanted);
    pairs
        .map(|(got, (wanted, deviation))| ((got - wanted) / deviation) as f64)
        .collect()
}

#[test]
fn codebooks_and_signs_estimate_as_they_foretell() {
    let dims = 60;
    let codings = [
        Coding::Binary,
        Coding::Grid(Quantizer::Rabitq3),
        Coding::Pq(codebook(dims, 15, 8)),
        Coding::Pq(codebook(dims, 30, 4)),
        Coding::Pq(codebook(dims, 7, 8)),
        Coding::Pq(codebook(dims, 13, 4)),
    ];
    for metric in METRICS {
        for coding in &codings {
            let runs = (0..60).flat_map(|seed| errors_in_a_list(coding, metric, dims, seed));
            let errors: Vec<f64> = runs.collect();
            let n = errors.len() as f64;
            let mean = errors.iter().sum::<f64>() / n;
            let deviation = (errors.iter().map(|e| e * e).sum::<f64>() / n).sqrt();
            let label = format!("{metric:?} {} {mean} {deviation}", coding.name());
            // rows of one list share a query: their errors are not independent
            assert!(mean.abs() < 0.25, "{label}");
            assert!((0.3..1.4).contains(&deviation), "{label}");
        }
    }
}

/// What a node keeps of a neighbour: in lengths of query and row, so many hundredths off.
#[test]
fn inline_codes_of_segments_and_signs_estimate_distances() {
    let dims = 64;
    let kinds = [
        (Quantizer::Binary, dims, 0.06..0.22),
        (Quantizer::Pq8, 16, 0.02..0.1),
        (Quantizer::Pq8, 13, 0.02..0.12),
        (Quantizer::Pq4, 31, 0.02..0.12),
    ];
    for metric in METRICS {
        for (quantizer, segments, expected) in &kinds {
            let length = match metric {
                Metric::Cosine => (dims as f32).sqrt().recip(),
                _ => 1.0,
            };
            let book = quantizer
                .is_pq()
                .then(|| codebook_of_length(length, dims, *segments, quantizer.bits()));
            let mut random = fastrand::Rng::with_seed(3);
            let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
            for seed in 0..40 {
                let mut codec = Codec::new(metric, dims, seed, &[], 8.0);
                if let Some(book) = &book {
                    codec = codec.with_codebook(book.clone());
                }
                let query = codec.query(&normal(&mut random, dims));
                for _ in 0..20 {
                    let stored = Stored::new(&codec, &normal(&mut random, dims));
                    let length = codec.query_of(stored.as_ref()).norm();
                    let wanted = query.distance(stored.as_ref());
                    let got = stored.estimate(&codec, &query, *quantizer, *segments);
                    let error = ((got - wanted) / (2.0 * query.norm() * length)) as f64;
                    (sum, squares, count) = (sum + error, squares + error * error, count + 1.0);
                }
            }
            let (mean, deviation): (f64, f64) = (sum / count, (squares / count).sqrt());
            let label = format!("{metric:?} {quantizer:?} {segments}: {mean} {deviation}");
            assert!(mean.abs() < 4.0 * deviation / f64::sqrt(count), "{label}");
            assert!(expected.contains(&deviation), "{label}");
        }
    }
}

#[test]
fn a_vector_at_the_centroid_has_a_code_of_segments() {
    let codec = Codec::new(Metric::L2, 24, 1, &[], 0.0).with_codebook(codebook(24, 6, 8));
    let stored = Stored::new(&codec, &[0.0; 24]);
    let query = codec.query(&[1.0; 24]);
    let got = stored.estimate(&codec, &query, Quantizer::Pq8, 6);
    assert!((got - 24.0).abs() < 0.5, "{got}");
}

#[test]
fn a_codebook_reads_back_and_refuses_what_is_none() {
    for (dims, segments, bits) in [(60, 7, 8), (5, 5, 4), (64, 1, 4), (30, 13, 4)] {
        let book = codebook(dims, segments, bits);
        let shape = book.shape();
        let bytes = book.to_bytes();
        let again = Codebook::from_bytes(shape, &bytes).unwrap();
        assert_eq!(format!("{again:?}"), format!("{book:?}"));
        let short = Codebook::from_bytes(shape, &bytes[1..]);
        assert_eq!(
            short.unwrap_err(),
            BadPq::Bytes(bytes.len() - 1, bytes.len())
        );
        let mut damaged = bytes;
        damaged[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        let damaged = Codebook::from_bytes(shape, &damaged);
        assert_eq!(damaged.unwrap_err(), BadPq::Scale);
    }
    assert_eq!(PqShape::new(8, 2, 5), Err(BadPq::Bits(5)));
    for segments in [0, 9] {
        let bad = BadPq::Segments { segments, dims: 8 };
        assert_eq!(PqShape::new(8, segments, 8), Err(bad));
    }
}

#[test]
fn a_codebook_is_the_same_whatever_the_number_of_threads() {
    let residuals: Vec<f32> = (0..3000).map(|i| (i * i % 101) as f32).collect();
    let shape = PqShape::new(12, 3, 4).unwrap();
    let one = Codebook::train(shape, &residuals, 5, &mut Alone);
    let three = Codebook::train(shape, &residuals, 5, &mut Threads(3));
    assert_eq!(one.to_bytes(), three.to_bytes());
}
