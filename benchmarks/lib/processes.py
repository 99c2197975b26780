"""Servers as processes, and the kernel's figures for a process and its descendants."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

SERVER_CPU, CLIENT_CPU = 1, 0
PATIENCE = 30.0  # seconds to wait for anything


def process_tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def pss(pid: int) -> int:
    """Proportional set size of a tree in bytes: a page shared by n processes counts as an n-th (proc_pid_smaps(5))."""
    total = 0
    for each in process_tree(pid):
        rows = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()[1:]
        total += next(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
    return total * 1024


def cpu_time(pid: int) -> float:
    """CPU seconds of all threads of a tree (proc_pid_schedstat, in the kernel's sched-stats.rst)."""
    total = 0
    for each in process_tree(pid):
        for task in Path(f"/proc/{each}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def descriptors(pid: int) -> int:
    """Number of open file descriptors of a tree."""
    return sum(len(list(Path(f"/proc/{each}/fd").iterdir())) for each in process_tree(pid))


def socket_memory(port: int) -> int:
    """Bytes of the buffers of a server's connections in the kernel: to read, to send, and reserved (ss(8))."""
    rows = subprocess.run(["ss", "-tmnH", f"sport = :{port}"], check=True, capture_output=True, text=True).stdout
    found = re.findall(r"skmem:\(r(\d+),rb\d+,t\d+,tb\d+,f(\d+),w(\d+),o(\d+),bl(\d+)", rows)
    return sum(sum(map(int, row)) for row in found)


def busy_time() -> float:
    """Busy seconds of all CPUs together, for any program (proc_stat(5))."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def real_time_priority() -> Iterator[None]:
    """Give this process and the servers that it starts priority over other programs, and keep the CPUs from halting, as
    far as that is permitted. To wake a halted virtual CPU takes longer than to answer a request."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        with contextlib.suppress(OSError):
            latency = stack.enter_context(open("/dev/cpu_dma_latency", "wb", buffering=0))
            latency.write(bytes(4))  # in force while the file is open
        yield


def free_ports(count: int) -> list[int]:
    """Different free ports."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in taken]


def free_port() -> int:
    """A free port."""
    return free_ports(1)[0]


def fetch(port: int, request: bytes, is_complete: Callable[[bytes], bool] | None = None) -> bytes | None:
    """The response to a request, up to the end of the connection or until it is complete; None if nobody listens."""
    with socket.socket() as client:
        client.settimeout(PATIENCE)
        if client.connect_ex(("127.0.0.1", port)):
            return None
        return exchange(client, request, is_complete)


def exchange(client: socket.socket, request: bytes, is_complete: Callable[[bytes], bool] | None = None) -> bytes:
    """The response on a connection, likewise."""
    client.sendall(request)
    received = b""
    while piece := client.recv(65536):
        received += piece
        if is_complete and is_complete(received):
            break
    return received


@contextlib.contextmanager
def discarding_pipe() -> Iterator[BinaryIO]:
    """The writing end of a pipe; a thread reads and discards everything."""
    theirs, ours = os.pipe()

    def read() -> None:
        while os.read(theirs, 1 << 20):
            pass
        os.close(theirs)

    threading.Thread(target=read, daemon=True).start()
    with open(ours, "wb") as file:
        yield file


@contextlib.contextmanager
def serving(command: list[str], cpu: int, log: Path | None) -> Iterator[subprocess.Popen]:
    """Run a server on one CPU, with its log in a file or, without one, in a pipe that is read. On leaving, the server
    and all its descendants are ended."""
    ours = os.sched_getaffinity(0)
    with log.open("wb") if log else discarding_pipe() as file:
        os.sched_setaffinity(0, {cpu})  # the child inherits it, so its start pays nothing for it
        try:
            process = subprocess.Popen(command, stderr=file, stdout=file)
        finally:
            os.sched_setaffinity(0, ours)
    try:
        yield process
    finally:
        started = process_tree(process.pid)[1:] if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        process.kill()
        process.wait()
        for pid in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def wait_until_ready(port: int, request: bytes, is_complete: Callable[[bytes], bool] | None = None) -> bytes:
    """The first response of a server that is starting."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if received := fetch(port, request, is_complete):
            return received
    raise TimeoutError(f"no server answers on port {port}")
