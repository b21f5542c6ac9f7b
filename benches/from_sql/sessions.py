"""What a round trip costs before any vector is looked at, and several clients against one."""

import os
from statistics import median

import numpy as np

from . import goals
from .options import PLACEMENTS
from .points import Contender, Curves
from .report import Report, paired, ratio


def floor(contenders: list[Contender], report: Report) -> None:
    """The cheapest statements there are, in each placement."""
    engine, data = contenders[0].engine, contenders[0].data
    statements = {
        "SELECT 1": "SELECT 1;\n",
        "primary-key lookup": f"\\set q random(0, {data.rows - 1})\nSELECT id FROM items WHERE id = :q;\n",
    }
    rows = []
    for name, script in statements.items():
        for placement in PLACEMENTS if len(os.sched_getaffinity(0)) > 1 else ("together",):
            runs = [
                engine.server.pgbench(
                    engine.database, script, {}, seconds=1, seed=number + 1, placement=placement
                )
                for number in range(engine.options.rounds)
            ]
            rates = [run.rate for run in runs]
            p50, p99 = map(float, np.percentile(np.concatenate([run.latencies for run in runs]), (50, 99)))
            used = "searches above" if placement == engine.options.placement else ""
            rows.append([name, placement, median(rates), min(rates), max(rates), p50, p99, used])
    columns = ["floor", "client and backend", "QPS", "lowest", "highest", "p50 us", "p99 us", "used by"]
    report.table("Floor (pgbench -M prepared, 1 client)", columns, rows)


def scaling(contenders: list[Contender], curves: Curves, report: Report) -> None:
    """Several sessions against one, at the setting nearest to recall 0.95."""
    options = contenders[0].engine.options
    # one client unpinned too: the scheduler places both sides of the comparison
    rates: dict[str, dict[int, list[float]]] = {c.label: {1: [], options.clients: []} for c in contenders}
    points = {label: min(points, key=lambda point: abs(point.recall - 0.95)) for label, points in curves.items()}
    for number in range(options.rounds):
        for clients in (1, options.clients):
            for contender in contenders:
                run = contender.engine.server.pgbench(
                    contender.engine.database,
                    contender.engine.pgbench_script(len(contender.data.queries)),
                    points[contender.label].settings,
                    clients=clients,
                    seconds=options.duration,
                    seed=number + 1,
                )
                rates[contender.label][clients].append(run.rate)
    rows = []
    for contender in contenders:
        one, many = rates[contender.label][1], rates[contender.label][options.clients]
        point = points[contender.label]
        goal = goals.at_least(goals.SESSIONS) if options.clients == 2 and contender is contenders[0] else ""
        setting = f"{contender.engine.sweep.setting} = {point.value}"
        rows.append([contender.label, setting, f"{point.recall:.4f}", median(one), median(many)])
        rows[-1] += [ratio(paired(many, one)), goal]
    columns = ["sessions", "setting", "recall@10", "QPS, 1 client", f"QPS, {options.clients} clients", "scaling", "goal"]
    report.table("Several sessions (pgbench itself shares the cores)", columns, rows)
