"""Runs the parts in order. `scripts/bench` starts this with a Python that has numpy."""

import os
import shutil
import signal
import sys

from . import churn, data, plot, search
from .engine import Engine
from .options import HELP, Options, Unusable
from .report import Report, machine, memory_bytes
from .server import Server, Settings, capture


def main() -> int:
    if sys.argv[1:]:
        print(HELP, end="")
        return 0 if sys.argv[1] in ("-h", "--help") else 2
    # so that a terminated run still stops its server
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(Options.from_environment())
    except Unusable as reason:
        print(f"bench: {reason}", file=sys.stderr)
        return 1


def run(options: Options) -> int:
    loaded = data.load(options)
    with Server(options, server_settings(options, loaded)) as server:
        engines = find_engines(options, server)
        copies = [engine.load(loaded) for engine in engines]
        report = Report(options.out, conditions(options, loaded, engines))
        rates = [[engine.label, seconds, loaded.rows / seconds] for engine, seconds in zip(engines, copies, strict=True)]
        report.table("Loading (binary COPY, before any index)", ["load", "seconds", "rows/s"], rates)
        exact = data.Exact(loaded, options.metric)
        curves: search.Curves = {}
        for part in options.parts:
            match part:
                case "exact":
                    search.exact_search(engines, loaded, exact, options, report)
                case "build":
                    search.build(engines, options, report)
                case "search":
                    curves = search.sweep(engines, loaded, exact, options, report)
                    picture = options.out / f"{report.stem}.svg"
                    picture.write_text(plot.svg(curves, f"{loaded.name}: {loaded.rows:,} x {loaded.dims}, {options.metric}"))
                case "floor":
                    search.floor(engines, loaded, options, report)
                case "clients" if options.clients > 1:
                    search.scaling(engines, curves, loaded, options, report)
                case "churn" if options.churn:
                    churn.churn(engines, loaded, options, report)
    path = report.save()
    print(f"\n{path}" + (f"\n{picture}" if curves else ""))
    if report.failures:
        print(f"\n{len(report.failures)} self-checks failed:", *report.failures, sep="\n- ", file=sys.stderr)
        return 1
    return 0


def find_engines(options: Options, server: Server) -> list[Engine]:
    """Ours, and the peer where the server has it."""
    offered = {row[0] for row in server.rows("postgres", "SELECT name FROM pg_available_extensions")}
    if options.ours not in offered:
        raise Unusable(f"extension {options.ours} is not installed in {server.bindir}: run make install first")
    engines = [
        Engine(options.ours, "bench_ours", options.ours, options.ours_sweep, options.ours_with, options, server)
    ]
    if options.peer in offered:
        label = "pgvector" if options.peer == "vector" else f"{options.peer} (peer)"
        engines.append(Engine(label, "bench_peer", options.peer, options.peer_sweep, options.peer_with, options, server))
    elif options.peer:
        print(f"Extension {options.peer} is not installed in {server.bindir}: measuring {options.ours} alone.\n")
    return engines


def server_settings(options: Options, loaded: data.DataSet) -> Settings:
    """Everything in memory, no background work in the middle of a timing; all else is the default."""
    megabyte = 2**20
    # a graph in memory is a vector and some 1.5 KB of links a row
    building = int(loaded.rows * (loaded.dims * 4 + 1500) * 1.3) // megabyte + 64
    shared = max(128, min(memory_bytes() // 4, 8 * 2**30) // megabyte)
    settings = {
        "shared_buffers": f"{shared}MB",
        "effective_cache_size": f"{memory_bytes() // 2 // megabyte}MB",
        "maintenance_work_mem": f"{building}MB",
        "max_parallel_maintenance_workers": str(options.workers),
        "max_parallel_workers": str(max(options.workers, 1)),
        "max_wal_size": "8GB",
        "checkpoint_timeout": "1h",
        "autovacuum": "off",
        "jit": "off",
        "max_connections": str(20 + options.clients),
    }
    if os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free < 1.2 * building * megabyte:
        # parallel builds share their graph in this memory, which containers keep small
        settings["dynamic_shared_memory_type"] = "mmap"
    return settings


def conditions(options: Options, loaded: data.DataSet, engines: list[Engine]) -> dict[str, object]:
    server = engines[0].server
    found = machine()
    found["postgres"] = capture([server.bindir / "postgres", "--version"]).strip()
    found["extensions"] = ", ".join(f"{engine.extension} {engine.version}" for engine in engines)
    found["data"] = f"{loaded.name}: {loaded.rows} x {loaded.dims}, {len(loaded.queries)} queries"
    found["column"] = f"{options.type}({loaded.dims}), {options.metric}, access method {options.access_method}"
    found["rounds"] = f"{options.rounds} paired rounds of {options.duration} s each; medians"
    found["placement"] = f"client and backend {options.placement} in searches and inserts of one client"
    found["settings"] = ", ".join(f"{name} = {value}" for name, value in server.settings.items())
    return found


sys.exit(main())
