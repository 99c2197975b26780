"""The server behind nginx and HAProxy: do they agree with it on where a request ends?

Request smuggling is a disagreement of two parsers. Between each proxy and the server stands a relay that records what
passes. What the proxy sent is framed here by a third parser, which knows the grammar and no leniency; every request
that it finds must have one answer, which is the answer to that request, and the proxy's log must name it. Rows that
wait for a deadline of the server are cut short: the client closes its side, and the proxy ends what it has begun.
"""

import contextlib
import re
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import PAGE, PATIENCE, Shape, naming, needs, wait_until
from proxies import NGINX_BEGIN, start_proxy
from test_http1 import ROWS, SLOW, bytes_of, expected, of_each_family

pytestmark = pytest.mark.proxies

LAST = b"GET /favicon.ico?last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"  # its answer is empty, unlike the page
FRESH = b"GET /fresh HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

NGINX = (
    NGINX_BEGIN
    + """
    log_format forwarded '$request_id $upstream_bytes_sent';
    access_log {folder}/access forwarded;
    client_body_buffer_size 1m;
    upstream replicas {{
        server 127.0.0.1:{upstream};
        keepalive 8;
    }}
    server {{
        listen 127.0.0.1:{port};
        {server}
        proxy_ignore_client_abort on;  # the tests' client closes its side when it has sent all
        location / {{
            {location}
            proxy_pass http://replicas;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Request-Id $request_id;
            add_header X-Request-Id $request_id always;
        }}
    }}
}}
"""
)
HAPROXY = """
global
    log stdout format raw daemon
    nbthread 1
defaults
    mode http
    log global
    log-format "%ID %Tc"
    timeout connect 20s
    timeout client 20s
    timeout server 20s
frontend clients
    bind fd@{listener}
    {frontend}
    unique-id-format %[uuid()]
    unique-id-header X-Request-Id
    http-response set-header X-Request-Id %[unique-id]
    default_backend replicas
backend replicas
    http-reuse always
    server replica 127.0.0.1:{upstream}
"""
PROXIES = {  # tool, configuration, and what is set in it: the usual, and what passes on the most
    "nginx": ("nginx", NGINX, {"server": "", "location": "proxy_set_header Host $host;"}),
    "nginx-lenient": (
        "nginx",
        NGINX,
        {
            "server": "ignore_invalid_headers off; underscores_in_headers on; merge_slashes off;",
            "location": "proxy_set_header Host $http_host; proxy_request_buffering off;",
        },
    ),
    "haproxy": ("haproxy", HAPROXY, {"frontend": ""}),
    "haproxy-lenient": ("haproxy", HAPROXY, {"frontend": "option accept-invalid-http-request"}),
}

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
REQUEST_HEAD = re.compile(
    rb"(?P<method>%b) (?P<target>[^\0-\x20\x7f]+) HTTP/1\.[01]\r\n"
    rb"(?P<fields>(?:%b:[^\0-\x08\n-\x1f\x7f]*\r\n)*)\r\n" % (TOKEN, TOKEN)
)
ANSWER_HEAD = re.compile(rb"HTTP/1\.[01] (?P<status>\d{3}) [^\r\n]*\r\n(?P<fields>(?:[^\r\n]+\r\n)*)\r\n")
CHUNK = re.compile(rb"(?P<size>[0-9A-Fa-f]{1,16})(?:;[^\0-\x08\n-\x1f\x7f]*)?\r\n")
TRAILER = re.compile(rb"(?:%b:[^\0-\x08\n-\x1f\x7f]*\r\n)*\r\n" % TOKEN)
ID = re.compile(rb"\r\nX-Request-Id: ([0-9a-f-]+)(?=\r\n)", re.IGNORECASE)


@dataclass
class Request:
    method: bytes
    target: bytes
    id: bytes


@dataclass
class Answer:
    status: int
    closes: bool
    page: bool
    body: bytes
    id: bytes | None


def fields_of(head: re.Match) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for line in head["fields"].split(b"\r\n")[:-1]:
        name, value = line.split(b":", 1)
        found.setdefault(name.lower(), []).append(value.strip(b" \t"))
    return found


def body_end(data: bytes, at: int, fields: dict[bytes, list[bytes]]) -> int | None:
    """Where the body of a request ends that begins at `at`; None if it is not there, or nobody could say."""
    codings, lengths = fields.get(b"transfer-encoding"), fields.get(b"content-length")
    if codings is None and lengths is None:
        return at
    if codings is None:
        whole = len(lengths) == 1 and re.fullmatch(rb"\d+", lengths[0]) and at + int(lengths[0]) <= len(data)
        return at + int(lengths[0]) if whole else None
    if lengths or [coding.lower() for coding in codings] != [b"chunked"]:
        return None
    while chunk := CHUNK.match(data, at):
        size = int(chunk["size"], 16)
        if size == 0:
            trailer = TRAILER.match(data, chunk.end())
            return trailer and trailer.end()
        at = chunk.end() + size + 2
        if data[at - 2 : at] != b"\r\n":
            return None
    return None


def frame_requests(data: bytes) -> tuple[list[Request], bytes]:
    """The requests of a connection, and what is no whole one at its end."""
    found, at = [], 0
    while head := REQUEST_HEAD.match(data, at):
        end = body_end(data, head.end(), fields_of(head))
        if end is None:
            break
        ids = ID.findall(head[0])
        assert len(ids) == 1, head[0]
        found.append(Request(head["method"], head["target"], ids[0]))
        at = end
    return found, data[at:]


def frame_answers(data: bytes, methods: list[bytes]) -> tuple[list[Answer], bytes]:
    """The final answers of a connection on which these methods were asked, and what is no whole one at its end."""
    found, at = [], 0
    while head := ANSWER_HEAD.match(data, at):
        fields = fields_of(head)
        end = head.end()
        if head["status"][:1] != b"1" and methods[len(found) : len(found) + 1] != [b"HEAD"]:
            end += int(fields[b"content-length"][0])
        if end > len(data):
            break
        if head["status"][:1] != b"1":
            status = int(head["status"])
            closes = b"close" in fields.get(b"connection", [])
            page = status == 200 and b"content-type" in fields
            id_ = fields.get(b"x-request-id", [None])[0]
            found.append(Answer(status, closes, page, data[head.end() : end], id_))
        at = end
    return found, data[at:]


# Requests, what is no whole one after them, answers, what is no whole one after them
Framed = tuple[list[Request], bytes, list[Answer], bytes]


class Hop:
    """A connection between proxy and server, and what passed on it since it was last looked at."""

    def __init__(self, proxy: socket.socket, server: socket.socket) -> None:
        self.ways = [(proxy, server, bytearray()), (server, proxy, bytearray())]
        self.ended = 0

    def framed(self) -> Framed:
        asked, answered = (bytes(record) for _, _, record in self.ways)
        requests, rest = frame_requests(asked)
        methods = [request.method for request in requests] + [rest.partition(b" ")[0]]
        return requests, rest, *frame_answers(answered, methods)

    def settled(self) -> bool:
        """Is nothing on its way?"""
        requests, rest, answers, torn = self.framed()
        return self.ended == 2 or (not rest and not torn and len(answers) >= len(requests))


class Relay:
    """Passes bytes between a proxy and the server, and records them before it does."""

    def __init__(self, server_port: int) -> None:
        self.hops: list[Hop] = []  # but those that ended and were taken
        self.opened = 0
        self._server = ("127.0.0.1", server_port)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.port = self._listener.getsockname()[1]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # stopped
            while True:
                proxy, _ = self._listener.accept()
                hop = Hop(proxy, socket.create_connection(self._server))
                self.hops.append(hop)
                self.opened += 1
                for way in hop.ways:
                    self._threads.append(threading.Thread(target=self._pass, args=(hop, *way)))
                    self._threads[-1].start()

    def _pass(self, hop: Hop, source: socket.socket, sink: socket.socket, record: bytearray) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := source.recv(65536):
                record += piece
                sink.sendall(piece)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        with self._lock:
            hop.ended += 1
            if hop.ended == 2:
                source.close()
                sink.close()

    def take(self) -> list[Framed]:
        """What passed since the last time, when all of it is settled."""
        hops = self.hops[:]
        try:
            wait_until(lambda: all(hop.settled() for hop in hops), "the end of what the proxy sends or the server owes")
            return [hop.framed() for hop in hops]
        finally:
            for hop in hops:
                if hop.ended == 2 or not hop.settled():
                    self.hops.remove(hop)
                for _, _, record in hop.ways:
                    record.clear()

    def stop(self) -> None:
        """Both neighbours have ended, and so has every hop."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()


class Proxy:
    """A proxy in front of a server, with the relay between them."""

    def __init__(self, kind: str, server_port: int, folder: Path) -> None:
        tool, template, options = PROXIES[kind]
        self.relay = Relay(server_port)
        self.requests = 0
        self.pages = 0
        self._log = folder / "access"
        self._log_read = self._log_new = 0
        with self._log.open("ab") as log:
            given = {"upstream": self.relay.port, **options}
            self._process, self.port = start_proxy(tool, template, folder, log, **given)

    def ask(self, request: bytes, pause: float) -> tuple[list[Answer], bytes]:
        """What a client gets who sends this, and closes its side when nothing has come for the pause."""
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as client:
            with contextlib.suppress(ConnectionError):  # it has answered, and is gone
                client.sendall(request)
            with contextlib.suppress(ConnectionError):
                while piece := self._receive(client, pause):
                    received += piece
        return frame_answers(received, [request.partition(b" ")[0]])

    def _receive(self, client: socket.socket, pause: float) -> bytes:
        if not select.select([client], [], [], pause)[0]:
            with contextlib.suppress(OSError):  # it ends at this moment
                client.shutdown(socket.SHUT_WR)
        return client.recv(65536)

    def exchanges(self) -> dict[bytes, tuple[Request, Answer]]:
        """What came to the server since the last time, and its answers; checked when all of it is settled."""
        framed: list[Framed] = []
        came: list[bytes] = []

        def all_came() -> bool:
            """They may come after the client is gone: the proxy may end its connection before it sends all on."""
            new = self.relay.take()
            framed.extend(new)
            came.extend(request.id for requests, _, _, _ in new for request in requests)
            came.extend(id_ for _, rest, _, _ in new for id_ in ID.findall(rest))
            return sorted(came) == sorted(self._forwarded())

        try:
            wait_until(all_came, "the requests that came, in the proxy's log")
        finally:
            self._log_read += self._log_new
        self.requests += len(came)
        for requests, rest, answers, torn in framed:
            check_answers(requests, rest, answers, torn)
            self.pages += sum(answer.page for answer in answers)
        return {
            request.id: (request, answer)
            for requests, _, answers, _ in framed
            for request, answer in zip(requests, answers, strict=False)
        }

    def _forwarded(self) -> list[bytes]:
        """The ids of the requests which the proxy says it sent to the server, in whole or in part."""
        lines = self._log.read_bytes()[self._log_read :]
        self._log_new = len(lines)
        return [id_ for id_, sent in (line.split() for line in lines.splitlines()) if sent not in (b"-", b"-1")]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        self.relay.stop()


def check_answers(requests: list[Request], rest: bytes, answers: list[Answer], torn: bytes) -> None:
    """One answer to each request, its own; to what is no whole request at most one, after which nothing follows."""
    assert not torn
    assert len(ID.findall(rest)) == bool(rest), rest
    extra = answers[len(requests) :]
    assert len(requests) <= len(answers) <= len(requests) + bool(rest), (requests, rest, answers)
    assert all(answer.closes for answer in extra), (rest, extra)
    for request, answer in zip(requests, answers, strict=False):
        empty = request.method == b"HEAD" or request.target == b"*" or b"/favicon.ico" in request.target
        if answer.status == 200:
            assert answer.body == (b"" if empty else PAGE), (request, answer)
        else:
            assert answer.closes is (answer.status != 301), (request, answer)


@pytest.fixture(scope="module", params=PROXIES)
def proxy(request: pytest.FixtureRequest, shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """One proxy of each kind, in front of one server of each shape."""
    needs(PROXIES[request.param][0])
    folder = tmp_path_factory.mktemp(request.param)
    replica = shape.replica(folder / "log")
    try:
        replica.wait_for_port()
        proxy = Proxy(request.param, replica.port, folder)
        try:
            yield proxy
        finally:
            proxy.stop()
        assert not proxy.exchanges()
        assert replica.stop() == 0
        assert len(replica.served()) == proxy.pages
        assert proxy.relay.opened < proxy.requests / 3, "connections to the server are not used again"
    finally:
        replica.kill()


# Rows that every proxy passes on, one request after another (unless the client has closed its side, with HAProxy)
EVERYWHERE = {"V1", "V3", "V4", "V5", "V7.0", "V7.3", "V11", "V12", "V13.0", "V15", "V20.0", "D1.0", "B14"}


@pytest.mark.parametrize("follower", [b"", LAST], ids=["alone", "followed"])
@of_each_family(ROWS)
def test_proxy_and_server_agree(rows: list[dict], follower: bytes, proxy: Proxy) -> None:
    for row in rows:
        with naming(row["id"]):
            check_agreement(row, follower, proxy)


def check_agreement(row: dict, follower: bytes, proxy: Proxy) -> None:
    pause = 0 if not follower else 0.3 if row in SLOW else PATIENCE
    answers, other = proxy.ask(bytes_of(row) + follower, pause)
    fresh, _ = proxy.ask(FRESH, PATIENCE)
    exchanges = proxy.exchanges()
    assert [answer.body for answer in fresh] == [PAGE]
    assert exchanges.pop(fresh[0].id)[0].target == b"/fresh"
    given = [answer for answer in answers if answer.id in exchanges]
    for answer in given:
        came = exchanges[answer.id][1]
        assert (answer.status, answer.body) == (came.status, came.body)
    bare = [came.body for id_, (_, came) in exchanges.items() if id_ not in [answer.id for answer in given]]
    assert bare == [other][: len(bare)]  # the answer to HTTP/0.9 has no head
    assert bare or not other or other[3:5] == b"\4\0"  # SETTINGS of HTTP/2, which HAProxy speaks to who begins so
    asked = [exchanges[answer.id][0].target for answer in given]
    last = LAST.split()[1]
    assert last not in asked[:-1]
    if follower and row["id"] in EVERYWHERE:
        assert len(asked) == len(expected(row)) + 1
        assert asked[-1] == last
