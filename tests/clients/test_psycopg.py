"""psycopg 3 with pgvector-python's adapters: text and binary parameters, results and COPY."""

import psycopg
import pytest
from pgvector import Bit, HalfVector, SparseVector, Vector
from pgvector.psycopg import register_vector


@pytest.fixture
def connection(database, items):
    with psycopg.connect(**database, autocommit=True) as connection:
        register_vector(connection)
        yield connection


ROWS = [
    (Vector([1, 2, 3]), HalfVector([1.5, 2, 3]), SparseVector({0: 1, 2: 3.5}, 3), Bit("101")),
    (Vector([-1.25, 0, 1e-30]), HalfVector([-2, 0, 65504]), SparseVector({}, 3), Bit("000")),
    (None, None, None, None),
]


@pytest.mark.parametrize("parameter", ["%s", "%b", "%t"])
@pytest.mark.parametrize("binary_results", [False, True])
def test_values_of_every_type_come_back_as_sent(connection, parameter, binary_results):
    values = ", ".join([parameter] * 4)
    for row in ROWS:
        connection.execute(
            f"INSERT INTO items (embedding, half, sparse, bits) VALUES ({values})", row
        )
    cursor = connection.cursor(binary=binary_results)
    found = cursor.execute("SELECT embedding, half, sparse, bits::text FROM items ORDER BY id").fetchall()
    # the adapters read no bit strings
    assert found == [(*row[:3], row[3] and row[3].to_text()) for row in ROWS]


def test_binary_copy_loads_and_unloads(connection):
    with connection.cursor().copy(
        "COPY items (embedding, half, sparse) FROM STDIN (FORMAT binary)"
    ) as copy:
        copy.set_types(["vector", "halfvec", "sparsevec"])
        for i in range(500):
            copy.write_row(
                [Vector([i, 1, 2]), HalfVector([1, i, 2]), SparseVector({1: i + 1}, 3)]
            )
    with connection.cursor().copy(
        "COPY (SELECT embedding, half, sparse FROM items ORDER BY id) TO STDOUT (FORMAT binary)"
    ) as copy:
        copy.set_types(["vector", "halfvec", "sparsevec"])
        rows = list(copy.rows())
    assert len(rows) == 500
    assert rows[7] == (Vector([7, 1, 2]), HalfVector([1, 7, 2]), SparseVector({1: 8}, 3))


@pytest.mark.parametrize("parameter", ["%s", "%b", "%t"])
def test_an_index_answers_parameters_of_prepared_statements(connection, parameter):
    for i in range(200):
        connection.execute(
            "INSERT INTO items (embedding, bits) VALUES (%s, %s)", (Vector([i, 1, 1]), Bit("110"))
        )
    connection.execute("CREATE INDEX ON items USING hnsw (embedding vector_l2_ops)")
    connection.execute("SET enable_seqscan = off")
    query = f"SELECT id, embedding FROM items ORDER BY embedding <-> {parameter} LIMIT 3"
    # generic plans come from the sixth execution on
    for _ in range(8):
        found = connection.execute(query, (Vector([100, 1, 1]),), prepare=True).fetchall()
        assert found[0] == (101, Vector([100, 1, 1]))
        assert {row[0] for row in found} == {100, 101, 102}
    plan = connection.execute("EXPLAIN " + query.replace(parameter, "'[100,1,1]'")).fetchall()
    assert any("Index Scan using items_embedding_idx" in line for (line,) in plan)


def test_plain_lists_are_cast_where_a_vector_is_stored_or_named(connection):
    connection.execute("INSERT INTO items (embedding, half) VALUES (%s, %s)", ([1.5, 2.0, 3.0],) * 2)
    distance = connection.execute(
        "SELECT embedding <-> %s::vector, half <-> %s::halfvec FROM items", ([1.5, 2.0, 4.0],) * 2
    ).fetchone()
    assert distance == (1.0, 1.0)


def test_averages_and_sums_come_back_as_vectors(connection):
    for i in range(1, 4):
        connection.execute(
            "INSERT INTO items (embedding, half) VALUES (%s, %s)",
            (Vector([i, 2 * i, 0]), HalfVector([i, 2 * i, 0])),
        )
    found = connection.execute(
        "SELECT avg(embedding), sum(embedding), avg(half), sum(half) FROM items"
    ).fetchone()
    assert found == (Vector([2, 4, 0]), Vector([6, 12, 0]), HalfVector([2, 4, 0]), HalfVector([6, 12, 0]))


def test_a_wrong_dimension_is_the_drivers_data_error(connection):
    with pytest.raises(psycopg.errors.DataException, match="expected 3 dimensions, not 2"):
        connection.execute("INSERT INTO items (embedding) VALUES (%s)", (Vector([1, 2]),))
    assert connection.execute("SELECT count(*) FROM items").fetchone() == (0,)


def test_types_without_an_adapter_go_as_text_or_as_lists(connection):
    for i in range(100):
        connection.execute(
            "INSERT INTO items (bytes, bfloats) VALUES (%s, %s)", (f"[{i},-128,127]", f"[{i},0.5,-1]")
        )
    connection.execute("CREATE INDEX ON items USING hnsw (bytes bytevec_l2_ops)")
    connection.execute("SET enable_seqscan = off")
    found = connection.execute(
        "SELECT bytes, bfloats FROM items ORDER BY bytes <-> %s::bytevec LIMIT 1", ([42, -128, 127],)
    ).fetchone()
    assert found == ("[42,-128,127]", "[42,0.5,-1]")
    # a vector as a parameter is rounded to the column's type
    found = connection.execute(
        "SELECT bfloats::vector FROM items ORDER BY bfloats <-> %s LIMIT 1", (Vector([7, 0.5, -1]),)
    ).fetchone()
    assert found == (Vector([7, 0.5, -1]),)
    assert connection.execute("SELECT avg(bytes), sum(bfloats) FROM items WHERE id <= 2").fetchone() == (
        Vector([0.5, -128, 127]),
        Vector([1, 1, -2]),
    )
