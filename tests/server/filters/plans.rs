//! Filters in queries of every form: joins, policies, functions, cursors, large limits.

use super::{DEFAULTS, EXACT, FORCED, Search, holds_on_average, queries, server_of};

of_every_method! {
    filters_through_joins_and_subqueries_find_the_nearest_matching_rows,
    limits_beyond_ef_search_and_offsets_are_filled,
    functions_and_generic_plans_filter_as_plain_queries_do,
    row_security_never_shows_a_foreign_row_and_never_comes_back_short,
    cursors_fetched_in_steps_go_on_where_they_were,
    a_filter_that_matches_nothing_ends_in_bounded_time_and_memory,
}

fn filters_through_joins_and_subqueries_find_the_nearest_matching_rows(method: &str) {
    let (_server, mut client) = server_of(method);
    let mut recalls = Vec::new();
    client
        .batch_execute(
            "CREATE TABLE tags AS SELECT id, id % 97 AS tag, u FROM items;
             CREATE INDEX ON tags (id);
             CREATE TABLE tagged AS SELECT id FROM items WHERE random_of(id, 5) < 0.02;
             ANALYZE",
        )
        .unwrap();
    for sql in [
        "SELECT i.id, i.e <=> $1 FROM items i JOIN tags t USING (id) WHERE t.tag = 3 ORDER BY i.e <=> $1 LIMIT 10",
        "SELECT i.id, i.e <=> $1 FROM items i JOIN tags t USING (id) WHERE t.u < 0.3 ORDER BY i.e <=> $1 LIMIT 10",
        "SELECT id, e <=> $1 FROM items i WHERE EXISTS (SELECT 1 FROM tagged t WHERE t.id = i.id)
         ORDER BY e <=> $1 LIMIT 10",
        "SELECT id, e <=> $1 FROM items i WHERE NOT EXISTS (SELECT 1 FROM tags t WHERE t.id = i.id AND t.tag > 2)
         ORDER BY e <=> $1 LIMIT 10",
        "SELECT id, e <=> $1 FROM items WHERE id IN (SELECT id FROM tagged) AND cluster <> $2
         ORDER BY e <=> $1 LIMIT 10",
        "SELECT id, e <=> $1 FROM items WHERE cluster = (SELECT ($2 + 5) % 40) ORDER BY e <=> $1 LIMIT 10",
        "SELECT near.id, d FROM (VALUES (1), (2)) v(x),
         LATERAL (SELECT id, e <=> $1 AS d FROM items WHERE id % 50 = v.x AND u < 0.5 ORDER BY e <=> $1 LIMIT 10) near
         ORDER BY d",
    ] {
        recalls.push(Search::of(sql).holds(&mut client, FORCED));
        recalls.push(Search::of(sql).holds(&mut client, DEFAULTS));
    }
    holds_on_average(&recalls);
}

fn limits_beyond_ef_search_and_offsets_are_filled(method: &str) {
    let (_server, mut client) = server_of(method);
    let mut recalls = Vec::new();
    for sql in [
        "SELECT id, e <=> $1 FROM items ORDER BY e <=> $1 LIMIT 300",
        "SELECT id, e <=> $1 FROM items WHERE u < 0.1 ORDER BY e <=> $1 LIMIT 200",
        "SELECT id, e <=> $1 FROM items WHERE cluster <> $2 ORDER BY e <=> $1 LIMIT 100 OFFSET 50",
        "SELECT id, e <=> $1 FROM items WHERE u < 0.03 ORDER BY e <=> $1 LIMIT 50 OFFSET 150",
        "SELECT id, e <=> $1 FROM items WHERE u < 0.002 ORDER BY e <=> $1 LIMIT 1000",
        "SELECT id, e <=> $1 FROM items WHERE u < 0.05 ORDER BY e <=> $1, id LIMIT 30",
        "SELECT id, e <=> $1 FROM items WHERE u < 0.05 ORDER BY e <=> $1 FETCH FIRST 10 ROWS WITH TIES",
    ] {
        recalls.push(Search::of(sql).holds(&mut client, FORCED));
        recalls.push(Search::of(sql).holds(&mut client, DEFAULTS));
    }
    holds_on_average(&recalls);
}

fn functions_and_generic_plans_filter_as_plain_queries_do(method: &str) {
    let (_server, mut client) = server_of(method);
    let mut recalls = Vec::new();
    client
        .batch_execute(
            "CREATE FUNCTION in_sql(q vector, c int, k int) RETURNS TABLE (id int, d float8)
             LANGUAGE sql STABLE AS
             'SELECT id, e <=> q FROM items WHERE cluster = (c + 20) % 40 ORDER BY e <=> q LIMIT k';
             CREATE FUNCTION in_plpgsql(q vector, m float8, k int) RETURNS TABLE (id int, d float8)
             LANGUAGE plpgsql STABLE AS $$
             BEGIN
                 RETURN QUERY SELECT items.id, e <=> q FROM items WHERE u < m ORDER BY e <=> q LIMIT k;
             END $$;
             ANALYZE items",
        )
        .unwrap();
    for mode in ["force_generic_plan", "force_custom_plan", "auto"] {
        let settings = format!("SET plan_cache_mode = {mode}");
        for sql in [
            "SELECT id, d FROM in_sql($1, $2, 10)",
            "SELECT id, d FROM in_sql($1, $2, 70) OFFSET 5",
            "SELECT id, d FROM in_plpgsql($1, 0.01, 10)",
            "SELECT id, d FROM in_plpgsql($1, 0.5, 10)",
        ] {
            // a function's plan outlives the settings it was made under
            client.batch_execute("DISCARD PLANS").unwrap();
            recalls.push(
                Search::of(sql).holds(&mut client, &format!("DISCARD PLANS; {settings}; {FORCED}")),
            );
            recalls.push(Search::of(sql).holds(&mut client, &format!("DISCARD PLANS; {settings}")));
        }
    }
    holds_on_average(&recalls);
}

fn row_security_never_shows_a_foreign_row_and_never_comes_back_short(method: &str) {
    let (server, mut client) = server_of(method);
    client
        .batch_execute(
            "ALTER TABLE items ENABLE ROW LEVEL SECURITY;
             CREATE POLICY own ON items USING (cluster = current_setting('app.cluster')::int);
             CREATE ROLE tenant LOGIN; GRANT SELECT ON items TO tenant",
        )
        .unwrap();
    let queries = queries(&mut client);
    let (mut right, mut wanted) = (0, 0);
    let mut tenant = server.client_of("postgres", "tenant");
    for cluster in [0, 13, 39] {
        for (query, _) in queries.iter().take(8) {
            let search = |condition: &str| {
                format!(
                    "SELECT id, e <=> '{query}' FROM items WHERE {condition} ORDER BY e <=> '{query}' LIMIT 10"
                )
            };
            client.batch_execute(EXACT).unwrap();
            let exact = client
                .query(&search(&format!("cluster = {cluster}")), &[])
                .unwrap();
            let farthest: f64 = exact[9].get(1);
            for settings in [FORCED, DEFAULTS] {
                tenant
                    .batch_execute(&format!(
                        "SET app.cluster = {cluster}; {DEFAULTS}; {settings}"
                    ))
                    .unwrap();
                let found = tenant.query(&search("true"), &[]).unwrap();
                assert_eq!(found.len(), 10);
                wanted += 10;
                right += found
                    .iter()
                    .filter(|row| row.get::<_, f64>(1) <= farthest)
                    .count();
                for row in &found {
                    let id: i32 = row.get(0);
                    assert_eq!(id % 40, cluster, "row {id} is another tenant's");
                }
            }
        }
    }
    let recall = right as f64 / wanted as f64;
    assert!(recall >= 0.95, "{recall}");
}

fn cursors_fetched_in_steps_go_on_where_they_were(method: &str) {
    let (_server, mut client) = server_of(method);
    let queries = queries(&mut client);
    let (mut right, mut wanted) = (0, 0);
    for (query, _) in &queries {
        let sql = format!(
            "SELECT id, e <=> '{query}' FROM items WHERE u < 0.03 ORDER BY e <=> '{query}'"
        );
        client.batch_execute(EXACT).unwrap();
        let exact = client.query(&format!("{sql} LIMIT 60"), &[]).unwrap();
        let farthest: f64 = exact[59].get(1);
        client.batch_execute(FORCED).unwrap();
        let mut transaction = client.transaction().unwrap();
        transaction
            .batch_execute(&format!("DECLARE c CURSOR FOR {sql}"))
            .unwrap();
        let mut found: Vec<(i32, f64)> = Vec::new();
        for step in [1, 9, 20, 30] {
            let rows = transaction
                .query(&format!("FETCH {step} FROM c"), &[])
                .unwrap();
            assert_eq!(rows.len(), step);
            found.extend(rows.iter().map(|row| (row.get(0), row.get(1))));
        }
        transaction.rollback().unwrap();
        assert!(found.windows(2).all(|two| two[0].1 <= two[1].1));
        let mut ids: Vec<i32> = found.iter().map(|&(id, _)| id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 60, "a row came twice");
        wanted += 60;
        right += found.iter().filter(|&&(_, d)| d <= farthest).count();
    }
    let recall = right as f64 / wanted as f64;
    assert!(recall >= 0.95, "{recall}");
}

fn a_filter_that_matches_nothing_ends_in_bounded_time_and_memory(method: &str) {
    let (_server, mut client) = server_of(method);
    client
        .batch_execute(&format!("{FORCED}; SET work_mem = '1MB'"))
        .unwrap();
    for (query, _) in queries(&mut client).iter().take(5) {
        let start = std::time::Instant::now();
        let rows = client
            .query(
                &format!("SELECT id FROM items WHERE u > 2 ORDER BY e <=> '{query}' LIMIT 10"),
                &[],
            )
            .unwrap();
        assert!(rows.is_empty());
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    }
    let used: i64 = client
        .query_one(
            "SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts",
            &[],
        )
        .unwrap()
        .get(0);
    assert!(used < 20 << 20, "{used} bytes after the searches");
}
