//! The table of an index that is being checked: its rows as one snapshot sees them, and where its
//! line pointers lead.

use super::buffer::{Access, Shared, Strategy};
use super::readable::Readable;
use super::relation::Index;
use super::rows::{Values, Visitor, row};
use crate::hnsw::format::RawTid;
use crate::page::PageView;
use pgrx::pg_sys;
use std::ops::Range;

/// The table, with a snapshot taken when this was made: what the snapshot sees was in the index
/// before anybody read the index.
pub struct Table {
    heap: pg_sys::Relation,
    index: Index,
    snapshot: pg_sys::Snapshot,
}

/// What a row's heap TID leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// a row, or what is left of a dead one
    Row,
    /// a line pointer that is free for another row
    Unused,
    /// a version in the middle of a chain of updates, which only the first one leads to
    HeapOnly,
}

impl Table {
    /// The table of an open index, as it is now.
    pub fn of(readable: &Readable) -> Table {
        // SAFETY: on the backend's thread, inside a transaction.
        let snapshot = unsafe { pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot()) };
        Table {
            heap: readable.table(),
            index: readable.index(),
            snapshot,
        }
    }

    /// Blocks of the table.
    pub fn blocks(&self) -> u32 {
        self.as_pages().blocks()
    }

    /// Whether the table's pages are those of PostgreSQL's own heap, which can be looked at.
    pub fn is_heap(&self) -> bool {
        // SAFETY: an open relation.
        unsafe { std::ptr::eq((*self.heap).rd_tableam, pg_sys::GetHeapamTableAmRoutine()) }
    }

    /// The table as a relation whose pages are read.
    fn as_pages(&self) -> Index {
        // SAFETY: open as long as the table.
        unsafe { Index::new(self.heap) }
    }

    /// Where heap TIDs of one block lead, by offset. Called where [`is_heap`](Table::is_heap).
    pub fn targets(&self, block: u32, strategy: Strategy, offsets: &[u16]) -> Vec<Target> {
        if block >= self.blocks() {
            return vec![Target::Unused; offsets.len()];
        }
        let page = Shared::read(self.as_pages(), block, Access::Sequential(strategy));
        offsets
            .iter()
            .map(|&offset| target_on(page.page(), offset))
            .collect()
    }

    /// Hands every row of a range of blocks that the snapshot sees to `visit`, with NULLs: of the
    /// rows that the index is to have. Index expressions run as the table's owner.
    pub fn each(&self, blocks: Range<u32>, mut visit: impl FnMut(Values<'_>, RawTid)) {
        let _as_owner = AsOwner::of(self.heap);
        let mut visit = Visitor {
            columns: self.index.columns(),
            takes_nulls: true,
            visit: &mut visit,
        };
        // SAFETY: an open table and index; the callback gets `visit`. The server ends the scan.
        unsafe {
            let info = pg_sys::BuildIndexInfo(self.index.raw());
            // rows are taken as the scan's snapshot sees them
            (*info).ii_Concurrent = true;
            (*info).ii_Unique = false;
            (*info).ii_ExclusionOps = std::ptr::null_mut();
            let scan = pg_sys::table_beginscan_strat(
                self.heap,
                self.snapshot,
                0,
                std::ptr::null_mut(),
                true,
                false,
            );
            // the heap has the limits of a scan that it did not begin from the scan itself
            let (is_whole, start, length) = match self.is_heap() {
                true => {
                    pg_sys::heap_setscanlimits(scan, blocks.start, blocks.end - blocks.start);
                    (true, 0, pg_sys::InvalidBlockNumber)
                }
                false => (false, blocks.start, blocks.end - blocks.start),
            };
            pg_sys::table_index_build_range_scan(
                self.heap,
                self.index.raw(),
                info,
                is_whole,
                false,
                false,
                start,
                length,
                Some(row),
                (&raw mut visit).cast(),
                scan,
            );
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // While an error unwinds, the transaction's abort forgets the snapshot.
        if !std::thread::panicking() {
            // SAFETY: registered in `of`.
            unsafe { pg_sys::UnregisterSnapshot(self.snapshot) }
        }
    }
}

/// Flags of line pointers.
const NORMAL: u32 = 1;
const REDIRECT: u32 = 2;
const DEAD: u32 = 3;
/// Where a tuple's header has its flags, and the flag of a version that no index leads to.
const INFOMASK2_AT: usize = 18;
const HEAP_ONLY: u16 = 0x8000;

fn target_on(page: PageView<'_>, offset: u16) -> Target {
    match page.line_pointer(offset).map(|raw| (raw >> 15) & 3) {
        Some(REDIRECT | DEAD) => Target::Row,
        Some(NORMAL) => {
            let flags = page.item(offset).ok().flatten().and_then(|tuple| {
                let bytes = tuple.get(INFOMASK2_AT..INFOMASK2_AT + 2)?;
                Some(u16::from_ne_bytes([bytes[0], bytes[1]]))
            });
            match flags {
                Some(flags) if flags & HEAP_ONLY == 0 => Target::Row,
                _ => Target::HeapOnly,
            }
        }
        _ => Target::Unused,
    }
}

/// Whoever calls a check must not run the table owner's functions with rights of his own.
struct AsOwner {
    role: pg_sys::Oid,
    context: std::ffi::c_int,
    settings: std::ffi::c_int,
}

impl AsOwner {
    fn of(table: pg_sys::Relation) -> AsOwner {
        let mut before = AsOwner {
            role: pg_sys::InvalidOid,
            context: 0,
            settings: 0,
        };
        // SAFETY: an open relation; on the backend's thread.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut before.role, &mut before.context);
            pg_sys::SetUserIdAndSecContext(
                (*(*table).rd_rel).relowner,
                before.context | pg_sys::SECURITY_RESTRICTED_OPERATION as i32,
            );
            before.settings = pg_sys::NewGUCNestLevel();
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            pg_sys::RestrictSearchPath();
        }
        before
    }
}

impl Drop for AsOwner {
    fn drop(&mut self) {
        // While an error unwinds, the transaction's abort does so.
        if !std::thread::panicking() {
            // SAFETY: begun in `of`.
            unsafe {
                pg_sys::AtEOXact_GUC(false, self.settings);
                pg_sys::SetUserIdAndSecContext(self.role, self.context);
            }
        }
    }
}
