//! Product quantization (Jégou, Douze and Schmid, PAMI 2011): residuals are cut into segments, and of each
//! segment a code keeps which entry of a trained codebook is nearest.

use super::{CompactRef, Factors, Query, inline, kernels::Line, narrow, sums};
use crate::cluster::{self, Crew, Rows, Training};
use crate::distance::lanes::{Isa, for_every_isa};
use thiserror::Error;

/// Entries of a codebook whose sums are kept at a time: all of a segment.
const MOST_ENTRIES: usize = 256;

/// How often entries move to the mean of what is nearest to them.
const ITERATIONS: usize = 12;

/// What a code keeps of a residual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PqShape {
    dims: usize,
    segments: usize,
    bits: usize,
}

/// Why there is no such product quantizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadPq {
    /// a number of bits that codes do not have
    #[error("pq_bits must be 4 or 8, not {0}")]
    Bits(usize),
    /// more segments than dimensions, or none
    #[error("pq_segments must be between 1 and the {dims} dimensions, not {segments}")]
    Segments {
        /// as asked for
        segments: usize,
        /// of the column
        dims: usize,
    },
    /// bytes that are no codebook
    #[error("a codebook of {0} bytes where this product quantizer has {1}")]
    Bytes(usize, usize),
    /// numbers that are no codebook's
    #[error("a codebook with a scale that is no number")]
    Scale,
}

impl PqShape {
    /// Codes of `dims` dimensions in so many segments, each of 4 or 8 bits.
    pub fn new(dims: usize, segments: usize, bits: usize) -> Result<PqShape, BadPq> {
        if bits != 4 && bits != 8 {
            return Err(BadPq::Bits(bits));
        }
        if segments == 0 || segments > dims {
            return Err(BadPq::Segments { segments, dims });
        }
        Ok(PqShape {
            dims,
            segments,
            bits,
        })
    }

    /// Dimensions of what is coded.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Segments of a code.
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// Bits of a segment.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// Bytes of a code.
    pub fn code_len(&self) -> usize {
        (self.segments * self.bits).div_ceil(8)
    }

    /// Entries of a segment.
    pub fn entries(&self) -> usize {
        1 << self.bits
    }

    /// Bytes of a codebook, see [`Codebook::to_bytes`].
    pub fn codebook_len(&self) -> usize {
        self.entries() * (4 * self.segments + self.dims)
    }

    /// The dimensions of a segment: as many in each, or one more.
    fn range(&self, segment: usize) -> std::ops::Range<usize> {
        let start = |segment: usize| segment * self.dims / self.segments;
        start(segment)..start(segment + 1)
    }
}

/// The entries of all segments.
#[derive(Debug, Clone)]
pub struct Codebook {
    shape: PqShape,
    /// what an entry's bytes are multiplied by, segment after segment
    scales: Vec<f32>,
    /// bytes of entries, segment after segment, entry after entry
    codes: Vec<i8>,
    /// for each dimension, that coordinate of all entries of its segment
    columns: Vec<f32>,
    /// half the square of each entry, segment after segment
    halves: Vec<f32>,
}

impl Codebook {
    /// Trains a codebook on residuals, one after another; the more the better, 64 for each entry are
    /// enough. The result depends on them, their order and the seed alone.
    ///
    /// # Panics
    /// Without residuals.
    pub fn train(shape: PqShape, residuals: &[f32], seed: u64, crew: &mut dyn Crew) -> Codebook {
        let (mut scales, mut codes) = (Vec::new(), Vec::new());
        for segment in 0..shape.segments {
            let range = shape.range(segment);
            let mut rows = Rows::new(range.len());
            rows.reserve(residuals.len() / shape.dims);
            for residual in residuals.chunks_exact(shape.dims) {
                rows.push_point(&residual[range.clone()]);
            }
            let training = Training {
                lists: shape.entries(),
                iterations: ITERATIONS,
                seed: seed.wrapping_add(segment as u64),
                sphere: None,
            };
            let entries = cluster::train(&rows, training, crew);
            for entry in 0..shape.entries() {
                // of equal entries, the first is taken
                let entry = if entry < entries.len() { entry } else { 0 };
                scales.push(entries.scale(entry));
                codes.extend_from_slice(entries.code(entry));
            }
        }
        Codebook::of(shape, scales, codes)
    }

    fn of(shape: PqShape, scales: Vec<f32>, codes: Vec<i8>) -> Codebook {
        let entries = shape.entries();
        let mut columns = vec![0.0; shape.dims * entries];
        let mut halves = vec![0.0; shape.segments * entries];
        for segment in 0..shape.segments {
            let range = shape.range(segment);
            let bytes = codes[range.start * entries..range.end * entries].chunks_exact(range.len());
            for (entry, bytes) in bytes.enumerate() {
                let scale = scales[segment * entries + entry];
                let mut squared = 0.0;
                for (dim, &i) in range.clone().zip(bytes) {
                    let x = scale * i as f32;
                    columns[dim * entries + entry] = x;
                    squared += x as f64 * x as f64;
                }
                halves[segment * entries + entry] = narrow(squared / 2.0);
            }
        }
        Codebook {
            shape,
            scales,
            codes,
            columns,
            halves,
        }
    }

    /// What codes keep.
    pub fn shape(&self) -> PqShape {
        self.shape
    }

    /// The codebook as bytes: for each segment the scales of its entries, little-endian f32; then for each
    /// segment, for each entry, a signed byte for each of its dimensions.
    pub fn to_bytes(&self) -> Vec<u8> {
        let scales = self.scales.iter().flat_map(|scale| scale.to_le_bytes());
        scales.chain(self.codes.iter().map(|&i| i as u8)).collect()
    }

    /// Reads what [`Codebook::to_bytes`] wrote.
    pub fn from_bytes(shape: PqShape, bytes: &[u8]) -> Result<Codebook, BadPq> {
        if bytes.len() != shape.codebook_len() {
            return Err(BadPq::Bytes(bytes.len(), shape.codebook_len()));
        }
        let (scales, codes) = bytes.split_at(4 * shape.segments * shape.entries());
        let scales: Vec<f32> = scales
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        if scales.iter().any(|scale| !scale.is_finite()) {
            return Err(BadPq::Scale);
        }
        let codes = codes.iter().map(|&i| i as i8).collect();
        Ok(Codebook::of(shape, scales, codes))
    }

    /// Writes the nearest entry of each segment into `code`, and what they stand for into `decoded`.
    pub(super) fn encode(&self, residual: &[f32], unit: f64, code: &mut [u8], decoded: &mut [f32]) {
        encode(Isa::best(), self, residual, unit, code, decoded);
    }

    /// Makes the inline code of a compact code; what `out` has beyond the bytes of a code becomes zero.
    pub(super) fn quantize(&self, c: CompactRef<'_>, out: &mut [u8]) -> Factors {
        let residual: Vec<f32> = c.code.iter().map(|&i| i as f32).collect();
        let mut decoded = vec![0.0; residual.len()];
        let (code, padding) = out.split_at_mut(self.shape.code_len());
        // the entries in units of the compact code; of nothing, any unit
        let unit = match c.factors.scale {
            scale if scale > 0.0 => scale as f64,
            _ => 1.0,
        };
        self.encode(&residual, unit, code, &mut decoded);
        padding.fill(0);
        let product = sums::sum2(&residual, &decoded, |r, g| r * g);
        let scale = match product > 0.0 {
            true => inline::norm_squared(c.code) as f64 / product as f64,
            false => 0.0,
        };
        Factors {
            add: c.factors.add,
            scale: narrow(scale),
        }
    }

    /// Fills the tables of a query: for each byte of a code, what it adds to the product with the
    /// query, in steps of the scale that is returned.
    fn tables(&self, query: &Query, tables: &mut Vec<[i16; 256]>) -> f32 {
        let mut products = vec![0.0; self.shape.segments * self.shape.entries()];
        multiply(Isa::best(), self, query.bytes(), &mut products);
        tables.resize(self.shape.code_len(), [0; 256]);
        let steps = match self.shape.bits {
            8 => in_steps(Isa::best(), &products, tables),
            _ => pairs_in_steps(Isa::best(), &products, tables),
        };
        match steps > 0.0 {
            true => narrow(query.line().scale as f64 / steps as f64),
            false => 0.0,
        }
    }
}

for_every_isa! {
    fn encode(isa: Isa, book: &Codebook, residual: &[f32], unit: f64, code: &mut [u8], decoded: &mut [f32]) {
        let _ = isa;
        let entries = book.shape.entries();
        code.fill(0);
        let mut nearer = [0.0; MOST_ENTRIES];
        let nearer = &mut nearer[..entries];
        for segment in 0..book.shape.segments {
            let range = book.shape.range(segment);
            // <r, c> - |c|^2 / 2 is largest where |r - c|^2 is least
            let halves = &book.halves[segment * entries..][..entries];
            for (nearer, half) in nearer.iter_mut().zip(halves) {
                *nearer = -half;
            }
            for dim in range.clone() {
                let x = (residual[dim] as f64 * unit) as f32;
                let column = &book.columns[dim * entries..][..entries];
                for (nearer, c) in nearer.iter_mut().zip(column) {
                    *nearer += x * c;
                }
            }
            let largest = largest_of(nearer);
            let best = nearer.iter().position(|&n| n == largest).unwrap_or(0);
            match book.shape.bits {
                8 => code[segment] = best as u8,
                _ => code[segment / 2] |= (best as u8) << (4 * (segment % 2)),
            }
            for dim in range {
                decoded[dim] = (book.columns[dim * entries + best] as f64 / unit) as f32;
            }
        }
    }
}

/// The largest of some multiple of 16 numbers.
#[inline(always)]
fn largest_of(numbers: &[f32]) -> f32 {
    let mut lanes = [-f32::MAX; 16];
    for numbers in numbers.as_chunks::<16>().0 {
        for lane in 0..16 {
            if numbers[lane] > lanes[lane] {
                lanes[lane] = numbers[lane];
            }
        }
    }
    lanes
        .iter()
        .fold(-f32::MAX, |a, &b| if b > a { b } else { a })
}

for_every_isa! {
    fn multiply(isa: Isa, book: &Codebook, query: &[i8], products: &mut [f32]) {
        let _ = isa;
        let entries = book.shape.entries();
        for (segment, products) in products.chunks_exact_mut(entries).enumerate() {
            for dim in book.shape.range(segment) {
                let x = query[dim] as f32;
                let column = &book.columns[dim * entries..][..entries];
                for (product, c) in products.iter_mut().zip(column) {
                    *product += x * c;
                }
            }
        }
    }
}

for_every_isa! {
    /// Products of segments of 8 bits in steps such that the largest has most; how many make 1.
    fn in_steps(isa: Isa, products: &[f32], tables: &mut [[i16; 256]]) -> f32 {
        let _ = isa;
        let steps = steps_to(sums::largest(products));
        for (table, products) in tables.iter_mut().zip(products.as_chunks::<256>().0) {
            for (step, product) in table.iter_mut().zip(products) {
                *step = rounded(product * steps);
            }
        }
        steps
    }
}

for_every_isa! {
    /// The same for two segments of 4 bits in a byte; of an odd number the last is by itself.
    fn pairs_in_steps(isa: Isa, products: &[f32], tables: &mut [[i16; 256]]) -> f32 {
        let _ = isa;
        const NONE: [f32; 16] = [0.0; 16];
        let segments = products.as_chunks::<16>().0;
        let pairs = || segments.chunks(2).map(|pair| (&pair[0], pair.get(1).unwrap_or(&NONE)));
        let mut largest = 0.0;
        for (low, high) in pairs() {
            let (low, high) = (ends(low), ends(high));
            // no sum of two is farther out than those of the ends
            for sum in [low.0 + high.0, low.1 + high.1] {
                largest = sum.abs().max(largest);
            }
        }
        let steps = steps_to(largest);
        for (table, (low, high)) in tables.iter_mut().zip(pairs()) {
            for (sums, high) in table.as_chunks_mut::<16>().0.iter_mut().zip(high) {
                for (sum, low) in sums.iter_mut().zip(low) {
                    *sum = rounded((low + high) * steps);
                }
            }
        }
        steps
    }
}

/// Steps of one where the largest number has as many as fit.
#[inline(always)]
fn steps_to(largest: f32) -> f32 {
    match largest > 0.0 {
        true => i16::MAX as f32 / largest,
        false => 0.0,
    }
}

/// The nearest integer of a number that is no larger than i16 has room for, ties to even: what is left in
/// the lowest bits when the others leave no room for a fraction.
#[inline(always)]
fn rounded(x: f32) -> i16 {
    const WHOLE: f32 = 12_582_912.0;
    (x + WHOLE).to_bits() as i16
}

/// The least and the largest of some numbers.
#[inline(always)]
fn ends(numbers: &[f32; 16]) -> (f32, f32) {
    let first = (numbers[0], numbers[0]);
    numbers
        .iter()
        .fold(first, |(least, largest), &x| (least.min(x), largest.max(x)))
}

/// A query's tables for a codebook.
#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    tables: Vec<[i16; 256]>,
    scale: f32,
}

impl Tables {
    pub(super) fn fill(&mut self, book: &Codebook, query: &Query) {
        self.scale = book.tables(query, &mut self.tables);
    }

    /// Estimates of codes one after another, all as long, starting from a distance. What a code has beyond
    /// its bytes is passed over.
    pub(super) fn estimate(
        &self,
        base: f32,
        codes: &[u8],
        adds: &[f32],
        scales: &[f32],
        out: &mut [f32],
    ) {
        let line = Line {
            base,
            offset: 0.0,
            scale: self.scale,
            centre: 0,
        };
        if out.is_empty() {
            return;
        }
        let len = codes.len() / out.len();
        assert!(codes.len().is_multiple_of(out.len()) && len >= self.tables.len());
        assert!(adds.len() == out.len() && scales.len() == out.len());
        let codes = codes.chunks_exact(len);
        let factors = adds.iter().zip(scales);
        for ((out, code), (&add, &scale)) in out.iter_mut().zip(codes).zip(factors) {
            let bytes = code.iter().zip(&self.tables);
            let product = bytes
                .map(|(&byte, table)| table[byte as usize] as i32)
                .sum();
            *out = line.at(add, scale, product);
        }
    }
}
