//! Filter columns of the index together with what it has no keys for: other conditions, bitmaps of
//! other indexes, a distance.

use super::{DEFAULTS, FORCED, Search, server};
use crate::harness::explain;

of_every_method! {
    filter_columns_and_other_conditions_find_the_nearest_matching_rows_together,
    a_bitmap_is_handed_to_a_search_with_filter_columns,
}

fn index(method: &str) -> String {
    format!("CREATE INDEX items_e ON items USING {method} (e vector_cosine_ops, cluster, u)")
}

/// Only index scans and our own plan node.
const BITMAP: &str = "SET enable_seqscan = off; SET enable_sort = off";

fn filter_columns_and_other_conditions_find_the_nearest_matching_rows_together(method: &str) {
    let (_server, mut client) = server(&index(method));
    client
        .batch_execute("CREATE INDEX ON items USING gin (metadata); ANALYZE items")
        .unwrap();
    let mut recalls = Vec::new();
    for condition in [
        "u < 0.5 AND id % 2 = 0",
        "u < 0.05 AND id % 3 = 0",
        "u < 0.3 AND length(metadata->>'k') = 2",
        "cluster = ($2 + 20) % 40 AND id % 3 = 0",
        "cluster = $2 AND md5(id::text) LIKE 'a%'",
        "id % 50 = 7",
        "u < 0.5 AND metadata @> '{\"even\": true}'",
        "u < 0.05 AND metadata @> '{\"even\": true}'",
        "cluster = ($2 + 20) % 40 AND metadata @> '{\"even\": true}'",
        "metadata @> '{\"even\": true}'",
        "metadata @> '{\"k\": \"v18\"}'",
        "u < 0.9 AND metadata @> '{\"k\": \"v18\"}'",
        "u < 0.2 AND e <=> $1 < 0.03",
        "cluster = $2 AND e <=> $1 < 0.02 AND id % 3 = 0",
        "cluster = ($2 + 20) % 40 AND e <=> $1 < 0.9",
        "u < 0.5 AND e <=> $1 < 1e-9",
        "u > 2 AND id % 2 = 0",
    ] {
        for limit in ["LIMIT 10", "LIMIT 60 OFFSET 5"] {
            let sql = format!(
                "SELECT id, e <=> $1 FROM items WHERE {condition} ORDER BY e <=> $1 {limit}"
            );
            for settings in [FORCED, BITMAP, DEFAULTS] {
                let verdict = Search::of(&sql).judge(&mut client, settings);
                // a row within a distance that is missed has none to take its place
                let is_short = verdict.short > 0 && !condition.contains("<=>");
                assert!(
                    !is_short && verdict.disordered == 0 && verdict.recall >= 0.85,
                    "{verdict:?} from {sql} with {settings}"
                );
                recalls.push(verdict.recall);
            }
        }
    }
    let mean = recalls.iter().sum::<f64>() / recalls.len() as f64;
    assert!(mean >= 0.95, "{recalls:?}");
}

fn a_bitmap_is_handed_to_a_search_with_filter_columns(method: &str) {
    let (_server, mut client) = server(&index(method));
    client
        .batch_execute("CREATE INDEX ON items USING gin (metadata); ANALYZE items")
        .unwrap();
    client.batch_execute(BITMAP).unwrap();
    let plan = explain(
        &mut client,
        "SELECT id FROM items WHERE metadata @> '{\"k\": \"v18\"}'
         ORDER BY e <=> (SELECT e FROM queries WHERE n = 1) LIMIT 10",
    );
    assert!(plan.contains("Vector Search in Bitmap"), "{plan}");
}
