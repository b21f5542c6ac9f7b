//! What a session holds on to.

use super::{number, server_with};

/// Memory of a process that is its own, in kB.
pub fn own_memory(process: i64) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let words = line.expect("Linux says").split_whitespace().nth(1);
    words.unwrap().parse().unwrap()
}

#[test]
fn twenty_thousand_searches_leave_no_memory_behind() {
    search_often("");
}

#[test]
fn twenty_thousand_searches_of_blocks_leave_no_memory_behind() {
    search_often("WITH (layout = inline)");
}

fn search_often(options: &str) {
    let (_server, mut client) = server_with("");
    client
        .batch_execute(&format!(
            "CREATE TABLE items (id bigint, v vector(8));
             INSERT INTO items SELECT i, vec(i, 8) FROM generate_series(1, 2000) i;
             CREATE INDEX ON items USING hnsw (v vector_l2_ops) {options};
             SET enable_seqscan = off;
             SET work_mem = '1MB'"
        ))
        .unwrap();
    let backend = number(&mut client, "SELECT pg_backend_pid()::bigint");
    let search = client
        .prepare("SELECT id FROM items ORDER BY v <-> ARRAY[$1, 1, 1, 1, 1, 1, 1, 1]::real[]::vector LIMIT 10")
        .unwrap();
    let mut run = |from: i32, to: i32| {
        for i in from..to {
            let near = i as f32 / 1e4;
            assert_eq!(client.query(&search, &[&near]).unwrap().len(), 10);
            if i % 50 == 0 {
                // all rows, by a sweep; a cursor left in the middle; an error in the middle
                client
                    .batch_execute(
                        "BEGIN;
                         SELECT count(*) FROM (SELECT id FROM items ORDER BY v <-> vec(1, 8)) i;
                         DECLARE c CURSOR FOR SELECT id FROM items ORDER BY v <-> vec(2, 8);
                         FETCH 100 FROM c;
                         SAVEPOINT s",
                    )
                    .unwrap();
                client
                    .batch_execute("SELECT 1 / (id - id) FROM items ORDER BY v <-> vec(3, 8)")
                    .unwrap_err();
                client.batch_execute("ROLLBACK").unwrap();
            }
        }
    };
    run(0, 2_000);
    let before = own_memory(backend);
    run(2_000, 22_000);
    let grown = own_memory(backend) - before;
    assert!(grown < 2_000, "{grown} kB more after 20,000 searches");
}
