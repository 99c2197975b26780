"""The routes beside the page: what a replica tells of itself, whether it is well, and what it has done."""

import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from conftest import (
    GET,
    LAST,
    PAGE,
    PATIENCE,
    Replica,
    Shape,
    naming,
    needs,
    read_all,
    serving,
    started_with,
    wait_until,
)
from prometheus_client.parser import text_string_to_metric_families

import yinyang

ROUTES = (
    *("/whoami", "/hostname", "/wall", "/metrics", "/livez", "/healthz", "/readyz", "/ready", "/health"),
    "/status/200",
)
Start = Callable[..., Replica]


def ask(replica: Replica, target: str, method: str = "GET", *fields: str) -> tuple[int, Message, bytes]:
    """Status, fields and body of the answer to a request that ends its connection."""
    lines = [f"{method} {target} HTTP/1.1", "Host: a", "Connection: close", *fields]
    head, _, body = replica.ask("\r\n".join([*lines, "", ""]).encode()).partition(b"\r\n\r\n")
    status, _, rest = head.decode("latin-1").partition("\r\n")
    found = Parser().parsestr(rest)
    if method != "HEAD":
        assert int(found["Content-Length"]) == len(body)
    return int(status.split()[1]), found, body


def whoami(replica: Replica, target: str = "/whoami") -> dict:
    status, _, body = ask(replica, target)
    assert status == 200
    return json.loads(body)


def metrics(replica: Replica) -> dict[tuple, float]:
    """Values by name and labels."""
    status, fields, body = ask(replica, "/metrics")
    assert (status, fields["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


# ---- who it is ----------------------------------------------------------------------------------------------------


@pytest.mark.contained
def test_whoami_tells_who_answers(start: Start) -> None:
    replica = start("--name", "web-6d5f8c7b9-x2x4k", "--app-version", "1.2", "--node", "n1", "--zone", 'eu "a" \\ é')
    status, fields, body = ask(replica, "/whoami")
    told = json.loads(body)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", told.pop("started"))
    assert fields["X-Start-Ms"] == str(told.pop("start_ms"))
    assert told == {
        "host": "web-6d5f8c7b9-x2x4k",
        "short": "x2x4k",
        "colour": "#9848a0",
        "colours": ["#9848a0", "#000000"],
        "version": "1.2",
        "node": "n1",
        "zone": 'eu "a" \\ é',
        "requests": 1,
        "pages": 0,
        "draining": False,
    }
    assert (status, fields["Content-Type"], fields["Cache-Control"]) == (200, "application/json", "no-store")
    assert fields["Access-Control-Allow-Origin"] == fields["Access-Control-Expose-Headers"] == "*"
    for name, value in {
        "Served-By": told["host"],
        "Colours": "#9848a0 #000000",
        "Version": "1.2",
        "Pages": "0",
    }.items():
        assert fields[f"X-{name}"] == value
    assert "X-Namespace" not in fields


@pytest.mark.strace
def test_whoami_tells_how_long_the_start_took(shape: Shape, tmp_path: Path) -> None:
    begin = time.monotonic()
    with started_with("listen:delay_enter=300000", shape, tmp_path / "log") as replica:  # us
        wait_until(lambda: 1000 * (time.monotonic() - begin) > whoami(replica)["start_ms"] + 50, "its end")
        told = whoami(replica)["start_ms"]
        assert told >= 300
        assert f"\nstart_ms: {told}\n".encode() in ask(replica, "/whoami?format=text")[2]


def test_on_python_the_start_of_the_interpreter_counts(tmp_path: Path) -> None:
    program = "import runpy, time; time.sleep(0.3); runpy.run_module('yinyang.serve', run_name='__main__')"
    with serving(Shape(sys.executable, "-c", program), tmp_path / "log", "--workers", "1") as replica:
        assert whoami(replica)["start_ms"] >= 295


def test_whoami_in_plain_text(shared_replica: Replica) -> None:
    expected = b"host: vm\nshort: vm\ncolour: #b8d868\n"
    for target, *fields in (
        ("/whoami?format=text",),
        ("/whoami?keep=0&format=text",),
        ("/whoami?format=text", "Accept: application/json"),
        ("http://other.example/whoami", "ACCEPT:text/plain"),
    ):
        status, found, body = ask(shared_replica, target, "GET", *fields)
        assert (status, found["Content-Type"]) == (200, "text/plain; charset=utf-8")
        assert body.startswith(expected)
    for target, *fields in (
        ("/whoami?format=texts",),
        ("/whoami?aformat=text",),
        ("/whoami", "Accepts: text/plain"),
    ):
        assert json.loads(ask(shared_replica, target, "GET", *fields)[2])["host"] == "vm"


PREFERENCES = {
    "text": [
        ["text/plain"],
        ["text/*"],
        ["Text/PLAIN"],
        ["text/html, text/plain;q=0.9, application/json;q=0.8"],
        ["text/plain , application/json;q=0.999"],
        ["application/json;q=0, */*"],  # the more specific range decides, wherever it stands
        ["*/*, application/json;q=0.5"],
        ["*/*;q=0.2, application/*;q=0.1"],
        ["application/*;q=0.3, text/*;q=0.4"],
        ["text/plain;q=0.001"],
        ["text/plain;q=.5"],  # as old clients write it
        ["application/json;q=0.5", "text/plain;q=0.6"],  # fields are one list
        ["text/plain;charset=utf-8"],
        ['application/json;q=0.1, text/plain; Charset="UTF-8" ;Q=0.2'],
        ["application/json;profile=x, text/plain"],  # not the JSON that there is
        ['x/y;a="\\",application/json", text/plain'],
        ["text/plain;;q=1, application/json ;\tq=0.9"],
        ["text/plain;q=1;x=y, application/json;q=0.9"],
    ],
    "json": [
        [""],
        ["*/*"],
        ["application/json, text/plain, */*"],  # equal
        ["text/plain;q=0"],
        ["text/plain;q=0.000, text/html"],
        ["text/html, text/plain;q=0.5, */*"],
        ["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
        ["text/plain;q=0.5, application/json;q=0.501"],
        ["text/*;q=1, text/plain;q=0.1, */*;q=0.5"],
        ["text/plainer, text/plai, text, text/, /plain, text/plain/x, text /plain, text/pl ain"],
        ["image/png, application/xml;q=0.9"],
        ["application/json;profile=text/plain"],
        ['x/y;a=",text/plain,"'],
        ['x/y;a=", text/plain'],  # a quote without its end
        ["text/plain;q=x, text/plain;q=0.1.2, text/plain;q=, text/plain;q=0 1, text/plain;q=-1"],
        ["text/plain;format=flowed"],
        ["text/plain;charset=latin-1"],
        ["text/plain;q=0.9", "application/json"],
        ["text/plain;q=2, application/json;q=1"],
    ],
}


@pytest.mark.parametrize("preferred", PREFERENCES)
def test_whoami_in_the_form_that_accept_prefers(preferred: str, shared_replica: Replica) -> None:
    expected = {"text": "text/plain; charset=utf-8", "json": "application/json"}[preferred]
    for values in PREFERENCES[preferred]:
        fields = [f"Accept: {value}" for value in values]
        _, found, body = ask(shared_replica, "/whoami", "GET", *fields)
        assert found["Content-Type"] == expected, fields
        assert body.startswith(b'{"host":"vm",' if preferred == "json" else b"host: vm\n")


def test_accept_is_read_wherever_it_is_cut(lone_replica: Replica) -> None:
    request = (
        b'GET /whoami HTTP/1.1\r\nHost: [::1]\r\nAccept: application/json;q=0.25, x/y;z="\\","\r\n'
        b"Content-Length: 3\r\nACCEPT: text/plain;charset=utf-8;q=0.251\r\nConnection: close\r\n\r\nabc"
    )
    for cut in range(1, len(request)):
        with lone_replica.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sendall(request[:cut])
            assert PAGE in lone_replica.ask(LAST)  # the server has one worker, so it has seen the first part
            client.sendall(request[cut:])
            assert b"\r\n\r\nhost: vm\n" in read_all(client), cut


def test_whoami_may_be_read_by_pages_of_other_origins(shared_replica: Replica) -> None:
    """Also with a field of their own, for which a browser asks first (Fetch standard, section 4.8)."""
    asked = ["Origin: http://a", "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: x-own"]
    for target in ("/whoami", "/whoami/?keep=1"):
        status, fields, body = ask(shared_replica, target, "OPTIONS", *asked)
        assert (status, body) == (200, b"")
        assert fields["Access-Control-Allow-Origin"] == "*"
        assert fields["Access-Control-Allow-Methods"] == "*"
        assert fields["Access-Control-Allow-Headers"] == "*, Authorization"
        assert 0 < int(fields["Access-Control-Max-Age"]) <= 7200  # browsers have limits
        assert "Content-Type" not in fields
    assert ask(shared_replica, "/whoami", "GET", "Origin: http://a")[1]["Access-Control-Allow-Origin"] == "*"
    for target in set(ROUTES) - {"/whoami"} | {"/", "/x"}:
        for method in ("OPTIONS", "GET"):
            _, fields, _ = ask(shared_replica, target, method, *asked)
            assert not [name for name in fields if name.startswith("Access-Control-")]
    assert ask(shared_replica, "/", "OPTIONS", *asked)[2] == PAGE


@pytest.mark.contained
def test_a_path_may_end_in_a_slash(shared_replica: Replica) -> None:
    for target in ROUTES:
        first, second = (ask(shared_replica, each) for each in (target, f"{target}/?a"))
        assert (second[0], second[1]["Content-Type"]) == (first[0], first[1]["Content-Type"])
        assert second[2] != PAGE
    assert ask(shared_replica, "/favicon.ico/")[2] == PAGE  # as the original


def test_fields_that_protect(shared_replica: Replica) -> None:
    """The page and all else that the original has too is as there."""
    ours = ("Cache-Control", "X-Content-Type-Options", "Referrer-Policy", "Content-Security-Policy")
    for target in (*ROUTES, "/whoami?format=text", "/whoami/"):
        for method in ("GET", "HEAD", "POST"):
            fields = ask(shared_replica, target, method)[1]
            assert [fields[name] for name in ours[:3]] == ["no-store", "nosniff", "no-referrer"]
            directives = set(fields["Content-Security-Policy"].split("; "))
            assert {"default-src 'none'", "frame-ancestors 'none'"} <= directives
            assert len(directives) == (2 if target != "/wall" else 7)
            for name in fields:
                assert len(fields.get_all(name)) == 1
    for target, method in (("/", "GET"), ("/x", "OPTIONS"), ("/favicon.ico", "GET"), ("*", "OPTIONS"), ("//", "GET")):
        fields = ask(shared_replica, target, method)[1]
        assert not {*ours} & {*fields}


def test_whoami_ends_its_connection_unless_asked_not_to(shared_replica: Replica) -> None:
    with shared_replica.connect() as client, client.makefile("rb") as received:
        for number in (1, 2):
            client.sendall(b"GET /whoami?a=1&keep=1 HTTP/1.1\r\nHost: a\r\n\r\n")
            head = Parser().parsestr(read_head(received))
            assert "Connection" not in head
            assert json.loads(received.read(int(head["Content-Length"])))["requests"] == number
        client.sendall(b"GET /whoami HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        head = Parser().parsestr(read_head(received))
        assert head["Connection"] == "close"
        assert head["X-Requests"] == "3"
        assert len(received.read()) == int(head["Content-Length"])


def read_head(received: object) -> str:
    """The fields of an answer."""
    lines = []
    while (line := received.readline()) != b"\r\n":
        assert line
        lines.append(line.decode())
    return "".join(lines[1:])


def test_what_is_not_text_is_replaced(start: Start) -> None:
    replica = start("--name", os.fsdecode(b"a\xff\xc3\xa9\xe2\x82"))
    assert whoami(replica)["host"] == "a\ufffdé\ufffd\ufffd"


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("vm", "vm"),
        ("web-0", "web-0"),
        ("web-6d5f8c7b9-x2x4k", "x2x4k"),
        ("my-long-service-12", "service-12"),
        ("project-web-3", "web-3"),
        ("3f2a9c1b7d5e", "3f2a9c1b"),
        ("web-1.example.org", "web-1"),
        ("-----------", "----"),
        (".example", ".example"),
        ("ééééééé", "éééé"),
        ("a-" + "é" * 20, "éééééé"),
    ],
)
def test_short_names(name: str, short: str, start: Start) -> None:
    assert whoami(start("--name", name))["short"] == short


def test_the_longest_texts_fit(start: Start) -> None:
    """Each of their bytes takes three in JSON, and one in a field."""
    longest = {"name": 255, "app-version": 128, "node": 253, "namespace": 63, "zone": 63}
    options = [item for word, size in longest.items() for item in (f"--{word}", os.fsdecode(b"\xff" * size))]
    replica = start(*options)
    assert whoami(replica)["node"] == "\ufffd" * 253
    assert ask(replica, "/metrics")[0] == 200


def test_hostname_is_the_name_alone(start: Start) -> None:
    status, fields, body = ask(start("--name", "web-<1>-é"), "/hostname?x")
    assert (status, body) == (200, "web-<1>-é\n".encode())
    assert (fields["Content-Type"], fields["Cache-Control"]) == ("text/plain; charset=utf-8", "no-store")


# ---- probes -------------------------------------------------------------------------------------------------------


@pytest.mark.contained
def test_probes_of_one_that_is_well(shared_replica: Replica) -> None:
    for target in ("/livez", "/healthz", "/readyz", "/readyz?verbose"):
        status, fields, body = ask(shared_replica, target)
        assert (status, body) == (200, b"ok\n")
        assert (fields["Content-Type"], fields["Cache-Control"]) == ("text/plain; charset=utf-8", "no-store")
        assert ask(shared_replica, target, "HEAD")[1]["Content-Length"] == "3"


@pytest.mark.contained
def test_is_not_ready_while_it_drains(start: Start) -> None:
    replica = start("--workers", "2", "--drain", "3600")
    replica.send_signal(signal.SIGTERM)
    wait_until(lambda: ask(replica, "/readyz")[0] == 503)
    assert ask(replica, "/readyz")[2] == b"not ready: draining\n"
    assert ask(replica, "/livez")[0] == 200
    assert whoami(replica)["draining"] is True
    assert metrics(replica)["yinyang_draining",] == 1
    assert replica.stop() == 0


@pytest.mark.contained
def test_is_not_ready_while_a_worker_is_stopped(start: Start) -> None:
    replica = start("--workers", "2")
    wait_until(lambda: len(replica.workers()) == 2)
    stopped = replica.workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        wait_until(lambda: ready_words(replica) == b"not ready: 1 of 2 workers serve\n")
        assert metrics_of(replica, stopped)["yinyang_workers_ready",] == 1
    finally:
        os.kill(stopped, signal.SIGCONT)
    wait_until(lambda: ready_words(replica) == b"ok\n")


def ready_words(replica: Replica) -> bytes | None:
    """From a worker that answers; None if the connection was left to one that does not."""
    with replica.connect(timeout=0.2) as client:
        client.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        try:
            return client.makefile("rb").read().rpartition(b"\r\n\r\n")[2]
        except TimeoutError:
            return None


def metrics_of(replica: Replica, stopped: int) -> dict[tuple, float]:
    """While one worker is stopped, from the other one."""

    def answer() -> dict | None:
        try:
            return metrics(replica)
        except TimeoutError:
            return None

    return wait_until(answer)


@pytest.mark.contained
def test_is_not_ready_while_a_worker_keeps_crashing(start: Start) -> None:
    replica = start("--workers", "2")
    wait_until(lambda: len(replica.workers()) == 2)
    survivor = replica.workers()[0]

    def others() -> set[int]:
        return set(replica.workers()) - {survivor}

    def is_not_relied_on_after_a_crash() -> bool:
        """Not even when it was replaced. (A busy machine may take longer to ask than that holds.)"""
        killed = others()
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: others() - killed)
        return ask(replica, "/readyz")[0] == 503

    wait_until(is_not_relied_on_after_a_crash)
    wait_until(lambda: ask(replica, "/readyz")[0] == 200)  # when it has lived for a while


# ---- metrics ------------------------------------------------------------------------------------------------------


@pytest.mark.contained
def test_metrics_count_what_was_asked(start: Start) -> None:
    replica = start("--workers", "2", "--app-version", 'v"1"')
    asked = {"/": 7, "/whoami": 5, "/wall": 4, "/livez": 3, "/healthz": 1, "/readyz": 2, "/favicon.ico": 6, "//": 2}
    asked["/hostname"] = 3
    for target, count in asked.items():
        for number in range(count):
            ask(replica, target, ("GET", "HEAD")[number % 2])
    for _ in range(2):
        ask(replica, "*", "OPTIONS")
        ask(replica, "/", "TRACE")
    ask(replica, "/ ")
    metrics(replica)
    found = metrics(replica)
    counts = {
        (code, route): found["http_requests_total", ("path", route), ("status", code)]
        for code, route in (labels_of(key) for key in found if key[0] == "http_requests_total")
    }
    assert {key: count for key, count in counts.items() if count} == {
        ("200", "page"): 7,
        ("200", "whoami"): 5,
        ("200", "wall"): 4,
        ("200", "livez"): 4,
        ("200", "hostname"): 3,
        ("200", "readyz"): 2,
        ("200", "empty"): 8,
        ("301", "redirect"): 2,
        ("405", "error"): 2,
        ("400", "error"): 1,
        ("200", "metrics"): 1,  # the answer that tells it is not counted yet
    }
    assert found["yinyang_pages_total",] == 7
    assert found["yinyang_connections_accepted_total",] == sum(counts.values()) + 1
    assert found["yinyang_connections_open",] >= 1
    assert (found["yinyang_workers",], found["yinyang_workers_ready",], found["yinyang_draining",]) == (2, 2, 0)
    assert abs(found["process_start_time_seconds",] - replica.log.stat().st_ctime) < 3600
    assert found["yinyang_build_info", ("app_version", 'v"1"'), ("version", yinyang.__version__)] == 1


def labels_of(key: tuple) -> tuple[str, str]:
    labels = dict(key[1:])
    return labels["status"], labels["path"]


def test_every_error_is_counted(start: Start) -> None:
    replica = start("--workers", "1")
    for request, code in (
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET /" + b"a" * 17000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"a" * 66000 + b"\r\n\r\n", 431),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ):
        assert replica.ask(request).startswith(b"HTTP/1.1 %d " % code)
    found = metrics(replica)
    codes = {labels_of(key)[0]: value for key, value in found.items() if ("path", "error") in key}
    assert codes == {"400": 1, "405": 1, "408": 0, "414": 1, "417": 1, "431": 1, "501": 1, "505": 1}


# ---- all of them --------------------------------------------------------------------------------------------------


@pytest.mark.contained
def test_none_of_the_routes_is_logged(start: Start) -> None:
    replica = start()
    for target in ROUTES:
        for method in ("GET", "HEAD", "POST"):
            assert ask(replica, target, method)[0] == 200
    ask(replica, "/")
    assert replica.stop() == 0
    assert len(replica.served()) == 1


def test_plain_switches_the_routes_off(start: Start) -> None:
    for replica in (start("--plain"), start(YINYANG_PLAIN="on")):
        for target in (*ROUTES, "/whoami?format=text", "/readyz/"):
            assert ask(replica, target)[2] == PAGE
            assert ask(replica, target, "OPTIONS")[2] == PAGE
        assert ask(replica, "/favicon.ico")[2] == b""


@pytest.mark.parametrize(
    "target",
    [
        *("/Whoami", "/whoami%20", "/whoami/x", "/wall/x", "/metric", "/readyz.", "/livez//..", "/readyz//"),
        *("/statuses", "/status%2F503", "/healthy", "/readyx", "/echoes", "/livez/x", "/delay.", "/x/status/503"),
    ],
)
def test_other_paths_are_no_routes(target: str, shared_replica: Replica) -> None:
    status, _, body = ask(shared_replica, target)
    assert (status, body) == (200, PAGE) or status == 301


def test_the_wall_ends_its_connection(shared_replica: Replica) -> None:
    for method in "GET", "HEAD":
        for version in "1.1", "1.0":
            with shared_replica.connect() as client:
                request = f"{method} /wall HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
                client.sendall(2 * request.encode())
                head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nConnection: close" in head
            assert len(body) == (int(head.partition(b"Content-Length: ")[2].split()[0]) if method == "GET" else 0)


@pytest.mark.contained
def test_routes_of_http_1_0(shared_replica: Replica) -> None:
    for target in set(ROUTES) - {"/wall"}:
        closed = shared_replica.ask(f"GET {target} HTTP/1.0\r\n\r\n".encode())
        assert closed.startswith(b"HTTP/1.0 200 OK\r\n")
        assert b"\r\nConnection:" not in closed
    with shared_replica.connect() as client:
        client.sendall(b"HEAD /readyz HTTP/1.0\r\nConnection: keep-alive\r\n\r\nHEAD /whoami HTTP/1.0\r\n\r\n")
        first, second, rest = client.makefile("rb").read().split(b"\r\n\r\n")
        assert b"\r\nConnection: keep-alive" in first
        assert b"\r\nConnection" not in second
        assert rest == b""


@pytest.mark.contained
def test_many_of_them_in_one_segment(shared_replica: Replica) -> None:
    """They find room one after the other, in order."""
    targets = ["/whoami?keep=1", "/metrics", "//x", "/readyz", "/"] * 12
    with shared_replica.connect() as client:
        client.sendall(
            b"".join(f"HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for target in targets)
            + b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
        heads = client.makefile("rb").read().split(b"\r\n\r\n")
    assert heads.pop() == b""
    assert len(heads) == len(targets) + 1
    marks = {
        "/whoami?keep=1": b"\r\nX-Requests: ",
        "/metrics": b"version=0.0.4",
        "//x": b"\r\nLocation: /x",
        "/readyz": b"no-store",
    }
    for target, head in zip(targets, heads, strict=False):
        assert marks.get(target, b"HTTP/1.1 200 OK") in head
    assert [int(head.split(b"X-Requests: ")[1].split()[0]) for head in heads[:60:5]] == list(range(1, 61, 5))


WHO = b"GET /whoami?keep=1 HTTP/1.1\r\nHost: a\r\n\r\n"


def slow_reader(replica: Replica) -> socket.socket:
    """Little is on its way at a time, so the server often has to wait until more can be sent."""
    client = socket.socket()
    client.settimeout(PATIENCE)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", replica.port))
    return client


def bodies(received: bytes) -> Iterator[bytes]:
    while received:
        head, end, received = received.partition(b"\r\n\r\n")
        size = int(re.search(rb"Content-Length: (\d+)", head)[1])
        assert end
        assert len(received) >= size
        yield received[:size]
        received = received[size:]


@pytest.mark.contained
def test_a_slow_reader_gets_what_was_rendered_for_it(shared_replica: Replica) -> None:
    """What it does not take is kept as it was. (What becomes of a second one that it does not take: test_faults.py.)"""
    asked = (GET * 200 + WHO) * 30 + LAST
    with slow_reader(shared_replica) as client:
        sender = threading.Thread(target=client.sendall, args=(asked,))
        sender.start()
        answers = list(bodies(read_all(client)))
        sender.join()
    assert len(answers) == 201 * 30 + 1
    assert [json.loads(answer)["requests"] for answer in answers[200::201]] == list(range(201, 201 * 30 + 1, 201))
    assert set(answers) - set(answers[200::201]) == {PAGE}


def test_refuses_control_characters(start: Start, shape: Shape) -> None:
    """Those of ASCII, and U+0080 to U+009F, of which some terminals take U+009B for the beginning of a command."""
    for option in "--name", "--title", "--app-version", "--zone", "--text":
        for character in "\x01", "\x7f", "\x80", "\x9b", "\x9f":
            with naming(f"{option} {character!r}"):
                done = shape.run(option, f"a{character}31mb")
                assert done.returncode == 2
                assert done.stderr.endswith(" bytes without control characters, not 'a?31mb'\n")
    assert shape.run(YINYANG_NODE="\x85").returncode == 2
    for name in "\xa0", "\xc2\xe0\u0131", os.fsdecode(b"\x9b\xc2"):  # other characters, and no UTF-8
        with naming(ascii(name)):
            answer = start("--name", name, "--workers", "1").ask(LAST.replace(b" / ", b" /hostname "))
            assert answer.endswith(b"\r\n\r\n" + os.fsencode(name) + b"\n")


@pytest.mark.needs("root", "unshare")
def test_refuses_a_host_name_with_control_characters(shape: Shape) -> None:
    """In a namespace of its own. A platform that gives a name is asked before the host."""
    for name in b"a\x1bb", "a\x9bb".encode():
        program = f"import os, socket, sys; socket.sethostname({name!r}); os.execvp(sys.argv[1], sys.argv[1:])"
        done = shape.run("--port", "0", wrap=[needs("unshare"), "--uts", sys.executable, "-c", program])
        assert (done.returncode, done.stderr) == (
            1,
            "yinyang: the name of this host is not 1 to 255 bytes without control characters; give one with --name\n",
        )


def test_refuses_what_they_cannot_show(shape: Shape) -> None:
    for option, value, words in (
        ("--palette", "blue", "original or distinct"),
        ("--app-version", "x" * 129, "1 to 128 bytes without control characters"),
        ("--namespace", "", "1 to 63 bytes without control characters"),
        ("--node", "a\tb", "1 to 253 bytes without control characters"),
    ):
        done = shape.run(option, value)
        assert done.returncode == 2
        assert f"{option} wants {words}" in done.stderr
