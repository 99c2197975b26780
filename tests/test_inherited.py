"""What a server is started with: a terminal that takes nothing, signals that are blocked or ignored, limits, no files,
calls that are refused."""

import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import (
    GET,
    LAST,
    PAGE,
    PATIENCE,
    Replica,
    Shape,
    clean_environment,
    free_port,
    injecting,
    naming,
    needs,
    started_with,
    wait_until,
)

Start = Callable[..., Replica]
MASKED = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); "
IGNORING = "import os, signal, sys; [signal.signal(n, signal.SIG_IGN) for n in (15, 17, 27)]; "
EXECUTE = "os.execv(sys.argv[1], sys.argv[1:])"
NO_PROC = 'mount -t tmpfs none /proc && exec "$@"'
WITHOUT_PROC = pytest.param(False, id="without_proc", marks=pytest.mark.needs("root", "unshare"))
NO_DEV = 'mount -t tmpfs none /dev && exec "$@" <&- >&- 2>&-'


def answers(replica: Replica) -> bool:
    try:
        return PAGE in replica.ask(LAST)
    except ConnectionError:
        return False


def in_a_mount_namespace(shape: Shape, script: str) -> Shape:
    return Shape(needs("unshare"), "--mount", "sh", "-c", script, "sh", *shape.command())


# ---- a terminal ---------------------------------------------------------------------------------------------------


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Its other side, and itself."""
    ends = pty.openpty()
    yield ends
    for fd in ends:
        os.close(fd)


def read_everything(fd: int, into: list[bytes]) -> None:
    """To the end of a terminal, which is an error."""
    try:
        while piece := os.read(fd, 65536):
            into.append(piece)
    except OSError:
        pass


@pytest.mark.parametrize("has_proc", [True, WITHOUT_PROC])
def test_a_terminal_that_is_stopped_holds_up_nothing(
    has_proc: bool, shape: Shape, terminal: tuple[int, int], tmp_path: Path
) -> None:
    """As by Ctrl-S; and it gets all lines when it goes on."""
    other, itself = terminal
    port = free_port()
    shape = shape if has_proc else in_a_mount_namespace(shape, NO_PROC)
    replica = shape.replica(tmp_path / "log", "--workers", "2", "--port", str(port), stderr=itself)
    replica.port = port
    received: list[bytes] = []
    reader = threading.Thread(target=read_everything, args=[other, received])
    try:
        wait_until(lambda: answers(replica))
        termios.tcflow(itself, termios.TCOOFF)
        for _ in range(20):
            assert PAGE in replica.ask(LAST)
        termios.tcflow(itself, termios.TCOON)
        reader.start()
        wait_until(lambda: b"".join(received).count(b" Served image, ") >= 21)
        termios.tcflow(itself, termios.TCOOFF)
        assert PAGE in replica.ask(LAST)
        assert replica.stop() == 0
    finally:
        replica.kill()
        termios.tcflow(itself, termios.TCOON)
        os.dup2(os.open("/dev/null", os.O_RDWR), itself)  # the last one who has it open: the reader ends
        reader.join(PATIENCE)


@pytest.mark.parametrize("has_proc", [True, WITHOUT_PROC])
def test_a_terminal_whose_other_side_does_not_read(
    has_proc: bool, shape: Shape, terminal: tuple[int, int], tmp_path: Path
) -> None:
    port = free_port()
    shape = shape if has_proc else in_a_mount_namespace(shape, NO_PROC)
    replica = shape.replica(tmp_path / "log", "--workers", "2", "--port", str(port), stderr=terminal[1])
    replica.port = port
    try:
        wait_until(lambda: answers(replica))
        for _ in range(100):  # ten times what it holds
            received = replica.ask(100 * GET + LAST)
            assert received.count(b"</html>") == 101
        assert replica.stop() == 0
    finally:
        replica.kill()


def test_a_server_that_cannot_say_why_it_ends_can_be_ended(
    shape: Shape, terminal: tuple[int, int], tmp_path: Path
) -> None:
    """The line about a port in use goes to a terminal that is stopped."""
    with socket.create_server(("", 0)) as taken:
        termios.tcflow(terminal[1], termios.TCOOFF)
        replica = shape.replica(tmp_path / "log", "--port", str(taken.getsockname()[1]), stderr=terminal[1])
        try:
            wait_until(lambda: "tty" in Path(f"/proc/{replica.pid}/wchan").read_text() or is_writing(replica.pid))
            replica.send_signal(signal.SIGTERM)
            assert replica.process.wait(PATIENCE) == -signal.SIGTERM
        finally:
            replica.kill()


def is_writing(pid: int) -> bool:
    """Is it in write(2) to stderr?"""
    fields = Path(f"/proc/{pid}/syscall").read_text().split()
    return len(fields) > 2 and fields[1] == "0x2"


# ---- signals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [MASKED, IGNORING], ids=["blocked", "ignored"])
def test_signals_that_were_blocked_or_ignored_are_heard(before: str, shape: Shape, tmp_path: Path) -> None:
    wrapped = Shape(sys.executable, "-c", before + EXECUTE, *shape.command())
    replica = wrapped.replica(tmp_path / "log", "--workers", "2")
    try:
        replica.wait_for_port()
        wait_until(lambda: "Sandbox" in replica.log.read_text())
        worker = replica.workers()[0]
        os.kill(worker, signal.SIGKILL)
        words = rf"Worker \d \(pid {worker}\) was killed by signal 9, restarted as pid"
        wait_until(lambda: re.search(words, replica.log.read_text()))
        os.kill(replica.workers()[1], signal.SIGSTOP)
        wait_until(lambda: "did nothing for too long" in replica.log.read_text())
        assert PAGE in replica.ask(LAST)
        assert replica.stop() == 0
    finally:
        replica.kill()


# ---- limits -------------------------------------------------------------------------------------------------------


def test_a_small_stack(shape: Shape, tmp_path: Path) -> None:
    """The log is a file, which takes most at a time."""
    wrapped = Shape("sh", "-c", 'ulimit -s 100 && exec "$@"', "sh", *shape.command())
    replica = wrapped.replica(tmp_path / "log", "--workers", "1")
    try:
        replica.wait_for_port()
        for _ in range(3):
            assert replica.ask(100 * GET + LAST).count(b"</html>") == 101
        assert replica.stop() == 0
    finally:
        replica.kill()
    assert len(replica.served()) == 303


# ---- files --------------------------------------------------------------------------------------------------------


def test_a_time_zone_that_is_made_shorter_meanwhile(shape: Shape, tmp_path: Path) -> None:
    source = Path("/usr/share/zoneinfo/Asia/Kathmandu")
    if not source.exists():
        pytest.skip("there are no time zones on this host")
    zone = tmp_path / "zone"
    shutil.copy(source, zone)
    replica = shape.replica(tmp_path / "log", "--workers", "1", TZ=str(zone))
    try:
        replica.wait_for_port()
        zone.write_bytes(b"")
        assert PAGE in replica.ask(LAST)
        wait_until(replica.served)
        assert replica.stop() == 0
    finally:
        replica.kill()
    first, *_, last = replica.lines()
    assert first[:13] == last[:13] or first[:10] != last[:10]  # the same hour, or another day


@pytest.mark.needs("root", "unshare")
def test_without_devices_and_standard_descriptors(shape: Shape, tmp_path: Path) -> None:
    port = free_port()
    wrapped = in_a_mount_namespace(shape, NO_DEV)
    replica = wrapped.replica(tmp_path / "log", "--workers", "1", "--port", str(port))
    replica.port = port
    try:
        wait_until(lambda: answers(replica))
        assert replica.stop() == 0
    finally:
        replica.kill()


# ---- calls that are refused ---------------------------------------------------------------------------------------


@pytest.mark.strace
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("accept4:error=ENOSYS", "the kernel does not know this call"),
        ("accept4:error=EPERM", "operation not permitted"),
        ("epoll_create1:error=EMFILE", "this process has too many open files"),
        ("epoll_ctl:error=ENOSPC:when=1", ""),
        ("epoll_ctl:error=ENOMEM:when=2", "out of memory"),
        ("epoll_ctl:error=ENOMEM:when=3", "out of memory"),
    ],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_workers_that_cannot_begin(fault: str, words: str, workers: str, shape: Shape) -> None:
    """The server ends and says why, once, and after what it has logged already."""
    done = shape.run("--port", "0", "--workers", workers, wrap=injecting(fault))
    assert done.returncode == 1
    *_, last = said = done.stderr.splitlines()
    assert last.startswith(f"yinyang: no worker could begin to serve: the first one could not go on: {words}")
    assert len(said) == 3, said


# system calls that are refused from the start, and how the message names them; the C libraries differ in some
VITAL = {
    "accept4": "accept4",
    "?epoll_wait,epoll_pwait": "epoll_wait",
    "recvfrom": "recvfrom",
    "sendto": "sendto",
    "writev": "writev",
    "?poll,ppoll": "poll",
    "getsockname": "getsockname",
    "eventfd2": "eventfd2",
    "socketpair": "socketpair",
    "?fork,clone": "fork",
}
VITAL_BUT_TO_PYTHON = {"close": "close", "read": "read"}  # Python itself cannot start without them
USEFUL = ["shutdown", "setitimer", "waitid", "wait4", "getpeername", "setsockopt"]


@pytest.mark.strace
@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_calls_that_the_environment_refuses(
    error: str, shape: Shape, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Without one that serving needs, the server ends and names it; without another one, it serves."""
    words = {"EPERM": "operation not permitted", "ENOSYS": "the kernel does not know this call"}[error]
    is_python = request.node.callspec.params["shape"] == "python"
    for call, name in (VITAL if is_python else VITAL | VITAL_BUT_TO_PYTHON).items():
        with naming(call):
            done = shape.run("--port", "0", "--workers", "1", wrap=injecting(f"{call}:error={error}"))
            assert done.returncode == 1
            *_, last = done.stderr.splitlines()
            assert re.fullmatch(rf"yinyang: (no worker [^\n]*: )?{words} \(system call {name}\)", last)
    for call in USEFUL:
        with naming(call), started_with(f"{call}:error={error}", shape, tmp_path / "log") as replica:
            assert PAGE in replica.ask(LAST)
            wait_until(replica.served)


@pytest.mark.strace
def test_a_server_that_could_not_be_stopped(shape: Shape, request: pytest.FixtureRequest) -> None:
    is_python = request.node.callspec.params["shape"] == "python"
    for call in "rt_sigprocmask", "rt_sigaction" if is_python else "?signalfd,signalfd4":
        with naming(call):
            done = shape.run("--port", "0", wrap=injecting(f"{call}:error=EPERM"))
            assert done.returncode == 1
            words = r"yinyang: no signal could stop the server[^\n]*: operation not permitted\n"
            assert re.fullmatch(words, done.stderr)


def test_a_worker_that_is_killed_before_it_is_up(shape: Shape, tmp_path: Path) -> None:
    """That says nothing about the others, so it is restarted."""
    with started_with("epoll_create1:delay_enter=300000", shape, tmp_path / "log") as replica:
        server = replica.workers()[0]
        os.kill(int(Path(f"/proc/{server}/task/{server}/children").read_text().split()[0]), signal.SIGKILL)
        wait_until(lambda: "was killed by signal 9, restarted as pid" in replica.log.read_text())
        assert PAGE in replica.ask(LAST)


# ---- a Python program ---------------------------------------------------------------------------------------------

COUNTING = """
import threading, yinyang
for _ in range(30):
    server = yinyang.Server(workers=1, name="vm").start()
    ends = threading.Event()
    def count():
        while not ends.is_set():
            server.counts
    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads: thread.start()
    server.stop()
    ends.set()
    for thread in threads: thread.join()
"""


def test_counts_are_asked_for_while_a_server_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COUNTING], check=False, timeout=PATIENCE, env=clean_environment(), capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.strace
def test_a_server_of_which_no_worker_can_begin() -> None:
    program = "import yinyang\ntry: yinyang.Server(workers=1).start()\nexcept OSError as error: print(error.strerror)"
    line = [*injecting("epoll_create1:error=EMFILE"), sys.executable, "-c", program]
    done = subprocess.run(line, check=True, timeout=PATIENCE, env=clean_environment(), capture_output=True, text=True)
    assert done.stdout.startswith("no worker could begin to serve: ")
