"""VectorChord's `vchordrq` as a further peer of our lists, where the server has it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from .engine import Engine
from .options import Sweep, Unusable
from .points import Contender
from .report import Report

EXTENSION = "vchord"
METRICS = ("cosine", "l2", "ip")
EPSILON = ("vchordrq.epsilon", "1.9")
"""How far its estimates are mistrusted: the default."""


@contextmanager
def vectorchord(ours: Contender, lists: int, probes: tuple[str, ...], report: Report) -> Iterator[list[Contender]]:
    """The same rows in a database of VectorChord while the block runs; none, and the report says why, where it cannot be.

    Its library has to be loaded by the postmaster, which nothing else that is measured should depend on: so the
    server is restarted for the block and after it.
    """
    engine = listed(ours.engine, lists, probes)
    server, absent = engine.server, missing(engine)
    reason = absent or refused(engine, ours)
    try:
        if reason:
            report.not_measured(f"ivf against vchordrq, {lists} lists", reason)
            yield []
        else:
            report.keep("vectorchord", {"version": engine.version, "index options": engine.index_options})
            yield [replace(ours, engine=engine)]
    finally:
        if not absent:
            server.restart({})
            server.psql("postgres", f"DROP DATABASE IF EXISTS {engine.database}")


def listed(ours: Engine, lists: int, probes: tuple[str, ...]) -> Engine:
    """Its engine, with as many lists and threads as ours."""
    options = replace(ours.options, access_method="vchordrq")
    # without vchordrq.probes no search can be planned once there is an index: every setting of the sweep has it
    sweep = Sweep("vchordrq.probes", probes, (EPSILON,))
    with_options = index_options(options.metric, lists, options.workers + 1)
    # at the default epsilon some searches had rows out of order, however many lists were probed
    return Engine(
        "VectorChord", "bench_vectorchord", EXTENSION, sweep, with_options, options, ours.server, exact_order=False
    )


def index_options(metric: str, lists: int, threads: int) -> str:
    """Centroids of length one where only directions count, as ours are."""
    return "\n".join(
        (
            "options = $$",
            "residual_quantization = true",
            "[build.internal]",
            f"lists = [{lists}]",
            f"spherical_centroids = {'false' if metric == 'l2' else 'true'}",
            f"build_threads = {threads}",
            "$$",
        )
    )


def missing(engine: Engine) -> str:
    """Why it is not even tried."""
    if not engine.options.vectorchord:
        return "VECTORCHORD=no"
    if engine.options.metric not in METRICS:
        return f"it has no {engine.options.metric}"
    offered = {row[0] for row in engine.server.rows("postgres", "SELECT name FROM pg_available_extensions")}
    absent = [name for name in (EXTENSION, "vector") if name not in offered]
    return f"extension {' and '.join(absent)} not installed in {engine.server.bindir}" if absent else ""


def refused(engine: Engine, ours: Contender) -> str:
    """Loads the rows, or says why that failed: another version, or one built for another server."""
    try:
        engine.server.restart({"shared_preload_libraries": EXTENSION})
        engine.load(ours.data)
        engine.psql(f"CREATE TEMP TABLE trial (LIKE items); {engine.index_definition('trial', 'trial_embedding')}")
    except Unusable as reason:
        return str(reason)
    return ""
