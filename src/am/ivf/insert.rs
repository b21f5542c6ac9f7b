//! Insert of one row: its compact code to a vector page, where the index has such, then a copy into each
//! of its lists. Who finds that a list has outgrown its size divides it.
//!
//! While a row is put into a list, the list is locked in share mode (a heavyweight lock on its number), one
//! list at a time: whoever arranges lists anew has them alone. A list that is gone when its lock is there
//! has been arranged anew, and the row's lists are looked for again.

use super::arrange;
use super::index::{Ivf, read_meta};
use super::place::Placer;
use super::sample::{Scratch, push_row};
use super::storage::{ListLock, Size};
use crate::am::filter::keys::FilterColumns;
use crate::cluster::Rows;
use crate::distance::Value;
use crate::hnsw::format::RawTid;
use crate::ivf::format::{Keys, ListId, ListRow, Meta, RowBytes, RowForm, VectorAddress};
use crate::pg::change::Logging;
use crate::pg::relation::Index;
use crate::pg::rows::{Values, raw_tid};
use crate::quantize::{CompactRef, ListEncoder, ListFactors};
use pgrx::pg_sys::{self, Datum};
use std::cell::RefCell;

#[allow(clippy::too_many_arguments, reason = "the server's signature")]
#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn aminsert(
    index: pg_sys::Relation,
    values: *mut Datum,
    isnull: *mut bool,
    heap_tid: pg_sys::ItemPointer,
    heap: pg_sys::Relation,
    _check_unique: pg_sys::IndexUniqueCheck::Type,
    _index_unchanged: bool,
    _info: *mut pg_sys::IndexInfo,
) -> bool {
    // SAFETY: the server passes an open index with one value for each column, and a valid TID.
    let (index, row, tid) = unsafe {
        if *isnull {
            return false;
        }
        let index = Index::new(index);
        let row = Values {
            values: std::slice::from_raw_parts(values, index.columns()),
            nulls: std::slice::from_raw_parts(isnull, index.columns()),
        };
        (index, row, raw_tid(heap_tid))
    };
    let (ivf, meta) = Ivf::open(index);
    // SAFETY: a non-NULL value of the indexed column.
    let value = unsafe { ivf.column.value(row.values[0]) };
    if ivf.column.is_indexable(&value) {
        let keys = match ivf.shape.filters {
            0 => Vec::new(),
            // SAFETY: values of the index's columns.
            _ => unsafe { FilterColumns::of(index).keys(row).to_vec() },
        };
        let new = New {
            value: &value,
            tid,
            keys: &keys,
            address: VectorAddress::NONE,
        };
        // what an ERROR interrupts is forgotten with its working memory
        let mut memory = MEMORY.take().unwrap_or_default();
        let outgrown = memory.insert(&ivf, &meta, new);
        MEMORY.set(Some(memory));
        if let Some(list) = outgrown {
            // SAFETY: the index's table, open as long as the index.
            unsafe { arrange::divide(&ivf, list, heap) };
        }
    }
    false
}

thread_local! {
    static MEMORY: RefCell<Option<Box<Memory>>> = const { RefCell::new(None) };
}

/// Working memory of inserts.
#[derive(Default)]
struct Memory {
    scratch: Scratch,
    row: Rows,
    encoder: ListEncoder,
    code: Vec<u8>,
}

impl Memory {
    /// Inserts a row. Returns a list that is to be divided.
    fn insert(&mut self, ivf: &Ivf, meta: &Meta, mut new: New<'_>) -> Option<ListId> {
        if self.row.dims() != ivf.shape.dims as usize {
            self.row = Rows::new(ivf.shape.dims as usize);
        }
        self.row.clear();
        push_row(
            ivf.codec.as_deref(),
            ivf.column,
            new.value.payload(),
            &mut self.scratch,
            &mut self.row,
        );
        if ivf.shape.has_addresses() {
            let compact = CompactRef {
                factors: self.scratch.factors,
                code: &self.scratch.code,
            };
            new.address = ivf.put_vector(meta.vector_page, new.tid, compact);
        }
        let mut put: Vec<(ListId, Size)> = Vec::with_capacity(2);
        let mut meta = *meta;
        loop {
            pgrx::check_for_interrupts!();
            let placer = Placer::of(ivf, &meta);
            let (first, second) = placer.lists_of(&self.row, meta.copies as usize);
            let wanted = [Some(first), second];
            // where lists have changed since the first copy was put somewhere, the second goes to
            // either of the lists that is another one
            let is_taken = |at: &usize| {
                let id = placer.directory.lists()[*at].id;
                put.iter().any(|(list, _)| *list == id)
            };
            let next = match put.len() {
                0 => Some(first),
                1 => wanted.into_iter().flatten().rev().find(|at| !is_taken(at)),
                _ => None,
            };
            let next = next.filter(|_| put.is_empty() || second.is_some());
            let Some(at) = next else {
                let sizes = placer.sizes(ivf, &meta, &put);
                let outgrown =
                    |(_, size): &&(ListId, Size)| sizes.is_too_large(size.rows, size.undivided);
                return put.iter().find(outgrown).map(|(list, _)| *list);
            };
            let size = self.put(ivf, &placer, at, &new, !put.is_empty());
            match size {
                Some(size) => put.push((placer.directory.lists()[at].id, size)),
                None => meta = read_meta(ivf.index),
            }
        }
    }

    /// Puts a copy into the list at a position of the directory; `None` where the list is gone.
    fn put(
        &mut self,
        ivf: &Ivf,
        placer: &Placer,
        at: usize,
        new: &New<'_>,
        is_second: bool,
    ) -> Option<Size> {
        let factors = match (ivf.shape.form, placer.directory.centre(at)) {
            (RowForm::Codes(_), Some(centre)) => {
                self.code.resize(ivf.shape.row_len as usize, 0);
                let (rotated, encoder) = (&self.scratch.rotated, &mut self.encoder);
                ivf.coding()
                    .encode(ivf.codec(), centre, rotated, encoder, &mut self.code)
            }
            _ => {
                self.code.clear();
                self.code.extend_from_slice(new.value.payload());
                ListFactors::default()
            }
        };
        let row = ListRow {
            tid: new.tid,
            is_second,
            factors,
            address: new.address,
            norm_squared: new.value.operand().norm_squared,
            keys: Keys::of(bytemuck::cast_slice(new.keys)),
            code: RowBytes::of(&self.code),
        };
        let listed = placer.directory.lists()[at];
        let _shared = ListLock::share(ivf, listed.id);
        ivf.append(Logging::EachChange, listed.id, listed.place, &row)
    }
}

/// A row that is inserted.
struct New<'a> {
    value: &'a Value,
    tid: RawTid,
    /// of its values in filter columns
    keys: &'a [u64],
    address: VectorAddress,
}
