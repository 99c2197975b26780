"""What single steps of the core cost, called from Python (whose call is part of each figure).

pip install -e '.[bench]'
pytest benchmarks
"""

import pytest

import yinyang

SMALL = b"GET / HTTP/1.1\r\nHost: localhost:8080\r\nAccept: */*\r\n\r\n"
BROWSER = (
    b"GET /some/path?with=a&query=1 HTTP/1.1\r\nHost: demo.example.org:8080\r\nConnection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="130", "Not?A_Brand";v="99"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: "Linux"\r\n'
    b"Upgrade-Insecure-Requests: 1\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like "
    b"Gecko) Chrome/130.0.0.0 Safari/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n"
    b"Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n\r\n"
)


MALFORMED = BROWSER.replace(
    b"Accept-Language: en-GB", b"Accept-Language : en-GB"
)  # a space where none may be, near its end
FRAMED, REFUSED = 200, 400


def test_hash(benchmark: object) -> None:
    """Of a name as Kubernetes gives them, with the object that holds it and its colour."""
    assert benchmark(yinyang.identify, "yinyang-7d4b9c6f5-x2x9z").hash == -1301266036623654844


def test_colour(benchmark: object) -> None:
    """Out of the object, as text."""
    identity = yinyang.identify("yinyang-7d4b9c6f5-x2x9z")
    assert benchmark(getattr, identity, "colour") == "#201088"


def test_page(benchmark: object) -> None:
    assert len(benchmark(yinyang.render_page, yinyang.identify("vm"))) == 390


def test_page_whose_texts_are_escaped(benchmark: object) -> None:
    page = benchmark(yinyang.render_page, yinyang.identify("<&>" * 80), "<&>" * 80)
    assert page.count(b"&lt;&amp;&gt;") == 160


@pytest.mark.parametrize(
    ("request_", "status"),
    [(SMALL, FRAMED), (BROWSER, FRAMED), (MALFORMED, REFUSED)],
    ids=["small", "browser", "malformed"],
)
def test_framing_of_one(benchmark: object, request_: bytes, status: int) -> None:
    """With a new object for each, as nothing is read after a wrong one."""
    [outcome] = benchmark(lambda: yinyang._core.Parser().feed(request_))
    assert outcome[0] == status


@pytest.mark.parametrize("request_", [SMALL, BROWSER], ids=["small", "browser"])
def test_framing_of_a_hundred(benchmark: object, request_: bytes) -> None:
    framing = yinyang._core.Parser()
    assert len(benchmark(framing.feed, request_ * 100)) == 100


def test_rendering_of_all_answers(benchmark: object) -> None:
    assert benchmark(yinyang._core.render_responses, yinyang.identify("vm")) > 32 * 390


def test_opening_and_closing(benchmark: object) -> None:
    """All answers are rendered and all memory is mapped, with a listening socket, but no process is started."""
    assert benchmark(open_and_close) > 0


def open_and_close() -> int:
    server = yinyang.Server(host="127.0.0.1", name="vm", workers=1)
    port = server.port
    server.stop()
    return port
