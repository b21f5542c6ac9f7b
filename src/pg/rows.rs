//! The rows that an index is built from.

use super::relation::Index;
use crate::hnsw::format::RawTid;
use pgrx::pg_sys::{self, Datum};

/// The table of an index that is being built, as the server describes it.
#[derive(Clone, Copy)]
pub struct Rows {
    heap: pg_sys::Relation,
    index: Index,
    info: *mut pg_sys::IndexInfo,
}

/// A heap TID as the index keeps it.
///
/// # Safety
/// `tid` points to a valid item pointer.
pub unsafe fn raw_tid(tid: pg_sys::ItemPointer) -> RawTid {
    // SAFETY: as promised by the caller.
    unsafe {
        RawTid {
            block_hi: (*tid).ip_blkid.bi_hi,
            block_lo: (*tid).ip_blkid.bi_lo,
            offset: (*tid).ip_posid,
        }
    }
}

/// The same as the server keeps it.
#[inline]
pub fn item_pointer(tid: RawTid) -> pg_sys::ItemPointerData {
    pg_sys::ItemPointerData {
        ip_blkid: pg_sys::BlockIdData {
            bi_hi: tid.block_hi,
            bi_lo: tid.block_lo,
        },
        ip_posid: tid.offset,
    }
}

/// A row's values in the columns of the index.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    /// one for each column; those of NULLs mean nothing
    pub values: &'a [Datum],
    /// whether it is NULL
    pub nulls: &'a [bool],
}

impl Values<'_> {
    /// The value of the first column; `None` where it is NULL.
    pub fn first(&self) -> Option<Datum> {
        (!self.nulls[0]).then(|| self.values[0])
    }
}

/// What is done with a row: its values, and where it is.
type Visit<'f> = &'f mut dyn FnMut(Values<'_>, RawTid);

/// A row on its way through the server, which passes it to [`row`].
pub(super) struct Visitor<'f> {
    pub(super) columns: usize,
    /// also rows whose first value is NULL
    pub(super) takes_nulls: bool,
    pub(super) visit: Visit<'f>,
}

impl Rows {
    /// # Safety
    /// The arguments are what the server passed to `ambuild`, which runs as long as the result and
    /// its copies are used.
    pub unsafe fn new(heap: pg_sys::Relation, index: Index, info: *mut pg_sys::IndexInfo) -> Self {
        Rows { heap, index, info }
    }

    /// The table.
    pub fn heap(self) -> pg_sys::Relation {
        self.heap
    }

    /// Hands every row that the index is to have to `visit`, NULLs left out. Returns the rows of the
    /// table. Shows progress, and answers interrupts at every row.
    pub fn each(self, mut visit: impl FnMut(Datum, RawTid)) -> f64 {
        self.each_with_all(|values, tid| visit(values.values[0], tid))
    }

    /// The same with the values of all columns.
    pub fn each_with_all(self, mut visit: impl FnMut(Values<'_>, RawTid)) -> f64 {
        let mut visit = Visitor {
            columns: self.index.columns(),
            takes_nulls: false,
            visit: &mut visit,
        };
        // SAFETY: as promised to `new`; the callback gets `visit`.
        unsafe {
            pg_sys::table_index_build_scan(
                self.heap,
                self.index.raw(),
                self.info,
                true,
                true,
                Some(row),
                (&raw mut visit).cast(),
                std::ptr::null_mut(),
            )
        }
    }

    /// The same for the rows of a run of blocks, without progress. Any version that may be visible to
    /// somebody will do, so that nobody is waited for; with CONCURRENTLY the server reads by a
    /// snapshot of its own.
    pub fn each_of(self, start: u32, length: u32, mut visit: impl FnMut(Datum, RawTid)) {
        let mut visit = |values: Values<'_>, tid: RawTid| visit(values.values[0], tid);
        let mut visit = Visitor {
            columns: self.index.columns(),
            takes_nulls: false,
            visit: &mut visit,
        };
        // SAFETY: as promised to `new`; the callback gets `visit`. Nothing between the guard and
        // the server has a destructor.
        unsafe {
            let scan = (*(*self.heap).rd_tableam)
                .index_build_range_scan
                .expect("table access methods have it");
            let any_visible = !(*self.info).ii_Concurrent;
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                scan(
                    self.heap,
                    self.index.raw(),
                    self.info,
                    // from where we say, not from where another scan is
                    false,
                    any_visible,
                    // the progress reported is the build's
                    false,
                    start,
                    length,
                    Some(row),
                    (&raw mut visit).cast(),
                    std::ptr::null_mut(),
                )
            });
        }
    }
}

/// Called by the server for every row, with a [`Visitor`].
#[pgrx::pg_guard]
pub(super) unsafe extern "C-unwind" fn row(
    _index: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    values: *mut Datum,
    isnull: *mut bool,
    _alive: bool,
    visit: *mut std::ffi::c_void,
) {
    pgrx::check_for_interrupts!();
    // SAFETY: `visit` was passed with this callback, and waits for the scan; the arrays have an entry for
    // each column.
    unsafe {
        let visitor = &mut *visit.cast::<Visitor<'_>>();
        if visitor.takes_nulls || !*isnull {
            let row = Values {
                values: std::slice::from_raw_parts(values, visitor.columns),
                nulls: std::slice::from_raw_parts(isnull, visitor.columns),
            };
            (visitor.visit)(row, raw_tid(tid));
        }
    }
}
