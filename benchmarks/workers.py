"""Two workers on two CPUs beside one worker on one CPU, on a machine that has no third CPU for the load.

    python -m benchmarks.workers [--rounds 10] [--modes MODE,...]

"apart": one worker has a CPU, and the load has the other. "together": the workers share both CPUs with the load,
which is one thread; the CPU time of the load is therefore missing for the workers, and the table tells how much it
is. Modes, load and checks are those of compare.py; the servers are static programs. All run from the beginning and
take turns: a round is a window for each, in random order.

CPU per request: the CPU time of all processes of a server divided by the responses, and the same for the load. Shares
are shares of both CPUs together during the window; the rest was idle, or was used by other programs.

Prints a table in Markdown: medians, with the first and third quartile of the rounds. The ratio is that of the
responses per second to those of one worker apart, within each round.
"""

import argparse
import contextlib
import os
import random
import resource
import statistics
import sys
from dataclasses import dataclass, field

from benchmarks.compare import DESCRIPTORS, listed
from benchmarks.lib.contestants import WORK, prepare
from benchmarks.lib.figures import number, row, spread
from benchmarks.lib.load_generator import MODES, RunningServer, build_load_generator, response_length, run_load
from benchmarks.lib.network import isolate_network
from benchmarks.lib.processes import CLIENT_CPU, SERVER_CPU, cpu_time, free_ports, process_tree, serving

BOTH = {SERVER_CPU, CLIENT_CPU}
CONNECTIONS = 64
SERVERS = (  # name, workers, CPUs
    ("one worker, apart", 1, {SERVER_CPU}),
    ("one worker, together", 1, BOTH),
    ("two workers, together", 2, BOTH),
)
HEADS = (
    "mode",
    "server",
    "requests per second",
    "ratio to one apart",
    "CPU per request, us",
    "the same of the load, us",
    "share of both CPUs",
    "the same of the load",
)


@dataclass
class Figures:
    """One of the servers in one mode; a value for each round."""

    rate: list[float] = field(default_factory=list)  # responses per second
    server: list[float] = field(default_factory=list)  # seconds of CPU time per request
    load: list[float] = field(default_factory=list)  # the same of the load
    server_share: list[float] = field(default_factory=list)  # of both CPUs
    load_share: list[float] = field(default_factory=list)


def load_time() -> float:
    """CPU seconds of all load generators so far; no other child of this process has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def window(server: RunningServer, mode_name: str, figures: Figures) -> None:
    mode = MODES[mode_name]
    length = response_length(server, mode)
    server_before, load_before = cpu_time(server.pid), load_time()
    count, seconds = map(float, run_load(server, mode, CONNECTIONS, length).split())
    server_used, load_used = cpu_time(server.pid) - server_before, load_time() - load_before
    figures.rate.append(count / seconds)
    figures.server.append(server_used / count)
    figures.load.append(load_used / count)
    figures.server_share.append(server_used / seconds / len(BOTH))
    figures.load_share.append(load_used / seconds / len(BOTH))


def figures_row(mode: str, name: str, figures: Figures, first: Figures) -> str:
    ratio = statistics.median(a / b for a, b in zip(figures.rate, first.rate, strict=True))
    cells = [
        mode,
        name,
        number(statistics.median(figures.rate)),
        "" if figures is first else f"{ratio:.2f}",
        spread(figures.server, 1e6),
        spread(figures.load, 1e6),
        f"{100 * statistics.median(figures.server_share):.0f} %",
        f"{100 * statistics.median(figures.load_share):.0f} %",
    ]
    return row(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    modes = [name for name, mode in MODES.items() if name != "open" and not mode.by_wrk]
    parser.add_argument("--modes", type=listed(modes), default=modes)
    options = parser.parse_args()
    if os.cpu_count() < len(BOTH):
        parser.error("two CPUs are needed")
    isolate_network()
    static = prepare(["static"])[0]
    if static.missing:
        parser.error(static.missing)
    build_load_generator()
    print(row(HEADS), row(["---"] * len(HEADS)), sep="\n")
    with contextlib.ExitStack() as stack:
        servers = {}
        for (name, workers, cpus), port in zip(SERVERS, free_ports(len(SERVERS)), strict=True):
            command = static.command(port, DESCRIPTORS)
            command[command.index("--workers") + 1] = str(workers)
            process = stack.enter_context(serving(command, SERVER_CPU, WORK / f"{name}.log"))
            servers[name] = RunningServer(static, port, process.pid)
            response_length(servers[name], MODES["keep-alive"])
            for pid in process_tree(process.pid):
                os.sched_setaffinity(pid, cpus)
        for mode in options.modes:
            figures = {name: Figures() for name in servers}
            for turn in range(options.rounds):
                print(f"{mode}, round {turn + 1} of {options.rounds}", file=sys.stderr)
                for name, _, cpus in random.sample(SERVERS, len(SERVERS)):
                    os.sched_setaffinity(0, BOTH if cpus == BOTH else {CLIENT_CPU})
                    window(servers[name], mode, figures[name])
            for name, its in figures.items():
                print(figures_row(mode, name, its, next(iter(figures.values()))), flush=True)


if __name__ == "__main__":
    main()
