//! Bad input is an ERROR with its SQLSTATE; the session and the server go on.

use crate::harness::{Server, sqlstate_of};

/// Statements and the SQLSTATE each must fail with.
const REFUSED: &[(&str, &str)] = &[
    // text
    ("SELECT ''::vector", "22P02"),
    ("SELECT '[1,2'::vector", "22P02"),
    ("SELECT '[1,,2]'::vector", "22P02"),
    ("SELECT '[1,2]x'::vector", "22P02"),
    ("SELECT '[a]'::vector", "22P02"),
    ("SELECT '[]'::vector", "22000"),
    ("SELECT '[NaN]'::vector", "22000"),
    ("SELECT '[Infinity]'::vector", "22000"),
    ("SELECT '[1e39]'::vector", "22003"),
    ("SELECT '[65520]'::halfvec", "22003"),
    ("SELECT '[1,2'::halfvec", "22P02"),
    ("SELECT '{1:1'::sparsevec", "22P02"),
    ("SELECT '{0:1}/2'::sparsevec", "22000"),
    ("SELECT '{3:1}/2'::sparsevec", "22000"),
    ("SELECT '{1:1,1:2}/2'::sparsevec", "22000"),
    ("SELECT '{}/1000000001'::sparsevec", "54000"),
    ("SELECT '[1.5]'::bytevec", "22P02"),
    ("SELECT '[1,2'::bytevec", "22P02"),
    ("SELECT '[NaN]'::bytevec", "22P02"),
    ("SELECT '[]'::bytevec", "22000"),
    ("SELECT '[128]'::bytevec", "22003"),
    ("SELECT '[1,2'::bf16vec", "22P02"),
    ("SELECT '[NaN]'::bf16vec", "22000"),
    ("SELECT '[3.4e38]'::bf16vec", "22003"),
    // dimensions
    ("SELECT '[1]'::bytevec(16001)", "22023"),
    ("SELECT '[1]'::bf16vec(0)", "22023"),
    ("SELECT '[1,2,3]'::bytevec(2)", "22000"),
    ("SELECT '[1,2]'::bytevec <=> '[1]'", "22000"),
    ("SELECT '[1,2]'::bf16vec <+> '[1]'", "22000"),
    ("SELECT '[1,2,3]'::vector(2)", "22000"),
    ("SELECT '[1]'::vector(0)", "22023"),
    ("SELECT '[1]'::vector(16001)", "22023"),
    ("SELECT '[1]'::vector(1,2)", "22023"),
    ("SELECT '[1]'::halfvec(16001)", "22023"),
    ("SELECT '{}/1'::sparsevec(1000000001)", "22023"),
    ("SELECT '[1,2]'::vector <-> '[1]'", "22000"),
    ("SELECT '[1,2]'::halfvec <=> '[1]'", "22000"),
    ("SELECT '{}/1'::sparsevec <#> '{}/2'", "22000"),
    ("SELECT B'101' <~> B'1'", "22000"),
    (
        "SELECT avg(v) FROM (VALUES ('[1]'::vector), ('[1,2]')) t(v)",
        "22000",
    ),
    // casts from arrays
    ("SELECT ARRAY[]::real[]::vector", "22000"),
    ("SELECT ARRAY[1,NULL]::real[]::vector", "22004"),
    ("SELECT ARRAY[[1,2],[3,4]]::real[]::vector", "22000"),
    ("SELECT ARRAY['NaN']::real[]::vector", "22000"),
    ("SELECT array_fill(0, ARRAY[16001])::vector", "54000"),
    ("SELECT ARRAY[1e39]::float8[]::vector", "22000"),
    ("SELECT ARRAY[1,NULL]::int[]::bytevec", "22004"),
    ("SELECT ARRAY[-129]::bytevec", "22003"),
    // what does not fit
    ("SELECT '[127.5]'::vector::bytevec", "22003"),
    ("SELECT '[1e5]'::bf16vec::halfvec", "22003"),
    ("SELECT '[100]'::bytevec + '[100]'", "22003"),
    ("SELECT quantize_to_bytevec('[1]'::vector, 0)", "22023"),
    ("SELECT quantize_to_bytevec('[1]'::vector, 1, 1)", "22023"),
    // indexes
    ("CREATE INDEX ON bare USING hnsw (v vector_l2_ops)", "22023"),
    (
        "CREATE INDEX ON items USING hnsw (v vector_l2_ops) WITH (m = 1)",
        "22023",
    ),
    (
        "CREATE INDEX ON items USING hnsw (v vector_l2_ops) WITH (m = 101)",
        "22023",
    ),
    (
        "CREATE INDEX ON items USING hnsw (v vector_l2_ops) WITH (ef_construction = 3)",
        "22023",
    ),
    (
        "CREATE INDEX ON items USING hnsw (v vector_l2_ops) WITH (ef_construction = 1001)",
        "22023",
    ),
    (
        "CREATE INDEX ON items USING hnsw (v vector_l2_ops) WITH (lists = 1)",
        "22023",
    ),
    ("CREATE INDEX ON items USING hnsw (id)", "0A000"),
    (
        "CREATE UNIQUE INDEX ON items USING hnsw (v vector_l2_ops)",
        "0A000",
    ),
    ("SET hnsw.ef_search = 1001", "22023"),
    ("SET hnsw.iterative_scan = sometimes", "22023"),
    // rows
    ("INSERT INTO items VALUES (1, '[1,2]')", "22000"),
    (
        "SELECT id FROM items ORDER BY v <-> '[1,2]' LIMIT 1",
        "22000",
    ),
];

#[test]
fn each_refusal_has_its_sqlstate_and_leaves_the_session_usable() {
    let (server, mut client) = Server::start_with_extension();
    client
        .batch_execute(
            "CREATE TABLE bare (v vector);
             CREATE TABLE items (id int, v vector(3));
             INSERT INTO items SELECT i, ARRAY[i, i, i]::vector FROM generate_series(1, 100) i;
             CREATE INDEX ON items USING hnsw (v vector_l2_ops);
             SET enable_seqscan = off",
        )
        .unwrap();
    let backend = "SELECT pg_backend_pid(), (SELECT count(*) FROM items)";
    let before: (i32, i64) = {
        let row = client.query_one(backend, &[]).unwrap();
        (row.get(0), row.get(1))
    };

    let mut wrong = Vec::new();
    for (sql, expected) in REFUSED {
        match client.batch_execute(sql) {
            Ok(()) => wrong.push(format!("{sql}: no error, expected {expected}")),
            Err(error) => {
                let code = error
                    .code()
                    .unwrap_or_else(|| panic!("connection lost by {sql}: {}", server.log()));
                if code.code() != *expected {
                    wrong.push(format!("{sql}: {}, expected {expected}", code.code()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let row = client.query_one(backend, &[]).unwrap();
    assert_eq!((row.get(0), row.get(1)), before);
}

#[test]
fn a_page_of_another_kind_is_reported_as_damage() {
    let (server, mut client) = Server::start_with_extension();
    client
        .batch_execute(
            "CREATE TABLE items (id int, v vector(3));
             INSERT INTO items SELECT i, ARRAY[i, i, i]::vector FROM generate_series(1, 100) i;
             CREATE INDEX items_v ON items USING hnsw (v vector_l2_ops);
             CREATE INDEX items_id ON items (id);
             CHECKPOINT",
        )
        .unwrap();
    let path = |client: &mut postgres::Client, index: &str| -> String {
        let query = format!("SELECT pg_relation_filepath('{index}')");
        client.query_one(&query, &[]).unwrap().get(0)
    };
    let data = server.data();
    let damaged = data.join(path(&mut client, "items_v"));
    let foreign = data.join(path(&mut client, "items_id"));
    drop(client);
    // the metapage of a btree where the metapage of an hnsw index belongs
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[..8192].copy_from_slice(&std::fs::read(&foreign).unwrap()[..8192]);
    std::fs::write(&damaged, bytes).unwrap();
    server.restart();

    let mut client = server.client();
    client.batch_execute("SET enable_seqscan = off").unwrap();
    let search = "SELECT id FROM items ORDER BY v <-> '[1,2,3]' LIMIT 1";
    assert_eq!(sqlstate_of(&mut client, search), "XX002");
    assert_eq!(
        sqlstate_of(&mut client, "INSERT INTO items VALUES (0, '[1,2,3]')"),
        "XX002"
    );
    client
        .batch_execute("REINDEX INDEX items_v; SELECT id FROM items ORDER BY v <-> '[1,2,3]'")
        .unwrap();
}

#[test]
fn options_that_the_catalog_has_out_of_range_are_taken_for_the_nearest_in_it() {
    let (_server, mut client) = Server::start_with_extension();
    client
        .batch_execute(
            "CREATE TABLE items (id int, v vector(8));
             INSERT INTO items SELECT i, (SELECT array_agg(sin(i * n)) FROM generate_series(1, 8) n)::vector
                 FROM generate_series(1, 600) i;
             CREATE INDEX graph ON items USING hnsw (v vector_l2_ops);
             CREATE INDEX lists ON items USING ivf (v vector_l2_ops);
             CREATE INDEX flat ON items USING ivfflat (v vector_l2_ops);
             SET statement_timeout = '20s'",
        )
        .unwrap();
    // the server checks options of statements, and none that are in its catalog
    for (index, options) in [
        ("graph", "m=2000000000,ef_construction=2147483647"),
        ("graph", "m=-5,ef_construction=-1,layout=plain"),
        ("graph", "m=65537,layout=plain"),
        ("graph", "quantizer=wrong,layout=17,x=y"),
        ("lists", "lists=2000000000,copies=77,quantizer=sq8"),
        ("lists", "lists=-7,copies=-2"),
        ("flat", "lists=2000000000"),
        ("flat", "lists=-2000000000"),
    ] {
        client
            .batch_execute(&format!(
                "UPDATE pg_class SET reloptions = '{{{options}}}' WHERE relname = '{index}';
                 INSERT INTO items SELECT id + 1000, v FROM items WHERE id < 10"
            ))
            .unwrap();
        client
            .batch_execute(&format!("REINDEX INDEX {index}"))
            .unwrap_or_else(|error| panic!("{index} with {options}: {error:?}"));
        client
            .batch_execute(&format!(
                "SELECT vector_index_check('{index}', true, true);
                 INSERT INTO items SELECT id + 1000, v FROM items WHERE id < 10;
                 SET enable_seqscan = off; SELECT id FROM items ORDER BY v <-> '[1,2,3,4,5,6,7,8]' LIMIT 10"
            ))
            .unwrap();
    }
    for (index, options) in [
        ("graph", "quantizer=pq,pq_segments=-1,pq_bits=77"),
        ("lists", "quantizer=pq,pq_segments=100000,pq_bits=99"),
    ] {
        let change =
            format!("UPDATE pg_class SET reloptions = '{{{options}}}' WHERE relname = '{index}'");
        client.batch_execute(&change).unwrap();
        let code = sqlstate_of(&mut client, &format!("REINDEX INDEX {index}"));
        assert_eq!(code, "22023", "{index} with {options}");
    }
}
