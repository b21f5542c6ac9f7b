//! Which rows a scan wants: what its conditions on filter columns ask, and an allow-list of heap
//! tuples where the planner has one.
//!
//! [`Filter::of_row`] judges by keys alone and may leave a row open; [`Filter::settle`] then asks the
//! table, which must not happen while a page of the index is locked.

use super::keys::{Check, FilterColumns};
use crate::hnsw::format::RawTid;
use crate::hnsw::keys::{Conditions, Verdict};
use crate::pg::relation::Index;
use pgrx::pg_sys;
use rustc_hash::FxHashSet;
use std::cell::RefCell;
use std::rc::Rc;

/// Heap tuples that a scan may hand out.
#[derive(Debug, Default, Clone)]
pub struct TidSet {
    tids: FxHashSet<RawTid>,
    /// heap blocks whose tuples are all allowed, for somebody above the scan to look at
    whole_blocks: FxHashSet<u32>,
}

impl TidSet {
    /// How many tuples are allowed; `None` where whole blocks are.
    pub fn count(&self) -> Option<usize> {
        self.whole_blocks.is_empty().then_some(self.tids.len())
    }

    /// Whether a heap tuple is allowed.
    #[inline]
    pub fn contains(&self, tid: RawTid) -> bool {
        let block = (tid.block_hi as u32) << 16 | tid.block_lo as u32;
        self.tids.contains(&tid)
            || (!self.whole_blocks.is_empty() && self.whole_blocks.contains(&block))
    }
}

thread_local! {
    /// allow-lists of scans, by scan
    static ALLOWED: RefCell<Vec<(pg_sys::IndexScanDesc, Rc<TidSet>)>> = const { RefCell::new(Vec::new()) };
}

/// Sets which heap tuples a scan may hand out, from its next rescan on; `None` is all. A scan that
/// ends forgets it.
pub fn allow(scan: pg_sys::IndexScanDesc, allowed: Option<Rc<TidSet>>) {
    ALLOWED.with_borrow_mut(|scans| {
        scans.retain(|(known, _)| *known != scan);
        scans.extend(allowed.map(|allowed| (scan, allowed)));
    });
}

/// What [`allow`] set.
pub fn allowed(scan: pg_sys::IndexScanDesc) -> Option<Rc<TidSet>> {
    ALLOWED.with_borrow(|scans| {
        let found = scans.iter().find(|(known, _)| *known == scan);
        found.map(|(_, allowed)| allowed.clone())
    })
}

/// Allows heap tuples.
impl Extend<RawTid> for TidSet {
    fn extend<T: IntoIterator<Item = RawTid>>(&mut self, tids: T) {
        self.tids.extend(tids);
    }
}

/// A heap block whose tuples are all allowed.
#[derive(Debug, Clone, Copy)]
pub struct WholeBlock(pub u32);

impl Extend<WholeBlock> for TidSet {
    fn extend<T: IntoIterator<Item = WholeBlock>>(&mut self, blocks: T) {
        self.whole_blocks
            .extend(blocks.into_iter().map(|block| block.0));
    }
}

/// Which rows a scan wants.
pub struct Filter {
    /// what is asked of keys; none are kept in the plain layout
    pub conditions: Conditions,
    allowed: Option<Rc<TidSet>>,
    check: RefCell<Check>,
}

impl Filter {
    /// The filter of a scan whose keys and arguments are set; `None` where it wants all rows.
    ///
    /// # Safety
    /// `scan` is begun, and open as long as the result is used.
    pub unsafe fn of(
        scan: pg_sys::IndexScanDesc,
        index: Index,
        allowed: Option<Rc<TidSet>>,
    ) -> Option<Filter> {
        // SAFETY: the descriptor has as many keys as it says.
        let keys = unsafe {
            match (*scan).numberOfKeys {
                1.. => std::slice::from_raw_parts((*scan).keyData, (*scan).numberOfKeys as usize),
                _ => &[],
            }
        };
        let conditions = match keys {
            [] => Conditions::default(),
            // SAFETY: the scan's own keys, on its index.
            _ => unsafe { FilterColumns::of(index).conditions(keys) },
        };
        if conditions.is_empty() && allowed.is_none() {
            return None;
        }
        Some(Filter {
            conditions,
            allowed,
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
            _ => verdict,
        }
    }

    /// The allow-list.
    #[inline]
    pub fn allowed(&self) -> Option<&TidSet> {
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
