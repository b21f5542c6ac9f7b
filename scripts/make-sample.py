#!/usr/bin/env python3
"""Makes data/sample/glosses.copy.gz, the sample that `make demo` loads, from the full data set.

    scripts/make-sample.py ../shared/data data/sample/glosses.copy.gz

The data set (see its README): wordnet.tsv.gz with one gloss a line, wordnet-minilm-384.f16 with the
embedding of each line. The sample is a gzipped binary COPY of a table

    id int, synset text, pos text, category text, gloss text, embedding halfvec

and needs nothing but psql to load. Its rows are: the glosses in SHOWN and the NEAREST nearest glosses to
each (so that the demo's searches find company as good as in the whole of WordNet), and a stratified
draw over category, in random order. The first QUERIES rows are drawn before anything else, uniformly:
they are the demo's queries. Everything follows from SEED; only the standard library is used.
"""

import gzip
import random
import struct
import sys
from array import array
from collections import defaultdict
from pathlib import Path

DIMS = 384
SEED = 7
QUERIES = 200
ROWS = 6200  # queries included
NEAREST = 40
LEAST_PER_CATEGORY = 40
# synsets the demo searches from
SHOWN = ["n04536866", "n07920052", "n07428954", "v00915848"]

POS = {"n": "noun", "v": "verb", "a": "adjective", "r": "adverb"}
# WordNet's lexicographer files by number, lexnames(5WN)
CATEGORIES = """
    adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body
    noun.cognition noun.communication noun.event noun.feeling noun.food noun.group noun.location
    noun.motive noun.object noun.person noun.phenomenon noun.plant noun.possession noun.process
    noun.quantity noun.relation noun.shape noun.state noun.substance noun.time verb.body verb.change
    verb.cognition verb.communication verb.competition verb.consumption verb.contact verb.creation
    verb.emotion verb.motion verb.perception verb.possession verb.social verb.stative verb.weather
    adj.ppl
""".split()


class Glosses:
    """The full data set."""

    def __init__(self, directory):
        with gzip.open(directory / "wordnet.tsv.gz", "rt", encoding="utf-8") as lines:
            self.rows = [line.rstrip("\n").split("\t") for line in lines]
        self.embeddings = (directory / "wordnet-minilm-384.f16").read_bytes()
        if len(self.embeddings) != len(self.rows) * DIMS * 2:
            sys.exit("the embeddings do not belong to the glosses")
        self.line_of = {row[0]: line for line, row in enumerate(self.rows)}

    def category(self, line):
        return CATEGORIES[int(self.rows[line][2])]

    def halves(self, line):
        return self.embeddings[line * DIMS * 2 : (line + 1) * DIMS * 2]

    def floats(self, line):
        return struct.unpack(f"<{DIMS}e", self.halves(line))

    def nearest(self, line, count):
        """The lines most similar to a line; the embeddings have unit length."""
        query = self.floats(line)
        similarity = [
            sum(map(float.__mul__, query, self.floats(other))) for other in range(len(self.rows))
        ]
        return sorted(range(len(self.rows)), key=similarity.__getitem__, reverse=True)[:count]


def choose(glosses):
    """Lines of the sample, the queries first."""
    rng = random.Random(SEED)
    shown = {near for synset in SHOWN for near in glosses.nearest(glosses.line_of[synset], NEAREST)}
    queries = []
    while len(queries) < QUERIES:
        line = rng.randrange(len(glosses.rows))
        if line not in shown and line not in queries:
            queries.append(line)

    chosen = set(shown)
    strata = defaultdict(list)
    for line in range(len(glosses.rows)):
        if line not in chosen and line not in queries:
            strata[glosses.category(line)].append(line)
    for category in sorted(strata):
        rng.shuffle(strata[category])
        chosen.update(strata[category][:LEAST_PER_CATEGORY])
    # the rest in proportion to the categories' sizes
    rest = [line for category in sorted(strata) for line in strata[category][LEAST_PER_CATEGORY:]]
    chosen.update(rng.sample(rest, ROWS - QUERIES - len(chosen)))

    table = sorted(chosen)
    rng.shuffle(table)
    return queries + table


def copy_field(value):
    return struct.pack(">i", len(value)) + value


def copy_row(glosses, number, line):
    synset, pos, _, text = glosses.rows[line]
    halves = array("H", glosses.halves(line))
    if sys.byteorder == "little":
        halves.byteswap()
    fields = [
        struct.pack(">i", number),
        synset.encode(),
        POS[pos].encode(),
        glosses.category(line).encode(),
        text.encode(),
        struct.pack(">hh", DIMS, 0) + halves.tobytes(),
    ]
    return struct.pack(">h", len(fields)) + b"".join(map(copy_field, fields))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    glosses = Glosses(Path(sys.argv[1]))
    target = Path(sys.argv[2])
    stream = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
    stream += b"".join(copy_row(glosses, i, line) for i, line in enumerate(choose(glosses), start=1))
    stream += struct.pack(">h", -1)
    # no time stamp and no file name: the same bytes on every run
    target.write_bytes(gzip.compress(stream, compresslevel=9, mtime=0))
    print(f"{target}: {ROWS} glosses, {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
