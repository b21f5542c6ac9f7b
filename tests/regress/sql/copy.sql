-- COPY, text and binary.

CREATE TABLE t (v vector(3));
INSERT INTO t VALUES ('[0,-0,0.1]'), ('[1,2,3]'), (NULL), ('[-1.5,1e-5,65504]');
CREATE TABLE t2 (v vector(3));
\copy t TO 'target/regress/results/vector.bin' WITH (FORMAT binary)
\copy t2 FROM 'target/regress/results/vector.bin' WITH (FORMAT binary)
\copy t TO 'target/regress/results/vector.txt'
\copy t2 FROM 'target/regress/results/vector.txt'
SELECT v, count(*), vector_send(v) FROM t2 GROUP BY v ORDER BY v;
CREATE TABLE t3 (v vector(2));
\copy t3 FROM 'target/regress/results/vector.bin' WITH (FORMAT binary)
DROP TABLE t, t2, t3;

-- hostile binary input: ours is one field of a binary COPY file
CREATE TABLE t (v vector);
CREATE TABLE field (f bytea);
-- nothing
TRUNCATE field;
INSERT INTO field VALUES ('\x');
\copy field TO 'target/regress/results/vector.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/vector.bin' WITH (FORMAT binary)
-- half_a_header
TRUNCATE field;
INSERT INTO field VALUES ('\x0001');
\copy field TO 'target/regress/results/vector.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/vector.bin' WITH (FORMAT binary)
-- no_elements
TRUNCATE field;
INSERT INTO field VALUES ('\x00010000');
\copy field TO 'target/regress/results/vector.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/vector.bin' WITH (FORMAT binary)
-- part_of_an_element
TRUNCATE field;
INSERT INTO field VALUES ('\x000200003f80000000');
\copy field TO 'target/regress/results/vector.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/vector.bin' WITH (FORMAT binary)
-- one_missing
TRUNCATE field;
INSERT INTO field VALUES ('\x000200003f800000');
\copy field TO 'target/regress/results/vector.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/vector.bin' WITH (FORMAT binary)
-- one_too_many
TRUNCATE field;
INSERT INTO field VALUES ('\x000100003f8000003f800000');
\copy field TO 'target/regress/results/vector.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/vector.bin' WITH (FORMAT binary)
-- no_dimensions
TRUNCATE field;
INSERT INTO field VALUES ('\x00000000');
\copy field TO 'target/regress/results/vector.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/vector.bin' WITH (FORMAT binary)
-- too_many_dimensions
TRUNCATE field;
INSERT INTO field VALUES ('\xffff00003f800000');
\copy field TO 'target/regress/results/vector.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/vector.bin' WITH (FORMAT binary)
-- unused_used
TRUNCATE field;
INSERT INTO field VALUES ('\x0001ffff3f800000');
\copy field TO 'target/regress/results/vector.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/vector.bin' WITH (FORMAT binary)
-- nan
TRUNCATE field;
INSERT INTO field VALUES ('\x000100007fc00000');
\copy field TO 'target/regress/results/vector.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/vector.bin' WITH (FORMAT binary)
-- infinity
TRUNCATE field;
INSERT INTO field VALUES ('\x00010000ff800000');
\copy field TO 'target/regress/results/vector.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/vector.bin' WITH (FORMAT binary)
-- good
TRUNCATE field;
INSERT INTO field VALUES ('\x000100003f800000');
\copy field TO 'target/regress/results/vector.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/vector.bin' WITH (FORMAT binary)
SELECT * FROM t;
DROP TABLE t, field;

CREATE TABLE t (v halfvec(3));
INSERT INTO t VALUES ('[0,-0,0.1]'), ('[1,2,3]'), (NULL), ('[-1.5,1e-5,65504]');
CREATE TABLE t2 (v halfvec(3));
\copy t TO 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
\copy t2 FROM 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
\copy t TO 'target/regress/results/halfvec.txt'
\copy t2 FROM 'target/regress/results/halfvec.txt'
SELECT v, count(*), halfvec_send(v) FROM t2 GROUP BY v ORDER BY v;
CREATE TABLE t3 (v halfvec(2));
\copy t3 FROM 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
DROP TABLE t, t2, t3;

-- hostile binary input: ours is one field of a binary COPY file
CREATE TABLE t (v halfvec);
CREATE TABLE field (f bytea);
-- nothing
TRUNCATE field;
INSERT INTO field VALUES ('\x');
\copy field TO 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
-- half_a_header
TRUNCATE field;
INSERT INTO field VALUES ('\x0001');
\copy field TO 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
-- no_elements
TRUNCATE field;
INSERT INTO field VALUES ('\x00010000');
\copy field TO 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
-- part_of_an_element
TRUNCATE field;
INSERT INTO field VALUES ('\x000200003c0000');
\copy field TO 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
-- one_missing
TRUNCATE field;
INSERT INTO field VALUES ('\x000200003c00');
\copy field TO 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
-- one_too_many
TRUNCATE field;
INSERT INTO field VALUES ('\x000100003c003c00');
\copy field TO 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
-- no_dimensions
TRUNCATE field;
INSERT INTO field VALUES ('\x00000000');
\copy field TO 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
-- too_many_dimensions
TRUNCATE field;
INSERT INTO field VALUES ('\xffff00003c00');
\copy field TO 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
-- unused_used
TRUNCATE field;
INSERT INTO field VALUES ('\x0001ffff3c00');
\copy field TO 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
-- nan
TRUNCATE field;
INSERT INTO field VALUES ('\x000100007e00');
\copy field TO 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
-- infinity
TRUNCATE field;
INSERT INTO field VALUES ('\x00010000fc00');
\copy field TO 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
-- good
TRUNCATE field;
INSERT INTO field VALUES ('\x000100003c00');
\copy field TO 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
\copy t FROM 'target/regress/results/halfvec.bin' WITH (FORMAT binary)
SELECT * FROM t;
DROP TABLE t, field;
