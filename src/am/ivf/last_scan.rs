//! `ivf_last_scan()`: what the last ivf index scan of this backend did.

use crate::pg::fmgr::{float4, int8};
use crate::pg_fn;
use pgrx::pg_sys;
use std::cell::Cell;

/// What a scan did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LastScan {
    /// lists of the index
    pub lists: u64,
    /// lists searched, each time counted
    pub probes: u64,
    /// index pages read, each time counted
    pub pages: u64,
    /// rows whose distance was estimated, or computed where lists keep values
    pub estimated: u64,
    /// rows looked at again by compact codes in the index
    pub compared: u64,
    /// rows whose exact distance was computed from the table
    pub reranked: u64,
    /// heap tuples handed to the executor
    pub returned: u64,
    /// share of the nearest rows aimed at; `None` where probes alone decided
    pub target_recall: Option<f32>,
}

thread_local! {
    /// with the role that the scan ran for
    static LAST: Cell<Option<(pg_sys::Oid, LastScan)>> = const { Cell::new(None) };
}

fn current_role() -> pg_sys::Oid {
    // SAFETY: reads the backend's state.
    unsafe { pg_sys::GetUserId() }
}

/// Keeps what a scan did that ends now.
pub fn note(done: LastScan) {
    LAST.set(Some((current_role(), done)));
}

pg_fn! {
    /// `ivf_last_scan()`: NULL where no scan has ended yet, or the last one ran for another role (in a
    /// SECURITY DEFINER function, say): what it did tells of rows the caller may not read.
    fn ivf_last_scan(call) {
        match LAST.get() {
            Some((role, done)) if role == current_role() => call.row(&[
                Some(int8(done.lists)),
                Some(int8(done.probes)),
                Some(int8(done.pages)),
                Some(int8(done.estimated)),
                Some(int8(done.compared)),
                Some(int8(done.reranked)),
                Some(int8(done.returned)),
                done.target_recall.map(float4),
            ]),
            _ => call.null(),
        }
    }
}
