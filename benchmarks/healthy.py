"""A client that behaves, in a process of its own: a request every 5 ms on one connection, whatever else goes on."""

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

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
EVERY = 0.005  # seconds
PATIENCE = 2.0  # seconds for one answer, and for what is left of a window that is over
WARM_UP = 20  # requests that are not timed
PR_SET_TIMERSLACK = 29


def connected(port: int) -> socket.socket:
    """A blocking socket; the kernel minds its time limit, so that no call is added for it."""
    client = socket.socket()
    limit = struct.pack("ll", int(PATIENCE), int(PATIENCE % 1 * 1e6))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.connect(("127.0.0.1", port))
    return client


def exchange(client: socket.socket) -> None:
    """One request and its whole answer, which is a page with a Content-Length."""
    client.sendall(REQUEST)
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
        raise ConnectionError(f"the server answers {received[:40]!r}")


def window(port: int, seconds: float) -> tuple[list[float], int]:
    """Seconds from when each request was due to the end of its answer, so a late answer counts for all that it delays;
    and how many answers came, those of the warm-up included.

    A request that fails counts with PATIENCE; one that was never sent, as the window was over, with its delay so far.
    """
    client = None
    times: list[float] = []
    start = math.inf
    answered = 0
    number = -WARM_UP
    while number < seconds / EVERY:
        now = time.monotonic()
        if number == 0:
            start = now
        due = start + number * EVERY if number > 0 else now
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
            number = max(number, -1)  # what does not answer does not warm up either
        if number >= 0:
            times.append(taken)
        number += 1
    return times, answered


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[math.ceil(len(times) * share) - 1]


def serve_windows(pipe: multiprocessing.connection.Connection, port: int) -> None:
    """What the process does: time a window whenever it is asked to."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)  # wake when due, not up to 50 us later
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(2))  # before the generator, with which it shares a CPU
    gc.disable()
    while seconds := pipe.recv():
        pipe.send(window(port, seconds))


class Healthy:
    """The process, as its parent sees it."""

    def __init__(self, port: int) -> None:
        self.answered = 0  # in all windows
        self.pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=serve_windows, args=(theirs, port), daemon=True)
        self.process.start()

    def begin(self, seconds: float) -> None:
        self.pipe.send(seconds)

    def done(self) -> bool:
        return self.pipe.poll()

    def times(self) -> list[float]:
        """Of the window that is done, in seconds."""
        times, answered = self.pipe.recv()
        self.answered += answered
        return times


@contextlib.contextmanager
def healthy_client(port: int) -> Iterator[Healthy]:
    client = Healthy(port)
    try:
        yield client
    finally:
        client.process.kill()
        client.process.join()
