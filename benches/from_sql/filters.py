"""Searches with a WHERE clause: selectivity by the way in which the condition is served."""

from dataclasses import replace

from . import goals
from .data import K, Exact
from .filtered import COLUMNS, OF, Filtered
from .points import SERIAL, Contender
from .report import Report, paired, ratio
from .server import Load, Settings

SHARES = (OF, 5000, 2000, 500, 100, 10)
"""Hundredths of a per cent that match."""

FORCED = {"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off"}
PEER = {
    "relaxed_order": {"hnsw.iterative_scan": "relaxed_order"} | FORCED,
    "strict_order": {"hnsw.iterative_scan": "strict_order"} | FORCED,
}
"""The peer by its index; it has no filter columns, so any condition is one on other columns."""

LEAST_RECALL = 0.95
JUDGED = 300
"""Queries whose answers are compared with the exact ones: the peer takes minutes for a thousand."""


class Way:
    """One way to search: an engine, settings, the column that the condition is on."""

    def __init__(self, contender: Contender, filtered: Filtered, name: str, column: str, settings: Settings):
        self.contender, self.filtered, self.name, self.column = contender, filtered, name, column
        self.settings = SERIAL | settings
        self.loads: list[Load] = []

    def measure(self, hundredths: int, seed: int) -> None:
        options = self.filtered.engine.options
        condition = self.filtered.condition(self.column, hundredths)
        count = len(self.contender.data.queries)
        script = f"\\set q random(0, {count - 1})\n{self.filtered.nearest(':q', condition)};\n"
        run = self.filtered.engine.server.pgbench(
            self.filtered.engine.database,
            script,
            self.settings,
            seconds=options.duration,
            seed=seed,
            placement=options.placement,
        )
        self.loads.append(run)


def filters(contenders: list[Contender], report: Report) -> None:
    """Loads the table into every database, then measures share by share, the ways in turns."""
    tables = []
    for contender in contenders:
        engine = contender.engine
        filtered = Filtered(engine, "filtered", contender.data.rows)
        filtered.load(f"{engine.options.type}_{engine.options.metric}_ops")
        tables.append(filtered)
    rows: list[list[object]] = []
    for hundredths in SHARES:
        rows += share(contenders, tables, hundredths, report)
    columns = ["matching", "condition on", "search", "plan", "recall@10", "fewest rows", "QPS", "p50 us", "p99 us"]
    columns += ["of relaxed_order", "goal", "of strict_order"]
    note = "pgbench -M prepared, 1 client; ours with the default settings and the planner's choice;"
    note += "\n  the peer by its index with enable_seqscan, enable_bitmapscan and enable_sort off, and as its planner likes"
    report.table("Searches with a condition", columns, rows, note)
    unfiltered(contenders[0], tables[0], report)
    for filtered in tables:
        filtered.engine.psql("DROP TABLE filtered")


def share(contenders: list[Contender], tables: list[Filtered], hundredths: int, report: Report) -> list[list[object]]:
    """All ways at one share."""
    ours, mine = contenders[0], tables[0]
    judged_queries = replace(ours.data, queries=ours.data.queries[:JUDGED])
    exact = Exact(judged_queries, ours.engine.options.metric, mine.matching(hundredths))
    ways = [Way(ours, mine, name, column, {}) for column, name in COLUMNS.items()]
    peers = []
    for contender, filtered in zip(contenders[1:], tables[1:], strict=True):
        peers = [Way(contender, filtered, name, "p", settings) for name, settings in PEER.items()]
        relaxed = {"hnsw.iterative_scan": "relaxed_order"}
        ways += [*peers, Way(contender, filtered, "as planned, btree", "b", relaxed)]
    judged = []
    for way in ways:
        condition = way.filtered.condition(way.column, hundredths)
        verdict = exact.judge(answers := way.filtered.answers(condition, way.settings, f"q.id < {JUDGED}"))
        fewest = min(len(answers.get(query, [])) for query in range(len(judged_queries.queries)))
        judged.append((verdict, fewest, way.filtered.plan(condition, way.settings)))
        if way.contender is ours:
            where = f"{way.name}, {hundredths / 100:g} %"
            if fewest < min(K, len(exact.ids)):
                report.failed(f"{where}: {verdict.short} searches came back short")
            if verdict.recall < LEAST_RECALL:
                report.failed(f"{where}: recall {verdict.recall:.4f}")
            if verdict.disordered:
                report.failed(f"{where}: {verdict.disordered} searches out of order")
    for number in range(ours.engine.options.rounds):
        for way in ways:
            way.measure(hundredths, number + 1)
    rows: list[list[object]] = []
    for way, (verdict, fewest, plan) in zip(ways, judged, strict=True):
        row = Shown(way, peers)
        goal = goals.filtered(way.column, hundredths / OF) if way.contender is ours and peers else ""
        rows.append(
            [f"{hundredths / 100:g} %", COLUMNS[way.column] if way.contender is ours else "", row.label, plan]
            + [f"{verdict.recall:.4f}", fewest, row.rate, row.p50, row.p99, row.against(0), goal, row.against(1)]
        )
    return rows


class Shown:
    """A way's figures, over all rounds."""

    def __init__(self, way: Way, peers: list[Way]):
        self.way, self.peers = way, peers
        is_peer = way.name not in COLUMNS.values()
        self.label = f"{way.contender.label} {way.name}" if is_peer else way.contender.label
        self.rates = [load.rate for load in way.loads]
        self.rate = sorted(self.rates)[len(self.rates) // 2]
        self.p50, self.p99 = Load.percentiles(way.loads, 50, 99)

    def against(self, number: int) -> str:
        """The rate against one of the peer's, round by round."""
        if number >= len(self.peers) or self.way in self.peers:
            return ""
        return ratio(paired(self.rates, [load.rate for load in self.peers[number].loads]))


def unfiltered(contender: Contender, filtered: Filtered, report: Report) -> None:
    """What filter columns cost searches that do not ask for them: the same rows by two indexes, in turns."""
    engine = filtered.engine
    operator_class = f"{engine.options.type}_{engine.options.metric}_ops"
    options = f" WITH ({engine.index_options})" if engine.index_options != "none" else ""
    engine.psql(f"CREATE INDEX filtered_plain ON filtered USING hnsw (embedding {operator_class}){options}; CHECKPOINT")
    names = {"with a filter column": "filtered_embedding", "without": "filtered_plain"}
    times: dict[str, list[float]] = {name: [] for name in names}
    count = min(len(contender.data.queries), 500)
    for _ in range(max(7, engine.options.rounds)):
        for name, index in names.items():
            engine.psql(
                f"UPDATE pg_index SET indisvalid = indexrelid = '{index}'::regclass WHERE indexrelid IN "
                f"({', '.join(repr(each) + '::regclass' for each in names.values())})"
            )
            times[name].append(filtered.processor_seconds("true", SERIAL | FORCED, count, 3))
    slower = paired(times["with a filter column"], times["without"])
    rows = [[name, min(each) * 1e6, engine.number(f"SELECT pg_relation_size('{names[name]}')") / 2**20] for name, each in times.items()]
    rows[0] += [ratio(slower), goals.at_most(goals.FILTER_COLUMNS)]
    rows[1] += ["", ""]
    report.table("Searches without a condition", ["index", "CPU us", "MB", "time", "goal"], rows)
