-- vector_index_stats() and hnsw_last_scan(): what they say of each layout, and to whom.
SET client_min_messages = warning;
SET enable_seqscan = off;
\pset null NULL

CREATE TABLE t (id int, v vector(64));
INSERT INTO t SELECT i, (SELECT array_agg(sin(i * j)::real) FROM generate_series(1, 64) j)::vector FROM generate_series(1, 2500) i;
CREATE INDEX t_inline ON t USING hnsw (v vector_l2_ops) WITH (m = 8, ef_construction = 50, quantizer = rabitq4);
CREATE INDEX t_compact ON t USING hnsw (v vector_ip_ops) WITH (layout = compact);
CREATE INDEX t_plain ON t USING hnsw (v vector_cosine_ops) WITH (layout = plain);
CREATE INDEX t_empty ON t USING hnsw (v vector_l2_ops) WHERE id < 0;

CREATE VIEW stats AS SELECT name, s.* FROM unnest(ARRAY['t_inline', 't_compact', 't_plain', 't_empty']) name, vector_index_stats(name::regclass) s;
SELECT name, layout, quantizer, dimensions, code_dimensions, m, ef_construction, links_per_node FROM stats;
SELECT name, elements, dead, heap_tuples, levels > 1 AS upper_levels, levels, entry_points > 0 AS entries FROM stats WHERE name <> 't_plain';
SELECT name, elements, dead, heap_tuples, levels >= 2 AS upper_levels, entry_points FROM stats WHERE name = 't_plain';
-- one element of the histogram for each number of links from 0
SELECT name, cardinality(degrees) - links_per_node AS one, (SELECT sum(d) FROM unnest(degrees) d) = elements AS all_counted, degrees[1] FROM stats;
-- every byte is somewhere
SELECT name, total_bytes = pg_relation_size(name::regclass) AS total,
  vector_bytes + link_bytes + code_bytes + tuple_bytes + entry_bytes + free_bytes + overhead_bytes = total_bytes AS sum,
  vector_bytes > 0 AS vectors, link_bytes > 0 AS links, code_bytes > 0 AS codes, tuple_bytes > 0 AS tuples, entry_bytes > 0 AS entries, overhead_bytes > 0 AS overhead FROM stats;
SELECT name, cardinality(calibration_multiples) = cardinality(calibration_recalls) AS same,
  0 <= ALL (calibration_recalls) AND 1 >= ALL (calibration_recalls) AND 1 <= ALL (calibration_multiples) AS sane, calibrated_elements > 0 AS calibrated FROM stats;

-- what the last scan did
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 7) LIMIT 1) n;
SELECT expanded BETWEEN 2 AND 2499 AS expanded, estimated > expanded AS estimated, computed = expanded AS computed, pages > expanded AS pages, reranked >= 0 AS reranked, returned, swept, multiple >= 1 AS multiple, target_recall FROM hnsw_last_scan();
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <=> (SELECT v FROM t WHERE id = 7) LIMIT 1) n;
SELECT expanded > 1 AS expanded, estimated, computed > expanded AS computed, pages > computed AS pages, reranked, returned, swept, multiple, target_recall FROM hnsw_last_scan();
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 7)) n;
SELECT returned, swept FROM hnsw_last_scan();
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> (SELECT NULL::vector)) n;
SELECT expanded, returned, swept FROM hnsw_last_scan();

-- with rows deleted, and vacuumed
DELETE FROM t WHERE id % 2 = 0;
SELECT name, elements, dead, heap_tuples FROM stats;
VACUUM (INDEX_CLEANUP ON) t;
SELECT name, elements, dead, heap_tuples FROM stats;

-- NULL, and what is no index of ours
SELECT vector_index_stats(NULL) IS NULL;
CREATE FUNCTION says(command text) RETURNS text LANGUAGE plpgsql AS $$
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
CREATE INDEX t_id ON t (id);
CREATE TABLE p (v vector(64)) PARTITION BY LIST ((v IS NULL));
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (false);
CREATE INDEX p_v ON p USING hnsw (v vector_l2_ops);
SELECT says('SELECT vector_index_stats(''t'')');
SELECT says('SELECT vector_index_stats(''t_id'')');
SELECT says('SELECT vector_index_stats(''stats'')');
SELECT says('SELECT vector_index_stats(''p_v'')');
SELECT says('SELECT vector_index_stats(''p1_v_idx'')');
SELECT says('SELECT vector_index_stats(''nothing'')');
SELECT says('SELECT vector_index_stats(4294967295)');
SELECT says('SELECT vector_index_stats(0)');
CREATE TEMP TABLE tmp (v vector(64));
CREATE INDEX tmp_v ON tmp USING hnsw (v vector_l2_ops);
SELECT says('SELECT vector_index_stats(''tmp_v'')');

-- only for those who may read all rows of the table
CREATE ROLE regress_vectorext_reader;
SET ROLE regress_vectorext_reader;
SELECT says('SELECT vector_index_stats(''t_inline'')');
SELECT hnsw_last_scan() IS NULL;
RESET ROLE;
GRANT SELECT ON t TO regress_vectorext_reader;
SET ROLE regress_vectorext_reader;
SELECT says('SELECT vector_index_stats(''t_inline'')');
RESET ROLE;
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
CREATE POLICY a_few ON t USING (id < 100);
SET ROLE regress_vectorext_reader;
SELECT says('SELECT vector_index_stats(''t_inline'')');
SET row_security = off;
SELECT says('SELECT vector_index_stats(''t_inline'')');
RESET ROLE;
SELECT says('SELECT vector_index_stats(''t_inline'')');
\t off
\pset format aligned
DROP VIEW stats;
DROP TABLE t, p, tmp;
DROP ROLE regress_vectorext_reader;
DROP FUNCTION says;
