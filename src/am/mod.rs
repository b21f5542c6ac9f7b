//! Index access methods: the callbacks the server knows, over the algorithms of the other half.

mod check;
pub mod column;
pub mod cost;
pub mod ended;
pub mod filter;
pub mod hnsw;
pub mod ivf;
pub mod mean;
pub mod ordered;
pub mod sphere;
pub mod version;

use pgrx::pg_sys::{IndexAmRoutine, IndexOptInfo};

/// Whether an index that the planner considers is of an access method of this extension.
pub fn is_ours(index: &IndexOptInfo) -> bool {
    hnsw::cost::is_ours(index) || ivf::cost::is_ours(index)
}

/// Whether an access method is one of this extension.
pub fn is_our_method(routine: &IndexAmRoutine) -> bool {
    hnsw::is_ours(routine) || ivf::is_ours(routine)
}

/// Whether scans of an index, as settings are, find every row up to a bound on the distance among the plan's
/// conditions, and end there. Where they go by other settings they may end before.
pub fn ends_at_a_bound(index: &IndexOptInfo) -> bool {
    if hnsw::cost::is_ours(index) {
        return hnsw::options::ITERATIVE_SCAN.get() == hnsw::options::IterativeScan::Auto;
    }
    ivf::cost::is_ours(index) && ivf::goes_on_by_itself(index)
}
