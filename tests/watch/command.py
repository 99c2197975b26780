"""The command: how it is started, and what it prints as JSON; and what replicas count themselves."""

import contextlib
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from conftest import PATIENCE, clean_environment, read_all

UNWANTED = ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR", "GITHUB_ACTIONS", "SSL_CERT_FILE", "SSL_CERT_DIR")
LOCALE = {"LC_ALL": "C.UTF-8"}  # one that has the marks of expectations
HTTPX = (sys.executable, "-m", "yinyang.watch")


def environment() -> dict[str, str]:
    kept = {name: value for name, value in clean_environment().items() if not name.lower().endswith("_proxy")}
    return {name: value for name, value in kept.items() if name not in UNWANTED} | LOCALE


class Watch:
    """A way to start a watch: the one of the static program, the same in the extension, or the one with httpx.

    name: that messages on stderr begin with.
    """

    def __init__(self, *command: str, name: str, **variables: str) -> None:
        self.command = [*command, "--timeout", f"{PATIENCE:g}s"]
        self.name = name
        self.variables = variables

    def __call__(self, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one that ends by itself, with these variables in its environment."""
        command = [*self.command, *map(str, arguments)]
        given = environment() | self.variables | variables
        return subprocess.run(command, capture_output=True, text=True, timeout=3 * PATIENCE, check=False, env=given)

    @contextlib.contextmanager
    def started(self, *arguments: object) -> Iterator[subprocess.Popen[str]]:
        """One that is ended behind."""
        command = [*self.command, *map(str, arguments)]
        given = environment() | self.variables
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=given) as process:
            try:
                yield process
            finally:
                process.kill()


def metric(port: int, name: str) -> int:
    """What a replica counts."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        text = read_all(client).decode()
    return int(re.search(rf"^{re.escape(name)} (\d+)", text, re.MULTILINE)[1])


def sampled(port: int) -> int:
    """How often a replica was asked for whoami."""
    return metric(port, 'http_requests_total{status="200",path="whoami"}')


NUMBER = (int, float)
MAYBE_NUMBER = (int, float, type(None))
MAYBE_TEXT = (str, type(None))
SCHEMA: dict[str, object] = {
    "url": str,
    "connection": str,
    "seconds": NUMBER,
    "ended": str,
    "samples": int,
    "answers": int,
    "errors": int,
    "rate": NUMBER,
    "asked_rate": NUMBER,
    "replicas": [
        {
            "host": str,
            "short": str,
            "version": MAYBE_TEXT,
            "zone": MAYBE_TEXT,
            "node": MAYBE_TEXT,
            "colours": [str],
            "start_ms": MAYBE_NUMBER,
            "answers": int,
            "share": NUMBER,
            "silent_for": MAYBE_NUMBER,
            "silent": bool,
        }
    ],
    "by": str,
    "groups": [
        {
            "name": str,
            "replicas": [str],
            "answers": int,
            "share": NUMBER,
            "silent_for": MAYBE_NUMBER,
            "silent": bool,
            "failures": int,
        }
    ],
    "failures": dict,
    "gap": {"latest": MAYBE_NUMBER, "longest": MAYBE_NUMBER},
    "latency": {"p50": MAYBE_NUMBER, "p99": MAYBE_NUMBER},
    "verdict": {
        "kind": str,
        "words": str,
        "detail": str,
        "samples": int,
        "more": int,
        "shares": dict,
    },
    "expectations": [{"expected": str, "seen": str, "holds": bool}],
}


def check_shape(value: object, shape: object) -> None:
    """Has it exactly these keys, in this order, and values of these types?"""
    if isinstance(shape, dict):
        assert isinstance(value, dict)
        assert list(value) == list(shape)
        for key, part in shape.items():
            check_shape(value[key], part)
    elif isinstance(shape, list):
        assert isinstance(value, list)
        for part in value:
            check_shape(part, shape[0])
    else:
        assert isinstance(value, shape)


def report(done: subprocess.CompletedProcess[str]) -> dict:
    """What was printed as JSON, which has its schema and adds up."""
    found = json.loads(done.stdout)
    check_shape(found, SCHEMA)
    assert done.stdout.count("\n") == 1
    assert found["samples"] == found["answers"] + found["errors"]
    assert sum(found["failures"].values()) == found["errors"]
    for parts in found["replicas"], found["groups"]:
        assert sum(part["answers"] for part in parts) == found["answers"]
        assert sum(part["share"] for part in parts) == pytest.approx(int(found["answers"] > 0), abs=1e-4)
    return found
