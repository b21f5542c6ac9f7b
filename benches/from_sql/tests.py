"""What the figures rest on. Run with: PYTHONPATH=benches python3 -m unittest from_sql.tests"""

import os
import unittest
from dataclasses import replace
from unittest import mock

import numpy as np

from . import goals, plot
from . import vectorchord as third
from .compare import around, at_recall, ratio_at, shown_rate
from .data import DataSet, Exact, Verdict, clustered, generated
from .engine import Engine
from .options import Options, Shape, Sweep, Unusable
from .points import Point
from .quantizers import Found
from .report import paired
from .search import shown_pages


class JudgingAnswers(unittest.TestCase):
    def setUp(self) -> None:
        vectors = clustered(400, 16)
        self.data = DataSet("test", vectors[20:], vectors[:20])

    def nearest(self, metric: str) -> dict[int, list[int]]:
        """Another way to the same neighbours: sorting all distances in double precision."""
        base, answers = self.data.base.astype(np.float64), {}
        for number, query in enumerate(self.data.queries.astype(np.float64)):
            distances = {
                "l2": np.linalg.norm(base - query, axis=1),
                "l1": np.abs(base - query).sum(axis=1),
                "ip": -(base * query).sum(axis=1),
                "cosine": -(base * query).sum(axis=1) / np.linalg.norm(base, axis=1),
            }[metric]
            answers[number] = np.argsort(distances)[:10].tolist()
        return answers

    def test_exact_answers_have_recall_1_in_every_metric(self) -> None:
        for metric in ("cosine", "l2", "ip", "l1"):
            verdict = Exact(self.data, metric).judge(self.nearest(metric))
            self.assertEqual((verdict.recall, verdict.short, verdict.disordered), (1.0, 0, 0), metric)

    def test_every_wrong_row_costs_a_tenth_of_a_query(self) -> None:
        exact, answers = Exact(self.data, "l2"), self.nearest("l2")
        farthest = int(np.argmax(exact.distances(0, np.arange(self.data.rows))))
        answers[0][9] = farthest
        self.assertAlmostEqual(exact.judge(answers).recall, 1 - 1 / 200)

    def test_missing_rows_and_queries_count_against_recall(self) -> None:
        exact, answers = Exact(self.data, "l2"), self.nearest("l2")
        del answers[3], answers[4][5:]
        verdict = exact.judge(answers)
        self.assertAlmostEqual(verdict.recall, 1 - 15 / 200)
        self.assertEqual(verdict.short, 2)

    def test_rows_out_of_distance_order_are_noticed(self) -> None:
        exact, answers = Exact(self.data, "l2"), self.nearest("l2")
        answers[7].reverse()
        self.assertEqual(exact.judge(answers).disordered, 1)

    def test_a_row_returned_twice_stops_the_run(self) -> None:
        exact, answers = Exact(self.data, "l2"), self.nearest("l2")
        answers[0][1] = answers[0][0]
        with self.assertRaises(Unusable):
            exact.judge(answers)

    def test_of_rows_at_equal_distance_any_is_right(self) -> None:
        base = np.vstack([self.data.base, np.repeat(self.data.queries[:1], 30, axis=0)])
        exact = Exact(DataSet("twins", base, self.data.queries[:1]), "l2")
        for first in (len(base) - 30, len(base) - 10):
            self.assertEqual(exact.judge({0: list(range(first, first + 10))}).recall, 1.0)

    def test_only_the_ids_given_are_neighbours(self) -> None:
        odd = np.arange(1, self.data.rows, 2)
        exact = Exact(self.data, "l2", odd)
        distances = exact.distances(0, odd)
        self.assertAlmostEqual(exact.kth[0], float(np.sort(distances)[9]))


def curve(measured: list[tuple[float, list[float]]]) -> list[Point]:
    """Points with these recalls and rates of one statement in each round."""
    return [
        Point(str(recall), {}, False, Verdict(recall, 0, 0), pages=100, reads=0, repeats=1, statement=rates)
        for recall, rates in measured
    ]


class RatesAtRecall(unittest.TestCase):
    CURVE = [(0.90, 1000.0), (0.96, 400.0), (0.99, 100.0)]

    def test_measured_points_are_met_and_the_rate_falls_between_them(self) -> None:
        self.assertAlmostEqual(at_recall(self.CURVE, 0.96).rate, 400.0)
        self.assertTrue(100 < at_recall(self.CURVE, 0.98).rate < 400)

    def test_nothing_is_claimed_beyond_the_measured_points(self) -> None:
        self.assertIsNone(at_recall(self.CURVE, 0.995))
        lower_bound = at_recall(self.CURVE, 0.5)
        self.assertEqual((lower_bound.rate, lower_bound.bound), (1000.0, True))

    def test_ratios_at_equal_recall_say_when_one_side_is_only_a_bound(self) -> None:
        fast = curve([(0.90, [1000.0, 500.0]), (0.99, [500.0, 250.0])])
        slow = curve([(0.90, [100.0, 50.0]), (0.99, [50.0, 25.0])])
        high = curve([(0.96, [400.0, 200.0]), (0.99, [200.0, 100.0])])
        self.assertEqual(ratio_at(fast, slow, "statement", 0.95), "10.00x")
        self.assertTrue(ratio_at(high, slow, "statement", 0.95).startswith(">"))
        self.assertTrue(ratio_at(slow, high, "statement", 0.95).startswith("<"))
        self.assertEqual(ratio_at(high, high, "statement", 0.95), "")
        self.assertEqual(ratio_at(fast, slow, "statement", 0.995), "")
        self.assertEqual(shown_rate(fast, "statement", 0.995), "not reached")
        self.assertEqual(shown_rate(high, "statement", 0.95), "> 300")

    def test_the_points_around_a_recall_are_its_neighbours(self) -> None:
        points = curve([(0.90, [3.0]), (0.94, [2.0]), (0.97, [1.0])])
        self.assertEqual([point.recall for point in around(points, 0.95)], [0.94, 0.97])
        self.assertEqual([point.recall for point in around(points, 0.99)], [0.97])
        self.assertEqual([point.recall for point in around(points, 0.5)], [0.90])
        # pages 100 and 200 at the two sides
        self.assertEqual(shown_pages([replace(points[1], pages=100), replace(points[2], pages=200)], 0.955), "150")
        self.assertEqual(shown_pages(points[:1], 0.99), "100 (only 0.900)")

    def test_ratios_are_taken_within_a_round(self) -> None:
        # the second round was disturbed for both alike
        self.assertAlmostEqual(paired([100, 10, 100], [50, 5, 50]), 2.0)


class WhatIsAskedFor(unittest.TestCase):
    def given(self, **variables: str) -> Options:
        with mock.patch.dict(os.environ, variables, clear=True):
            return Options.from_environment()

    def test_parts_bring_those_they_continue(self) -> None:
        self.assertEqual(self.given(PARTS="cold").parts, ("build", "search", "cold"))
        self.assertEqual(self.given(PARTS="shapes,floor").parts, ("floor", "shapes"))
        self.assertNotIn("hnswlib", self.given(HNSWLIB="no").parts)
        with self.assertRaises(Unusable):
            self.given(PARTS="everything")

    def test_an_ef_construction_that_was_given_is_kept(self) -> None:
        options = self.given()
        self.assertEqual(options.construction("m=8", "64"), "m=8, ef_construction=64")
        self.assertEqual(options.construction("none", "64"), "ef_construction=64")
        self.assertEqual(options.construction("m=8, ef_construction=100", "64"), "m=8, ef_construction=100")
        self.assertTrue(options.compares_constructions)
        self.assertFalse(self.given(WITH="m=8, ef_construction=100").compares_constructions)
        lists = self.given(ACCESS_METHOD="ivfflat", WITH="lists=100")
        self.assertEqual(lists.construction(lists.ours_with, "64"), "lists=100")

    def test_shapes_name_generator_width_and_type(self) -> None:
        shapes = self.given(SHAPES="clustered:96,gaussian:8:halfvec", SHAPE_ROWS="500").shapes
        self.assertEqual(shapes, (Shape("clustered", 96, 500, "vector"), Shape("gaussian", 8, 500, "halfvec")))
        with self.assertRaises(Unusable):
            self.given(SHAPES="clustered")

    def test_a_sweep_keeps_its_other_settings(self) -> None:
        sweep = replace(Sweep.parse("hnsw.ef_search=10,120,400"), beside=(("hnsw.target_recall", "0"),))
        self.assertEqual(sweep.settings("10"), {"hnsw.ef_search": "10", "hnsw.target_recall": "0"})
        self.assertEqual(sweep.shorter().values, ("10",))
        self.assertEqual(Sweep.parse("a=400").shorter().values, ("400",))

    def test_goals_follow_the_rows_and_the_width(self) -> None:
        self.assertEqual([goals.search("prepared", 0.95, rows) for rows in (116_659, 300_000)], ["5x", "8x"])
        self.assertEqual(goals.search("processor", 0.95, 1000), "")
        self.assertEqual((goals.index_size(384, "default"), goals.index_size(384, "compact")), ("<= 1.5x", "<= 0.4x"))
        self.assertEqual(goals.layout_rate(1536, "default", 0.95), "12x")
        for of, prepared, statement in ((goals.ivf, "10x", "20x"), (goals.vchordrq, "2.5x", "5x")):
            self.assertEqual([of("prepared", 0.95, rows) for rows in (116_659, 300_000)], [prepared, prepared])
            self.assertEqual([of("statement", 0.95, rows) for rows in (116_659, 300_000)], ["", statement])
            self.assertEqual(of("prepared", 0.98, 300_000), "")


class SweepingAnEngine(unittest.TestCase):
    def engine(self, asked: Sweep | None, calibrated: bool) -> Engine:
        with mock.patch.dict(os.environ, {"EF": "10,40", "TARGETS": "0.9,0.99"}, clear=True):
            engine = Engine("ours", "ours", "ours", asked, "m=16", Options.from_environment(), None)
        # what a server would answer
        engine.__dict__["self_calibrated"] = calibrated
        return engine

    def test_an_engine_that_calibrates_itself_is_swept_by_its_target(self) -> None:
        engine = self.engine(None, True)
        self.assertEqual((engine.sweep.setting, engine.sweep.values), ("hnsw.target_recall", ("0.9", "0.99")))
        settings = engine.equal_effort.settings("40")
        self.assertEqual(settings, {"hnsw.target_recall": "0", "hnsw.ef_search": "40"})

    def test_one_that_does_not_is_swept_by_its_effort(self) -> None:
        engine = self.engine(None, False)
        self.assertEqual(engine.sweep, engine.equal_effort)
        self.assertEqual(engine.sweep.settings("10"), {"hnsw.ef_search": "10"})

    def test_a_sweep_asked_for_comes_first(self) -> None:
        asked = Sweep.parse("hnsw.other=1,2")
        self.assertEqual(self.engine(asked, True).sweep, asked)


class AnotherPeerOfLists(unittest.TestCase):
    def engine(self, offered: tuple[str, ...], **variables: str) -> Engine:
        with mock.patch.dict(os.environ, variables, clear=True):
            options = Options.from_environment()
        server = mock.Mock(bindir="bin")
        server.rows.return_value = [[name] for name in offered]
        ours = Engine("ours", "ours", "vectorext", None, "lists=40", options, server)
        return third.listed(ours, 40, ("1", "4"))

    def test_its_index_has_our_lists_and_threads_and_centroids_as_the_metric_wants_them(self) -> None:
        for metric, spherical in (("cosine", "true"), ("ip", "true"), ("l2", "false")):
            made = self.engine((), METRIC=metric, WORKERS="2").index_definition("items", "i")
            self.assertIn(f"USING vchordrq (embedding vector_{metric}_ops) WITH (options = $$", made)
            for line in ("lists = [40]", "build_threads = 3", f"spherical_centroids = {spherical}"):
                self.assertIn(f"\n{line}\n", made)

    def test_every_setting_of_its_sweep_says_how_many_lists_it_probes(self) -> None:
        sweep = self.engine(()).sweep
        for value in sweep.values:
            self.assertEqual(sweep.settings(value), {"vchordrq.epsilon": "1.9", "vchordrq.probes": value})

    def test_it_is_measured_where_both_extensions_are_offered_and_the_metric_is_known(self) -> None:
        both = ("vchord", "vector", "vectorext")
        self.assertEqual(third.missing(self.engine(both)), "")
        self.assertIn("vchord and vector", third.missing(self.engine(("vectorext",))))
        self.assertIn("extension vector ", third.missing(self.engine(("vchord",))))
        self.assertIn("l1", third.missing(self.engine(both, METRIC="l1")))
        for variables in ({"VECTORCHORD": "no"}, {"PEER": "none"}):
            self.assertTrue(third.missing(self.engine(both, **variables)))
        self.assertEqual(third.missing(self.engine(both, PEER="none", VECTORCHORD="yes")), "")

    def test_without_it_the_server_is_left_alone_and_the_report_says_so(self) -> None:
        report, engine = mock.Mock(), self.engine(("vector",))
        with third.vectorchord(mock.Mock(engine=engine), 40, ("1",), report) as further:
            self.assertEqual(further, [])
        report.not_measured.assert_called_once()
        engine.server.restart.assert_not_called()

    def test_a_library_that_cannot_be_loaded_leaves_the_server_as_it_was(self) -> None:
        report, engine = mock.Mock(), self.engine(("vchord", "vector"))
        engine.server.restart.side_effect = [Unusable("built for another server"), None]
        with third.vectorchord(mock.Mock(engine=engine), 40, ("1",), report) as further:
            self.assertEqual(further, [])
        self.assertIn("built for another server", report.not_measured.call_args.args[1])
        self.assertEqual(engine.server.restart.call_args_list[-1], mock.call({}))


class GeneratedSets(unittest.TestCase):
    def test_queries_are_no_rows_but_lie_among_them(self) -> None:
        made = generated("clustered", 32, 3000, 50, "vector")
        self.assertEqual((made.base.shape, made.queries.shape), ((3000, 32), (50, 32)))
        distances = Exact(made, "l2").kth
        within = Exact(DataSet("rows", made.base[50:], made.base[:50]), "l2").kth
        self.assertTrue(0.8 < np.median(distances) / np.median(within) < 1.25)
        self.assertTrue(distances.min() > 0)

    def test_more_queries_at_once_or_fewer_find_the_same_neighbours(self) -> None:
        made = generated("clustered", 16, 2000, 30, "vector")
        one_by_one = [Exact(DataSet("one", made.base, made.queries[at : at + 1]), "l2").kth[0] for at in range(30)]
        np.testing.assert_allclose(Exact(made, "l2").kth, one_by_one)


class Picture(unittest.TestCase):
    def test_a_library_without_a_server_has_one_line(self) -> None:
        ours = [replace(point, prepared=[100.0]) for point in curve([(0.9, [300.0]), (0.99, [100.0])])]
        drawn = plot.svg({"ours": ours, "hnswlib": curve([(0.9, [200.0]), (0.99, [50.0])])}, "a < b")
        self.assertEqual(drawn.count("<polyline"), 3)
        for text in ("ours, prepared", "ours, one statement", "hnswlib, in process", "a &lt; b"):
            self.assertIn(text, drawn)

    def test_recall_against_bytes_has_a_line_for_each_family_and_a_name_for_each_point(self) -> None:
        drawn = plot.of_bytes({"rabitq": [(48, 0.7, "rabitq1"), (96, 0.9, "rabitq2")], "none": []}, "a < b")
        self.assertEqual((drawn.count("<polyline"), drawn.count("<circle")), (1, 2))
        for text in ("rabitq2: 96 bytes, 0.9000", "a &lt; b"):
            self.assertIn(text, drawn)


class Quantizers(unittest.TestCase):
    def test_ours_stand_beside_those_of_the_same_name_and_lists(self) -> None:
        def point(probes: int, recall: float) -> dict:
            recalls = {"0": recall, "20": 0.97, "100": 0.98}
            return {"quantizer": "sq8", "probes": probes, "bytes": 384, "recall": recalls, "ns_per_row": 1, "encode_ns": 2}

        theirs = [{"quantizer": "sq8", "probes": 32, "recall": 0.94, "bytes": 384, "us": 1.0}]
        found = Found({"lists": 256}, [point(8, 0.8), point(32, 0.95)], theirs, "1.0")
        (_, _, mine), (_, columns, both) = found.tables()
        self.assertEqual(mine, [["sq8", 384, "0.9500", "0.9700", "0.9800", 1, 2]])
        self.assertEqual(dict(zip(columns, both[0], strict=True))["more"], "+0.0100")
        self.assertIn("sq8: 384 bytes, 0.9500", found.picture("about"))


if __name__ == "__main__":
    unittest.main()
