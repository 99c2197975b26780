"""What five balancers do when replicas come, go, fail or change, each with its defaults and tuned.

    pip install -e '.[test]' && pip install -r tests/requirements-proxies.txt
    python -m benchmarks.atlas [--scenes 'kill -9' 'zone loss'] [--balancers haproxy nginx] [--lanes 5]
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

LaneName = tuple[str, str]  # balancer, configuration


def run(chosen: list[LaneName], scenes: list[str], lanes: int) -> list[dict[str, Any]]:
    """The figures of all cells. So many lanes play at a time, each of them one scene after another."""
    BUILD.mkdir(parents=True, exist_ok=True)
    cells: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name, engine(Path(name)) as folder:
        balanced = Balanced(build_image(*IMAGE), folder)
        for balancer in {balancer for balancer, _ in chosen}:
            balanced.balancer_image(balancer)

        def one(lane_name: LaneName, barrier: threading.Barrier) -> None:
            begin = time.monotonic()

            def meet() -> None:
                with contextlib.suppress(threading.BrokenBarrierError):  # another one has failed
                    barrier.wait(PATIENCE)

            try:
                for found in play(Lane(*lane_name, balanced, folder), scenes, BUILD, meet):
                    cells.append(found)
                    what = json.dumps({key: found[key] for key in ("lost", "samples", "gap_ms", "said", "in_the_end")})
                    took = f"{time.monotonic() - begin:.0f} s"
                    sys.stderr.write(f"{found['scene']}, {', '.join(lane_name)}: {took}: {what}\n")
            except Exception:  # one that fails keeps no others from being played
                barrier.abort()
                traceback.print_exc()
                print(f"{', '.join(lane_name)}: failed", file=sys.stderr)

        with ThreadPoolExecutor(lanes) as pool:
            while chosen:
                some, chosen = chosen[:lanes], chosen[lanes:]
                list(pool.map(one, some, [threading.Barrier(len(some))] * len(some)))
    return sorted(cells, key=lambda cell: (list(SCENES).index(cell["scene"]), cell["configuration"], cell["balancer"]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES), metavar="SCENE")
    parser.add_argument("--balancers", nargs="+", choices=BALANCERS, default=list(BALANCERS))
    parser.add_argument("--configurations", nargs="+", choices=CONFIGURATIONS, default=list(CONFIGURATIONS))
    parser.add_argument("--lanes", type=int, default=5, help="so many configurations at a time")
    parser.add_argument("--output", type=Path, default=BUILD / "atlas.json")
    parser.add_argument("--document", type=Path, nargs="+", metavar="RUN")
    given = parser.parse_args()
    if given.document:
        document.write(given.document)
        return 0
    begin = time.monotonic()
    chosen = list(itertools.product(given.balancers, given.configurations))
    cells = run(chosen, given.scenes, given.lanes)
    about = environment() | {"rate": RATE, "lanes": given.lanes, "seconds": round(time.monotonic() - begin)}
    lines = ",\n  ".join(json.dumps(cell, ensure_ascii=False) for cell in cells)
    given.output.write_text(f'{json.dumps(about)[:-1]}, "cells": [\n  {lines}\n]}}\n')
    if len(cells) == len(SCENES) * len(BALANCERS) * len(CONFIGURATIONS):
        pictures.draw_all(cells, BUILD)
    return 0 if len(cells) == len(chosen) * len(given.scenes) else 1


if __name__ == "__main__":
    sys.exit(main())
