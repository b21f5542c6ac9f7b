//! `hnsw_last_scan()`: what the last hnsw index scan of this backend did.

use crate::am::ended::Ended;
use crate::pg::fmgr::{boolean, float4, int8};
use crate::pg::relation::Index;
use crate::pg_fn;
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
    static LAST: Cell<Option<Ended<LastScan>>> = const { Cell::new(None) };
}

/// Keeps what a scan of an index did that ends now.
pub fn note(index: Index, done: LastScan) {
    LAST.set(Some(Ended::now(index, done)));
}

pg_fn! {
    /// `hnsw_last_scan()`: NULL where no scan has ended yet, or the caller may not know what it did.
    fn hnsw_last_scan(call) {
        match LAST.get().and_then(Ended::told) {
            Some(done) => call.row(&[
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
            None => call.null(),
        }
    }
}
