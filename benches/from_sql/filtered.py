"""A table to filter: the same number in three columns, which conditions reach in three ways."""

from dataclasses import dataclass

import numpy as np

from .data import K
from .engine import Engine

OF = 10_000
"""Values of the number: a condition selects so many hundredths of a per cent."""

COLUMNS = {"f": "filter column", "b": "bitmap of a btree", "p": "other predicate"}
"""In the vector index where the engine has filter columns; with a btree of its own; with nothing."""



def number(ids: np.ndarray) -> np.ndarray:
    """Each row's number: uniform, and nothing to do with its vector."""
    return ids * 7919 % OF


@dataclass(frozen=True)
class Filtered:
    """The table in an engine's database."""

    engine: Engine
    table: str
    rows: int
    method: str = "hnsw"
    has_filter_column: bool = True

    @property
    def is_ours(self) -> bool:
        return self.engine.extension == self.engine.options.ours

    @property
    def columns(self) -> list[str]:
        """Those of `COLUMNS` that conditions reach in ways of their own."""
        return [column for column in COLUMNS if column != "f" or self.has_filter_column]

    def load(self, operator_class: str) -> None:
        """The first rows of `items` with their numbers; indexes, statistics."""
        engine, table = self.engine, self.table
        engine.psql(
            f"DROP TABLE IF EXISTS {table};"
            f"CREATE TABLE {table} AS SELECT id, embedding, n AS f, n AS b, n AS p FROM"
            f" (SELECT *, (id::bigint * 7919 % {OF})::integer AS n FROM items WHERE id < {self.rows} ORDER BY id) x;"
            f"CREATE INDEX {table}_b ON {table} (b);"
        )
        self.index(operator_class)
        engine.psql(f"VACUUM (FREEZE, ANALYZE) {table}")

    def index(self, operator_class: str) -> None:
        """The vector index, in place of the one there is."""
        table, options = self.table, self.engine.index_options
        given = f" WITH ({options})" if options != "none" and self.method == "hnsw" else ""
        filters = ", f" if self.is_ours and self.has_filter_column else ""
        self.engine.psql(
            f"DROP INDEX IF EXISTS {table}_embedding;"
            f"CREATE INDEX {table}_embedding ON {table} USING {self.method} (embedding {operator_class}{filters}){given}"
        )

    def condition(self, column: str, hundredths: int) -> str:
        return f"{column} < {hundredths}" if hundredths < OF else "true"

    def matching(self, hundredths: int) -> np.ndarray:
        ids = np.arange(self.rows)
        return ids[number(ids) < hundredths]

    def nearest(self, query: str, condition: str) -> str:
        """The search of one query, given as a condition on `queries.id`."""
        return (
            f"SELECT id FROM {self.table} WHERE {condition} ORDER BY embedding {self.engine.operator} "
            f"(SELECT embedding FROM queries WHERE id = {query}) LIMIT {K}"
        )

    def nearest_of_all(self, wanted: str, condition: str, queries: str = "true") -> str:
        """All searches in one statement."""
        return (
            f"SELECT {wanted} FROM queries q CROSS JOIN LATERAL (SELECT id FROM {self.table} WHERE {condition} "
            f"ORDER BY embedding {self.engine.operator} q.embedding LIMIT {K}) n WHERE {queries}"
        )

    def answers(self, condition: str, settings: dict[str, str], queries: str = "true") -> dict[int, list[int]]:
        """The ids that SQL returns for each query, in the order returned."""
        found: dict[int, list[int]] = {}
        statement = self.nearest_of_all("q.id, n.id", condition, queries)
        for query, row in self.engine.server.rows(self.engine.database, statement, settings):
            found.setdefault(int(query), []).append(int(row))
        return found

    def plan(self, condition: str, settings: dict[str, str]) -> str:
        """What the planner makes of the search, in a word."""
        text = self.engine.psql(f"EXPLAIN (COSTS OFF) {self.nearest_of_all('n.id', condition)}", settings)
        if "Vector Search in Bitmap" in text:
            return "search in bitmap"
        if f"using {self.table}_embedding " in text:
            return "search, index cond" if "Index Cond: (f" in text else "search"
        return "bitmap, sort" if "Bitmap Heap Scan" in text else "exact"

    def processor_seconds(self, condition: str, settings: dict[str, str], queries: int, repeats: int) -> float:
        """Processor time of one search, when one statement makes so many: the quickest of the repeats."""
        clock = "SELECT 'at', pg_read_file('/proc/self/schedstat');"
        statement = self.nearest_of_all("count(*), sum(n.id)", condition, f"q.id < {queries}") + ";"
        warm = self.nearest_of_all("count(*), sum(n.id)", condition, "q.id < 1") + ";"
        script = f"{warm} {clock} " + f"{statement} {clock} " * repeats
        lines = self.engine.server.rows(self.engine.database, script, settings)
        readings = [int(line[1].split()[0]) / 1e9 for line in lines if line[0] == "at"]
        return min(b - a for a, b in zip(readings, readings[1:])) / queries
