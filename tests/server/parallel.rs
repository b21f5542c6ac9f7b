//! Searches by parallel workers, builds with as many as there may be, VACUUM of several indexes at once.

use postgres::Client;

use crate::forms::{BY_INDEX, COLUMNS, FORMS, check, rows, with_each_form};
use crate::harness::{explain, major_version};
use crate::hnsw::check::assert_sound;
use crate::hnsw::{number, server_with};

/// What a query answers, in its order.
fn ids(client: &mut Client, query: &str) -> Vec<i64> {
    let rows = client.query(query, &[]);
    let rows = rows.unwrap_or_else(|error| panic!("{query}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// The vector of a row as a literal: functions of the tests are not for workers.
fn literal(client: &mut Client, row: i64) -> String {
    let text = client.query_one(&format!("SELECT vec({row}, 16)::text"), &[]);
    format!("'{}'::vector", text.unwrap().get::<_, String>(0))
}

#[test]
fn a_parallel_worker_finds_what_its_leader_would() {
    with_each_form(|client, form| {
        let forced = match major_version(client) {
            ..16 => "force_parallel_mode",
            _ => "debug_parallel_query",
        };
        let query = literal(client, 5);
        for search in [
            format!("SELECT id FROM t ORDER BY v <-> {query} LIMIT 10"),
            format!("SELECT id FROM t ORDER BY v <-> {query} LIMIT 200 OFFSET 20"),
            format!("SELECT id FROM t ORDER BY v <-> {query}"),
            format!("SELECT id FROM t WHERE id % 7 = 1 ORDER BY v <-> {query} LIMIT 30"),
            format!("SELECT id FROM t WHERE label = 'label 1' ORDER BY v <-> {query} LIMIT 30"),
            format!("SELECT id FROM t WHERE v <<->> sphere({query}, 1.0)"),
            "EXECUTE prepared".to_owned(),
        ] {
            client
                .batch_execute(&format!(
                    "PREPARE prepared AS SELECT id FROM t WHERE id > 100 ORDER BY v <-> {query} LIMIT 40"
                ))
                .unwrap();
            // settings have to reach the worker, too
            for settings in [
                "RESET hnsw.ef_search",
                "SET hnsw.ef_search = 15; SET hnsw.iterative_scan = off; SET ivf.probes = 2;
                 SET ivf.iterative_scan = off; SET ivfflat.iterative_scan = off",
            ] {
                client.batch_execute(settings).unwrap();
                let answer = ids(client, &search);
                client
                    .batch_execute(&format!("SET {forced} = on; DISCARD PLANS"))
                    .unwrap();
                let plan = explain(client, &search);
                assert!(plan.contains("t_v"), "{plan}");
                // with conditions on filter columns a scan stays in its session
                let may_stay = search.contains("label") || search.contains("EXECUTE");
                assert!(plan.contains("Gather") || may_stay, "{plan}");
                assert_eq!(ids(client, &search), answer, "{form}: {search}");
                client.batch_execute(&format!("RESET {forced}")).unwrap();
            }
            client
                .batch_execute(
                    "RESET hnsw.ef_search; RESET hnsw.iterative_scan; RESET ivf.probes;
                     RESET ivf.iterative_scan; RESET ivfflat.iterative_scan; DEALLOCATE prepared",
                )
                .unwrap();
        }
    });
}

#[test]
fn workers_that_search_for_each_row_of_another_table_find_what_one_session_does() {
    with_each_form(|client, form| {
        client
            .batch_execute(
                "CREATE TABLE others AS SELECT id, v FROM t WHERE id % 3 = 0;
                 CREATE INDEX ON others (id); ANALYZE others; SET enable_bitmapscan = off;
                 SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
                 SET min_parallel_index_scan_size = 0",
            )
            .unwrap();
        let query = literal(client, 5);
        let inside = "FROM others o JOIN t ON t.v <<->> sphere(o.v, 0.9) WHERE o.id > 0";
        for (join, searches_in_workers) in [
            (format!("SELECT o.id * 10000 + t.id {inside}"), true),
            // a search in one process, the other table by several
            (
                format!(
                    "SELECT o.id FROM others o JOIN
                     (SELECT id FROM t ORDER BY v <-> {query} LIMIT 200) s ON s.id = o.id WHERE o.id > 0"
                ),
                false,
            ),
        ] {
            let mut answers = Vec::new();
            for workers in [0, 2] {
                client
                    .batch_execute(&format!("SET max_parallel_workers_per_gather = {workers}"))
                    .unwrap();
                let plan = explain(client, &join);
                assert!(plan.contains("t_v"), "{form}: {plan}");
                assert_eq!(plan.contains("Gather"), workers > 0, "{form}: {plan}");
                let first = plan.find("Gather").unwrap_or(plan.len());
                let is_below = plan.find("t_v").is_some_and(|at| at > first);
                assert!(is_below || workers == 0 || !searches_in_workers, "{plan}");
                let mut found = ids(client, &join);
                found.sort();
                answers.push(found);
            }
            assert!(answers[0].len() > 50, "{} rows", answers[0].len());
            assert!(answers[0] == answers[1], "{form}: {join}");
        }
        client.batch_execute("DROP TABLE others").unwrap();
    });
}

#[test]
fn builds_take_no_worker_or_as_many_as_there_may_be() {
    with_each_form(|client, form| {
        for settings in [
            "SET max_parallel_maintenance_workers = 0",
            "SET max_parallel_maintenance_workers = 1024; ALTER TABLE t SET (parallel_workers = 1024)",
        ] {
            client
                .batch_execute(&format!(
                    "{settings}; DROP INDEX t_v; CREATE INDEX t_v ON t USING {form}"
                ))
                .unwrap();
            check(client, "t");
        }
    });
}

#[test]
fn workers_of_vacuum_clean_several_indexes_at_once() {
    let (server, mut client) = server_with(
        "min_parallel_index_scan_size = 0\nmax_parallel_maintenance_workers = 4\nlog_min_messages = info",
    );
    client
        .batch_execute(&format!("CREATE TABLE t {COLUMNS}; {BY_INDEX}"))
        .unwrap();
    client.batch_execute(&rows("t", 1, 3000)).unwrap();
    for (n, form) in FORMS.iter().enumerate() {
        client
            .batch_execute(&format!("CREATE INDEX i{n} ON t USING {form}"))
            .unwrap();
    }
    for round in 0..3 {
        let (first, last) = (10_000 * (round + 1), 10_000 * (round + 1) + 500);
        client.batch_execute(&rows("t", first, last)).unwrap();
        client
            .batch_execute(&format!("DELETE FROM t WHERE id % 4 = {round}"))
            .unwrap();
        client
            .batch_execute("VACUUM (INDEX_CLEANUP ON, PARALLEL 4, VERBOSE) t")
            .unwrap();
    }
    let log = server.log();
    let launched = log.lines().filter(|line| {
        line.contains("launched") && line.contains("for index vacuuming") && !line.contains(" 0 ")
    });
    assert!(launched.count() >= 3, "{log}");
    for n in 0..FORMS.len() {
        assert_sound(&mut client, &format!("i{n}"));
    }
    // each index alone has all rows, and counts them
    let rows = number(&mut client, "SELECT count(*) FROM t WHERE id > -1");
    for (n, form) in FORMS.iter().enumerate() {
        let mut transaction = client.transaction().unwrap();
        for other in (0..FORMS.len()).filter(|&other| other != n) {
            transaction
                .batch_execute(&format!("DROP INDEX i{other}"))
                .unwrap();
        }
        let query = "SELECT count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> vec(3, 16)) s";
        let found: i64 = transaction.query_one(query, &[]).unwrap().get(0);
        assert_eq!(found, rows, "{form}");
        transaction.rollback().unwrap();
    }
}
