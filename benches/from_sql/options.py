"""What a run can be told, all by environment variables (`make bench ROWS=20000` sets them too)."""

import os
import re
from dataclasses import dataclass, replace
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
  WITH        index options of both engines                (m=16)
  EF_CONSTRUCTION   builds to compare: the first is measured fully, further ones by build and search;
              added to WITH unless that names it           (64,200)
  EF          values of hnsw.ef_search to sweep            (10,20,40,80,120,200,400)
  TARGETS     values of hnsw.target_recall that we sweep, where our version has it; else EF
              (0.90,0.95,0.97,0.98,0.99,0.995)
  OURS_SWEEP, PEER_SWEEP   another setting to sweep, as NAME=V1,V2,...
  OURS_WITH, PEER_WITH     index options of one engine
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
  HNSWLIB     no: leaves out hnswlib in this process       (yes, installed on demand)
  VECTORCHORD no: leaves out VectorChord in the part ivf   (yes, where the server has it; no with PEER=none)
  LISTS       of all indexes in the parts ivf and frugal   (4 times the root of the rows)
  IVF_TARGETS values of ivf.target_recall that we sweep there   (0.90,0.95,0.97,0.98,0.99)
  QUANTIZERS  of our ivf index beside the default, each with other options it needs, separated by ;
              (quantizer=rabitq1,rerank=heap;quantizer=sq8;quantizer=none)
  LAYOUTS     of our index beside the default, or other options, such as quantizer=pq   (compact)
  SHAPES      generated sets for the part shapes, as GENERATOR:DIMS:TYPE
              (clustered:768:vector,clustered:1536:vector,clustered:3072:halfvec)
  SHAPE_ROWS  rows of each                                 (20000)
  COLD        shared_buffers in per cent of the peer's index, for the part cold   (25)
  SCALE       rows (x 384, generated) that the part scale compares with a tenth of them; a million take an hour
              (0: left out)
  PARTS       of exact,build,search,hnswlib,floor,clients,cold,layouts,construction,churn,filters,costs,
              tenants,ivf,quantizers,frugal,shapes,scale, with those they need   (all)
  PLOT        file for the picture beside the one in OUT, such as docs/recall_qps.svg
  PG_CONFIG   of the server to use                         (pg_config)
  INSTALL     no: measure what the server has installed, without building (yes)
  SCRATCH     directory for the throw-away server          (a temporary directory)
  OUT         directory for JSON and SVG                   (bench-results)
"""

PLACEMENTS = ("apart", "together", "free")
PARTS = (
    "exact", "build", "search", "hnswlib", "floor", "clients", "cold", "layouts", "construction", "churn", "filters", "costs",
    "tenants", "ivf", "quantizers", "frugal", "shapes", "scale",
)  # fmt: skip
CONTINUE_SEARCH = {"hnswlib", "clients", "cold", "layouts"}


class Unusable(Exception):
    """The run cannot start or go on as asked; the message is for the person who asked."""


@dataclass(frozen=True)
class Sweep:
    """One setting and the values it takes, in rising effort."""

    setting: str
    values: tuple[str, ...]
    beside: tuple[tuple[str, str], ...] = ()
    """Other settings that stay as they are throughout."""

    def settings(self, value: str) -> dict[str, str]:
        return {**dict(self.beside), self.setting: value}

    def shorter(self) -> "Sweep":
        """Without the points that interpolating at recall 0.95 to 0.99 can do without, for tables beside the main ones."""
        return replace(self, values=tuple(value for value in self.values if value not in ("120", "400", "0.97")) or self.values)

    @staticmethod
    def parse(text: str) -> "Sweep":
        setting, separator, values = text.partition("=")
        if not separator or not setting.strip() or not values.strip():
            raise Unusable(f"a sweep is NAME=V1,V2,..., not {text!r}")
        return Sweep(setting.strip(), tuple(value.strip() for value in values.split(",")))


@dataclass(frozen=True)
class Shape:
    """A generated set: whose generator, how wide, how many rows, in which type of column."""

    generator: str
    dims: int
    rows: int
    type: str

    @staticmethod
    def parse(text: str, rows: int) -> "Shape":
        found = re.fullmatch(r"(clustered|gaussian):([0-9]+)(?::(vector|halfvec))?", text)
        if not found:
            raise Unusable(f"a shape is GENERATOR:DIMS or GENERATOR:DIMS:TYPE, such as clustered:768:vector, not {text!r}")
        return Shape(found[1], int(found[2]), rows, found[3] or "vector")


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
    ours_sweep: Sweep | None
    peer_sweep: Sweep | None
    equal_effort: Sweep
    targets: Sweep
    ours_with: str
    peer_with: str
    ef_construction: tuple[str, ...]
    access_method: str
    rounds: int
    builds: int
    duration: int
    clients: int
    placement: str
    workers: int
    churn: int
    cold: int
    scale: int
    lists: int
    ivf_targets: Sweep
    vectorchord: bool
    quantizers: tuple[str, ...]
    layouts: tuple[str, ...]
    shapes: tuple[Shape, ...]
    parts: tuple[str, ...]
    plot: Path | None
    pg_config: str
    scratch: str | None
    out: Path

    @staticmethod
    def from_environment() -> "Options":
        cores = len(os.sched_getaffinity(0))
        both_with = text("WITH", "m=16")
        peer = text("PEER", "vector")
        ours_sweep, peer_sweep, plot = text("OURS_SWEEP", ""), text("PEER_SWEEP", ""), text("PLOT", "")
        shape_rows = whole("SHAPE_ROWS", 20_000, least=100)
        shapes = text("SHAPES", "clustered:768:vector,clustered:1536:vector,clustered:3072:halfvec")
        return Options(
            data=text("DATA", str(REPOSITORY.parent / "shared" / "data")),
            rows=whole("ROWS", 0) or None,
            queries=whole("QUERIES", 1000, least=1),
            metric=choice("METRIC", "cosine", ("cosine", "l2", "ip", "l1")),
            type=choice("TYPE", "vector", ("vector", "halfvec")),
            ours=text("OURS", "vectorext"),
            peer=None if peer == "none" else peer,
            ours_sweep=Sweep.parse(ours_sweep) if ours_sweep else None,
            peer_sweep=Sweep.parse(peer_sweep) if peer_sweep else None,
            equal_effort=Sweep.parse("hnsw.ef_search=" + text("EF", "10,20,40,80,120,200,400")),
            targets=Sweep.parse("hnsw.target_recall=" + text("TARGETS", "0.90,0.95,0.97,0.98,0.99,0.995")),
            ours_with=text("OURS_WITH", both_with),
            peer_with=text("PEER_WITH", both_with),
            ef_construction=listed("EF_CONSTRUCTION", "64,200"),
            access_method=text("ACCESS_METHOD", "hnsw"),
            rounds=whole("ROUNDS", 3, least=1),
            builds=whole("BUILDS", 1, least=1),
            duration=whole("DURATION", 2, least=1),
            clients=whole("CLIENTS", cores, least=1),
            # apart needs two cores
            placement=choice("PLACEMENT", "apart" if cores > 1 else "together", PLACEMENTS[cores == 1 :]),
            workers=whole("WORKERS", cores - 1),
            churn=whole("CHURN", 12000),
            cold=whole("COLD", 25, least=1),
            scale=scaled(whole("SCALE", 0)),
            lists=whole("LISTS", 0),
            ivf_targets=Sweep.parse("ivf.target_recall=" + text("IVF_TARGETS", "0.90,0.95,0.97,0.98,0.99")),
            vectorchord=choice("VECTORCHORD", "no" if peer == "none" else "yes", ("yes", "no")) == "yes",
            quantizers=tuple(
                ", ".join(option.strip() for option in each.split(","))
                for each in text("QUANTIZERS", "quantizer=rabitq1,rerank=heap;quantizer=sq8;quantizer=none").split(";")
            ),
            layouts=listed("LAYOUTS", "compact"),
            shapes=tuple(Shape.parse(each, shape_rows) for each in shapes.split(",")),
            parts=parts(text("PARTS", ",".join(PARTS)), choice("HNSWLIB", "yes", ("yes", "no")) == "yes"),
            plot=Path(plot) if plot else None,
            pg_config=text("PG_CONFIG", "pg_config"),
            scratch=text("SCRATCH", "") or None,
            out=Path(text("OUT", str(REPOSITORY / "bench-results"))),
        )

    def construction(self, index_options: str, value: str) -> str:
        """These index options with that `ef_construction`, unless they say otherwise."""
        if self.access_method != "hnsw" or "ef_construction" in index_options:
            return index_options
        return f"ef_construction={value}" if index_options == "none" else f"{index_options}, ef_construction={value}"

    @property
    def compares_constructions(self) -> bool:
        """Whether further values of `ef_construction` make further indexes."""
        fixed = all("ef_construction" in each for each in (self.ours_with, self.peer_with))
        return self.access_method == "hnsw" and not fixed and len(self.ef_construction) > 1


def text(name: str, default: str) -> str:
    # make passes variables that were not given as empty strings
    return os.environ.get(name, "").strip() or default


def whole(name: str, default: int, least: int = 0) -> int:
    given = text(name, str(default))
    if not given.isdigit() or int(given) < least:
        raise Unusable(f"{name} must be a whole number of at least {least}, not {given!r}")
    return int(given)


def scaled(rows: int) -> int:
    if 0 < rows < 2000:
        raise Unusable("SCALE must leave a few hundred rows in its tenth: 2000 at least, or 0")
    return rows


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    given = text(name, default)
    if given not in allowed:
        raise Unusable(f"{name} must be one of {', '.join(allowed)}, not {given!r}")
    return given


def listed(name: str, default: str) -> tuple[str, ...]:
    return tuple(value.strip() for value in text(name, default).split(","))


def parts(given: str, library: bool) -> tuple[str, ...]:
    asked = {part.strip() for part in given.split(",")}
    unknown = sorted(asked - set(PARTS))
    if unknown:
        raise Unusable(f"PARTS knows {', '.join(PARTS)}; not {', '.join(unknown)}")
    if not library:
        asked.discard("hnswlib")
    if asked & CONTINUE_SEARCH:
        asked.add("search")
    # searching needs the index
    if "search" in asked:
        asked.add("build")
    return tuple(part for part in PARTS if part in asked)
