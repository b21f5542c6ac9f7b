//! The `hnsw` index access method: one file for each verb the server asks for.

pub mod blocks;
pub mod build;
pub mod check;
pub mod cost;
pub mod insert;
pub mod last_scan;
pub mod options;
pub mod place;
pub mod reached;
pub mod scan;
pub mod shape;
pub mod stats;
pub mod storage;
pub mod sweep;
pub mod tids;
pub mod vacuum;
pub mod walk;
mod wanted;

use crate::pg_fn;
use pgrx::pg_sys::{self, Datum};

pg_fn! {
    /// `hnswhandler(internal) returns index_am_handler`
    fn hnswhandler(_call) {
        let routine = super::routine();
        routine.ambuild = Some(build::ambuild);
        routine.ambuildempty = Some(build::ambuildempty);
        routine.aminsert = Some(insert::aminsert);
        routine.ambulkdelete = Some(vacuum::ambulkdelete);
        routine.amvacuumcleanup = Some(vacuum::amvacuumcleanup);
        routine.amcostestimate = Some(cost::amcostestimate);
        routine.amoptions = Some(options::amoptions);
        routine.ambuildphasename = Some(build::ambuildphasename);
        routine.ambeginscan = Some(scan::ambeginscan);
        routine.amrescan = Some(scan::amrescan);
        routine.amgettuple = Some(scan::amgettuple);
        routine.amendscan = Some(scan::amendscan);
        Datum::from(std::ptr::from_mut(routine))
    }
}

/// Whether an access method is this one.
pub fn is_ours(routine: &pg_sys::IndexAmRoutine) -> bool {
    routine.ambuild.map(|build| build as usize) == Some(build::ambuild as *const () as usize)
}
