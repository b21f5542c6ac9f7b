//! Standbys: same pages, same answers, and scans that replay does not trip over.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{DIMS, KINDS, create_tables, indexed_rows, insert, number, server_with};

/// Every page that replay makes is compared with the primary's.
const SETTINGS: &str = "
wal_consistency_checking = 'all'
max_standby_streaming_delay = -1
hot_standby_feedback = on
";

#[test]
fn a_standby_finds_every_row_while_lists_are_arranged_on_the_primary() {
    let (server, mut client) = server_with(SETTINGS);
    create_tables(&mut client);
    for (table, _) in KINDS {
        client.batch_execute(&insert(table, 1, 999)).unwrap();
    }
    let standby = server.standby();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (table, _) in KINDS {
            let mut client = standby.client();
            let done = &done;
            scope.spawn(move || {
                client.batch_execute("SET enable_sort = off").unwrap();
                while !done.load(Ordering::Relaxed) {
                    let missed = format!(
                        "SELECT (SELECT count(*) FROM {table} WHERE id + 0 > 0) - (SELECT count(DISTINCT id)
                         FROM (SELECT id FROM {table} ORDER BY v <-> topic(7, 40, {DIMS})) found)"
                    );
                    assert_eq!(number(&mut client, &missed), 0, "rows of {table} missed");
                }
            });
        }
        for round in 1..8 {
            for (table, _) in KINDS {
                let first = round * 1000;
                client
                    .batch_execute(&insert(table, first, first + 699))
                    .unwrap();
                client
                    .batch_execute(&format!("DELETE FROM {table} WHERE id % 11 = {round}"))
                    .unwrap();
            }
            client
                .batch_execute("VACUUM (INDEX_CLEANUP ON) indexed, coded, flat")
                .unwrap();
        }
        standby.catch_up_with(&server);
        done.store(true, Ordering::Relaxed);
    });
    let mut on_standby = standby.client();
    for (table, _) in KINDS {
        let rows = number(&mut client, &format!("SELECT count(*) FROM {table}"));
        assert_eq!(indexed_rows(&mut on_standby, table), rows);
    }
    standby.promote();
    let mut client = standby.client();
    for (table, _) in KINDS {
        client
            .batch_execute(&insert(table, 50_000, 51_000))
            .unwrap();
        super::check(&mut client, table);
    }
}
