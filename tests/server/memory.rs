//! What a session holds on to: nothing, however many searches it has made, failed or left; and a server
//! that has no more memory says so, and goes on.

use postgres::Client;

use crate::harness::Server;
use crate::hnsw::check::assert_sound;
use crate::hnsw::memory::own_memory;
use crate::hnsw::{number, server_with};

/// Searches of each kind of index, a tenth of them failed. `VECTOREXT_SEARCHES` asks for another number.
fn searches() -> i64 {
    let asked = std::env::var("VECTOREXT_SEARCHES").ok();
    asked.map_or(6_000, |n| {
        n.parse().expect("VECTOREXT_SEARCHES is a number")
    })
}

const KINDS: &[(&str, &str)] = &[
    (
        "plain",
        "USING hnsw (v vector_l2_ops) WITH (layout = plain)",
    ),
    ("blocks", "USING hnsw (v vector_l2_ops, label)"),
    ("lists", "USING ivf (v vector_l2_ops) WITH (rerank = index)"),
    ("books", "USING ivf (v vector_l2_ops) WITH (quantizer = pq)"),
    ("flat", "USING ivfflat (v vector_l2_ops) WITH (lists = 20)"),
];

/// Statements that search, and some that fail in the middle of it.
fn statements(table: &str, n: i64) -> (String, String) {
    let query = format!("vec({n}, 24)");
    let searched = match n % 4 {
        0 => format!("SELECT id FROM {table} WHERE label = 3 ORDER BY v <-> {query} LIMIT 10"),
        1 => format!("SELECT id FROM {table} WHERE id % 7 = 1 ORDER BY v <-> {query} LIMIT 30"),
        _ => format!("SELECT id FROM {table} ORDER BY v <-> {query} LIMIT 10"),
    };
    let failed = match n % 50 {
        // after some rows
        0 => format!("SELECT 1 / (id % 5) FROM {table} ORDER BY v <-> {query}"),
        10 => format!("SELECT id FROM {table} ORDER BY v <-> '[1,2]' LIMIT 5"),
        20 => format!("INSERT INTO {table} VALUES (1, '[1,2]', 0)"),
        30 => format!("SELECT id FROM {table} ORDER BY v <-> 'x' LIMIT 5"),
        _ => format!("SELECT (SELECT id / 0 FROM {table} ORDER BY v <-> {query} LIMIT 1)"),
    };
    (searched, failed)
}

fn run(client: &mut Client, table: &str, from: i64, to: i64) {
    for n in from..to {
        let (searched, failed) = statements(table, n);
        client.batch_execute(&searched).unwrap();
        if n % 10 == 0 {
            client.batch_execute(&failed).unwrap_err();
        }
    }
}

#[test]
fn the_memory_of_a_session_is_flat_over_searches_and_failed_ones() {
    let (_server, mut client) = server_with("work_mem = '1MB'");
    let all = searches();
    for (table, index) in KINDS {
        client
            .batch_execute(&format!(
                "CREATE TABLE {table} (id bigint, v vector(24), label int);
                 INSERT INTO {table} SELECT i, vec(i, 24), i % 9 FROM generate_series(1, 1500) i;
                 CREATE INDEX ON {table} {index}; ANALYZE {table};
                 SET enable_seqscan = off"
            ))
            .unwrap();
        let backend = number(&mut client, "SELECT pg_backend_pid()::bigint");
        run(&mut client, table, 0, 1_000);
        let before = own_memory(backend);
        run(&mut client, table, 1_000, 1_000 + all);
        let grown = own_memory(backend) - before;
        println!(
            "{table}: {grown} kB more after {all} searches and {} failed ones",
            all / 10
        );
        assert!(grown < 1_500, "{table}: {grown} kB more");
    }
}

/// Address space of a process in kB: what it has, or had at most.
fn address_space(process: i64, which: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(which));
    let words = line.expect("Linux says").split_whitespace().nth(1);
    words.unwrap().parse().unwrap()
}

const REFUSABLE: &[&str] = &[
    "CREATE INDEX new_v ON items USING hnsw (v vector_l2_ops, label)",
    "CREATE INDEX new_v ON items USING hnsw (v vector_l2_ops) WITH (layout = plain)",
    "CREATE INDEX new_v ON items USING ivf (v vector_l2_ops) WITH (lists = 150)",
    "CREATE INDEX new_v ON items USING ivf (v vector_l2_ops) WITH (quantizer = pq)",
    "SELECT count(*) FROM (SELECT id FROM items ORDER BY v <-> vec(1, 256)) s",
    "SELECT count(*) FROM (SELECT id FROM lists ORDER BY v <-> vec(1, 256)) s",
    "SELECT vector_index_check('items_v', true), vector_index_check('lists_v', true)",
    "INSERT INTO lists SELECT id, v, label FROM items LIMIT 500",
];

/// Whether a statement was done; what else there may be is that memory was refused.
fn is_done(server: &Server, settings: &str, sql: &str) -> bool {
    let mut client = server.client();
    client.batch_execute(settings).unwrap();
    let Err(error) = client.batch_execute(sql) else {
        return true;
    };
    let code = error.code().map(|code| code.code().to_owned());
    assert!(
        // out of memory, or of what it takes to start a thread
        matches!(code.as_deref(), Some("53200" | "53000")) || (code.is_none() && error.is_closed()),
        "{sql}: {error:?}\n{}",
        server.log()
    );
    false
}

#[test]
fn a_session_that_is_refused_memory_says_so_and_all_others_go_on() {
    // a query that is compiled takes more address space than all else
    let (server, mut client) = server_with("shared_buffers = 16MB\njit = off");
    client
        .batch_execute(
            "CREATE TABLE items (id bigint, v vector(256), label int);
             INSERT INTO items SELECT i, vec(i, 256), i % 9 FROM generate_series(1, 6000) i;
             CREATE INDEX items_v ON items USING hnsw (v vector_l2_ops);
             CREATE TABLE lists AS SELECT * FROM items; ALTER TABLE lists ALTER v TYPE vector(256);
             CREATE INDEX lists_v ON lists USING ivf (v vector_l2_ops) WITH (rerank = index)",
        )
        .unwrap();
    drop(client);
    let settings =
        "SET maintenance_work_mem = '2GB'; SET work_mem = '1GB'; SET enable_seqscan = off;
                    SET max_parallel_maintenance_workers = 2";
    // what each takes when nothing is refused
    let (mut least, mut most) = (0, 0);
    for sql in REFUSABLE {
        let mut client = server.client();
        let backend = number(&mut client, "SELECT pg_backend_pid()::bigint");
        client.batch_execute("SELECT '[1]'::vector").unwrap();
        client.batch_execute(settings).unwrap();
        least = least.max(address_space(backend, "VmSize:"));
        client.batch_execute(sql).unwrap();
        most = most.max(address_space(backend, "VmPeak:"));
        client.batch_execute("DROP INDEX IF EXISTS new_v").unwrap();
    }
    println!("sessions take {least} to {most} kB of address space");
    let (mut done, mut refused) = (0, 0);
    for part in [0, 1, 2, 4, 8, 16] {
        let limit = least + 200 + (most - least) * part / 40;
        server.restart_with_memory(limit);
        let mut bystander = server.client();
        let started = "SELECT extract(epoch FROM pg_postmaster_start_time())::bigint";
        let (pid, start) = (
            number(&mut bystander, "SELECT pg_backend_pid()::bigint"),
            number(&mut bystander, started),
        );
        for sql in REFUSABLE {
            match is_done(&server, settings, sql) {
                true => done += 1,
                false => refused += 1,
            }
            // the same process, and no crash since
            assert_eq!(
                number(&mut bystander, "SELECT pg_backend_pid()::bigint"),
                pid,
                "{sql} with {limit} kB: {}",
                server.log()
            );
            let dropped = server.client().batch_execute("DROP INDEX IF EXISTS new_v");
            dropped.unwrap();
        }
        assert_eq!(number(&mut bystander, started), start);
    }
    println!("{refused} statements refused memory, {done} done with what there was");
    assert!(refused > 5 && done > 5, "{refused} refused, {done} done");
    server.restart();
    let mut client = server.client();
    client
        .batch_execute("SET maintenance_work_mem = '64MB'")
        .unwrap();
    assert_sound(&mut client, "items_v");
    assert_sound(&mut client, "lists_v");
}
