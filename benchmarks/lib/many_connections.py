"""Thousands of misbehaving connections, driven by one thread, and how each of them ended."""

import contextlib
import itertools
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

CONNECT_PATIENCE = 5.0  # seconds
SLICE = 0.02  # seconds between two checks of a condition
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, 0 s


@dataclass(slots=True)
class Connection:
    """One of many connections."""

    socket: socket.socket
    unsent: bytes = b""
    began_at: float = 0.0  # time of its first byte
    duration: float = 0.0  # seconds from its first byte to its end
    status: str = ""  # of its first response
    end: str = ""  # "closed" or "reset"; empty while it is open

    def outcome(self) -> str:
        if not self.end:
            return f"{self.status}, then open" if self.status else "open"
        return f"{self.status}, then {self.end}" if self.status else f"{self.end} in silence"


class ManyConnections:
    """Connections to a port of 127.0.0.1. If they do not read, only a reset or an early end is noticed."""

    def __init__(self, port: int, reads: bool) -> None:
        self.port = port
        self.connections: list[Connection] = []
        self.refused = 0
        self._by_fd: dict[int, Connection] = {}
        self._epoll = select.epoll()
        self._events = select.EPOLLRDHUP | (select.EPOLLIN if reads else 0)
        self._reads = reads

    def open_count(self) -> int:
        return len(self._by_fd)

    def connect(self) -> Connection | None:
        client = socket.socket()
        if not self._reads:
            # Segments as on a network: with the 64 KiB of the loopback device, the kernel would accept megabytes of
            # responses for a client that reads nothing.
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(CONNECT_PATIENCE)
        try:
            client.connect(("127.0.0.1", self.port))
        except OSError:
            client.close()
            self.refused += 1
            return None
        client.setblocking(False)
        connection = Connection(client)
        self.connections.append(connection)
        self._by_fd[client.fileno()] = connection
        self._epoll.register(client.fileno(), self._events)
        return connection

    def send(self, connection: Connection, data: bytes) -> None:
        """Send as much as the socket accepts now, and the rest later."""
        if connection.end:
            return
        if not connection.began_at:
            connection.began_at = time.monotonic()
        data = connection.unsent + data
        try:
            sent = connection.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._end(connection, "reset")
            return
        was_waiting = bool(connection.unsent)
        connection.unsent = data[sent:]
        if bool(connection.unsent) != was_waiting:
            self._epoll.modify(connection.socket.fileno(), self._events | (select.EPOLLOUT if connection.unsent else 0))

    def sip(self, connection: Connection, count: int) -> None:
        """Read at most so many bytes, of a connection that is not read otherwise."""
        if not connection.end:
            try:
                connection.socket.recv(count)
            except BlockingIOError:
                pass
            except OSError:
                self._end(connection, "reset")

    def watch(self, timeout: float) -> None:
        """Wait for events and handle them."""
        for fd, events in self._epoll.poll(timeout, 256):
            connection = self._by_fd.get(fd)
            if connection is None:
                continue
            if events & ~select.EPOLLOUT:
                self._handle(connection, events)
            elif events & select.EPOLLOUT:
                self.send(connection, b"")

    def _handle(self, connection: Connection, events: int) -> None:
        if not self._reads:
            self._end(connection, "reset" if events & select.EPOLLERR else "closed")
            return
        try:
            data = connection.socket.recv(65536)
        except OSError:
            self._end(connection, "reset")
            return
        if not data:
            self._end(connection, "closed")
        elif not connection.status:
            connection.status = data[9:12].decode("ascii", "replace")

    def _end(self, connection: Connection, end: str) -> None:
        connection.end = end
        connection.duration = time.monotonic() - connection.began_at
        del self._by_fd[connection.socket.fileno()]
        connection.socket.close()

    def outcomes(self) -> dict[str, int]:
        counts = Counter(connection.outcome() for connection in self.connections)
        if self.refused:
            counts["not connected"] = self.refused
        return dict(counts.most_common())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._by_fd.values():
            reset(connection.socket)
        self._by_fd.clear()
        self._epoll.close()


def reset(client: socket.socket) -> None:
    """Close with a reset: the other end learns of it at once, and no port stays in TIME-WAIT."""
    with contextlib.suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    client.close()


class SlowSender:
    """Sends a piece to each connection in turn, evenly over `interval`, and reads at most `sip` bytes from it; then the
    next piece, and so on."""

    def __init__(
        self, many: ManyConnections, connections: list[Connection], pieces: list[bytes], interval: float, sip: int = 0
    ) -> None:
        self._many = many
        self._sip = sip
        self._turns = itertools.product(pieces, connections)
        self._step = interval / len(connections)
        self._due = time.monotonic()

    def run(self, until: Callable[[], bool], at_most: float) -> None:
        """Send pieces and handle events until the condition holds, for at most so many seconds."""
        end = time.monotonic() + at_most
        look = 0.0
        while (now := time.monotonic()) < end:
            if now >= look:
                if until():
                    return
                look = now + SLICE
            while self._due <= now and (turn := next(self._turns, None)):
                piece, connection = turn
                self._many.send(connection, piece)
                if self._sip:
                    self._many.sip(connection, self._sip)
                self._due += self._step
            # epoll_wait(2) counts in ms; rounding up would send pieces in bursts
            self._many.watch(0)
            time.sleep(max(0.0, min(self._due, end) - time.monotonic()))


def watch(many: ManyConnections, until: Callable[[], bool], at_most: float) -> None:
    """Handle events until the condition holds, for at most so many seconds."""
    end = time.monotonic() + at_most
    while time.monotonic() < end and not until():
        many.watch(SLICE)
