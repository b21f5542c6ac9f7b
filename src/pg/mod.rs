//! The safe wrappers around the server: everything that is `unsafe` about PostgreSQL lives here.

pub mod array;
pub mod error;
pub mod fmgr;
pub mod message;
pub mod numeric;
pub mod varlena;

pgrx::pg_module_magic!();
