"""Speed at many rows against that at a tenth of them, of the same distribution."""

from dataclasses import replace

from . import data, goals
from .build import build
from .compare import ratio_at, shown_rate
from .points import Contender, prepared, statement, sweep
from .report import Report
from .search import FORMS, TARGETS, equal_recall

DIMS = 384


def scale(contenders: list[Contender], report: Report) -> None:
    """All tables are timed alternately, so that the ratio does not hang on the hour."""
    options = contenders[0].engine.options
    large = data.generated("clustered", DIMS, options.scale, options.queries, options.type)
    # rows are in random order, so that the first of them have the distribution of all
    small = replace(large, base=large.base[: options.scale // 10])
    sets = {each.rows: (each, data.Exact(each, options.metric)) for each in (large, small)}
    groups = [[placed(contender, *sets[count]) for contender in contenders] for count in sets]
    for group in groups:
        build(group, report, f"{group[0].data.rows} rows")
    everyone = [contender for group in groups for contender in group]
    curves = sweep(everyone, [each.engine.sweep for each in everyone], report, (prepared, statement))
    if len(contenders) > 1:
        for group in groups:
            equal_recall(group, curves, report, f"{group[0].data.rows} rows")
    rows = []
    for contender, *both in zip(contenders, *groups, strict=True):
        many, few = (curves[each.label] for each in both)
        for form, title in FORMS.items():
            for target in TARGETS:
                rates = [shown_rate(points, form, target) for points in (few, many)]
                goal = goals.at_least(goals.SCALE) if contender is contenders[0] else ""
                rows.append([contender.label, title, f"{target:.2f}", *rates, ratio_at(many, few, form, target), goal])
    columns = ["scale", "QPS at equal recall", "recall@10", f"{options.scale // 10} rows", f"{options.scale} rows", "ratio", "goal"]
    report.table(f"{options.scale} x {DIMS} against {options.scale // 10} x {DIMS}", columns, rows)
    for each in everyone:
        each.engine.drop_database()


def placed(contender: Contender, loaded: data.DataSet, exact: data.Exact) -> Contender:
    """The rows in a database of their own."""
    name = f"{contender.engine.database}_{loaded.rows}"
    engine = replace(contender.engine, database=name, label=f"{contender.label}, {loaded.rows} rows")
    engine.load(loaded)
    return Contender(engine, loaded, exact)
