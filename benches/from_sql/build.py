"""CREATE INDEX: time, size, and what the graph is worth."""

from statistics import median

from . import goals
from .engine import is_ours
from .points import Contender, examine
from .report import Report, paired, ratio
from .search import equal_effort, search

MEGABYTE = 2**20
EFFORT = "40"
"""The default of `hnsw.ef_search`, at which the graphs built are compared."""


def build(contenders: list[Contender], report: Report, about: str) -> None:
    """CREATE INDEX, round by round; the last one built stays."""
    engines = [contender.engine for contender in contenders]
    options = engines[0].options
    seconds: dict[str, list[float]] = {engine.label: [] for engine in engines}
    computed: dict[str, list[float]] = {engine.label: [] for engine in engines}
    for _ in range(options.builds):
        for engine in engines:
            elapsed, computing = engine.create_index()
            seconds[engine.label].append(elapsed)
            computed[engine.label].append(computing)
    rows = []
    for contender, engine in zip(contenders, engines, strict=True):
        table, index = engine.number("SELECT pg_table_size('items')"), engine.index_bytes
        count = engine.number("SELECT count(*) FROM items")
        against = [""] * 5
        if is_ours(engine, engines):
            faster = ratio(paired(seconds[engines[1].label], seconds[engine.label]))
            cheaper = ratio(paired(computed[engines[1].label], computed[engine.label]))
            smaller = ratio(index / engines[1].index_bytes)
            size_goal = goals.index_size(contenders[0].data.dims, "default")
            against = [faster, goals.at_least(goals.BUILD), cheaper, smaller, size_goal]
        recall = ""
        if options.access_method == "hnsw":
            recall = f"{examine(contender, engine.equal_effort.settings(EFFORT), EFFORT, report).recall:.4f}"
        taken = median(seconds[engine.label])
        rows.append(
            [engine.label, engine.index_options, taken, *against[:2], median(computed[engine.label]), against[2]]
            + [recall, count / taken, table / MEGABYTE, index / MEGABYTE, *against[3:]]
        )
    columns = ["build", "options", "seconds", "faster", "goal", "CPU s", "cheaper", f"recall at ef {EFFORT}", "rows/s"]
    columns += ["table MB", "index MB", "size ratio", "goal"]
    report.table(f"CREATE INDEX, {about} ({options.workers + 1} processes or threads)", columns, rows)


def constructions(contenders: list[Contender], report: Report) -> None:
    """The same tables for indexes with the further values of `ef_construction`."""
    options = contenders[0].engine.options
    for value in options.ef_construction[1:]:
        about = f"ef_construction = {value}"
        withs = (options.ours_with, options.peer_with)
        others = [c.indexed(index_options=options.construction(w, value)) for c, w in zip(contenders, withs)]
        build(others, report, about)
        curves = search(others, [contender.engine.sweep.shorter() for contender in others], report, about)
        equal_effort(others, curves, report, about)


def memory_to_build(rows: int, dims: int) -> int:
    """Megabytes in which a graph fits: a vector and some 1.5 KB of links a row."""
    return int(rows * (dims * 4 + 1500) * 1.3) // MEGABYTE + 64

