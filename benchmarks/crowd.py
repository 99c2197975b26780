"""Many connections that misbehave, made and watched by one thread, and how each of them ended."""

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
SLICE = 0.02  # seconds until a condition is looked at again
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, 0 s


@dataclass(slots=True)
class Member:
    socket: socket.socket
    unsent: bytes = b""
    began: float = 0.0  # when its first byte was sent
    took: float = 0.0  # seconds from then until it ended
    status: str = ""  # of the first answer that it got
    end: str = ""  # how it ended; empty while it is open

    def outcome(self) -> str:
        if not self.end:
            return f"{self.status}, then open" if self.status else "open"
        return f"{self.status}, then {self.end}" if self.status else f"{self.end} in silence"


class Crowd:
    """Connections to a port of 127.0.0.1. Of those that do not read, only a reset or an early end is seen."""

    def __init__(self, port: int, reads: bool) -> None:
        self.port = port
        self.members: list[Member] = []
        self.refused = 0
        self._by_fd: dict[int, Member] = {}
        self._epoll = select.epoll()
        self._events = select.EPOLLRDHUP | (select.EPOLLIN if reads else 0)
        self._reads = reads

    def open_count(self) -> int:
        return len(self._by_fd)

    def connect(self) -> Member | None:
        client = socket.socket()
        if not self._reads:
            # as from a network rather than from this host, whose segments of 64 KiB would make the kernel take
            # megabytes of answers for a client that reads nothing
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
        member = Member(client)
        self.members.append(member)
        self._by_fd[client.fileno()] = member
        self._epoll.register(client.fileno(), self._events)
        return member

    def send(self, member: Member, data: bytes) -> None:
        """Send as much as is accepted now, and the rest when it is."""
        if member.end:
            return
        if not member.began:
            member.began = time.monotonic()
        try:
            sent = member.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._end(member, "reset")
            return
        waits = bool(member.unsent)
        member.unsent = data[sent:]
        if bool(member.unsent) != waits:
            self._epoll.modify(member.socket.fileno(), self._events | (select.EPOLLOUT if member.unsent else 0))

    def watch(self, timeout: float) -> None:
        """Wait for something to happen, and note it."""
        for fd, events in self._epoll.poll(timeout, 256):
            member = self._by_fd.get(fd)
            if member is None:
                continue
            if events & ~select.EPOLLOUT:
                self._hear(member, events)
            elif events & select.EPOLLOUT:
                self.send(member, member.unsent)

    def _hear(self, member: Member, events: int) -> None:
        if not self._reads:
            self._end(member, "reset" if events & select.EPOLLERR else "closed")
            return
        try:
            data = member.socket.recv(65536)
        except OSError:
            self._end(member, "reset")
            return
        if not data:
            self._end(member, "closed")
        elif not member.status:
            member.status = data[9:12].decode("ascii", "replace")

    def _end(self, member: Member, how: str) -> None:
        member.end = how
        member.took = time.monotonic() - member.began
        del self._by_fd[member.socket.fileno()]
        member.socket.close()

    def outcomes(self) -> dict[str, int]:
        counts = Counter(member.outcome() for member in self.members)
        if self.refused:
            counts["not connected"] = self.refused
        return dict(counts.most_common())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._by_fd.values():
            reset(member.socket)
        self._by_fd.clear()
        self._epoll.close()


def reset(client: socket.socket) -> None:
    """Close so that the other end is told at once, and no port is kept waiting."""
    with contextlib.suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    client.close()


class Drip:
    """A piece to each member in turn, evenly over `interval`; then the next piece to each, and so on."""

    def __init__(self, crowd: Crowd, members: list[Member], pieces: list[bytes], interval: float) -> None:
        self._crowd = crowd
        self._turns = itertools.product(pieces, members)
        self._step = interval / len(members)
        self._due = time.monotonic()

    def run(self, until: Callable[[], bool], at_most: float) -> None:
        """Drip and watch until the condition holds, but not longer than so many seconds."""
        end = time.monotonic() + at_most
        look = 0.0
        while (now := time.monotonic()) < end:
            if now >= look:
                if until():
                    return
                look = now + SLICE
            while self._due <= now and (turn := next(self._turns, None)):
                piece, member = turn
                self._crowd.send(member, piece)
                self._due += self._step
            # epoll_wait(2) counts in ms, and rounding up would make bursts of what is due in between
            self._crowd.watch(0)
            time.sleep(max(0.0, min(self._due, end) - time.monotonic()))


def watch(crowd: Crowd, until: Callable[[], bool], at_most: float) -> None:
    """Only watch, until the condition holds, but not longer than so many seconds."""
    end = time.monotonic() + at_most
    while time.monotonic() < end and not until():
        crowd.watch(SLICE)
