"""Rates of two curves at the same recall."""

import math
from dataclasses import dataclass
from statistics import median

from .points import Point
from .report import paired, ratio


@dataclass(frozen=True)
class Reached:
    """A rate at some recall; `bound` when even the lowest effort measured exceeds that recall."""

    rate: float
    bound: bool

    def __str__(self) -> str:
        text = f"{self.rate:.0f}" if self.rate >= 100 else f"{self.rate:.1f}"
        return f"> {text}" if self.bound else text


def at_recall(curve: list[tuple[float, float]], target: float) -> Reached | None:
    """The rate at a recall, interpolated between measured (recall, rate) points, never beyond them.

    Work grows about as a power of the error, so the logarithms of both are joined by straight lines.
    """

    def error(recall: float) -> float:
        return math.log(max(1 - recall, 5e-5))

    best: Reached | None = None
    ordered = sorted(curve)
    if ordered[0][0] >= target:
        return Reached(max(rate for _, rate in ordered), bound=True)
    for (low, fast), (high, slow) in zip(ordered, ordered[1:]):
        if low < target <= high:
            share = (error(low) - error(target)) / (error(low) - error(high)) if error(low) > error(high) else 1.0
            best = Reached(math.exp(math.log(fast) + share * (math.log(slow) - math.log(fast))), bound=False)
    return best


def rate_at(points: list[Point], form: str, target: float) -> Reached | None:
    """From the medians of each point's rounds; `form` names a field of `Point` that holds rates."""
    return at_recall([(point.recall, median(getattr(point, form))) for point in points], target)


def shown_rate(points: list[Point], form: str, target: float) -> str:
    reached = rate_at(points, form, target)
    return "not reached" if reached is None else str(reached)


def ratio_at(mine: list[Point], theirs: list[Point], form: str, target: float) -> str:
    """Median over the rounds of the ratio within a round; a sign where one side is only a bound."""
    both = [rate_at(points, form, target) for points in (mine, theirs)]
    if None in both or all(each.bound for each in both):
        return ""
    rounds = []
    for points in (mine, theirs):
        count = min(len(getattr(point, form)) for point in points)
        curves = ([(point.recall, getattr(point, form)[at]) for point in points] for at in range(count))
        rounds.append([at_recall(curve, target).rate for curve in curves])
    return ratio(paired(*rounds), ">" if both[0].bound else "<" if both[1].bound else "")


def around(points: list[Point], target: float) -> list[Point]:
    """The measured points on both sides of a recall, or the nearest where all are on one side."""
    ordered = sorted(points, key=lambda point: point.recall)
    for low, high in zip(ordered, ordered[1:]):
        if low.recall < target <= high.recall:
            return [low, high]
    return [min(ordered, key=lambda point: abs(point.recall - target))]
