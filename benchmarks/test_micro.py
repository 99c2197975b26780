"""Time of single steps of the core, called from Python; the call itself is part of each figure.

pip install -e '.[bench]'
pytest benchmarks
"""

import pytest

import yinyang
from benchmarks.lib import http_requests

SMALL = http_requests.with_target(http_requests.SMALL)
BROWSER = http_requests.with_target(http_requests.BROWSER)
# a space where none is allowed, near the end
MALFORMED = BROWSER.replace(b"Accept-Language: en-GB", b"Accept-Language : en-GB")
ACCEPTED, REFUSED = 200, 400


def test_hash(benchmark: object) -> None:
    """A name as Kubernetes gives it; includes making the Identity object."""
    assert benchmark(yinyang.identify, "yinyang-7d4b9c6f5-x2x9z").hash == -1301266036623654844


def test_colour(benchmark: object) -> None:
    """The attribute of the object, as text."""
    identity = yinyang.identify("yinyang-7d4b9c6f5-x2x9z")
    assert benchmark(getattr, identity, "colour") == "#201088"


def test_page(benchmark: object) -> None:
    assert len(benchmark(yinyang.render_page, yinyang.identify("vm"))) == 390


def test_page_with_escaped_texts(benchmark: object) -> None:
    page = benchmark(yinyang.render_page, yinyang.identify("<&>" * 80), "<&>" * 80)
    assert page.count(b"&lt;&amp;&gt;") == 160


@pytest.mark.parametrize(
    ("request_", "status"),
    [(SMALL, ACCEPTED), (BROWSER, ACCEPTED), (MALFORMED, REFUSED)],
    ids=["small", "browser", "malformed"],
)
def test_parsing_one_request(benchmark: object, request_: bytes, status: int) -> None:
    """A new parser for each request, as a parser reads nothing after a malformed one."""
    [outcome] = benchmark(lambda: yinyang._core.Parser().feed(request_))
    assert outcome[0] == status


@pytest.mark.parametrize("request_", [SMALL, BROWSER], ids=["small", "browser"])
def test_parsing_a_hundred_requests(benchmark: object, request_: bytes) -> None:
    parser = yinyang._core.Parser()
    assert len(benchmark(parser.feed, request_ * 100)) == 100


def test_rendering_all_responses(benchmark: object) -> None:
    assert benchmark(yinyang._core.render_responses, yinyang.identify("vm")) > 32 * 390


def test_opening_and_closing_a_server(benchmark: object) -> None:
    """Renders all responses, maps all memory and opens the listening socket, but starts no process."""
    assert benchmark(open_and_close) > 0


def open_and_close() -> int:
    server = yinyang.Server(host="127.0.0.1", name="vm", workers=1)
    port = server.port
    server.stop()
    return port
