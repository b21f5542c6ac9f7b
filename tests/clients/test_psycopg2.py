"""psycopg2: plain Python lists, which it writes as ARRAY[...] (numeric[] or integer[]), and
pgvector-python's adapters."""

import psycopg2
import pytest
from pgvector import HalfVector, SparseVector, Vector
from pgvector.psycopg2 import register_vector


@pytest.fixture
def cursor(database, items):
    connection = psycopg2.connect(**database)
    connection.autocommit = True
    with connection.cursor() as cursor:
        yield cursor
    connection.close()


@pytest.mark.parametrize(
    "numbers, shown",
    [
        ([1, 2, 3], "[1,2,3]"),
        ([1.5, 2.5, -3.25], "[1.5,2.5,-3.25]"),
        ([1, 2.5, 3e-20], "[1,2.5,3e-20]"),
        ([0.1, 1e20, 0], "[0.1,1e+20,0]"),
    ],
)
def test_plain_lists_are_stored_as_the_columns_type(cursor, numbers, shown):
    cursor.execute("INSERT INTO items (embedding) VALUES (%s) RETURNING embedding::text", (numbers,))
    assert cursor.fetchone() == (shown,)


def test_plain_lists_are_stored_in_half_and_sparse_columns(cursor):
    cursor.execute(
        "INSERT INTO items (half, sparse) VALUES (%s, %s) RETURNING half::text, sparse::text",
        ([1.5, 0, -2], [1.5, 0.0, -2.0]),
    )
    assert cursor.fetchone() == ("[1.5,0,-2]", "{1:1.5,3:-2}/3")


@pytest.mark.parametrize("type_name", ["vector", "halfvec"])
def test_plain_lists_search_an_index(cursor, type_name):
    column = {"vector": "embedding", "halfvec": "half"}[type_name]
    rows = [([i * 0.5, 1.5, 0.0],) for i in range(300)]
    cursor.executemany(f"INSERT INTO items ({column}) VALUES (%s)", rows)
    cursor.execute(f"CREATE INDEX ON items USING hnsw ({column} {type_name}_l2_ops)")
    cursor.execute("SET enable_seqscan = off")
    query = f"SELECT id FROM items ORDER BY {column} <-> %s::{type_name} LIMIT 3"
    wanted = ([75.1, 1.5, 0.0],)
    cursor.execute(query, wanted)
    assert cursor.fetchall() == [(151,), (152,), (150,)]
    # the cast of the list is IMMUTABLE: the planner makes it a constant of the index scan
    cursor.execute("EXPLAIN " + query, wanted)
    plan = "\n".join(line for (line,) in cursor.fetchall())
    assert f"Index Scan using items_{column}_idx" in plan
    assert "'[75.1,1.5,0]'" in plan or "'[75.125,1.5,0]'" in plan


def test_adapters_bring_every_type_back(cursor):
    register_vector(cursor)
    row = (Vector([1, 2, 3]), HalfVector([1.5, 2, 3]), SparseVector({0: 1, 2: 3.5}, 3))
    cursor.execute("INSERT INTO items (embedding, half, sparse) VALUES (%s, %s, %s)", row)
    cursor.execute("SELECT embedding, half, sparse, ARRAY[embedding, embedding] FROM items")
    assert cursor.fetchone() == (*row, [row[0], row[0]])


def test_bad_lists_are_refused(cursor):
    for numbers, error in [
        ([1, 2], psycopg2.errors.DataException),
        ([1, float("nan"), 2], psycopg2.errors.DataException),
        ([1, None, 2], psycopg2.errors.NullValueNotAllowed),
    ]:
        with pytest.raises(error):
            cursor.execute("INSERT INTO items (embedding) VALUES (%s)", (numbers,))
    cursor.execute("SELECT count(*) FROM items")
    assert cursor.fetchone() == (0,)


@pytest.mark.parametrize("method", ["hnsw", "ivf"])
def test_jsonb_conditions_find_the_nearest_ten_with_defaults(cursor, method):
    """What applications send: a condition of which the planner knows nothing, a GIN index beside the vectors'
    one, no settings; before and after most rows were updated. The planner may read so small a table, so the same is
    asked of the index alone."""
    cursor.execute("DROP TABLE IF EXISTS docs")
    cursor.execute("CREATE TEMP TABLE docs (id int, embedding vector(16), metadata jsonb)")
    cursor.execute(
        """INSERT INTO docs SELECT i, ARRAY(SELECT sin(i * (d + 0.37) * 12.9898) FROM generate_series(1, 16) d)::vector,
                  jsonb_build_object('k', 'v' || i % 100) FROM generate_series(1, 4000) i"""
    )
    cursor.execute(f"CREATE INDEX ON docs USING {method} (embedding vector_cosine_ops)")
    cursor.execute("CREATE INDEX ON docs USING gin (metadata)")
    search = "SELECT id FROM docs WHERE metadata->>'k' = %s ORDER BY embedding <=> %s::vector LIMIT 10"
    cursor.execute("SELECT embedding::text FROM docs WHERE id % 400 = 7")
    queries = [vector for (vector,) in cursor.fetchall()]
    for change in (
        "SELECT 1",
        "ANALYZE docs",
        "UPDATE docs SET metadata = metadata || '{\"seen\": 1}', embedding = embedding + embedding WHERE id % 10 < 8",
        "VACUUM docs",
    ):
        cursor.execute(change)
        for settings in ("SELECT 1", "SET enable_seqscan = off; SET enable_sort = off"):
            right = 0
            for number, vector in enumerate(queries):
                wanted = (f"v{number * 7}", vector)
                cursor.execute("SET enable_indexscan = off")
                cursor.execute(search, wanted)
                exact = set(cursor.fetchall())
                cursor.execute("RESET enable_indexscan")
                cursor.execute(settings)
                cursor.execute(search, wanted)
                found = cursor.fetchall()
                cursor.execute("RESET enable_seqscan; RESET enable_sort")
                assert len(found) == len(set(found)) == 10
                right += len(exact & set(found))
            assert right >= 0.95 * 10 * len(queries), (change, settings)
