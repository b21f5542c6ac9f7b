"""Benchmarks through SQL: what a user of the extension gets, beside its peer in the same server.

`__main__` runs the tables in order; `options` says what can be chosen; `data` has vectors and their
exact neighbours; `server` is the throw-away server with psql and pgbench; `engine` is one extension in
its own database; `search` and `churn` take the measurements; `report` prints and stores them; `plot`
draws recall against QPS.
"""
