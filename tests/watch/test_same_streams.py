"""The same answers and failures give the same report, whatever the watch."""

import random
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from watch.command import HTTPX, Watch, report
from watch.servers import answering, reset, says, whoami

pytestmark = pytest.mark.static

Behaviour = Callable[[socket.socket], None]
REPLICAS = {
    name: says(whoami(name, version, zone))
    for name, version, zone in (("web-a", "v1", "east"), ("web-b", "v1", "west"), ("web-c", "v2", "west"))
}
A, B, C = REPLICAS.values()


def fails(host: str, status: int) -> Behaviour:
    return says(f"HTTP/1.1 {status} No\r\nX-Served-By: {host}\r\nContent-Length: 0\r\n\r\n".encode())


def close(_client: socket.socket) -> None:
    """Say nothing."""


STREAMS: dict[str, list[Behaviour]] = {
    "turns": [A, B, C] * 40,
    "only one": [A] * 120,
    "weighted": random.Random(1).choices([A, B, C], [6, 3, 1], k=300),
    "one in three fails": [A, B, fails("web-c", 503)] * 40,
    "one fails, then works": [A, B, fails("web-c", 500)] * 20 + [A, B, C] * 30,
    "resets, closes, and others": [A, B, reset, A, B, close, A, B, says(b"SSH-2.0-x\r\n\r\n"), A, B, C] * 15,
    "nobody": [close] * 30,
    "one comes": [A, B] * 40 + [A, B, C] * 20,
    "one goes": [A, B, C] * 40 + [A, B] * 20,
}
TIMED = ("one fails, then works", "one comes", "one goes")  # whose verdict is another one some seconds later
EXPECTATIONS = ["--expect-replicas", 3, "--max-errors", 1, "--min-share", "20%", "--expect", "v2=10%+-5"]


@pytest.fixture
def watches(static_program: Path, libraries: None) -> list[Watch]:
    return [
        Watch(str(static_program), "watch", name="static"),
        Watch(sys.executable, "-m", "yinyang", "watch", name="python"),
        Watch(*HTTPX, name="httpx"),
    ]


def told(watch: Watch, stream: list[Behaviour], *arguments: object) -> dict[str, object]:
    """What does not depend on the time that it took."""
    following = iter(stream)

    def behave(client: socket.socket) -> None:
        next(following)(client)

    with answering(behave) as port:
        done = watch(f"http://127.0.0.1:{port}/", "--count", len(stream), *arguments, "--concurrency", 1, "--json")
    found = report(done)
    verdict = {key: re.sub(r"\b\d+ s\b", "N s", str(value)) for key, value in found["verdict"].items()}
    replicas = [{key: part[key] for key in part if key != "silent_for"} for part in found["replicas"]]
    groups = [{key: part[key] for key in part if key != "silent_for"} for part in found["groups"]]
    expectations = [(one["expected"], one["holds"]) for one in found["expectations"]]
    counted = {key: found[key] for key in ("samples", "answers", "errors", "failures", "ended", "by")}
    return {"code": done.returncode, "verdict": verdict, "replicas": replicas, "groups": groups,
            "expectations": expectations, "closing": done.stderr.count("\n"), **counted}  # fmt: skip


@pytest.mark.parametrize("by", ["replica", "version"])
@pytest.mark.parametrize("name", STREAMS)
def test_the_same_report(name: str, by: str, watches: list[Watch]) -> None:
    first, *others = [told(watch, STREAMS[name], "--rate", 2000, "--by", by, *EXPECTATIONS) for watch in watches]
    assert first["samples"] == len(STREAMS[name])
    if name in TIMED:
        for one in first, *others:
            del one["verdict"]
    for other in others:
        assert other == first
