"""Whether the planner chooses well: its plan's time against the best one's, over a grid."""

from .filtered import COLUMNS, OF, Filtered
from .points import SERIAL, Contender
from .report import Report

SHARES = (10, 50, 100, 500, 2000, 5000, OF)
"""Hundredths of a per cent that match."""
SIZES = (1_000, 10_000, 100_000, 1_000_000)

WAYS = {
    "exact": {"enable_indexscan": "off", "enable_bitmapscan": "off"},
    "bitmap, sort": {"enable_indexscan": "off", "enable_seqscan": "off"},
    "search": {"enable_seqscan": "off", "enable_sort": "off", "enable_bitmapscan": "off"},
    "search in bitmap": {"enable_seqscan": "off", "enable_sort": "off"},
}
"""Settings that lead to a plan where there is one."""

FORMS = (("hnsw", True), ("hnsw", False), ("ivf", True), ("ivf", False))
"""Access method, and whether the number is a filter column of its index."""

WITHIN = 2.0
NEGLIGIBLE = 100e-6
"""Differences below this many seconds are the planner's to make."""


def costs(contenders: list[Contender], report: Report) -> None:
    """Our plans alone: the peer has other costs."""
    ours = contenders[0]
    engine = ours.engine
    operator_class = f"{engine.options.type}_{engine.options.metric}_ops"
    rows: list[list[object]] = []
    within = 0
    for size in [size for size in SIZES if size <= ours.data.rows]:
        for form, (method, has_filter_column) in enumerate(FORMS):
            filtered = Filtered(engine, "filtered", size, method, has_filter_column)
            if form == 0:
                filtered.load(operator_class)
            else:
                filtered.index(operator_class)
            index = f"{method}, f" if has_filter_column else method
            for column in filtered.columns:
                # all rows are one search, whatever the column
                for hundredths in SHARES if column == filtered.columns[0] else SHARES[:-1]:
                    row = cell(filtered, column, hundredths)
                    within += row[-2] <= WITHIN
                    if row[-2] > WITHIN and row[-1] > NEGLIGIBLE:
                        where = f"{size} rows, {index}, {COLUMNS[column]}, {hundredths / 100:g} %"
                        report.failed(f"{where}: {row[0]} takes {row[-2]:.1f} times the best")
                    rows.append([size, index, COLUMNS[column], f"{hundredths / 100:g} %", *row[:-1]])
        engine.psql("DROP TABLE filtered")
    columns = ["rows", "index", "condition on", "matching", "planned", *(f"{way} us" for way in WAYS), "of the best"]
    note = f"processor time of a search for ten rows; aim: at most {WITHIN:g} times that of the best plan,"
    note += f" which {within} of {len(rows)} meet"
    report.table("The planner's choice", columns, rows, note)


def cell(filtered: Filtered, column: str, hundredths: int) -> list[object]:
    """The plan chosen, microseconds of each plan, the choice's time against the best one's, the difference."""
    condition = filtered.condition(column, hundredths)
    planned = filtered.plan(condition, SERIAL)
    seconds: dict[str, float] = {}
    for way, settings in WAYS.items():
        settings = SERIAL | settings
        if not filtered.plan(condition, settings).startswith(way):
            continue
        if way == "search" and filtered.plan(condition, settings) == "search in bitmap":
            continue
        first = filtered.processor_seconds(condition, settings, 2, 1)
        queries = max(3, min(100, int(0.05 / max(first, 1e-6))))
        seconds[way] = filtered.processor_seconds(condition, settings, queries, 3)
    best = min(seconds.values())
    chosen = seconds["search" if planned.startswith("search, ") else planned]
    shown = [seconds[way] * 1e6 if way in seconds else "" for way in WAYS]
    return [planned, *shown, chosen / best, chosen - best]
