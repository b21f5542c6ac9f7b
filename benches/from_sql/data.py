"""Vectors to search, and their exact neighbours by brute force."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .options import Options, Unusable

K = 10
"""Neighbours asked for: every recall here is recall@10."""

HELD_OUT = 1000
"""Rows that never enter the base, so that figures with few queries compare with those of many."""


@dataclass(frozen=True)
class DataSet:
    """Base rows (row number = id in SQL) and queries that are not among them."""

    name: str
    base: np.ndarray
    queries: np.ndarray

    @property
    def rows(self) -> int:
        return self.base.shape[0]

    @property
    def dims(self) -> int:
        return self.base.shape[1]


def load(options: Options) -> DataSet:
    """The data set of `DATA`, split into base and queries, rounded to the column's type."""
    shape = re.fullmatch(r"(clustered|gaussian):(\d+)", options.data)
    if shape:
        return generated(shape[1], int(shape[2]), options.rows or 50_000, options.queries, options.type)
    path = find_file(Path(options.data))
    return split(path.stem, read_file(path), options.rows, options.queries, options.type)


def generated(generator: str, dims: int, rows: int, queries: int, type: str) -> DataSet:
    """A set of one of the generators, its queries drawn like its rows."""
    vectors = GENERATORS[generator](rows + max(queries, HELD_OUT), dims)
    return split(f"{generator}-{dims}", vectors, rows, queries, type)


def split(name: str, vectors: np.ndarray, rows: int | None, queries: int, type: str) -> DataSet:
    """Base and queries, rounded to the column's type."""
    if type == "halfvec":
        vectors = vectors.astype(np.float16)
    held_out = max(queries, HELD_OUT)
    if vectors.shape[0] < held_out + 100:
        raise Unusable(f"{name} has {vectors.shape[0]} rows: too few beside {held_out} queries")
    # the convention for this data: the first indices are the queries, the rest is the base, in that order
    order = np.random.default_rng(7).permutation(vectors.shape[0])
    base = vectors[order[held_out:]]
    if rows:
        base = base[:rows]
    return DataSet(name, base.astype(np.float32, copy=False), vectors[order[:queries]].astype(np.float32))


def find_file(path: Path) -> Path:
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if re.search(r"-\d+\.(f16|f32)$|\.npy$", file.name))
        if len(found) != 1:
            names = ", ".join(file.name for file in found) or "none"
            raise Unusable(f"DATA: expected one data file (NAME-DIMS.f16, .f32 or .npy) in {path}, found {names}")
        return found[0]
    if not path.exists():
        raise Unusable(
            f"No data at {path}. The WordNet embeddings are not part of the repository: put their directory at "
            "../shared/data beside it, name another with DATA=, or take a generated set, such as DATA=clustered:768."
        )
    return path


def read_file(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        vectors = np.load(path)
        if vectors.ndim != 2:
            raise Unusable(f"{path} holds {vectors.ndim} axes; a matrix of rows x dims is needed")
        return vectors
    dims = re.search(r"-(\d+)\.(f16|f32)$", path.name)
    if not dims:
        raise Unusable(f"{path}: the name must end in -DIMS.f16 or -DIMS.f32, or .npy")
    flat = np.fromfile(path, dtype="<f2" if dims[2] == "f16" else "<f4")
    if flat.size == 0 or flat.size % int(dims[1]):
        raise Unusable(f"{path}: {flat.size} values are not whole rows of {dims[1]}")
    return flat.reshape(-1, int(dims[1]))


def clustered(rows: int, dims: int) -> np.ndarray:
    """Clusters of skewed sizes, each spread over a few dozen directions with falling variance.

    Isotropic clusters would have no neighbours worth the name at these dimensions; embeddings have an
    intrinsic dimension far below their width, which the shared low-rank spread imitates.
    """
    random = np.random.default_rng(dims)
    clusters = max(4, int(rows**0.5))
    latent = min(48, dims)
    centres = random.standard_normal((clusters, dims), dtype=np.float32)
    spread = random.standard_normal((latent, dims), dtype=np.float32)
    spread *= (1.6 * np.arange(1, latent + 1) ** -0.5)[:, None].astype(np.float32)
    shares = np.arange(1, clusters + 1) ** -0.7
    member = random.choice(clusters, size=rows, p=shares / shares.sum())
    vectors = centres[member]
    for start in range(0, rows, 20_000):
        part = vectors[start : start + 20_000]
        part += random.standard_normal((len(part), latent), dtype=np.float32) @ spread * 0.5
        part += random.standard_normal(part.shape, dtype=np.float32) * 0.1
    return vectors


def gaussian(rows: int, dims: int) -> np.ndarray:
    """Isotropic noise: no structure at all, the hardest case for any index."""
    return np.random.default_rng(dims).standard_normal((rows, dims), dtype=np.float32)


GENERATORS = {"clustered": clustered, "gaussian": gaussian}


class Exact:
    """Exact distances in double precision, and the k-th nearest of each query among `ids`."""

    def __init__(self, data: DataSet, metric: str, ids: np.ndarray | None = None):
        self.metric = metric
        self.queries = data.queries.astype(np.float64)
        self.base = data.base
        self.ids = np.arange(data.rows) if ids is None else ids
        self.kth = np.empty(len(self.queries))
        rows = data.base if ids is None else data.base[ids]
        count = min(K, len(rows))
        # a million rows of distances for 40 queries are 160 MB
        at_once = max(1, min(200, 40_000_000 // len(rows)))
        for start in range(0, len(self.queries), at_once):
            rough = self.rough(data.queries[start : start + at_once], rows)
            # single precision finds the candidates, double precision orders them
            near = np.argpartition(rough, min(K + 40, rough.shape[1] - 1), axis=1)[:, : K + 40]
            for row, candidates in enumerate(near):
                distances = np.sort(self.distances(start + row, self.ids[candidates]))
                self.kth[start + row] = distances[count - 1]

    def rough(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if self.metric == "l1":
            return np.stack([np.abs(rows - query).sum(axis=1) for query in queries])
        products = queries @ rows.T
        if self.metric == "ip":
            return -products
        squares = np.einsum("ij,ij->i", rows, rows)
        if self.metric == "cosine":
            return -products / np.sqrt(squares)[None, :]
        return squares[None, :] - 2 * products

    def distances(self, query: int, ids: np.ndarray) -> np.ndarray:
        """Exact distances from a query to base rows."""
        one, rows = self.queries[query], self.base[ids].astype(np.float64)
        if self.metric == "ip":
            return -(rows @ one)
        if self.metric == "l2":
            return np.sqrt(((rows - one) ** 2).sum(axis=1))
        if self.metric == "l1":
            return np.abs(rows - one).sum(axis=1)
        return 1 - rows @ one / (np.linalg.norm(rows, axis=1) * np.linalg.norm(one))

    def judge(self, answers: dict[int, list[int]]) -> "Verdict":
        """Compares the ids that SQL returned with the exact neighbours.

        A row is right when it is no farther than the exact k-th: of rows at equal distance any will do.
        """
        right = short = disordered = 0
        for query in range(len(self.queries)):
            ids = np.array(answers.get(query, []), dtype=np.int64)
            if len(set(ids.tolist())) != len(ids):
                raise Unusable(f"query {query} returned a row twice: {ids.tolist()}")
            short += len(ids) < min(K, len(self.ids))
            if not len(ids):
                continue
            distances = self.distances(query, ids)
            right += int((distances <= self.kth[query] + 1e-9).sum())
            # single precision in the server: allow its rounding
            slack = 1e-5 * max(1.0, float(np.abs(distances).max()))
            disordered += bool((np.diff(distances) < -slack).any())
        asked = min(K, len(self.ids)) * len(self.queries)
        return Verdict(right / asked, short, disordered)


@dataclass(frozen=True)
class Verdict:
    """Recall@10, queries with fewer than 10 rows, queries whose rows were not in distance order."""

    recall: float
    short: int
    disordered: int
