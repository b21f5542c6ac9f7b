-- hnsw: every operator class finds what a sequential scan finds, in the same order.
SET client_min_messages = warning;

CREATE TABLE items (
    id int,
    v vector(3),
    h halfvec(3),
    b bit(16),
    s sparsevec(6)
);
INSERT INTO items
SELECT i,
       ARRAY[i * 7 % 101, i * 13 % 97, i % 89]::vector,
       ARRAY[i * 7 % 101, i * 13 % 97, i % 89]::vector::halfvec,
       (i * 40503 % 65536)::bit(16),
       format('{1:%s,%s:%s,6:%s}/6', i * 7 % 101 + 1, i % 4 + 2, i % 89 + 1, i * 13 % 97 + 1)::sparsevec
FROM generate_series(1, 600) i;

-- distances of the first k rows by the index, beside those of all rows sorted
CREATE FUNCTION same_as_sorted(operator text, col text, query text, k int) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    by_index float8[];
    sorted float8[];
    plan json;
BEGIN
    PERFORM set_config('enable_seqscan', 'off', true);
    EXECUTE format('EXPLAIN (FORMAT json) SELECT id FROM items ORDER BY %I %s %L LIMIT %s', col, operator, query, k) INTO plan;
    IF plan #>> '{0,Plan,Plans,0,Node Type}' <> 'Index Scan' THEN
        RETURN 'no index scan';
    END IF;
    EXECUTE format('SELECT array_agg(d) FROM (SELECT %1$I %2$s %3$L AS d FROM items ORDER BY %1$I %2$s %3$L LIMIT %4$s) t', col, operator, query, k) INTO by_index;
    EXECUTE format('SELECT array_agg(d) FROM (SELECT %1$I %2$s %3$L AS d FROM items ORDER BY (%1$I %2$s %3$L) + 0 LIMIT %4$s) t', col, operator, query, k) INTO sorted;
    RETURN CASE WHEN by_index = sorted THEN 'same ' ELSE 'other ' END || array_length(by_index, 1);
END $$;

CREATE INDEX ON items USING hnsw (v vector_l2_ops);
CREATE INDEX ON items USING hnsw (v vector_ip_ops);
CREATE INDEX ON items USING hnsw (v vector_cosine_ops);
CREATE INDEX ON items USING hnsw (v vector_l1_ops);
CREATE INDEX ON items USING hnsw (h halfvec_l2_ops);
CREATE INDEX ON items USING hnsw (h halfvec_ip_ops);
CREATE INDEX ON items USING hnsw (h halfvec_cosine_ops);
CREATE INDEX ON items USING hnsw (h halfvec_l1_ops);
CREATE INDEX ON items USING hnsw (b bit_hamming_ops);
CREATE INDEX ON items USING hnsw (b bit_jaccard_ops);
CREATE INDEX ON items USING hnsw (s sparsevec_l2_ops);
CREATE INDEX ON items USING hnsw (s sparsevec_ip_ops);
CREATE INDEX ON items USING hnsw (s sparsevec_cosine_ops);
CREATE INDEX ON items USING hnsw (s sparsevec_l1_ops);

-- a list longer than the table makes searches of so small a graph exact
SET hnsw.ef_search = 1000;
SELECT operator, col, same_as_sorted(operator, col, query, 10), same_as_sorted(operator, col, query, 600)
FROM (VALUES
    ('<->', 'v', '[50.2,50.3,50.5]'), ('<#>', 'v', '[50.2,-50.3,50.5]'),
    ('<=>', 'v', '[50.2,50.3,50.5]'), ('<+>', 'v', '[50.2,50.3,50.5]'),
    ('<->', 'h', '[50.2,50.3,50.5]'), ('<#>', 'h', '[50.2,-50.3,50.5]'),
    ('<=>', 'h', '[50.2,50.3,50.5]'), ('<+>', 'h', '[50.2,50.3,50.5]'),
    ('<~>', 'b', '1010101001010101'), ('<%>', 'b', '1010101001010101'),
    ('<->', 's', '{1:50.2,3:20.3,6:50.5}/6'), ('<#>', 's', '{1:50.2,3:-20.3,6:50.5}/6'),
    ('<=>', 's', '{1:50.2,3:20.3,6:50.5}/6'), ('<+>', 's', '{1:50.2,3:20.3,6:50.5}/6')
) t(operator, col, query);

-- and so they are after rows have come and gone
DELETE FROM items WHERE id % 3 = 0;
VACUUM (INDEX_CLEANUP ON) items;
INSERT INTO items
SELECT i,
       ARRAY[i * 7 % 101, i * 13 % 97, i % 89]::vector,
       ARRAY[i * 7 % 101, i * 13 % 97, i % 89]::vector::halfvec,
       (i * 40503 % 65536)::bit(16),
       format('{1:%s,%s:%s,6:%s}/6', i * 7 % 101 + 1, i % 4 + 2, i % 89 + 1, i * 13 % 97 + 1)::sparsevec
FROM generate_series(601, 800) i;
SELECT operator, col, same_as_sorted(operator, col, query, 600)
FROM (VALUES
    ('<->', 'v', '[50.2,50.3,50.5]'), ('<#>', 'v', '[50.2,-50.3,50.5]'),
    ('<=>', 'v', '[50.2,50.3,50.5]'), ('<+>', 'v', '[50.2,50.3,50.5]'),
    ('<->', 'h', '[50.2,50.3,50.5]'), ('<=>', 'h', '[50.2,50.3,50.5]'),
    ('<~>', 'b', '1010101001010101'), ('<%>', 'b', '1010101001010101'),
    ('<->', 's', '{1:50.2,3:20.3,6:50.5}/6'), ('<=>', 's', '{1:50.2,3:20.3,6:50.5}/6')
) t(operator, col, query);
RESET hnsw.ef_search;

-- LIMIT above ef_search, OFFSET, and no LIMIT give every row asked for, in order
CREATE TABLE line (id int, v vector(2));
INSERT INTO line SELECT i, ARRAY[i, 0]::vector FROM generate_series(1, 1000) i;
CREATE INDEX line_v ON line USING hnsw (v vector_l2_ops);
SET enable_seqscan = off;
SET hnsw.ef_search = 5;
SELECT count(*), min(id), max(id), bool_and(id = n) AS in_order
FROM (SELECT id, row_number() OVER () AS n FROM (SELECT id FROM line ORDER BY v <-> '[0,0]' LIMIT 300) t) t;
SELECT count(*), min(id), max(id), bool_and(id = n) AS in_order
FROM (SELECT id, row_number() OVER () AS n FROM (SELECT id FROM line ORDER BY v <-> '[0,0]') t) t;
SELECT id FROM line ORDER BY v <-> '[0,0]' LIMIT 3 OFFSET 500;
SELECT id FROM line ORDER BY v <-> '[0,0]' LIMIT 3 OFFSET 998;
SELECT count(*) FROM (SELECT id FROM line ORDER BY v <-> '[0,0]' LIMIT 9223372036854775807) t;
SELECT count(*) FROM (SELECT id FROM line ORDER BY v <-> '[0,0]' LIMIT 0) t;
SELECT id FROM line WHERE id % 250 = 0 ORDER BY v <-> '[0,0]' LIMIT 4;

-- the other modes
SET hnsw.iterative_scan = off;
SELECT count(*) FROM (SELECT id FROM line ORDER BY v <-> '[0,0]' LIMIT 300) t;
SET hnsw.iterative_scan = strict_order;
SELECT count(*), bool_and(id = n) AS in_order
FROM (SELECT id, row_number() OVER () AS n FROM (SELECT id FROM line ORDER BY v <-> '[0,0]' LIMIT 300) t) t;
SET hnsw.iterative_scan = relaxed_order;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM line ORDER BY v <-> '[0,0]' LIMIT 300) t;
SET hnsw.max_scan_tuples = 1;
SELECT count(*) < 300 AS fewer FROM (SELECT id FROM line ORDER BY v <-> '[0,0]' LIMIT 300) t;
RESET hnsw.max_scan_tuples;
SET hnsw.iterative_scan = auto;
-- memory for a few rows only: the rest by sweeps
SET work_mem = '64kB';
SELECT count(*), bool_and(id = n) AS in_order
FROM (SELECT id, row_number() OVER () AS n FROM (SELECT id FROM line ORDER BY v <-> '[0,0]') t) t;
RESET work_mem;
RESET hnsw.iterative_scan;

-- cursors go on where they stopped, over rows that go and come
BEGIN;
DECLARE nearest CURSOR FOR SELECT id FROM line ORDER BY v <-> '[500.3,0]';
FETCH 3 FROM nearest;
FETCH 2 FROM nearest;
DELETE FROM line WHERE id = 497;
INSERT INTO line VALUES (2000, '[500.2,0]');
FETCH 3 FROM nearest;
MOVE 980 IN nearest;
FETCH 100 FROM nearest;
ROLLBACK;
BEGIN;
DECLARE back SCROLL CURSOR FOR SELECT id FROM line ORDER BY v <-> '[500.3,0]';
FETCH 3 FROM back;
FETCH BACKWARD 2 FROM back;
FETCH 3 FROM back;
COMMIT;

-- prepared statements, custom and generic
PREPARE nearest(vector, int) AS SELECT id FROM line ORDER BY v <-> $1 LIMIT $2;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE nearest('[7.2,0]', 3);
EXECUTE nearest('[7.2,0]', 3);
EXECUTE nearest('[70.2,0]', 2);
EXECUTE nearest('[0,0]', 0);
SET plan_cache_mode = force_custom_plan;
EXECUTE nearest('[7.2,0]', 3);
RESET plan_cache_mode;

-- one scan for each row of an outer query
SELECT q, array_agg(id) FROM generate_series(100, 900, 400) q,
LATERAL (SELECT id FROM line ORDER BY v <-> ARRAY[q + 0.2, 0]::vector LIMIT 3) near GROUP BY q ORDER BY q;
SELECT q, (SELECT id FROM line ORDER BY v <-> ARRAY[q + 0.2, 0]::vector LIMIT 1) FROM generate_series(10, 30, 10) q;
SELECT id FROM line ORDER BY v <-> (SELECT v FROM line WHERE id = 77) LIMIT 2;
WITH near AS MATERIALIZED (SELECT id, v <-> '[7.2,0]' AS d FROM line ORDER BY d LIMIT 5)
SELECT id FROM near WHERE d < 1.5 ORDER BY d;
-- both sides of the operator
SELECT id FROM line ORDER BY '[7.2,0]' <-> v LIMIT 2;

DROP TABLE items, line;
DROP FUNCTION same_as_sorted;
