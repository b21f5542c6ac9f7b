//! What was deleted is gone from the disk, and its space is used again.

use postgres::Client;

use super::growth::quality_near;
use super::{DIMS, KINDS, create_tables, insert, server_with};
use crate::hnsw::check::findings;
use crate::hnsw::number;

#[test]
fn space_of_deleted_rows_is_used_again() {
    let (_server, mut client) = server_with("");
    create_tables(&mut client);
    for (table, _) in KINDS {
        client.batch_execute(&insert(table, 1, 6000)).unwrap();
        let size = format!("SELECT pg_relation_size('{table}_v')");
        let before = number(&mut client, &size);
        for round in 1..4 {
            let first = round * 10_000;
            client
                .batch_execute(&format!("DELETE FROM {table} WHERE id % 2 = {round} % 2"))
                .unwrap();
            client
                .batch_execute(&format!("VACUUM (INDEX_CLEANUP ON) {table}"))
                .unwrap();
            let rows = number(&mut client, &format!("SELECT count(*) FROM {table}"));
            let more = insert(table, first, first + 5999 - rows);
            client.batch_execute(&more).unwrap();
            super::check(&mut client, table);
        }
        let after = number(&mut client, &size);
        assert!(
            after as f64 <= 1.3 * before as f64,
            "{table}: {before} bytes became {after}"
        );
    }
}

#[test]
fn lists_with_holes_are_written_to_fewer_pages_with_all_that_is_known_of_their_rows() {
    let (_server, mut client) = server_with("");
    for (table, options) in KINDS {
        let options = options.replace(')', ", lists = 3)");
        client
            .batch_execute(&format!(
                "CREATE TABLE {table} (id bigint, kind int, v vector({DIMS}));
                 INSERT INTO {table} SELECT i, i % 7, topic(i, 40, {DIMS}) FROM generate_series(1, 6000) i;
                 CREATE INDEX {table}_v ON {table} USING ivf (v vector_l2_ops, kind) {options}"
            ))
            .unwrap();
        let pages = |client: &mut Client| {
            super::indexed_rows(client, table);
            number(client, "SELECT pages FROM ivf_last_scan()")
        };
        let before = pages(&mut client);
        client
            .batch_execute(&format!("DELETE FROM {table} WHERE id % 3 > 0"))
            .unwrap();
        client
            .batch_execute(&format!("VACUUM (INDEX_CLEANUP ON) {table}"))
            .unwrap();
        let after = pages(&mut client);
        assert!(after * 2 < before, "{table}: {before} pages became {after}");
        super::check(&mut client, table);
        let of_a_kind = |client: &mut Client, sort: &str| {
            number(
                client,
                &format!(
                    "SELECT sum(id)::bigint FROM (SELECT id FROM {table} WHERE kind = 3
                     ORDER BY (v <-> topic(7, 40, {DIMS})) {sort} LIMIT 1000) found"
                ),
            )
        };
        assert_eq!(of_a_kind(&mut client, ""), of_a_kind(&mut client, "+ 0"));
        let found = findings(&mut client, &format!("{table}_v")).unwrap();
        assert!(found.is_empty(), "{table}: {found:?}");
    }
}

#[test]
fn lists_that_are_nearly_empty_are_dissolved() {
    let (_server, mut client) = server_with("");
    create_tables(&mut client);
    for (table, _) in KINDS {
        client.batch_execute(&insert(table, 1, 8000)).unwrap();
        let before = super::lists(&mut client, table);
        client
            .batch_execute(&format!("DELETE FROM {table} WHERE id % 40 < 32"))
            .unwrap();
        client
            .batch_execute(&format!("VACUUM (INDEX_CLEANUP ON) {table}"))
            .unwrap();
        let after = super::lists(&mut client, table);
        assert!(
            after * 10 < before * 9,
            "{table}: {before} lists became {after}"
        );
        super::check(&mut client, table);
    }
}

#[test]
fn what_is_left_of_near_rows_is_found_where_it_is_spread_over_more_lists() {
    let (_server, mut client) = server_with("");
    let row = |i: &str| {
        format!(
            "vec({i} / 12, {DIMS}) + vec({i}, {DIMS}) * array_fill(0.01, ARRAY[{DIMS}])::vector"
        )
    };
    for (table, options) in KINDS {
        let options = options.replace(')', ", lists = 300)");
        client
            .batch_execute(&format!(
                "CREATE TABLE {table} (id bigint, v vector({DIMS}));
                 INSERT INTO {table} SELECT i, {} FROM generate_series(1, 6000) i;
                 CREATE INDEX {table}_v ON {table} USING ivf (v vector_l2_ops) {options};
                 DELETE FROM {table} WHERE id % 12 > 2",
                row("i")
            ))
            .unwrap();
        client
            .batch_execute(&format!("VACUUM (INDEX_CLEANUP ON) {table}"))
            .unwrap();
        let query = |n: i64| row(&(n * 100 + 50).to_string());
        let (recall, _) = quality_near(&mut client, table, query);
        assert!(recall >= 93, "recall of {table}: {recall} percent");
    }
}

#[test]
fn bytes_of_deleted_vectors_are_gone_after_vacuum_and_checkpoint() {
    let (server, mut client) = server_with("");
    let mark = 77_777.5_f32.to_ne_bytes().repeat(2);
    for kind in ["", "UNLOGGED"] {
        let table = format!("marked{}", kind.to_lowercase());
        client
            .batch_execute(&format!(
                "CREATE {kind} TABLE {table} (id bigint, v vector({DIMS}));
                 CREATE INDEX {table}_v ON {table} USING ivf (v vector_l2_ops) WITH (quantizer = none);
                 INSERT INTO {table} SELECT i, (array_fill(77777.5, ARRAY[{DIMS} - 1]) || i::numeric)::vector
                     FROM generate_series(1, 40) i"
            ))
            .unwrap();
        client.batch_execute(&insert(&table, 100, 3000)).unwrap();
        let path: String = client
            .query_one(&format!("SELECT pg_relation_filepath('{table}_v')"), &[])
            .unwrap()
            .get(0);
        let path = server.data().join(path);
        let is_on_disk = || {
            let bytes = std::fs::read(&path).unwrap();
            bytes.windows(mark.len()).any(|bytes| bytes == mark)
        };
        server.restart();
        client = server.client();
        assert!(is_on_disk(), "the test sees the vectors that are there");
        // VACUUM cannot be in one batch with other statements
        for sql in [
            format!("DELETE FROM {table} WHERE id <= 40"),
            format!("VACUUM (INDEX_CLEANUP ON) {table}"),
        ] {
            client.batch_execute(&sql).unwrap();
        }
        server.restart();
        client = server.client();
        assert!(
            !is_on_disk(),
            "deleted vectors of {table} are still in its index"
        );
    }
}
