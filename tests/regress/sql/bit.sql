-- distances between bit strings

SELECT hamming_distance('111', '111'), hamming_distance('111', '110'), hamming_distance('111', '000');
SELECT hamming_distance('', ''), hamming_distance('10101010101', '01010101010');
SELECT hamming_distance('111', '110'::varbit(5)), B'1010' <~> B'0110';

SELECT jaccard_distance('1111', '1111'), jaccard_distance('1111', '1110'), jaccard_distance('1100', '1000');
SELECT jaccard_distance('', ''), jaccard_distance('0000', '0000'), jaccard_distance('1100', '0011');
SELECT B'1111' <%> B'1100';

-- lengths differ, though the bytes don't

SELECT hamming_distance('111', '00');
SELECT jaccard_distance('1111', '000'::varbit(5));
DO $$ BEGIN PERFORM B'1' <~> B'00'; EXCEPTION WHEN data_exception THEN RAISE NOTICE '% %', SQLSTATE, SQLERRM; END $$;

-- NULL

SELECT hamming_distance(NULL, '1'), jaccard_distance('1', NULL);

-- all lengths up to 1100 bits, against counting with SQL

CREATE TABLE bits AS
SELECT n,
       substring(a FOR n)::varbit AS a,
       substring(b FOR n)::varbit AS b
FROM generate_series(0, 1100) n,
     (SELECT string_agg(('x' || md5('a' || i))::bit(128)::text, '') AS a,
             string_agg(('x' || md5('b' || i))::bit(128)::text, '') AS b
      FROM generate_series(1, 9) i) t;
SELECT count(*), max(length(a)) FROM bits;
SELECT count(*) FROM bits
WHERE hamming_distance(a, b) IS DISTINCT FROM length(replace((a # b)::text, '0', ''));
SELECT count(*) FROM bits
WHERE jaccard_distance(a, b) IS DISTINCT FROM
      CASE WHEN length(replace((a & b)::text, '0', '')) = 0 THEN 1
      ELSE 1 - length(replace((a & b)::text, '0', ''))::float8 / length(replace((a | b)::text, '0', '')) END;

-- compressed, and out of line

CREATE TABLE wide (id int, v bit(64000));
INSERT INTO wide VALUES (1, repeat('1', 64000)::bit(64000)), (2, repeat('0', 64000)::bit(64000)),
                        (3, repeat('10', 32000)::bit(64000));
ALTER TABLE wide ALTER v SET STORAGE EXTERNAL;
INSERT INTO wide VALUES (4, repeat('1100', 16000)::bit(64000));
SELECT a.id, b.id, a.v <~> b.v AS hamming, a.v <%> b.v AS jaccard
FROM wide a, wide b WHERE a.id <= b.id ORDER BY a.id, b.id;
SELECT id FROM wide ORDER BY v <~> repeat('1', 64000)::bit(64000), id;

DROP TABLE bits, wide;
