-- Casts between arrays, vector and halfvec.

-- arrays of every kind
SELECT ARRAY[1,-2,2147483647]::vector, ARRAY[1.5,-2,0.1]::real[]::vector, ARRAY[1.5,-2,0.1]::double precision[]::vector, ARRAY[1.5,-2,0.1]::numeric[]::vector;
SELECT ARRAY[1,-2,60000]::halfvec, ARRAY[1.5,-2,0.1]::real[]::halfvec, ARRAY[1.5,-2,0.1]::double precision[]::halfvec, ARRAY[1.5,-2,0.1]::numeric[]::halfvec;
SELECT ARRAY[1,2]::vector(2), ARRAY[1,2]::halfvec(2), ARRAY[1.5]::real[]::vector(1), ARRAY[1.5]::vector(1);
SELECT ARRAY[1,2]::vector(3);
SELECT ARRAY[1.5,2]::real[]::vector(3);
SELECT ARRAY[1.5,2]::double precision[]::halfvec(3);
SELECT ARRAY[1.5,2]::numeric[]::halfvec(3);
SELECT '{}'::int[]::vector;
SELECT '{}'::numeric[]::halfvec;
SELECT '{{1,2},{3,4}}'::int[]::vector;
SELECT '{{1,2},{3,4}}'::numeric[]::halfvec;
SELECT '{1,NULL}'::real[]::vector;
SELECT '{1,NULL}'::numeric[]::vector;
SELECT '{NULL}'::double precision[]::halfvec;
SELECT '{1,NaN}'::real[]::vector;
SELECT '{1,NaN}'::numeric[]::vector;
SELECT '{1,Infinity}'::real[]::vector;
SELECT '{1,-Infinity}'::numeric[]::vector;
SELECT '{1,Infinity}'::double precision[]::halfvec;
SELECT '{1,1e39}'::double precision[]::vector;
SELECT '{1,1e39}'::numeric[]::vector;
SELECT '{1,1e-60}'::numeric[]::vector;
SELECT '{1,-65520}'::real[]::halfvec;
SELECT '{1,65520}'::int[]::halfvec;
SELECT '{1,1e-60}'::double precision[]::vector, '{1,1e-9}'::double precision[]::halfvec;
SELECT array_fill(0, ARRAY[16001])::vector;
SELECT array_fill(0, ARRAY[16001])::halfvec;
SELECT ARRAY['a']::vector;

-- an array with a bitmap but without NULLs, other lower bounds, short headers, out of line
SELECT array_remove(ARRAY[1,NULL,3]::real[], NULL)::vector, (ARRAY[1,NULL,3]::int[])[3:3]::vector, '[5:6]={1,2}'::int[]::vector;
CREATE TABLE t (i int[], r real[], d double precision[], n numeric[]);
INSERT INTO t VALUES ('{1}', '{1}', '{1}', '{1}'), ('{1,2,3}', '{1,2,3}', '{1,2,3}', '{1,2,3}');
INSERT INTO t SELECT array_agg(i), array_agg(i), array_agg(i), array_agg(i) FROM generate_series(1, 10000) i;
SELECT cardinality(i) AS len, i::vector = r::vector AS real, i::vector = d::vector AS double, i::vector = n::vector AS numeric,
  i::vector::real[] = r AS back, i::halfvec = n::halfvec AS half
FROM t;
DROP TABLE t;

-- numeric is rounded once, from any number of digits
SELECT count(*) AS wrong
FROM (SELECT n, ARRAY[n]::vector::real[] AS v, n::real AS r FROM (
  SELECT (random() * 2 - 1)::numeric AS n FROM generate_series(1, 5000)
  UNION ALL SELECT round((random() * 1e10)::numeric, i % 9) FROM generate_series(1, 5000) i
  UNION ALL SELECT (random()::numeric * random()::numeric * random()::numeric) FROM generate_series(1, 2000)
  UNION ALL SELECT (random() * 10 ^ (i % 70 - 33))::numeric FROM generate_series(1, 2000) i
  UNION ALL SELECT 16777217 + x FROM unnest(ARRAY[0, 1e-30, -1e-30]) x
  UNION ALL SELECT unnest(ARRAY[0, 10000, 1e20, -1e30, 0.00010000, 99999999, 12345678901234567890123456789, 0.5, 1e-37, 340282346638528859811704183484516925440])
) x) y WHERE v[1] <> r;

-- back to arrays
SELECT '[1,2.5]'::vector::real[], '[1,2.5]'::halfvec::real[], array_dims('[1,2.5]'::vector::real[]), cardinality('[1,2.5]'::vector::real[]);
SELECT ('[1,2.5]'::vector::real[])[2], '[1,2.5]'::vector::real[]::vector, ARRAY(SELECT unnest('[3,1]'::halfvec::real[]) ORDER BY 1);

-- between vector and halfvec
SELECT '[1,0.1,1e-9]'::vector::halfvec, '[1,0.1]'::halfvec::vector, '[1,2]'::vector::halfvec(2), '[1,2]'::halfvec::vector(2);
SELECT '[1,2]'::vector::halfvec(3);
SELECT '[1,2]'::halfvec::vector(3);
SELECT '[65520]'::vector::halfvec;
SELECT '[1,-1e30]'::vector::halfvec;
SELECT '[65519]'::vector::halfvec;
SELECT l2_distance('[1,2]'::halfvec, '[1,2]'::vector);
CREATE TABLE t (v vector(2), h halfvec(2));
INSERT INTO t VALUES (ARRAY[1,2], ARRAY[1,2]::numeric[]), ('[3,4]'::halfvec, '[3,4]'::vector), (ARRAY[5,6]::double precision[], ARRAY[5,6]::real[]);
SELECT v, h, v <-> h AS vector_wins FROM t;
DROP TABLE t;

-- what casts need to be used in indexes
CREATE TABLE t (a real[], v vector(2));
CREATE INDEX ON t ((a::vector));
CREATE INDEX ON t ((v::halfvec(2)));
CREATE INDEX ON t ((binary_quantize(v)::bit(2)));
DROP TABLE t;

-- smallint[], as psycopg 3 sends a list of small whole numbers
SELECT ARRAY[1,-2,32767]::smallint[]::vector, ARRAY[1,-2,32767]::smallint[]::halfvec, ARRAY[1,0,-2]::smallint[]::sparsevec;
SELECT '{1,NULL}'::smallint[]::vector;
SELECT ARRAY[1,2]::smallint[]::vector(3);
