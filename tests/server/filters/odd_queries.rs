//! Queries as people write them, on tables that nobody has analyzed: whatever stands around a search,
//! it finds what an exact one finds.

use postgres::Client;

use super::{DEFAULTS, EXACT, FORCED, Search, Verdict, judge, queries, server, server_of};
use crate::harness::Server;

of_every_method! {
    searches_inside_larger_queries_find_the_nearest_matching_rows,
    searches_inside_larger_queries_find_them_through_filter_columns_of_a_grown_index,
    partitions_children_and_views_are_searched_together,
    prepared_statements_find_the_nearest_matching_rows_whatever_their_parameters,
    portals_hand_rows_out_in_steps_of_any_size,
    statistics_of_another_table_cost_no_rows,
}

/// Queries of a judgement: there are many statements.
const ASKED: usize = 6;

/// Statements with `$1`, a vector, and `$2`, its cluster, that select `(id, d)`.
const STATEMENTS: &[&str] = &[
    // conditions of every form
    "SELECT id, e <=> $1 FROM items WHERE u < 0.01 OR cluster = ($2 + 20) % 40 ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items WHERE cluster NOT IN ($2, $2 + 1) AND u > 0.9 ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items WHERE id NOT IN (SELECT id FROM items WHERE u < 0.98) ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items WHERE NOT (u >= 0.03 OR u IS NULL) ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items WHERE u < (SELECT avg(u) / 40 FROM items) ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items i WHERE 0 = (SELECT count(*) FROM queries q WHERE q.cluster = i.cluster)
     ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items i WHERE EXISTS (SELECT 1 FROM queries q WHERE q.cluster = i.cluster + 1 AND i.u < 0.2)
     ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items WHERE cluster = ANY (SELECT cluster FROM queries WHERE n > 20) ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items WHERE id = ANY (ARRAY(SELECT g * 41 FROM generate_series(1, 150) g)) ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items WHERE CASE WHEN cluster = $2 THEN u < 0.02 ELSE u < 0.01 END ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items WHERE coalesce(nullif(cluster, $2), 7) = 7 ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items WHERE cluster IS DISTINCT FROM $2 AND u < 0.05 ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items WHERE (cluster, u) < (3, 0.5) ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items WHERE u BETWEEN SYMMETRIC 0.31 AND 0.3 ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items WHERE u + 0 * random() < 0.02 ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items WHERE metadata ? 'k' AND metadata @? '$.c ? (@ > 36)' ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items WHERE (metadata->'c')::int = any('{1,2,3}') AND NOT (metadata->>'even')::bool
     ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items WHERE e <=> $1 < 0.3 OR u < 0.001 ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items WHERE e <=> $1 > 0.05 AND e <=> $1 < 0.9 AND u < 0.2 ORDER BY e <=> $1 LIMIT 10",
    "SELECT id, e <=> $1 FROM items WHERE e <-> $1 < 4 AND u < 0.1 ORDER BY e <=> $1 LIMIT 10",
    // of every LIMIT
    "SELECT id, e <=> $1 FROM items WHERE u < 0.05 ORDER BY e <=> $1 LIMIT (SELECT 10 + 0 * max(n) FROM queries)",
    "SELECT id, e <=> $1 FROM items WHERE u < 0.5 ORDER BY e <=> $1, e <-> $1, id LIMIT 12",
    "SELECT id, e <=> $1 FROM items WHERE u < 0.5 ORDER BY e <=> $1 LIMIT 1",
    "SELECT id, e <=> $1 FROM items WHERE u < 0.5 ORDER BY e <=> $1 LIMIT 0",
    // no vector to look for
    "SELECT id, 0::float8 FROM items WHERE u < 0.1 ORDER BY e <=> NULL::vector LIMIT 10",
    "SELECT id, 0::float8 FROM items ORDER BY e <=> (SELECT e FROM queries WHERE n = 0) LIMIT 10",
    // inside other queries
    "SELECT id, d FROM (SELECT id, u, e <=> $1 AS d FROM items ORDER BY d LIMIT 400) near WHERE u < 0.5 ORDER BY d LIMIT 10",
    "WITH near AS MATERIALIZED (SELECT id, u, e <=> $1 AS d FROM items ORDER BY d LIMIT 200)
     SELECT id, d FROM near WHERE u < 0.7 ORDER BY d LIMIT 10",
    "WITH near AS NOT MATERIALIZED (SELECT id, u, e <=> $1 AS d FROM items)
     SELECT id, d FROM near WHERE u < 0.02 ORDER BY d LIMIT 10",
    "(SELECT id, e <=> $1 AS d FROM items WHERE cluster = $2 ORDER BY d LIMIT 10)
     UNION ALL (SELECT id, e <=> $1 FROM items WHERE cluster = ($2 + 20) % 40 ORDER BY 2 LIMIT 10) ORDER BY d",
    "(SELECT id, e <=> $1 AS d FROM items WHERE u < 0.3 ORDER BY d LIMIT 20)
     UNION (SELECT id, e <=> $1 FROM items WHERE u < 0.3 ORDER BY 2 LIMIT 10) ORDER BY d",
    "SELECT id, d FROM (SELECT id, e <=> $1 AS d FROM items WHERE u < 0.5
                        UNION ALL SELECT id, e <=> $1 FROM items WHERE u >= 0.97) both_parts ORDER BY d LIMIT 10",
    "SELECT id, d FROM (SELECT id, e <=> $1 AS d, row_number() OVER (ORDER BY e <=> $1) AS place
                        FROM items WHERE u < 0.05) ranked WHERE place <= 10 ORDER BY d",
    "SELECT id, d FROM (SELECT id, e <=> $1 AS d, rank() OVER (PARTITION BY cluster ORDER BY e <=> $1) AS place
                        FROM items WHERE u < 0.2) ranked WHERE place <= 2 ORDER BY d LIMIT 30",
    "SELECT id, e <=> $1 AS d FROM items WHERE u < 0.1 GROUP BY id, e ORDER BY d LIMIT 10",
    "SELECT DISTINCT ON (d) id, d FROM (SELECT id, e <=> $1 AS d FROM items WHERE u < 0.04) x ORDER BY d LIMIT 10",
    "SELECT 1, min(e <=> $1) FROM items WHERE u < 0.01",
    "SELECT 1, (SELECT e <=> $1 FROM items WHERE u < 0.01 ORDER BY 1 LIMIT 1)",
    "SELECT id, e <=> $1 AS d FROM items WHERE u < 0.03 ORDER BY d LIMIT 10 FOR UPDATE SKIP LOCKED",
    // beside other tables
    "SELECT i.id, i.e <=> $1 AS d FROM items i LEFT JOIN queries q ON q.cluster = i.cluster
     WHERE q.n IS NULL ORDER BY d LIMIT 10",
    "SELECT i.id, i.e <=> $1 AS d FROM items i JOIN items twin ON twin.id = i.id + 1
     WHERE twin.u < 0.03 ORDER BY d LIMIT 10",
    "SELECT i.id, i.e <=> $1 AS d FROM items i CROSS JOIN (SELECT $2 + 0 * max(n) AS c FROM queries) one
     WHERE i.cluster = (one.c + 20) % 40 ORDER BY d LIMIT 10",
    "SELECT i.id, i.e <=> q.e AS d FROM queries q, items i WHERE q.n = 3 AND i.u < 0.02 ORDER BY d LIMIT 10",
    "SELECT near.id, d FROM (SELECT DISTINCT cluster FROM items WHERE cluster < 5) c,
         LATERAL (SELECT id, e <=> $1 AS d FROM items WHERE cluster = c.cluster ORDER BY d LIMIT c.cluster + 1) near ORDER BY d",
    "SELECT q.n, (SELECT i.e <=> q.e FROM items i WHERE i.u < 0.02 ORDER BY 1 LIMIT 1 OFFSET 3) AS d FROM queries q ORDER BY d",
    "SELECT q.n, d FROM queries q LEFT JOIN LATERAL (
         SELECT e <=> q.e AS d FROM items WHERE cluster <> q.cluster AND u < 0.1 ORDER BY d LIMIT 1) near ON true ORDER BY d",
];

/// Statements that ask for all rows there are. Where they are forced through an index, a row that it finds late
/// comes last.
const UNLIMITED: &[&str] = &[
    "SELECT id, e <=> $1 FROM items WHERE u < 0.05 ORDER BY e <=> $1 LIMIT ALL",
    "SELECT id, e <=> $1 FROM items WHERE u < 0.05 ORDER BY e <=> $1 LIMIT NULL OFFSET 5",
    "SELECT id, e <=> $1 FROM items ORDER BY e <=> $1 OFFSET 7900",
    "SELECT id, e <=> $1 AS d FROM items WHERE id IN (
         SELECT id FROM items WHERE u < 0.03 ORDER BY e <=> $1 LIMIT 10) ORDER BY d",
    "SELECT id, e <=> $1 AS d FROM items JOIN unnest(ARRAY(
         SELECT id FROM items WHERE cluster <> $2 ORDER BY e <=> $1 LIMIT 10)) AS found(id) USING (id) ORDER BY d",
];

/// Judges all statements with the first queries of the table.
fn all_hold(client: &mut Client, statements: &[&str], settings: &[&str]) {
    let (mut recalls, mut failures) = (Vec::new(), Vec::new());
    let asked: Vec<_> = queries(client).into_iter().take(ASKED).collect();
    for sql in statements {
        let search = Search::of(sql);
        client.batch_execute(EXACT).unwrap();
        let exact: Vec<_> = asked.iter().map(|q| search.rows(client, q)).collect();
        for settings in settings {
            client
                .batch_execute(&format!("{DEFAULTS}; {settings}"))
                .unwrap();
            let found: Vec<_> = asked.iter().map(|q| search.rows(client, q)).collect();
            client.batch_execute(DEFAULTS).unwrap();
            note(
                judge(&exact, &found),
                sql,
                settings,
                &mut recalls,
                &mut failures,
            );
        }
    }
    holds_on_average(&recalls, &failures);
}

/// Every row that there is, in order; of rows' nearness few queries tell little.
fn note(
    verdict: Verdict,
    sql: &str,
    settings: &str,
    recalls: &mut Vec<f64>,
    failures: &mut Vec<String>,
) {
    recalls.push(verdict.recall);
    if verdict.short > 0 || verdict.disordered > 0 || verdict.recall < 0.8 {
        failures.push(format!("{verdict:?} from {sql} with {settings}"));
    }
}

fn holds_on_average(recalls: &[f64], failures: &[String]) {
    assert!(failures.is_empty(), "{failures:#?}");
    let mean = recalls.iter().sum::<f64>() / recalls.len() as f64;
    assert!(mean >= 0.95, "{mean}: {recalls:?}");
}

fn searches_inside_larger_queries_find_the_nearest_matching_rows(method: &str) {
    let (_server, mut client) = server_of(method);
    all_hold(&mut client, STATEMENTS, &["", FORCED]);
    all_hold(&mut client, UNLIMITED, &[""]);
}

/// A server whose index with filter columns was there before its rows.
fn grown(method: &str) -> (Server, Client) {
    let (server, mut client) = server("TRUNCATE items");
    client
        .batch_execute(&format!(
            "CREATE INDEX items_e ON items USING {method} (e vector_cosine_ops, cluster, u);
             INSERT INTO items
             SELECT i, c, near(i, v), random_of(i, 999),
                    jsonb_build_object('k', 'v' || i * 7919 % 1000, 'c', c, 'even', i % 2 = 0)
             FROM generate_series(1, {}) i JOIN centres ON c = i % {}",
            super::ROWS,
            super::CLUSTERS
        ))
        .unwrap();
    (server, client)
}

fn searches_inside_larger_queries_find_them_through_filter_columns_of_a_grown_index(method: &str) {
    let (_server, mut client) = grown(method);
    all_hold(&mut client, STATEMENTS, &["", FORCED]);
    all_hold(&mut client, UNLIMITED, &[""]);
}

fn partitions_children_and_views_are_searched_together(method: &str) {
    let (_server, mut client) = server(&format!(
        "CREATE TABLE parts (id int, cluster int, e vector(48), u float8) PARTITION BY HASH (id);
         CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 3, REMAINDER 0);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 3, REMAINDER 1);
         CREATE TABLE parts_2 PARTITION OF parts FOR VALUES WITH (MODULUS 3, REMAINDER 2);
         CREATE INDEX ON parts USING {method} (e vector_cosine_ops, u);
         INSERT INTO parts SELECT id, cluster, e, u FROM items;
         CREATE TABLE parent AS SELECT id, cluster, e, u FROM items WHERE id % 2 = 0;
         CREATE TABLE child () INHERITS (parent);
         INSERT INTO child SELECT id, cluster, e, u FROM items WHERE id % 2 = 1;
         CREATE INDEX ON parent USING {method} (e vector_cosine_ops);
         CREATE INDEX ON child USING {method} (e vector_cosine_ops);
         CREATE INDEX ON items USING {method} (e vector_cosine_ops);
         CREATE VIEW all_of_them AS SELECT id, cluster, e, u FROM items WHERE id < 4000
                                    UNION ALL SELECT id, cluster, e, u FROM parts WHERE id >= 4000;
         CREATE VIEW guarded WITH (security_barrier) AS SELECT * FROM items WHERE cluster % 2 = 0"
    ));
    let mut statements = Vec::new();
    for table in ["parts", "parent", "all_of_them", "guarded"] {
        for condition in [
            "true",
            "u < 0.02",
            "cluster = ($2 + 20) % 40",
            "cluster <> $2 AND u < 0.3",
            "e <=> $1 < 0.3",
        ] {
            statements.push(format!(
                "SELECT id, e <=> $1 FROM {table} WHERE {condition} ORDER BY e <=> $1 LIMIT 10"
            ));
        }
        statements.push(format!(
            "SELECT id, e <=> $1 FROM {table} WHERE u < 0.5 ORDER BY e <=> $1 LIMIT 100 OFFSET 20"
        ));
    }
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    all_hold(&mut client, &statements, &["", FORCED]);
}

fn prepared_statements_find_the_nearest_matching_rows_whatever_their_parameters(method: &str) {
    let (_server, mut client) = server_of(method);
    let asked: Vec<_> = queries(&mut client).into_iter().take(ASKED).collect();
    let sql = "SELECT id, e <=> $1::text::vector AS d FROM items
               WHERE u < $2 AND (cluster = $3 OR $3 IS NULL) ORDER BY d LIMIT $4 OFFSET $5";
    let (mut recalls, mut failures) = (Vec::new(), Vec::new());
    for mode in ["force_generic_plan", "force_custom_plan", "auto"] {
        for settings in [DEFAULTS, FORCED] {
            client
                .batch_execute(&format!(
                    "{DEFAULTS}; {settings}; SET plan_cache_mode = {mode}"
                ))
                .unwrap();
            let statement = client.prepare(sql).unwrap();
            for (below, is_in_cluster, limit, offset) in [
                (1.0, false, Some(10i64), 0i64),
                (1.0, true, Some(10), 5),
                (0.5, false, Some(100), 50),
                (0.01, false, Some(10), 0),
                (0.3, true, Some(20), 0),
                (0.02, false, None, 0),
                (-1.0, false, Some(10), 0),
                (0.001, false, Some(1000), 0),
            ] {
                if limit.is_none() && settings == FORCED {
                    // a row that the index finds late comes last
                    continue;
                }
                let mut pairs = (Vec::new(), Vec::new());
                for (query, cluster) in &asked {
                    // far from the query
                    let cluster = is_in_cluster.then_some((cluster + 20) % 40);
                    let found = client
                        .query(&statement, &[query, &below, &cluster, &limit, &offset])
                        .unwrap();
                    let condition = cluster.map_or("true".into(), |c| format!("cluster = {c}"));
                    let exact = client
                        .query(
                            &format!(
                                "SELECT id, (e <=> '{query}') + 0 AS d FROM items
                                 WHERE u < {below} AND {condition} ORDER BY d LIMIT {} OFFSET {offset}",
                                limit.map_or("ALL".into(), |limit| limit.to_string()),
                            ),
                            &[],
                        )
                        .unwrap();
                    let rows = |rows: Vec<postgres::Row>| -> Vec<(i32, f64)> {
                        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
                    };
                    pairs.0.push(rows(exact));
                    pairs.1.push(rows(found));
                }
                let what = format!("u < {below}, {is_in_cluster}, {limit:?} from {offset}, {mode}");
                note(
                    judge(&pairs.0, &pairs.1),
                    &what,
                    settings,
                    &mut recalls,
                    &mut failures,
                );
            }
        }
    }
    holds_on_average(&recalls, &failures);
}

fn portals_hand_rows_out_in_steps_of_any_size(method: &str) {
    let (_server, mut client) = server_of(method);
    client
        .batch_execute(
            "CREATE FUNCTION first_of(q vector, wanted int) RETURNS TABLE (id int, d float8) LANGUAGE plpgsql AS $$
             DECLARE found record; so_far int := 0;
             BEGIN
                 FOR found IN SELECT i.id, i.e <=> q AS d FROM items i WHERE u < 0.04 ORDER BY i.e <=> q LOOP
                     id := found.id; d := found.d; RETURN NEXT;
                     so_far := so_far + 1;
                     EXIT WHEN so_far = wanted;
                 END LOOP;
             END $$",
        )
        .unwrap();
    let exact = "SELECT id, e <=> $1 FROM items WHERE u < 0.04 ORDER BY e <=> $1 LIMIT 70";
    let asked: Vec<_> = queries(&mut client).into_iter().take(ASKED).collect();
    client.batch_execute(EXACT).unwrap();
    let exact: Vec<_> = asked
        .iter()
        .map(|q| Search::of(exact).rows(&mut client, q))
        .collect();
    let (mut recalls, mut failures) = (Vec::new(), Vec::new());
    for settings in [DEFAULTS, FORCED] {
        client
            .batch_execute(&format!("DISCARD PLANS; {DEFAULTS}; {settings}"))
            .unwrap();
        for kind in ["NO SCROLL CURSOR", "SCROLL CURSOR", "CURSOR WITH HOLD"] {
            let found: Vec<_> = asked
                .iter()
                .map(|(query, _)| fetched(&mut client, kind, query))
                .collect();
            note(
                judge(&exact, &found),
                kind,
                settings,
                &mut recalls,
                &mut failures,
            );
        }
        let found: Vec<_> = asked
            .iter()
            .map(|q| Search::of("SELECT id, d FROM first_of($1, 70)").rows(&mut client, q))
            .collect();
        note(
            judge(&exact, &found),
            "plpgsql",
            settings,
            &mut recalls,
            &mut failures,
        );
    }
    holds_on_average(&recalls, &failures);
}

/// Seventy rows of a cursor, in steps; of one that goes back, the same ones again.
fn fetched(client: &mut Client, kind: &str, query: &str) -> Vec<(i32, f64)> {
    let mut transaction = client.transaction().unwrap();
    transaction
        .batch_execute(&format!(
            "DECLARE c {kind} FOR
             SELECT id, e <=> '{query}' FROM items WHERE u < 0.04 ORDER BY e <=> '{query}'"
        ))
        .unwrap();
    let mut fetch = |steps: &[&str]| -> Vec<(i32, f64)> {
        let steps = steps.iter();
        let rows = steps.flat_map(|step| transaction.query(*step, &[]).unwrap());
        rows.map(|row| (row.get(0), row.get(1))).collect()
    };
    let found = fetch(&["FETCH c", "FETCH 9 FROM c", "FETCH 60 FROM c"]);
    if kind.starts_with("SCROLL") {
        let mut back = fetch(&["FETCH BACKWARD 69 FROM c"]);
        back.reverse();
        assert_eq!(back, found[..69]);
        assert_eq!(fetch(&["FETCH 69 FROM c"]), found[1..]);
    }
    transaction.rollback().unwrap();
    found
}

/// Statistics that were taken when the table held something else.
fn statistics_of_another_table_cost_no_rows(method: &str) {
    let (_server, mut client) = server_of(method);
    client
        .batch_execute("CREATE INDEX ON items (u); CREATE INDEX ON items USING gin (metadata)")
        .unwrap();
    let mut statements = Vec::new();
    for condition in [
        "u < 0.5",
        "u < 0.01",
        "u > 0.999",
        "cluster = ($2 + 20) % 40",
        "metadata @> '{\"even\": true}'",
        "metadata->>'k' = 'v18'",
    ] {
        statements.push(format!(
            "SELECT id, e <=> $1 FROM items WHERE {condition} ORDER BY e <=> $1 LIMIT 10"
        ));
    }
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    // hardly any row is what was most common, every row is what was there not once, nothing is left of most
    for (before, after) in [
        (
            "UPDATE items SET u = u / 100, cluster = 39, metadata = '{}'",
            "UPDATE items SET u = random_of(id, 999), cluster = id % 40,
                              metadata = jsonb_build_object('k', 'v' || id * 7919 % 1000, 'even', id % 2 = 0)",
        ),
        (
            "UPDATE items SET u = 1 + u",
            "UPDATE items SET u = u - 1",
        ),
        ("SELECT 1", "DELETE FROM items WHERE random_of(id, 3) < 0.8"),
    ] {
        client
            .batch_execute(&format!("BEGIN; {before}; COMMIT; ANALYZE items; {after}"))
            .unwrap();
        all_hold(&mut client, &statements, &["", FORCED]);
    }
}

#[test]
fn a_plan_made_for_all_rows_within_a_distance_finds_them_under_other_settings() {
    for method in ["hnsw", "ivf"] {
        let (_server, mut client) = server_of(method);
        let query = queries(&mut client)[0].0.clone();
        client
            .batch_execute(&format!(
                "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
                 PREPARE within AS SELECT id FROM items WHERE e <=> '{query}' < 0.9 LIMIT 3000;"
            ))
            .unwrap();
        let rows = |client: &mut Client| client.query("EXECUTE within", &[]).unwrap().len();
        let wanted = rows(&mut client);
        for mode in ["off", "strict_order", "relaxed_order"] {
            client
                .batch_execute(&format!("SET {method}.iterative_scan = {mode}"))
                .unwrap();
            assert_eq!(rows(&mut client), wanted, "{method}, {mode}");
        }
    }
}
