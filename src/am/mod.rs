//! Index access methods: the callbacks the server knows, over the algorithms of the other half.

mod check;
pub mod column;
pub mod ended;
pub mod hnsw;
pub mod ivf;
pub mod mean;
