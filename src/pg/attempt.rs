//! Reads that may fail, as those of a damaged file do, by somebody who goes on all the same.

use super::buffer::{Access, PAGE_SIZE, Shared};
use super::relation::Index;
use crate::page::PageView;
use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgTryBuilder, pg_sys};
use std::panic::AssertUnwindSafe;

/// Runs `f` in a subtransaction. An ERROR that says that a file is damaged or cannot be read is
/// handed back as its message, and what `f` took from the server is released; others go on.
pub fn attempt<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    // SAFETY: on the backend's thread, inside a transaction; context and owner are those of before
    // whatever the outcome.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::CurrentMemoryContext = context;
        let outcome = PgTryBuilder::new(AssertUnwindSafe(|| Ok(f())))
            .catch_others(|error| Err(Box::new(error)))
            .execute();
        let failure = match outcome {
            Ok(result) => {
                pg_sys::ReleaseCurrentSubTransaction();
                Ok(result)
            }
            Err(error) => match *error {
                CaughtError::PostgresError(report) | CaughtError::ErrorReport(report)
                    if says_damaged(report.sql_error_code()) =>
                {
                    pg_sys::RollbackAndReleaseCurrentSubTransaction();
                    Err(report.message().to_owned())
                }
                other => other.rethrow(),
            },
        };
        pg_sys::CurrentMemoryContext = context;
        pg_sys::CurrentResourceOwner = owner;
        failure
    }
}

fn says_damaged(code: Code) -> bool {
    matches!(
        code,
        Code::ERRCODE_DATA_CORRUPTED
            | Code::ERRCODE_INDEX_CORRUPTED
            | Code::ERRCODE_IO_ERROR
            | Code::ERRCODE_UNDEFINED_FILE
    )
}

/// A page as it was when it was copied.
pub struct PageCopy(Box<[u64; PAGE_SIZE / 8]>);

impl PageCopy {
    /// Room for a page.
    pub fn new() -> Self {
        PageCopy(Box::new([0; PAGE_SIZE / 8]))
    }

    /// Copies a block, or says why the server cannot read it.
    pub fn read(&mut self, index: Index, block: u32, access: Access) -> Result<(), String> {
        attempt(|| {
            let page = Shared::read(index, block, access);
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.0[..]);
            bytes.copy_from_slice(page.page().bytes());
        })
    }

    /// The page.
    pub fn page(&self) -> PageView<'_> {
        PageView::new(bytemuck::cast_slice(&self.0[..]))
    }
}
