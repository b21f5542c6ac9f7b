//! Sparse vectors.

/// A borrowed sparse vector: values at sorted, distinct, 0-based indices below `dims`.
#[derive(Debug, Clone, Copy)]
pub struct SparseRef<'a> {
    /// number of dimensions
    pub dims: usize,
    /// positions of the non-zero elements, ascending
    pub indices: &'a [i32],
    /// the non-zero elements
    pub values: &'a [f32],
}
