"""The request as it came: /echo, /headers and /anything."""

import json
import re
import socket
from collections.abc import Callable

import pytest
from conftest import Replica, read_all, wait_until
from test_routes import ask, metrics

Start = Callable[..., Replica]


def raw(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


def body_of(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.")
    return body


def echo(replica: Replica, request: bytes) -> dict:
    answer = replica.ask(request)
    assert answer.partition(b"\r\n")[0].endswith(b" 200 OK"), answer
    return json.loads(body_of(answer))


def test_echo_as_json(shared_replica: Replica) -> None:
    lines = [
        *(b"POST /echo/a?b=c&format=x HTTP/1.1", b"Host: example:80", b"X-Forwarded-For: 10.0.0.1"),
        *(b"accept: text/html", b"x-forwarded-for:  10.0.0.2 ", b"Empty:", b'Quotes: "\\', b"Tab: a\tb"),
        *(b"Connection: close", b"Content-Length: 5"),
    ]
    with shared_replica.connect() as client:
        client.sendall(raw(*lines) + b"hello")
        local, remote = client.getpeername(), client.getsockname()
        head, _, body = read_all(client).partition(b"\r\n\r\n")
    told = json.loads(body)
    assert list(told) == ["host", "method", "url", "proto", "remoteAddr", "localAddr", "bodyLength", "headers"]
    assert told == {
        "host": "example:80",
        "method": "POST",
        "url": "/echo/a?b=c&format=x",
        "proto": "HTTP/1.1",
        "remoteAddr": f"{remote[0]}:{remote[1]}",
        "localAddr": f"{local[0]}:{local[1]}",
        "bodyLength": 5,
        "headers": {
            "Host": ["example:80"],
            "X-Forwarded-For": ["10.0.0.1", "10.0.0.2"],
            "accept": ["text/html"],
            "Empty": [""],
            "Quotes": ['"\\'],
            "Tab": ["a\tb"],
            "Connection": ["close"],
            "Content-Length": ["5"],
        },
    }
    assert b"\r\nContent-Type: application/json\r\n" in head
    assert b"\r\nX-Content-Type-Options: nosniff\r\n" in head
    assert b"\r\nX-Served-By: vm\r\n" in head


def test_echo_as_text(shared_replica: Replica) -> None:
    request = raw(b"DELETE /headers?format=text HTTP/1.0", b"B: 1", b"a:2", b"b: <script>")
    with shared_replica.connect() as client:
        client.sendall(request)
        remote = client.getsockname()
        head, _, body = read_all(client).partition(b"\r\n\r\n")
    assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in head
    assert body.decode().splitlines() == [
        *("Hostname: vm", "IP: 127.0.0.1", f"RemoteAddr: {remote[0]}:{remote[1]}"),
        *("DELETE /headers?format=text HTTP/1.0", "B: 1", "a: 2", "b: <script>"),
    ]
    assert body_of(
        shared_replica.ask(raw(b"GET /echo HTTP/1.1", b"Host: a", b"Accept: text/plain", b"Connection: close"))
    )[:9] == (b"Hostname:")


@pytest.mark.parametrize("path", ["/echo", "/echo/", "/echo/a/b", "/headers", "/headers/", "/anything", "/anything/x"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_any_method_and_path(path: str, method: str, shared_replica: Replica) -> None:
    status, fields, body = ask(shared_replica, path, method)
    assert (status, fields["Content-Type"], fields["X-Served-By"]) == (200, "application/json", "vm")
    if method != "HEAD":
        told = json.loads(body)
        assert (told["method"], told["url"], told["bodyLength"]) == (method, path, 0)


@pytest.mark.parametrize("path", ["/echoes", "/echo%2Fa", "/headers/x", "/headersx", "/any", "/anythingelse"])
def test_what_is_no_echo(path: str, shared_replica: Replica) -> None:
    assert ask(shared_replica, path)[1]["Content-Type"] == "text/html; charset=utf-8"


def test_the_outcome_does_not_depend_on_segments(shared_replica: Replica) -> None:
    """However a request is cut, and where others come before and behind it."""
    requests = [
        raw(b"GET /echo?" + b"q" * 600 + b" HTTP/1.1", b"Host: a", b"X: 1"),
        raw(b"GET http://h:1/anything/" + b"p" * 700 + b"?x HTTP/1.1", b"Host: b", b"Y: 2"),
        raw(b"\r\nPOST /headers HTTP/1.1", b"Host: c", b"Transfer-Encoding: chunked")
        + b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n",
        raw(b"PUT /echo HTTP/1.1", b"Host: d", b"Content-Length: 10") + b"0123456789",
        raw(b"GET /echo HTTP/1.1", b"Host: e", b"Connection: close"),
    ]
    whole = b"".join(requests)
    expected = None
    for size in (len(whole), 1, 7, 100, 255, 256, 257, 300):
        with shared_replica.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for begin in range(0, len(whole), size):
                client.sendall(whole[begin : begin + size])
                if size >= 100 and begin:
                    ask(shared_replica, "/hostname")  # so that the server has received what was sent
            answer = re.sub(rb'"remoteAddr":"[^"]*",|\r\n(Date|X-Requests|X-Pages):[^\r]*', b"", read_all(client))
        assert expected in (None, answer)
        expected = answer
    bodies = [body_of(b"HTTP/1.1" + part) for part in expected.split(b"HTTP/1.1 200 OK")[1:]]
    told = [json.loads(body) for body in bodies]
    assert [one["bodyLength"] for one in told] == [0, 0, 5, 10, 0]
    assert [len(one["url"]) for one in told] == [606, 722, 8, 5, 5]
    assert [one["host"] for one in told] == ["a", "h:1", "c", "d", "e"]  # RFC 9112 section 3.2.2
    assert not any("truncated" in one for one in told)
    assert list(told[2]["headers"]) == ["Host", "Transfer-Encoding"]


def test_a_long_head_is_cut_off(shared_replica: Replica) -> None:
    fields = [b"X-%04d: %s" % (number, b"v" * 80) for number in range(150)]
    told = echo(shared_replica, raw(b"GET /echo HTTP/1.1", b"Host: a", b"Connection: close", *fields))
    assert told["truncated"] is True
    kept = [name for name in told["headers"] if name.startswith("X-")]
    assert kept == [f"X-{number:04}" for number in range(len(kept))]
    assert 7500 < sum(len(f"{name}: {value}\r\n") for name, [value] in told["headers"].items()) <= 8192
    text = body_of(
        shared_replica.ask(raw(b"GET /echo?format=text HTTP/1.1", b"Host: a", b"Connection: close", *fields))
    )
    assert b"\nTruncated: true\nGET /echo?format=text HTTP/1.1\nHost: a\n" in text


def test_a_long_target_is_cut_off(shared_replica: Replica) -> None:
    for length, kept in ((8000, 8000), (8192, 8192), (8193, 8192), (16000, 8192)):
        for target in b"/echo?" + b"q" * (length - 6), b"/echo/" + b"p" * (length - 6):
            told = echo(shared_replica, raw(b"GET " + target + b" HTTP/1.1", b"Host: a", b"Connection: close"))
            assert told["url"] == target[:kept].decode()
            assert ("truncated" in told) == (length > 8000)


def test_commands_with_a_long_path(shared_replica: Replica) -> None:
    """They are commands, too."""
    for path, status in (("/echo", 200), ("/anything", 200), ("/status", 400), ("/delay", 400), ("/burn", 400)):
        for length in (240, 250, 251, 256, 257, 5000):
            assert ask(shared_replica, f"{path}/" + "x" * length)[0] == status
    assert ask(shared_replica, "/" + "p" * 300)[1]["Content-Type"] == "text/html; charset=utf-8"


def test_many_fields_are_cut_off(shared_replica: Replica) -> None:
    told = echo(shared_replica, raw(b"GET /echo HTTP/1.1", b"Host: a", b"Connection: close", *[b"a:"] * 1000))
    assert told["truncated"] is True
    assert told["headers"]["a"] == [""] * 254


def test_what_grows_when_it_is_escaped_is_cut_off(shared_replica: Replica) -> None:
    for value in b'"' * 7000, b"\xff" * 7000, b"\t".join([b"x"] * 3500):
        told = echo(shared_replica, raw(b"GET /echo HTTP/1.1", b"Connection: close", b"Host: a", b"X: " + value))
        assert told["headers"]["Host"] == ["a"]
        assert ("truncated" in told) != ("X" in told["headers"])
    target = b"/echo?" + b"\xff" * 8000
    told = echo(shared_replica, raw(b"GET " + target + b" HTTP/1.1", b"Host: a", b"Connection: close"))
    assert told["truncated"] is True


def test_what_is_not_utf_8_is_replaced(shared_replica: Replica) -> None:
    told = echo(
        shared_replica, raw(b"GET /echo HTTP/1.1", b"Host: a", b"X: \xc3\xa9\xff\xe2\x82", b"Connection: close")
    )
    assert told["headers"]["X"] == ["é���"]
    answer = shared_replica.ask(raw(b"GET /echo?format=text HTTP/1.1", b"Host: a", b"X: \xff", b"Connection: close"))
    assert b"\nX: \xff\n" in answer


def test_an_upload_is_counted(shared_replica: Replica) -> None:
    for length in (1, 4096, 300000):
        request = raw(b"PUT /echo HTTP/1.1", b"Host: a", b"Connection: close", b"Content-Length: %d" % length)
        assert echo(shared_replica, request + b"x" * length)["bodyLength"] == length


def test_ipv6(start: Start) -> None:
    replica = start("--host", "::1")
    with replica.connect("::1") as client:
        client.sendall(raw(b"GET /echo HTTP/1.1", b"Host: [::1]", b"Connection: close"))
        port = client.getsockname()[1]
        told = json.loads(body_of(read_all(client)))
    assert (told["remoteAddr"], told["localAddr"]) == (f"[::1]:{port}", f"[::1]:{replica.port}")


def test_too_many_at_once(start: Start) -> None:
    """A worker has a limited number of places for heads; more are told so, and all places come back."""
    replica = start("--workers", "1")
    for _ in range(2):
        clients = [replica.connect() for _ in range(520)]
        try:
            for client in clients:
                client.sendall(b"GET /echo HTTP/1.1\r\n")
            wait_until(lambda: metrics(replica)["yinyang_connections_open",] == 521)
            status, _, body = ask(replica, "/echo")
            assert (status, body) == (503, b"503 Service Unavailable: too many requests are being echoed\n")
            for client in clients[:4]:
                client.sendall(b"Host: a\r\nConnection: close\r\n\r\n")
                assert read_all(client).startswith(b"HTTP/1.1 200 OK")
            assert ask(replica, "/echo")[0] == 200
        finally:
            for client in clients:
                client.close()
        wait_until(lambda: metrics(replica)["yinyang_connections_open",] == 1)
    assert replica.stop() == 0
