"""hnswlib in this process: the same graph without a database around it."""

import importlib
import importlib.metadata
import os
import re
import time
from dataclasses import replace
from statistics import median
from types import ModuleType

from . import goals
from .compare import ratio_at, shown_rate
from .data import K
from .points import Contender, Curves, Point, statement
from .report import Report
from .search import FORMS, TARGETS

LABEL = "hnswlib"
SPACES = {"cosine": "cosine", "l2": "l2", "ip": "ip"}


def compare(contenders: list[Contender], curves: Curves, report: Report) -> list[Point]:
    """One thread of it against our searches in one statement, timed alternately; its points."""
    ours = contenders[0]
    options, title = ours.engine.options, "hnswlib in process (one thread) against our one statement"
    try:
        module = importlib.import_module("hnswlib")
    except ImportError as reason:
        report.not_measured(title, f"hnswlib cannot be imported ({reason}); scripts/bench installs it from PyPI")
        return []
    if options.metric not in SPACES:
        report.not_measured(title, f"hnswlib has no metric {options.metric}")
        return []
    index, seconds = build(module, ours)
    chosen = ours.engine.sweep.shorter().values
    mine = [point.untimed() for point in curves[ours.label] if point.value in chosen]
    points = [examine(index, ours, value) for value in options.equal_effort.values if int(value) >= K]
    count = len(ours.data.queries)
    for number in range(options.rounds):
        for at in range(max(len(mine), len(points))):
            if at < len(mine):
                statement(ours, mine[at], number)
            if at < len(points):
                search(index, ours, points[at])
    rows = [[p.value, f"{p.recall:.4f}", median(p.statement), 1e6 / median(p.processor)] for p in points]
    note = f"built in {seconds:.1f} s by {os.cpu_count()} threads; {count} queries a call of knn_query, num_threads = 1"
    version = importlib.metadata.version(LABEL)
    report.table(f"{LABEL} {version}, {ours.data.rows} rows", ["ef", "recall@10", "searches/s", "CPU us"], rows, note)
    rows = []
    for form in ("statement", "processor"):
        for target in TARGETS:
            cells = [shown_rate(each, form, target) for each in (mine, points)]
            goal = goals.at_least(goals.LIBRARY.get(target)) if form == "statement" else ""
            rows.append([FORMS[form], f"{target:.2f}", *cells, ratio_at(mine, points, form, target), goal])
    columns = ["searches a second", "recall@10", ours.label, LABEL, "ratio", "goal"]
    report.table(title, columns, rows, "SQL, visibility and exact order are in our figures, not in the library's")
    return points


def parameter(index_options: str, name: str, default: int) -> int:
    """Of an index's WITH clause."""
    found = re.search(rf"\b{name}\s*=\s*(\d+)", index_options)
    return int(found[1]) if found else default


def build(module: ModuleType, ours: Contender) -> tuple[object, float]:
    chosen = ours.engine.index_options
    index = module.Index(space=SPACES[ours.engine.options.metric], dim=ours.data.dims)
    construction = parameter(chosen, "ef_construction", 64)
    index.init_index(max_elements=ours.data.rows, ef_construction=construction, M=parameter(chosen, "m", 16))
    started = time.monotonic()
    index.add_items(ours.data.base, num_threads=len(os.sched_getaffinity(0)))
    return index, time.monotonic() - started


def search(index: object, ours: Contender, point: Point) -> None:
    """One round of a point: all queries, as often as it says, on the clock and on this process's processor time."""
    index.set_ef(int(point.value))
    started, computed = time.perf_counter(), time.process_time()
    for _ in range(point.repeats):
        index.knn_query(ours.data.queries, k=K, num_threads=1)
    searches = point.repeats * len(ours.data.queries)
    point.statement.append(searches / (time.perf_counter() - started))
    point.processor.append(searches / (time.process_time() - computed))


def examine(index: object, ours: Contender, value: str) -> Point:
    index.set_ef(int(value))
    ids, _ = index.knn_query(ours.data.queries, k=K, num_threads=1)
    verdict = ours.exact.judge(dict(enumerate(ids.astype(int).tolist())))
    point = Point(value, {}, False, verdict, pages=0, reads=0, repeats=1)
    search(index, ours, point)
    # half as long as ours: these runs vary less than those through a server
    repeats = max(1, round(ours.engine.options.duration / 2 * point.statement[0] / len(ours.data.queries)))
    return replace(point.untimed(), repeats=repeats)
