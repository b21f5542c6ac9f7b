//! The recipes for many tenants in one table (`docs/recipes.md`): no row of another tenant, ever, and as
//! many rows as were asked for, or as there are.

use postgres::Client;

use super::{DEFAULTS, EXACT, tables};
use crate::harness::{Server, explain};

of_every_method! {
    a_filter_column_keeps_a_thousand_tenants_apart,
    partial_indexes_serve_large_tenants_and_one_index_the_others,
    row_security_over_a_filter_column_is_a_condition_of_the_index,
}

/// Tenants, whose sizes go like one over their number: 1 has an eighth of the rows, the last ones a few.
const TENANTS: i32 = 1000;

/// A server with `docs (id, tenant, e)`, made by `create`, and `asked (id, e)`.
fn server(create: &str) -> (Server, Client) {
    let (server, mut client) = Server::start_with_extension();
    client.batch_execute(&tables()).unwrap();
    client
        .batch_execute(&format!(
            "{create};
             INSERT INTO docs SELECT id, tenant_of(id), e FROM items; ANALYZE docs;
             CREATE TABLE asked AS SELECT n AS id, e FROM queries"
        ))
        .unwrap();
    (server, client)
}

/// A function that says whose row is whose.
fn tenant_of() -> String {
    format!(
        "CREATE FUNCTION tenant_of(id bigint) RETURNS int LANGUAGE sql IMMUTABLE
         RETURN least({TENANTS}, floor(power({TENANTS}::float8, abs(hashint8extended(id, 77) % 1000003) / 1000003.0))::int)"
    )
}

const TABLE: &str = "CREATE TABLE docs (id int, tenant int NOT NULL, e vector(48))";

/// Searches for tenants of all sizes, each compared with the exact result; `search` runs one as the tenant.
fn check(
    client: &mut Client,
    mut search: impl FnMut(&mut Client, i32, &str) -> Vec<(i32, i32, f64)>,
) {
    let queries = super::queries(client);
    let (mut right, mut wanted) = (0, 0);
    for (n, tenant) in [
        1, 2, 3, 5, 8, 13, 30, 70, 150, 300, 450, 600, 750, 900, 999, 1000,
    ]
    .into_iter()
    .enumerate()
    {
        for (query, _) in queries.iter().skip(n % 5).step_by(5) {
            client.batch_execute(EXACT).unwrap();
            let exact: Vec<f64> = client
                .query(
                    &format!("SELECT e <=> '{query}' FROM docs WHERE tenant = {tenant} ORDER BY 1 LIMIT 10"),
                    &[],
                )
                .unwrap()
                .iter()
                .map(|row| row.get(0))
                .collect();
            client.batch_execute(DEFAULTS).unwrap();
            let found = search(client, tenant, query);
            assert_eq!(found.len(), exact.len(), "rows of tenant {tenant}");
            assert!(found.is_sorted_by(|a, b| a.2 <= b.2), "{found:?}");
            for &(id, of, distance) in &found {
                assert_eq!(of, tenant, "row {id} is another tenant's");
                right += (distance <= *exact.last().unwrap()) as usize;
            }
            wanted += exact.len();
        }
    }
    assert!(wanted > 500, "{wanted}");
    let recall = right as f64 / wanted as f64;
    assert!(recall >= 0.95, "{recall}");
}

fn rows(client: &mut Client, sql: &str) -> Vec<(i32, i32, f64)> {
    let rows = client
        .query(sql, &[])
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect()
}

/// The search of an application that names the tenant.
fn by_name(tenant: i32, query: &str) -> String {
    format!(
        "SELECT id, tenant, e <=> '{query}' FROM docs WHERE tenant = {tenant} ORDER BY e <=> '{query}' LIMIT 10"
    )
}

fn a_filter_column_keeps_a_thousand_tenants_apart(method: &str) {
    let (_server, mut client) = server(&format!("{}; {TABLE}", tenant_of()));
    client
        .batch_execute(&format!(
            "CREATE INDEX docs_e ON docs USING {method} (e vector_cosine_ops, tenant)"
        ))
        .unwrap();
    check(&mut client, |client, tenant, query| {
        rows(client, &by_name(tenant, query))
    });
    // one statement for all of them, as drivers prepare it
    client
        .batch_execute("SET plan_cache_mode = force_generic_plan")
        .unwrap();
    let statement = client
        .prepare("SELECT id, tenant, e <=> (SELECT e FROM asked WHERE id = $2) AS d FROM docs WHERE tenant = $1 ORDER BY d LIMIT 10")
        .unwrap();
    for tenant in 1..=TENANTS {
        let size: i64 = client
            .query_one("SELECT count(*) FROM docs WHERE tenant = $1", &[&tenant])
            .unwrap()
            .get(0);
        let found = client
            .query(&statement, &[&tenant, &(tenant % 25 + 1)])
            .unwrap();
        assert_eq!(found.len() as i64, size.min(10), "rows of tenant {tenant}");
        assert!(found.iter().all(|row| row.get::<_, i32>(1) == tenant));
    }
}

#[test]
fn a_partition_for_each_tenant_is_searched_alone() {
    let (_server, mut client) = server(&format!(
        "{}; {TABLE} PARTITION BY LIST (tenant);
         DO $$ BEGIN FOR t IN 1..{TENANTS} LOOP
             EXECUTE format('CREATE TABLE docs_%s PARTITION OF docs FOR VALUES IN (%s)', t, t);
         END LOOP; END $$",
        tenant_of()
    ));
    client
        .batch_execute("CREATE INDEX ON docs USING hnsw (e vector_cosine_ops); ANALYZE docs")
        .unwrap();
    let query = super::queries(&mut client)[0].0.clone();
    let plan = explain(&mut client, &by_name(1, &query));
    assert!(
        plan.contains("docs_1 ") && !plan.contains("docs_2"),
        "{plan}"
    );
    check(&mut client, |client, tenant, query| {
        rows(client, &by_name(tenant, query))
    });
}

fn partial_indexes_serve_large_tenants_and_one_index_the_others(method: &str) {
    let (_server, mut client) = server(&format!("{}; {TABLE}", tenant_of()));
    client
        .batch_execute(&format!(
            "DO $$ BEGIN FOR t IN 1..8 LOOP
                 EXECUTE format('CREATE INDEX docs_e_%s ON docs USING {method} (e vector_cosine_ops) WHERE tenant = %s', t, t);
             END LOOP; END $$;
             CREATE INDEX docs_e ON docs USING {method} (e vector_cosine_ops, tenant) WHERE tenant > 8; ANALYZE docs;
             SET enable_seqscan = off; SET enable_sort = off"
        ))
        .unwrap();
    let query = super::queries(&mut client)[0].0.clone();
    for (tenant, index) in [
        (1, "docs_e_1 "),
        (8, "docs_e_8 "),
        (9, "docs_e "),
        (500, "docs_e "),
    ] {
        let plan = explain(&mut client, &by_name(tenant, &query));
        assert!(plan.contains(&format!("using {index}")), "{tenant}: {plan}");
    }
    check(&mut client, |client, tenant, query| {
        rows(client, &by_name(tenant, query))
    });
}

fn row_security_over_a_filter_column_is_a_condition_of_the_index(method: &str) {
    let (server, mut client) = server(&format!("{}; {TABLE}", tenant_of()));
    client
        .batch_execute(&format!(
            "CREATE INDEX docs_e ON docs USING {method} (e vector_cosine_ops, tenant); ANALYZE docs;
             ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
             CREATE POLICY own ON docs USING (tenant = current_setting('app.tenant')::int);
             CREATE ROLE app LOGIN; GRANT SELECT ON docs TO app"
        ))
        .unwrap();
    let mut app = server.client_of("postgres", "app");
    app.batch_execute("SET app.tenant = 2; SET enable_seqscan = off; SET enable_sort = off")
        .unwrap();
    let query = super::queries(&mut client)[0].0.clone();
    let plan = explain(
        &mut app,
        &format!("SELECT id FROM docs ORDER BY e <=> '{query}' LIMIT 10"),
    );
    assert!(plan.contains("Index Cond: (tenant = "), "{plan}");
    app.batch_execute(DEFAULTS).unwrap();
    check(&mut client, |_, tenant, query| {
        app.batch_execute(&format!("SET app.tenant = {tenant}"))
            .unwrap();
        let sql = format!(
            "SELECT id, tenant, e <=> '{query}' FROM docs ORDER BY e <=> '{query}' LIMIT 10"
        );
        rows(&mut app, &sql)
    });
}
