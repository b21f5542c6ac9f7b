//! Cancel: whatever takes long answers `pg_cancel_backend` and `statement_timeout` within a tenth of a
//! second, at whatever moment they come, and leaves nothing behind: no thread, no temporary file, no
//! index, no lock, no damage.
//!
//! A machine that is busy with something else may answer late once. So a moment at which an answer took too
//! long is tried again, and counts by its best answer of four.

use std::time::{Duration, Instant};

use postgres::Client;

use crate::harness::{Server, lift_statement_timeout, wait_until};
use crate::hnsw::check::assert_sound;
use crate::hnsw::{number, server_with};

/// How late an answer may be. `VECTOREXT_CANCEL_MS` asks for another limit.
const LIMIT: Duration = Duration::from_millis(100);
/// Moments at which each statement is cancelled, spread over its time.
const MOMENTS: u32 = 9;
/// Dimensions of the rows.
const DIMS: i32 = 128;

/// Something that takes long.
struct Long {
    /// what it is
    what: &'static str,
    /// brings about what it needs, each time
    before: &'static str,
    /// the statement
    sql: &'static str,
    /// takes back what it did, or began
    after: &'static str,
    /// an index that is to be sound whatever happened
    index: Option<&'static str>,
}

const fn build(what: &'static str, before: &'static str, sql: &'static str) -> Long {
    Long {
        what,
        before,
        sql,
        after: "DROP INDEX IF EXISTS new_v",
        index: None,
    }
}

const fn read(what: &'static str, sql: &'static str) -> Long {
    Long {
        what,
        before: "SET enable_seqscan = off",
        sql,
        after: "RESET ALL",
        index: None,
    }
}

const fn change(
    what: &'static str,
    before: &'static str,
    sql: &'static str,
    after: &'static str,
    index: &'static str,
) -> Long {
    Long {
        what,
        before,
        sql,
        after,
        index: Some(index),
    }
}

const MUCH: &str = "SET maintenance_work_mem = '500MB'; SET max_parallel_maintenance_workers = 2";
const LITTLE: &str = "SET maintenance_work_mem = '1MB'; SET max_parallel_maintenance_workers = 2";

const ALL: &[Long] = &[
    build(
        "hnsw build, on threads",
        MUCH,
        "CREATE INDEX new_v ON items USING hnsw (v vector_cosine_ops) WITH (ef_construction = 200)",
    ),
    build(
        "hnsw build with filter columns",
        MUCH,
        "CREATE INDEX new_v ON items USING hnsw (v vector_l2_ops, id, label)",
    ),
    build(
        "hnsw build, plain",
        MUCH,
        "CREATE INDEX new_v ON items USING hnsw (v vector_l2_ops) WITH (layout = plain)",
    ),
    build(
        "hnsw build beyond its memory",
        LITTLE,
        "CREATE INDEX new_v ON items USING hnsw (v vector_l2_ops)",
    ),
    build(
        "ivf build",
        MUCH,
        "CREATE INDEX new_v ON items USING ivf (v vector_l2_ops) WITH (lists = 180)",
    ),
    build(
        "ivf build with a codebook",
        MUCH,
        "CREATE INDEX new_v ON items USING ivf (v vector_cosine_ops) WITH (quantizer = pq, rerank = index)",
    ),
    build(
        "ivf build in files",
        LITTLE,
        "CREATE INDEX new_v ON items USING ivf (v vector_l2_ops) WITH (quantizer = none, lists = 60)",
    ),
    build(
        "ivfflat build",
        MUCH,
        "CREATE INDEX new_v ON items USING ivfflat (v vector_l2_ops) WITH (lists = 400)",
    ),
    Long {
        what: "REINDEX CONCURRENTLY",
        before: MUCH,
        sql: "REINDEX INDEX CONCURRENTLY graph_v",
        after: "DROP INDEX IF EXISTS graph_v_ccnew, graph_v_ccold",
        index: Some("graph_v"),
    },
    change(
        "hnsw VACUUM",
        "DELETE FROM graph WHERE id IN (SELECT id FROM graph ORDER BY id LIMIT 350)",
        "VACUUM (INDEX_CLEANUP ON) graph",
        "",
        "graph_v",
    ),
    change(
        "ivf VACUUM",
        "DELETE FROM lists WHERE id IN (SELECT id FROM lists ORDER BY id LIMIT 500)",
        "VACUUM (INDEX_CLEANUP ON) lists",
        "",
        "lists_v",
    ),
    change(
        "hnsw inserts",
        "",
        "INSERT INTO graph SELECT id + 100000, v, label FROM items LIMIT 1500",
        "",
        "graph_v",
    ),
    change(
        "ivf inserts and lists divided",
        "",
        "INSERT INTO lists SELECT id + 100000, v, label FROM items LIMIT 4000",
        "",
        "lists_v",
    ),
    read(
        "hnsw scans to the last row",
        "SELECT count(*) FROM items i, LATERAL (SELECT id FROM graph ORDER BY v <-> i.v LIMIT 1000000) found WHERE i.id % 600 = 7",
    ),
    read(
        "hnsw scans of the map",
        "SELECT count(*) FROM items i, LATERAL (SELECT id FROM graph WHERE label = 3 ORDER BY v <-> i.v LIMIT 400) found WHERE i.id % 100 = 7",
    ),
    read(
        "ivf scans to the last row",
        "SELECT count(*) FROM items i, LATERAL (SELECT id FROM lists ORDER BY v <-> i.v LIMIT 1000000) found WHERE i.id % 600 = 7",
    ),
    read(
        "hnsw check with the table",
        "SELECT vector_index_check('graph_v', true) FROM generate_series(1, 8)",
    ),
    read(
        "ivf check with the table",
        "SELECT vector_index_check('lists_v', true) FROM generate_series(1, 8)",
    ),
    read(
        "index statistics",
        "SELECT vector_index_stats('graph_v'), ivf_index_stats('lists_v') FROM generate_series(1, 60)",
    ),
];

#[test]
fn every_long_operation_is_cancelled_within_a_tenth_of_a_second_and_leaves_nothing() {
    let limit = std::env::var("VECTOREXT_CANCEL_MS").ok();
    let limit = limit.map_or(LIMIT, |ms| {
        Duration::from_millis(ms.parse().expect("VECTOREXT_CANCEL_MS is a number"))
    });
    // compiling a query is not cancelled, and is not ours
    let (server, mut client) = server_with("shared_buffers = 200MB\njit = off");
    client
        .batch_execute(&format!(
            "CREATE TABLE items (id bigint, v vector({DIMS}), label int);
             INSERT INTO items SELECT i, vec(i, {DIMS}), i % 50 FROM generate_series(1, 9000) i;
             CREATE TABLE graph AS SELECT * FROM items;
             ALTER TABLE graph ALTER v TYPE vector({DIMS});
             CREATE INDEX graph_v ON graph USING hnsw (v vector_l2_ops, label);
             CREATE TABLE lists AS SELECT * FROM items;
             ALTER TABLE lists ALTER v TYPE vector({DIMS});
             CREATE INDEX lists_v ON lists USING ivf (v vector_l2_ops) WITH (rerank = index)"
        ))
        .unwrap();
    let mut watcher = Watcher::new(&server, &mut client);
    let mut late = Vec::new();
    for long in ALL {
        let mut answers = Vec::new();
        let took = watcher.whole(&mut client, long);
        for moment in 0..MOMENTS {
            let delay = took * (2 * moment + 1) / (2 * MOMENTS);
            let by_timeout = moment % 4 == 3;
            let mut best = Duration::MAX;
            for _ in 0..4 {
                let Some(answer) = watcher.cancel(&mut client, long, delay, by_timeout) else {
                    continue; // it was done before
                };
                best = best.min(answer);
                if best <= limit {
                    break;
                }
            }
            if best != Duration::MAX {
                answers.push(best);
            }
            if best != Duration::MAX && best > limit {
                late.push(format!(
                    "{}: {best:?} after a cancel at {delay:?} of {took:?}",
                    long.what
                ));
            }
        }
        answers.sort();
        let worst = answers.last().copied().unwrap_or_default();
        let middle = answers.get(answers.len() / 2).copied().unwrap_or_default();
        println!(
            "{}: {} cancels in {took:.1?}, answered in {middle:.1?}, at most {worst:.1?}",
            long.what,
            answers.len()
        );
        watcher.nothing_is_left(&mut client, long);
    }
    assert!(late.is_empty(), "{}", late.join("\n"));
}

/// Cancels another session, and looks at what it leaves.
struct Watcher {
    own: Client,
    backend: i64,
    threads: usize,
    files: i64,
    data: std::path::PathBuf,
}

const FILES: &str = "CHECKPOINT;";
const COUNT_FILES: &str = "SELECT count(*) FROM pg_ls_dir('base/' || (SELECT oid FROM pg_database
     WHERE datname = current_database()))";

impl Watcher {
    fn new(server: &Server, client: &mut Client) -> Watcher {
        let backend = number(client, "SELECT pg_backend_pid()::bigint");
        let mut own = server.client();
        own.batch_execute(FILES).unwrap();
        Watcher {
            files: number(&mut own, COUNT_FILES),
            own,
            backend,
            threads: threads_of(backend),
            data: server.data(),
        }
    }

    fn prepare(&mut self, client: &mut Client, long: &Long) {
        client.batch_execute(long.before).unwrap();
    }

    fn finish(&mut self, client: &mut Client, long: &Long) {
        client.batch_execute(long.after).unwrap();
    }

    /// How long a statement takes that nobody cancels.
    fn whole(&mut self, client: &mut Client, long: &Long) -> Duration {
        self.prepare(client, long);
        let start = Instant::now();
        client
            .batch_execute(long.sql)
            .unwrap_or_else(|error| panic!("{}: {error:?}", long.what));
        let took = start.elapsed();
        self.finish(client, long);
        took
    }

    /// How long a statement goes on after it is cancelled; `None` where it is done before.
    fn cancel(
        &mut self,
        client: &mut Client,
        long: &Long,
        delay: Duration,
        by_timeout: bool,
    ) -> Option<Duration> {
        self.prepare(client, long);
        let answer = match by_timeout {
            true => {
                let ms = delay.as_millis().max(1);
                let timeout = format!("SET statement_timeout = {ms}");
                client.batch_execute(&timeout).unwrap();
                let start = Instant::now();
                let outcome = client.batch_execute(long.sql);
                let took = start.elapsed();
                lift_statement_timeout(client);
                is_cancelled(outcome, long)
                    .then(|| took.saturating_sub(Duration::from_millis(ms as u64)))
            }
            false => {
                let (own, backend) = (&mut self.own, self.backend);
                std::thread::scope(|scope| {
                    let canceller = scope.spawn(move || {
                        std::thread::sleep(delay);
                        let sent = Instant::now();
                        let cancel = format!("SELECT pg_cancel_backend({backend})");
                        own.batch_execute(&cancel).unwrap();
                        sent
                    });
                    let outcome = client.batch_execute(long.sql);
                    let answered = Instant::now();
                    let sent = canceller.join().unwrap();
                    is_cancelled(outcome, long).then(|| answered.saturating_duration_since(sent))
                })
            }
        };
        if answer.is_some() {
            let (backend, threads) = (self.backend, self.threads);
            wait_until("its threads have ended", || threads_of(backend) <= threads);
        } else if !by_timeout {
            // a cancel that comes after the end finds a session that waits, or its next statement
            let _ = client.batch_execute("SELECT pg_sleep(0.05)");
        }
        self.finish(client, long);
        answer
    }

    fn nothing_is_left(&mut self, client: &mut Client, long: &Long) {
        let what = long.what;
        let temporary = self.data.join("base/pgsql_tmp");
        let left = std::fs::read_dir(temporary).map_or(0, |files| files.count());
        assert_eq!(left, 0, "temporary files of {what}");
        let locks = format!("SELECT count(*) FROM pg_locks WHERE pid = {}", self.backend);
        assert_eq!(number(&mut self.own, &locks), 0, "locks of {what}");
        let names = "SELECT count(*) FROM pg_class WHERE relname ~ '^new_v|_cc'";
        assert_eq!(number(&mut self.own, names), 0, "indexes of {what}");
        self.own.batch_execute(FILES).unwrap();
        let (files, before) = (number(&mut self.own, COUNT_FILES), self.files);
        // forks of free space and visibility come by themselves
        assert!(
            files <= before + 8,
            "{files} files after {what}, {before} before"
        );
        if let Some(index) = long.index {
            assert_sound(client, index);
        }
    }
}

fn is_cancelled(outcome: Result<(), postgres::Error>, long: &Long) -> bool {
    let Err(error) = outcome else {
        return false;
    };
    let code = error.code().map(|code| code.code().to_owned());
    assert_eq!(code.as_deref(), Some("57014"), "{}: {error:?}", long.what);
    true
}

fn threads_of(backend: i64) -> usize {
    std::fs::read_dir(format!("/proc/{backend}/task")).map_or(0, |tasks| tasks.count())
}
