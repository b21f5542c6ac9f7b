//! Indexes that are dropped, made anew and emptied while others search, insert and wait in cursors: every
//! statement gets its answer, and whoever has a cursor keeps what it reads.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postgres::Client;

use crate::forms::{BY_INDEX, COLUMNS, check, rows, run};
use crate::harness::{Ends, Server, sqlstate_of};
use crate::hnsw::{number, server_with};

/// A table with each of these.
const TABLES: [(&str, &str); 4] = [
    ("plain", "hnsw (v vector_l2_ops) WITH (layout = plain)"),
    ("blocks", "hnsw (v vector_l2_ops, id)"),
    ("lists", "ivf (v vector_l2_ops, id) WITH (rerank = index)"),
    ("flat", "ivfflat (v vector_l2_ops) WITH (lists = 10)"),
];

/// Rows that are there whatever happens but TRUNCATE.
const ROWS: i64 = 600;

/// Asks by the index and by the table, in one statement and so at one moment, until the end. Returns how often.
fn search(mut client: Client, table: &str, is_over: &AtomicBool) -> usize {
    client.batch_execute(BY_INDEX).unwrap();
    let missed = format!(
        "SELECT (SELECT count(*) FROM {table} WHERE id + 0 > 0) - (SELECT count(DISTINCT id)
         FROM (SELECT id FROM {table} ORDER BY v <-> vec(7, 16)) found)"
    );
    // planned once, and again whenever an index comes or goes
    let missed = client.prepare(&missed).unwrap();
    let mut done = 0;
    while !is_over.load(Ordering::Relaxed) {
        let missed: i64 = client.query_one(&missed, &[]).unwrap().get(0);
        assert_eq!(missed, 0, "rows of {table} missed");
        done += 1;
    }
    done
}

/// Inserts and deletes rows until the end.
fn write(mut client: Client, table: &str, is_over: &AtomicBool) {
    let mut next = 1_000_000;
    while !is_over.load(Ordering::Relaxed) {
        client.batch_execute(&rows(table, next, next + 9)).unwrap();
        let delete = format!(
            "DELETE FROM {table} WHERE id BETWEEN {} AND {}",
            next - 60,
            next - 50
        );
        client.batch_execute(&delete).unwrap();
        next += 10;
    }
}

/// Opens a cursor, waits, goes on, until the end: each row once, and all that were there. Returns how often.
fn wait_in_cursors(mut client: Client, table: &str, is_over: &AtomicBool) -> usize {
    client.batch_execute(BY_INDEX).unwrap();
    let mut done = 0;
    while !is_over.load(Ordering::Relaxed) {
        client
            .batch_execute(&format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ;
                 DECLARE c CURSOR FOR SELECT id FROM {table} ORDER BY v <-> vec(3, 16)"
            ))
            .unwrap();
        let mut got = Vec::new();
        for count in ["5", "50", "ALL"] {
            let rows = client.query(&format!("FETCH {count} FROM c"), &[]).unwrap();
            got.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
            std::thread::sleep(Duration::from_millis(20));
        }
        let all = number(
            &mut client,
            &format!("SELECT count(*) FROM {table} WHERE id + 0 > 0"),
        );
        client.batch_execute("COMMIT").unwrap();
        let distinct: BTreeSet<i64> = got.iter().copied().collect();
        assert_eq!((got.len(), distinct.len()), (all as usize, all as usize));
        done += 1;
    }
    done
}

/// What becomes of the index and its table, once.
fn define(client: &mut Client, table: &str, form: &str) {
    let create = format!("INDEX {table}_v ON {table} USING {form}");
    let again = create.replacen("INDEX ", "INDEX CONCURRENTLY ", 1);
    run(
        client,
        &[
            "SET statement_timeout = '60s'",
            &format!("DROP INDEX {table}_v"),
            &format!("CREATE {create}"),
            &format!("REINDEX INDEX CONCURRENTLY {table}_v"),
            &format!("DROP INDEX CONCURRENTLY {table}_v"),
            &format!("CREATE {again}"),
            &format!("REINDEX TABLE {table}"),
            &format!("REINDEX TABLE CONCURRENTLY {table}"),
            &format!("TRUNCATE {table}"),
            &rows(table, 1, ROWS),
            &format!(
                "BEGIN; TRUNCATE {table}; {}; ROLLBACK",
                rows(table, 5000, 5100)
            ),
            &format!("BEGIN; DROP INDEX {table}_v; ROLLBACK"),
            &format!("VACUUM FULL {table}"),
        ],
    );
}

fn with_company(server: &Server, table: &str, form: &str) {
    let mut client = server.client();
    run(
        &mut client,
        &[
            &format!("CREATE TABLE {table} {COLUMNS}"),
            &rows(table, 1, ROWS),
            &format!("CREATE INDEX {table}_v ON {table} USING {form}"),
        ],
    );
    let is_over = AtomicBool::new(false);
    let (searches, cursors) = std::thread::scope(|scope| {
        let is_over = &is_over;
        let ends = Ends(is_over);
        let searchers = [server.client(), server.client()]
            .map(|client| scope.spawn(move || search(client, table, is_over)));
        let (writer, waiter) = (server.client(), server.client());
        scope.spawn(move || write(writer, table, is_over));
        let waiter = scope.spawn(move || wait_in_cursors(waiter, table, is_over));
        define(&mut client, table, form);
        drop(ends);
        let searches = searchers.map(|searcher| searcher.join().unwrap());
        (searches.iter().sum::<usize>(), waiter.join().unwrap())
    });
    println!("{table}: {searches} searches and {cursors} cursors while its index came and went");
    assert!(searches > 10 && cursors > 3, "{searches}, {cursors}");
    client.batch_execute(BY_INDEX).unwrap();
    check(&mut client, table);
}

#[test]
fn whatever_becomes_of_an_index_searches_inserts_and_cursors_get_their_answers() {
    let (server, _client) = server_with("");
    for (table, form) in TABLES {
        with_company(&server, table, form);
    }
}

#[test]
fn an_index_that_a_cursor_of_the_same_session_reads_stays_as_it_is() {
    let (server, mut client) = server_with("");
    let place = server.new_directory("far");
    run(
        &mut client,
        &[
            &format!("CREATE TABLESPACE far LOCATION '{}'", place.display()),
            BY_INDEX,
        ],
    );
    for (table, form) in TABLES {
        run(
            &mut client,
            &[
                &format!("CREATE TABLE {table} {COLUMNS}"),
                &rows(table, 1, ROWS),
                &format!("CREATE INDEX {table}_v ON {table} USING {form}"),
            ],
        );
        for sql in [
            format!("TRUNCATE {table}"),
            format!("DROP INDEX {table}_v"),
            format!("DROP TABLE {table}"),
            format!("REINDEX INDEX {table}_v"),
            format!("ALTER INDEX {table}_v SET TABLESPACE far"),
            format!("ALTER TABLE {table} ALTER v TYPE vector(16) USING v + v"),
        ] {
            client
                .batch_execute(&format!(
                    "BEGIN; DECLARE c CURSOR FOR SELECT id FROM {table} ORDER BY v <-> vec(3, 16);
                     MOVE 30 FROM c; SAVEPOINT s"
                ))
                .unwrap();
            // 55006: in use by active queries in this session
            assert_eq!(sqlstate_of(&mut client, &sql), "55006", "{sql}");
            client.batch_execute("ROLLBACK TO s").unwrap();
            let rest = client.query("FETCH ALL FROM c", &[]).unwrap();
            assert_eq!(rest.len() as i64, ROWS - 30, "{sql}");
            client.batch_execute("COMMIT").unwrap();
            check(&mut client, table);
        }
    }
}
