"""The sandbox: what is refused in it, what the log says of it, and that serving needs nothing that it takes away."""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import LAST, PAGE, PATIENCE, ROOT, Replica, Shape, injecting, missing, needs, started_with, wait_until

ENOSYS = "Function not implemented"
KILLED = "killed 31"  # SIGSYS
Start = Callable[..., Replica]


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that tries what an attacker would, in the sandbox."""
    if not (ROOT / "csrc/sandbox.h").exists():
        missing("static", "there is no source tree to build it from")
    program = tmp_path_factory.mktemp("attempts") / "attempts"
    source = Path(__file__).with_name("sandbox_attempts.c")
    compiler, *options = shlex.split(os.environ.get("CC", "gcc"))
    subprocess.run([needs(compiler), *options, "-O1", "-Wall", "-I", ROOT / "csrc", "-o", program, source], check=True)
    return program


@pytest.mark.parametrize(
    ("who", "refused"),
    [
        (
            "worker",
            dict.fromkeys(("open", "create", "socket", "connect", "bind", "fork", "kill", "map", "setuid"), ENOSYS)
            | dict.fromkeys(("execve", "execveat", "ptrace", "unshare"), KILLED),
        ),
        (
            "parent",
            dict.fromkeys(("open", "create", "socket", "connect", "bind", "setuid"), ENOSYS)
            | dict.fromkeys(("execve", "execveat", "ptrace", "unshare"), KILLED),
        ),
    ],
)
def test_what_is_refused(who: str, refused: dict[str, str], attempts: Path) -> None:
    done = subprocess.run([attempts, who], check=True, capture_output=True, text=True, timeout=PATIENCE)
    outcomes = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert {what: outcomes[what] for what in refused} == refused
    assert outcomes["send"] == outcomes["write"] == "done"


def sandbox_line(replica: Replica) -> str:
    found = wait_until(lambda: re.search(r"Sandbox[^\n]*", replica.log.read_text()), "the line about the sandbox")
    return found[0]


def status(pid: int, field: str) -> str:
    return re.search(rf"^{field}:[ \t]*(.*?) *$", Path(f"/proc/{pid}/status").read_text(), re.M)[1]


@pytest.mark.host
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


def test_a_worker_of_a_sandboxed_parent_is_restarted(start: Start) -> None:
    replica = start("--workers", "1")
    os.kill(replica.workers()[0], signal.SIGKILL)
    wait_until(lambda: "restarted as pid" in replica.log.read_text())
    assert PAGE in replica.ask(LAST)
    assert replica.stop() == 0


@pytest.mark.host
def test_off(start: Start) -> None:
    replica = start("--workers", "1", "--sandbox", "off")
    assert PAGE in replica.ask(LAST)
    assert [status(pid, "Seccomp") for pid in (replica.pid, *replica.workers())] == ["0", "0"]
    assert replica.stop() == 0
    assert "Sandbox" not in replica.log.read_text()


@pytest.mark.strace
@pytest.mark.host
@pytest.mark.parametrize(
    ("call", "words"),
    [("landlock_create_ruleset", "Landlock"), ("seccomp", "seccomp filters")],
)
def test_what_the_kernel_lacks(call: str, words: str, shape: Shape, tmp_path: Path) -> None:
    """It is taken as it is; if it is required, the server does not start and says why."""
    fault = f"{call}:error=ENOSYS"
    done = shape.run("--port", "0", "--sandbox", "require", wrap=injecting(fault))
    assert done.returncode == 1
    assert re.fullmatch(rf"yinyang: no sandbox, as this kernel has no {words}[^\n]*--sandbox auto[^\n]*\n", done.stderr)
    with started_with(fault, shape, tmp_path / "log") as replica:
        line = sandbox_line(replica)
        assert ("no files" in line) == (call == "seccomp")
        assert ("few system calls" in line) == (call != "seccomp")
        assert PAGE in replica.ask(LAST)


@pytest.mark.strace
@pytest.mark.host
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
