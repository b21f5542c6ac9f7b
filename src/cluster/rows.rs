//! Many points in bytes.

use crate::quantize::{self, CompactRef};

/// Points of the rotated space: `scale` times bytes from -127 to 127. Takes the dimensions, rounded up to a
/// multiple of 64, and 12 bytes for each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    dims: usize,
    stride: usize,
    codes: Vec<i8>,
    pub(super) scales: Vec<f32>,
    /// squared lengths
    pub(super) squares: Vec<f32>,
    /// sums of bytes
    pub(super) sums: Vec<i32>,
}

impl Rows {
    /// No rows of so many dimensions.
    pub fn new(dims: usize) -> Rows {
        Rows {
            dims,
            stride: dims.next_multiple_of(64),
            ..Rows::default()
        }
    }

    /// Bytes that `count` rows take.
    pub fn memory(dims: usize, count: usize) -> usize {
        count * (dims.next_multiple_of(64) + 12)
    }

    /// Makes room for more rows.
    pub fn reserve(&mut self, count: usize) {
        self.codes.reserve(count * self.stride);
        self.scales.reserve(count);
        self.squares.reserve(count);
        self.sums.reserve(count);
    }

    /// Adds what a compact code stands for.
    pub fn push(&mut self, c: CompactRef<'_>) {
        self.push_scaled(c.factors.scale, c.code);
    }

    /// Adds `scale * code`.
    pub fn push_scaled(&mut self, scale: f32, code: &[i8]) {
        assert_eq!(code.len(), self.dims, "dimensions of a row");
        self.codes.extend_from_slice(code);
        let padding = self.codes.len() + self.stride - self.dims;
        self.codes.resize(padding, 0);
        let sum = code.iter().map(|&i| i as i32).sum();
        let squares = quantize::product_of_bytes(code, code, sum) as f64;
        let squared = scale as f64 * scale as f64 * squares;
        self.scales.push(scale);
        self.squares.push(squared.min(f32::MAX as f64) as f32);
        self.sums.push(sum);
    }

    /// Adds a point of finite values, rounded to bytes.
    pub fn push_point(&mut self, point: &[f32]) {
        let mut code = vec![0; self.dims];
        let scale = quantize::nearest_bytes(point, &mut code);
        self.push_scaled(scale, &code);
    }

    /// A copy of some of them.
    pub(super) fn some(&self, numbers: &[u32]) -> Rows {
        let mut some = Rows::new(self.dims);
        some.reserve(numbers.len());
        for &row in numbers {
            let row = row as usize;
            some.codes.extend_from_slice(self.padded(row));
            some.scales.push(self.scales[row]);
            some.squares.push(self.squares[row]);
            some.sums.push(self.sums[row]);
        }
        some
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.scales.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }

    /// Dimensions of a row.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Takes all rows away, to be used again.
    pub fn clear(&mut self) {
        self.codes.clear();
        self.scales.clear();
        self.squares.clear();
        self.sums.clear();
    }

    /// The bytes of a row.
    pub fn code(&self, row: usize) -> &[i8] {
        &self.codes[row * self.stride..][..self.dims]
    }

    /// What the bytes of a row are multiplied by.
    pub fn scale(&self, row: usize) -> f32 {
        self.scales[row]
    }

    /// The bytes of a row, with zeros up to a multiple of 64.
    #[inline(always)]
    pub(super) fn padded(&self, row: usize) -> &[i8] {
        &self.codes[row * self.stride..][..self.stride]
    }

    /// Inner product of a row with a row of `other`.
    #[inline]
    pub fn product(&self, row: usize, other: &Rows, of_other: usize) -> f32 {
        let sum = other.sums[of_other];
        let product = quantize::product_of_bytes(self.code(row), other.code(of_other), sum);
        self.scales[row] * other.scales[of_other] * product as f32
    }

    /// Inner products of a row with all rows of `other`, but for the scales.
    pub(super) fn products(&self, row: usize, other: &Rows, products: &mut Vec<i32>) {
        assert_eq!(self.dims, other.dims, "dimensions of rows");
        products.resize(other.len(), 0);
        quantize::products_of_bytes(self.padded(row), &other.codes, &other.sums, products);
    }
}
