//! The types, operators, casts and functions that SQL calls.

mod aggregate;
mod bit;
mod cast;
mod dense;
mod sparsevec;
mod sphere;
