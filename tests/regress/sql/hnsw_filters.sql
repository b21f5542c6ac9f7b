-- filter columns of hnsw: conditions are the index's own, in the order of distance
CREATE TABLE t (id int, v vector(16), tenant int, label text, price numeric, tags int[], at timestamptz, flag bool);
INSERT INTO t SELECT i, ARRAY(SELECT sin(i * n) FROM generate_series(1, 16) n)::vector, i % 10,
  CASE WHEN i % 7 > 0 THEN 'l' || i % 7 END, (i % 100) / 10.0, ARRAY[i % 5, i % 3],
  timestamptz '2024-01-01 UTC' + i * interval '1 hour', i % 2 = 0
FROM generate_series(1, 300) i;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops, tenant, label, price, tags, at, flag);
SET enable_seqscan = off;
SET enable_sort = off;

EXPLAIN (COSTS OFF) SELECT id FROM t WHERE tenant = 3::bigint AND price BETWEEN 2 AND 5
ORDER BY v <-> array_fill(1, ARRAY[16])::vector LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE tags && '{4}' AND tags @> '{1}' AND label IS NOT NULL AND NOT flag
ORDER BY v <-> array_fill(1, ARRAY[16])::vector LIMIT 5;

CREATE FUNCTION differs(condition text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE found int[]; expected int[];
BEGIN
  EXECUTE format('SELECT array_agg(id) FROM (SELECT id FROM t WHERE %s ORDER BY v <-> (SELECT v FROM t WHERE id = 1)) x',
                 condition) INTO found;
  EXECUTE format('SELECT array_agg(id ORDER BY id) FROM t WHERE %s', condition) INTO expected;
  RETURN (SELECT count(*) FROM (SELECT unnest(found) EXCEPT SELECT unnest(expected)) x)
    + abs(coalesce(cardinality(found), 0) - coalesce(cardinality(expected), 0));
END $$;
SELECT condition, differs(condition) FROM unnest(ARRAY[
  'tenant = 3', 'tenant < 3 AND price > 5', 'tenant >= 8::smallint', 'label = ''l3''', 'label IS NULL',
  'label > ''l4'' AND tenant <> 2', 'tags && ''{4,2}''', 'tags @> ''{4,2}''', 'flag', 'NOT flag AND label IS NOT NULL',
  'at > ''2024-01-05 UTC'' AND at <= ''2024-01-09 UTC''', 'price IN (1, 2.5)', 'tenant = ANY (''{1,2,NULL}'')',
  'tenant = NULL', 'tenant = 99']) condition;

-- updates of filter columns
UPDATE t SET tenant = 11, label = NULL WHERE id % 20 = 3;
SELECT differs('tenant = 11'), differs('tenant = 3'), differs('label IS NULL');
VACUUM t;
SELECT differs('tenant = 11'), differs('tenant = 3'), differs('label IS NULL');

-- the plain layout keeps no keys: the executor looks at conditions again
CREATE TABLE b (id int, v bit(32), tenant int);
INSERT INTO b SELECT i, (i * 7919)::bit(32), i % 10 FROM generate_series(1, 200) i;
CREATE INDEX b_v ON b USING hnsw (v bit_hamming_ops, tenant);
EXPLAIN (COSTS OFF) SELECT id FROM b WHERE tenant = 3 ORDER BY v <~> B'00000000000000000000000000000001' LIMIT 5;
SELECT count(*), min(tenant), max(tenant) FROM
  (SELECT tenant FROM b WHERE tenant = 3 ORDER BY v <~> B'00000000000000000000000000000001') x;

-- what cannot be
CREATE INDEX ON t USING hnsw (v vector_l2_ops, v vector_l2_ops);
CREATE INDEX ON t USING hnsw (tenant, v vector_l2_ops);
DROP TABLE t, b;
DROP FUNCTION differs;

-- spheres, and distances below a bound
CREATE TABLE s (id int, v vector(3), h halfvec(3), n int);
INSERT INTO s SELECT i, ARRAY[i % 10, i / 10 % 10, i / 100]::vector, ARRAY[i % 10, i / 10 % 10, i / 100]::halfvec, i % 3
FROM generate_series(0, 999) i;
CREATE INDEX s_v ON s USING hnsw (v vector_l2_ops, n);
CREATE INDEX s_h ON s USING hnsw (h halfvec_l1_ops);
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM s WHERE v <<->> sphere('[5,5,5]'::vector, 1.5) AND n IN (0, 2);
SELECT array_agg(id ORDER BY id) FROM s WHERE v <<->> sphere('[5,5,5]'::vector, 1.5) AND n IN (0, 2);
EXPLAIN (COSTS OFF) SELECT id FROM s WHERE v <-> '[5,5,5]' <= 1 AND n IN (0, 2);
SELECT array_agg(id ORDER BY id) FROM s WHERE v <-> '[5,5,5]' <= 1 AND n IN (0, 2);
SELECT array_agg(id ORDER BY id) FROM s WHERE 1 >= '[5,5,5]'::vector <-> v;
EXPLAIN (COSTS OFF) SELECT id FROM s WHERE h <<+>> sphere('[0,0,9]'::halfvec, 1.5) ORDER BY h <+> '[0,0,9]' LIMIT 3;
SELECT id FROM s WHERE h <<+>> sphere('[0,0,9]'::halfvec, 1.5) ORDER BY h <+> '[0,0,9]', id;
SELECT '[1,2]'::vector <<->> sphere('[1,1]'::vector, 1) AS edge, '[1,2]'::vector <<->> sphere('[1,1]'::vector, 1.1::real) AS inside,
  '[1,2]'::vector <<#>> sphere('[2,1]'::vector, -3.5) AS ip, B'101' <<~>> sphere(B'111', 2) AS hamming,
  '[1,2]'::vector <<->> ROW('[1,2]', NULL)::sphere_vector AS unknown;
SELECT sphere('[1,2,3]'::vector, 0.5), sphere('{1:2}/3'::sparsevec, 1), sphere(B'101', 1);
DROP TABLE s;
