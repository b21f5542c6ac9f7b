-- hnsw: which rows are in an index, and how they get there and away.
SET client_min_messages = warning;
SET enable_seqscan = off;

-- NULLs and an empty index
CREATE TABLE t (id int, v vector(3));
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
SELECT id FROM t ORDER BY v <-> '[1,1,1]' LIMIT 5;
INSERT INTO t VALUES (1, NULL);
SELECT id FROM t ORDER BY v <-> '[1,1,1]' LIMIT 5;
INSERT INTO t VALUES (2, '[1,1,1]');
SELECT id FROM t ORDER BY v <-> '[1,1,1]' LIMIT 5;
INSERT INTO t VALUES (3, '[2,1,1]'), (4, NULL), (5, '[0,0,0]');
SELECT id FROM t ORDER BY v <-> '[1,1,1]' LIMIT 5;
REINDEX INDEX t_v;
SELECT id FROM t ORDER BY v <-> '[1,1,1]' LIMIT 5;
-- a NULL query is at no distance: all rows of the index, in any order
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> NULL::vector) n;
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> (SELECT NULL::vector)) n;
-- emptied, and filled again
DELETE FROM t;
VACUUM (INDEX_CLEANUP ON) t;
SELECT id FROM t ORDER BY v <-> '[1,1,1]' LIMIT 5;
INSERT INTO t VALUES (6, '[1,2,3]');
SELECT id FROM t ORDER BY v <-> '[1,1,1]' LIMIT 5;
TRUNCATE t;
SELECT id FROM t ORDER BY v <-> '[1,1,1]' LIMIT 5;
INSERT INTO t VALUES (7, '[1,2,3]');
SELECT id FROM t ORDER BY v <-> '[1,1,1]' LIMIT 5;
DROP TABLE t;

-- under cosine a zero vector has no distance and is not in the index
CREATE TABLE t (id int, v vector(3), s sparsevec(3), h halfvec(3));
CREATE INDEX t_v ON t USING hnsw (v vector_cosine_ops);
CREATE INDEX t_s ON t USING hnsw (s sparsevec_cosine_ops);
CREATE INDEX t_h ON t USING hnsw (h halfvec_cosine_ops);
INSERT INTO t VALUES (1, '[1,1,1]', '{1:1}/3', '[1,1,1]'), (2, '[0,0,0]', '{}/3', '[0,0,0]'), (3, '[1,2,0]', '{2:1}/3', '[1,2,0]');
SELECT id FROM t ORDER BY v <=> '[1,1,1]' LIMIT 5;
SELECT id FROM t ORDER BY s <=> '{1:1}/3' LIMIT 5;
SELECT id FROM t ORDER BY h <=> '[1,1,1]' LIMIT 5;
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <=> '[0,0,0]') z;
REINDEX TABLE t;
SELECT id FROM t ORDER BY v <=> '[1,1,1]' LIMIT 5;
DROP TABLE t;

-- duplicates by the thousand: built, inserted, removed from either end
CREATE TABLE t (id int, v vector(2));
INSERT INTO t SELECT i, '[1,1]' FROM generate_series(1, 5000) i;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
INSERT INTO t SELECT i, '[1,1]' FROM generate_series(5001, 8000) i;
INSERT INTO t VALUES (9001, '[1,2]'), (9002, '[5,5]');
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> '[1,1]' LIMIT 8000) d;
SELECT id FROM t ORDER BY v <-> '[1,1]' OFFSET 8000;
DELETE FROM t WHERE id <= 3000 OR id BETWEEN 6000 AND 6500;
VACUUM (INDEX_CLEANUP ON) t;
SELECT count(*), count(DISTINCT id), min(id) FROM (SELECT id FROM t ORDER BY v <-> '[1,1]') d;
DELETE FROM t WHERE id < 9000;
VACUUM (INDEX_CLEANUP ON) t;
SELECT id FROM t ORDER BY v <-> '[1,1]';
-- a queue of equal vectors does not grow its index
DO $$ BEGIN FOR i IN 1..3 LOOP INSERT INTO t SELECT n, '[1,1]' FROM generate_series(i * 10000, i * 10000 + 999) n; END LOOP; END $$;
DELETE FROM t WHERE id < 20000;
VACUUM (INDEX_CLEANUP ON) t;
SELECT pg_relation_size('t_v') AS before \gset
INSERT INTO t SELECT n, '[1,1]' FROM generate_series(40000, 40999) n;
DELETE FROM t WHERE id < 30000;
VACUUM (INDEX_CLEANUP ON) t;
INSERT INTO t SELECT n, '[1,1]' FROM generate_series(50000, 50999) n;
DELETE FROM t WHERE id < 40000;
VACUUM (INDEX_CLEANUP ON) t;
INSERT INTO t SELECT n, '[1,1]' FROM generate_series(60000, 60999) n;
DELETE FROM t WHERE id < 50000;
VACUUM (INDEX_CLEANUP ON) t;
SELECT pg_relation_size('t_v') <= :before + 5 * 8192 AS stays_small;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> '[1,1]') d;
DROP TABLE t;

-- updates, with and without a new vector
CREATE TABLE t (id int, note text, v vector(2)) WITH (fillfactor = 50);
INSERT INTO t SELECT i, '', ARRAY[i, 0]::vector FROM generate_series(1, 200) i;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
UPDATE t SET note = 'heap only' WHERE id <= 50;
UPDATE t SET v = ARRAY[id + 1000, 0]::vector WHERE id % 2 = 0;
UPDATE t SET v = v, note = 'moved' WHERE id > 100;
SELECT id, v FROM t ORDER BY v <-> '[0,0]' LIMIT 3;
SELECT id, v FROM t ORDER BY v <-> '[2000,0]' LIMIT 3;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> '[0,0]') u;
VACUUM (INDEX_CLEANUP ON) t;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> '[0,0]') u;
BEGIN; UPDATE t SET v = '[-5,0]' WHERE id = 7; SELECT id FROM t ORDER BY v <-> '[-5,0]' LIMIT 1; ROLLBACK;
SELECT id FROM t ORDER BY v <-> '[-5,0]' LIMIT 1;
DROP TABLE t;

-- vectors of many pages
CREATE TABLE t (id int, v vector(16000), h halfvec(16000), b bit(64000), s sparsevec(1000000));
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
CREATE INDEX t_v_100 ON t USING hnsw (v vector_cosine_ops) WITH (m = 100, ef_construction = 200);
CREATE INDEX t_h ON t USING hnsw (h halfvec_l1_ops);
CREATE INDEX t_b ON t USING hnsw (b bit_hamming_ops);
CREATE INDEX t_s ON t USING hnsw (s sparsevec_l2_ops);
INSERT INTO t SELECT i, array_fill(i, ARRAY[16000])::vector, array_fill(i, ARRAY[16000])::vector::halfvec,
    (repeat('1', i * 1000) || repeat('0', 64000 - i * 1000))::bit(64000),
    (SELECT '{' || string_agg(n * 60 || ':' || i, ',') || '}/1000000' FROM generate_series(1, 16000) n)::sparsevec
    FROM generate_series(1, 20) i;
SELECT id, v <-> array_fill(7.2::real, ARRAY[16000])::vector < 30 AS near FROM t ORDER BY v <-> array_fill(7.2::real, ARRAY[16000])::vector LIMIT 3;
SELECT id FROM t ORDER BY h <+> array_fill(7.2::real, ARRAY[16000])::vector::halfvec LIMIT 3;
SELECT id, b <~> (repeat('1', 7200) || repeat('0', 56800))::bit(64000) FROM t ORDER BY b <~> (repeat('1', 7200) || repeat('0', 56800))::bit(64000) LIMIT 3;
SELECT id FROM t ORDER BY s <-> (SELECT s FROM t WHERE id = 7) LIMIT 1;
REINDEX TABLE t;
DELETE FROM t WHERE id % 2 = 1;
VACUUM (INDEX_CLEANUP ON) t;
SELECT id FROM t ORDER BY v <-> array_fill(7.2::real, ARRAY[16000])::vector LIMIT 3;
SELECT id FROM t ORDER BY h <+> array_fill(7.2::real, ARRAY[16000])::vector::halfvec LIMIT 3;
SELECT id FROM t ORDER BY b <~> (repeat('1', 7200) || repeat('0', 56800))::bit(64000) LIMIT 3;
SELECT count(*) FROM (SELECT id FROM t ORDER BY s <-> (SELECT s FROM t WHERE id = 8)) s;
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <=> (SELECT v FROM t WHERE id = 8)) s;
INSERT INTO t SELECT 100 + id, v, h, b, s FROM t;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> array_fill(7.2::real, ARRAY[16000])::vector) a;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY s <-> (SELECT s FROM t WHERE id = 8)) a;
DROP TABLE t;
