//! The types, operators, casts and functions that SQL calls.

mod bit;
mod sparsevec;
