-- CREATE INDEX ... USING ivf and ivfflat: operator classes, options and their errors

SET client_min_messages = warning;
SELECT amname, opcname, opcintype::regtype, opcdefault
FROM pg_opclass JOIN pg_am ON pg_am.oid = opcmethod
WHERE amname IN ('ivf', 'ivfflat') ORDER BY 1, 3::text, 2;
SELECT opcname FROM pg_opclass WHERE NOT amvalidate(oid)
AND opcmethod IN (SELECT oid FROM pg_am WHERE amname IN ('ivf', 'ivfflat'));

CREATE TABLE t (id serial, v vector(3), h halfvec(3), b bit(3), w vector, s sparsevec(3));
CREATE INDEX ON t USING ivf (v vector_l2_ops) WITH (lists = -1);
CREATE INDEX ON t USING ivf (v vector_l2_ops) WITH (lists = 65537);
CREATE INDEX ON t USING ivf (v vector_l2_ops) WITH (quantizer = 'rabitq');
CREATE INDEX ON t USING ivf (v vector_l2_ops) WITH (rerank = 'exact');
CREATE INDEX ON t USING ivf (v vector_l2_ops) WITH (probes = 1);
CREATE INDEX ON t USING ivf (v vector_l2_ops) WITH (quantizer = none, rerank = heap);
CREATE INDEX ON t USING ivf (v vector_l1_ops) WITH (quantizer = sq8);
CREATE INDEX ON t USING ivf (b bit_jaccard_ops) WITH (quantizer = rabitq1);
CREATE INDEX ON t USING ivf (v vector_l2_ops) WITH (quantizer = pq, pq_bits = 5);
CREATE INDEX ON t USING ivf (v vector_l2_ops) WITH (quantizer = pq, pq_segments = 4);
CREATE INDEX ON t USING ivf (v vector_l2_ops) WITH (quantizer = sq8, pq_segments = 3);
CREATE INDEX ON t USING ivf (v vector_l2_ops) WITH (quantizer = none, copies = 2);
CREATE INDEX ON t USING ivf (v vector_l2_ops) WITH (copies = 3);
CREATE INDEX ON t USING ivf (w vector_l2_ops);
CREATE INDEX ON t USING ivf (s sparsevec_l2_ops);
CREATE INDEX ON t USING ivf (v vector_l2_ops, h halfvec_l2_ops);
CREATE UNIQUE INDEX ON t USING ivf (v vector_l2_ops);
CREATE INDEX ON t USING ivfflat (v vector_l1_ops);
CREATE INDEX ON t USING ivfflat (v vector_l2_ops) WITH (lists = 0);
CREATE INDEX ON t USING ivfflat (v vector_l2_ops) WITH (quantizer = sq8);

-- dimensions

CREATE TABLE wide (a vector(8001), b vector(2001), c halfvec(4001), d bit(64001), e vector(8000), f varbit(3));
CREATE INDEX ON wide USING ivf (a vector_l2_ops);
CREATE INDEX ON wide USING ivf (d bit_hamming_ops);
CREATE INDEX ON wide USING ivf (f bit_hamming_ops);
CREATE INDEX ON wide USING ivf (e vector_l2_ops) WITH (quantizer = none);
CREATE INDEX ON wide USING ivf (e vector_l2_ops);
CREATE INDEX ON wide USING ivfflat (b vector_l2_ops);
CREATE INDEX ON wide USING ivfflat (c halfvec_l2_ops);
INSERT INTO wide (e) VALUES (array_fill(1, ARRAY[8000])::vector), (array_fill(2, ARRAY[8000])::vector);
SET enable_seqscan = off;
SELECT (e::real[])[1] FROM wide ORDER BY e <-> array_fill(3, ARRAY[8000])::vector;
DROP TABLE wide;

-- what an index keeps, as it was asked for or as it suits the column

CREATE TABLE m (id serial, v3 vector(3), v32 vector(32), v64 vector(64), v128 halfvec(128), v384 vector(384), v768 vector(768));
INSERT INTO m (v3, v32, v64, v128, v384, v768)
SELECT a[1:3]::vector, a[1:32]::vector, a[1:64]::vector, a[1:128]::halfvec, a[1:384]::vector, a[1:768]::vector
FROM (SELECT array(SELECT sin(i * 7919 + j * j)::real FROM generate_series(1, 768) j) a FROM generate_series(1, 200) i) rows;
CREATE INDEX m3 ON m USING ivf (v3 vector_l2_ops);
CREATE INDEX m32 ON m USING ivf (v32 vector_cosine_ops);
CREATE INDEX m64 ON m USING ivf (v64 vector_ip_ops);
CREATE INDEX m128 ON m USING ivf (v128 halfvec_l2_ops);
CREATE INDEX m384 ON m USING ivf (v384 vector_cosine_ops);
CREATE INDEX m768 ON m USING ivf (v768 vector_cosine_ops);
CREATE INDEX m3flat ON m USING ivfflat (v3 vector_l2_ops) WITH (lists = 10);
CREATE INDEX m384asked ON m USING ivf (v384 vector_cosine_ops) WITH (lists = 12, quantizer = rabitq4, rerank = index);
CREATE INDEX m32pq ON m USING ivf (v32 vector_l2_ops) WITH (quantizer = pq, pq_segments = 8, pq_bits = 4);
CREATE INDEX m32signs ON m USING ivf (v32 vector_l2_ops) WITH (quantizer = binary);
CREATE INDEX m384none ON m USING ivf (v384 vector_cosine_ops) WITH (lists = 12, quantizer = rabitq2, rerank = none);
SELECT relname, (s).quantizer, (s).rerank, (s).dimensions, (s).lists, (s).lists_per_row, (s).heap_tuples,
	(s).copies = (s).heap_tuples * (s).lists_per_row AS has_all_copies
FROM (SELECT relname, ivf_index_stats(oid) s FROM pg_class
	WHERE relkind = 'i' AND relname ~ '^m[0-9]') stats ORDER BY relname;
SELECT bool_and((s).total_bytes = pg_relation_size(oid) AND (s).total_bytes = (s).code_bytes + (s).vector_bytes
	+ (s).tuple_bytes + (s).directory_bytes + (s).free_bytes + (s).overhead_bytes AND (s).overhead_bytes > 0)
FROM (SELECT oid, ivf_index_stats(oid) s FROM pg_class WHERE relkind = 'i' AND relname ~ '^m[0-9]') stats;
SELECT ivf_index_stats('m');
CREATE INDEX mh ON m USING hnsw (v3 vector_l2_ops);
SELECT ivf_index_stats('mh');
SELECT vector_index_stats('m3');
REINDEX INDEX m384;
CREATE INDEX CONCURRENTLY mc ON m USING ivf (v384 vector_l2_ops);
ALTER INDEX mc SET (lists = 5);
REINDEX INDEX mc;
SELECT lists FROM ivf_index_stats('mc');
DROP TABLE m;

-- centroids from outside

CREATE TABLE points (v vector(2));
INSERT INTO points SELECT ARRAY[i % 10 * 10, i / 100]::vector FROM generate_series(1, 1000) i;
CREATE TABLE centres (id serial, c vector(2));
CREATE INDEX po ON points USING ivf (v vector_l2_ops) WITH (centroids = 'centres');
INSERT INTO centres (c) SELECT ARRAY[i * 10, 5]::vector FROM generate_series(0, 9) i;
CREATE INDEX po ON points USING ivf (v vector_l2_ops) WITH (centroids = 'nowhere');
CREATE INDEX po ON points USING ivf (v vector_l2_ops) WITH (centroids = 'pg_class');
CREATE INDEX po ON points USING ivf (v vector_l2_ops) WITH (centroids = 'public.centres');
SELECT lists, smallest_list, largest_list, imbalance FROM ivf_index_stats('po');
INSERT INTO centres (c) VALUES ('[1,2,3]');
ALTER TABLE centres ALTER c TYPE vector;
INSERT INTO centres (c) VALUES ('[1,2,3]');
REINDEX INDEX po;
DROP TABLE points, centres;

-- an index on nothing has one list

CREATE TABLE e (v vector(4));
CREATE INDEX ei ON e USING ivf (v vector_l2_ops) WITH (lists = 100);
SELECT lists, heap_tuples, probes FROM ivf_index_stats('ei');
INSERT INTO e VALUES ('[1,2,3,4]'), (NULL), ('[2,2,2,2]');
SELECT * FROM e ORDER BY v <-> '[2,2,2,3]';
-- product quantization has nothing to learn from there
TRUNCATE e;
DROP INDEX ei;
SET client_min_messages = notice;
CREATE INDEX ei ON e USING ivf (v vector_l2_ops) WITH (quantizer = pq);
INSERT INTO e SELECT ARRAY[i, i % 2, i % 3, i % 5]::vector FROM generate_series(1, 300) i;
SELECT quantizer FROM ivf_index_stats('ei');
REINDEX INDEX ei;
SET client_min_messages = warning;
SELECT quantizer FROM ivf_index_stats('ei');
SELECT * FROM e ORDER BY v <-> '[100,0,1,0]' LIMIT 2;
DROP TABLE e;

CREATE UNLOGGED TABLE u (v vector(2));
CREATE INDEX ON u USING ivf (v vector_l2_ops);
INSERT INTO u VALUES ('[1,2]'), ('[3,4]');
SELECT * FROM u ORDER BY v <-> '[3,3]';
DROP TABLE u;
CREATE TEMP TABLE temporary (v vector(2));
CREATE INDEX ON temporary USING ivf (v vector_l2_ops);
INSERT INTO temporary VALUES ('[1,2]'), ('[3,4]');
SELECT * FROM temporary ORDER BY v <-> '[3,3]';

-- partial and expression indexes

CREATE TABLE p (id int, v real[]);
INSERT INTO p SELECT i, ARRAY[i, i % 7, i % 3] FROM generate_series(1, 300) i;
CREATE INDEX pe ON p USING ivf ((v::vector(3)) vector_l2_ops) WHERE id % 2 = 0;
EXPLAIN (COSTS OFF) SELECT id FROM p WHERE id % 2 = 0 ORDER BY v::vector(3) <-> '[50,1,2]' LIMIT 3;
SELECT id FROM p WHERE id % 2 = 0 ORDER BY v::vector(3) <-> '[50,1,2]' LIMIT 3;
INSERT INTO p VALUES (1000, '{1,2}');
DROP TABLE p, t;
