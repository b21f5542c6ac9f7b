//! Index access methods: the callbacks the server knows, over the algorithms of the other half.

mod check;
pub mod column;
pub mod ended;
pub mod filter;
pub mod hnsw;
pub mod ivf;
pub mod mean;
pub mod ordered;

use pgrx::pg_sys::IndexOptInfo;

/// Whether an index that the planner considers is of an access method of this extension.
pub fn is_ours(index: &IndexOptInfo) -> bool {
    hnsw::cost::is_ours(index) || ivf::cost::is_ours(index)
}
