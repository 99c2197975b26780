"""Start time, memory, wake-ups and system calls of our server in both shapes, beside Go's net/http and nginx, and of
the Python shape beside an interpreter that does nothing.

    python -m benchmarks.startup_memory [--starts 30] [--rounds 5] [--connections 10000] [--idle-seconds 60]
                                        [--json FILE]

Each server has one worker and runs on one CPU, the clients run on the other; the servers take turns in each round.
The Python shape runs on a copied interpreter of its own with nothing installed but the wheel: it shares no memory
with other programs, and no other package delays the start of the interpreter.

exec to first response: from before fork(2) to the end of the first page, which is requested until it comes; for
`python -c pass`, to its end. Memory: proportional set size of all processes. Idle: after one request. With
connections: each has had one response and waits. Under load: the maximum while 64 connections send one request after
the other. Per connection: the growth from idle, divided by the number of connections; memory of the kernel is not
included. Wake-ups: context switches of all tasks, voluntary or not, without any connection, after 2 s of settling.
System calls: those of all processes while 64 connections send requests, counted by the kernel's tracepoint (perf) or
else by strace, divided by the responses.

Prints tables in Markdown: medians, with the first and third quartile of the rounds; ratios are taken within a round.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.lib.contestants import Contestant, ours, prepare, reason_row
from benchmarks.lib.figures import environment, number, spread, table
from benchmarks.lib.http_requests import SMALL, SMALL_CLOSE, with_target
from benchmarks.lib.load_generator import Mode, RunningServer, build_load_generator, response_length, run_load
from benchmarks.lib.many_connections import ManyConnections, watch
from benchmarks.lib.network import isolate_network
from benchmarks.lib.processes import (
    CLIENT_CPU,
    PATIENCE,
    SERVER_CPU,
    free_port,
    process_tree,
    pss,
    serving,
    wait_until_ready,
)

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build/startup_memory"
PYTHON = WORK / "python/bin/python"
SMALL_REQUEST, CLOSE_REQUEST = with_target(SMALL), with_target(SMALL_CLOSE)
LOAD_CONNECTIONS = 64
LOAD = Mode(SMALL, seconds=1.0)
SETTLE_SECONDS = 2.0
SPARE = 1.1  # descriptors per connection; nginx closes idle connections once a sixteenth is left
BARE = "python -c pass"
SLEEPING = "python -c 'import time; time.sleep(...)'"
TARGETS = {"start": 1.5, "memory": 1.25, "connection": 64, "wakeups": 0, "calls": 2.1}


@dataclass
class Entry:
    """A contestant and its figures; a value for each round."""

    contestant: Contestant
    descriptors: int  # limit in its configuration
    start: list[float] = field(default_factory=list)  # seconds
    idle: list[int] = field(default_factory=list)  # bytes
    connected: list[int] = field(default_factory=list)  # bytes
    loaded: list[int] = field(default_factory=list)  # bytes
    connection: list[float] = field(default_factory=list)  # bytes
    calls: list[float] = field(default_factory=list)  # per request
    wakeups: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name in the tables."""
        return self.contestant.name


def entries(descriptors: int) -> list[Entry]:
    """All contestants; the last one takes part in the measurement of the start only."""
    static, go, nginx = prepare(["static", "go", "nginx-buffered"])
    python = ours("python", "on Python", command=(str(PYTHON), "-m", "yinyang.serve"))
    command = ours("command", "on Python, by its command", command=(str(PYTHON.with_name("yinyang")),))
    return [Entry(each, descriptors) for each in (static, python, go, nginx, command)]


def make_python() -> None:
    """Make a copied interpreter with nothing installed but our wheel."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    home = PYTHON.parent.parent
    subprocess.run([sys.executable, "-m", "venv", "--copies", "--without-pip", home], check=True)
    install = [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "-q", "--no-deps", str(ROOT)]
    subprocess.run(install, check=True)
    if library := shared_library():
        shutil.copy(library, WORK)


def shared_library() -> Path | None:
    """The shared library of the interpreter, where it has one."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return None
    return Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME"))


def unshared(command: list[str]) -> list[str]:
    """A command whose interpreter shares no library with other programs; its start takes a little longer."""
    library = shared_library()
    ours = Path(command[0]).is_relative_to(PYTHON.parent)
    return ["env", f"LD_PRELOAD={WORK / library.name}", *command] if library and ours else command


@contextlib.contextmanager
def started(entry: Entry, unshared_: bool = False) -> Iterator[tuple[RunningServer, float]]:
    """A server that has sent its first response, and the seconds until then."""
    port = free_port()
    command = entry.contestant.command(port, entry.descriptors)
    if unshared_:
        command = unshared(command)
    begin = time.perf_counter()
    with serving(command, SERVER_CPU, WORK / f"log-{port}") as process:
        received = wait_until_ready(port, CLOSE_REQUEST)
        took = time.perf_counter() - begin
        if not re.match(rb"HTTP/1.[01] 200 ", received) or not received.endswith(b"</html>"):
            raise RuntimeError(f"{entry.name}: the response is {received!r}")
        yield RunningServer(entry.contestant, port, process.pid), took


def bare_start() -> float:
    """Seconds for an interpreter to start and end."""
    begin = time.perf_counter()
    with serving([str(PYTHON), "-c", "pass"], SERVER_CPU, WORK / "log-bare") as process:
        process.wait()  # with a timeout, Popen would poll every few ms
        return time.perf_counter() - begin


def bare_memory() -> int:
    """Memory of a sleeping interpreter in bytes."""
    log = WORK / "log-bare"
    command = [str(PYTHON), "-c", "import time; print(flush=True); time.sleep(600)"]
    with serving(unshared(command), SERVER_CPU, log) as process:
        deadline = time.monotonic() + PATIENCE
        while not log.stat().st_size and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        return pss(process.pid)


def connections_round(entry: Entry, connections: int) -> None:
    """Measure memory when idle, and with many connections, each of which has had one response."""
    with started(entry, unshared_=True) as (server, _), ManyConnections(server.port, reads=True) as many:
        time.sleep(0.2)  # until the start is complete
        idle = pss(server.pid)
        for _ in range(connections):
            if connection := many.connect():
                many.send(connection, SMALL_REQUEST)
                many.watch(0)
        watch(many, lambda: all(each.status for each in many.connections), PATIENCE)
        answered = sum(each.status == "200" and not each.end for each in many.connections)
        if answered != connections:
            raise RuntimeError(f"{entry.name}: outcomes of {connections} connections: {many.outcomes()}")
        time.sleep(0.2)  # until the log is written
        connected = pss(server.pid)
    entry.idle.append(idle)
    entry.connected.append(connected)
    entry.connection.append((connected - idle) / connections)


def load_round(entry: Entry) -> None:
    """Measure memory under load; then count system calls, which may slow the server down."""
    with started(entry, unshared_=True) as (server, _):
        length = response_length(server, LOAD)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            loading = pool.submit(run_load, server, LOAD, LOAD_CONNECTIONS, length)
            highest = 0
            while not loading.done():
                highest = max(highest, pss(server.pid))
                time.sleep(0.05)
            loading.result()
        entry.loaded.append(highest)
        entry.calls.append(system_calls(server, length))


def system_calls(server: RunningServer, length: int) -> float:
    """System calls of all processes per response; opening and closing the connections adds some per mille."""
    report = WORK / "calls"
    pids = ",".join(map(str, process_tree(server.pid)))
    if counter := perf_command():
        command = [*counter, "-o", str(report), "-p", pids]
    elif strace := shutil.which("strace"):
        command = [strace, "-f", "-c", "-o", str(report), "-p", pids]
    else:
        return float("nan")
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as counting:
        time.sleep(0.5)  # until the tracer is attached
        answers = int(run_load(server, LOAD, LOAD_CONNECTIONS, length).split()[0])
        counting.send_signal(signal.SIGINT)
    text = report.read_text()
    if counter:
        count = re.search(r"^(\d+),", text, re.MULTILINE)[1]
    else:
        count = re.search(r"^100\.00 +\S+ +\S+ +(\d+) .*total$", text, re.MULTILINE)[1]
    return int(count) / answers


def perf_command() -> list[str]:
    """The command by which perf counts system calls; empty where it is not permitted."""
    perf = shutil.which("perf")
    command = [perf or "perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter"]
    if perf:
        done = subprocess.run([*command, "true"], check=False, capture_output=True, text=True)
        if re.search(r"^\d+,", done.stderr, re.MULTILINE):
            return command
    return []


def switches(pid: int) -> dict[tuple[int, int], int]:
    """Context switches of each task of a tree so far."""
    found = {}
    for each in process_tree(pid):
        for task in Path(f"/proc/{each}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                counts = re.findall(r"^(?:non)?voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.M)
                found[each, int(task.name)] = sum(map(int, counts))
    return found


def idle_period(taking_part: list[Entry], seconds: float) -> None:
    """Count wake-ups of all servers at once; idle servers do not disturb each other."""
    with contextlib.ExitStack() as stack:
        pids = [stack.enter_context(started(each))[0].pid for each in taking_part]
        time.sleep(SETTLE_SECONDS)
        before = [switches(pid) for pid in pids]
        time.sleep(seconds)
        for each, pid, earlier in zip(taking_part, pids, before, strict=True):
            each.wakeups.append(sum(count - earlier.get(task, 0) for task, count in switches(pid).items()))


def ratio(own: list[float], other: list[float]) -> str:
    """Median of the ratios within each round."""
    if own is other or not own or not other:
        return ""
    return number(statistics.median(mine / its for mine, its in zip(own, other, strict=True)))


def with_reasons(rows: list[list[str]], all_: list[Entry]) -> list[list[str]]:
    """The rows, and one with the reason for each contestant that is missing."""
    absent = [each for each in all_ if each.contestant.missing]
    return [*rows, *([each.name, *reason_row(each.contestant.missing, len(rows[0]) - 1)] for each in absent)]


def start_table(all_: list[Entry], bare: list[float]) -> str:
    static = all_[0]
    rows = [
        [each.name, spread(each.start, 1e3), ratio(each.start, static.start), ratio(each.start, bare)]
        for each in all_
        if each.start
    ]
    rows.append([f"`{BARE}`", spread(bare, 1e3), ratio(bare, static.start), ""])
    heads = ["exec to first response, ms", "ratio to ours, static", f"ratio to `{BARE}`"]
    return table(heads, with_reasons(rows, all_))


def memory_table(all_: list[Entry], bare: list[int], connections: int) -> str:
    static = all_[0]
    rows = [
        [
            each.name,
            *(spread(figures, 1e-3) for figures in (each.idle, each.connected, each.loaded)),
            ratio(each.idle, static.idle),
            ratio(each.idle, bare),
            spread(each.connection),
            ratio(each.connection, static.connection),
        ]
        for each in all_
        if each.idle
    ]
    rows.append([f"`{SLEEPING}`", spread(bare, 1e-3), "", "", ratio(bare, static.idle), "", "", ""])
    many = f"{connections:,} connections"
    heads = ["idle, kB", f"{many}, kB", "under load, kB", "idle, ratio to ours, static"]
    heads += ["idle, ratio to the interpreter", "per connection, bytes", "ratio to ours, static"]
    return table(heads, with_reasons(rows, all_))


def activity_table(all_: list[Entry], seconds: float) -> str:
    rows = [
        [each.name, ", ".join(map(str, each.wakeups)), spread(each.calls), ratio(each.calls, all_[0].calls)]
        for each in all_
        if each.calls
    ]
    heads = [f"wake-ups in {seconds:g} s", "system calls per request", "ratio to ours, static"]
    return table(heads, with_reasons(rows, all_))


def targets_table(all_: list[Entry], bare: tuple[list[float], list[int]]) -> str:
    static, python = all_[0], all_[1]

    def middle(figures: list[float]) -> str:
        return number(statistics.median(figures)) if figures else ""

    rows = [
        ["memory of an idle connection, bytes", TARGETS["connection"], middle(static.connection),
         middle(python.connection)],
        ["wake-ups when idle", TARGETS["wakeups"], middle(static.wakeups), middle(python.wakeups)],
        ["system calls per request", TARGETS["calls"], middle(static.calls), middle(python.calls)],
        [f"start, ratio to `{BARE}`", TARGETS["start"], "", ratio(python.start, bare[0])],
        ["memory, ratio to the interpreter", TARGETS["memory"], "", ratio(python.idle, bare[1])],
    ]  # fmt: skip
    return table(["target, at most", "static program", "on Python"], rows)


def descriptors_for(connections: int) -> None:
    """Raise the limit of descriptors of this process and its children, or exit if that is not possible."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = int(connections * SPARE) + 100
    if hard != resource.RLIM_INFINITY and hard < most:
        raise SystemExit(
            f"startup_memory.py: {connections} connections need {most} descriptors; the hard limit is {hard}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 2 * most, hard))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--idle-seconds", type=float, default=60)
    parser.add_argument("--json", type=lambda name: Path(name).resolve(), help="file for all figures")
    options = parser.parse_args()
    descriptors_for(options.connections)
    all_ = entries(int(options.connections * SPARE) + 100)
    build_load_generator()
    make_python()  # its build needs the network
    isolate_network()
    os.chdir(WORK)  # else Python would import the source tree
    os.sched_setaffinity(0, {CLIENT_CPU})
    present = [each for each in all_ if not each.contestant.missing]
    serving_ = [each for each in present if each.contestant.key != "command"]
    starts: list[float] = []
    sleeping: list[int] = []
    for turn in range(options.starts):
        print(f"start {turn + 1} of {options.starts}", file=sys.stderr)
        for each in present:
            with started(each) as (_, took):
                each.start.append(took)
        starts.append(bare_start())
    for turn in range(options.rounds):
        print(f"round {turn + 1} of {options.rounds}", file=sys.stderr)
        for each in serving_:
            connections_round(each, options.connections)
            load_round(each)
        sleeping.append(bare_memory())
    print(f"idle for {options.idle_seconds:g} s", file=sys.stderr)
    idle_period(serving_, options.idle_seconds)
    tables = [
        start_table(all_, starts),
        memory_table(all_, sleeping, options.connections),
        activity_table(all_, options.idle_seconds),
        targets_table(all_, (starts, sleeping)),
    ]
    print("\n\n".join(tables))
    print(f"\nSystem calls were counted by {'perf' if perf_command() else 'strace'}.")
    if options.json:
        content = environment() | {
            "contestants": [
                asdict(each) | {"contestant": [each.name, each.contestant.version, each.contestant.missing]}
                for each in all_
            ],
            "bare": {"start": starts, "memory": sleeping},
        }
        options.json.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
