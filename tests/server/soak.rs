//! Many sessions at once, for as long as asked: rows come, change and go, VACUUM and REINDEX CONCURRENTLY run,
//! searches go on. No statement fails, no row is lost, and at the end an index finds as much as a fresh one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use postgres::Client;

use crate::hnsw::blocks::pages::{Deleted, Pages};
use crate::hnsw::check::assert_sound;
use crate::hnsw::{check_rows, number, server_with};

/// Seconds of each soak. `VECTOREXT_SOAK_SECONDS` asks for others.
fn seconds() -> u64 {
    let asked = std::env::var("VECTOREXT_SOAK_SECONDS").ok();
    asked.map_or(12, |n| {
        n.parse().expect("VECTOREXT_SOAK_SECONDS is a number")
    })
}

/// An index, and how searches of it are judged.
struct Kind {
    name: &'static str,
    dims: i32,
    index: &'static str,
    /// with which a search is as long in every index
    settings: &'static str,
}

const PLAIN: Kind = Kind {
    name: "hnsw, plain",
    dims: 8,
    index: "hnsw (v vector_l2_ops) WITH (layout = plain)",
    settings: "SET hnsw.ef_search = 40",
};
const BLOCKS: Kind = Kind {
    name: "hnsw, blocks",
    dims: 24,
    index: "hnsw (v vector_l2_ops, id)",
    settings: "",
};
const LISTS: Kind = Kind {
    name: "ivf",
    dims: 24,
    index: "ivf (v vector_l2_ops) WITH (rerank = index)",
    settings: "",
};

#[test]
fn a_soaked_index_of_the_plain_layout_is_as_good_as_new() {
    soak(&PLAIN);
}

#[test]
fn a_soaked_index_of_blocks_is_as_good_as_new() {
    soak(&BLOCKS);
}

#[test]
fn a_soaked_index_of_lists_is_as_good_as_new() {
    soak(&LISTS);
}

/// Rows that stay about as many: some come, as many go, others change, until the end. Returns statements.
fn write(mut client: Client, writer: i64, dims: i32, end: Instant) -> u64 {
    let mut done = 0;
    let mut next = writer * 100_000_000;
    while Instant::now() < end {
        for statement in [
            format!(
                "INSERT INTO items SELECT i, vec(i, {dims}) FROM generate_series({next}, {next} + 9) i"
            ),
            format!("DELETE FROM items WHERE id BETWEEN {next} - 300 AND {next} - 295"),
            format!("DELETE FROM items WHERE id = {next} / 10 % 2000"),
            format!("UPDATE items SET v = vec(id + 7, {dims}) WHERE id = {next} - 100"),
            format!(
                "BEGIN; INSERT INTO items SELECT -i, vec(-i, {dims}) FROM generate_series({next}, {next} + 2) i; ROLLBACK"
            ),
        ] {
            client.batch_execute(&statement).unwrap();
            done += 1;
        }
        next += 10;
    }
    done
}

/// Searches for 100 rows, until the end, which has to find as many. Returns how many searches.
fn search(mut client: Client, dims: i32, end: Instant) -> u64 {
    client.batch_execute("SET enable_seqscan = off").unwrap();
    let mut query = 0;
    while Instant::now() < end {
        let sql = format!(
            "SELECT count(*) FROM (SELECT id FROM items ORDER BY v <-> vec({query}, {dims}) LIMIT 100) nearest"
        );
        assert_eq!(number(&mut client, &sql), 100);
        query += 1;
    }
    query
}

/// Runs statements in turn until the end. Returns how many.
fn repeat(client: &mut Client, statements: &[&str], end: Instant) -> u64 {
    let mut done = 0;
    for statement in statements.iter().cycle() {
        if Instant::now() >= end {
            break;
        }
        client
            .batch_execute(statement)
            .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        done += 1;
    }
    done
}

const QUERIES: i64 = 600;

/// Share of the ten nearest rows that searches find; the exact ones are in `exact`.
fn recall(client: &mut Client, kind: &Kind) -> f64 {
    client
        .batch_execute(&format!(
            "SET enable_seqscan = off; SET enable_sort = off; {}",
            kind.settings
        ))
        .unwrap();
    let found = number(
        client,
        "SELECT count(*) FROM exact e, LATERAL (SELECT id, v <-> e.v AS d FROM items ORDER BY v <-> e.v LIMIT 10) s
         WHERE s.d <= e.farthest",
    );
    client
        .batch_execute("RESET enable_seqscan; RESET enable_sort; RESET hnsw.ef_search")
        .unwrap();
    found as f64 / (10 * QUERIES) as f64
}

fn soak(kind: &Kind) {
    let Kind {
        name, dims, index, ..
    } = kind;
    let (server, mut client) = server_with("");
    client
        .batch_execute(&format!(
            "CREATE TABLE items (id bigint PRIMARY KEY, v vector({dims}));
             INSERT INTO items SELECT i, vec(i, {dims}) FROM generate_series(1, 2000) i;
             CREATE INDEX items_v ON items USING {index}"
        ))
        .unwrap();
    let seconds = seconds();
    let end = Instant::now() + Duration::from_secs(seconds);
    let (changes, searches, others) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for writer in 1..=3 {
            let (client, changes) = (server.client(), &changes);
            scope.spawn(move || {
                changes.fetch_add(write(client, writer, *dims, end), Ordering::Relaxed)
            });
        }
        for _ in 0..2 {
            let (client, searches) = (server.client(), &searches);
            scope.spawn(move || searches.fetch_add(search(client, *dims, end), Ordering::Relaxed));
        }
        // in one session: each of them waits for the other to end
        let (mut client, others) = (server.client(), &others);
        scope.spawn(move || {
            let vacuum = "VACUUM (INDEX_CLEANUP ON) items";
            let reindex = "REINDEX INDEX CONCURRENTLY items_v";
            // what is judged at the end is what half the time has made of an index
            let middle = end - Duration::from_secs(seconds) / 2;
            let done = repeat(&mut client, &[vacuum, vacuum, reindex], middle)
                + repeat(&mut client, &[vacuum], end);
            others.fetch_add(done, Ordering::Relaxed)
        });
    });

    client
        .batch_execute("VACUUM (INDEX_CLEANUP ON) items")
        .unwrap();
    check_rows(&mut client, "items", "<->");
    assert_sound(&mut client, "items_v");
    client
        .batch_execute(&format!(
            "RESET enable_seqscan; RESET enable_sort; SET enable_indexscan = off;
             CREATE TABLE queries AS SELECT vec(-q, {dims}) AS v FROM generate_series(1, {QUERIES}) q;
             CREATE TABLE exact AS SELECT q.v, (SELECT max(d) FROM (SELECT i.v <-> q.v AS d FROM items i
                 ORDER BY 1 LIMIT 10) s) AS farthest FROM queries q;
             RESET enable_indexscan"
        ))
        .unwrap();
    let soaked = recall(&mut client, kind);
    if *name == BLOCKS.name {
        let graph = Pages::of(&server, &mut client, "items_v").check(Deleted::Nowhere);
        assert!(graph.reached * 200 >= graph.nodes * 199, "{graph:?}");
    }
    client.batch_execute("REINDEX INDEX items_v").unwrap();
    let fresh = recall(&mut client, kind);
    println!(
        "{name}: {seconds} seconds soaked, {} changes, {} searches, {} VACUUM and REINDEX CONCURRENTLY, \
         recall {soaked:.4}, of a fresh index {fresh:.4}",
        changes.into_inner(),
        searches.into_inner(),
        others.into_inner(),
    );
    // a fresh index may happen to find more than the .95 that searches aim at
    let due = if kind.settings.is_empty() {
        fresh.min(0.95)
    } else {
        fresh
    };
    assert!(soaked >= due - 0.01, "{soaked}, of a fresh index {fresh}");
}
