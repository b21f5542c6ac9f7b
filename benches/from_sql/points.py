"""One setting of one engine: how right its answers are, and how fast."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from .data import DataSet, Exact, Verdict
from .engine import Engine
from .options import Sweep
from .report import Report
from .server import Settings

SERIAL = {"max_parallel_workers_per_gather": "0"}


@dataclass(frozen=True)
class Contender:
    """An engine whose database holds a data set. Lists of them have ours first, then the peers there are."""

    engine: Engine
    data: DataSet
    exact: Exact

    @property
    def label(self) -> str:
        return self.engine.label

    def indexed(self, **changes: object) -> "Contender":
        """The same rows, with another index or under another name."""
        return replace(self, engine=replace(self.engine, **changes))


@dataclass
class Point:
    """One setting: recall and pages once, rates in each round."""

    value: str
    settings: Settings
    forced: bool
    verdict: Verdict
    pages: float
    reads: float
    repeats: int
    prepared: list[float] = field(default_factory=list)
    latencies: list[np.ndarray] = field(default_factory=list)
    statement: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    @property
    def recall(self) -> float:
        return self.verdict.recall

    def untimed(self) -> "Point":
        return replace(self, prepared=[], latencies=[], statement=[], processor=[])

    def percentiles(self, *wanted: float) -> list[float]:
        """Microseconds of prepared searches, over all rounds."""
        return [float(value) for value in np.percentile(np.concatenate(self.latencies), wanted)]


Curves = dict[str, list[Point]]
Way = Callable[[Contender, Point, int], None]
"""Times one round of a point and adds its figures to it."""


def prepared(contender: Contender, point: Point, number: int) -> None:
    """`pgbench -M prepared`, one client: what a round trip and a search take."""
    engine = contender.engine
    run = engine.server.pgbench(
        engine.database,
        engine.pgbench_script(len(contender.data.queries)),
        point.settings,
        seconds=engine.options.duration,
        seed=number + 1,
        placement=engine.options.placement,
    )
    point.prepared.append(run.rate)
    point.latencies.append(run.latencies)


def statement(contender: Contender, point: Point, number: int) -> None:
    """All queries in one statement, without round trips."""
    timed = contender.engine.time_all(point.settings, len(contender.data.queries), point.repeats)
    point.statement.append(1 / timed.elapsed)
    point.processor.append(1 / timed.processor)


def sweep(contenders: list[Contender], sweeps: list[Sweep], report: Report, ways: tuple[Way, ...]) -> Curves:
    """Recall and speed over each contender's sweep; timed runs of the contenders alternate."""
    points = [
        [examine(contender, each.settings(value), value, report) for value in each.values]
        for contender, each in zip(contenders, sweeps, strict=True)
    ]
    for at in range(max(map(len, points))):
        pairs = [(contender, own[at]) for contender, own in zip(contenders, points, strict=True) if at < len(own)]
        time_rounds(pairs, ways)
    return {contender.label: own for contender, own in zip(contenders, points, strict=True)}


def time_rounds(pairs: list[tuple[Contender, Point]], ways: tuple[Way, ...]) -> None:
    for number in range(pairs[0][0].engine.options.rounds):
        for contender, point in pairs:
            for way in ways:
                way(contender, point, number)


def examine(contender: Contender, settings: Settings, value: str, report: Report) -> Point:
    """Recall of the ids returned, the plan, and pages touched; this also warms the caches."""
    engine, count = contender.engine, len(contender.data.queries)
    settings, forced = engine.index_settings(SERIAL | settings)
    verdict = contender.exact.judge(engine.answers(settings))
    where = f"{engine.label} at {settings}"
    if verdict.short and engine.extension == engine.options.ours:
        report.failed(f"{where}: {verdict.short} queries got fewer rows than exist")
    if verdict.disordered:
        tell = report.failed if engine.exact_order else report.observed
        tell(f"{where}: {verdict.disordered} queries got rows out of distance order")
    hits, reads = engine.pages_per_query(settings, count)
    # as many repetitions as make the statement's run about as long as that of pgbench
    once = engine.time_all(settings, count, 1).elapsed * count
    repeats = max(1, round(engine.options.duration / once))
    return Point(value, settings, forced, verdict, hits + reads, reads, repeats)


def stored(point: Point) -> dict[str, object]:
    """The point's figures for the JSON file."""
    p50, p90, p99 = point.percentiles(50, 90, 99) if point.latencies else (None, None, None)
    return {
        "value": point.value,
        "settings": point.settings,
        "forced": point.forced,
        "recall": point.recall,
        "short": point.verdict.short,
        "pages_per_query": point.pages,
        "reads_per_query": point.reads,
        "qps": point.prepared,
        "latency_us": {"p50": p50, "p90": p90, "p99": p99},
        "one_statement_per_s": point.statement,
        "one_statement_per_cpu_s": point.processor,
    }
