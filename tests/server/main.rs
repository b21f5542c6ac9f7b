//! Tests that start PostgreSQL servers of their own. They need the extension installed in the
//! server that `PG_CONFIG` (default `pg_config`) names, and never touch another cluster:
//! `cargo test --features server-tests --test server`.

mod backup;
mod bad_input;
mod binary_copy;
mod cancel;
mod checksums;
mod dropped;
mod dump_and_restore;
mod filters;
mod forms;
mod free_space;
mod fuzz;
mod harness;
mod hnsw;
mod index_build;
mod installation;
mod ivf;
mod ivf_build;
mod lists_check;
mod memory;
mod odd_statements;
mod parallel;
mod planted;
mod replication;
mod security;
mod soak;
mod suspended;
mod tablespaces;
mod torture;
mod upgrade;
