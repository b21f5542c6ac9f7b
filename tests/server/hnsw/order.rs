//! Exact order: an index scan orders rows as the operator does, to the last bit, where the codes of
//! rows cannot tell them apart.

use postgres::Client;

use super::blocks::pages::{Deleted, Pages};
use super::server_with;

const DIMS: usize = 20;

/// Vectors that codes confuse: copies that differ in last bits, in the sign of zero, in length.
fn adversaries(scale: f32) -> Vec<Vec<f32>> {
    let mut random = fastrand::Rng::with_seed(3);
    let mut all = Vec::new();
    for n in 0..12 {
        let length = [1.0, 1.0, 0.5, 2.0, 1e-2, 3.0][n % 6] * scale;
        let mut base: Vec<f32> = (0..DIMS)
            .map(|_| (random.f32() - 0.5) * 2.0 * length)
            .collect();
        base[7] = 0.0;
        for _ in 0..20 {
            let mut near = base.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(0..DIMS);
                near[at] = f32::from_bits(near[at].to_bits() + random.u32(1..4));
            }
            all.push(near);
        }
        let mut negative_zero = base.clone();
        negative_zero[7] = -0.0;
        all.push(negative_zero);
        for factor in [0.1, 0.3, 2.0, 3.0, 7.0] {
            all.push(base.iter().map(|x| x * factor).collect());
        }
        all.push(base);
    }
    all
}

fn text(vector: &[f32]) -> String {
    let elements: Vec<String> = vector.iter().map(|x| format!("{x:e}")).collect();
    format!("[{}]", elements.join(","))
}

/// Distances in the order in which rows come, bit by bit.
fn distances(client: &mut Client, operator: &str, query: &str, limit: usize) -> Vec<u64> {
    let sql = format!(
        "SELECT v {operator} '{query}' FROM items ORDER BY v {operator} '{query}' LIMIT {limit}"
    );
    let rows = client.query(&sql, &[]).unwrap();
    rows.iter()
        .map(|row| row.get::<_, f64>(0).to_bits())
        .collect()
}

#[test]
fn rows_that_codes_cannot_tell_apart_come_in_the_operators_order() {
    compare(1.0);
}

#[test]
fn huge_rows_that_codes_cannot_tell_apart_come_in_the_operators_order() {
    compare(1e12);
}

#[test]
fn tiny_rows_that_codes_cannot_tell_apart_come_in_the_operators_order() {
    compare(1e-12);
}

fn compare(scale: f32) {
    let (server, mut client) = server_with("");
    let vectors = adversaries(scale);
    client
        .batch_execute(&format!(
            "CREATE TABLE items (id int, v vector({DIMS})); SET hnsw.ef_search = 1000"
        ))
        .unwrap();
    let insert = |client: &mut Client, vectors: &[Vec<f32>]| {
        let values: Vec<String> = vectors
            .iter()
            .map(|vector| format!("(1, '{}')", text(vector)))
            .collect();
        client
            .batch_execute(&format!("INSERT INTO items VALUES {}", values.join(",")))
            .unwrap();
    };
    // half are there when the index is built
    let (built, inserted) = vectors.split_at(vectors.len() / 2);
    for (class, operator) in [
        ("vector_l2_ops", "<->"),
        ("vector_ip_ops", "<#>"),
        ("vector_cosine_ops", "<=>"),
    ] {
        for options in ["layout = inline", "layout = compact", "quantizer = rabitq1"] {
            client.batch_execute("TRUNCATE items").unwrap();
            insert(&mut client, built);
            client
                .batch_execute(&format!(
                    "CREATE INDEX items_v ON items USING hnsw (v {class}) WITH ({options})"
                ))
                .unwrap();
            insert(&mut client, inserted);
            let graph = Pages::of(&server, &mut client, "items_v").check(Deleted::Nowhere);
            if operator != "<#>" {
                assert_eq!(graph.reached, graph.nodes, "{class} {options}");
            }
            for query in vectors.iter().step_by(9) {
                let query = text(query);
                for limit in [1, 10, 60, 400] {
                    client
                        .batch_execute("SET enable_seqscan = off; SET enable_indexscan = on")
                        .unwrap();
                    let scanned = distances(&mut client, operator, &query, limit);
                    client
                        .batch_execute("SET enable_seqscan = on; SET enable_indexscan = off")
                        .unwrap();
                    let sorted = distances(&mut client, operator, &query, limit);
                    if operator == "<#>" {
                        // few links lead to short vectors: a walk may miss some
                        let values: Vec<f64> = scanned.iter().map(|&d| f64::from_bits(d)).collect();
                        let late = values.windows(2).filter(|two| two[0] > two[1]).count();
                        assert!(
                            late <= (limit == 400) as usize,
                            "{class} {options} LIMIT {limit} from {query}: {late} disordered"
                        );
                        continue;
                    }
                    let first = scanned.iter().zip(&sorted).position(|(a, b)| a != b);
                    assert_eq!(
                        (scanned.len(), first),
                        (sorted.len(), None),
                        "{class} {options} LIMIT {limit} from {query}: {:?} and {:?}",
                        first.map(|at| f64::from_bits(scanned[at])),
                        first.map(|at| f64::from_bits(sorted[at])),
                    );
                }
            }
            client.batch_execute("DROP INDEX items_v").unwrap();
        }
    }
}
