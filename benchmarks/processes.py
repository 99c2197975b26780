"""Servers as processes, and what the kernel counts of them and of their children."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

PATIENCE = 30.0  # seconds for anything to happen


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def resident(pid: int) -> int:
    """Bytes of memory of a tree, a page that is shared by n processes counted as an n-th (PSS in proc_pid_smaps(5))."""
    total = 0
    for each in tree(pid):
        rows = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()[1:]
        total += next(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
    return total * 1024


def cpu_time(pid: int) -> float:
    """Seconds that all threads of a tree have run (proc_pid_schedstat, in the kernel's sched-stats.rst)."""
    total = 0
    for each in tree(pid):
        for task in Path(f"/proc/{each}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def descriptors(pid: int) -> int:
    """Open descriptors of a tree."""
    return sum(len(list(Path(f"/proc/{each}/fd").iterdir())) for each in tree(pid))


def machine_busy() -> float:
    """Seconds that the CPUs have run anything, whatever program it was for (proc_stat(5))."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def free_ports(count: int) -> list[int]:
    """Different ones."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in taken]


def free_port() -> int:
    return free_ports(1)[0]


def answer(port: int, request: bytes, is_whole: Callable[[bytes], bool] | None = None) -> bytes | None:
    """What is answered until the connection ends, or it is whole; None if nobody listens."""
    with socket.socket() as client:
        client.settimeout(PATIENCE)
        if client.connect_ex(("127.0.0.1", port)):
            return None
        client.sendall(request)
        received = b""
        while piece := client.recv(65536):
            received += piece
            if is_whole and is_whole(received):
                break
        return received


@contextlib.contextmanager
def read_pipe() -> Iterator[BinaryIO]:
    """A pipe of which all is read, and thrown away."""
    theirs, ours = os.pipe()

    def read() -> None:
        while os.read(theirs, 1 << 20):
            pass
        os.close(theirs)

    threading.Thread(target=read, daemon=True).start()
    with open(ours, "wb") as file:
        yield file


@contextlib.contextmanager
def serving(line: list[str], cpu: int, log: Path | None) -> Iterator[subprocess.Popen]:
    """A server on one CPU, its log in a file or read from a pipe; ended on leaving, with all that it has started."""
    ours = os.sched_getaffinity(0)
    with log.open("wb") if log else read_pipe() as file:
        os.sched_setaffinity(0, {cpu})  # is inherited, and costs the start nothing
        try:
            process = subprocess.Popen(line, stderr=file, stdout=file)
        finally:
            os.sched_setaffinity(0, ours)
    try:
        yield process
    finally:
        started = tree(process.pid)[1:] if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        process.kill()
        process.wait()
        for pid in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def wait_until_it_answers(port: int, request: bytes, is_whole: Callable[[bytes], bool] | None = None) -> bytes:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if received := answer(port, request, is_whole):
            return received
    raise TimeoutError(f"nobody answers on port {port}")
