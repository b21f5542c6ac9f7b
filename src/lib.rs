//! `vectorext`: vector types, distance operators and index access methods for PostgreSQL.
//!
//! The crate has two halves with one door. The first knows nothing of PostgreSQL and is
//! built, tested and benchmarked by plain cargo; the second (feature `pg14` ... `pg18`) is the
//! extension. Imports point from the second to the first only. `src/README.md` says what each
//! folder is for.

pub mod allow_list;
pub mod chance;
pub mod check;
pub mod cluster;
pub mod delta;
pub mod distance;
pub mod hnsw;
pub mod ivf;
pub mod keys;
pub mod page;
pub mod quantize;
pub mod vector;

#[cfg(feature = "pg")]
mod am;
#[cfg(feature = "pg")]
mod pg;
#[cfg(feature = "pg")]
mod planner;
#[cfg(feature = "pg")]
mod sql;
