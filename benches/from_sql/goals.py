"""What the index aims at beside its peer: the column `goal` of the tables, one place for all of them."""

from collections.abc import Callable

Search = Callable[[str, float, int], str]
"""The goal of searches in a form, at a recall, over so many rows."""

LARGE = 300_000
"""Rows from which a search of the peer costs enough that the round trip hides less of the difference."""

SEARCH = {
    "prepared": {0.95: 5.0, 0.98: 7.0, 0.99: 9.0},
    "statement": {0.95: 10.0, 0.98: 12.0, 0.99: 15.0},
}
PREPARED_LARGE = {0.95: 8.0, 0.98: 12.0, 0.99: 16.0}
"""Rate against the peer's at equal recall."""

WIDE = {0.95: 12.0}
"""The same in one statement from 1,536 dimensions on."""

LIBRARY = {0.95: 1.3, 0.99: 2.5}
"""Rate of one statement against hnswlib in process."""

SESSIONS = 1.9
"""Two clients against one."""

BUILD = 4.0
TAIL = 3.0
"""p99 / p50, at most."""

SCALE = 0.6
"""Rate at ten times the rows."""

INSERT = 3.0
VACUUM = 10.0
VACUUM_LOSS = 0.005
"""Recall after VACUUM below that of the same rows indexed anew, at most."""

IVF_BUILD = 12.0
IVF_INSERT = 1.0
IVF_VACUUM = 1.0
IVF_SIZE = 0.15
"""Bytes of an index of lists with one bit a dimension, re-ranked from the table, against ivfflat's."""

IVF_SEARCH = {"prepared": 10.0, "statement": 20.0}
"""Rate against ivfflat's at recall 0.95; in one statement for a large table."""

VCHORDRQ_BUILD = 2.5
VCHORDRQ_SEARCH = {"prepared": 2.5, "statement": 5.0}
"""The same against VectorChord's."""

FILTERED = {"f": 10.0, "p": 3.0}
"""Rate against the peer's at a condition that one row in a hundred meets: on a filter column, on another."""

FILTER_COLUMNS = 1.1
"""Time of a search without a condition by an index with filter columns against one without."""

COMPACT_SIZE = 0.4
COMPACT_RATE = 2.0


def search(form: str, recall: float, rows: int) -> str:
    if form == "prepared" and rows >= LARGE:
        return at_least(PREPARED_LARGE.get(recall))
    return at_least(SEARCH.get(form, {}).get(recall))

QUANTIZED = 0.01
"""Recall that codes of as many bytes may be below FAISS's, without re-ranking."""


def ivf(form: str, recall: float, rows: int) -> str:
    return of_lists(IVF_SEARCH, form, recall, rows)


def vchordrq(form: str, recall: float, rows: int) -> str:
    return of_lists(VCHORDRQ_SEARCH, form, recall, rows)


def of_lists(rates: dict[str, float], form: str, recall: float, rows: int) -> str:
    if recall != 0.95 or (form == "statement" and rows < LARGE):
        return ""
    return at_least(rates.get(form))


def filtered(column: str, share: float) -> str:
    return at_least(FILTERED.get(column)) if share == 0.01 else ""


def insert(access_method: str) -> str:
    return at_least(INSERT if access_method == "hnsw" else IVF_INSERT)


def vacuum(access_method: str) -> str:
    return at_least(VACUUM if access_method == "hnsw" else IVF_VACUUM)


def index_size(dims: int, layout: str) -> str:
    """Bytes of the index against the peer's."""
    if layout == "compact":
        return at_most(COMPACT_SIZE)
    return at_most({384: 1.5, 768: 1.1, 1536: 1.1}.get(dims))


def layout_rate(dims: int, layout: str, recall: float) -> str:
    """Rate of one statement against the peer's, for an index with this layout."""
    if layout == "compact":
        return at_least(COMPACT_RATE)
    return at_least(WIDE.get(recall)) if dims >= 1536 else at_least(SEARCH["statement"].get(recall))


def at_least(value: float | None) -> str:
    return "" if value is None else f"{value:g}x"


def at_most(value: float | None) -> str:
    return "" if value is None else f"<= {value:g}x"
