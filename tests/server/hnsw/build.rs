//! Builds that are stopped, and builds with little memory.

use std::time::{Duration, Instant};

use super::{check_index, number, server_with};
use crate::harness::{lift_statement_timeout, sqlstate_of, wait_until};

fn threads_of(backend: i64) -> usize {
    std::fs::read_dir(format!("/proc/{backend}/task"))
        .unwrap()
        .count()
}

#[test]
fn a_stopped_build_ends_at_once_and_leaves_nothing() {
    let (server, mut client) = server_with("");
    client
        .batch_execute(
            "CREATE TABLE items (id bigint, v vector(100));
             INSERT INTO items SELECT i, vec(i, 100) FROM generate_series(1, 15000) i;
             CREATE TABLE long AS SELECT i AS id, vec(i, 4)::vector(4) AS v FROM generate_series(1, 30000) i",
        )
        .unwrap();
    let backend = number(&mut client, "SELECT pg_backend_pid()::bigint");
    client
        .batch_execute("SET max_parallel_maintenance_workers = 3")
        .unwrap();
    let threads = threads_of(backend);
    let files = |client: &mut _| {
        number(
            client,
            "SELECT count(*) FROM pg_ls_dir('base/' || (SELECT oid FROM pg_database WHERE datname = current_database()))",
        )
    };
    client.batch_execute("CHECKPOINT").unwrap();
    let files_before = files(&mut client);

    // in the middle of reading the table, of linking, of inserting row by row
    for (setup, milliseconds) in [
        ("SET maintenance_work_mem = '1GB'", 30),
        ("SET maintenance_work_mem = '1GB'", 700),
        ("SET maintenance_work_mem = '1MB'", 700),
    ] {
        client.batch_execute(setup).unwrap();
        client
            .batch_execute(&format!("SET statement_timeout = {milliseconds}"))
            .unwrap();
        let start = Instant::now();
        let create = "CREATE INDEX items_v ON items USING hnsw (v vector_l2_ops) WITH (ef_construction = 1000)";
        assert_eq!(sqlstate_of(&mut client, create), "57014");
        let took = start.elapsed() - Duration::from_millis(milliseconds);
        lift_statement_timeout(&mut client);
        assert!(took < Duration::from_secs(1), "{took:?} after the timeout");
        wait_until("its threads have ended", || threads_of(backend) == threads);
    }

    // a request to cancel from elsewhere
    client
        .batch_execute("SET maintenance_work_mem = '1GB'")
        .unwrap();
    let cancel = client.cancel_token();
    let canceller = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        cancel.cancel_query(postgres::NoTls).unwrap();
        Instant::now()
    });
    let create =
        "CREATE INDEX items_v ON items USING hnsw (v vector_l2_ops) WITH (ef_construction = 1000)";
    assert_eq!(sqlstate_of(&mut client, create), "57014");
    assert!(canceller.join().unwrap().elapsed() < Duration::from_secs(1));
    wait_until("its threads have ended", || threads_of(backend) == threads);

    assert_eq!(
        number(
            &mut client,
            "SELECT count(*) FROM pg_class WHERE relname LIKE 'items_v%'"
        ),
        0
    );
    client.batch_execute("CHECKPOINT").unwrap();
    assert_eq!(files(&mut client), files_before, "{}", server.log());
    client
        .batch_execute("CREATE INDEX long_v ON long USING hnsw (v vector_l2_ops)")
        .unwrap();
}

#[test]
fn a_plain_build_with_little_memory_says_so_and_is_right() {
    let (server, mut client) = server_with("log_min_messages = notice");
    client
        .batch_execute(
            "CREATE TABLE items (id bigint, v vector(16));
             INSERT INTO items SELECT i, vec(i, 16) FROM generate_series(1, 4000) i;
             SET maintenance_work_mem = '1MB';
             CREATE INDEX ON items USING hnsw (v vector_l2_ops) WITH (layout = plain)",
        )
        .unwrap();
    let log = server.log();
    let notice = log
        .lines()
        .find(|line| line.contains("no longer fits into maintenance_work_mem after"))
        .unwrap_or_else(|| panic!("no NOTICE: {log}"));
    let rows: u32 = notice
        .split_whitespace()
        .rev()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("{notice}"));
    assert!(
        (500..3900).contains(&rows),
        "a graph of 1 MB has {rows} rows"
    );
    check_index(&mut client, "items");
}
