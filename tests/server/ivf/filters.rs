//! Filter columns of lists: conditions that an index scan judges itself.

use postgres::Client;

use crate::harness::Server;
use crate::hnsw::check::findings;
use crate::hnsw::filters::recall::{Clusters, items};
use crate::hnsw::filters::types::{TYPES, client_with_types};
use crate::hnsw::filters::{Outcome, Search, check_rows, plan};
use crate::hnsw::server_with;

/// Rows of the clustered table.
const ROWS: usize = 6000;

/// `items`, as for `hnsw`, with an index on all columns.
fn indexed(index: &str) -> (Server, Client, Clusters) {
    let (server, mut client) = server_with("jit = off\n");
    let mut clusters = Clusters::new(5);
    items(&mut client, &mut clusters, ROWS);
    client.batch_execute(index).unwrap();
    client.batch_execute("ANALYZE items").unwrap();
    (server, client, clusters)
}

/// What searches did.
#[derive(Debug, Default)]
struct Work {
    /// most rows whose distance one estimated
    estimated: i64,
    /// rows read from the table, by all
    reranked: i64,
}

/// Searches `items` by its index, with a condition, and compares with a sort.
fn search(
    client: &mut Client,
    condition: &str,
    operator: &str,
    queries: &[String],
    k: usize,
) -> (Outcome, Work) {
    let search = Search {
        table: "items",
        condition,
        operator,
        k,
    };
    let mut work = Work::default();
    let outcome = search.judge(client, queries, |client, outcome| {
        let last = "SELECT estimated, reranked, returned FROM ivf_last_scan()";
        let scan = client.query_one(last, &[]).unwrap();
        work.estimated = work.estimated.max(scan.get(0));
        work.reranked += scan.get::<_, i64>(1);
        outcome.handed_out += scan.get::<_, i64>(2);
    });
    (outcome, work)
}

#[test]
fn every_selectivity_gives_k_rows_at_the_recall_promised() {
    for (class, operator, options) in [
        ("vector_l2_ops", "<->", ""),
        (
            "vector_cosine_ops",
            "<=>",
            "WITH (quantizer = rabitq1, rerank = index)",
        ),
        ("vector_ip_ops", "<#>", "WITH (quantizer = none)"),
    ] {
        let (_server, mut client, mut clusters) = indexed(&format!(
            "CREATE INDEX items_v ON items USING ivf (v {class}, tenant, uniform, cluster, price, labels) {options}"
        ));
        let queries = clusters.queries(12, |n| n);
        let mut all = Outcome::default();
        for below in [1000, 500, 200, 50, 10, 1] {
            let condition = format!("uniform < {below}");
            for k in [10, 60] {
                let (outcome, _) = search(&mut client, &condition, operator, &queries, k);
                outcome.check(&format!("{class} {options} {condition} LIMIT {k}"));
                all.add(&outcome);
            }
        }
        for condition in [
            "uniform < 300 AND price BETWEEN 20 AND 40",
            "labels && '{3, 120}'",
            "labels @> '{3}' AND uniform >= 500",
            "tenant = 7 AND price > 50",
            "cluster >= 3 AND cluster < 5 AND uniform < 100",
        ] {
            let (outcome, _) = search(&mut client, condition, operator, &queries, 10);
            assert_eq!(outcome.rows, outcome.wanted, "{condition}: {outcome:?}");
            assert!(outcome.recall() >= 0.89, "{condition}: {outcome:?}");
            all.add(&outcome);
        }
        assert!(all.recall() >= 0.95, "{class} {options}: {all:?}");
    }
}

#[test]
fn what_keys_deny_is_neither_estimated_nor_read() {
    let (_server, mut client, mut clusters) = indexed(
        "CREATE INDEX items_v ON items USING ivf (v vector_l2_ops, tenant, uniform, cluster, labels)
         WITH (quantizer = rabitq2)",
    );
    for wanted in 0..4 {
        // queries in every other cluster
        let queries = clusters.queries(15, |n| wanted + 1 + n);
        for (condition, rows) in [
            (format!("cluster = {wanted}"), ROWS / 16),
            (format!("cluster = {wanted} AND uniform < 100"), ROWS / 160),
            (format!("labels && '{{{wanted}}}'"), ROWS / 16),
        ] {
            let (outcome, work) = search(&mut client, &condition, "<->", &queries, 10);
            outcome.check(&condition);
            // of each row there are two copies, and a page with many that match is estimated as a whole
            let most = 2 * 4 * rows as i64 + 400;
            assert!(work.estimated < most, "{condition}: {work:?}");
            let most = (queries.len() * 120) as i64;
            assert!(work.reranked < most, "{condition}: {work:?}");
        }
    }
    // nothing matches
    let queries = clusters.queries(5, |n| n);
    let (outcome, work) = search(&mut client, "cluster = 99", "<->", &queries, 10);
    assert_eq!((outcome.rows, work.estimated, work.reranked), (0, 0, 0));
}

#[test]
fn rows_of_every_type_and_operator_are_those_of_the_table() {
    let (_server, mut client) = client_with_types();
    client.batch_execute("SET jit = off").unwrap();
    for (method, options) in [("ivf", "WITH (lists = 5)"), ("ivfflat", "WITH (lists = 7)")] {
        for (type_name, values, conditions) in TYPES {
            client
                .batch_execute(&format!(
                    "DROP TABLE IF EXISTS typed;
                     CREATE TABLE typed (id int, v vector(16), c {type_name});
                     INSERT INTO typed SELECT i, vec(i, 16), CASE WHEN i % 13 > 0 THEN {values} END
                     FROM generate_series(1, 400) i;
                     CREATE INDEX typed_v ON typed USING {method} (v vector_l2_ops, c) {options};
                     INSERT INTO typed SELECT i, vec(i, 16), CASE WHEN i % 13 > 0 THEN {values} END
                     FROM generate_series(401, 600) i;
                     ANALYZE typed"
                ))
                .unwrap_or_else(|error| panic!("{type_name}: {error:?}"));
            for condition in *conditions {
                // pgvector's name ends where pgvector does, unless the condition is the index's own
                let is_own = plan(&mut client, "typed", condition).contains("Index Cond: ")
                    && !plan(&mut client, "typed", condition).contains("Filter: ");
                if method == "ivf" || is_own {
                    check_rows(&mut client, "typed", condition, "<->");
                }
            }
        }
    }
}

#[test]
fn keys_go_with_their_rows_as_lists_grow_shrink_and_are_vacuumed() {
    let conditions = [
        "tenant = 3",
        "tenant IS NULL",
        "tenant < 5 AND label = 'b'",
        "tenant >= 40",
        "label IS NULL AND tenant = 2",
    ];
    let check = |client: &mut Client, when: &str| {
        for condition in conditions {
            check_rows(client, "items", condition, "<->");
        }
        let found = findings(client, "items_v").unwrap();
        // a crash takes the free space map along
        let is_expected =
            |line: &String| when == "crashed" && line.contains("free space map does not offer");
        assert!(found.iter().all(is_expected), "{when}: {found:#?}");
    };
    for options in [
        "WITH (quantizer = rabitq4, rerank = index)",
        "WITH (quantizer = rabitq2, rerank = heap)",
        "WITH (quantizer = none)",
    ] {
        let (server, mut client) = super::server_with("jit = off\n");
        client
            .batch_execute(&format!(
                "CREATE TABLE items (id int, v vector(24), tenant int, label text);
                 CREATE INDEX items_v ON items USING ivf (v vector_l2_ops, tenant, label) {options};
                 CREATE FUNCTION add(first int, last int) RETURNS void LANGUAGE sql AS $$
                 INSERT INTO items SELECT i, topic(i, 40, 24), nullif(i % 50, 7), (ARRAY['a', 'b', 'c', NULL])[1 + i % 4]
                 FROM generate_series(first, last) i $$"
            ))
            .unwrap();
        for (what, when) in [
            ("SELECT add(1, 4000)", "grown"),
            (
                "UPDATE items SET tenant = tenant + 1 WHERE id % 3 = 0",
                "updated",
            ),
            (
                "DELETE FROM items WHERE id % 2 = 0 OR id % 40 > 30",
                "deleted",
            ),
            ("VACUUM items", "vacuumed"),
            ("SELECT add(5001, 6000)", "filled again"),
            ("REINDEX INDEX items_v", "built"),
        ] {
            client.batch_execute(what).unwrap();
            check(&mut client, when);
        }
        client.batch_execute("SELECT add(7001, 8000)").unwrap();
        drop(client);
        server.crash_and_restart();
        let mut client = server.client();
        check(&mut client, "crashed");
        for what in [
            "DELETE FROM items WHERE id = 5001",
            "VACUUM (INDEX_CLEANUP ON) items",
        ] {
            client.batch_execute(what).unwrap();
        }
        check(&mut client, "vacuumed after the crash");
    }
}
