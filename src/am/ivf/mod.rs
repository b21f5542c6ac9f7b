//! The `ivf` and `ivfflat` index access methods: one file for each verb the server asks for.

pub mod all;
pub mod arrange;
pub mod assign;
pub mod build;
pub mod centroids;
pub mod check;
pub mod cost;
pub mod directory;
pub mod index;
pub mod insert;
pub mod last_scan;
pub mod looks;
pub mod measure;
pub mod options;
pub mod place;
pub mod probe;
pub mod sample;
pub mod scan;
pub mod search;
pub mod shape;
pub mod sieve;
pub mod stats;
pub mod storage;
pub mod vacuum;

use crate::pg_fn;
use pgrx::pg_sys::{self, Datum};

/// What both access methods have in common.
fn routine() -> &'static mut pg_sys::IndexAmRoutine {
    let routine = super::routine();
    routine.aminsert = Some(insert::aminsert);
    routine.ambulkdelete = Some(vacuum::ambulkdelete);
    routine.amvacuumcleanup = Some(vacuum::amvacuumcleanup);
    routine.amcostestimate = Some(cost::amcostestimate);
    routine.ambuildphasename = Some(build::ambuildphasename);
    routine.ambeginscan = Some(scan::ambeginscan);
    routine.amrescan = Some(scan::amrescan);
    routine.amgettuple = Some(scan::amgettuple);
    routine.amendscan = Some(scan::amendscan);
    routine
}

pg_fn! {
    /// `ivfhandler(internal) returns index_am_handler`
    fn ivfhandler(_call) {
        let routine = routine();
        routine.ambuild = Some(build::ambuild);
        routine.ambuildempty = Some(build::ambuildempty);
        routine.amoptions = Some(options::amoptions);
        Datum::from(std::ptr::from_mut(routine))
    }
}

pg_fn! {
    /// `ivfflathandler(internal) returns index_am_handler`
    fn ivfflathandler(_call) {
        let routine = routine();
        routine.ambuild = Some(build::ambuild_flat);
        routine.ambuildempty = Some(build::ambuildempty_flat);
        routine.amoptions = Some(options::amoptions_flat);
        Datum::from(std::ptr::from_mut(routine))
    }
}

/// Whether scans of an index that the planner considers go on until they have the rows asked for.
pub fn goes_on_by_itself(index: &pg_sys::IndexOptInfo) -> bool {
    // SAFETY: the catalog's name of an access method that an index has.
    let name = unsafe { std::ffi::CStr::from_ptr(pg_sys::get_am_name(index.relam)) };
    // ivfflat never does: its settings are pgvector's
    name == c"ivf" && options::ITERATIVE_SCAN.get() == options::IterativeScan::Auto
}

/// Whether an access method is one of these.
pub fn is_ours(routine: &pg_sys::IndexAmRoutine) -> bool {
    let build = routine.ambuild.map(|build| build as usize);
    build == Some(build::ambuild as *const () as usize)
        || build == Some(build::ambuild_flat as *const () as usize)
}
