//! A server that is killed again and again in the middle of everything: SIGKILL to the postmaster and
//! all its processes, or to one of them, at random moments of inserts, updates, deletes, VACUUM, CREATE
//! INDEX (CONCURRENTLY) and REINDEX. After each recovery: what was committed is in the tables and in
//! every index, nothing that was not, and `vector_index_check` finds no damage.
//!
//! `make test` survives a dozen kills; `make torture MINUTES=60` as many as come.

mod journal;
mod work;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postgres::Client;

use crate::harness::{Server, wait_until};
use crate::hnsw::check::findings;
use crate::hnsw::{number, server_with};
use journal::Journal;

/// A table with an index of its kind.
pub struct Kind {
    /// its name
    pub table: &'static str,
    /// its index's access method
    pub method: &'static str,
    /// dimensions of its vectors
    pub dims: i32,
    /// operator class of its index
    pub class: &'static str,
    /// filter columns of its index
    pub filters: &'static str,
    /// options of its index
    pub options: &'static str,
    /// ids that a session has there
    pub ids: i64,
}

impl Kind {
    /// What comes after CREATE INDEX and the index's name.
    pub fn definition(&self) -> String {
        let Kind {
            table,
            method,
            class,
            filters,
            options,
            ..
        } = self;
        format!("ON {table} USING {method} (v {class}{filters}) {options}")
    }

    /// The operator that its searches are by.
    pub fn operator(&self) -> &'static str {
        match self.class {
            "vector_ip_ops" => "<#>",
            "vector_cosine_ops" => "<=>",
            _ => "<->",
        }
    }
}

const fn kind(
    table: &'static str,
    method: &'static str,
    dims: i32,
    class: &'static str,
    options: &'static str,
    ids: i64,
) -> Kind {
    Kind {
        table,
        method,
        dims,
        class,
        filters: "",
        options,
        ids,
    }
}

/// `hnsw`: pages, chunks, lists of TIDs, blocks with codes and without, filter columns. `ivf`: codes, compact
/// codes beside them, signs, codebooks; lists that grow from one, and those of `ivfflat`.
pub const KINDS: &[Kind] = &[
    kind(
        "plain",
        "hnsw",
        8,
        "vector_l2_ops",
        "WITH (layout = plain)",
        200,
    ),
    kind(
        "wide",
        "hnsw",
        2100,
        "vector_cosine_ops",
        "WITH (layout = plain)",
        20,
    ),
    kind("sq8", "hnsw", 24, "vector_l2_ops", "", 200),
    kind("rabitq", "hnsw", 100, "vector_cosine_ops", "", 150),
    kind(
        "compact",
        "hnsw",
        32,
        "vector_ip_ops",
        "WITH (layout = compact)",
        150,
    ),
    Kind {
        filters: ", version, id",
        ..kind("filtered", "hnsw", 48, "vector_l2_ops", "", 150)
    },
    kind("lists", "ivf", 24, "vector_l2_ops", "", 500),
    kind(
        "indexed",
        "ivf",
        64,
        "vector_cosine_ops",
        "WITH (quantizer = rabitq4, rerank = index)",
        400,
    ),
    kind(
        "signs",
        "ivf",
        100,
        "vector_l2_ops",
        "WITH (quantizer = binary)",
        300,
    ),
    kind(
        "books",
        "ivf",
        32,
        "vector_ip_ops",
        "WITH (quantizer = pq)",
        300,
    ),
    kind(
        "flat",
        "ivfflat",
        16,
        "vector_l2_ops",
        "WITH (lists = 10)",
        300,
    ),
];

/// Sessions that write.
pub const WRITERS: usize = 4;

const SETTINGS: &str = "
max_wal_size = 200MB
checkpoint_timeout = 30s
wal_consistency_checking = 'all'
";

/// What was done and survived.
#[derive(Default)]
struct Counts {
    kills: u64,
    of_postmasters: u64,
    transactions: u64,
    definitions: u64,
    rows: u64,
    searches: u64,
    checks: u64,
}

#[test]
fn whatever_was_committed_survives_kills_and_nothing_else_does() {
    let minutes: Option<f64> = std::env::var("VECTOREXT_TORTURE_MINUTES")
        .ok()
        .map(|minutes| {
            minutes
                .parse()
                .expect("VECTOREXT_TORTURE_MINUTES is a number")
        });
    let seed = fastrand::u64(..);
    println!("torture: seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let start = Instant::now();
    let (server, mut client) = server_with(SETTINGS);
    for kind in KINDS {
        let Kind { table, dims, .. } = kind;
        let definition = kind.definition();
        client
            .batch_execute(&format!(
                "CREATE TABLE {table} (id bigint PRIMARY KEY, version bigint, v vector({dims}));
                 CREATE INDEX {table}_v {definition}"
            ))
            .unwrap();
    }
    drop(client);
    let mut counts = Counts::default();
    let mut journals: Vec<Journal> = (0..WRITERS).map(|_| Journal::default()).collect();
    loop {
        let over = match minutes {
            Some(minutes) => start.elapsed() > Duration::from_secs_f64(60.0 * minutes),
            None => counts.kills >= 12,
        };
        if over {
            break;
        }
        run_until_killed(&server, &mut journals, &mut random, &mut counts);
        verify(&server, &mut journals, &mut random, &mut counts);
        if counts.kills.is_multiple_of(20) {
            report(&counts, start);
        }
    }
    report(&counts, start);
    assert!(counts.transactions > 12 * counts.kills);
}

fn report(counts: &Counts, start: Instant) {
    println!(
        "torture: {} kills survived ({} of postmasters) in {} s: {} transactions, {} CREATE INDEX, REINDEX and VACUUM, \
         {} rows looked up in tables, {} searched by their own vector, {} checks of indexes",
        counts.kills,
        counts.of_postmasters,
        start.elapsed().as_secs(),
        counts.transactions,
        counts.definitions,
        counts.rows,
        counts.searches,
        counts.checks
    );
}

/// Lets all sessions work, kills, and waits until they have noticed.
fn run_until_killed(
    server: &Server,
    journals: &mut [Journal],
    random: &mut fastrand::Rng,
    counts: &mut Counts,
) {
    let killed = AtomicBool::new(false);
    let of_postmaster = random.bool();
    std::thread::scope(|scope| {
        let killed = &killed;
        let mut writers = Vec::new();
        for (writer, journal) in journals.iter_mut().enumerate() {
            let (client, seed) = (server.client(), random.u64(..));
            writers.push(scope.spawn(move || work::write(client, writer, journal, seed, killed)));
        }
        let mut others = Vec::new();
        for role in [work::vacuum, work::define, work::read] {
            let (client, seed) = (server.client(), random.u64(..));
            others.push(scope.spawn(move || role(client, seed, killed)));
        }
        std::thread::sleep(Duration::from_millis(random.u64(100..2500)));
        let victim = (!of_postmaster).then(|| any_process(server, random));
        let bystander = victim.map(|_| server.client());
        killed.store(true, Ordering::SeqCst);
        match victim {
            None => server.kill_everything(),
            Some(process) => server.kill_process(process),
        }
        for writer in writers {
            counts.transactions += writer.join().unwrap();
        }
        for other in others {
            counts.definitions += other.join().unwrap();
        }
        if let Some(mut bystander) = bystander {
            // the server ends all sessions once it knows of the kill; before, it may still take new ones
            let start = Instant::now();
            while bystander.batch_execute("SELECT 1").is_ok()
                && start.elapsed() < Duration::from_secs(10)
            {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
    counts.kills += 1;
    if of_postmaster {
        counts.of_postmasters += 1;
        server.start_after_kill();
    }
    wait_until("the server has recovered", || server.accepts_connections());
}

/// A backend, or one of the server's own processes.
fn any_process(server: &Server, random: &mut fastrand::Rng) -> i64 {
    let mut client = server.client();
    let query = "SELECT pid::bigint FROM pg_stat_activity
                 WHERE pid <> pg_backend_pid() AND backend_type IN
                       ('client backend', 'checkpointer', 'background writer', 'walwriter')";
    let rows = client.query(query, &[]).unwrap();
    rows[random.usize(..rows.len())].get(0)
}

fn verify(
    server: &Server,
    journals: &mut [Journal],
    random: &mut fastrand::Rng,
    counts: &mut Counts,
) {
    let mut client = server.client();
    // what CONCURRENTLY leaves where it was interrupted
    let invalid = client
        .query(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid",
            &[],
        )
        .unwrap();
    for row in invalid {
        let name: String = row.get(0);
        client.batch_execute(&format!("DROP INDEX {name}")).unwrap();
    }
    for kind in KINDS {
        counts.rows += journal::resolve(&mut client, kind, journals);
        let table = kind.table;
        let indexes = client
            .query(
                "SELECT indexrelid::regclass::text FROM pg_index
                 JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = c.relam
                 WHERE indrelid = $1::text::regclass AND amname <> 'btree'",
                &[&table],
            )
            .unwrap();
        assert!(!indexes.is_empty());
        for row in indexes {
            let index: String = row.get(0);
            let found =
                findings(&mut client, &index).unwrap_or_else(|error| panic!("{index}: {error:?}"));
            let damage: Vec<_> = found.iter().filter(|f| f.starts_with("error")).collect();
            assert!(
                damage.is_empty(),
                "{index} after {} kills: {damage:#?}",
                counts.kills
            );
            counts.checks += 1;
        }
        counts.searches += search(&mut client, kind, random);
    }
}

/// All rows come out of the index, and nearly each is the first that a search for its own vector finds.
fn search(client: &mut Client, kind: &Kind, random: &mut fastrand::Rng) -> u64 {
    let (table, operator) = (kind.table, kind.operator());
    let version = random.i64(0..1000);
    for condition in ["true".to_owned(), format!("version < {version}")] {
        client.batch_execute("SET enable_indexscan = off").unwrap();
        let count = format!("SELECT count(*) FROM {table} WHERE {condition}");
        let rows = number(client, &count);
        client
            .batch_execute(
                "RESET enable_indexscan; SET enable_seqscan = off; SET enable_sort = off;
                 SET ivfflat.iterative_scan = relaxed_order",
            )
            .unwrap();
        let all = format!(
            "SELECT count(DISTINCT id) + count(*) FROM (SELECT id FROM {table} WHERE {condition}
             ORDER BY v {operator} vec({}, {}) LIMIT 1000000) found",
            random.u32(..),
            kind.dims
        );
        let found = number(client, &all);
        assert_eq!(found, 2 * rows, "rows of {table} in its index, {condition}");
    }
    // lists that have grown find less in a few of them; what is asked here is whether rows are there
    client
        .batch_execute("SET ivf.probes = 32768; SET ivfflat.probes = 32768")
        .unwrap();
    let rows = number(client, &format!("SELECT count(*) FROM {table}"));
    // the longest vector is nearest by inner product, not the vector itself
    let (every, searched) = (
        if rows < 100 { 1 } else { 5 },
        kind.class != "vector_ip_ops",
    );
    let mut astray = 0;
    if searched {
        let sql = format!(
            "SELECT count(*) FROM {table} t WHERE id % {every} = 0 AND v IS DISTINCT FROM
             (SELECT v FROM {table} ORDER BY v {operator} t.v LIMIT 1)"
        );
        astray = number(client, &sql);
    }
    // a graph promises recall, not each row; all rows came out above
    assert!(
        astray * every * 50 <= rows + 100,
        "{astray} of {rows} rows of {table} are not found by their own vector"
    );
    client
        .batch_execute(
            "RESET enable_seqscan; RESET enable_sort; RESET ivfflat.iterative_scan;
             RESET ivf.probes; RESET ivfflat.probes",
        )
        .unwrap();
    if searched { (rows / every) as u64 } else { 0 }
}
