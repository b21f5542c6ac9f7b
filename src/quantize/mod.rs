//! Quantized vectors: stand-in until the branch with kernels is merged.
use crate::distance::Metric;
use bytemuck::{Pod, Zeroable};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Quantizer { Rabitq1 = 1, Rabitq2 = 2, Rabitq4 = 3, Sq8 = 4 }
impl Quantizer {
    pub fn from_code(c: u8) -> Option<Self> { Some(match c { 1 => Self::Rabitq1, 2 => Self::Rabitq2, 3 => Self::Rabitq4, 4 => Self::Sq8, _ => return None }) }
    pub fn bits(self) -> usize { match self { Self::Rabitq1 => 1, Self::Rabitq2 => 2, Self::Rabitq4 => 4, Self::Sq8 => 8 } }
    pub fn name(self) -> &'static str { match self { Self::Rabitq1 => "rabitq1", Self::Rabitq2 => "rabitq2", Self::Rabitq4 => "rabitq4", Self::Sq8 => "sq8" } }
    pub fn code_len(self, dims: usize) -> usize { match self { Self::Sq8 => dims.next_multiple_of(8), _ => self.bits() * dims.div_ceil(64) * 8 } }
}
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Compact { pub add: f32, pub scale: f32, pub error: f32, pub sum: i32 }
#[derive(Debug, Clone, Copy)]
pub struct CompactRef<'a> { pub factors: Compact, pub code: &'a [i8] }
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Factors { pub add: f32, pub scale: f32 }
pub struct Codec { metric: Metric, dims: usize, signs: Vec<f32>, centroid: Vec<f32>, c2: f32, reach: f32 }
impl Codec {
    pub fn new(metric: Metric, dims: usize, seed: u64, centroid: &[f32], reach: f32) -> Codec {
        let mut rng = fastrand::Rng::with_seed(seed);
        let signs = (0..4 * dims).map(|_| if rng.bool() { 1.0 } else { -1.0 }).collect();
        let mut c = Codec { metric, dims, signs, centroid: vec![0.0; dims], c2: 0.0, reach };
        if !centroid.is_empty() { let mut r = centroid.to_vec(); c.rotate(&mut r); c.c2 = r.iter().map(|x| x * x).sum(); c.centroid = r; }
        c
    }
    pub fn metric(&self) -> Metric { self.metric }
    pub fn dims(&self) -> usize { self.dims }
    fn rotate(&self, x: &mut [f32]) {
        let n = if self.dims == 0 { return } else { 1usize << self.dims.ilog2() };
        for round in 0..4 {
            for (x, s) in x.iter_mut().zip(&self.signs[round * self.dims..]) { *x *= s; }
            let at = if round % 2 == 0 { 0 } else { self.dims - n };
            let x = &mut x[at..at + n];
            let mut h = 1;
            while h < n { for i in (0..n).step_by(2 * h) { for j in i..i + h { let (a, b) = (x[j], x[j + h]); x[j] = a + b; x[j + h] = a - b; } } h *= 2; }
            let f = 1.0 / (n as f32).sqrt();
            for x in x { *x *= f; }
        }
    }
    fn residual(&self, x: &[f32], out: &mut Vec<f32>) -> f32 {
        out.clear();
        let norm = x.iter().map(|&x| x as f64 * x as f64).sum::<f64>().sqrt() as f32;
        let s = if self.metric == Metric::Cosine && norm > 0.0 { 1.0 / norm } else { 1.0 };
        out.extend(x.iter().map(|x| x * s));
        self.rotate(out);
        let xc: f32 = out.iter().zip(&self.centroid).map(|(a, b)| a * b).sum();
        for (o, c) in out.iter_mut().zip(&self.centroid) { *o -= c; }
        xc
    }
    pub fn encode(&self, x: &[f32], scratch: &mut Vec<f32>, code: &mut [i8]) -> Compact {
        let _ = self.residual(x, scratch);
        let rc: f32 = scratch.iter().zip(&self.centroid).map(|(a, b)| a * b).sum();
        code_of(scratch, code, match self.metric { Metric::InnerProduct => Some(-2.0 * rc), _ => None })
    }
    pub fn distance(&self, a: CompactRef, b: CompactRef) -> f32 {
        let base = match self.metric { Metric::InnerProduct => 2.0 * self.reach * self.reach - 2.0 * self.c2, _ => 0.0 };
        base + a.factors.add + b.factors.add - 2.0 * (a.factors.scale * b.factors.scale) * dot(a.code, b.code) as f32
    }
    pub fn quantize(&self, c: CompactRef, q: Quantizer, code_dims: usize, out: &mut [u8]) -> Factors {
        out.fill(0);
        let r2: f32 = c.code.iter().map(|&x| { let v = x as f32 * c.factors.scale; v * v }).sum();
        let mut dotp = 0.0f32;
        let words = code_dims.div_ceil(64) * 8;
        match q {
            Quantizer::Sq8 => { for (o, &x) in out.iter_mut().zip(&c.code[..code_dims]) { *o = x as u8; dotp += x as f32 * x as f32 * c.factors.scale; } }
            _ => {
                let bits = q.bits();
                let rms = (r2 / c.code.len() as f32).sqrt().max(1e-30);
                let step = match bits { 1 => 1.0, 2 => 1.0 * rms, _ => 0.335 * rms };
                let half = ((1 << bits) - 1) as f32 / 2.0;
                for i in 0..code_dims {
                    let v = c.code[i] as f32 * c.factors.scale;
                    let u = if bits == 1 { (v > 0.0) as u32 } else { ((v / step + half).round().clamp(0.0, 2.0 * half)) as u32 };
                    for p in 0..bits { if u >> p & 1 == 1 { out[p * words + i / 8] |= 1 << (i % 8); } }
                    dotp += (u as f32 - half) * v;
                }
            }
        }
        Factors { add: c.factors.add, scale: if dotp > 0.0 { r2 / dotp } else { 0.0 } }
    }
    pub fn query(&self, x: &[f32]) -> Query { let mut q = Query::default(); q.reset(self, x); q }
}
fn code_of(r: &[f32], code: &mut [i8], add: Option<f32>) -> Compact {
    let max = r.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    let s = if max > 0.0 { 127.0 / max } else { 0.0 };
    let (mut ir, mut r2, mut sum) = (0.0f32, 0.0f32, 0);
    for (c, &x) in code.iter_mut().zip(r) { *c = (x * s).round() as i8; ir += *c as f32 * x; r2 += x * x; sum += *c as i32; }
    let f = if ir > 0.0 { r2 / ir } else { 0.0 };
    let e: f32 = code.iter().zip(r).map(|(&c, &x)| { let d = x - f * c as f32; d * d }).sum();
    Compact { add: add.unwrap_or(r2), scale: f, error: e.sqrt(), sum }
}
fn dot(a: &[i8], b: &[i8]) -> i32 { a.iter().zip(b).map(|(&a, &b)| a as i32 * b as i32).sum() }
#[derive(Default)]
pub struct Query { code: Vec<i8>, f: Compact2, base: f32, rq: f32, scratch: Vec<f32>, raw: (f32, f32, u8) }
#[derive(Default, Clone, Copy)]
struct Compact2 { scale: f32, error: f32 }
impl Query {
    pub fn reset(&mut self, c: &Codec, x: &[f32]) {
        let norm = x.iter().map(|&x| x as f64 * x as f64).sum::<f64>().sqrt() as f32;
        let mut scratch = std::mem::take(&mut self.scratch);
        let mul = if c.metric == Metric::InnerProduct && norm > 0.0 { c.reach / norm } else { 1.0 };
        let y: Vec<f32> = x.iter().map(|x| x * mul).collect();
        let qc = c.residual(&y, &mut scratch);
        self.code.resize(c.dims, 0);
        let f = code_of(&scratch, &mut self.code, None);
        self.f = Compact2 { scale: f.scale, error: f.error };
        self.rq = f.add.sqrt();
        self.base = match c.metric { Metric::InnerProduct => 2.0 * c.reach * c.reach - 2.0 * qc, _ => f.add };
        self.raw = (mul, c.reach, c.metric as u8);
        self.scratch = scratch;
    }
    pub fn reset_of(&mut self, c: &Codec, x: CompactRef) {
        self.code.clear(); self.code.extend_from_slice(x.code);
        self.f = Compact2 { scale: x.factors.scale, error: x.factors.error };
        let r2 = dot(x.code, x.code) as f32 * x.factors.scale * x.factors.scale; self.rq = r2.sqrt();
        self.base = match c.metric { Metric::InnerProduct => 2.0 * c.reach * c.reach - 2.0 * c.c2 + x.factors.add, _ => x.factors.add };
    }
    pub fn internal(&self, exact: f64) -> f32 { match self.raw.2 { 3 => 2.0 * exact as f32, 2 => 2.0 * self.raw.1 * self.raw.1 + 2.0 * self.raw.0 * exact as f32, _ => exact as f32 } }
    pub fn distance(&self, c: CompactRef) -> f32 { self.base + c.factors.add - 2.0 * (c.factors.scale * self.f.scale) * dot(c.code, &self.code) as f32 }
    pub fn error_bound(&self, c: CompactRef) -> f32 {
        let n = (self.code.len() as f32).sqrt();
        let rx = c.factors.add.abs().sqrt();
        2.0 * (7.0 / n).min(1.0) * (c.factors.error * self.rq + rx * self.f.error) + 1e-5 * (self.base.abs() + c.factors.add.abs())
    }
    pub fn estimate(&self, q: Quantizer, dims: usize, codes: &[u8], adds: &[f32], scales: &[f32], out: &mut [f32]) {
        let len = q.code_len(dims); let words = dims.div_ceil(64) * 8; let bits = q.bits();
        let sum: i32 = self.code[..dims].iter().map(|&x| x as i32).sum();
        for i in 0..adds.len() {
            let code = &codes[i * len..][..len];
            let d = if q == Quantizer::Sq8 { dot(bytemuck::cast_slice(&code[..dims]), &self.code[..dims]) as f32 } else {
                let mut d = 0i32;
                for p in 0..bits { let mut s = 0i32; for j in 0..dims { if code[p * words + j / 8] >> (j % 8) & 1 == 1 { s += self.code[j] as i32; } } d += s << p; }
                d as f32 - ((1 << bits) - 1) as f32 / 2.0 * sum as f32
            };
            out[i] = self.base + adds[i] - 2.0 * scales[i] * self.f.scale * d;
        }
    }
}
