"""The wall as a page: what it makes of hostile answers, its memory, its layout, and who cannot see or click."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from balancers import PROCESSES
from conftest import serving, wait_until

from wall.page import SIMULATED, Wall

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.browser

NewPage = Callable[..., "Page"]


def answer_with(whoami: Callable[[], dict]) -> Callable[["Route"], None]:
    return lambda route: route.fulfill(json=whoami())


def take_turns(*hosts: str) -> Callable[["Route"], None]:
    turns = itertools.cycle(hosts)
    return answer_with(lambda: {"host": next(turns), "colours": ["#00b4b4", "#f5b800"]})


def test_a_rare_replica_is_not_forgotten(new_page: NewPage) -> None:
    hosts = itertools.chain(["web-1"] * 5, ["web-2"], itertools.repeat("web-1"))
    wall = Wall(new_page(answer_with(lambda: {"host": next(hosts), "colours": ["#00b4b4", "#f5b800"]})))
    wall.wait(lambda: wall.total() > 60, "samples since the second replica came")
    assert "one replica" not in wall.verdict()
    assert "gone" not in wall.tiles()["web-2"].state


def test_hostile_names_and_colours_are_only_text(new_page: NewPage) -> None:
    hostile = {
        "host": "<img src=x onerror=alert(1)>",
        "short": "</b><script>alert(1)</script>",
        "colour": "red",
        "colours": ["#fff;background:url(http://x/)", 5],
        "version": {"a": 1},
        "requests": "many",
        "started": ["never"],
        "draining": True,
    }
    page = new_page(answer_with(lambda: hostile))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append("dialog"))
    wall = Wall(page)
    tile = wall.wait(lambda: wall.tiles().get(hostile["host"]), "its tile")
    assert "</b><script>alert(1)</script>" in tile.text
    assert "draining" in tile.text
    assert page.locator("#tiles img, #tiles script").count() == 0
    assert page.locator("#tiles li").first.get_attribute("style").startswith("--circle: #888888; --path: #888888")
    assert set(asked) <= {f"{SIMULATED}/wall", f"{SIMULATED}/whoami"}
    assert wall.errors == []


COUNT_ELEMENTS = """() =>
    ["#tiles", "#lanes", "#stream"].map(selector => document.querySelector(selector).children.length)"""


def test_memory_is_bounded(new_page: NewPage) -> None:
    page = new_page(answer_with(dict))
    page.clock.install()
    page.add_init_script("""asked = 0; fetch = async () => new Response(JSON.stringify(
        {host: "web-" + asked++, colours: ["#000000", "#ffffff"]}))""")  # without a way that takes time
    wall = Wall(page)

    def sizes() -> list[int]:
        page.clock.run_for(500)  # until it is drawn
        return [wall.total(), *page.evaluate(COUNT_ELEMENTS)]

    for _ in range(12):
        page.clock.run_for(5000)
    assert page.evaluate("asked") > 1500
    total, tiles, lanes, ticks = sizes()
    assert total > 1500
    assert ticks == 100
    assert 200 <= tiles == lanes <= 300  # with failures, and those that came since it was drawn
    page.evaluate("fetch = async () => new Response(JSON.stringify({host: 'web-0', colours: []}))")
    page.clock.run_for(100_000)  # until the others are forgotten
    assert sizes()[1:] == [1, 1, 100]
    assert wall.errors == []


def wait_while_time_passes(wall: Wall, condition: Callable[[], object], what: str) -> None:
    """On the page's clock; its samples take real time."""
    wall.wait(lambda: wall.page.clock.run_for(100) or condition(), what)


def sleep_for_an_hour(wall: Wall) -> None:
    """The page's clock is stopped behind that, so that no time passes while a test looks."""
    wall.page.clock.pause_at(wall.page.evaluate("Date.now()") / 1000 + 3600)


def test_sleep_is_no_outage_and_no_burst_follows(new_page: NewPage) -> None:
    is_up = True
    asked = 0

    def answer(route: "Route") -> None:
        nonlocal asked
        asked += 1
        if is_up:
            route.fulfill(json={"host": "web-1", "colours": ["#000000", "#ffffff"]})
        else:
            route.abort()

    page = new_page(answer)
    page.clock.install()
    wall = Wall(page)

    wait_while_time_passes(wall, lambda: "web-1" in wall.tiles(), "its tile")
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)  # no sample is due between the count and the sleep
    wall.wait(lambda: wall.in_flight == 0, "what is under way")
    is_up = False
    before = asked
    sleep_for_an_hour(wall)
    assert asked <= before + 2
    wait_while_time_passes(wall, lambda: "no connection" in wall.tiles(), "a failure")
    is_up = True
    answers = wall.tiles()["web-1"].count
    wait_while_time_passes(wall, lambda: wall.tiles()["web-1"].count > answers, "its next answer")
    assert wall.longest_gap() is None


def test_a_request_that_was_under_way_in_a_sleep_is_no_failure(new_page: NewPage) -> None:
    is_silent = False
    silent: list[Route] = []

    def answer(route: "Route") -> None:
        if is_silent:
            silent.append(route)
        else:
            route.fulfill(json={"host": "web-1", "colours": ["#000000", "#ffffff"]})

    page = new_page(answer)
    page.clock.install()
    wall = Wall(page)

    wait_while_time_passes(wall, lambda: "web-1" in wall.tiles(), "its tile")
    is_silent = True
    wait_while_time_passes(wall, lambda: silent, "a request that is under way")
    sleep_for_an_hour(wall)
    is_silent = False
    answers = wall.tiles()["web-1"].count
    wait_while_time_passes(wall, lambda: wall.tiles()["web-1"].count > answers + 5, "its next answers")
    assert list(wall.tiles()) == ["web-1"]


ADD_SCRIPT = """() => {
    const script = document.createElement("script");
    script.textContent = "document.title = 'taken over'";
    document.body.append(script);
}"""


@pytest.mark.parametrize("path", ["wall", "wall/"])
def test_it_works_under_its_own_policy(path: str, browser: "Browser", tmp_path: Path) -> None:
    """In a browser that gets it from a server: nothing that it does is refused, and what it does not do is."""
    said: list[str] = []
    with (
        serving(PROCESSES, tmp_path / "log", "--host", "127.0.0.1") as replica,
        browser.new_page() as page,
    ):
        page.on("console", lambda message: said.append(message.text))
        wall = Wall(page, f"http://127.0.0.1:{replica.port}", path=path)
        wall.wait_for_verdict("one replica only")
        assert wall.tiles()["vm"].count > 0
        colour = page.locator("#tiles circle").first.evaluate("circle => getComputedStyle(circle).fill")
        assert colour == "rgb(184, 216, 104)"
        wall.stop()
        assert said == []
        page.evaluate(ADD_SCRIPT)
        page.evaluate("fetch('http://127.0.0.2:9/').catch(() => 0)")
        assert page.title() != "taken over"
        for refused in "Executing inline script violates", "Connecting to 'http://127.0.0.2:9/' violates":
            wait_until(lambda words=refused: page.evaluate("1") and words in " ".join(said), refused)


ASK = """async ([url, options]) => {
    try { return (await (await fetch(url, options)).text()).slice(0, 12) } catch (error) { return error.name }
}"""


def test_pages_of_other_origins_may_read_whoami_alone(browser: "Browser", tmp_path: Path) -> None:
    """Also with a method and fields for which the browser asks first."""
    own = {"method": "PUT", "headers": {"X-Own": "1", "Authorization": "Basic YTpi"}}
    with (
        serving(PROCESSES, tmp_path / "one", "--host", "127.0.0.1") as one,
        serving(PROCESSES, tmp_path / "other", "--host", "127.0.0.1") as other,
        browser.new_page() as page,
    ):
        page.goto(f"http://127.0.0.1:{one.port}/")
        for path, options, expected in (
            ("whoami", {}, '{"host":"vm"'),
            ("whoami", own, '{"host":"vm"'),
            ("metrics", {}, "TypeError"),
            ("readyz", own, "TypeError"),
        ):
            assert page.evaluate(ASK, [f"http://127.0.0.1:{other.port}/{path}", options]) == expected


COLLECT_SHIFTS = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {
    window.shifts = [];
    const banner = document.querySelector("#banner");
    const stream = document.querySelector("#stream");
    new PerformanceObserver(list => {
        for (const {sources} of list.getEntries())
            for (const {node, previousRect, currentRect} of sources)
                if (!stream.contains(node) && !banner.contains(node))  // ticks move, and words change
                    shifts.push([node?.outerHTML ?? node?.data, previousRect.toJSON(), currentRect.toJSON()]);
    }).observe({type: "layout-shift"});
    done();
})))"""
CONTRASTS = """() => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const luminance = colour => {
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map(
            part => part / 255 <= .04045 ? part / 255 / 12.92 : ((part / 255 + .055) / 1.055) ** 2.4);
        return .2126 * red + .7152 * green + .0722 * blue;
    };
    const tile = luminance(getComputedStyle(document.querySelector("#tiles li")).backgroundColor);
    return ["h1", "#facts", "#detail", ".description", ".state", "#tiles .name", "#legend"].map(selector => {
        const text = luminance(getComputedStyle(document.querySelector(selector)).color);
        return (Math.max(text, tile) + .05) / (Math.min(text, tile) + .05);
    });
}"""


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (400, "light"), (1200, "dark"), (1920, "light")])
def test_layout_is_stable_and_legible(width: int, scheme: str, new_page: NewPage) -> None:
    hosts = [f"yinyang-7d4b9c6f5-x2x{number}" for number in range(4)]
    page = new_page(take_turns(*hosts), viewport={"width": width, "height": 900}, color_scheme=scheme)
    wall = Wall(page)
    wall.wait(lambda: len(wall.tiles()) == 4, "all tiles")
    page.evaluate(COLLECT_SHIFTS)  # from when the last tile has been painted
    start = wall.total()
    wall.wait(lambda: wall.total() > start + 60, "more samples")
    assert page.evaluate("shifts") == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for part in page.locator("#tiles circle:first-child, #tiles path").all():
        # a symbol turns with each answer, and its box with it: what counts is its size at rest
        wall.wait(lambda part=part: part.bounding_box()["height"] >= 50, "a symbol that can be seen")
    assert min(page.evaluate(CONTRASTS)) >= 4.5
    assert wall.errors == []


def test_keyboard_and_screen_reader(new_page: NewPage) -> None:
    page = new_page(take_turns("web-0", "web-1"), reduced_motion="reduce")
    wall = Wall(page)
    order = []
    page.locator("body").click(position={"x": 1, "y": 1})
    for _ in range(8):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id"))
    assert order[:7] == ["rate", "by", "connection", "pause", "reset", "burst", "full"]
    for name in ("Rate", "By", "Connection"):
        assert page.get_by_role("combobox", name=name).count() == 1
    announcement = page.locator("#announcement")
    said: list[str] = []

    def hear(words: str) -> None:
        said.append(words)

    page.expose_function("hear", hear)
    announcement.evaluate("""element => {
        new MutationObserver(() => hear(element.textContent))
            .observe(element, {childList: true, characterData: true, subtree: true});
    }""")
    wall.wait_for_verdict("2 replicas take turns")
    wall.wait(lambda: announcement.inner_text() == "2 replicas take turns", "what is said")
    assert len(said) <= 4  # not one for each sample
    assert page.locator("#tiles svg").first.evaluate("symbol => getComputedStyle(symbol).rotate") == "none"
    page.get_by_role("button", name="Pause").press("Space")
    assert page.get_by_role("button", name="Pause", pressed=True).count() == 1
    wall.wait(lambda: wall.in_flight == 0, "what is under way")
    assert wall.total() >= 10
    page.get_by_role("button", name="Reset").press("Enter")
    assert wall.total() == 0
    assert wall.tiles() == wall.lanes() == {}
