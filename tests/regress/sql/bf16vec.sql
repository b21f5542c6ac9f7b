-- The bf16vec type: text, type modifiers, operators, functions, aggregates.

-- text
SELECT '[1,2.5,-3]'::bf16vec, ' [ 1 ,	2
, 3 ] '::bf16vec, '[1.,.5,+7]'::bf16vec, '[-0,0]'::bf16vec;
SELECT '[0x1F,0x.8p1]'::bf16vec AS hexadecimal;
SELECT '[0.1,0.0001,0.00001,1000,65504,65280,257,259,0.333333333333]'::bf16vec;
SELECT '[1e-38,1e-39,1e-40,3e-41,-1e-45,3.3895e38]'::bf16vec;
SELECT 'hello'::bf16vec;
SELECT ''::bf16vec;
SELECT '['::bf16vec;
SELECT '[]'::bf16vec;
SELECT '[1'::bf16vec;
SELECT '[1,'::bf16vec;
SELECT '[1,]'::bf16vec;
SELECT '[,1]'::bf16vec;
SELECT '[1 2]'::bf16vec;
SELECT '[1;2]'::bf16vec;
SELECT '[1.2.3]'::bf16vec;
SELECT '[1e]'::bf16vec;
SELECT '[- 1]'::bf16vec;
SELECT '[1]]'::bf16vec;
SELECT '[1]x'::bf16vec;
SELECT '[nan]'::bf16vec;
SELECT '[1,-inf]'::bf16vec;
SELECT '[3.4e38]'::bf16vec;
SELECT '[1,-3.4e38]'::bf16vec;
SELECT ('[0' || repeat(',0', 15999) || ']')::bf16vec = array_fill(0, ARRAY[16000])::bf16vec AS most_dims;
SELECT ('[0' || repeat(',0', 16000) || ']')::bf16vec;
\set VERBOSITY sqlstate
SELECT '[x]'::bf16vec;
SELECT '[]'::bf16vec;
SELECT '[nan]'::bf16vec;
SELECT '[3.4e38]'::bf16vec;
SELECT ('[0' || repeat(',0', 16000) || ']')::bf16vec;
SELECT '[1,2]'::bf16vec(3);
SELECT '[1,2]'::bf16vec(0);
SELECT '[1,2]'::bf16vec <-> '[1]';
SELECT '[3e38]'::bf16vec + '[3e38]';
SELECT ARRAY[1,NULL]::bf16vec;
\set VERBOSITY default

-- type modifiers
SELECT '[1,2,3]'::bf16vec(3);
SELECT '[1,2,3]'::bf16vec(4);
SELECT '[1,2,3]'::bf16vec(3)::bf16vec;
SELECT '[1]'::bf16vec(0);
SELECT '[1]'::bf16vec(-1);
SELECT '[1]'::bf16vec(16001);
SELECT '[1]'::bf16vec(1, 1);
SELECT '[1]'::bf16vec('one');
CREATE TABLE t (v bf16vec(2));
INSERT INTO t VALUES ('[1,2]'), (NULL);
INSERT INTO t VALUES ('[1,2,3]');
INSERT INTO t SELECT '[1,2,3]'::bf16vec;
SELECT v, v::bf16vec(2) FROM t;
SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'v';
DROP TABLE t;

-- arithmetic
SELECT '[1,2,3]'::bf16vec + '[0.5,-2,1e4]', '[1,2,3]'::bf16vec - '[0.5,2,4]', '[1,2,3]'::bf16vec * '[0.5,-2,0]';
SELECT '[1,2]'::bf16vec || '[3]';
SELECT '[3e38]'::bf16vec + '[3e38]';
SELECT '[-3e38]'::bf16vec - '[3e38]';
SELECT '[1e30]'::bf16vec * '[1e30]';
SELECT '[1e-30]'::bf16vec * '[1e-30]';
SELECT '[0,1e-5]'::bf16vec * '[1e-5,0]' AS zeros_are_no_underflow;
SELECT '[1,2]'::bf16vec + '[1]';
SELECT '[1,2]'::bf16vec - '[1]';
SELECT '[1,2]'::bf16vec * '[1]';
SELECT vector_dims(array_fill(0, ARRAY[15999])::bf16vec || '[1]');
SELECT array_fill(0, ARRAY[15999])::bf16vec || '[1,2]';

-- comparison
SELECT a, b, a < b AS lt, a <= b AS le, a = b AS eq, a <> b AS ne, a >= b AS ge, a > b AS gt, bf16vec_cmp(a, b)
FROM (VALUES ('[1,2]'::bf16vec, '[1,2]'::bf16vec), ('[1,2]', '[1,3]'), ('[1,2]', '[1]'), ('[1,9]', '[2]'), ('[0]', '[-0]'), ('[-1]', '[0]')) AS x (a, b);

-- distances
SELECT l2_distance('[0,0]'::bf16vec, '[3,4]'), '[0,0]'::bf16vec <-> '[3,4]' AS operator, bf16vec_l2_squared_distance('[0,0]', '[3,4]') AS squared;
SELECT inner_product('[1,2]'::bf16vec, '[3,4]'), '[1,2]'::bf16vec <#> '[3,4]' AS operator, bf16vec_negative_inner_product('[1,2]', '[3,4]') AS negative;
SELECT l1_distance('[0,0]'::bf16vec, '[3,-4]'), '[0,0]'::bf16vec <+> '[3,-4]' AS operator;
SELECT cosine_distance('[1,2]'::bf16vec, '[2,4]'), '[1,0]'::bf16vec <=> '[0,1]' AS orthogonal, '[1,1]'::bf16vec <=> '[-3,-3]' AS opposite;
SELECT '[1,2]'::bf16vec <=> '[0,0]' AS zero, '[0]'::bf16vec <=> '[0]' AS zeros, '[1e18]'::bf16vec <=> '[1e18]' AS large;
SELECT '[1e19]'::bf16vec <-> '[-1e18]' AS l2, '[1e18]'::bf16vec <#> '[1e18]' AS ip, '[1e38]'::bf16vec <+> '[-1e38]' AS l1;
SELECT '[1,2]'::bf16vec <-> '[1]';
SELECT '[1,2]'::bf16vec <#> '[1]';
SELECT '[1,2]'::bf16vec <=> '[1]';
SELECT '[1,2]'::bf16vec <+> '[1]';
SELECT bf16vec_l2_squared_distance('[1]', '[1,2]');
SELECT bf16vec_negative_inner_product('[1]', '[1,2]');
SELECT l2_distance(NULL::bf16vec, '[1]') IS NULL AS strict;

-- every length up to a few registers: each element counts once
SELECT n FROM generate_series(1, 140) n,
  LATERAL (SELECT array_agg(i)::bf16vec a, array_agg(i + 1)::bf16vec b, sum(i * (i + 1)) ip FROM generate_series(1, n) i) x
WHERE a <+> b <> n OR bf16vec_l2_squared_distance(a, b) <> n OR inner_product(a, b) <> ip;

-- other functions
SELECT vector_dims('[1,2,3]'::bf16vec), l2_norm('[3,4]'::bf16vec), l2_norm('[0]'::bf16vec), l2_norm('[3e37,4e37]'::bf16vec)::real;
SELECT l2_normalize('[3,4]'::bf16vec), l2_normalize('[0,0]'::bf16vec), l2_normalize('[3e38]'::bf16vec), l2_normalize('[1e-40]'::bf16vec);
SELECT binary_quantize('[1,0,-1]'::bf16vec), binary_quantize('[1,-0,2,1e-7,-1,-2,0,5,1]'::bf16vec), pg_typeof(binary_quantize('[1]'::bf16vec));
SELECT binary_quantize('[1,-1,1]'::bf16vec)::bit(3);
SELECT subvector(v, 1, 2), subvector(v, 2, 1), subvector(v, 3, 9), subvector(v, -1, 3), subvector(v, 2, 2147483647), subvector(v, -2147483645, 2147483647)
FROM (SELECT '[1,2,3]'::bf16vec v) x;
SELECT subvector('[1,2,3]'::bf16vec, 1, 0);
SELECT subvector('[1,2,3]'::bf16vec, 4, 1);
SELECT subvector('[1,2,3]'::bf16vec, -5, 3);
SELECT subvector('[1,2,3]'::bf16vec, 2147483647, 2147483647);
SELECT subvector('[1,2,3]'::bf16vec, 1, -2147483648);

-- avg and sum
CREATE TABLE t (g int, v bf16vec);
SELECT avg(v), sum(v) FROM t;
INSERT INTO t VALUES (1, '[1,2,3]'), (1, '[3,5,7]'), (1, NULL), (2, '[-1,0,0.5]'), (3, NULL);
SELECT avg(v), sum(v) FROM t;
SELECT g, avg(v), sum(v) FROM t GROUP BY g ORDER BY g;
SELECT g, avg(v) OVER w, sum(v) OVER w FROM t WHERE g < 3 WINDOW w AS (ORDER BY g ROWS BETWEEN 1 PRECEDING AND CURRENT ROW);
SELECT avg(DISTINCT v), avg(v) FILTER (WHERE g = 1) FROM t;
INSERT INTO t VALUES (4, '[1]');
SELECT avg(v) FROM t;
SELECT sum(v) FROM t;
SELECT avg(v) FROM (VALUES ('[3e38]'::bf16vec), ('[3e38]')) x (v);
SELECT sum(v) FROM (VALUES ('[3e38]'::bf16vec), ('[3e38]')) x (v);
DROP TABLE t;
CREATE TABLE t AS SELECT i % 10 AS g, ARRAY[(i % 20 = 0)::int, -(i % 20 = 0)::int]::bf16vec AS v FROM generate_series(1, 20000) i;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT avg(v), sum(v) FROM t;
SELECT avg(v), sum(v) FROM t;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
SELECT g, avg(v), sum(v) FROM t GROUP BY g ORDER BY g LIMIT 2;
DROP TABLE t;

-- states of avg and sum, as functions; sums and means have the precision of vector
SELECT bf16vec_accum('{0}', '[1,2]'), bf16vec_accum('{1,1,2}', '[3,4]');
CREATE TABLE t AS SELECT '{1,1,2}'::double precision[] AS state;
SELECT bf16vec_accum(state, '[3,4]') FROM t;
SELECT state AS is_unchanged FROM t;
DROP TABLE t;
SELECT bf16vec_accum('{1,2}', '[1,2]');
SELECT bf16vec_accum('{}', '[1]');
SELECT bf16vec_accum('{{0}}', '[1]');
SELECT bf16vec_accum('{NULL}', '[1]');
SELECT bf16vec_accum('{1,1.7976931348623157e308}', '[1]');
SELECT avg(v), sum(v), pg_typeof(avg(v)), pg_typeof(sum(v)) FROM (SELECT '[256,1]'::bf16vec AS v UNION ALL SELECT '[1,0.5]' FROM generate_series(1, 100)) x;

-- storage: short headers, compression, out of line, copies in plpgsql
CREATE TABLE t (id int, v bf16vec);
INSERT INTO t SELECT d, array_fill(1, ARRAY[d])::bf16vec FROM unnest(ARRAY[1, 3, 58, 59, 60, 61, 1000, 16000]) d;
SELECT id, vector_dims(v), v <-> v AS same, inner_product(v, v) FROM t ORDER BY id;
SELECT a.id FROM t a, t b WHERE a.id = b.id AND a.v <> b.v;
ALTER TABLE t ALTER v SET STORAGE extended;
UPDATE t SET v = v + v;
SELECT id, vector_dims(v), v <+> subvector(v, 1, id) AS same, sum(v) = v::vector AS sum FROM t GROUP BY id, v ORDER BY id;
DROP TABLE t;
DO $$
DECLARE v bf16vec := '[1,2]';
BEGIN
  FOR i IN 1..3 LOOP v := v + v; END LOOP;
  RAISE NOTICE '%', v;
END $$;

-- casts: a vector or an array is rounded to eight bits; the range is nearly that of vector
SELECT ARRAY[1,257,-3]::smallint[]::bf16vec, ARRAY[1,-2,60000]::bf16vec, ARRAY[1.5,-2,0.1]::real[]::bf16vec, ARRAY[1.5,-2,0.1]::double precision[]::bf16vec, ARRAY[1.5,-2,0.1]::numeric[]::bf16vec;
SELECT ARRAY[1,2]::bf16vec(2), ARRAY[1.5]::real[]::bf16vec(1);
SELECT ARRAY[1,2]::bf16vec(3);
SELECT '{}'::int[]::bf16vec;
SELECT '{{1,2},{3,4}}'::int[]::bf16vec;
SELECT '{1,NULL}'::real[]::bf16vec;
SELECT '{1,NaN}'::real[]::bf16vec;
SELECT '{1,Infinity}'::double precision[]::bf16vec;
SELECT '{1,3.4e38}'::real[]::bf16vec;
SELECT array_fill(0, ARRAY[16001])::bf16vec;
SELECT '[1,2.5,0.1]'::bf16vec::real[], '[1,0.1]'::bf16vec::vector, '[1,0.1,3e38]'::vector::bf16vec;
SELECT '[1,0.1]'::bf16vec::halfvec, '[1,0.1,65504]'::halfvec::bf16vec, '[1,0,2]'::bf16vec::sparsevec, '{1:0.1,3:-2}/3'::sparsevec::bf16vec;
SELECT '[1,2]'::vector::bf16vec(3);
SELECT '[1,2]'::bf16vec::vector(3);
SELECT '[3.4e38]'::vector::bf16vec;
SELECT '[1e30]'::bf16vec::halfvec;
SELECT '{}/16001'::sparsevec::bf16vec;
SELECT '[1,2]'::bf16vec <-> '[1,2]'::vector AS a_vector_is_rounded;
SELECT '[1,2]'::bf16vec <-> '[1,2]'::halfvec AS neither_is_finer;
CREATE TABLE t (b bf16vec(2), v vector(2));
INSERT INTO t VALUES ('[1,2]'::vector, '[1,2]'::bf16vec), (ARRAY[1,2], ARRAY[1,2]), ('[1,2]'::halfvec, '{1:1,2:2}/2'::sparsevec), (ARRAY[1,2]::real[], ARRAY[1,2]::numeric[]);
SELECT count(*) FROM t WHERE b = '[1,2]' AND b = v AND v = '[1,2]';
CREATE INDEX ON t ((v::bf16vec(2)));
DROP TABLE t;

-- ordering, equality, uniqueness
CREATE TABLE t (id int, v bf16vec);
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
CREATE TABLE t (v bf16vec(3));
INSERT INTO t VALUES ('[0,-0,0.1]'), ('[1,2,3]'), (NULL), ('[-1.5,1e-5,3e38]');
CREATE TABLE t2 (v bf16vec(3));
\copy t TO 'target/regress/results/bf16vec.bin' WITH (FORMAT binary)
\copy t2 FROM 'target/regress/results/bf16vec.bin' WITH (FORMAT binary)
\copy t TO 'target/regress/results/bf16vec.txt'
\copy t2 FROM 'target/regress/results/bf16vec.txt'
SELECT v, count(*), bf16vec_send(v) FROM t2 GROUP BY v ORDER BY v;
CREATE TABLE t3 (v bf16vec(2));
\copy t3 FROM 'target/regress/results/bf16vec.bin' WITH (FORMAT binary)
DROP TABLE t, t2, t3;
