//! Every type and operator of filter columns: the index gives the rows that the table has, no more
//! and no fewer, and conditions are the index's own.

use postgres::Client;

use super::{check_rows, plan};
use crate::hnsw::server_with;

/// Columns `c`: type, expression of `i` that gives values (NULLs among them), and conditions.
pub const TYPES: &[(&str, &str, &[&str])] = &[
    (
        "smallint",
        "(i % 100 - 50)::smallint",
        &["c = 7", "c < -40", "c >= 30::bigint", "c = ANY ('{1,2,NULL}'::int2[])", "c BETWEEN -3 AND 3"],
    ),
    (
        "integer",
        "CASE i % 50 WHEN 0 THEN 2147483647 WHEN 1 THEN -2147483648 ELSE i % 97 END",
        &["c = 7", "c = 7::bigint", "c < 5::smallint", "c > 3000000000", "c >= 2147483647", "c = -2147483648",
          "c IN (1, 2, 3, 3)", "c IS NULL", "c IS NOT NULL AND c < 3", "c = NULL"],
    ),
    (
        "bigint",
        "CASE i % 50 WHEN 0 THEN 9223372036854775807 WHEN 1 THEN 9223372036854775806
                     WHEN 2 THEN -9223372036854775808 ELSE i % 97 END",
        &["c = 9223372036854775807", "c = 9223372036854775806", "c >= 9223372036854775807",
          "c < 9223372036854775807 AND c > 100", "c > 9223372036854775806", "c IS NULL", "c <= -9223372036854775808",
          "c = 7::smallint", "c IS NOT NULL"],
    ),
    (
        "real",
        "CASE i % 50 WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' WHEN 2 THEN '-Infinity' WHEN 3 THEN '-0'
                     ELSE (i % 97) / 10.0 END::real",
        &["c = 0", "c = 1.5", "c = 1.1::real", "c = 1.1::float8", "c < 2.2::float8", "c = 'NaN'", "c > 'Infinity'", "c < '-Infinity'",
          "c >= 'NaN'", "c BETWEEN -1 AND 1"],
    ),
    (
        "double precision",
        "CASE i % 50 WHEN 0 THEN 'NaN' WHEN 1 THEN 1e308 WHEN 2 THEN -1e-320 ELSE (i % 97) / 10.0 END::float8",
        &["c = 1.1", "c = 1.1::real", "c < 0", "c > 1e300", "c <= 0.5::real", "c = ANY (ARRAY[1.1, 2.2, 'NaN'])"],
    ),
    (
        "numeric",
        "CASE i % 50 WHEN 0 THEN 'NaN' WHEN 1 THEN 1e400 WHEN 2 THEN -1e400 WHEN 3 THEN 1.00000000000000000001
                     WHEN 4 THEN 1 WHEN 5 THEN 1e400 + 1 ELSE (i % 97)::numeric / 7 END",
        &["c = 1", "c > 1 AND c < 1.1", "c <= 1", "c = 1.00000000000000000001", "c > 1e399", "c > 1e400", "c = 1e400", "c = 'NaN'",
          "c < -1e300", "c IN (1, 1e400)", "c BETWEEN 0.99999999999999999999 AND 1"],
    ),
    ("boolean", "i % 3 = 0", &["c", "NOT c", "c = true", "c = false", "c IS TRUE", "c IS FALSE", "c IS NULL", "c < true", "c IS NOT NULL", "c IN (true)"]),
    (
        "text",
        "CASE i % 50 WHEN 0 THEN '' WHEN 1 THEN repeat('x', 5000) ELSE 'w' || i % 97 END",
        &["c = 'w7'", "c = ''", "c = repeat('x', 5000)", "c < 'w2'", "c >= 'w9'", "c IN ('w1', 'w2', NULL)", "c IS NULL",
          "c = 'none'"],
    ),
    ("varchar(20)", "'w' || i % 97", &["c = 'w7'", "c > 'w8'", "c = ANY ('{w1,w2}')"]),
    ("char(6)", "'w' || i % 97", &["c = 'w7'", "c = 'w7  '", "c > 'w8'"]),
    (
        "uuid",
        "lpad((i % 97)::text, 32, '0')::uuid",
        &["c = '00000000-0000-0000-0000-000000000007'", "c < '00000000-0000-0000-0000-000000000007'"],
    ),
    (
        "date",
        "CASE i % 50 WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' ELSE date '2020-01-01' + i % 97 END",
        &["c = '2020-01-08'", "c < '2020-01-05'", "c = timestamp '2020-01-08'", "c = timestamp '2020-01-08 12:00'",
          "c < timestamp '2020-01-08 12:00'", "c >= timestamp '2020-01-08 12:00'", "c <= timestamptz '2020-01-08 12:00'",
          "c = 'infinity'", "c < timestamp 'infinity' AND c > '2020-04-01'", "c = timestamp '-infinity'"],
    ),
    (
        "timestamp",
        "CASE i % 50 WHEN 0 THEN 'infinity' ELSE timestamp '2020-01-01' + i % 97 * interval '6 hours' END",
        &["c = '2020-01-02 06:00'", "c = date '2020-01-02'", "c < date '2020-01-05'", "c > timestamptz '2020-01-20'",
          "c = 'infinity'", "c >= date 'infinity'"],
    ),
    (
        "timestamptz",
        "CASE i % 50 WHEN 0 THEN 'infinity' ELSE timestamptz '2020-01-01' + i % 97 * interval '6 hours' END",
        &["c = '2020-01-02 06:00'", "c = date '2020-01-02'", "c < timestamp '2020-01-05'", "c > date '2020-01-20' AND c < 'infinity'"],
    ),
    (
        "mood",
        "(enum_range(NULL::mood))[1 + i % 4]",
        &["c = 'glad'", "c < 'glad'", "c >= 'fine'", "c IN ('sad', 'glad')", "c IS NULL"],
    ),
    (
        "smallint[]",
        "CASE i % 50 WHEN 0 THEN '{}' WHEN 1 THEN '{NULL}' WHEN 2 THEN array_fill(7::int2, ARRAY[9])
                     ELSE ARRAY[i % 10, i % 7, NULL]::int2[] END",
        &["c && '{3,4}'", "c @> '{3,4}'", "c @> '{7}'", "c && '{}'", "c @> '{}'", "c && '{NULL}'", "c @> '{NULL}'", "c IS NULL"],
    ),
    (
        "integer[]",
        "CASE i % 20 WHEN 0 THEN ARRAY(SELECT generate_series(i, i + 30)) ELSE ARRAY[i % 10, 100 + i % 7, i] END",
        &["c && '{3,104}'", "c @> '{3,104}'", "c && '{777}'", "c @> '{20,21,22,23,24,25}'", "c && '{40,-1}' AND c @> '{41}'"],
    ),
    (
        "text[]",
        "ARRAY['a' || i % 10, 'b' || i % 7]",
        &["c && '{a3,b4}'", "c @> '{a3,b4}'", "c && '{none}'"],
    ),
];

/// Rows of a table for one type.
fn table(client: &mut Client, type_name: &str, values: &str, class: &str, column: &str) {
    client
        .batch_execute(&format!(
            "DROP TABLE IF EXISTS typed;
             CREATE TABLE typed (id int, v {column}, c {type_name});
             INSERT INTO typed SELECT i, vec(i, 16)::{column}, CASE WHEN i % 13 > 0 THEN {values} END
             FROM generate_series(1, 400) i;
             CREATE INDEX typed_v ON typed USING hnsw (v {class}, c);
             INSERT INTO typed SELECT i, vec(i, 16)::{column}, CASE WHEN i % 13 > 0 THEN {values} END
             FROM generate_series(401, 600) i;
             ANALYZE typed"
        ))
        .unwrap_or_else(|error| panic!("{type_name}: {error:?}"));
}

pub fn client_with_types() -> (crate::harness::Server, Client) {
    let (server, mut client) = server_with("timezone = 'Europe/Berlin'\n");
    client
        .batch_execute(
            "CREATE TYPE mood AS ENUM ('sad', 'glad'); ALTER TYPE mood ADD VALUE 'fine' BEFORE 'glad';
             ALTER TYPE mood ADD VALUE 'bad' BEFORE 'sad'",
        )
        .unwrap();
    (server, client)
}

#[test]
fn rows_of_every_type_and_operator_are_those_of_the_table() {
    let (_server, mut client) = client_with_types();
    for (type_name, values, conditions) in TYPES {
        table(
            &mut client,
            type_name,
            values,
            "vector_l2_ops",
            "vector(16)",
        );
        for condition in *conditions {
            check_rows(&mut client, "typed", condition, "<->");
            // what is never true is no scan
            if *condition != "c = NULL" {
                let plan = plan(&mut client, "typed", condition);
                assert!(
                    plan.contains("Index Cond: "),
                    "{type_name} {condition}: {plan}"
                );
                assert!(
                    plan.contains("Order By: "),
                    "{type_name} {condition}: {plan}"
                );
                assert!(
                    !plan.contains("Filter: "),
                    "{type_name} {condition}: {plan}"
                );
            }
        }
    }
}

#[test]
fn the_plain_layout_gives_the_right_rows() {
    let (_server, mut client) = client_with_types();
    client
        .batch_execute(
            "CREATE FUNCTION above_half(vector) RETURNS bit LANGUAGE sql IMMUTABLE RETURN binary_quantize($1, 0.5);
             CREATE CAST (vector AS bit) WITH FUNCTION above_half(vector)",
        )
        .unwrap();
    for (type_name, values, conditions) in TYPES.iter().step_by(4) {
        for (class, column, operator) in [
            ("vector_l1_ops", "vector(16)", "<+>"),
            ("sparsevec_l2_ops", "sparsevec(16)", "<->"),
            ("bit_hamming_ops", "bit(16)", "<~>"),
            ("bit_jaccard_ops", "bit(16)", "<%>"),
        ] {
            table(&mut client, type_name, values, class, column);
            for condition in *conditions {
                check_rows(&mut client, "typed", condition, operator);
            }
        }
    }
}

#[test]
fn conditions_with_parameters_and_in_nested_loops_are_judged_anew() {
    let (_server, mut client) = server_with("");
    table(
        &mut client,
        "integer",
        "i % 20",
        "vector_l2_ops",
        "vector(16)",
    );
    client
        .batch_execute(
            "SET enable_seqscan = off; SET enable_sort = off; SET plan_cache_mode = force_generic_plan",
        )
        .unwrap();
    let statement = client
        .prepare("SELECT c FROM typed WHERE c = $1 ORDER BY v <-> vec(1, 16) LIMIT 5")
        .unwrap();
    for c in 0..20i32 {
        let rows = client.query(&statement, &[&c]).unwrap();
        let found: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(found, [c; 5]);
    }
    let none = client.query(&statement, &[&None::<i32>]).unwrap();
    assert!(none.is_empty());
    let wrong = super::number(
        &mut client,
        "SELECT count(*) FILTER (WHERE found.c <> g OR found.c IS NULL) + abs(count(*) - 60)
         FROM generate_series(0, 19) g,
         LATERAL (SELECT c FROM typed WHERE c = g ORDER BY v <-> vec(g, 16) LIMIT 3) found",
    );
    assert_eq!(wrong, 0);
}

#[test]
fn arrays_and_flags_are_conditions_of_generic_plans() {
    let (_server, mut client) = client_with_types();
    let settings =
        "SET enable_seqscan = off; SET enable_sort = off; SET plan_cache_mode = force_generic_plan";
    for (type_name, values, element) in [
        ("smallint", "(i % 20)::smallint", "smallint"),
        ("smallint", "(i % 20)::smallint", "bigint"),
        ("integer", "i % 20", "integer"),
        ("integer", "i % 20", "bigint"),
        ("bigint", "i % 20", "integer"),
        (
            "real",
            "CASE i % 20 WHEN 0 THEN '-0' WHEN 1 THEN 'NaN' ELSE (i % 20)::real END",
            "double precision",
        ),
        (
            "double precision",
            "CASE i % 20 WHEN 0 THEN '-0' WHEN 1 THEN 'NaN' ELSE (i % 20)::float8 END",
            "real",
        ),
        (
            "numeric",
            "CASE i % 20 WHEN 1 THEN 'NaN' ELSE (i % 20)::numeric END",
            "numeric",
        ),
        ("text", "(i % 20)::text", "text"),
        ("varchar", "(i % 20)::text", "varchar"),
        ("uuid", "lpad((i % 20)::text, 32, '0')::uuid", "uuid"),
        ("date", "date '2020-01-01' + i % 20", "date"),
        (
            "timestamptz",
            "timestamptz '2020-01-01' + i % 20 * interval '1 day'",
            "timestamptz",
        ),
        ("mood", "(enum_range(NULL::mood))[1 + i % 4]", "mood"),
        ("boolean", "i % 20 < 3", "boolean"),
    ] {
        table(
            &mut client,
            type_name,
            values,
            "vector_l2_ops",
            "vector(16)",
        );
        client.batch_execute(settings).unwrap();
        client
            .batch_execute(&format!(
                "PREPARE found(text) AS SELECT id FROM typed WHERE c = ANY ($1::{element}[]) ORDER BY v <-> vec(1, 16);
                 PREPARE there(text) AS SELECT id FROM typed WHERE c = ANY ($1::{element}[]) ORDER BY id"
            ))
            .unwrap();
        let some = format!(
            "(SELECT array_agg(DISTINCT c::{element})::text FROM typed WHERE id % 7 = 1 AND id < 40)"
        );
        let some: String = client
            .query_one(&format!("SELECT {some}"), &[])
            .unwrap()
            .get(0);
        let with_null = some.replace('{', "{NULL,");
        for argument in [
            Some(some.as_str()),
            Some(&with_null),
            Some("{}"),
            Some("{NULL}"),
            None,
        ] {
            let argument = argument.map_or("NULL".to_owned(), |text| format!("'{text}'"));
            let explain = format!("EXPLAIN (COSTS OFF) EXECUTE found({argument})");
            let plan: Vec<String> = client
                .query(&explain, &[])
                .unwrap()
                .iter()
                .map(|row| row.get(0))
                .collect();
            let plan = plan.join("\n");
            assert!(
                plan.contains("Index Cond: (") && plan.contains(" = ANY ("),
                "{type_name}: {plan}"
            );
            assert!(!plan.contains("Filter: "), "{type_name}: {plan}");
            let mut ids = |name: &str| -> Vec<i32> {
                let rows = client
                    .simple_query(&format!("EXECUTE {name}({argument})"))
                    .unwrap();
                let rows = rows.iter().filter_map(|message| match message {
                    postgres::SimpleQueryMessage::Row(row) => {
                        Some(row.get(0).unwrap().parse().unwrap())
                    }
                    _ => None,
                });
                let mut ids: Vec<i32> = rows.collect();
                ids.sort_unstable();
                ids
            };
            assert_eq!(ids("found"), ids("there"), "{type_name} = ANY ({argument})");
        }
        client.batch_execute("DEALLOCATE ALL; RESET ALL").unwrap();
    }
}

#[test]
fn a_condition_is_the_index_s_own_though_another_index_has_the_same_vectors() {
    let (_server, mut client) = client_with_types();
    table(
        &mut client,
        "integer",
        "i % 20",
        "vector_l2_ops",
        "vector(16)",
    );
    client
        .batch_execute(
            "CREATE INDEX typed_other ON typed USING hnsw (v vector_l2_ops);
             CREATE INDEX typed_part ON typed USING hnsw (v vector_l2_ops, c) WHERE id > 300; ANALYZE typed",
        )
        .unwrap();
    let plan = plan(&mut client, "typed", "c IN (3, 5)");
    assert!(
        plan.contains("typed_v") && plan.contains("Index Cond: (c = ANY"),
        "{plan}"
    );
    check_rows(&mut client, "typed", "c IN (3, 5)", "<->");
    check_rows(&mut client, "typed", "c IN (3, 5) AND id > 300", "<->");
    check_rows(
        &mut client,
        "typed",
        "c IN (3, 5) AND id > 310 AND id < 500",
        "<->",
    );
}

#[test]
fn texts_that_a_collation_takes_for_equal_are_found() {
    let (_server, mut client) = client_with_types();
    client
        .batch_execute(
            "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        )
        .unwrap();
    let values = "CASE i % 3 WHEN 0 THEN 'W' ELSE 'w' END || i % 40";
    for (column, values, conditions) in [
        (
            "text COLLATE ci",
            values.to_owned(),
            &[
                "c = 'w7'",
                "c = 'W7'",
                "c IN ('W7', 'w8')",
                "c < 'W2'",
                "c IS NULL",
                "c = 'none'",
            ][..],
        ),
        (
            "text[] COLLATE ci",
            format!("ARRAY[{values}, 'x' || i % 7]"),
            &["c && '{W7,X3}'", "c @> '{w7,X0}'", "c @> '{W7}'"][..],
        ),
    ] {
        table(&mut client, column, &values, "vector_l2_ops", "vector(16)");
        for condition in conditions {
            check_rows(&mut client, "typed", condition, "<->");
            let plan = plan(&mut client, "typed", condition);
            assert!(
                plan.contains("Index Cond: "),
                "{column} {condition}: {plan}"
            );
        }
    }
    table(
        &mut client,
        "text COLLATE ci",
        values,
        "vector_l2_ops",
        "vector(16)",
    );
    // equal in another way than the index's
    let exact = "c = 'w7' COLLATE \"C\"";
    check_rows(&mut client, "typed", exact, "<->");
    let plan = plan(&mut client, "typed", exact);
    assert!(!plan.contains("Index Cond: "), "{plan}");
}

#[test]
fn what_cannot_be_a_filter_column_is_refused() {
    let (_server, mut client) = server_with("");
    client
        .batch_execute("CREATE TABLE t (v vector(16), w vector(16), a int, j json)")
        .unwrap();
    for (columns, message) in [
        ("v vector_l2_ops, w vector_l2_ops", "one vector column only"),
        ("a, v vector_l2_ops", "is not a vector"),
        ("v vector_l2_ops, j", "has no default operator class"),
    ] {
        let error = client
            .batch_execute(&format!("CREATE INDEX ON t USING hnsw ({columns})"))
            .unwrap_err();
        let text = error.as_db_error().unwrap().message().to_owned();
        assert!(text.contains(message), "{columns}: {text}");
    }
}
