//! Later versions: of PostgreSQL, by `pg_upgrade`; of the extension, by `ALTER EXTENSION ... UPDATE`; of
//! what an index has on disk. Tables and indexes stay, and give the answers that they gave.

mod extension;
mod format;
mod major;
mod programs;

use postgres::Client;

use crate::harness::explain;
use crate::hnsw::check::assert_sound;
use crate::hnsw::number;

/// Every type, with dimensions and without, in tables of every persistence, and indexes of every form.
const TABLES: &str = "
    CREATE TYPE mood AS ENUM ('low', 'high', 'middle');
    CREATE TABLE items (
        id bigint PRIMARY KEY, tenant int, label text, mood mood, tags int[],
        v vector(24), w vector(24), h halfvec(24), s sparsevec(24), b bit(48), y bytevec(24), f bf16vec(24),
        free vector
    );
    CREATE FUNCTION add(first bigint, last bigint) RETURNS void LANGUAGE sql AS $$
        INSERT INTO items
        SELECT i, i % 7, nullif('label ' || i % 5, 'label 3'), (ARRAY['low', 'middle', 'high'])[1 + i % 3]::mood,
               ARRAY[i % 4, i % 9], vec(i, 24), vec(-i, 24), vec(i, 24)::halfvec, vec(i, 24)::sparsevec,
               binary_quantize(vec(i, 48) - array_fill(0.5, ARRAY[48])::vector),
               quantize_to_bytevec(vec(i, 24), 0, 1), vec(i, 24)::real[]::bf16vec, vec(i, 1 + (i % 5)::int)
        FROM generate_series(first, last) i
    $$;
    SELECT add(1, 900);
    INSERT INTO items (id) VALUES (-1);
    CREATE INDEX blocks ON items USING hnsw (v vector_cosine_ops, tenant, label, mood);
    CREATE INDEX lists ON items USING ivf (v vector_l2_ops, tenant, tags) WITH (quantizer = rabitq2, rerank = index, lists = 12);
    CREATE INDEX flat ON items USING ivfflat (v vector_ip_ops, mood) WITH (lists = 9);
    CREATE INDEX plain ON items USING hnsw (w vector_l2_ops) WITH (layout = plain, m = 7, ef_construction = 30);
    CREATE INDEX compact ON items USING hnsw (w vector_cosine_ops) WITH (layout = compact);
    CREATE INDEX books ON items USING ivf (w vector_ip_ops) WITH (quantizer = pq, lists = 10);
    CREATE INDEX halves ON items USING hnsw (h halfvec_l2_ops) WITH (quantizer = rabitq4);
    CREATE INDEX half_signs ON items USING ivf (h halfvec_cosine_ops) WITH (quantizer = binary, lists = 8);
    CREATE INDEX sparse ON items USING hnsw (s sparsevec_l2_ops);
    CREATE INDEX bits ON items USING hnsw (b bit_hamming_ops);
    CREATE INDEX bit_lists ON items USING ivf (b bit_jaccard_ops) WITH (lists = 6);
    CREATE INDEX bytes ON items USING ivf (y bytevec_l2_ops) WITH (lists = 11);
    CREATE INDEX brains ON items USING hnsw (f bf16vec_ip_ops);
    CREATE INDEX narrow ON items USING hnsw ((free::vector(3)) vector_l2_ops) WHERE vector_dims(free) = 3;
    CREATE INDEX sorted ON items (v, h, y);
    CREATE UNLOGGED TABLE fleeting AS SELECT id, v FROM items;
    ALTER TABLE fleeting ALTER v TYPE vector(24);
    CREATE INDEX fleeting_v ON fleeting USING ivf (v vector_l2_ops);
    CREATE MATERIALIZED VIEW view AS SELECT id, v::vector(24) AS v FROM items WHERE tenant = 3;
    CREATE INDEX view_v ON view USING hnsw (v vector_l2_ops)";

/// The indexes that can be checked.
const INDEXES: [&str; 16] = [
    "blocks",
    "lists",
    "flat",
    "plain",
    "compact",
    "books",
    "halves",
    "half_signs",
    "sparse",
    "bits",
    "bit_lists",
    "bytes",
    "brains",
    "narrow",
    "fleeting_v",
    "view_v",
];

/// Searches, and the index that each goes through.
const SEARCHES: &[(&str, &str)] = &[
    ("blocks", "items ORDER BY v <=> vec(5, 24)"),
    (
        "blocks",
        "items WHERE tenant = 3 AND label = 'label 2' ORDER BY v <=> vec(5, 24)",
    ),
    (
        "blocks",
        "items WHERE mood < 'middle' ORDER BY v <=> vec(5, 24)",
    ),
    ("lists", "items ORDER BY v <-> vec(6, 24)"),
    (
        "lists",
        "items WHERE tenant > 4 AND tags && '{2}' ORDER BY v <-> vec(6, 24)",
    ),
    ("flat", "items ORDER BY v <#> vec(7, 24)"),
    (
        "flat",
        "items WHERE mood = 'high' ORDER BY v <#> vec(7, 24)",
    ),
    ("plain", "items ORDER BY w <-> vec(8, 24)"),
    ("compact", "items ORDER BY w <=> vec(9, 24)"),
    ("books", "items ORDER BY w <#> vec(10, 24)"),
    ("halves", "items ORDER BY h <-> vec(11, 24)::halfvec"),
    ("half_signs", "items ORDER BY h <=> vec(12, 24)::halfvec"),
    ("sparse", "items ORDER BY s <-> vec(13, 24)::sparsevec"),
    (
        "bits",
        "items ORDER BY b <~> (SELECT b FROM items WHERE id = 14)",
    ),
    (
        "bit_lists",
        "items ORDER BY b <%> (SELECT b FROM items WHERE id = 15)",
    ),
    (
        "bytes",
        "items ORDER BY y <-> quantize_to_bytevec(vec(16, 24), 0, 1)",
    ),
    (
        "brains",
        "items ORDER BY f <#> vec(17, 24)::real[]::bf16vec",
    ),
    (
        "narrow",
        "items WHERE vector_dims(free) = 3 ORDER BY free::vector(3) <-> vec(18, 3)",
    ),
    ("fleeting_v", "fleeting ORDER BY v <-> vec(19, 24)"),
    ("view_v", "view ORDER BY v <-> vec(20, 24)"),
];

/// The tables, not as they were when their indexes were built.
fn create(client: &mut Client) {
    for statement in [
        TABLES,
        "DELETE FROM items WHERE id % 11 = 0",
        "VACUUM (INDEX_CLEANUP ON) items",
        "SELECT add(901, 960)",
    ] {
        client
            .batch_execute(statement)
            .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
}

fn texts(client: &mut Client, query: &str) -> Vec<String> {
    let rows = client
        .query(query, &[])
        .unwrap_or_else(|error| panic!("{query}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// The bytes of every value, and the definition of every index.
fn contents(client: &mut Client) -> Vec<String> {
    let mut all = texts(
        client,
        "SELECT concat_ws('|', id, tenant, label, mood, tags::text, vector_send(v), vector_send(w), halfvec_send(h),
                sparsevec_send(s), b, bytevec_send(y), bf16vec_send(f), vector_send(free))
         FROM items ORDER BY id",
    );
    all.extend(texts(
        client,
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid::regclass::text IN ('items', 'fleeting', 'view')
         ORDER BY 1",
    ));
    all.extend(texts(
        client,
        "SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute
         WHERE attrelid = 'items'::regclass AND attnum > 0 ORDER BY attnum",
    ));
    all
}

/// What each search finds, which goes through its index.
fn answers(client: &mut Client) -> Vec<Vec<i64>> {
    client
        .batch_execute(
            "SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off",
        )
        .unwrap();
    let mut all = Vec::new();
    for (index, search) in SEARCHES {
        let query = format!("SELECT id FROM {search} LIMIT 25");
        let plan = explain(client, &query);
        assert!(
            plan.contains(&format!("using {index} on")),
            "{query}: {plan}"
        );
        let rows = client.query(&query, &[]).unwrap();
        assert!(rows.len() >= 10, "{query}: {} rows", rows.len());
        all.push(rows.iter().map(|row| row.get(0)).collect());
    }
    all
}

fn assert_all_sound(client: &mut Client) {
    for index in INDEXES {
        assert_sound(client, index);
    }
}

/// Inserts, deletes and vacuums; new rows are found by every index that they are in.
fn go_on(client: &mut Client) {
    client
        .batch_execute(
            "SELECT add(2001, 2300); DELETE FROM items WHERE id % 5 = 0; REFRESH MATERIALIZED VIEW view;
             INSERT INTO fleeting SELECT id, v FROM items WHERE id > 2000",
        )
        .unwrap();
    client
        .batch_execute("VACUUM (INDEX_CLEANUP ON) items")
        .unwrap();
    assert_all_sound(client);
    answers(client);
    for (operator, column, of_row) in [
        ("<=>", "v", "v"),
        ("<->", "v", "v"),
        ("<->", "w", "w"),
        ("<=>", "w", "w"),
        ("<->", "h", "h"),
        ("<->", "s", "s"),
        ("<~>", "b", "b"),
        ("<->", "y", "y"),
    ] {
        let found = number(
            client,
            &format!(
                "SELECT count(*) FROM items t WHERE id > 2000 AND {column} =
                 (SELECT {column} FROM items ORDER BY {column} {operator} t.{of_row} LIMIT 1)"
            ),
        );
        assert!(
            found >= 238,
            "{column} {operator}: {found} of 240 new rows found"
        );
    }
}
