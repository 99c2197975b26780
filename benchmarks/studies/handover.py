"""Requests lost when one server replaces another on the same port: ways to hand the port over, and our server.

    python -m benchmarks.studies.handover [--replacements 20] [--rate 2000]

Prints two tables in Markdown. Each round starts the next server while the one before it serves, and then ends that one.

Ways: servers in Python that answer one request for each connection, at `rate` new connections per second.

one listener    Both have the same listening socket; each closes its own descriptor.
SO_REUSEPORT    Each has a listening socket of its own, and the kernel chooses between them for each new connection.
... leaves      The new server attaches a program to the group of sockets by which the kernel chooses the newest one
                (SO_ATTACH_REUSEPORT_CBPF, which needs no privilege), 50 ms before the old server ends.

yinyang: in both shapes, handed over by LISTEN_FDS, with 100 kept connections of 3,000 requests per second together, and
300 new connections per second with one request each. A request is sent again as clients do, if its kept connection had
served before and ends without a byte of the response; there are none of those with a drain.

failed          Connections or requests without the complete expected response, by reason.
"""

import argparse
import contextlib
import ctypes
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.lib.contestants import Contestant, prepare
from benchmarks.lib.figures import row, table
from benchmarks.lib.http_requests import GET_CLOSE
from benchmarks.lib.network import isolate_network
from benchmarks.lib.open_loop import OpenLoop
from benchmarks.lib.processes import CLIENT_CPU, PATIENCE, SERVER_CPU, wait_until_ready
from benchmarks.studies.drain import failures_text
from benchmarks.studies.listener_close import PAGE, Server

KEPT, REQUESTS, NEW = 100, 3000.0, 300.0
SETTLE = 0.3  # seconds between two replacements
STEER = 0.05  # seconds between steering to the new server and the end of the old one
SO_ATTACH_REUSEPORT_CBPF = 51
HEADS = ("", "replacements", "requests", "failed", "sent again")


# ---- ways to hand over ----------------------------------------------------------------------------------------------


def listening(port: int, shares_port: bool) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shares_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(4096)
    listener.setblocking(False)
    return listener


def steer_to_newest(listener: socket.socket) -> None:
    """Of two sockets in the group, have the kernel choose the one that came later, whose number is 1."""
    steps = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 1))  # ret #1
    listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, struct.pack("HP", 1, ctypes.addressof(steps)))


def serve(fd: int) -> None:
    """A server's process, until its standard input ends."""
    print("serving", flush=True)
    with socket.socket(fileno=fd) as listener:
        server = Server(listener)
        server.serve(600, lambda: bool(select.select([sys.stdin], [], [], 0)[0]))
        server.accept()
        server.epoll.unregister(fd)
    server.serve(PATIENCE, lambda: not server.clients)


@dataclass
class Way:
    """A way to hand over, and what a new server does first."""

    title: str
    shares_port: bool
    begin: Callable[[socket.socket], None] | None = None


WAYS = [
    Way("one listener", False),
    Way("SO_REUSEPORT", True),
    Way("SO_REUSEPORT, and the old server leaves it to the new one", True, steer_to_newest),
]


class Model:
    """Servers in Python, one after another."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.first = listening(0, way.shares_port)
        self.port = self.first.getsockname()[1]
        self.current = self.start(self.first)

    def start(self, listener: socket.socket) -> subprocess.Popen:
        """Not by fork(2), which would keep the load's connections open."""
        fd = listener.fileno()
        command = [sys.executable, "-m", "benchmarks.studies.handover", "--serve", str(fd)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[fd])
        os.sched_setaffinity(process.pid, {SERVER_CPU})
        process.stdout.readline()  # it serves
        if self.way.shares_port:
            listener.close()  # the server alone has it
        return process

    def replace(self) -> None:
        listener = listening(self.port, True) if self.way.shares_port else self.first
        steered = listener.dup()
        before, self.current = self.current, self.start(listener)
        if self.way.begin:
            self.way.begin(steered)
            time.sleep(STEER)
        steered.close()
        end(before)

    def close(self) -> None:
        end(self.current)
        self.first.close()


def end(process: subprocess.Popen) -> None:
    process.stdin.close()
    process.wait(PATIENCE)
    process.stdout.close()


# ---- our server -----------------------------------------------------------------------------------------------------


class Ours:
    """Servers with one listening socket, one after another."""

    def __init__(self, server: Contestant, drain: int, log: Path) -> None:
        self.listener = listening(0, False)
        self.port = self.listener.getsockname()[1]
        self.options = ["--workers", "1", "--drain", str(drain)]
        self.server = server
        self.log = log
        self.current = self.start()

    def start(self) -> subprocess.Popen:
        """As sd_listen_fds(3) has it: the socket is descriptor 3, and LISTEN_PID the process."""
        fd = self.listener.fileno()
        command = [*self.server.command(self.port, 4096), *self.options]
        handing = ["bash", "-c", f'exec 3<&{fd}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', "bash"]
        begin = self.log.stat().st_size
        with self.log.open("ab") as file:
            process = subprocess.Popen([*handing, *command], stderr=file, pass_fds=[fd])
        os.sched_setaffinity(process.pid, {SERVER_CPU})
        while b"Listening on" not in self.log.read_bytes()[begin:]:
            if process.poll() is not None:
                raise OSError(f"it does not start; see {self.log}")
            time.sleep(0.005)
        return process

    def replace(self) -> None:
        before = self.current
        self.current = self.start()
        before.send_signal(signal.SIGTERM)
        before.wait(PATIENCE)

    def close(self) -> None:
        self.current.send_signal(signal.SIGTERM)
        self.current.wait(PATIENCE)
        self.listener.close()


# ---- rounds ---------------------------------------------------------------------------------------------------------


@dataclass
class Operator:
    """Replaces the server in a thread of its own."""

    servers: Model | Ours
    count: int
    replaced: int = 0
    failures: list[BaseException] = field(default_factory=list)

    def work(self) -> None:
        try:
            for _ in range(self.count):
                time.sleep(SETTLE)
                self.servers.replace()
                self.replaced += 1
            time.sleep(SETTLE)
        except (OSError, subprocess.SubprocessError) as error:
            self.failures.append(error)


def replaced_under_load(servers: Model | Ours, count: int, load: OpenLoop) -> int:
    """How often the server was replaced."""
    operator = Operator(servers, count)
    thread = threading.Thread(target=operator.work)
    thread.start()
    load.run(600, lambda: not thread.is_alive())
    load.finish(3)
    thread.join()
    if operator.failures:
        raise operator.failures[0]
    return operator.replaced


def way_rows(count: int, rate: float) -> Iterator[list[object]]:
    for way in WAYS:
        print(way.title, file=sys.stderr)
        with contextlib.closing(Model(way)) as servers, OpenLoop(("127.0.0.1", servers.port), PAGE, 0, 0, rate) as load:
            replaced = replaced_under_load(servers, count, load)
            yield [way.title, replaced, f"{load.requests:,}", failures_text([load]), load.retried]


def our_rows(count: int) -> Iterator[list[object]]:
    for server in prepare(["static", "python"]):
        for drain in (1, 0):
            title = f"{server.name}, {f'drain {drain} s' if drain else 'no drain'}"
            print(title, file=sys.stderr)
            if server.missing:
                yield [title, server.missing, "", "", ""]
                continue
            log = Path("build") / f"handover-{server.key}-{drain}.log"
            log.write_bytes(b"")
            with contextlib.closing(Ours(server, drain, log)) as servers:
                page = wait_until_ready(servers.port, GET_CLOSE).partition(b"\r\n\r\n")[2]
                with OpenLoop(("127.0.0.1", servers.port), page, KEPT, REQUESTS, NEW, retries=True) as load:
                    replaced = replaced_under_load(servers, count, load)
            yield [title, replaced, f"{load.requests:,}", failures_text([load]), load.retried]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replacements", type=int, default=20)
    parser.add_argument("--rate", type=float, default=2000, help="connections per second, for the ways")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve)
        return
    os.sched_setaffinity(0, {CLIENT_CPU})
    isolate_network()
    print(f"### Ways\n\n{table(HEADS[1:], list(way_rows(options.replacements, options.rate)))}\n", flush=True)
    print(f"### yinyang\n\n{row(HEADS)}\n{row(['---'] * len(HEADS))}", flush=True)
    for cells in our_rows(options.replacements):
        print(row(cells), flush=True)


if __name__ == "__main__":
    main()
