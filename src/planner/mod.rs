//! What the extension adds to planning and execution, through hooks that are installed when the
//! library is loaded, also lazily in the middle of the first query that needs it.

mod allow_list;
mod allow_list_scan;
#[cfg(feature = "pg18")]
pub mod explain;
mod filter_columns;
pub mod junk;
pub mod limit;
pub mod merge_joins;
pub mod paths;
pub mod running;
mod within;
