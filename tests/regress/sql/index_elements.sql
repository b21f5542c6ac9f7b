-- hnsw and ivf over bf16vec and bytevec: every operator class, rows in exact order, inserts, VACUUM.

SET jit = off;
CREATE TABLE t (id int PRIMARY KEY, b bytevec(32), h bf16vec(32));
CREATE FUNCTION fill(first int, last int) RETURNS void LANGUAGE sql AS $$
  INSERT INTO t SELECT i, quantize_to_bytevec(v, -3, 3), v FROM (
    SELECT i, array_agg(sin(i * 12.9898 + j * 78.233) + cos(i * j * 0.37) + (i % 7 = j % 7)::int ORDER BY j)::vector v
    FROM generate_series(first, last) i, generate_series(1, 32) j GROUP BY i) x
$$;
-- share of the ten nearest found over every eightieth row as query; fails where rows are out of order or too few
CREATE FUNCTION recall(col text, op text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE found bigint := 0; wanted bigint := 0; query text; near int[]; here int[]; ordered boolean;
BEGIN
  FOR query IN EXECUTE format('SELECT %I::text FROM t WHERE id %% 80 = 3 AND id < 2000', col) LOOP
    SET LOCAL enable_indexscan = off;
    EXECUTE format('SELECT array_agg(id) FROM (SELECT id FROM t ORDER BY %I %s %L, id LIMIT 10) x', col, op, query) INTO near;
    SET LOCAL enable_indexscan = on;
    SET LOCAL enable_seqscan = off;
    EXECUTE format('SELECT array_agg(id), bool_and(d >= before) FROM (SELECT id, d, coalesce(lag(d) OVER (), d) before FROM (SELECT id, %1$I %2$s %3$L AS d FROM t ORDER BY %1$I %2$s %3$L LIMIT 10) x) y', col, op, query) INTO here, ordered;
    IF NOT ordered OR cardinality(here) <> 10 THEN RAISE EXCEPTION 'wrong rows for %', query; END IF;
    wanted := wanted + 10;
    found := found + (SELECT count(*) FROM unnest(near) n WHERE n = ANY (here));
  END LOOP;
  RETURN found / wanted::numeric;
END $$;

SELECT fill(1, 2000);
CREATE INDEX b_l2 ON t USING hnsw (b bytevec_l2_ops);
CREATE INDEX b_ip ON t USING hnsw (b bytevec_ip_ops);
CREATE INDEX b_cosine ON t USING hnsw (b bytevec_cosine_ops);
CREATE INDEX b_l1 ON t USING hnsw (b bytevec_l1_ops);
CREATE INDEX h_l2 ON t USING hnsw (h bf16vec_l2_ops);
CREATE INDEX h_ip ON t USING hnsw (h bf16vec_ip_ops);
CREATE INDEX h_cosine ON t USING hnsw (h bf16vec_cosine_ops);
CREATE INDEX h_l1 ON t USING hnsw (h bf16vec_l1_ops);
SELECT col, op, recall(col, op) >= 0.9 AS found FROM (VALUES ('b'), ('h')) c (col), (VALUES ('<->'), ('<#>'), ('<=>'), ('<+>')) o (op);
SELECT i, layout = 'plain' AS plain, elements FROM unnest(ARRAY['b_l2','b_ip','b_cosine','b_l1','h_l2','h_ip','h_cosine','h_l1']) i, vector_index_stats(i::regclass);

-- into the filled index
SELECT fill(2001, 2300);
DELETE FROM t WHERE id % 3 = 0;
VACUUM t;
SELECT col, op, recall(col, op) >= 0.9 AS found FROM (VALUES ('b'), ('h')) c (col), (VALUES ('<->'), ('<#>'), ('<=>'), ('<+>')) o (op);

-- ivf
DROP INDEX b_l2, b_ip, b_cosine, b_l1, h_l2, h_ip, h_cosine, h_l1;
CREATE INDEX b_l2 ON t USING ivf (b bytevec_l2_ops) WITH (lists = 20);
CREATE INDEX b_ip ON t USING ivf (b bytevec_ip_ops) WITH (lists = 20);
CREATE INDEX b_cosine ON t USING ivf (b bytevec_cosine_ops) WITH (lists = 20);
CREATE INDEX b_l1 ON t USING ivf (b bytevec_l1_ops) WITH (lists = 20);
CREATE INDEX h_l2 ON t USING ivf (h bf16vec_l2_ops) WITH (lists = 20);
CREATE INDEX h_ip ON t USING ivf (h bf16vec_ip_ops) WITH (lists = 20);
CREATE INDEX h_cosine ON t USING ivf (h bf16vec_cosine_ops) WITH (lists = 20);
CREATE INDEX h_l1 ON t USING ivf (h bf16vec_l1_ops) WITH (lists = 20);
SET ivf.probes = 8;
SELECT col, op, recall(col, op) >= 0.9 AS found FROM (VALUES ('b'), ('h')) c (col), (VALUES ('<->'), ('<#>'), ('<=>'), ('<+>')) o (op);
SELECT fill(2301, 2500);
DELETE FROM t WHERE id % 4 = 0;
VACUUM t;
SELECT col, op, recall(col, op) >= 0.9 AS found FROM (VALUES ('b'), ('h')) c (col), (VALUES ('<->'), ('<#>'), ('<=>'), ('<+>')) o (op);
RESET ivf.probes;

-- ivfflat
DROP INDEX b_l2, b_ip, b_cosine, b_l1, h_l2, h_ip, h_cosine, h_l1;
CREATE INDEX b_l2 ON t USING ivfflat (b bytevec_l2_ops) WITH (lists = 20);
CREATE INDEX b_ip ON t USING ivfflat (b bytevec_ip_ops) WITH (lists = 20);
CREATE INDEX b_cosine ON t USING ivfflat (b bytevec_cosine_ops) WITH (lists = 20);
CREATE INDEX h_l2 ON t USING ivfflat (h bf16vec_l2_ops) WITH (lists = 20);
CREATE INDEX h_ip ON t USING ivfflat (h bf16vec_ip_ops) WITH (lists = 20);
CREATE INDEX h_cosine ON t USING ivfflat (h bf16vec_cosine_ops) WITH (lists = 20);
SET ivfflat.probes = 14;
SELECT col, op, recall(col, op) >= 0.9 AS found FROM (VALUES ('b'), ('h')) c (col), (VALUES ('<->'), ('<#>'), ('<=>')) o (op);
RESET ivfflat.probes;
DROP TABLE t;

-- into the empty one; NULLs are not indexed, zero vectors not under cosine, equal values share a node
CREATE TABLE t (id serial, b bytevec(3), h bf16vec(3));
CREATE INDEX b_cosine ON t USING hnsw (b bytevec_cosine_ops);
CREATE INDEX b_l1 ON t USING hnsw (b bytevec_l1_ops);
CREATE INDEX h_l2 ON t USING hnsw (h bf16vec_l2_ops);
INSERT INTO t (b, h) VALUES ('[0,0,0]', '[0,0,0]'), (NULL, NULL), ('[1,2,3]', '[1,2,3]'), ('[1,2,3]', '[1,2,3]'), ('[-128,127,0]', '[0.001,1e30,-1e30]');
INSERT INTO t (b) VALUES ('[1,2]');
SELECT id, b FROM t ORDER BY b <=> '[1,2,2]', id;
SELECT id, b FROM t ORDER BY b <+> '[1,2,2]', id;
SELECT id, h FROM t ORDER BY h <-> '[1,2,2]', id;
SET enable_seqscan = off;
SELECT id, h FROM t ORDER BY h <-> '[1,2,2]'::vector, id LIMIT 2;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY h <-> '[1,2,2]'::vector LIMIT 2;
SELECT id FROM t ORDER BY b <=> '[1,2]' LIMIT 1;
SELECT id FROM t ORDER BY b <=> NULL LIMIT 1;
RESET enable_seqscan;
DROP TABLE t;

-- columns need dimensions; every layout and quantizer may be chosen where there are codes
CREATE TABLE t (b bytevec, h bf16vec(16000), c bytevec(100));
CREATE INDEX ON t USING hnsw (b bytevec_l2_ops);
CREATE INDEX ON t USING hnsw ((b::bytevec(3)) bytevec_l2_ops);
CREATE INDEX ON t USING hnsw (h bf16vec_l2_ops);
CREATE INDEX ON t USING hnsw (c bytevec_l2_ops) WITH (layout = compact);
CREATE INDEX ON t USING hnsw (c bytevec_l2_ops) WITH (quantizer = rabitq4);
CREATE INDEX ON t USING hnsw (c bytevec_l2_ops) WITH (layout = plain);
CREATE INDEX ON t USING hnsw (c bytevec_l1_ops) WITH (quantizer = sq8);
CREATE INDEX ON t USING hnsw (c);
DROP TABLE t;
DROP FUNCTION fill, recall;
