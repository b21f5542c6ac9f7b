//! Inserts, updates, deletes and VACUUM: every code, span, link and entry stays what it must be.

use std::collections::HashSet;

use postgres::Client;

use super::pages::{Deleted, Pages};
use super::{KINDS, operator_of, recall};
use crate::harness::Server;
use crate::hnsw::{check_own_vectors, check_rows, number, server_with};

/// `table (id, v)` with `rows` rows and an index `table_v`.
fn create(client: &mut Client, kind: &(&str, &str, i32, &str), rows: u32) {
    let (table, class, dims, options) = kind;
    client
        .batch_execute(&format!(
            "CREATE TABLE {table} (id bigint, v vector({dims}));
             INSERT INTO {table} SELECT i, vec(i, {dims}) FROM generate_series(1, {rows}) i;
             CREATE INDEX {table}_v ON {table} USING hnsw (v {class}) {options}"
        ))
        .unwrap();
}

fn vacuum(client: &mut Client, table: &str) {
    client
        .batch_execute(&format!("VACUUM (INDEX_CLEANUP ON) {table}"))
        .unwrap();
}

fn values_in(client: &mut Client, table: &str) -> usize {
    number(client, &format!("SELECT count(DISTINCT v) FROM {table}")) as usize
}

/// One session's random changes to rows of its own; the graph is everybody's.
fn change(client: &mut Client, table: &str, dims: i32, session: i64) {
    let mut random = fastrand::Rng::with_seed(session as u64);
    let first = session * 1_000_000;
    let mut next = first;
    for _ in 0..40 {
        let (some, other) = (random.i64(first..=next), random.i64(0..1000));
        let statement = match random.u8(0..8) {
            0..=2 => {
                let until = next + random.i64(1..60);
                let insert = format!(
                    "INSERT INTO {table} SELECT i, vec(i, {dims}) FROM generate_series({next}, {until} - 1) i"
                );
                next = until;
                insert
            }
            3 => {
                next += 10;
                format!(
                    "INSERT INTO {table} SELECT {next} - i, vec({next}, {dims}) FROM generate_series(1, 9) i"
                )
            }
            4 => format!("DELETE FROM {table} WHERE id BETWEEN {some} AND {some} + 40"),
            5 => format!(
                "DELETE FROM {table} WHERE id % 50 = {other} % 50 AND id % 2 = {session} % 2"
            ),
            6 => format!(
                "UPDATE {table} SET v = vec(id + 100000000, {dims}) WHERE id BETWEEN {some} AND {some} + 20"
            ),
            _ => format!(
                "BEGIN; INSERT INTO {table} SELECT -i, vec(-i, {dims}) FROM generate_series({next}, {next} + 9) i; ROLLBACK"
            ),
        };
        client
            .batch_execute(&statement)
            .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
}

fn check(server: &Server, client: &mut Client, kind: &(&str, &str, i32, &str)) {
    let (table, class, dims, _) = kind;
    let operator = operator_of(class);
    vacuum(client, table);
    let index = format!("{table}_v");
    let graph = Pages::of(server, client, &index).check(Deleted::Nowhere);
    assert_eq!(graph.nodes, values_in(client, table), "{table}: {graph:?}");
    assert!(
        graph.reached * 500 >= graph.nodes * 499,
        "{table}: {graph:?}"
    );
    check_rows(client, table, operator);
    if operator != "<#>" {
        client
            .batch_execute("SET hnsw.target_recall = 0.99")
            .unwrap();
        check_own_vectors(client, table, operator);
    }
    // the same effort, whatever the calibration says
    client
        .batch_execute("SET hnsw.target_recall = 0; SET hnsw.ef_search = 40")
        .unwrap();
    let changed = recall(client, table, operator, *dims);
    client
        .batch_execute(&format!("REINDEX INDEX {index}"))
        .unwrap();
    let graph = Pages::of(server, client, &index).check(Deleted::Nowhere);
    assert!(
        graph.reached * 500 >= graph.nodes * 499,
        "{table}: {graph:?}"
    );
    let fresh = recall(client, table, operator, *dims);
    client
        .batch_execute("RESET hnsw.target_recall; RESET hnsw.ef_search")
        .unwrap();
    assert!(
        changed >= fresh - 0.03,
        "{table}: recall {changed} after changes, {fresh} of a fresh index"
    );
}

#[test]
fn codes_links_and_entries_are_right_after_changes_by_one_session() {
    let (server, mut client) = server_with("");
    for (session, kind) in KINDS.iter().enumerate() {
        let (table, _, dims, _) = kind;
        create(&mut client, kind, 1500);
        let graph = Pages::of(&server, &mut client, &format!("{table}_v")).check(Deleted::Nowhere);
        assert_eq!((graph.nodes, graph.reached), (1500, 1500), "{table}");
        for round in 0..3 {
            change(&mut client, table, *dims, session as i64 * 10 + round + 1);
            vacuum(&mut client, table);
            Pages::of(&server, &mut client, &format!("{table}_v")).check(Deleted::Nowhere);
        }
        check(&server, &mut client, kind);
    }
}

#[test]
fn codes_links_and_entries_are_right_after_changes_by_two_sessions_and_vacuum() {
    let (server, mut client) = server_with("");
    for kind in KINDS {
        let (table, _, dims, _) = kind;
        create(&mut client, kind, 1000);
        std::thread::scope(|scope| {
            let sessions: Vec<_> = (1..=2)
                .map(|session| {
                    let mut client = server.client();
                    scope.spawn(move || {
                        for round in 0..3 {
                            change(&mut client, table, *dims, 2 * round + session);
                        }
                    })
                })
                .collect();
            while sessions.iter().any(|session| !session.is_finished()) {
                vacuum(&mut client, table);
            }
        });
        check(&server, &mut client, kind);
    }
}

#[test]
fn vacuum_of_half_the_rows_keeps_recall_and_the_entry_table() {
    let (server, mut client) = server_with("");
    for kind in KINDS {
        let (table, class, dims, _) = kind;
        let (operator, index) = (operator_of(class), format!("{table}_v"));
        create(&mut client, kind, 5000);
        client
            .batch_execute(&format!(
                "DELETE FROM {table} WHERE hashint8(id) % 2 = 0;
                 SET hnsw.target_recall = 0; SET hnsw.ef_search = 40"
            ))
            .unwrap();
        vacuum(&mut client, table);
        let graph = Pages::of(&server, &mut client, &index).check(Deleted::Nowhere);
        assert_eq!(graph.nodes, values_in(&mut client, table), "{table}");
        assert!(
            graph.reached * 500 >= graph.nodes * 499,
            "{table}: {graph:?}"
        );
        check_rows(&mut client, table, operator);
        let vacuumed = recall(&mut client, table, operator, *dims);
        client
            .batch_execute(&format!("REINDEX INDEX {index}"))
            .unwrap();
        let fresh = recall(&mut client, table, operator, *dims);
        assert!(
            vacuumed >= fresh - 0.04,
            "{table}: recall {vacuumed} after VACUUM, {fresh} of a fresh index"
        );

        // all nodes that searches start from
        let entries = Pages::of(&server, &mut client, &index).tuples_of_entries();
        let deleted = client
            .execute(
                &format!("DELETE FROM {table} WHERE ctid = ANY ($1::text[]::tid[])"),
                &[&entries],
            )
            .unwrap();
        assert!(deleted >= 80, "{table}: {deleted} entries");
        vacuum(&mut client, table);
        let graph = Pages::of(&server, &mut client, &index).check(Deleted::Nowhere);
        assert!(graph.entries >= 50, "{table}: {graph:?}");
        assert!(
            graph.reached * 500 >= graph.nodes * 499,
            "{table}: {graph:?}"
        );
        check_rows(&mut client, table, operator);
        let without = recall(&mut client, table, operator, *dims);
        assert!(
            without >= fresh - 0.03,
            "{table}: recall {without} with new entries, {fresh} before"
        );

        // all rows
        client
            .batch_execute(&format!("DELETE FROM {table}"))
            .unwrap();
        vacuum(&mut client, table);
        let graph = Pages::of(&server, &mut client, &index).check(Deleted::Nowhere);
        assert_eq!((graph.nodes, graph.entries), (0, 0), "{table}");
        assert_eq!(
            number(&mut client, &format!("SELECT count(*) FROM {table}")),
            0
        );
        client
            .batch_execute(&format!(
                "INSERT INTO {table} SELECT i, vec(i, {dims}) FROM generate_series(1, 1500) i"
            ))
            .unwrap();
        check(&server, &mut client, kind);
    }
}

/// Value and neighbours' copies: words of the codes of deleted vectors are nowhere in the file.
#[test]
fn codes_of_deleted_vectors_are_gone_after_vacuum_and_checkpoint() {
    let (server, mut client) = server_with("");
    for kind in KINDS {
        let (table, _, dims, _) = kind;
        create(&mut client, kind, 1000);
        client
            .batch_execute(&format!(
                "INSERT INTO {table} SELECT i, vec(i, {dims}) FROM generate_series(1001, 1500) i"
            ))
            .unwrap();
        let index = format!("{table}_v");
        let before = Pages::of(&server, &mut client, &index).marks();
        client
            .batch_execute(&format!("DELETE FROM {table} WHERE hashint8(id) % 3 = 0"))
            .unwrap();
        vacuum(&mut client, table);
        let pages = Pages::of(&server, &mut client, &index);
        let kept: HashSet<u64> = pages.marks();
        let gone: HashSet<u64> = before.difference(&kept).copied().collect();
        assert!(gone.len() >= 800, "{table}: {} words", gone.len());
        let left = pages.words().filter(|word| gone.contains(word)).count();
        assert_eq!(left, 0, "{table}: words of deleted vectors");
    }
}
