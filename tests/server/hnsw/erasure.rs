//! What was deleted is gone from the disk.

use postgres::Client;

use super::{number, server_with};

/// Bytes of two elements of the vectors that are deleted: 77777.5 twice.
fn mark(element: &str) -> Vec<u8> {
    match element {
        "vector" => 77_777.5_f32.to_ne_bytes().repeat(2),
        // 777.5 in half precision
        _ => 0x6213_u16.to_ne_bytes().repeat(4),
    }
}

#[test]
fn bytes_of_deleted_vectors_are_gone_after_vacuum_and_checkpoint() {
    let (server, mut client) = server_with("");
    for (table, kind, element, value, dims) in [
        ("narrow", "", "vector", 77_777.5, 20),
        ("wide", "", "vector", 77_777.5, 5000),
        ("narrow_unlogged", "UNLOGGED", "vector", 77_777.5, 20),
        ("wide_unlogged", "UNLOGGED", "vector", 77_777.5, 5000),
        ("half", "", "halfvec", 777.5, 20),
        ("half_unlogged", "UNLOGGED", "halfvec", 777.5, 9000),
    ] {
        // the marked vectors are neighbours of kept ones, on pages with kept ones; some were
        // there when the index was built, some came later
        client
            .batch_execute(&format!(
                "CREATE {kind} TABLE {table} (id int, v {element}({dims}));
                 INSERT INTO {table} SELECT i, (array_fill({value}, ARRAY[{dims} - 1]) || i::numeric)::{element}
                     FROM generate_series(1, 10) i;
                 INSERT INTO {table} SELECT i, array_fill(i % 500, ARRAY[{dims}])::{element}
                     FROM generate_series(11, 60) i;
                 CREATE INDEX {table}_v ON {table} USING hnsw (v {element}_l2_ops) WITH (layout = plain);
                 INSERT INTO {table} SELECT i, (array_fill({value}, ARRAY[{dims} - 1]) || (i % 9)::numeric)::{element}
                     FROM generate_series(61, 100) i;
                 INSERT INTO {table} SELECT i, array_fill(i, ARRAY[{dims}])::{element}
                     FROM generate_series(101, 130) i"
            ))
            .unwrap();
        let path: String = client
            .query_one(&format!("SELECT pg_relation_filepath('{table}_v')"), &[])
            .unwrap()
            .get(0);
        let path = server.data().join(path);
        let mark = mark(element);
        // a checkpoint leaves unlogged pages in memory, except when the server stops
        let write_out = |client: &mut Client| match kind {
            "" => client.batch_execute("CHECKPOINT").unwrap(),
            _ => {
                server.restart();
                *client = server.client();
            }
        };
        let is_on_disk = || {
            let bytes = std::fs::read(&path).unwrap();
            bytes.windows(mark.len()).any(|bytes| bytes == mark)
        };
        write_out(&mut client);
        assert!(is_on_disk(), "{table}: there is something to erase");

        client
            .batch_execute(&format!(
                "DELETE FROM {table} WHERE id <= 10 OR id BETWEEN 61 AND 100"
            ))
            .unwrap();
        client
            .batch_execute(&format!("VACUUM (INDEX_CLEANUP ON) {table}"))
            .unwrap();
        write_out(&mut client);
        assert!(
            !is_on_disk(),
            "{table}: the deleted vectors are still in {}",
            path.display()
        );
        client.batch_execute("SET enable_seqscan = off").unwrap();
        let kept = format!(
            "SELECT count(*) FROM (SELECT id FROM {table} ORDER BY v <-> (SELECT v FROM {table} LIMIT 1)) t"
        );
        assert_eq!(number(&mut client, &kept), 80, "{table}");
    }
}
