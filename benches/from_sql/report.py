"""Tables on the screen, the same figures as JSON, and the arithmetic between them."""

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from statistics import median

from .options import REPOSITORY


class Report:
    """Prints each table when it is complete, and keeps everything for the JSON file."""

    def __init__(self, directory: Path, conditions: dict[str, object]):
        self.started = time.monotonic()
        self.directory = directory
        self.stem = time.strftime("%Y-%m-%d-%H%M%S")
        self.stored: dict[str, object] = {"conditions": conditions, "tables": [], "failures": [], "observations": []}
        width = max(map(len, conditions))
        print("\n".join(f"{name:<{width}}  {value}" for name, value in conditions.items()), flush=True)

    def table(self, title: str, columns: list[str], rows: list[list[object]], note: str = "") -> None:
        """Numbers stay numbers in JSON; a table says how busy the machine was when it was taken."""
        texts = [[show(cell) for cell in row] for row in rows]
        widths = [max(len(line[at]) for line in [columns, *texts]) for at in range(len(columns))]
        left = [all(isinstance(row[at], str) for row in rows) for at in range(len(columns))]
        elapsed, load = time.monotonic() - self.started, os.getloadavg()[0]
        print(f"\n{title}   [{elapsed:.0f} s, load {load:.1f}]")
        for line in [columns, ["-" * width for width in widths], *texts]:
            cells = (f"{c:<{w}}" if l else f"{c:>{w}}" for c, w, l in zip(line, widths, left, strict=True))
            print("  " + "  ".join(cells).rstrip())
        if note:
            print(f"  {note}")
        print(end="", flush=True)
        self.stored["tables"].append(
            {"title": title, "columns": columns, "rows": rows, "note": note, "elapsed_s": round(elapsed), "load": load}
        )
        self.save()

    def failed(self, message: str) -> None:
        """A self-check that did not hold: the run goes on, its exit status tells."""
        print(f"\nCHECK FAILED: {message}", flush=True)
        self.stored["failures"].append(message)

    def observed(self, message: str) -> None:
        """What a reader should know of a peer, and no failure of this run."""
        print(f"\n{message}", flush=True)
        self.stored["observations"].append(message)

    def not_measured(self, title: str, reason: str) -> None:
        """A table that this machine or version cannot give."""
        print(f"\n{title}: not measured: {reason}", flush=True)
        self.stored["tables"].append({"title": title, "not_measured": reason})

    def keep(self, name: str, value: object) -> None:
        """Raw figures that no table shows."""
        self.stored[name] = value

    def save(self) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"{self.stem}.json"
        path.write_text(json.dumps(self.stored, indent=1, default=str) + "\n")
        return path

    @property
    def failures(self) -> list[str]:
        return self.stored["failures"]


def show(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        if cell >= 100:
            return f"{cell:.0f}"
        return f"{cell:.1f}" if cell >= 10 else f"{cell:.2f}"
    return str(cell)


def ratio(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{sign}{value:.2f}x"


def paired(ours: list[float], peers: list[float]) -> float:
    """Median of the ratios of runs taken side by side: what both suffer alike cancels out."""
    return median(a / b for a, b in zip(ours, peers, strict=True))


def machine() -> dict[str, object]:
    """What the figures depend on beside the software."""
    model = platform.processor() or platform.machine()
    for line in lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "machine": f"{model}, {len(os.sched_getaffinity(0))} cores, {memory_bytes() / 2**30:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "commit": commit(),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def commit() -> str:
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
