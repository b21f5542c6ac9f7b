//! `ivf_last_scan()`: what the last ivf index scan of this backend did.

use crate::am::ended::Ended;
use crate::pg::fmgr::{float4, int8};
use crate::pg::relation::Index;
use crate::pg_fn;
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
    static LAST: Cell<Option<Ended<LastScan>>> = const { Cell::new(None) };
}

/// Keeps what a scan of an index did that ends now.
pub fn note(index: Index, done: LastScan) {
    LAST.set(Some(Ended::now(index, done)));
}

pg_fn! {
    /// `ivf_last_scan()`: NULL where no scan has ended yet, or the caller may not know what it did.
    fn ivf_last_scan(call) {
        match LAST.get().and_then(Ended::told) {
            Some(done) => call.row(&[
                Some(int8(done.lists)),
                Some(int8(done.probes)),
                Some(int8(done.pages)),
                Some(int8(done.estimated)),
                Some(int8(done.compared)),
                Some(int8(done.reranked)),
                Some(int8(done.returned)),
                done.target_recall.map(float4),
            ]),
            None => call.null(),
        }
    }
}
