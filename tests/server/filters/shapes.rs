//! Data of shapes that no setting was chosen by: clusters of very different widths, groups of near copies, groups
//! within groups, vectors of very different lengths. An index finds the nearest rows there, too, with its defaults.

use std::io::Write;

use postgres::Client;

use crate::harness::Server;
use crate::hnsw::filters::{Outcome, Search, text};
use crate::hnsw::server_with;

of_every_method! {
    clusters_of_very_different_widths_hide_no_row_that_matches,
    near_copies_that_codes_cannot_tell_apart_are_put_in_order,
    groups_within_groups_are_left_for_the_next_ones,
    vectors_of_very_different_lengths_are_found_however_many_are_asked_for,
}

const DIMS: usize = 48;
const QUERIES: usize = 60;
/// Recall that searches aim at, less twice what so many queries differ by.
const LEAST_RECALL: f64 = 0.95 - 0.02;

/// Vectors at random.
struct Shapes {
    random: fastrand::Rng,
}

impl Shapes {
    fn new() -> Shapes {
        Shapes {
            random: fastrand::Rng::with_seed(11),
        }
    }

    /// Normally distributed (Box and Muller, 1958).
    fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.random.f64()).ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.random.f64()).cos()) as f32
    }

    fn vector(&mut self, width: f32) -> Vec<f32> {
        (0..DIMS).map(|_| width * self.normal()).collect()
    }

    fn vectors(&mut self, count: usize, width: f32) -> Vec<Vec<f32>> {
        (0..count).map(|_| self.vector(width)).collect()
    }

    fn near(&mut self, centre: &[f32], width: f32) -> Vec<f32> {
        centre.iter().map(|x| x + width * self.normal()).collect()
    }
}

/// `items` (id, v, cluster, u): a row for each vector with the number of its cluster; `u` from 0 to 999 at random.
/// The last vectors are the queries and no rows.
fn table(
    method: &str,
    class: &str,
    vectors: &[(Vec<f32>, usize)],
) -> (Server, Client, Vec<String>) {
    let (server, mut client) = server_with("jit = off\n");
    client
        .batch_execute(&format!(
            "CREATE TABLE items (id int, v vector({DIMS}), cluster int, u int)"
        ))
        .unwrap();
    let (rows, queries) = vectors.split_at(vectors.len() - QUERIES);
    let mut random = fastrand::Rng::with_seed(12);
    let mut writer = client.copy_in("COPY items FROM STDIN").unwrap();
    for (id, (vector, cluster)) in rows.iter().enumerate() {
        let line = format!(
            "{id}\t{}\t{cluster}\t{}\n",
            text(vector),
            random.u32(0..1000)
        );
        writer.write_all(line.as_bytes()).unwrap();
    }
    writer.finish().unwrap();
    client
        .batch_execute(&format!(
            "CREATE INDEX items_v ON items USING {method} (v {class}, cluster); ANALYZE items"
        ))
        .unwrap();
    let queries = queries.iter().map(|(vector, _)| text(vector)).collect();
    (server, client, queries)
}

/// Rows in exact order, all there are, at the recall aimed at.
fn holds(client: &mut Client, queries: &[String], condition: &str, operator: &str, k: usize) {
    let search = Search {
        table: "items",
        condition,
        operator,
        k,
    };
    let outcome: Outcome = search.judge(client, queries, |_, _| {});
    assert_eq!(outcome.rows, outcome.wanted, "{condition}: {outcome:?}");
    assert!(
        outcome.recall() >= LEAST_RECALL,
        "{condition} LIMIT {k}: {} {outcome:?}",
        outcome.recall()
    );
}

fn clusters_of_very_different_widths_hide_no_row_that_matches(method: &str) {
    let mut shapes = Shapes::new();
    let centres = shapes.vectors(200, 3.0);
    // most are narrow, a few very wide (Pareto), and sizes go like one over the rank
    let widths: Vec<f32> = (0..200)
        .map(|_| 0.1 + 0.5 * (shapes.random.f32().max(1e-3).powf(-1.0 / 1.5) - 1.0))
        .collect();
    let vectors: Vec<_> = (0..12_000 + QUERIES)
        .map(|_| {
            let cluster = 200f64.powf(shapes.random.f64()) as usize - 1;
            (
                shapes.near(&centres[cluster], widths[cluster]),
                cluster % 64,
            )
        })
        .collect();
    let (_server, mut client, queries) = table(method, "vector_l2_ops", &vectors);
    for cluster in [3, 17, 29, 40, 51, 63] {
        holds(
            &mut client,
            &queries,
            &format!("cluster = {cluster}"),
            "<->",
            10,
        );
    }
    for condition in [
        "cluster IN (5, 9, 33, 60)",
        "cluster > 2 AND u < 300",
        "u < 20",
        "true",
    ] {
        holds(&mut client, &queries, condition, "<->", 10);
    }
}

fn near_copies_that_codes_cannot_tell_apart_are_put_in_order(method: &str) {
    let mut shapes = Shapes::new();
    let centres = shapes.vectors(80, 10.0);
    let vectors: Vec<_> = (0..6_000 + QUERIES)
        .map(|n| (shapes.near(&centres[n % 80], 0.02), n % 80))
        .collect();
    let (_server, mut client, queries) = table(method, "vector_l2_ops", &vectors);
    for condition in ["true", "u < 500", "cluster = 7"] {
        holds(&mut client, &queries, condition, "<->", 10);
    }
}

fn groups_within_groups_are_left_for_the_next_ones(method: &str) {
    let mut shapes = Shapes::new();
    let far = shapes.vectors(10, 20.0);
    let near: Vec<_> = (0..50).map(|n| shapes.near(&far[n % 10], 4.0)).collect();
    let nearest: Vec<_> = (0..500).map(|n| shapes.near(&near[n % 50], 1.0)).collect();
    let vectors: Vec<_> = (0..7_000 + QUERIES)
        .map(|_| {
            let of = shapes.random.usize(0..500);
            (shapes.near(&nearest[of], 0.15), of % 10)
        })
        .collect();
    let (_server, mut client, queries) = table(method, "vector_l2_ops", &vectors);
    for (condition, k) in [("true", 10), ("true", 50), ("u < 50", 10)] {
        holds(&mut client, &queries, condition, "<->", k);
    }
}

fn vectors_of_very_different_lengths_are_found_however_many_are_asked_for(method: &str) {
    let mut shapes = Shapes::new();
    let centres = shapes.vectors(60, 1.0);
    let vectors: Vec<_> = (0..12_000 + QUERIES)
        .map(|_| {
            let cluster = shapes.random.usize(0..60);
            let length = (0.8 * shapes.normal()).exp();
            let vector = shapes.near(&centres[cluster], 0.8);
            (vector.iter().map(|x| length * x).collect(), cluster)
        })
        .collect();
    let (_server, mut client, queries) = table(method, "vector_ip_ops", &vectors);
    for k in [10, 100, 400, 1000] {
        holds(&mut client, &queries, "true", "<#>", k);
    }
    for condition in ["u < 300 AND cluster > 20", "u < 100", "cluster = 8"] {
        holds(&mut client, &queries, condition, "<#>", 10);
    }
}
