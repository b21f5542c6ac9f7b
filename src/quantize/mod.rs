//! Quantized vectors: a few bits or one byte for each dimension, and distances estimated from them.
//!
//! RaBitQ (Gao and Long, SIGMOD 2024; extended: SIGMOD 2025): a vector is taken relative to a
//! centroid and rotated at random, so that its error against any query is small and of known size.
