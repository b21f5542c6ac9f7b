-- hnsw.ef_search: the value in force, wherever it was set

SET hnsw.ef_search = 45;
SELECT '[1]'::vector AS loads_the_library;
SHOW hnsw.ef_search;
RESET hnsw.ef_search;
SHOW hnsw.ef_search;
BEGIN;
SET LOCAL hnsw.ef_search = 50;
SAVEPOINT s;
SET hnsw.ef_search = 60;
SHOW hnsw.ef_search;
ROLLBACK TO s;
SHOW hnsw.ef_search;
RESET hnsw.ef_search;
SHOW hnsw.ef_search;
ROLLBACK;
SHOW hnsw.ef_search;
SET hnsw.ef_search = 70;
CREATE FUNCTION ef_search_inside() RETURNS text LANGUAGE sql SET hnsw.ef_search = 80
	AS $$ SELECT current_setting('hnsw.ef_search') $$;
SELECT ef_search_inside(), current_setting('hnsw.ef_search') AS outside;
SET hnsw.ef_search = 1001;
SET hnsw.ef_search = 'many';
SHOW hnsw.ef_search;
SET hnsw.ef_search TO DEFAULT;
SHOW hnsw.ef_search;
SELECT boot_val, min_val, max_val, context FROM pg_settings WHERE name = 'hnsw.ef_search';

-- hnsw.target_recall

SHOW hnsw.target_recall;
SET hnsw.target_recall = 0;
SET hnsw.target_recall = 0.9999;
SHOW hnsw.target_recall;
SET hnsw.target_recall = 1;
SET hnsw.target_recall = -0.1;
SET hnsw.target_recall = 'NaN';
RESET hnsw.target_recall;
SELECT boot_val, min_val, max_val, context FROM pg_settings WHERE name = 'hnsw.target_recall';

-- settings that differ from their defaults are in a plan

CREATE TABLE t (v vector(3));
CREATE INDEX i ON t USING hnsw (v vector_l2_ops);
SET enable_seqscan = off;
SET hnsw.ef_search = 90;
SET hnsw.target_recall = 0.5;
EXPLAIN (COSTS OFF, SETTINGS) SELECT * FROM t ORDER BY v <-> '[0,0,0]';
RESET ALL;

-- quantizer and layout: names in any case, and what contradicts each other

CREATE INDEX a ON t USING hnsw (v vector_l2_ops) WITH (quantizer = AUTO, layout = Auto);
CREATE INDEX b ON t USING hnsw (v vector_l2_ops) WITH (quantizer = none);
CREATE INDEX c ON t USING hnsw (v vector_l2_ops) WITH (layout = plain, quantizer = none, m = 8);
SELECT relname, reloptions FROM pg_class WHERE relname IN ('a', 'b', 'c') ORDER BY relname;
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (quantizer = rabitq9);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (layout = wide);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (quantizer = none, layout = inline);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (quantizer = none, layout = compact);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (quantizer = rabitq1, layout = plain);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (quantizer = sq8, layout = plain);
ALTER INDEX b SET (layout = inline);
ALTER INDEX c RESET (quantizer);
ALTER INDEX c SET (quantizer = rabitq4);
SELECT relname, reloptions FROM pg_class WHERE relname IN ('a', 'b', 'c') ORDER BY relname;

DROP TABLE t;
DROP FUNCTION ef_search_inside();
