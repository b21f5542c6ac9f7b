//! Index access methods: the callbacks the server knows, over the algorithms of the other half.

mod check;
pub mod column;
pub mod hnsw;
#[allow(dead_code, reason = "the verbs that use it are on their way")]
pub mod ivf;
