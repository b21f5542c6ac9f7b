//! Indexes that are elsewhere than their tables, or move there: they are written to and recovered like
//! others, and what a session knew of a file that was never kept is forgotten.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postgres::Client;

use crate::forms::{BY_INDEX, COLUMNS, FORMS, check, rows, run};
use crate::harness::{Server, sqlstate_of};
use crate::hnsw::check::assert_sound;
use crate::hnsw::{number, server_with};

/// A server with a tablespace `far`; replay compares every page with what the log says of it.
fn server_with_space() -> (Server, Client) {
    let (server, mut client) = server_with("wal_consistency_checking = 'all'");
    let place = server.new_directory("far");
    let create = format!("CREATE TABLESPACE far LOCATION '{}'", place.display());
    run(&mut client, &[&create, BY_INDEX]);
    (server, client)
}

/// Inserts rows until the server is gone.
fn write_until_killed(mut client: Client, killed: &AtomicBool) {
    for first in (10_000..).step_by(20) {
        for n in 0..FORMS.len() {
            let more = rows(&format!("t{n}"), first, first + 19);
            if let Err(error) = client.batch_execute(&more) {
                assert!(killed.load(Ordering::SeqCst), "{more}: {error:?}");
                return;
            }
        }
    }
}

/// Moves indexes to and fro until the server is gone. Returns how often one arrived.
fn move_until_killed(mut client: Client, killed: &AtomicBool) -> usize {
    let mut moved = 0;
    loop {
        for place in ["far", "pg_default"] {
            for n in 0..FORMS.len() {
                let sql = format!("ALTER INDEX t{n}_v SET TABLESPACE {place}");
                if let Err(error) = client.batch_execute(&sql) {
                    assert!(killed.load(Ordering::SeqCst), "{sql}: {error:?}");
                    return moved;
                }
                moved += 1;
            }
        }
    }
}

#[test]
fn indexes_that_move_between_tablespaces_lose_nothing_and_survive_a_crash_meanwhile() {
    let (server, mut client) = server_with_space();
    for (n, form) in FORMS.iter().enumerate() {
        let (table, index) = (format!("t{n}"), format!("t{n}_v"));
        run(
            &mut client,
            &[
                &format!("CREATE TABLE {table} {COLUMNS}"),
                &rows(&table, 1, 900),
                &format!("CREATE INDEX {index} ON {table} USING {form} TABLESPACE far"),
                &rows(&table, 901, 1200),
                &format!("DELETE FROM {table} WHERE id % 5 = 0"),
                &format!("VACUUM (INDEX_CLEANUP ON) {table}"),
            ],
        );
        check(&mut client, &table);
        run(
            &mut client,
            &[
                &format!(
                    "BEGIN; ALTER INDEX {index} SET TABLESPACE pg_default; {}; ROLLBACK",
                    rows(&table, 2001, 2200)
                ),
                &rows(&table, 3001, 3200),
                &format!("ALTER INDEX {index} SET TABLESPACE pg_default"),
                &rows(&table, 4001, 4200),
            ],
        );
        check(&mut client, &table);
        run(
            &mut client,
            &[
                &format!("REINDEX (TABLESPACE far) INDEX CONCURRENTLY {index}"),
                &rows(&table, 5001, 5200),
            ],
        );
        check(&mut client, &table);
    }
    // 55000: it is not empty
    assert_eq!(sqlstate_of(&mut client, "DROP TABLESPACE far"), "55000");

    let killed = AtomicBool::new(false);
    let moved = std::thread::scope(|scope| {
        let (writer, mover) = (server.client(), server.client());
        scope.spawn(|| write_until_killed(writer, &killed));
        let mover = scope.spawn(|| move_until_killed(mover, &killed));
        std::thread::sleep(Duration::from_secs(2));
        killed.store(true, Ordering::SeqCst);
        server.kill_everything();
        mover.join().unwrap()
    });
    assert!(moved > 0);
    server.start_after_kill();
    let mut client = server.client();
    client.batch_execute(BY_INDEX).unwrap();
    for n in 0..FORMS.len() {
        let table = format!("t{n}");
        check(&mut client, &table);
        run(
            &mut client,
            &[
                &rows(&table, 9_000_001, 9_000_200),
                &format!("VACUUM (INDEX_CLEANUP ON) {table}"),
                &format!("ALTER INDEX {table}_v SET TABLESPACE pg_default"),
            ],
        );
        check(&mut client, &table);
    }
    run(&mut client, &["DROP TABLESPACE far"]);
}

/// Inserts rows until the index is more than one list.
fn grow(client: &mut Client, sign: i64) {
    for first in (0..).step_by(50) {
        let more = format!(
            "INSERT INTO t SELECT {sign} * i, vec({sign} * i, 24) FROM generate_series({first} + 1, {first} + 50) i"
        );
        client.batch_execute(&more).unwrap();
        if number(client, "SELECT lists::bigint FROM ivf_index_stats('t_v')") > 1 {
            return;
        }
    }
}

/// A file that is copied, as for another tablespace, is not told from the first by anything that is in it,
/// and both go on from there.
#[test]
fn what_a_session_saw_of_lists_that_it_moved_is_forgotten_with_the_move() {
    let (server, mut mover) = server_with_space();
    for options in ["(quantizer = rabitq2)", "(quantizer = none)"] {
        run(
            &mut mover,
            &[
                "CREATE TABLE t (id bigint, v vector(24))",
                &format!("CREATE INDEX t_v ON t USING ivf (v vector_l2_ops) WITH {options}"),
                "BEGIN; ALTER INDEX t_v SET TABLESPACE far",
            ],
        );
        grow(&mut mover, -1);
        mover.batch_execute("ROLLBACK").unwrap();
        // the same steps with other rows
        let mut other = server.client();
        other.batch_execute(BY_INDEX).unwrap();
        grow(&mut other, 1);
        for query in 1..40 {
            let nearest = format!(
                "SELECT array_agg(id) FROM (SELECT id FROM t ORDER BY v <-> vec({query}, 24) LIMIT 10) s"
            );
            let answer = |client: &mut Client| -> Vec<i64> {
                client.query_one(&nearest, &[]).unwrap().get(0)
            };
            assert_eq!(answer(&mut mover), answer(&mut other), "{options}: {query}");
        }
        mover
            .batch_execute(
                "INSERT INTO t SELECT i, vec(i, 24) FROM generate_series(50001, 50200) i",
            )
            .unwrap();
        assert_sound(&mut mover, "t_v");
        mover.batch_execute("DROP TABLE t").unwrap();
    }
}

#[test]
fn temporary_files_of_builds_are_where_temp_tablespaces_says() {
    let (server, mut client) = server_with_space();
    client
        .batch_execute(
            "CREATE TABLE t (id bigint, v vector(32));
             INSERT INTO t SELECT i, vec(i, 32) FROM generate_series(1, 12000) i;
             SET maintenance_work_mem = '1MB'; SET temp_tablespaces = far",
        )
        .unwrap();
    // made for the first file, and kept
    let used = "SELECT count(*) FROM pg_tablespace s, pg_ls_dir('pg_tblspc/' || s.oid) version,
                pg_ls_dir('pg_tblspc/' || s.oid || '/' || version) d WHERE spcname = 'far' AND d = 'pgsql_tmp'";
    let left = "SELECT count(*) FROM pg_tablespace s, pg_ls_tmpdir(s.oid) WHERE spcname = 'far'";
    for form in [
        "ivf (v vector_l2_ops) WITH (quantizer = none)",
        "hnsw (v vector_l2_ops)",
    ] {
        assert_eq!(number(&mut client, used), 0, "{form}");
        client
            .batch_execute(&format!("CREATE INDEX t_v ON t USING {form}"))
            .unwrap();
        assert_eq!(number(&mut client, used), 1, "{form}");
        assert_eq!(number(&mut client, left), 0, "{form}");
        assert_sound(&mut client, "t_v");
        client.batch_execute("DROP INDEX t_v").unwrap();
        let place = server.directory().join("far");
        for version in std::fs::read_dir(place).unwrap() {
            std::fs::remove_dir(version.unwrap().path().join("pgsql_tmp")).unwrap();
        }
    }
}
