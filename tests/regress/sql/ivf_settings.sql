-- settings of ivf and ivfflat

LOAD 'vectorext';
SHOW ivf.probes;
SHOW ivf.target_recall;
SHOW ivf.iterative_scan;
SHOW ivf.max_probes;
SHOW ivfflat.probes;
SHOW ivfflat.iterative_scan;
SHOW ivfflat.max_probes;
SET ivf.probes = 0;
SET ivf.probes = 65537;
SET ivf.target_recall = 1;
SET ivf.iterative_scan = on;
SET ivf.max_probes = 0;
SET ivf.lists = 5;
SET ivfflat.probes = 32769;
SET ivfflat.iterative_scan = strict_order;

SET client_min_messages = warning;
SET enable_seqscan = off;
CREATE TABLE t (id serial, v vector(2));
-- 20 clusters on a circle
INSERT INTO t (v) SELECT ARRAY[1000 * cos(c) + i % 7, 1000 * sin(c) + i % 5]::vector
FROM generate_series(1, 20) c, generate_series(1, 50) i;
CREATE INDEX ti ON t USING ivf (v vector_l2_ops) WITH (lists = 20, quantizer = none);
CREATE FUNCTION probed(rows int) RETURNS TABLE (returned bigint, probes bigint) AS $$
BEGIN
	EXECUTE format('SELECT id FROM t ORDER BY v <-> ''[1000,10]'' LIMIT %s', rows);
	RETURN QUERY SELECT s.returned, s.probes FROM ivf_last_scan() s;
END $$ LANGUAGE plpgsql;

-- probes is a floor
SET ivf.probes = 7;
SELECT * FROM probed(5);
SET ivf.probes = 20;
SELECT * FROM probed(5);
SET ivf.probes = 1000;
SELECT * FROM probed(5);
-- without a target it alone decides
SET ivf.target_recall = 0;
SET ivf.probes = 3;
SELECT * FROM probed(5);
RESET ivf.probes;
SELECT * FROM probed(5);
-- off: the rows of these lists and no others
SET ivf.iterative_scan = off;
SET ivf.probes = 1;
SELECT returned < 500 AS few, probes FROM probed(1000);
SET ivf.probes = 20;
SELECT returned FROM probed(1000);
-- strict and relaxed: as far as max_probes
SET ivf.iterative_scan = strict_order;
SET ivf.probes = 2;
SET ivf.max_probes = 4;
SELECT returned BETWEEN 10 AND 700 AS some FROM probed(1000);
SET ivf.iterative_scan = relaxed_order;
SELECT returned BETWEEN 10 AND 700 AS some FROM probed(1000);
RESET ivf.max_probes;
SELECT returned FROM probed(1000);
RESET ivf.iterative_scan;
SELECT returned FROM probed(1000);
RESET ivf.target_recall;
RESET ivf.probes;
SELECT returned FROM probed(1000);

-- ivfflat as in pgvector: probes lists and no more
DROP INDEX ti;
CREATE INDEX ti ON t USING ivfflat (v vector_l2_ops) WITH (lists = 20);
SELECT returned < 500 AS few, probes FROM probed(1000);
SET ivfflat.probes = 20;
SELECT returned FROM probed(1000);
SET ivfflat.probes = 1;
SET ivfflat.iterative_scan = relaxed_order;
SELECT returned FROM probed(1000);
SET ivfflat.max_probes = 2;
SELECT returned < 700 AS few FROM probed(1000);
DROP TABLE t;
DROP FUNCTION probed;
