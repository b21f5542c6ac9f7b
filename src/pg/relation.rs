//! An open index relation, and what can be asked of it.

use pgrx::pg_sys;
use std::ffi::CStr;

/// InvalidSubTransactionId of the server.
const NO_SUBTRANSACTION: pg_sys::SubTransactionId = 0;

/// An index that the server has opened for the callback that is running.
#[derive(Clone, Copy)]
pub struct Index(pg_sys::Relation);

impl Index {
    /// # Safety
    /// `relation` is open, and stays open while the result and its copies are used.
    pub unsafe fn new(relation: pg_sys::Relation) -> Self {
        Index(relation)
    }

    /// The server's pointer.
    #[inline]
    pub fn raw(self) -> pg_sys::Relation {
        self.0
    }

    /// The index's name, for messages.
    pub fn name(self) -> String {
        // SAFETY: an open relation has a pg_class row with a NUL-terminated name.
        unsafe {
            CStr::from_ptr((*(*self.0).rd_rel).relname.data.as_ptr())
                .to_string_lossy()
                .into_owned()
        }
    }

    /// The name of its access method, for messages.
    pub fn method_name(self) -> String {
        // SAFETY: an open index; the server looks its access method up in the catalog.
        unsafe {
            let name = pg_sys::get_am_name((*(*self.0).rd_rel).relam);
            match name.is_null() {
                true => "vector".into(),
                false => CStr::from_ptr(name).to_string_lossy().into_owned(),
            }
        }
    }

    /// Whether changes must be WAL-logged (RelationNeedsWAL).
    pub fn needs_wal(self) -> bool {
        // SAFETY: an open relation; the macro's definition.
        unsafe {
            let permanent =
                (*(*self.0).rd_rel).relpersistence == pg_sys::RELPERSISTENCE_PERMANENT as i8;
            permanent
                && (pg_sys::wal_level > pg_sys::WalLevel::WAL_LEVEL_MINIMAL as i32
                    || !self.is_new_file())
        }
    }

    /// Whether the relation's file was created by this very transaction.
    fn is_new_file(self) -> bool {
        // SAFETY: an open relation.
        unsafe {
            let created = (*self.0).rd_createSubid != NO_SUBTRANSACTION;
            #[cfg(any(feature = "pg14", feature = "pg15"))]
            let first = (*self.0).rd_firstRelfilenodeSubid;
            #[cfg(not(any(feature = "pg14", feature = "pg15")))]
            let first = (*self.0).rd_firstRelfilelocatorSubid;
            created || first != NO_SUBTRANSACTION
        }
    }

    /// Number of the index's file, which changes when it is rewritten.
    pub fn file_number(self) -> pg_sys::Oid {
        // SAFETY: an open relation.
        unsafe {
            #[cfg(any(feature = "pg14", feature = "pg15"))]
            return (*self.0).rd_node.relNode;
            #[cfg(not(any(feature = "pg14", feature = "pg15")))]
            return (*self.0).rd_locator.relNumber;
        }
    }

    /// Whether its pages are in this session's own buffers.
    pub fn is_temporary(self) -> bool {
        // SAFETY: an open relation.
        unsafe { (*(*self.0).rd_rel).relpersistence == pg_sys::RELPERSISTENCE_TEMP as i8 }
    }

    /// Pins a shared buffer if it holds a block of this index.
    #[inline]
    pub fn is_in_buffer(self, block: u32, buffer: pg_sys::Buffer) -> bool {
        // SAFETY: an open relation; the buffer number was given out by the server.
        unsafe {
            #[cfg(any(feature = "pg14", feature = "pg15"))]
            let file = (*self.0).rd_node;
            #[cfg(not(any(feature = "pg14", feature = "pg15")))]
            let file = (*self.0).rd_locator;
            pg_sys::ReadRecentBuffer(file, pg_sys::ForkNumber::MAIN_FORKNUM, block, buffer)
        }
    }

    /// Blocks in the main fork.
    pub fn blocks(self) -> u32 {
        self.blocks_in(pg_sys::ForkNumber::MAIN_FORKNUM)
    }

    /// Blocks in a fork.
    pub fn blocks_in(self, fork: pg_sys::ForkNumber::Type) -> u32 {
        // SAFETY: an open relation.
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.0, fork) }
    }

    /// Counts a scan in the statistics views (pgstat_count_index_scan).
    pub fn count_scan(self) {
        // SAFETY: an open relation on the backend's thread.
        unsafe {
            let relation = self.0;
            #[cfg(not(feature = "pg14"))]
            if (*relation).pgstat_info.is_null() && (*relation).pgstat_enabled {
                pg_sys::pgstat_assoc_relation(relation);
            }
            if let Some(stats) = (*relation).pgstat_info.as_mut() {
                #[cfg(any(feature = "pg14", feature = "pg15"))]
                {
                    stats.t_counts.t_numscans += 1;
                }
                #[cfg(not(any(feature = "pg14", feature = "pg15")))]
                {
                    stats.counts.numscans += 1;
                }
            }
        }
    }

    /// The index's table.
    pub fn table(self) -> pg_sys::Oid {
        // SAFETY: an open index has its pg_index row.
        unsafe { (*(*self.0).rd_index).indrelid }
    }

    /// Number of columns.
    pub fn columns(self) -> usize {
        // SAFETY: an open relation has a tuple descriptor.
        unsafe { (*(*self.0).rd_att).natts as usize }
    }

    /// The type that the operator class of column `n` (from 0) is for, and the column's collation.
    pub fn operand(self, n: usize) -> (pg_sys::Oid, pg_sys::Oid) {
        assert!(n < self.columns());
        // SAFETY: an open index has an entry for each column.
        unsafe {
            (
                *(*self.0).rd_opcintype.add(n),
                *(*self.0).rd_indcollation.add(n),
            )
        }
    }

    /// Attribute `n` (from 0) of the index: type oid and typmod.
    pub fn attribute(self, n: usize) -> (pg_sys::Oid, i32) {
        // SAFETY: an open relation has a tuple descriptor; the assertion bounds `n`.
        unsafe {
            let desc = (*self.0).rd_att;
            assert!(n < (*desc).natts as usize);
            #[cfg(not(feature = "pg18"))]
            let attribute = &(*desc).attrs.as_slice((*desc).natts as usize)[n];
            #[cfg(feature = "pg18")]
            let attribute = &*pg_sys::TupleDescAttr(desc, n as i32);
            (attribute.atttypid, attribute.atttypmod)
        }
    }
}

/// A heavyweight lock on a page number of an index, held until drop. Used as a turnstile between
/// inserts and VACUUM; the page itself is not touched.
pub struct Turnstile {
    index: Index,
    block: u32,
    mode: pg_sys::LOCKMODE,
}

impl Turnstile {
    /// Waits for the lock, answering interrupts.
    pub fn lock(index: Index, block: u32, mode: u32) -> Self {
        let mode = mode as pg_sys::LOCKMODE;
        // SAFETY: an open relation.
        unsafe { pg_sys::LockPage(index.raw(), block, mode) };
        Turnstile { index, block, mode }
    }

    /// Takes the lock unless that would mean waiting.
    pub fn try_lock(index: Index, block: u32, mode: u32) -> Option<Self> {
        let mode = mode as pg_sys::LOCKMODE;
        // SAFETY: an open relation.
        let is_locked = unsafe { pg_sys::ConditionalLockPage(index.raw(), block, mode) };
        // made only where it is locked: dropping one unlocks
        is_locked.then(|| Turnstile { index, block, mode })
    }
}

impl Drop for Turnstile {
    fn drop(&mut self) {
        // While an error unwinds, the transaction's abort releases the lock.
        if !std::thread::panicking() {
            // SAFETY: we hold the lock.
            unsafe { pg_sys::UnlockPage(self.index.raw(), self.block, self.mode) }
        }
    }
}

/// Whether the server replays a log: on a standby, or after a crash.
pub fn is_in_recovery() -> bool {
    // SAFETY: asks.
    unsafe { pg_sys::RecoveryInProgress() }
}
