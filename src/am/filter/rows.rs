//! A scan's conditions put to rows of the table.

use super::values::elements;
use crate::hnsw::format::RawTid;
use crate::keys::Verdict;
use crate::pg::heap::HeapReader;
use pgrx::pg_sys::{self, Datum, Oid};

/// Decides from rows of the table what keys leave open.
pub struct Check {
    keys: Vec<pg_sys::ScanKeyData>,
    reader: HeapReader,
}

impl Check {
    /// # Safety
    /// `scan` is open as long as the result is used, `keys` are its conditions.
    pub unsafe fn new(scan: pg_sys::IndexScanDesc, keys: &[pg_sys::ScanKeyData]) -> Check {
        Check {
            keys: keys.to_vec(),
            // SAFETY: as promised by the caller.
            reader: unsafe { HeapReader::new(scan) },
        }
    }

    /// Whether the version of a row that the snapshot sees meets all conditions.
    pub fn holds(&mut self, tid: RawTid) -> Verdict {
        let keys = &mut self.keys;
        let holds = self.reader.fetch_all(tid, |values, nulls| {
            keys.iter_mut().all(|key| {
                let n = key.sk_attno as usize - 1;
                // SAFETY: a condition of the scan on that column.
                unsafe { holds(key, values[n], nulls[n]) }
            })
        });
        match holds {
            Some(true) => Verdict::Yes,
            _ => Verdict::No,
        }
    }

    /// Lets go of the table.
    pub fn end(&mut self) {
        self.reader.end();
    }
}

/// # Safety
/// `value` is of the type of the condition's column.
unsafe fn holds(key: &mut pg_sys::ScanKeyData, value: Datum, is_null: bool) -> bool {
    let has = |flag: u32| key.sk_flags & flag as i32 != 0;
    if has(pg_sys::SK_SEARCHNULL) {
        return is_null;
    }
    if is_null || has(pg_sys::SK_ISNULL) {
        return has(pg_sys::SK_SEARCHNOTNULL) && !is_null;
    }
    let mut call = |argument: Datum| {
        // SAFETY: the operator's function over values of its types.
        let result = unsafe {
            pg_sys::FunctionCall2Coll(&raw mut key.sk_func, key.sk_collation, value, argument)
        };
        result.value() & 0xff != 0
    };
    if key.sk_flags & pg_sys::SK_SEARCHARRAY as i32 == 0 {
        return call(key.sk_argument);
    }
    // SAFETY: the argument is an array.
    let arguments = unsafe { elements(key.sk_argument, Oid::INVALID) };
    arguments.into_iter().flatten().any(call)
}
