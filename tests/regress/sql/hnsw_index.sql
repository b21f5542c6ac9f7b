-- hnsw: what an index can be made on, its options, and when the planner takes it.
SET enable_seqscan = off;

-- options and their limits
CREATE TABLE t (id int, v vector(3));
INSERT INTO t SELECT i, ARRAY[i, i % 7, i % 3]::vector FROM generate_series(1, 30) i;
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (m = 1);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (m = 101);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (ef_construction = 3);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (ef_construction = 1001);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (lists = 10);
CREATE INDEX least ON t USING hnsw (v vector_l2_ops) WITH (m = 2, ef_construction = 4);
CREATE INDEX most ON t USING hnsw (v vector_cosine_ops) WITH (m = 100, ef_construction = 1000);
-- fewer candidates than links
CREATE INDEX raised ON t USING hnsw (v vector_l1_ops) WITH (m = 20, ef_construction = 10);
SELECT id FROM t ORDER BY v <-> '[7,0,1]' LIMIT 2;
SELECT id FROM t ORDER BY v <+> '[7,0,1]' LIMIT 2;
ALTER INDEX least SET (m = 8);
REINDEX INDEX least;
SELECT id FROM t ORDER BY v <-> '[7,0,1]' LIMIT 2;
CREATE UNIQUE INDEX ON t USING hnsw (v vector_l2_ops);
CREATE INDEX ON t USING hnsw (v vector_l2_ops, v vector_l2_ops);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) INCLUDE (id);
CREATE INDEX ON t USING hnsw (v);
CREATE INDEX ON t USING hnsw (id);
CREATE INDEX ON t USING hnsw (v vector_l2_ops ASC);
SHOW hnsw.ef_search;
SET hnsw.ef_search = 0;
SET hnsw.ef_search = 1001;
SHOW hnsw.iterative_scan;
SET hnsw.iterative_scan = on;
SET hnsw.max_scan_tuples = 0;
SET hnsw.scan_mem_multiplier = 0.5;
SET hnsw.scan_mem_multiplier = 1001;
DROP TABLE t;

-- dimensions
CREATE TABLE t (v vector, w vector(16000), h halfvec, s sparsevec, b bit(64000), c bit(64001), d bit varying, e bit varying(8));
CREATE INDEX ON t USING hnsw (v vector_l2_ops);
CREATE INDEX ON t USING hnsw (h halfvec_l2_ops);
CREATE INDEX ON t USING hnsw (s sparsevec_l2_ops);
CREATE INDEX ON t USING hnsw (w vector_l2_ops);
CREATE INDEX ON t USING hnsw (b bit_hamming_ops);
CREATE INDEX ON t USING hnsw (c bit_hamming_ops);
CREATE INDEX ON t USING hnsw (d bit_hamming_ops);
CREATE INDEX ON t USING hnsw (e bit_hamming_ops);
DROP TABLE t;
CREATE TABLE t (id int, v vector(3));
CREATE INDEX ON t USING hnsw (v vector_l2_ops);
INSERT INTO t VALUES (1, '[1,2,3]');
INSERT INTO t VALUES (2, '[1,2]');
SELECT id FROM t ORDER BY v <-> '[1,2]' LIMIT 1;
DROP TABLE t;

-- mixed dimensions: an expression for those of one, a partial index
CREATE TABLE t (id int, kind text, v vector);
INSERT INTO t SELECT i, 'small', ARRAY[i, 0]::vector FROM generate_series(1, 50) i;
INSERT INTO t SELECT i, 'large', ARRAY[i, 0, 1]::vector FROM generate_series(51, 100) i;
CREATE INDEX ON t USING hnsw ((v::vector(2)) vector_l2_ops);
CREATE INDEX t_small ON t USING hnsw ((v::vector(2)) vector_l2_ops) WHERE kind = 'small';
CREATE INDEX t_half ON t USING hnsw ((v::halfvec(3)) halfvec_l2_ops) WHERE kind = 'large';
CREATE INDEX t_binary ON t USING hnsw ((binary_quantize(v)::bit(3)) bit_hamming_ops) WHERE kind = 'large';
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE kind = 'small' ORDER BY v::vector(2) <-> '[7.2,0]' LIMIT 2;
SELECT id FROM t WHERE kind = 'small' ORDER BY v::vector(2) <-> '[7.2,0]' LIMIT 2;
SELECT id FROM t WHERE kind = 'large' ORDER BY v::halfvec(3) <-> '[70.2,0,1]' LIMIT 2;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE kind = 'large' ORDER BY binary_quantize(v)::bit(3) <~> '101' LIMIT 2;
SELECT count(*) FROM (SELECT id FROM t WHERE kind = 'large' ORDER BY binary_quantize(v)::bit(3) <~> '101') q;
SELECT count(*) FROM t WHERE kind = 'small';
UPDATE t SET kind = 'small' WHERE id = 60;
UPDATE t SET kind = 'other' WHERE id = 7;
SELECT id FROM t WHERE kind = 'small' ORDER BY v::vector(2) <-> '[7.2,0]' LIMIT 2;
DROP TABLE t;

-- partitions, temporary and unlogged tables, tablespaces
CREATE TABLE t (id int, v vector(2)) PARTITION BY RANGE (id);
CREATE TABLE t_low PARTITION OF t FOR VALUES FROM (0) TO (50);
CREATE TABLE t_high PARTITION OF t FOR VALUES FROM (50) TO (1000);
INSERT INTO t SELECT i, ARRAY[i, 0]::vector FROM generate_series(1, 99) i;
CREATE INDEX ON t USING hnsw (v vector_l2_ops);
CREATE TABLE t_more PARTITION OF t FOR VALUES FROM (1000) TO (2000);
INSERT INTO t VALUES (1000, '[49.1,0]');
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[49.2,0]' LIMIT 5;
SELECT id FROM t ORDER BY v <-> '[49.2,0]' LIMIT 5;
DROP TABLE t;
CREATE TEMP TABLE t (id int, v vector(2100)) ON COMMIT PRESERVE ROWS;
CREATE INDEX ON t USING hnsw (v vector_l2_ops);
INSERT INTO t SELECT i, array_fill(i, ARRAY[2100])::vector FROM generate_series(1, 100) i;
INSERT INTO t SELECT i, array_fill(1, ARRAY[2100])::vector FROM generate_series(101, 140) i;
DELETE FROM t WHERE id % 3 = 0;
VACUUM (INDEX_CLEANUP ON) t;
INSERT INTO t SELECT i, array_fill(i, ARRAY[2100])::vector FROM generate_series(200, 260) i;
SELECT id FROM t ORDER BY v <-> array_fill(50.2::real, ARRAY[2100])::vector LIMIT 3;
SELECT count(*) = (SELECT count(*) FROM t) AS complete FROM (SELECT id FROM t ORDER BY v <-> array_fill(50.2::real, ARRAY[2100])::vector) a;
DROP TABLE t;
CREATE UNLOGGED TABLE t (id int, v vector(2));
-- said once, though an unlogged index is made twice
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (m = 20, ef_construction = 10);
INSERT INTO t SELECT i, ARRAY[i, 0]::vector FROM generate_series(1, 99) i;
SELECT id FROM t ORDER BY v <-> '[49.2,0]' LIMIT 2;
ALTER TABLE t SET LOGGED;
SELECT id FROM t ORDER BY v <-> '[49.2,0]' LIMIT 2;
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE hnsw_space LOCATION '';
ALTER INDEX t_v_idx SET TABLESPACE hnsw_space;
INSERT INTO t VALUES (100, '[49.1,0]');
SELECT id FROM t ORDER BY v <-> '[49.2,0]' LIMIT 2;
DROP TABLE t;
DROP TABLESPACE hnsw_space;

-- without locking writers out
CREATE TABLE t (id int, v vector(2));
INSERT INTO t SELECT i, ARRAY[i, 0]::vector FROM generate_series(1, 500) i;
CREATE INDEX CONCURRENTLY t_v ON t USING hnsw (v vector_l2_ops);
REINDEX INDEX CONCURRENTLY t_v;
SELECT id FROM t ORDER BY v <-> '[49.2,0]' LIMIT 2;
CLUSTER t USING t_v;
VACUUM FULL t;
SELECT id FROM t ORDER BY v <-> '[49.2,0]' LIMIT 2;
CREATE MATERIALIZED VIEW m AS SELECT * FROM t;
CREATE INDEX ON m USING hnsw (v vector_l2_ops);
REFRESH MATERIALIZED VIEW m;
SELECT id FROM m ORDER BY v <-> '[49.2,0]' LIMIT 2;
DROP MATERIALIZED VIEW m;
DROP TABLE t;

-- the planner by itself
RESET enable_seqscan;
CREATE TABLE t (id int, v vector(3));
INSERT INTO t SELECT i, ARRAY[i % 97, i % 89, i % 83]::vector FROM generate_series(1, 10000) i;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
ANALYZE t;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,2,3]' LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,2,3]';
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <=> '[1,2,3]' LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,2,3]' DESC LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t LIMIT 10;
EXPLAIN (COSTS OFF) SELECT count(*) FROM t;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE v = '[1,2,3]';
CREATE TABLE tiny (id int, v vector(3));
INSERT INTO tiny SELECT i, ARRAY[i, i, i]::vector FROM generate_series(1, 10) i;
CREATE INDEX ON tiny USING hnsw (v vector_l2_ops);
ANALYZE tiny;
EXPLAIN (COSTS OFF) SELECT id FROM tiny ORDER BY v <-> '[1,2,3]' LIMIT 5;
DROP TABLE t, tiny;
