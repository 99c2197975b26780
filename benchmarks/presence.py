"""The cost of being there: what a server takes to start, and while it does nothing or little; ours in both shapes,
beside Go's net/http and nginx, and the shape on Python beside an interpreter that does nothing.

    python benchmarks/presence.py [--starts 30] [--rounds 5] [--connections 10000] [--idle-seconds 60] [--json FILE]

Each server has one worker and runs on one CPU, the clients on another one; they take turns in each round. What runs on
Python runs on an interpreter of its own, a copy, with nothing installed but the wheel, so that its memory is not shared
with other programs and no other package makes the interpreter's start longer.

exec to first answer: from before fork(2) to the end of the first page, which is asked for again and again; for
`python -c pass`, to its end. Memory: proportional set size of all processes. Idle: after one request. With
connections: when each of them has had one request answered and waits. Under load: the most that is seen while 64
connections ask one thing after the other. A connection: the growth from idle to so many connections, divided by them;
the kernel's part is not in it. Wake-ups: context switches of all tasks, wanted or not, while nobody is connected, after
2 s in which to settle. System calls: of all processes while 64 connections ask, by the kernel's tracepoint (perf), else
by strace, divided by the answers.

Prints tables in Markdown: medians, with the middle half of the rounds; ratios are those within a round.
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

from compare import LAST, SMALL, Mode, Running, answer_length, load
from contestants import PROGRAMS, Contestant, made, made_ready, ours
from crowd import Crowd, watch
from figures import circumstances, number, spread
from network import leave_shared_network
from processes import PATIENCE, free_port, resident, serving, tree, wait_until_it_answers

ROOT = Path(__file__).parent.parent
WORK = ROOT / "build/presence"
PYTHON = WORK / "python/bin/python"
SERVER_CPU, CLIENT_CPU = 1, 0
[SMALL_REQUEST], [LAST_REQUEST] = Mode(SMALL).requests("/"), Mode(LAST).requests("/")
ASKING = 64  # connections of the load
LOAD = Mode(SMALL, seconds=1.0)
SETTLE_SECONDS = 2.0
SPARE = 1.1  # descriptors for each connection; nginx closes who is idle before a sixteenth is left
BARE = "python -c pass"
SLEEPING = "python -c 'import time; time.sleep(...)'"
WANTED = {"start": 1.5, "memory": 1.25, "connection": 64, "wakeups": 0, "calls": 2.1}


@dataclass
class Entry:
    """A contestant, and what was measured of it; a figure for each round."""

    contestant: Contestant
    descriptors: int  # that it is told it may have
    start: list[float] = field(default_factory=list)  # seconds
    idle: list[int] = field(default_factory=list)  # bytes
    crowded: list[int] = field(default_factory=list)  # bytes
    loaded: list[int] = field(default_factory=list)  # bytes
    connection: list[float] = field(default_factory=list)  # bytes
    calls: list[float] = field(default_factory=list)  # a request
    wakeups: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As it stands in the tables."""
        return self.contestant.name


def entries(descriptors: int) -> list[Entry]:
    """All of them; the last one takes part in starting only."""
    static, go, nginx = made_ready(["static", "go", "nginx-buffered"])
    python = ours("python", "on Python", line=(str(PYTHON), "-m", "yinyang.serve"))
    command = ours("command", "on Python, by its command", line=(str(PYTHON.with_name("yinyang")),))
    return [Entry(each, descriptors) for each in (static, python, go, nginx, command)]


def make_python() -> None:
    """An interpreter with nothing but our wheel."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    home = PYTHON.parent.parent
    subprocess.run([sys.executable, "-m", "venv", "--copies", "--without-pip", home], check=True)
    install = [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "-q", "--no-deps", str(ROOT)]
    subprocess.run(install, check=True)

    if library := shared_library():
        shutil.copy(library, WORK)


def shared_library() -> Path | None:
    """The library that the interpreter is, where it is one."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return None
    return Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME"))


def unshared(line: list[str]) -> list[str]:
    """The command line of an interpreter that shares no library with others; which takes a little longer to start."""
    library = shared_library()
    ours = Path(line[0]).is_relative_to(PYTHON.parent)
    return ["env", f"LD_PRELOAD={WORK / library.name}", *line] if library and ours else line


@contextlib.contextmanager
def started(entry: Entry, unshared_: bool = False) -> Iterator[tuple[Running, float]]:
    """A server that has answered once, and the seconds that took."""
    port = free_port()
    line = entry.contestant.start(port, entry.descriptors)
    if unshared_:
        line = unshared(line)
    begin = time.perf_counter()
    with serving(line, SERVER_CPU, WORK / f"log-{port}") as process:
        received = wait_until_it_answers(port, LAST_REQUEST)
        took = time.perf_counter() - begin
        if not re.match(rb"HTTP/1.[01] 200 ", received) or not received.endswith(b"</html>"):
            raise RuntimeError(f"{entry.name} answers {received!r}")
        yield Running(entry.contestant, port, process.pid), took


def bare_start() -> float:
    """Seconds for an interpreter to begin and end."""
    begin = time.perf_counter()
    with serving([str(PYTHON), "-c", "pass"], SERVER_CPU, WORK / "log-bare") as process:
        process.wait()  # with a timeout, it would look every few ms
        return time.perf_counter() - begin


def bare_memory() -> int:
    """Bytes of an interpreter that sleeps."""
    told = WORK / "log-bare"
    line = [str(PYTHON), "-c", "import time; print(flush=True); time.sleep(600)"]
    with serving(unshared(line), SERVER_CPU, told) as process:
        deadline = time.monotonic() + PATIENCE
        while not told.stat().st_size and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        return resident(process.pid)


def crowd_round(entry: Entry, connections: int) -> None:
    """Memory idle, and with many connections of which each has been answered once."""
    with started(entry, unshared_=True) as (server, _), Crowd(server.port, reads=True) as crowd:
        time.sleep(0.2)  # what runs after the start
        idle = resident(server.pid)
        for _ in range(connections):
            if member := crowd.connect():
                crowd.send(member, SMALL_REQUEST)
                crowd.watch(0)
        watch(crowd, lambda: all(member.status for member in crowd.members), PATIENCE)
        answered = sum(member.status == "200" and not member.end for member in crowd.members)
        if answered != connections:
            raise RuntimeError(f"{entry.name}: of {connections} connections, {crowd.outcomes()}")
        time.sleep(0.2)  # the log is written
        crowded = resident(server.pid)
    entry.idle.append(idle)
    entry.crowded.append(crowded)
    entry.connection.append((crowded - idle) / connections)


def load_round(entry: Entry) -> None:
    """Memory under load, and then system calls, which counting them may make slower."""
    with started(entry, unshared_=True) as (server, _):
        length = answer_length(server, LOAD)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            loading = pool.submit(load, server, LOAD, ASKING, length)
            most = 0
            while not loading.done():
                most = max(most, resident(server.pid))
                time.sleep(0.05)
            loading.result()
        entry.loaded.append(most)
        entry.calls.append(system_calls(server, length))


def system_calls(server: Running, length: int) -> float:
    """Of a tree, for each answer. What opening and closing the connections takes is in it: a few in a thousand."""
    told = WORK / "calls"
    pids = ",".join(map(str, tree(server.pid)))
    if counter := counter_of_calls():
        line = [*counter, "-o", str(told), "-p", pids]
    elif strace := shutil.which("strace"):
        line = [strace, "-f", "-c", "-o", str(told), "-p", pids]
    else:
        return float("nan")
    with subprocess.Popen(line, stderr=subprocess.DEVNULL) as counting:
        time.sleep(0.5)  # until it is attached
        answers = int(load(server, LOAD, ASKING, length).split()[0])
        counting.send_signal(signal.SIGINT)
    text = told.read_text()
    if counter:
        count = re.search(r"^(\d+),", text, re.MULTILINE)[1]
    else:
        count = re.search(r"^100\.00 +\S+ +\S+ +(\d+) .*total$", text, re.MULTILINE)[1]
    return int(count) / answers


def counter_of_calls() -> list[str]:
    """perf, where it may count them."""
    perf = shutil.which("perf")
    line = [perf or "perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter"]
    if perf:
        done = subprocess.run([*line, "true"], check=False, capture_output=True, text=True)
        if re.search(r"^\d+,", done.stderr, re.MULTILINE):
            return line
    return []


def switches(pid: int) -> dict[tuple[int, int], int]:
    """Context switches so far of each task of a tree."""
    found = {}
    for each in tree(pid):
        for task in Path(f"/proc/{each}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                counts = re.findall(r"^(?:non)?voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.M)
                found[each, int(task.name)] = sum(map(int, counts))
    return found


def idle_period(taking_part: list[Entry], seconds: float) -> None:
    """All of them at once, as none of them does anything that another one could notice."""
    with contextlib.ExitStack() as stack:
        pids = [stack.enter_context(started(each))[0].pid for each in taking_part]
        time.sleep(SETTLE_SECONDS)
        before = [switches(pid) for pid in pids]
        time.sleep(seconds)
        for each, pid, earlier in zip(taking_part, pids, before, strict=True):
            each.wakeups.append(sum(count - earlier.get(task, 0) for task, count in switches(pid).items()))


def beside(own: list[float], other: list[float]) -> str:
    """The ratio within each round."""
    if own is other or not own or not other:
        return ""
    return number(statistics.median(mine / its for mine, its in zip(own, other, strict=True)))


def table(titles: list[str], rows: list[list[str]], absent: list[Entry]) -> str:
    rows += [[each.name, each.contestant.missing, *[""] * (len(titles) - 2)] for each in absent]
    return "\n".join(f"| {' | '.join(row)} |" for row in [titles, ["---"] * len(titles), *rows])


def start_table(all_: list[Entry], bare: list[float]) -> str:
    static = all_[0]
    rows = [
        [each.name, spread(each.start, 1e3), beside(each.start, static.start), beside(each.start, bare)]
        for each in all_
        if each.start
    ]
    rows.append([f"`{BARE}`", spread(bare, 1e3), beside(bare, static.start), ""])
    titles = ["", "exec to first answer, ms", "beside ours, static", f"beside `{BARE}`"]
    return table(titles, rows, [each for each in all_ if each.contestant.missing])


def memory_table(all_: list[Entry], bare: list[int], connections: int) -> str:
    static = all_[0]
    rows = [
        [
            each.name,
            *(spread(figures, 1e-3) for figures in (each.idle, each.crowded, each.loaded)),
            beside(each.idle, static.idle),
            beside(each.idle, bare),
            spread(each.connection),
            beside(each.connection, static.connection),
        ]
        for each in all_
        if each.idle
    ]
    rows.append([f"`{SLEEPING}`", spread(bare, 1e-3), "", "", beside(bare, static.idle), "", "", ""])
    many = f"{connections:,} connections"
    titles = ["", "idle, kB", f"{many}, kB", "under load, kB", "idle, beside ours, static"]
    titles += ["idle, beside the interpreter", "a connection, bytes", "beside ours, static"]
    return table(titles, rows, [each for each in all_ if each.contestant.missing])


def rest_table(all_: list[Entry], seconds: float) -> str:
    rows = [
        [each.name, ", ".join(map(str, each.wakeups)), spread(each.calls), beside(each.calls, all_[0].calls)]
        for each in all_
        if each.calls
    ]
    titles = ["", f"wake-ups in {seconds:g} s", "system calls a request", "beside ours, static"]
    return table(titles, rows, [each for each in all_ if each.contestant.missing])


def wanted_table(all_: list[Entry], bare: tuple[list[float], list[int]]) -> str:
    static, python = all_[0], all_[1]

    def middle(figures: list[float]) -> str:
        return number(statistics.median(figures)) if figures else ""

    rows = [
        ["memory of an idle connection, bytes", WANTED["connection"], middle(static.connection),
         middle(python.connection)],
        ["wake-ups when idle", WANTED["wakeups"], middle(static.wakeups), middle(python.wakeups)],
        ["system calls a request", WANTED["calls"], middle(static.calls), middle(python.calls)],
        [f"start, beside `{BARE}`", WANTED["start"], "", beside(python.start, bare[0])],
        ["memory, beside the interpreter", WANTED["memory"], "", beside(python.idle, bare[1])],
    ]  # fmt: skip
    titles = ["", "wanted, at most", "static program", "on Python"]
    return table(titles, [[str(cell) for cell in row] for row in rows], [])


def descriptors_for(connections: int) -> None:
    """May this process, and so each server, have so many?"""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = int(connections * SPARE) + 100
    if hard != resource.RLIM_INFINITY and hard < most:
        raise SystemExit(f"presence.py: {connections} connections take {most} descriptors, and the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 2 * most, hard))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--idle-seconds", type=float, default=60)
    parser.add_argument("--json", type=lambda name: Path(name).resolve(), help="write all figures there")
    options = parser.parse_args()
    descriptors_for(options.connections)
    all_ = entries(int(options.connections * SPARE) + 100)
    made(("gcc", "-O2", "-Wall", "-Wextra", "-o", str(PROGRAMS / "load"), "benchmarks/load.c"))
    make_python()  # with what its build needs from elsewhere
    leave_shared_network()
    os.chdir(WORK)  # else Python finds the source tree
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
            crowd_round(each, options.connections)
            load_round(each)
        sleeping.append(bare_memory())
    print(f"idle for {options.idle_seconds:g} s", file=sys.stderr)
    idle_period(serving_, options.idle_seconds)
    tables = [
        start_table(all_, starts),
        memory_table(all_, sleeping, options.connections),
        rest_table(all_, options.idle_seconds),
        wanted_table(all_, (starts, sleeping)),
    ]
    print("\n\n".join(tables))
    print(f"\nSystem calls were counted by {'perf' if counter_of_calls() else 'strace'}.")
    if options.json:
        content = circumstances() | {
            "contestants": [
                asdict(each) | {"contestant": [each.name, each.contestant.version, each.contestant.missing]}
                for each in all_
            ],
            "bare": {"start": starts, "memory": sleeping},
        }
        options.json.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
