//! Index access methods: the callbacks the server knows, over the algorithms of the other half.

mod check;
pub mod column;
pub mod hnsw;
#[allow(
    dead_code,
    reason = "growth of lists and the functions that tell of an index are on their way"
)]
pub mod ivf;
pub mod mean;
