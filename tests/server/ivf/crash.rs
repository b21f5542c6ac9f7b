//! Crashes: what was committed is in the index, and the index goes on working.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postgres::Client;

use super::{KINDS, check, create_tables, insert, number, server_with};
use crate::harness::Server;

/// Inserts, rolls back, deletes until the server goes away.
fn write(client: &mut Client, table: &str, from: i64) -> Result<(), postgres::Error> {
    for round in 0.. {
        let first = from + round * 100;
        client.batch_execute(&insert(table, first, first + 99))?;
        let undone = insert(table, first, first + 20).replace("SELECT i,", "SELECT -i,");
        client.batch_execute(&format!(
            "BEGIN; {undone}; ROLLBACK;
             DELETE FROM {table} WHERE id BETWEEN {first} - 1000 AND {first} - 950"
        ))?;
    }
    Ok(())
}

fn work_until_crash(server: &Server, from: i64, milliseconds: u64) {
    let crashed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (table, _) in KINDS {
            let mut client = server.client();
            let crashed = &crashed;
            scope.spawn(move || {
                let error = write(&mut client, table, from).expect_err("ends with the server");
                let is_expected = crashed.load(Ordering::Relaxed);
                assert!(is_expected, "before the crash: {error:?}");
            });
        }
        let mut client = server.client();
        let crashed = &crashed;
        scope.spawn(move || {
            let vacuum = "VACUUM (INDEX_CLEANUP ON) indexed, coded, flat";
            while client.batch_execute(vacuum).is_ok() {}
            assert!(crashed.load(Ordering::Relaxed), "before the crash");
        });
        std::thread::sleep(Duration::from_millis(milliseconds));
        crashed.store(true, Ordering::Relaxed);
        server.crash_and_restart();
    });
}

#[test]
fn every_committed_row_is_found_after_crashes_while_lists_grow() {
    let (server, mut client) = server_with("wal_consistency_checking = 'all'");
    create_tables(&mut client);
    for (table, _) in KINDS {
        client.batch_execute(&insert(table, 1, 1200)).unwrap();
    }
    drop(client);
    for (round, milliseconds) in [700, 1900, 3100, 1300].into_iter().enumerate() {
        work_until_crash(&server, (round as i64 + 1) * 1_000_000, milliseconds);
        let mut client = server.client();
        for (table, _) in KINDS {
            let rows = number(&mut client, &format!("SELECT count(*) FROM {table}"));
            assert_eq!(
                super::indexed_rows(&mut client, table),
                rows,
                "rows of {table}"
            );
            let undone = format!("SELECT count(*) FROM {table} WHERE id < 0");
            assert_eq!(number(&mut client, &undone), 0);
        }
    }
    let mut client = server.client();
    client
        .batch_execute("VACUUM (INDEX_CLEANUP ON) indexed, coded, flat")
        .unwrap();
    for (table, _) in KINDS {
        client
            .batch_execute(&insert(table, 9_000_000, 9_001_000))
            .unwrap();
        check(&mut client, table);
    }
}
