"""Bodies and what else a client sends: all of it is read, whatever its size, if it comes at a decent rate; and clients
that read their answers."""

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import GET, LAST, PAGE, PATIENCE, Replica, needs, read_all, receive_page, serving, wait_until
from proxies import NGINX_BEGIN, start_proxy

SIZES = [262_145, 400_000, 1_000_000, 5_000_000, 100_000_000]
PIECE = bytes(65536)
ANNOUNCED = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
EXPECTED = ANNOUNCED[:-2] + b"Expect: 100-continue\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def pieces(size: int) -> Iterator[bytes]:
    for begin in range(0, size, len(PIECE)):
        yield PIECE[: size - begin]


def send_body(client: socket.socket, size: int, chunked: bool) -> None:
    for piece in pieces(size):
        client.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
    if chunked:
        client.sendall(b"0\r\n\r\n")


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
@pytest.mark.parametrize("size", SIZES)
def test_a_body_of_any_size_is_skipped(size: int, chunked: bool, shared_replica: Replica) -> None:
    with shared_replica.connect() as client:
        client.sendall(CHUNKED if chunked else ANNOUNCED % size)
        send_body(client, size, chunked)
        answer = receive_page(client)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"Connection" not in answer
        client.sendall(LAST)
        assert read_all(client).endswith(PAGE)


@pytest.mark.parametrize("size", SIZES)
def test_a_client_may_wait_for_its_answer_before_it_sends_a_long_body(size: int, shared_replica: Replica) -> None:
    with shared_replica.connect() as client:
        client.sendall(ANNOUNCED % size)
        answer = receive_page(client)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"Connection" not in answer
        send_body(client, size, chunked=False)
        client.sendall(GET + LAST)
        received = read_all(client)
        assert received.count(PAGE) == 2
        assert received.count(b"HTTP/1.1 200 ") == 2


@pytest.mark.parametrize("before", [b"", GET], ids=["first", "pipelined"])
@pytest.mark.parametrize("size", SIZES)
def test_a_long_body_is_asked_for(size: int, before: bytes, shared_replica: Replica) -> None:
    with shared_replica.connect() as client:
        client.sendall(before + EXPECTED % size)
        asked = b""
        while not asked.endswith(b"Continue\r\n\r\n"):
            asked += client.recv(4096)
        assert asked.count(b"HTTP/1.1 ") == 1 + bool(before)
        send_body(client, size, chunked=False)
        answer = receive_page(client)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"Connection" not in answer
        client.sendall(LAST)
        assert read_all(client).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "request_", [EXPECTED % 1_000_000 + b"a", EXPECTED.replace(b"1.1", b"1.0") % 1_000_000], ids=["sent", "1.0"]
)
def test_a_body_is_not_asked_for_in_vain(request_: bytes, shared_replica: Replica) -> None:
    with shared_replica.connect() as client:
        client.sendall(request_)
        send_body(client, 1_000_000 - request_.endswith(b"a"), chunked=False)
        assert receive_page(client).startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 "))


def test_a_short_body_is_not_asked_for(shared_replica: Replica) -> None:
    with shared_replica.connect() as client:
        client.sendall(EXPECTED % 262_144)
        answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close\r\n" in answer


def test_a_client_of_http_1_0_may_wait_for_its_answer_too(shared_replica: Replica) -> None:
    with shared_replica.connect() as client:
        client.sendall(b"POST / HTTP/1.0\r\nContent-Length: 1000000\r\n\r\n")
        answer = receive_page(client)
        send_body(client, 1_000_000, chunked=False)
        assert answer.startswith(b"HTTP/1.0 200 ")
        assert read_all(client) == b""


def test_a_client_that_has_its_answer_and_sends_no_body_is_ended(start: Callable[..., Replica]) -> None:
    replica = start("--body-timeout", "2")
    with replica.connect() as client:
        client.sendall(ANNOUNCED % 1_000_000)
        assert read_all(client).endswith(PAGE)


@pytest.mark.contained
@pytest.mark.parametrize("size", [1_000_000, 3_000_000, 100_000_000])
@pytest.mark.parametrize(
    ("status", "begin"),
    [
        (b"400", b"GET / HTTP/1.1\r\nHost: {\r\n"),
        (b"400", CHUNKED + b"bad\r\n"),
        (b"414", b"GET /" + b"a" * 17_000),
        (b"417", ANNOUNCED[:-4] % 100_000_000 + b"\r\nExpect: a-pony\r\n\r\n"),
        (b"431", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 66_000),
        (b"501", b"BREW" + ANNOUNCED[4:] % 100_000_000),
    ],
    ids=["host", "chunk", "target", "expectation", "head", "method"],
)
def test_an_error_is_read_by_a_client_that_sends_all_the_same(
    status: bytes, begin: bytes, size: int, shared_replica: Replica
) -> None:
    with shared_replica.connect() as client:
        client.sendall(begin)
        for piece in pieces(size):
            client.sendall(piece)
        assert read_all(client).startswith(b"HTTP/1.1 " + status)


@pytest.mark.contained
@pytest.mark.parametrize("begin", [b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", b"POST / HTTP/1.0\r\n"])
@pytest.mark.parametrize("size", [5, 100_000])
@pytest.mark.parametrize("more", [b"\r\n", GET * 3, bytes(1_000_000)], ids=["empty line", "requests", "much"])
@pytest.mark.parametrize("when", ["at once", "after the answer"])
def test_no_end_is_a_reset(begin: bytes, size: int, more: bytes, when: str, shared_replica: Replica) -> None:
    request = begin + b"Content-Length: %d\r\n\r\n" % size + bytes(size)
    for _ in range(10):
        with shared_replica.connect() as client:
            if when == "at once":
                client.sendall(request + more)
                assert read_all(client).count(PAGE) == 1
            else:
                client.sendall(request)
                assert receive_page(client).endswith(PAGE)
                client.sendall(more)
                assert client.recv(1) == b""
                client.sendall(more)


def test_a_client_that_says_close_may_have_pipelined_more(shared_replica: Replica) -> None:
    for cut in range(1, len(LAST)):
        with shared_replica.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sendall(LAST[:cut])
            client.sendall(LAST[cut:] + GET)
            assert read_all(client).count(PAGE) == 1


# ---- rates ---------------------------------------------------------------------------------------------------------


def drip(client: socket.socket, piece: bytes, seconds: float) -> None:
    """Send a piece every tenth of a second."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        client.sendall(piece)
        time.sleep(0.1)


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_a_body_may_take_any_time_at_a_decent_rate(chunked: bool, start: Callable[..., Replica]) -> None:
    replica = start("--body-timeout", "2")
    with replica.connect() as client:
        client.sendall(CHUNKED if chunked else ANNOUNCED % 1_000_000)
        begin = time.monotonic()
        sent = 0
        while time.monotonic() < begin + 6:
            client.sendall(b"3e8\r\n" + bytes(1000) + b"\r\n" if chunked else bytes(1000))
            sent += 1000
            time.sleep(0.1)
        client.sendall(b"0\r\n\r\n" if chunked else bytes(1_000_000 - sent))
        client.sendall(LAST)
        assert read_all(client).count(PAGE) == 2


@pytest.mark.parametrize("begin", [CHUNKED, ANNOUNCED % 1000, ANNOUNCED % 1_000_000], ids=["chunked", "short", "long"])
def test_a_body_that_comes_too_slowly_is_given_up(begin: bytes, start: Callable[..., Replica]) -> None:
    replica = start("--body-timeout", "1")
    piece = b"1\r\nx\r\n" if begin == CHUNKED else b"x"
    with replica.connect() as client:
        client.sendall(begin + piece)
        client.settimeout(0.1)
        received = b""
        deadline = time.monotonic() + PATIENCE
        while not received and time.monotonic() < deadline:
            client.sendall(piece)
            with contextlib.suppress(TimeoutError):
                received = client.recv(4096)
        assert received.startswith(b"HTTP/1.1 408 ")


@pytest.mark.contained
def test_an_error_is_read_however_long_the_client_sends(start: Callable[..., Replica]) -> None:
    with start().connect() as client:
        client.sendall(b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n")
        drip(client, bytes(1000), 8)
        assert read_all(client).startswith(b"HTTP/1.1 501 ")


def test_nobody_lingers_for_ever(start: Callable[..., Replica]) -> None:
    """A client that sends single bytes after its last answer."""
    with start().connect() as client:
        client.sendall(b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 501 ")
        with pytest.raises(ConnectionError):
            drip(client, b"x", PATIENCE)


def sip(client: socket.socket) -> None:
    """Ask again and again, and read 1,000 bytes a second."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            while True:
                client.send(GET * 100)
        with contextlib.suppress(BlockingIOError):
            client.recv(100)
        time.sleep(0.1)


def test_a_slow_reader_is_ended(start: Callable[..., Replica]) -> None:
    """It takes some bytes of the answers that wait for it again and again, so it is never silent."""
    replica = start("--send-timeout", "2", "--idle-timeout", "600")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", replica.port))
        client.setblocking(False)
        with pytest.raises(ConnectionError):
            sip(client)


def test_a_client_that_reads_nothing_costs_little_of_the_kernels_memory(start: Callable[..., Replica]) -> None:
    replica = start("--workers", "1")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(replica.connect()) for _ in range(20)]
        for client in clients:
            client.setblocking(False)

        def send_all() -> bool:
            progress = False
            for client in clients:
                with contextlib.suppress(BlockingIOError):
                    progress = bool(client.send(GET * 1000)) or progress
            return not progress

        wait_until(send_all, "clients that can send no more")
        wait_until(send_all, "clients that can send no more")
        assert max(kernel_memory(replica.port)) < 500_000


def kernel_memory(port: int) -> list[int]:
    """Bytes of buffers that the kernel has for each connection of a server."""
    listed = subprocess.run([needs("ss"), "-tmnH", f"sport = :{port}"], check=True, capture_output=True, text=True)
    rows = re.findall(r"skmem:\(r(\d+),rb\d+,t(\d+),tb\d+,f(\d+),w(\d+),o(\d+),bl(\d+)", listed.stdout)
    return [sum(map(int, row)) for row in rows]


READY = b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"  # its answer is rendered for each request


@pytest.mark.contained
def test_rendered_answers_wait_for_those_who_do_not_read(start: Callable[..., Replica]) -> None:
    """Of some clients all are kept; there is no room for those of any number, and room again when they are gone."""
    replica = start("--workers", "1", "--send-timeout", "600")
    for _ in range(3):
        with contextlib.ExitStack() as stack:
            for _client in range(40):
                client = stack.enter_context(replica.connect())
                client.setblocking(False)
                with contextlib.suppress(OSError):
                    while True:
                        client.send(READY * 1000)
        with replica.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            count = 20_000
            requests = memoryview(READY * (count - 1) + LAST)
            sent = 0
            received = b""
            client.setblocking(False)
            deadline = time.monotonic() + PATIENCE
            while not received.endswith(PAGE) and time.monotonic() < deadline:
                with contextlib.suppress(BlockingIOError):
                    while sent < len(requests):
                        sent += client.send(requests[sent : sent + 65536])
                with contextlib.suppress(BlockingIOError):
                    received += client.recv(65536)
            assert received.count(b"HTTP/1.1 200 ") == count


# ---- through proxies -----------------------------------------------------------------------------------------------

NGINX = (
    "user root;"  # if it is: then it may write into a folder of root's
    + NGINX_BEGIN
    + """
    access_log off;
    upstream replicas {{
        {servers}
        {keepalive}
    }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 0;
        location / {{
            proxy_pass http://replicas;
            proxy_next_upstream off;
            {location}
        }}
    }}
}}
"""
)
HAPROXY = """
defaults
    mode http
    retries 0
    timeout connect 20s
    timeout client 20s
    timeout server 20s
frontend clients
    bind fd@{listener}
    default_backend replicas
backend replicas
    http-reuse always
    default-server observe layer7 error-limit 1 on-error mark-down check inter 60s
    {servers}
"""
KEEP = 'proxy_http_version 1.1; proxy_set_header Connection "";'
UNBUFFERED = KEEP + "proxy_request_buffering off;"
PROXIES = {
    "nginx-1.0": ("nginx", NGINX, {"keepalive": "", "location": "proxy_http_version 1.0;"}),
    "nginx": ("nginx", NGINX, {"keepalive": "keepalive 8;", "location": KEEP}),
    "nginx-unbuffered": ("nginx", NGINX, {"keepalive": "keepalive 8;", "location": UNBUFFERED}),
    "haproxy": ("haproxy", HAPROXY, {}),
}


@pytest.mark.proxies
@pytest.mark.parametrize("proxy", PROXIES)
def test_uploads_through_proxies(proxy: str, shape: object, tmp_path: Path) -> None:
    """None fails, and no replica is taken for dead: the next request would fail, as there is no other try."""
    tool, template, given = PROXIES[proxy]
    needs(tool)
    with contextlib.ExitStack() as stack:
        replicas = [stack.enter_context(serving(shape, tmp_path / f"log-{number}")) for number in range(2)]
        if tool == "nginx":
            servers = "".join(f"server 127.0.0.1:{one.port} max_fails=1 fail_timeout=600s;" for one in replicas)
        else:
            servers = "\n    ".join(f"server r{one.port} 127.0.0.1:{one.port}" for one in replicas)
        folder = tmp_path / "proxy"
        folder.mkdir()
        process, port = start_proxy(
            tool, template, folder, stack.enter_context((tmp_path / "out").open("wb")), servers=servers, **given
        )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        for size in (400_000, 1_000_000, 2_000_000, 5_000_000, 100_000_000):
            for chunked in False, True:
                for _ in range(1 if size > 5_000_000 else 6):
                    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                        client.sendall(CHUNKED if chunked else ANNOUNCED % size)
                        send_body(client, size, chunked)
                        assert receive_page(client).startswith(b"HTTP/1.1 200 ")
                        client.sendall(LAST)
                        assert read_all(client).endswith(PAGE)
        if tool == "nginx":
            assert "upstream" not in (folder / "errors").read_text()
