//! Many sessions at once.

use std::time::{Duration, Instant};

use super::blocks::pages::{Deleted, Pages};
use super::{CODED, NARROW, check_index, number, server_with};

const SECONDS: u64 = 15;

#[test]
fn sessions_that_insert_delete_vacuum_and_search_leave_an_index_as_good_as_new() {
    soak(NARROW);
}

#[test]
fn sessions_that_insert_delete_vacuum_and_search_leave_blocks_as_good_as_new() {
    soak(CODED);
}

fn soak(dims: i32) {
    let (server, mut client) = server_with("");
    client
        .batch_execute(&format!(
            "CREATE TABLE items (id bigint PRIMARY KEY, v vector({dims}));
             INSERT INTO items SELECT i, vec(i, {dims}) FROM generate_series(1, 2000) i;
             CREATE INDEX items_v ON items USING hnsw (v vector_l2_ops)"
        ))
        .unwrap();
    let end = Instant::now() + Duration::from_secs(SECONDS);
    std::thread::scope(|scope| {
        for writer in 1_i64..=3 {
            let mut client = server.client();
            scope.spawn(move || {
                let mut next = writer * 1_000_000;
                while Instant::now() < end {
                    client
                        .batch_execute(&format!(
                            "INSERT INTO items SELECT i, vec(i, {dims}) FROM generate_series({next}, {next} + 9) i;
                             DELETE FROM items WHERE id BETWEEN {next} - 300 AND {next} - 295;
                             DELETE FROM items WHERE id = {next} / 10 % 2000;
                             UPDATE items SET v = vec(id + 7, {dims}) WHERE id = {next} - 100"
                        ))
                        .unwrap();
                    next += 10;
                }
            });
        }
        for _ in 0..2 {
            let mut client = server.client();
            scope.spawn(move || {
                client.batch_execute("SET enable_seqscan = off").unwrap();
                let mut query = 0;
                while Instant::now() < end {
                    let sql = format!(
                        "SELECT count(*) FROM (SELECT id FROM items
                         ORDER BY v <-> vec({query}, {dims}) LIMIT 100) nearest"
                    );
                    assert_eq!(number(&mut client, &sql), 100);
                    query += 1;
                }
            });
        }
        let mut client = server.client();
        scope.spawn(move || {
            while Instant::now() < end {
                client
                    .batch_execute("VACUUM (INDEX_CLEANUP ON) items")
                    .unwrap();
            }
        });
    });

    check_index(&mut client, "items");
    // `v <-> q + 0` is no order the index has
    client
        .batch_execute("SET enable_seqscan = on; SET enable_sort = on")
        .unwrap();
    let right = number(
        &mut client,
        &format!(
            "SELECT count(*) FROM generate_series(1, 100) q,
             LATERAL (SELECT id FROM items ORDER BY v <-> vec(q, {dims}) LIMIT 10) found,
             LATERAL (SELECT max(d) AS farthest FROM (SELECT v <-> vec(q, {dims}) AS d FROM items
                      ORDER BY (v <-> vec(q, {dims})) + 0 LIMIT 10) e) exact
             WHERE (SELECT v FROM items WHERE id = found.id) <-> vec(q, {dims}) <= farthest"
        ),
    );
    // blocks search as far as the default target of 0.95 asks
    let least = if dims == CODED { 940 } else { 970 };
    assert!(right >= least, "{right} of 1000 nearest rows found");
    if dims == CODED {
        client
            .batch_execute("VACUUM (INDEX_CLEANUP ON) items")
            .unwrap();
        let graph = Pages::of(&server, &mut client, "items_v").check(Deleted::Nowhere);
        assert!(graph.reached * 200 >= graph.nodes * 199, "{graph:?}");
    }
}
