//! Temporary files that threads use as plain memory.

use crate::hnsw::blocks::memory::{Backing, OverQuota, Quota};
use pgrx::pg_sys;
use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Temporary files of one purpose; together they are bound by `temp_file_limit`, as all files of a
/// session are that the server itself writes to.
#[derive(Clone)]
pub struct Files {
    quota: Option<Arc<Quota>>,
}

impl Files {
    /// No files yet, bound by the setting as it is now.
    pub fn within_limit() -> Files {
        // SAFETY: reads a setting.
        let kilobytes = unsafe { pg_sys::temp_file_limit };
        Files {
            quota: u64::try_from(kilobytes)
                .ok()
                .map(|kilobytes| Quota::new(kilobytes * 1024)),
        }
    }

    /// An empty file where the server keeps its temporary files (`temp_tablespaces`), already
    /// without a name: it is gone when it is closed, whatever happens. Raises what the server
    /// raises where it cannot make one.
    pub fn file(&mut self) -> io::Result<Backing> {
        // SAFETY: the server's file is open until we close it; the descriptor is duplicated before.
        let owned: io::Result<OwnedFd> = unsafe {
            // reads the setting, once for a transaction
            pg_sys::PrepareTempTablespaces();
            let temporary = pg_sys::OpenTemporaryFile(false);
            let descriptor = pg_sys::FileGetRawDesc(temporary);
            let owned = BorrowedFd::borrow_raw(descriptor).try_clone_to_owned();
            pg_sys::FileClose(temporary);
            owned
        };
        Ok(Backing {
            file: File::from(owned?),
            quota: self.quota.clone(),
        })
    }
}

/// Raises what kept a build from memory or temporary files: 53400 for files that would be more than
/// `temp_file_limit`, 53200 for memory that the system refused, 58030 for a file that could not be used.
pub fn raise_io(error: io::Error) -> ! {
    if OverQuota::is(&error) {
        raise_limit();
    }
    if error.kind() == io::ErrorKind::OutOfMemory {
        pgrx::ereport!(
            ERROR,
            pgrx::PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
            "out of memory",
            "Lower maintenance_work_mem, or give the server more memory."
        );
    }
    pgrx::ereport!(
        ERROR,
        pgrx::PgSqlErrorCode::ERRCODE_IO_ERROR,
        format!("could not extend the temporary files of an index build: {error}"),
        "Free disk space, or raise maintenance_work_mem so that none are needed."
    );
}

/// Raises 53400 in the server's words: files would be more than `temp_file_limit`.
fn raise_limit() -> ! {
    // SAFETY: reads a setting.
    let kilobytes = unsafe { pg_sys::temp_file_limit };
    pgrx::ereport!(
        ERROR,
        pgrx::PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
        format!("temporary file size exceeds temp_file_limit ({kilobytes}kB)")
    );
}
