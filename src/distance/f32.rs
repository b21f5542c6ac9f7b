//! Kernels over dense f32 elements. Sums are kept in f32.

use super::dense::dense_kernels;

dense_kernels!(f32);
