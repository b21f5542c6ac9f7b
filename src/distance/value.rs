//! An owned value, aligned for every kernel.

use super::{Operand, Space};

/// A payload of its own, with its squared norm where the metric needs it.
#[derive(Debug, Clone, Default)]
pub struct Value {
    words: Vec<u64>,
    len: usize,
    norm_squared: f32,
}

impl Value {
    /// Copies a payload and computes its norm.
    pub fn new(space: Space, payload: &[u8]) -> Self {
        let mut value = Value::default();
        value.fill(payload.len(), |bytes| bytes.copy_from_slice(payload));
        value.norm_squared = space.norm_squared(value.payload());
        value
    }

    /// Copies a payload whose norm is known.
    pub fn of(operand: Operand<'_>) -> Self {
        let mut value = Value::default();
        value.fill(operand.payload.len(), |bytes| {
            bytes.copy_from_slice(operand.payload)
        });
        value.norm_squared = operand.norm_squared;
        value
    }

    /// Replaces the payload by `len` bytes that `write` writes.
    pub fn fill(&mut self, len: usize, write: impl FnOnce(&mut [u8])) {
        self.words.clear();
        self.words.resize(len.div_ceil(8), 0);
        self.len = len;
        write(&mut bytemuck::cast_slice_mut(&mut self.words)[..len]);
    }

    /// The payload as words; the last one is filled up with zeros.
    #[inline]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The element bytes.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }

    /// The value as an operand of a distance.
    #[inline]
    pub fn operand(&self) -> Operand<'_> {
        Operand {
            payload: self.payload(),
            norm_squared: self.norm_squared,
        }
    }
}
