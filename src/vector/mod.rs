//! Element types: what a vector, halfvec, bf16vec, bytevec, sparsevec or bit string is, in text, in binary and on
//! disk. Nothing here knows PostgreSQL.

pub mod arithmetic;
mod bit;
pub mod bytevec;
pub mod decimal;
pub mod dense;
mod element;
mod error;
mod sparse;
pub mod text;

pub use bit::BitRef;
pub use element::{Element, Unreadable};
pub use error::{SqlState, VectorError};
pub use sparse::{SparseRef, SparseVector, WireHeader};
