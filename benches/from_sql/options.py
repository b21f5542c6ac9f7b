"""What a run can be told, all by environment variables (`make bench ROWS=20000` sets them too)."""

import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

HELP = """\
scripts/bench: benchmarks of search, build, insert and VACUUM through SQL.

All options are environment variables, or variables of `make bench`:

  DATA        directory with NAME-DIMS.f16, or such a file (.f16, .f32), or an .npy matrix, or a generated
              set: clustered:DIMS, gaussian:DIMS           (../shared/data, the WordNet embeddings)
  ROWS        base rows to take                            (all; generated sets: 50000)
  QUERIES     query vectors                                (1000)
  METRIC      cosine | l2 | ip | l1                        (cosine)
  TYPE        vector | halfvec                             (vector)
  EF          values of hnsw.ef_search to sweep            (10,20,40,80,120,200,400)
  WITH        index options of both engines                (m=16, ef_construction=64)
  OURS_SWEEP  settings to sweep for us instead of EF, as NAME=V1,V2,...
  OURS_WITH, PEER_WITH   index options of one engine
  OURS, PEER  extensions compared                          (vectorext, vector; PEER=none for no peer)
  ACCESS_METHOD          of both                           (hnsw)
  ROUNDS      paired rounds of each timing                 (3)
  BUILDS      paired rounds of CREATE INDEX                (1)
  DURATION    length of one pgbench run                    (2)
  CLIENTS     sessions of the scaling measurement          (number of cores)
  PLACEMENT   of client and backend in runs of one client: apart (on different cores, as an idle machine
              places them), together (on one core), free (the scheduler's mood)   (apart)
  WORKERS     max_parallel_maintenance_workers             (number of cores - 1)
  CHURN       rows of the table for inserts and VACUUM; 0 leaves that part out   (12000)
  PARTS       of exact,build,search,floor,clients,churn, with those they need   (all)
  PG_CONFIG   of the server to use                         (pg_config)
  INSTALL     no: measure what the server has installed, without building (yes)
  SCRATCH     directory for the throw-away server          (a temporary directory)
  OUT         directory for JSON and SVG                   (bench-results)
"""

PLACEMENTS = ("apart", "together", "free")
PARTS = ("exact", "build", "search", "floor", "clients", "churn")


class Unusable(Exception):
    """The run cannot start or go on as asked; the message is for the person who asked."""


@dataclass(frozen=True)
class Sweep:
    """One setting and the values it takes, in rising effort."""

    setting: str
    values: tuple[str, ...]

    @staticmethod
    def parse(text: str) -> "Sweep":
        setting, separator, values = text.partition("=")
        if not separator or not setting.strip() or not values.strip():
            raise Unusable(f"a sweep is NAME=V1,V2,..., not {text!r}")
        return Sweep(setting.strip(), tuple(value.strip() for value in values.split(",")))


@dataclass(frozen=True)
class Options:
    """The environment, read and checked once."""

    data: str
    rows: int | None
    queries: int
    metric: str
    type: str
    ours: str
    peer: str | None
    ours_sweep: Sweep
    peer_sweep: Sweep
    ours_with: str
    peer_with: str
    access_method: str
    rounds: int
    builds: int
    duration: int
    clients: int
    placement: str
    workers: int
    churn: int
    parts: tuple[str, ...]
    pg_config: str
    scratch: str | None
    out: Path

    @staticmethod
    def from_environment() -> "Options":
        cores = len(os.sched_getaffinity(0))
        efs = Sweep.parse("hnsw.ef_search=" + text("EF", "10,20,40,80,120,200,400"))
        both_with = text("WITH", "m=16, ef_construction=64")
        peer = text("PEER", "vector")
        ours_sweep = text("OURS_SWEEP", "")
        return Options(
            data=text("DATA", str(REPOSITORY.parent / "shared" / "data")),
            rows=whole("ROWS", 0) or None,
            queries=whole("QUERIES", 1000, least=1),
            metric=choice("METRIC", "cosine", ("cosine", "l2", "ip", "l1")),
            type=choice("TYPE", "vector", ("vector", "halfvec")),
            ours=text("OURS", "vectorext"),
            peer=None if peer == "none" else peer,
            ours_sweep=Sweep.parse(ours_sweep) if ours_sweep else efs,
            peer_sweep=efs,
            ours_with=text("OURS_WITH", both_with),
            peer_with=text("PEER_WITH", both_with),
            access_method=text("ACCESS_METHOD", "hnsw"),
            rounds=whole("ROUNDS", 3, least=1),
            builds=whole("BUILDS", 1, least=1),
            duration=whole("DURATION", 2, least=1),
            clients=whole("CLIENTS", cores, least=1),
            # apart needs two cores
            placement=choice("PLACEMENT", "apart" if cores > 1 else "together", PLACEMENTS[cores == 1 :]),
            workers=whole("WORKERS", cores - 1),
            churn=whole("CHURN", 12000),
            parts=parts(text("PARTS", ",".join(PARTS))),
            pg_config=text("PG_CONFIG", "pg_config"),
            scratch=text("SCRATCH", "") or None,
            out=Path(text("OUT", str(REPOSITORY / "bench-results"))),
        )


def text(name: str, default: str) -> str:
    # make passes variables that were not given as empty strings
    return os.environ.get(name, "").strip() or default


def whole(name: str, default: int, least: int = 0) -> int:
    given = text(name, str(default))
    if not given.isdigit() or int(given) < least:
        raise Unusable(f"{name} must be a whole number of at least {least}, not {given!r}")
    return int(given)


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    given = text(name, default)
    if given not in allowed:
        raise Unusable(f"{name} must be one of {', '.join(allowed)}, not {given!r}")
    return given


def parts(given: str) -> tuple[str, ...]:
    asked = [part.strip() for part in given.split(",")]
    unknown = [part for part in asked if part not in PARTS]
    if unknown:
        raise Unusable(f"PARTS knows {', '.join(PARTS)}; not {', '.join(unknown)}")
    # searching needs the index, and several sessions continue the search
    if "clients" in asked:
        asked.append("search")
    if "search" in asked:
        asked.append("build")
    return tuple(part for part in PARTS if part in asked)
