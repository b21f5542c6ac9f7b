"""Exact search, index build, and recall against speed."""

import os
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from .data import DataSet, Exact, Verdict
from .engine import INDEX, Engine
from .options import PLACEMENTS, Options
from .report import Report, at_recall, paired, ratio
from .server import Settings

TARGETS = (0.95, 0.98, 0.99)
FORMS = {"prepared": "prepared, 1 client", "statement": "one statement", "processor": "one statement, per CPU second"}
"""Fields of `Point` that hold rates, and what a table calls them."""

SERIAL = {"max_parallel_workers_per_gather": "0"}


def exact_search(engines: list[Engine], data: DataSet, exact: Exact, options: Options, report: Report) -> None:
    """Sequential scans before any index exists, without and with parallel workers."""
    modes = {"one process": SERIAL}
    if options.workers:
        modes[f"{options.workers + 1} processes"] = {"max_parallel_workers_per_gather": str(options.workers)}
    rows = []
    checked = min(20, len(data.queries))
    for mode, settings in modes.items():
        rates: dict[str, list[float]] = {engine.label: [] for engine in engines}
        latencies: dict[str, list[np.ndarray]] = {engine.label: [] for engine in engines}
        processor: dict[str, list[float]] = {engine.label: [] for engine in engines}
        for number in range(options.rounds):
            for engine in engines:
                script = engine.pgbench_script(len(data.queries))
                run = engine.server.pgbench(engine.database, script, settings, seconds=options.duration, seed=number + 1)
                rates[engine.label].append(run.rate)
                latencies[engine.label].append(run.latencies)
                if settings == SERIAL:
                    # a worker's processor time is not its leader's
                    processor[engine.label].append(engine.time_all(settings, checked, 1).processor * 1000)
        for engine in engines:
            plan = engine.plan(settings)
            scan = "parallel" if "Parallel Seq Scan" in plan else "serial" if "Seq Scan on items" in plan else "no"
            found = engine.answers(settings, queries=f"q.id < {checked}")
            agreed = sum(bool((exact.distances(q, np.array(ids)) <= exact.kth[q] + 1e-6).all()) for q, ids in found.items())
            if scan == "no":
                report.failed(f"{engine.label}: exact search is not a sequential scan:\n{plan}")
            if agreed < checked:
                report.failed(f"{engine.label}: exact search is wrong for {checked - agreed} of {checked} queries")
            against, cheaper = "", ""
            if is_ours(engine, engines):
                against = ratio(paired(rates[engine.label], rates[engines[1].label]))
                if settings == SERIAL:
                    cheaper = ratio(paired(processor[engines[1].label], processor[engine.label]))
            spent = median(processor[engine.label]) if settings == SERIAL else None
            times = np.concatenate(latencies[engine.label]) / 1000
            p50, p99 = map(float, np.percentile(times, (50, 99)))
            rate = median(rates[engine.label])
            rows.append([engine.label, mode, f"{scan} scan", rate, against, p50, p99, spent, cheaper])
    columns = ["exact search", "allowed", "plan", "QPS", "ratio", "p50 ms", "p99 ms", "CPU ms", "ratio"]
    report.table("Exact search (sequential scan, pgbench -M prepared, 1 client)", columns, rows)


def build(engines: list[Engine], options: Options, report: Report) -> None:
    """CREATE INDEX, round by round; the last one built stays."""
    seconds: dict[str, list[float]] = {engine.label: [] for engine in engines}
    computed: dict[str, list[float]] = {engine.label: [] for engine in engines}
    for _ in range(options.builds):
        for engine in engines:
            engine.psql(f"DROP INDEX IF EXISTS {INDEX}")
            elapsed, computing = engine.create_index()
            seconds[engine.label].append(elapsed)
            computed[engine.label].append(computing)
    rows = []
    for engine in engines:
        table, index = engine.number("SELECT pg_table_size('items')"), engine.number(f"SELECT pg_relation_size('{INDEX}')")
        count = engine.number("SELECT count(*) FROM items")
        against, cheaper, smaller = "", "", ""
        if is_ours(engine, engines):
            against = ratio(paired(seconds[engines[1].label], seconds[engines[0].label]))
            cheaper = ratio(paired(computed[engines[1].label], computed[engine.label]))
            smaller = ratio(index / engines[1].number(f"SELECT pg_relation_size('{INDEX}')"))
        taken = median(seconds[engine.label])
        rows.append(
            [engine.label, engine.index_options, taken, against, median(computed[engine.label]), cheaper, count / taken]
            + [table / 2**20, index / 2**20, smaller]
        )
    columns = ["build", "options", "seconds", "faster", "CPU s", "cheaper", "rows/s", "table MB", "index MB", "size ratio"]
    report.table(f"CREATE INDEX ({options.workers + 1} processes or threads)", columns, rows)


@dataclass
class Point:
    """One setting of one engine: how right it is, and how fast in each round."""

    value: str
    settings: Settings
    forced: bool
    verdict: Verdict
    pages: float
    repeats: int
    prepared: list[float] = field(default_factory=list)
    latencies: list[np.ndarray] = field(default_factory=list)
    statement: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    @property
    def recall(self) -> float:
        return self.verdict.recall


Curves = dict[str, list[Point]]


def sweep(engines: list[Engine], data: DataSet, exact: Exact, options: Options, report: Report) -> Curves:
    """Recall and speed over the sweep; timed runs of the engines alternate."""
    curves = {engine.label: [examine(engine, value, data, exact, report) for value in engine.sweep.values] for engine in engines}
    count = len(data.queries)
    for at in range(max(map(len, curves.values()))):
        for number in range(options.rounds):
            for engine in engines:
                if at >= len(curves[engine.label]):
                    continue
                point = curves[engine.label][at]
                run = engine.server.pgbench(
                    engine.database,
                    engine.pgbench_script(count),
                    point.settings,
                    seconds=options.duration,
                    seed=number + 1,
                    placement=options.placement,
                )
                point.prepared.append(run.rate)
                point.latencies.append(run.latencies)
                timed = engine.time_all(point.settings, count, point.repeats)
                point.statement.append(1 / timed.elapsed)
                point.processor.append(1 / timed.processor)
    sweep_table(engines, curves, report)
    if len(engines) > 1:
        recall_table(engines, curves, report)
    report.keep("curves", {label: [stored(point) for point in points] for label, points in curves.items()})
    return curves


def examine(engine: Engine, value: str, data: DataSet, exact: Exact, report: Report) -> Point:
    """Recall of the ids returned, the plan, and pages touched; this also warms the caches."""
    settings, forced = engine.index_settings(SERIAL | {engine.sweep.setting: value})
    verdict = exact.judge(engine.answers(settings))
    where = f"{engine.label} at {engine.sweep.setting} = {value}"
    if verdict.short and not engine.label.startswith("pgvector"):
        report.failed(f"{where}: {verdict.short} queries got fewer rows than exist")
    if verdict.disordered:
        report.failed(f"{where}: {verdict.disordered} queries got rows out of distance order")
    count = len(data.queries)
    pages = engine.pages_per_query(settings, count)
    # as many repetitions as make the statement's run about as long as that of pgbench
    once = engine.time_all(settings, count, 1).elapsed * count
    return Point(value, settings, forced, verdict, pages, max(1, round(engine.options.duration / once)))


def sweep_table(engines: list[Engine], curves: Curves, report: Report) -> None:
    comparable = len(engines) > 1 and engines[0].sweep == engines[1].sweep
    rows = []
    for at in range(max(map(len, curves.values()))):
        for engine in engines:
            points = curves[engine.label]
            if at >= len(points):
                continue
            point = points[at]
            against = ["", "", ""]
            if comparable and is_ours(engine, engines):
                other = curves[engines[1].label][at]
                pairs = [(getattr(point, form), getattr(other, form)) for form in FORMS]
                against = [ratio(paired(mine, theirs)) for mine, theirs in pairs]
            p50, p99 = map(float, np.percentile(np.concatenate(point.latencies), (50, 99)))
            value = point.value + ("*" if point.forced else "")
            rows.append(
                [engine.label, value, f"{point.recall:.4f}", point.verdict.short, median(point.prepared), against[0]]
                + [p50, p99, p99 / p50, median(point.statement), against[1]]
                + [1e6 / median(point.processor), against[2], point.pages]
            )
    setting = " / ".join(dict.fromkeys(engine.sweep.setting for engine in engines))
    columns = ["search", setting, "recall@10", "short", "QPS", "ratio", "p50 us", "p99 us", "p99/p50"]
    columns += ["one stmt/s", "ratio", "CPU us", "ratio", "pages/query"]
    note = "short: queries with fewer than 10 rows; one stmt/s: searches a second when one statement makes them all;"
    note += "\n  CPU us: the backend's processor time of such a search, which other programs disturb least"
    if any(point.forced for points in curves.values() for point in points):
        note += "\n  * the planner preferred another plan here: measured with enable_seqscan = off"
    report.table("Index search (pgbench -M prepared, 1 client)", columns, rows, note)


def recall_table(engines: list[Engine], curves: Curves, report: Report) -> None:
    """Rates at equal recall, the comparison that matters; ratios are taken round by round."""
    rows = []
    for rates, form in FORMS.items():
        for target in TARGETS:
            cells, signs = [], []
            per_round: list[list[float | None]] = []
            for engine in engines[:2]:
                points = curves[engine.label]
                middle = at_recall([(p.recall, median(getattr(p, rates))) for p in points], target)
                cells.append("not reached" if middle is None else ("> " if middle.bound else "") + f"{middle.rate:.0f}")
                signs.append(middle is not None and middle.bound)
                rounds = range(len(points[0].prepared))
                reached = [at_recall([(p.recall, getattr(p, rates)[r]) for p in points], target) for r in rounds]
                per_round.append([each.rate if each else None for each in reached])
            against = ""
            if all(None not in each for each in per_round) and signs != [True, True]:
                against = ratio(paired(*per_round), ">" if signs[0] else "<" if signs[1] else "")
            rows.append([form, f"{target:.2f}", *cells, against])
    columns = ["QPS at equal recall", "recall@10", *(engine.label for engine in engines[:2]), "ratio"]
    note = "interpolated between the settings above, never beyond them; ratio: median over the paired rounds"
    report.table("At equal recall", columns, rows, note)


def stored(point: Point) -> dict[str, object]:
    p50, p90, p99 = map(float, np.percentile(np.concatenate(point.latencies), (50, 90, 99)))
    return {
        "value": point.value,
        "forced": point.forced,
        "recall": point.recall,
        "short": point.verdict.short,
        "pages_per_query": point.pages,
        "qps": point.prepared,
        "latency_us": {"p50": p50, "p90": p90, "p99": p99},
        "one_statement_per_s": point.statement,
        "one_statement_per_cpu_s": point.processor,
    }


def floor(engines: list[Engine], data: DataSet, options: Options, report: Report) -> None:
    """What a round trip costs here before any vector is looked at, in each placement."""
    statements = {
        "SELECT 1": "SELECT 1;\n",
        "primary-key lookup": f"\\set q random(0, {data.rows - 1})\nSELECT id FROM items WHERE id = :q;\n",
    }
    engine, rows = engines[0], []
    for name, script in statements.items():
        for placement in PLACEMENTS if len(os.sched_getaffinity(0)) > 1 else ("together",):
            runs = [
                engine.server.pgbench(
                    engine.database, script, {}, seconds=1, seed=number + 1, placement=placement
                )
                for number in range(options.rounds)
            ]
            rates = [run.rate for run in runs]
            p50, p99 = map(float, np.percentile(np.concatenate([run.latencies for run in runs]), (50, 99)))
            used = "searches above" if placement == options.placement else ""
            rows.append([name, placement, median(rates), min(rates), max(rates), p50, p99, used])
    columns = ["floor", "client and backend", "QPS", "lowest", "highest", "p50 us", "p99 us", "used by"]
    report.table("Floor (pgbench -M prepared, 1 client)", columns, rows)


def scaling(engines: list[Engine], curves: Curves, data: DataSet, options: Options, report: Report) -> None:
    """Several sessions against one, at the setting nearest to recall 0.95."""
    # one client unpinned too: the scheduler places both sides of the comparison
    rates: dict[str, dict[int, list[float]]] = {engine.label: {1: [], options.clients: []} for engine in engines}
    points = {label: min(points, key=lambda point: abs(point.recall - 0.95)) for label, points in curves.items()}
    for number in range(options.rounds):
        for clients in (1, options.clients):
            for engine in engines:
                run = engine.server.pgbench(
                    engine.database,
                    engine.pgbench_script(len(data.queries)),
                    points[engine.label].settings,
                    clients=clients,
                    seconds=options.duration,
                    seed=number + 1,
                )
                rates[engine.label][clients].append(run.rate)
    rows = []
    for engine in engines:
        one, many = rates[engine.label][1], rates[engine.label][options.clients]
        point = points[engine.label]
        rows.append([engine.label, point.value, f"{point.recall:.4f}", median(one), median(many), ratio(paired(many, one))])
    columns = ["sessions", "setting", "recall@10", "QPS, 1 client", f"QPS, {options.clients} clients", "scaling"]
    report.table("Several sessions (pgbench itself shares the cores)", columns, rows)


def is_ours(engine: Engine, engines: list[Engine]) -> bool:
    """Whether a row takes the ratio: the first engine's does, when there is a second."""
    return len(engines) > 1 and engine is engines[0]
