//! What was deleted is gone from the disk.

use super::{DIMS, insert, server_with};
use crate::hnsw::check::findings;

/// Of codes nobody can tell whose they are: the check holds every row of a list, and every compact code,
/// against the table, and whatever no row has must be zero.
#[test]
fn nothing_of_deleted_rows_is_in_an_index_after_vacuum() {
    let (server, mut client) = server_with("");
    for (table, options) in [
        ("whole", "quantizer = none"),
        ("coded", "quantizer = rabitq4, rerank = index"),
        ("segments", "quantizer = pq, rerank = heap"),
        ("signs", "quantizer = binary, rerank = index"),
    ] {
        // a value that stands out, in rows of the build and in later ones; dead rows on every page, and
        // whole topics, whose lists are dissolved
        let marked = format!("array_fill(77777.5, ARRAY[{DIMS}])::vector");
        client
            .batch_execute(&format!(
                "CREATE TABLE {table} (id bigint, v vector({DIMS}));
                 {};
                 INSERT INTO {table} SELECT -i, {marked} FROM generate_series(1, 20) i;
                 CREATE INDEX {table}_v ON {table} USING ivf (v vector_l2_ops) WITH ({options});
                 {};
                 INSERT INTO {table} SELECT -i, {marked} FROM generate_series(21, 40) i;
                 CHECKPOINT",
                insert(table, 1, 1500),
                insert(table, 1501, 4000)
            ))
            .unwrap();
        let path: String = client
            .query_one(&format!("SELECT pg_relation_filepath('{table}_v')"), &[])
            .unwrap()
            .get(0);
        let path = server.data().join(path);
        let mark = 77_777.5_f32.to_ne_bytes().repeat(4);
        let is_on_disk = || {
            let bytes = std::fs::read(&path).unwrap();
            bytes.windows(mark.len()).any(|bytes| bytes == mark)
        };
        assert_eq!(is_on_disk(), table == "whole", "{table}");
        for statement in [
            &format!("DELETE FROM {table} WHERE id < 0 OR id % 3 = 0 OR id % 40 < 9"),
            &format!("VACUUM (INDEX_CLEANUP ON) {table}"),
            "CHECKPOINT",
        ] {
            client.batch_execute(statement).unwrap();
        }
        assert!(!is_on_disk(), "{table}: deleted vectors are in its index");
        let found = findings(&mut client, &format!("{table}_v")).unwrap();
        assert!(found.is_empty(), "{table}: {found:?}");
        crate::hnsw::check_rows(&mut client, table, "<->");
    }
}
