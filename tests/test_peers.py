"""The same requests to similar servers: what docs/commands.md says that works here as there."""

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest
from conftest import ROOT, Replica, free_port, missing, read_all, wait_until

Start = Callable[..., Replica]
COMMANDS = {
    "whoami": ["--port", "{port}"],
    "podinfo": ["--port", "{port}", "--level", "error"],
    "go-httpbin": ["-host", "127.0.0.1", "-port", "{port}"],
}


@pytest.fixture(scope="module", params=COMMANDS)
def peer(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """One that is installed, and its port."""
    name = request.param
    program = shutil.which(name, path=f"{ROOT}/build/peers")  # on the PATH, there is another whoami
    if program is None:
        missing(name, f"{name} is not installed; benchmarks/install-peers does that")
    port = free_port()
    command = [program, *(option.format(port=port) for option in COMMANDS[name])]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: is_there(port), name)
            yield name, port
        finally:
            process.kill()


def is_there(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def ask(port: int, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
    fields = "Host: shop.example\r\nUser-Agent: x\r\nX-A: 1\r\nX-A: 2\r\nConnection: close\r\n"
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        client.sendall(f"{method} {target} HTTP/1.0\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = read_all(client)
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


SAME_STATUS = {
    "whoami": [("GET", "/health")],
    "podinfo": [
        *(("GET", path) for path in ("/healthz", "/readyz", "/metrics", "/headers", "/delay/1", "/delay/0")),
        *(("GET", f"/status/{code}") for code in (200, 201, 204, 404, 418, 500, 503)),
        *(("POST", path) for path in ("/readyz/disable", "/readyz/enable")),
    ],
    "go-httpbin": [
        *(("GET", f"/status/{code}") for code in (200, 404, 418, 429, 500, 503)),
        *(("GET", path) for path in ("/delay/0.1", "/delay/100ms", "/headers", "/anything", "/anything/a?b=c")),
        *((method, "/anything") for method in ("POST", "PUT", "DELETE", "PATCH")),
    ],
}


def test_the_statuses_are_the_same(peer: tuple[str, int], start: Start) -> None:
    name, port = peer
    replica = start("--control")
    for method, target in SAME_STATUS[name]:
        assert ask(replica.port, method, target)[0] == ask(port, method, target)[0], (method, target)


def test_what_they_echo_is_the_same(peer: tuple[str, int], shared_replica: Replica) -> None:
    """As far as the guide says; Go's servers write all names in one way, and leave some out."""
    name, port = peer
    if name == "whoami":
        ours = ask(shared_replica.port, "GET", "/echo?format=text")[1].decode().splitlines()
        theirs = ask(port, "GET", "/echo-no-more?format=text")[1].decode().splitlines()
        names = [re.match(r"[A-Za-z-]+", line)[0] for line in theirs if line]
        assert [re.match(r"[A-Za-z-]+", line)[0] for line in ours if line][:3] == ["Hostname", "IP", "RemoteAddr"]
        assert {"Hostname", "IP", "RemoteAddr", "GET", "Host", "User-Agent", "X-A"} <= {*names}
        assert {line for line in theirs if line.startswith(("Host: ", "User-Agent: ", "X-A: "))} <= {*ours}
        return
    ours, theirs = (json.loads(ask(where, "GET", "/headers")[1]) for where in (shared_replica.port, port))
    fields = theirs["headers"] if name == "go-httpbin" else theirs
    assert fields["X-A"] == ours["headers"]["X-A"] == ["1", "2"]
    assert fields["User-Agent"] == ours["headers"]["User-Agent"]


def test_metrics_have_the_same_names(peer: tuple[str, int], shared_replica: Replica) -> None:
    name, port = peer
    if name != "podinfo":
        pytest.skip(f"{name} has none")
    for where in port, shared_replica.port:
        ask(where, "GET", "/status/500")
        ask(where, "GET", "/healthz")
    ours, theirs = (ask(where, "GET", "/metrics")[1].decode() for where in (shared_replica.port, port))
    for metric in "http_requests_total", "http_request_duration_seconds_bucket", "http_request_duration_seconds_count":
        lines = [line for line in (theirs + ours).splitlines() if line.startswith(metric)]
        labels = [{*re.findall(r"(\w+)=", line)} for line in lines]
        assert {"status"} <= set.intersection(*labels)
    bounds = [{*re.findall(r'seconds_bucket\{.*le="([^"]+)"', text)} for text in (theirs, ours)]
    assert bounds[0] == bounds[1]
