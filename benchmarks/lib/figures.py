"""Formats figures for the tables, and describes the machine on which they were measured."""

import os
import platform
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path


def number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def quartiles(values: Sequence[float]) -> list[float]:
    """The three quartiles, never outside the range of the values; the second is the median."""
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3


def spread(values: Sequence[float], scale: float = 1) -> str:
    """The median, and the first and third quartile in parentheses."""
    return with_range(*quartiles(values), scale)


def extent(values: Sequence[float], scale: float = 1) -> str:
    """The median, and the range in parentheses."""
    return with_range(min(values), statistics.median(values), max(values), scale)


def with_range(low: float, middle: float, high: float, scale: float) -> str:
    """One figure, and its range in parentheses."""
    return f"{number(middle * scale)} ({number(low * scale)} to {number(high * scale)})"


def row(cells: Sequence[object]) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(map(str, cells))} |"


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown; the first column has the names and no head."""
    return "\n".join(map(row, [["", *heads], ["---"] * (len(heads) + 1), *rows]))


def environment() -> dict[str, str]:
    """The machine, its kernel, the Python version and the time."""
    models = re.findall(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.M) or [platform.machine()]
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{models[0]}, {os.cpu_count()} CPUs",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
