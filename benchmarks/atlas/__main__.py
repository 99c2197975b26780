"""What five balancers do when replicas come, go, fail or change, each with its defaults and tuned.

    pip install -e '.[test]' && pip install -r tests/requirements-proxies.txt
    python -m benchmarks.atlas [--scenes 'kill -9' 'zone loss'] [--balancers haproxy nginx] [--lanes 2]
    python -m benchmarks.atlas --document benchmarks/results/atlas/*.json

Plays each scene behind each balancer, with Podman Compose, as root, and writes the figures to --output; if all were
played, it also draws the pictures of docs/atlas. With --document, it only writes the tables of docs/atlas.md, by one
such file or several. That document says what the figures mean.
"""

import argparse
import contextlib
import itertools
import json
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from conftest import PATIENCE, ROOT, build_image
from test_balancers import Balanced, engine

from benchmarks.atlas import document, pictures
from benchmarks.atlas.lanes import BALANCERS, CONFIGURATIONS, Lane
from benchmarks.atlas.scenes import RATE, SCENES, play
from benchmarks.lib.figures import environment

BUILD = ROOT / "build/atlas"  # for the samples, of which pictures are made
# An image of its own: podman(1) reads all names of an image, and then writes them, so tests must not have the same one.
IMAGE = ("localhost/yinyang-atlas", "--build-arg", "VERSION=atlas")

Cell = tuple[str, str, str]  # scene, balancer, configuration


def samples_of(*cell: str) -> Path:
    return BUILD / f"{'.'.join(cell).replace(' ', '-')}.jsonl"


def run(chosen: list[Cell], lanes: int) -> list[dict[str, Any]]:
    """The figures of cells, of which so many are played at a time."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, engine(Path(name)) as folder:
        balanced = Balanced(build_image(*IMAGE), folder)
        for balancer in {balancer for _, balancer, _ in chosen}:
            balanced.balancer_image(balancer)

        def one(cell: Cell, barrier: threading.Barrier) -> dict[str, Any] | None:
            scene, balancer, configuration = cell
            begin = time.monotonic()

            def meet() -> None:
                with contextlib.suppress(threading.BrokenBarrierError):  # the other one has failed
                    barrier.wait(PATIENCE)

            try:
                found = play(Lane(balancer, configuration, balanced, folder), scene, samples_of(*cell), meet)
            except Exception:  # one that fails keeps no others from being played
                barrier.abort()
                traceback.print_exc()
                print(f"{', '.join(cell)}: failed", file=sys.stderr)
                return None
            what = json.dumps({key: found[key] for key in ("lost", "samples", "gap_ms", "said", "in_the_end")})
            print(f"{', '.join(cell)}: {time.monotonic() - begin:.0f} s: {what}", file=sys.stderr)
            return found

        cells = []
        with ThreadPoolExecutor(lanes) as pool:
            while chosen:
                some, chosen = chosen[:lanes], chosen[lanes:]
                cells += pool.map(one, some, [threading.Barrier(len(some))] * len(some))
        return [cell for cell in cells if cell]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES), metavar="SCENE")
    parser.add_argument("--balancers", nargs="+", choices=BALANCERS, default=list(BALANCERS))
    parser.add_argument("--configurations", nargs="+", choices=CONFIGURATIONS, default=list(CONFIGURATIONS))
    parser.add_argument("--lanes", type=int, default=2, help="so many cells at a time")
    parser.add_argument("--output", type=Path, default=BUILD / "atlas.json")
    parser.add_argument("--document", type=Path, nargs="+", metavar="RUN")
    given = parser.parse_args()
    if given.document:
        document.write(given.document)
        return 0
    begin = time.monotonic()
    chosen = list(itertools.product(given.scenes, given.balancers, given.configurations))
    cells = run(chosen, given.lanes)
    about = environment() | {"rate": RATE, "lanes": given.lanes, "seconds": round(time.monotonic() - begin)}
    lines = ",\n  ".join(json.dumps(cell, ensure_ascii=False) for cell in cells)
    given.output.write_text(f'{json.dumps(about)[:-1]}, "cells": [\n  {lines}\n]}}\n')
    if len(cells) == len(SCENES) * len(BALANCERS) * len(CONFIGURATIONS):
        pictures.draw_all(cells, samples_of)
    return 0 if len(cells) == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
