//! `vector_index_check` of `ivf` and `ivfflat`: silent about sound indexes, also while they are changed, and on
//! a standby. What it tells is in `ivf/damage.rs`.

use std::sync::atomic::{AtomicBool, Ordering};

use postgres::Client;

use crate::hnsw::check::{assert_sound, findings};
use crate::hnsw::server_with;

/// Indexes of every form: name, method, dimensions, operator class, options.
const KINDS: &[(&str, &str, i32, &str, &str)] = &[
    ("codes", "ivf", 24, "vector_l2_ops", "WITH (lists = 12)"),
    ("cosine", "ivf", 100, "vector_cosine_ops", ""),
    (
        "compact",
        "ivf",
        40,
        "vector_ip_ops",
        "WITH (quantizer = rabitq2, rerank = index)",
    ),
    (
        "books",
        "ivf",
        32,
        "vector_l2_ops",
        "WITH (quantizer = pq, rerank = index)",
    ),
    (
        "signs",
        "ivf",
        64,
        "vector_cosine_ops",
        "WITH (quantizer = binary)",
    ),
    ("values", "ivfflat", 24, "vector_l2_ops", "WITH (lists = 8)"),
    (
        "norms",
        "ivfflat",
        40,
        "vector_cosine_ops",
        "WITH (lists = 5)",
    ),
];

fn create(client: &mut Client, kind: &(&str, &str, i32, &str, &str), rows: i64) {
    let (name, method, dims, class, options) = kind;
    client
        .batch_execute(&format!(
            "CREATE TABLE {name} (id bigint, v vector({dims}));
             INSERT INTO {name} SELECT i, vec(i, {dims}) FROM generate_series(1, {rows}) i;
             INSERT INTO {name} SELECT i, vec(1, {dims}) FROM generate_series(1, 60) i;
             INSERT INTO {name} VALUES (0, NULL);
             CREATE INDEX {name}_v ON {name} USING {method} (v {class}) {options}"
        ))
        .unwrap();
}

#[test]
fn sound_lists_have_no_findings_whatever_was_done_to_them() {
    let (_server, mut client) = server_with("");
    client
        .batch_execute("SET maintenance_work_mem = '1MB'")
        .unwrap();
    for kind in KINDS {
        let (name, _, dims, ..) = kind;
        create(&mut client, kind, 1500);
        let index = format!("{name}_v");
        let none: [String; 0] = [];
        for change in [
            "SELECT 1".to_owned(),
            format!("INSERT INTO {name} SELECT i, vec(-i, {dims}) FROM generate_series(1, 400) i"),
            format!("UPDATE {name} SET v = vec(id + 100000, {dims}) WHERE id % 11 = 0"),
            format!("DELETE FROM {name} WHERE id % 3 = 0"),
            format!("VACUUM (INDEX_CLEANUP ON) {name}"),
            format!(
                "INSERT INTO {name} SELECT i, vec(i, {dims}) FROM generate_series(5000, 5600) i"
            ),
            format!("REINDEX INDEX CONCURRENTLY {index}"),
            format!("DELETE FROM {name}"),
            format!("VACUUM (INDEX_CLEANUP ON) {name}"),
            format!("INSERT INTO {name} SELECT i, vec(i, {dims}) FROM generate_series(1, 60) i"),
        ] {
            client.batch_execute(&change).unwrap();
            let found = findings(&mut client, &index).unwrap();
            assert_eq!(found, none, "{name} after {change}");
        }
    }
}

#[test]
fn nothing_is_found_in_lists_that_are_being_changed() {
    let (server, mut client) = server_with("");
    for kind in KINDS {
        create(&mut client, kind, 500);
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let (mut client, done) = (server.client(), &done);
            scope.spawn(move || {
                for round in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    for (name, _, dims, ..) in KINDS {
                        let from = 1000 * (writer + 1) + round % 50 * 10;
                        let sql = match writer {
                            2 => format!("VACUUM (INDEX_CLEANUP ON) {name}"),
                            _ => format!(
                                "DELETE FROM {name} WHERE id BETWEEN {from} AND {from} + 10;
                                 INSERT INTO {name} SELECT i, vec(i / 3, {dims}) FROM generate_series({from}, {from} + 19) i"
                            ),
                        };
                        client.batch_execute(&sql).unwrap();
                    }
                }
            });
        }
        let _ends = crate::harness::Ends(&done);
        let start = std::time::Instant::now();
        while start.elapsed().as_secs() < 5 {
            for (name, ..) in KINDS {
                assert_sound(&mut client, &format!("{name}_v"));
            }
        }
    });
}

#[test]
fn a_check_on_a_standby_finds_nothing_in_sound_lists_while_replay_arranges_them() {
    let (primary, mut client) = server_with("");
    for kind in KINDS {
        create(&mut client, kind, 600);
    }
    let standby = primary.standby();
    let done = AtomicBool::new(false);
    let refused = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut client = standby.client();
            let (mut checked, mut refused) = (0, 0);
            while !done.load(Ordering::Relaxed) {
                for (name, ..) in KINDS {
                    match findings(&mut client, &format!("{name}_v")) {
                        Ok(found) => {
                            let is_error = |line: &&String| line.starts_with("error");
                            assert_eq!(found.iter().find(is_error), None, "{name}");
                            checked += 1;
                        }
                        // replay arranges lists all the time, or wants what the check reads
                        Err(error) => {
                            let code = error.code().unwrap().code();
                            assert!(["55000", "40001"].contains(&code), "{error:?}");
                            refused += 1;
                        }
                    }
                }
            }
            assert!(checked > 3, "{checked} checks, {refused} refused");
            refused
        });
        let _ends = crate::harness::Ends(&done);
        for round in 1..6 {
            for (name, _, dims, ..) in KINDS {
                let first = round * 1000;
                client
                    .batch_execute(&format!(
                        "INSERT INTO {name} SELECT i, vec(i, {dims}) FROM generate_series({first}, {first} + 400) i;
                         DELETE FROM {name} WHERE id % 7 = {round}"
                    ))
                    .unwrap();
                client
                    .batch_execute(&format!("VACUUM (INDEX_CLEANUP ON) {name}"))
                    .unwrap();
            }
        }
        standby.catch_up_with(&primary);
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    println!("{refused} checks refused during replay");
    let mut client = standby.client();
    client
        .batch_execute("SELECT pg_wal_replay_pause()")
        .unwrap();
    for (name, ..) in KINDS {
        assert_sound(&mut client, &format!("{name}_v"));
    }
}
