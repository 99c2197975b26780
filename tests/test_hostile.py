"""What hostile clients cost: memory per slow client, and others' access when file descriptors run out."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import GET, LAST, PAGE, Replica, Shape, needs, serving, wait_until

DESCRIPTORS = 64
FEW, MANY = 100, 400  # slow clients
MEMORY_MAX = 512  # bytes for each

pytestmark = pytest.mark.host


@pytest.fixture
def limited_replica(shape: Shape, tmp_path: Path) -> Iterator[Replica]:
    """A server with few descriptors, and without a deadline that could end a connection."""
    limited = Shape(needs("prlimit"), f"--nofile={DESCRIPTORS}:{DESCRIPTORS}", *shape.command())
    options = ("--workers", "1", "--head-timeout", "600", "--idle-timeout", "600")
    with serving(limited, tmp_path / "log", *options) as replica:
        yield replica


def test_when_descriptors_run_out_idle_clients_make_room(limited_replica: Replica) -> None:
    """A client whose head is incomplete is kept, although it has waited longest."""
    with contextlib.ExitStack() as stack:
        slow = stack.enter_context(limited_replica.connect())
        slow.sendall(GET[:-2])
        idle = []
        for _ in range(2 * DESCRIPTORS):
            client = stack.enter_context(limited_replica.connect())
            idle.append(client)
            client.sendall(GET)
            received = b""
            while not received.endswith(PAGE):
                piece = client.recv(4096)
                assert piece, received
                received += piece
        assert PAGE in limited_replica.ask(LAST)
        assert idle[0].recv(1) == b""
        slow.sendall(LAST[len(GET) - 2 :])
        assert slow.recv(4096).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "part",
    [GET[:-2] + b"X-Padding: ", b"GET //" + b"x" * 200, b"POST" + GET[3:-2] + b"Content-Length: 9\r\n\r\n"],
    ids=["head", "target", "body"],
)
def test_a_slow_client_costs_little_memory(part: bytes, start: Callable[..., Replica]) -> None:
    replica = start("--workers", "1", "--sandbox", "off", "--head-timeout", "600", "--body-timeout", "600")
    used = {}
    with contextlib.ExitStack() as stack:
        for number in range(MANY):
            stack.enter_context(replica.connect()).sendall(part)
            if number + 1 in (FEW, MANY):
                wait_until(lambda so_far=number + 1: open_connections(replica) == so_far)
                used[number + 1] = private_memory(replica.workers()[0])
    assert (used[MANY] - used[FEW]) / (MANY - FEW) < MEMORY_MAX


def open_connections(replica: Replica) -> int:
    """Without the one that asks."""
    answer = replica.ask(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    return int(re.search(rb"^yinyang_connections_open (\d+)$", answer, re.M)[1]) - 1


def private_memory(pid: int) -> int:
    """Bytes that a process has written and shares with no other."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith("Private_Dirty:")) * 1024
