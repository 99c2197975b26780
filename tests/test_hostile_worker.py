"""A worker that was taken over: what it can write, send and hold back does not harm its parent and the other workers.

It is played from outside, by root: by writes into its memory, by copies of its descriptors (pidfd_getfd(2)), and by
ptrace(2).
"""

import contextlib
import ctypes
import os
import random
import re
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import GET, LAST, PAGE, PATIENCE, Replica, read_all, receive_page, wait_until

pytestmark = pytest.mark.needs("root")

Start = Callable[..., Replica]
WORD = 8  # bytes
VALUES = (0, 1, 1 << 63, (1 << 64) - 1)
LIED = "reported pages that it cannot have served, so it was killed"
LOG_MAX = 1 << 20  # bytes
SYS_PIDFD_GETFD = 438
PTRACE_ATTACH = 16
PTRACE_DETACH = 17
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


# ---- what is done to a worker -------------------------------------------------------------------------------------


class Shared:
    """The memory that a worker shares with its parent: the part of it that the worker may write. There is none before
    it has given up the rest, which is before it reads any request."""

    def __init__(self, worker: int) -> None:
        self.worker = worker
        found = list(mappings(worker))
        self.parts = [(begin, end) for begin, end, rights in found if rights == "rw-s"] if len(found) > 1 else []

    def words(self) -> list[int]:
        return [place for begin, end in self.parts for place in range(begin, end, WORD)]

    def read(self, place: int) -> int:
        with open(f"/proc/{self.worker}/mem", "rb", buffering=0) as memory:
            memory.seek(place)
            return struct.unpack("Q", memory.read(WORD))[0]

    def write(self, place: int, *values: int) -> None:
        with open(f"/proc/{self.worker}/mem", "r+b", buffering=0) as memory:
            memory.seek(place)
            memory.write(struct.pack(f"{len(values)}Q", *values))

    def page_ring(self, second: int) -> dict[str, int]:
        """Where the fields of the page ring are, after the first pages, which were served in that second."""
        place = next(word for word in self.words() if abs(self.read(word) - second) <= 1)
        ring = {"newest": place - 3 * WORD, "second": place, "count": place + WORD}  # the first slot stays empty
        assert self.read(ring["newest"]) == 1
        return ring


def mappings(pid: int) -> Iterator[tuple[int, int, str]]:
    """The memory that it shares with its parent, as begin, end and rights."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) .*/(?:dev/zero|memfd:yinyang) \(deleted\)$", line)
        if found:
            yield int(found[1], 16), int(found[2], 16), found[3]


def copy_of(worker: int, fd: int) -> int:
    """A descriptor for what a descriptor of a worker stands for."""
    pidfd = os.pidfd_open(worker)
    try:
        copy = libc.syscall(SYS_PIDFD_GETFD, pidfd, fd, 0)
        assert copy >= 0, os.strerror(ctypes.get_errno())
        return copy
    finally:
        os.close(pidfd)


@contextlib.contextmanager
def socket_of(worker: int, family: int) -> Iterator[socket.socket]:
    """A worker's lifeline (AF_UNIX), or its listening socket (AF_INET6)."""
    for name in os.listdir(f"/proc/{worker}/fd"):
        if os.readlink(f"/proc/{worker}/fd/{name}").startswith("socket:"):
            with socket.socket(fileno=copy_of(worker, int(name))) as found:
                if found.family == family and (family == socket.AF_UNIX or listens(found)):
                    yield found
                    return
    raise AssertionError("there is no such socket")


def listens(found: socket.socket) -> bool:
    return found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


@contextlib.contextmanager
def traced(worker: int) -> Iterator[None]:
    """A debugger holds it."""
    assert libc.ptrace(PTRACE_ATTACH, worker, None, None) == 0, os.strerror(ctypes.get_errno())
    os.waitpid(worker, 0)
    try:
        yield
    finally:
        libc.ptrace(PTRACE_DETACH, worker, None, None)
        with contextlib.suppress(ChildProcessError):  # when it is dead, its tracer has to wait for it
            os.waitpid(worker, os.WNOHANG)


def started(start: Start, workers: int, *options: str) -> Replica:
    """A server whose workers are all up."""
    replica = start("--workers", str(workers), *options)
    wait_until(lambda: "Sandbox" in replica.log.read_text(), "all workers")
    return replica


def serves(replica: Replica) -> bool:
    return replica.ask(LAST).endswith(PAGE)


def end(replica: Replica) -> None:
    assert replica.stop() == 0
    assert replica.log.stat().st_size < LOG_MAX


# ---- memory -------------------------------------------------------------------------------------------------------


def test_it_can_write_its_own_slot_only(start: Start) -> None:
    replica = started(start, 3)
    writable = []
    for worker in replica.workers():
        parts = list(mappings(worker))
        writable += [part[:2] for part in parts if part[2] == "rw-s"]
        for begin, _, rights in parts:
            if rights != "rw-s":
                assert rights == "r--s"
                with pytest.raises(OSError, match="Input/output error"):
                    Shared(worker).write(begin, 1)
    assert len(set(writable)) == 3
    end(replica)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("newest", 0),
        ("newest", 2 + 64),
        ("newest", 1 << 63),
        ("newest", (1 << 64) - 1),
        ("second", 0),
        ("second", 1 << 40),
        ("second", (1 << 63) - 1),
        ("second", 1 << 63),
        ("count", 1 << 20),
        ("count", 1 << 40),
        ("count", 1 << 63),
        ("count", (1 << 64) - 2),
    ],
)
def test_a_liar_is_replaced(field: str, value: int, start: Start) -> None:
    replica = started(start, 1)
    worker = replica.workers()[0]
    assert serves(replica)
    second = int(time.time())
    wait_until(lambda: len(replica.served()) == 1)
    shared = Shared(worker)
    ring = shared.page_ring(second)
    if field == "second":
        shared.write(ring["second"], value, 2)
    else:
        shared.write(ring[field], value)
    assert replica.ask(LAST)  # the next page, for which the parent looks
    wait_until(lambda: re.search(rf"Worker 1 \(pid {worker}\) {LIED}, restarted as pid", replica.log.read_text()))
    assert serves(replica)
    end(replica)


@pytest.mark.parametrize("options", [(), ("--control",)], ids=["", "control"])
def test_no_word_that_it_writes_harms_others(options: tuple[str, ...], start: Start) -> None:
    replica = started(start, 2, *options)
    shared = Shared(replica.workers()[0])
    for word in range(len(shared.words())):
        for value in VALUES:
            with contextlib.suppress(ProcessLookupError, FileNotFoundError, OSError):  # it may be dead just now
                shared.write(shared.words()[word], value)
            wait_until(lambda: asks(replica))
            if not Path(f"/proc/{shared.worker}/maps").exists():
                wait_until(lambda: len(replica.workers()) == 2)
                shared = Shared(replica.workers()[0])
                wait_until(lambda shared=shared: Shared(shared.worker).parts, "its shared memory")
                shared = Shared(shared.worker)
    end(replica)


def test_random_words_everywhere(start: Start) -> None:
    replica = started(start, 2)
    randoms = random.Random(18)
    for _ in range(20):
        with contextlib.suppress(OSError):
            workers = wait_until(replica.workers)  # both may be in a pause
            shared = Shared(workers[-1])  # the latest, and so the next one in its place
            for begin, ending in shared.parts:
                shared.write(begin, *(randoms.getrandbits(64) for _ in range(begin, ending, WORD)))
        wait_until(lambda: asks(replica))
    end(replica)


def asks(replica: Replica) -> bool:
    """Is it served, though the worker that accepts may be killed meanwhile?"""
    try:
        return serves(replica)
    except ConnectionError:
        return False


# ---- descriptors --------------------------------------------------------------------------------------------------


def test_a_flood_of_notifications(start: Start) -> None:
    replica = started(start, 2)
    worker = replica.workers()[0]
    with socket_of(worker, socket.AF_UNIX) as lifeline, contextlib.suppress(BlockingIOError, BrokenPipeError):
        while True:
            lifeline.send(bytes(1000), socket.MSG_DONTWAIT)
    words = rf"\(pid {worker}\) notified the parent more often than it has reason to, so it was killed, restarted"
    wait_until(lambda: re.search(words, replica.log.read_text()))
    assert serves(replica)
    end(replica)


def test_a_lifeline_that_is_closed_by_a_worker_that_goes_on(start: Start) -> None:
    replica = started(start, 2)
    worker = replica.workers()[0]
    os.kill(worker, signal.SIGSTOP)
    with socket_of(worker, socket.AF_UNIX) as lifeline:
        lifeline.shutdown(socket.SHUT_RDWR)
        words = rf"\(pid {worker}\) closed its connection to the parent and went on, so it was killed, restarted"
        wait_until(lambda: re.search(words, replica.log.read_text()))
    assert serves(replica)
    end(replica)


def test_an_event_at_its_limit_keeps_nobody_from_draining(start: Start) -> None:
    replica = started(start, 2)
    worker = replica.workers()[0]
    [fd] = [fd for fd in os.listdir(f"/proc/{worker}/fd") if "eventfd" in os.readlink(f"/proc/{worker}/fd/{fd}")]
    event = copy_of(worker, int(fd))
    try:
        with contextlib.suppress(BlockingIOError):
            os.write(event, struct.pack("Q", (1 << 64) - 2))
        with replica.connect() as idle, replica.connect() as begun:
            idle.sendall(GET)
            receive_page(idle)
            begun.sendall(GET[:-2])
            replica.send_signal(signal.SIGTERM)
            assert idle.recv(1) == b""
            begun.sendall(GET[-2:])
            assert read_all(begun).endswith(PAGE)
        assert replica.process.wait(PATIENCE) == 0
    finally:
        os.close(event)


@pytest.mark.parametrize("sandbox", ["auto", "off"])
def test_a_listening_socket_that_is_shut_down(sandbox: str, start: Start) -> None:
    """All go on with it, and with their connections."""
    replica = start("--workers", "2", "--sandbox", sandbox)
    wait_until(lambda: len(replica.workers()) == 2)
    workers = replica.workers()
    with replica.connect() as client:
        client.sendall(GET)
        receive_page(client)
        with socket_of(workers[0], socket.AF_INET6) as listener:
            for times in range(1, 4):
                listener.shutdown(socket.SHUT_RD)
                words = "Somebody shut down the listening socket, and it listens again"
                wait_until(lambda times=times, words=words: replica.log.read_text().count(words) == times)
                assert serves(replica)
        client.sendall(GET)
        assert receive_page(client).endswith(PAGE)
    assert replica.workers() == workers
    end(replica)


@pytest.mark.parametrize("sandbox", ["off"])
def test_a_listening_socket_that_is_connected_elsewhere(sandbox: str, start: Start) -> None:
    replica = start("--workers", "2", "--sandbox", sandbox)
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        socket_of(replica.workers()[0], socket.AF_INET6) as listener,
    ):
        listener.shutdown(socket.SHUT_RD)
        with contextlib.suppress(OSError):  # it may listen again already
            listener.connect(("::ffff:127.0.0.1", other.getsockname()[1]))
        wait_until(lambda: is_reached(replica))
    end(replica)


def is_reached(replica: Replica) -> bool:
    try:
        return serves(replica)
    except OSError:
        return False


# ---- silence ------------------------------------------------------------------------------------------------------


def test_a_silent_worker_is_replaced(start: Start) -> None:
    """As long as somebody wakes the parent, it looks after all of them."""
    replica = started(start, 2)
    worker = replica.workers()[0]
    with traced(worker):
        words = rf"\(pid {worker}\) did nothing for too long, restarted as pid"
        wait_until(lambda: serves(replica) and re.search(words, replica.log.read_text()))
        assert serves(replica)
        end(replica)


@pytest.mark.parametrize("signals", [1, 2])
def test_a_traced_worker_holds_up_no_end(signals: int, start: Start) -> None:
    replica = started(start, 2)
    with traced(replica.workers()[0]):
        for _ in range(signals):
            replica.send_signal(signal.SIGTERM)
            time.sleep(0.1)  # two that come at once are one
        assert replica.process.wait(PATIENCE) == 0
