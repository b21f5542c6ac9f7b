//! Conditions on the distance that rows are ordered by.

use postgres::Client;

use super::{DEFAULTS, EXACT, FORCED, LEAST_RECALL, Search, queries, server_of};
use crate::harness::explain;

of_every_method! {
    a_search_within_a_distance_finds_what_there_is_and_ends,
    a_search_within_a_distance_costs_what_it_finds,
}

fn a_search_within_a_distance_finds_what_there_is_and_ends(method: &str) {
    let (_server, mut client) = server_of(method);
    for sql in [
        "SELECT id, e <=> $1 FROM items WHERE e <=> $1 < 0.2 ORDER BY e <=> $1 LIMIT 10",
        "SELECT id, e <=> $1 FROM items WHERE e <=> $1 < 0.02 ORDER BY e <=> $1 LIMIT 10",
        "SELECT id, e <=> $1 FROM items WHERE e <=> $1 < 0.02 ORDER BY e <=> $1",
        "SELECT id, e <=> $1 FROM items WHERE 0.025::real >= e <=> $1 ORDER BY e <=> $1",
        "SELECT id, e <=> $1 FROM items WHERE e <=> $1 <= 0.03 AND u < 0.2 ORDER BY e <=> $1",
        "SELECT id, e <=> $1 FROM items WHERE e <=> $1 < 0.00001 ORDER BY e <=> $1 LIMIT 10",
        "SELECT id, e <=> $1 FROM items WHERE e <=> $1 < -1 ORDER BY e <=> $1",
        "SELECT id, e <=> $1 FROM items WHERE e <=> $1 < 'NaN' ORDER BY e <=> $1 LIMIT 20",
        "SELECT id, e <=> $1 FROM items WHERE e <=> $1 < NULL ORDER BY e <=> $1 LIMIT 20",
        "SELECT id, e <=> $1 FROM items WHERE e <=> $1 < (SELECT 0.02) ORDER BY e <=> $1",
        "SELECT id, e <=> $1 FROM items WHERE e <=> $1 > 0.02 ORDER BY e <=> $1 LIMIT 10",
    ] {
        Search::of(sql).holds(&mut client, FORCED);
        Search::of(sql).holds(&mut client, DEFAULTS);
    }
}

/// Work of the last search, as a share of what one may take.
fn work(client: &mut Client, method: &str) -> f64 {
    let sql = match method {
        "hnsw" => "SELECT expanded / 1000.0::float8 FROM hnsw_last_scan() WHERE NOT swept",
        _ => "SELECT estimated / 5000.0::float8 FROM ivf_last_scan()",
    };
    let row = client.query_one(sql, &[]).expect("no sweep");
    row.get(0)
}

fn a_search_within_a_distance_costs_what_it_finds(method: &str) {
    let (_server, mut client) = server_of(method);
    client.batch_execute("ANALYZE items").unwrap();
    let mut found = Vec::new();
    for (query, _) in queries(&mut client).iter().take(8) {
        let nearest = format!("SELECT e <=> '{query}' FROM items ORDER BY 1 LIMIT 1 OFFSET 30");
        client.batch_execute(EXACT).unwrap();
        let radius: f64 = client.query_one(&nearest, &[]).unwrap().get(0);
        client.batch_execute(DEFAULTS).unwrap();
        let search = format!(
            "SELECT id FROM items WHERE e <=> '{query}' <= {radius:e} ORDER BY e <=> '{query}'"
        );
        let plan = explain(&mut client, &search);
        assert!(plan.contains("items_e"), "{plan}");
        let rows = client.query(&search, &[]).unwrap().len();
        assert!(rows <= 31, "{rows} of 31 rows");
        found.push(rows);
        let share = work(&mut client, method);
        assert!(share < 1.0, "{share} of the work allowed for {rows} rows");
        // nothing is as near as that
        let none = search.replace(&format!("{radius:e}"), "1e-9");
        assert!(client.query(&none, &[]).unwrap().is_empty());
        let share = work(&mut client, method);
        assert!(share < 0.5, "{share} of the work allowed for no row");
    }
    let recall = found.iter().sum::<usize>() as f64 / (31 * found.len()) as f64;
    assert!(recall >= LEAST_RECALL, "{found:?} of 31 rows each");
}
