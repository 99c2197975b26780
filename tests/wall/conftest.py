"""The wall as the server sends it, in headless Chromium."""

import gzip
import importlib
import importlib.util
import urllib.request
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from balancers import PROCESSES
from conftest import PATIENCE, missing, needs, serving

from wall.page import Wall

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route


@pytest.fixture(scope="session")
def page_as_sent(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, str]]:
    """The page at /wall, and its fields, but for those of its compression."""
    log = tmp_path_factory.mktemp("wall") / "log"
    with (
        serving(PROCESSES, log, "--host", "127.0.0.1", "--workers", "1") as replica,
        urllib.request.urlopen(f"http://127.0.0.1:{replica.port}/wall", timeout=PATIENCE) as response,
    ):
        fields = dict(response.headers)
        del fields["Content-Length"]
        assert fields.pop("Content-Encoding") == "gzip"
        return gzip.decompress(response.read()), fields


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    if not importlib.util.find_spec("playwright"):
        missing("playwright", "playwright is not installed")
    path = needs("chromium")
    with importlib.import_module("playwright.sync_api").sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_wall(browser: "Browser") -> Iterator[Callable[..., Wall]]:
    """Opens the wall of a server, or of a balancer: `open_wall(url)`."""
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    opened: list[Wall] = []

    def open_one(url: str, rate: str = "40") -> Wall:
        opened.append(Wall(context.new_page(), url, rate))
        return opened[-1]

    yield open_one
    context.close()
    assert [error for wall in opened for error in wall.errors] == []


@pytest.fixture
def new_page(browser: "Browser", page_as_sent: tuple[bytes, dict[str, str]]) -> Iterator[Callable[..., "Page"]]:
    """Makes a page that finds a wall at `page.SIMULATED`, whose requests to /whoami the test handles:
    `new_page(handle, **options)`."""
    pages: list[Page] = []

    def make(handle: Callable[["Route"], None], **options: object) -> "Page":
        page = browser.new_page(**options)
        pages.append(page)
        body, fields = page_as_sent
        page.route("**/prefix/wall", lambda route: route.fulfill(body=body, headers=fields))
        page.route("**/prefix/whoami*", handle)
        return page

    yield make
    for page in pages:
        page.close()
