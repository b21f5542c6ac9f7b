"""Recall against QPS, and recall against bytes, as SVG, without a plotting library."""

import math
from html import escape
from statistics import median

from .points import Curves

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 48, 56
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7b4b94")
RECALLS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)


def svg(curves: Curves, title: str) -> str:
    """One line an engine and form; both axes logarithmic, recall by its distance from 1."""
    lines = {}
    for label, points in curves.items():
        if points[0].prepared:
            lines[f"{label}, prepared"] = [(p.recall, median(p.prepared)) for p in points]
            lines[f"{label}, one statement"] = [(p.recall, median(p.statement)) for p in points]
        else:
            lines[f"{label}, in process"] = [(p.recall, median(p.statement)) for p in points]
    recalls = [recall for line in lines.values() for recall, _ in line]
    rates = [rate for line in lines.values() for _, rate in line]
    low_x, high_x = axis_x(min(recalls)), axis_x(max(recalls))
    low_y, high_y = math.floor(math.log10(min(rates))), math.ceil(math.log10(max(rates)))

    def x(recall: float) -> float:
        return LEFT + (axis_x(recall) - low_x) / ((high_x - low_x) or 1) * (WIDTH - LEFT - RIGHT)

    def y(rate: float) -> float:
        return HEIGHT - BOTTOM - (math.log10(rate) - low_y) / ((high_y - low_y) or 1) * (HEIGHT - TOP - BOTTOM)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for recall in RECALLS:
        if low_x <= axis_x(recall) <= high_x:
            out.append(grid(x(recall), TOP, x(recall), HEIGHT - BOTTOM))
            out.append(f'<text x="{x(recall):.0f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{recall:g}</text>')
    for power in range(low_y, high_y + 1):
        for step in (1, 2, 5) if power < high_y else (1,):
            rate = step * 10**power
            out.append(grid(LEFT, y(rate), WIDTH - RIGHT, y(rate)))
            out.append(f'<text x="{LEFT - 8}" y="{y(rate) + 4:.0f}" text-anchor="end">{rate:g}</text>')
    out.append(f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 14}" text-anchor="middle">recall@10</text>')
    out.append(f'<text x="{LEFT}" y="40">searches a second</text>')
    for at, (name, line) in enumerate(lines.items()):
        colour, dashes = COLOURS[at // 2 % len(COLOURS)], ' stroke-dasharray="6 4"' if at % 2 else ""
        path = " ".join(f"{x(recall):.1f},{y(rate):.1f}" for recall, rate in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        out += [f'<circle cx="{x(r):.1f}" cy="{y(rate):.1f}" r="3" fill="{colour}"/>' for r, rate in line]
        legend = HEIGHT - BOTTOM - 16 * (len(lines) - at)
        out.append(f'<line x1="{LEFT + 10}" y1="{legend}" x2="{LEFT + 44}" y2="{legend}" stroke="{colour}" stroke-width="2"{dashes}/>')
        out.append(f'<text x="{LEFT + 52}" y="{legend + 4}">{escape(name)}</text>')
    return "\n".join([*out, "</svg>", ""])


def of_bytes(lines: dict[str, list[tuple[float, float, str]]], title: str) -> str:
    """Lines of points (bytes of a code, recall, name); bytes logarithmic, recall by its distance from 1."""
    lines = {name: points for name, points in lines.items() if points}
    sizes = [math.log2(size) for points in lines.values() for size, *_ in points]
    recalls = [recall for points in lines.values() for _, recall, _ in points]
    low_x, high_x = min(sizes) - 0.1, max(sizes) + 0.1
    low_y, high_y = axis_x(min(recalls)), axis_x(max(recalls))

    def x(size: float) -> float:
        return LEFT + (math.log2(size) - low_x) / (high_x - low_x) * (WIDTH - LEFT - RIGHT)

    def y(recall: float) -> float:
        return HEIGHT - BOTTOM - (axis_x(recall) - low_y) / ((high_y - low_y) or 1) * (HEIGHT - TOP - BOTTOM)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for recall in (*RECALLS, 0.6, 0.7):
        if low_y <= axis_x(recall) <= high_y:
            out.append(grid(LEFT, y(recall), WIDTH - RIGHT, y(recall)))
            out.append(f'<text x="{LEFT - 8}" y="{y(recall) + 4:.0f}" text-anchor="end">{recall:g}</text>')
    for size in sorted({size for points in lines.values() for size, *_ in points}):
        out.append(grid(x(size), TOP, x(size), HEIGHT - BOTTOM))
        out.append(f'<text x="{x(size):.0f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{size:g}</text>')
    out.append(f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 14}" text-anchor="middle">bytes of a code</text>')
    out.append(f'<text x="{LEFT}" y="40">recall@10</text>')
    for at, (name, points) in enumerate(lines.items()):
        colour, dashes = COLOURS[at % 3], ("", ' stroke-dasharray="6 4"', ' stroke-dasharray="2 3"')[at // 3 % 3]
        path = " ".join(f"{x(size):.1f},{y(recall):.1f}" for size, recall, _ in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        for size, recall, of_point in points:
            circle = f'<circle cx="{x(size):.1f}" cy="{y(recall):.1f}" r="3" fill="{colour}">'
            out.append(f"{circle}<title>{escape(of_point)}: {size:g} bytes, {recall:.4f}</title></circle>")
        legend = HEIGHT - BOTTOM - 16 * (len(lines) - at)
        middle = WIDTH - RIGHT - 275
        out.append(f'<line x1="{middle}" y1="{legend}" x2="{middle + 34}" y2="{legend}" stroke="{colour}" stroke-width="2"{dashes}/>')
        out.append(f'<text x="{middle + 42}" y="{legend + 4}">{escape(name)}</text>')
    return "\n".join([*out, "</svg>", ""])


def axis_x(recall: float) -> float:
    return -math.log10(max(1 - recall, 5e-5))


def grid(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" stroke="#ddd"/>'
