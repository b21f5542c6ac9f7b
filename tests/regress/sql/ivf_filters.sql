-- filter columns: conditions are the index's own, in the order of distance
CREATE TABLE t (id int, v vector(16), tenant int, label text, price numeric, tags int[], at timestamptz);
INSERT INTO t SELECT i, ARRAY(SELECT sin(i * n) FROM generate_series(1, 16) n)::vector, i % 10,
  CASE WHEN i % 7 > 0 THEN 'l' || i % 7 END, (i % 100) / 10.0, ARRAY[i % 5, i % 3],
  timestamptz '2024-01-01 UTC' + i * interval '1 hour'
FROM generate_series(1, 3000) i;
SET enable_seqscan = off;
SET enable_sort = off;
SET jit = off;
CREATE FUNCTION differs(condition text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE found int[]; expected int[];
BEGIN
  EXECUTE format('SELECT array_agg(id) FROM (SELECT id FROM t WHERE %s ORDER BY v <-> (SELECT v FROM t WHERE id = 1)) x',
                 condition) INTO found;
  EXECUTE format('SELECT array_agg(id ORDER BY id) FROM t WHERE %s', condition) INTO expected;
  RETURN (SELECT count(*) FROM (SELECT unnest(found) EXCEPT SELECT unnest(expected)) x)
    + abs(coalesce(cardinality(found), 0) - coalesce(cardinality(expected), 0));
END $$;
CREATE FUNCTION wrong_conditions() RETURNS SETOF text LANGUAGE sql AS $$
  SELECT condition FROM unnest(ARRAY[
    'tenant = 3', 'tenant < 3 AND price > 5', 'tenant >= 8::smallint', 'label = ''l3''', 'label IS NULL',
    'label > ''l4'' AND tenant <> 2', 'tags && ''{4,2}''', 'tags @> ''{4,2}''', 'tenant = NULL', 'tenant = 99',
    'at > ''2024-01-05 UTC'' AND at <= ''2024-01-09 UTC''', 'price IN (1, 2.5)', 'tenant = ANY (''{1,2,NULL}'')',
    'tenant = 11', 'id % 3 = 0 AND tenant = 4']) condition
  WHERE differs(condition) <> 0 $$;

CREATE INDEX t_v ON t USING ivf (v vector_l2_ops, tenant, label, price, tags, at);
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE tenant = 3::bigint AND price BETWEEN 2 AND 5
ORDER BY v <-> array_fill(1, ARRAY[16])::vector LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE tags && '{4}' AND label IS NOT NULL AND v IS NOT NULL AND id % 2 = 0
ORDER BY v <-> array_fill(1, ARRAY[16])::vector LIMIT 5;
SELECT wrong_conditions();
-- rows of another tenant are not looked at in the table
SELECT count(*), min(tenant), max(tenant) FROM
  (SELECT tenant FROM t WHERE tenant = 3 ORDER BY v <-> (SELECT v FROM t WHERE id = 1) LIMIT 10) x;
SELECT lists > 8 AS has_lists, reranked < 60 AS looks_at_few, returned FROM ivf_last_scan();
-- updates, and what grows
UPDATE t SET tenant = 11, label = NULL WHERE id % 20 = 3;
INSERT INTO t SELECT id + 3000, v, tenant, label, price, tags, at FROM t;
SELECT wrong_conditions();
DELETE FROM t WHERE id % 3 = 1;
VACUUM t;
SELECT wrong_conditions();
SELECT * FROM vector_index_check('t_v', true);

-- values in full, one list after the other, and pgvector's name
DROP INDEX t_v;
CREATE INDEX t_v ON t USING ivfflat (v vector_l2_ops, tenant, label, price, tags, at) WITH (lists = 20);
SELECT wrong_conditions();
SELECT count(*) FROM (SELECT id FROM t WHERE tenant = 3 ORDER BY v <-> (SELECT v FROM t WHERE id = 1) LIMIT 100) x;
SELECT * FROM vector_index_check('t_v', true);
DROP INDEX t_v;
CREATE INDEX t_v ON t USING ivf (v vector_cosine_ops, tenant, label, price, tags, at)
  WITH (quantizer = rabitq2, rerank = index);
SELECT count(*), min(tenant), max(tenant) FROM
  (SELECT tenant FROM t WHERE tenant = 3 ORDER BY v <=> (SELECT v FROM t WHERE id = 1) LIMIT 100) x;
SELECT * FROM vector_index_check('t_v', true);

-- a zero vector finds every row that matches
SELECT count(*), min(tenant), max(tenant) FROM
  (SELECT tenant FROM t WHERE tenant = 3 ORDER BY v <=> array_fill(0, ARRAY[16])::vector) x;

-- what cannot be
CREATE INDEX ON t USING ivf (v vector_l2_ops, v vector_l2_ops);
CREATE INDEX ON t USING ivf (tenant, v vector_l2_ops);
DROP TABLE t;
DROP FUNCTION differs, wrong_conditions;
