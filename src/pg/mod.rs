//! The safe wrappers around the server: everything that is `unsafe` about PostgreSQL lives here.

pub mod ahead;
pub mod allocator;
pub mod allow_list;
pub mod array;
pub mod attempt;
pub mod buffer;
pub mod change;
pub mod conditions;
pub mod error;
pub mod fmgr;
pub mod heap;
pub mod list;
pub mod message;
pub mod numeric;
pub mod options;
pub mod progress;
pub mod readable;
pub mod relation;
pub mod result_set;
pub mod rows;
pub mod sample;
pub mod table;
pub mod temporary;
pub mod threads;
pub mod vacuum;
pub mod varlena;

pgrx::pg_module_magic!();

/// Called by the server when the library is loaded.
#[pgrx::pg_guard]
#[unsafe(export_name = "_PG_init")]
unsafe extern "C-unwind" fn pg_init() {
    allocator::init();
    crate::am::hnsw::options::init();
    crate::am::ivf::options::init();
    crate::planner::running::init();
    crate::planner::paths::init();
    crate::planner::merge_joins::init();
    #[cfg(feature = "pg18")]
    crate::planner::explain::init();
    crate::planner::junk::init();
}
