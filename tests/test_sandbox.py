"""The sandbox: what is refused in it, what the log says of it, and that serving needs nothing that it takes away."""

import contextlib
import ctypes
import errno
import os
import platform
import re
import shlex
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from conftest import (
    LAST,
    PAGE,
    PATIENCE,
    ROOT,
    Replica,
    Shape,
    compiled,
    injecting,
    missing,
    needs,
    serving,
    started_with,
    wait_until,
)

ENOSYS = "Function not implemented"
EPERM = "Operation not permitted"
KILLED = "killed 31"  # SIGSYS
Start = Callable[..., Replica]

# What tests/sandbox_attempts.c tries: what serving takes, what has arguments that serving does not take, what only the
# parent of the static program may do, what it may do with other arguments, what nobody may, and what only attackers do.
SERVING = (
    "send|receive|discard|accept|watch|watch more|unwatch|wait|half-close|half-close the listener|wake|close|"
    "limit CPU time"
)
OTHER_ARGUMENTS = (
    "send to an address|send to an address and connect|send and connect|send to a path|send out of band|"
    "send to a high address|accept without flags|shut down for reading|shut down|limit time|"
    "set to connect when sending|attach a filter"
)
OF_THE_PARENT = "fork|clone|write elsewhere|listen|block signals"
OTHER_ARGUMENTS_OF_THE_PARENT = (
    "ask for an option|pair of another kind|pair of another family|executable memory|memory over memory|"
    "make executable|clone into a new user namespace|clone into new namespaces|"
    "thread|signal|stop itself|quit|end by another signal|stop another|kill all|kill the group|set a handler|"
    "be dumpable|change the memory map|be traceable|limits|limits of another|another filter"
)
NOTHING = (
    "socket|connect|connect the listener|bind|accept with an address|send a message|send messages|send directly|"
    "receive a message|socketcall|open|openat|openat2|create|memory as a file|ioctl|duplicate|get a descriptor|"
    "io_uring|ipc|move memory|userfaultfd|vfork|clone3|kill a thread|become root|personality"
)
OF_THE_WATCH = (
    "send|send with a high half|receive|receive with an address|discard|accept|watch|watch more|unwatch|wait|wake|"
    "close|write elsewhere|connect|connect the listener|stop itself|quit|end by another signal|block signals"
)
ATTACKS = "execve|execveat|ptrace|unshare|setns|bpf|mount|process_vm_writev"


def outcomes(is_parent: bool) -> dict[str, str]:
    outcome = {
        SERVING: "done",
        "send with a high half": "done",  # the kernel takes the lower half of a number, and so does the filter
        "receive with an address": "done",  # which a worker may know
        OTHER_ARGUMENTS: EPERM,
        OF_THE_PARENT: "done" if is_parent else ENOSYS,
        OTHER_ARGUMENTS_OF_THE_PARENT: EPERM if is_parent else ENOSYS,
        NOTHING: ENOSYS,
        ATTACKS: KILLED,
    }
    return {name: result for names, result in outcome.items() for name in names.split("|")} | (
        {} if is_parent else {"write elsewhere": EPERM}
    )


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A program that tries what an attacker would, in the sandbox; RUN_WITH in front of it, for another machine."""
    if not (ROOT / "csrc/sandbox.h").exists():
        missing("static", "there is no source tree to build it from")
    program = compiled("sandbox_attempts.c", tmp_path_factory.mktemp("attempts"))
    return [*shlex.split(os.environ.get("RUN_WITH", "")), str(program)]


@pytest.mark.parametrize("who", ["worker", "parent"])
def test_what_is_refused(who: str, attempts: list[str]) -> None:
    done = subprocess.run([*attempts, who], check=True, capture_output=True, text=True, timeout=PATIENCE)
    seen = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    expected = outcomes(who == "parent")
    assert seen.keys() <= expected.keys()
    for name, outcome in seen.items():
        if expected[name] == "done":  # by the filter; the arguments of some are of no use
            assert outcome not in (ENOSYS, EPERM, KILLED, "no sandbox"), name
        else:
            assert outcome == expected[name], name


@pytest.mark.parametrize("who", ["worker", "parent"])
def test_what_the_filter_says(who: str, attempts: list[str]) -> None:
    """The same by the filter alone, which the program interprets, so on a machine that is emulated as well; and in few
    steps, as the kernel runs them for each request."""
    done = subprocess.run([*attempts, who, "judge"], check=True, capture_output=True, text=True, timeout=PATIENCE)
    seen = dict(re.findall(r"(.*): (.*), steps: \d+", done.stdout))
    if "s390x" in os.environ.get("RUN_WITH", "") and who == "parent":  # its mmap(2) has its arguments in memory
        assert seen.pop("executable memory") == seen.pop("memory over memory") == "done"
    expected = outcomes(who == "parent") | {"another machine": KILLED}
    assert seen == {name: expected[name] for name in seen}
    assert len(seen) > 75
    steps = {name: int(count) for name, count in re.findall(r"(.*): .*, steps: (\d+)", done.stdout)}
    assert max(steps[name] for name in SERVING.split("|")) <= 16
    assert steps["another machine"] < 4096  # of the whole program; the kernel takes no more


def test_what_the_watch_may_do(attempts: list[str]) -> None:
    """Connect, and answer those who ask for its counters; a socket is one of TCP that does not block."""
    done = subprocess.run([*attempts, "watch", "judge"], check=True, capture_output=True, text=True, timeout=PATIENCE)
    seen = dict(re.findall(r"(.*): (.*), steps: \d+", done.stdout))
    may = [name for name in OF_THE_WATCH.split("|") if name in seen]  # numbers of 32 bits have no high half
    if "s390x" in os.environ.get("RUN_WITH", ""):  # its mmap(2) has its arguments in memory
        may += ["executable memory", "memory over memory"]
    assert sorted(name for name, outcome in seen.items() if outcome == "done") == sorted(may)
    killed = [name for name, outcome in seen.items() if outcome == KILLED and name != "another machine"]
    assert sorted(killed) == sorted(name for name in ATTACKS.split("|") if name in seen)


def sandbox_line(replica: Replica) -> str:
    found = wait_until(lambda: re.search(r"Sandbox[^\n]*", replica.log.read_text()), "the line about the sandbox")
    return found[0]


def status(pid: int, field: str) -> str:
    return re.search(rf"^{field}:[ \t]*(.*?) *$", Path(f"/proc/{pid}/status").read_text(), re.M)[1]


def test_workers_are_sandboxed(start: Start, shape: Shape, request: pytest.FixtureRequest) -> None:
    replica = start("--workers", "2", "--sandbox", "require")
    assert "no new privileges" in sandbox_line(replica)
    is_static = request.node.callspec.params["shape"] != "python"
    for pid in replica.workers():
        assert (status(pid, "NoNewPrivs"), status(pid, "Seccomp")) == ("1", "2")
    assert status(replica.pid, "Seccomp") == ("2" if is_static else "0")
    if is_static and os.getuid() == 0:
        assert "user 65534" in sandbox_line(replica)
        for pid in (replica.pid, *replica.workers()):
            assert set(status(pid, "Uid").split()) == set(status(pid, "Gid").split()) == {"65534"}
            assert status(pid, "Groups") == ""
    assert PAGE in replica.ask(LAST)


@pytest.mark.contained
def test_a_worker_of_a_sandboxed_parent_is_restarted(start: Start) -> None:
    replica = start("--workers", "1")
    os.kill(replica.workers()[0], signal.SIGKILL)
    wait_until(lambda: "restarted as pid" in replica.log.read_text())
    assert PAGE in replica.ask(LAST)
    assert replica.stop() == 0


def test_off(start: Start) -> None:
    replica = start("--workers", "1", "--sandbox", "off")
    assert PAGE in replica.ask(LAST)
    assert [status(pid, "Seccomp") for pid in (replica.pid, *replica.workers())] == ["0", "0"]
    assert replica.stop() == 0
    assert "Sandbox" not in replica.log.read_text()


@pytest.mark.strace
@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
@pytest.mark.parametrize(
    ("call", "words"),
    [("landlock_create_ruleset", "Landlock"), ("seccomp", "seccomp filters"), ("close_range", "close_range(2)")],
)
def test_what_the_kernel_lacks(call: str, words: str, error: str, shape: Shape, tmp_path: Path) -> None:
    """It is taken as it is; if it is required, the server does not start and says why."""
    why = "this kernel has no " if error == "ENOSYS" else "this container or service manager refuses "
    fault = f"{call}:error={error}"
    done = shape.run("--port", "0", "--sandbox", "require", wrap=injecting(fault))
    assert done.returncode == 1
    start = re.escape(f"yinyang: no sandbox, as {why}{words}")
    assert re.fullmatch(rf"{start}[^\n]*--sandbox auto[^\n]*\n", done.stderr)
    with started_with(fault, shape, tmp_path / "log") as replica:
        line = sandbox_line(replica)
        assert ("no files" in line) == (call != "landlock_create_ruleset")
        assert ("no connections out, few system calls" in line) == (call != "seccomp")
        assert PAGE in replica.ask(LAST)


@pytest.mark.needs("root", "unshare")
def test_root_of_a_user_namespace(shape: Shape, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """There is no other user to become."""
    namespace = [needs("unshare"), "--user", "--map-root-user"]
    if request.node.callspec.params["shape"] != "python":
        done = shape.run("--port", "0", "--sandbox", "require", wrap=namespace)
        assert done.returncode == 1
        words = "no sandbox, as this process is root and may not become user 65534, [^\n]*; start it as another user; "
        assert re.fullmatch(rf"yinyang: {words}--sandbox auto [^\n]*\n", done.stderr)
    with serving(Shape(*namespace, *shape.command()), tmp_path / "log") as replica:
        assert "user" not in sandbox_line(replica)
        assert PAGE in replica.ask(LAST)


# ---- descriptors --------------------------------------------------------------------------------------------------


def open_files(pid: int) -> dict[int, str]:
    folder = Path(f"/proc/{pid}/fd")
    found = {}
    for entry in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found[int(entry.name)] = os.readlink(entry)
    return found


@pytest.mark.parametrize("sandbox", ["auto", "off"])
def test_workers_have_no_descriptor_of_others(sandbox: str, shape: Shape, tmp_path: Path) -> None:
    """Neither the log nor what the server was started with."""
    inheriting = Shape("sh", "-c", 'exec 9</etc/hosts && exec "$@"', "sh", *shape.command())
    with serving(inheriting, tmp_path / "log", "--workers", "2", "--sandbox", sandbox) as replica:
        assert open_files(replica.pid)[9] == "/etc/hosts"
        for _ in range(2):  # the second time, those that are started when it is sandboxed
            for pid in replica.workers():
                wait_until(lambda pid=pid: any("eventpoll" in name for name in open_files(pid).values()))
                wait_until(lambda pid=pid: "eventpoll" in open_files(pid)[2])
                names = sorted(name.partition("[")[0] for name in open_files(pid).values())
                assert names == ["anon_inode:"] * 5 + ["socket:"] * 2, open_files(pid)
                os.kill(pid, signal.SIGKILL)
                wait_until(lambda pid=pid: f"(pid {pid})" in replica.log.read_text())
            wait_until(lambda: len(replica.workers()) == 2)


@pytest.mark.strace
@pytest.mark.parametrize("sandbox", ["auto", "off"])
def test_close_range_is_refused(sandbox: str, shape: Shape, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """What is open is read from /proc. Where that cannot be, as in a parent that is sandboxed, the log says so."""
    is_sandboxed = sandbox == "auto" and request.node.callspec.params["shape"] != "python"
    inheriting = Shape("sh", "-c", 'exec 9</etc/hosts && exec "$@"', "sh", *shape.command("--sandbox", sandbox))
    with started_with("close_range:error=EPERM", inheriting, tmp_path / "log") as replica:
        server = replica.workers()[0]
        worker = int(Path(f"/proc/{server}/task/{server}/children").read_text())
        wait_until(lambda: "eventpoll" in open_files(worker)[2])
        assert (9 in open_files(worker)) == is_sandboxed
        if sandbox == "auto":
            assert ("; but workers keep the descriptors" in sandbox_line(replica)) == is_sandboxed
        assert PAGE in replica.ask(LAST)


# ---- a worker that was taken over ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def taken_over(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., int]:
    """Have a process make a system call: its number in x86-64, and its arguments. -errno for failure."""
    if platform.machine() != "x86_64" or "CC" in os.environ:
        pytest.skip("it sets the registers of x86-64")
    program = compiled("taken_over.c", tmp_path_factory.mktemp("taken_over"))

    def call(pid: int, number: int, *arguments: object) -> int:
        command = [program, str(pid), str(number), *map(str, arguments)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout)

    return call


@pytest.mark.needs("root")
def test_a_worker_that_was_taken_over_connects_nowhere(start: Start, taken_over: Callable[..., int]) -> None:
    """Nor does it end the service of the others."""
    replica = start("--workers", "2", "--sandbox", "require")
    sandbox_line(replica)
    with socket.create_server(("127.0.0.1", 0)) as service:
        address = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s", service.getsockname()[1], b"\x7f\0\0\1")
        for pid in replica.workers():
            for fd, name in open_files(pid).items():
                if not name.startswith("socket:"):
                    continue
                for how in socket.SHUT_RD, socket.SHUT_RDWR:
                    assert taken_over(pid, 48, fd, how) == -errno.EPERM
                to_it = f"@{address.hex()}", 16
                assert taken_over(pid, 44, fd, "@58", 1, socket.MSG_FASTOPEN, *to_it) == -errno.EPERM
                assert taken_over(pid, 44, fd, "@58", 1, 0, *to_it) == -errno.EPERM
                assert taken_over(pid, 42, fd, *to_it) == -errno.ENOSYS  # connect
                assert taken_over(pid, 46, fd, "@00", socket.MSG_FASTOPEN) == -errno.ENOSYS  # sendmsg
                assert taken_over(pid, 54, fd, socket.IPPROTO_TCP, 30, "@01000000", 4) == -errno.EPERM  # setsockopt
        service.settimeout(0)
        with pytest.raises(BlockingIOError):
            service.accept()
    for _ in range(10):
        assert PAGE in replica.ask(LAST)
    # it was opened before any lifeline
    listener = min(fd for fd, name in open_files(replica.workers()[0]).items() if name.startswith("socket:"))
    assert taken_over(replica.workers()[0], 48, listener, socket.SHUT_WR) == 0
    assert PAGE in replica.ask(LAST)
    assert replica.stop() == 0
    assert "was killed" not in replica.log.read_text()


@pytest.mark.needs("root")
def test_a_restart_mends_the_listener(start: Start, taken_over: Callable[..., int]) -> None:
    """A worker that was taken over may have silent clients held back for long; the socket outlives it."""
    replica = start("--workers", "1", "--sandbox", "require")
    worker = replica.workers()[0]
    fd = min(fd for fd, name in open_files(worker).items() if name.startswith("socket:"))
    with socket.socket(fileno=copied_descriptor(worker, fd)) as listener:
        before = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT)
        deferred = struct.pack("=i", 60).hex()
        assert taken_over(worker, 54, fd, socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, f"@{deferred}", 4) == 0
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) > before
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: "restarted as pid" in replica.log.read_text())
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) == before
    assert replica.stop() == 0


def copied_descriptor(pid: int, fd: int) -> int:
    """A copy of another process's (pidfd_getfd(2))."""
    process = os.pidfd_open(pid)
    copy = ctypes.CDLL(None, use_errno=True).syscall(438, process, fd, 0)
    os.close(process)
    assert copy >= 0, os.strerror(ctypes.get_errno())
    return copy


@pytest.mark.strace
def test_no_call_is_missed(shape: Shape, tmp_path: Path) -> None:
    """From start to end, with a log, a restart and a drain, nothing is tried that the sandbox refuses."""
    trace = tmp_path / "trace"
    command = Shape(needs("strace"), "-f", "-qq", "-o", str(trace), "-e", "signal=none", *shape.command())
    replica = command.replica(tmp_path / "log", "--workers", "2", "--drain", "1", "--head-timeout", "1")
    try:
        replica.wait_for_port()
        server = replica.workers()[0]
        children = Path(f"/proc/{server}/task/{server}/children")
        sandbox_line(replica)
        assert PAGE in replica.ask(LAST)
        with replica.connect() as slow:
            slow.sendall(b"GET ")
            assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
        os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
        wait_until(lambda: "restarted as pid" in replica.log.read_text())
        with replica.connect() as client:
            client.sendall(b"GET //x HTTP/1.1\r\nHost: a\r\n\r\nBAD\r\n\r\n")
            assert client.recv(100)
        os.kill(server, signal.SIGTERM)
        assert PAGE in replica.ask(LAST)
        assert replica.process.wait(PATIENCE) == 0
    finally:
        if replica.process.poll() is None:
            replica.kill()
    refused = [line for line in trace.read_text().splitlines() if re.search(r"= -1 ENOSYS|killed by SIGSYS", line)]
    assert refused == []


@pytest.mark.needs("root")
def test_each_worker_has_a_canary_of_its_own(start: Start, taken_over: Callable[..., int]) -> None:
    """So nobody finds it out by making workers crash."""
    replica = start("--workers", "2")
    processes = [replica.pid, *replica.workers()]
    for pid in processes[1:]:
        os.kill(pid, signal.SIGKILL)
    canaries = [taken_over(pid, "canary") for pid in (replica.pid, *serving_workers(replica, processes))]
    assert len(set(canaries)) == len(canaries) == 3


def serving_workers(replica: Replica, old: Sequence[int] = ()) -> list[int]:
    """Both, and none of the old ones, once they do what they do before they serve."""

    def found() -> list[int]:
        workers = replica.workers()
        is_there = len(workers) == 2 and not set(workers) & set(old)
        return workers if is_there and all("eventpoll" in open_files(pid).get(2, "") for pid in workers) else []

    return wait_until(found)


def test_each_worker_has_addresses_of_its_own(start: Start, shape: Shape, request: pytest.FixtureRequest) -> None:
    """The static program is executed anew for each; an interpreter would take too long to start."""
    if request.node.callspec.params["shape"] == "python":
        pytest.skip("workers are copies of the interpreter")
    replica = start("--workers", "2", "--name", "a name", "--title", "x")
    old = replica.workers()
    places = [layout(pid) for pid in (replica.pid, *serving_workers(replica))]
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    places += [layout(pid) for pid in serving_workers(replica, old)]
    for name in "program", "stack":
        found = {place[name] for place in places}
        # with 32 bits, Linux has 256 places for a program, so two of five are the same now and then
        assert len(found) >= (5 if max(int(place, 16) for place in found) >> 32 else 3), name
    assert b"a name" in replica.ask(LAST)
    assert b"<title>x</title>" in replica.ask(LAST)
    for pid in replica.workers():
        assert Path(f"/proc/{pid}/comm").read_text() == "yinyang-worker\n"
        if os.getuid() == 0:  # nobody's other processes may not trace it
            assert Path(f"/proc/{pid}/fd").stat().st_uid == 0
    assert replica.stop() == 0


@pytest.mark.strace
@pytest.mark.parametrize("fault", ["execveat:error=EACCES", "memfd_create:error=ENOSYS"])
def test_a_worker_that_cannot_be_executed_is_a_copy(fault: str, shape: Shape, tmp_path: Path) -> None:
    with started_with(fault, shape, tmp_path / "log") as replica:
        assert "few system calls" in sandbox_line(replica)
        assert PAGE in replica.ask(LAST)
        server = replica.workers()[0]
        worker = Path(f"/proc/{server}/task/{server}/children").read_text().strip()
        assert Path(f"/proc/{worker}/cmdline").read_bytes() == Path(f"/proc/{server}/cmdline").read_bytes()
        assert Path(f"/proc/{worker}/comm").read_text() == "yinyang-worker\n"


def layout(pid: int) -> dict[str, str]:
    """Where the program and the stack of a process begin."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {
        "program": next(line for line in lines if re.search(r" r-xp .*/", line)).partition("-")[0],
        "stack": next(line for line in lines if line.endswith("[stack]")).partition("-")[0],
    }
