"""Answers as the core reads them for the watch: HTTP/1, whom they tell of, and their cookies."""

import json
import re
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from balancers import PROCESSES
from conftest import PATIENCE, serving
from hypothesis import example, given
from hypothesis import strategies as st

from yinyang import identify
from yinyang._core import AnswerReader, CookieJar, describe, printable

BODY = b'{"host":"a"}'
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 12\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b'5;a="b;c"\r\n{"hos\r\n007 \r\nt":"a"}\r\n0\r\nA: b\r\n\r\n'
BODY_MAX = 65536
HEAD_MAX = 81920 - BODY_MAX - 1


def read(*pieces: bytes, closed: bool = False) -> dict[str, Any]:
    reader = AnswerReader()
    for piece in pieces:
        reader.feed(piece)
    if closed:
        reader.end()
    return dict(reader.found())


GOOD: dict[str, tuple[bytes, bool]] = {  # whose body is BODY, and whether another one may follow
    "length": (OK + LENGTH + b"\r\n" + BODY, True),
    "line feeds only": (b"HTTP/1.1 200 OK\nContent-Length: 12\n\n" + BODY, True),
    "no reason": (b"HTTP/1.1 200\r\ncontent-length:12\r\n\r\n" + BODY, True),
    "white space and case": (OK + b"CONTENT-LENGTH: \t 12 \t\r\n\r\n" + BODY, True),
    "the same length again": (OK + LENGTH + b"Content-Length: 12, 012\r\n\r\n" + BODY, True),
    "chunks": (OK + CHUNKED + b"\r\n" + CHUNKS, True),
    "chunks in capitals": (OK + b"Transfer-Encoding: CHUNKED\r\n\r\nC\r\n" + BODY + b"\r\n0\r\n\r\n", True),
    "chunks and a length": (OK + CHUNKED + LENGTH + b"\r\n" + CHUNKS, False),
    "chunks of the old version": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + CHUNKED + b"\r\n" + CHUNKS, False),
    "close": (OK + LENGTH + b"Connection: x, Close\r\n\r\n" + BODY, False),
    "old version": (b"HTTP/1.0 200 OK\r\n" + LENGTH + b"\r\n" + BODY, False),
    "old version, kept": (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n" + LENGTH + b"\r\n" + BODY, True),
    "more than was asked for": (OK + LENGTH + b"\r\n" + BODY + b"H", False),
    "interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103\r\nA: b\r\n\r\n" + OK + LENGTH + b"\r\n" + BODY,
        True,
    ),
    "folded": (OK + b"Content-Length:\r\n 12\r\nA: b\n\tc\r\n\r\n" + BODY, True),
    "up to the end": (OK + b"\r\n" + BODY, False),
}
NOT_HTTP: dict[str, bytes] = {
    "ssh": b"SSH-2.0-OpenSSH\r\n\r\n",
    "its first byte": b"<",
    "version 2": b"HTTP/2 200\r\n\r\n",
    "lower case": b"http/1.1 200 OK\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "short status": b"HTTP/1.1 20\r\n\r\n",
    "long status": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status above all": b"HTTP/1.1 600 No\r\n\r\n",
    "status below all": b"HTTP/1.1 099 No\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "interim answers without end": 17 * b"HTTP/1.1 100 Continue\r\n\r\n",
    "no colon": OK + b"Host\r\n\r\n",
    "no name": OK + b": a\r\n\r\n",
    "space before the colon": OK + b"A : b\r\n\r\n",
    "folded status line": OK + b" a\r\n\r\n",
    "NUL": OK + b"A: \0\r\n\r\n",
    "CR": OK + b"A: b\rc\r\n\r\n",
    "two CR": OK + b"A: b\r\r\n\r\n",
    "two lengths": OK + LENGTH + b"Content-Length: 13\r\n\r\n",
    "two lengths in a line": OK + b"Content-Length: 12, 13\r\n\r\n",
    "empty length": OK + b"Content-Length:\r\n\r\n",
    "signed length": OK + b"Content-Length: +12\r\n\r\n",
    "hexadecimal length": OK + b"Content-Length: 0x12\r\n\r\n",
    "length of many digits": OK + b"Content-Length: " + 40 * b"9" + b"\r\n\r\n",
    "compressed": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "chunked twice": OK + CHUNKED + CHUNKED + b"\r\n",
    "no chunk size": OK + CHUNKED + b"\r\n\r\n",
    "extension without a size": OK + CHUNKED + b"\r\n;a\r\n",
    "signed chunk size": OK + CHUNKED + b"\r\n-1\r\n",
    "chunk size of digits and others": OK + CHUNKED + b"\r\n1x\r\n",
    "chunk size behind a space": OK + CHUNKED + b"\r\n1 2\r\n",
    "chunk size with LF only": OK + CHUNKED + b"\r\n1\na\r\n",
    "chunk that is longer": OK + CHUNKED + b"\r\n1\r\nab\r\n",
    "CR in an extension": OK + CHUNKED + b"\r\n1;\ra\r\n",
}
TOO_LARGE: dict[str, bytes] = {
    "length": OK + b"Content-Length: 65537\r\n\r\n",
    "length of a disk": OK + b"Content-Length: 999999999999999\r\n\r\n",
    "body up to the end": OK + b"\r\n" + (BODY_MAX + 1) * b" ",
    "chunk": OK + CHUNKED + b"\r\n10001\r\n",
    "chunk size that overflows": OK + CHUNKED + b"\r\n10000000000000001\r\n",
    "chunks": OK + CHUNKED + b"\r\n" + 65 * (b"400\r\n" + 1024 * b" " + b"\r\n") + b"0\r\n\r\n",
    "extensions": OK + CHUNKED + b"\r\n" + 20 * (b"1;" + 60000 * b"a" + b"\r\n \r\n"),
    "trailer": OK + CHUNKED + b"\r\n0\r\n" + 1100000 * b"a",
    "field": OK + b"A: " + HEAD_MAX * b"b" + b"\r\n\r\n",
    "status line": OK[:-2] + HEAD_MAX * b"b",
    "fields": OK + 5000 * b"A: b\r\n" + b"\r\n",
}
CUT: dict[str, bytes] = {
    "nothing": b"",
    "in the status": b"HTTP/1.1 2",
    "in the head": OK + LENGTH,
    "an interim answer only": b"HTTP/1.1 100 Continue\r\n\r\n",
    "in the body": OK + LENGTH + b"\r\n{",
    "in a chunk": OK + CHUNKED + b"\r\n5\r\n{",
    "before the last chunk": OK + CHUNKED + b"\r\n1\r\n{\r\n",
    "before the trailer's end": OK + CHUNKED + b"\r\n0\r\n",
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    data, keeps_alive = GOOD[name]
    found = read(data, closed=name == "up to the end")
    assert (found["state"], found["status"], found["body"]) == ("done", 200, BODY)
    assert found["keeps_alive"] == keeps_alive
    assert found["described"]["host"] == "a"


@pytest.mark.parametrize("name", NOT_HTTP)
def test_not_http(name: str) -> None:
    found = read(NOT_HTTP[name])
    assert (found["state"], found["keeps_alive"], found["body"], found["described"]) == ("not HTTP", False, None, None)


@pytest.mark.parametrize("name", TOO_LARGE)
def test_too_large(name: str) -> None:
    assert read(TOO_LARGE[name])["state"] == "too large"


@pytest.mark.parametrize("name", CUT)
def test_cut(name: str) -> None:
    assert read(CUT[name])["state"] == "more"
    assert read(CUT[name], closed=True)["state"] == "cut"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_no_body(status: bytes) -> None:
    found = read(b"HTTP/1.1 " + status + b"\r\n" + LENGTH + b"\r\n")
    assert (found["state"], found["keeps_alive"], found["body"]) == ("done", True, b"")


def test_the_largest() -> None:
    """In pieces of any size, there is room for each of them."""
    body = BODY_MAX * b"x"
    padding = HEAD_MAX - len(OK) - len(b"A: \r\n") - len(CHUNKED) - 2
    head = OK + CHUNKED + b"A: " + padding * b"b" + b"\r\n\r\n"
    assert len(head) == HEAD_MAX
    small = b"".join(b"1;a\r\n%c\r\n" % byte for byte in body)
    for chunks in (b"10000\r\n" + body + b"\r\n", small):
        found = read(head + chunks + b"0\r\nA: b\r\n\r\n")
        assert (found["state"], found["body"] == body, found["keeps_alive"]) == ("done", True, True)
    found = read(OK + b"\r\n" + body, closed=True)
    assert (found["state"], found["body"] == body) == ("done", True)


def test_fields() -> None:
    head = b"HTTP/1.1 302 Found\r\nX-SERVED-BY: web-1 \r\nx-version:2\r\nX-Served-By: b\r\nLocation: http://b/?c\r\n"
    cookies = b"Set-Cookie: a=\xe9; Path=/\r\nset-cookie:b\r\nSet-Cookie2: c=d\r\n"
    found = read(head + cookies + b"Content-Length: 99\r\n\r\n")
    assert (found["state"], found["status"]) == ("more", 302)
    assert (found["served_by"], found["version"], found["location"]) == (b"web-1", b"2", b"http://b/?c")
    assert found["cookies"] == [b"a=\xe9; Path=/", b"b"]


def test_nothing_of_the_former_answer_remains() -> None:
    reader = AnswerReader()
    reader.feed(
        OK + b"X-Served-By: a\r\nLocation: b\r\nX-Version: 1\r\nSet-Cookie: a=b\r\n" + CHUNKED + b"\r\n" + CHUNKS
    )
    reader.begin()
    assert reader.found() == read()
    reader.feed(OK + b"Content-Length: 0\r\n\r\n")
    assert reader.found() == read(OK + b"Content-Length: 0\r\n\r\n")


ALL = [*(data for data, _ in GOOD.values()), *NOT_HTTP.values(), *CUT.values()]


@given(st.sampled_from(ALL), st.data(), st.booleans())
def test_cuts_change_nothing(data: bytes, draw: st.DataObject, closed: bool) -> None:
    """Not even where a byte is another one."""
    place = draw.draw(st.integers(0, len(data)))
    data = data[:place] + draw.draw(st.sampled_from([b"", b"\n", b"\r\n", b"0", b":", b"\xff"])) + data[place:]
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    pieces = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    whole, cut, single = (
        read(*some, closed=closed) for some in ([data], pieces, [data[i : i + 1] for i in range(len(data))])
    )
    for found in whole, cut, single:
        del found["keeps_alive"]  # what comes behind the end may come too late
    assert cut == whole
    assert single == whole


# ---- whom it tells of ---------------------------------------------------------------------------------------------


def described(**told: object) -> dict[str, Any]:
    found = describe(json.dumps({"host": "web-1"} | told).encode())
    assert found
    return dict(found)


def test_all_that_a_replica_tells() -> None:
    told = {"host": "web-1", "short": "w", "version": "2", "zone": "z", "node": "n"}
    colours = {"colours": ["#0880C0", "#00000a"]}
    times = {"started": "2026-11-26T08:00:00Z", "start_ms": 3}
    found = describe(json.dumps(told | colours | times | {"more": [{}]}).encode())
    started = int(datetime(2026, 11, 26, 8, tzinfo=UTC).timestamp())
    assert found == told | {"colours": ("#0880c0", "#00000a"), "started": started, "start_ms": 3}


def test_what_is_not_told_is_as_by_default() -> None:
    name = "web-6d5f8c7b9-x2x4k"
    found = describe(json.dumps({"host": name}).encode())
    nothing = {"version": None, "zone": None, "node": None, "started": 0, "start_ms": None}
    assert found == nothing | {"host": name, "short": "x2x4k", "colours": identify(name).colours}


def test_what_has_another_type_is_not_told() -> None:
    wrong = described(short=1, version=[], zone=None, node={"a": "b"}, started=5, start_ms="5")
    assert wrong == described()


@pytest.mark.parametrize("number", [-1, 2.5, 1e300, True, None, 2**40 + 1])
def test_times_of_a_start_that_are_none(number: object) -> None:
    assert described(start_ms=number)["start_ms"] is None


@pytest.mark.parametrize("number", [0, 40, 2**40])
def test_times_of_a_start(number: int) -> None:
    assert described(start_ms=number)["start_ms"] == number


@pytest.mark.parametrize("colours", [["red", "\x1b"], ["#000000"], ["#000000"] * 3, "#000000", [1, 2], ["#00000g"] * 2])
def test_colours_that_are_none(colours: object) -> None:
    assert described(colours=colours)["colours"] == ("#808080", "#000000")


def test_answers_of_others() -> None:
    bodies = [b"", b"<html>", b"[]", b"{}", b'{"host": 1}', b'{"host": ""}', b"[" * 65536, b"\xff", b'"host"']
    bodies += [BODY[:-1], BODY + b"x", BODY + BODY, b"[" + BODY + b"]", b'{"host":"a",}', b'{"host" "a"}']
    bodies += [b'{"host": "a", "headers": {}}']
    bodies += [b"hostname: a\n", b"GET / HTTP/1.1\nhost: a\n", b"host: a\n", b"host: \nshort: b\n", b"Hostname: \n"]
    for body in bodies:
        assert describe(body) is None


@pytest.mark.parametrize("version", [None, b"2"])
def test_header(version: bytes | None) -> None:
    found = describe(b"<html>", b"web-1", version)
    assert found == described(version=version.decode() if version else None)
    assert describe(b'{"host": "127.0.0.1", "headers": {}}', b"web-1", version) == found  # a request that is sent back
    assert describe(b"<html>", b"", b"2") is None
    assert describe(BODY, b"b", b"2") == describe(BODY)  # which is its own word


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/whoami", {"version", "zone", "node", "started", "start_ms"}),
        ("/whoami?format=text", {"version", "zone", "node", "started", "start_ms"}),
        ("/", {"version"}),
    ],
)
def test_replica(path: str, told: set[str], tmp_path: Path) -> None:
    about = {"version": "1.2.3", "zone": "z", "node": "n"}
    options = ("--app-version", "1.2.3", "--zone", "z", "--node", "n", "--name", "my-web-\xf6", "--served-by")
    with serving(PROCESSES, tmp_path / "log", "--host", "127.0.0.1", "--workers", "1", *options) as replica:
        reader = AnswerReader()
        with socket.create_connection(("127.0.0.1", replica.port), PATIENCE) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            while (data := client.recv(7)) and reader.feed(data) == "more":
                pass
    found = reader.found()
    assert (found["state"], found["status"], found["keeps_alive"]) == ("done", 200, path == "/")
    assert found["described"]
    assert {key for key, value in found["described"].items() if value} == {"host", "short", "colours"} | told
    identity = identify("my-web-\xf6")
    assert (found["described"]["host"], found["described"]["colours"]) == (identity.name, identity.colours)
    assert about.items() >= {(key, found["described"][key]) for key in told if key in about}


def test_lines_of_others() -> None:
    body = b"Name: a\nHostname: web-1\r\nIP: 127.0.0.1\nGET / HTTP/1.1\nHost: b\nHostname: c\nversion: 3\n"
    assert describe(body) == described()


def test_lines_of_ours() -> None:
    lines = ["host: web-1", "short: w", "colour: #0880c0", "colours: #0880c0 #00000a", "version: 2", "node: n"]
    lines += ["namespace: x", "zone: z", "requests: 1", "pages: 1", "started: 2026-11-26T08:00:00Z", "start_ms: 40"]
    lines += ["draining: false"]
    told = {"short": "w", "version": "2", "zone": "z", "node": "n", "colours": ["#0880c0", "#00000a"]}
    assert describe("\n".join([*lines, ""]).encode()) == described(**told, started="2026-11-26T08:00:00Z", start_ms=40)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"a\x1b[2J\x7f\n\0", "a\ufffd[2J\ufffd\ufffd\ufffd"),
        (
            "\x80\x9b\x9f\xa0\u202a\u202e\u2066\u2069\u2028\u2029\u200e\u061c".encode(),
            3 * "\ufffd" + "\xa0" + 8 * "\ufffd",
        ),
        (b"\xff\xc0\x80\xe2\x82", 5 * "\ufffd"),
        (b"\xed\xa0\x80\xf4\x90\x80\x80", 7 * "\ufffd"),
        ("\u20ac\U0001f600".encode(), "\u20ac\U0001f600"),
        (300 * b"a", 255 * "a"),
        (254 * b"a" + "\xe9a".encode(), 254 * "a"),
        (300 * b"\n", 85 * "\ufffd"),
    ],
)
def test_nothing_controls_a_terminal(text: bytes, shown: str) -> None:
    assert printable(text) == shown
    valid = text.decode("utf-8", "replace")
    if "\ufffd" not in valid:
        assert described(zone=valid)["zone"] == shown


@given(st.binary(max_size=400) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_all_that_is_shown_is_text(text: bytes) -> None:
    shown = printable(text)
    assert len(shown.encode()) <= 255
    assert not any(char in "\x7f\u2028\u2029" or ord(char) < 32 or "\u202a" <= char <= "\u202e" for char in shown)


TIMES = ["2026-11-26T08:00:00Z", "2024-02-29T23:59:59.75+05:30", "2026-11-26 08:00-01:00", "1970-01-01T00:00:00Z"]


@pytest.mark.parametrize("text", TIMES)
def test_times(text: str) -> None:
    assert described(started=text)["started"] == int(datetime.fromisoformat(text).timestamp())


@given(st.datetimes(datetime(1971, 1, 1), datetime(9998, 1, 1)), st.integers(-1439, 1439))
def test_any_time(time: datetime, offset: int) -> None:
    zoned = time.replace(microsecond=0, tzinfo=UTC) + timedelta(minutes=offset)
    sign, minutes = "-" if offset < 0 else "+", abs(offset)
    text = f"{zoned:%Y-%m-%dT%H:%M:%S}{sign}{minutes // 60:02}:{minutes % 60:02}"
    assert described(started=text)["started"] == int(time.replace(tzinfo=UTC, microsecond=0).timestamp())


@pytest.mark.parametrize(
    "text",
    [
        *("", "2026-11-26", "2026-11-26T08", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-11-26T24:00:00Z"),
        *("2026-11-26T08:00:60Z", "2026-11-26T08:00:00x", "2026-11-26T08:00:00+1:00", "1969-12-31T23:59:59Z", "now"),
        *("2026-11-26T08:00:00.Z", "2026-11-26T08:00:00Z ", "-026-11-26T08:00:00Z", "2026-11-26T08:00:", "99999"),
    ],
)
def test_times_that_are_none(text: str) -> None:
    assert described(started=text)["started"] == 0


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
SPACES = st.sampled_from(["", " ", "\n", "\t\r\n"])


def refuse(word: str) -> object:
    raise ValueError(word)


def as_python_reads(body: bytes) -> str | None:
    """The host, as Python's json has it, whose extensions of JSON count as wrong."""
    try:
        found = json.loads(body.decode("utf-8-sig"), parse_constant=refuse)
    except ValueError:
        return None
    host = found.get("host") if isinstance(found, dict) else None
    if not isinstance(host, str) or not host:
        return None
    return printable(re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", host).encode())  # halves of pairs


def as_it_is_read(body: bytes) -> str | None:
    found = describe(body)
    return found["host"] if found else None


@given(DOCUMENTS, st.text(min_size=1, max_size=80), SPACES, st.booleans())
def test_json_as_python_reads_it(document: object, host: str, space: str, ascii_only: bool) -> None:
    text = json.dumps({"a": document, "host": host, "b": document}, ensure_ascii=ascii_only)
    body = (space + text + space).encode()
    assert as_it_is_read(body) == as_python_reads(body) == printable(host.encode())


PARTS = ["{", "}", "[", "]", ":", ",", '"', "\\", "host", '"host":', '"a"', " ", "-", "0", "1", ".5", "e", "+", "true"]
PARTS += ["null", "\\u", "d83d", "\\ude00", "\\n", "\x1f", "\x7f", "\xe9", '{"host":"a"}', "\ufeff", '"b":', "NaN"]


@given(DOCUMENTS, st.integers(0, 1000), st.integers(0, 3), st.lists(st.sampled_from(PARTS), max_size=3))
@example(None, 0, 0, [])
def test_wrong_json_as_python_reads_it(document: object, place: int, less: int, parts: list[str]) -> None:
    """A document in which some characters are others."""
    text = json.dumps({"host": "\U0001f600\n", "a": document})
    place %= len(text)
    body = (text[:place] + "".join(parts) + text[place + less :]).encode()
    assert as_it_is_read(body) == as_python_reads(body)


@given(st.lists(st.sampled_from(PARTS), max_size=12))
def test_parts_of_json_as_python_reads_them(parts: list[str]) -> None:
    for text in "".join(parts), '{"host":"a","b":' + "".join(parts) + "}":
        assert as_it_is_read(text.encode()) == as_python_reads(text.encode())


@pytest.mark.parametrize(
    ("body", "host"),
    [
        (b'{"host":"a","host":"b"}', "b"),
        (b'{"host":"a","host":1}', None),
        (b'{"host":1,"host":"b"}', "b"),
        (b'{"h\\u006fst":"\\uD83D\\uDE00\\/\\"\\\\\\b"}', '\U0001f600/"\\\ufffd'),
        (b'{"host":"\\ud800","x":"\\udc00\\ud800\\u0041"}', "\ufffd"),
        (b'\xef\xbb\xbf{"host":"a"}', "a"),
        (b'{"host":"\xff"}', None),
        (b'{"host":"a","x":"\xff"}', None),
        (b'{"host":"a","x":' + 63 * b"[" + 63 * b"]" + b"}", "a"),
        (b'{"host":"a","x":' + 64 * b"[" + 64 * b"]" + b"}", None),
        (b'{"host":"a","x":' + 63 * b'{"x":' + b"1" + 63 * b"}" + b"}", "a"),
        (b'{"host":"a","x":[}]', None),
        (b'{"host":"a","x":01}', None),
        (b'{"host":"a","x":1.}', None),
        (b'{"host":"a","x":Infinity}', None),
        (b'{"host":"a\tb"}', None),
        (b'{"host":"' + 300 * b"a" + b'"}', 255 * "a"),
        (b'{"' + 300 * b"a" + b'":1,"host\x00":"b","host":"a"}', None),
        (b'{"' + 300 * b"a" + b'":1,"host\\u0000":"b","host":"a"}', "a"),
    ],
)
def test_json(body: bytes, host: str | None) -> None:
    assert as_it_is_read(body) == host


# ---- cookies ------------------------------------------------------------------------------------------------------

ALWAYS = 0  # random bits by which a request carries the first cookies


def kept(*lines: bytes, secure: bool = False) -> bytes | None:
    jar = CookieJar(secure)
    jar.store("a", lines)
    chosen = jar.choose(ALWAYS)
    return chosen[1] if chosen else None


@pytest.mark.parametrize(
    ("lines", "cookies"),
    [
        ([b"SRV=x; Path=/"], b"SRV=x"),
        ([b"a=1", b"b=2; Max-Age=9"], b"a=1; b=2"),
        ([b"a=1", b"b=2", b"c=3", b"a=4"], b"b=2; c=3; a=4"),
        ([b"a=1", b"b=2", b"b=4"], b"a=1; b=4"),
        ([b"a=1", b"a=2"], b"a=2"),
        ([b"a = b=c ;"], b"a=b=c"),
        ([b'a="\xe9"; Path=/'], b'a="\xe9"'),
        ([b'c="\\351"'], b'c="\\351"'),
        ([b"gone=; Path=/"], None),
        ([b'gone=""'], None),
        ([b"old=1; max-age = 0"], None),
        ([b"old=1; Max-Age=-1"], None),
        ([b"tls=1; Path=/; secure"], None),
        ([b"a=1; insecure; Max-Age="], b"a=1"),
        ([b";;=;", b"", b"=1", b"a", b"a\x01=1", b"a=\x7f", b"; a=1"], None),
        ([b"a=" + 2047 * b"b"], None),
        ([b"a=" + 2046 * b"b"], b"a=" + 2046 * b"b"),
        ([b"a=" + 2040 * b"b", b"c=1", b"d=12"], b"a=" + 2040 * b"b" + b"; c=1"),
    ],
)
def test_cookies(lines: list[bytes], cookies: bytes | None) -> None:
    assert kept(*lines) == cookies


def test_secure_cookies() -> None:
    assert kept(b"a=1; Secure", b"b=2", secure=True) == b"a=1; b=2"


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_no_cookie_ends_its_line(lines: list[bytes]) -> None:
    assert not any(byte < 32 or byte == 127 for byte in kept(*lines) or b"")


def everybody(jar: CookieJar) -> dict[str, bytes]:
    """All cookies, by random bits that are spread evenly."""
    chosen = [jar.choose(place << 56) for place in range(256)]
    return dict(one for one in chosen if one)


def test_the_latest_cookies_of_64_replicas() -> None:
    jar = CookieJar(secure=False)
    assert jar.choose(ALWAYS) is None
    for number in range(64):
        jar.store(f"web-{number}", [b"a=%d" % number])
    jar.store("web-0", [b"b=1"])
    jar.store("web-1", [b"gone="])  # which sets none
    assert everybody(jar) == {f"web-{number}": b"a=%d" % number for number in range(1, 64)} | {"web-0": b"b=1"}
    jar.store("web-64", [b"a=64"])
    jar.store("web-65", [b"a=65"])
    assert everybody(jar).keys() == {"web-0", *(f"web-{number}" for number in range(3, 66))}


def test_one_in_five_requests_carries_cookies() -> None:
    jar = CookieJar(secure=False)
    jar.store("a", [b"a=1"])
    jar.store("b", [b"b=1"])
    part = 2**32 // 5
    assert jar.choose(part - 1) == jar.choose((2**31 - 1) << 32) == ("a", b"a=1")
    assert jar.choose(2**63) == jar.choose((2**32 - 1) << 32) == ("b", b"b=1")
    assert jar.choose(part + 1) is jar.choose(2**64 - 1) is None
