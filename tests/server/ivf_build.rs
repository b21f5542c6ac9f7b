//! Builds of ivf indexes: recall by default, little memory and its temporary files, WAL.

use postgres::Client;

use crate::harness::{Server, sqlstate_of};

/// Dimensions of the vectors.
const DIMS: i32 = 32;

/// A server with 20,000 rows in `items (id, v)`: uniform, or in 60 clusters.
fn server_with_items(clusters: bool) -> (Server, Client) {
    let (server, mut client) = Server::start_with_extension();
    let centre = match clusters {
        true => "3 * sin(1 + i % 60 * 37 + n * n)",
        false => "0",
    };
    client
        .batch_execute(&format!(
            "CREATE TABLE items (id bigint, v vector({DIMS}));
             INSERT INTO items SELECT i, (SELECT array_agg({centre}
                 + hashint8extended(i, n) % 1000003 / 1000003.0::float8)
                 FROM generate_series(1, {DIMS}) n)::vector
             FROM generate_series(1, 20000::bigint) i"
        ))
        .unwrap();
    (server, client)
}

/// Share of the ten nearest rows that searches find, over 100 rows as queries.
fn recall(client: &mut Client) -> f64 {
    let nearest = |index: bool| {
        format!(
            "SET LOCAL enable_seqscan = {}; SET LOCAL enable_indexscan = {index};
             CREATE TEMP TABLE nearest_{index} ON COMMIT DROP AS
             SELECT q.id AS query, n.id FROM (SELECT * FROM items WHERE id % 200 = 0) q
             CROSS JOIN LATERAL (SELECT id FROM items ORDER BY v <-> q.v LIMIT 10) n;",
            !index
        )
    };
    let mut transaction = client.transaction().unwrap();
    transaction
        .batch_execute(&(nearest(true) + &nearest(false)))
        .unwrap();
    let hits: i64 = transaction
        .query_one(
            "SELECT count(*) FROM nearest_true JOIN nearest_false USING (query, id)",
            &[],
        )
        .unwrap()
        .get(0);
    hits as f64 / 1000.0
}

fn number(client: &mut Client, query: &str) -> i64 {
    client.query_one(query, &[]).unwrap().get(0)
}

#[test]
fn searches_reach_the_recall_they_aim_at_on_uniform_and_on_clustered_rows() {
    // one index measured with 100 queries may be off by two points; all together are not
    let mut all = Vec::new();
    for clusters in [false, true] {
        let (_server, mut client) = server_with_items(clusters);
        for options in ["", "WITH (quantizer = rabitq2)", "WITH (quantizer = none)"] {
            client
                .batch_execute(&format!(
                    "CREATE INDEX items_v ON items USING ivf (v vector_l2_ops) {options}"
                ))
                .unwrap();
            let found = recall(&mut client);
            assert!(
                found >= 0.92,
                "{found} with {options:?}, clusters: {clusters}"
            );
            all.push(found);
            let (lists, probes) = (
                number(
                    &mut client,
                    "SELECT lists::bigint FROM ivf_index_stats('items_v')",
                ),
                number(
                    &mut client,
                    "SELECT probes::bigint FROM ivf_index_stats('items_v')",
                ),
            );
            assert!(lists > 100 && probes * 3 < lists * 2, "{probes} of {lists}");
            client.batch_execute("DROP INDEX items_v").unwrap();
        }
    }
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    assert!(mean >= 0.945, "{all:?}");
}

#[test]
fn a_build_in_temporary_files_keeps_to_their_limit_and_loses_no_row() {
    let (_server, mut client) = server_with_items(true);
    let create =
        "CREATE INDEX items_v ON items USING ivf (v vector_l2_ops) WITH (quantizer = none)";
    client
        .batch_execute("SET maintenance_work_mem = '1MB'; SET temp_file_limit = '1MB'")
        .unwrap();
    assert_eq!(sqlstate_of(&mut client, create), "53400");
    client.batch_execute("RESET temp_file_limit").unwrap();
    client.batch_execute(create).unwrap();
    let rows = number(
        &mut client,
        "SELECT heap_tuples FROM ivf_index_stats('items_v')",
    );
    assert_eq!(rows, 20_000);
    assert!(recall(&mut client) >= 0.92);
}

#[test]
fn an_index_that_was_built_is_whole_after_a_crash_and_on_a_standby() {
    let (server, mut client) = server_with_items(true);
    client
        .batch_execute(
            "CREATE INDEX items_v ON items USING ivf (v vector_cosine_ops) WITH (rerank = index);
             CREATE UNLOGGED TABLE gone (v vector(2));
             CREATE INDEX gone_v ON gone USING ivf (v vector_l2_ops);
             INSERT INTO gone VALUES ('[1,2]')",
        )
        .unwrap();
    let count = "SELECT count(DISTINCT id) FROM
        (SELECT id FROM items ORDER BY v <=> (SELECT v FROM items LIMIT 1)) ordered";
    let plan = "SET enable_seqscan = off; SET enable_sort = off";
    let standby = server.standby();
    standby.catch_up_with(&server);
    server.crash_and_restart();
    for server in [&server, &standby] {
        let mut client = server.client();
        client.batch_execute(plan).unwrap();
        assert_eq!(number(&mut client, count), 20_000);
    }
    let mut client = server.client();
    client.batch_execute(plan).unwrap();
    client
        .batch_execute("INSERT INTO gone VALUES ('[3,4]')")
        .unwrap();
    let found = "SELECT count(*) FROM (SELECT v FROM gone ORDER BY v <-> '[0,0]') ordered";
    assert_eq!(number(&mut client, found), 1);
}

/// What is in the pages of an index, but for their place in the log.
fn pages(client: &mut Client) -> String {
    let query = "SELECT md5(string_agg(substr(pg_read_binary_file(path, n * 8192, 8192), 11), ''::bytea ORDER BY n))
                 FROM (SELECT pg_relation_filepath('items_v') AS path, pg_relation_size('items_v') / 8192 AS pages) index,
                 generate_series(0, pages - 1) n";
    client.batch_execute("CHECKPOINT").unwrap();
    client.query_one(query, &[]).unwrap().get(0)
}

#[test]
fn builds_with_the_same_seed_are_the_same_and_others_are_not() {
    let (_server, mut client) = server_with_items(true);
    for quantizer in ["rabitq1", "pq", "none"] {
        let mut build = |seed: u32, workers: u32| {
            client
                .batch_execute(&format!(
                    "DROP INDEX IF EXISTS items_v; SET max_parallel_maintenance_workers = {workers};
                     CREATE INDEX items_v ON items USING ivf (v vector_l2_ops) WITH (quantizer = {quantizer}, seed = {seed})"
                ))
                .unwrap();
            pages(&mut client)
        };
        let first = build(7, 1);
        assert_eq!(
            first,
            build(7, 0),
            "{quantizer}, by another number of threads"
        );
        assert_ne!(first, build(8, 1), "{quantizer}, another seed");
        assert_ne!(build(0, 1), build(0, 1), "{quantizer}, no seed");
    }
}
