//! Temporary files that threads use as plain memory.

use pgrx::pg_sys;
use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// An empty file where the server keeps its temporary files (`temp_tablespaces`), already without
/// a name: it is gone when it is closed, whatever happens. Raises what the server raises where it
/// cannot make one.
pub fn file() -> io::Result<File> {
    // SAFETY: the server's file is open until we close it; the descriptor is duplicated before.
    unsafe {
        let temporary = pg_sys::OpenTemporaryFile(false);
        let descriptor = pg_sys::FileGetRawDesc(temporary);
        let owned: io::Result<OwnedFd> = BorrowedFd::borrow_raw(descriptor).try_clone_to_owned();
        pg_sys::FileClose(temporary);
        owned.map(File::from)
    }
}
