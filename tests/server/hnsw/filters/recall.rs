//! Recall, rows and work of filtered searches, on clusters.

use postgres::Client;

use super::{plan, search, text};
use crate::harness::Server;
use crate::hnsw::server_with;

const DIMS: usize = 48;
const ROWS: usize = 5000;
const CLUSTERS: usize = 16;

/// Vectors around centres of random lengths, and the numbers of their clusters.
pub struct Clusters {
    centres: Vec<Vec<f32>>,
    random: fastrand::Rng,
}

impl Clusters {
    pub fn new(seed: u64) -> Clusters {
        let mut random = fastrand::Rng::with_seed(seed);
        let centres = (0..CLUSTERS)
            .map(|_| (0..DIMS).map(|_| random.f32() * 4.0).collect())
            .collect();
        Clusters { centres, random }
    }

    fn vector(&mut self, cluster: usize) -> Vec<f32> {
        let random = &mut self.random;
        let centre = self.centres[cluster].iter();
        centre.map(|x| x + random.f32() + random.f32()).collect()
    }

    pub fn queries(&mut self, count: usize, cluster: impl Fn(usize) -> usize) -> Vec<String> {
        (0..count)
            .map(|n| text(&self.vector(cluster(n) % CLUSTERS)))
            .collect()
    }
}

/// `items (id, v, cluster, uniform, tenant, price, labels)`: `uniform` from 0 to 999 at random,
/// tenants of sizes like 1 / rank, labels that go with the cluster.
pub fn items(client: &mut Client, clusters: &mut Clusters, rows: usize) {
    client
        .batch_execute(&format!(
            "CREATE TABLE items (id int, v vector({DIMS}), cluster int, uniform int, tenant bigint,
                                 price float8, labels int[])"
        ))
        .unwrap();
    let mut writer = client.copy_in("COPY items FROM STDIN").unwrap();
    for id in 0..rows {
        let cluster = clusters.random.usize(0..CLUSTERS);
        let vector = text(&clusters.vector(cluster));
        let random = &mut clusters.random;
        // of 1,000 tenants the first has an eighth of the rows, the last a handful
        let tenant = 1000f64.powf(random.f64()) as i64 + (random.f64() * 3.0) as i64;
        let line = format!(
            "{id}\t{vector}\t{cluster}\t{}\t{tenant}\t{}\t{{{},{}}}\n",
            random.u32(0..1000),
            random.f64() * 100.0,
            cluster,
            100 + random.u32(0..50),
        );
        std::io::Write::write_all(&mut writer, line.as_bytes()).unwrap();
    }
    writer.finish().unwrap();
}

fn indexed(class: &str, options: &str) -> (Server, Client, Clusters) {
    let (server, mut client) = server_with("");
    let mut clusters = Clusters::new(5);
    items(&mut client, &mut clusters, ROWS);
    client
        .batch_execute(&format!(
            "CREATE INDEX items_v ON items USING hnsw (v {class}, tenant, uniform, cluster, price, labels)
             {options}; ANALYZE items"
        ))
        .unwrap();
    (server, client, clusters)
}

#[test]
fn every_selectivity_gives_k_rows_at_the_recall_promised() {
    for (class, operator, options) in [
        ("vector_l2_ops", "<->", ""),
        ("vector_cosine_ops", "<=>", "WITH (quantizer = rabitq1)"),
        ("vector_l2_ops", "<->", "WITH (layout = compact)"),
    ] {
        let (_server, mut client, mut clusters) = indexed(class, options);
        let queries = clusters.queries(12, |n| n);
        let mut all = super::Outcome::default();
        for below in [1000, 500, 200, 50, 10, 1] {
            let condition = format!("uniform < {below}");
            for k in [10, 60] {
                let outcome = search(&mut client, "items", &condition, operator, &queries, k);
                outcome.check(&format!("{class} {options} {condition} LIMIT {k}"));
                all.add(&outcome);
            }
        }
        for condition in [
            "uniform < 300 AND price BETWEEN 20 AND 40",
            "labels && '{3, 120}'",
            "labels @> '{3}' AND uniform >= 500",
            "tenant = 7 AND price > 50",
            "cluster IN (3, 5) AND uniform < 100",
        ] {
            let outcome = search(&mut client, "items", condition, operator, &queries, 10);
            assert_eq!(outcome.rows, outcome.wanted, "{condition}: {outcome:?}");
            assert!(outcome.recall() >= 0.89, "{condition}: {outcome:?}");
            all.add(&outcome);
        }
        assert!(all.recall() >= 0.95, "{class} {options}: {all:?}");
    }
}

#[test]
fn matches_far_from_the_query_are_found_without_walking_the_index() {
    let (_server, mut client, mut clusters) = indexed("vector_l2_ops", "");
    for wanted in 0..4 {
        // queries in every other cluster
        let queries = clusters.queries(15, |n| wanted + 1 + n);
        for condition in [
            format!("cluster = {wanted}"),
            format!("cluster = {wanted} AND uniform < 100"),
            format!("labels && '{{{wanted}}}'"),
        ] {
            let outcome = search(&mut client, "items", &condition, "<->", &queries, 10);
            outcome.check(&condition);
            // no more than about one look at every code
            assert!(outcome.expanded < 700, "{condition}: {outcome:?}");
        }
    }
    // nothing matches
    let queries = clusters.queries(5, |n| n);
    let outcome = search(&mut client, "items", "cluster = 99", "<->", &queries, 10);
    assert_eq!((outcome.rows, outcome.handed_out), (0, 0), "{outcome:?}");
}

#[test]
fn a_thousand_tenants_of_skewed_sizes_get_their_own_rows() {
    let (_server, mut client, mut clusters) = indexed("vector_cosine_ops", "");
    let tenants: Vec<i64> = client
        .query("SELECT DISTINCT tenant FROM items ORDER BY tenant", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(tenants.len() > 600, "{}", tenants.len());
    let mut all = super::Outcome::default();
    for (n, tenant) in tenants.iter().enumerate() {
        if n > 40 && n % 9 != 0 {
            continue;
        }
        let queries = clusters.queries(1, |_| n);
        let condition = format!("tenant = {tenant}");
        let one = search(&mut client, "items", &condition, "<=>", &queries, 10);
        assert_eq!(one.rows, one.wanted, "{condition}: {one:?}");
        all.add(&one);
    }
    all.check("all tenants");
    let foreign = client
        .query_one(
            "SELECT count(*) FROM (SELECT DISTINCT tenant FROM items) t,
             LATERAL (SELECT i.tenant FROM items i WHERE i.tenant = t.tenant
                      ORDER BY i.v <=> (SELECT v FROM items LIMIT 1) LIMIT 10) found
             WHERE found.tenant IS DISTINCT FROM t.tenant",
            &[],
        )
        .unwrap();
    assert_eq!(foreign.get::<_, i64>(0), 0);
}

#[test]
fn settings_of_iterative_scans_bound_filtered_searches_as_others() {
    let (_server, mut client, mut clusters) = indexed("vector_l2_ops", "");
    let queries = clusters.queries(5, |n| n);
    for mode in ["off", "strict_order", "auto"] {
        client
            .batch_execute(&format!("SET hnsw.iterative_scan = {mode}"))
            .unwrap();
        for below in [500, 50, 5] {
            let condition = format!("uniform < {below}");
            search(&mut client, "items", &condition, "<->", &queries, 10)
                .check(&format!("{mode} {condition}"));
        }
    }
    // off ends after ef_search rows that match
    client
        .batch_execute("SET hnsw.iterative_scan = off; SET hnsw.ef_search = 40")
        .unwrap();
    let outcome = search(&mut client, "items", "uniform < 500", "<->", &queries, 100);
    assert_eq!(outcome.rows, 40 * queries.len(), "{outcome:?}");
    // a condition that the index cannot judge is met by one row in a hundred of those that may be visited
    let odd = "md5(id::text) < '028f'";
    let mut rows = |most: u32, mode: &str| {
        client
            .batch_execute(&format!(
                "SET hnsw.iterative_scan = {mode}; SET hnsw.max_scan_tuples = {most}"
            ))
            .unwrap();
        search(&mut client, "items", odd, "<->", &queries, 10).rows
    };
    let wanted = 10 * queries.len();
    assert_eq!(rows(1, "auto"), wanted, "auto is bound by nothing");
    let (few, all) = (rows(100, "strict_order"), rows(1_000_000, "strict_order"));
    assert!(
        few < wanted / 2 && all == wanted,
        "{few} and {all} of {wanted}"
    );
}

#[test]
fn the_planner_takes_the_index_for_a_condition_by_itself() {
    let (_server, mut client, _) = indexed("vector_l2_ops", "");
    let explained = plan(&mut client, "items", "uniform < 100 AND tenant = 3");
    assert!(
        explained.contains("Index Scan using items_v"),
        "{explained}"
    );
    assert!(explained.contains("Index Cond: "), "{explained}");
    client.batch_execute("RESET ALL").unwrap();
    let rows = client
        .query(
            "EXPLAIN (COSTS OFF) SELECT id FROM items WHERE uniform < 300
             ORDER BY v <-> (SELECT v FROM items LIMIT 1) LIMIT 10",
            &[],
        )
        .unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let explained = lines.join("\n");
    assert!(
        explained.contains("Index Cond: (uniform < 300)"),
        "{explained}"
    );
    assert!(explained.contains("Order By: "), "{explained}");
}

#[test]
fn an_index_made_before_its_rows_filters_as_well() {
    let (_server, mut client) = server_with("");
    let mut clusters = Clusters::new(6);
    items(&mut client, &mut clusters, 0);
    client
        .batch_execute(
            "CREATE INDEX items_v ON items USING hnsw (v vector_l2_ops, tenant, uniform, cluster, labels);
             ALTER TABLE items RENAME TO filled",
        )
        .unwrap();
    items(&mut client, &mut clusters, 3000);
    client
        .batch_execute("INSERT INTO filled SELECT * FROM items ORDER BY uniform; ANALYZE filled")
        .unwrap();
    let queries = clusters.queries(60, |n| n);
    for condition in [
        "uniform < 500",
        "uniform < 30",
        "cluster = 4",
        "tenant = 2",
        "labels && '{7}'",
    ] {
        search(&mut client, "filled", condition, "<->", &queries, 10).check(condition);
    }
}
