"""Attacks with thousands of connections: their outcome, their memory, and the latency of a well-behaved client."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from benchmarks.lib.contestants import WORK, Contestant
from benchmarks.lib.http_requests import GET, GET_CLOSE
from benchmarks.lib.many_connections import ManyConnections, SlowSender, watch
from benchmarks.lib.probe_client import ProbeClient, percentile, probe_client
from benchmarks.lib.processes import (
    SERVER_CPU,
    busy_time,
    cpu_time,
    descriptors,
    free_port,
    pss,
    serving,
    socket_memory,
    wait_until_ready,
)

DESCRIPTORS = 20_000  # limit of a server, unless the hard limit is lower
INTERVAL = 5.0  # seconds between two bytes of a slow connection
WINDOW = 4.0  # seconds of a window of the probe client
SETTLE_TIMEOUT = 8.0  # seconds for a server to work off a flood
SETTLE_STEP = 0.25  # seconds; a server is quiet if it runs for less than a tenth of a step
SETTLE_STEPS = 4  # quiet steps in a row, because TCP repeats dropped segments after 0.2 s and more
PATIENCE = 10.0  # seconds for a window to end
LINGER = 1.5  # seconds for a server to close its descriptors after the end of a connection

HEAD = [b"%c" % byte for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Padding: "]
BODY = [b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"] + [b"x"] * 40
UPLOAD = [b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 200] + [b"x" * 200] * 40
SIPPED = [GET * 400] + [GET * 3] * 100  # more than a client reads
LINE = b"X-Padding: " + b"x" * 1011 + b"\r\n"  # 1 KiB
ENDLESS = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + LINE * 60
GREEDY = GET * 1000
# The response to an unclean path is a redirect, which cannot be prebuilt.
UNCLEAN = (b"GET //" + b"x" * 240 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n") * 300

Run = Callable[[Callable[[], bool], float], None]  # goes on until a condition holds, for at most so many seconds


@dataclass(frozen=True)
class Attack:
    """Connections that send pieces slowly, one by one, or a single piece as fast as the server accepts it. With each
    slow piece they may read some bytes."""

    key: str
    title: str
    count: int
    pieces: list[bytes]
    observed: float  # seconds after the first byte of the last connection
    reads: bool = True
    interval: float = INTERVAL
    sip: int = 0  # bytes

    def is_slow(self) -> bool:
        return len(self.pieces) > 1


ATTACKS = [
    Attack("slow-heads", "one byte of a head every 5 s", 10_000, HEAD, 16),
    Attack("slow-bodies", "a complete head, then one byte of the body every 5 s", 10_000, BODY, 16),
    Attack("slow-uploads", "the head of a long upload, then 200 bytes of its body every 5 s", 10_000, UPLOAD, 26),
    Attack(
        "slow-readers",
        "400 pipelined requests, then 3 more every 1.5 s, of whose responses 1,400 bytes are read",
        10_000,
        SIPPED,
        45,
        reads=False,
        interval=1.5,
        sip=1400,
    ),
    Attack("endless-heads", "60 KiB of a head that never ends, at once", 10_000, [ENDLESS], 16),
    Attack("greedy", "1,000 pipelined requests at once; the responses are not read", 2_000, [GREEDY], 20, reads=False),
    Attack(
        "greedy-unclean",
        "300 pipelined requests for long unclean paths; the responses are not read",
        2_000,
        [UNCLEAN],
        20,
        reads=False,
    ),
]


@dataclass
class Round:
    """Figures of one run of an attack against one server."""

    p99_without: float = 0.0  # seconds
    p99_with: float = 0.0  # seconds
    p99_beside: float = 0.0  # seconds; of a second server in the same window, which nobody attacks
    longest: float | None = None  # seconds of the slowest response during a flood
    cpu: float = 0.0  # share of a CPU that the server used in that window
    open_before: int = 0  # connections at the beginning of the window under attack
    open_after: int = 0  # and at its end
    memory: float | None = None  # bytes per open connection
    kernel_memory: float | None = None  # likewise
    others: float = 0.0  # share of all CPUs used by other programs, in the worse of the two windows
    outcomes: dict[str, int] = field(default_factory=dict)  # if the attack was observed to its end
    durations: list[float] = field(default_factory=list)  # seconds of each connection that ended
    held: int = 0  # additional descriptors of the server at the end


def attack_once(attack: Attack, contestant: Contestant, count: int, to_the_end: bool) -> Round:
    """One run on a new server: a window without the attack, a window with it, and the outcome of its connections."""
    result = Round()
    if not attack.is_slow():
        result.longest = longest_during_flood(attack, contestant, count)
    # What the client of a second server on the same CPU waits for is the machine, and not an attack.
    with (
        new_server(contestant) as (port, server),
        new_server(contestant, "log-beside") as (beside, _),
        probe_client(port) as probe,
        probe_client(beside) as probe_beside,
    ):
        probes = [probe, probe_beside]
        result.p99_without, _ = window_without(attack, probes, count, result)
        memory, held = pss(server.pid), descriptors(server.pid)
        with ManyConnections(port, attack.reads) as many:
            run = send_slowly(attack, many, count) if attack.is_slow() else flood(attack, many, count, server.pid)
            last = max(each.began_at for each in many.connections)
            result.open_before = many.open_count()
            if result.open_before:
                result.memory = (pss(server.pid) - memory) / result.open_before
                result.kernel_memory = socket_memory(port) / result.open_before
            used, start = cpu_time(server.pid), time.monotonic()
            result.p99_with, result.p99_beside = timed_window(probes, run, result)
            result.cpu = (cpu_time(server.pid) - used) / (time.monotonic() - start)
            result.open_after = many.open_count()
            if to_the_end:
                run(lambda: not many.open_count(), last + attack.observed - time.monotonic())
                time.sleep(LINGER)
                result.outcomes = many.outcomes()
                result.durations = sorted(each.duration for each in many.connections if each.end)
                result.held = max(0, descriptors(server.pid) - held)
    return result


@contextlib.contextmanager
def new_server(contestant: Contestant, log: str = "log") -> Iterator[tuple[int, subprocess.Popen]]:
    """One that answers: its port and its process."""
    port = free_port()
    with serving(contestant.command(port, DESCRIPTORS), SERVER_CPU, WORK / log) as server:
        wait_until_ready(port, GET_CLOSE)
        yield port, server


def longest_during_flood(attack: Attack, contestant: Contestant, count: int) -> float:
    """Seconds of the probe client's slowest response during a flood, on a new server."""
    with (
        new_server(contestant) as (port, server),
        probe_client(port) as probe,
        ManyConnections(port, attack.reads) as many,
    ):
        probe.begin(WINDOW)
        time.sleep(WINDOW / 20)  # some responses before the flood
        flood(attack, many, count, server.pid)
        watch(many, probe.done, WINDOW + PATIENCE)
        return max(probe.times())


def send_slowly(attack: Attack, many: ManyConnections, count: int) -> Run:
    """Connect all; then let them begin one by one, so that their bytes stay evenly spread over the interval."""
    for _ in range(count):
        many.connect()
    sender = SlowSender(many, many.connections, attack.pieces, attack.interval, attack.sip)
    sender.run(lambda: bool(many.connections[-1].began_at), attack.interval + PATIENCE)
    return sender.run


def flood(attack: Attack, many: ManyConnections, count: int, pid: int) -> Run:
    """Connect all and send at once; then wait until the server has worked this off, before the window begins."""
    for number in range(count):
        if connection := many.connect():
            many.send(connection, attack.pieces[0])
        if number % 32 == 0:
            many.watch(0)
    used, check_at, quiet = cpu_time(pid), time.monotonic() + SETTLE_STEP, 0

    def settled() -> bool:
        nonlocal used, check_at, quiet
        if time.monotonic() < check_at:
            return False
        before, used, check_at = used, cpu_time(pid), time.monotonic() + SETTLE_STEP
        quiet = quiet + 1 if used - before < SETTLE_STEP / 10 else 0
        return quiet == SETTLE_STEPS

    watch(many, settled, SETTLE_TIMEOUT)
    return partial(watch, many)


def window_without(attack: Attack, probes: list[ProbeClient], count: int, result: Round) -> list[float]:
    """A window without the attack, in which the generator sends as many bytes to a socket of its own."""
    with socket.create_server(("127.0.0.1", 0)) as sink, ManyConnections(sink.getsockname()[1], reads=True) as many:
        run: Run = partial(watch, many)
        if attack.is_slow():
            run = SlowSender(many, [many.connect()] * count, [b"x"] * 10, attack.interval).run
        return timed_window(probes, run, result)


def timed_window(probes: list[ProbeClient], run: Run, result: Round) -> list[float]:
    """The p99 of each probe client in seconds; notes the share of other programs."""
    busy, own, start = busy_time(), cpu_time(os.getpid()), time.monotonic()
    for probe in probes:
        probe.begin(WINDOW)
    run(lambda: all(probe.done() for probe in probes), WINDOW + PATIENCE)
    p99s = [percentile(probe.times(), 0.99) for probe in probes]
    others = busy_time() - busy - (cpu_time(os.getpid()) - own)
    result.others = max(result.others, others / (time.monotonic() - start) / os.cpu_count())
    return p99s
