//! Filters after deletes and updates, before and after VACUUM.

use super::{DEFAULTS, FORCED, Search, holds_on_average, server_of};

of_every_method! {
    deleted_rows_never_cost_live_ones_before_and_after_vacuum,
    a_deleted_cluster_and_deleted_entry_points_hide_nothing,
    queries_of_deleted_clusters_find_the_nearest_of_what_is_left,
    a_jsonb_predicate_under_update_churn_finds_the_nearest_rows,
}

const PLAIN: &str = "SELECT id, e <=> $1 FROM items ORDER BY e <=> $1 LIMIT 10";
const FILTERED: &str = "SELECT id, e <=> $1 FROM items WHERE u < 0.1 ORDER BY e <=> $1 LIMIT 10";
/// What a driver sends that knows nothing of types.
const JSONB: &str = "SELECT id, e <=> $1::vector FROM items
    WHERE metadata->>'k' = 'v18' ORDER BY e <=> $1::vector LIMIT 10";

fn deleted_rows_never_cost_live_ones_before_and_after_vacuum(method: &str) {
    let (_server, mut client) = server_of(method);
    let mut recalls = Vec::new();
    for share in [0.1, 0.5, 0.9] {
        client
            .batch_execute(&format!(
                "DELETE FROM items WHERE random_of(id, 4) < {share}"
            ))
            .unwrap();
        for after in ["", "VACUUM items"] {
            client.batch_execute(after).unwrap();
            for sql in [PLAIN, FILTERED] {
                recalls.push(Search::of(sql).holds(&mut client, FORCED));
            }
        }
    }
    holds_on_average(&recalls);
}

fn a_deleted_cluster_and_deleted_entry_points_hide_nothing(method: &str) {
    let (_server, mut client) = server_of(method);
    let (mut recalls, mut failures) = (Vec::new(), Vec::new());
    // what queries are nearest to, then what was inserted first, where searches may begin
    for delete in [
        "DELETE FROM items WHERE cluster IN (SELECT cluster FROM queries WHERE n < 12)",
        "DELETE FROM items WHERE id < 1000",
        "DELETE FROM items WHERE id % 3 = 0",
    ] {
        client.batch_execute(delete).unwrap();
        for after in ["", "VACUUM items"] {
            client.batch_execute(after).unwrap();
            for sql in [PLAIN, FILTERED] {
                for settings in [FORCED, DEFAULTS] {
                    match Search::of(sql).check(&mut client, settings) {
                        Ok(recall) => recalls.push(recall),
                        Err(failure) => failures.push(format!("{delete}; {after}: {failure}")),
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?} {recalls:?}");
    holds_on_average(&recalls);
}

/// What is left of a deleted cluster's part of an index are copies of others' rows: they must not pass for the nearest.
fn queries_of_deleted_clusters_find_the_nearest_of_what_is_left(method: &str) {
    let (_server, mut client) = server_of(method);
    client
        .batch_execute(
            "CREATE TABLE whole AS SELECT * FROM items; TRUNCATE queries;
             INSERT INTO queries SELECT n, c, near(-n, v) FROM generate_series(1, 120) n JOIN centres ON c = n % 12",
        )
        .unwrap();
    let mut recalls = Vec::new();
    for _ in 0..4 {
        for step in [
            "DROP INDEX items_e; TRUNCATE items; INSERT INTO items SELECT * FROM whole".into(),
            format!("CREATE INDEX items_e ON items USING {method} (e vector_cosine_ops)"),
            "DELETE FROM items WHERE cluster < 12".into(),
            "VACUUM items".into(),
        ] {
            client.batch_execute(&step).unwrap();
        }
        recalls.push(Search::of(PLAIN).holds(&mut client, FORCED));
    }
    let mean = recalls.iter().sum::<f64>() / recalls.len() as f64;
    assert!(mean >= 0.98, "{mean}: {recalls:?}");
}

fn a_jsonb_predicate_under_update_churn_finds_the_nearest_rows(method: &str) {
    let (_server, mut client) = server_of(method);
    client
        .batch_execute("CREATE INDEX ON items USING gin (metadata)")
        .unwrap();
    let mut recalls = Vec::new();
    for change in [
        "",
        "ANALYZE items",
        "UPDATE items SET metadata = metadata || '{\"seen\": 1}' WHERE random_of(id, 8) < 0.8",
        "UPDATE items SET e = (SELECT e FROM items o WHERE o.id = items.id % 8000 + 1) WHERE id % 10 < 8",
        "ANALYZE items",
        "VACUUM items",
        // what is known of the table is gone
        "CREATE TABLE copied (LIKE items INCLUDING ALL); INSERT INTO copied SELECT * FROM items;
         DROP TABLE items; ALTER TABLE copied RENAME TO items",
        "UPDATE items SET metadata = metadata || '{\"seen\": 2}' WHERE random_of(id, 9) < 0.8",
    ] {
        client.batch_execute(change).unwrap();
        for settings in [DEFAULTS, FORCED] {
            for sql in [JSONB, PLAIN] {
                recalls.push(Search::of(sql).check(&mut client, settings).unwrap());
            }
        }
    }
    holds_on_average(&recalls);
}
