//! `pg_dump` and `pg_restore` bring tables and indexes back bit for bit.

use postgres::Client;

use crate::harness::{Server, explain};

const TABLE: &str = "
    CREATE TABLE items (
        id int PRIMARY KEY, v vector(3), h halfvec(3), s sparsevec(5), b bit(8),
        y bytevec(3), f bf16vec(3)
    );
    INSERT INTO items
        SELECT i, ARRAY[sin(i), -exp(-i / 7.0), i / 3.0]::real[]::vector,
               ARRAY[sin(i), -exp(-i / 7.0), i / 3.0]::real[]::vector::halfvec,
               format('{1:%s,4:%s}/5', sin(i)::real, -i / 3.0::real)::sparsevec,
               (i % 256)::bit(8), ARRAY[i % 256 - 128, i % 7, 127]::bytevec,
               ARRAY[sin(i), -exp(-i / 7.0), i / 3.0]::real[]::bf16vec
        FROM generate_series(1, 200) i;
    INSERT INTO items VALUES
        (1000, '[3.4028235e38,-1.1754944e-38,1e-45]', '[65504,-6.1035156e-05,5.9604645e-08]',
         '{5:1e-45}/5', B'00000000', '[-128,127,0]', '[3.3895314e38,-1.1754944e-38,9.1835e-41]'),
        (1001, '[-0,0,1]', '[-0,0,1]', '{}/5', B'11111111', '[0,0,1]', '[-0,0,1]'),
        (1002, NULL, NULL, NULL, NULL, NULL, NULL);
    CREATE INDEX items_v ON items USING hnsw (v vector_cosine_ops) WITH (m = 8, ef_construction = 40);
    CREATE INDEX items_h ON items USING hnsw (h halfvec_l2_ops);
    CREATE INDEX items_s ON items USING hnsw (s sparsevec_l2_ops);
    CREATE INDEX items_b ON items USING hnsw (b bit_hamming_ops);
    CREATE INDEX items_y ON items USING hnsw (y bytevec_ip_ops);
    CREATE INDEX items_f ON items USING hnsw (f bf16vec_cosine_ops);
    CREATE INDEX items_y_order ON items (y);
    CREATE INDEX items_compact ON items USING hnsw (v vector_l2_ops, id) WITH (layout = compact);
    CREATE INDEX items_lists ON items USING ivf (v vector_l2_ops, id)
        WITH (lists = 2, quantizer = rabitq2, rerank = index, copies = 1);
    CREATE TABLE centres AS SELECT v FROM items WHERE id < 4;
    CREATE INDEX items_central ON items USING ivf (v vector_ip_ops) WITH (centroids = centres);
    CREATE INDEX items_flat ON items USING ivfflat (h halfvec_cosine_ops) WITH (lists = 3);
    CREATE INDEX items_partial ON items USING hnsw ((v::halfvec(3)) halfvec_ip_ops) WHERE id < 100;
    CREATE MATERIALIZED VIEW centre AS SELECT avg(v) AS v FROM items WHERE id < 1000";

/// The bytes of every value, and every index's definition.
fn contents(client: &mut Client) -> Vec<String> {
    let rows = "
        SELECT concat_ws('|', id, vector_send(v), halfvec_send(h), sparsevec_send(s), b,
                         bytevec_send(y), bf16vec_send(f))
        FROM items ORDER BY id";
    let indexes = "
        SELECT pg_get_indexdef(indexrelid) FROM pg_index
        WHERE indrelid = 'items'::regclass ORDER BY 1";
    let view = "SELECT vector_send(v)::text FROM centre";
    [rows, indexes, view]
        .iter()
        .flat_map(|query| client.query(*query, &[]).unwrap())
        .map(|row| row.get(0))
        .collect()
}

#[test]
fn values_and_indexes_come_back_bit_for_bit() {
    let (server, mut client) = Server::start_with_extension();
    client.batch_execute(TABLE).unwrap();
    let before = contents(&mut client);
    assert_eq!(before.len(), 203 + 13 + 1);

    let directory = server.directory().to_str().unwrap();
    let archive = format!("{directory}/items.dump");
    let script = format!("{directory}/items.sql");
    let archived = ["--format=custom", "--file", &archive, "postgres"];
    server.program("pg_dump", archived);
    server.program("pg_dump", ["--inserts", "--file", &script, "postgres"]);

    client.batch_execute("CREATE DATABASE restored").unwrap();
    client.batch_execute("CREATE DATABASE replayed").unwrap();
    let restore = ["--exit-on-error", "--dbname", "restored", &archive];
    server.program("pg_restore", restore);
    let stop = "ON_ERROR_STOP=1";
    let replay = ["-q", "-v", stop, "-d", "replayed", "-f", &script];
    server.program("psql", replay);

    for database in ["restored", "replayed"] {
        let mut copy = server.client_of(database, crate::harness::SUPERUSER);
        assert_eq!(contents(&mut copy), before, "{database}");
        copy.batch_execute("SET enable_seqscan = off").unwrap();
        let nearest = "SELECT id FROM items ORDER BY v <=> '[1,2,3]' LIMIT 5";
        let plan = explain(&mut copy, nearest);
        assert!(plan.contains("items_v"), "{plan}");
        assert_eq!(copy.query(nearest, &[]).unwrap().len(), 5);
    }
}
