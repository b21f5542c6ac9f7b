"""Every quantizer over the same lists, in memory: bytes, recall with and without re-ranking, speed; FAISS beside it.

FAISS (faiss-cpu from PyPI, optional) trains the centroids with its own k-means, then both sides take the same
centroids and probe the same number of lists, so that what differs are the codes. Without FAISS ours are trained and
stand alone. The work is done by `benches/recall.rs`.
"""

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import goals, plot
from .data import DataSet, K, split
from .options import REPOSITORY
from .points import Contender
from .report import Report

GRIDS = "rabitq1 rabitq2 rabitq3 rabitq4 rabitq5 rabitq6 rabitq7 rabitq8 sq4 sq8 binary".split()
RERANKED = {"0": "as estimated", "20": "best 20 re-ranked", "100": "best 100 re-ranked"}
"""How many of the best by estimate are compared exactly."""
MOST_ROWS = 50_000
"""Rows of the part `quantizers`: every quantizer encodes all of them."""


@dataclass(frozen=True)
class Asked:
    """What is measured."""

    lists: int = 1024
    probes: tuple[int, ...] = (8, 32, 128)
    metric: str = "cosine"


@dataclass
class Found:
    """What was measured."""

    head: dict
    mine: list[dict]
    theirs: list[dict] = field(default_factory=list)
    faiss: str | None = None

    def largest(self) -> list[dict]:
        """Our points with the most lists probed."""
        most = max(point["probes"] for point in self.mine)
        return [point for point in self.mine if point["probes"] == most]

    def tables(self) -> list[tuple[str, list[str], list[list[object]]]]:
        """Title, columns, rows."""
        points = self.largest()
        rows = []
        for point in points:
            recalls = [f"{point['recall'][rerank]:.4f}" for rerank in RERANKED]
            rows.append([point["quantizer"], point["bytes"], *recalls, point["ns_per_row"], point["encode_ns"]])
        columns = ["quantizer", "bytes", "recall@10", "best 20 re-ranked", "best 100", "ns a row", "ns to encode"]
        tables = [(f"{points[0]['probes']} lists probed of {self.head['lists']}", columns, rows)]
        if self.theirs:
            rows = []
            for point in self.theirs:
                name, probes = point["quantizer"], point["probes"]
                [same] = [p for p in self.mine if (p["quantizer"], p["probes"]) == (name, probes)]
                found = same["recall"]["0"]
                cells = [f"{found:.4f}", f"{point['recall']:.4f}", f"{found - point['recall']:+.4f}"]
                goal = f"{-goals.QUANTIZED:+.2f}" if name.startswith(("pq", "sq8")) else ""
                rows.append([name, probes, *cells, goal, same["bytes"], point["bytes"]])
            columns = ["quantizer", "probes", "ours", "FAISS", "more", "goal", "bytes, ours", "bytes, FAISS"]
            tables.append((f"The same lists and probes, no re-ranking; FAISS {self.faiss}", columns, rows))
        return tables

    def picture(self, about: str) -> str:
        """Recall against bytes."""
        lines: dict[str, list[tuple[float, float, str]]] = {}
        for rerank, name in RERANKED.items():
            points = [(p["bytes"], p["recall"][rerank], p["quantizer"]) for p in self.largest()]
            families = {"rabitq": "rabitq1 to rabitq8", "pq": "pq"}
            for family, title in families.items():
                lines[f"{title}, {name}"] = sorted(p for p in points if p[2].startswith(family))
            others = [p for p in points if not p[2].startswith(tuple(families))]
            lines[f"binary, sq4, sq8, {name}"] = sorted(others)
        return plot.of_bytes(lines, about)


def quantizers(contender: Contender, report: Report) -> list[Path]:
    """The part of `make bench`; the picture drawn."""
    options, whole = contender.engine.options, contender.data
    title = "Quantizers in lists, in memory"
    if options.metric not in ("cosine", "l2", "ip"):
        report.not_measured(title, f"lists of codes have no metric {options.metric}")
        return []
    vectors = np.concatenate([whole.queries, whole.base])
    data = split(whole.name, vectors, min(whole.rows, MOST_ROWS), len(whole.queries), "vector")
    lists = max(16, round(3 * data.rows**0.5))
    found = measure(data, Asked(lists, tuple(sorted({1, lists // 32, lists // 8} - {0})), options.metric))
    about = f"{data.name}: {data.rows:,} x {data.dims}, {options.metric}"
    for name, columns, rows in found.tables():
        report.table(f"{title}, {about}: {name}", columns, rows)
    if not found.theirs:
        report.not_measured(f"{title}: FAISS", "faiss-cpu cannot be imported; pip install it beside numpy")
    path = options.out / f"{report.stem}-quantizers.svg"
    path.write_text(found.picture(f"{about}, {lists // 8} of {lists} lists"))
    return [path]


def measure(data: DataSet, asked: Asked) -> Found:
    """All quantizers over lists of the same centroids."""
    truth = neighbours(data, asked.metric)
    products = product_quantizers(data.dims)
    try:
        import faiss

        peer = Faiss(faiss, data, asked)
    except ImportError:
        peer = None
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        data.base.astype("<f4").tofile(directory / "base.f32")
        data.queries.astype("<f4").tofile(directory / "queries.f32")
        truth.tofile(directory / "truth.u32")
        if peer:
            peer.centroids.astype("<f4").tofile(directory / "centroids.f32")
        head, *mine = ours(directory, asked, GRIDS + products)
    if not peer:
        return Found(head, mine)
    theirs = [p for name in ("sq8", "sq4", "rabitq1", *products) for p in peer.points(name, asked.probes, truth)]
    return Found(head, mine, theirs, faiss.__version__)


def neighbours(data: DataSet, metric: str) -> np.ndarray:
    """The ten nearest rows of each query."""
    found = np.empty((len(data.queries), K), dtype="<u4")
    rows = data.base
    squares = np.einsum("ij,ij->i", rows, rows)
    for at, query in enumerate(data.queries):
        products = rows @ query
        far = {"cosine": -products / np.sqrt(squares), "l2": squares - 2 * products, "ip": -products}[metric]
        near = np.argpartition(far, K)[:K]
        found[at] = near[np.argsort(far[near])]
    return found


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    return sum(len(set(f) & set(t)) for f, t in zip(found.tolist(), truth.tolist())) / truth.size


class Faiss:
    """FAISS over lists of its own training; ours take the same centroids."""

    def __init__(self, module, data: DataSet, asked: Asked):
        self.module, self.asked = module, asked
        self.base, self.queries = data.base, data.queries
        if asked.metric == "cosine":
            self.base = self.base / np.linalg.norm(self.base, axis=1, keepdims=True)
            self.queries = self.queries / np.linalg.norm(self.queries, axis=1, keepdims=True)
        # of vectors of length one, squared distances order as cosines do
        self.metric = module.METRIC_INNER_PRODUCT if asked.metric == "ip" else module.METRIC_L2
        self.dims = data.dims
        clustering = module.Clustering(self.dims, asked.lists)
        clustering.niter, clustering.seed, clustering.max_points_per_centroid = 10, 1, 64
        start = time.process_time()
        clustering.train(self.base, module.IndexFlatL2(self.dims))
        self.seconds = time.process_time() - start
        self.centroids = module.vector_to_array(clustering.centroids).reshape(asked.lists, self.dims)

    def coarse(self):
        coarse = self.module.IndexFlat(self.dims, self.metric)
        coarse.add(self.centroids)
        return coarse

    def index(self, quantizer: str):
        faiss, lists, coarse = self.module, self.asked.lists, self.coarse()
        if quantizer in ("sq8", "sq4"):
            kind = faiss.ScalarQuantizer.QT_8bit if quantizer == "sq8" else faiss.ScalarQuantizer.QT_4bit
            index = faiss.IndexIVFScalarQuantizer(coarse, self.dims, lists, kind, self.metric, True)
        elif quantizer == "rabitq1":
            index = faiss.IndexIVFRaBitQ(coarse, self.dims, lists, self.metric)
        else:
            segments, bits = map(int, quantizer.removeprefix("pq").split("x"))
            index = faiss.IndexIVFPQ(coarse, self.dims, lists, segments, bits, self.metric)
        self.module.omp_set_num_threads(2)
        index.train(self.base[:: max(1, len(self.base) // (256 * 256))])
        index.add(self.base)
        return index, coarse

    def points(self, quantizer: str, probes: tuple[int, ...], truth: np.ndarray) -> list[dict]:
        index, _coarse = self.index(quantizer)
        points = []
        for count in probes:
            index.nprobe = count
            self.module.omp_set_num_threads(1)
            start = time.process_time()
            _, found = index.search(self.queries, K)
            spent = time.process_time() - start
            points.append(
                {
                    "quantizer": quantizer,
                    "probes": count,
                    "recall": recall(found, truth),
                    "bytes": index.code_size,
                    "us": spent * 1e6 / len(self.queries),
                }
            )
        return points


def ours(directory: Path, asked: Asked, quantizers: list[str]) -> list[dict]:
    settings = {
        "lists": asked.lists,
        "probes": ",".join(map(str, asked.probes)),
        "metric": asked.metric,
        "quantizers": ",".join(quantizers),
        "rerank": "0,20,100",
    }
    given = [f"{name}={value}" for name, value in settings.items()]
    command = ["cargo", "bench", "--quiet", "--bench", "recall", "--", str(directory), *given]
    run = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


def product_quantizers(dims: int) -> list[str]:
    return [f"pq{dims // width}x{bits}" for width, bits in ((8, 8), (4, 8), (4, 4), (2, 4))]
