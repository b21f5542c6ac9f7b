//! Index access methods: the callbacks the server knows, over the algorithms of the other half.

pub mod column;
pub mod hnsw;
