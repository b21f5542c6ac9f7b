-- The halfvec type: text, type modifiers, operators, functions, aggregates.

-- text
SELECT '[1,2.5,-3]'::halfvec, ' [ 1 ,	2
, 3 ] '::halfvec, '[1.,.5,+7]'::halfvec, '[-0,0]'::halfvec;
SELECT '[0x1F,0x.8p1]'::halfvec AS hexadecimal;
SELECT '[0.1,0.0001,0.00001,1000,65504,65519.996,2049,2051,0.333333333333]'::halfvec;
SELECT '[6.1e-5,6e-8,3e-8,2e-8,-1e-8]'::halfvec;
SELECT 'hello'::halfvec;
SELECT ''::halfvec;
SELECT '['::halfvec;
SELECT '[]'::halfvec;
SELECT '[1'::halfvec;
SELECT '[1,'::halfvec;
SELECT '[1,]'::halfvec;
SELECT '[,1]'::halfvec;
SELECT '[1 2]'::halfvec;
SELECT '[1;2]'::halfvec;
SELECT '[1.2.3]'::halfvec;
SELECT '[1e]'::halfvec;
SELECT '[- 1]'::halfvec;
SELECT '[1]]'::halfvec;
SELECT '[1]x'::halfvec;
SELECT '[nan]'::halfvec;
SELECT '[1,-inf]'::halfvec;
SELECT '[65520]'::halfvec;
SELECT '[1,-1e5]'::halfvec;
SELECT ('[0' || repeat(',0', 15999) || ']')::halfvec = array_fill(0, ARRAY[16000])::halfvec AS most_dims;
SELECT ('[0' || repeat(',0', 16000) || ']')::halfvec;
\set VERBOSITY sqlstate
SELECT '[x]'::halfvec;
SELECT '[]'::halfvec;
SELECT '[nan]'::halfvec;
SELECT '[65520]'::halfvec;
SELECT ('[0' || repeat(',0', 16000) || ']')::halfvec;
SELECT '[1,2]'::halfvec(3);
SELECT '[1,2]'::halfvec(0);
SELECT '[1,2]'::halfvec <-> '[1]';
SELECT '[6e4]'::halfvec + '[6e4]';
SELECT ARRAY[1,NULL]::halfvec;
SELECT halfvec_avg('{}');
\set VERBOSITY default

-- type modifiers
SELECT '[1,2,3]'::halfvec(3);
SELECT '[1,2,3]'::halfvec(4);
SELECT '[1,2,3]'::halfvec(3)::halfvec;
SELECT '[1]'::halfvec(0);
SELECT '[1]'::halfvec(-1);
SELECT '[1]'::halfvec(16001);
SELECT '[1]'::halfvec(1, 1);
SELECT '[1]'::halfvec('one');
CREATE TABLE t (v halfvec(2));
INSERT INTO t VALUES ('[1,2]'), (NULL);
INSERT INTO t VALUES ('[1,2,3]');
INSERT INTO t SELECT '[1,2,3]'::halfvec;
SELECT v, v::halfvec(2) FROM t;
SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'v';
DROP TABLE t;

-- arithmetic
SELECT '[1,2,3]'::halfvec + '[0.5,-2,1e4]', '[1,2,3]'::halfvec - '[0.5,2,4]', '[1,2,3]'::halfvec * '[0.5,-2,0]';
SELECT '[1,2]'::halfvec || '[3]';
SELECT '[6e4]'::halfvec + '[6e4]';
SELECT '[-6e4]'::halfvec - '[6e4]';
SELECT '[1e3]'::halfvec * '[1e3]';
SELECT '[1e-5]'::halfvec * '[1e-5]';
SELECT '[0,1e-5]'::halfvec * '[1e-5,0]' AS zeros_are_no_underflow;
SELECT '[1,2]'::halfvec + '[1]';
SELECT '[1,2]'::halfvec - '[1]';
SELECT '[1,2]'::halfvec * '[1]';
SELECT vector_dims(array_fill(0, ARRAY[15999])::halfvec || '[1]');
SELECT array_fill(0, ARRAY[15999])::halfvec || '[1,2]';

-- comparison
SELECT a, b, a < b AS lt, a <= b AS le, a = b AS eq, a <> b AS ne, a >= b AS ge, a > b AS gt, halfvec_cmp(a, b)
FROM (VALUES ('[1,2]'::halfvec, '[1,2]'::halfvec), ('[1,2]', '[1,3]'), ('[1,2]', '[1]'), ('[1,9]', '[2]'), ('[0]', '[-0]'), ('[-1]', '[0]')) AS x (a, b);

-- distances
SELECT l2_distance('[0,0]'::halfvec, '[3,4]'), '[0,0]'::halfvec <-> '[3,4]' AS operator, halfvec_l2_squared_distance('[0,0]', '[3,4]') AS squared;
SELECT inner_product('[1,2]'::halfvec, '[3,4]'), '[1,2]'::halfvec <#> '[3,4]' AS operator, halfvec_negative_inner_product('[1,2]', '[3,4]') AS negative;
SELECT l1_distance('[0,0]'::halfvec, '[3,-4]'), '[0,0]'::halfvec <+> '[3,-4]' AS operator;
SELECT cosine_distance('[1,2]'::halfvec, '[2,4]'), '[1,0]'::halfvec <=> '[0,1]' AS orthogonal, '[1,1]'::halfvec <=> '[-3,-3]' AS opposite;
SELECT '[1,2]'::halfvec <=> '[0,0]' AS zero, '[0]'::halfvec <=> '[0]' AS zeros, '[6e4]'::halfvec <=> '[6e4]' AS large;
SELECT '[6e4]'::halfvec <-> '[-6e4]' AS l2, '[6e4]'::halfvec <#> '[6e4]' AS ip, '[6e4]'::halfvec <+> '[-6e4]' AS l1;
SELECT halfvec_spherical_distance('[1,0]', '[0,1]') AS right_angle, halfvec_spherical_distance('[1,0]', '[2,0]') AS same, halfvec_spherical_distance('[1,0]', '[-1,0]') AS opposite;
SELECT '[1,2]'::halfvec <-> '[1]';
SELECT '[1,2]'::halfvec <#> '[1]';
SELECT '[1,2]'::halfvec <=> '[1]';
SELECT '[1,2]'::halfvec <+> '[1]';
SELECT halfvec_l2_squared_distance('[1]', '[1,2]');
SELECT halfvec_negative_inner_product('[1]', '[1,2]');
SELECT halfvec_spherical_distance('[1]', '[1,2]');
SELECT l2_distance(NULL::halfvec, '[1]') IS NULL AS strict;

-- every length up to a few registers: each element counts once
SELECT n FROM generate_series(1, 140) n,
  LATERAL (SELECT array_agg(i)::halfvec a, array_agg(i + 1)::halfvec b, sum(i * (i + 1)) ip FROM generate_series(1, n) i) x
WHERE a <+> b <> n OR halfvec_l2_squared_distance(a, b) <> n OR inner_product(a, b) <> ip;

-- other functions
SELECT vector_dims('[1,2,3]'::halfvec), l2_norm('[3,4]'::halfvec), l2_norm('[0]'::halfvec), l2_norm('[3e4,4e4]'::halfvec)::real;
SELECT l2_normalize('[3,4]'::halfvec), l2_normalize('[0,0]'::halfvec), l2_normalize('[6e4]'::halfvec), l2_normalize('[1e-7]'::halfvec);
SELECT binary_quantize('[1,0,-1]'::halfvec), binary_quantize('[1,-0,2,1e-7,-1,-2,0,5,1]'::halfvec), pg_typeof(binary_quantize('[1]'::halfvec));
SELECT binary_quantize('[1,-1,1]'::halfvec)::bit(3);
SELECT subvector(v, 1, 2), subvector(v, 2, 1), subvector(v, 3, 9), subvector(v, -1, 3), subvector(v, 2, 2147483647), subvector(v, -2147483646, 2147483647)
FROM (SELECT '[1,2,3]'::halfvec v) x;
SELECT subvector('[1,2,3]'::halfvec, 1, 0);
SELECT subvector('[1,2,3]'::halfvec, 4, 1);
SELECT subvector('[1,2,3]'::halfvec, -5, 3);
SELECT subvector('[1,2,3]'::halfvec, 2147483647, 2147483647);
SELECT subvector('[1,2,3]'::halfvec, 1, -2147483648);

-- avg and sum
CREATE TABLE t (g int, v halfvec);
SELECT avg(v), sum(v) FROM t;
INSERT INTO t VALUES (1, '[1,2,3]'), (1, '[3,5,7]'), (1, NULL), (2, '[-1,0,0.5]'), (3, NULL);
SELECT avg(v), sum(v) FROM t;
SELECT g, avg(v), sum(v) FROM t GROUP BY g ORDER BY g;
SELECT g, avg(v) OVER w, sum(v) OVER w FROM t WHERE g < 3 WINDOW w AS (ORDER BY g ROWS BETWEEN 1 PRECEDING AND CURRENT ROW);
SELECT avg(DISTINCT v), avg(v) FILTER (WHERE g = 1) FROM t;
INSERT INTO t VALUES (4, '[1]');
SELECT avg(v) FROM t;
SELECT sum(v) FROM t;
SELECT avg(v) FROM (VALUES ('[6e4]'::halfvec), ('[6e4]')) x (v);
SELECT sum(v) FROM (VALUES ('[6e4]'::halfvec), ('[6e4]')) x (v);
DROP TABLE t;
CREATE TABLE t AS SELECT i % 10 AS g, ARRAY[(i % 20 = 0)::int, -(i % 20 = 0)::int]::halfvec AS v FROM generate_series(1, 20000) i;
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

-- states of avg, as functions
SELECT halfvec_accum('{0}', '[1,2]'), halfvec_accum('{1,1,2}', '[3,4]'), halfvec_avg('{2,4,6}'), halfvec_avg('{0}'), halfvec_avg('{0,1}');
SELECT halfvec_combine('{1,2}', '{3,4}'), halfvec_combine('{0}', '{3,4}'), halfvec_combine('{3,4}', '{0}'), halfvec_combine('{0}', '{0}');
CREATE TABLE t AS SELECT '{1,1,2}'::double precision[] AS state;
SELECT halfvec_accum(state, '[3,4]') FROM t;
SELECT state AS is_unchanged FROM t;
DROP TABLE t;
SELECT halfvec_accum('{1,2}', '[1,2]');
SELECT halfvec_accum('{}', '[1]');
SELECT halfvec_accum('{{0}}', '[1]');
SELECT halfvec_accum('{NULL}', '[1]');
SELECT halfvec_accum('{1,1.7976931348623157e308}', '[1]');
SELECT halfvec_avg('{1}');
SELECT halfvec_avg('{NULL,1}');
SELECT halfvec_avg('{1,65520}');
SELECT halfvec_avg(array_fill(1::float8, ARRAY[16002]));
SELECT halfvec_combine('{1,2}', '{1,2,3}');
SELECT halfvec_combine('{}', '{0}');
SELECT halfvec_combine('{0}', '{{1,2}}');
SELECT halfvec_combine('{1,1.7976931348623157e308}', '{1,1.7976931348623157e308}');
SELECT halfvec_combine('{0}', array_fill(1::float8, ARRAY[16002]));

-- storage: short headers, compression, out of line, copies in plpgsql
CREATE TABLE t (id int, v halfvec);
INSERT INTO t SELECT d, array_fill(1, ARRAY[d])::halfvec FROM unnest(ARRAY[1, 3, 58, 59, 60, 61, 1000, 16000]) d;
SELECT id, vector_dims(v), v <-> v AS same, inner_product(v, v) FROM t ORDER BY id;
SELECT a.id FROM t a, t b WHERE a.id = b.id AND a.v <> b.v;
ALTER TABLE t ALTER v SET STORAGE extended;
UPDATE t SET v = v + v;
SELECT id, vector_dims(v), v <+> subvector(v, 1, id) AS same, sum(v) = v AS sum FROM t GROUP BY id, v ORDER BY id;
DROP TABLE t;
DO $$
DECLARE v halfvec := '[1,2]';
BEGIN
  FOR i IN 1..3 LOOP v := v + v; END LOOP;
  RAISE NOTICE '%', v;
END $$;
