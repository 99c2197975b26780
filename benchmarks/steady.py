"""A steady load from one thread, and what became of each of its requests."""

import errno
import os
import re
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
SILENT_AFTER = 0.9  # seconds of connecting: Linux sends a SYN again after 1 s
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
CLOSES = re.compile(rb"\r\nconnection: close\r\n", re.IGNORECASE)


@dataclass(slots=True)
class Client:
    kept: bool  # for many requests, and opened again when it has ended
    stream: socket.socket | None = None
    began: float = 0.0  # when it was opened
    connected: bool = False
    served: bool = False
    awaits: bool = False  # an answer
    received: bytes = b""


class Load:
    """Requests at a steady pace: on connections that are kept, each in its turn, and on new ones, for one request.

    A kept connection that the server ends is opened again when it has its turn, as long as `opens` is set, and new ones
    are begun as long as it is. A request without the whole right answer has failed, in one of these ways: refused,
    silent (no reply to a SYN), reset, closed, unanswered (to the end), or status N. With `tries_again`, a request whose
    kept connection has served before and ends without a byte of the answer is sent once more on a new one, as clients
    do (RFC 9112 section 9.3.1).
    """

    def __init__(
        self,
        address: tuple[str, int],
        page: bytes,
        kept: int,
        requests: float,
        new: float,
        *,
        tries_again: bool = False,
    ) -> None:
        self.opens = True
        self.tried_again = 0
        self.requests = 0
        self.answered = 0
        self.resets = 0  # of connections that had been established, even after all was answered
        self.failures: Counter[str] = Counter()
        self.exited: float | None = None  # when the process ended that is watched
        self._address = address
        self._page = page
        self._tries_again = tries_again
        self._kept = deque(Client(kept=True) for _ in range(kept))
        self._by_fd: dict[int, Client] = {}
        self._epoll = select.epoll()
        self._every = {True: 1 / requests if requests else 0.0, False: 1 / new if new else 0.0}  # seconds, by `kept`
        self._due: dict[bool, float] = {}
        self._pidfd = -1

    def watch_exit(self, pid: int) -> None:
        self._pidfd = os.pidfd_open(pid)
        self._epoll.register(self._pidfd, select.EPOLLIN)

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Go on for so long, or until a condition holds."""
        now = time.monotonic()
        end = now + seconds
        self._due = {kept: now for kept, every in self._every.items() if every}
        while now < end and not until():
            self._watch()
            now = time.monotonic()
            for kept, due in self._due.items():
                if due <= now:
                    self._due[kept] = due + self._every[kept]
                    self._ask(kept)
            # epoll_wait(2) counts in ms, and rounding up would make bursts of what is due in between
            time.sleep(max(0.0, min([end, *self._due.values()]) - time.monotonic()))

    def finish(self, seconds: float) -> None:
        """Ask nothing more; wait for what is on its way, and for the end of the process that is watched. What has no
        answer then has failed."""
        end = time.monotonic() + seconds
        while (self.pending() or (self._pidfd >= 0 and self.exited is None)) and time.monotonic() < end:
            self._watch(0.005)
        for client in list(self._by_fd.values()):
            if client.awaits:
                self._end(client, "unanswered" if client.connected else "silent")

    def pending(self) -> int:
        """Requests without an answer yet."""
        return sum(client.awaits for client in self._by_fd.values())

    def _ask(self, kept: bool) -> None:
        """One more request, on a new connection or on the kept one that has waited longest for its turn."""
        if not kept:
            if self.opens:
                self.requests += 1
                self._begin(Client(kept=False))
            return
        for _ in range(len(self._kept)):
            client = self._kept.popleft()
            if client.stream is None and not self.opens:
                continue  # it has had its last turn
            self._kept.append(client)
            if not client.awaits:
                self.requests += 1
                if client.stream is None:
                    self._begin(client)
                else:
                    client.awaits = True
                    self._send(client)
                return

    def _begin(self, client: Client) -> None:
        client.stream = socket.socket()
        client.stream.setblocking(False)
        client.began = time.monotonic()
        client.awaits = True
        self._by_fd[client.stream.fileno()] = client
        client.stream.connect_ex(self._address)
        self._epoll.register(client.stream.fileno(), select.EPOLLOUT)

    def _send(self, client: Client) -> None:
        client.received = b""
        try:
            client.stream.send(REQUEST if client.kept else LAST)
        except OSError:
            self.resets += 1
            self._end(client, "reset")

    def _watch(self, timeout: float = 0.0) -> None:
        for fd, _ in self._epoll.poll(timeout, 256):
            client = self._by_fd.get(fd)
            if fd == self._pidfd:
                self.exited = time.monotonic()
                self._epoll.unregister(fd)
            elif client and client.connected:
                self._receive(client)
            elif client:
                self._connected(client)

    def _connected(self, client: Client) -> None:
        error = client.stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error == errno.ECONNRESET:
            self.resets += 1
            self._end(client, "reset")
        elif error:
            self._end(client, "silent" if time.monotonic() - client.began > SILENT_AFTER else "refused")
        else:
            client.connected = True
            self._epoll.modify(client.stream.fileno(), select.EPOLLIN)
            self._send(client)

    def _receive(self, client: Client) -> None:
        try:
            piece = client.stream.recv(65536)
        except OSError:
            self.resets += 1
            self._end(client, "reset")
            return
        if not piece:
            self._end(client, "closed")
            return
        client.received += piece
        head, end, body = client.received.partition(b"\r\n\r\n")
        if not end:
            return
        status = STATUS.match(head)
        if not status or status[1] != b"200" or not self._page.startswith(body):
            self._end(client, f"status {status[1].decode()}" if status else "no status")
        elif body == self._page:
            self.answered += 1
            client.awaits = False
            client.served = True
            # who is told that this was the last answer closes; the others are the server's to close
            if client.kept and CLOSES.search(head + b"\r\n"):
                self._end(client, "")

    def _end(self, client: Client, how: str) -> None:
        again = self._tries_again and client.awaits and client.served and not client.received
        if again:
            self.tried_again += 1
        elif client.awaits:
            self.failures[how] += 1
        client.awaits = client.connected = client.served = False
        del self._by_fd[client.stream.fileno()]
        client.stream.close()
        client.stream = None
        if again:
            self._begin(client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in list(self._by_fd.values()):
            self._end(client, "left")
        self._epoll.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
