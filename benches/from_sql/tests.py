"""What the figures rest on. Run with: PYTHONPATH=benches python3 -m unittest from_sql.tests"""

import unittest

import numpy as np

from .data import DataSet, Exact, clustered
from .options import Unusable
from .report import at_recall, paired


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


class RatesAtRecall(unittest.TestCase):
    CURVE = [(0.90, 1000.0), (0.96, 400.0), (0.99, 100.0)]

    def test_measured_points_are_met_and_the_rate_falls_between_them(self) -> None:
        self.assertAlmostEqual(at_recall(self.CURVE, 0.96).rate, 400.0)
        self.assertTrue(100 < at_recall(self.CURVE, 0.98).rate < 400)

    def test_nothing_is_claimed_beyond_the_measured_points(self) -> None:
        self.assertIsNone(at_recall(self.CURVE, 0.995))
        lower_bound = at_recall(self.CURVE, 0.5)
        self.assertEqual((lower_bound.rate, lower_bound.bound), (1000.0, True))

    def test_ratios_are_taken_within_a_round(self) -> None:
        # the second round was disturbed for both alike
        self.assertAlmostEqual(paired([100, 10, 100], [50, 5, 50]), 2.0)


if __name__ == "__main__":
    unittest.main()
