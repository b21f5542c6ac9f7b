"""One extension in its own database: loading, its statements, its plans."""

import json
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .data import DataSet, K
from .options import Options, Sweep, Unusable
from .server import Server, Settings

OPERATORS = {"cosine": "<=>", "l2": "<->", "ip": "<#>", "l1": "<+>"}
INDEX = "items_embedding"


@dataclass(frozen=True)
class Timed:
    """Seconds of one search: by the clock, and those its backend spent on a processor.

    The second does not count the time for which other programs held the core.
    """

    elapsed: float
    processor: float


@dataclass(frozen=True)
class Engine:
    """An installed extension; both engines run the same SQL in databases of the same server."""

    label: str
    database: str
    extension: str
    asked_sweep: Sweep | None
    index_options: str
    options: Options
    server: Server
    exact_order: bool = True
    """Whether rows out of the order of their distances fail the run, or are only told of a peer."""

    @cached_property
    def self_calibrated(self) -> bool:
        """Whether searches stop by `hnsw.target_recall` unless told otherwise."""
        # the type's input function loads the library, which defines its settings
        shown = self.psql("SELECT '[1]'::vector; SELECT coalesce(current_setting('hnsw.target_recall', true), 'no')")
        return self.options.access_method == "hnsw" and shown.split()[-1] != "no"

    @cached_property
    def equal_effort(self) -> Sweep:
        """The sweep in which both engines mean the same by a value."""
        sweep = self.options.equal_effort
        return replace(sweep, beside=(("hnsw.target_recall", "0"),)) if self.self_calibrated else sweep

    @cached_property
    def sweep(self) -> Sweep:
        """What a user of this engine turns to get more recall."""
        if self.asked_sweep:
            return self.asked_sweep
        return self.options.targets if self.self_calibrated else self.equal_effort

    def load(self, data: DataSet) -> float:
        """Creates the database, `items` and `queries`; returns the seconds of COPY."""
        self.server.psql("postgres", f"CREATE DATABASE {self.database}")
        column = f"{self.options.type}({data.dims})"
        # the same number of processes for both, whatever the planner makes of the table's size
        with_workers = f"WITH (parallel_workers = {self.options.workers})"
        # CASCADE: an extension may rest on another's type
        self.psql(
            f"CREATE EXTENSION {self.extension} CASCADE;"
            f"CREATE TABLE items (id integer, embedding {column}) {with_workers};"
            f"CREATE TABLE queries (id integer, embedding {column});"
        )
        seconds = self.copy("items", data.base, 0)
        self.copy("queries", data.queries, 0)
        self.psql(
            "ALTER TABLE items ADD PRIMARY KEY (id); ALTER TABLE queries ADD PRIMARY KEY (id);"
            "VACUUM (FREEZE, ANALYZE) items; VACUUM (FREEZE, ANALYZE) queries;"
        )
        return seconds

    def copy(self, table: str, vectors: np.ndarray, first_id: int, settings: Settings | None = None) -> float:
        """Seconds of COPY for vectors with consecutive ids."""
        return sum(
            self.server.copy(self.database, table, self.binary(vectors[at : at + 50_000], first_id + at), settings)
            for at in range(0, len(vectors), 50_000)
        )

    def binary(self, vectors: np.ndarray, first_id: int) -> bytes:
        """PostgreSQL's binary COPY format of (id, embedding)."""
        element = ">f4" if self.options.type == "vector" else ">f2"
        count, dims = vectors.shape
        layout = np.dtype(
            [
                ("fields", ">i2"),
                ("id_bytes", ">i4"),
                ("id", ">i4"),
                ("value_bytes", ">i4"),
                ("dims", ">i2"),
                ("unused", ">i2"),
                ("elements", element, (dims,)),
            ]
        )
        rows = np.zeros(count, dtype=layout)
        rows["fields"] = 2
        rows["id_bytes"] = 4
        rows["id"] = np.arange(first_id, first_id + count)
        rows["value_bytes"] = 4 + dims * np.dtype(element).itemsize
        rows["dims"] = dims
        rows["elements"] = vectors
        return b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows.tobytes() + b"\xff\xff"

    @cached_property
    def version(self) -> str:
        return self.psql(f"SELECT extversion FROM pg_extension WHERE extname = '{self.extension}'").strip()

    @cached_property
    def operator(self) -> str:
        return OPERATORS[self.options.metric]

    def psql(self, sql: str, settings: Settings | None = None) -> str:
        return self.server.psql(self.database, sql, settings)

    def number(self, sql: str) -> int:
        return int(self.psql(sql))

    # ------------------------------------------------------------------------------ statements

    def create_index(self, table: str = "items", name: str = INDEX) -> tuple[float, float]:
        """Seconds of CREATE INDEX, by the clock and of computing; replaces the one of that name."""
        first = f"DROP INDEX IF EXISTS {name}; CHECKPOINT"
        return self.server.cost(self.database, self.index_definition(table, name), first=first)

    def index_definition(self, table: str, name: str) -> str:
        operator_class = f"{self.options.type}_{self.options.metric}_ops"
        options = f" WITH ({self.index_options})" if self.index_options != "none" else ""
        return f"CREATE INDEX {name} ON {table} USING {self.options.access_method} (embedding {operator_class}){options}"

    def accepts(self, index_options: str) -> bool:
        """Whether this version knows the access method and all of these index options."""
        trial = replace(self, index_options=index_options).index_definition("trial", "trial_embedding")
        try:
            self.psql(f"CREATE TEMP TABLE trial (LIKE items); {trial};")
        except Unusable as refused:
            unknown = ("unrecognized parameter", "invalid value for enum option", "does not exist")
            if any(each in str(refused) for each in unknown):
                return False
            raise
        return True

    @property
    def index_bytes(self) -> int:
        return self.number(f"SELECT pg_relation_size('{INDEX}')")

    def drop_database(self) -> None:
        self.server.psql("postgres", f"DROP DATABASE {self.database}")

    def nearest(self, query: str, table: str = "items") -> str:
        """The search of one query, given as a condition on `queries.id`."""
        return (
            f"SELECT id FROM {table} ORDER BY embedding {self.operator} "
            f"(SELECT embedding FROM queries WHERE id = {query}) LIMIT {K}"
        )

    def nearest_of_all(self, wanted: str, table: str = "items", queries: str = "true") -> str:
        """All searches in one statement, without the round trips."""
        return (
            f"SELECT {wanted} FROM queries q CROSS JOIN LATERAL "
            f"(SELECT id FROM {table} ORDER BY {table}.embedding {self.operator} q.embedding LIMIT {K}) n WHERE {queries}"
        )

    def pgbench_script(self, queries: int) -> str:
        return f"\\set q random(0, {queries - 1})\n{self.nearest(':q')};\n"

    def answers(self, settings: Settings, table: str = "items", queries: str = "true") -> dict[int, list[int]]:
        """The ids that SQL returns for each query, in the order returned."""
        found: dict[int, list[int]] = {}
        for query, row in self.server.rows(self.database, self.nearest_of_all("q.id, n.id", table, queries), settings):
            found.setdefault(int(query), []).append(int(row))
        return found

    def time_all(self, settings: Settings, queries: int, repeats: int) -> "Timed":
        """Time of one search when one statement makes the first `queries`, `repeats` times in one session."""
        clock = "SELECT 'at', extract(epoch FROM clock_timestamp()), pg_read_file('/proc/self/schedstat');"
        statement = self.nearest_of_all("count(*), sum(n.id)", queries=f"q.id < {queries}") + ";"
        script = f"{self.nearest('0')}; {clock} {statement * repeats} {clock}"
        readings = [line[1:] for line in self.server.rows(self.database, script, settings) if line[0] == "at"]
        (start, started_cpu), (end, ended_cpu) = ((float(at), int(cpu.split()[0]) / 1e9) for at, cpu in readings)
        searches = queries * repeats
        return Timed((end - start) / searches, (ended_cpu - started_cpu) / searches)

    def time_each(self, settings: Settings, repeats: int) -> np.ndarray:
        """Microseconds of every query inside the server, the quickest of its repeats.

        That leaves what the query itself costs: what disturbs the machine seldom hits the same one every time.
        """
        script = f"""
            CREATE TEMP TABLE taken (query integer, us double precision);
            DO $$
            DECLARE
                q record;
                started timestamptz;
            BEGIN
                FOR repeat IN 1..{repeats} LOOP
                    FOR q IN SELECT id, embedding FROM queries LOOP
                        started := clock_timestamp();
                        PERFORM id FROM items ORDER BY embedding {self.operator} q.embedding LIMIT {K};
                        INSERT INTO taken VALUES (q.id, extract(epoch FROM clock_timestamp() - started) * 1e6);
                    END LOOP;
                END LOOP;
            END $$;
            SELECT min(us) FROM taken GROUP BY query;"""
        return np.array(self.psql(script, settings).split(), dtype=float)

    # ----------------------------------------------------------------------------------- plans

    def plan(self, settings: Settings, table: str = "items") -> str:
        """The generic plan of the prepared search, as pgbench comes to run it."""
        prepare = f"PREPARE search(integer) AS {self.nearest('$1', table)};"
        return self.psql(f"{prepare} EXPLAIN (COSTS OFF) EXECUTE search(0)", settings | {"plan_cache_mode": "force_generic_plan"})

    def index_settings(self, settings: Settings, table: str = "items", name: str = INDEX) -> tuple[Settings, bool]:
        """Settings under which the search uses the index, and whether the planner had to be forced."""
        if f"using {name} " in self.plan(settings, table):
            return settings, False
        forced = settings | {"enable_seqscan": "off"}
        plan = self.plan(forced, table)
        if f"using {name} " not in plan:
            raise Unusable(f"{self.label}: the search does not use {name} under {settings}:\n{plan}")
        return forced, True

    def pages_per_query(self, settings: Settings, queries: int) -> tuple[float, float]:
        """Buffers that the index scan finds and reads for one search, from EXPLAIN of all of them."""
        plan = self.explained(settings, self.nearest_of_all("count(*), sum(n.id)"))
        hits, reads = self.index_buffers(plan["Plan"], settings)
        return hits / queries, reads / queries

    def first_searches(self, settings: Settings, queries: int) -> tuple[float, float, float]:
        """Seconds of one search, its pages, and those of them read, over the first queries of a session."""
        # the queries themselves are not what is measured
        self.psql("SELECT count(embedding) FROM queries")
        statement = self.nearest_of_all("count(*), sum(n.id)", queries=f"q.id < {queries}")
        plan = self.explained(settings, statement)
        hits, reads = self.index_buffers(plan["Plan"], settings)
        return plan["Execution Time"] / 1000 / queries, (hits + reads) / queries, reads / queries

    def explained(self, settings: Settings, statement: str) -> dict:
        explain = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}"
        return json.loads(self.psql(explain, settings))[0]

    def index_buffers(self, plan: dict, settings: Settings) -> tuple[int, int]:
        pending = [plan]
        while pending:
            node = pending.pop()
            if node.get("Index Name") == INDEX:
                return node["Shared Hit Blocks"], node["Shared Read Blocks"]
            pending += node.get("Plans", [])
        raise Unusable(f"{self.label}: the statement of all searches does not use {INDEX} under {settings}")


def is_ours(engine: Engine, engines: list[Engine]) -> bool:
    """Whether a row takes the ratio: the first engine's does, when there is a second."""
    return len(engines) > 1 and engine is engines[0]
