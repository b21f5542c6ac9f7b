use super::rotation::Rotation;
use super::*;
use crate::distance::Metric;

const METRICS: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];
const QUANTIZERS: [Quantizer; 4] = [
    Quantizer::Rabitq1,
    Quantizer::Rabitq2,
    Quantizer::Rabitq4,
    Quantizer::Sq8,
];

/// A compact code with its bytes.
struct Stored {
    factors: Compact,
    code: Vec<i8>,
}

impl Stored {
    fn new(codec: &Codec, x: &[f32]) -> Self {
        let mut code = vec![0; x.len()];
        let factors = codec.encode(x, &mut Vec::new(), &mut code);
        Stored { factors, code }
    }

    fn as_ref(&self) -> CompactRef<'_> {
        CompactRef {
            factors: self.factors,
            code: &self.code,
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum()
}

/// A vector of about normally distributed components.
fn normal(random: &mut fastrand::Rng, dims: usize) -> Vec<f32> {
    let mut component = || (0..12).map(|_| random.f32()).sum::<f32>() - 6.0;
    (0..dims).map(|_| component()).collect()
}

/// What the operators compute, in f64.
fn exact(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
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
    for dims in [
        1, 2, 3, 5, 63, 100, 384, 768, 1000, 1023, 1536, 3072, 16_000,
    ] {
        let rotation = Rotation::new(dims, 7);
        let (mut a, mut b) = (normal(&mut random, dims), normal(&mut random, dims));
        let before = [dot(&a, &a), dot(&b, &b), dot(&a, &b)];
        rotation.apply(&mut a);
        rotation.apply(&mut b);
        let after = [dot(&a, &a), dot(&b, &b), dot(&a, &b)];
        let size = (before[0] * before[1]).sqrt();
        for (before, after) in before.iter().zip(after) {
            assert!(
                (before - after).abs() < 1e-5 * size,
                "{dims}: {before} {after}"
            );
        }
    }
}

#[test]
fn distances_are_within_their_bound() {
    let mut random = fastrand::Rng::with_seed(2);
    for metric in METRICS {
        for dims in [1, 2, 3, 7, 64, 100, 384, 1000, 1536] {
            let mut centroid = normal(&mut random, dims);
            if metric == Metric::Cosine {
                centroid
                    .iter_mut()
                    .for_each(|c| *c *= 0.3 / (dims as f32).sqrt());
            }
            let codec = Codec::new(metric, dims, 3, &centroid, (dims as f32).sqrt() * 1.1);
            for _ in 0..20 {
                let (a, b) = (normal(&mut random, dims), normal(&mut random, dims));
                let stored = Stored::new(&codec, &a);
                let query = codec.query(&b);
                let wanted = query.internal(exact(metric, &a, &b));
                let got = query.distance(stored.as_ref());
                let bound = query.error_bound(stored.as_ref());
                assert!(
                    (wanted - got).abs() <= bound,
                    "{metric:?} {dims}: {wanted} {got} {bound}"
                );
                let other = Stored::new(&codec, &b);
                let query = codec.query_of(other.as_ref());
                let got = query.distance(stored.as_ref());
                assert_eq!(got, codec.distance(stored.as_ref(), other.as_ref()));
                for quantizer in QUANTIZERS {
                    let mut code = vec![0; quantizer.code_len(dims)];
                    let f = codec.quantize(stored.as_ref(), quantizer, dims, &mut code);
                    let mut out = [0.0];
                    query.estimate(quantizer, dims, &code, &[f.add], &[f.scale], &mut out);
                    if dims >= 384 {
                        let size = query.internal(0.0).abs() + got.abs();
                        assert!(
                            (out[0] - got).abs() < 0.5 * size,
                            "{metric:?} {dims} {quantizer:?} {out:?} {got}"
                        );
                    }
                }
            }
        }
    }
}
