//! Filter columns that change: updates, deletes, VACUUM, duplicates, crashes.

use postgres::Client;

use super::{check_rows, number};
use crate::hnsw::server_with;

/// Conditions on `items (id, v, tenant, label)`, with NULLs and ranges.
const CONDITIONS: &[&str] = &[
    "tenant = 3",
    "tenant IS NULL",
    "tenant IS NOT NULL",
    "tenant < 5 AND label = 'b'",
    "tenant >= 40",
    "label IS NULL AND tenant = 2",
    "label > 'b'",
];

fn check(client: &mut Client, when: &str) {
    for condition in CONDITIONS {
        check_rows(client, "items", condition, "<->");
    }
    let errors = number(
        client,
        "SELECT count(*) FROM vector_index_check('items_v', true) WHERE severity = 'error'",
    );
    assert_eq!(errors, 0, "{when}: the index is sound");
}

/// Rows `from` to `to` of `items`, of `distinct` different vectors.
fn insert(client: &mut Client, from: i32, to: i32, distinct: i32) {
    client
        .batch_execute(&format!(
            "INSERT INTO items SELECT i, vec(i % {distinct}, 24), nullif(i % 50, 7), (ARRAY['a', 'b', 'c', NULL])[1 + i % 4]
             FROM generate_series({from}, {to}) i"
        ))
        .unwrap();
}

fn table(client: &mut Client) {
    client
        .batch_execute("CREATE TABLE items (id int, v vector(24), tenant int, label text)")
        .unwrap();
}

const INDEX: &str = "CREATE INDEX items_v ON items USING hnsw (v vector_l2_ops, tenant, label)";

#[test]
fn keys_follow_inserts_updates_deletes_and_vacuum() {
    let (_server, mut client) = server_with("");
    table(&mut client);
    insert(&mut client, 1, 2000, 100_000);
    client.batch_execute(INDEX).unwrap();
    check(&mut client, "built");
    insert(&mut client, 2001, 3000, 100_000);
    check(&mut client, "inserted");
    client
        .batch_execute(
            "UPDATE items SET tenant = tenant + 1 WHERE id % 3 = 0;
             UPDATE items SET label = NULL WHERE id % 10 = 0;
             UPDATE items SET tenant = NULL WHERE id % 25 = 0",
        )
        .unwrap();
    check(&mut client, "updated");
    client
        .batch_execute("DELETE FROM items WHERE id % 2 = 0")
        .unwrap();
    check(&mut client, "deleted");
    client.batch_execute("VACUUM items").unwrap();
    check(&mut client, "vacuumed");
    // rows take the places of those that are gone
    let before = number(&mut client, "SELECT pg_relation_size('items_v')");
    insert(&mut client, 10_001, 11_000, 100_000);
    client
        .batch_execute("UPDATE items SET tenant = 3 WHERE id % 7 = 0")
        .unwrap();
    check(&mut client, "inserted anew");
    let after = number(&mut client, "SELECT pg_relation_size('items_v')");
    assert!(
        after <= before + before / 10,
        "the map uses its room again: {before} to {after}"
    );
    client.batch_execute("DELETE FROM items").unwrap();
    client.batch_execute("VACUUM items").unwrap();
    check(&mut client, "emptied");
    insert(&mut client, 1, 500, 100_000);
    check(&mut client, "filled again");
    client
        .batch_execute("REINDEX INDEX CONCURRENTLY items_v")
        .unwrap();
    check(&mut client, "built concurrently");
}

#[test]
fn thousands_of_equal_vectors_keep_a_key_each() {
    let (_server, mut client) = server_with("");
    table(&mut client);
    insert(&mut client, 1, 3000, 3);
    client.batch_execute(INDEX).unwrap();
    check(&mut client, "built");
    insert(&mut client, 3001, 6000, 3);
    check(&mut client, "inserted");
    assert_eq!(
        number(
            &mut client,
            "SELECT elements FROM vector_index_stats('items_v')"
        ),
        3
    );
    client
        .batch_execute("DELETE FROM items WHERE tenant > 4 AND id % 5 > 0")
        .unwrap();
    client.batch_execute("VACUUM items").unwrap();
    check(&mut client, "vacuumed");
    insert(&mut client, 6001, 7000, 3);
    check(&mut client, "inserted again");
}

#[test]
fn a_crash_leaves_keys_and_rows_together() {
    let (server, mut client) = server_with("");
    table(&mut client);
    insert(&mut client, 1, 500, 100_000);
    client.batch_execute(INDEX).unwrap();
    insert(&mut client, 501, 1200, 200);
    client
        .batch_execute(
            "UPDATE items SET tenant = 3 WHERE id % 6 = 0; DELETE FROM items WHERE id % 4 = 0",
        )
        .unwrap();
    client.batch_execute("VACUUM items").unwrap();
    insert(&mut client, 1201, 1500, 200);
    drop(client);
    server.crash_and_restart();
    let mut client = server.client();
    check(&mut client, "after a crash");
    insert(&mut client, 1501, 1700, 100_000);
    check(&mut client, "inserted after it");
}

#[test]
fn a_standby_filters_as_its_primary_does() {
    let (server, mut client) = server_with("");
    table(&mut client);
    insert(&mut client, 1, 800, 100_000);
    client.batch_execute(INDEX).unwrap();
    let standby = server.standby();
    insert(&mut client, 801, 1600, 300);
    client
        .batch_execute("DELETE FROM items WHERE id % 4 = 0")
        .unwrap();
    client.batch_execute("VACUUM items").unwrap();
    insert(&mut client, 1601, 1800, 300);
    standby.catch_up_with(&server);
    let mut client = standby.client();
    for condition in CONDITIONS {
        check_rows(&mut client, "items", condition, "<->");
    }
}
