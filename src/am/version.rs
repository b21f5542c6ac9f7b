//! Indexes of another version of their format: an earlier or a later version of the extension made them.

use crate::page::PageView;
use crate::pg::error::raise_index;
use crate::pg::relation::Index;
use pgrx::PgSqlErrorCode as Code;
use std::fmt;

/// A version of a format that is not the one read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherVersion {
    found: u16,
    read_here: u16,
}

impl OtherVersion {
    /// What a metapage says; `None` where it is of the version read here, or damaged.
    pub fn of(metapage: PageView<'_>, magic: u32, read_here: u16) -> Option<OtherVersion> {
        let found = metapage.format_version(magic)?;
        (found != read_here).then_some(OtherVersion { found, read_here })
    }

    /// Raises it, with the way out. XX002, as btree says it of its own versions.
    #[cold]
    #[inline(never)]
    pub fn raise(self, index: Index) -> ! {
        let remedy = match self.found > self.read_here {
            true => "REINDEX the index, or install the later version of vectorext that made it.",
            false => "REINDEX the index.",
        };
        raise_index(
            Code::ERRCODE_INDEX_CORRUPTED,
            format!("index \"{}\" {self}", index.name()),
            Some(remedy.into()),
        )
    }
}

impl fmt::Display for OtherVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OtherVersion { found, read_here } = self;
        write!(
            f,
            "has format version {found}, this vectorext reads version {read_here}"
        )
    }
}
