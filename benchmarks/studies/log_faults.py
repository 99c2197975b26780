"""Behaviour of a server whose log cannot be written: our server in both shapes, and Go's net/http.

    python -m benchmarks.studies.log_faults [--only FAULT] [--short] [--json FILE]

Prints tables in Markdown; the row of a contestant that cannot take part has the reason. The server has one worker and
one CPU; five clients, each with one connection and a request every 5 ms, share the other CPU. Needs Linux with two
CPUs, and strace; for a full file system, root. As root, the script gives itself and the servers priority over other
programs, as hostile.py does.

p99             Latency of the five clients together, counted from the moment at which a request was due, so one late
                response also counts for the requests that it delays. A request without a response fails after 2 s;
                one that could not be sent until 2 s after the end of the window counts with its delay so far. Without
                the fault: three windows, each a sixth as long as the fault. With it: six such windows, which begin 2
                s after the fault, when the buffers of the pipe or the disk are full. The table has the median and the
                range.
responses       Number per second in these windows.
attempts        Number of write(2) or sendto(2) calls per second, whichever are more, on the descriptor of the log; in
                another window of 5 s, under strace.
pages           Complete responses in all windows.
lines           Complete lines of pages in the log after the server's end, and torn lines. A fault that passes does so
                before the server is terminated, and the script waits up to 10 s for a line for each page.
end             The exit code or the signal that ended the server, and the seconds from SIGTERM to the end.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.lib.contestants import WORK, Contestant, contestant_table, prepare
from benchmarks.lib.figures import extent, number
from benchmarks.lib.http_requests import GET_CLOSE
from benchmarks.lib.probe_client import ProbeClient, percentile, probe_client
from benchmarks.lib.processes import (
    CLIENT_CPU,
    PATIENCE,
    SERVER_CPU,
    free_port,
    real_time_priority,
    serving,
    wait_until_ready,
)

DESCRIPTORS = 4096  # limit that a server's configuration is given

SHORT_SECONDS = 5.0  # length of a fault with --short
SETTLING = 2.0  # seconds
ATTEMPTS_SECONDS = 5.0
CLIENTS = 5
WINDOWS_WITHOUT, WINDOWS_WITH = 3, 6
LOG_PATIENCE = 10.0  # seconds for outstanding lines
DISK = 64 << 20  # bytes of the file system that becomes full
DISK_LEFT = 16 << 10  # bytes left at the beginning of the fault
STAMP = rb"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d "
LINE = re.compile(STAMP + rb"Served image, host: vm, colour: #b8d868")
OTHER_LINE = re.compile(STAMP + rb"(Serving image, host: vm, colour: #b8d868|Listening on .*|Sandbox.*)")


class Fault:
    """A fault of a log that the server writes to `path`, and that is read from `file`."""

    seconds = 15.0
    passes = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = self.file = folder / "log"

    @contextlib.contextmanager
    def prepared(self) -> Iterator[None]:
        """Make the log, and remove it afterwards."""
        yield

    def begin(self, server: int) -> None:
        """Stop the log from being written."""

    def go_on(self, server: int) -> None:
        """Called repeatedly during the fault."""

    def end(self, server: int) -> None:
        """Let the log be written again."""

    def finish(self) -> None:
        """Called after the end of the server."""


class StoppedReader(Fault):
    """The reader of a pipe is stopped, and later continued."""

    seconds = 60.0

    @contextlib.contextmanager
    def prepared(self) -> Iterator[None]:
        self.path = self.folder / "pipe"
        os.mkfifo(self.path)
        with self.file.open("wb") as file, subprocess.Popen(["cat", str(self.path)], stdout=file) as self.reader:
            try:
                yield
            finally:
                self.reader.kill()

    def begin(self, server: int) -> None:
        self.reader.send_signal(signal.SIGSTOP)

    def end(self, server: int) -> None:
        self.reader.send_signal(signal.SIGCONT)

    def finish(self) -> None:
        self.reader.wait(PATIENCE)


class LostReader(StoppedReader):
    """The reader of a pipe is gone."""

    seconds = Fault.seconds
    passes = False

    def begin(self, server: int) -> None:
        self.reader.kill()


class FullDevice(Fault):
    """The log is /dev/full."""

    passes = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = Path("/dev/full")
        self.file.touch()


class FullDisk(Fault):
    """The file system is full, and later has room again."""

    @contextlib.contextmanager
    def prepared(self) -> Iterator[None]:
        line = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(self.folder)]
        subprocess.run(line, check=True, capture_output=True)
        try:
            yield
        finally:
            subprocess.run(["umount", str(self.folder)], check=True)

    def begin(self, server: int) -> None:
        state = os.statvfs(self.folder)
        with (self.folder / "filler").open("wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, state.f_bavail * state.f_bsize - DISK_LEFT)

    def end(self, server: int) -> None:
        (self.folder / "filler").unlink()


class ByteByByte(Fault):
    """The file may grow by one byte at a time (RLIMIT_FSIZE), and later without limit."""

    def begin(self, server: int) -> None:
        self.limit = self.file.stat().st_size
        self.set_limit(server, self.limit)

    def go_on(self, server: int) -> None:
        if self.file.stat().st_size == self.limit:
            self.limit += 1
            self.set_limit(server, self.limit)

    def end(self, server: int) -> None:
        self.set_limit(server, "unlimited")

    def set_limit(self, server: int, limit: int | str) -> None:
        """Runs prlimit as the user of the server: no other user may do so, in a container not even root."""
        status = (Path("/proc") / str(server) / "status").read_text()
        user, group = (int(re.search(rf"^{name}:\s(\d+)", status, re.M)[1]) for name in ("Uid", "Gid"))
        line = ["prlimit", "--pid", str(server), f"--fsize={limit}:unlimited"]
        subprocess.run(line, user=user, group=group, extra_groups=[], check=True, capture_output=True)


FAULTS = {
    "reader-stopped": StoppedReader,
    "reader-gone": LostReader,
    "device-full": FullDevice,
    "disk-full": FullDisk,
    "byte-by-byte": ByteByByte,
}


@dataclass
class Figures:
    """Figures of one server with one fault."""

    p99_without: list[float]  # in each window
    p99_with: list[float]
    responses_without: list[float]  # per second
    responses_with: list[float]
    attempts: float | None  # per second
    pages: int
    lines: int
    torn: int
    ran: bool  # until SIGTERM
    code: int
    duration: float  # seconds from SIGTERM to the end


class Clients:
    """All clients; their windows begin together."""

    def __init__(self, clients: list[ProbeClient], fault: Fault, server: int) -> None:
        self.clients = clients
        self.fault = fault
        self.server = server

    @property
    def answered(self) -> int:
        return sum(client.answered for client in self.clients)

    def window(self, seconds: float, during: bool) -> tuple[float, float]:
        """The p99, and responses per second."""
        before, begin = self.answered, time.monotonic()
        for client in self.clients:
            client.begin(seconds)
        while not all(client.done() for client in self.clients):
            if during:
                self.fault.go_on(self.server)
            time.sleep(0.01)
        took = time.monotonic() - begin
        times = [each for client in self.clients for each in client.times()]
        return percentile(times, 0.99), (self.answered - before) / took

    def windows(self, seconds: float, count: int, during: bool) -> tuple[list[float], list[float]]:
        pairs = [self.window(seconds, during) for _ in range(count)]
        return [p99 for p99, _ in pairs], [answers for _, answers in pairs]

    def attempts(self, seconds: float) -> float:
        """Attempts of the server per second to write the log."""
        trace = self.fault.folder.with_name("trace")
        line = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=write,sendto", "-p", str(self.server)]
        with subprocess.Popen(line) as tracer:
            begin = time.monotonic()
            self.window(seconds, True)
            took = time.monotonic() - begin
            tracer.terminate()
        calls = re.findall(rb" (write|sendto)\(2, ", trace.read_bytes())
        return max(calls.count(b"write"), calls.count(b"sendto")) / took


def lines_of(file: Path) -> tuple[int, int]:
    """Number of complete lines of pages, and of torn lines."""
    lines = file.read_bytes().splitlines()
    whole = sum(bool(LINE.fullmatch(line)) for line in lines)
    return whole, len(lines) - whole - sum(bool(OTHER_LINE.fullmatch(line)) for line in lines)


def measured(contestant: Contestant, fault: Fault, seconds: float) -> Figures:
    port = free_port()
    part = seconds / WINDOWS_WITH
    attempts = None
    with contextlib.ExitStack() as stack:
        stack.enter_context(fault.prepared())
        server = stack.enter_context(serving(contestant.command(port, DESCRIPTORS), SERVER_CPU, fault.path))
        wait_until_ready(port, GET_CLOSE)
        load = Clients([stack.enter_context(probe_client(port)) for _ in range(CLIENTS)], fault, server.pid)
        p99_without, responses_without = load.windows(part, WINDOWS_WITHOUT, False)
        fault.begin(server.pid)
        load.window(SETTLING, True)
        p99_with, responses_with = load.windows(part, WINDOWS_WITH, True)
        if server.poll() is None:
            attempts = load.attempts(ATTEMPTS_SECONDS)
        fault.end(server.pid)
        pages = load.answered + 1  # the first one of wait_until_ready
        deadline = time.monotonic() + LOG_PATIENCE
        while fault.passes and lines_of(fault.file)[0] < pages and time.monotonic() < deadline:
            time.sleep(0.1)
        ran = server.poll() is None
        begin = time.monotonic()
        server.send_signal(signal.SIGTERM)
        code = server.wait(PATIENCE)
        duration = time.monotonic() - begin
        fault.finish()
        lines, torn = lines_of(fault.file)
    return Figures(
        p99_without, p99_with, responses_without, responses_with, attempts, pages, lines, torn, ran, code, duration
    )


def row(figures: Figures) -> list[str]:
    ratios = [each / statistics.median(figures.p99_without) for each in figures.p99_with]
    end = f"exit code {figures.code}" if figures.code >= 0 else signal.Signals(-figures.code).name
    return [
        f"{statistics.median(figures.responses_without):,.0f}",
        f"{statistics.median(figures.responses_with):,.0f}",
        extent(figures.p99_without, 1000),
        extent(figures.p99_with, 1000),
        extent(ratios),
        "" if figures.attempts is None else number(figures.attempts),
        f"{figures.pages:,}",
        f"{figures.lines:,}, {figures.torn:,}",
        f"{end}, {figures.duration:.2f}" if figures.ran else f"{end}, during the fault",
    ]


def compared(key: str, servers: list[Contestant], seconds: float) -> tuple[str, dict]:
    results: dict[str, Figures] = {}
    failures: dict[str, str] = {}
    for each in servers:
        if each.missing:
            continue
        print(f"{key}: {each.name}", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=WORK) as folder:
            try:
                results[each.key] = measured(each, FAULTS[key](Path(folder)), seconds)
            except (OSError, subprocess.SubprocessError) as error:
                failures[each.key] = f"failed: {error}"
    heads = [
        "responses per second, without",
        "with",
        "p99 without, ms",
        "p99 with, ms",
        "ratio",
        "attempts per second",
        "pages",
        "lines, torn lines",
        "end, s",
    ]
    rows = {key: row(each) for key, each in results.items()}
    text = f"### {key}\n\n{FAULTS[key].__doc__} It lasts {seconds:.0f} s.\n\n"
    text += contestant_table(heads, servers, rows, failures) + "\n"
    return text, {key: asdict(each) for key, each in results.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=FAULTS)
    parser.add_argument("--short", action="store_true", help=f"{SHORT_SECONDS:.0f} s of each fault")
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CPU})
    servers = prepare(["static", "python", "go"])
    figures = {}
    with real_time_priority():
        for key, fault in FAULTS.items():
            if options.only in (None, key):
                text, figures[key] = compared(key, servers, SHORT_SECONDS if options.short else fault.seconds)
                print(text, flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
