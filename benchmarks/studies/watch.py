"""What the watch costs, whether its memory grows, and whether it counts and times what the network saw.

    python -m benchmarks.studies.watch [--seconds 10] [--rounds 5] [--minutes 10] [--cycles 5]

Prints tables in Markdown. The first one: CPU time per sample of `yinyang watch` in both shapes and of the watch with
httpx, at 2,000 samples per second (httpx: 200), with a new connection for each sample and with the same ones; and the
highest rate that it reaches. The watch has one CPU, the replica the other. Beside them, the floor: watch_floor.c, which
makes the same system calls and does nothing else. All take turns.

The second one, for --minutes: the proportional set size of the watch at 2,000 samples per second, beginning and end,
where replicas come and go all the time: each answer names one of 5,000 hosts.

The third one, in a network namespace of its own, so it needs root: --cycles times, a replica is killed while it is
watched at 200 samples per second, and started anew after a second; a tenth of its answers fail on purpose. All packets
are recorded meanwhile (packet(7)), and the answers, the failures and the longest gap are found in them; beside, what
the watch has printed.
"""

import argparse
import itertools
import json
import os
import re
import resource
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.lib.contestants import PROGRAMS, STATIC, run_build
from benchmarks.lib.figures import extent, table
from benchmarks.lib.http_requests import SMALL, SMALL_CLOSE, with_target
from benchmarks.lib.network import enter_network_namespace
from benchmarks.lib.processes import CLIENT_CPU, SERVER_CPU, free_port, pss, serving, wait_until_ready

WATCHES = {
    "static program": [str(STATIC), "watch"],
    "on Python": [sys.executable, "-m", "yinyang", "watch"],
    "with httpx": [sys.executable, "-m", "yinyang.watch"],
}
RATE, HTTPX_RATE, HIGHEST_RATE = 2000, 200, 1_000_000
FLOOR = PROGRAMS / "watch_floor"
HOSTS = 5000  # that answers name, one after another
PACKET_HOST = 0  # of packet(7): the packet has arrived
ETHERNET, SYN, RST = 14, 0x02, 0x04


def spent(command: list[str], *arguments: object) -> tuple[str, float]:
    """What a client printed that ends by itself, and its CPU time in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    line = ["taskset", "-c", str(CLIENT_CPU), *command, *map(str, arguments)]
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@dataclass
class Cost:
    """Of a client with one kind of connection."""

    cpu: list[float] = field(default_factory=list)  # us for a sample, of each round
    p50: list[float] = field(default_factory=list)  # us
    highest: str = ""  # rate

    def row(self, name: str, connection: str, rate: int) -> list[str]:
        median = f"{statistics.median(self.p50):.0f}" if self.p50 else ""
        return [name, connection, f"{rate:,}", extent(self.cpu, 1), median, self.highest]


def cost(seconds: int, rounds: int) -> list[list[str]]:
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    run_build(("gcc", "-O2", "-Wall", "-Wextra", "-o", str(FLOOR), "benchmarks/studies/watch_floor.c"))
    rows = []
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    server = [STATIC, "--port", port, "--workers", 1, "--no-access-log"]
    with serving([str(part) for part in server], SERVER_CPU, None):
        wait_until_ready(port, with_target(SMALL_CLOSE))
        for connection in "new", "same":
            costs = {name: Cost() for name in ("floor", *WATCHES)}
            limits = ["--duration", f"{seconds}s", "--connection", connection, "--json"]
            for turn in range(rounds):
                text, cpu = spent([str(FLOOR)], port, RATE, seconds, connection, asked(connection).decode())
                costs["floor"].cpu.append(1e6 * cpu / int(text))
                for name, command in WATCHES.items():
                    text, cpu = spent(command, url, *limits, "--rate", rate_of(name))
                    report = json.loads(text)
                    costs[name].cpu.append(1e6 * cpu / report["samples"])
                    costs[name].p50.append(1e6 * report["latency"]["p50"])
                    if turn == 0:
                        text, _ = spent(command, url, *limits, "--rate", HIGHEST_RATE, "--concurrency", 64)
                        costs[name].highest = f"{json.loads(text)['rate']:,.0f}"
            rows += [each.row(name, connection, rate_of(name)) for name, each in costs.items()]
    return rows


def rate_of(name: str) -> int:
    return HTTPX_RATE if name == "with httpx" else RATE


def asked(connection: str) -> bytes:
    """The request of the floor, which is that of the watch in all that matters to the replica."""
    return with_target(SMALL_CLOSE, "/whoami") if connection == "new" else with_target(SMALL, "/whoami?keep=1")


# ---- memory -------------------------------------------------------------------------------------------------------


def answer_as_many(listener: socket.socket) -> None:
    """Answer each request as the next one of HOSTS replicas."""
    for number in itertools.cycle(range(HOSTS)):
        client, _ = listener.accept()
        with client:
            client.recv(4096)
            body = json.dumps({"host": f"web-{number}", "version": str(number % 7)}).encode()
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))


def memory(minutes: float) -> list[list[str]]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        threading.Thread(target=answer_as_many, args=(listener,), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        command = ["taskset", "-c", str(CLIENT_CPU), *WATCHES["static program"], url, "--rate", str(RATE)]
        with subprocess.Popen([*command, "--by", "version"], stdout=subprocess.DEVNULL) as process:
            begin, rows = time.monotonic(), []
            for part in 0.1, 0.5, 1.0:
                time.sleep(begin + 60 * minutes * part - time.monotonic())
                rows.append([f"{minutes * part:.1f}", f"{pss(process.pid) / 1000:,.0f}"])
            process.send_signal(signal.SIGINT)
    return rows


# ---- packets ------------------------------------------------------------------------------------------------------


@dataclass
class Exchange:
    """What the packets of a connection tell: when it began, when it ended, and the status of its answer."""

    begin: float
    end: float = 0.0
    status: int = 0
    received: bytearray = field(default_factory=bytearray)


def record(port: int, stop: threading.Event, exchanges: dict[tuple[int, int], Exchange]) -> None:
    """Follow the connections to a port of 127.0.0.1, by all packets that are sent there."""
    latest: dict[int, tuple[int, int]] = {}  # by client port: a port may be used again, with another number
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as tap:
        tap.bind(("lo", 0))
        tap.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)  # SO_RCVBUFFORCE
        tap.settimeout(0.1)
        while not stop.is_set():
            try:
                frame, about = tap.recvfrom(65536)
            except TimeoutError:
                continue
            now = time.monotonic()
            if about[2] != PACKET_HOST or frame[ETHERNET + 9] != socket.IPPROTO_TCP:
                continue
            tcp = ETHERNET + (frame[ETHERNET] & 15) * 4
            source, target, number = struct.unpack_from("!HHI", frame, tcp)
            flags = frame[tcp + 13]
            data = frame[tcp + (frame[tcp + 12] >> 4) * 4 : ETHERNET + struct.unpack_from("!H", frame, ETHERNET + 2)[0]]
            if target == port and flags & SYN:
                latest[source] = (source, number)
                exchanges.setdefault(latest[source], Exchange(now))  # it may be sent again
            elif source == port and target in latest:
                one = exchanges[latest[target]]
                one.received += data
                one.end = now if data or flags & RST else one.end
                if not one.status and (found := re.match(rb"HTTP/1\.1 (\d{3}) ", one.received)):
                    one.status = int(found[1])


def longest_gap(exchanges: list[Exchange], begin: float) -> float:
    """From the last answer before a failure to the first one after it, by the packets."""
    longest, last, failing = 0.0, begin, False
    for one in sorted(exchanges, key=lambda one: one.end):
        if one.status != 200:
            failing = True
            continue
        if failing:
            longest = max(longest, one.end - last)
        last, failing = one.end, False
    return longest


def precision(cycles: int) -> Iterator[list[str]]:
    enter_network_namespace()
    for name, command in WATCHES.items():
        port = free_port()
        exchanges: dict[tuple[int, int], Exchange] = {}
        stop = threading.Event()
        recorder = threading.Thread(target=record, args=(port, stop, exchanges))
        recorder.start()
        url = f"http://127.0.0.1:{port}/?fail=10&code=503"
        line = [*command, url, "--rate", "200", "--json"]
        server = [str(part) for part in (STATIC, "--port", port, "--workers", 1, "--no-access-log")]
        replica = subprocess.Popen(server, stderr=subprocess.DEVNULL)
        wait_until_ready(port, with_target(SMALL_CLOSE))
        exchanges.clear()
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            while not exchanges:
                time.sleep(0.01)
            for _ in range(cycles):
                time.sleep(2)
                replica.kill()
                replica.wait()
                time.sleep(1)
                replica = subprocess.Popen(server, stderr=subprocess.DEVNULL)
            time.sleep(2)
            process.send_signal(signal.SIGINT)
            report = json.loads(process.stdout.read())
        replica.kill()
        replica.wait()
        stop.set()
        recorder.join()
        seen = list(exchanges.values())
        answers = sum(one.status == 200 for one in seen)
        begin = min(one.begin for one in seen)
        yield [name, f"{answers:,}", f"{report['answers']:,}", f"{len(seen) - answers:,}", f"{report['errors']:,}",
               f"{longest_gap(seen, begin):.4f}", f"{report['gap']['longest']:.4f}"]  # fmt: skip


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--cycles", type=int, default=5)
    given = parser.parse_args()
    if given.rounds:
        heads = ["connection", "samples/s", "CPU time, us", "p50, us", "highest rate"]
        print(table(heads, cost(given.seconds, given.rounds)))
    if given.minutes:
        print(table(["memory, kB"], memory(given.minutes)), flush=True)
    if given.cycles:
        heads = ["answers: packets", "watch", "failures: packets", "watch", "longest gap, s: packets", "watch"]
        print(table(heads, list(precision(given.cycles))))
    os._exit(0)  # without waiting for the server that answers as many


if __name__ == "__main__":
    main()
