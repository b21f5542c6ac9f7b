//! Indexes that were created too early, or for other rows.

use postgres::Client;

use super::{DIMS, insert, lists, server_with};
use crate::hnsw::number;

/// Recall in percent of the ten nearest of 60 rows, and rows that their searches looked at.
fn quality(client: &mut Client, table: &str) -> (i64, i64) {
    client
        .batch_execute("SET enable_seqscan = off; SET enable_sort = on")
        .unwrap();
    let (mut right, mut scanned) = (0, 0);
    for query in 0..60 {
        let query = format!("topic({}, 40, {DIMS})", 1_000_003 + 77 * query);
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

/// What has grown finds as much as a build of the same rows, at no more than twice the work.
fn check_against_a_build(client: &mut Client, table: &str) {
    let lists = lists(client, table);
    assert!(lists > 30, "{table} has {lists} lists");
    let (grown, scanned) = quality(client, table);
    client
        .batch_execute(&format!("REINDEX INDEX {table}_v"))
        .unwrap();
    let (built, scanned_by_build) = quality(client, table);
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
        let table = kind.to_lowercase();
        client
            .batch_execute(&format!(
                "CREATE {kind} TABLE {table} (id bigint, v vector({DIMS}));
                 CREATE INDEX ON {table} USING ivf (v vector_l2_ops) WITH (quantizer = rabitq2, rerank = index)"
            ))
            .unwrap();
        client.batch_execute(&insert(&table, 1, 3000)).unwrap();
        super::check(&mut client, &table);
        let lists = lists(&mut client, &table);
        assert!(lists > 10, "{lists} lists");
    }
    server.crash_and_restart();
    let mut client = server.client();
    assert_eq!(super::indexed_rows(&mut client, "unlogged"), 0);
    client.batch_execute(&insert("unlogged", 1, 2000)).unwrap();
    super::check(&mut client, "unlogged");
}
