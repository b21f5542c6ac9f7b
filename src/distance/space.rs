//! What an operator class means: an element type and a metric, and the distance between two
//! values as an index stores them. The one place that maps both to a kernel.

use super::{bit, cosine_from_parts, i8, sparse};
use crate::vector::{self, SparseRef};
use half::{bf16, f16};

/// Element type of an indexed column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Element {
    /// `vector`: 4-byte floats
    F32 = 1,
    /// `halfvec`: 2-byte floats
    F16 = 2,
    /// `bit`: packed bits
    Bit = 3,
    /// `sparsevec`: index and value lists
    Sparse = 4,
    /// `bytevec`: signed bytes
    I8 = 5,
    /// `bf16vec`: bfloat16
    Bf16 = 6,
}

impl Element {
    /// SQL name of the type.
    pub fn type_name(self) -> &'static str {
        match self {
            Element::F32 => "vector",
            Element::F16 => "halfvec",
            Element::Bit => "bit",
            Element::Sparse => "sparsevec",
            Element::I8 => "bytevec",
            Element::Bf16 => "bf16vec",
        }
    }

    /// Whether values are lists of numbers, one for each dimension.
    pub fn is_dense(self) -> bool {
        !matches!(self, Element::Bit | Element::Sparse)
    }

    /// Appends the elements of a dense type's payload as floats. Nothing is appended for others.
    pub fn widen_into(self, payload: &[u8], floats: &mut Vec<core::primitive::f32>) {
        fn widen<E: vector::Element>(payload: &[u8], floats: &mut Vec<core::primitive::f32>) {
            let elements: &[E] = bytemuck::cast_slice(payload);
            let from = floats.len();
            floats.resize(from + elements.len(), 0.0);
            E::widen_all(elements, &mut floats[from..]);
        }
        match self {
            Element::F32 => floats.extend_from_slice(bytemuck::cast_slice(payload)),
            Element::F16 => widen::<f16>(payload, floats),
            Element::Bf16 => widen::<bf16>(payload, floats),
            Element::I8 => widen::<core::primitive::i8>(payload, floats),
            Element::Bit | Element::Sparse => {}
        }
    }

    /// Largest number of dimensions (bits for `bit`) that an index takes.
    pub fn max_dims(self) -> u32 {
        match self {
            Element::F32 | Element::F16 | Element::I8 | Element::Bf16 => 16_000,
            Element::Bit => 64_000,
            Element::Sparse => 1_000_000_000,
        }
    }

    /// Length of a payload of `dims` dimensions in bytes; `None` where it varies by value.
    pub fn payload_len(self, dims: u32) -> Option<usize> {
        match self {
            Element::F32 => Some(dims as usize * 4),
            Element::F16 | Element::Bf16 => Some(dims as usize * 2),
            Element::I8 => Some(dims as usize),
            Element::Bit => Some((dims as usize).div_ceil(8)),
            Element::Sparse => None,
        }
    }
}

/// Distance metric of an operator class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Metric {
    /// `<->`, ordered by its square
    L2 = 1,
    /// `<#>`
    InnerProduct = 2,
    /// `<=>`
    Cosine = 3,
    /// `<+>`
    L1 = 4,
    /// `<~>`
    Hamming = 5,
    /// `<%>`
    Jaccard = 6,
}

/// An element type with a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// element type of the column
    pub element: Element,
    /// metric of the operator class
    pub metric: Metric,
}

/// A value as an index stores it: the bytes after the type's own header (for `sparsevec` the whole
/// body), with its squared norm where the metric needs it. Aligned to the element.
#[derive(Debug, Clone, Copy)]
pub struct Operand<'a> {
    /// element bytes in native order
    pub payload: &'a [u8],
    /// squared Euclidean norm under cosine, 0 elsewhere
    pub norm_squared: f32,
}

impl Space {
    /// The number by which an operator class's support function and the metapage name a space:
    /// 16 x element + metric.
    pub fn code(self) -> i32 {
        self.element as i32 * 16 + self.metric as i32
    }

    /// The space of a code; `None` for codes that no operator class of ours has.
    pub fn from_code(code: i32) -> Option<Space> {
        use {Element::*, Metric::*};
        let element = match code / 16 {
            1 => F32,
            2 => F16,
            3 => Bit,
            4 => Sparse,
            5 => I8,
            6 => Bf16,
            _ => return None,
        };
        let metric = match code % 16 {
            1 => L2,
            2 => InnerProduct,
            3 => Cosine,
            4 => L1,
            5 => Hamming,
            6 => Jaccard,
            _ => return None,
        };
        let known = matches!(metric, Hamming | Jaccard) == (element == Bit);
        known.then_some(Space { element, metric })
    }

    /// The squared norm to keep beside a payload: of the value under cosine, 0 elsewhere.
    pub fn norm_squared(self, payload: &[u8]) -> f32 {
        if self.metric != Metric::Cosine {
            return 0.0;
        }
        match self.element {
            Element::F32 => squared_norm::<f32>(payload),
            Element::F16 => squared_norm::<f16>(payload),
            Element::Bf16 => squared_norm::<bf16>(payload),
            Element::I8 => squared_norm::<core::primitive::i8>(payload),
            Element::Sparse => {
                let x = sparse_of(payload);
                sparse::inner_product(x, x)
            }
            Element::Bit => 0.0,
        }
    }

    /// Distance between two payloads of equal dimensions, ordered as the operator orders them
    /// (L2 is squared). Never NaN: what has no distance is infinitely far.
    #[inline]
    pub fn distance(self, a: Operand<'_>, b: Operand<'_>) -> f64 {
        let raw = match self.element {
            Element::F32 => dense::<f32>(self.metric, a, b),
            Element::F16 => dense::<f16>(self.metric, a, b),
            Element::Bf16 => dense::<bf16>(self.metric, a, b),
            // A squared norm may have more digits than the one that is kept, so it is computed again.
            Element::I8 if self.metric == Metric::Cosine => {
                let (x, y) = (
                    bytemuck::cast_slice(a.payload),
                    bytemuck::cast_slice(b.payload),
                );
                i8::cosine_distance(x, y)
            }
            Element::I8 => dense::<core::primitive::i8>(self.metric, a, b),
            Element::Bit => match self.metric {
                Metric::Jaccard => bit::jaccard(a.payload, b.payload),
                _ => bit::hamming(a.payload, b.payload) as f64,
            },
            Element::Sparse => {
                let (x, y) = (sparse_of(a.payload), sparse_of(b.payload));
                match self.metric {
                    Metric::L2 => sparse::l2_squared(x, y) as f64,
                    Metric::Cosine => cosine(sparse::inner_product(x, y) as f64, a, b),
                    Metric::L1 => sparse::l1(x, y) as f64,
                    _ => -sparse::inner_product(x, y) as f64,
                }
            }
        };
        if raw.is_nan() { f64::INFINITY } else { raw }
    }
}

impl Space {
    /// What a number that the SQL operator gives is as a [`distance`](Space::distance): the square of
    /// `<->`, else itself.
    pub fn of_operator(self, distance: f64) -> f64 {
        match self.metric {
            // less than any distance
            Metric::L2 if distance < 0.0 => f64::NEG_INFINITY,
            Metric::L2 => distance * distance,
            _ => distance,
        }
    }

    /// What the SQL operator gives for a [`distance`](Space::distance).
    pub fn operator(self, distance: f64) -> f64 {
        match self.metric {
            Metric::L2 => distance.sqrt(),
            _ => distance,
        }
    }
}

#[inline]
fn squared_norm<E: vector::Element>(payload: &[u8]) -> f32 {
    let x: &[E] = bytemuck::cast_slice(payload);
    E::inner_product(x, x) as f32
}

#[inline]
fn dense<E: vector::Element>(metric: Metric, a: Operand<'_>, b: Operand<'_>) -> f64 {
    let x: &[E] = bytemuck::cast_slice(a.payload);
    let y: &[E] = bytemuck::cast_slice(b.payload);
    match metric {
        Metric::L2 => E::l2_squared(x, y),
        Metric::Cosine => cosine(E::inner_product(x, y), a, b),
        Metric::L1 => E::l1(x, y),
        _ => -E::inner_product(x, y),
    }
}

#[inline]
fn cosine(inner_product: f64, a: Operand<'_>, b: Operand<'_>) -> f64 {
    cosine_from_parts(inner_product, a.norm_squared as f64, b.norm_squared as f64)
}

/// A sparse payload is checked when it enters an index and when it is read from a page, so a
/// malformed one is a bug and panics.
#[inline]
fn sparse_of(payload: &[u8]) -> SparseRef<'_> {
    let header: &[i32] = bytemuck::cast_slice(&payload[..12]);
    let (dims, count) = (header[0] as usize, header[1] as usize);
    let (indices, values) = payload[12..].split_at(4 * count);
    SparseRef {
        dims,
        indices: bytemuck::cast_slice(indices),
        values: bytemuck::cast_slice(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_names_one_space() {
        let spaces: Vec<Space> = (0..128).filter_map(Space::from_code).collect();
        assert_eq!(spaces.len(), 4 + 4 + 2 + 4 + 4 + 4);
        for space in spaces {
            assert_eq!(Space::from_code(space.code()), Some(space));
        }
    }

    #[test]
    fn a_radius_below_zero_has_nothing_within() {
        for (metric, inside) in [(Metric::L2, 0.0), (Metric::InnerProduct, -7.0)] {
            let space = Space {
                element: Element::F32,
                metric,
            };
            assert!(space.of_operator(-7.5) < inside);
            assert_eq!(space.operator(space.of_operator(1.5)), 1.5);
        }
    }

    #[test]
    fn a_distance_is_never_nan() {
        let space = Space {
            element: Element::F32,
            metric: Metric::Cosine,
        };
        let zero = [0u32; 4];
        let zero = Operand {
            payload: bytemuck::cast_slice(&zero),
            norm_squared: 0.0,
        };
        assert_eq!(space.distance(zero, zero), f64::INFINITY);
    }
}
