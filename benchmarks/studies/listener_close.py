"""Ways to close a listening socket under load without resetting connections: eight ways, tried on a server of this
script.

    python -m benchmarks.studies.listener_close [--rounds 50] [--rate 2000]

Prints tables in Markdown. In each round a process on one CPU listens, answers each connection and closes it, while
new connections come at a fixed rate from the other CPU. At a random moment it closes its listener in one of the ways,
which take turns, and the load goes on for a while. The last row is yinyang: the static program with two workers, on
SIGTERM.

The first table is over the loopback device, where a handshake takes no time. The second is between two network
namespaces, connected by a process that forwards each packet after 5 ms, so that some handshakes are always in
progress. That needs root, /dev/net/tun and ip (on Debian: iproute2); no device of the host is changed.

lost            Connections that were established, as far as the client knows, and then reset, closed or left without
                a response; and the number of rounds with such connections.
refused         Connections refused at once: the client can try another server.
silent          Connections whose first SYN had no reply: the client waits for a second or more.
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

from benchmarks.lib.contestants import STATIC, prepare
from benchmarks.lib.figures import table
from benchmarks.lib.http_requests import GET_CLOSE
from benchmarks.lib.network import enter_network_namespace, isolate_network
from benchmarks.lib.open_loop import OpenLoop
from benchmarks.lib.processes import CLIENT_CPU, SERVER_CPU, free_port, serving, wait_until_ready

DELAY = 0.005  # seconds for each packet
PAUSE = 0.05  # seconds
LEAD = 0.1  # seconds of load before the shutdown: at least, and at most twice as many
AFTER = 0.15  # seconds of load after it
PATIENCE = 2.0  # seconds for outstanding connections; Linux repeats a SYN after one second
SEED = 2016
NOBODY = 65534
PAGE = b"answered"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\n" + PAGE

SO_BINDTOIFINDEX = 62  # socket(7), Linux 5.0
SO_ATTACH_FILTER = 26
IP_MINTTL = 21
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
DROP_SYNS = [  # on the TCP header: drop segments with SYN and without ACK
    (0x30, 0, 0, 13),  # ldb [13]
    (0x54, 0, 0, 0x12),  # and #0x12
    (0x15, 0, 1, 0x02),  # jeq #0x02, or skip the next
    (0x06, 0, 0, 0),  # ret #0
    (0x06, 0, 0, 0xFFFFFFFF),  # ret #-1
]


# ---- ways to close --------------------------------------------------------------------------------------------------


def nothing(_: socket.socket) -> None:
    pass


def drop_syns(listener: socket.socket) -> None:
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in DROP_SYNS))
    listener.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(DROP_SYNS), ctypes.addressof(program))
    )


def bind_to_no_device(listener: socket.socket) -> None:
    listener.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, 0x7FFFFFFF)


def shut_down(listener: socket.socket) -> None:
    listener.shutdown(socket.SHUT_RD)


def require_ttl_255(listener: socket.socket) -> None:
    listener.setsockopt(socket.IPPROTO_IP, IP_MINTTL, 255)


@dataclass
class Way:
    """A way to close a listener."""

    title: str
    begin: Callable[[socket.socket], None]
    pause: float  # seconds in which the server goes on accepting


WAYS = [
    Way("accept what is queued, close", nothing, 0),
    Way("accept for 50 ms more, close", nothing, PAUSE),
    Way("drop SYNs by a packet filter, accept what is queued, close", drop_syns, 0),
    Way("drop SYNs by a packet filter, accept for 50 ms more, close", drop_syns, PAUSE),
    Way("bind to no device, accept what is queued, close", bind_to_no_device, 0),
    Way("bind to no device, accept for 50 ms more, close", bind_to_no_device, PAUSE),
    Way("shutdown(SHUT_RD), accept what is queued, close", shut_down, 0),
    Way("IP_MINTTL 255, accept for 50 ms more, close", require_ttl_255, PAUSE),
]

OURS = "yinyang"


def permissions_of_nobody() -> list[str]:
    """For each first step, whether an unprivileged process is permitted to do it, or the error."""
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
    """A listener, and its accepted connections."""

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
        """Accept all queued connections."""
        with contextlib.suppress(OSError):  # EAGAIN, or EINVAL after shutdown(2)
            while True:
                client, _ = self.listener.accept()
                client.setblocking(False)
                self.clients[client.fileno()] = client
                self.epoll.register(client.fileno(), select.EPOLLIN)

    def answer(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.recv(4096)
            client.send(RESPONSE)

    def close(self, way: Way) -> None:
        """Close the listener in this way, and finish the connections."""
        way.begin(self.listener)
        self.serve(way.pause)
        self.accept()
        self.listener.close()
        self.serve(PATIENCE, lambda: not self.clients)
        for client in self.clients.values():
            client.close()
        self.epoll.close()


def serve_rounds(pipe: multiprocessing.connection.Connection, address: str, isolated: bool) -> None:
    """Main loop of the server's process: for each way, send port and page, and close on the next message."""
    os.sched_setaffinity(0, {SERVER_CPU})
    if isolated:
        with tunnel("10.0.0.2", "10.0.0.1") as device, socket_of(pipe) as carrier:
            socket.send_fds(carrier, [b"x"], [device.fileno()])
            serve_requested(pipe, address)
    else:
        serve_requested(pipe, address)


def socket_of(pipe: multiprocessing.connection.Connection) -> socket.socket:
    """The socket of a duplex pipe, over which descriptors can be sent."""
    return socket.fromfd(pipe.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)


def serve_requested(pipe: multiprocessing.connection.Connection, address: str) -> None:
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
    server.close(way)


def serve_ours(pipe: multiprocessing.connection.Connection) -> None:
    port = free_port()
    command = [str(STATIC), "--port", str(port), "--workers", "2"]
    with serving(command, SERVER_CPU, Path(os.devnull)) as server:
        page = wait_until_ready(port, GET_CLOSE).partition(b"\r\n\r\n")[2]
        pipe.send((port, page))
        pipe.recv()
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE)


# ---- a network with delay -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def tunnel(own: str, other: str) -> Iterator[io.FileIO]:
    """Enter a network namespace with a TUN device; its packets are read from and written to the file."""
    enter_network_namespace()
    with open("/dev/net/tun", "r+b", buffering=0) as device:
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"wire", IFF_TUN | IFF_NO_PI))
        for line in (
            f"ip address add {own} peer {other} dev wire",
            "ip link set wire up txqueuelen 10000",
        ):
            subprocess.run(line.split(), check=True)
        yield device


def forward(near: int, far: int) -> None:
    """Forward each packet from one device to the other after DELAY."""
    os.sched_setaffinity(0, {CLIENT_CPU})
    os.set_blocking(near, False)
    os.set_blocking(far, False)
    waiting: deque[tuple[float, int, bytes]] = deque()  # time, device and packet, in order of time
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
    """Figures of one way."""

    requests: int = 0
    answered: int = 0
    lost: list[int] = field(default_factory=list)  # in each round
    failures: Counter[str] = field(default_factory=Counter)

    def cells(self) -> list[str]:
        rounds = sum(map(bool, self.lost))
        refused, silent = self.failures["refused"], self.failures["silent"]
        lost = f"{sum(self.lost):,} in {rounds} of {len(self.lost)}"
        return [f"{self.requests:,}", f"{self.answered:,}", lost, f"{refused:,}", f"{silent:,}"]


def one_round(
    pipe: multiprocessing.connection.Connection, address: str, number: int, rate: float, lead: float
) -> tuple[OpenLoop, int]:
    """The load with its outcome, and the number of lost connections."""
    pipe.send(number)
    port, page = pipe.recv()
    with OpenLoop((address, port), page, 0, 0, rate) as load:
        load.run(lead)
        pipe.send("end")
        load.run(AFTER)
        load.finish(PATIENCE)
    pipe.recv()
    return load, load.failures.total() - load.failures["refused"] - load.failures["silent"]


def rounds(pipe: multiprocessing.connection.Connection, address: str, count: int, rate: float, title: str) -> str:
    rng = random.Random(SEED)
    titles = [*(way.title for way in WAYS), OURS]
    figures = [Figures() for _ in titles]
    for turn in range(count):
        print(f"{title}, round {turn + 1} of {count}", file=sys.stderr)
        for number, each in enumerate(figures):
            load, lost = one_round(pipe, address, number, rate, LEAD * (1 + rng.random()))
            each.requests += load.requests
            each.answered += load.answered
            each.lost.append(lost)
            each.failures += load.failures
    heads = ["connections", "answered", "lost, in rounds", "refused", "silent"]
    return table(heads, [[name, *each.cells()] for name, each in zip(titles, figures, strict=True)])


def measured(count: int, rate: float, isolated: bool, title: str) -> str:
    """A table; if `isolated`, it is measured in network namespaces, and this process stays in one."""
    context = multiprocessing.get_context("fork")
    pipe, theirs = context.Pipe()
    address = "10.0.0.2" if isolated else "127.0.0.1"
    server = context.Process(target=serve_rounds, args=(theirs, address, isolated), daemon=True)
    with contextlib.ExitStack() as stack:
        near = stack.enter_context(tunnel("10.0.0.1", "10.0.0.2")) if isolated else None
        server.start()
        stack.callback(server.kill)
        if near:
            with socket_of(pipe) as carrier:
                _, (far,), _, _ = socket.recv_fds(carrier, 1, 1)
            relay = context.Process(target=forward, args=(near.fileno(), far), daemon=True)
            relay.start()
            stack.callback(relay.kill)
        return rounds(pipe, address, count, rate, title)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--rate", type=float, default=2000, help="connections per second")
    options = parser.parse_args()
    (own,) = prepare(["static"])
    if own.missing:
        parser.exit(1, f"{own.missing}\n")
    os.sched_setaffinity(0, {CLIENT_CPU})
    isolate_network()
    print(f"As an unprivileged user: {'; '.join(permissions_of_nobody())}.\n")
    print(f"### loopback\n\n{measured(options.rounds, options.rate, False, 'loopback')}\n", flush=True)
    try:
        print(f"### 5 ms each way\n\n{measured(options.rounds, options.rate, True, '5 ms each way')}")
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"### 5 ms each way\n\nnot measured: {error}")


if __name__ == "__main__":
    main()
