"""Two workers on two CPUs beside one on one CPU, on a machine that has no third CPU for the load.

    python benchmarks/workers.py [--rounds 10] [--modes MODE,...]

`apart`: one worker has a CPU, and the load the other. `together`: the workers have both CPUs, and the load, which is
one thread, runs on them too, so that what it takes is missing; hence its share is told. The modes, the load and its
checks are those of benchmarks/compare.py, the servers the static program's. All run from the beginning and take turns,
a window of each in a round, in an order that changes.

CPU a request: what all processes of a server have run over the answers, and what the load has. Shares are of both CPUs
together, over the window; what is left of them was idle, or ran something else.

Prints a table in Markdown: medians, and the middle half of the rounds; `beside` is the ratio of answers a second to
those of one worker apart, within each round.
"""

import argparse
import contextlib
import os
import random
import resource
import statistics
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

from compare import DESCRIPTORS, LOAD_CPU, MODES, SERVER_CPU, Running, answer_length, listed, load
from contestants import PROGRAMS, WORK, made, made_ready
from figures import number, spread
from network import leave_shared_network
from processes import cpu_time, free_ports, serving, tree

BOTH = {SERVER_CPU, LOAD_CPU}
CONNECTIONS = 64
SERVERS = (  # name, workers, CPUs
    ("one worker, apart", 1, {SERVER_CPU}),
    ("one worker, together", 1, BOTH),
    ("two workers, together", 2, BOTH),
)
HEADS = (
    "mode",
    "server",
    "requests a second",
    "beside one apart",
    "CPU a request, us",
    "of the load, us",
    "share of both CPUs",
    "of the load",
)


@dataclass
class Figures:
    """Of one number of workers in one mode, by round."""

    rate: list[float] = field(default_factory=list)  # answers a second
    server: list[float] = field(default_factory=list)  # seconds of CPU time a request
    load: list[float] = field(default_factory=list)  # likewise
    server_share: list[float] = field(default_factory=list)  # of both CPUs
    load_share: list[float] = field(default_factory=list)


def load_time() -> float:
    """Seconds that load generators have run; others of our children that have ended are none."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def window(server: Running, mode_name: str, figures: Figures) -> None:
    mode = MODES[mode_name]
    length = answer_length(server, mode)
    server_before, load_before = cpu_time(server.pid), load_time()
    count, seconds = map(float, load(server, mode, CONNECTIONS, length).split())
    server_used, load_used = cpu_time(server.pid) - server_before, load_time() - load_before
    figures.rate.append(count / seconds)
    figures.server.append(server_used / count)
    figures.load.append(load_used / count)
    figures.server_share.append(server_used / seconds / len(BOTH))
    figures.load_share.append(load_used / seconds / len(BOTH))


def row(mode: str, name: str, figures: Figures, first: Figures) -> str:
    beside = statistics.median(a / b for a, b in zip(figures.rate, first.rate, strict=True))
    cells = [
        mode,
        name,
        number(statistics.median(figures.rate)),
        "" if figures is first else f"{beside:.2f}",
        spread(figures.server, 1e6),
        spread(figures.load, 1e6),
        f"{100 * statistics.median(figures.server_share):.0f} %",
        f"{100 * statistics.median(figures.load_share):.0f} %",
    ]
    return line(cells)


def line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    modes = [name for name in MODES if name != "open"]
    parser.add_argument("--modes", type=listed(modes), default=modes)
    options = parser.parse_args()
    if os.cpu_count() < len(BOTH):
        parser.error("this takes two CPUs")
    leave_shared_network()
    static = made_ready(["static"])[0]
    if static.missing:
        parser.error(static.missing)
    made(("gcc", "-O2", "-Wall", "-Wextra", "-o", str(PROGRAMS / "load"), "benchmarks/load.c"))
    print(line(HEADS), line(["---"] * len(HEADS)), sep="\n")
    with contextlib.ExitStack() as stack:
        servers = {}
        for (name, workers, cpus), port in zip(SERVERS, free_ports(len(SERVERS)), strict=True):
            command = static.start(port, DESCRIPTORS)
            command[command.index("--workers") + 1] = str(workers)
            process = stack.enter_context(serving(command, SERVER_CPU, WORK / f"{name}.log"))
            servers[name] = Running(static, port, process.pid)
            answer_length(servers[name], MODES["keep-alive"])
            for pid in tree(process.pid):
                os.sched_setaffinity(pid, cpus)
        for mode in options.modes:
            figures = {name: Figures() for name in servers}
            for turn in range(options.rounds):
                print(f"{mode}, round {turn + 1} of {options.rounds}", file=sys.stderr)
                for name, _, cpus in random.sample(SERVERS, len(SERVERS)):
                    os.sched_setaffinity(0, BOTH if cpus == BOTH else {LOAD_CPU})
                    window(servers[name], mode, figures[name])
            for name, its in figures.items():
                print(row(mode, name, its, next(iter(figures.values()))), flush=True)


if __name__ == "__main__":
    main()
