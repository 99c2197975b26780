"""CPU time of the server for each request: our server beside a floor server and beside other servers.

    benchmarks/install-peers                    installs the other servers, on Debian, as root
    python -m benchmarks.compare [--rounds 10] [--only KEY,...] [--modes MODE,...] [--connections N,...] [--json FILE]
                                 [--beside PROGRAM]

All servers (benchmarks/lib/contestants.py) run from the beginning, each with one worker, all on one CPU; the load
comes from the other CPU. They take turns: a round of a mode is a window for each server, in random order. The CPU
time per request is what all processes and threads of a server ran during its window (proc_pid_schedstat; the parent
that writes the log is included), divided by the responses. The ratio to the floor (benchmarks/peers/floor.c, which
receives anything and sends fixed bytes) is taken within each round. Before each window one response is checked: its
body is the page or, for a server without this page, the body that its name in the table tells.

Modes. keep-alive: requests of 60 bytes, one after the other on each connection. varied: the same, but consecutive
requests differ in their targets, of which there are 1,000. browser: likewise, in requests of 700 bytes, as a real
browser sends them. pipelined: 16 requests at once. close: a connection for each request. open: requests are due at
fixed moments, at half the rate reached in keep-alive; latency counts from these moments. Names that end in -wrk: wrk
sends the same bytes; it sends them when it knows that it is connected, while ours has the first request on the wire
before the server accepts. whoami-wrk: as close-wrk, for the route that says who answers, of those that have one.
open-h2load: the fixed rate by h2load, which counts latency from the sending.

Prints tables in Markdown: medians, with the first and third quartile of the rounds. The file of --json has each
window, the versions of all contestants, and the machine; benchmarks/plot.py draws it.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.lib.contestants import (
    CONTESTANTS,
    WORK,
    Contestant,
    MissingError,
    contestant_table,
    ours,
    prepare,
)
from benchmarks.lib.figures import environment, number, spread
from benchmarks.lib.load_generator import (
    MODES,
    SECONDS,
    Mode,
    RunningServer,
    build_load_generator,
    response_length,
    run_load,
)
from benchmarks.lib.network import isolate_network
from benchmarks.lib.processes import CLIENT_CPU, SERVER_CPU, cpu_time, free_ports, serving

DESCRIPTORS = 4096  # limit that a server's configuration is given
OWN = "static"  # key of the contestant that the others are compared with


@dataclass
class Figures:
    """One contestant under one load; a value for each round."""

    cpu: list[float] = field(default_factory=list)  # seconds per request
    rate: list[float] = field(default_factory=list)  # requests per second
    percentiles: list[tuple[float, ...]] = field(default_factory=list)  # p50, p99, p99.9 in seconds


@dataclass
class Measured:
    """One load: a mode and a number of connections; figures by key of contestant."""

    mode: str
    connections: int
    figures: dict[str, Figures] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


class Progress:
    """Reports the current step on stderr, and the time left at the pace so far."""

    def __init__(self, windows: float) -> None:
        self._rest = windows  # seconds of load left
        self._done = 0.0
        self._begin = time.monotonic()

    def report(self, step: str) -> None:
        left = (time.monotonic() - self._begin) * self._rest / self._done if self._done else 0
        print(f"{step}, {left / 60:.0f} min {left % 60:.0f} s left" if left else step, file=sys.stderr)

    def add(self, seconds: float) -> None:
        self._done += seconds
        self._rest -= seconds


def window(each: RunningServer, mode: Mode, connections: int, figures: Figures) -> None:
    """Measure CPU time per request in one window."""
    length = response_length(each, mode)
    before = cpu_time(each.pid)
    count, seconds = run_load(each, mode, connections, length).split()
    time.sleep(0.06)  # until the parent has written the log and the last connections have ended
    figures.cpu.append((cpu_time(each.pid) - before) / int(count))
    figures.rate.append(int(count) / float(seconds))


def open_window(each: RunningServer, mode: Mode, connections: int, figures: Figures) -> None:
    """Measure latency in one window at a fixed rate."""
    rate = f"{figures.rate[0]:.0f}"
    lines = run_load(each, mode, connections, response_length(each, mode), rate).splitlines()
    times = sorted(int(line) / 1e9 for line in lines)
    figures.percentiles.append(
        tuple(times[min(int(len(times) * share), len(times) - 1)] for share in (0.5, 0.99, 0.999))
    )


def ratio(own: Figures, its: Figures | None) -> str:
    """Median of the ratios within each round."""
    if its is None or its is own:
        return ""
    return f"{statistics.median(a / b for a, b in zip(own.cpu, its.cpu, strict=True)):.3f}"


def mode_rows(figures: dict[str, Figures]) -> dict[str, list[str]]:
    floor = next((its for key, its in figures.items() if key.startswith("floor")), None)
    own = figures.get(OWN)
    return {
        key: [
            spread(its.cpu, 1e6),
            ratio(its, floor),
            ratio(own, its) if own else "",
            number(statistics.median(its.rate)),
        ]
        for key, its in figures.items()
    }


def open_rows(figures: dict[str, Figures]) -> dict[str, list[str]]:
    return {
        key: [number(its.rate[0]), *(spread(times, 1e6) for times in zip(*its.percentiles, strict=True))]
        for key, its in figures.items()
    }


def section(measured: Measured, servers: list[Contestant]) -> str:
    if is_open(measured.mode):
        heads, rows = ["requests per second", "p50, us", "p99, us", "p99.9, us"], open_rows(measured.figures)
    else:
        heads = ["CPU per request, us", "ratio to the floor", "ratio of ours to it", "requests per second"]
        rows = mode_rows(measured.figures)
    shown = [each for each in servers if each.missing or each.key in rows or each.key in measured.failures]
    connections = f"{measured.connections} connection{'s' if measured.connections > 1 else ''}"
    return f"### {measured.mode}, {connections}\n\n{contestant_table(heads, shown, rows, measured.failures)}\n"


def measure(measured: Measured, running: list[RunningServer], rounds: int, progress: Progress) -> None:
    """Measure all servers in each round, in random order. A server that fails takes no further part."""
    mode = MODES[measured.mode]
    for turn in range(rounds):
        progress.report(f"{measured.mode}, {measured.connections} connections, round {turn + 1} of {rounds}")
        for each in random.sample(running, len(running)):
            key = each.contestant.key
            progress.add(mode.seconds)
            if key in measured.failures:
                continue
            run = open_window if is_open(measured.mode) else window
            try:
                run(each, mode, measured.connections, measured.figures[key])
            except (ValueError, OSError, MissingError) as error:
                measured.failures[key] = f"failed: {error}"
                del measured.figures[key]


@contextlib.contextmanager
def all_running(servers: list[Contestant]) -> Iterator[list[RunningServer]]:
    """Run all servers at once; those that do not start are missing."""
    with contextlib.ExitStack() as stack:
        started = []
        for each, port in zip(servers, free_ports(len(servers)), strict=True):
            log = None if each.piped else WORK / f"{each.key}.log"
            process = stack.enter_context(serving(each.command(port, DESCRIPTORS), SERVER_CPU, log))
            started.append(RunningServer(each, port, process.pid))
        for each in started:
            try:
                response_length(each, MODES[each.contestant.modes[0] if each.contestant.modes else "keep-alive"])
            except (ValueError, OSError) as error:
                each.contestant.missing = f"does not start: {error}"
        yield [each for each in started if not each.contestant.missing]


def is_open(mode: str) -> bool:
    """Whether requests are due at fixed moments."""
    return mode.startswith("open")


def takes_part(contestant: Contestant, mode: str) -> bool:
    return mode in (contestant.modes or MODES) and (contestant.whoami != "" or not MODES[mode].asks_who)


def listed(known: Iterable[str]) -> Callable[[str], list[str]]:
    """A type of option: a list of known words, separated by commas."""

    def words(text: str) -> list[str]:
        if unknown := set(text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
        return [word for word in known if word in text.split(",")]

    return words


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument(
        "--only", type=listed(CONTESTANTS), default=list(CONTESTANTS), help="keys of the contestants that take part"
    )
    parser.add_argument("--modes", type=listed(MODES), default=list(MODES))
    parser.add_argument("--connections", type=lambda text: [int(word) for word in text.split(",")], default=[64])
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--beside", metavar="PROGRAM", help="another build of the static program, such as an older one")
    options = parser.parse_args()
    if "keep-alive" not in options.modes and (at_rate := [mode for mode in options.modes if is_open(mode)]):
        parser.error(f"mode {at_rate[0]} needs mode keep-alive, whose rate it halves")
    return options


def empty_figures(mode: str, running: list[RunningServer], before: dict[str, Measured]) -> dict[str, Figures]:
    """For each contestant of a mode; `before` has the earlier modes with the same number of connections."""
    keys = [each.contestant.key for each in running if takes_part(each.contestant, mode)]
    if not is_open(mode):
        return {key: Figures() for key in keys}
    rates = {key: its.rate for key, its in before["keep-alive"].figures.items()}
    return {key: Figures(rate=[statistics.median(rates[key]) / 2]) for key in keys if key in rates}


def main() -> None:
    options = arguments()
    isolate_network()
    others = [ours("beside", "another build", command=(options.beside,))] if options.beside else []
    servers = prepare(options.only, others)
    build_load_generator()
    about = environment() | {"rounds": options.rounds, "seconds": SECONDS}
    os.sched_setaffinity(0, {CLIENT_CPU})
    done: list[Measured] = []
    with all_running([each for each in servers if not each.missing]) as running:
        windows = sum(
            MODES[mode].seconds for mode in options.modes for each in running if takes_part(each.contestant, mode)
        )
        progress = Progress(windows * options.rounds * len(options.connections))
        for connections in options.connections:
            before: dict[str, Measured] = {}
            for mode in options.modes:
                before[mode] = measured = Measured(mode, connections, empty_figures(mode, running, before))
                part = [each for each in running if each.contestant.key in measured.figures]
                measure(measured, part, options.rounds, progress)
                print(section(measured, servers), flush=True)
                done.append(measured)
    if options.json:
        contestants = {
            each.key: {"name": each.name, "version": each.version, "missing": each.missing} for each in servers
        }
        content = about | {"contestants": contestants, "loads": [asdict(each) for each in done]}
        options.json.write_text(json.dumps(content, indent=1))
    shutil.rmtree(WORK)  # logs take gigabytes


if __name__ == "__main__":
    main()
