//! The types, operators, casts and functions that SQL calls.

mod aggregate;
mod cast;
mod dense;
