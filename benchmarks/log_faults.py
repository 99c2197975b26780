"""What a server does whose log cannot be written: ours in both shapes, and Go's net/http.

    python benchmarks/log_faults.py [--only FAULT] [--short] [--json FILE]

Prints tables in Markdown. A contestant that cannot take part is named with the reason. The server has one CPU and a
worker; five clients, each with one connection and a request every 5 ms, share another CPU. Needs Linux with two CPUs,
and strace; for a file system that is full, root. As root it runs itself and the servers before other programs, as
benchmarks/hostile.py does.

How each figure is got:

p99             Of the five clients together, timed from when a request was due, so an answer that is late counts for
                all that it delays. A request without an answer is given up after 2 s; one that could not be sent
                before the window was over by 2 s counts with its delay until then. Without: three windows of a sixth
                of the time of the fault, before it. With: six such windows, which begin 2 s after the fault, when what
                the pipe or the disk still took is full. The median, and the range.
answers         In a second of those windows.
tries           Calls of write(2) or sendto(2), whichever are more, whose descriptor is that of the log; from another
                window, of 5 s, under strace.
pages           Whole answers that the clients received, in all windows.
lines           Whole lines of pages in the log, once the server has ended, and lines that are torn. Where the fault
                passes, it does so before the server is told to end, and a line for each page is waited for, 10 s at
                most.
end             The exit code, or what killed it, and the seconds from SIGTERM to the end.
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

from attacks import DESCRIPTORS, LAST, SERVER_CPU
from contestants import WORK, Contestant, made_ready, table
from figures import extent, number
from healthy import Healthy, healthy_client, percentile
from hostile import CLIENT_CPU, Failures, undisturbed
from processes import PATIENCE, free_port, serving, wait_until_it_answers

SHORT_SECONDS = 5.0  # that a fault lasts, with --short
SETTLING = 2.0  # seconds
TRIES_SECONDS = 5.0
CLIENTS = 5
WINDOWS_WITHOUT, WINDOWS_WITH = 3, 6
LOG_PATIENCE = 10.0  # seconds for the lines that are due
DISK = 64 << 20  # bytes of the file system that is full
DISK_LEFT = 16 << 10  # bytes that are left of it when the fault begins
STAMP = rb"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d "
LINE = re.compile(STAMP + rb"Served image, host: vm, colour: #b8d868")
OTHER_LINE = re.compile(STAMP + rb"(Serving image, host: vm, colour: #b8d868|Listening on .*|Sandbox.*)")


class Fault:
    """Of a log, which the server writes to `path`, and which can be read from `file`."""

    seconds = 15.0
    passes = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = self.file = folder / "log"

    @contextlib.contextmanager
    def prepared(self) -> Iterator[None]:
        yield

    def begin(self, server: int) -> None:
        """The log can no longer be written."""

    def go_on(self, server: int) -> None:
        """Called again and again meanwhile."""

    def end(self, server: int) -> None:
        """It can be written again."""

    def finish(self) -> None:
        """The server has ended."""


class StoppedReader(Fault):
    """the reader of a pipe is stopped, and continued"""

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
    """the reader of a pipe is gone"""

    seconds = Fault.seconds
    passes = False

    def begin(self, server: int) -> None:
        self.reader.kill()


class FullDevice(Fault):
    """the log is /dev/full"""

    passes = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = Path("/dev/full")
        self.file.touch()


class FullDisk(Fault):
    """a file system is full, and has room again"""

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
    """a file may grow by one byte whenever it has grown by one (RLIMIT_FSIZE), and then without limit"""

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
        """As the user that the server has become: another one may not, not even root in a container."""
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
    p99_without: list[float]  # of each window
    p99_with: list[float]
    answers_without: list[float]  # a second
    answers_with: list[float]
    tries: float | None  # a second
    pages: int
    lines: int
    torn: int
    told: bool  # to end; else it ended before
    code: int
    took: float  # seconds


class Load:
    """All clients, whose windows begin together."""

    def __init__(self, clients: list[Healthy], fault: Fault, server: int) -> None:
        self.clients = clients
        self.fault = fault
        self.server = server

    @property
    def answered(self) -> int:
        return sum(client.answered for client in self.clients)

    def window(self, seconds: float, during: bool) -> tuple[float, float]:
        """The p99, and answers a second."""
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

    def tries(self, seconds: float) -> float:
        """How often a second the server tries to write the log."""
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
    """Whole lines of pages, and lines that are torn."""
    lines = file.read_bytes().splitlines()
    whole = sum(bool(LINE.fullmatch(line)) for line in lines)
    return whole, len(lines) - whole - sum(bool(OTHER_LINE.fullmatch(line)) for line in lines)


def measured(contestant: Contestant, fault: Fault, seconds: float) -> Figures:
    port = free_port()
    part = seconds / WINDOWS_WITH
    tries = None
    with contextlib.ExitStack() as stack:
        stack.enter_context(fault.prepared())
        server = stack.enter_context(serving(contestant.start(port, DESCRIPTORS), SERVER_CPU, fault.path))
        wait_until_it_answers(port, LAST)
        load = Load([stack.enter_context(healthy_client(port)) for _ in range(CLIENTS)], fault, server.pid)
        p99_without, answers_without = load.windows(part, WINDOWS_WITHOUT, False)
        fault.begin(server.pid)
        load.window(SETTLING, True)
        p99_with, answers_with = load.windows(part, WINDOWS_WITH, True)
        if server.poll() is None:
            tries = load.tries(TRIES_SECONDS)
        fault.end(server.pid)
        pages = load.answered + 1  # by which it was waited for
        deadline = time.monotonic() + LOG_PATIENCE
        while fault.passes and lines_of(fault.file)[0] < pages and time.monotonic() < deadline:
            time.sleep(0.1)
        told = server.poll() is None
        begin = time.monotonic()
        server.send_signal(signal.SIGTERM)
        code = server.wait(PATIENCE)
        took = time.monotonic() - begin
        fault.finish()
        lines, torn = lines_of(fault.file)
    return Figures(p99_without, p99_with, answers_without, answers_with, tries, pages, lines, torn, told, code, took)


def row(figures: Figures) -> list[str]:
    ratios = [each / statistics.median(figures.p99_without) for each in figures.p99_with]
    end = f"exit code {figures.code}" if figures.code >= 0 else signal.Signals(-figures.code).name
    return [
        f"{statistics.median(figures.answers_without):,.0f}",
        f"{statistics.median(figures.answers_with):,.0f}",
        extent(figures.p99_without, 1000),
        extent(figures.p99_with, 1000),
        extent(ratios, 1),
        "" if figures.tries is None else number(figures.tries),
        f"{figures.pages:,}",
        f"{figures.lines:,}, {figures.torn:,}",
        f"{end}, {figures.took:.2f}" if figures.told else f"{end}, during the fault",
    ]


def compared(key: str, servers: list[Contestant], seconds: float) -> tuple[str, dict]:
    results: dict[str, Figures] = {}
    failures: Failures = {}
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
        "answers a second, without",
        "with",
        "p99 without, ms",
        "p99 with, ms",
        "ratio",
        "tries a second",
        "pages",
        "lines, and torn ones",
        "end, s",
    ]
    rows = {key: row(each) for key, each in results.items()}
    text = f"### {key}\n\n{seconds:.0f} s: {FAULTS[key].__doc__}.\n\n{table(heads, servers, rows, failures)}\n"
    return text, {key: asdict(each) for key, each in results.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=FAULTS)
    parser.add_argument("--short", action="store_true", help=f"{SHORT_SECONDS:.0f} s of each fault")
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CPU})
    servers = made_ready(["static", "python", "go"])
    figures = {}
    with undisturbed():
        for key, fault in FAULTS.items():
            if options.only in (None, key):
                text, figures[key] = compared(key, servers, SHORT_SECONDS if options.short else fault.seconds)
                print(text, flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
