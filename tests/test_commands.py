"""Errors on purpose, and the commands that users know from similar servers."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from functools import partial
from itertools import groupby

import pytest
from conftest import PAGE, Replica, Shape, clean_environment, naming, wait_until
from test_routes import ask, metrics, read_head

Start = Callable[..., Replica]
COMMANDS = (
    *("/status/503", "/status/x", "/ready", "/echo", "/echo/a", "/headers", "/anything/a/b", "/delay/1", "/burn/1s"),
    *("/fault_injection/enable?rate=20%", "/fault_injection/status", "/?fail=100", "/whoami?fail=x&latency=1s"),
)
REASONS = {200: "OK", 201: "Created", 302: "Found", 404: "Not Found", 418: "I'm a teapot", 429: "Too Many Requests"}
REASONS |= {500: "Internal Server Error", 503: "Service Unavailable", 504: "Gateway Timeout", 299: "", 599: ""}


# ---- /status ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", REASONS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_status(code: int, method: str, shared_replica: Replica) -> None:
    raw = f"{method} /status/{code} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    line, _, _ = shared_replica.ask(raw).partition(b"\r\n")
    assert line.decode() == f"HTTP/1.1 {code} {REASONS[code]}"
    status, fields, body = ask(shared_replica, f"/status/{code}", method)
    assert (status, fields["X-Served-By"], fields["Content-Type"]) == (code, "vm", "application/json")
    if method != "HEAD":
        told = json.loads(body)
        assert (told["status"], told["host"], told["colour"]) == (code, "vm", fields["X-Colour"])


def test_status_as_text(shared_replica: Replica) -> None:
    for target, field in (("/status/503?format=text", ""), ("/status/503/", "Accept: text/plain")):
        status, fields, body = ask(shared_replica, target, "GET", *([field] if field else []))
        assert (status, fields["Content-Type"]) == (503, "text/plain; charset=utf-8")
        assert body.startswith(b"status: 503\nhost: vm\n")


@pytest.mark.parametrize("code", [204, 205, 304])
def test_a_status_without_content(code: int, shared_replica: Replica) -> None:
    """The next response on the connection begins where this one ends."""
    with shared_replica.connect() as client:
        client.sendall(
            f"GET /status/{code} HTTP/1.1\r\nHost: a\r\n\r\nGET /hostname HTTP/1.1\r\nHost: a\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        with client.makefile("rb") as received:
            head = read_head(received)
            assert "X-Served-By: vm\r\n" in head
            assert ("Content-Length: 0\r\n" in head) == (code == 205)
            assert received.read().endswith(b"\r\n\r\nvm\n")


@pytest.mark.parametrize(
    "target",
    ["", "/", "/0", "/99", "/100", "/199", "/600", "/999", "/5o3", "/-50", "/5030", "/503/a", "/200,503", "/%35"],
)
def test_no_status(target: str, shared_replica: Replica) -> None:
    status, fields, body = ask(shared_replica, f"/status{target}")
    assert (status, fields["Content-Type"]) == (400, "text/plain; charset=utf-8")
    assert body == b"400 Bad Request: a status from 200 to 599 follows /status/, such as /status/503\n"


def test_statuses_are_counted_by_class(start: Start) -> None:
    replica = start()
    for code in 200, 204, 301, 404, 418, 500, 503, 599, 600:
        ask_any(replica, f"/status/{code}")
    found = metrics(replica)
    counts = {labels[1][1]: value for (name, *labels), value in found.items() if dict(labels).get("path") == "status"}
    assert counts == {"2xx": 2, "3xx": 1, "4xx": 3, "5xx": 3}
    assert replica.served() == []


def ask_any(replica: Replica, target: str, method: str = "GET") -> int:
    request = f"{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    return int(replica.ask(request.encode()).split(b" ", 2)[1])


# ---- readiness ----------------------------------------------------------------------------------------------------


def ready(replica: Replica) -> bool:
    status, _, body = ask(replica, "/readyz")
    assert body == b"ok\n" if status == 200 else (status, body[:11]) == (503, b"not ready: ")
    return status == 200


def wait_for_readiness(replica: Replica, expected: bool) -> None:
    """Wait for it; all its paths say the same, and other routes go on as before."""
    wait_until(lambda: ready(replica) == expected)
    for path in "/readyz", "/ready", "/health":
        status, _, body = ask(replica, path)
        assert (status, body) == (
            (200, b"ok\n") if expected else (503, b"not ready: told so by SIGUSR1 or /readyz/disable\n")
        )
    assert ask_any(replica, "/livez") == ask_any(replica, "/") == ask_any(replica, "/whoami") == 200


@pytest.mark.contained
def test_signals_change_readiness(start: Start) -> None:
    replica = start("--workers", "2")

    def said(message: str, times: int) -> bool:
        return sum(line.endswith(message) for line in replica.lines()) == times

    for times in (1, 2):
        assert ready(replica)
        replica.send_signal(signal.SIGUSR1)
        wait_for_readiness(replica, False)
        wait_until(partial(said, "Not ready, as told: /readyz answers 503", times))
        replica.send_signal(signal.SIGUSR2)
        wait_for_readiness(replica, True)
        wait_until(partial(said, "Ready again, as told", times))
    assert replica.stop() == 0


def test_clients_change_readiness_if_they_may(start: Start) -> None:
    replica = start("--control", "--workers", "2")
    for _ in range(20):
        assert ask(replica, "/readyz/disable", "POST")[::2] == (
            202,
            b"202 Accepted: this replica is told not to be ready\n",
        )
        wait_for_readiness(replica, False)
        assert ask(replica, "/readyz/enable/", "POST")[::2] == (
            202,
            b"202 Accepted: this replica is told to be ready again\n",
        )
        wait_for_readiness(replica, True)
    assert replica.stop() == 0


def test_readiness_is_logged_where_nothing_is_served(start: Start) -> None:
    for options in ((), ("--control",)):
        replica = start("--workers", "1", *options)
        for number, message in ((signal.SIGUSR1, "Not ready, as told"), (signal.SIGUSR2, "Ready again, as told")):
            replica.send_signal(number)
            wait_until(partial(has_said, replica, message), message)


def has_said(replica: Replica, message: str) -> bool:
    return any(message in line for line in replica.lines())


def test_the_last_command_counts(start: Start) -> None:
    """It does not matter which worker got it. It is in effect once a later page is in the log."""
    replica = start("--control", "--workers", "2")
    with replica.connect() as pages:
        for number in range(1, 41):
            last = "enable" if number % 2 else "disable"
            for command in "disable", "enable", last:
                assert ask_any(replica, f"/readyz/{command}", "POST") == 202
            pages.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert pages.recv(65536)
            wait_until(lambda count=number: len(replica.served()) == count)
            assert ready(replica) == (last == "enable")
    replica.send_signal(signal.SIGUSR2)
    wait_for_readiness(replica, True)


@pytest.mark.contained
def test_a_restarted_worker_commands_nothing(start: Start) -> None:
    replica = start("--control", "--workers", "1")
    assert ask_any(replica, "/readyz/disable", "POST") == 202
    wait_for_readiness(replica, False)
    [worker] = replica.workers()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: replica.workers() not in ([], [worker]))
    assert not ready(replica)
    assert ask_any(replica, "/readyz/enable", "POST") == 202
    wait_for_readiness(replica, True)


def test_many_commands_are_no_flood(start: Start) -> None:
    replica = start("--control", "--workers", "1")
    workers = replica.workers()
    for _ in range(20):
        with replica.connect() as client:
            client.sendall(b"POST /readyz/disable HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
            client.shutdown(socket.SHUT_WR)
            assert client.makefile("rb").read().count(b"HTTP/1.1 202 Accepted") == 100
    assert replica.workers() == workers
    assert not ready(replica)


def test_it_is_ready_after_a_while(start: Start) -> None:
    soon, late = start("--ready-after", "500ms"), start("--ready-after", "1000s")
    wait_for_readiness(soon, True)
    for path in "/readyz", "/ready", "/health":
        status, _, body = ask(late, path)
        assert status == 503
        assert re.fullmatch(rb"not ready: \d+ s to go \(--ready-after\)\n", body)
    assert ask_any(late, "/") == ask_any(late, "/livez") == ask_any(late, "/whoami") == 200
    assert late.stop() == 0


def test_readiness_is_not_for_everybody(shared_replica: Replica) -> None:
    for path in "/readyz/disable", "/readyz/enable":
        status, _, body = ask(shared_replica, path, "POST")
        assert (status, body) == (403, b"403 Forbidden: to allow this, start with --control or YINYANG_CONTROL=on\n")
        for method in "GET", "HEAD", "PUT", "DELETE", "OPTIONS":
            status, fields, _ = ask(shared_replica, path, method)
            assert (status, fields["Allow"]) == (405, "POST")
    assert ready(shared_replica)


# ---- a share of all answers ---------------------------------------------------------------------------------------


def answers(replica: Replica, *targets: str) -> list[int]:
    """The statuses of these requests, one after the other, on one connection."""
    found = []
    with replica.connect() as client, client.makefile("rb") as received:
        for target in targets:
            client.sendall(f"HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            found.append(int(received.readline().split()[1]))
            while received.readline() != b"\r\n":
                pass
    return found


@pytest.mark.parametrize(
    ("rate", "percent"),
    [("20%", 20), ("0.7", 70), ("33%", 33), ("1%", 1), ("0.05", 5), ("99%", 99), ("1", 100), ("0", 0)],
)
def test_the_error_rate_is_exact_and_irregular(rate: str, percent: int, start: Start) -> None:
    replica = start("--error-rate", rate, "--workers", "1")
    found = answers(replica, *["/"] * 1000)
    for begin in range(0, 1000, 100):
        assert found[begin : begin + 100].count(503) == percent
    assert found.count(200) + found.count(503) == 1000
    if 20 <= percent < 100:
        assert max(len(list(run)) for code, run in groupby(found) if code == 503) >= 2
    assert replica.stop() == 0
    assert len(replica.served()) == found.count(200)  # pages are logged, errors are not


def test_an_error_says_who_answers(start: Start) -> None:
    replica = start("--error-rate=100%", "--error-code", "500", "--app-version", "v2", "--control")
    for target in "/", "/any/path", "/whoami", "/echo", "/headers", "/anything/x":
        status, fields, body = ask(replica, target)
        assert (status, fields["X-Served-By"], fields["X-Version"]) == (500, "vm", "v2")
        assert json.loads(body)["status"] == 500
    for target in (
        "/livez",
        "/healthz",
        "/readyz",
        "/ready",
        "/health",
        "/metrics",
        "/wall",
        "/hostname",
        "/favicon.ico",
        "/status/200",
        "/delay/0",
        "/burn/0",
        "/fault_injection/status",
    ):
        assert ask(replica, target)[0] == 200
    assert ask_any(replica, "//") == 301
    assert replica.served() == []
    found = metrics(replica)
    assert found["yinyang_pages_total",] == 0
    assert found["http_requests_total", ("path", "page"), ("status", "5xx")] == 2
    assert found["http_requests_total", ("path", "whoami"), ("status", "5xx")] == 1
    assert found["http_requests_total", ("path", "echo"), ("status", "5xx")] == 3


def test_each_worker_is_exact(start: Start) -> None:
    replica = start("--error-rate", "20%", "--workers", "2")
    for _ in range(4):  # connections, each of which has one worker
        assert answers(replica, *["/"] * 200).count(503) == 40


# ---- an error that a request asks for -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/whoami", "/a/b", "/echo"])
def test_a_request_asks_for_errors(path: str, start: Start) -> None:
    replica = start("--workers", "1", "--app-version", "v 2", "--zone", "eu-1a")
    for query, code in {
        "fail=100": 503,
        "fail=100%": 503,
        "fail=100%25&code=418": 418,
        "a=b&code=500&fail=100&x": 500,
        "fail=100&if=v%202": 503,
        "fail=100&if=eu-1a": 503,
        "fail=100&if=vm": 503,
        "fail=100&if=v3": 200,
        "fail=100&if=": 200,
        "fail=0": 200,
        "failed=100": 200,
        "code=500": 200,
        "xfail=100": 200,
        "fail": 200,
    }.items():
        assert ask_any(replica, f"{path}?{query}") == code, query
    keep = f"{path}?keep=1&fail=20&code=500"
    assert answers(replica, *[keep] * 300).count(500) == 60


@pytest.mark.parametrize(
    ("query", "code", "reason"),
    [
        ("fail=", 400, "fail= is a share in percent"),
        ("fail=x", 400, "fail= is a share in percent"),
        ("fail=101", 400, "fail= is a share in percent"),
        ("fail=-1", 400, "fail= is a share in percent"),
        ("fail=0.2", 400, "fail= is a share in percent"),
        ("fail=99999999999999999999", 400, "fail= is a share in percent"),
        ("fail=10&code=600", 400, "code= is a status"),
        ("fail=10&code=", 400, "code= is a status"),
        *((f"latency={time}", 400, "latency= is a time from 0 to 10 s") for time in ("", "x", "-1", "11", "10001ms")),
        *((f"latency={time}", 400, "latency= is a time from 0 to 10 s") for time in ("2s..1s", "1s..", "..1s", "1m")),
        ("fail=4294967396", 400, "fail= is a share in percent"),
        ("fail=1099511627776", 400, "fail= is a share in percent"),
        ("fail=100&code=4294967799", 400, "code= is a status"),
    ],
)
def test_a_request_asks_for_what_cannot_be(query: str, code: int, reason: str, shared_replica: Replica) -> None:
    for path in "/", "/whoami":
        status, _, body = ask(shared_replica, f"{path}?{query}")
        assert status == code
        assert re.match(rf"{code} [A-Z][A-Za-z ]+: {reason}", body.decode())


def test_only_whoami_may_be_read_by_pages_of_other_origins(shared_replica: Replica) -> None:
    for query in "fail=100", "fail=x":
        assert ask(shared_replica, f"/whoami?{query}")[1]["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Origin" not in ask(shared_replica, f"/?{query}")[1]
    assert "Access-Control-Allow-Origin" not in ask(shared_replica, "/status/503")[1]


def test_a_target_that_is_not_kept_whole_asks_for_nothing(shared_replica: Replica) -> None:
    """Otherwise it might ask another replica than it means."""
    for length, code in ((256, 503), (257, 400), (258, 400), (5000, 400)):
        start, end = "/?fail=100&x=", "&if=vm"
        target = start + "x" * (length - len(start + end)) + end
        assert ask_any(shared_replica, target) == code
    assert ask_any(shared_replica, "/?x=" + "x" * 300) == 200


def test_each_share_is_exact_though_others_are_asked_for(start: Start) -> None:
    replica = start("--workers", "1")
    rates = (1, 20, 50, 99)
    found = answers(replica, *[f"/?fail={rate}" for rate in rates] * 100)
    assert tuple(found[i :: len(rates)].count(503) for i in range(len(rates))) == rates


def test_a_fault_is_no_page_even_with_200(start: Start) -> None:
    replica = start("--error-rate", "100%", "--error-code", "200")
    assert json.loads(ask(replica, "/")[2])["status"] == 200
    found = metrics(replica)
    assert found["yinyang_pages_total",] == 0
    assert found["http_requests_total", ("path", "page"), ("status", "2xx")] == 1


def test_faults_on_request_can_be_off(start: Start) -> None:
    replica = start("--faults", "off", "--error-rate", "100%")
    for query in "fail=20", "latency=1s":
        refused = (403, b"403 Forbidden: faults on request are off here (--faults)\n")
        assert ask(replica, f"/?{query}")[::2] == refused
    assert ask_any(replica, "/") == 503


def test_plain_has_no_errors_on_purpose(start: Start) -> None:
    replica = start("--plain")
    for target in COMMANDS:
        for method in "GET", "POST":
            assert ask(replica, target, method)[2] == PAGE


# ---- faults that a client sets ------------------------------------------------------------------------------------


def faults(replica: Replica) -> dict:
    status, fields, body = ask(replica, "/fault_injection/status")
    assert (status, fields["Content-Type"]) == (200, "application/json")
    return json.loads(body)


NO_FAULTS = {"rate": "0%", "code": 503, "latency": "0ms", "burn": "0ms"}


def test_a_client_sets_faults(start: Start) -> None:
    """What a command does not name is as the options say; all workers know it."""
    replica = start("--control", "--workers", "2")
    for query, change in {
        "rate=20%": {"rate": "20%"},
        "rate=0.5&code=500": {"rate": "50%", "code": 500},
        "rate=1": {"rate": "100%"},
        "latency=30ms": {"latency": "30ms"},
        "burn=5ms&latency=1ms..0.01s": {"latency": "1ms..10ms", "burn": "5ms"},
        "&rate=33%25&&code=502&": {"rate": "33%", "code": 502},
    }.items():
        expected = NO_FAULTS | change
        status, _, body = ask(replica, f"/fault_injection/enable?{query}", "POST")
        assert (status, body) == (202, b"202 Accepted: this replica is told which faults to have\n")
        wait_until(lambda: faults(replica) == expected, f"{expected}")  # noqa: B023
    for _ in range(4):
        assert answers(replica, *["/"] * 100).count(502) == 33
    assert ask(replica, "/fault_injection/disable/", "POST")[0] == 202
    wait_until(lambda: faults(replica) == NO_FAULTS)
    assert set(answers(replica, *["/"] * 100)) == {200}
    assert replica.stop() == 0


def test_faults_of_the_options_are_shown_and_changed(start: Start) -> None:
    replica = start(
        "--error-rate", "7%", "--error-code", "500", "--latency", "0.01..0.02", "--burn", "1ms", "--control"
    )
    assert faults(replica) == {"rate": "7%", "code": 500, "latency": "10ms..20ms", "burn": "1ms"}
    assert ask_any(replica, "/fault_injection/disable", "POST") == 202
    wait_until(lambda: faults(replica) == NO_FAULTS | {"code": 500})
    [worker, *_] = replica.workers()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: worker not in replica.workers() and ready(replica))
    assert faults(replica) == NO_FAULTS | {"code": 500}
    assert ask_any(replica, "/fault_injection/enable", "POST") == 202
    wait_until(lambda: faults(replica)["rate"] == "7%")
    assert ask_any(replica, "/fault_injection/enable?burn=0", "POST") == 202
    wait_until(lambda: faults(replica)["burn"] == "0ms")
    assert faults(replica) == {"rate": "7%", "code": 500, "latency": "10ms..20ms", "burn": "0ms"}


def test_the_last_faults_count(start: Start) -> None:
    """It does not matter which worker got the command."""
    replica = start("--control", "--workers", "4")
    for number in range(1, 31):
        for query in "rate=1%", "burn=1ms", f"latency={number}ms":
            assert ask_any(replica, f"/fault_injection/enable?{query}", "POST") == 202
        wait_until(lambda: faults(replica) == NO_FAULTS | {"latency": f"{number}ms"})  # noqa: B023


@pytest.mark.parametrize(
    ("words", "queries"),
    [
        ("say which: ", ["", "rate", "other=1", "rate=20%&x=1", "rate=20%&if=v1", "latency=1ms&codes=500", "=&rate=1"]),
        ("rate= is a share", ["rate=", "rate=101%", "rate=20", "rate=-1%", "rate=1.5", "rate=x", "rate=4294967316%"]),
        ("code= is a status", ["code=99", "code=600", "code=5x", "rate=20%&code=0", "code=18446744073709552119"]),
        ("code= is of no effect without a share", ["code=500", "code=500&latency=1ms"]),
        ("latency= is a time", ["latency=11", "latency=x", "latency=2s..1s", "rate=20%&latency=300"]),
        ("burn= is CPU time", ["burn=1001ms", "burn=2", "burn="]),
        ("a target that asks for a fault has at most 256 bytes", ["rate=20%&x=" + "x" * 300]),
    ],
)
def test_faults_that_cannot_be(words: str, queries: list[str], start: Start) -> None:
    replica = start("--control", "--workers", "1")
    for query in queries:
        status, _, body = ask(replica, f"/fault_injection/enable?{query}", "POST")
        assert (status, body.decode().startswith(f"400 Bad Request: {words}")) == (400, True), (query, body)
    assert faults(replica) == NO_FAULTS


def test_faults_are_not_for_everybody(shared_replica: Replica) -> None:
    for path in "/fault_injection/enable?rate=20%", "/fault_injection/disable":
        status, _, body = ask(shared_replica, path, "POST")
        assert (status, body) == (403, b"403 Forbidden: to allow this, start with --control or YINYANG_CONTROL=on\n")
        status, fields, _ = ask(shared_replica, path)
        assert (status, fields["Allow"]) == (405, "POST")
    assert faults(shared_replica) == NO_FAULTS
    for path in "/fault_injection", "/fault_injection/", "/fault_injection/x", "/fault_injection/enable/x":
        assert ask(shared_replica, path, "POST")[0] == 404


def test_what_shows_the_faults_changes_none(start: Start, shared_replica: Replica) -> None:
    """A method that asks for a change shows no success where nothing happened."""
    for replica in shared_replica, start("--control"):
        for method in "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
            with naming(method):
                status, fields, body = ask(replica, "/fault_injection/status?rate=20%", method)
                assert (status, fields["Allow"]) == (405, "GET, HEAD")
                assert body.startswith(b"405 Method Not Allowed: this shows the faults, so it wants GET; POST /fault_")
        for method in "GET", "HEAD":
            assert ask(replica, "/fault_injection/status/", method)[0] == 200


def test_no_command_gets_the_page(shared_replica: Replica) -> None:
    """What looks like one says which there are."""
    for path in "/readyz/toggle", "/readyz/disabled", "/ready/disable", "/health/enable/", "/readyz/disable/x":
        for method in "POST", "GET":
            status, _, body = ask(shared_replica, path, method)
            words = b"404 Not Found: there are POST /readyz/disable and /readyz/enable, and GET /readyz\n"
            assert (status, body) == (404, words)
    for path in "/readyzx", "/healthy", "/ready2/disable":
        assert ask(shared_replica, path)[2] == PAGE


# ---- names and texts ----------------------------------------------------------------------------------------------


@pytest.mark.contained
def test_platforms_name_a_replica(start: Start) -> None:
    """Where nobody else does; what cannot be a name is passed over."""
    variables = {"K_REVISION": "web-00002", "POD_NAMESPACE": "shop", "NOMAD_NAMESPACE": "other", "FLY_REGION": "fra"}
    replica = start("--zone", "own", **variables, NODE_NAME="a\tb", MY_NODE_NAME="node-7", YINYANG_APP_VERSION="v2")
    told = json.loads(ask(replica, "/whoami")[2])
    assert (told["version"], told["namespace"], told["zone"], told["node"]) == ("v2", "shop", "own", "node-7")


def test_a_platform_names_the_host(shape: Shape) -> None:
    """But not with --plain, as the original has its name from the host alone."""
    for option, name in ("--port=0", "pod-1"), ("--plain", socket.gethostname()):
        with subprocess.Popen(
            shape.command("--port=0", option), stderr=subprocess.PIPE, env=clean_environment() | {"POD_NAME": "pod-1"}
        ) as process:
            assert f"Serving image, host: {name}, " in process.stderr.readline().decode()
            process.kill()


def test_whoami_on_a_line(start: Start) -> None:
    replica = start("--name", "web-6d4f8b7c9-x2x4z", "--app-version", "v2", "--zone", "eu-1a")
    assert ask(replica, "/whoami?format=line")[2] == b"x2x4z v2 eu-1a\n"
    status, fields, body = ask(replica, "/whoami?format=ansi", "GET", "Accept: application/json")
    assert (status, fields["Content-Type"]) == (200, "text/plain; charset=utf-8")
    blocks = "".join(
        f"\x1b[38;2;{int(colour[1:3], 16)};{int(colour[3:5], 16)};{int(colour[5:], 16)}m██"
        for colour in fields["X-Colours"].split()
    )
    assert body.decode() == f"{blocks}\x1b[0m x2x4z v2 eu-1a\n"
    assert ask(start(), "/whoami?format=line")[2] == b"vm\n"


def test_the_page_tells_who_serves_it(start: Start) -> None:
    replica = start("--served-by", "--app-version", "v2")
    for target in "/", "/any/path":
        _, fields, body = ask(replica, target)
        assert (fields["X-Served-By"], fields["X-Version"], body) == ("vm", "v2", PAGE)
    assert "X-Served-By" not in ask(replica, "/livez")[1]
    _, fields, _ = ask(start("--app-version", "v2"), "/")
    assert "X-Served-By" not in fields
    assert "X-Version" not in fields


def test_no_cache_stores_a_page_that_tells_who_serves_it(start: Start) -> None:
    """The page as it was in 2016 has no such field."""
    for options in ("--served-by",), ("--served-by", "--text", "hello"), ():
        replica = start(*options)
        for method, version, connection in ("GET", 1, "close"), ("HEAD", 1, "keep-alive"), ("GET", 0, "keep-alive"):
            with naming(f"{method} HTTP/1.{version} {connection} {options}"):
                request = f"{method} / HTTP/1.{version}\r\nHost: a\r\nConnection: {connection}\r\n\r\n"
                head, _, _ = replica.ask(request.encode(), half_close=True).partition(b"\r\n\r\n")
                assert head.count(b"Cache-Control: no-store\r\nX-Served-By: vm") == bool(options)
                assert head.count(b"Cache-Control") == bool(options)


def test_a_text_in_place_of_the_page(start: Start) -> None:
    replica = start("--text", "hello <world>")
    for target in "/", "/any/path":
        status, fields, body = ask(replica, target)
        assert (status, fields["Content-Type"], body) == (200, "text/plain; charset=utf-8", b"hello <world>\n")
    assert ask(replica, "/whoami")[1]["X-Served-By"] == "vm"
    wait_until(lambda: len(replica.served()) == 2)
