"""Answers that are late or cost CPU time on purpose."""

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PAGE, ROOT, Replica, read_all, switches, wait_until
from test_routes import ask, metrics, read_head

Start = Callable[..., Replica]


def seconds(replica: Replica, target: str, *lines: str) -> tuple[float, int, bytes]:
    """The time that an answer takes, its status and its body."""
    begin = time.monotonic()
    status, _, body = ask(replica, target, "GET", *lines)
    return time.monotonic() - begin, status, body


def request(target: str, *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: a", *lines, "", ""]).encode()


def statuses(client: socket.socket, count: int) -> list[bytes]:
    """The first lines of as many answers to HEAD."""
    with client.makefile("rb") as received:
        found = []
        for _ in range(count):
            found.append(received.readline().rstrip())
            read_head(received)
        return found


# ---- /delay -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "least"),
    [("0", 0), ("0.2", 0.2), ("200ms", 0.2), ("0.25s", 0.25), ("0.2/", 0.2), ("0.0005", 0), ("00.1", 0.1), ("0ms", 0)],
)
def test_delay(path: str, least: float, shared_replica: Replica) -> None:
    """Never earlier than asked for."""
    took, status, body = seconds(shared_replica, f"/delay/{path}")
    assert status == 200
    assert took >= least
    assert json.loads(body)["host"] == "vm"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/x",
        "/-1",
        "/11",
        "/10.001",
        "/10001ms",
        "/1m",
        "/1ss",
        "/.5",
        "/1.",
        "/1/2",
        "/99999999999999999999",
        "/1e1",
    ],
)
def test_no_delay(path: str, shared_replica: Replica) -> None:
    status, fields, body = ask(shared_replica, f"/delay{path}")
    assert (status, fields["Content-Type"]) == (400, "text/plain; charset=utf-8")
    assert body == b"400 Bad Request: a time from 0 to 10 s follows /delay/, such as /delay/0.3 or /delay/300ms\n"


def test_late_answers_keep_their_order(shared_replica: Replica) -> None:
    """Requests behind them wait, in one segment and in others; answers before them do not."""
    targets = ["/hostname", "/delay/0.1", "/delay/0.05", "/status/418", "/?latency=50ms", "/hostname"]
    expected = [b"200 OK", b"200 OK", b"200 OK", b"418 I'm a teapot", b"200 OK", b"200 OK"]
    expected = [b"HTTP/1.1 " + line for line in expected]
    with shared_replica.connect() as client:
        client.sendall(b"".join(request(target, method="HEAD") for target in targets))
        assert statuses(client, 6) == expected
        for target in targets:
            client.sendall(request(target, method="HEAD"))
        assert statuses(client, 6) == expected
        client.sendall(b"".join(request(target, method="HEAD") for target in ("/hostname", "/delay/10")))
        assert statuses(client, 1) == expected[:1]


def test_a_late_answer_to_a_long_pipeline(shared_replica: Replica) -> None:
    """A segment holds more requests than the queue has answers."""
    with shared_replica.connect() as client:
        client.sendall(request("/whoami?keep=1&latency=1ms", method="HEAD") * 200 + request("/", method="HEAD") * 200)
        assert statuses(client, 400) == [b"HTTP/1.1 200 OK"] * 400


def test_a_body_is_read_before(shared_replica: Replica) -> None:
    with shared_replica.connect() as client:
        client.sendall(request("/delay/0.05", "Content-Length: 100000", method="POST") + b"x" * 100000)
        client.sendall(request("/hostname", "Connection: close"))
        answer = read_all(client)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.endswith(b"\r\n\r\nvm\n")


@pytest.mark.parametrize("half_close", [False, True])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_late_answer_ends_its_connection_if_it_should(
    half_close: bool, version: str, shared_replica: Replica
) -> None:
    asked = f"GET /delay/0.1 HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    answer = shared_replica.ask(asked, half_close=half_close)
    assert answer.startswith(f"HTTP/{version} 200 OK\r\n".encode())


def test_a_client_that_half_closes_meanwhile_is_answered(shared_replica: Replica) -> None:
    with shared_replica.connect() as client:
        client.sendall(request("/delay/0.2"))
        client.shutdown(socket.SHUT_WR)
        assert b"200 OK" in read_all(client)


def test_one_that_is_gone_is_forgotten(start: Start) -> None:
    replica = start("--workers", "1")
    with replica.connect() as client:
        client.sendall(request("/hostname"))
        client.recv(4096)
        client.sendall(request("/delay/10"))
        wait_until(lambda: metrics(replica)["yinyang_connections_open",] == 2)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    wait_until(lambda: metrics(replica)["yinyang_connections_open",] == 1)


@pytest.mark.contained
def test_waiting_costs_nothing(start: Start) -> None:
    """Not even where the client goes on to send."""
    replica = start("--workers", "1")
    [worker] = replica.workers()
    clients = [replica.connect() for _ in range(50)]
    try:
        for client in clients:
            client.sendall(request("/delay/10"))
        wait_until(lambda: metrics(replica)["yinyang_connections_open",] == 51)
        for client in clients:
            client.sendall(request("/hostname"))
        ask(replica, "/hostname")
        before = switches(worker)
        assert seconds(replica, "/delay/1")[1] == 200
        assert switches(worker) - before < 40
    finally:
        for client in clients:
            client.close()


@pytest.mark.contained
def test_late_answers_are_sent_when_it_stops(start: Start) -> None:
    """At once, and without burning any CPU time."""
    replica = start("--workers", "2")
    clients = [replica.connect() for _ in range(20)]
    try:
        for number, client in enumerate(clients):
            client.sendall(request("/delay/10?x=" + "x" * number * 10) + request("/hostname") * (number % 2))
        for _ in range(4):
            ask(replica, "/burn/0")
        wait_until(lambda: metrics(replica)["yinyang_connections_open",] == 21)
        replica.send_signal(signal.SIGTERM)
        for client in clients:
            answer = read_all(client)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nConnection: close\r\n" in answer
    finally:
        for client in clients:
            client.close()
    assert replica.process.wait(10) == 0


@pytest.mark.contained
def test_answers_that_burn_are_sent_when_it_stops(start: Start) -> None:
    for options, target in ((), "/burn/1"), (("--burn", "1"), "/"):
        replica = start("--workers", "1", *options)
        clients = [replica.connect() for _ in range(20)]
        for client in clients:
            client.sendall(request(target))
        wait_until(lambda: metrics(replica)["yinyang_connections_open",] == 21)  # noqa: B023
        replica.send_signal(signal.SIGTERM)
        for client in clients:
            assert read_all(client).startswith(b"HTTP/1.1 200 OK\r\n")
            client.close()
        assert replica.process.wait(10) == 0


def test_an_answer_that_does_not_wait_for_its_body_is_late(shared_replica: Replica) -> None:
    """The client waits for the answer before it sends a long body."""
    with shared_replica.connect() as client:
        begun = time.monotonic()
        client.sendall(request("/delay/0.5", "Content-Length: 300000", "Connection: close", method="POST"))
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")
        assert time.monotonic() - begun >= 1.4  # a second, to some ticks, in which the body may come; and the delay
        client.sendall(b"x" * 300000)
        assert read_all(client) == b""


def test_more_late_answers_than_places(start: Start) -> None:
    """What comes behind a request is kept while its answer is delayed; if there is no room left, it is not delayed."""
    replica = start("--workers", "1")
    clients = [replica.connect() for _ in range(530)]
    try:
        for client in clients:
            client.sendall(request("/delay/10", method="HEAD") + b"G")
        for client in clients[512:]:
            assert statuses(client, 1) == [b"HTTP/1.1 200 OK"]
        for client in clients[:5]:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            client.close()
        assert metrics(replica)["yinyang_connections_open",] > 500
    finally:
        for client in clients:
            client.close()


@pytest.mark.contained
def test_one_that_waits_makes_room(start: Start) -> None:
    replica = start("--workers", "1", "--max-connections", "3")
    clients = [replica.connect() for _ in range(3)]
    try:
        for client in clients:
            client.sendall(request("/delay/10"))
        wait_until(lambda: PAGE in replica.ask(request("/", "Connection: close")))
        assert metrics(replica)["yinyang_connections_shed_total",] >= 1
    finally:
        for client in clients:
            client.close()


# ---- latency of the page, /whoami and /echo -----------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/", "/a/b", "/whoami", "/echo", "/headers"])
def test_latency_of_all_answers(target: str, start: Start) -> None:
    replica = start("--latency", "150ms", "--workers", "1")
    took, status, _ = seconds(replica, target)
    assert (status, took >= 0.15) == (200, True)
    took, status, _ = seconds(replica, f"{target}?latency=0.2&fail=100")
    assert (status, took >= 0.2) == (503, True)
    for path in "/livez", "/readyz", "/metrics", "/hostname", "/wall", "/status/200", "/delay/0", "/burn/0":
        ask(replica, path)
    found = metrics(replica)
    late = sum(
        found[key] for key in found if key[0] == "http_request_duration_seconds_sum" and ("path", "other") in key
    )
    assert late == 0


def test_a_span_of_latency(start: Start) -> None:
    """All times from one end to the other, again and again, in no regular order."""
    replica = start("--latency", "0ms..20ms", "--workers", "1")
    with replica.connect() as client:
        client.sendall(request("/whoami?keep=1", method="HEAD") * 100)
        assert statuses(client, 100) == [b"HTTP/1.1 200 OK"] * 100
        for _ in range(100):
            client.sendall(request("/whoami?keep=1", method="HEAD"))
            assert statuses(client, 1) == [b"HTTP/1.1 200 OK"]
        begun = time.monotonic()
        for _ in range(100):
            client.sendall(request("/whoami?keep=1", method="HEAD"))
            assert statuses(client, 1) == [b"HTTP/1.1 200 OK"]
        assert time.monotonic() - begun >= 0.95  # of 100, the mean is 9.9 ms, less what is cut off
    found = metrics(replica)
    assert found["http_request_duration_seconds_sum", ("path", "whoami"), ("status", "2xx")] >= 3 * 0.75


@pytest.mark.parametrize("span", ["1..2", "0.1..0.2", "1s..2s", "100ms..0.2s", "0..10"])
def test_spans_that_can_be(span: str, shared_replica: Replica) -> None:
    assert ask(shared_replica, f"/whoami?latency={span}&if=another")[0] == 200


def test_latency_for_those_that_are_meant(start: Start) -> None:
    replica = start("--app-version", "v2", "--workers", "1")
    assert seconds(replica, "/?latency=100ms&if=v2")[0] >= 0.1
    for target in "/?latency=9&if=v3", "/?latency=9&fail=100&if=v3", "/?xlatency=9", "/?latency", "/livez?latency=9":
        assert ask(replica, target)[0] == 200
    found = metrics(replica)
    [total] = [
        value for key, value in found.items() if key[:2] == ("http_request_duration_seconds_sum", ("path", "page"))
    ]
    assert 0.1 <= total < 9


def test_nobody_asks_for_faults_where_they_are_off(start: Start) -> None:
    replica = start("--faults", "off")
    for target in (
        "/delay/9",
        "/delay/x",
        "/burn/1",
        "/?latency=9",
        "/whoami?latency=9&if=v3",
        "/status/503",
        "/status/200",
    ):
        assert ask(replica, target)[::2] == (403, b"403 Forbidden: faults on request are off here (--faults)\n")


# ---- CPU time -----------------------------------------------------------------------------------------------------


def cpu_time(pid: int) -> float:
    """Seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_burn(start: Start) -> None:
    replica = start("--workers", "1")
    [worker] = replica.workers()
    before = cpu_time(worker)
    for path in "0.1", "100ms", "0.1s/":
        status, _, body = ask(replica, f"/burn/{path}")
        assert (status, json.loads(body)["host"]) == (200, "vm")
    assert cpu_time(worker) - before >= 0.27  # its clock has ticks of 10 ms
    for path in "", "/", "/x", "/-1", "/1.001", "/1001ms", "/2":
        status, _, body = ask(replica, f"/burn{path}")
        assert (status, body[:48]) == (400, b"400 Bad Request: a CPU time from 0 to 1 s follow")


@pytest.mark.contained
def test_burning_is_not_in_the_way_of_others(start: Start) -> None:
    """They have their turns meanwhile."""
    replica = start("--workers", "1")
    clients = [replica.connect() for _ in range(20)]
    for client in clients:
        client.sendall(request("/burn/1"))
    for _ in range(10):
        found = metrics(replica)
        assert found["http_requests_total", ("path", "burn"), ("status", "200")] < 20
    for client in clients:
        client.close()


def test_burning_does_not_stop_the_clock(start: Start) -> None:
    """A client that says nothing has to go in spite of it."""
    replica = start("--workers", "1", "--idle-timeout", "0.5", "--head-timeout", "0.5")
    with replica.connect() as idle, replica.connect() as slow:
        ended = threading.Event()

        def burn() -> None:
            while not ended.is_set():
                assert ask(replica, "/burn/0.7")[0] == 200

        burning = threading.Thread(target=burn)
        burning.start()
        try:
            idle.sendall(request("/hostname"))
            slow.sendall(b"GET /")
            assert read_all(idle).endswith(b"\r\n\r\nvm\n")
            assert read_all(slow).startswith(b"HTTP/1.1 408 ")
        finally:
            ended.set()
            burning.join()


def test_workers_that_share_a_cpu_and_burn_are_not_stuck(start: Start) -> None:
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})  # which the server inherits
    try:
        replica = start("--workers", "7")
    finally:
        os.sched_setaffinity(0, cpus)
    workers = replica.workers()
    clients = [replica.connect() for _ in range(7)]
    for client in clients:
        client.sendall(request("/burn/1", "Connection: close"))
        assert PAGE in replica.ask(request("/", "Connection: close"))  # the parent looks at its workers
    for client in clients:
        assert b"200 OK" in read_all(client)
        client.close()
    assert replica.workers() == workers


def test_each_answer_costs(start: Start) -> None:
    replica = start("--workers", "1", "--burn", "50ms")
    [worker] = replica.workers()
    before = cpu_time(worker)
    for target in "/", "/whoami", "/echo", "/livez", "/hostname":
        assert ask(replica, target)[0] == 200
    assert cpu_time(worker) - before >= 0.12


# ---- the histogram ------------------------------------------------------------------------------------------------

BOUNDS = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"]


def buckets(found: dict, path: str, status: str) -> list[float]:
    name = "http_request_duration_seconds_bucket"
    return [found[name, ("le", bound), ("path", path), ("status", status)] for bound in BOUNDS]


def test_durations_are_counted(start: Start) -> None:
    replica = start("--workers", "2")
    for target in ["/"] * 5 + ["/?latency=60ms"] * 3 + ["/?latency=60ms&fail=100"] * 2 + ["/delay/0.3", "/livez"]:
        ask(replica, target)
    found = metrics(replica)
    pages, errors = buckets(found, "page", "2xx"), buckets(found, "page", "5xx")
    assert pages[:4] == [5, 5, 5, 5]
    assert errors[:4] == [0, 0, 0, 0]
    assert (pages[-1], errors[-1]) == (8, 2)
    assert buckets(found, "delay", "2xx")[:6] == [0] * 6
    assert buckets(found, "other", "2xx") == [1] * 12
    for name, path, status, least in (
        ("sum", "page", "2xx", 0.18),
        ("count", "page", "2xx", 8),
        ("sum", "delay", "2xx", 0.3),
    ):
        assert found[f"http_request_duration_seconds_{name}", ("path", path), ("status", status)] >= least
    for path in "page", "delay", "other":
        row = buckets(found, path, "2xx")
        assert row == sorted(row)
        assert row[-1] == found["http_request_duration_seconds_count", ("path", path), ("status", "2xx")]


def test_metrics_have_room_for_all_there_is(start: Start) -> None:
    """All rows of the histogram that can be."""
    replica = start("--workers", "1", "--error-rate", "1%")
    for path in "/", "/whoami", "/echo", "/delay/0", "/burn/0":
        for code in 200, 300, 400, 500:
            ask(replica, f"{path}?fail=100&code={code}&latency=6ms")
    for path in "/status/200", "/status/300", "/status/400", "/status/500":
        ask(replica, path)
    _, _, body = ask(replica, "/metrics")
    histogram = [line for line in body.decode().splitlines() if line.startswith("http_request_duration_seconds_")]
    assert len(histogram) == (5 * 4 + 4) * 14
    numbers = [line.rpartition(" ")[2] for line in body.decode().splitlines() if line[0] != "#"]
    longest = len(body) + sum(20 - len(re.sub(r"\D", "", number)) for number in numbers) + 5 * 128  # and a version
    assert longest < int(re.search(r"METRICS_MAX = (\d+)", (ROOT / "yinyang/core/routes/metrics.pxd").read_text())[1])
