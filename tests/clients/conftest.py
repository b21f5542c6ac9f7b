"""Where the tests connect: the server that PGHOST, PGPORT and PGUSER name, in a database of their own."""

import os

import psycopg
import pytest


@pytest.fixture(scope="session")
def database():
    """A database with the extension; its keyword arguments for any libpq driver."""
    place = {key: os.environ["PG" + key.upper()] for key in ("host", "port", "user")}
    with psycopg.connect(**place, dbname="postgres", autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS clients")
        connection.execute("CREATE DATABASE clients")
    place["dbname"] = "clients"
    with psycopg.connect(**place, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vectorext")
    return place


@pytest.fixture
def items(database):
    """An empty table with a column of each type; its name."""
    with psycopg.connect(**database, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS items")
        connection.execute(
            """CREATE TABLE items (
                   id bigserial PRIMARY KEY,
                   embedding vector(3), half halfvec(3), sparse sparsevec(3), bits bit(3),
                   bytes bytevec(3), bfloats bf16vec(3)
               )"""
        )
    return "items"
