//! Conditions that another index serves, in a vector search: a plan node of our own.

use postgres::Client;

use super::{DEFAULTS, Search, queries, server_of};
use crate::harness::{Server, explain};

of_every_method! {
    conditions_served_by_other_indexes_find_the_nearest_matching_rows,
    the_plan_node_shows_itself_and_what_it_found,
    a_first_query_of_a_session_has_the_plan_node,
    bitmaps_are_made_anew_when_parameters_change,
    rows_are_locked_updated_and_rechecked_through_the_plan_node,
    bitmaps_are_handed_to_searches_of_every_type_and_layout,
}

/// Only the plan node in question, unless it cannot be.
const BITMAP: &str = "SET enable_seqscan = off; SET enable_sort = off";

const NODE: &str = "Vector Search in Bitmap";

fn with_indexes(method: &str) -> (Server, Client) {
    let (server, mut client) = server_of(method);
    client
        .batch_execute(
            "CREATE INDEX ON items (u); CREATE INDEX ON items USING gin (metadata);
             CREATE INDEX ON items USING hash (cluster); CREATE INDEX ON items USING brin (id);
             CREATE INDEX ON items ((id % 100)) WHERE u < 0.5; ANALYZE items",
        )
        .unwrap();
    (server, client)
}

fn conditions_served_by_other_indexes_find_the_nearest_matching_rows(method: &str) {
    let (_server, mut client) = with_indexes(method);
    let mut recalls = Vec::new();
    for condition in [
        "u < 0.7",
        "u < 0.2",
        "u < 0.01",
        "u < 0.0003",
        "u > 2",
        "cluster = ($2 + 20) % 40",
        "cluster = $2",
        "metadata @> '{\"even\": true}'",
        "metadata @> '{\"k\": \"v18\"}'",
        "metadata @> '{\"even\": true}' AND u < 0.3",
        "u < 0.1 OR u > 0.9",
        "cluster = $2 OR metadata @> '{\"k\": \"v18\"}'",
        "u BETWEEN 0.2 AND 0.4 AND length(metadata->>'k') = 3",
        "id % 100 = 7 AND u < 0.5",
        "id BETWEEN 2000 AND 3000",
        "u IN (SELECT u FROM items WHERE id < 30)",
    ] {
        let sql =
            format!("SELECT id, e <=> $1 FROM items WHERE {condition} ORDER BY e <=> $1 LIMIT 10");
        for settings in [
            BITMAP,
            "SET enable_seqscan = off; SET enable_sort = off; SET work_mem = '64kB'",
        ] {
            recalls.push(Search::of(&sql).check(&mut client, settings).unwrap());
            client.batch_execute("RESET work_mem").unwrap();
        }
    }
    let mean = recalls.iter().sum::<f64>() / recalls.len() as f64;
    assert!(mean >= 0.95, "{recalls:?}");
}

fn the_plan_node_shows_itself_and_what_it_found(method: &str) {
    let (_server, mut client) = with_indexes(method);
    let query = &queries(&mut client)[0].0;
    client.batch_execute(BITMAP).unwrap();
    let sql = |condition: &str| {
        format!("SELECT id FROM items WHERE {condition} ORDER BY e <=> '{query}' LIMIT 10")
    };
    for condition in [
        "u < 0.01",
        "u < 0.002",
        "u < 0.01 AND metadata @> '{\"even\": true}'",
    ] {
        let plan = explain(&mut client, &sql(condition));
        assert!(plan.contains(NODE), "{plan}");
        assert!(plan.contains("Bitmap Index Scan"), "{plan}");
        assert!(plan.contains("Index Scan using items_e"), "{plan}");
    }
    let expected: i64 = client
        .query_one("SELECT count(*) FROM items WHERE u < 0.01", &[])
        .unwrap()
        .get(0);
    let rows = client
        .query(
            &format!("EXPLAIN (ANALYZE, BUFFERS) {}", sql("u < 0.01")),
            &[],
        )
        .unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let plan = lines.join("\n");
    assert!(
        plan.contains(&format!("Rows in Bitmap: {expected}")),
        "{plan}"
    );
    // whoever turns off either kind of scan has neither
    for off in ["enable_indexscan", "enable_bitmapscan"] {
        client
            .batch_execute(&format!("{DEFAULTS}; SET {off} = off"))
            .unwrap();
        let plan = explain(&mut client, &sql("u < 0.01"));
        assert!(!plan.contains(NODE), "{plan}");
    }
}

fn a_first_query_of_a_session_has_the_plan_node(method: &str) {
    let (server, _client) = with_indexes(method);
    let mut fresh = server.client();
    fresh.batch_execute(BITMAP).unwrap();
    let plan = explain(
        &mut fresh,
        "SELECT id FROM items WHERE u < 0.01 ORDER BY e <=> (SELECT e FROM queries WHERE n = 1) LIMIT 10",
    );
    assert!(plan.contains(NODE), "{plan}");
}

fn bitmaps_are_made_anew_when_parameters_change(method: &str) {
    let (_server, mut client) = with_indexes(method);
    let sql = "SELECT near.id, d FROM generate_series(1, 4) x,
        LATERAL (SELECT id, e <=> $1 AS d FROM items WHERE u BETWEEN x * 0.1 AND x * 0.1 + 0.004
                 ORDER BY e <=> $1 LIMIT 10) near ORDER BY d";
    client.batch_execute(BITMAP).unwrap();
    let query = format!("'{}'::vector", queries(&mut client)[0].0);
    let plan = explain(&mut client, &sql.replace("$1", &query));
    assert!(plan.contains(NODE), "{plan}");
    Search::of(sql).holds(&mut client, "SET enable_seqscan = off");
    // many vectors, one bitmap
    client.batch_execute(BITMAP).unwrap();
    let plan = explain(
        &mut client,
        "SELECT q.n, near.id FROM queries q, LATERAL (
            SELECT id FROM items WHERE u < 0.003 ORDER BY e <=> q.e LIMIT 3) near",
    );
    assert!(plan.contains(NODE), "{plan}");
    let sql = "SELECT count(*) FROM queries q, LATERAL (
        SELECT id, u FROM items WHERE u < 0.003 ORDER BY e <=> q.e LIMIT 3) near WHERE near.u < 0.003";
    let rows: i64 = client.query_one(sql, &[]).unwrap().get(0);
    assert_eq!(rows, 3 * super::QUERIES as i64);
}

fn rows_are_locked_updated_and_rechecked_through_the_plan_node(method: &str) {
    let (server, mut client) = with_indexes(method);
    let query = queries(&mut client)[0].0.clone();
    let settings = format!("{BITMAP}; SET plan_cache_mode = force_custom_plan");
    client.batch_execute(&settings).unwrap();
    let locking =
        format!("SELECT id FROM items WHERE u < 0.01 ORDER BY e <=> '{query}' LIMIT 5 FOR UPDATE");
    assert!(explain(&mut client, &locking).contains(NODE));
    // another session changes the nearest row so that it no longer matches
    let first: i32 = client.query(&locking, &[]).unwrap()[0].get(0);
    let mut other = server.client();
    let mut holding = other.transaction().unwrap();
    holding
        .batch_execute(&format!("UPDATE items SET u = 0.9 WHERE id = {first}"))
        .unwrap();
    let waiting = std::thread::scope(|threads| {
        let waiter = threads.spawn(|| {
            let mut waiter = server.client();
            waiter.batch_execute(&settings).unwrap();
            waiter.query(&locking, &[]).unwrap()
        });
        crate::harness::wait_until("the query waits for the row", || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
            client.query_one(sql, &[]).unwrap().get::<_, i64>(0) == 1
        });
        holding.commit().unwrap();
        waiter.join().unwrap()
    });
    assert!(waiting.iter().all(|row| row.get::<_, i32>(0) != first));
    // a cursor's current row is a row of the table
    client
        .batch_execute(&format!(
            "BEGIN; DECLARE c CURSOR FOR SELECT id, u FROM items WHERE u < 0.01 ORDER BY e <=> '{query}';
             MOVE 3 FROM c; UPDATE items SET u = 0.0015 WHERE CURRENT OF c; COMMIT"
        ))
        .unwrap();
    let changed: i64 = client
        .query_one("SELECT count(*) FROM items WHERE u = 0.0015", &[])
        .unwrap()
        .get(0);
    assert_eq!(changed, 1);
}

/// Indexes that keep values as they are, and the distance that each is searched by.
fn kinds(method: &str) -> &'static [(&'static str, &'static str)] {
    match method {
        "hnsw" => &[
            ("(e vector_l2_ops) WITH (layout = plain)", "e <-> $1"),
            ("(e vector_cosine_ops) WITH (layout = plain)", "e <=> $1"),
            ("(e vector_l1_ops)", "e <+> $1"),
            ("(s sparsevec_l2_ops)", "s <-> $1::sparsevec"),
            ("(s sparsevec_ip_ops)", "s <#> $1::sparsevec"),
            ("(b bit_hamming_ops)", "b <~> binary_quantize($1)"),
            ("(b bit_jaccard_ops)", "b <%> binary_quantize($1)"),
        ],
        _ => &[
            ("(e vector_l2_ops) WITH (quantizer = none)", "e <-> $1"),
            ("(e vector_l1_ops)", "e <+> $1"),
            ("(b bit_hamming_ops)", "b <~> binary_quantize($1)"),
        ],
    }
}

fn bitmaps_are_handed_to_searches_of_every_type_and_layout(method: &str) {
    let (_server, mut client) = with_indexes(method);
    client
        .batch_execute(
            "DROP INDEX items_e; ALTER TABLE items ADD s sparsevec(48), ADD b bit(48);
             UPDATE items SET s = e::sparsevec, b = binary_quantize(e)",
        )
        .unwrap();
    client.batch_execute("VACUUM FULL ANALYZE items").unwrap();
    let query = queries(&mut client)[0].0.clone();
    for (definition, distance) in kinds(method) {
        client
            .batch_execute(&format!(
                "CREATE INDEX items_e ON items USING {method} {definition}"
            ))
            .unwrap();
        let mut recalls = Vec::new();
        for condition in [
            "u < 0.7",
            "u < 0.075",
            "u < 0.0003",
            "u > 2",
            "cluster = ($2 + 20) % 40",
            "metadata @> '{\"even\": true}'",
            "metadata @> '{\"even\": true}' AND u < 0.3",
            "u BETWEEN 0.2 AND 0.4 AND length(metadata->>'k') = 3",
        ] {
            let sql = format!(
                "SELECT id, {distance} AS d FROM items WHERE {condition} ORDER BY {distance} LIMIT 10"
            );
            recalls.push(Search::of(&sql).check(&mut client, BITMAP).unwrap());
            if condition == "u < 0.075" {
                client.batch_execute(BITMAP).unwrap();
                let vector = format!("'{query}'::vector");
                let plan = explain(&mut client, &sql.replace("$1", &vector));
                assert!(plan.contains(NODE), "{definition}: {plan}");
                // nobody says how many are wanted: all that match
                let all = sql.replace(" LIMIT 10", "");
                let found = Search::of(&all).judge(&mut client, BITMAP);
                assert_eq!(found.short, 0, "{definition}: {found:?}");
            }
        }
        let mean = recalls.iter().sum::<f64>() / recalls.len() as f64;
        assert!(mean >= 0.95, "{definition}: {recalls:?}");
        client.batch_execute("DROP INDEX items_e").unwrap();
    }
}
