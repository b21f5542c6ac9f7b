-- hnsw: indexes of quantized codes. Rows and their order are those of a sequential scan; which of
-- the nearest rows are found is a matter of recall, and tested against a threshold.
SET client_min_messages = warning;
-- the planner is kept from other plans by costs so high that it would compile each
SET jit = off;
SELECT setseed(0.25) \g /dev/null

CREATE TABLE rows (id int PRIMARY KEY, v vector(24), h halfvec(24), s sparsevec(24), b bit(24));
CREATE FUNCTION random_vector(dims int, id int) RETURNS vector LANGUAGE sql VOLATILE AS $$
  SELECT array_agg((random() - 0.4)::real)::vector FROM generate_series(1, dims) WHERE id IS NOT NULL
$$;
INSERT INTO rows (id, v) SELECT i, random_vector(24, i) FROM generate_series(1, 1000) i;
UPDATE rows SET h = v, s = v, b = binary_quantize(v);
CREATE TABLE queries (LIKE rows);
INSERT INTO queries (id, v) SELECT i, random_vector(24, i) FROM generate_series(1, 50) i;
UPDATE queries SET h = v, s = v, b = binary_quantize(v);
VACUUM ANALYZE rows, queries;

-- Searches with every query by the index and by a sequential scan. good: at least `threshold` of the
-- nearest were found; ordered: distances never fall; whole: as many rows as asked for, none twice.
CREATE FUNCTION compare(tab text, col text, op text, k int, threshold float8 DEFAULT 0.8, cond text DEFAULT 'true',
    OUT good bool, OUT ordered bool, OUT whole bool)
LANGUAGE plpgsql AS $$
DECLARE
  search text;
  q int; found float8[]; truth float8[]; rows bigint; different bigint; should bigint; hits float8 := 0; wanted float8 := 0;
BEGIN
  ordered := true; whole := true;
  search := format('SELECT array_agg(d ORDER BY n), count(*), count(DISTINCT id) FROM (SELECT id, d, row_number() OVER () AS n FROM (SELECT r.id, r.%1$s %2$s q.%1$s AS d FROM queries q, LATERAL (SELECT id, %1$s FROM %3$s WHERE %4$s ORDER BY %1$s %2$s q.%1$s LIMIT %5$s) r WHERE q.id = $1) x) y', col, op, tab, cond, k);
  FOR q IN SELECT id FROM queries ORDER BY id LOOP
    PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true), set_config('enable_indexscan', 'on', true);
    EXECUTE search INTO found, rows, different USING q;
    PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true), set_config('enable_indexscan', 'off', true);
    EXECUTE search INTO truth, should, should USING q;
    whole := whole AND rows = should AND different = should;
    IF rows > 0 THEN
      ordered := ordered AND found = (SELECT array_agg(d ORDER BY d) FROM unnest(found) d);
      wanted := wanted + should;
      hits := hits + (SELECT count(*) FROM unnest(found) d WHERE d <= truth[should]);
    END IF;
  END LOOP;
  good := hits >= threshold * wanted;
END $$;

-- every layout and quantizer, with every element type and metric that has them
CREATE FUNCTION each_kind() RETURNS TABLE (type text, metric text, options text, layout text, quantizer text,
    good bool, ordered bool, whole bool, all_rows bool)
LANGUAGE plpgsql AS $$
DECLARE kind record;
BEGIN
  FOR kind IN
    SELECT t.*, m.*, o.* FROM (VALUES (1, 'vector', 'v'), (2, 'halfvec', 'h')) t(t_no, type, col),
      (VALUES (1, 'l2', '<->'), (2, 'ip', '<#>'), (3, 'cosine', '<=>')) m(m_no, metric, op),
      (VALUES (1, ''), (2, 'quantizer=rabitq1'), (3, 'quantizer=rabitq2'), (4, 'quantizer=rabitq4'), (5, 'quantizer=sq8'),
              (6, 'layout=inline'), (7, 'layout=inline, quantizer=rabitq4'), (8, 'layout=compact'), (9, 'layout=compact, quantizer=sq8'),
              (10, 'quantizer=none'), (11, 'layout=plain'), (12, 'quantizer=rabitq3'), (13, 'quantizer=rabitq5'),
              (14, 'quantizer=rabitq6'), (15, 'quantizer=rabitq7'), (16, 'quantizer=rabitq8'), (17, 'quantizer=sq4'),
              (18, 'quantizer=binary'), (19, 'quantizer=pq'), (20, 'quantizer=pq, pq_segments=7, pq_bits=4')) o(o_no, options)
    WHERE o_no < 12 OR (o_no < 18 AND t_no = 1 AND m_no = 3) OR (o_no >= 18 AND t_no = 1)
    ORDER BY t_no, m_no, o_no
  LOOP
    type := kind.type; metric := kind.metric; options := kind.options;
    EXECUTE format('CREATE INDEX kind ON rows USING hnsw (%s %s_%s_ops) %s', kind.col, type, metric,
      CASE WHEN options <> '' THEN 'WITH (' || options || ')' ELSE '' END);
    SELECT x.layout, x.quantizer INTO layout, quantizer FROM vector_index_stats('kind') x;
    -- one bit for each of so few dimensions is not much to go by
    SELECT x.good, x.ordered, x.whole INTO good, ordered, whole FROM compare('rows', kind.col, kind.op, 10, 0.8) x;
    SELECT x.good AND x.whole INTO all_rows FROM compare('rows', kind.col, kind.op, 100000, 1) x;
    RETURN NEXT;
    DROP INDEX kind;
  END LOOP;
END $$;
SELECT * FROM each_kind();

-- what has no codes stays plain, and says so where codes are asked for
CREATE INDEX kind ON rows USING hnsw (v vector_l1_ops);
SELECT layout, quantizer FROM vector_index_stats('kind');
DROP INDEX kind;
CREATE INDEX kind ON rows USING hnsw (b bit_hamming_ops);
SELECT layout, quantizer FROM vector_index_stats('kind');
DROP INDEX kind;
CREATE INDEX kind ON rows USING hnsw (s sparsevec_l2_ops) WITH (layout = plain, quantizer = none);
SELECT layout, quantizer FROM vector_index_stats('kind');
DROP INDEX kind;
CREATE FUNCTION refuses(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE message text; state text; hint text;
BEGIN
  EXECUTE command;
  RETURN 'done';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, state = RETURNED_SQLSTATE, hint = PG_EXCEPTION_HINT;
  RETURN state || ' ' || message || CASE WHEN hint <> '' THEN E'\n' || hint ELSE '' END;
END $$;
\pset format unaligned
\t on
SELECT refuses('CREATE INDEX ON rows USING hnsw (v vector_l1_ops) WITH (quantizer = sq8)');
SELECT refuses('CREATE INDEX ON rows USING hnsw (h halfvec_l1_ops) WITH (layout = inline)');
SELECT refuses('CREATE INDEX ON rows USING hnsw (b bit_hamming_ops) WITH (layout = compact)');
SELECT refuses('CREATE INDEX ON rows USING hnsw (b bit_jaccard_ops) WITH (quantizer = rabitq1)');
SELECT refuses('CREATE INDEX ON rows USING hnsw (s sparsevec_cosine_ops) WITH (quantizer = rabitq2)');
SELECT refuses('CREATE INDEX ON rows USING hnsw (v vector_l2_ops) WITH (layout = compact, quantizer = rabitq1)');
SELECT refuses('CREATE INDEX ON rows USING hnsw (v vector_l2_ops) WITH (layout = compact, quantizer = none)');
SELECT refuses('CREATE INDEX ON rows USING hnsw (v vector_l2_ops) WITH (layout = inline, quantizer = none)');
SELECT refuses('CREATE INDEX ON rows USING hnsw (v vector_l2_ops) WITH (layout = plain, quantizer = sq8)');
SELECT refuses('CREATE INDEX ON rows USING hnsw (v vector_l2_ops) WITH (layout = nested)');
SELECT refuses('CREATE INDEX ON rows USING hnsw (v vector_l2_ops) WITH (quantizer = vq)');
SELECT refuses('CREATE INDEX ON rows USING hnsw (v vector_l2_ops) WITH (layout = compact, quantizer = pq)');
SELECT refuses('CREATE INDEX ON rows USING hnsw (v vector_l2_ops) WITH (layout = plain, quantizer = binary)');
SELECT refuses('CREATE INDEX ON rows USING hnsw (v vector_l1_ops) WITH (quantizer = pq)');
SELECT refuses('CREATE INDEX ON rows USING hnsw (v vector_l2_ops) WITH (quantizer = pq, pq_bits = 5)');
SELECT refuses('CREATE INDEX ON rows USING hnsw (v vector_l2_ops) WITH (quantizer = pq, pq_segments = 25)');
SELECT refuses('CREATE INDEX ON rows USING hnsw (v vector_l2_ops) WITH (quantizer = sq8, pq_bits = 4)');
SELECT refuses('CREATE INDEX ON rows USING hnsw (v vector_l2_ops) WITH (pq_segments = 4)');
SELECT refuses('CREATE INDEX ON rows USING hnsw (v vector_l2_ops) WITH (quantizer = sq8, m = 101)');
\t off
\pset format aligned

-- codes of segments need rows to learn from; what comes after that is coded as the first rows were
CREATE TABLE later (LIKE rows);
SET client_min_messages = notice;
CREATE INDEX later_v ON later USING hnsw (v vector_l2_ops) WITH (quantizer = pq, pq_segments = 12);
SET client_min_messages = warning;
SELECT layout, quantizer, code_dimensions FROM vector_index_stats('later_v');
INSERT INTO later SELECT * FROM rows WHERE id <= 300;
SELECT * FROM compare('later', 'v', '<->', 10, 0.8);
REINDEX INDEX later_v;
SELECT layout, quantizer, code_dimensions FROM vector_index_stats('later_v');
INSERT INTO later SELECT * FROM rows WHERE id > 300;
SELECT * FROM compare('later', 'v', '<->', 10, 0.8);
SELECT * FROM compare('later', 'v', '<->', 10000, 1);
DELETE FROM later WHERE id % 3 = 0;
VACUUM later;
SELECT * FROM compare('later', 'v', '<->', 10, 0.8);
SELECT * FROM vector_index_check('later_v', true);
DROP TABLE later;

-- rows under a filter, and more rows than ef_search
CREATE INDEX rows_v ON rows USING hnsw (v vector_l2_ops);
SELECT * FROM compare('rows', 'v', '<->', 10, 0.8, cond => 'id % 50 = 0');
SELECT * FROM compare('rows', 'v', '<->', 10, 0.8, cond => 'id = 77');
SELECT * FROM compare('rows', 'v', '<->', 10, 0.8, cond => 'id < 0');
SELECT good, whole FROM compare('rows', 'v', '<->', 300);
SELECT good, whole FROM compare('rows', 'v', '<->', 999);

-- settings
SET hnsw.target_recall = 0.99;
SELECT * FROM compare('rows', 'v', '<->', 10, 0.96);
SET hnsw.target_recall = 0.5;
SELECT * FROM compare('rows', 'v', '<->', 10, 0.4);
SET hnsw.target_recall = 0;
SELECT * FROM compare('rows', 'v', '<->', 10, 0.9);
SET hnsw.ef_search = 400;
SELECT * FROM compare('rows', 'v', '<->', 10, 1);
RESET hnsw.target_recall;
SELECT * FROM compare('rows', 'v', '<->', 10, 1);
RESET hnsw.ef_search;
SET hnsw.target_recall = 1;
SET hnsw.target_recall = -0.1;
-- the other modes find as many as they are allowed to
SET enable_seqscan = off;
SET hnsw.iterative_scan = off;
SELECT count(*) FROM (SELECT id FROM rows ORDER BY v <-> (SELECT v FROM queries WHERE id = 1)) n;
SET hnsw.ef_search = 100;
SELECT count(*) FROM (SELECT id FROM rows ORDER BY v <-> (SELECT v FROM queries WHERE id = 1)) n;
RESET hnsw.ef_search;
SET hnsw.iterative_scan = relaxed_order;
SELECT count(*) >= 990, count(*) = count(DISTINCT id) FROM (SELECT id FROM rows ORDER BY v <-> (SELECT v FROM queries WHERE id = 1)) n;
SET hnsw.max_scan_tuples = 1;
SELECT count(*) BETWEEN 40 AND 900 FROM (SELECT id FROM rows ORDER BY v <-> (SELECT v FROM queries WHERE id = 1)) n;
RESET hnsw.max_scan_tuples;
SET hnsw.iterative_scan = strict_order;
SELECT * FROM compare('rows', 'v', '<->', 10, 0.8);
RESET hnsw.iterative_scan;

-- cursors: forward to the end, across a subtransaction, and past the transaction's end
BEGIN;
DECLARE c CURSOR FOR SELECT true AS found FROM rows ORDER BY v <-> (SELECT v FROM queries WHERE id = 2);
MOVE 500 IN c;
FETCH 1 FROM c;
MOVE 497 IN c;
FETCH 10 FROM c;
CLOSE c;
DECLARE c CURSOR WITH HOLD FOR SELECT true AS found FROM rows ORDER BY v <-> (SELECT v FROM queries WHERE id = 2) LIMIT 5;
SAVEPOINT s;
FETCH 2 FROM c;
ROLLBACK TO s;
FETCH 1 FROM c;
COMMIT;
FETCH 10 FROM c;
CLOSE c;
-- a row that goes away while a scan is suspended is still seen by its snapshot
BEGIN ISOLATION LEVEL REPEATABLE READ;
DECLARE c CURSOR FOR SELECT true AS found FROM rows ORDER BY v <-> (SELECT v FROM queries WHERE id = 2);
MOVE 1 IN c;
DELETE FROM rows;
MOVE 997 IN c;
FETCH 10 FROM c;
ROLLBACK;

-- a NULL query, and a table with NULLs
SELECT count(*) FROM (SELECT id FROM rows ORDER BY v <-> NULL::vector) n;
SELECT count(*) FROM (SELECT id FROM rows ORDER BY v <-> (SELECT NULL::vector)) n;
INSERT INTO rows (id) SELECT i FROM generate_series(2001, 2010) i;
SELECT count(*) FROM (SELECT id FROM rows ORDER BY v <-> (SELECT v FROM queries WHERE id = 1)) n;
DELETE FROM rows WHERE id > 2000;
-- queries one after another in a statement, some of them NULL
SELECT count(*), count(DISTINCT q) FROM (VALUES (1), (-1), (2), (-1), (3)) l(q), LATERAL (SELECT id FROM rows ORDER BY v <-> (SELECT v FROM queries WHERE queries.id = q) LIMIT 10) n;

-- Inserts. missing: how many rows their own vector does not find.
CREATE FUNCTION missing(tab text, col text, op text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE result bigint;
BEGIN
  PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true), set_config('enable_indexscan', 'on', true);
  EXECUTE format('SELECT count(*) FROM (SELECT id, %1$s AS x FROM %3$s OFFSET 0) r WHERE NOT EXISTS (SELECT 1 FROM (SELECT id FROM %3$s ORDER BY %1$s %2$s r.x LIMIT 1) n WHERE n.id = r.id) AND x IS NOT NULL', col, op, tab) INTO result;
  RETURN result;
END $$;
INSERT INTO rows (id, v) SELECT i, random_vector(24, i) FROM generate_series(1001, 1500) i;
SELECT missing('rows', 'v', '<->') <= 5;
SELECT * FROM compare('rows', 'v', '<->', 10, 0.8);
-- all rows; those that the search came by too late come last
SELECT good, whole FROM compare('rows', 'v', '<->', 100000, 1);
SELECT elements, dead, heap_tuples, entry_points BETWEEN 60 AND 100 AS entry_points FROM vector_index_stats('rows_v');
-- DELETE and VACUUM
DELETE FROM rows WHERE id % 2 = 0;
-- rows that are dead and not vacuumed yet do not stand in for live ones
SELECT * FROM compare('rows', 'v', '<->', 10, 0.8);
VACUUM (INDEX_CLEANUP ON) rows;
SELECT missing('rows', 'v', '<->') <= 5;
SELECT * FROM compare('rows', 'v', '<->', 10, 0.8);
-- all rows; those that the search came by too late come last
SELECT good, whole FROM compare('rows', 'v', '<->', 100000, 1);
SELECT elements, dead, heap_tuples FROM vector_index_stats('rows_v');
-- room is taken again
SELECT pg_relation_size('rows_v') AS before \gset
INSERT INTO rows (id, v) SELECT i, random_vector(24, i) FROM generate_series(2001, 2700) i;
SELECT pg_relation_size('rows_v') <= :before AS stays_small;
SELECT missing('rows', 'v', '<->') <= 5;
-- UPDATE, of the vector and not of the vector
UPDATE rows SET v = random_vector(24, id) WHERE id <= 300;
UPDATE rows SET b = NULL WHERE id > 300 AND id <= 600;
SELECT missing('rows', 'v', '<->') <= 5;
SELECT * FROM compare('rows', 'v', '<->', 10, 0.8);
VACUUM (INDEX_CLEANUP ON) rows;
SELECT missing('rows', 'v', '<->') <= 5;
SELECT elements, dead, heap_tuples FROM vector_index_stats('rows_v');
REINDEX INDEX rows_v;
SELECT * FROM compare('rows', 'v', '<->', 10, 0.8);
SELECT elements, dead, heap_tuples FROM vector_index_stats('rows_v');
-- everything deleted; an empty graph; filled again
DELETE FROM rows;
SELECT id FROM rows ORDER BY v <-> (SELECT v FROM queries WHERE id = 1) LIMIT 3;
VACUUM (INDEX_CLEANUP ON) rows;
SELECT id FROM rows ORDER BY v <-> (SELECT v FROM queries WHERE id = 1) LIMIT 3;
SELECT elements, dead, heap_tuples, entry_points FROM vector_index_stats('rows_v');
INSERT INTO rows (id, v) SELECT id, v FROM queries;
SELECT missing('rows', 'v', '<->');
TRUNCATE rows;
SELECT id FROM rows ORDER BY v <-> (SELECT v FROM queries WHERE id = 1) LIMIT 3;
INSERT INTO rows (id, v) SELECT id, v FROM queries;
SELECT missing('rows', 'v', '<->');
DROP TABLE rows;

-- an index made before its rows, of each layout and metric
CREATE TABLE rows (id int, v vector(32), h halfvec(32));
CREATE INDEX ON rows USING hnsw (v vector_l2_ops);
CREATE INDEX ON rows USING hnsw (v vector_cosine_ops) WITH (layout = compact);
CREATE INDEX ON rows USING hnsw (h halfvec_ip_ops) WITH (quantizer = rabitq4);
SELECT id FROM rows ORDER BY v <-> random_vector(32, 1) LIMIT 3;
INSERT INTO rows SELECT i, v, v FROM (SELECT i, random_vector(32, i) AS v FROM generate_series(1, 1000) i) n;
DROP TABLE queries;
CREATE TABLE queries AS SELECT i AS id, v, v::halfvec(32) AS h FROM (SELECT i, random_vector(32, i) AS v FROM generate_series(1, 50) i) n;
ANALYZE rows, queries;
SELECT * FROM compare('rows', 'v', '<->', 10, 0.8);
SELECT * FROM compare('rows', 'v', '<=>', 10, 0.8);
SELECT * FROM compare('rows', 'h', '<#>', 10, 0.8);
SELECT missing('rows', 'v', '<->') <= 5, missing('rows', 'v', '<=>') <= 5;
DELETE FROM rows WHERE id % 3 = 0;
VACUUM (INDEX_CLEANUP ON) rows;
SELECT * FROM compare('rows', 'v', '<->', 10, 0.8);
SELECT * FROM compare('rows', 'v', '<=>', 10, 0.8);
SELECT * FROM compare('rows', 'h', '<#>', 10, 0.8);
SELECT missing('rows', 'v', '<->') <= 5, missing('rows', 'v', '<=>') <= 5;
DROP TABLE rows;

-- equal values are one node with many rows, built, inserted and removed
CREATE TABLE rows (id int, v vector(16));
INSERT INTO rows SELECT i, array_fill(i % 3 + 1, ARRAY[16])::vector FROM generate_series(1, 900) i;
CREATE INDEX rows_v ON rows USING hnsw (v vector_l2_ops);
SELECT elements, heap_tuples FROM vector_index_stats('rows_v');
INSERT INTO rows SELECT i, array_fill(i % 4 + 1, ARRAY[16])::vector FROM generate_series(901, 2100) i;
SELECT elements, heap_tuples FROM vector_index_stats('rows_v');
SELECT count(*), count(DISTINCT id), bool_and(id % 3 = 0 OR id > 900) FROM (SELECT id FROM rows ORDER BY v <-> array_fill(1, ARRAY[16])::vector LIMIT 600) n;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM rows ORDER BY v <-> array_fill(1, ARRAY[16])::vector) n;
SELECT bool_and(d >= before) FROM (SELECT d, lag(d) OVER () AS before FROM (SELECT v <-> array_fill(3, ARRAY[16])::vector AS d FROM rows ORDER BY d) n) m;
DELETE FROM rows WHERE id <= 900 OR id % 4 = 0;
VACUUM (INDEX_CLEANUP ON) rows;
SELECT elements, dead, heap_tuples FROM vector_index_stats('rows_v');
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM rows ORDER BY v <-> array_fill(1, ARRAY[16])::vector) n;
DROP TABLE rows;

-- one value, or values on a line: no residual, or none but one direction
CREATE TABLE rows (id int, v vector(16));
INSERT INTO rows SELECT i, array_fill(7, ARRAY[16])::vector FROM generate_series(1, 50) i;
CREATE INDEX rows_v ON rows USING hnsw (v vector_l2_ops);
CREATE INDEX rows_c ON rows USING hnsw (v vector_cosine_ops);
CREATE INDEX rows_i ON rows USING hnsw (v vector_ip_ops);
SELECT count(*) FROM (SELECT id FROM rows ORDER BY v <-> array_fill(1, ARRAY[16])::vector) n;
SELECT count(*) FROM (SELECT id FROM rows ORDER BY v <=> array_fill(1, ARRAY[16])::vector) n;
SELECT count(*) FROM (SELECT id FROM rows ORDER BY v <#> array_fill(1, ARRAY[16])::vector) n;
INSERT INTO rows SELECT i, array_fill(i, ARRAY[16])::vector FROM generate_series(51, 400) i;
SELECT array_agg(id) FROM (SELECT id FROM rows ORDER BY v <-> array_fill(100, ARRAY[16])::vector LIMIT 1) n;
SELECT array_agg(id) FROM (SELECT id FROM rows ORDER BY v <-> array_fill(390, ARRAY[16])::vector LIMIT 1) n;
SELECT array_agg(id) FROM (SELECT id FROM rows ORDER BY v <#> array_fill(1, ARRAY[16])::vector LIMIT 3) n;
SELECT count(*) FROM (SELECT id FROM rows ORDER BY v <=> array_fill(1, ARRAY[16])::vector) n;
DROP TABLE rows;

-- zero vectors: rows like any other, but under cosine
CREATE TABLE rows (id int, v vector(16));
INSERT INTO rows SELECT i, random_vector(16, i) FROM generate_series(1, 100) i;
INSERT INTO rows SELECT i, array_fill(0, ARRAY[16])::vector FROM generate_series(101, 110) i;
CREATE INDEX rows_v ON rows USING hnsw (v vector_l2_ops);
CREATE INDEX rows_c ON rows USING hnsw (v vector_cosine_ops);
CREATE INDEX rows_i ON rows USING hnsw (v vector_ip_ops);
SELECT min(id), count(*) FROM (SELECT id FROM rows ORDER BY v <-> array_fill(0, ARRAY[16])::vector LIMIT 10) n;
SELECT count(*) FROM (SELECT id FROM rows ORDER BY v <-> array_fill(0, ARRAY[16])::vector) n;
SELECT count(*) FROM (SELECT id FROM rows ORDER BY v <=> array_fill(1, ARRAY[16])::vector) n;
SELECT count(*) FROM (SELECT id FROM rows ORDER BY v <=> array_fill(0, ARRAY[16])::vector) n;
SELECT count(*) FROM (SELECT id FROM rows ORDER BY v <#> array_fill(1, ARRAY[16])::vector) n;
SELECT count(*) FROM (SELECT id FROM rows ORDER BY v <#> array_fill(0, ARRAY[16])::vector) n;
INSERT INTO rows SELECT i, array_fill(0, ARRAY[16])::vector FROM generate_series(111, 120) i;
SELECT elements, heap_tuples FROM vector_index_stats('rows_v');
SELECT elements, heap_tuples FROM vector_index_stats('rows_c');
DROP TABLE rows;

-- magnitudes: very small, very large, both
CREATE TABLE rows (id int, v vector(16));
INSERT INTO rows SELECT i, random_vector(16, i) * array_fill(CASE i % 3 WHEN 0 THEN 1e-18 WHEN 1 THEN 1 ELSE 1e15 END, ARRAY[16])::vector FROM generate_series(1, 300) i;
CREATE INDEX rows_v ON rows USING hnsw (v vector_l2_ops);
CREATE INDEX rows_c ON rows USING hnsw (v vector_cosine_ops);
DROP TABLE queries;
CREATE TABLE queries AS SELECT id, v FROM rows WHERE id <= 20;
ANALYZE rows, queries;
SELECT * FROM compare('rows', 'v', '<->', 10, 0);
SELECT * FROM compare('rows', 'v', '<=>', 10, 0.8);
DROP TABLE rows;

-- unlogged table, partial index, index on an expression
CREATE UNLOGGED TABLE rows (id int, v vector(24));
INSERT INTO rows SELECT i, random_vector(24, i) FROM generate_series(1, 600) i;
CREATE INDEX rows_h ON rows USING hnsw ((v::halfvec(24)) halfvec_l2_ops);
CREATE INDEX rows_p ON rows USING hnsw (v vector_cosine_ops) WHERE id % 3 = 0;
CREATE INDEX rows_v ON rows USING hnsw (v vector_l2_ops) WITH (layout = compact);
INSERT INTO rows SELECT i, random_vector(24, i) FROM generate_series(601, 900) i;
DROP TABLE queries;
CREATE TABLE queries AS SELECT i AS id, random_vector(24, i) AS v FROM generate_series(1, 50) i;
ANALYZE rows, queries;
SELECT * FROM compare('rows', 'v::halfvec(24)', '<->', 10, 0.8);
SELECT * FROM compare('rows', 'v', '<=>', 10, 0.8, cond => 'id % 3 = 0');
SELECT * FROM compare('rows', 'v', '<->', 10, 0.8);
SELECT elements, heap_tuples FROM vector_index_stats('rows_p');
EXPLAIN (COSTS OFF) SELECT id FROM rows ORDER BY v::halfvec(24) <-> '[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM rows WHERE id % 3 = 0 ORDER BY v <=> '[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]' LIMIT 5;
DELETE FROM rows WHERE id <= 450;
VACUUM (INDEX_CLEANUP ON) rows;
SELECT * FROM compare('rows', 'v::halfvec(24)', '<->', 10, 0.8);
SELECT * FROM compare('rows', 'v', '<=>', 10, 0.8, cond => 'id % 3 = 0');
SELECT * FROM compare('rows', 'v', '<->', 10, 0.8);
DROP TABLE rows, queries;
DROP FUNCTION compare, each_kind, missing, refuses, random_vector;
