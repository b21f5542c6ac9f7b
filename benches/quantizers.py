#!/usr/bin/env python3
"""Every quantizer over the same lists: bytes, recall with and without re-ranking, speed; FAISS beside it.

`benches/quantizers.py [--data PATH|clustered:768] [--rows N] [--lists N] [--probes N,N] [--metric cosine|l2|ip]
                       [--json FILE] [--plot FILE]`

Needs numpy, and faiss-cpu for the comparison. The part `quantizers` of `make bench` is the same over its data.
"""

import argparse
import json
import sys
from pathlib import Path

from from_sql import data as sets
from from_sql.options import REPOSITORY
from from_sql.quantizers import Asked, measure


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=str(REPOSITORY.parent / "shared" / "data"))
    parser.add_argument("--rows", type=int)
    parser.add_argument("--lists", type=int, default=1024)
    parser.add_argument("--probes", default="8,32,128")
    parser.add_argument("--metric", choices=("cosine", "l2", "ip"), default="cosine")
    parser.add_argument("--json", type=Path, help="write all points here as well")
    parser.add_argument("--plot", type=Path, help="draw recall against bytes here, as SVG")
    return parser.parse_args()


def load(options: argparse.Namespace) -> sets.DataSet:
    name, _, dims = options.data.partition(":")
    if dims:
        return sets.generated(name, int(dims), options.rows or 50_000, sets.HELD_OUT, "vector")
    path = sets.find_file(Path(options.data))
    return sets.split(path.stem, sets.read_file(path), options.rows, sets.HELD_OUT, "vector")


def table(title: str, columns: list[str], rows: list[list]) -> None:
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |")


def main() -> None:
    options = arguments()
    data = load(options)
    probes = tuple(int(count) for count in options.probes.split(","))
    found = measure(data, Asked(options.lists, probes, options.metric))
    if not found.theirs:
        print("no faiss (pip install faiss-cpu): ours alone", file=sys.stderr)
    print(f"{data.name}: {data.rows} x {data.dims}, {options.metric}, {found.head['lists']} lists")
    for title, columns, rows in found.tables():
        table(title, columns, rows)
    if options.json:
        options.json.write_text(json.dumps({"ours": [found.head, *found.mine], "faiss": found.theirs}, indent=1))
    if options.plot:
        options.plot.write_text(found.picture(f"{data.name}: {data.rows:,} x {data.dims}, {options.metric}"))


if __name__ == "__main__":
    main()
