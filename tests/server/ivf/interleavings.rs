//! Delicate moments, one after the other on purpose: lists are divided, dissolved and written anew, their
//! pages freed and taken again, under a scan that waits in the middle, and under a transaction that inserts.

use super::{DIMS, KINDS, create_tables, insert, lists, number, server_with};
use crate::hnsw::check::assert_sound;
use crate::suspended::Suspended;

#[test]
fn a_suspended_scan_hands_out_its_rows_once_while_lists_are_arranged_and_pages_taken_again() {
    let (server, mut client) = server_with("");
    create_tables(&mut client);
    for (table, _) in KINDS {
        client.batch_execute(&insert(table, 1, 3000)).unwrap();
        client
            .batch_execute(&format!("DELETE FROM {table} WHERE id % 2 = 0"))
            .unwrap();
        let before = lists(&mut client, table);
        let vector = format!("topic(7, 40, {DIMS})");
        let mut scan = Suspended::begin(&server, table, &vector);
        for round in 1..4 {
            client
                .batch_execute(&format!("VACUUM (INDEX_CLEANUP ON) {table}"))
                .unwrap();
            // divides lists
            let first = round * 10_000;
            client
                .batch_execute(&insert(table, first, first + 2500))
                .unwrap();
            scan.fetch("200");
            // what the cursor's snapshot does not see: VACUUM dissolves their lists
            client
                .batch_execute(&format!("DELETE FROM {table} WHERE id >= {first}"))
                .unwrap();
            client
                .batch_execute(&format!("DELETE FROM {table} WHERE id % 7 = {round}"))
                .unwrap();
        }
        scan.finish((1..=3000).filter(|id| id % 2 == 1));
        client
            .batch_execute(&format!("VACUUM (INDEX_CLEANUP ON) {table}"))
            .unwrap();
        client
            .batch_execute(&insert(table, 90_000, 93_000))
            .unwrap();
        assert_sound(&mut client, &format!("{table}_v"));
        let after = lists(&mut client, table);
        println!("{table}: {before} lists, {after} at the end");
    }
}

#[test]
fn rows_of_a_transaction_that_waits_are_kept_while_their_lists_are_arranged() {
    let (server, mut client) = server_with("");
    create_tables(&mut client);
    for (table, _) in KINDS {
        client.batch_execute(&insert(table, 1, 1500)).unwrap();
        let mut writer = server.client();
        let mine = insert(table, 50_000, 50_300);
        writer
            .batch_execute(&format!("BEGIN; {mine}; SAVEPOINT s"))
            .unwrap();
        writer
            .batch_execute(&insert(table, 60_000, 60_100))
            .unwrap();
        writer.batch_execute("ROLLBACK TO s").unwrap();
        client.batch_execute(&insert(table, 2000, 5000)).unwrap();
        client
            .batch_execute(&format!("DELETE FROM {table} WHERE id % 3 = 0"))
            .unwrap();
        client
            .batch_execute(&format!("VACUUM (INDEX_CLEANUP ON) {table}"))
            .unwrap();
        writer.batch_execute("COMMIT").unwrap();
        let rows = number(&mut client, &format!("SELECT count(*) FROM {table}"));
        assert_eq!(super::indexed_rows(&mut client, table), rows, "{table}");
        assert_sound(&mut client, &format!("{table}_v"));
    }
}

#[test]
fn a_suspended_scan_passes_over_rows_whose_codes_are_gone_with_their_pages() {
    let (server, mut client) = server_with("");
    create_tables(&mut client);
    let (table, _) = KINDS[0];
    client.batch_execute(&insert(table, 1, 4000)).unwrap();
    // those of one page came one after the other
    client
        .batch_execute(&format!("DELETE FROM {table} WHERE id > 1000"))
        .unwrap();
    let mut reader = server.client();
    reader
        .batch_execute(&format!(
            "SET enable_seqscan = off; BEGIN;
             DECLARE c CURSOR FOR SELECT id FROM {table} ORDER BY v <-> topic(7, 40, {DIMS}) LIMIT 500"
        ))
        .unwrap();
    let first = reader.query("FETCH 1 FROM c", &[]).unwrap();
    client
        .batch_execute(&format!("VACUUM (INDEX_CLEANUP ON) {table}"))
        .unwrap();
    // lists on the pages that were freed
    client.batch_execute(&insert(table, 5000, 9000)).unwrap();
    let rest = reader.query("FETCH ALL FROM c", &[]).unwrap();
    assert_eq!((first.len(), rest.len()), (1, 499));
    assert_sound(&mut client, &format!("{table}_v"));
}
