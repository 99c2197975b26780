"""CPU time of the server for each request, ours beside the floor and beside everything else that serves a page.

    benchmarks/install-peers                    what it is compared with, on Debian
    python benchmarks/compare.py [--rounds 10] [--only KEY,...] [--modes MODE,...] [--connections N,...] [--json FILE]

All servers (benchmarks/contestants.py) run from the beginning, each with one worker, all on one CPU; the load comes
from another one. They take turns: a round of a mode is a window of each, in an order that changes. What a server's
processes and threads run in its window (proc_pid_schedstat, the parent that writes the log included) over the answers
in it is its CPU time for a request; beside a floor server of ours (benchmarks/peers/floor.c), which receives anything
and sends fixed bytes, of the same round. Before each window, an answer is checked: it is the page, or of programs that
have none, what their name in the table says.

keep-alive: a request of 60 bytes after the other on each connection. varied: the same, but a target that differs from
those before it, of KINDS. browser: one of 700 bytes, of a real browser. pipelined: 16 requests at once. close: a
connection for each request. open: at half the rate that it reaches in keep-alive, requests are due at fixed moments,
and their time counts from then.

Prints tables in Markdown: medians, and the middle half of the rounds. The file of --json has each window, the versions
of all contestants, and the machine; benchmarks/plot.py draws it.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from contestants import CONTESTANTS, PROGRAMS, WORK, Contestant, made, made_ready, table
from figures import circumstances, number, spread
from network import leave_shared_network
from processes import cpu_time, free_ports, serving, wait_until_it_answers

SERVER_CPU, LOAD_CPU = 1, 0
SECONDS = 0.5  # of a window
OPEN_SECONDS = 2.0
DESCRIPTORS = 4096  # that a server is told it may have
KINDS = 1000  # of requests in varied; no number of connections, so that none of them gets the same again and again
OWN = "static"  # what the others are compared with
SMALL = b"GET @TARGET@ HTTP/1.1\r\nHost: localhost:8080\r\nAccept: */*\r\n\r\n"
LAST = b"GET @TARGET@ HTTP/1.1\r\nHost: localhost:8080\r\nConnection: close\r\n\r\n"
BROWSER = (
    b"GET @TARGET@ HTTP/1.1\r\nHost: demo.example.org:8080\r\nConnection: keep-alive\r\nCache-Control: max-age=0\r\n"
    b'sec-ch-ua: "Chromium";v="130", "Not?A_Brand";v="99"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: "Linux"\r\n'
    b"Upgrade-Insecure-Requests: 1\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 "
    b"Safari/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n"
    b"Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\nCookie: session=0123456789\r\n\r\n"
)


@dataclass(frozen=True)
class Mode:
    """A kind of load."""

    request: bytes
    depth: int = 1  # requests at once; 0: a connection for each
    kinds: int = 1  # of requests
    seconds: float = SECONDS

    def requests(self, path: str) -> list[bytes]:
        targets = [path] if self.kinds == 1 else [f"{path}?n={which:04d}" for which in range(self.kinds)]
        return [self.request.replace(b"@TARGET@", target.encode()) for target in targets]


MODES = {
    "keep-alive": Mode(SMALL),
    "varied": Mode(SMALL, kinds=KINDS),
    "browser": Mode(BROWSER),
    "pipelined": Mode(SMALL, depth=16),
    "close": Mode(LAST, depth=0),
    "open": Mode(SMALL, seconds=OPEN_SECONDS),
}


@dataclass(frozen=True)
class Running:
    """A contestant that takes part."""

    contestant: Contestant
    port: int
    pid: int


@dataclass
class Figures:
    """Of one contestant with one load, by round."""

    cpu: list[float] = field(default_factory=list)  # seconds a request
    rate: list[float] = field(default_factory=list)  # requests a second
    percentiles: list[tuple[float, ...]] = field(default_factory=list)  # p50, p99, p99.9 in seconds


@dataclass
class Measured:
    """One load: a mode, and how many connections; figures by key of contestant."""

    mode: str
    connections: int
    figures: dict[str, Figures] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


class Progress:
    """Says on stderr what is done, and how long the rest takes at the pace so far."""

    def __init__(self, windows: float) -> None:
        self._rest = windows  # seconds of load
        self._done = 0.0
        self._begin = time.monotonic()

    def say(self, words: str) -> None:
        left = (time.monotonic() - self._begin) * self._rest / self._done if self._done else 0
        print(f"{words}, {left / 60:.0f} min {left % 60:.0f} s left" if left else words, file=sys.stderr)

    def add(self, seconds: float) -> None:
        self._done += seconds
        self._rest -= seconds


def answers(received: bytes) -> list[tuple[bytes, bytes]]:
    """Heads and bodies, as far as they are whole."""
    found = []
    while (end := received.find(b"\r\n\r\n") + 4) >= 4:
        head = received[:end]
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)\r\n", head)
        if not head.startswith(b"HTTP/1.1 200 ") or not length:
            raise ValueError(f"the head is {head!r}")
        if len(received) < end + int(length[1]):
            break
        found.append((head, received[end : end + int(length[1])]))
        received = received[end + int(length[1]) :]
    return found


def answer_length(each: Running, mode: Mode) -> int:
    """Bytes of an answer, which is checked."""
    count = max(mode.depth, 1)

    def is_whole(received: bytes) -> bool:
        return mode.depth > 0 and len(answers(received)) == count

    request = mode.requests(each.contestant.path)[0]
    received = wait_until_it_answers(each.port, request * count, is_whole)
    found = answers(received)
    lengths = {len(head) + len(body) for head, body in found}
    if {body for _, body in found} != {each.contestant.body.encode()} or lengths != {len(received) // count}:
        raise ValueError(f"the answer is {received[:300]!r}")
    return lengths.pop()


def load(each: Running, mode: Mode, connections: int, length: int, *rate: str) -> str:
    """What the load generator says."""
    file = WORK / "requests"
    file.write_bytes(b"".join(mode.requests(each.contestant.path)))
    line = [PROGRAMS / "load", each.port, file, mode.depth, connections, mode.seconds, length, *rate]
    done = subprocess.run([*map(str, line)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return done.stdout


def window(each: Running, mode: Mode, connections: int, figures: Figures) -> None:
    length = answer_length(each, mode)
    before = cpu_time(each.pid)
    count, seconds = load(each, mode, connections, length).split()
    time.sleep(0.06)  # for a parent that writes the log, and a queue of connections that end
    figures.cpu.append((cpu_time(each.pid) - before) / int(count))
    figures.rate.append(int(count) / float(seconds))


def open_window(each: Running, mode: Mode, connections: int, figures: Figures) -> None:
    lines = load(each, mode, connections, answer_length(each, mode), f"{figures.rate[0]:.0f}").splitlines()
    times = sorted(int(line) / 1e9 for line in lines)
    figures.percentiles.append(
        tuple(times[min(int(len(times) * share), len(times) - 1)] for share in (0.5, 0.99, 0.999))
    )


def beside(own: Figures, its: Figures | None) -> str:
    """The ratio within each round."""
    if its is None or its is own:
        return ""
    return f"{statistics.median(a / b for a, b in zip(own.cpu, its.cpu, strict=True)):.3f}"


def mode_rows(figures: dict[str, Figures]) -> dict[str, list[str]]:
    floor = next((its for key, its in figures.items() if key.startswith("floor")), None)
    own = figures.get(OWN)
    return {
        key: [
            spread(its.cpu, 1e6),
            beside(its, floor),
            beside(own, its) if own else "",
            number(statistics.median(its.rate)),
        ]
        for key, its in figures.items()
    }


def open_rows(figures: dict[str, Figures]) -> dict[str, list[str]]:
    return {
        key: [number(its.rate[0]), *(spread(times, 1e6) for times in zip(*its.percentiles, strict=True))]
        for key, its in figures.items()
    }


def shown(measured: Measured, servers: list[Contestant]) -> str:
    if measured.mode == "open":
        heads, rows = ["requests a second", "p50, us", "p99, us", "p99.9, us"], open_rows(measured.figures)
    else:
        heads = ["CPU a request, us", "beside the floor", "ours beside it", "requests a second"]
        rows = mode_rows(measured.figures)
    shown_ones = [each for each in servers if each.missing or each.key in rows or each.key in measured.failures]
    connections = f"{measured.connections} connection{'s' if measured.connections > 1 else ''}"
    return f"### {measured.mode}, {connections}\n\n{table(heads, shown_ones, rows, measured.failures)}\n"


def measure(measured: Measured, field_: list[Running], rounds: int, progress: Progress) -> None:
    """Rounds, in each of which all take turns, in an order that changes; one that fails is out."""
    mode = MODES[measured.mode]
    for turn in range(rounds):
        progress.say(f"{measured.mode}, {measured.connections} connections, round {turn + 1} of {rounds}")
        for each in random.sample(field_, len(field_)):
            key = each.contestant.key
            progress.add(mode.seconds)
            if key in measured.failures:
                continue
            run = open_window if measured.mode == "open" else window
            try:
                run(each, mode, measured.connections, measured.figures[key])
            except (ValueError, OSError) as error:
                measured.failures[key] = f"failed: {error}"
                del measured.figures[key]


@contextlib.contextmanager
def running(servers: list[Contestant]) -> Iterator[list[Running]]:
    """All at once; those that do not start are missing."""
    with contextlib.ExitStack() as stack:
        field_ = []
        for each, port in zip(servers, free_ports(len(servers)), strict=True):
            log = None if each.piped else WORK / f"{each.key}.log"
            process = stack.enter_context(serving(each.start(port, DESCRIPTORS), SERVER_CPU, log))
            field_.append(Running(each, port, process.pid))
        for each in field_:
            try:
                answer_length(each, MODES[each.contestant.modes[0] if each.contestant.modes else "keep-alive"])
            except (ValueError, OSError) as error:
                each.contestant.missing = f"does not start: {error}"
        yield [each for each in field_ if not each.contestant.missing]


def listed(known: Iterable[str]) -> Callable[[str], list[str]]:
    """A type of option: words of these, with commas between them."""

    def words(text: str) -> list[str]:
        if unknown := set(text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))} is none of {', '.join(known)}")
        return [word for word in known if word in text.split(",")]

    return words


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", type=listed(CONTESTANTS), default=list(CONTESTANTS), help="keys of contestants")
    parser.add_argument("--modes", type=listed(MODES), default=list(MODES))
    parser.add_argument("--connections", type=lambda text: [int(word) for word in text.split(",")], default=[64])
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()
    if "open" in options.modes and "keep-alive" not in options.modes:
        parser.error("open goes by the rate of keep-alive")
    return options


def empty_figures(mode: str, field_: list[Running], before: dict[str, Measured]) -> dict[str, Figures]:
    """For each that takes part; `before`: what was measured with as many connections."""
    keys = [each.contestant.key for each in field_ if mode in (each.contestant.modes or MODES)]
    if mode != "open":
        return {key: Figures() for key in keys}
    rates = {key: its.rate for key, its in before["keep-alive"].figures.items()}
    return {key: Figures(rate=[statistics.median(rates[key]) / 2]) for key in keys if key in rates}


def main() -> None:
    options = arguments()
    leave_shared_network()
    servers = made_ready(options.only)
    made(("gcc", "-O2", "-Wall", "-Wextra", "-o", str(PROGRAMS / "load"), "benchmarks/load.c"))
    about = circumstances() | {"rounds": options.rounds, "seconds": SECONDS}
    os.sched_setaffinity(0, {LOAD_CPU})
    done: list[Measured] = []
    with running([each for each in servers if not each.missing]) as field_:
        modes_of = {each.contestant.key: each.contestant.modes or tuple(MODES) for each in field_}
        windows = sum(MODES[mode].seconds for modes in modes_of.values() for mode in modes if mode in options.modes)
        progress = Progress(windows * options.rounds * len(options.connections))
        for connections in options.connections:
            before: dict[str, Measured] = {}
            for mode in options.modes:
                before[mode] = measured = Measured(mode, connections, empty_figures(mode, field_, before))
                part = [each for each in field_ if each.contestant.key in measured.figures]
                measure(measured, part, options.rounds, progress)
                print(shown(measured, servers), flush=True)
                done.append(measured)
    if options.json:
        contestants = {
            each.key: {"name": each.name, "version": each.version, "missing": each.missing} for each in servers
        }
        content = about | {"contestants": contestants, "loads": [asdict(each) for each in done]}
        options.json.write_text(json.dumps(content, indent=1))
    shutil.rmtree(WORK)  # logs of gigabytes among others


if __name__ == "__main__":
    main()
