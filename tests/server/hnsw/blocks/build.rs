//! Builds of blocks: little memory, temporary files and their limit, phases, cancels.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use postgres::NoTls;

use super::pages::{Deleted, Pages};
use super::recall;
use crate::harness::{Server, sqlstate_of, wait_until};
use crate::hnsw::{number, server_with};

const DIMS: i32 = 40;
const CREATE: &str = "CREATE INDEX items_v ON items USING hnsw (v vector_l2_ops)";

fn server_with_items(rows: u32) -> (Server, postgres::Client) {
    let (server, mut client) = server_with("");
    client
        .batch_execute(&format!(
            "CREATE TABLE items (id bigint, v vector({DIMS}));
             INSERT INTO items SELECT i, vec(i, {DIMS}) FROM generate_series(1, {rows}) i"
        ))
        .unwrap();
    (server, client)
}

/// Files in the server's directory of temporary files, and those that a backend has open.
fn temporary_files(server: &Server, backend: i64) -> usize {
    let named = std::fs::read_dir(server.data().join("base/pgsql_tmp")).map_or(0, Iterator::count);
    let open = std::fs::read_dir(format!("/proc/{backend}/fd")).unwrap();
    let unnamed = open
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().contains("pgsql_tmp"))
        .count();
    named + unnamed
}

#[test]
fn a_build_in_temporary_files_is_as_good_and_leaves_none() {
    let (server, mut client) = server_with_items(8000);
    let backend = number(&mut client, "SELECT pg_backend_pid()::bigint");
    let mut recalls = Vec::new();
    for memory in ["64MB", "1MB"] {
        client
            .batch_execute(&format!("SET maintenance_work_mem = '{memory}'; {CREATE}"))
            .unwrap();
        assert_eq!(temporary_files(&server, backend), 0);
        let graph = Pages::of(&server, &mut client, "items_v").check(Deleted::Nowhere);
        assert_eq!((graph.nodes, graph.reached), (8000, 8000), "{memory}");
        recalls.push(recall(&mut client, "items", "<->", DIMS));
        client.batch_execute("DROP INDEX items_v").unwrap();
    }
    assert!(recalls[1] >= recalls[0] - 0.02, "{recalls:?}");

    // a cancel while it has files
    let token = client.cancel_token();
    let canceller = std::thread::spawn(move || {
        wait_until("the build has files", || {
            let open = std::fs::read_dir(format!("/proc/{backend}/fd")).unwrap();
            open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
                .any(|target| target.to_string_lossy().contains("pgsql_tmp"))
        });
        token.cancel_query(NoTls).unwrap();
    });
    assert_eq!(sqlstate_of(&mut client, CREATE), "57014");
    canceller.join().unwrap();
    assert_eq!(temporary_files(&server, backend), 0);
}

#[test]
fn a_build_does_not_exceed_temp_file_limit() {
    let (server, mut client) = server_with_items(8000);
    let backend = number(&mut client, "SELECT pg_backend_pid()::bigint");
    client
        .batch_execute("SET maintenance_work_mem = '1MB'")
        .unwrap();
    // too little for the rows, for the links, for the codes
    for limit in ["100kB", "1500kB", "2500kB"] {
        client
            .batch_execute(&format!("SET temp_file_limit = '{limit}'"))
            .unwrap();
        let error = client.batch_execute(CREATE).unwrap_err();
        let error = error.as_db_error().expect("the server goes on");
        assert_eq!(error.code().code(), "53400", "{limit}: {error:?}");
        assert_eq!(
            error.message(),
            format!("temporary file size exceeds temp_file_limit ({limit})")
        );
        assert_eq!(temporary_files(&server, backend), 0);
    }
    client
        .batch_execute(&format!("SET temp_file_limit = '20MB'; {CREATE}"))
        .unwrap();
    // in memory nothing counts
    client
        .batch_execute(&format!(
            "DROP INDEX items_v; SET temp_file_limit = 0; SET maintenance_work_mem = '64MB'; {CREATE}"
        ))
        .unwrap();
}

/// A cancel is answered at once, whatever the build is at.
#[test]
fn every_phase_of_a_build_is_shown_and_can_be_cancelled() {
    let (server, mut client) = server_with_items(30_000);
    let create = format!("{CREATE} WITH (ef_construction = 200)");
    let mut other = server.client();
    let mut seen = BTreeSet::new();
    let phase = "SELECT coalesce(max(phase), '') FROM pg_stat_progress_create_index";
    std::thread::scope(|scope| {
        let build = scope.spawn(|| client.batch_execute(&create).unwrap());
        while !build.is_finished() {
            let phase: String = other.query_one(phase, &[]).unwrap().get(0);
            seen.insert(phase);
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    for name in ["loading tuples", "building graph", "writing index"] {
        assert!(
            seen.contains(&format!("building index: {name}")),
            "{name} is not among {seen:?}"
        );
    }
    for name in ["loading tuples", "building graph", "writing index"] {
        let wanted = format!("building index: {name}");
        // a phase may be over before the cancel arrives: then once more
        let took = (0..20).find_map(|_| {
            // a cancel that came too late hits this statement
            std::thread::sleep(Duration::from_millis(20));
            let _ = client.batch_execute("SELECT 1");
            client
                .batch_execute("DROP INDEX IF EXISTS items_v")
                .unwrap();
            let token = client.cancel_token();
            std::thread::scope(|scope| {
                let build = scope.spawn(|| {
                    let result = client.batch_execute(&create);
                    (result, Instant::now())
                });
                loop {
                    let now: String = other.query_one(phase, &[]).unwrap().get(0);
                    if now == wanted || build.is_finished() {
                        break;
                    }
                }
                let cancelled = Instant::now();
                token.cancel_query(NoTls).unwrap();
                let (result, ended) = build.join().unwrap();
                let error = result.err()?;
                assert_eq!(error.code().unwrap().code(), "57014");
                Some(ended.saturating_duration_since(cancelled))
            })
        });
        let took = took.unwrap_or_else(|| panic!("{name}: never cancelled in time"));
        assert!(took < Duration::from_millis(300), "{name}: {took:?}");
    }
}
