"""The wall in each of its states: can everybody read it?"""

import importlib
import importlib.util
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from conftest import missing

from wall.page import Wall
from yinyang import identify

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.browser

NewPage = Callable[..., "Page"]
COLOURS = ["#00b4b4", "#f5b800"]
# what a state is called, how many replicas there are, which of their answers fail, and what is said in the end
STATES = {
    "even": (3, lambda number: False, "3 replicas take turns"),
    "failing": (3, lambda number: number % 3 == 1, "1 in 3 requests fails: web-1 answers 500"),
    "down": (1, lambda number: True, "every request fails: web-0 answers 500"),
    "many": (60, lambda number: number % 60 == 7, r".*requests? fail.*: web-7 answers 500|60 replicas"),
}


def answers(state: str) -> Callable[["Route"], None]:
    replicas, fails, _ = STATES[state]
    turns = itertools.count()

    def answer(route: "Route") -> None:
        number = next(turns)
        host = f"web-{number % replicas}"
        colours = list(identify(host, "distinct").colours)
        status = 500 if number > 2 * replicas and fails(number) else 200
        route.fulfill(status=status, json={"host": host, "version": "v1", "colours": colours})

    return answer


@pytest.fixture(scope="session")
def axe() -> object:
    """Checks a page by the rules of axe-core."""
    if not importlib.util.find_spec("axe_playwright_python"):
        missing("axe-playwright-python", "axe-playwright-python is not installed")
    return importlib.import_module("axe_playwright_python.sync_playwright").Axe()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(state: str, scheme: str, axe: object, new_page: NewPage) -> None:
    page = new_page(answers(state), viewport={"width": 1280, "height": 800}, color_scheme=scheme)
    wall = Wall(page)
    wall.wait_for_verdict(STATES[state][2])
    page.get_by_text("Faults and recording").click()
    wall.stop()
    found = axe.run(page).response["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []


def test_two_hundred_fit_on_a_screen(new_page: NewPage) -> None:
    turns = itertools.count()

    def answer(route: "Route") -> None:
        route.fulfill(json={"host": f"web-{next(turns) % 200}", "colours": COLOURS})

    page = new_page(answer, viewport={"width": 1920, "height": 1080})
    wall = Wall(page)
    wall.wait(lambda: len(wall.tiles()) == 200, "all tiles")
    assert page.evaluate("document.documentElement.scrollHeight") <= 1080
    assert page.evaluate("document.documentElement.scrollWidth") <= 1920


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_few_fill_the_screen(replicas: int, new_page: NewPage) -> None:
    turns = itertools.count()

    def answer(route: "Route") -> None:
        route.fulfill(json={"host": f"web-{next(turns) % replicas}", "colours": COLOURS})

    page = new_page(answer, viewport={"width": 1920, "height": 1080})
    wall = Wall(page)
    wall.wait(lambda: len(wall.tiles()) == replicas, "all tiles")
    assert 1000 < page.evaluate("document.querySelector('main').getBoundingClientRect().bottom") <= 1080
    assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('.share')).fontSize)") >= 48
    assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('h1')).fontSize)") >= 60


def test_forced_colours_keep_what_colours_mean(new_page: NewPage) -> None:
    page = new_page(answers("failing"))
    page.emulate_media(forced_colors="active")
    wall = Wall(page)
    wall.wait_for_verdict(STATES["failing"][2])
    tick = "getComputedStyle(document.querySelector('#stream').lastChild).backgroundImage"
    assert "gradient" in page.evaluate(tick)


def test_zoom_of_200_percent(new_page: NewPage) -> None:
    """As a screen of half the size: nothing is beside it."""
    page = new_page(answers("failing"), viewport={"width": 640, "height": 400})
    wall = Wall(page)
    wall.wait_for_verdict(STATES["failing"][2])
    assert page.evaluate("document.documentElement.scrollWidth") <= 640


def test_latency_is_told(new_page: NewPage) -> None:
    page = new_page(answers("even"))
    wall = Wall(page)
    wall.wait(lambda: "p50 " in wall.tiles().get("web-0").text if "web-0" in wall.tiles() else False, "its latency")


@pytest.mark.parametrize(
    ("up", "start_ms", "said"),
    [
        (4, 3, "up 4 s, started in 3 ms"),
        (4, 0, "up 4 s, started in 0 ms"),
        (4, 1234, "up 4 s, started in 1.2 s"),
        (4, 45678, "up 4 s, started in 46 s"),
        (70, 3, "up 70 s"),  # it is no longer new
        (4, None, "up 4 s"),
        (4, -1, "up 4 s"),
        (4, "3", "up 4 s"),
        (4, [3], "up 4 s"),
    ],
)
def test_how_long_a_start_took(up: int, start_ms: object, said: str, new_page: NewPage) -> None:
    told = {"host": "web-0", "colours": COLOURS, "started": "2026-11-26T08:00:00Z", "start_ms": start_ms}
    date = f"Thu, 26 Nov 2026 08:{up // 60:02}:{up % 60:02} GMT"
    page = new_page(lambda route: route.fulfill(json=told, headers={"Date": date}))
    wall = Wall(page)
    wall.wait(lambda: page.locator("#tiles .state").all_inner_texts() == [said], said)
