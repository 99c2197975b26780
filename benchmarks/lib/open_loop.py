"""Open-loop load from one thread: requests at a fixed rate, whatever the responses; and the outcome of each request."""

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

from benchmarks.lib.http_requests import GET, GET_CLOSE

SILENT_AFTER = 0.9  # seconds until an attempt to connect counts as unanswered: Linux repeats a SYN after 1 s
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
CLOSES = re.compile(rb"\r\nconnection: close\r\n", re.IGNORECASE)


@dataclass(slots=True)
class Client:
    """A connection, or the place of one that is to be opened."""

    kept: bool  # for many requests, and opened again after its end
    stream: socket.socket | None = None
    opened_at: float = 0.0
    connected: bool = False
    served: bool = False
    waiting: bool = False  # for a response
    received: bytes = b""


class OpenLoop:
    """Requests at a fixed rate: on kept connections in turn, and on new connections with one request each.

    While `opens` is set, new connections are opened, and a kept connection that the server has ended is opened again in
    its turn. A request without the complete expected response has failed, for one of these reasons: refused, silent (no
    reply to a SYN), reset, closed, unanswered (until the end of the load), or status N. With `retries`, a request is
    sent once more on a new connection if its kept connection had served before and ends without a byte of the response,
    as clients do (RFC 9112 section 9.3.1).
    """

    def __init__(
        self,
        address: tuple[str, int],
        page: bytes,
        kept: int,
        requests: float,
        new: float,
        *,
        retries: bool = False,
    ) -> None:
        self.opens = True
        self.retried = 0
        self.requests = 0
        self.answered = 0
        self.resets = 0  # of established connections, even if nothing was outstanding
        self.failures: Counter[str] = Counter()
        self.exited_at: float | None = None  # end of the watched process
        self._address = address
        self._page = page
        self._retries = retries
        self._kept = deque(Client(kept=True) for _ in range(kept))
        self._by_fd: dict[int, Client] = {}
        self._epoll = select.epoll()
        self._interval = {True: 1 / requests if requests else 0.0, False: 1 / new if new else 0.0}  # seconds, by `kept`
        self._due: dict[bool, float] = {}
        self._pidfd = -1

    def watch_exit(self, pid: int) -> None:
        self._pidfd = os.pidfd_open(pid)
        self._epoll.register(self._pidfd, select.EPOLLIN)

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Send requests for so many seconds, or until a condition holds."""
        now = time.monotonic()
        end = now + seconds
        self._due = {kept: now for kept, interval in self._interval.items() if interval}
        while now < end and not until():
            self._poll()
            now = time.monotonic()
            for kept, due in self._due.items():
                if due <= now:
                    self._due[kept] = due + self._interval[kept]
                    self._request(kept)
            # epoll_wait(2) counts in ms; rounding up would send requests in bursts
            time.sleep(max(0.0, min([end, *self._due.values()]) - time.monotonic()))

    def finish(self, seconds: float) -> None:
        """Send no more requests; wait for outstanding responses and for the end of the watched process. Requests
        without a response by then have failed."""
        end = time.monotonic() + seconds
        while (self.pending() or (self._pidfd >= 0 and self.exited_at is None)) and time.monotonic() < end:
            self._poll(0.005)
        for client in list(self._by_fd.values()):
            if client.waiting:
                self._end(client, "unanswered" if client.connected else "silent")

    def pending(self) -> int:
        """Number of outstanding responses."""
        return sum(client.waiting for client in self._by_fd.values())

    def _request(self, kept: bool) -> None:
        """Send one more request, on a new connection or on the kept connection whose turn it is."""
        if not kept:
            if self.opens:
                self.requests += 1
                self._open(Client(kept=False))
            return
        for _ in range(len(self._kept)):
            client = self._kept.popleft()
            if client.stream is None and not self.opens:
                continue  # it is not opened again
            self._kept.append(client)
            if not client.waiting:
                self.requests += 1
                if client.stream is None:
                    self._open(client)
                else:
                    client.waiting = True
                    self._send(client)
                return

    def _open(self, client: Client) -> None:
        client.stream = socket.socket()
        client.stream.setblocking(False)
        client.opened_at = time.monotonic()
        client.waiting = True
        self._by_fd[client.stream.fileno()] = client
        client.stream.connect_ex(self._address)
        self._epoll.register(client.stream.fileno(), select.EPOLLOUT)

    def _send(self, client: Client) -> None:
        client.received = b""
        try:
            client.stream.send(GET if client.kept else GET_CLOSE)
        except OSError:
            self.resets += 1
            self._end(client, "reset")

    def _poll(self, timeout: float = 0.0) -> None:
        for fd, _ in self._epoll.poll(timeout, 256):
            client = self._by_fd.get(fd)
            if fd == self._pidfd:
                self.exited_at = time.monotonic()
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
            self._end(client, "silent" if time.monotonic() - client.opened_at > SILENT_AFTER else "refused")
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
            client.waiting = False
            client.served = True
            # a kept connection is closed by this client after a Connection: close, the others by the server
            if client.kept and CLOSES.search(head + b"\r\n"):
                self._end(client, "")

    def _end(self, client: Client, reason: str) -> None:
        retry = self._retries and client.waiting and client.served and not client.received
        if retry:
            self.retried += 1
        elif client.waiting:
            self.failures[reason] += 1
        client.waiting = client.connected = client.served = False
        del self._by_fd[client.stream.fileno()]
        client.stream.close()
        client.stream = None
        if retry:
            self._open(client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in list(self._by_fd.values()):
            self._end(client, "abandoned")
        self._epoll.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
