"""CPU time of the server for each request, ours beside the floor and beside everything else that serves a page.

    benchmarks/install-peers                    what it is compared with, on Debian
    python benchmarks/compare.py [--rounds 10] [--only NAME,...] [--modes MODE,...] [--connections 64] [--json FILE]

All servers run from the beginning, each with one worker, all on one CPU; the load comes from another one. They take
turns: a round of a mode is a window of each, in an order that changes. What a server's processes and threads run in its
window (proc_pid_schedstat, the parent that writes the log included) over the answers in it is its CPU time for a
request; beside a floor server of ours (benchmarks/peers/floor.c), which receives anything and sends fixed bytes, of the
same round. Before each window, an answer is checked.

keep-alive: a request of 60 bytes after the other on each connection. browser: one of 700 bytes, of a real browser.
pipelined: 16 requests at once. close: a connection for each request. open: at half the rate that it reaches in
keep-alive, requests are due at fixed moments, and their time counts from then.

Prints tables in Markdown: medians, and the middle half of the rounds.
"""

import argparse
import contextlib
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from field import FIELD, FLOOR, PAGE, WORK, Contestant, prepare
from network import leave_shared_network
from processes import PATIENCE, cpu_time, free_ports, tree

SERVER_CPU, LOAD_CPU = 1, 0
SECONDS = 0.5  # of a window
OPEN_SECONDS = 2.0
SMALL = b"GET / HTTP/1.1\r\nHost: localhost:8080\r\nAccept: */*\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: localhost:8080\r\nConnection: close\r\n\r\n"
BROWSER = (
    b"GET / HTTP/1.1\r\nHost: demo.example.org:8080\r\nConnection: keep-alive\r\nCache-Control: max-age=0\r\n"
    b'sec-ch-ua: "Chromium";v="130", "Not?A_Brand";v="99"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: "Linux"\r\n'
    b"Upgrade-Insecure-Requests: 1\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 "
    b"Safari/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n"
    b"Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\nCookie: session=0123456789\r\n\r\n"
)
MODES = {"keep-alive": (SMALL, 1), "browser": (BROWSER, 1), "pipelined": (SMALL, 16), "close": (LAST, 0)}


@dataclass
class Running:
    """A contestant that takes part."""

    contestant: Contestant
    port: int
    pid: int
    cpu: dict[str, list[float]] = field(default_factory=dict)  # seconds a request, by mode, of each round
    rate: dict[str, list[float]] = field(default_factory=dict)  # requests a second
    percentiles: list[tuple[float, ...]] = field(default_factory=list)  # p50, p99, p99.9 in seconds

    def takes_part(self, mode: str) -> bool:
        return not self.contestant.modes or mode in self.contestant.modes


@contextlib.contextmanager
def running(contestant: Contestant, port: int) -> Iterator[Running]:
    path = WORK / f"log-{port}"
    with path.open("wb") as file:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", str(SERVER_CPU), *contestant.line(port)],
            stdout=subprocess.DEVNULL,
            stderr=file if contestant.logs == "file" else subprocess.PIPE,
        )
    if process.stderr:
        threading.Thread(target=drain, args=(process.stderr.fileno(),), daemon=True).start()
    try:
        yield Running(contestant, port, process.pid)
    finally:
        for pid in reversed(tree(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        path.unlink()


def drain(pipe: int) -> None:
    while os.read(pipe, 1 << 20):
        pass


def wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nobody listens on port {port}")


def answer_length(port: int, request: bytes, depth: int) -> int:
    """Bytes of the answer, which is the page; DEPTH is as for the load generator."""
    page = PAGE.read_bytes()
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(request * max(depth, 1))
        received = b""
        while piece := client.recv(65536):
            received += piece
            if depth and received.count(page) == depth:
                break
    answers = received.split(page)
    if answers.pop() or len(answers) != max(depth, 1) or len(set(map(len, answers))) != 1:
        raise ValueError(f"the answer is {received[:300]!r}")
    if not re.match(rb"(?is)HTTP/1.1 200 .*\r\ncontent-length: *390\r\n", answers[0]):
        raise ValueError(f"the head is {answers[0]!r}")
    return len(received) // len(answers)


def load(port: int, request: bytes, depth: int, connections: int, *more: str) -> str:
    file = WORK / "request"
    file.write_bytes(request)
    line = ["taskset", "--cpu-list", str(LOAD_CPU), WORK / "load", str(port), file, str(depth), str(connections)]
    done = subprocess.run([*line, *more], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return done.stdout


def window(each: Running, mode: str, connections: int) -> None:
    request, depth = MODES[mode]
    length = answer_length(each.port, request, depth)
    before = cpu_time(each.pid)
    answers, seconds = load(each.port, request, depth, connections, str(SECONDS), str(length)).split()
    time.sleep(0.06)  # for a parent that writes the log, and a queue of connections that end
    spent = cpu_time(each.pid) - before
    each.cpu.setdefault(mode, []).append(spent / int(answers))
    each.rate.setdefault(mode, []).append(int(answers) / float(seconds))


def open_window(each: Running, connections: int) -> None:
    request, depth = MODES["keep-alive"]
    length = answer_length(each.port, request, depth)
    rate = statistics.median(each.rate["keep-alive"]) / 2
    times = sorted(
        int(line) / 1e9
        for line in load(
            each.port, request, depth, connections, str(OPEN_SECONDS), str(length), f"{rate:.0f}"
        ).splitlines()
    )
    each.percentiles.append(tuple(times[min(int(len(times) * share), len(times) - 1)] for share in (0.5, 0.99, 0.999)))


def spread(values: list[float], scale: float, digits: int = 2) -> str:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return f"{middle * scale:.{digits}f} ({low * scale:.{digits}f} to {high * scale:.{digits}f})"


def beside(each: Running, other: Running | None, mode: str) -> str:
    """The ratio within each round."""
    if other is None or other is each or mode not in other.cpu:
        return ""
    pairs = zip(each.cpu[mode], other.cpu[mode], strict=True)
    return f"{statistics.median(own / its for own, its in pairs):.3f}"


def mode_table(mode: str, field_: list[Running], reasons: dict[str, str]) -> str:
    part = [each for each in field_ if mode in each.cpu]
    by_name = {each.contestant.name: each for each in part}
    floor = next((by_name[name] for name in FLOOR if name in by_name), None)
    own = by_name.get("yinyang, static program")
    rows = ["| | CPU a request, us | beside the floor | ours beside it | requests a second |", "| --- " * 5 + "|"]
    rows += [
        f"| {each.contestant.name} | {spread(each.cpu[mode], 1e6)} | {beside(each, floor, mode)} | "
        f"{beside(own, each, mode) if own else ''} | {statistics.median(each.rate[mode]):,.0f} |"
        for each in part
    ]
    rows += [f"| {name} | {reason} | | | |" for name, reason in reasons.items()]
    return "\n".join(rows)


def open_table(field_: list[Running], reasons: dict[str, str]) -> str:
    rows = ["| | requests a second | p50, us | p99, us | p99.9, us |", "| --- " * 5 + "|"]
    rows += [
        f"| {each.contestant.name} | {statistics.median(each.rate['keep-alive']) / 2:,.0f} | "
        + " | ".join(spread([one[which] for one in each.percentiles], 1e6, 0) for which in range(3))
        + " |"
        for each in field_
        if each.percentiles
    ]
    rows += [f"| {name} | {reason} | | | |" for name, reason in reasons.items()]
    return "\n".join(rows)


def turns(field_: list[Running], rounds: int, what: str, reasons: dict[str, str]) -> Iterator[Running]:
    """Each in each round, in an order that changes; one that fails is out."""
    for number in range(rounds):
        print(f"{what}, round {number + 1} of {rounds}", file=sys.stderr)
        for each in random.sample(field_, len(field_)):
            if each.contestant.name not in reasons:
                yield each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", help="names of contestants, or their beginnings")
    parser.add_argument("--modes", default=",".join([*MODES, "open"]))
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()
    leave_shared_network()
    prepare()
    missing = {each.name: reason for each in FIELD if (reason := each.missing())}
    chosen = [each for each in FIELD if each.name not in missing]
    if options.only:
        missing = {}
        chosen = [each for each in chosen if each.name.startswith(tuple(options.only.split(",")))]
    with contextlib.ExitStack() as stack:
        field_ = []
        for each in [stack.enter_context(running(*pair)) for pair in zip(chosen, free_ports(len(chosen)), strict=True)]:
            try:
                wait_until_it_listens(each.port)
                field_.append(each)
            except TimeoutError:
                missing[each.contestant.name] = "does not start"
        for mode in options.modes.split(","):
            part = [each for each in field_ if each.takes_part("keep-alive" if mode == "open" else mode)]
            reasons = dict(missing)
            for each in turns(part, options.rounds, mode, reasons):
                try:
                    if mode == "open":
                        open_window(each, options.connections)
                    else:
                        window(each, mode, options.connections)
                except (ValueError, OSError) as error:
                    reasons[each.contestant.name] = f"failed: {error}"
                    each.cpu.pop(mode, None)
            table = open_table(part, reasons) if mode == "open" else mode_table(mode, part, reasons)
            print(f"### {mode}, {options.connections} connections\n\n{table}\n", flush=True)
    if options.json:
        figures = {
            each.contestant.name: {"cpu": each.cpu, "rate": each.rate, "percentiles": each.percentiles}
            for each in field_
        }
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
