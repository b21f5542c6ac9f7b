//! Indexes that were created too early, or for other rows.

use postgres::Client;

use super::{DIMS, insert, lists, server_with};
use crate::hnsw::number;

/// Recall in percent of the ten nearest of 60 rows, and rows that their searches looked at.
fn quality(client: &mut Client, table: &str) -> (i64, i64) {
    quality_near(client, table, |n| {
        format!("topic({}, 40, {DIMS})", 1_000_003 + 77 * n)
    })
}

/// The same of what is near to some vectors.
pub fn quality_near(
    client: &mut Client,
    table: &str,
    vector: impl Fn(i64) -> String,
) -> (i64, i64) {
    client
        .batch_execute("SET enable_seqscan = off; SET enable_sort = on")
        .unwrap();
    let (mut right, mut scanned) = (0, 0);
    for query in 0..60 {
        let query = vector(query);
        right += number(
            client,
            &format!(
                "WITH found AS MATERIALIZED (SELECT id FROM {table} ORDER BY v <-> {query} LIMIT 10),
                 exact AS MATERIALIZED (SELECT id FROM {table} ORDER BY (v <-> {query}) + 0 LIMIT 10)
                 SELECT count(*) FROM found JOIN exact USING (id)"
            ),
        );
        scanned += number(client, "SELECT estimated FROM ivf_last_scan()");
    }
    (right * 100 / 600, scanned)
}

/// What has grown finds as much as a build of the same rows, at no more than twice the work, and is hardly larger:
/// pages of lists that were divided are used again at once.
fn check_against_a_build(client: &mut Client, table: &str) {
    let lists = lists(client, table);
    assert!(lists > 30, "{table} has {lists} lists");
    let (grown, scanned) = quality(client, table);
    let bytes =
        |client: &mut Client| number(client, &format!("SELECT pg_relation_size('{table}_v')"));
    let bytes_grown = bytes(client);
    client
        .batch_execute(&format!("REINDEX INDEX {table}_v"))
        .unwrap();
    let (built, scanned_by_build) = quality(client, table);
    let bytes_built = bytes(client);
    println!(
        "{table}: recall {grown} of {scanned} rows in {bytes_grown} bytes, after a build {built} of {scanned_by_build} \
         in {bytes_built}"
    );
    assert!(
        bytes_grown as f64 <= 1.5 * bytes_built as f64,
        "{table} takes {bytes_grown} bytes, a build {bytes_built}"
    );
    assert!(
        grown + 2 >= built.min(97),
        "recall of {table}: {grown} against {built}"
    );
    assert!(
        scanned as f64 <= 2.2 * scanned_by_build as f64,
        "{table} looks at {scanned} rows, a build at {scanned_by_build}"
    );
}

#[test]
fn an_index_created_on_an_empty_table_becomes_as_good_as_one_built_later() {
    let (_server, mut client) = server_with("");
    super::create_tables(&mut client);
    for (table, _) in super::KINDS {
        for part in 0..8 {
            let sql = insert(table, part * 1_000, part * 1_000 + 999);
            client.batch_execute(&sql).unwrap();
        }
        super::check(&mut client, table);
    }
    check_against_a_build(&mut client, "indexed");
    check_against_a_build(&mut client, "coded");
}

#[test]
fn an_index_of_one_topic_follows_the_rows_of_others() {
    let (_server, mut client) = server_with("");
    client
        .batch_execute(&format!(
            "CREATE TABLE items (id bigint, v vector({DIMS}));
             INSERT INTO items SELECT i, topic(i, 40, {DIMS}) FROM generate_series(0, 8000) i
                 WHERE i % 40 < 7;
             CREATE INDEX items_v ON items USING ivf (v vector_l2_ops)
                 WITH (quantizer = rabitq4, rerank = index);
             INSERT INTO items SELECT i, topic(i, 40, {DIMS}) FROM generate_series(0, 8000) i
                 WHERE i % 40 >= 7"
        ))
        .unwrap();
    super::check(&mut client, "items");
    check_against_a_build(&mut client, "items");
}

#[test]
fn rows_that_are_all_the_same_are_one_list_and_all_found() {
    let (_server, mut client) = server_with("");
    client
        .batch_execute(&format!(
            "CREATE TABLE same (id bigint, v vector({DIMS}));
             CREATE INDEX same_v ON same USING ivf (v vector_l2_ops) WITH (quantizer = rabitq1);
             INSERT INTO same SELECT i, topic(5, 40, {DIMS}) FROM generate_series(1, 5000) i"
        ))
        .unwrap();
    assert_eq!(super::indexed_rows(&mut client, "same"), 5000);
    assert_eq!(lists(&mut client, "same"), 1);
}

#[test]
fn temporary_and_unlogged_tables_grow_as_others_do() {
    let (server, mut client) = server_with("");
    for kind in ["TEMPORARY", "UNLOGGED"] {
        for quantizer in ["rabitq2", "pq", "binary"] {
            let table = format!("{kind}_{quantizer}");
            client
                .batch_execute(&format!(
                    "CREATE {kind} TABLE {table} (id bigint, v vector({DIMS}));
                     {};
                     CREATE INDEX ON {table} USING ivf (v vector_l2_ops)
                         WITH (quantizer = {quantizer}, rerank = index)",
                    insert(&table, 1, 300)
                ))
                .unwrap();
            client.batch_execute(&insert(&table, 301, 3000)).unwrap();
            super::check(&mut client, &table);
            let lists = lists(&mut client, &table);
            assert!(lists > 10, "{lists} lists");
        }
    }
    server.crash_and_restart();
    let mut client = server.client();
    for quantizer in ["rabitq2", "pq", "binary"] {
        let table = format!("unlogged_{quantizer}");
        assert_eq!(super::indexed_rows(&mut client, &table), 0);
        client.batch_execute(&insert(&table, 1, 2000)).unwrap();
        super::check(&mut client, &table);
    }
}

/// Codebooks are those of the first rows, signs and bits what they are.
#[test]
fn indexes_of_segments_signs_and_bits_grow_as_others_do() {
    let (_server, mut client) = server_with("");
    for (table, quantizer) in [
        ("segments", "pq, pq_segments = 12"),
        ("nibbles", "pq, pq_segments = 24, pq_bits = 4"),
        ("signs", "binary"),
    ] {
        client
            .batch_execute(&format!(
                "CREATE TABLE {table} (id bigint, v vector({DIMS}));
                 {};
                 CREATE INDEX {table}_v ON {table} USING ivf (v vector_l2_ops) WITH (quantizer = {quantizer})",
                insert(table, 0, 499)
            ))
            .unwrap();
        for part in 1..16 {
            let sql = insert(table, part * 500, part * 500 + 499);
            client.batch_execute(&sql).unwrap();
        }
        super::check(&mut client, table);
        check_against_a_build(&mut client, table);
    }
}

#[test]
fn an_index_of_bits_created_on_an_empty_table_finds_what_one_built_later_does() {
    let (_server, mut client) = server_with("");
    let bits = |i: &str| format!("binary_quantize(topic({i}, 40, 96))::bit(96)");
    let part = |first: i64, last: i64| {
        format!(
            "INSERT INTO bits SELECT i, {} FROM generate_series({first}, {last}) i",
            bits("i")
        )
    };
    client
        .batch_execute(
            "CREATE TABLE bits (id bigint, v bit(96));
             CREATE INDEX bits_v ON bits USING ivf (v bit_hamming_ops)",
        )
        .unwrap();
    for first in (0..6_000).step_by(600) {
        client.batch_execute(&part(first, first + 599)).unwrap();
    }
    crate::hnsw::check_rows(&mut client, "bits", "<~>");
    // many rows are equally far: what counts is the distance
    let found = |client: &mut Client| {
        client
            .batch_execute("SET enable_seqscan = off; SET enable_sort = on")
            .unwrap();
        number(
            client,
            &format!(
                "WITH queries AS MATERIALIZED (SELECT {} AS q FROM generate_series(1000001, 1000060) i)
                 SELECT count(*) FROM queries,
                 LATERAL (SELECT v FROM bits ORDER BY v <~> q LIMIT 10) found,
                 LATERAL (SELECT max(d) AS farthest FROM (SELECT v <~> q AS d FROM bits
                          ORDER BY (v <~> q) + 0 LIMIT 10) e) exact
                 WHERE found.v <~> q <= farthest",
                bits("i")
            ),
        )
    };
    let grown = found(&mut client);
    let lists = number(&mut client, "SELECT lists FROM ivf_last_scan()");
    assert!(lists > 30, "{lists} lists");
    client.batch_execute("REINDEX INDEX bits_v").unwrap();
    let built = found(&mut client);
    assert!(
        grown + 12 >= built.min(582),
        "{grown} against {built} of 600"
    );
}
