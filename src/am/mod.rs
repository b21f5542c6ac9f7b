//! Index access methods: the callbacks the server knows, over the algorithms of the other half.

mod check;
pub mod column;
pub mod cost;
pub mod damaged;
pub mod ended;
pub mod filter;
pub mod hnsw;
pub mod ivf;
pub mod mean;
pub mod ordered;
pub mod sphere;
pub mod version;

use pgrx::pg_sys::{self, IndexAmRoutine, IndexOptInfo};

/// What all access methods of this extension have in common.
fn routine() -> &'static mut IndexAmRoutine {
    // SAFETY: palloc0 returns memory for the struct, which the server keeps, or raises.
    let routine: &mut IndexAmRoutine =
        unsafe { &mut *pg_sys::palloc0(size_of::<IndexAmRoutine>()).cast::<IndexAmRoutine>() };
    routine.type_ = pg_sys::NodeTag::T_IndexAmRoutine;
    routine.amstrategies = 0;
    routine.amsupport = column::SPACE_PROC;
    routine.amcanorderbyop = true;
    // a row whose vector is NULL is not in the index, so a scan without a condition on it does
    // not return every row; the planner only ever scans for an order
    routine.amoptionalkey = true;
    // columns after the vector are filter columns
    routine.amcanmulticol = true;
    routine.amsearcharray = true;
    routine.amsearchnulls = true;
    routine.amparallelvacuumoptions = pg_sys::VACUUM_OPTION_PARALLEL_BULKDEL as u8;
    routine.amvalidate = Some(amvalidate);
    routine
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn amvalidate(_opclass: pg_sys::Oid) -> bool {
    true
}

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
