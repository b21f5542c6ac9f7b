-- searches through ivf: exact order, recall, every metric and quantizer

SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET enable_sort = off;
SELECT setseed(0.5);
-- 30 clusters of 100 rows
CREATE TABLE rows (id serial PRIMARY KEY, v vector(80), h halfvec(80), b bit(80));
INSERT INTO rows (v)
SELECT array(SELECT (c * j % 7 + (random() - 0.5) * 4)::real FROM generate_series(1, 80) j WHERE i = i)::vector
FROM generate_series(1, 30) c, generate_series(1, 100) i;
UPDATE rows SET h = v::halfvec, b = binary_quantize(v - (SELECT avg(v) FROM rows));
ALTER TABLE rows ALTER v SET STORAGE plain;
CREATE TABLE queries AS SELECT id, v + array_fill(0.05, ARRAY[80])::vector AS v FROM rows WHERE id % 100 = 7;
ALTER TABLE queries ADD h halfvec(80), ADD b bit(80);
UPDATE queries SET h = v::halfvec, b = binary_quantize(v - (SELECT avg(v) FROM rows));

-- what a sequential scan finds and what the index finds: how many of the ten nearest are equally near,
-- and whether rows come in the operator's order
CREATE FUNCTION compare(col text, op text, method text, class text, options text, OUT recall boolean, OUT in_order boolean, OUT used text) AS $$
DECLARE
	query queries%ROWTYPE; exact float8[]; found float8[]; hits int := 0; total int := 0; line text;
BEGIN
	EXECUTE format('CREATE INDEX compared ON rows USING %s (%s %s) %s', method, col, class, options);
	in_order := true;
	FOR query IN SELECT * FROM queries LOOP
		SET LOCAL enable_indexscan = off; SET LOCAL enable_seqscan = on; SET LOCAL enable_sort = on;
		EXECUTE format('SELECT array(SELECT %1$s %2$s ($1).%1$s FROM rows ORDER BY %1$s %2$s ($1).%1$s LIMIT 10)', col, op) INTO exact USING query;
		SET LOCAL enable_indexscan = on; SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off;
		EXECUTE format('SELECT array(SELECT %1$s %2$s ($1).%1$s FROM rows ORDER BY %1$s %2$s ($1).%1$s LIMIT 10)', col, op) INTO found USING query;
		hits := hits + (SELECT count(*) FROM unnest(found) d WHERE d <= exact[10]);
		total := total + 10;
		in_order := in_order AND found = (SELECT array_agg(d ORDER BY d) FROM unnest(found) d) AND cardinality(found) = 10;
	END LOOP;
	-- 0.95 is aimed at; so few queries may have less by chance
	recall := hits >= 0.9 * total;
	FOR line IN EXECUTE format('EXPLAIN (COSTS OFF) SELECT id FROM rows ORDER BY %1$s %2$s (SELECT %1$s FROM queries LIMIT 1) LIMIT 10', col, op) LOOP
		used := coalesce(used, substring(line FROM 'Index Scan using (\w+)'));
	END LOOP;
	EXECUTE 'DROP INDEX compared';
END $$ LANGUAGE plpgsql;

SELECT col, op, class, q, c.* FROM (VALUES ('v', '<->', 'vector_l2_ops'), ('v', '<#>', 'vector_ip_ops'), ('v', '<=>', 'vector_cosine_ops'),
	('h', '<->', 'halfvec_l2_ops'), ('h', '<#>', 'halfvec_ip_ops'), ('h', '<=>', 'halfvec_cosine_ops')) o (col, op, class),
	unnest('{none,rabitq1,rabitq2,rabitq4,sq8}'::text[]) q,
	compare(col, op, 'ivf', class, format('WITH (lists = 30, quantizer = %s)', q)) c ORDER BY class, q;
SELECT q, c.* FROM unnest('{binary,pq,"pq, pq_segments = 10, pq_bits = 4",rabitq3,rabitq5,rabitq6,rabitq7,rabitq8,sq4}'::text[]) q,
	compare('v', '<=>', 'ivf', 'vector_cosine_ops', format('WITH (lists = 30, rerank = index, quantizer = %s)', q)) c;
SELECT rerank, c.* FROM unnest('{heap,index}'::text[]) rerank,
	compare('v', '<=>', 'ivf', 'vector_cosine_ops', format('WITH (lists = 30, quantizer = rabitq2, rerank = %s)', rerank)) c;
SELECT copies, c.* FROM unnest('{1,2}'::text[]) copies,
	compare('v', '<=>', 'ivf', 'vector_cosine_ops', format('WITH (lists = 30, quantizer = rabitq2, copies = %s)', copies)) c;
SELECT class, c.* FROM (VALUES ('v', '<+>', 'vector_l1_ops'), ('h', '<+>', 'halfvec_l1_ops'), ('b', '<~>', 'bit_hamming_ops'), ('b', '<%>', 'bit_jaccard_ops')) o (col, op, class),
	compare(col, op, 'ivf', class, 'WITH (lists = 20)') c;
SELECT class, c.* FROM (VALUES ('v', '<->', 'vector_l2_ops'), ('h', '<=>', 'halfvec_cosine_ops')) o (col, op, class),
	compare(col, op, 'ivf', class, '') c;
SET ivfflat.probes = 12;
SELECT class, c.* FROM (VALUES ('v', '<->', 'vector_l2_ops'), ('v', '<#>', 'vector_ip_ops'), ('v', '<=>', 'vector_cosine_ops'),
	('h', '<->', 'halfvec_l2_ops'), ('b', '<~>', 'bit_hamming_ops')) o (col, op, class),
	compare(col, op, 'ivfflat', class, 'WITH (lists = 30)') c;
RESET ivfflat.probes;
-- TOASTed values
ALTER TABLE rows ALTER v SET STORAGE external, ALTER h SET STORAGE external;
ALTER TABLE rows SET (toast_tuple_target = 128);
UPDATE rows SET id = id;
VACUUM FULL rows;
SELECT rerank, c.* FROM unnest('{heap,index}'::text[]) rerank,
	compare('v', '<=>', 'ivf', 'vector_cosine_ops', format('WITH (lists = 30, quantizer = rabitq1, rerank = %s)', rerank)) c;

-- every row comes if asked long enough, once, and in exact order
CREATE INDEX walked ON rows USING ivf (v vector_l2_ops) WITH (lists = 30, quantizer = rabitq1);
CREATE TEMP TABLE seen AS SELECT id, v <-> (SELECT v FROM queries LIMIT 1) d, row_number() OVER () n
FROM (SELECT * FROM rows ORDER BY v <-> (SELECT v FROM queries LIMIT 1)) r;
SELECT count(*), count(DISTINCT id), min(n) AS first, max(n) AS last FROM seen;
SELECT count(*) < 30 AS nearly_in_order FROM (SELECT d, lag(d) OVER (ORDER BY n) AS before FROM seen) s WHERE d < before;
SELECT returned = 3000 AS all_returned, lists, probes >= 30 AS all_probed FROM ivf_last_scan();
-- filters, OFFSET, cursors
SELECT count(*) FROM (SELECT id FROM rows WHERE id % 50 = 3 ORDER BY v <-> (SELECT v FROM queries LIMIT 1) LIMIT 60) r;
SELECT count(*) FROM (SELECT id FROM rows ORDER BY v <-> (SELECT v FROM queries LIMIT 1) OFFSET 500 LIMIT 100) r;
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM rows ORDER BY v <-> (SELECT v FROM queries LIMIT 1);
FETCH 0 c;
MOVE 40 c;
DELETE FROM rows WHERE id > 2000;
MOVE 5000 c;
ROLLBACK;
-- rows that were deleted are not among the LIMIT
DELETE FROM rows WHERE id IN (SELECT id FROM rows ORDER BY v <-> (SELECT v FROM queries LIMIT 1) LIMIT 50);
SELECT count(*) FROM (SELECT id FROM rows ORDER BY v <-> (SELECT v FROM queries LIMIT 1) LIMIT 10) r;
VACUUM rows;
SELECT count(*) FROM (SELECT id FROM rows ORDER BY v <-> (SELECT v FROM queries LIMIT 1) LIMIT 10) r;
SELECT heap_tuples, copies FROM ivf_index_stats('walked');
-- NULL and, under cosine, zero are at no distance from anything
SELECT count(*) FROM (SELECT id FROM rows ORDER BY v <-> NULL::vector) r;
CREATE TABLE zeros (v vector(3));
INSERT INTO zeros VALUES ('[0,0,0]'), ('[1,1,1]'), ('[1,0,0]'), (NULL);
CREATE INDEX ON zeros USING ivf (v vector_cosine_ops);
SET enable_seqscan = off;
SELECT * FROM zeros ORDER BY v <=> '[1,1,0.9]';
SELECT count(*) FROM (SELECT * FROM zeros ORDER BY v <=> '[0,0,0]') r;
SELECT * FROM zeros ORDER BY v <=> '[1,2]';
-- joins rescan
SELECT count(*) FROM queries q CROSS JOIN LATERAL (SELECT id FROM rows r ORDER BY r.v <-> q.v LIMIT 3) n;
DROP TABLE rows, queries, zeros;
DROP FUNCTION compare;
