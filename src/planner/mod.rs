//! What the extension adds to planning and execution, through hooks that are installed when the
//! library is loaded, also lazily in the middle of the first query that needs it.

#[cfg(feature = "pg18")]
pub mod explain;
pub mod junk;
pub mod limit;
