"""Connections that begin with a header of the PROXY protocol."""

import ipaddress
import json
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
from conftest import Replica, Shape, naming, read_all, serving

Start = Callable[..., Replica]
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ECHO = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def replica(shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    with serving(shape, tmp_path_factory.mktemp("proxied") / "log", "--proxy-protocol", "--workers", "1") as replica:
        yield replica


def version_2(source: str, port: int, more: bytes = b"", command: int = 0x21) -> bytes:
    address = ipaddress.ip_address(source)
    other = ipaddress.ip_address("10.9.9.9" if address.version == 4 else "2001:db8::9")
    addresses = address.packed + other.packed + struct.pack("!HH", port, 80) + more
    return SIGNATURE + struct.pack("!BBH", command, 0x11 if address.version == 4 else 0x21, len(addresses)) + addresses


HEADERS = {
    b"PROXY TCP4 192.0.2.7 10.0.0.1 51234 80\r\n": "192.0.2.7:51234",
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": "255.255.255.255:65535",
    b"PROXY TCP6 2001:db8::7 ::1 51234 80\r\n": "[2001:db8::7]:51234",
    b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n": (
        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
    ),
    b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:10.0.0.1 1 2\r\n": "192.0.2.7:1",
    version_2("192.0.2.7", 51234): "192.0.2.7:51234",
    version_2("2001:db8::7", 1): "[2001:db8::7]:1",
    version_2("192.0.2.7", 2, more=b"\x04\x0f\xa0" + bytes(4000)): "192.0.2.7:2",
}
OWN = [  # the address of the connection counts
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
    SIGNATURE + b"\x20\0\0\0",
    SIGNATURE + b"\x20\x11\0\x0c" + bytes(12),
    SIGNATURE + b"\x21\0\0\0",
    SIGNATURE + b"\x21\x31\0\xd8" + bytes(216),  # a Unix socket
    SIGNATURE + b"\x21\x12\0\x0c" + bytes(12),  # UDP
]


def shown(value: bytes | int) -> str:
    return repr(value)[:60]


@pytest.mark.parametrize("header", [*HEADERS, *OWN], ids=shown)
@pytest.mark.parametrize("size", [1, 5, 16, 100, 65536])
def test_the_source_is_the_client(header: bytes, size: int, replica: Replica) -> None:
    request = header + ECHO
    with replica.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for begin in range(0, min(len(request), 400 * size), size):
            client.sendall(request[begin : begin + size])
        client.sendall(request[400 * size :])
        own = "{}:{}".format(*client.getsockname())
        answer = read_all(client)
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert told["remoteAddr"] == HEADERS.get(header, own)
    assert told["localAddr"] == f"127.0.0.1:{replica.port}"


def test_the_header_comes_once(replica: Replica) -> None:
    """Another one is a wrong request, as where two proxies in a row add one each, and its answer says so."""
    words = b"400 Bad Request: a connection has one PROXY header, and here came another one"
    for header in b"PROXY TCP4 192.0.2.7 10.0.0.1 51234 80\r\n", b"PROXY UNKNOWN\r\n", version_2("192.0.2.7", 51234):
        with naming(shown(header)):
            for between in b"", b"GET /hostname HTTP/1.1\r\nHost: a\r\n\r\n":
                answer = replica.ask(header + between + header + ECHO)
                assert answer.startswith(b"HTTP/1.1 200 OK" if between else b"HTTP/1.1 400 Bad Request")
                assert words in answer


@pytest.mark.parametrize(
    "begin",
    [
        *(
            ECHO,
            b"G",
            b"P",
            b"PUT / HTTP/1.1\r\n",
            b"proxy TCP4 ",
            b"\r\nGET /",
            b"\r\n\r\n\0\r\nQUIX",
            b"\x16\x03\x01",
            b"\0",
        ),
        *(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b" PROXY", b"POXY"),
    ],
    ids=shown,
)
def test_no_header(begin: bytes, replica: Replica) -> None:
    answer = replica.ask(begin, half_close=True)
    if begin == b"P":  # may become one
        assert answer == b""
    else:
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert answer.endswith(
            b"400 Bad Request: with --proxy-protocol each connection must begin with a PROXY header, "
            b"version 1 or 2, as a proxy sends it\n"
        )


@pytest.mark.parametrize(
    "header",
    [
        *(
            b"PROXY \r\n",
            b"PROXY TCP4\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        ),
        *(b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.256 1 2\r\n", b"PROXY TCP4 ::1 ::1 1 2\r\n"),
        *(
            b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 x 2\r\n",
        ),
        *(
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n",
            b"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        ),
        *(
            b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
            b"PROXY UNKNOWNX\r\n",
            b"PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
            b"PROXY \n",
        ),
        *(
            b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
            b"PROXY TCP4 1.2.3.4\x001.2.3.4 1 2\r\n",
            b"PROXY " + b" " * 90 + b"\r\n",
        ),
        *(
            b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
            SIGNATURE + b"\x21\x41\0\0",
            SIGNATURE + b"\x21\x13\0\0",
            SIGNATURE + b"\x11\x11\0\x0c" + bytes(12),
            SIGNATURE + b"\x22\x11\0\x0c" + bytes(12),
            SIGNATURE + b"\0\0\0\0",
        ),
        *(
            SIGNATURE + b"\x21\x11\0\x0b" + bytes(11),
            SIGNATURE + b"\x21\x21\0\x0c" + bytes(12),
            SIGNATURE + b"\x21\x11\xff\xff",
        ),
    ],
    ids=shown,
)
def test_a_wrong_header(header: bytes, replica: Replica) -> None:
    answer = replica.ask(header + ECHO, half_close=True)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"400 Bad Request: the PROXY header must be valid" in answer


def test_a_header_that_does_not_end(start: Start) -> None:
    replica = start("--proxy-protocol", "--head-timeout", "0.3", "--idle-timeout", "0.2")
    for begin in b"PROXY TCP4 1.2.3.4", SIGNATURE, SIGNATURE + b"\x21\x11\x10\x00" + bytes(1000):
        assert replica.ask(begin).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert replica.ask(b"") == b""


def test_without_the_option_a_header_is_wrong(shared_replica: Replica) -> None:
    for header in HEADERS:
        answer = shared_replica.ask(header + ECHO)
        assert b"400 Bad Request: this looks like a header of the PROXY protocol: start with --proxy-protocol" in answer


def test_a_health_check_brings_a_header(shape: Shape, start: Start) -> None:
    replica = start("--proxy-protocol")
    for variables in {}, {"YINYANG_PROXY_PROTOCOL": "on"}:
        done = shape.run("--healthcheck", "--host", "127.0.0.1", "--port", str(replica.port), **variables)
        assert done.returncode == (0 if variables else 1)
