"""Many tenants in one table: what a search costs by each recipe of docs/recipes.md, for tenants of all sizes."""

import numpy as np

from .data import Exact
from .points import SERIAL, Contender
from .report import Report
from .server import Load, Settings

TENANTS = 1000
TENANT = f"floor(power({TENANTS}, (id::bigint * 7919 % 10007) / 10007.0))::integer"
"""Sizes go like one over a tenant's number: the first has a tenth of the rows, the last ones a few."""
ASKED = (1, 10, 100, 900)
"""Tenants that search."""
LARGE = 8
"""Tenants that get a partial index each."""

LEAST_RECALL = 0.95


class Recipe:
    """A way to keep tenants apart: its table, its indexes, and how a tenant asks."""

    def __init__(self, name: str, table: str, statements: list[str], names_tenant: bool = True):
        self.name, self.table, self.statements, self.names_tenant = name, table, statements, names_tenant

    def settings(self, tenant: int) -> Settings:
        """Whoever does not name its tenant in the query has it in the session."""
        return SERIAL if self.names_tenant else SERIAL | {"app.tenant": str(tenant), "role": "app"}

    def condition(self, tenant: str) -> str:
        return f"tenant = {tenant}" if self.names_tenant else "true"


def recipes(operator_class: str, options: str) -> list[Recipe]:
    """Those of docs/recipes.md, the table of the first one there already."""
    rows = f"SELECT id, {TENANT} AS tenant, embedding FROM items ORDER BY id"
    partition = "FOR t IN 1..%d LOOP EXECUTE format('CREATE TABLE parted_%%s PARTITION OF parted FOR VALUES IN (%%s)', t, t)"
    partial = "FOR t IN 1..%d LOOP EXECUTE format('CREATE INDEX ON partly USING hnsw (embedding %s)%s WHERE tenant = %%s', t)"
    return [
        Recipe(
            "filter column",
            "docs",
            [f"CREATE TABLE docs AS {rows}", f"CREATE INDEX ON docs USING hnsw (embedding {operator_class}, tenant){options}"],
        ),
        Recipe(
            "partition per tenant",
            "parted",
            [
                "CREATE TABLE parted (LIKE docs) PARTITION BY LIST (tenant)",
                f"DO $$ BEGIN {partition % TENANTS}; END LOOP; END $$",
                "INSERT INTO parted SELECT * FROM docs ORDER BY tenant",
                f"CREATE INDEX ON parted USING hnsw (embedding {operator_class}){options}",
            ],
        ),
        Recipe(
            f"partial index for each of the {LARGE} largest",
            "partly",
            [
                "CREATE TABLE partly AS TABLE docs",
                f"DO $$ BEGIN {partial % (LARGE, operator_class, options)}; END LOOP; END $$",
                f"CREATE INDEX ON partly USING hnsw (embedding {operator_class}, tenant){options} WHERE tenant > {LARGE}",
            ],
        ),
        Recipe(
            "row security over a filter column",
            "docs",
            [
                "ALTER TABLE docs ENABLE ROW LEVEL SECURITY",
                "CREATE POLICY own ON docs USING (tenant = current_setting('app.tenant')::integer)",
                "CREATE ROLE app; GRANT SELECT ON docs, queries TO app",
            ],
            names_tenant=False,
        ),
    ]


def tenants(contenders: list[Contender], report: Report) -> None:
    """Ours alone: the peer has no filter columns."""
    ours = contenders[0]
    engine = ours.engine
    options = f" WITH ({engine.index_options})" if engine.index_options != "none" else ""
    rows: list[list[object]] = []
    for recipe in recipes(f"{engine.options.type}_{engine.options.metric}_ops", options):
        engine.psql(";\n".join([*recipe.statements, f"VACUUM (FREEZE, ANALYZE) {recipe.table}"]))
        rows += [measured(ours, recipe, tenant, report) for tenant in ASKED]
    engine.psql("DROP TABLE docs, parted, partly; DROP OWNED BY app; DROP ROLE app")
    columns = ["recipe", "tenant's rows", "recall@10", "fewest rows", "foreign rows", "QPS", "p50 us", "p99 us"]
    note = f"{TENANTS} tenants; pgbench -M prepared, 1 client, default settings"
    report.table("Tenants", columns, rows, note)


def measured(ours: Contender, recipe: Recipe, tenant: int, report: Report) -> list[object]:
    """One tenant's searches, by one recipe."""
    engine, count = ours.engine, len(ours.data.queries)
    own = engine.psql(f"SELECT id FROM docs WHERE tenant = {tenant}").split()
    ids = np.array(own, dtype=np.int64)
    settings = recipe.settings(tenant)
    near = (
        f"SELECT id, tenant FROM {recipe.table} WHERE {recipe.condition(str(tenant))} "
        f"ORDER BY embedding {engine.operator} q.embedding LIMIT 10"
    )
    found: dict[int, list[int]] = {query: [] for query in range(count)}
    foreign = 0
    statement = f"SELECT q.id, n.id, n.tenant FROM queries q CROSS JOIN LATERAL ({near}) n"
    for query, row, of in engine.server.rows(engine.database, statement, settings):
        found[int(query)].append(int(row))
        foreign += int(of) != tenant
    verdict = Exact(ours.data, engine.options.metric, ids).judge(found)
    fewest = min(len(rows) for rows in found.values())
    where = f"{recipe.name}, tenant {tenant}"
    if foreign or verdict.short or verdict.disordered or verdict.recall < LEAST_RECALL:
        report.failed(f"{where}: {foreign} foreign rows, {verdict}")
    script = (
        f"\\set q random(0, {count - 1})\n\\set t {tenant}\n"
        f"SELECT id FROM {recipe.table} WHERE {recipe.condition(':t')} ORDER BY embedding {engine.operator} "
        f"(SELECT embedding FROM queries WHERE id = :q) LIMIT 10;\n"
    )
    loads = [
        engine.server.pgbench(
            engine.database,
            script,
            settings,
            seconds=engine.options.duration,
            seed=number + 1,
            placement=engine.options.placement,
        )
        for number in range(engine.options.rounds)
    ]
    rates = sorted(load.rate for load in loads)
    p50, p99 = Load.percentiles(loads, 50, 99)
    return [recipe.name, len(ids), f"{verdict.recall:.4f}", fewest, foreign, rates[len(rates) // 2], p50, p99]
