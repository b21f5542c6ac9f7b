"""Exact search: sequential scans before any index exists, without and with parallel workers."""

from statistics import median

import numpy as np

from .engine import is_ours
from .points import SERIAL, Contender
from .report import Report, paired, ratio


def exact_search(contenders: list[Contender], report: Report) -> None:
    engines = [contender.engine for contender in contenders]
    data, exact, options = contenders[0].data, contenders[0].exact, engines[0].options
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
