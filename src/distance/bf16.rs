//! Kernels over dense bfloat16 elements. Elements are widened, products and sums are in f32.

use super::dense::dense_kernels;

dense_kernels!(half::bf16);
