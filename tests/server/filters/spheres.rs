//! What lies within a distance, without an order: spheres, and plain bounds.

use postgres::Client;

use super::{DEFAULTS, EXACT, FORCED, QUERIES, Search, queries, server, server_of};
use crate::harness::explain;

of_every_method! {
    every_type_and_metric_finds_what_is_in_a_sphere,
    spheres_go_with_orders_limits_and_other_conditions,
    spheres_and_bounds_are_conditions_of_the_index,
    joins_parameters_and_changes_within_a_distance,
    row_security_is_asked_before_a_distance_is,
}

/// Element types and metrics: column type, expression for it, operator class, operator.
const SPACES: &[(&str, &str, &str, &str)] = &[
    ("vector(48)", "e", "vector_l2_ops", "<->"),
    ("vector(48)", "e", "vector_ip_ops", "<#>"),
    ("vector(48)", "e", "vector_cosine_ops", "<=>"),
    ("vector(48)", "e", "vector_l1_ops", "<+>"),
    ("vector(48)", "e", "vector_l2_ops", "<-> compact"),
    ("halfvec(48)", "e::halfvec", "halfvec_l2_ops", "<->"),
    ("halfvec(48)", "e::halfvec", "halfvec_l1_ops", "<+>"),
    ("bf16vec(48)", "e::bf16vec", "bf16vec_cosine_ops", "<=>"),
    (
        "bytevec(48)",
        "quantize_to_bytevec(e, -2, 2)",
        "bytevec_l2_ops",
        "<->",
    ),
    (
        "bytevec(48)",
        "quantize_to_bytevec(e, -2, 2)",
        "bytevec_ip_ops",
        "<#>",
    ),
    ("sparsevec(48)", "e::sparsevec", "sparsevec_l2_ops", "<->"),
    (
        "sparsevec(48)",
        "e::sparsevec",
        "sparsevec_cosine_ops",
        "<=>",
    ),
    (
        "bit(48)",
        "binary_quantize(e)::bit(48)",
        "bit_hamming_ops",
        "<~>",
    ),
    (
        "bit(48)",
        "binary_quantize(e)::bit(48)",
        "bit_jaccard_ops",
        "<%>",
    ),
];

/// Whether ivf takes no such column, or has no such layout.
fn has_no_lists(of_type: &str, operator: &str) -> bool {
    of_type.starts_with("sparsevec") || operator.ends_with("compact")
}

/// Ids that a query gives, in ascending order.
fn ids(client: &mut Client, sql: &str) -> Vec<i32> {
    let rows = client
        .query(sql, &[])
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let mut ids: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    ids.sort_unstable();
    ids
}

/// Rows found, and rows there are, of searches compared with the table; panics where one is not
/// there, or comes twice.
fn compare(client: &mut Client, sql: &str, settings: &str) -> (usize, usize) {
    client.batch_execute(EXACT).unwrap();
    let exact = ids(client, sql);
    client.batch_execute(DEFAULTS).unwrap();
    client.batch_execute(settings).unwrap();
    let found = ids(client, sql);
    client.batch_execute(DEFAULTS).unwrap();
    assert!(
        found.windows(2).all(|two| two[0] < two[1]),
        "{sql}: {found:?}"
    );
    for id in &found {
        assert!(exact.binary_search(id).is_ok(), "{sql}: {id} is not in it");
    }
    (found.len(), exact.len())
}

fn every_type_and_metric_finds_what_is_in_a_sphere(method: &str) {
    let (_server, mut client) = server("CREATE TABLE none (a int)");
    for &(of_type, expression, class, operator) in SPACES {
        if method == "ivf" && has_no_lists(of_type, operator) {
            continue;
        }
        let options = match operator.ends_with("compact") {
            true => "WITH (layout = compact)",
            false => "",
        };
        let operator = operator.split(' ').next().unwrap();
        client
            .batch_execute(&format!(
                "DROP TABLE IF EXISTS typed, asked;
                 CREATE TABLE typed AS SELECT id, u, ({expression})::{of_type} AS v FROM items;
                 ALTER TABLE typed ALTER v TYPE {of_type};
                 CREATE TABLE asked AS SELECT n, ({expression})::{of_type} AS q FROM queries;
                 CREATE INDEX typed_v ON typed USING {method} (v {class}) {options}; ANALYZE typed"
            ))
            .unwrap_or_else(|error| panic!("{class}: {error:?}"));
        let (mut found, mut wanted) = (0, 0);
        for n in 1..=QUERIES {
            for (asked, rank) in [1, 20, 300].into_iter().enumerate() {
                client.batch_execute(EXACT).unwrap();
                let radius: f64 = client
                    .query_one(
                        &format!(
                            "SELECT v {operator} q FROM typed, asked WHERE n = {n} ORDER BY 1 LIMIT 1 OFFSET {rank}"
                        ),
                        &[],
                    )
                    .unwrap()
                    .get(0);
                let query = format!("(SELECT q FROM asked WHERE n = {n})");
                let sphere = format!("v <{operator}> sphere({query}, {radius:e})");
                // many queries, each asked in another way
                let condition = match (n + asked) % 4 {
                    0 => sphere,
                    1 => format!("v {operator} {query} < {radius:e}"),
                    2 => format!("{radius:e} > {query} {operator} v"),
                    _ => format!("{sphere} AND u < 0.5"),
                };
                let sql = format!("SELECT id FROM typed WHERE {condition}");
                client
                    .batch_execute(&format!("{DEFAULTS}; {FORCED}"))
                    .unwrap();
                let plan = explain(&mut client, &sql);
                assert!(plan.contains("typed_v"), "{sql}: {plan}");
                let (f, w) = compare(&mut client, &sql, FORCED);
                found += f;
                wanted += w;
            }
        }
        let recall = found as f64 / wanted as f64;
        assert!(
            recall >= 0.95,
            "{class} {options}: {found} of {wanted} rows"
        );
    }
}

#[test]
fn a_sphere_says_exactly_what_its_operator_says() {
    let (_server, mut client) = server("CREATE TABLE none (a int)");
    for &(of_type, expression, _, operator) in SPACES {
        let operator = operator.split(' ').next().unwrap();
        // radii on the edge, and what has no distance
        let zero = match of_type.starts_with("vector") {
            true => format!("UNION ALL SELECT '[0{}]'::{of_type}", ",0".repeat(47)),
            false => String::new(),
        };
        let sql = format!(
            "SELECT count(*) FROM
             (SELECT ({expression})::{of_type} AS v FROM items WHERE id < 60 {zero}) a,
             (SELECT ({expression})::{of_type} AS q FROM queries WHERE n < 9) b,
             LATERAL (VALUES (v {operator} q), (0), (-1), (1), ('Infinity'), ('NaN'), (NULL)) r(radius)
             WHERE (v <{operator}> sphere(q, radius)) IS DISTINCT FROM (v {operator} q < radius)"
        );
        let wrong: i64 = client
            .query_one(&sql, &[])
            .unwrap_or_else(|error| panic!("{of_type} {operator}: {error:?}"))
            .get(0);
        assert_eq!(wrong, 0, "{of_type} {operator}");
    }
    let error = client
        .batch_execute("SELECT '[1,2,3]'::vector <<->> sphere('[1,2]'::vector, 1)")
        .unwrap_err();
    let message = error.as_db_error().unwrap().message().to_owned();
    assert_eq!(message, "different vector dimensions 3 and 2");
}

fn spheres_go_with_orders_limits_and_other_conditions(method: &str) {
    let (_server, mut client) = server(&format!(
        "CREATE INDEX items_e ON items USING {method} (e vector_l2_ops, cluster, u)"
    ));
    client.batch_execute("ANALYZE items").unwrap();
    let other = "(SELECT e FROM queries WHERE n = 3)";
    let mut recalls = Vec::new();
    for sql in [
        "SELECT id, e <-> $1 FROM items WHERE e <<->> sphere($1, 2.5) ORDER BY e <-> $1 LIMIT 10",
        "SELECT id, e <-> $1 FROM items WHERE e <<->> sphere($1, 2.5) ORDER BY e <-> $1",
        "SELECT id, e <-> $1 FROM items WHERE e <-> $1 <= 2.2 ORDER BY e <-> $1",
        "SELECT id, e <-> $1 FROM items WHERE 2.2 > $1 <-> e ORDER BY $1 <-> e",
        "SELECT id, e <-> $1 FROM items WHERE e <<->> sphere($1, 4) AND u < 0.3 ORDER BY e <-> $1",
        "SELECT id, e <-> $1 FROM items WHERE e <<->> sphere($1, 4) AND id % 3 = 0 ORDER BY e <-> $1 LIMIT 30",
        "SELECT id, e <-> $1 FROM items WHERE e <<->> sphere($1, 2.5) AND e <<->> sphere($1, 2.2) ORDER BY e <-> $1",
        "SELECT id, e <-> $1 FROM items WHERE e <<->> sphere(OTHER, 6.5) ORDER BY e <-> $1 LIMIT 20",
        "SELECT id, e <-> $1 FROM items WHERE e <<->> sphere(OTHER, 2.5) ORDER BY e <-> $1 LIMIT 20",
        "SELECT id, e <-> $1 FROM items WHERE e <<->> sphere(OTHER, 6) AND e <<->> sphere($1, 6) ORDER BY e <-> $1 LIMIT 20",
        "SELECT * FROM (SELECT id, e <-> $1 AS d FROM items WHERE e <<->> sphere($1, 2.5) AND cluster = $2 OFFSET 0) x ORDER BY d",
        "SELECT * FROM (SELECT id, e <-> $1 AS d FROM items WHERE e <<->> sphere(OTHER, 6) AND e <<->> sphere($1, 6) OFFSET 0) x ORDER BY d",
        "SELECT * FROM (SELECT id, e <-> $1 AS d FROM items WHERE e <-> $1 < 4 AND u < 0.3 OFFSET 0) x ORDER BY d",
        "SELECT * FROM (SELECT id, e <-> $1 AS d FROM items WHERE e <-> $1 < 4 AND id % 7 = 0 OFFSET 0) x ORDER BY d",
        "SELECT id, e <-> $1 FROM items WHERE e <<->> sphere($1, -1) ORDER BY e <-> $1",
        "SELECT id, e <-> $1 FROM items WHERE e <<->> sphere($1, NULL) ORDER BY e <-> $1",
        "SELECT id, e <-> $1 FROM items WHERE e <<->> ROW(NULL, 3)::sphere_vector ORDER BY e <-> $1",
        "SELECT id, e <-> $1 FROM items WHERE e <<->> sphere(NULL::vector, 3) ORDER BY e <-> $1",
    ] {
        let sql = sql.replace("OTHER", other);
        for settings in [FORCED, DEFAULTS] {
            let verdict = Search::of(&sql).judge(&mut client, settings);
            assert!(
                verdict.disordered == 0 && verdict.recall >= 0.9,
                "{verdict:?} from {sql} with {settings}"
            );
            recalls.push(verdict.recall);
        }
    }
    let mean = recalls.iter().sum::<f64>() / recalls.len() as f64;
    assert!(mean >= 0.95, "{recalls:?}");
}

fn spheres_and_bounds_are_conditions_of_the_index(method: &str) {
    let (_server, mut client) = server_of(method);
    client.batch_execute("ANALYZE items").unwrap();
    let query = queries(&mut client)[0].0.clone();
    for (condition, expected) in [
        (
            format!("e <<=>> sphere('{query}'::vector, 0.02)"),
            "Index Cond: (e <<=>> ",
        ),
        (format!("e <=> '{query}' < 0.02"), "Order By: (e <=> "),
        (format!("0.02 >= '{query}' <=> e"), "Order By: (e <=> "),
    ] {
        let sql = format!("SELECT id FROM items WHERE {condition}");
        let plan = explain(&mut client, &sql);
        assert!(plan.contains("Index Scan using items_e"), "{plan}");
        assert!(plan.contains(expected), "{plan}");
        // neither LIMIT nor a mode that is for ordered scans ends it early
        client
            .batch_execute("SET hnsw.iterative_scan = off; SET hnsw.ef_search = 1; SET ivf.iterative_scan = off")
            .unwrap();
        let wide = sql.replace("0.02", "0.2");
        let (found, wanted) = compare(&mut client, &wide, "");
        assert!(
            wanted > 100 && found * 20 >= wanted * 19,
            "{condition}: {found} of {wanted}"
        );
        client
            .batch_execute(
                "RESET hnsw.iterative_scan; RESET hnsw.ef_search; RESET ivf.iterative_scan",
            )
            .unwrap();
    }
    // an operator of another class, or another column's, is none
    let plan = explain(
        &mut client,
        &format!("SELECT id FROM items WHERE e <-> '{query}' < 0.02"),
    );
    assert!(plan.contains("Seq Scan"), "{plan}");
}

fn joins_parameters_and_changes_within_a_distance(method: &str) {
    let (_server, mut client) = server_of(method);
    client
        .batch_execute("ANALYZE; SET enable_seqscan = off; SET enable_sort = off; SET plan_cache_mode = force_generic_plan")
        .unwrap();
    let join =
        "SELECT q.n * 100000 + i.id FROM queries q JOIN items i ON i.e <<=>> sphere(q.e, 0.07)";
    assert!(explain(&mut client, join).contains("Index Cond: (e <<=>> sphere("));
    client.batch_execute("SET enable_seqscan = on").unwrap();
    let (found, wanted) = compare(&mut client, join, FORCED);
    assert!(
        wanted > 100 && found * 20 >= wanted * 19,
        "{found} of {wanted}"
    );
    client.batch_execute(FORCED).unwrap();
    for sql in [
        "SELECT id FROM items WHERE e <<=>> sphere((SELECT e FROM queries WHERE n = $1), $2)",
        "SELECT id FROM items WHERE e <=> (SELECT e FROM queries WHERE n = $1) < $2",
    ] {
        let statement = client.prepare(sql).unwrap();
        let mut all = (0, 0);
        for n in 1..=10i32 {
            // single cases may be off by chance, all together may not
            for radius in [0.0f64, 0.05, 0.08, f64::NAN, f64::INFINITY] {
                let found = client.query(&statement, &[&n, &radius]).unwrap().len() as i64;
                let wanted: i64 = client
                    .query_one(
                        "SELECT count(*) FROM items WHERE (e <=> (SELECT e FROM queries WHERE n = $1)) + 0 < $2",
                        &[&n, &radius],
                    )
                    .unwrap()
                    .get(0);
                assert!(found <= wanted, "{radius}: {found} of {wanted}");
                if radius.is_finite() {
                    all.0 += found;
                    all.1 += wanted;
                } else {
                    assert!(found * 100 >= wanted * 99, "{found} of {wanted} rows");
                }
            }
        }
        assert!(all.0 * 20 >= all.1 * 19, "{sql}: {all:?}");
        assert!(
            client
                .query(&statement, &[&1i32, &None::<f64>])
                .unwrap()
                .is_empty()
        );
        assert!(
            client
                .query(&statement, &[&None::<i32>, &0.1f64])
                .unwrap()
                .is_empty()
        );
    }
    client
        .batch_execute(
            "UPDATE items SET u = 7 WHERE e <<=>> sphere((SELECT e FROM queries WHERE n = 1), 0.07);
             DELETE FROM items WHERE e <=> (SELECT e FROM queries WHERE n = 2) < 0.07 AND u <> 7",
        )
        .unwrap();
    let left = "SELECT id FROM items WHERE e <<=>> sphere((SELECT e FROM queries WHERE n = 2), 0.07) AND u <> 7";
    let (found, wanted) = compare(&mut client, left, FORCED);
    assert!(found <= wanted && wanted < 10, "{found} of {wanted}");
    let zero = format!(
        "SELECT id FROM items WHERE e <<=>> sphere('[0{}]'::vector, 3)",
        ",0".repeat(47)
    );
    assert_eq!(compare(&mut client, &zero, FORCED), (0, 0));
}

fn row_security_is_asked_before_a_distance_is(method: &str) {
    let (server, mut client) = server_of(method);
    client
        .batch_execute(
            "ALTER TABLE items ENABLE ROW LEVEL SECURITY;
             CREATE POLICY own ON items USING (cluster = current_setting('app.cluster')::int);
             CREATE ROLE tenant LOGIN; GRANT SELECT ON items, queries TO tenant",
        )
        .unwrap();
    let mut tenant = server.client_of("postgres", "tenant");
    tenant.batch_execute("SET app.cluster = 7").unwrap();
    tenant.batch_execute(FORCED).unwrap();
    for condition in [
        "e <<=>> sphere((SELECT e FROM queries WHERE n = 1), 0.5)",
        "e <=> (SELECT e FROM queries WHERE n = 1) < 0.5",
    ] {
        let sql = format!("SELECT cluster FROM items WHERE {condition}");
        let rows = tenant.query(&sql, &[]).unwrap();
        assert!(!rows.is_empty() && rows.iter().all(|row| row.get::<_, i32>(0) == 7));
    }
}
