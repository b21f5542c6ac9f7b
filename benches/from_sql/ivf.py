"""The access method `ivf` beside `ivfflat` and `vchordrq`, with as many lists: build, bytes, speed, inserts, VACUUM."""

import math
from dataclasses import replace

from . import goals
from .build import MEGABYTE
from .churn import churn
from .compare import ratio_at, shown_rate
from .options import Sweep
from .points import Contender, Curves, prepared, statement, sweep
from .report import Report, ratio
from .search import equal_recall, sweep_table
from .vectorchord import vectorchord

AT = (0.95, 0.98)
PROBES = (0.004, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
"""Shares of their lists that the peers look through."""


TICK = 0.01
"""Seconds in which processor time is counted: a tiny build may take none."""

Built = tuple[float, float]
"""Seconds of CREATE INDEX, by the clock and of computing."""


def ivf(contenders: list[Contender], report: Report) -> None:
    """Replaces the index of `items` by one of lists, once for each quantizer asked for."""
    options = contenders[0].engine.options
    lists = options.lists or lists_for(contenders[0].data.rows)
    ours = listed(contenders[0], "ivf", f"lists={lists}", options.ivf_targets)
    if not ours.engine.accepts(ours.engine.index_options):
        report.not_measured("ivf", f"{ours.label} {ours.engine.version} has no such access method")
        return
    counts = tuple(dict.fromkeys(str(max(1, round(share * lists))) for share in PROBES))
    peers = [listed(each, "ivfflat", f"lists={lists}", Sweep("ivfflat.probes", counts)) for each in contenders[1:]]
    about = f"ivf against ivfflat, {lists} lists"
    with vectorchord(contenders[0], lists, counts, report) as further:
        together = [ours, *peers, *further]
        built = [contender.engine.create_index() for contender in together]
        curves = sweep(together, [each.engine.sweep for each in together], report, (prepared, statement))
        sweep_table(together, curves, report, f"ivf beside other lists, {lists} each" if further else about)
        if peers:
            equal_recall([ours, *peers], curves, report, about, goals.ivf)
        for other in further:
            against = f"ivf against vchordrq, {lists} lists"
            builds(ours, other, built[0], built[-1], against, report)
            equal_recall([ours, other], curves, report, against, goals.vchordrq)
    rows = [row(ours, peers, curves, "default", built[: 1 + len(peers)])]
    for chosen in options.quantizers:
        rows += variant(ours, peers, curves, chosen, report)
    table(f"{about}: bytes, and searches a second in one statement", [ours, *peers], rows, report)
    if options.churn:
        few = f"lists={lists_for(options.churn)}"
        churn([contender.indexed(index_options=few) for contender in (ours, *peers)], report)


def lists_for(rows: int) -> int:
    return max(10, round(4 * math.sqrt(rows)))


def listed(contender: Contender, access_method: str, index_options: str, asked: Sweep) -> Contender:
    engine = contender.engine
    options = replace(engine.options, access_method=access_method)
    return contender.indexed(options=options, index_options=index_options, asked_sweep=asked)


def builds(ours: Contender, other: Contender, mine: Built, its: Built, about: str, report: Report) -> None:
    """CREATE INDEX of two sides, one after the other, and the bytes of both."""
    size = ours.engine.index_bytes
    against = [ratio(theirs / max(own, TICK)) for theirs, own in zip(its, mine, strict=True)]
    smaller = ratio(size / other.engine.index_bytes)
    rows = [
        [ours.label, mine[0], against[0], goals.at_least(goals.VCHORDRQ_BUILD), mine[1], against[1], size / MEGABYTE, smaller],
        [other.label, its[0], "", "", its[1], "", other.engine.index_bytes / MEGABYTE, ""],
    ]
    columns = ["build", "seconds", "faster", "goal", "CPU s", "cheaper", "index MB", "size ratio"]
    report.table(f"CREATE INDEX, {about} ({ours.engine.options.workers + 1} processes or threads)", columns, rows)


def variant(ours: Contender, peers: list[Contender], curves: Curves, chosen: str, report: Report) -> list[list[object]]:
    """Our index with another quantizer, against the peer's index as it was timed before."""
    engine = ours.engine
    index_options = f"{engine.index_options}, {chosen}"
    if not engine.accepts(index_options):
        report.not_measured(f"ivf with {chosen}", f"{engine.label} {engine.version} has no such index option")
        return []
    other = ours.indexed(index_options=index_options)
    built = [other.engine.create_index()]
    found = sweep([other], [engine.sweep], report, (statement,))
    return [row(other, peers, curves | found, chosen, built)]


def row(
    ours: Contender, peers: list[Contender], curves: Curves, name: str, built: list[Built]
) -> list[object]:
    mine, size = curves[ours.label], ours.engine.index_bytes
    at_default = next((point.recall for point in mine if point.value == "0.95"), None)
    cells: list[object] = [name, built[0][0], built[0][1]]
    if len(built) > 1:
        faster, cheaper = (ratio(built[1][at] / max(built[0][at], TICK)) for at in (0, 1))
        cells += [faster, goals.at_least(goals.IVF_BUILD), cheaper]
    elif peers:
        cells += ["", "", ""]
    cells.append(size / MEGABYTE)
    if peers:
        smaller = ratio(size / peers[0].engine.index_bytes)
        cells += [smaller, goals.at_most(goals.IVF_SIZE) if "rerank=heap" in name else ""]
    cells.append("" if at_default is None else f"{at_default:.4f}")
    for target in AT:
        cells.append(shown_rate(mine, "statement", target))
        if peers:
            theirs = curves[peers[0].label]
            cells += [shown_rate(theirs, "statement", target), ratio_at(mine, theirs, "statement", target)]
    return cells


def table(title: str, contenders: list[Contender], rows: list[list[object]], report: Report) -> None:
    peers = contenders[1:]
    columns = ["quantizer", "build s", "CPU s", *(["faster", "goal", "cheaper"] if peers else []), "index MB"]
    columns += [*(["of peer's", "goal"] if peers else []), "recall@10 at target 0.95"]
    for target in AT:
        columns.append(f"{contenders[0].label} at {target}")
        columns += [peers[0].label, "ratio"] if peers else []
    report.table(title, columns, rows)
