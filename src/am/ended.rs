//! What the last scan of this backend did, and who may know it.

use crate::pg::readable::may_read;
use crate::pg::relation::Index;
use pgrx::pg_sys;

/// A scan that has ended, and what it did.
#[derive(Debug, Clone, Copy)]
pub struct Ended<D> {
    /// for whom it ran
    role: pg_sys::Oid,
    /// the table of its index
    table: pg_sys::Oid,
    done: D,
}

fn current_role() -> pg_sys::Oid {
    // SAFETY: reads the backend's state.
    unsafe { pg_sys::GetUserId() }
}

impl<D> Ended<D> {
    /// A scan of an index that ends now.
    pub fn now(index: Index, done: D) -> Self {
        Ended {
            role: current_role(),
            table: index.table(),
            done,
        }
    }

    /// What it did, where the caller may know that: it ran for the same role (and not in a SECURITY DEFINER
    /// function, say), and the role may read all rows of the table, which what it did tells of.
    pub fn told(self) -> Option<D> {
        (self.role == current_role() && may_read(self.table)).then_some(self.done)
    }
}
