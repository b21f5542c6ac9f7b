//! Delicate moments, one after the other on purpose: what a scan, an insert and VACUUM do to each other
//! when one waits in the middle.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::check::assert_sound;
use super::{CODED, NARROW, number, server_with};
use crate::harness::lift_statement_timeout;
use crate::suspended::Suspended;

/// The two layouts: table, dimensions, options of the index.
const LAYOUTS: [(&str, i32, &str); 2] = [
    ("narrow", NARROW, "WITH (layout = plain)"),
    ("coded", CODED, ""),
];

#[test]
fn a_suspended_scan_hands_out_its_rows_once_while_pages_are_freed_and_taken_again() {
    let (server, mut client) = server_with("");
    for (table, dims, options) in LAYOUTS {
        client
            .batch_execute(&format!(
                "CREATE TABLE {table} (id bigint, v vector({dims}));
                 INSERT INTO {table} SELECT i, vec(i, {dims}) FROM generate_series(1, 3000) i;
                 CREATE INDEX {table}_v ON {table} USING hnsw (v vector_l2_ops) {options};
                 DELETE FROM {table} WHERE id % 2 = 0"
            ))
            .unwrap();
        let vector = format!("vec(1, {dims})");
        let mut scan = Suspended::begin(&server, table, &vector);
        for round in 1..4 {
            client
                .batch_execute(&format!("VACUUM (INDEX_CLEANUP ON) {table}"))
                .unwrap();
            client
                .batch_execute(&format!(
                    "INSERT INTO {table} SELECT -i, vec(-i, {dims}) FROM generate_series({round}000, {round}500) i"
                ))
                .unwrap();
            scan.fetch("300");
            // visible to the cursor's snapshot, so VACUUM leaves them to it
            client
                .batch_execute(&format!("DELETE FROM {table} WHERE id % 7 = {round}"))
                .unwrap();
        }
        scan.finish((1..=3000).filter(|id| id % 2 == 1));
        client
            .batch_execute(&format!("VACUUM (INDEX_CLEANUP ON) {table}"))
            .unwrap();
        assert_sound(&mut client, &format!("{table}_v"));
    }
}

#[test]
fn inserts_go_on_while_the_entry_point_is_deleted_again_and_again() {
    let (server, mut client) = server_with("");
    for (table, dims, options) in LAYOUTS {
        client
            .batch_execute(&format!(
                "CREATE TABLE {table} (id bigint, v vector({dims}));
                 CREATE INDEX {table}_v ON {table} USING hnsw (v vector_l2_ops) {options}"
            ))
            .unwrap();
        let end = Instant::now() + Duration::from_secs(4);
        let failed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in 1_i64..=2 {
                let (mut client, failed) = (server.client(), &failed);
                scope.spawn(move || {
                    let mut next = writer * 1_000_000;
                    while Instant::now() < end && !failed.load(Ordering::Relaxed) {
                        // few rows at a time, so that the index is empty now and then
                        client
                            .batch_execute(&format!(
                                "INSERT INTO {table} SELECT i, vec(i, {dims}) FROM generate_series({next}, {next} + 3) i;
                                 DELETE FROM {table} WHERE id BETWEEN {next} - 8 AND {next} - 1"
                            ))
                            .unwrap();
                        next += 4;
                    }
                });
            }
            let mut rounds = 0;
            while Instant::now() < end {
                client
                    .batch_execute(&format!("VACUUM (INDEX_CLEANUP ON) {table}"))
                    .unwrap();
                rounds += 1;
            }
            assert!(rounds > 5, "{rounds} times VACUUM");
        });
        assert_sound(&mut client, &format!("{table}_v"));
        let rows = number(&mut client, &format!("SELECT count(*) FROM {table}"));
        client.batch_execute("SET enable_seqscan = off").unwrap();
        let found = number(
            &mut client,
            &format!(
                "SELECT count(*) FROM (SELECT id FROM {table} ORDER BY v <-> vec(1, {dims})) f"
            ),
        );
        assert_eq!(found, rows, "{table}");
        client.batch_execute("RESET enable_seqscan").unwrap();
    }
}

#[test]
fn a_check_can_be_cancelled_and_leaves_no_memory_behind() {
    let (_server, mut client) = server_with("");
    client
        .batch_execute(&format!(
            "CREATE TABLE coded (id bigint, v vector({CODED}));
             INSERT INTO coded SELECT i, vec(i, {CODED}) FROM generate_series(1, 4000) i;
             CREATE INDEX coded_v ON coded USING hnsw (v vector_l2_ops)"
        ))
        .unwrap();
    let backend = number(&mut client, "SELECT pg_backend_pid()::bigint");
    let check = "SELECT vector_index_check('coded_v', true)";
    let mut run = |times: usize| {
        for n in 0..times {
            client
                .batch_execute(&format!("SET statement_timeout = {}", n % 9 * 4))
                .unwrap();
            if let Err(error) = client.batch_execute(check) {
                assert_eq!(error.code().unwrap().code(), "57014");
            }
            lift_statement_timeout(&mut client);
        }
    };
    run(60);
    let before = super::memory::own_memory(backend);
    run(120);
    let after = super::memory::own_memory(backend);
    assert!(after < before + 3000, "{before} kB became {after} kB");
    // nothing is locked or pinned any more
    client
        .batch_execute("SET statement_timeout = '20s'; DROP INDEX coded_v")
        .unwrap();
}
