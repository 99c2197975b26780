"""What hostile clients cost: memory per slow client, and others' access when connections, descriptors or memory run
out."""

import contextlib
import os
import re
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import GET, LAST, PAGE, Replica, Shape, missing, needs, receive_page, serving, wait_until

DESCRIPTORS = 64
FEW, MANY = 100, 400  # slow clients
MEMORY_MAX = 512  # bytes for each


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
            receive_page(client)
        assert PAGE in limited_replica.ask(LAST)
        assert idle[0].recv(1) == b""
        slow.sendall(LAST[len(GET) - 2 :])
        assert slow.recv(4096).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("workers", [1, 2])
def test_no_more_connections_than_admitted(workers: int, start: Callable[..., Replica]) -> None:
    """The longest idle ones make room: of a worker, as each has its part of the connections."""
    replica = start("--workers", str(workers), "--max-connections", "20", "--idle-timeout", "600")
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(replica.connect()) for _ in range(60)]
        for client in idle:
            with contextlib.suppress(ConnectionError):
                client.sendall(GET)
                receive_page(client)
        found = metrics(replica)
        assert found["yinyang_connections_max"] == 20
        assert found["yinyang_connections_open"] <= 20
        assert found["yinyang_connections_shed_total"] >= 40
        if workers == 1:
            assert idle[0].recv(1) == b""
        idle[-1].sendall(GET)
        receive_page(idle[-1])


def test_each_worker_admits_one_at_least(start: Callable[..., Replica]) -> None:
    replica = start("--workers", "3", "--max-connections", "1")
    wait_until(lambda: metrics(replica)["yinyang_connections_max"] == 3)  # each worker tells when it is up


def test_nobody_is_shed_while_nobody_waits(start: Callable[..., Replica]) -> None:
    """The last descriptor is used, and taken away meanwhile, so that accept4(2) has none to look at the queue with."""
    replica = start("--workers", "1", "--idle-timeout", "600", "--sandbox", "off")
    worker = replica.workers()[0]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(replica.connect()) for _ in range(10)]
        for client in clients:
            client.sendall(GET)
            receive_page(client)
        used = max(int(path.name) for path in Path(f"/proc/{worker}/fd").iterdir()) + 1
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + 1, used + 1))
        for _ in range(10):  # each takes the last one, and none is shed for it
            with replica.connect() as client:
                client.sendall(LAST)
                receive_page(client)
                client.shutdown(socket.SHUT_WR)
                assert client.recv(1) == b""
        assert metrics(replica)["yinyang_connections_shed_total"] == 0
        clients += [stack.enter_context(replica.connect()) for _ in range(2)]  # for the second there is no room
        for client in clients[-2:]:
            client.sendall(GET)
            receive_page(client)
        assert clients[0].recv(1) == b""
        for client in clients[2:]:
            client.sendall(GET)
            receive_page(client)


def test_who_connects_and_says_nothing_is_counted(start: Callable[..., Replica]) -> None:
    replica = start("--workers", "1", "--idle-timeout", "2")
    with replica.connect() as silent:
        wait_until(lambda: open_connections(replica) == 1)
        assert silent.recv(1) == b""


def test_clients_that_only_connect(start: Callable[..., Replica]) -> None:
    """As many health checks do."""
    replica = start("--workers", "1")
    for _ in range(100):
        replica.connect().close()
    assert PAGE in replica.ask(LAST)
    assert replica.stop() == 0


@pytest.mark.parametrize("workers", ["1", "4"])
def test_silent_clients_are_held_back_no_more_if_they_are_many(workers: str, start: Callable[..., Replica]) -> None:
    """Otherwise, where there are no SYN cookies, they could keep others out."""
    replica = start("--workers", workers)
    silent = [replica.connect() for _ in range(520)]  # more than 256 in one second, even if they come in two
    try:
        wait_until(lambda: open_connections(replica) == 520)
        silent += [replica.connect() for _ in range(300)]
        assert open_connections(replica) == 820  # at once
    finally:
        for client in silent:
            client.close()


def test_little_address_space(static_program: Path, tmp_path: Path) -> None:
    """Tables are as large as there is room for."""
    most = {}
    for megabytes in 24, 32, 64:
        limited = Shape(needs("prlimit"), f"--as={megabytes << 20}", str(static_program))
        with serving(limited, tmp_path / f"log-{megabytes}", "--workers", "1") as replica:
            most[megabytes] = metrics(replica)["yinyang_connections_max"]
    assert 64 <= most[24] <= most[32] <= most[64]


@contextlib.contextmanager
def memory_group(limit: int) -> Iterator[tuple[Path, Path]]:
    """A control group with so many bytes of memory: its list of processes, and the file that counts who was killed."""
    controllers = Path("/sys/fs/cgroup/cgroup.subtree_control")
    v2 = controllers.exists() and "memory" in controllers.read_text()
    parent = Path("/sys/fs/cgroup" if v2 else "/sys/fs/cgroup/memory")
    if not os.access(parent, os.W_OK) or not (v2 or (parent / "memory.limit_in_bytes").exists()):
        missing("cgroups", "no control group with a limit of memory can be made here")
    group = parent / f"yinyang-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / ("memory.max" if v2 else "memory.limit_in_bytes")).write_text(str(limit))
        yield group / "cgroup.procs", group / ("memory.events" if v2 else "memory.oom_control")
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text(), "the last process of the group")
        group.rmdir()


@pytest.mark.parametrize("begin", [b"", GET[:-2], b"POST" + GET[3:-2] + b"Content-Length: 9\r\n\r\n"])
def test_many_clients_of_a_server_with_little_memory(begin: bytes, static_program: Path, tmp_path: Path) -> None:
    """8 MiB, in which 5,000 connections have no room."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(20_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    with memory_group(8 << 20) as (processes, events), contextlib.ExitStack() as stack:
        grouped = Shape("sh", "-c", f'echo $$ >{processes}; exec "$@"', "sh", str(static_program))
        replica = stack.enter_context(serving(grouped, tmp_path / "log", "--host", "127.0.0.1"))
        for _ in range(5000):
            stack.enter_context(replica.connect()).sendall(begin)
        # whoever asks may be shed as well, and asks again
        wait_until(lambda: metrics(replica).get("yinyang_connections_max") == 512, "the limit")
        shed = "yinyang_connections_shed_total"
        wait_until(lambda: metrics(replica).get(shed, 0) >= 5000 - 512, "connections that are shed")
        assert re.search(r"^oom_kill 0$", events.read_text(), re.M)


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
    return metrics(replica)["yinyang_connections_open"] - 1


def metrics(replica: Replica) -> dict[str, int]:
    """Those without labels."""
    answer = replica.ask(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    return {name.decode(): int(value) for name, value in re.findall(rb"^(\w+) (\d+)$", answer, re.M)}


def private_memory(pid: int) -> int:
    """Bytes that a process has written and shares with no other."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith("Private_Dirty:")) * 1024


def test_readers_that_do_not_read_make_room(start: Callable[..., Replica]) -> None:
    """Rendered responses are kept for a limited number of them; others get theirs nevertheless."""
    replica = start("--workers", "1")
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            slow = stack.enter_context(socket.socket())
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", replica.port))
            slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
        with replica.connect() as fast:
            request = b"GET /echo HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 3000 + b"\r\n\r\n"
            sender = threading.Thread(target=fast.sendall, args=(request * 400 + LAST,))
            sender.start()
            received = 0
            while piece := fast.recv(65536):
                received += piece.count(b'{"host":')
            sender.join()
            assert received == 400
        assert metrics(replica)["yinyang_connections_shed_total"] > 0
