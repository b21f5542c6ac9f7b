-- The bytevec type: text, type modifiers, operators, functions, aggregates, casts, COPY.

-- text: integers as the server's own
SELECT '[1,-128,127]'::bytevec, ' [ 1 ,	2
, +3 ] '::bytevec, '[-0,007]'::bytevec;
SELECT 'hello'::bytevec;
SELECT ''::bytevec;
SELECT '['::bytevec;
SELECT '[]'::bytevec;
SELECT '[1'::bytevec;
SELECT '[1,'::bytevec;
SELECT '[1,]'::bytevec;
SELECT '[,1]'::bytevec;
SELECT '[1 2]'::bytevec;
SELECT '[1;2]'::bytevec;
SELECT '[1.0]'::bytevec;
SELECT '[0.5]'::bytevec;
SELECT '[1e1]'::bytevec;
SELECT '[0x10]'::bytevec;
SELECT '[- 1]'::bytevec;
SELECT '[1]]'::bytevec;
SELECT '[1]x'::bytevec;
SELECT '[nan]'::bytevec;
SELECT '[1,-inf]'::bytevec;
SELECT '[128]'::bytevec;
SELECT '[1,-129]'::bytevec;
SELECT '[99999999999999999999]'::bytevec;
SELECT ('[0' || repeat(',0', 15999) || ']')::bytevec = array_fill(0, ARRAY[16000])::bytevec AS most_dims;
SELECT ('[0' || repeat(',0', 16000) || ']')::bytevec;
\set VERBOSITY sqlstate
SELECT '[x]'::bytevec;
SELECT '[1.5]'::bytevec;
SELECT '[]'::bytevec;
SELECT '[nan]'::bytevec;
SELECT '[128]'::bytevec;
SELECT ('[0' || repeat(',0', 16000) || ']')::bytevec;
SELECT '[1,2]'::bytevec(3);
SELECT '[1,2]'::bytevec(0);
SELECT '[1,2]'::bytevec <-> '[1]';
SELECT '[100]'::bytevec + '[100]';
SELECT ARRAY[1,NULL]::bytevec;
SELECT ARRAY[1,128]::bytevec;
SELECT '[200]'::vector::bytevec;
\set VERBOSITY default

-- type modifiers
SELECT '[1,2,3]'::bytevec(3);
SELECT '[1,2,3]'::bytevec(4);
SELECT '[1]'::bytevec(0);
SELECT '[1]'::bytevec(16001);
SELECT '[1]'::bytevec(1, 1);
SELECT '[1]'::bytevec('one');
CREATE TABLE t (v bytevec(2));
INSERT INTO t VALUES ('[1,2]'), (NULL);
INSERT INTO t VALUES ('[1,2,3]');
INSERT INTO t SELECT '[1,2,3]'::bytevec;
SELECT v, v::bytevec(2) FROM t;
SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'v';
DROP TABLE t;

-- arithmetic: within the range or an error, as with smallint
SELECT '[1,2,3]'::bytevec + '[5,-2,124]', '[1,2,3]'::bytevec - '[5,2,-124]', '[1,2,3]'::bytevec * '[5,-64,0]';
SELECT '[1,2]'::bytevec || '[3]';
SELECT '[1,127]'::bytevec + '[1,1]';
SELECT '[-128]'::bytevec - '[1]';
SELECT '[-16]'::bytevec * '[-8]';
SELECT '[1,2]'::bytevec + '[1]';
SELECT '[1,2]'::bytevec - '[1]';
SELECT '[1,2]'::bytevec * '[1]';
SELECT vector_dims(array_fill(0, ARRAY[15999])::bytevec || '[1]');
SELECT array_fill(0, ARRAY[15999])::bytevec || '[1,2]';

-- comparison
SELECT a, b, a < b AS lt, a <= b AS le, a = b AS eq, a <> b AS ne, a >= b AS ge, a > b AS gt, bytevec_cmp(a, b)
FROM (VALUES ('[1,2]'::bytevec, '[1,2]'::bytevec), ('[1,2]', '[1,3]'), ('[1,2]', '[1]'), ('[1,9]', '[2]'), ('[-1]', '[0]'), ('[-128]', '[127]')) AS x (a, b);

-- distances are exact
SELECT l2_distance('[0,0]'::bytevec, '[3,4]'), '[0,0]'::bytevec <-> '[3,4]' AS operator, bytevec_l2_squared_distance('[0,0]', '[3,4]') AS squared;
SELECT inner_product('[1,2]'::bytevec, '[3,4]'), '[1,2]'::bytevec <#> '[3,4]' AS operator, bytevec_negative_inner_product('[1,2]', '[3,4]') AS negative;
SELECT l1_distance('[0,0]'::bytevec, '[3,-4]'), '[0,0]'::bytevec <+> '[3,-4]' AS operator;
SELECT cosine_distance('[1,2]'::bytevec, '[2,4]'), '[1,0]'::bytevec <=> '[0,1]' AS orthogonal, '[1,1]'::bytevec <=> '[-3,-3]' AS opposite;
SELECT '[1,2]'::bytevec <=> '[0,0]' AS zero, '[0]'::bytevec <=> '[0]' AS zeros;
SELECT bytevec_l2_squared_distance(a, b) = 16000 * 255 ^ 2 AS l2, a <#> b = 16000 * 127 * 128 AS ip, a <+> b = 16000 * 255 AS l1, a <=> b AS cosine, a <=> a AS same, a <#> a = -16000 * 128 ^ 2 AS norm
FROM (SELECT array_fill(-128, ARRAY[16000])::bytevec a, array_fill(127, ARRAY[16000])::bytevec b) x;
SELECT '[1,2]'::bytevec <-> '[1]';
SELECT '[1,2]'::bytevec <#> '[1]';
SELECT '[1,2]'::bytevec <=> '[1]';
SELECT '[1,2]'::bytevec <+> '[1]';
SELECT bytevec_l2_squared_distance('[1]', '[1,2]');
SELECT bytevec_negative_inner_product('[1]', '[1,2]');
SELECT l2_distance(NULL::bytevec, '[1]') IS NULL AS strict;

-- every length up to a few registers, and arbitrary bytes: each element counts once
SELECT n FROM generate_series(1, 140) n,
  LATERAL (SELECT array_agg(x)::bytevec a, array_agg(y)::bytevec b, sum(x * y) ip, sum(abs(x - y)) l1, sum((x - y) * (x - y)) l2
           FROM (SELECT i * 89 % 256 - 128 AS x, (i * i * 57 + i * n) % 256 - 128 AS y FROM generate_series(1, n) i) z) x
WHERE a <+> b <> l1 OR bytevec_l2_squared_distance(a, b) <> l2 OR inner_product(a, b) <> ip OR a <-> b <> sqrt(l2);

-- other functions
SELECT vector_dims('[1,2,3]'::bytevec), l2_norm('[3,4]'::bytevec), l2_norm('[0]'::bytevec), l2_norm('[-128]'::bytevec);
SELECT l2_normalize('[3,4]'::bytevec);
SELECT l2_normalize('[3,4]'::bytevec::vector);
SELECT binary_quantize('[1,0,-1]'::bytevec), binary_quantize('[1,0,2,1,-1,-2,0,5,1]'::bytevec), binary_quantize('[1,2,3]'::bytevec, 1.5), pg_typeof(binary_quantize('[1]'::bytevec));
SELECT subvector(v, 1, 2), subvector(v, 2, 1), subvector(v, 3, 9), subvector(v, -1, 3), subvector(v, 2, 2147483647), subvector(v, -2147483645, 2147483647)
FROM (SELECT '[1,2,3]'::bytevec v) x;
SELECT subvector('[1,2,3]'::bytevec, 1, 0);
SELECT subvector('[1,2,3]'::bytevec, 4, 1);

-- avg and sum are vectors
CREATE TABLE t (g int, v bytevec);
SELECT avg(v), sum(v) FROM t;
INSERT INTO t VALUES (1, '[1,2,127]'), (1, '[3,5,127]'), (1, NULL), (2, '[-1,0,127]'), (3, NULL);
SELECT avg(v), sum(v), pg_typeof(avg(v)), pg_typeof(sum(v)) FROM t;
SELECT g, avg(v), sum(v) FROM t GROUP BY g ORDER BY g;
SELECT g, avg(v) OVER w, sum(v) OVER w FROM t WHERE g < 3 WINDOW w AS (ORDER BY g ROWS BETWEEN 1 PRECEDING AND CURRENT ROW);
SELECT sum(DISTINCT v), avg(v) FILTER (WHERE g = 1) FROM t;
INSERT INTO t VALUES (4, '[1]');
SELECT avg(v) FROM t;
SELECT sum(v) FROM t;
DROP TABLE t;
CREATE TABLE t AS SELECT i % 10 AS g, ARRAY[i % 100, -(i % 20 = 0)::int]::bytevec AS v FROM generate_series(1, 20000) i;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT avg(v), sum(v) FROM t;
SELECT avg(v), sum(v) FROM t;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
DROP TABLE t;
SELECT bytevec_accum('{0}', '[1,2]'), bytevec_accum('{1,1,2}', '[3,4]'), vector_sum('{2,4,6}'), vector_sum('{0}');
SELECT bytevec_accum('{1,2}', '[1,2]');
SELECT bytevec_accum('{}', '[1]');
SELECT vector_sum('{1}');
SELECT vector_sum('{}');
SELECT vector_sum('{1,1e39}');

-- casts: exact ones are assignments, what rounds has to be asked for
SELECT ARRAY[1,-128,127]::bytevec, ARRAY[1,2]::smallint[]::bytevec, ARRAY[1.5,-2.5,0.1]::real[]::bytevec, ARRAY[126.6]::double precision[]::bytevec, ARRAY[1.5,-2,0.1]::numeric[]::bytevec;
SELECT ARRAY[1,2]::bytevec(2), ARRAY[1,2]::bytevec(3);
SELECT '{}'::int[]::bytevec;
SELECT '{{1,2},{3,4}}'::int[]::bytevec;
SELECT '{1,NULL}'::smallint[]::bytevec;
SELECT '{1,NaN}'::real[]::bytevec;
SELECT '{1,-Infinity}'::real[]::bytevec;
SELECT '{1,128}'::int[]::bytevec;
SELECT '{1,-129}'::smallint[]::bytevec;
SELECT '{127.5}'::numeric[]::bytevec;
SELECT array_fill(0, ARRAY[16001])::bytevec;
SELECT v::smallint[], v::int[], v::real[], v::vector, v::halfvec, v::bf16vec, v::sparsevec FROM (SELECT '[1,0,-128]'::bytevec v) x;
SELECT '[0.5,1.5,-128.5]'::vector::bytevec, '[0.5,1.5,-128]'::halfvec::bytevec, '[0.5,1.5,-128]'::bf16vec::bytevec, '{2:1.5}/3'::sparsevec::bytevec;
SELECT bool_and(v::vector::bytevec = v AND v::halfvec::bytevec = v AND v::bf16vec::bytevec = v AND v::sparsevec::bytevec = v AND v::int[]::bytevec = v AND v::text::bytevec = v) AS exact
FROM (SELECT array_agg(i)::bytevec v FROM generate_series(-128, 127) i) x;
SELECT '[1,2]'::vector::bytevec(3);
SELECT '[1,2]'::bytevec::vector(3);
SELECT '[127.5]'::vector::bytevec;
SELECT '[1,1000]'::halfvec::bytevec;
SELECT '[1,-1e30]'::bf16vec::bytevec;
SELECT '{1:300}/2'::sparsevec::bytevec;
SELECT '{}/16001'::sparsevec::bytevec;
SELECT '[1,2]'::bytevec <-> '[1,2]'::vector AS of_different_scales;
CREATE TABLE t (b bytevec(2), v vector(2));
INSERT INTO t VALUES (ARRAY[1,2], '[1,2]'::bytevec), (ARRAY[1,2]::smallint[], ARRAY[1,2]);
INSERT INTO t (b) VALUES ('[0.1,0.2]'::vector);
INSERT INTO t (b) VALUES (ARRAY[0.1,0.2]);
SELECT count(*) FROM t WHERE b = '[1,2]' AND b::vector = v;
DROP TABLE t;

-- ordering, equality, uniqueness
CREATE TABLE t (id int, v bytevec);
INSERT INTO t VALUES (1, '[1,2]'), (2, '[1]'), (3, '[-1,5,7]'), (4, NULL), (5, '[1,2]'), (6, '[1,2,0]'), (7, '[0]');
SELECT id, v FROM t ORDER BY v, id;
SELECT v, count(*) FROM t GROUP BY v ORDER BY v DESC;
CREATE INDEX i ON t (v);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE v = '[1,2]';
SELECT id FROM t WHERE v > '[0]' AND v <= '[1,2]' ORDER BY v, id;
SELECT a.id, b.id FROM t a JOIN t b USING (v) WHERE a.id < b.id;
RESET enable_seqscan;
RESET enable_bitmapscan;
CREATE UNIQUE INDEX ON t (v);
DROP TABLE t;

-- COPY, text and binary
CREATE TABLE t (v bytevec(3));
INSERT INTO t VALUES ('[0,-128,127]'), ('[1,2,3]'), (NULL);
CREATE TABLE t2 (v bytevec(3));
\copy t TO 'target/regress/results/bytevec.bin' WITH (FORMAT binary)
\copy t2 FROM 'target/regress/results/bytevec.bin' WITH (FORMAT binary)
\copy t TO 'target/regress/results/bytevec.txt'
\copy t2 FROM 'target/regress/results/bytevec.txt'
SELECT v, count(*), bytevec_send(v) FROM t2 GROUP BY v ORDER BY v;
CREATE TABLE t3 (v bytevec(2));
\copy t3 FROM 'target/regress/results/bytevec.bin' WITH (FORMAT binary)
DROP TABLE t, t2, t3;

-- storage: short headers, compression, out of line, copies in plpgsql
CREATE TABLE t (id int, v bytevec);
INSERT INTO t SELECT d, array_fill(1, ARRAY[d])::bytevec FROM unnest(ARRAY[1, 3, 121, 122, 123, 124, 1000, 16000]) d;
SELECT id, vector_dims(v), v <-> v AS same, inner_product(v, v) FROM t ORDER BY id;
ALTER TABLE t ALTER v SET STORAGE extended;
UPDATE t SET v = v + v;
SELECT id, vector_dims(v), v <+> subvector(v, 1, id) AS same, sum(v) = v::vector AS sum FROM t GROUP BY id, v ORDER BY id;
DROP TABLE t;
DO $$
DECLARE v bytevec := '[1,2]';
BEGIN
  FOR i IN 1..3 LOOP v := v + v; END LOOP;
  RAISE NOTICE '%', v;
END $$;
