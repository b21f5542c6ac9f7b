-- text

SELECT '{1:1.5,3:3.5}/5'::sparsevec;
SELECT ' { 1 : 1.5 ,  3  :  -3.5  } / 5 '::sparsevec;
SELECT '{3:2,1:1.23456}/5'::sparsevec;
SELECT '{1:0,2:1,3:-0}/3'::sparsevec;
SELECT '{1:1.5e38,2:-1.5e-38,3:1e6,4:100000}/4'::sparsevec;
SELECT '{1000000000:1}/1000000000'::sparsevec;
SELECT '{}/5'::sparsevec;

-- not the text of a sparsevec

SELECT ''::sparsevec;
SELECT '[1]'::sparsevec;
SELECT '{'::sparsevec;
SELECT '{,'::sparsevec;
SELECT '{}'::sparsevec;
SELECT '{}/'::sparsevec;
SELECT '{}/1a'::sparsevec;
SELECT '{1:hello}/2'::sparsevec;
SELECT '{1:1,}/1'::sparsevec;
SELECT '{1a:1}/1'::sparsevec;

-- limits

SELECT '{1:4e38}/1'::sparsevec;
SELECT '{1:1e-46}/1'::sparsevec;
SELECT '{1:NaN}/1'::sparsevec;
SELECT '{1:-Infinity}/1'::sparsevec;
SELECT '{1:1,1:1}/2'::sparsevec;
SELECT '{0:1}/1'::sparsevec;
SELECT '{2:1}/1'::sparsevec;
SELECT '{9223372036854775808:1}/1'::sparsevec;
SELECT '{}/0'::sparsevec;
SELECT '{}/1000000001'::sparsevec;
SELECT length(('{' || string_agg(i || ':1', ',') || '}/16000')::sparsevec::text) FROM generate_series(1, 16000) i;
SELECT ('{' || string_agg(i || ':1', ',') || '}/16001')::sparsevec FROM generate_series(1, 16001) i;

-- SQLSTATEs

CREATE FUNCTION sqlstate_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT input, sqlstate_of(format('SELECT %L::sparsevec', input))
FROM unnest('{"{}","{1:4e38}/1","{1:1e-46}/1","{1:NaN}/1","{2:1}/1","{1:1,1:1}/1","{}/0","{}/1000000001"}'::text[]) input;
SELECT sqlstate_of($$SELECT '{}/3'::sparsevec(2)$$), sqlstate_of($$SELECT '{}/3'::sparsevec(0)$$),
       sqlstate_of($$SELECT '{}/3'::sparsevec <-> '{}/2'$$);

-- type modifier

SELECT '{}/3'::sparsevec(3);
SELECT '{}/3'::sparsevec(2);
SELECT '{}/3'::sparsevec(3, 2);
SELECT '{}/3'::sparsevec('a');
SELECT '{}/3'::sparsevec(0);
SELECT '{}/3'::sparsevec(1000000001);
CREATE TABLE typed (v sparsevec(3));
INSERT INTO typed VALUES ('{1:1}/3');
INSERT INTO typed VALUES ('{1:1}/4');
INSERT INTO typed SELECT '{1:1}/4'::sparsevec;
SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'typed'::regclass AND attname = 'v';
DROP TABLE typed;

-- distances

SELECT l2_distance('{1:3}/2'::sparsevec, '{2:4}/2'), '{1:1,2:2}/2'::sparsevec <-> '{1:1,2:2}/2';
SELECT inner_product('{1:1,3:3,5:5}/5'::sparsevec, '{2:4,3:6,4:8}/5'), '{1:1,2:2}/2'::sparsevec <#> '{1:3,2:4}/2';
SELECT cosine_distance('{1:1,2:2}/2'::sparsevec, '{1:2,2:4}/2'), '{1:1}/2'::sparsevec <=> '{2:1}/2',
       '{1:1}/2'::sparsevec <=> '{1:-1}/2', '{}/2'::sparsevec <=> '{1:1}/2';
SELECT l1_distance('{1:1,3:3,5:5,7:7}/8'::sparsevec, '{2:2,4:4,6:6,8:8}/8'), '{}/2'::sparsevec <+> '{1:3,2:4}/2';
SELECT sparsevec_l2_squared_distance('{1:3}/2', '{2:4}/2'), sparsevec_negative_inner_product('{1:3}/2', '{1:4}/2');
SELECT '{1:3e38}/1'::sparsevec <#> '{1:3e38}/1', '{1:3e38}/1'::sparsevec <+> '{1:-3e38}/1', '{1:3e38}/1'::sparsevec <=> '{1:3e38}/1';
SELECT '{1:1}/2'::sparsevec <-> '{1:1}/3';
SELECT '{1:1}/2'::sparsevec <#> '{1:1}/3';
SELECT '{1:1}/2'::sparsevec <=> '{1:1}/3';
SELECT '{1:1}/2'::sparsevec <+> '{1:1}/3';
SELECT l2_distance(NULL::sparsevec, '{}/1');

SELECT l2_norm('{1:3,2:4}/2'::sparsevec), l2_norm('{}/2'::sparsevec), l2_norm('{1:3e37,2:4e37}/2'::sparsevec)::real;
SELECT l2_normalize('{1:3,2:4}/2'::sparsevec), l2_normalize('{}/2'::sparsevec), l2_normalize('{1:3e38,2:1e-37}/2'::sparsevec);

-- distances of sparse vectors are those of the dense ones

CREATE TABLE pairs AS
SELECT a::vector AS a, b::vector AS b FROM generate_series(1, 200) n, LATERAL (
	SELECT array_agg(CASE WHEN (i * 7 + n) % 3 = 0 THEN (i * n) % 17 - 8 ELSE 0 END ORDER BY i)::real[] AS a,
	       array_agg(CASE WHEN (i * 5 + n) % 4 = 0 THEN (i + n) % 13 - 6 ELSE 0 END ORDER BY i)::real[] AS b
	FROM generate_series(1, n) i) t;
SELECT count(*) FROM pairs WHERE (a::sparsevec <-> b::sparsevec) <> (a <-> b);
SELECT count(*) FROM pairs WHERE (a::sparsevec <#> b::sparsevec) <> (a <#> b);
SELECT count(*) FROM pairs WHERE (a::sparsevec <+> b::sparsevec) <> (a <+> b);
SELECT count(*) FROM pairs WHERE (a::sparsevec <=> b::sparsevec) IS DISTINCT FROM (a <=> b);
SELECT count(*) FROM pairs WHERE l2_norm(a::sparsevec) <> vector_norm(a);
SELECT count(*) FROM pairs WHERE a::sparsevec::vector <> a OR b::sparsevec::text::sparsevec::vector <> b;
SELECT count(*) FROM pairs p, pairs q WHERE sparsevec_cmp(p.a::sparsevec, q.b::sparsevec) <> vector_cmp(p.a, q.b);
DROP TABLE pairs;

-- order

SELECT a < b AS lt, a <= b AS le, a = b AS eq, a <> b AS ne, a >= b AS ge, a > b AS gt, sparsevec_cmp(a, b)
FROM (VALUES ('{1:1,2:2}/3'::sparsevec, '{1:1,2:2}/3'::sparsevec), ('{1:1}/3', '{1:1}/2'), ('{2:-1}/3', '{}/3'),
             ('{}/2', '{1:1}/9'), ('{1:2}/1', '{1:1,2:9}/9')) t (a, b);
CREATE TABLE ordered (v sparsevec);
INSERT INTO ordered VALUES ('{1:1}/3'), ('{1:-1}/3'), ('{}/3'), ('{2:1}/3'), ('{}/2'), (NULL), ('{3:-2}/3');
SELECT v FROM ordered ORDER BY v;
CREATE INDEX ON ordered (v);
SET enable_seqscan = off;
SELECT v FROM ordered WHERE v < '{}/3' ORDER BY v DESC;
SELECT v FROM ordered WHERE v = '{2:1}/3';
RESET enable_seqscan;
SELECT count(DISTINCT v) FROM ordered;
SELECT v FROM ordered ORDER BY v <-> '{2:1}/3' LIMIT 1; -- one row has two dimensions
DROP TABLE ordered;

-- stored out of line

CREATE TABLE wide (id int, v sparsevec(100000));
INSERT INTO wide SELECT n, ('{' || string_agg(i * n || ':' || i, ',') || '}/100000')::sparsevec
FROM generate_series(1, 5) n, generate_series(1, 16000) i GROUP BY n;
SELECT id, v <#> v AS product, l2_norm(v) FROM wide ORDER BY id;
SELECT id FROM wide ORDER BY v <+> (SELECT v FROM wide WHERE id = 3), id;
DROP TABLE wide;

-- casts

SELECT ARRAY[1,0,2]::sparsevec, ARRAY[1,0,2]::real[]::sparsevec, ARRAY[1.5,0,2]::float8[]::sparsevec, ARRAY[1.5,0,2]::sparsevec;
SELECT '[0,1.5,0]'::vector::sparsevec, '[0,1.5,0]'::halfvec::sparsevec, '{2:1.5}/3'::sparsevec::vector, '{2:1.5}/3'::sparsevec::halfvec;
SELECT '{1,0,2}'::real[]::sparsevec(3);
SELECT '{1,0,2}'::real[]::sparsevec(2);
SELECT '[0,1]'::vector::sparsevec(3);
SELECT '[0,1]'::halfvec::sparsevec(3);
SELECT '{}/2'::sparsevec::vector(3);
SELECT '{}/2'::sparsevec::halfvec(3);
SELECT '{}/16001'::sparsevec::vector;
SELECT '{}/16001'::sparsevec::halfvec;
SELECT '{1:65520}/1'::sparsevec::halfvec;
SELECT '{1:1e-8}/1'::sparsevec::halfvec;
SELECT '{NULL}'::real[]::sparsevec;
SELECT '{NaN}'::float8[]::sparsevec;
SELECT '{Infinity}'::real[]::sparsevec;
SELECT '{4e38}'::float8[]::sparsevec;
SELECT '{1e-46}'::float8[]::sparsevec;
SELECT '{}'::int[]::sparsevec;
SELECT '{{1}}'::int[]::sparsevec;
SELECT array_agg(1)::sparsevec FROM generate_series(1, 16001);
SELECT array_agg(i / 20000)::sparsevec FROM generate_series(1, 20001) i;

-- binary

SELECT sparsevec_send('{1:1.5,3:-2}/5');
-- COPY BINARY of one column: signature, flags, extension, a row of one field, end
CREATE FUNCTION receive(message bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	file bytea := '\x5047434f50590aff0d0a000000000000000000'::bytea || int2send(1::int2)
		|| int4send(length(message)) || message || int2send((-1)::int2);
	octal text;
	result text;
BEGIN
	SELECT string_agg(format('\%s%s%s', b / 64, b / 8 % 8, b % 8), '' ORDER BY i) INTO octal
	FROM generate_series(0, length(file) - 1) i, LATERAL (SELECT get_byte(file, i) AS b) t;
	CREATE TEMP TABLE received (v sparsevec);
	BEGIN
		EXECUTE format('COPY received FROM PROGRAM %L WITH (FORMAT binary)', format('printf ''%s''', octal));
		SELECT v::text INTO result FROM received;
	EXCEPTION WHEN OTHERS THEN
		result := SQLSTATE || ' ' || SQLERRM;
	END;
	DROP TABLE received;
	RETURN result;
END $$;
SELECT receive(sparsevec_send('{1:1.5,3:-2}/5'));
SELECT receive(sparsevec_send('{}/1000000000'));
WITH words (dims, count, unused, rest) AS (VALUES
	(0, 0, 0, ''), (-1, 0, 0, ''), (1000000001, 0, 0, ''), (5, -1, 0, ''), (2147483647, 2147483647, 0, ''),
	(20000, 16001, 0, ''), (1, 2, 0, ''), (1, 0, 7, ''), (5, 1, 0, ''), (16000, 16000, 0, '00000000'),
	(5, 1, 0, '000000053f800000'), (5, 1, 0, 'ffffffff3f800000'), (5, 1, 0, '7fffffff3f800000'),
	(5, 2, 0, '00000003000000013f8000003f800000'), (5, 2, 0, '00000003000000033f8000003f800000'),
	(5, 1, 0, '000000007fc00000'), (5, 1, 0, '00000000ff800000'), (5, 1, 0, '0000000080000000'),
	(5, 1, 0, '000000003f80000000'), (5, 1, 0, '000000003f8000'))
SELECT dims, count, unused, rest, receive(int4send(dims) || int4send(count) || int4send(unused) || decode(rest, 'hex'))
FROM words;
SELECT receive(''), receive('\x0000');
DROP FUNCTION receive, sqlstate_of;
