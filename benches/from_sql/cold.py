"""An index larger than `shared_buffers`: what a search reads."""

import math
from dataclasses import replace
from statistics import median

from .compare import around, shown_rate
from .points import Contender, Curves, statement, sweep
from .report import Report
from .search import shown_pages

AT = 0.95
FIRST = 100
"""Searches after a start with nothing cached."""


def cold(contenders: list[Contender], curves: Curves, report: Report) -> None:
    """The same settings with shared buffers for a part of the peer's index (of ours, where it is alone)."""
    server, options = contenders[0].engine.server, contenders[0].engine.options
    share = options.cold / 100
    buffers = f"{max(1, math.ceil(contenders[-1].engine.index_bytes * share / 2**20))}MB"
    first = min(FIRST, len(contenders[0].data.queries))
    near = {contender.label: around(curves[contender.label], AT) for contender in contenders}
    try:
        firsts = {}
        for contender in contenders:
            server.restart({"shared_buffers": buffers})
            server.forget(contender.engine.database, ("items", "items_embedding"))
            point = min(near[contender.label], key=lambda each: abs(each.recall - AT))
            firsts[contender.label] = (point, contender.engine.first_searches(point.settings, first))
        sweeps = [
            replace(contender.engine.sweep, values=tuple(point.value for point in near[contender.label]))
            for contender in contenders
        ]
        measured = sweep(contenders, sweeps, report, (statement,))
    finally:
        server.restart({})
    rows = []
    for contender in contenders:
        points = measured[contender.label]
        for point in points:
            rows.append([contender.label, point.value, f"{point.recall:.4f}", point.pages, point.reads])
            rows[-1].append(f"{median(point.statement):.0f}")
        if len(points) > 1:
            reads = [replace(point, pages=point.reads) for point in points]
            rows.append([contender.label, "between", f"{AT:.4f}", shown_pages(points, AT), shown_pages(reads, AT)])
            rows[-1].append(shown_rate(points, "statement", AT))
    columns = ["small buffers", "setting", "recall@10", "pages/query", "of them read", "one stmt/s"]
    title = f"shared_buffers = {buffers}, {options.cold} % of the {contenders[-1].label} index"
    report.table(title, columns, rows, "read: from the operating system, which has them cached")
    rows = []
    for contender in contenders:
        point, (seconds, pages, reads) = firsts[contender.label]
        rows.append([contender.label, point.value, f"{point.recall:.4f}", pages, reads, seconds * 1000])
    columns = ["nothing cached", "setting", "recall@10", "pages/query", "of them read", "ms/query"]
    report.table(f"The first {first} searches after a start, files not in memory", columns, rows)
