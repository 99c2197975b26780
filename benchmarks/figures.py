"""Figures as the benchmarks print them, and what they keep of where they were got."""

import os
import platform
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path


def number(value: float) -> str:
    """Three digits, and no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def quartiles(values: Sequence[float]) -> list[float]:
    """Which lie within the values, as few as they are; the one in the middle is the median."""
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3


def spread(values: Sequence[float], scale: float = 1) -> str:
    """Median, and the middle half."""
    return within(*quartiles(values), scale)


def extent(values: Sequence[float], scale: float = 1) -> str:
    """Median, and the range."""
    return within(min(values), statistics.median(values), max(values), scale)


def within(low: float, middle: float, high: float, scale: float) -> str:
    return f"{number(middle * scale)} ({number(low * scale)} to {number(high * scale)})"


def circumstances() -> dict[str, str]:
    """The machine, its kernel, this Python, and the time."""
    models = re.findall(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.M) or [platform.machine()]
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{models[0]}, {os.cpu_count()} CPUs",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
