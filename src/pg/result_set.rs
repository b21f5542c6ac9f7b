//! Results of functions that return sets of rows.

use super::error::raise_index;
use super::fmgr::Call;
use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys::{self, Datum};

/// The rows of a set-returning function, kept by the server: in memory as far as `work_mem` allows,
/// then in a file.
pub struct ResultSet {
    store: *mut pg_sys::Tuplestorestate,
    descriptor: pg_sys::TupleDesc,
}

impl ResultSet {
    /// Begins the result of a call. Raises 0A000 where it may not return a set.
    pub fn begin(call: Call) -> ResultSet {
        // SAFETY: the frame is valid; the server checks what it passes as result info, and keeps
        // what is put there for the query.
        unsafe {
            let info = call.result_info().cast::<pg_sys::ReturnSetInfo>();
            let materialize = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
            if info.is_null()
                || (*info).type_ != pg_sys::NodeTag::T_ReturnSetInfo
                || (*info).allowedModes as u32 & materialize == 0
            {
                raise_index(
                    Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                    "set-valued function called in context that cannot accept a set".into(),
                    None,
                );
            }
            let random = pg_sys::SetFunctionReturnMode::SFRM_Materialize_Random;
            let random_access = (*info).allowedModes as u32 & random != 0;
            let caller = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = (*(*info).econtext).ecxt_per_query_memory;
            let descriptor = call.row_type();
            let store = pg_sys::tuplestore_begin_heap(random_access, false, pg_sys::work_mem);
            pg_sys::CurrentMemoryContext = caller;
            (*info).returnMode = materialize;
            (*info).setResult = store;
            (*info).setDesc = descriptor;
            ResultSet { store, descriptor }
        }
    }

    /// Adds a row: a value or NULL for each of the columns that SQL declares.
    pub fn put(&mut self, columns: &[Option<Datum>]) {
        let mut values: Vec<Datum> = columns
            .iter()
            .map(|column| column.unwrap_or(Datum::null()))
            .collect();
        let mut nulls: Vec<bool> = columns.iter().map(Option::is_none).collect();
        // SAFETY: the assertion makes the arrays as long as the row type says; the row is copied.
        unsafe {
            assert_eq!((*self.descriptor).natts as usize, columns.len());
            pg_sys::tuplestore_putvalues(
                self.store,
                self.descriptor,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
        }
    }

    /// What the function returns beside the rows.
    pub fn end(self, call: Call) -> Datum {
        call.null()
    }
}
