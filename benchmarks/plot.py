"""Draws the CPU time per request in mode varied, from the figures of compare.py.

    build/peers-venv/bin/python -m benchmarks.plot FIGURES.json benchmarks/results/cost.svg [--connections 64]

Bars are medians, the lines on them reach from the first to the third quartile of the rounds; the vertical line is the
floor. The picture keeps text as text; it has a background of its own and colours for dark mode, so it can be read on
any page. Prints the alternative text.
"""

import argparse
import json
import re
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from benchmarks.lib.figures import quartiles

# the floor is a line; the others are variants of our server
LEFT_OUT = {"floor", "static-pipe", "static-no-log", "static-no-sandbox", "python-pipe", "python-no-log"}
PAPER, INK, FAINT, OURS, OTHERS, ABOVE = "#ffffff", "#1f2328", "#d1d9e0", "#1f7a3f", "#8c959f", "#59636e"
DARK = {PAPER: "#0d1117", INK: "#f0f6fc", FAINT: "#3d444d", OURS: "#3fb950", OTHERS: "#6e7681", ABOVE: "#d1d7e0"}
SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cost",  # makes the file reproducible
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],  # the first is the widest, and its width is reserved
    "font.size": 12,
    **dict.fromkeys(["text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"], INK),
}


MODE = "varied"  # a server cannot reuse the work for the previous request


def costs(content: dict, connections: int) -> dict[str, list[float]]:
    """Microseconds per request, by key."""
    for load in content["loads"]:
        if load["mode"] == MODE and load["connections"] == connections:
            return {key: [each * 1e6 for each in its["cpu"]] for key, its in load["figures"].items()}
    raise SystemExit(f"no figures of {MODE} with {connections} connections")


def draw(content: dict, connections: int) -> None:
    found = {key: quartiles(values) for key, values in costs(content, connections).items()}
    shown = sorted(found.keys() - LEFT_OUT, key=lambda key: -found[key][1])
    middles = [found[key][1] for key in shown]
    errors = [[found[key][1] - found[key][0] for key in shown], [found[key][2] - found[key][1] for key in shown]]
    _, axes = plt.subplots(figsize=(8.5, 0.9 + 0.32 * len(shown)), facecolor=PAPER, layout="constrained")
    axes.set_facecolor(PAPER)
    colours = [OURS if key in ("static", "python") else OTHERS for key in shown]
    axes.barh(range(len(shown)), middles, 0.66, color=colours, xerr=errors, error_kw={"ecolor": INK, "elinewidth": 1})
    for row, (key, middle) in enumerate(zip(shown, middles, strict=True)):
        axes.text(found[key][2] + max(middles) * 0.012, row, f"{middle:.1f}", va="center")
    axes.set_yticks(range(len(shown)), [content["contestants"][key]["name"] for key in shown])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_xlim(0, max(high for _, _, high in found.values()) * 1.08)
    if "floor" in found:
        axes.axvline(found["floor"][1], color=ABOVE, linestyle=(0, (4, 3)), linewidth=1.5)
        note = f"floor, {found['floor'][1]:.1f}: receives and sends without parsing"
        axes.annotate(note, (found["floor"][1], len(shown) - 0.4), (4, 4), textcoords="offset points", color=ABOVE)
    axes.set_xlabel(f"CPU time per request, µs; {connections} kept connections", loc="left")
    axes.tick_params(length=0)
    axes.grid(axis="x", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    print(alternative_text(content, {key: found[key][1] for key in [*(found.keys() & {"floor"}), *reversed(shown)]}))


def alternative_text(content: dict, middles: dict[str, float]) -> str:
    """The figures in one sentence."""
    figures = "; ".join(f"{content['contestants'][key]['name']} {middle:.1f}" for key, middle in middles.items())
    return f"CPU time per request on a kept connection, in microseconds: {figures}"


def in_both_modes(svg: str) -> str:
    """The picture with a rule for each colour that replaces it in dark mode."""
    rules = "".join(
        f'[style*="{what}: {light}"]{{{what}:{dark}!important}}'
        for light, dark in DARK.items()
        for what in ("fill", "stroke")
        if f"{what}: {light}" in svg
    )
    return re.sub(
        r"(<svg [^>]*>)", rf"\1<style>@media (prefers-color-scheme: dark){{{rules}}}</style>", svg, count=1, flags=re.S
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path, help="file that compare.py --json wrote")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    mpl.use("svg")
    mpl.rcParams.update(SETTINGS)
    draw(json.loads(options.figures.read_text()), options.connections)
    plt.savefig(options.picture, metadata={"Date": None})
    text = in_both_modes(options.picture.read_text())
    options.picture.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")


if __name__ == "__main__":
    main()
