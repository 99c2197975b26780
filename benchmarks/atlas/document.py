"""The tables of docs/atlas.md, by the figures of one run or of several."""

import json
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from conftest import ROOT

from benchmarks.atlas.lanes import BALANCERS, CONFIGURATIONS, configuration_file
from benchmarks.atlas.scenes import SCENES
from benchmarks.lib.figures import row

DOCUMENT = ROOT / "docs/atlas.md"
HEADS = ("balancer", "lost", "longest gap", "slowest answer", "right verdict", "what it says first", "in the end")
# Runs agree in a cell if they are no further apart than this.
BOUNDS = {"lost requests": (3, "points of the share"), "longest gap": (500, "ms"), "right verdict": (1, "s")}

Cell = dict[str, Any]
Runs = Sequence[dict[str, Any]]


def cells_of(runs: Runs, scene: str, balancer: str, configuration: str) -> list[Cell]:
    key = (scene, balancer, configuration)
    return [
        cell for run in runs for cell in run["cells"] if key == (cell["scene"], cell["balancer"], cell["configuration"])
    ]


def ranged(values: Sequence[float], form: Callable[[float], str], unit: str = "") -> str:
    """The median, and the range, if that is more than one figure."""
    low, middle, high = (form(value) for value in (min(values), statistics.median(values), max(values)))
    return f"{middle}{unit}" if low == high else f"{middle}{unit} ({low} to {high})"


def percent(cell: Cell) -> float:
    return 100 * cell["lost"] / cell["samples"]


def as_percent(value: float) -> str:
    return "0" if value == 0 else f"{value:.1f} %" if value < 3 else f"{value:.0f} %"


def whole(value: float) -> str:
    return f"{value:,.0f}"


def lost(cells: Sequence[Cell]) -> str:
    count = ranged([cell["lost"] for cell in cells], whole)
    return f"{count} of {whole(statistics.median(cell['samples'] for cell in cells))}"


def said(cells: Sequence[Cell]) -> tuple[str, str]:
    """After how many samples and seconds, and what; if most runs have it."""
    found = [cell["said"] for cell in cells if cell["said"]]
    if 2 * len(found) <= len(cells):
        return "never", ""
    counts = [one["samples"] for one in found]
    samples = ranged(counts, whole, " sample" if max(counts) == 1 else " samples")
    seconds = ranged([one["seconds"] for one in found], lambda value: f"{value:.1f}", " s")
    return f"{samples}, {seconds}", found[0]["headline"]


def scene_table(runs: Runs, scene: str) -> str:
    lines = [row(HEADS), row(["---"] * len(HEADS))]
    for configuration in CONFIGURATIONS:
        for balancer, name in BALANCERS.items():
            cells = cells_of(runs, scene, balancer, configuration)
            if not cells:
                continue
            gap = ranged([cell["gap_ms"] for cell in cells], whole, " ms")
            slowest = ranged([cell["slowest_ms"] for cell in cells], whole, " ms")
            when, what = said(cells)
            gap = "none" if gap == "0 ms" else gap
            lines.append(
                row([f"{name}, {configuration}", lost(cells), gap, slowest, when, what, cells[0]["in_the_end"]])
            )
    return "\n".join(lines)


def overview(runs: Runs) -> str:
    """Requests that are lost, of all of the scene."""
    heads = [f"{name}, {configuration}" for configuration in CONFIGURATIONS for name in BALANCERS.values()]
    lines = [row(["scene", *heads]), row(["---"] * (len(heads) + 1))]
    for scene in SCENES:
        shown = []
        for configuration in CONFIGURATIONS:
            for balancer in BALANCERS:
                cells = cells_of(runs, scene, balancer, configuration)
                shown.append(as_percent(statistics.median(map(percent, cells))) if cells else "")
        lines.append(row([f"[{scene}](#{anchor(scene)})", *shown]))
    return "\n".join(lines)


def anchor(scene: str) -> str:
    return re.sub(r"[^\w -]", "", scene.lower()).replace(" ", "-")


def agreement(runs: Runs) -> str:
    """In how many cells runs are no further apart than the bounds, and where they are."""
    if len(runs) == 1:
        return "There is one run so far, so nothing is known of how far runs agree."
    measures: dict[str, Callable[[Cell], float | None]] = {
        "lost requests": percent,
        "longest gap": lambda cell: cell["gap_ms"],
        "right verdict": lambda cell: cell["said"] and cell["said"]["seconds"],
    }
    lines = [row(["", "bound", "cells within it", "the others"]), row(["---"] * 4)]
    for name, measure in measures.items():
        bound, unit = BOUNDS[name]
        apart, count = [], 0
        for scene in SCENES:
            for configuration in CONFIGURATIONS:
                for balancer in BALANCERS:
                    values = [measure(cell) for cell in cells_of(runs, scene, balancer, configuration)]
                    if not values:
                        continue
                    count += 1
                    known = [value for value in values if value is not None]
                    if known and (len(known) < len(values) or max(known) - min(known) > bound):
                        shown = "; ".join("never" if value is None else f"{value:.3g}" for value in values)
                        apart.append(f"{scene}, {BALANCERS[balancer]}, {configuration}: {shown}")
        lines.append(row([name, f"{bound} {unit}", f"{count - len(apart)} of {count}", "<br>".join(apart)]))
    return "\n".join(lines)


def configurations() -> str:
    lines = [row(["balancer", *CONFIGURATIONS]), row(["---"] * 3)]
    for balancer, name in BALANCERS.items():
        paths = [configuration_file(balancer, configuration).relative_to(ROOT) for configuration in CONFIGURATIONS]
        lines.append(row([name, *(f"[{path.name}](../{path})" for path in paths)]))
    return "\n".join(lines)


def machine(runs: Runs) -> str:
    return "\n".join(
        f"- {run['date']}: {run['machine']}, {run['kernel']}; {run['rate']} requests a second, "
        f"{run['lanes']} cells at a time, {run['seconds'] / 60:.0f} minutes"
        for run in runs
    )


def rendered(text: str, runs: Runs) -> str:
    """The document, with what these runs say between its marks."""
    parts = {
        "overview": overview(runs),
        "agreement": agreement(runs),
        "configurations": configurations(),
        "runs": machine(runs),
        **{scene: scene_table(runs, scene) for scene in SCENES},
    }
    for name, part in parts.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        assert begin in text, name
        text = re.sub(
            f"{re.escape(begin)}.*?{re.escape(end)}", lambda _, new=f"{begin}\n{part}\n\n{end}": new, text, flags=re.S
        )
    return text


def write(paths: Sequence[Path]) -> None:
    runs = [json.loads(path.read_text()) for path in paths]
    DOCUMENT.write_text(rendered(DOCUMENT.read_text(), runs))
