//! Many sessions at once.

use std::time::{Duration, Instant};

use super::{DIMS, KINDS, check, create_tables, insert, number, server_with};

const SECONDS: u64 = 15;

#[test]
fn no_scan_misses_a_row_while_lists_are_arranged_anew() {
    let (server, mut client) = server_with("");
    create_tables(&mut client);
    for (table, _) in KINDS {
        client.batch_execute(&insert(table, 1, 900)).unwrap();
    }
    let end = Instant::now() + Duration::from_secs(SECONDS);
    std::thread::scope(|scope| {
        for writer in 1_i64..=3 {
            let mut client = server.client();
            let table = KINDS[writer as usize - 1].0;
            scope.spawn(move || {
                let mut next = writer * 1_000_000;
                while Instant::now() < end {
                    let more = insert(table, next, next + 49);
                    client
                        .batch_execute(&format!(
                            "{more};
                             DELETE FROM {table} WHERE id BETWEEN {next} - 3000 AND {next} - 2980;
                             UPDATE {table} SET v = topic(id + 7, 40, {DIMS}) WHERE id = {next} - 100"
                        ))
                        .unwrap();
                    next += 50;
                }
            });
        }
        for (table, _) in KINDS {
            let mut client = server.client();
            scope.spawn(move || {
                client.batch_execute("SET enable_sort = off").unwrap();
                while Instant::now() < end {
                    // the same snapshot for both
                    let missed = format!(
                        "SELECT (SELECT count(*) FROM {table} WHERE id + 0 > 0) - (SELECT count(DISTINCT id)
                         FROM (SELECT id FROM {table} ORDER BY v <-> topic(7, 40, {DIMS})) found)"
                    );
                    assert_eq!(number(&mut client, &missed), 0, "rows of {table} missed");
                }
            });
        }
        let mut client = server.client();
        scope.spawn(move || {
            while Instant::now() < end {
                client
                    .batch_execute("VACUUM (INDEX_CLEANUP ON) indexed, coded, flat")
                    .unwrap();
            }
        });
    });
    for (table, _) in KINDS {
        check(&mut client, table);
    }
}
