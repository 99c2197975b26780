"""The load of compare.py and others: its modes, the check of a server's answer, and two load generators: ours in C, and
wrk."""

import re
import subprocess
from dataclasses import dataclass

from benchmarks.lib.contestants import PROGRAMS, WORK, Contestant, program, run_build
from benchmarks.lib.http_requests import BROWSER, SMALL, SMALL_CLOSE, with_target
from benchmarks.lib.processes import wait_until_ready

SECONDS = 0.5  # length of a window
OPEN_SECONDS = 2.0
WRK_SECONDS = 1.0  # it takes whole ones
KINDS = 1000  # different requests in varied; not a number of connections, so no connection repeats a request each time
PROGRAM = PROGRAMS / "load_generator"


@dataclass(frozen=True)
class Mode:
    """A kind of load."""

    template: bytes
    depth: int = 1  # requests sent at once; 0: a connection for each request
    kinds: int = 1  # number of different requests
    seconds: float = SECONDS
    by_wrk: bool = False  # wrk makes the load, with requests of its own; the template is for the check of the answer

    def requests(self, path: str) -> list[bytes]:
        """The different requests, all of one length."""
        targets = [path] if self.kinds == 1 else [f"{path}?n={which:04d}" for which in range(self.kinds)]
        return [with_target(self.template, target) for target in targets]


MODES = {
    "keep-alive": Mode(SMALL),
    "varied": Mode(SMALL, kinds=KINDS),
    "browser": Mode(BROWSER),
    "pipelined": Mode(SMALL, depth=16),
    "close": Mode(SMALL_CLOSE, depth=0),
    "wrk": Mode(SMALL, seconds=WRK_SECONDS, by_wrk=True),
    "wrk-close": Mode(SMALL_CLOSE, depth=0, seconds=WRK_SECONDS, by_wrk=True),
    "open": Mode(SMALL, seconds=OPEN_SECONDS),
}


@dataclass(frozen=True)
class RunningServer:
    """A contestant whose server runs."""

    contestant: Contestant
    port: int
    pid: int


def build_load_generator() -> None:
    """Compile it; prepare() must have been called before, as it empties the folder."""
    run_build(("gcc", "-O2", "-Wall", "-Wextra", "-o", str(PROGRAM), "benchmarks/lib/load_generator.c"))


def responses(received: bytes) -> list[tuple[bytes, bytes]]:
    """The complete responses, each as head and body."""
    found = []
    while (end := received.find(b"\r\n\r\n") + 4) >= 4:
        head = received[:end]
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)\r\n", head)
        if not head.startswith(b"HTTP/1.1 200 ") or not length:
            raise ValueError(f"the head is {head!r}")
        if len(received) < end + int(length[1]):
            break
        found.append((head, received[end : end + int(length[1])]))
        received = received[end + int(length[1]) :]
    return found


def response_length(server: RunningServer, mode: Mode) -> int:
    """Length of one response in bytes. Raises ValueError if the body is not the expected one."""
    count = max(mode.depth, 1)

    def is_complete(received: bytes) -> bool:
        return mode.depth > 0 and len(responses(received)) == count

    request = mode.requests(server.contestant.path)[0]
    received = wait_until_ready(server.port, request * count, is_complete)
    found = responses(received)
    lengths = {len(head) + len(body) for head, body in found}
    if {body for _, body in found} != {server.contestant.body.encode()} or lengths != {len(received) // count}:
        raise ValueError(f"the response is {received[:300]!r}")
    return lengths.pop()


def run_load(server: RunningServer, mode: Mode, connections: int, length: int, *rate: str) -> str:
    """Output of the load generator; its source says what that is."""
    if mode.by_wrk:
        return run_wrk(server, mode, connections)
    file = WORK / "requests"
    file.write_bytes(b"".join(mode.requests(server.contestant.path)))
    command = [PROGRAM, server.port, file, mode.depth, connections, mode.seconds, length, *rate]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return done.stdout


def run_wrk(server: RunningServer, mode: Mode, connections: int) -> str:
    """The number of responses and the seconds, as from our load generator."""
    close = [] if mode.depth else ["--header", "Connection: close"]
    command = [program("wrk"), "--threads", "1", "--connections", str(connections), "--duration", f"{mode.seconds:.0f}"]
    url = f"http://127.0.0.1:{server.port}{server.contestant.path}"
    done = subprocess.run([*command, *close, url], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+) requests in ([0-9.]+)s", done.stdout)
    failed = re.search("Socket errors.*|Non-2xx.*", done.stdout)
    if done.returncode or failed or not found:
        raise ValueError(failed[0] if failed else done.stderr.strip() or done.stdout)
    return " ".join(found.groups())
