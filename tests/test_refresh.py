"""The page that asks for itself anew: `?every=2`."""

import json
from collections.abc import Callable

import pytest
from conftest import LAST, PAGE, Replica, read_all

Start = Callable[..., Replica]


def ask(replica: Replica, target: str, method: str = "GET", version: str = "1.1") -> tuple[list[str], bytes]:
    """The lines of the head, and the body, of an answer that ends its connection by itself."""
    received = replica.ask(f"{method} {target} HTTP/{version}\r\nHost: a\r\n\r\n".encode())
    head, _, body = received.partition(b"\r\n\r\n")
    return head.decode().split("\r\n"), body


def without_date(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith("Date: ")]


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    ("target", "seconds"),
    [
        ("/?every=1", 1),
        ("/any/path?every=3600", 3600),
        ("/?a=1&every=60&b", 60),
        ("/?every=007", 7),
        ("/?every=%31%30", 10),
        ("/?" + "x" * 245 + "&every=2", 2),
    ],
)
def test_the_page_with_one_more_field(
    target: str, seconds: int, method: str, version: str, shared_replica: Replica
) -> None:
    head, body = ask(shared_replica, target, method, version)
    close = ["Connection: close"] if version == "1.1" else []
    assert without_date(head) == [
        f"HTTP/{version} 200 OK",
        f"Content-Length: {len(PAGE)}",
        "Content-Type: text/html; charset=utf-8",
        *close,
        f"Refresh: {seconds}",
        "Cache-Control: no-store",
    ]
    assert body == (b"" if method == "HEAD" else PAGE)


@pytest.mark.parametrize("target", ["/", "/?every", "/?xevery=1", "/?Every=1", "/every=1", "/?" + "x" * 300])
def test_the_page_as_always(target: str, shared_replica: Replica) -> None:
    with shared_replica.connect() as client:
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode() + LAST)
        received = read_all(client)
    first = received[: len(received) // 2]
    assert received.count(PAGE) == 2
    assert b"Refresh" not in received
    assert b"Connection" not in first


WRONG = ["", "0", "3601", "-1", "1.5", "1s", "+1", "%00", "1%00", "9" * 30, "one"]


@pytest.mark.parametrize("value", [*WRONG, "2&" + "x" * 300])
def test_what_is_no_number_of_seconds(value: str, shared_replica: Replica) -> None:
    received = shared_replica.ask(f"GET /?every={value} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    if "%00" in value:  # a value with it is none
        assert received.endswith(PAGE)
        return
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\n\r\n400 Bad Request: every= is a number of seconds from 1 to 3600, such as every=2" in received
    assert b"Refresh" not in received


def test_other_routes_do_not_know_it(shared_replica: Replica) -> None:
    for target in ("/whoami?every=1", "/wall?every=1"):
        head, _ = ask(shared_replica, target)
        assert head[0] == "HTTP/1.1 200 OK"
        assert not [line for line in head if line.startswith("Refresh")]


def test_an_error_in_its_place_asks_anew_too(shared_replica: Replica) -> None:
    head, body = ask(shared_replica, "/?every=3&fail=100&code=500&latency=10ms")
    assert head[0] == "HTTP/1.1 500 Internal Server Error"
    assert {"Refresh: 3", "Connection: close"} <= set(head)
    assert head.count("Cache-Control: no-store") == 1
    assert json.loads(body)["status"] == 500


def test_with_another_text_and_more_fields(start: Start) -> None:
    replica = start("--text", "hello", "--served-by", "--app-version", "2")
    head, body = ask(replica, "/?every=5")
    assert body == b"hello\n"
    assert {"Content-Type: text/plain; charset=utf-8", "X-Served-By: vm", "X-Version: 2", "Refresh: 5"} <= set(head)
    assert head.count("Cache-Control: no-store") == 1


def test_plain_is_as_the_original(start: Start) -> None:
    replica = start("--plain")
    for target in ("/?every=1", "/?every=0"):
        received = replica.ask(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert received.endswith(PAGE)
        assert b"Refresh" not in received


@pytest.mark.contained
def test_each_is_logged_and_counted(start: Start) -> None:
    replica = start("--workers", "1")
    for _ in range(3):
        ask(replica, "/?every=1")
    for wrong in ("every=0", "every=1&fail=100"):
        ask(replica, f"/?{wrong}")
    head, _ = ask(replica, "/whoami")
    assert "X-Pages: 3" in head
    assert replica.stop() == 0
    assert replica.log.read_text().count("Served image") == 3


def test_pipelined(shared_replica: Replica) -> None:
    """It is the last one on its connection, behind others."""
    page = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    again = b"GET /?every=1 HTTP/1.1\r\nHost: a\r\n\r\n"
    with shared_replica.connect() as client:
        client.sendall(page * 3 + again + page)
        received = read_all(client)
    assert received.count(PAGE) == 4
    assert received.endswith(b"Refresh: 1\r\nCache-Control: no-store\r\n\r\n" + PAGE)
