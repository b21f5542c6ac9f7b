//! Which rows a scan wants: what its conditions on filter columns ask, and what another
//! index says may match, where the plan has that.
//!
//! [`Filter::of_row`] judges by keys alone and may leave a row open; [`Filter::settle`] then asks the
//! table, which must not happen while a page of the index is locked.

use crate::allow_list::AllowList;
use crate::hnsw::format::RawTid;
use crate::keys::{Conditions, Verdict};
use crate::pg::relation::Index;
use keys::FilterColumns;
use pgrx::pg_sys;
use rows::Check;
use std::cell::RefCell;
use std::rc::Rc;

mod conditions;
pub mod keys;
mod rows;
mod values;

/// Which rows a scan wants.
pub struct Filter {
    /// what is asked of keys; none are kept in the plain layout
    pub conditions: Conditions,
    allowed: Option<Rc<AllowList>>,
    /// there are conditions that keys tell nothing of
    asks_rows: bool,
    check: RefCell<Check>,
}

impl Filter {
    /// The filter of a scan whose keys and arguments are set; `None` where it wants all rows. Where it
    /// `asks_rows`, every row that is not denied is put to all conditions.
    ///
    /// # Safety
    /// `scan` is begun, and open as long as the result is used.
    pub unsafe fn of(
        scan: pg_sys::IndexScanDesc,
        index: Index,
        allowed: Option<Rc<AllowList>>,
        asks_rows: bool,
    ) -> Option<Filter> {
        // SAFETY: as promised by the caller.
        let keys = unsafe { keys_of(scan) };
        let conditions = match keys {
            [] => Conditions::default(),
            // SAFETY: the scan's own keys, on its index.
            _ => unsafe { FilterColumns::of(index).conditions(keys) },
        };
        if conditions.is_empty() && allowed.is_none() && !asks_rows {
            return None;
        }
        Some(Filter {
            conditions,
            allowed,
            asks_rows,
            // SAFETY: as promised by the caller.
            check: RefCell::new(unsafe { Check::new(scan, keys) }),
        })
    }

    /// What is known of a row by its address and its keys.
    #[inline]
    pub fn of_row(&self, tid: RawTid, keys: &[u64]) -> Verdict {
        let verdict = self.conditions.of(keys);
        if verdict == Verdict::No {
            return verdict;
        }
        match &self.allowed {
            Some(allowed) if !allowed.contains(tid) => Verdict::No,
            _ if self.asks_rows => Verdict::Open,
            _ => verdict,
        }
    }

    /// The allow-list.
    #[inline]
    pub fn allowed(&self) -> Option<&AllowList> {
        self.allowed.as_deref()
    }

    /// Decides what keys left open, from the row itself.
    pub fn settle(&self, tid: RawTid) -> Verdict {
        self.check.borrow_mut().holds(tid)
    }

    /// Whether the executor has to look at the rows again.
    pub fn needs_recheck(&self) -> bool {
        !self.conditions.is_certain()
    }

    /// Lets go of the table.
    pub fn end(&self) {
        self.check.borrow_mut().end();
    }
}

/// The conditions of a scan.
///
/// # Safety
/// `scan` is begun, with its keys set.
pub unsafe fn keys_of<'a>(scan: pg_sys::IndexScanDesc) -> &'a [pg_sys::ScanKeyData] {
    // SAFETY: the descriptor has as many keys as it says.
    unsafe {
        match (*scan).numberOfKeys {
            1.. => std::slice::from_raw_parts((*scan).keyData, (*scan).numberOfKeys as usize),
            _ => &[],
        }
    }
}
