"""Faults of system calls: each one that serving makes fails in turn, with each error that it may have.

strace makes it fail: the first time that it is called, then the second time, and so on, until a conversation with the
server no longer comes so far. The call is not made then; so a descriptor that close(2) fails on stays open, unlike in
truth, and close is only tried where the process ends soon.
"""

import contextlib
import ctypes
import itertools
import os
import platform
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import GET, LAST, PAGE, PATIENCE, SERVED, Replica, Shape, needs, started_with, switches, wait_until

pytestmark = pytest.mark.strace
attaches = pytest.mark.needs("root")  # only root may trace what runs already

REQUESTS = {
    "page": GET,
    "last page": LAST,
    "page after a body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6000\r\n\r\n" + 6000 * b"x",
    "wrong": b"WRONG\r\n\r\n",
}
Start = Callable[..., Replica]

# calls of a worker that serves, errors that cost nobody anything, and errors that may cost somebody a connection
WORKER = [
    ("accept4", "ECONNABORTED EPROTO EINTR EPERM", "EMFILE ENFILE ENOBUFS ENOMEM"),
    ("recvfrom", "EINTR EAGAIN", "ECONNRESET ENOMEM ETIMEDOUT"),
    ("sendto", "EINTR EAGAIN", "EPIPE ECONNRESET ENOBUFS ENOMEM"),
    ("writev", "EINTR", "EAGAIN EPIPE ECONNRESET ENOBUFS ENOMEM"),  # after EAGAIN, one rendered answer is kept
    ("?epoll_wait,epoll_pwait", "EINTR", ""),
    ("epoll_ctl", "", "ENOMEM ENOSPC"),
    ("shutdown", "ENOTCONN", ""),
    ("setitimer", "EINVAL", ""),
]

# calls of its parent meanwhile, and errors, of which none may cost anything
PARENT = [
    ("?poll,ppoll", "EINTR ENOMEM"),
    ("recvfrom", "EINTR EAGAIN"),
    ("waitid", "EINTR ECHILD"),
    ("sendto", "EINTR EAGAIN"),
    ("write", "EINTR EAGAIN EIO ENOSPC EPIPE"),
]
PARENT_TURNS = 2  # after some of these errors, the log is tried again a second later

# calls when a server ends, who makes them, and errors
END = [
    ("worker", "accept4", "ECONNABORTED EMFILE"),
    ("worker", "recvfrom", "EINTR ECONNRESET"),
    ("worker", "sendto", "EAGAIN EPIPE"),
    ("worker", "?epoll_wait,epoll_pwait", "EINTR"),
    ("worker", "shutdown", "ENOTCONN"),
    ("worker", "close", "EINTR EIO"),
    ("parent", "setsockopt", "ENOPROTOOPT"),
    ("parent", "?poll,ppoll", "EINTR ENOMEM"),
    ("parent", "wait4", "EINTR"),
    ("parent", "close", "EIO"),
]
END_TURNS = 2

# calls without which there is no server, how often it makes them to start two workers, and errors
START = [
    ("socket", 1, "EMFILE ENFILE ENOBUFS ENOMEM EACCES"),
    ("bind", 1, "ENOMEM EINVAL"),
    ("listen", 1, "EADDRINUSE EOPNOTSUPP"),
    ("eventfd2", 1, "EMFILE ENFILE ENOMEM"),
    ("socketpair", 2, "EMFILE ENFILE ENOMEM"),
    ("?fork,clone", 2, "EAGAIN ENOMEM"),
]


# ---- clients ------------------------------------------------------------------------------------------------------


class Client:
    """A connection: what was asked on it, and what was answered."""

    opened: ClassVar[list["Client"]] = []

    def __init__(self, replica: Replica) -> None:
        self.opened.append(self)
        self.connection = socket.socket()
        self.connection.settimeout(PATIENCE)
        # little is on its way at a time, so the server often has to wait until more can be sent
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.connection.connect(("127.0.0.1", replica.port))
        self.asked: list[str] = []
        self.answers: list[str] = []
        self.rest = b""  # of what was received: the beginning of the next answer
        self.ended = False  # by the server

    def send(self, *asked: str) -> None:
        self.asked += asked
        with contextlib.suppress(ConnectionError):  # which shows when the answers are read
            self.connection.sendall(b"".join(map(request, asked)))

    def read(self, until_the_end: bool = False) -> None:
        """Read all that is due. Whole answers in order are followed by nothing but an end."""
        while not self.ended and (until_the_end or len(self.answers) < len(self.asked)):
            piece = b""
            with contextlib.suppress(ConnectionError):
                piece = self.connection.recv(65536)
            self.ended = not piece
            self.rest += piece
            while taken := first_answer(self.rest):
                answer, self.rest = taken
                asked = self.asked[len(self.answers)]
                assert answer == ("page" if "page" in asked else asked)
                self.answers.append(answer)
        assert self.ended or not self.rest

    def ask(self, *asked: str) -> None:
        self.send(*asked)
        self.read()

    @property
    def satisfied(self) -> bool:
        return len(self.answers) == len(self.asked)


@pytest.fixture(autouse=True)
def no_client_is_left_open() -> Iterator[None]:
    yield
    while Client.opened:
        Client.opened.pop().connection.close()


def request(asked: str) -> bytes:
    return REQUESTS.get(asked) or b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % asked.encode()


def first_answer(received: bytes) -> tuple[str, bytes] | None:
    """What the first answer is to, if it is whole, and what follows it."""
    head, end, rest = received.partition(b"\r\n\r\n")
    if not end:
        return None
    size = int(re.search(rb"\r\nContent-Length: (\d+)", head)[1])
    if len(rest) < size:
        return None
    status = head[:13]
    if status == b"HTTP/1.1 301 ":
        return "/" + re.search(rb"\r\nLocation: (\S+)", head)[1].decode(), rest[size:]
    if status == b"HTTP/1.1 400 ":
        return "wrong", rest[size:]
    assert (status, rest[:size]) == (b"HTTP/1.1 200 ", PAGE)
    return "page", rest[size:]


def converse(replica: Replica) -> list[Client]:
    """One connection is used again and again, others meanwhile in other ways."""
    keeps = Client(replica)
    clients = [keeps]
    for _ in range(3):
        keeps.ask("page")
    for asked in (
        ["page", *(f"//{number}" for number in range(20)), "page"],
        ["page"] * 300,
        ["page after a body", "page"],
        ["last page"],
        ["page", "wrong"],
    ):
        client = Client(replica)
        client.send(*asked)
        client.read(until_the_end=asked[-1] in ("last page", "wrong"))
        clients.append(client)
    keeps.ask("page")
    for client in clients:
        client.connection.close()
    return clients


class Tally:
    """How many lines there must be for the pages of some clients."""

    def __init__(self) -> None:
        self.least = 0  # pages that came in full
        self.most = 0  # that may have been sent, and in full may not have come

    def add(self, clients: Iterable[Client]) -> None:
        for client in clients:
            came = client.answers.count("page")
            self.least += came
            self.most += came if client.satisfied else len(client.asked)

    def check(self, replica: Replica) -> None:
        """The server has ended."""
        lines = replica.served()
        assert self.least <= len(lines) <= self.most
        assert all(re.fullmatch(SERVED, line) for line in set(lines))
        assert "killed by signal" not in replica.log.read_text()


# ---- faults -------------------------------------------------------------------------------------------------------


class Fault:
    """A call of a running process fails, within a `with` block, at its `turn`th time."""

    def __init__(self, pid: int, call: str, error: str, turn: int, trace: Path, *more: str) -> None:
        self.pid = pid
        self.trace = trace
        self.line = [needs("strace"), "-p", str(pid), "-o", str(trace), *more]
        self.line += ["-e", f"trace={call},?wait4", "-e", f"inject={call}:error={error}:when={turn}"]

    def __enter__(self) -> "Fault":
        self.tracer = subprocess.Popen(self.line, stderr=subprocess.PIPE, text=True)
        said = self.tracer.stderr.readline()
        if "attached" not in said:
            self.tracer.kill()
            pytest.fail(said + self.tracer.communicate()[1])
        return self

    def __exit__(self, *_: object) -> None:
        """Not in the middle of a call, of which strace would leave an error that is not the one to be tried."""
        wait_until(lambda: is_at_rest(self.pid))
        self.tracer.terminate()
        self.tracer.communicate()

    def happened(self) -> bool:
        return "(INJECTED)" in self.trace.read_text()


class Tracer:
    """Stops a running process at a call, within a `with` block (ptrace(2)); strace 6.1 dies when it delays a call."""

    SEIZE, INTERRUPT, SYSCALL, DETACH = 0x4206, 0x4207, 24, 17
    WALL = 0x40000000  # for waitpid(2): of a process that is no child
    CALLS: ClassVar = {"x86_64": {"recvfrom": 45}, "aarch64": {"recvfrom": 207}}

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._libc = ctypes.CDLL(None, use_errno=True)

    def _request(self, request: int) -> None:
        if self._libc.ptrace(ctypes.c_long(request), ctypes.c_long(self.pid), None, None) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def __enter__(self) -> "Tracer":
        self._request(self.SEIZE)
        self._request(self.INTERRUPT)
        os.waitpid(self.pid, self.WALL)
        return self

    def run_until(self, call: str) -> None:
        """Let it run until it is about to make the call."""
        number = self.CALLS[platform.machine()][call]
        while not Path(f"/proc/{self.pid}/syscall").read_text().startswith(f"{number} "):
            self._request(self.SYSCALL)
            os.waitpid(self.pid, self.WALL)

    def __exit__(self, *_: object) -> None:
        self._request(self.DETACH)


def is_at_rest(pid: int) -> bool:
    """Does a process sleep, or is it over?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "SZ"
    except (FileNotFoundError, ProcessLookupError):
        return True


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def wait_until_it_is_ready(replica: Replica) -> int:
    """The only worker, when it has done all that it does before it serves."""
    wait_until(lambda: "Sandbox" in replica.log.read_text())
    return replica.workers()[0]


# ---- while it serves ----------------------------------------------------------------------------------------------


@attaches
@pytest.mark.parametrize(("call", "harmless", "harmful"), WORKER)
def test_a_call_of_a_worker(call: str, harmless: str, harmful: str, start: Start, tmp_path: Path) -> None:
    replica = start("--workers", "1")
    worker = wait_until_it_is_ready(replica)
    before = descriptors(worker)
    tally = Tally()
    for error in f"{harmless} {harmful}".split():
        for turn in itertools.count(1):
            with Fault(worker, call, error, turn, tmp_path / "trace") as fault:
                clients = converse(replica)
                wait_until(lambda: descriptors(worker) == before)
            tally.add(clients)
            assert error in harmful or all(client.satisfied for client in clients), (error, turn)
            if not fault.happened():
                assert turn > 1
                break
    assert replica.workers() == [worker]
    assert replica.stop() == 0
    tally.check(replica)


@attaches
def test_a_connection_that_accept_left_comes_with_the_next(start: Start, tmp_path: Path) -> None:
    """EAGAIN says that nobody waits; here it is not so."""
    replica = start("--workers", "1")
    with Fault(wait_until_it_is_ready(replica), "accept4", "EAGAIN", 1, tmp_path / "trace") as fault:
        clients = [Client(replica)]
        clients[0].send("page")
        wait_until(fault.happened)
        clients.append(Client(replica))
        clients[1].send("page")
        for client in clients:
            client.read()
            assert client.satisfied
            client.connection.close()
    assert replica.stop() == 0


@attaches
@pytest.mark.parametrize("error", ["EBADF", "EINVAL"])
def test_a_worker_that_cannot_wait_is_replaced(error: str, start: Start, tmp_path: Path) -> None:
    replica = start("--workers", "1")
    tally = Tally()
    wait_until_it_is_ready(replica)
    for turn in range(1, 4):
        worker = replica.workers()[0]
        with Fault(worker, "?epoll_wait,epoll_pwait", error, turn, tmp_path / "trace") as fault:
            tally.add(converse(replica))
        assert fault.happened()
        words = f"(pid {worker}) could not go on: "
        wait_until(lambda words=words: words in replica.log.read_text(), words)
        clients = converse(replica)
        assert all(client.satisfied for client in clients)
        tally.add(clients)
    assert replica.stop() == 0
    tally.check(replica)


@attaches
@pytest.mark.parametrize(("call", "errors"), PARENT)
def test_a_call_of_the_parent(call: str, errors: str, start: Start, tmp_path: Path) -> None:
    """No line is lost, torn or doubled."""
    replica = start("--workers", "1")
    wait_until_it_is_ready(replica)
    before = descriptors(replica.pid)
    tally = Tally()
    happened = 0
    only_log = ("-P", str(replica.log)) if call in ("sendto", "write") else ()
    for error in errors.split():
        for turn in range(1, PARENT_TURNS + 1):
            with Fault(replica.pid, call, error, turn, tmp_path / "trace", *only_log) as fault:
                clients = converse(replica)
                assert all(client.satisfied for client in clients)
                tally.add(clients)
                wait_until(lambda: len(replica.served()) == tally.least)
            happened += fault.happened()
    assert happened  # it does not read or poll so often when it is busy
    assert descriptors(replica.pid) == before
    assert replica.stop() == 0
    tally.check(replica)


@attaches
@pytest.mark.parametrize("error", ["ENOBUFS", "ENOMEM"])
def test_a_worker_that_cannot_ring_rings_again(error: str, start: Start, tmp_path: Path) -> None:
    """The parent sleeps until it is told that there are lines to write: it is told with the next page at the latest."""
    replica = start("--workers", "1")
    client = Client(replica)
    with Fault(wait_until_it_is_ready(replica), "sendto", error, 2, tmp_path / "trace") as fault:
        client.ask("page")
        wait_until(fault.happened)
    client.ask("page")
    client.connection.close()
    wait_until(lambda: len(replica.served()) == 2)
    assert replica.stop() == 0


@attaches
@pytest.mark.parametrize(
    ("call", "error"), [("?fork,clone", "EAGAIN"), ("?fork,clone", "ENOMEM"), ("socketpair", "EMFILE")]
)
def test_a_worker_that_cannot_be_started_is_tried_again(call: str, error: str, start: Start, tmp_path: Path) -> None:
    replica = start("--workers", "1")
    worker = wait_until_it_is_ready(replica)
    before = descriptors(replica.pid)
    with Fault(replica.pid, call, error, 1, tmp_path / "trace"):
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: "Worker 1 could not be started: " in replica.log.read_text())
        assert all(client.satisfied for client in converse(replica))
    assert descriptors(replica.pid) == before
    assert replica.stop() == 0


# ---- when it ends -------------------------------------------------------------------------------------------------


@attaches
@pytest.mark.parametrize(("who", "call", "errors"), END)
def test_a_call_when_it_ends(who: str, call: str, errors: str, start: Start, tmp_path: Path) -> None:
    """Whoever ends does so by itself, as nobody is killed for taking too long."""
    for error in errors.split():
        for turn in range(1, END_TURNS + 1):
            replica = start("--workers", "1")
            pid = wait_until_it_is_ready(replica)
            idle, reads_late, has_begun = clients = [Client(replica) for _ in range(3)]
            idle.ask("page")
            reads_late.send(*["page"] * 100)  # more than is on its way at a time, and few enough for a busy machine
            has_begun.connection.sendall(REQUESTS["page"][:-2])
            tally = Tally()
            with Fault(pid if who == "worker" else replica.pid, call, error, turn, tmp_path / "trace") as fault:
                replica.send_signal(signal.SIGTERM)
                has_begun.asked.append("page")
                with contextlib.suppress(ConnectionError):
                    has_begun.connection.sendall(REQUESTS["page"][-2:])
                for client in clients:
                    client.read(until_the_end=True)
                    client.connection.close()
                assert replica.process.wait(PATIENCE) == 0
                fault.tracer.wait(PATIENCE)
            assert "+++ exited with 0 +++" in fault.trace.read_text()
            assert who == "worker" or "WEXITSTATUS(s) == 0" in fault.trace.read_text()
            assert turn > 1 or fault.happened()
            tally.add(clients)
            tally.check(replica)


@attaches
@pytest.mark.skipif(platform.machine() not in Tracer.CALLS, reason="the numbers of this machine's calls are not known")
def test_a_worker_that_is_told_two_things_at_once(start: Start) -> None:
    """The second one comes when it has taken note of the first, and is about to read the byte that woke it."""
    replica = start("--workers", "1", "--drain", "1")
    worker = wait_until_it_is_ready(replica)
    with replica.connect() as idle, replica.connect() as busy:
        idle.sendall(GET)
        assert PAGE in idle.recv(1000)
        busy.sendall(GET[:-2])
        wait_until(lambda: is_at_rest(worker))
        with Tracer(worker) as tracer:
            replica.send_signal(signal.SIGTERM)
            tracer.run_until("recvfrom")
            wait_until(lambda: is_at_rest(replica.pid))
            before = switches(replica.pid)
            wait_until(lambda: switches(replica.pid) > before and is_at_rest(replica.pid))  # at the end of the drain
        assert idle.recv(1) == b""
        busy.sendall(GET[-2:])
        assert PAGE in busy.recv(1000)
    assert replica.process.wait(PATIENCE) == 0


# ---- when it starts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "turns", "errors"), START)
def test_a_call_when_it_starts(call: str, turns: int, errors: str, shape: Shape) -> None:
    """It does not, and says why."""
    for error in errors.split():
        for turn in range(1, turns + 1):
            fault = [needs("strace"), "-qq", "-o", "/dev/null", "-e", f"inject={call}:error={error}:when={turn}"]
            done = shape.run("--port", "0", "--workers", "2", wrap=fault)
            assert done.returncode == 1
            assert re.fullmatch(r"yinyang: [^\n]+\n", done.stderr)


def test_what_the_listener_can_do_without(shape: Shape, tmp_path: Path) -> None:
    """Options of a socket that are refused."""
    with started_with("setsockopt:error=EPERM", shape, tmp_path / "log") as replica:
        assert all(client.satisfied for client in converse(replica))
