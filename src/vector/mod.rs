//! Element types: what a vector, halfvec, sparsevec or bit string is, in text, in binary and on
//! disk. Nothing here knows PostgreSQL.

mod error;
mod sparse;

pub use error::{SqlState, VectorError};
pub use sparse::SparseRef;
