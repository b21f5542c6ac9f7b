//! `hnsw_last_scan()`: what the last hnsw index scan of this backend did.

use crate::pg::fmgr::{boolean, float4, int8};
use crate::pg_fn;
use pgrx::pg_sys;
use std::cell::Cell;

/// What a scan did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LastScan {
    /// nodes whose links were followed
    pub expanded: u64,
    /// distances estimated from the codes beside links
    pub estimated: u64,
    /// distances computed from what the index keeps of nodes themselves
    pub computed: u64,
    /// index pages read, each time counted
    pub pages: u64,
    /// rows whose exact distance was computed from the table
    pub reranked: u64,
    /// heap tuples handed to the executor
    pub returned: u64,
    /// whether all pages of the index were read in the end
    pub swept: bool,
    /// the stopping multiple; `None` in the plain layout
    pub multiple: Option<f32>,
    /// `hnsw.target_recall` as the scan began; `None` in the plain layout
    pub target_recall: Option<f32>,
}

impl LastScan {
    /// What two scans of the same plan node did together.
    #[cfg(feature = "pg18")]
    pub fn plus(&self, later: &LastScan) -> LastScan {
        LastScan {
            expanded: self.expanded + later.expanded,
            estimated: self.estimated + later.estimated,
            computed: self.computed + later.computed,
            pages: self.pages + later.pages,
            reranked: self.reranked + later.reranked,
            returned: self.returned + later.returned,
            swept: self.swept || later.swept,
            multiple: later.multiple,
            target_recall: later.target_recall,
        }
    }
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
    /// `hnsw_last_scan()`: NULL where no scan has ended yet, or the last one ran for another role
    /// (in a SECURITY DEFINER function, say): what it did tells of rows the caller may not read.
    fn hnsw_last_scan(call) {
        match LAST.get() {
            Some((role, done)) if role == current_role() => call.row(&[
                Some(int8(done.expanded)),
                Some(int8(done.estimated)),
                Some(int8(done.computed)),
                Some(int8(done.pages)),
                Some(int8(done.reranked)),
                Some(int8(done.returned)),
                Some(boolean(done.swept)),
                done.multiple.map(float4),
                done.target_recall.map(float4),
            ]),
            _ => call.null(),
        }
    }
}
