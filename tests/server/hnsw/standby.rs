//! Standbys: same pages, same answers, and scans that replay does not trip over.

use std::sync::atomic::{AtomicBool, Ordering};

use postgres::Client;

use super::blocks::pages::{Deleted, Pages};
use super::{CODED, NARROW, WIDE, check_index, number, server_with};

/// Every page that replay makes is compared with the primary's.
const SETTINGS: &str = "
wal_consistency_checking = 'all'
max_standby_streaming_delay = -1
max_parallel_maintenance_workers = 2
min_parallel_index_scan_size = 0
";

/// Inserts, deletes, updates and VACUUMs that touch every kind of page.
fn load(client: &mut Client) {
    for round in 0..12 {
        let first = round * 200;
        client
            .batch_execute(&format!(
                "INSERT INTO narrow SELECT i, vec(i, {NARROW}) FROM generate_series({first}, {first} + 199) i;
                 INSERT INTO coded SELECT i, vec(i, {CODED}) FROM generate_series({first}, {first} + 199) i;
                 INSERT INTO wide SELECT i, vec(i, {WIDE}) FROM generate_series({first}, {first} + 7) i;
                 INSERT INTO same SELECT i, '[1,1]' FROM generate_series({first}, {first} + 199) i;
                 DELETE FROM narrow WHERE id % 3 = {round} % 3;
                 UPDATE narrow SET v = vec(id + 1000000, {NARROW}) WHERE id % 20 = {round};
                 DELETE FROM coded WHERE id % 3 = {round} % 3;
                 UPDATE coded SET v = vec(id + 1000000, {CODED}) WHERE id % 20 = {round};
                 DELETE FROM wide WHERE id % 3 = {round} % 3;
                 DELETE FROM same WHERE id BETWEEN {first} - 300 AND {first} - 20"
            ))
            .unwrap();
        client
            .batch_execute("VACUUM (INDEX_CLEANUP ON) narrow, coded, wide, same")
            .unwrap();
    }
}

/// First rows of searches of all three tables.
fn answers(client: &mut Client) -> Vec<(i64, f64)> {
    client.batch_execute("SET enable_seqscan = off").unwrap();
    let mut answers = Vec::new();
    for (table, query) in [
        ("narrow", format!("vec(77, {NARROW})")),
        ("coded", format!("vec(77, {CODED})")),
        ("wide", format!("vec(77, {WIDE})")),
        ("same", "'[1,2]'::vector".to_owned()),
    ] {
        let sql = format!("SELECT id, v <-> {query} FROM {table} ORDER BY v <-> {query} LIMIT 60");
        let rows = client.query(&sql, &[]).unwrap();
        answers.extend(
            rows.iter()
                .map(|row| (row.get::<_, i64>(0), row.get::<_, f64>(1))),
        );
    }
    answers
}

#[test]
fn a_standby_has_the_same_pages_and_answers_while_it_replays() {
    let (primary, mut client) = server_with(SETTINGS);
    client
        .batch_execute(&format!(
            "CREATE TABLE narrow (id bigint, v vector({NARROW}));
             CREATE TABLE coded (id bigint, v vector({CODED}));
             CREATE TABLE wide (id bigint, v vector({WIDE}));
             CREATE TABLE same (id bigint, v vector(2));
             INSERT INTO narrow SELECT i, vec(i, {NARROW}) FROM generate_series(-500, -1) i;
             CREATE INDEX ON narrow USING hnsw (v vector_l2_ops);
             CREATE INDEX ON narrow USING hnsw (v vector_cosine_ops);
             INSERT INTO coded SELECT i, vec(i, {CODED}) FROM generate_series(-500, -1) i;
             CREATE INDEX coded_v ON coded USING hnsw (v vector_l2_ops);
             CREATE INDEX ON coded USING hnsw (v vector_cosine_ops) WITH (layout = compact);
             CREATE INDEX ON wide USING hnsw (v vector_l2_ops) WITH (layout = plain, m = 40, ef_construction = 80);
             CREATE INDEX ON wide USING hnsw (v vector_cosine_ops);
             CREATE INDEX ON same USING hnsw (v vector_l2_ops) WITH (layout = inline)"
        ))
        .unwrap();
    let standby = primary.standby();

    let loaded = AtomicBool::new(false);
    let searches: i64 = std::thread::scope(|scope| {
        let readers: Vec<_> = ["narrow", "coded", "wide", "same"]
            .into_iter()
            .map(|table| {
                let mut client = standby.client();
                let loaded = &loaded;
                scope.spawn(move || {
                    client.batch_execute("SET enable_seqscan = off").unwrap();
                    let query = format!(
                        "SELECT count(*) FROM (SELECT id FROM {table}
                         ORDER BY v <-> (SELECT v FROM {table} LIMIT 1) LIMIT 500) nearest"
                    );
                    let mut searches = 0;
                    while !loaded.load(Ordering::Relaxed) {
                        number(&mut client, &query);
                        searches += 1;
                    }
                    searches
                })
            })
            .collect();
        load(&mut client);
        standby.catch_up_with(&primary);
        loaded.store(true, Ordering::Relaxed);
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .sum()
    });
    assert!(searches > 30, "{searches} searches during replay");
    let log = standby.log();
    assert!(
        !log.contains("FATAL") && !log.contains("inconsistent"),
        "{log}"
    );

    assert_eq!(answers(&mut standby.client()), answers(&mut client));
    for client in [&mut client, &mut standby.client()] {
        check_index(client, "narrow");
        check_index(client, "coded");
        check_index(client, "wide");
    }
    Pages::of(&primary, &mut client, "coded_v").check(Deleted::Nowhere);
}
