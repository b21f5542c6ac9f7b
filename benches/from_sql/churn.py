"""Inserts into an indexed table, VACUUM of its dead half, and what both leave of the recall."""

from statistics import median

import numpy as np

from . import goals
from .data import DataSet, Exact
from .engine import Engine, is_ours
from .options import Options
from .points import SERIAL, Contender
from .report import Report, paired, ratio

INDEX = "churn_embedding"
# measures the index, not the disk's flush: a lost last commit is no damage
INSERTING = {"synchronous_commit": "off"}


def churn(contenders: list[Contender], report: Report) -> None:
    """Grows an indexed table of the first base rows by rows that follow them, then halves it."""
    engines = [contender.engine for contender in contenders]
    data, options = contenders[0].data, engines[0].options
    start = min(options.churn, data.rows * 2 // 3)
    batch = min(500, (data.rows - start) // (3 * options.rounds))
    if batch < 10:
        report.failed(f"{data.rows} rows are too few for the measurement of inserts and VACUUM")
        return
    for engine in engines:
        prepare(engine, start)
    grow(engines, data, start, batch, options, report)
    halve(engines, data, report)


def prepare(engine: Engine, start: int) -> None:
    workers = f"WITH (parallel_workers = {engine.options.workers})"
    engine.psql(
        "DROP TABLE IF EXISTS churn;"
        f"CREATE TABLE churn {workers} AS SELECT id, embedding FROM items WHERE id < {start};"
        "ALTER TABLE churn ADD PRIMARY KEY (id);"
        # CREATE TABLE AS keeps the type's modifier, which the index needs
        "VACUUM (FREEZE, ANALYZE) churn;"
    )
    engine.create_index("churn", INDEX)


def grow(engines: list[Engine], data: DataSet, start: int, batch: int, options: Options, report: Report) -> None:
    """Every round inserts the same rows in the same way into both engines."""
    ways = ("single rows, 1 session", f"single rows, {options.clients} sessions", "COPY")
    rates: dict[str, dict[str, list[float]]] = {engine.label: {way: [] for way in ways} for engine in engines}
    one_row = "INSERT INTO churn SELECT id, embedding FROM items WHERE id = (SELECT nextval('arrival')::integer);\n"
    at = start
    for _ in range(options.rounds):
        for way, clients in zip(ways, (1, options.clients, 0), strict=True):
            each = batch // max(clients, 1)
            total = each * max(clients, 1)
            for engine in engines:
                engine.psql("CHECKPOINT")
                if clients:
                    engine.psql(f"DROP SEQUENCE IF EXISTS arrival; CREATE SEQUENCE arrival MINVALUE 0 START {at} CACHE 1")
                    run = engine.server.pgbench(
                        engine.database,
                        one_row,
                        INSERTING,
                        clients=clients,
                        transactions=each,
                        placement=options.placement if clients == 1 else "free",
                    )
                    rate = run.rate
                else:
                    rate = total / engine.copy("churn", data.base[at : at + total], at, INSERTING)
                rates[engine.label][way].append(rate)
            at += total
    rows = []
    for way in ways:
        for engine in engines:
            others = rates[engines[1].label][way] if is_ours(engine, engines) else None
            mine = rates[engine.label][way]
            against = [ratio(paired(mine, others)), goals.insert(options.access_method)] if others else ["", ""]
            rows.append([engine.label, way, median(mine), *against])
    for engine in engines:
        present = engine.number("SELECT count(*) FROM churn")
        if present != at:
            report.failed(f"{engine.label}: {present} rows in the table after inserting up to {at}")
    title = f"Inserts into a table of {start} rows indexed by {options.access_method} (synchronous_commit = off)"
    report.table(title, ["inserts", "how", "rows/s", "ratio", "goal"], rows)


def halve(engines: list[Engine], data: DataSet, report: Report) -> None:
    """Deletes every second row; VACUUM; the same rows indexed anew show what recall should be."""
    everything = np.arange(engines[0].number("SELECT count(*) FROM churn"))
    remaining = everything[everything % 2 == 1]
    before, after = Exact(data, engines[0].options.metric, everything), Exact(data, engines[0].options.metric, remaining)
    found = {}
    for engine in engines:
        grown = recall(engine, before, report, "after the inserts")
        engine.psql("DELETE FROM churn WHERE id % 2 = 0; CHECKPOINT;")
        dead = recall(engine, after, report, "before VACUUM")
        seconds, computed = engine.server.cost(engine.database, "VACUUM (INDEX_CLEANUP ON, PARALLEL 0) churn")
        vacuumed = recall(engine, after, report, "after VACUUM")
        engine.psql(f"REINDEX INDEX {INDEX}")
        fresh = recall(engine, after, report, "after REINDEX")
        found[engine.label] = [grown, dead, seconds, computed, vacuumed, fresh]
    rows = []
    for engine in engines:
        grown, dead, seconds, computed, vacuumed, fresh = found[engine.label]
        faster, cheaper, goal = "", "", ["", ""]
        if is_ours(engine, engines):
            other = found[engines[1].label]
            goal = [goals.vacuum(engine.options.access_method), f">= -{goals.VACUUM_LOSS}"]
            faster, cheaper = ratio(other[2] / seconds), ratio(other[3] / max(computed, 0.01))
        recalls = [f"{each:.4f}" for each in (grown, dead, vacuumed, fresh)]
        rows.append([engine.label, len(everything) - len(remaining), seconds, faster, goal[0], computed, cheaper, *recalls])
        rows[-1] += [f"{vacuumed - fresh:+.4f}", goal[1]]
    columns = ["vacuum", "dead rows", "seconds", "faster", "goal", "CPU s", "cheaper"]
    columns += ["recall grown", "with dead", "vacuumed", "reindexed", "difference", "goal"]
    note = "recall@10 at the default settings, once grown by inserts, half deleted, vacuumed, and indexed anew"
    report.table(f"VACUUM of 50 % dead rows, {engines[0].options.access_method}", columns, rows, note)


def recall(engine: Engine, exact: Exact, report: Report, when: str) -> float:
    """Recall over the table's present rows with default settings."""
    settings, _ = engine.index_settings(SERIAL, "churn", INDEX)
    answers = engine.answers(settings, "churn")
    live = set(exact.ids.tolist())
    strangers = sum(row not in live for rows in answers.values() for row in rows)
    if strangers:
        report.failed(f"{engine.label} {when}: {strangers} rows returned that are not in the table")
    return exact.judge(answers).recall
