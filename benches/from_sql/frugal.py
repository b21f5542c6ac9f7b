"""A table larger than memory: an index of one bit a dimension, the nearest rows re-ranked from the table."""

import math
from dataclasses import replace
from statistics import median

from .cold import FIRST
from .compare import around
from .ivf import lists_for, listed
from .options import Sweep
from .points import Contender, statement, sweep
from .report import Report

AT = 0.95
SHARE = 0.1
"""`shared_buffers` of the table's bytes."""

FRUGAL = "quantizer=rabitq1, rerank=heap"
SMALLER = f"{FRUGAL}, copies=1"
"""Each code once, in a quarter of the lists, whose last pages are empty by half."""
PEER_SHARES = (0.02, 0.04, 0.08, 0.16)
"""Shares of its lists that the peer looks through."""


def frugal(contenders: list[Contender], report: Report) -> None:
    """Replaces the index of `items` by one of lists; pages of the index and of the table, found and read."""
    options, server = contenders[0].engine.options, contenders[0].engine.server
    data = contenders[0].data
    lists = options.lists or lists_for(data.rows)
    kinds = [f"lists={lists}, {FRUGAL}", f"lists={max(1, lists // 4)}, {SMALLER}"]
    ours, *others = [listed(contenders[0], "ivf", kind, options.ivf_targets) for kind in kinds]
    if not all(each.engine.accepts(each.engine.index_options) for each in (ours, *others)):
        report.not_measured("frugal", f"{ours.label} {ours.engine.version} has no such index")
        return
    probes = Sweep("ivfflat.probes", tuple(dict.fromkeys(str(max(1, round(share * lists))) for share in PEER_SHARES)))
    others += [listed(contender, "ivfflat", f"lists={lists}", probes) for contender in contenders[1:]]
    table_bytes = ours.engine.number("SELECT pg_table_size('items')")
    buffers = f"{max(1, math.ceil(table_bytes * SHARE / 2**20))}MB"
    first = min(FIRST, len(data.queries))
    rows = []
    try:
        for each in (ours, *others):
            each.engine.create_index()
            server.restart({"shared_buffers": buffers})
            points = sweep([each], [each.engine.sweep], report, (statement,))[each.label]
            near = around(points, AT)[0]
            server.restart({"shared_buffers": buffers})
            server.forget(each.engine.database, ("items", "items_embedding"))
            seconds, _pages, reads = each.engine.first_searches(near.settings, first)
            per_row = each.engine.index_bytes / data.rows
            for point in points:
                cells = [each.label, each.engine.index_options, f"{per_row:.0f}", point.value, f"{point.recall:.4f}"]
                cells += [point.pages, point.reads]
                cells.append(f"{median(point.statement):.0f}")
                rows.append(cells + ([reads, seconds * 1000] if point is near else ["", ""]))
    finally:
        server.restart({})
    columns = ["one bit a dimension", "index", "bytes/row", "setting", "recall@10", "pages/query", "of them read", "one stmt/s"]
    columns += ["read with nothing cached", "ms/query"]
    title = f"shared_buffers = {buffers}, a tenth of the table"
    report.table(title, columns, rows, f"read: from the operating system; {data.dims} / 8 + 16 bytes are {data.dims // 8 + 16}")
