"""Runs the parts in order. `scripts/bench` starts this with a Python that has numpy."""

import os
import shutil
import signal
import sys
from pathlib import Path

from . import data, plot
from .build import build, constructions, memory_to_build
from .churn import churn
from .cold import cold
from .costs import costs
from .engine import Engine
from .exact import exact_search
from .filters import filters
from .frugal import frugal
from .ivf import ivf
from .layouts import layouts, shapes
from .library import LABEL, compare
from .options import HELP, Options, Unusable
from .points import Contender, Curves
from .quantizers import quantizers
from .report import Report, machine, memory_bytes
from .scale import DIMS, scale
from .search import equal_effort, latency, search
from .server import Server, Settings, capture
from .sessions import floor, scaling
from .tenants import tenants


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
        contenders = [Contender(engine, loaded, exact) for engine in engines]
        pictures = run_parts(contenders, report)
    path = report.save()
    print("", path, *pictures, sep="\n")
    if report.failures:
        print(f"\n{len(report.failures)} self-checks failed:", *report.failures, sep="\n- ", file=sys.stderr)
        return 1
    return 0


def run_parts(contenders: list[Contender], report: Report) -> list[Path]:
    """The parts asked for, in the order in which they leave each other's indexes alone; the pictures drawn."""
    options, about = contenders[0].engine.options, contenders[0].engine.index_options
    curves: Curves = {}
    library, pictures = [], []
    for part in options.parts:
        match part:
            case "exact":
                exact_search(contenders, report)
            case "build":
                build(contenders, report, about)
            case "search":
                curves = search(contenders, [contender.engine.sweep for contender in contenders], report, about)
                if options.access_method == "hnsw":
                    equal_effort(contenders, curves, report, about)
                latency(contenders, report)
            case "hnswlib" if options.access_method == "hnsw":
                library = compare(contenders, curves, report)
            case "floor":
                floor(contenders, report)
            case "clients" if options.clients > 1:
                scaling(contenders, curves, report)
            case "cold":
                cold(contenders, curves, report)
            case "layouts" if options.access_method == "hnsw":
                layouts(contenders, curves, report)
            case "construction" if options.compares_constructions:
                constructions(contenders, report)
            case "churn" if options.churn:
                churn(contenders, report)
            case "filters" if options.access_method == "hnsw":
                filters(contenders, report)
            case "costs" if options.access_method == "hnsw":
                costs(contenders, report)
            case "tenants" if options.access_method == "hnsw":
                tenants(contenders, report)
            case "ivf" if options.access_method == "hnsw":
                ivf(contenders, report)
            case "frugal" if options.access_method == "hnsw":
                frugal(contenders, report)
            case "shapes" if options.access_method == "hnsw":
                shapes(contenders, report)
            case "quantizers":
                pictures += quantizers(contenders[0], report)
            case "scale" if options.scale:
                scale(contenders, report)
    if not curves:
        return pictures
    name, rows, dims = contenders[0].data.name, contenders[0].data.rows, contenders[0].data.dims
    drawn = plot.svg(curves | ({LABEL: library} if library else {}), f"{name}: {rows:,} x {dims}, {options.metric}, {about}")
    for path in (options.out / f"{report.stem}.svg", options.plot):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(drawn)
            pictures.append(path)
    return pictures


def find_engines(options: Options, server: Server) -> list[Engine]:
    """Ours, and the peer where the server has it."""
    offered = {row[0] for row in server.rows("postgres", "SELECT name FROM pg_available_extensions")}
    if options.ours not in offered:
        raise Unusable(f"extension {options.ours} is not installed in {server.bindir}: run make install first")
    first = options.ef_construction[0]
    withs = [options.construction(each, first) for each in (options.ours_with, options.peer_with)]
    engines = [Engine(options.ours, "bench_ours", options.ours, options.ours_sweep, withs[0], options, server)]
    if options.peer in offered:
        label = "pgvector" if options.peer == "vector" else f"{options.peer} (peer)"
        engines.append(Engine(label, "bench_peer", options.peer, options.peer_sweep, withs[1], options, server))
    elif options.peer:
        print(f"Extension {options.peer} is not installed in {server.bindir}: measuring {options.ours} alone.\n")
    return engines


def server_settings(options: Options, loaded: data.DataSet) -> Settings:
    """Everything in memory, no background work in the middle of a timing; all else is the default."""
    megabyte = 2**20
    planned = [(loaded.rows, loaded.dims)]
    planned += [(shape.rows, shape.dims) for shape in options.shapes if "shapes" in options.parts]
    planned += [(options.scale, DIMS)] if "scale" in options.parts else []
    building = max(memory_to_build(rows, dims) for rows, dims in planned)
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
        # a thousand partitions are made in one transaction
        "max_locks_per_transaction": "512",
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
