"""Benchmarks through SQL: what a user of the extension gets, beside its peer in the same server.

`__main__` runs the parts in order; `options` says what can be chosen. What they rest on:

- `data` has vectors and their exact neighbours; `server` is the throw-away server with psql and pgbench;
  `engine` is one extension in its own database;
- `points` examines and times one setting; `compare` reads rates at equal recall off curves of points;
- `report` prints and stores tables; `goals` is what we aim at; `plot` draws recall against QPS and against bytes.

A file a part: `exact`, `build` (with further values of `ef_construction`), `search`, `library` (hnswlib
in this process), `sessions` (round trips, several clients), `cold`, `layouts` (with widths), `churn`
(inserts, VACUUM), `filters` and `costs` (both over the table of `filtered`), `tenants`, `ivf` (with `vectorchord`, a further peer),
`quantizers` (in memory), `frugal`, `scale`.
"""
