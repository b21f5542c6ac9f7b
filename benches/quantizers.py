#!/usr/bin/env python3
"""Every quantizer over the same lists: bytes, recall with and without re-ranking, speed; FAISS beside it.

`benches/quantizers.py [--data PATH|clustered:768] [--rows N] [--lists N] [--probes N,N] [--metric cosine|l2|ip]`

FAISS (faiss-cpu from PyPI, optional) trains the centroids with its own k-means, then both sides take the
same centroids and probe the same number of lists, so that what differs are the codes. Without FAISS ours
are trained and stand alone. Needs numpy; builds `benches/recall.rs`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from from_sql import data as sets

REPOSITORY = Path(__file__).resolve().parent.parent
K = sets.K

GRIDS = "rabitq1 rabitq2 rabitq3 rabitq4 rabitq5 rabitq6 rabitq7 rabitq8 sq4 sq8 binary".split()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=str(REPOSITORY.parent / "shared" / "data"))
    parser.add_argument("--rows", type=int)
    parser.add_argument("--lists", type=int, default=1024)
    parser.add_argument("--probes", default="8,32,128")
    parser.add_argument("--metric", choices=("cosine", "l2", "ip"), default="cosine")
    parser.add_argument("--json", type=Path, help="write all points here as well")
    return parser.parse_args()


def load(options: argparse.Namespace) -> sets.DataSet:
    name, _, dims = options.data.partition(":")
    if dims:
        return sets.generated(name, int(dims), options.rows or 50_000, sets.HELD_OUT, "vector")
    path = sets.find_file(Path(options.data))
    return sets.split(path.stem, sets.read_file(path), options.rows, sets.HELD_OUT, "vector")


def neighbours(data: sets.DataSet, metric: str) -> np.ndarray:
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

    def __init__(self, module, data: sets.DataSet, options: argparse.Namespace):
        self.module, self.options = module, options
        self.base, self.queries = data.base, data.queries
        if options.metric == "cosine":
            self.base = self.base / np.linalg.norm(self.base, axis=1, keepdims=True)
            self.queries = self.queries / np.linalg.norm(self.queries, axis=1, keepdims=True)
        # of vectors of length one, squared distances order as cosines do
        self.metric = module.METRIC_INNER_PRODUCT if options.metric == "ip" else module.METRIC_L2
        self.dims = data.dims
        clustering = module.Clustering(self.dims, options.lists)
        clustering.niter, clustering.seed, clustering.max_points_per_centroid = 10, 1, 64
        start = time.process_time()
        clustering.train(self.base, module.IndexFlatL2(self.dims))
        self.seconds = time.process_time() - start
        self.centroids = module.vector_to_array(clustering.centroids).reshape(options.lists, self.dims)

    def coarse(self):
        coarse = self.module.IndexFlat(self.dims, self.metric)
        coarse.add(self.centroids)
        return coarse

    def index(self, quantizer: str):
        faiss, lists, coarse = self.module, self.options.lists, self.coarse()
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

    def points(self, quantizer: str, probes: list[int], truth: np.ndarray) -> list[dict]:
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


def ours(directory: Path, options: argparse.Namespace, quantizers: list[str]) -> list[dict]:
    settings = {
        "lists": options.lists,
        "probes": options.probes,
        "metric": options.metric,
        "quantizers": ",".join(quantizers),
        "rerank": "0,20,100",
    }
    given = [f"{name}={value}" for name, value in settings.items()]
    command = ["cargo", "bench", "--quiet", "--bench", "recall", "--", str(directory), *given]
    run = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


def product_quantizers(dims: int) -> list[str]:
    return [f"pq{dims // width}x{bits}" for width, bits in ((8, 8), (4, 8), (4, 4), (2, 4))]


def table(title: str, columns: list[str], rows: list[list]) -> None:
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |")


def main() -> None:
    options = arguments()
    data = load(options)
    probes = [int(count) for count in options.probes.split(",")]
    truth = neighbours(data, options.metric)
    products = product_quantizers(data.dims)
    try:
        import faiss

        peer = Faiss(faiss, data, options)
    except ImportError:
        print("no faiss (pip install faiss-cpu): ours alone", file=sys.stderr)
        peer = None
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        data.base.astype("<f4").tofile(directory / "base.f32")
        data.queries.astype("<f4").tofile(directory / "queries.f32")
        truth.tofile(directory / "truth.u32")
        if peer:
            peer.centroids.astype("<f4").tofile(directory / "centroids.f32")
        head, *mine = ours(directory, options, GRIDS + products)
    print(f"{data.name}: {data.rows} x {data.dims}, {options.metric}, {head['lists']} lists")
    largest = max(probes)
    rows = []
    for point in mine:
        if point["probes"] == largest:
            recalls = [f"{point['recall'][rerank]:.4f}" for rerank in ("0", "20", "100")]
            rows.append([point["quantizer"], point["bytes"], *recalls, point["ns_per_row"], point["encode_ns"]])
    columns = ["quantizer", "bytes", "recall@10", "best 20 re-ranked", "best 100", "ns a row", "ns to encode"]
    table(f"{largest} lists probed of {head['lists']}", columns, rows)
    theirs = []
    if peer:
        rows = []
        for quantizer in ["sq8", "sq4", "rabitq1", *products]:
            for point in peer.points(quantizer, probes, truth):
                theirs.append(point)
                same = [p for p in mine if (p["quantizer"], p["probes"]) == (quantizer, point["probes"])]
                found = same[0]["recall"]["0"]
                gain = f"{found - point['recall']:+.4f}"
                cells = [f"{found:.4f}", f"{point['recall']:.4f}", gain, same[0]["bytes"], point["bytes"]]
                rows.append([quantizer, point["probes"], *cells])
        columns = ["quantizer", "probes", "ours", "FAISS", "more", "bytes, ours", "bytes, FAISS"]
        table(f"The same lists and probes, no re-ranking; FAISS {faiss.__version__}", columns, rows)
    if options.json:
        options.json.write_text(json.dumps({"ours": [head, *mine], "faiss": theirs}, indent=1))


if __name__ == "__main__":
    main()
