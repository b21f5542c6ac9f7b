//! Indexes of blocks: codes, the entry table, calibration.

mod build;
mod changes;
mod damage;
mod empty;
pub mod pages;

use postgres::Client;

use super::number;

/// The kinds of blocks, by what they keep beside links: name, operator class, dimensions, options.
const KINDS: &[(&str, &str, i32, &str)] = &[
    ("sq8_l2", "vector_l2_ops", 24, ""),
    ("rabitq4_ip", "vector_ip_ops", 70, ""),
    (
        "rabitq2_cosine",
        "vector_cosine_ops",
        96,
        "WITH (quantizer = rabitq2)",
    ),
    (
        "rabitq1_l2",
        "vector_l2_ops",
        130,
        "WITH (quantizer = rabitq1)",
    ),
    ("compact_l2", "vector_l2_ops", 32, "WITH (layout = compact)"),
    (
        "compact_cosine",
        "vector_cosine_ops",
        64,
        "WITH (layout = compact, m = 10)",
    ),
    (
        "binary_cosine",
        "vector_cosine_ops",
        192,
        "WITH (quantizer = binary)",
    ),
    (
        "pq_l2",
        "vector_l2_ops",
        64,
        "WITH (quantizer = pq, pq_segments = 32)",
    ),
];

/// The operator that an operator class orders by.
pub fn operator_of(class: &str) -> &'static str {
    match class {
        "vector_ip_ops" => "<#>",
        "vector_cosine_ops" => "<=>",
        _ => "<->",
    }
}

/// Share of the ten nearest rows of `table (id, v)` that searches for 1,000 vectors find which no row has.
fn recall(client: &mut Client, table: &str, operator: &str, dims: i32) -> f64 {
    client
        .batch_execute("SET enable_seqscan = off; SET enable_sort = on")
        .unwrap();
    // `+ 0` is no order the index has
    let found = number(
        client,
        &format!(
            "WITH queries AS MATERIALIZED (SELECT vec(-q, {dims}) AS q FROM generate_series(1, 1000) q)
             SELECT count(*) FROM queries,
             LATERAL (SELECT v FROM {table} ORDER BY v {operator} q LIMIT 10) found,
             LATERAL (SELECT max(d) AS farthest FROM (SELECT v {operator} q AS d FROM {table}
                      ORDER BY (v {operator} q) + 0 LIMIT 10) e) exact
             WHERE found.v {operator} q <= farthest"
        ),
    );
    found as f64 / 10_000.0
}
