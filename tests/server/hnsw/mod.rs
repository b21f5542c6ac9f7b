//! The `hnsw` access method under what servers go through.

pub mod blocks;
mod build;
pub mod check;
mod crash;
pub mod damage;
mod erasure;
pub mod filters;
mod interleavings;
pub mod memory;
mod order;
mod standby;

use postgres::Client;

use crate::harness::Server;

/// SQL: `vec(i, dims)` is the vector of row `i`, the same in every run and another for each row.
/// Uniform, so that a graph over them holds together: on curves or far clusters a fresh one, too,
/// has islands that no search enters (pgvector's as well), and a test could not tell them from
/// what a crash or VACUUM broke.
pub const VEC: &str = "
    CREATE FUNCTION vec(i bigint, dims int) RETURNS vector LANGUAGE sql IMMUTABLE
    RETURN (SELECT array_agg(hashint8extended(i, n) % 1000003 / 1000003.0::float8)::vector
            FROM generate_series(1, dims) n)";

/// Dimensions of vectors that share a page, few enough for the plain layout.
const NARROW: i32 = 8;
/// Dimensions of vectors of more than a page.
const WIDE: i32 = 2100;
/// Dimensions of vectors that an index keeps as blocks.
const CODED: i32 = 24;

/// A server with the extension and `vec`.
pub fn server_with(settings: &str) -> (Server, Client) {
    let server = Server::start_with(settings);
    let mut client = server.client();
    client
        .batch_execute("CREATE EXTENSION vectorext")
        .expect("the extension is installed in this server");
    client.batch_execute(VEC).unwrap();
    (server, client)
}

/// The one number that a query answers.
pub fn number(client: &mut Client, query: &str) -> i64 {
    let row = client
        .query_one(query, &[])
        .unwrap_or_else(|error| panic!("{query}: {error:?}"));
    row.get(0)
}

/// Checks an index on `table (id, v)` against the table: all its rows come out of the index, each
/// once and in order, and nearly each is what a search for its own vector finds first.
pub(crate) fn check_index(client: &mut Client, table: &str) {
    check_rows(client, table, "<->");
    check_own_vectors(client, table, "<->");
}

/// All rows of `table (id, v)` come out of its index, each once and nearly all in order.
pub(crate) fn check_rows(client: &mut Client, table: &str, operator: &str) {
    client
        .batch_execute("SET enable_seqscan = off; SET enable_sort = off")
        .unwrap();
    let rows = number(client, &format!("SELECT count(*) FROM {table}"));
    let row = client
        .query_one(
            &format!(
                "SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE d < before)
                 FROM (SELECT id, d, lag(d) OVER () AS before
                       FROM (SELECT id, v {operator} (SELECT v FROM {table} LIMIT 1) AS d FROM {table}
                             ORDER BY v {operator} (SELECT v FROM {table} LIMIT 1)) nearest) ordered"
            ),
            &[],
        )
        .unwrap();
    let (found, distinct): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!(
        (found, distinct),
        (rows, rows),
        "rows of {table} in its index"
    );
    // what a walk finds too late comes last
    let late: i64 = row.get(2);
    assert!(
        late <= 3 + rows / 500,
        "{late} rows of {table} are nearer than the one before"
    );
}

/// Nearly each vector of `table (id, v)` is what a search for it finds first. Rows of equal vectors are found or missed
/// together, and count once.
pub(crate) fn check_own_vectors(client: &mut Client, table: &str, operator: &str) {
    client
        .batch_execute("SET enable_seqscan = off; SET enable_sort = off")
        .unwrap();
    let values = number(client, &format!("SELECT count(DISTINCT v) FROM {table}"));
    let astray = number(
        client,
        &format!(
            "SELECT count(DISTINCT v) FROM {table} t WHERE v IS DISTINCT FROM
             (SELECT v FROM {table} ORDER BY v {operator} t.v LIMIT 1)"
        ),
    );
    assert!(
        astray * 200 <= values,
        "{astray} of {values} vectors of {table} are not found by themselves"
    );
}
