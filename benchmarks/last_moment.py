"""How to close a listening socket under load without resetting anybody: eight ways, tried on a server of this script's.

    python benchmarks/last_moment.py [--rounds 50] [--rate 2000]

Prints tables in Markdown. In each round a process on one CPU listens, answers each connection and closes it, while new
connections come at a steady rate from another CPU; at a random moment it ends in one of the ways, which take turns, and
the load goes on for a while. Beside them stands yinyang itself, the static program with two workers, on SIGTERM.

First over the loopback device, where a handshake takes no time; then between two network namespaces, whose only way to
each other is a process that hands on each packet 5 ms later, so that some handshakes are always under way. That needs
root, /dev/net/tun and ip (on Debian: iproute2), and touches no device of the host.

lost            Connections that were established, as far as the client could know, and then reset, closed or left
                without an answer; and in how many of the rounds there were any.
refused         Connections that were refused at once: the client may try elsewhere.
silent          Connections whose first SYN was not replied to, so that the client had to wait for a second and more.
"""

import argparse
import contextlib
import ctypes
import errno
import fcntl
import io
import multiprocessing
import multiprocessing.connection
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from contestants import STATIC, made_ready
from network import enter_own_network, leave_shared_network
from processes import free_port, serving, wait_until_it_answers
from steady import LAST, Load

SERVER_CPU, CLIENT_CPU = 1, 0
DELAY = 0.005  # seconds of each packet
PAUSE = 0.05  # seconds
LEAD = 0.1  # seconds of load before a server may be told to end, and at most twice that
AFTER = 0.15  # seconds of load after it was told
PATIENCE = 2.0  # seconds for what is on its way then; a SYN is sent again after one
SEED = 2016
NOBODY = 65534
PAGE = b"answered"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\n" + PAGE

SO_BINDTOIFINDEX = 62  # socket(7), Linux 5.0
SO_ATTACH_FILTER = 26
IP_MINTTL = 21
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
SYN_DROPPED = [  # of a TCP header: drop what has SYN and not ACK
    (0x30, 0, 0, 13),  # ldb [13]
    (0x54, 0, 0, 0x12),  # and #0x12
    (0x15, 0, 1, 0x02),  # jeq #0x02, or skip the next
    (0x06, 0, 0, 0),  # ret #0
    (0x06, 0, 0, 0xFFFFFFFF),  # ret #-1
]


# ---- ways to end --------------------------------------------------------------------------------------------------


def nothing(_: socket.socket) -> None:
    pass


def drop_syns(listener: socket.socket) -> None:
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in SYN_DROPPED))
    listener.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(SYN_DROPPED), ctypes.addressof(program))
    )


def bind_to_nowhere(listener: socket.socket) -> None:
    listener.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, 0x7FFFFFFF)


def shut_down(listener: socket.socket) -> None:
    listener.shutdown(socket.SHUT_RD)


def ask_for_a_near_sender(listener: socket.socket) -> None:
    listener.setsockopt(socket.IPPROTO_IP, IP_MINTTL, 255)


@dataclass
class Way:
    title: str
    begin: Callable[[socket.socket], None]
    pause: float  # seconds in which it goes on accepting


WAYS = [
    Way("accept what is queued, close", nothing, 0),
    Way("accept for 50 ms more, close", nothing, PAUSE),
    Way("drop SYNs by a packet filter, accept what is queued, close", drop_syns, 0),
    Way("drop SYNs by a packet filter, accept for 50 ms more, close", drop_syns, PAUSE),
    Way("bind to no device, accept what is queued, close", bind_to_nowhere, 0),
    Way("bind to no device, accept for 50 ms more, close", bind_to_nowhere, PAUSE),
    Way("shutdown(SHUT_RD), accept what is queued, close", shut_down, 0),
    Way("IP_MINTTL 255, accept for 50 ms more, close", ask_for_a_near_sender, PAUSE),
]

OURS = "yinyang itself"


def refusals_for_nobody() -> list[str]:
    """What a process without privilege is told when it begins to end like that, for each way to begin."""
    reading, writing = multiprocessing.Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        for begin in dict.fromkeys(way.begin for way in WAYS if way.begin is not nothing):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                try:
                    begin(listener)
                    writing.send((begin.__name__, "permitted"))
                except OSError as error:
                    writing.send((begin.__name__, errno.errorcode[error.errno]))
        writing.send(None)
        os._exit(0)
    answers = list(iter(reading.recv, None))
    os.waitpid(pid, 0)
    return [f"{name.replace('_', ' ')}: {word}" for name, word in answers]


# ---- the server ---------------------------------------------------------------------------------------------------


class Server:
    """A listener, and the connections that it has accepted."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.clients: dict[int, socket.socket] = {}
        self.epoll = select.epoll()
        self.epoll.register(listener.fileno(), select.EPOLLIN)

    def serve(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not until():
            for fd, _ in self.epoll.poll(min(left, 0.002), 256):
                if fd == self.listener.fileno():
                    self.accept()
                else:
                    self.answer(self.clients.pop(fd))

    def accept(self) -> None:
        """All that are queued."""
        with contextlib.suppress(OSError):  # EAGAIN, or EINVAL of a listener that was shut down
            while True:
                client, _ = self.listener.accept()
                client.setblocking(False)
                self.clients[client.fileno()] = client
                self.epoll.register(client.fileno(), select.EPOLLIN)

    def answer(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.recv(4096)
            client.send(ANSWER)

    def end(self, way: Way) -> None:
        way.begin(self.listener)
        self.serve(way.pause)
        self.accept()
        self.listener.close()
        self.serve(PATIENCE, lambda: not self.clients)
        for client in self.clients.values():
            client.close()
        self.epoll.close()


def serve_rounds(pipe: multiprocessing.connection.Connection, address: str, isolated: bool) -> None:
    """What the server's process does: for each number of a way, tell the port and the page, and end when told to."""
    os.sched_setaffinity(0, {SERVER_CPU})
    if isolated:
        with tunnel("10.0.0.2", "10.0.0.1") as device, carried(pipe) as carrier:
            socket.send_fds(carrier, [b"x"], [device.fileno()])
            serve_told(pipe, address)
    else:
        serve_told(pipe, address)


def carried(pipe: multiprocessing.connection.Connection) -> socket.socket:
    """The socket that a pipe of both directions is, for descriptors."""
    return socket.fromfd(pipe.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)


def serve_told(pipe: multiprocessing.connection.Connection, address: str) -> None:
    for number in iter(pipe.recv, None):
        if number < len(WAYS):
            serve_once(pipe, address, WAYS[number])
        else:
            serve_ours(pipe)
        pipe.send("ended")


def serve_once(pipe: multiprocessing.connection.Connection, address: str, way: Way) -> None:
    listener = socket.create_server((address, 0), backlog=4096)
    listener.setblocking(False)
    server = Server(listener)
    pipe.send((listener.getsockname()[1], PAGE))
    server.serve(60, pipe.poll)
    pipe.recv()
    server.end(way)


def serve_ours(pipe: multiprocessing.connection.Connection) -> None:
    port = free_port()
    line = [str(STATIC), "--port", str(port), "--workers", "2"]
    with serving(line, SERVER_CPU, Path(os.devnull)) as server:
        page = wait_until_it_answers(port, LAST).partition(b"\r\n\r\n")[2]
        pipe.send((port, page))
        pipe.recv()
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE)


# ---- a network with delay -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def tunnel(own: str, other: str) -> Iterator[io.FileIO]:
    """In a network namespace that this process enters, a device that leads to a file."""
    enter_own_network()
    with open("/dev/net/tun", "r+b", buffering=0) as device:
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"wire", IFF_TUN | IFF_NO_PI))
        for line in (
            f"ip address add {own} peer {other} dev wire",
            "ip link set wire up txqueuelen 10000",
        ):
            subprocess.run(line.split(), check=True)
        yield device


def hand_on(near: int, far: int) -> None:
    """Each packet that leaves one device enters the other DELAY later."""
    os.sched_setaffinity(0, {CLIENT_CPU})
    os.set_blocking(near, False)
    os.set_blocking(far, False)
    waiting: deque[tuple[float, int, bytes]] = deque()  # when, where to, what; in order of time
    while True:
        left = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        readable, _, _ = select.select([near, far], [], [], left)
        for device in readable:
            with contextlib.suppress(BlockingIOError):
                while True:
                    packet = os.read(device, 65536)
                    waiting.append((time.monotonic() + DELAY, near + far - device, packet))
        while waiting and waiting[0][0] <= time.monotonic():
            _, device, packet = waiting.popleft()
            os.write(device, packet)


# ---- rounds -------------------------------------------------------------------------------------------------------


@dataclass
class Figures:
    requests: int = 0
    answered: int = 0
    lost: list[int] = field(default_factory=list)  # of each round
    failures: Counter[str] = field(default_factory=Counter)

    def row(self) -> str:
        rounds = sum(map(bool, self.lost))
        refused, silent = self.failures["refused"], self.failures["silent"]
        lost = f"{sum(self.lost):,} in {rounds} of {len(self.lost)}"
        return f"{self.requests:,} | {self.answered:,} | {lost} | {refused:,} | {silent:,}"


def one_round(
    pipe: multiprocessing.connection.Connection, address: str, number: int, rate: float, lead: float
) -> tuple[Load, int]:
    pipe.send(number)
    port, page = pipe.recv()
    with Load((address, port), page, 0, 0, rate) as load:
        load.run(lead)
        pipe.send("end")
        load.run(AFTER)
        load.finish(PATIENCE)
    pipe.recv()
    return load, load.failures.total() - load.failures["refused"] - load.failures["silent"]


def rounds(pipe: multiprocessing.connection.Connection, address: str, count: int, rate: float, title: str) -> str:
    chance = random.Random(SEED)
    titles = [*(way.title for way in WAYS), OURS]
    figures = [Figures() for _ in titles]
    for turn in range(count):
        print(f"{title}, round {turn + 1} of {count}", file=sys.stderr)
        for number, each in enumerate(figures):
            load, lost = one_round(pipe, address, number, rate, LEAD * (1 + chance.random()))
            each.requests += load.requests
            each.answered += load.answered
            each.lost.append(lost)
            each.failures += load.failures
    lines = ["| | connections | answered | lost, in rounds | refused | silent |", "| --- " * 6 + "|"]
    lines += [f"| {words} | {each.row()} |" for words, each in zip(titles, figures, strict=True)]
    return "\n".join(lines)


def measured(count: int, rate: float, isolated: bool, title: str) -> str:
    """A table; `isolated` in namespaces, which this process then stays in."""
    context = multiprocessing.get_context("fork")
    pipe, theirs = context.Pipe()
    address = "10.0.0.2" if isolated else "127.0.0.1"
    server = context.Process(target=serve_rounds, args=(theirs, address, isolated), daemon=True)
    with contextlib.ExitStack() as stack:
        near = stack.enter_context(tunnel("10.0.0.1", "10.0.0.2")) if isolated else None
        server.start()
        stack.callback(server.kill)
        if near:
            with carried(pipe) as carrier:
                _, (far,), _, _ = socket.recv_fds(carrier, 1, 1)
            relay = context.Process(target=hand_on, args=(near.fileno(), far), daemon=True)
            relay.start()
            stack.callback(relay.kill)
        return rounds(pipe, address, count, rate, title)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--rate", type=float, default=2000, help="connections a second")
    options = parser.parse_args()
    (own,) = made_ready(["static"])
    if own.missing:
        parser.exit(1, f"{own.missing}\n")
    os.sched_setaffinity(0, {CLIENT_CPU})
    leave_shared_network()
    print(f"As an unprivileged user: {'; '.join(refusals_for_nobody())}.\n")
    print(f"### loopback\n\n{measured(options.rounds, options.rate, False, 'loopback')}\n", flush=True)
    try:
        print(f"### 5 ms each way\n\n{measured(options.rounds, options.rate, True, '5 ms each way')}")
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"### 5 ms each way\n\nnot measured: {error}")


if __name__ == "__main__":
    main()
