-- vector_index_check: sound indexes have no findings
CREATE TABLE t (id int, v vector(32), h halfvec(40), b bit(64), s sparsevec(100));
INSERT INTO t SELECT i, ARRAY(SELECT sin(i * n) FROM generate_series(1, 32) n)::vector,
  ARRAY(SELECT cos(i * n) FROM generate_series(1, 40) n)::vector::halfvec, (i * 12345)::bit(64),
  format('{1:1,2:%s,%s:2}/100', i % 7 + 1, i % 49 + 51)::sparsevec
FROM generate_series(1, 500) i;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
CREATE INDEX t_compact ON t USING hnsw (v vector_cosine_ops) WITH (layout = compact);
CREATE INDEX t_plain ON t USING hnsw (v vector_l1_ops);
CREATE INDEX t_h ON t USING hnsw (h halfvec_ip_ops);
CREATE INDEX t_b ON t USING hnsw (b bit_jaccard_ops);
CREATE INDEX t_s ON t USING hnsw (s sparsevec_cosine_ops);
CREATE INDEX t_part ON t USING hnsw (v vector_l2_ops) WHERE id > 400;
SELECT i.relname, f.* FROM pg_class i, LATERAL vector_index_check(i.oid, true) f
WHERE i.relname LIKE 't\_%' AND f.severity = 'error';
DELETE FROM t WHERE id % 3 = 0;
VACUUM (INDEX_CLEANUP ON) t;
UPDATE t SET v = v + v WHERE id % 5 = 0;
INSERT INTO t SELECT id, v, h, b, s FROM t WHERE id < 50;
INSERT INTO t (id) VALUES (0);
INSERT INTO t (id, v) VALUES (0, '[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]');
SELECT i.relname, f.* FROM pg_class i, LATERAL vector_index_check(i.oid, true) f
WHERE i.relname LIKE 't\_%' AND f.severity = 'error';

-- an empty index, a temporary one, an unlogged one
CREATE TEMP TABLE empty (v vector(32));
CREATE INDEX empty_v ON empty USING hnsw (v vector_l2_ops);
CREATE UNLOGGED TABLE unlogged (v vector(3));
CREATE INDEX unlogged_v ON unlogged USING hnsw (v vector_l2_ops);
INSERT INTO unlogged VALUES ('[1,2,3]'), ('[1,2,3]'), ('[3,2,1]');
SELECT * FROM vector_index_check('empty_v', true);
SELECT * FROM vector_index_check('unlogged_v', true, true);
SELECT * FROM vector_index_check(NULL);
SELECT * FROM vector_index_check('t_v', NULL);

-- what is no index of ours, and whose table may not be read
CREATE INDEX t_id ON t (id);
\set VERBOSITY sqlstate
SELECT * FROM vector_index_check('t_id');
SELECT * FROM vector_index_check('t');
SELECT * FROM vector_index_check(0);
CREATE ROLE regress_vectorext_checker;
SET ROLE regress_vectorext_checker;
SELECT * FROM vector_index_check('t_v');
RESET ROLE;
\set VERBOSITY default
DROP TABLE t, unlogged;
DROP ROLE regress_vectorext_checker;
