"""Crowds that hold connections: what becomes of them, and of a client that behaves, and what memory they take."""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from contestants import WORK, Contestant
from crowd import Crowd, Drip, watch
from healthy import Healthy, healthy_client, percentile
from processes import cpu_time, descriptors, free_port, machine_busy, resident, serving, wait_until_it_answers

SERVER_CPU = 1
DESCRIPTORS = 20_000  # that a server may have, or what the hard limit allows
LAST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
INTERVAL = 5.0  # seconds between two bytes of a slow connection
WINDOW = 4.0  # seconds of the healthy client
SETTLE_MOST = 8.0  # seconds until a server has done what a flood gave it to do
SETTLE_STEP = 0.25  # seconds in which a server is quiet if it runs for less than a tenth of them
SETTLED = 4  # quiet steps in a row, as what the kernel had to drop is sent again after 0.2 s and more
PATIENCE = 10.0  # seconds for a window to end
LINGER = 1.5  # seconds for a server to close for good what it has ended, as it may first drop what is still sent

HEAD = [b"%c" % byte for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Padding: "]
BODY = [b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"] + [b"x"] * 40
LINE = b"X-Padding: " + b"x" * 1011 + b"\r\n"  # 1 KiB
ENDLESS = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + LINE * 60
GREEDY = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
UNCLEAN = (b"GET //" + b"x" * 240 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n") * 300  # its redirect has to be kept

Run = Callable[[Callable[[], bool], float], None]  # go on until a condition holds, at most for so many seconds


@dataclass(frozen=True)
class Attack:
    """A crowd: it drips its pieces one by one, or sends the only one as fast as that is accepted."""

    key: str
    title: str
    count: int
    pieces: list[bytes]
    observed: float  # seconds after the last connection has begun
    reads: bool = True

    def drips(self) -> bool:
        return len(self.pieces) > 1


ATTACKS = [
    Attack("slow-heads", "a byte of a head each 5 s", 10_000, HEAD, 16),
    Attack("slow-bodies", "a whole head, then a byte of the body each 5 s", 10_000, BODY, 16),
    Attack("endless-heads", "60 KiB of a head that never ends, at once", 10_000, [ENDLESS], 16),
    Attack("greedy", "1,000 pipelined requests at once, and no answer is read", 2_000, [GREEDY], 20, reads=False),
    Attack(
        "greedy-unclean",
        "300 pipelined requests for long unclean paths, and no answer is read",
        2_000,
        [UNCLEAN],
        20,
        reads=False,
    ),
]


@dataclass
class Round:
    """What one run of an attack against one server gave."""

    p99_without: float = 0.0  # seconds
    p99_with: float = 0.0  # seconds
    longest: float | None = None  # seconds that an answer took while a flood came in
    open_before: int = 0  # connections, when the window with them began
    open_after: int = 0  # and when it ended
    memory: float | None = None  # bytes for each connection that was open
    others: float = 0.0  # share of all CPUs that other programs took, in the worse of the two windows
    outcomes: dict[str, int] = field(default_factory=dict)  # if it was observed to the end
    took: list[float] = field(default_factory=list)  # seconds of each connection that ended
    held: int = 0  # descriptors that the server had more than before, at the end


def attack_once(attack: Attack, contestant: Contestant, count: int, to_the_end: bool) -> Round:
    """One run, on a server of its own: a window without the crowd, one with it, and what becomes of the crowd."""
    port = free_port()
    result = Round()
    if not attack.drips():
        result.longest = longest_meanwhile(attack, contestant, count)
    with serving(contestant.start(port, DESCRIPTORS), SERVER_CPU, WORK / "log") as server:
        wait_until_it_answers(port, LAST)
        with healthy_client(port) as healthy:
            result.p99_without = window_without(attack, healthy, count, result)
            memory, held = resident(server.pid), descriptors(server.pid)
            with Crowd(port, attack.reads) as crowd:
                run = drip(attack, crowd, count) if attack.drips() else flood(attack, crowd, count, server.pid)
                last = max(member.began for member in crowd.members)
                result.open_before = crowd.open_count()
                if result.open_before:
                    result.memory = (resident(server.pid) - memory) / result.open_before
                result.p99_with = timed_window(healthy, run, result)
                result.open_after = crowd.open_count()
                if to_the_end:
                    run(lambda: not crowd.open_count(), last + attack.observed - time.monotonic())
                    time.sleep(LINGER)
                    result.outcomes = crowd.outcomes()
                    result.took = sorted(member.took for member in crowd.members if member.end)
                    result.held = max(0, descriptors(server.pid) - held)
    return result


def longest_meanwhile(attack: Attack, contestant: Contestant, count: int) -> float:
    """Seconds that the behaving client's slowest answer took while a flood came in, on a server of its own."""
    port = free_port()
    with serving(contestant.start(port, DESCRIPTORS), SERVER_CPU, WORK / "log") as server:
        wait_until_it_answers(port, LAST)
        with healthy_client(port) as healthy, Crowd(port, attack.reads) as crowd:
            healthy.begin(WINDOW)
            time.sleep(WINDOW / 20)  # the first answers, as usual
            flood(attack, crowd, count, server.pid)
            watch(crowd, healthy.done, WINDOW + PATIENCE)
            return max(healthy.times())


def drip(attack: Attack, crowd: Crowd, count: int) -> Run:
    """All connect, and then begin one by one, so that the bytes of all are spread evenly over the interval for good."""
    for _ in range(count):
        crowd.connect()
    drops = Drip(crowd, crowd.members, attack.pieces, INTERVAL)
    drops.run(lambda: bool(crowd.members[-1].began), INTERVAL + PATIENCE)
    return drops.run


def flood(attack: Attack, crowd: Crowd, count: int, pid: int) -> Run:
    """All connect and send at once; then the server has its time to take it, as the window is not to measure that."""
    for number in range(count):
        if member := crowd.connect():
            crowd.send(member, attack.pieces[0])
        if number % 32 == 0:
            crowd.watch(0)
    ran, look, quiet = cpu_time(pid), time.monotonic() + SETTLE_STEP, 0

    def settled() -> bool:
        nonlocal ran, look, quiet
        if time.monotonic() < look:
            return False
        before, ran, look = ran, cpu_time(pid), time.monotonic() + SETTLE_STEP
        quiet = quiet + 1 if ran - before < SETTLE_STEP / 10 else 0
        return quiet == SETTLED

    watch(crowd, settled, SETTLE_MOST)
    return partial(watch, crowd)


def window_without(attack: Attack, healthy: Healthy, count: int, result: Round) -> float:
    """The generator is as busy as with the crowd: it sends as many bytes, but to a connection of its own."""
    with socket.create_server(("127.0.0.1", 0)) as sink, Crowd(sink.getsockname()[1], reads=True) as crowd:
        run: Run = partial(watch, crowd)
        if attack.drips():
            run = Drip(crowd, [crowd.connect()] * count, [b"x"] * 10, INTERVAL).run
        return timed_window(healthy, run, result)


def timed_window(healthy: Healthy, run: Run, result: Round) -> float:
    """The healthy client's p99, in seconds."""
    busy, own, start = machine_busy(), cpu_time(os.getpid()), time.monotonic()
    healthy.begin(WINDOW)
    run(healthy.done, WINDOW + PATIENCE)
    p99 = percentile(healthy.times(), 0.99)
    others = machine_busy() - busy - (cpu_time(os.getpid()) - own)
    result.others = max(result.others, others / (time.monotonic() - start) / os.cpu_count())
    return p99
