use half::f16;
use simsimd::SpatialSimilarity;
use std::hint::black_box;
use std::time::Instant;
use vectorext::{distance, vector::*};
fn best(mut f: impl FnMut() -> f64) -> f64 {
    let mut b = f64::MAX;
    for _ in 0..400 {
        let t = Instant::now();
        for _ in 0..200 {
            black_box(f());
        }
        b = b.min(t.elapsed().as_nanos() as f64 / 200.0);
    }
    b
}
fn main() {
    for d in [128, 384, 768, 1536] {
        let a: Vec<f32> = (0..d).map(|_| fastrand::f32() - 0.5).collect();
        let b: Vec<f32> = (0..d).map(|_| fastrand::f32() - 0.5).collect();
        let ha: Vec<f16> = a.iter().map(|&x| f16::from_f32(x)).collect();
        let hb: Vec<f16> = b.iter().map(|&x| f16::from_f32(x)).collect();
        let sa: &[simsimd::f16] = unsafe { std::mem::transmute(&ha[..]) };
        let sb: &[simsimd::f16] = unsafe { std::mem::transmute(&hb[..]) };
        let (a, b) = (&a[..], &b[..]);
        println!(
            "{d}: f32 l2 {:.1} sim {:.1} | ip {:.1} sim {:.1} | l1 {:.1} | cos {:.1} sim {:.1} || f16 l2 {:.1} sim {:.1} | ip {:.1} sim {:.1} | l1 {:.1} | cos {:.1} sim {:.1}",
            best(|| distance::f32::l2_squared(black_box(a), black_box(b)) as f64),
            best(|| <f32 as SpatialSimilarity>::sqeuclidean(black_box(a), black_box(b)).unwrap()),
            best(|| distance::f32::inner_product(black_box(a), black_box(b)) as f64),
            best(|| <f32 as SpatialSimilarity>::dot(black_box(a), black_box(b)).unwrap()),
            best(|| distance::f32::l1(black_box(a), black_box(b)) as f64),
            best(|| distance::f32::cosine_distance(black_box(a), black_box(b))),
            best(|| <f32 as SpatialSimilarity>::cosine(black_box(a), black_box(b)).unwrap()),
            best(|| distance::f16::l2_squared(black_box(&ha), black_box(&hb)) as f64),
            best(|| simsimd::f16::sqeuclidean(black_box(sa), black_box(sb)).unwrap()),
            best(|| distance::f16::inner_product(black_box(&ha), black_box(&hb)) as f64),
            best(|| simsimd::f16::dot(black_box(sa), black_box(sb)).unwrap()),
            best(|| distance::f16::l1(black_box(&ha), black_box(&hb)) as f64),
            best(|| distance::f16::cosine_distance(black_box(&ha), black_box(&hb))),
            best(|| simsimd::f16::cosine(black_box(sa), black_box(sb)).unwrap()),
        );
        let t = text::format(a);
        println!(
            "   parse {:.0} format {:.0}",
            best(|| text::parse::<f32>(black_box(&t)).unwrap()[0] as f64),
            best(|| text::format(black_box(a)).len() as f64)
        );
        let mut out = vec![f16::ZERO; d];
        let mut o2 = vec![0f32; d];
        println!(
            "   narrow_all {:.0} widen_all {:.0} add {:.0} addh {:.0} norm {:.0} normh {:.0}",
            best(|| {
                f16::narrow_all(black_box(a), &mut out);
                out[0].to_f32() as f64
            }),
            best(|| {
                f16::widen_all(black_box(&ha), &mut o2);
                o2[0] as f64
            }),
            best(|| {
                arithmetic::add(black_box(a), black_box(b), &mut o2).unwrap();
                o2[0] as f64
            }),
            best(|| {
                arithmetic::add(black_box(&ha[..]), black_box(&hb[..]), &mut out).unwrap();
                out[0].to_f32() as f64
            }),
            best(|| arithmetic::norm(black_box(a))),
            best(|| arithmetic::norm(black_box(&ha[..])))
        );
    }
}
