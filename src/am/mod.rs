//! Index access methods: the callbacks the server knows, over the algorithms of the other half.

mod check;
pub mod column;
pub mod filter;
pub mod hnsw;
pub mod ivf;
pub mod mean;
pub mod ordered;
