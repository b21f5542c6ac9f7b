-- The recipes of docs/recipes.md: each query uses its index and finds the nearest rows.

SET jit = off;
SET enable_seqscan = off;
CREATE TABLE items (id int PRIMARY KEY, embedding vector(64));
-- what comes first says most, as in Matryoshka embeddings
INSERT INTO items SELECT i, l2_normalize(array_agg((sin(i * 12.9898 + j * 78.233) + cos(i * j * 0.37)) / sqrt(j) ORDER BY j)::vector)
  FROM generate_series(1, 3000) i, generate_series(1, 64) j GROUP BY i;
-- share of the ten nearest rows by an operator that a query finds, over twenty-five rows as $1
CREATE FUNCTION recall(op text, query text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE found bigint := 0; wanted bigint := 0; q vector; near int[]; here int[]; line text; plan text := '';
BEGIN
  FOR q IN SELECT embedding FROM items WHERE id % 120 = 7 LOOP
    EXECUTE format('SELECT array_agg(id) FROM (SELECT id FROM items ORDER BY (embedding %s $1) + 0 LIMIT 10) x', op) INTO near USING q;
    EXECUTE format('SELECT array_agg(id) FROM (%s) x', query) INTO here USING q;
    wanted := wanted + 10;
    found := found + (SELECT count(*) FROM unnest(near) n WHERE n = ANY (here));
  END LOOP;
  FOR line IN EXECUTE 'EXPLAIN ' || query USING q LOOP plan := plan || line; END LOOP;
  IF plan NOT LIKE '%Index Scan using i on items%Order By%' THEN RAISE EXCEPTION 'no index: %', plan; END IF;
  RETURN found / wanted::numeric;
END $$;

-- Matryoshka
CREATE INDEX i ON items USING hnsw ((subvector(embedding, 1, 24)::vector(24)) vector_cosine_ops);
SELECT recall('<=>', 'SELECT id FROM (
      SELECT id, embedding FROM items
      ORDER BY subvector(embedding, 1, 24)::vector(24) <=> subvector($1, 1, 24)
      LIMIT 100
  ) AS candidates
  ORDER BY embedding <=> $1 LIMIT 10') >= 0.9 AS found;
DROP INDEX i;

-- one bit a dimension
CREATE INDEX i ON items USING hnsw ((binary_quantize(embedding)::bit(64)) bit_hamming_ops);
SELECT recall('<=>', 'SELECT id FROM (
      SELECT id, embedding FROM items
      ORDER BY binary_quantize(embedding)::bit(64) <~> binary_quantize($1)
      LIMIT 200
  ) AS candidates
  ORDER BY embedding <=> $1 LIMIT 10') >= 0.7 AS found;
DROP INDEX i;

-- a column of bytes
ALTER TABLE items ADD bytes bytevec(64) GENERATED ALWAYS AS (quantize_to_bytevec(embedding)) STORED;
CREATE INDEX i ON items USING hnsw (bytes bytevec_cosine_ops);
SELECT recall('<=>', 'SELECT id FROM items ORDER BY bytes <=> quantize_to_bytevec($1) LIMIT 10') >= 0.85 AS found;
SELECT recall('<=>', 'SELECT id FROM (
      SELECT id, embedding FROM items ORDER BY bytes <=> quantize_to_bytevec($1) LIMIT 50
  ) AS candidates ORDER BY embedding <=> $1 LIMIT 10') >= 0.95 AS found_re_ranked;
DROP INDEX i;
ALTER TABLE items DROP bytes;

-- a range for all rows, an index of bytes over floats
SELECT percentile_cont(0.99) WITHIN GROUP (ORDER BY abs(x)) BETWEEN 0.3 AND 0.7 AS plausible FROM items, unnest(embedding::real[]) AS x;
CREATE INDEX i ON items USING hnsw ((quantize_to_bytevec(embedding, -0.5, 0.5)::bytevec(64)) bytevec_l2_ops);
SELECT recall('<->', 'SELECT id FROM (
      SELECT id, embedding FROM items
      ORDER BY quantize_to_bytevec(embedding, -0.5, 0.5)::bytevec(64) <-> quantize_to_bytevec($1, -0.5, 0.5)
      LIMIT 100
  ) AS candidates
  ORDER BY embedding <-> $1 LIMIT 10') >= 0.95 AS found;
DROP INDEX i;

-- bfloat16 storage; a vector as a parameter uses the index
ALTER TABLE items ADD b bf16vec(64);
UPDATE items SET b = embedding;
CREATE INDEX i ON items USING hnsw (b bf16vec_cosine_ops);
SELECT recall('<=>', 'SELECT id FROM items ORDER BY b <=> $1 LIMIT 10') >= 0.85 AS found;
SELECT recall('<=>', 'SELECT id FROM (
      SELECT id, embedding FROM items ORDER BY b <=> $1 LIMIT 50
  ) AS candidates ORDER BY embedding <=> $1 LIMIT 10') >= 0.95 AS found_re_ranked;
DROP TABLE items;
DROP FUNCTION recall;
