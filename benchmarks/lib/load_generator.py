"""The load of compare.py and others: its modes, the check of a server's answer, and the load generators: ours in C, wrk
and h2load."""

import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.lib.contestants import PROGRAMS, WORK, Contestant, program, run_build
from benchmarks.lib.http_requests import BROWSER, SMALL, SMALL_CLOSE, with_target
from benchmarks.lib.processes import wait_until_ready

SECONDS = 0.5  # length of a window
OPEN_SECONDS = 2.0
WRK_SECONDS = 1.0  # it takes whole ones
WRK_SCRIPT = Path(__file__).with_name("wrk_requests.lua")
KINDS = 1000  # different requests in varied; not a number of connections, so no connection repeats a request each time
PROGRAM = PROGRAMS / "load_generator"


@dataclass(frozen=True)
class Mode:
    """A kind of load."""

    template: bytes
    depth: int = 1  # requests sent at once; 0: a connection for each request
    kinds: int = 1  # number of different requests
    seconds: float = SECONDS
    client: str = ""  # wrk or h2load; none: ours
    asks_who: bool = False  # for the route that says who answers, instead of the page

    def path(self, contestant: Contestant) -> str:
        return contestant.whoami if self.asks_who else contestant.path

    def requests(self, path: str) -> list[bytes]:
        """The different requests, all of one length."""
        targets = [path] if self.kinds == 1 else [f"{path}?n={which:04d}" for which in range(self.kinds)]
        return [with_target(self.template, target) for target in targets]


OWN_MODES = {
    "keep-alive": Mode(SMALL),
    "varied": Mode(SMALL, kinds=KINDS),
    "browser": Mode(BROWSER, kinds=KINDS),
    "pipelined": Mode(SMALL, depth=16),
    "close": Mode(SMALL_CLOSE, depth=0),
}
MODES = (
    OWN_MODES
    | {"open": Mode(SMALL, seconds=OPEN_SECONDS)}
    | {f"{name}-wrk": replace(mode, seconds=WRK_SECONDS, client="wrk") for name, mode in OWN_MODES.items()}
    | {
        "whoami-wrk": Mode(SMALL_CLOSE, depth=0, seconds=WRK_SECONDS, client="wrk", asks_who=True),
        "open-h2load": Mode(SMALL, seconds=OPEN_SECONDS, client="h2load"),
    }
)


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

    request = mode.requests(mode.path(server.contestant))[0]
    received = wait_until_ready(server.port, request * count, is_complete)
    found = responses(received)
    lengths = {len(head) + len(body) for head, body in found}
    expected = {server.contestant.body.encode()}
    if (not mode.asks_who and {body for _, body in found} != expected) or lengths != {len(received) // count}:
        raise ValueError(f"the response is {received[:300]!r}")
    return lengths.pop()


def run_load(server: RunningServer, mode: Mode, connections: int, length: int, *rate: str) -> str:
    """Output of the load generator; the source of ours says what that is."""
    file = WORK / "requests"
    requests = mode.requests(mode.path(server.contestant))
    if mode.client == "wrk":
        file.write_bytes(b"".join(request * max(mode.depth, 1) for request in requests))
        return run_wrk(server, mode, connections, file, len(requests))
    if mode.client == "h2load":
        return run_h2load(server, mode, connections, float(rate[0]))
    file.write_bytes(b"".join(requests))
    command = [PROGRAM, server.port, file, mode.depth, connections, mode.seconds, length, *rate]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return done.stdout


def run_wrk(server: RunningServer, mode: Mode, connections: int, file: Path, count: int) -> str:
    """Send the requests of a file in turn; the number of responses and the seconds, as from our load generator."""
    command = [program("wrk"), "--threads", "1", "--connections", str(connections), "--duration", f"{mode.seconds:.0f}"]
    url = f"http://127.0.0.1:{server.port}"
    requests = ["--script", str(WRK_SCRIPT), url, "--", str(file), str(count)]
    done = subprocess.run([*command, *requests], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+) requests in ([0-9.]+)s", done.stdout)
    failed = re.search("Socket errors.*|Non-2xx.*", done.stdout)
    if done.returncode or failed or not found:
        raise ValueError(failed[0] if failed else done.stderr.strip() or done.stdout)
    return " ".join(found.groups())


def run_h2load(server: RunningServer, mode: Mode, connections: int, rate: float) -> str:
    """Send requests at a fixed rate; nanoseconds of each, as from our load generator."""
    times = WORK / "times"
    times.unlink(missing_ok=True)
    command = [program("h2load"), "--h1", "--threads=1", f"--clients={connections}", f"--duration={mode.seconds:.0f}"]
    command += [f"--rps={rate / connections:.2f}", f"--log-file={times}"]
    url = f"http://127.0.0.1:{server.port}{mode.path(server.contestant)}"
    done = subprocess.run([*command, url], capture_output=True, text=True, check=False)
    failed = re.search(r"requests: .* (\d+) failed, (\d+) errored, (\d+) timeout", done.stdout)
    if done.returncode or not failed or any(map(int, failed.groups())):
        raise ValueError(failed[0] if failed else done.stderr.strip() or done.stdout)
    rows = [line.split("\t") for line in times.read_text().splitlines()]
    if not rows or {status for _, status, _ in rows} != {"200"}:
        raise ValueError("not all responses are 200")
    return "\n".join(f"{int(time) * 1000}" for _, _, time in rows)
