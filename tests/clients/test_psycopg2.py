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
