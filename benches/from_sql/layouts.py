"""Layouts and widths: bytes of the index and speed, for the data of the run and for generated sets."""

from dataclasses import replace

from . import data, goals
from .compare import ratio_at, shown_rate
from .options import Shape
from .points import Contender, Curves, statement, sweep
from .report import Report, paired, ratio

AT = (0.95, 0.99)


def layouts(contenders: list[Contender], curves: Curves, report: Report) -> None:
    """Other layouts of our index on the data of the run, beside the one that the search was measured with."""
    rows = [row(contenders, curves, "default", None)]
    rows += others(contenders, report)
    table("Layouts", contenders, rows, report)


def shapes(contenders: list[Contender], report: Report) -> None:
    """Every layout on generated sets of other widths, each in databases of its own."""
    for shape in contenders[0].engine.options.shapes:
        loaded = data.generated(shape.generator, shape.dims, shape.rows, contenders[0].engine.options.queries, shape.type)
        exact = data.Exact(loaded, contenders[0].engine.options.metric)
        mine = [load(contender, loaded, exact, shape) for contender in contenders]
        built = [contender.engine.create_index()[0] for contender in mine]
        curves = quick(mine, report)
        rows = [row(mine, curves, "default", built)]
        rows += others(mine, report)
        table(f"{loaded.name}, {loaded.rows} rows, {shape.type}", mine, rows, report)
        for contender in mine:
            contender.engine.drop_database()


def load(contender: Contender, loaded: data.DataSet, exact: data.Exact, shape: Shape) -> Contender:
    engine = replace(
        contender.engine,
        database=f"{contender.engine.database}_shape",
        options=replace(contender.engine.options, type=shape.type),
    )
    engine.load(loaded)
    return Contender(engine, loaded, exact)


def others(contenders: list[Contender], report: Report) -> list[list[object]]:
    """Builds our index anew in each further layout; the peer is timed again beside it."""
    rows = []
    for layout in contenders[0].engine.options.layouts:
        engine = contenders[0].engine
        chosen = f"{engine.index_options}, {layout if '=' in layout else f'layout={layout}'}"
        if not engine.accepts(chosen):
            report.not_measured(f"layout {layout}", f"{engine.label} {engine.version} has no such index option")
            continue
        variant = contenders[0].indexed(index_options=chosen)
        built = [variant.engine.create_index()[0]]
        pair = [variant, *contenders[1:]]
        curves = quick(pair, report)
        rows.append(row(pair, curves, layout, built))
    return rows


def quick(contenders: list[Contender], report: Report) -> Curves:
    """One statement only, at half the length: these tables are many."""
    halved = []
    for contender in contenders:
        options = contender.engine.options
        halved.append(contender.indexed(options=replace(options, duration=max(1, options.duration // 2))))
    return sweep(halved, [contender.engine.sweep.shorter() for contender in halved], report, (statement,))


def row(contenders: list[Contender], curves: Curves, layout: str, built: list[float] | None) -> list[object]:
    ours, peers = contenders[0], contenders[1:]
    mine, size = curves[ours.label], ours.engine.index_bytes
    cells: list[object] = [layout, size / 2**20]
    cells += [ratio(size / peers[0].engine.index_bytes), goals.index_size(ours.data.dims, layout)] if peers else ["", ""]
    cells.append(built[0] if built else None)
    cells.append(ratio(paired(built[1:], built[:1])) if built and len(built) > 1 else "")
    for target in AT:
        cells.append(shown_rate(mine, "statement", target))
        if peers:
            theirs = curves[peers[0].label]
            cells += [shown_rate(theirs, "statement", target), ratio_at(mine, theirs, "statement", target)]
            cells.append(goals.layout_rate(ours.data.dims, layout, target))
    return cells


def table(title: str, contenders: list[Contender], rows: list[list[object]], report: Report) -> None:
    columns = ["layout", "index MB", "of peer's", "goal", "build s", "faster"]
    for target in AT:
        columns.append(f"{contenders[0].label} at {target}")
        columns += [contenders[1].label, "ratio", "goal"] if len(contenders) > 1 else []
    report.table(f"{title}: bytes, and searches a second in one statement", columns, rows)
