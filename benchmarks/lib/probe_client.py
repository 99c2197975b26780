"""A well-behaved client in a process of its own: it sends a request every 5 ms on one connection, and measures
latency."""

import contextlib
import ctypes
import gc
import math
import multiprocessing
import multiprocessing.connection
import os
import socket
import struct
import time
from collections.abc import Iterator

from benchmarks.lib.http_requests import GET

INTERVAL = 0.005  # seconds
PATIENCE = 2.0  # seconds for one response, and for the rest of the requests after the end of a window
WARM_UP = 20  # requests that are not timed
PR_SET_TIMERSLACK = 29


def connected(port: int) -> socket.socket:
    """A blocking socket with a timeout of the kernel, which costs no further system call."""
    client = socket.socket()
    limit = struct.pack("ll", int(PATIENCE), int(PATIENCE % 1 * 1e6))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.connect(("127.0.0.1", port))
    return client


def exchange(client: socket.socket) -> None:
    """One request and its complete response, which has a Content-Length."""
    client.sendall(GET)
    received = b""
    missing = 1
    while missing > 0:
        piece = client.recv(4096)
        if not piece:
            raise ConnectionError("the server closed the connection")
        received += piece
        head, end, body = received.partition(b"\r\n\r\n")
        if end:
            missing = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]) - len(body)
    if not received.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(f"the response begins with {received[:40]!r}")


def window(port: int, seconds: float) -> tuple[list[float], int]:
    """The latencies in seconds, and the number of responses, including those of the warm-up.

    A latency is counted from the moment at which the request was due, so one late response also counts for the requests
    that it delays. A failed request counts as PATIENCE; a request that was not sent because the window had ended counts
    with its delay so far.
    """
    client = None
    times: list[float] = []
    start = math.inf
    answered = 0
    number = -WARM_UP
    while number < seconds / INTERVAL:
        now = time.monotonic()
        if number == 0:
            start = now
        due = start + number * INTERVAL if number > 0 else now
        if now > start + seconds + PATIENCE:
            times.append(now - due)
            number += 1
            continue
        if due > now:
            time.sleep(due - now)
        try:
            client = client or connected(port)
            exchange(client)
            answered += 1
            taken = time.monotonic() - due
        except OSError:
            client = None
            taken = max(PATIENCE, time.monotonic() - due)
            number = max(number, -1)  # a failed request ends the warm-up
        if number >= 0:
            times.append(taken)
        number += 1
    return times, answered


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[math.ceil(len(times) * share) - 1]


def serve_windows(pipe: multiprocessing.connection.Connection, port: int) -> None:
    """Main loop of the process: measure a window for each number of seconds that it receives."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)  # wake on time, not up to 50 us later
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(
            0, os.SCHED_RR, os.sched_param(2)
        )  # priority over the generator, with which it shares a CPU
    gc.disable()
    while seconds := pipe.recv():
        pipe.send(window(port, seconds))


class ProbeClient:
    """The process, seen from its parent."""

    def __init__(self, port: int) -> None:
        self.answered = 0  # number of responses in all windows
        self.pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=serve_windows, args=(theirs, port), daemon=True)
        self.process.start()

    def begin(self, seconds: float) -> None:
        self.pipe.send(seconds)

    def done(self) -> bool:
        return self.pipe.poll()

    def times(self) -> list[float]:
        """Latencies of the finished window in seconds."""
        times, answered = self.pipe.recv()
        self.answered += answered
        return times


@contextlib.contextmanager
def probe_client(port: int) -> Iterator[ProbeClient]:
    client = ProbeClient(port)
    try:
        yield client
    finally:
        client.process.kill()
        client.process.join()
