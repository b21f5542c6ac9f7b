//! Crashes: what was committed is in the index, and the index goes on working.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postgres::Client;

use super::blocks::pages::{Deleted, Pages};
use super::{CODED, NARROW, WIDE, check_index, number, server_with};
use crate::harness::{Server, wait_until};

/// Inserts, rolls back, deletes until the server goes away.
fn write(client: &mut Client, writer: i64) -> Result<(), postgres::Error> {
    for round in 0.. {
        let first = writer * 1_000_000 + round * 20;
        client.batch_execute(&format!(
            "INSERT INTO narrow SELECT i, vec(i, {NARROW}) FROM generate_series({first}, {first} + 19) i;
             INSERT INTO coded SELECT i, vec(i, {CODED}) FROM generate_series({first}, {first} + 19) i;
             INSERT INTO wide SELECT i, vec(i, {WIDE}) FROM generate_series({first}, {first} + 1) i;
             INSERT INTO same SELECT i, '[1,1]' FROM generate_series({first}, {first} + 9) i"
        ))?;
        client.batch_execute(&format!(
            "BEGIN;
             INSERT INTO narrow SELECT -i, vec(-i, {NARROW}) FROM generate_series({first}, {first} + 4) i;
             INSERT INTO coded SELECT -i, vec(-i, {CODED}) FROM generate_series({first}, {first} + 4) i;
             INSERT INTO same SELECT -i, '[1,1]' FROM generate_series({first}, {first} + 4) i;
             ROLLBACK;
             DELETE FROM narrow WHERE id BETWEEN {first} - 30 AND {first} - 20;
             DELETE FROM coded WHERE id BETWEEN {first} - 30 AND {first} - 20;
             DELETE FROM wide WHERE id = {first} - 20;
             DELETE FROM same WHERE id BETWEEN {first} - 30 AND {first} - 24"
        ))?;
    }
    Ok(())
}

/// Lets three writers and a VACUUM run for a while, then `crash`es the server.
fn work_until(server: &Server, crash: impl FnOnce()) {
    let crashed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 1..=3 {
            let mut client = server.client();
            let crashed = &crashed;
            scope.spawn(move || {
                let error = write(&mut client, writer).expect_err("ends with the server");
                assert!(
                    crashed.load(Ordering::Relaxed),
                    "before the crash: {error:?}"
                );
            });
        }
        let mut client = server.client();
        let crashed = &crashed;
        scope.spawn(move || {
            let vacuum = "VACUUM (INDEX_CLEANUP ON) narrow, coded, wide, same";
            let error = loop {
                if let Err(error) = client.batch_execute(vacuum) {
                    break error;
                }
            };
            assert!(
                crashed.load(Ordering::Relaxed),
                "before the crash: {error:?}"
            );
        });
        std::thread::sleep(Duration::from_secs(3));
        crashed.store(true, Ordering::Relaxed);
        crash();
    });
}

fn check(server: &Server) {
    let mut client = server.client();
    check_index(&mut client, "narrow");
    check_index(&mut client, "coded");
    check_index(&mut client, "wide");
    Pages::of(server, &mut client, "coded_v").check(Deleted::Allowed);
    assert_eq!(
        number(
            &mut client,
            "SELECT count(*) FROM (SELECT id FROM same ORDER BY v <-> '[1,1]') s"
        ),
        number(&mut client, "SELECT count(*) FROM same")
    );
    for table in ["narrow", "coded", "same"] {
        let query = format!("SELECT count(*) FROM {table} WHERE id < 0");
        assert_eq!(
            number(&mut client, &query),
            0,
            "rolled back rows in {table}"
        );
    }
}

#[test]
fn every_committed_row_is_found_after_crashes_among_writers_and_vacuum() {
    let (server, mut client) = server_with("");
    client
        .batch_execute(&format!(
            "CREATE TABLE narrow (id bigint, v vector({NARROW}));
             CREATE TABLE coded (id bigint, v vector({CODED}));
             CREATE TABLE wide (id bigint, v vector({WIDE}));
             CREATE TABLE same (id bigint, v vector(2));
             CREATE INDEX ON narrow USING hnsw (v vector_l2_ops);
             CREATE INDEX coded_v ON coded USING hnsw (v vector_l2_ops);
             CREATE INDEX ON wide USING hnsw (v vector_l2_ops) WITH (layout = plain);
             CREATE INDEX ON same USING hnsw (v vector_l2_ops) WITH (layout = inline);
             INSERT INTO narrow SELECT i, vec(i, {NARROW}) FROM generate_series(1, 500) i;
             INSERT INTO coded SELECT i, vec(i, {CODED}) FROM generate_series(1, 500) i;
             INSERT INTO wide SELECT i, vec(i, {WIDE}) FROM generate_series(1, 50) i"
        ))
        .unwrap();

    work_until(&server, || server.crash_and_restart());
    check(&server);

    // a killed backend takes the others with it, and the postmaster recovers by itself
    client = server.client();
    client
        .batch_execute("DELETE FROM narrow WHERE id >= 1000000")
        .unwrap();
    client
        .batch_execute("DELETE FROM coded WHERE id >= 1000000")
        .unwrap();
    client
        .batch_execute("DELETE FROM wide WHERE id >= 1000000")
        .unwrap();
    let victim = number(&mut client, "SELECT pg_backend_pid()::bigint");
    work_until(&server, || {
        let killed = Command::new("kill")
            .args(["-9", &victim.to_string()])
            .status();
        assert!(killed.is_ok_and(|status| status.success()));
    });
    wait_until("the server has recovered", || server.accepts_connections());
    check(&server);

    let mut client = server.client();
    client
        .batch_execute("VACUUM (INDEX_CLEANUP ON) narrow, coded, wide, same")
        .unwrap();
    client
        .batch_execute(&format!(
            "INSERT INTO narrow SELECT i, vec(i, {NARROW}) FROM generate_series(9000001, 9000500) i;
             INSERT INTO coded SELECT i, vec(i, {CODED}) FROM generate_series(9000001, 9000500) i"
        ))
        .unwrap();
    check(&server);
    Pages::of(&server, &mut client, "coded_v").check(Deleted::Nowhere);
}

#[test]
fn an_unlogged_index_is_empty_after_a_crash_and_takes_rows() {
    crash_unlogged("");
}

#[test]
fn an_unlogged_index_of_blocks_is_empty_after_a_crash_and_takes_rows() {
    crash_unlogged("WITH (layout = inline)");
}

/// The init fork has no codebook: what comes after the crash is coded in another way.
#[test]
fn an_unlogged_index_of_product_quantization_is_empty_after_a_crash_and_takes_rows() {
    crash_unlogged("WITH (quantizer = pq)");
}

fn crash_unlogged(options: &str) {
    let (server, mut client) = server_with("");
    client
        .batch_execute(&format!(
            "CREATE UNLOGGED TABLE items (id bigint, v vector(8));
             INSERT INTO items SELECT i, vec(i, 8) FROM generate_series(1, 500) i;
             CREATE INDEX ON items USING hnsw (v vector_l2_ops) {options};
             INSERT INTO items SELECT i, vec(i, 8) FROM generate_series(501, 1000) i"
        ))
        .unwrap();
    check_index(&mut client, "items");
    drop(client);
    server.crash_and_restart();

    let mut client = server.client();
    client.batch_execute("SET enable_seqscan = off").unwrap();
    let in_index = "SELECT count(*) FROM (SELECT id FROM items ORDER BY v <-> vec(1, 8)) i";
    assert_eq!(number(&mut client, in_index), 0);
    client
        .batch_execute("INSERT INTO items SELECT i, vec(i, 8) FROM generate_series(1, 500) i")
        .unwrap();
    check_index(&mut client, "items");
}
