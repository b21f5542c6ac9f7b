"""Index search: recall against speed, at equal recall, at equal effort, and the spread of latencies."""

from statistics import median

import numpy as np

from . import goals
from .compare import around, ratio_at, shown_rate
from .engine import is_ours
from .options import Sweep
from .points import Contender, Curves, Point, examine, prepared, statement, stored, sweep, time_rounds
from .report import Report, paired, ratio

TARGETS = (0.95, 0.98, 0.99)
REPEATS = 5
FORMS = {"prepared": "prepared, 1 client", "statement": "one statement", "processor": "one statement, per CPU second"}
"""Fields of `Point` that hold rates, and what a table calls them."""


def search(contenders: list[Contender], sweeps: list[Sweep], report: Report, about: str) -> Curves:
    """All tables of one index; `about` distinguishes it from others of the run."""
    curves = sweep(contenders, sweeps, report, (prepared, statement))
    sweep_table(contenders, curves, report, about)
    if len(contenders) > 1:
        equal_recall(contenders, curves, report, about)
    report.keep(f"curves, {about}", {label: [stored(point) for point in points] for label, points in curves.items()})
    return curves


def sweep_table(contenders: list[Contender], curves: Curves, report: Report, about: str) -> None:
    engines = [contender.engine for contender in contenders]
    comparable = len(engines) > 1 and engines[0].sweep.setting == engines[1].sweep.setting
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
            p50, p99 = point.percentiles(50, 99)
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
    report.table(f"Index search, {about} (pgbench -M prepared, 1 client)", columns, rows, note)


def equal_recall(
    contenders: list[Contender], curves: Curves, report: Report, about: str, goal_of: goals.Search = goals.search
) -> None:
    """Rates at equal recall, the comparison that matters; then the pages that it takes."""
    ours, peer = contenders[:2]
    mine, theirs = curves[ours.label], curves[peer.label]
    rows = []
    for form, name in FORMS.items():
        for target in TARGETS:
            cells = [shown_rate(points, form, target) for points in (mine, theirs)]
            goal = goal_of(form, target, ours.data.rows)
            rows.append([name, f"{target:.2f}", *cells, ratio_at(mine, theirs, form, target), goal])
    columns = ["QPS at equal recall", "recall@10", ours.label, peer.label, "ratio", "goal"]
    note = "interpolated between the settings above, never beyond them; ratio: median over the paired rounds;"
    note += "\n  > or <: one side's lowest effort already exceeds that recall"
    report.table(f"At equal recall, {about}", columns, rows, note)

    rows = []
    for target in TARGETS:
        cells = [shown_pages(points, target) for points in (mine, theirs)]
        rows.append([f"{target:.2f}", *cells])
    columns = ["pages a query at recall@10", ours.label, peer.label]
    report.table(f"Pages at equal recall, {about} (EXPLAIN BUFFERS)", columns, rows)


def shown_pages(points: list[Point], target: float) -> str:
    """Interpolated as rates are, between the two neighbouring points."""
    near = around(points, target)
    if len(near) == 1:
        side = "already" if near[0].recall >= target else "only"
        return f"{near[0].pages:.0f} ({side} {near[0].recall:.3f})"
    low, high = near
    share = (target - low.recall) / (high.recall - low.recall)
    return f"{low.pages + share * (high.pages - low.pages):.0f}"


def equal_effort(contenders: list[Contender], curves: Curves, report: Report, about: str) -> None:
    """Recall of the two graphs at the same `hnsw.ef_search`, ours without its own stopping rule."""
    found: Curves = {}
    for contender in contenders:
        same = contender.engine.equal_effort
        known = {p.value: p for p in curves[contender.label]} if contender.engine.sweep == same else {}
        found[contender.label] = [
            known.get(value) or examine(contender, same.settings(value), value, report) for value in same.values
        ]
    rows = []
    for at, value in enumerate(contenders[0].engine.equal_effort.values):
        points = [found[contender.label][at] for contender in contenders]
        difference = [f"{points[0].recall - points[1].recall:+.4f}", ">= 0"] if len(points) > 1 else ["", ""]
        rows.append([value, *(f"{p.recall:.4f}" for p in points), *difference, *(p.pages for p in points)])
    labels = [contender.label for contender in contenders]
    columns = ["hnsw.ef_search", *(f"recall@10, {label}" for label in labels), "difference", "goal"]
    columns += [f"pages, {label}" for label in labels]
    note = "ours with hnsw.target_recall = 0" if contenders[0].engine.self_calibrated else ""
    report.table(f"Recall at equal ef, {about}", columns, rows, note)


def latency(contenders: list[Contender], report: Report) -> None:
    """The spread of searches with no setting of either extension touched.

    pgbench's log has every transaction with all that happens on the machine; the times taken inside the
    server, quickest of several repeats, show how much queries differ.
    """
    points = [examine(contender, {}, "defaults", report) for contender in contenders]
    pairs = list(zip(contenders, points, strict=True))
    time_rounds(pairs, (prepared,))
    rows = []
    for contender, point in pairs:
        inside = contender.engine.time_each(point.settings, REPEATS)
        both = {"pgbench -M prepared": np.concatenate(point.latencies), f"in the server, quickest of {REPEATS}": inside}
        for how, times in both.items():
            p50, p90, p99, longest = map(float, np.percentile(times, (50, 90, 99, 100)))
            goal = f"< {goals.TAIL:g}" if contender is contenders[0] else ""
            rows.append([contender.label, how, f"{point.recall:.4f}", p50, p90, p99, longest, f"{p99 / p50:.2f}", goal])
    columns = ["latency", "taken", "recall@10", "p50 us", "p90 us", "p99 us", "longest us", "p99/p50", "goal"]
    report.table("Latency at the default settings, 1 client", columns, rows)
