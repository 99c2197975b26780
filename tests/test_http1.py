"""Requests on the wire: what is answered, however the bytes are cut."""

import contextlib
import ctypes
import html
import itertools
import json
import mmap
import re
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from conftest import GET, PAGE, PATIENCE, Replica, Shape, naming, read_all, serving, wait_until

import yinyang

ROWS = json.loads((Path(__file__).parent / "vectors" / "requests.json").read_text())
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
ICON = b"GET /favicon.ico HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
DATE = rb"Date: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n"


def bytes_of(row: dict) -> bytes:
    return b"".join(text.encode("latin-1") * count for text, count in row["send"])


def expected(row: dict) -> list[tuple[int, bool]]:
    """[(status, stays open), ...] of a row such as `200K+400C` or `200K x2`."""
    found = []
    for part in row["expect"].split("+"):
        status, keep, count = re.fullmatch(r"(\d{3})([KC])(?: x(\d+))?", part.strip()).groups()
        found += [(int(status), keep == "K")] * int(count or 1)
    return found


def framed(row: dict, cuts: Iterable[int]) -> list[tuple[int, bool]]:
    """What the framing makes of a row that is cut into pieces at these places."""
    framing = yinyang._core.Parser()
    data = bytes_of(row)
    found = []
    for begin, end in itertools.pairwise([0, *cuts, len(data)]):
        for outcome in framing.feed(data[begin:end]):
            unclean = outcome[0] == 200 and outcome[7]
            found.append((301 if unclean else outcome[0], outcome[1]))
    if row.get("half_close") and (wrong := framing.end()):
        found.append(wrong[:2])
    return found


class Answers:
    """The answers that come on a connection, one by one."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.received = b""
        self.version = b""

    def more(self) -> bool:
        piece = self.client.recv(65536)
        self.received += piece
        return bool(piece)

    def next(self, to_head: bool = False) -> tuple[int, dict[bytes, bytes], bytes]:
        while b"\r\n\r\n" not in self.received:
            assert self.more(), f"ended within a head: {self.received!r}"
        head, self.received = self.received.split(b"\r\n\r\n", 1)
        line, *fields = head.split(b"\r\n")
        headers = dict(field.split(b": ", 1) for field in fields)
        length = 0 if to_head else int(headers[b"Content-Length"])
        while len(self.received) < length:
            assert self.more(), "ended within a body"
        body, self.received = self.received[:length], self.received[length:]
        self.version, status, _ = line.split(b" ", 2)
        return int(status), headers, body


SLOW = [row for row in ROWS if row["expect"].startswith("408")]
QUICK = [row for row in ROWS if row not in SLOW]


def of_each_family(rows: Iterable[dict]) -> pytest.MarkDecorator:
    """A test for each family of these rows, V7.0 to V7.4 being one. pytest-xdist takes 7 ms of CPU for a test, which is
    more than most rows take."""
    families: dict[str, list[dict]] = {}
    for row in rows:
        families.setdefault(row["id"].partition(".")[0], []).append(row)
    return pytest.mark.parametrize("rows", families.values(), ids=families)


@of_each_family(ROWS)
@pytest.mark.parametrize("size", [1 << 20, 1, 7], ids=["whole", "bytes", "sevens"])
def test_framing_of_each_vector(rows: list[dict], size: int) -> None:
    for row in rows:
        cuts = range(size, len(bytes_of(row)), size)
        assert framed(row, cuts) == ([] if row in SLOW else expected(row)), row["id"]


@of_each_family(ROWS)
def test_framing_of_each_cut(rows: list[dict]) -> None:
    for row in rows:
        for cut in cuts_of(bytes_of(row), 4096):
            assert framed(row, [cut]) == ([] if row in SLOW else expected(row)), (row["id"], cut)


@pytest.mark.contained
@of_each_family(QUICK)
def test_answers_to_each_vector(rows: list[dict], shared_replica: Replica) -> None:
    for row in rows:
        with naming(row["id"]):
            check_answers(row, shared_replica, len(bytes_of(row)))


@pytest.fixture(scope="session")
def plain_replica(shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """One that does what the original did."""
    with serving(shape, tmp_path_factory.mktemp("plain") / "log", "--plain") as replica:
        yield replica


@of_each_family(QUICK)
def test_answers_of_a_plain_server_to_each_vector(rows: list[dict], plain_replica: Replica) -> None:
    for row in rows:
        with naming(row["id"]):
            check_answers(row, plain_replica, len(bytes_of(row)))


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "target",
    [
        *(
            "/",
            "/echo",
            "/headers",
            "/anything/x?y",
            "/status/503",
            "/delay/1",
            "/burn/1",
            "/whoami",
            "/metrics",
            "/readyz",
        ),
        *(
            "/?fail=100&latency=1s",
            "/ready",
            "/health",
            "/livez",
            "/wall",
            "/fault_injection/status",
            "/readyz/disable",
        ),
    ],
)
def test_a_plain_server_has_the_page_alone(method: str, target: str, plain_replica: Replica) -> None:
    """With the fields of the original, and no other ones."""
    answer = plain_replica.ask(f"{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    fields = rb"Content-Length: %d\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n\r\n" % len(PAGE)
    assert re.fullmatch(rb"HTTP/1\.1 200 OK\r\n%b%b%b" % (DATE, fields, re.escape(PAGE)), answer)


@of_each_family(row for row in QUICK if len(bytes_of(row)) < 2000)
def test_answers_to_bytes_one_by_one(rows: list[dict], shared_replica: Replica) -> None:
    for row in rows:
        with naming(row["id"]):
            check_answers(row, shared_replica, 1)


@of_each_family(row for row in QUICK if not row.get("half_close"))
def test_answers_to_each_vector_and_one_more_request(rows: list[dict], shared_replica: Replica) -> None:
    """In the same write; it is answered if the connection stays open, and only then."""
    for row in rows:
        with naming(row["id"]), shared_replica.connect() as client:
            with contextlib.suppress(ConnectionError):
                client.sendall(bytes_of(row) + LAST)
            read_answers(row, client, last=True)


@of_each_family(QUICK)
def test_answers_to_each_cut(rows: list[dict], lone_replica: Replica) -> None:
    """In two segments, which the server sees one by one: between them, it has answered somebody else."""
    for row in rows:
        with naming(row["id"]), contextlib.ExitStack() as stack:
            data = bytes_of(row)
            clients = [(stack.enter_context(lone_replica.connect()), cut) for cut in cuts_of(data, 400)]
            for client, cut in clients:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with contextlib.suppress(ConnectionError):
                    client.sendall(data[:cut])
            for _ in range(2):  # it takes events in turn, so what came before has been seen
                assert PAGE in lone_replica.ask(LAST)
            for client, cut in clients:
                with contextlib.suppress(ConnectionError):
                    client.sendall(data[cut:])
                if row.get("half_close"):
                    with contextlib.suppress(OSError):
                        client.shutdown(socket.SHUT_WR)
            for client, _ in clients:
                read_answers(row, client)


def test_what_comes_too_slowly(start: Callable[..., Replica]) -> None:
    """All rows that wait for a deadline, at once."""
    replica = start("--head-timeout", "1", "--body-timeout", "1")
    with contextlib.ExitStack() as stack:
        begin = time.monotonic()
        clients = [(row, stack.enter_context(replica.connect())) for row in SLOW]
        for row, client in clients:
            client.sendall(bytes_of(row))
        for row, client in clients:
            answers = Answers(client)
            status, headers, body = answers.next(bytes_of(row).startswith(b"HEAD"))
            assert (status, headers[b"Connection"]) == (408, b"close"), row["id"]
            assert body.startswith(b"408 Request Timeout: the "), row["id"]
            assert not answers.more(), row["id"]
        assert time.monotonic() - begin >= 0.9


def test_idle_connections_are_ended(start: Callable[..., Replica]) -> None:
    replica = start("--idle-timeout", "2", "--head-timeout", "600")
    with replica.connect() as silent, replica.connect() as busy:
        busy.sendall(GET)
        assert Answers(busy).next()[0] == 200
        assert silent.recv(1) == b""
        assert busy.recv(1) == b""


@pytest.mark.contained
def test_a_client_that_reads_nothing_is_ended(start: Callable[..., Replica]) -> None:
    replica = start("--send-timeout", "1", "--idle-timeout", "600")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", replica.port))
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                client.send(GET * 1000)

        def is_reset() -> bool:
            try:
                client.send(b"G")
            except BlockingIOError:
                return False
            except ConnectionError:
                return True
            return False

        wait_until(is_reset, "the end of a connection that is not read")


def test_no_descriptor_is_left(start: Callable[..., Replica]) -> None:
    """However a connection ends: reset after each of the requests, or after the first bytes of its answer."""
    replica = start("--workers", "1")
    folder = Path(f"/proc/{replica.workers()[0]}/fd")
    assert PAGE in replica.ask(LAST)
    before = sorted(folder.iterdir())
    for read in 0, 10:
        for row in ROWS:
            with replica.connect() as client, contextlib.suppress(ConnectionError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall(bytes_of(row))
                if read and row in QUICK and not row.get("half_close"):
                    client.recv(read)
    assert PAGE in replica.ask(LAST)
    wait_until(lambda: sorted(folder.iterdir()) == before, "the descriptors that there were before")


def test_input_that_ends_at_an_unreadable_page() -> None:
    """Nothing behind the last byte is looked at, not even by whole vectors; this process would not survive it."""
    size = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * size)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(address + size), ctypes.c_size_t(size), 0) == 0
    try:
        for row in ROWS:
            framing = yinyang._core.Parser()
            data = bytes_of(row)
            found = []
            for at in range(0, len(data), size):
                piece = data[at : at + size]
                memory[size - len(piece) : size] = piece
                found += framing.feed(memoryview(memory)[size - len(piece) : size])
            assert [outcome[1] for outcome in found] == [keeps for _, keeps in framed(row, [])][: len(found)]
    finally:
        assert libc.mprotect(ctypes.c_void_p(address + size), ctypes.c_size_t(size), mmap.PROT_READ) == 0


def cuts_of(data: bytes, most: int) -> list[int]:
    """Every place to cut the bytes in two; of long ones some, and all near the end."""
    if len(data) <= most:
        return list(range(1, len(data)))
    return sorted({*range(1, len(data), len(data) // 60), *range(1, 20), *range(len(data) - 20, len(data))})


def check_answers(row: dict, replica: Replica, size: int) -> None:
    data = bytes_of(row)
    with replica.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(data), size):
            try:
                client.sendall(data[at : at + size])
            except ConnectionError:  # it has answered and is gone, before the end of what is too long
                break
        if row.get("half_close"):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
        read_answers(row, client)


def read_answers(row: dict, client: socket.socket, last: bool = False) -> None:
    """Check that what comes is what is due, and nothing else; `last` was sent already, or is if one may follow."""
    to_head = bytes_of(row).startswith(b"HEAD")
    answers = Answers(client)
    for status, keeps in expected(row):
        found, headers, _ = answers.next(to_head)
        old = answers.version == b"HTTP/1.0"
        says_keep = headers.get(b"Connection") == b"keep-alive" if old else headers.get(b"Connection") != b"close"
        assert (found, says_keep) == (status, keeps)
    if keeps:
        if not last:
            client.sendall(b"\r\n" + LAST)
        assert answers.next()[0] == 200
    with contextlib.suppress(ConnectionResetError):  # what came after the last answer was not read
        assert not answers.more()


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (
            GET,
            rb"HTTP/1\.1 200 OK\r\n%bContent-Length: 390\r\nContent-Type: text/html; charset=utf-8\r\n\r\n(?s:.{390})",
        ),
        (HEAD, rb"HTTP/1\.1 200 OK\r\n%bContent-Length: 390\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"),
        (
            LAST,
            rb"HTTP/1\.1 200 OK\r\n%bContent-Length: 390\r\nContent-Type: text/html; charset=utf-8\r\n"
            rb"Connection: close\r\n\r\n(?s:.{390})",
        ),
        (
            b"GET / HTTP/1.0\r\n\r\n",
            rb"HTTP/1\.0 200 OK\r\n%bContent-Length: 390\r\nContent-Type: text/html; charset=utf-8\r\n\r\n(?s:.{390})",
        ),
        (
            b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
            rb"HTTP/1\.0 200 OK\r\n%bContent-Length: 390\r\nContent-Type: text/html; charset=utf-8\r\n"
            rb"Connection: keep-alive\r\n\r\n(?s:.{390})",
        ),
        (ICON, rb"HTTP/1\.1 200 OK\r\n%bContent-Length: 0\r\n\r\n"),
        (b"OPTIONS * HTTP/1.0\r\n\r\n", rb"HTTP/1\.0 200 OK\r\n%bContent-Length: 0\r\n\r\n"),
        (
            b"GET //a/../b//c/.?d=//&e HTTP/1.1\r\nHost: a\r\n\r\n",
            rb"HTTP/1\.1 301 Moved Permanently\r\nContent-Type: text/html; charset=utf-8\r\nLocation: /b/c\?d=//&e\r\n"
            rb'%bContent-Length: 50\r\n\r\n<a href="/b/c\?d=//&amp;e">Moved Permanently</a>\.\n\n',
        ),
        (
            b'HEAD //a"<b>/[\xc3\xa9]%41?"%zz%4&%%41 HTTP/1.1\r\nHost: a\r\n\r\n',
            rb"HTTP/1\.1 301 Moved Permanently\r\nContent-Type: text/html; charset=utf-8\r\n"
            rb"Location: /a%%22%%3Cb%%3E/%%5B%%C3%%A9%%5D%%41\?%%22%%25zz%%254&%%25%%41\r\n%b"
            rb"Content-Length: \d+\r\n\r\n",
        ),
        (
            b"HEAD //\\evil HTTP/1.1\r\nHost: a\r\n\r\n",
            rb"HTTP/1\.1 301 Moved Permanently\r\nContent-Type: text/html; charset=utf-8\r\nLocation: /%%5Cevil\r\n%b"
            rb"Content-Length: \d+\r\n\r\n",
        ),
        (
            b"TRACE / HTTP/1.1\r\n\r\n",
            rb"HTTP/1\.1 405 Method Not Allowed\r\n%bContent-Length: \d+\r\nContent-Type: text/plain; charset=utf-8\r\n"
            rb"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\nConnection: close\r\n\r\n405 Method .*\n",
        ),
        (
            b"HEAD / HTTP/1.1\r\n\r\n",
            rb"HTTP/1\.1 400 Bad Request\r\n%bContent-Length: \d+\r\nContent-Type: text/plain; charset=utf-8\r\n"
            rb"Connection: close\r\n\r\n",
        ),
    ],
)
def test_bytes_of_the_answer(request_: bytes, answer: bytes, shared_replica: Replica) -> None:
    received = shared_replica.ask(request_, half_close=True)
    assert re.fullmatch(answer % DATE, received), received


def test_location_is_a_uri_reference(shared_replica: Replica) -> None:
    """Whatever bytes the target has, Location has those of a path and a query only, and stands for the same bytes."""
    byte = rb"[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2}"  # RFC 3986 section 3.3, and a slash
    other_bytes = bytes(byte for byte in range(0x21, 0x100) if byte not in b"#%/.?\x7f")
    for target in (
        b"//" + other_bytes,
        b"//x?" + other_bytes,
        b"//" + b"\\" * 254,
        b"//" + b"'" * 127 + b"?" + b"'" * 126,
        b"//\xe3\x80\x82?%",
        b"//%2e%2e?//evil.example",
    ):
        received = shared_replica.ask(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        head, _, body = received.partition(b"\r\n\r\n")
        location = re.search(rb"\r\nLocation: (.*)\r\n", head)[1]
        assert re.fullmatch(rb"/(?!/)(%b)*(\?(%b|\?)*)?" % (byte, byte), location), location
        assert unquote_to_bytes(location) == unquote_to_bytes(target[1:])
        assert int(re.search(rb"Content-Length: (\d+)", head)[1]) == len(body)
        link = re.fullmatch(rb'<a href="([^"<>]*)">Moved Permanently</a>\.\n\n', body)[1]
        assert html.unescape(link.decode()) == location.decode()


WORDS = {
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": b"HTTP/2",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n": b"PROXY protocol",
    b"PROXY UNKNOWN\r\n": b"PROXY protocol",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c": b"PROXY protocol",
    b"\x16\x03\x01\x02\0": b"TLS",
    b"SSH-2.0-OpenSSH_9.6\r\n": b"SSH",
    b"\x05\x01\0": b"SOCKS",
    b"GET /\r\n": b"HTTP/0.9",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=[\r\n": b"chunk extension",
    b"GET / HTTP/1.1\r\nHost: [zz]\r\n": b"Host",
    b"GET http://[zz]/ HTTP/1.1\r\n": b"address in the target",
}


@pytest.mark.parametrize("sent", WORDS)
def test_words_name_what_is_wrong(sent: bytes, shared_replica: Replica) -> None:
    status, _, body = shared_replica.ask(sent).partition(b"\r\n")
    assert status == b"HTTP/1.1 400 Bad Request"
    assert WORDS[sent] in body.rpartition(b"\r\n\r\n")[2]


@pytest.mark.contained
def test_date_is_now(shared_replica: Replica) -> None:
    with shared_replica.connect() as client:
        answers = Answers(client)
        for _ in range(30):
            before = datetime.now(UTC).replace(microsecond=0)
            client.sendall(GET)
            date = parsedate_to_datetime(answers.next()[1][b"Date"].decode())
            assert before - timedelta(seconds=1) <= date <= datetime.now(UTC)
            time.sleep(0.05)


@pytest.mark.contained
@pytest.mark.parametrize("receive_buffer", [None, 2048])
def test_pipelined_requests_are_answered_in_order(receive_buffer: int | None, shared_replica: Replica) -> None:
    kinds = [(GET, PAGE, False), (HEAD, b"", True), (ICON, b"", False), (b"GET //x" + GET[5:], None, False)]
    plan = [kinds[(i * i + i // 7) % 4] for i in range(1000)]
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(PATIENCE)
    with client:
        client.connect(("127.0.0.1", shared_replica.port))
        client.sendall(b"".join(request for request, _, _ in plan))
        answers = Answers(client)
        for number, (request, body, to_head) in enumerate(plan):
            if receive_buffer and number % 100 == 0:
                time.sleep(0.01)
            status, headers, found = answers.next(to_head)
            if body is None:
                assert status == 301 or found == PAGE, number
            else:
                assert (status, found) == (200, body), number
                assert (b"Content-Type" in headers) == (request is not ICON), number
        client.shutdown(socket.SHUT_WR)
        assert not answers.more()


@pytest.mark.parametrize("padding", [0, 200])
def test_pipelined_redirects_each_have_their_own_location(padding: int, shared_replica: Replica) -> None:
    paths = [f"/{number}{'x' * (padding + number % 3)}" for number in range(60)]
    with shared_replica.connect() as client:
        client.sendall(b"".join(f"GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for path in paths))
        answers = Answers(client)
        for path in paths:
            status, headers, found = answers.next()
            assert (status, headers[b"Location"]) == (301, path.encode())
            assert path.encode() in found


@pytest.mark.contained
def test_slow_reader_gets_every_byte(shared_replica: Replica) -> None:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.settimeout(PATIENCE)
    count = 20000
    with client:
        client.connect(("127.0.0.1", shared_replica.port))
        requests = memoryview(GET * (count - 1) + LAST)
        client.setblocking(False)
        sent = received = pages = 0
        tail = b""
        deadline = time.monotonic() + 3 * PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                sent += client.send(requests[sent : sent + 65536])
            try:
                piece = client.recv(3000)
            except BlockingIOError:
                continue
            if not piece:
                break
            received += len(piece)
            whole = tail + piece
            pages += whole.count(PAGE)
            tail = whole[-(len(PAGE) - 1) :]
        assert pages == count
        assert sent == len(requests)


@pytest.mark.parametrize("length", [1, 4095, 4096, 65536, 262144])
def test_body_is_skipped(length: int, shared_replica: Replica) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length
    with shared_replica.connect() as client:
        client.sendall(head + bytes(length) + LAST)
        answers = Answers(client)
        assert [answers.next()[2] for _ in range(2)] == [PAGE, PAGE]
        assert not answers.more()


def test_chunked_body_is_skipped(shared_replica: Replica) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = (
        b"".join(b"%x;n=v\r\n%b\r\n" % (size, bytes(size)) for size in (1, 15, 16, 4096, 70000)) + b"0\r\nA: b\r\n\r\n"
    )
    with shared_replica.connect() as client:
        client.sendall(head + body + LAST)
        answers = Answers(client)
        assert [answers.next()[2] for _ in range(2)] == [PAGE, PAGE]


@pytest.mark.contained
def test_half_closed_client_gets_its_answers(shared_replica: Replica) -> None:
    assert shared_replica.ask(GET * 3, half_close=True).count(PAGE) == 3


@pytest.mark.contained
def test_error_is_readable_while_the_client_still_sends(shared_replica: Replica) -> None:
    with shared_replica.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: {\r\n" + b"x" * 100_000)
        assert read_all(client).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_what_is_asked_again_is_answered_again(lone_replica: Replica) -> None:
    """The worker knows the last request again: as a whole, wherever it is cut, and nothing that only begins like it."""
    same = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
    asked = [
        *[(same, 200)] * 3,
        (b"HEAD" + same[3:], 200),
        *[(same, 200)] * 2,
        (same[:-2] + b"Content-Length: 3\r\n\r\nabc", 200),
        (same[:-2] + b"Content-Length: 3\r\n\r\nabd", 200),
        (b"\r\n" + same, 200),
        *[(same, 200)] * 2,
        (same.replace(b"/a", b"//"), 301),
        *[(same, 200)] * 2,
        (same[:-4] + b"b\r\n\r\n", 200),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200),
        (same[:-4] + b" b\r\n\r\n", 400),
    ]
    sent = b"".join(request for request, _ in asked)
    for size in (len(sent), 1, 7, len(same) - 1, len(same), len(same) + 1):
        with lone_replica.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for begin in range(0, len(sent), size):
                client.sendall(sent[begin : begin + size])
            received = read_all(client)
        statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", received)]
        assert statuses == [status for _, status in asked]
        assert received.count(b"</svg>") == len(asked) - 3  # HEAD, 301 and 400 have none


def test_the_last_request_is_known_again_on_another_connection(lone_replica: Replica) -> None:
    last = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    before = pages(lone_replica)
    for _ in range(3):
        assert lone_replica.ask(last).endswith(b"</html>")
        assert lone_replica.ask(last + last).count(b"</html>") == 1
        assert lone_replica.ask(last.replace(b"1.1", b"1.0")).startswith(b"HTTP/1.0 200 ")
    assert pages(lone_replica) == before + 9


def pages(replica: Replica) -> int:
    """Served ever."""
    return int(re.search(rb"\r\nX-Pages: (\d+)", replica.ask(b"HEAD /whoami HTTP/1.0\r\n\r\n"))[1])
