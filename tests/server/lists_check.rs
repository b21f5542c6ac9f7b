//! `vector_index_check` of `ivf` and `ivfflat`: silent about sound indexes, also while they are changed;
//! tells damage, which makes nothing fail otherwise than with XX002.

use std::sync::atomic::{AtomicBool, Ordering};

use postgres::Client;

use crate::hnsw::blocks::pages::path_of;
use crate::hnsw::check::{assert_sound, findings};
use crate::hnsw::damage::{CHECKSUMS_IGNORED, PAGE};
use crate::hnsw::{number, server_with};

/// Indexes of every form: name, method, dimensions, operator class, options.
const KINDS: &[(&str, &str, i32, &str, &str)] = &[
    ("codes", "ivf", 24, "vector_l2_ops", "WITH (lists = 12)"),
    ("cosine", "ivf", 100, "vector_cosine_ops", ""),
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

type Plant = fn(&mut Vec<u8>, &mut fastrand::Rng);

/// A random page that is not the metapage.
fn any_page(bytes: &[u8], random: &mut fastrand::Rng) -> usize {
    random.usize(1..bytes.len() / PAGE)
}

/// What must be told.
const WORSE: &[(&str, Plant)] = &[
    ("file cut short", |b, r| {
        b.truncate(r.usize(0..b.len() / PAGE) * PAGE)
    }),
    ("page of noise", |b, r| {
        let block = any_page(b, r);
        b[block * PAGE + 24..(block + 1) * PAGE].fill_with(|| r.u8(..));
    }),
    ("pages swapped", |b, r| {
        let one = any_page(b, r);
        let copy = b[one * PAGE..(one + 1) * PAGE].to_vec();
        b.copy_within(0..PAGE, one * PAGE);
        b[..PAGE].copy_from_slice(&copy);
    }),
    ("page written twice", |b, r| {
        let from = any_page(b, r);
        b.copy_within(from * PAGE..(from + 1) * PAGE, 0);
    }),
    ("page zeroed", |b, r| {
        let block = any_page(b, r);
        b[block * PAGE..(block + 1) * PAGE].fill(0);
    }),
];

#[test]
fn damaged_lists_are_told_and_never_take_the_server_down() {
    let (server, mut client) = server_with(CHECKSUMS_IGNORED);
    let mut random = fastrand::Rng::with_seed(3);
    let flips = 20;
    let mut planted = Vec::new();
    for kind in KINDS {
        let (name, method, _, class, options) = kind;
        create(&mut client, kind, 800);
        for n in 0..flips + 2 * WORSE.len() {
            let index = format!("{name}_{n}");
            client
                .batch_execute(&format!(
                    "CREATE INDEX {index} ON {name} USING {method} (v {class}) {options}"
                ))
                .unwrap();
            let path = path_of(&server, &mut client, &index);
            planted.push((kind, n, index, path));
        }
    }
    client.batch_execute("CHECKPOINT").unwrap();
    drop(client);
    server.change_while_stopped(|| {
        for (_, n, _, path) in &planted {
            let mut bytes = std::fs::read(path).unwrap();
            match n.checked_sub(flips) {
                None => {
                    let at = random.usize(0..bytes.len() / PAGE) * PAGE + random.usize(10..PAGE);
                    bytes[at] ^= 1 << random.u8(0..8);
                }
                Some(n) => (WORSE[n % WORSE.len()].1)(&mut bytes, &mut random),
            }
            std::fs::write(path, bytes).unwrap();
        }
    });
    let mut client = server.client();
    client
        .batch_execute("SET enable_seqscan = off; SET statement_timeout = '20s'")
        .unwrap();
    let backend = number(&mut client, "SELECT pg_backend_pid()::bigint");
    let (mut told, mut of_flips, mut wrong) = (0, 0, Vec::new());
    for (_, n, index, _) in &planted {
        let is_told = match findings(&mut client, index) {
            Ok(lines) => lines.iter().any(|line| line.starts_with("error")),
            Err(error) => ["XX001", "XX002"].contains(&error.code().unwrap().code()),
        };
        told += is_told as usize;
        match n.checked_sub(flips) {
            None => of_flips += is_told as usize,
            Some(n) if !is_told => {
                wrong.push(format!("{index}: {} is not told", WORSE[n % WORSE.len()].0))
            }
            _ => {}
        }
    }
    for (kind, n, index, _) in &planted {
        let (name, _, dims, class, _) = kind;
        client
            .batch_execute(&format!(
                "UPDATE pg_index SET indisvalid = indexrelid = '{index}'::regclass,
                        indisready = indexrelid = '{index}'::regclass
                 WHERE indrelid = '{name}'::regclass"
            ))
            .unwrap();
        let operator = crate::hnsw::blocks::operator_of(class);
        let query = format!("SELECT id FROM {name} ORDER BY v {operator} vec(3, {dims})");
        for statement in [
            format!("{query} LIMIT 10"),
            query,
            format!("INSERT INTO {name} SELECT i, vec(i, {dims}) FROM generate_series(500, 510) i"),
            format!("DELETE FROM {name} WHERE id = {n}"),
            format!("VACUUM (INDEX_CLEANUP ON) {name}"),
        ] {
            let Err(error) = client.batch_execute(&statement) else {
                continue;
            };
            let Some(error) = error.as_db_error() else {
                panic!(
                    "{index}: {statement} took the server down: {}",
                    server.log()
                );
            };
            let code = error.code().code();
            let says_so = error.hint().unwrap_or_default().contains("REINDEX");
            if !(code == "XX001" || (code == "XX002" && says_so)) {
                wrong.push(format!("{index}: {statement}: {code} {}", error.message()));
            }
        }
    }
    println!(
        "planted {} damages in lists: {told} told, {of_flips} of {} flipped bits among them",
        planted.len(),
        flips * KINDS.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        number(&mut client, "SELECT pg_backend_pid()::bigint"),
        backend
    );
}
