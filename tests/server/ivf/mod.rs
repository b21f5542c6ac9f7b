//! The `ivf` access method under what servers go through.

mod concurrent;
mod crash;
mod damage;
mod erasure;
mod filters;
mod growth;
mod interleavings;
mod standby;
mod vacuum;

use postgres::Client;

use crate::harness::Server;
use crate::hnsw::number;

/// SQL: `topic(i, topics, dims)` is the vector of row `i`, near the centre of its topic, `i % topics`.
const TOPIC: &str = "
    CREATE FUNCTION topic(i bigint, topics int, dims int) RETURNS vector LANGUAGE sql IMMUTABLE
    RETURN vec(-1 - i % topics, dims) + (vec(i, dims) * array_fill(0.6, ARRAY[dims])::vector)";

/// Dimensions of the vectors.
const DIMS: i32 = 24;
/// What the indexes are: codes and compact codes, codes and the table, values in full.
const KINDS: [(&str, &str); 3] = [
    ("indexed", "WITH (quantizer = rabitq4, rerank = index)"),
    ("coded", "WITH (quantizer = rabitq2, rerank = heap)"),
    ("flat", "WITH (quantizer = none)"),
];

/// A server with the extension, `vec` and `topic`.
fn server_with(settings: &str) -> (Server, Client) {
    let (server, mut client) = crate::hnsw::server_with(settings);
    client.batch_execute(TOPIC).unwrap();
    (server, client)
}

/// Empty tables with an index of each kind.
fn create_tables(client: &mut Client) {
    for (table, options) in KINDS {
        client
            .batch_execute(&format!(
                "CREATE TABLE {table} (id bigint, v vector({DIMS}));
                 CREATE INDEX {table}_v ON {table} USING ivf (v vector_l2_ops) {options}"
            ))
            .unwrap();
    }
}

/// SQL that inserts rows.
fn insert(table: &str, first: i64, last: i64) -> String {
    format!(
        "INSERT INTO {table} SELECT i, topic(i, 40, {DIMS}) FROM generate_series({first}, {last}) i"
    )
}

/// Rows of a table, as its index hands them out.
fn indexed_rows(client: &mut Client, table: &str) -> i64 {
    client
        .batch_execute("SET enable_seqscan = off; SET enable_sort = off")
        .unwrap();
    number(
        client,
        &format!(
            "SELECT count(DISTINCT id) FROM
             (SELECT id FROM {table} ORDER BY v <-> topic(7, 40, {DIMS})) found"
        ),
    )
}

/// All rows of a table, and no others, come out of its index, in order; nearly each is what a search for
/// its own vector finds.
fn check(client: &mut Client, table: &str) {
    crate::hnsw::check_rows(client, table, "<->");
    crate::hnsw::check_own_vectors(client, table, "<->");
}

/// Lists of the index that was searched last.
fn lists(client: &mut Client, table: &str) -> i64 {
    indexed_rows(client, table);
    number(client, "SELECT lists FROM ivf_last_scan()")
}
