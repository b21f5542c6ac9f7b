//! Rows of the table: the indexed value as an index scan's snapshot sees it, for comparing rows by their
//! exact distance; and as inserts and VACUUM need it, to make codes anew.

use super::buffer::{Hints, has_block, prefetch_ends, prefetch_item, prefetch_line_pointer};
use super::conditions::Conditions;
use super::error::raise_index;
use super::relation::Index;
use super::rows::item_pointer;
use crate::hnsw::format::RawTid;
use pgrx::pg_sys::{self, Datum};
use std::mem::MaybeUninit;

/// Functions called inside an error guard of ours, or that do not raise.
mod unguarded {
    use pgrx::pg_sys;
    unsafe extern "C-unwind" {
        pub fn slot_getsomeattrs_int(slot: *mut pg_sys::TupleTableSlot, attnum: std::ffi::c_int);
        pub fn FormIndexDatum(
            info: *mut pg_sys::IndexInfo,
            slot: *mut pg_sys::TupleTableSlot,
            estate: *mut pg_sys::EState,
            values: *mut pg_sys::Datum,
            isnull: *mut bool,
        );
        pub fn MemoryContextReset(context: pg_sys::MemoryContext);
        pub fn PrefetchBuffer(
            relation: pg_sys::Relation,
            fork: pg_sys::ForkNumber::Type,
            block: pg_sys::BlockNumber,
        ) -> pg_sys::PrefetchBufferResult;
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        pub fn ReadRecentBuffer(
            file: pg_sys::RelFileNode,
            fork: pg_sys::ForkNumber::Type,
            block: pg_sys::BlockNumber,
            buffer: pg_sys::Buffer,
        ) -> bool;
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        pub fn ReadRecentBuffer(
            file: pg_sys::RelFileLocator,
            fork: pg_sys::ForkNumber::Type,
            block: pg_sys::BlockNumber,
            buffer: pg_sys::Buffer,
        ) -> bool;
        pub fn ReleaseBuffer(buffer: pg_sys::Buffer);
        pub fn heap_page_prune_opt(table: pg_sys::Relation, buffer: pg_sys::Buffer);
    }
}

/// Rows ahead of the one that is looked at whose ends the processor is asked for.
const ROWS_AHEAD: usize = 4;

/// Reads indexed values from the table of an index scan.
///
/// It belongs to one scan descriptor, survives its rescans, and takes nothing from the server
/// before the first row is asked for.
///
/// Dropping it releases nothing, on purpose: the state of a scan that failed is dropped with its
/// memory context, after the server took back the pins and the tuple descriptor by itself, perhaps
/// in a subtransaction that is long over when the cursor is closed. A scan that ends well calls
/// [`end`](HeapReader::end); one that forgets is told by the server's warnings about leaks.
pub struct HeapReader {
    scan: pg_sys::IndexScanDesc,
    /// where the scan lives
    parent: pg_sys::MemoryContext,
    open: Option<Open>,
    /// where the table's pages are; of a table of the server's own kind
    hints: Option<Hints>,
    /// what makes whole index entries of rows, where somebody asked for them
    entry: Option<Entry>,
    /// whether asking the operating system for blocks ahead is wanted, once known
    prefetches: Option<bool>,
}

/// What an opened reader holds.
#[derive(Clone, Copy)]
struct Open {
    /// everything below
    context: pg_sys::MemoryContext,
    /// reset after every row
    row: pg_sys::MemoryContext,
    fetch: *mut pg_sys::IndexFetchTableData,
    fetch_tuple: FetchTuple,
    slot: *mut pg_sys::TupleTableSlot,
    value: Source,
}

type FetchTuple = unsafe extern "C-unwind" fn(
    *mut pg_sys::IndexFetchTableData,
    pg_sys::ItemPointer,
    pg_sys::Snapshot,
    *mut pg_sys::TupleTableSlot,
    *mut bool,
    *mut bool,
) -> bool;

/// Makes index entries of rows.
#[derive(Clone, Copy)]
struct Entry {
    info: *mut pg_sys::IndexInfo,
    estate: *mut pg_sys::EState,
}

/// Where in a row the indexed value is.
#[derive(Clone, Copy)]
enum Source {
    /// a column, by number from 1
    Column(i16),
    /// to be computed
    Expression {
        info: *mut pg_sys::IndexInfo,
        estate: *mut pg_sys::EState,
    },
}

impl HeapReader {
    /// The reader of a scan, to be made where the scan is begun (`ambeginscan`): what it allocates
    /// later lives in the memory context that is current now.
    ///
    /// # Safety
    /// `scan` is valid for as long as the reader is used, and begun for an index and its table
    /// before the first row is asked for.
    pub unsafe fn new(scan: pg_sys::IndexScanDesc) -> Self {
        HeapReader {
            scan,
            // SAFETY: on the backend's thread.
            parent: unsafe { pg_sys::CurrentMemoryContext },
            open: None,
            hints: None,
            entry: None,
            prefetches: None,
        }
    }

    /// Hands the indexed value of a row to `f`: of the version, among those the index entry stands
    /// for, that the scan's snapshot sees. None where it sees none, or the value is NULL.
    ///
    /// The value may be compressed or out of line. It, and what `f` allocates from the server, is
    /// gone when `f` returns. The row's page stays pinned until the next row, or
    /// [`release`](HeapReader::release).
    #[inline]
    pub fn fetch<R>(&mut self, tid: RawTid, f: impl FnOnce(Datum) -> R) -> Option<R> {
        self.fetch_where(tid, &Conditions::default(), f)
    }

    /// The same of a row for which conditions hold.
    #[inline]
    pub fn fetch_where<R>(
        &mut self,
        tid: RawTid,
        conditions: &Conditions,
        f: impl FnOnce(Datum) -> R,
    ) -> Option<R> {
        // SAFETY: the scan is valid and being executed.
        unsafe { check_tid(self.scan, tid) };
        let open = self.opened();
        // SAFETY: the scan is valid and being executed; what is opened is valid until `end`.
        // Nothing between the guard and the server has a destructor.
        unsafe {
            let snapshot = (*self.scan).xs_snapshot;
            let hints = self.hints.as_ref();
            let value = pg_sys::ffi::pg_guard_ffi_boundary(|| {
                open.indexed_value(tid, snapshot, hints, conditions)
            });
            let result = value.map(|value| {
                let caller = switch_to(open.row);
                let result = f(value);
                switch_to(caller);
                result
            });
            unguarded::MemoryContextReset(open.row);
            result
        }
    }

    /// Whether the scan's snapshot sees a version of a row, and conditions hold for it.
    pub fn passes(&mut self, tid: RawTid, conditions: &Conditions) -> bool {
        // SAFETY: the scan is valid and being executed.
        unsafe { check_tid(self.scan, tid) };
        let open = self.opened();
        // SAFETY: as in `fetch`; the conditions are of the scan's plan node.
        unsafe {
            let snapshot = (*self.scan).xs_snapshot;
            let hints = self.hints.as_ref();
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                open.find(tid, snapshot, hints) && conditions.hold_for(open.slot)
            })
        }
    }

    /// The same of many rows: `passes` gets an answer for each.
    pub fn pass_each(&mut self, tids: &[RawTid], conditions: &Conditions, passes: &mut Vec<bool>) {
        passes.clear();
        passes.reserve(tids.len());
        for &tid in tids {
            // SAFETY: the scan is valid and being executed.
            unsafe { check_tid(self.scan, tid) };
        }
        let open = self.opened();
        // SAFETY: as in `fetch`; the conditions are of the scan's plan node. There is room for all answers.
        unsafe {
            let snapshot = (*self.scan).xs_snapshot;
            let hints = self.hints.as_ref();
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                for (n, &tid) in tids.iter().enumerate() {
                    if let Some(&next) = tids.get(n + ROWS_AHEAD)
                        && let Some(hint) = hints.and_then(|hints| hints.hint(block_of(next)))
                    {
                        prefetch_ends(hint, next.offset);
                    }
                    let is_seen = open.find(tid, snapshot, hints);
                    passes.push(is_seen && conditions.hold_for(open.slot));
                }
            })
        }
    }

    /// Hands all columns of a row's index entry to `f`: values and whether they are NULL, of the
    /// version that the scan's snapshot sees. None where it sees none. What holds for
    /// [`fetch`](HeapReader::fetch) holds here, too.
    pub fn fetch_all<R>(
        &mut self,
        tid: RawTid,
        f: impl FnOnce(&[Datum], &[bool]) -> R,
    ) -> Option<R> {
        let open = self.opened();
        let entry = match self.entry {
            Some(entry) => entry,
            None => self.open_entry(open),
        };
        const MOST: usize = pg_sys::INDEX_MAX_KEYS as usize;
        let mut values = [Datum::null(); MOST];
        let mut nulls = [true; MOST];
        // SAFETY: as in `fetch`.
        unsafe {
            let snapshot = (*self.scan).xs_snapshot;
            let hints = self.hints.as_ref();
            let is_seen = pg_sys::ffi::pg_guard_ffi_boundary(|| {
                let caller = switch_to(open.row);
                let is_seen = open.find(tid, snapshot, hints);
                if is_seen {
                    unguarded::FormIndexDatum(
                        entry.info,
                        open.slot,
                        entry.estate,
                        values.as_mut_ptr(),
                        nulls.as_mut_ptr(),
                    );
                }
                switch_to(caller);
                is_seen
            });
            let result = is_seen.then(|| {
                let caller = switch_to(open.row);
                let columns = (*(*self.scan).indexRelation).rd_att;
                let columns = (*columns).natts as usize;
                let result = f(&values[..columns], &nulls[..columns]);
                switch_to(caller);
                result
            });
            unguarded::MemoryContextReset(open.row);
            result
        }
    }

    #[cold]
    fn open_entry(&mut self, open: Open) -> Entry {
        // SAFETY: an open index; what is allocated lives as long as the scan.
        unsafe {
            let caller = switch_to(open.context);
            let info = pg_sys::BuildIndexInfo((*self.scan).indexRelation);
            let estate = pg_sys::CreateExecutorState();
            let expressions = pg_sys::MakePerTupleExprContext(estate);
            (*expressions).ecxt_scantuple = open.slot;
            switch_to(caller);
            let entry = Entry { info, estate };
            self.entry = Some(entry);
            entry
        }
    }

    /// Asks for rows that will be fetched soon: the processor for those in the buffer pool; the operating system
    /// for the pages of the others, unless `effective_io_concurrency` is 0.
    pub fn prefetch(&mut self, tids: &[RawTid]) {
        self.prefetch_with(tids, tids.len(), prefetch_ends);
    }

    /// The same of rows whose values will be compared as a whole, and of the first `at_once` of them the values
    /// themselves; [`ask_for_value`](Self::ask_for_value) is for the others.
    pub fn prefetch_whole(&mut self, tids: &[RawTid], at_once: usize) {
        self.prefetch_with(tids, at_once, prefetch_item);
    }

    /// Asks the processor for the value of a row that is fetched soon, if its page is known to be in the buffer pool;
    /// where on the page it is has been asked for.
    #[inline]
    pub fn ask_for_value(&self, tid: RawTid) {
        if let Some(hint) = self.hint(tid) {
            prefetch_item(hint, tid.offset);
        }
    }

    /// Asks the processor for where on its page such a row is.
    #[inline]
    pub fn ask_for_pointer(&self, tid: RawTid) {
        if let Some(hint) = self.hint(tid) {
            prefetch_line_pointer(hint, tid.offset);
        }
    }

    #[inline]
    fn hint(&self, tid: RawTid) -> Option<pg_sys::Buffer> {
        let hints = self.hints.as_ref()?;
        hints.hint(block_of(tid))
    }

    #[inline(always)]
    fn prefetch_with(
        &mut self,
        tids: &[RawTid],
        at_once: usize,
        of_row: impl Fn(pg_sys::Buffer, u16),
    ) {
        self.opened();
        // SAFETY: the scan is valid and being executed. Nothing between the guard and the server
        // has a destructor.
        unsafe {
            let heap = self.heap();
            let wanted = *self.prefetches.get_or_insert_with(|| {
                pg_sys::get_tablespace_io_concurrency((*(*heap).rd_rel).reltablespace) > 0
            });
            for &tid in tids {
                check_tid(self.scan, tid);
            }
            let hints = self.hints.as_ref();
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                let mut last = pg_sys::InvalidBlockNumber;
                for &tid in tids {
                    let block = block_of(tid);
                    if block == std::mem::replace(&mut last, block) {
                        continue;
                    }
                    let known = hints.filter(|hints| !(wanted && hints.is_of_large()));
                    if let Some(hint) = known.and_then(|hints| hints.hint(block)) {
                        prefetch_line_pointer(hint, tid.offset);
                    } else if wanted {
                        let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
                        let found = unguarded::PrefetchBuffer(heap, fork, block).recent_buffer;
                        prefetch_line_pointer(found, tid.offset);
                        if let Some(hints) = hints.filter(|_| found > 0) {
                            hints.note(block, found);
                        }
                    }
                }
            });
            for &tid in tids.iter().take(at_once) {
                if let Some(hint) = hints.and_then(|hints| hints.hint(block_of(tid))) {
                    of_row(hint, tid.offset);
                }
            }
        }
    }

    /// Gives up the pin on the page of the last row. Called before a scan hands out rows, so that
    /// a cursor left open does not keep VACUUM from the page.
    pub fn release(&mut self) {
        let Some(open) = self.open else {
            return;
        };
        // SAFETY: opened, and not ended.
        unsafe {
            let reset = (*(*self.heap()).rd_tableam).index_fetch_reset;
            let clear = (*(*open.slot).tts_ops).clear;
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                // a cleared slot says so; clearing twice is harmless, but not free
                if (*open.slot).tts_flags & pg_sys::TTS_FLAG_EMPTY as u16 == 0 {
                    clear.expect("slots can be cleared")(open.slot);
                }
                reset.expect("table access methods have it")(open.fetch);
            })
        }
    }

    /// Releases everything. Called where a scan ends (`amendscan`), and not after an ERROR.
    pub fn end(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        let entry = self.entry.take();
        // SAFETY: opened for this table, and forgotten just now.
        unsafe {
            if let Some(entry) = entry {
                pg_sys::FreeExecutorState(entry.estate);
            }
            open.close(self.heap());
        }
    }

    fn heap(&self) -> pg_sys::Relation {
        // SAFETY: the scan is valid.
        let heap = unsafe { (*self.scan).heapRelation };
        assert!(!heap.is_null(), "an ordered index scan has its table open");
        heap
    }

    #[inline(always)]
    fn opened(&mut self) -> Open {
        match self.open {
            Some(open) => open,
            None => self.open(),
        }
    }

    #[cold]
    fn open(&mut self) -> Open {
        let heap = self.heap();
        // SAFETY: an open table and index; what is allocated lives as long as the scan.
        let open = unsafe { Open::new(heap, (*self.scan).indexRelation, self.parent) };
        self.open = Some(open);
        // SAFETY: an open table.
        self.hints = unsafe { hints_of(heap) };
        open
    }
}

impl Open {
    /// Opens a table to read what one of its indexes holds.
    ///
    /// # Safety
    /// Table and index are open, and `parent` is valid, for as long as the result is used.
    unsafe fn new(
        heap: pg_sys::Relation,
        index: pg_sys::Relation,
        parent: pg_sys::MemoryContext,
    ) -> Open {
        // SAFETY: as promised by the caller.
        unsafe {
            let context = new_context(parent, c"vectorext table reader");
            let caller = switch_to(context);
            let am = &*(*heap).rd_tableam;
            let begin = am.index_fetch_begin.expect("table access methods have it");
            let slot = pg_sys::table_slot_create(heap, std::ptr::null_mut());
            let number = *(*(*index).rd_index).indkey.values.as_ptr();
            let (value, row) = if number > 0 {
                let row = new_context(context, c"vectorext table reader's row");
                (Source::Column(number), row)
            } else {
                let info = pg_sys::BuildIndexInfo(index);
                let estate = pg_sys::CreateExecutorState();
                let expressions = pg_sys::MakePerTupleExprContext(estate);
                (*expressions).ecxt_scantuple = slot;
                let row = (*expressions).ecxt_per_tuple_memory;
                (Source::Expression { info, estate }, row)
            };
            let fetch = pg_sys::ffi::pg_guard_ffi_boundary(|| begin(heap));
            switch_to(caller);
            Open {
                context,
                row,
                fetch,
                fetch_tuple: am.index_fetch_tuple.expect("table access methods have it"),
                slot,
                value,
            }
        }
    }

    /// Releases everything.
    ///
    /// # Safety
    /// `heap` is the table it was opened for; nothing of it is used any more.
    unsafe fn close(self, heap: pg_sys::Relation) {
        // SAFETY: as promised by the caller.
        unsafe {
            let end = (*(*heap).rd_tableam).index_fetch_end;
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                end.expect("table access methods have it")(self.fetch)
            });
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            if let Source::Expression { estate, .. } = self.value {
                pg_sys::FreeExecutorState(estate);
            }
            pg_sys::MemoryContextDelete(self.context);
        }
    }
}

/// Pins a page of the table where it is known to be, in the place of the page that was looked at last: the server
/// then finds it without a look-up. False where it is not known.
///
/// # Safety
/// Called inside an error guard; `fetch` is of an open table of the server's own kind.
#[inline(always)]
unsafe fn hold(
    fetch: *mut pg_sys::IndexFetchTableData,
    block: pg_sys::BlockNumber,
    hints: &Hints,
) -> bool {
    let Some(hint) = hints.hint_to_pin(block) else {
        return false;
    };
    // SAFETY: as promised by the caller. The server checks whether the page is the one that it wants.
    unsafe {
        let table = (*fetch).rel;
        let fetch = fetch.cast::<pg_sys::IndexFetchHeapData>();
        let held = (*fetch).xs_cbuf;
        if held == hint {
            return true;
        }
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        let file = (*table).rd_node;
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        let file = (*table).rd_locator;
        let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
        if !unguarded::ReadRecentBuffer(file, fork, block, hint) {
            return false;
        }
        (*fetch).xs_cbuf = hint;
        if held != pg_sys::InvalidBuffer as pg_sys::Buffer {
            unguarded::ReleaseBuffer(held);
        }
    }
    true
}

/// Pins the page of a row that is handed out, for the executor, which would else look it up.
///
/// # Safety
/// The scan is being executed.
pub unsafe fn hold_for_executor(scan: pg_sys::IndexScanDesc, tid: RawTid) {
    // SAFETY: as promised by the caller. There are hints only of tables of the server's own kind. Nothing inside the
    // guard has a destructor.
    unsafe {
        let (table, fetch) = ((*scan).heapRelation, (*scan).xs_heapfetch);
        if table.is_null() || fetch.is_null() {
            return;
        }
        let Some(hints) = Hints::known(Index::new(table)) else {
            return;
        };
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            let of_heap = fetch.cast::<pg_sys::IndexFetchHeapData>();
            let before = (*of_heap).xs_cbuf;
            if hold(fetch, block_of(tid), &hints) && (*of_heap).xs_cbuf != before {
                // as the server does with a page that it comes to
                unguarded::heap_page_prune_opt(table, (*of_heap).xs_cbuf);
            }
        })
    }
}

/// Raises XX002 for a heap TID that is none, or past the end of its table, which only damage makes: nothing is cut
/// off a table while a scan has it locked. The server itself would fail with an internal error.
///
/// # Safety
/// The scan is valid, and its table is open.
#[inline]
pub unsafe fn check_tid(scan: pg_sys::IndexScanDesc, tid: RawTid) {
    // SAFETY: as promised by the caller.
    unsafe { check_tid_of((*scan).heapRelation, (*scan).indexRelation, tid) }
}

/// # Safety
/// The table and its index are open.
#[inline]
unsafe fn check_tid_of(heap: pg_sys::Relation, index: pg_sys::Relation, tid: RawTid) {
    // SAFETY: as promised by the caller.
    unsafe {
        if tid.offset == 0 {
            raise_no_row(Index::new(index), "with no place in its table");
        }
        if !has_block(Index::new(heap), block_of(tid)) {
            raise_past_the_end(heap, Index::new(index));
        }
    }
}

/// Whether a table is of the server's own kind.
///
/// # Safety
/// The table is open.
unsafe fn is_heap(table: pg_sys::Relation) -> bool {
    // SAFETY: as promised by the caller.
    unsafe { std::ptr::eq((*table).rd_tableam, pg_sys::GetHeapamTableAmRoutine()) }
}

/// What is known of where a table's pages are.
///
/// # Safety
/// The table is open.
unsafe fn hints_of(table: pg_sys::Relation) -> Option<Hints> {
    // SAFETY: as promised by the caller.
    unsafe { is_heap(table).then(|| Hints::of(Index::new(table))) }
}

/// # Safety
/// As [`check_tid_of`].
#[cold]
unsafe fn raise_past_the_end(heap: pg_sys::Relation, index: Index) {
    // SAFETY: as promised by the caller. Other table access methods may count otherwise.
    if !unsafe { is_heap(heap) } {
        return;
    }
    raise_no_row(index, "past the end of its table")
}

#[cold]
fn raise_no_row(index: Index, place: &str) {
    raise_index(
        pgrx::PgSqlErrorCode::ERRCODE_INDEX_CORRUPTED,
        format!(
            "index \"{}\" is damaged: it has a row {place}",
            index.name()
        ),
        Some("REINDEX the index.".into()),
    )
}

impl Open {
    /// Puts the version of a row that the snapshot sees into the slot; false where it sees none.
    ///
    /// # Safety
    /// Called inside an error guard; the reader is open and the snapshot registered.
    #[inline(always)]
    unsafe fn find(&self, tid: RawTid, snapshot: pg_sys::Snapshot, hints: Option<&Hints>) -> bool {
        let block = block_of(tid);
        // SAFETY: as promised by the caller.
        let unknown = hints.filter(|hints| !unsafe { hold(self.fetch, block, hints) });
        // the server moves it to the version it finds
        let mut tid = item_pointer(tid);
        // more versions to look at; an MVCC snapshot sees one at most
        let mut again = false;
        // SAFETY: as promised by the caller. Nobody asks whether all versions are dead.
        unsafe {
            while !(self.fetch_tuple)(
                self.fetch,
                &raw mut tid,
                snapshot,
                self.slot,
                &raw mut again,
                std::ptr::null_mut(),
            ) {
                if !again {
                    return false;
                }
            }
            if let Some(hints) = unknown {
                let buffer = (*self.fetch.cast::<pg_sys::IndexFetchHeapData>()).xs_cbuf;
                if buffer > 0 {
                    hints.note(block, buffer);
                }
            }
        }
        true
    }

    /// The indexed value of a row; None where the snapshot sees no version, or it is NULL.
    ///
    /// # Safety
    /// Called inside an error guard; the reader is open and the snapshot registered.
    #[inline(always)]
    unsafe fn indexed_value(
        &self,
        tid: RawTid,
        snapshot: pg_sys::Snapshot,
        hints: Option<&Hints>,
        conditions: &Conditions,
    ) -> Option<Datum> {
        // SAFETY: as promised by the caller.
        unsafe {
            if !self.find(tid, snapshot, hints) || !conditions.hold_for(self.slot) {
                return None;
            }
            match self.value {
                Source::Column(number) => {
                    if (*self.slot).tts_nvalid < number {
                        unguarded::slot_getsomeattrs_int(self.slot, number as i32);
                    }
                    let at = number as usize - 1;
                    let is_null = *(*self.slot).tts_isnull.add(at);
                    (!is_null).then_some(*(*self.slot).tts_values.add(at))
                }
                Source::Expression { info, estate } => {
                    const MOST: usize = pg_sys::INDEX_MAX_KEYS as usize;
                    let mut values = MaybeUninit::<[Datum; MOST]>::uninit();
                    let mut is_null = [false; MOST];
                    unguarded::FormIndexDatum(
                        info,
                        self.slot,
                        estate,
                        values.as_mut_ptr().cast(),
                        is_null.as_mut_ptr(),
                    );
                    (!is_null[0]).then(|| values.as_ptr().cast::<Datum>().read())
                }
            }
        }
    }
}

/// Reads indexed values from a table for an index's own purposes, as inserts and VACUUM have them:
/// whatever version is not dead for everybody will do, since all that an index entry stands for have the
/// same value.
pub struct TableReader {
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::SnapshotData,
    open: Open,
    /// as [`HeapReader::hints`]
    hints: Option<Hints>,
    opened_heap: bool,
}

impl TableReader {
    /// A reader of an open table, in the current memory context.
    ///
    /// # Safety
    /// `heap` is the index's table, and stays open while the reader is used.
    pub unsafe fn new(heap: pg_sys::Relation, index: Index) -> TableReader {
        // SAFETY: as promised by the caller.
        unsafe { TableReader::of(heap, index, false) }
    }

    /// Opens the table of an index that somebody has locked, as VACUUM does.
    pub fn of_index(index: Index) -> TableReader {
        // SAFETY: an open index has a table; whoever vacuums it has it locked.
        unsafe {
            let oid = pg_sys::IndexGetRelation((*index.raw()).rd_id, false);
            let heap = pg_sys::table_open(oid, pg_sys::NoLock as pg_sys::LOCKMODE);
            TableReader::of(heap, index, true)
        }
    }

    unsafe fn of(heap: pg_sys::Relation, index: Index, opened_heap: bool) -> TableReader {
        // SAFETY: table and index are open; a snapshot of this type needs two fields
        // (InitNonVacuumableSnapshot).
        unsafe {
            let mut snapshot: pg_sys::SnapshotData = std::mem::zeroed();
            snapshot.snapshot_type = pg_sys::SnapshotType::SNAPSHOT_NON_VACUUMABLE;
            snapshot.vistest = pg_sys::GlobalVisTestFor(heap);
            TableReader {
                heap,
                index: index.raw(),
                snapshot,
                open: Open::new(heap, index.raw(), pg_sys::CurrentMemoryContext),
                hints: hints_of(heap),
                opened_heap,
            }
        }
    }

    /// Hands the indexed value of a row to `f`. None where every version is dead for everybody, or the
    /// value is NULL.
    pub fn fetch<R>(&mut self, tid: RawTid, f: impl FnOnce(Datum) -> R) -> Option<R> {
        let open = self.open;
        let snapshot = &raw mut self.snapshot;
        // SAFETY: what is opened is valid until `end`; the snapshot is ours.
        unsafe {
            check_tid_of(self.heap, self.index, tid);
            let all = Conditions::default();
            let hints = self.hints.as_ref();
            let value = pg_sys::ffi::pg_guard_ffi_boundary(|| {
                open.indexed_value(tid, snapshot, hints, &all)
            });
            let result = value.map(|value| {
                let caller = switch_to(open.row);
                let result = f(value);
                switch_to(caller);
                result
            });
            unguarded::MemoryContextReset(open.row);
            result
        }
    }

    /// Releases everything. Not called after an ERROR: the transaction's abort has then done it.
    pub fn end(self) {
        // SAFETY: opened for this table.
        unsafe {
            self.open.close(self.heap);
            if self.opened_heap {
                pg_sys::table_close(self.heap, pg_sys::NoLock as pg_sys::LOCKMODE);
            }
        }
    }
}

/// An allocation set of the server's default sizes.
///
/// # Safety
/// `parent` is a valid context.
unsafe fn new_context(
    parent: pg_sys::MemoryContext,
    name: &'static std::ffi::CStr,
) -> pg_sys::MemoryContext {
    // SAFETY: as promised by the caller; the name is static, as the server demands.
    unsafe {
        pg_sys::AllocSetContextCreateInternal(
            parent,
            name.as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        )
    }
}

/// Makes a context the current one; the one before.
///
/// # Safety
/// `context` is valid for as long as it is current.
#[inline(always)]
unsafe fn switch_to(context: pg_sys::MemoryContext) -> pg_sys::MemoryContext {
    // SAFETY: on the backend's thread.
    unsafe {
        let before = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = context;
        before
    }
}

fn block_of(tid: RawTid) -> pg_sys::BlockNumber {
    (tid.block_hi as u32) << 16 | tid.block_lo as u32
}
