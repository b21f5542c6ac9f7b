-- The vector type: text, type modifiers, operators, functions, aggregates.

-- text
SELECT '[1,2.5,-3]'::vector, ' [ 1 ,	2
, 3 ] '::vector, '[1.,.5,+7]'::vector, '[-0,0]'::vector;
SELECT '[0x1F,0x.8p1]'::vector AS hexadecimal;
SELECT '[0.1,0.0001,0.00001,100000,1000000,1234567,16777216,3.4028235e38]'::vector;
SELECT '[1.17549435e-38,1e-45,7e-46,1e-46,0.3333333333333333333333]'::vector;
SELECT 'hello'::vector;
SELECT ''::vector;
SELECT '['::vector;
SELECT '[]'::vector;
SELECT '[1'::vector;
SELECT '[1,'::vector;
SELECT '[1,]'::vector;
SELECT '[,1]'::vector;
SELECT '[1 2]'::vector;
SELECT '[1;2]'::vector;
SELECT '[1.2.3]'::vector;
SELECT '[1e]'::vector;
SELECT '[- 1]'::vector;
SELECT '[1]]'::vector;
SELECT '[1]x'::vector;
SELECT '[nan]'::vector;
SELECT '[1,-inf]'::vector;
SELECT '[1e39]'::vector;
SELECT '[1,-3.5e38]'::vector;
SELECT ('[0' || repeat(',0', 15999) || ']')::vector = array_fill(0, ARRAY[16000])::vector AS most_dims;
SELECT ('[0' || repeat(',0', 16000) || ']')::vector;
\set VERBOSITY sqlstate
SELECT '[x]'::vector;
SELECT '[]'::vector;
SELECT '[nan]'::vector;
SELECT '[1e39]'::vector;
SELECT ('[0' || repeat(',0', 16000) || ']')::vector;
SELECT '[1,2]'::vector(3);
SELECT '[1,2]'::vector(0);
SELECT '[1,2]'::vector <-> '[1]';
SELECT '[3e38]'::vector + '[3e38]';
SELECT ARRAY[1,NULL]::vector;
SELECT vector_avg('{}');
\set VERBOSITY default

-- type modifiers
SELECT '[1,2,3]'::vector(3);
SELECT '[1,2,3]'::vector(4);
SELECT '[1,2,3]'::vector(3)::vector;
SELECT '[1]'::vector(0);
SELECT '[1]'::vector(-1);
SELECT '[1]'::vector(16001);
SELECT '[1]'::vector(1, 1);
SELECT '[1]'::vector('one');
CREATE TABLE t (v vector(2));
INSERT INTO t VALUES ('[1,2]'), (NULL);
INSERT INTO t VALUES ('[1,2,3]');
INSERT INTO t SELECT '[1,2,3]'::vector;
SELECT v, v::vector(2) FROM t;
SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'v';
DROP TABLE t;

-- arithmetic
SELECT '[1,2,3]'::vector + '[0.5,-2,1e6]', '[1,2,3]'::vector - '[0.5,2,4]', '[1,2,3]'::vector * '[0.5,-2,0]';
SELECT '[1,2]'::vector || '[3]';
SELECT '[3e38]'::vector + '[3e38]';
SELECT '[-3e38]'::vector - '[3e38]';
SELECT '[1e20]'::vector * '[1e20]';
SELECT '[1e-30]'::vector * '[1e-30]';
SELECT '[0,1e-30]'::vector * '[1e-30,0]' AS zeros_are_no_underflow;
SELECT '[1,2]'::vector + '[1]';
SELECT '[1,2]'::vector - '[1]';
SELECT '[1,2]'::vector * '[1]';
SELECT vector_dims(array_fill(0, ARRAY[15999])::vector || '[1]');
SELECT array_fill(0, ARRAY[15999])::vector || '[1,2]';

-- comparison
SELECT a, b, a < b AS lt, a <= b AS le, a = b AS eq, a <> b AS ne, a >= b AS ge, a > b AS gt, vector_cmp(a, b)
FROM (VALUES ('[1,2]'::vector, '[1,2]'::vector), ('[1,2]', '[1,3]'), ('[1,2]', '[1]'), ('[1,9]', '[2]'), ('[0]', '[-0]'), ('[-1]', '[0]')) AS x (a, b);

-- distances
SELECT l2_distance('[0,0]'::vector, '[3,4]'), '[0,0]'::vector <-> '[3,4]' AS operator, vector_l2_squared_distance('[0,0]', '[3,4]') AS squared;
SELECT inner_product('[1,2]'::vector, '[3,4]'), '[1,2]'::vector <#> '[3,4]' AS operator, vector_negative_inner_product('[1,2]', '[3,4]') AS negative;
SELECT l1_distance('[0,0]'::vector, '[3,-4]'), '[0,0]'::vector <+> '[3,-4]' AS operator;
SELECT cosine_distance('[1,2]'::vector, '[2,4]'), '[1,0]'::vector <=> '[0,1]' AS orthogonal, '[1,1]'::vector <=> '[-3,-3]' AS opposite;
SELECT '[1,2]'::vector <=> '[0,0]' AS zero, '[0]'::vector <=> '[0]' AS zeros, '[3e38]'::vector <=> '[3e38]' AS too_large;
SELECT '[3e38]'::vector <-> '[-3e38]' AS l2, '[3e38]'::vector <#> '[3e38]' AS ip, '[3e38]'::vector <+> '[-3e38]' AS l1;
SELECT vector_spherical_distance('[1,0]', '[0,1]') AS right_angle, vector_spherical_distance('[1,0]', '[2,0]') AS same, vector_spherical_distance('[1,0]', '[-1,0]') AS opposite;
SELECT '[1,2]'::vector <-> '[1]';
SELECT '[1,2]'::vector <#> '[1]';
SELECT '[1,2]'::vector <=> '[1]';
SELECT '[1,2]'::vector <+> '[1]';
SELECT vector_l2_squared_distance('[1]', '[1,2]');
SELECT vector_negative_inner_product('[1]', '[1,2]');
SELECT vector_spherical_distance('[1]', '[1,2]');
SELECT l2_distance(NULL::vector, '[1]') IS NULL AS strict;

-- every length up to a few registers: each element counts once
SELECT n FROM generate_series(1, 140) n,
  LATERAL (SELECT array_agg(i)::vector a, array_agg(i + 1)::vector b, sum(i * (i + 1)) ip FROM generate_series(1, n) i) x
WHERE a <+> b <> n OR vector_l2_squared_distance(a, b) <> n OR inner_product(a, b) <> ip;

-- other functions
SELECT vector_dims('[1,2,3]'::vector), vector_norm('[3,4]'), vector_norm('[0]'), vector_norm('[3e37,4e37]')::real;
SELECT l2_normalize('[3,4]'::vector), l2_normalize('[0,0]'::vector), l2_normalize('[3e38]'::vector), l2_normalize('[1e-40]'::vector);
SELECT binary_quantize('[1,0,-1]'::vector), binary_quantize('[1,-0,2,1e-45,-1,-2,0,5,1]'::vector), pg_typeof(binary_quantize('[1]'::vector));
SELECT binary_quantize('[1,-1,1]'::vector)::bit(3);
SELECT subvector(v, 1, 2), subvector(v, 2, 1), subvector(v, 3, 9), subvector(v, -1, 3), subvector(v, 2, 2147483647), subvector(v, -2147483646, 2147483647)
FROM (SELECT '[1,2,3]'::vector v) x;
SELECT subvector('[1,2,3]'::vector, 1, 0);
SELECT subvector('[1,2,3]'::vector, 4, 1);
SELECT subvector('[1,2,3]'::vector, -5, 3);
SELECT subvector('[1,2,3]'::vector, 2147483647, 2147483647);
SELECT subvector('[1,2,3]'::vector, 1, -2147483648);

-- avg and sum
CREATE TABLE t (g int, v vector);
SELECT avg(v), sum(v) FROM t;
INSERT INTO t VALUES (1, '[1,2,3]'), (1, '[3,5,7]'), (1, NULL), (2, '[-1,0,0.5]'), (3, NULL);
SELECT avg(v), sum(v) FROM t;
SELECT g, avg(v), sum(v) FROM t GROUP BY g ORDER BY g;
SELECT g, avg(v) OVER w, sum(v) OVER w FROM t WHERE g < 3 WINDOW w AS (ORDER BY g ROWS BETWEEN 1 PRECEDING AND CURRENT ROW);
SELECT avg(DISTINCT v), avg(v) FILTER (WHERE g = 1) FROM t;
INSERT INTO t VALUES (4, '[1]');
SELECT avg(v) FROM t;
SELECT sum(v) FROM t;
SELECT avg(v) FROM (VALUES ('[3e38]'::vector), ('[3e38]')) x (v);
SELECT sum(v) FROM (VALUES ('[3e38]'::vector), ('[3e38]')) x (v);
DROP TABLE t;
CREATE TABLE t AS SELECT i % 10 AS g, ARRAY[(i % 20 = 0)::int, -(i % 20 = 0)::int]::vector AS v FROM generate_series(1, 20000) i;
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
SELECT vector_accum('{0}', '[1,2]'), vector_accum('{1,1,2}', '[3,4]'), vector_avg('{2,4,6}'), vector_avg('{0}'), vector_avg('{0,1}');
SELECT vector_combine('{1,2}', '{3,4}'), vector_combine('{0}', '{3,4}'), vector_combine('{3,4}', '{0}'), vector_combine('{0}', '{0}');
CREATE TABLE t AS SELECT '{1,1,2}'::double precision[] AS state;
SELECT vector_accum(state, '[3,4]') FROM t;
SELECT state AS is_unchanged FROM t;
DROP TABLE t;
SELECT vector_accum('{1,2}', '[1,2]');
SELECT vector_accum('{}', '[1]');
SELECT vector_accum('{{0}}', '[1]');
SELECT vector_accum('{NULL}', '[1]');
SELECT vector_accum('{1,1.7976931348623157e308}', '[1]');
SELECT vector_avg('{1}');
SELECT vector_avg('{NULL,1}');
SELECT vector_avg('{1,1e39}');
SELECT vector_avg(array_fill(1::float8, ARRAY[16002]));
SELECT vector_combine('{1,2}', '{1,2,3}');
SELECT vector_combine('{}', '{0}');
SELECT vector_combine('{0}', '{{1,2}}');
SELECT vector_combine('{1,1.7976931348623157e308}', '{1,1.7976931348623157e308}');
SELECT vector_combine('{0}', array_fill(1::float8, ARRAY[16002]));

-- storage: short headers, compression, out of line, copies in plpgsql
CREATE TABLE t (id int, v vector);
INSERT INTO t SELECT d, array_fill(1, ARRAY[d])::vector FROM unnest(ARRAY[1, 3, 29, 30, 31, 600, 3000, 16000]) d;
SELECT id, vector_dims(v), v <-> v AS same, inner_product(v, v) FROM t ORDER BY id;
SELECT a.id FROM t a, t b WHERE a.id = b.id AND a.v <> b.v;
ALTER TABLE t ALTER v SET STORAGE extended;
UPDATE t SET v = v + v;
SELECT id, vector_dims(v), v <+> subvector(v, 1, id) AS same, sum(v) = v AS sum FROM t GROUP BY id, v ORDER BY id;
DROP TABLE t;
DO $$
DECLARE v vector := '[1,2]';
BEGIN
  FOR i IN 1..3 LOOP v := v + v; END LOOP;
  RAISE NOTICE '%', v;
END $$;
