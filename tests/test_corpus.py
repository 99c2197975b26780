"""What fuzzing has found to differ from everything else, framed again: those oracles of fuzz/framing.pyx that can be
asked from Python."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import naming

import yinyang

INPUTS = sorted((Path(__file__).parent / "fuzz/corpus/framing").iterdir())
REQUEST_LEAST = 25  # bytes of the shortest request that keeps its connection open


def framed(data: bytes, size: int) -> list[tuple]:
    """What comes of the bytes in pieces of this size, and after how many pieces."""
    framing = yinyang._core.Parser()
    return [
        (number, outcome)
        for number, at in enumerate(range(0, len(data), size))
        for outcome in framing.feed(data[at : at + size])
    ]


def test_each_input_is_of_a_target() -> None:
    fuzz = Path(__file__).parent / "fuzz"
    assert sorted(path.name for path in (fuzz / "corpus").iterdir()) == sorted(one.stem for one in fuzz.glob("*.pyx"))


def test_corpus() -> None:
    for path in INPUTS:
        with naming(path.name):
            check_input(path)


def check_input(path: Path) -> None:
    first, *rest = path.read_bytes()
    data = bytes(rest)
    whole = [outcome for _, outcome in framed(data, max(1, len(data)))]
    assert [outcome for _, outcome in framed(data, first + 2)] == whole
    bytewise = framed(data, 1)
    assert [outcome for _, outcome in bytewise] == whole
    # nothing is wrong before the end of a valid request, and nothing is read after a wrong one
    assert all(outcome[0] == 200 for outcome in whole[:-1])
    ends = [-1, *(number for number, outcome in bytewise if outcome[0] == 200 and outcome[1])]
    assert all(end - begin >= REQUEST_LEAST for begin, end in itertools.pairwise(ends))


FORMS = {  # of one field, as clients send it and as nobody should
    "Host": (
        "a",
        "A.example.org:80",
        "127.0.0.1",
        "a-b_c:",
        "[::1]:8",
        "::1",
        "",
        " a",
        "a ",
        "\ta",
        "a:8 ",
        "a:b",
        "a b",
        ":8",
        "%41",
        "a/",
    ),
    "Connection": (
        "close",
        "Keep-Alive",
        "CLOSE ",
        " close",
        "close, keep-alive",
        "closed",
        "clos",
        "keep",
        "x",
        "\tclose",
        "",
    ),
    "Accept": ("*/*", "text/plain", "application/json;q=0.5, text/plain", "text/plain;q=0", ""),
    "Expect": ("100-continue", "100-Continue ", "200-ok"),
    "Content-Length": ("0", "3", " 3", "3 ", "03", "+3", "3,3", ""),
    "Transfer-Encoding": ("chunked", "Chunked", "gzip, chunked", "chunked, chunked", "x"),
    "X-Field_1.2": ("", "1", "a\x00", "a\x7f", "\xff" * 40, "a" * 100, "a\nb", "a\rb"),
    "Connectio": ("close",),
    "Connection-": ("close",),
    "Sec-Fetch-Site": ("none",),
    "transfer-encodings": ("x",),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("spelled", [str.lower, str.upper], ids=["lower", "upper"])
def test_a_field_is_read_alike_whole_and_in_pieces(name: str, spelled: Callable[[str], str]) -> None:
    """Lines that lie whole in a segment are read in another way than others."""
    host = "" if name == "Host" else "Host: a\r\n"
    for value, space, more in itertools.product(
        FORMS[name], ("", " "), ("", f"{name}: close\r\n", "X: " + "y" * 40 + "\r\n")
    ):
        line = f"{spelled(name)}:{space}{value}\r\n"
        data = f"GET /a/b HTTP/1.1\r\n{host}{line}{more}\r\nabcGET / HTTP/1.1\r\nHost: b\r\n\r\n".encode("latin-1")
        whole = [outcome for _, outcome in framed(data, len(data))]
        for size in (1, 7, 20):
            assert [outcome for _, outcome in framed(data, size)] == whole, line


TARGETS = (
    "/",
    "/a",
    "/a/",
    "/a//b",
    "//",
    "/.",
    "/a.b/..",
    "/a?b",
    "/?",
    "/%41",
    "/%4",
    "/" + "a" * 300,
    "/\xff",
    "/#",
    "",
    "a",
)
VERSIONS = ("HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", "HTTP/1.", "")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "get", "GETS", "GE", ""])
def test_a_request_line_is_read_alike_whole_and_in_pieces(method: str) -> None:
    for target, version, end in itertools.product(TARGETS, VERSIONS, ("\r\n", "\n", "\r")):
        data = f"{method} {target} {version}{end}Host: a\r\n\r\n".encode("latin-1")
        whole = [outcome for _, outcome in framed(data, len(data))]
        for size in (1, 5, 17):
            assert [outcome for _, outcome in framed(data, size)] == whole, data
