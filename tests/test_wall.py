"""The wall in a real browser, behind real balancers: does it show what they do, and claim no more than it saw?"""

import contextlib
import http.client
import importlib.util
import os
import random
import re
import signal
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from balancers import PROCESSES, Balancer, Stage, replica, stage
from conftest import ROOT, Image, missing, needs, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.host]

if not importlib.util.find_spec("playwright"):
    missing_playwright = "playwright is not installed"
else:
    missing_playwright = ""
    from playwright.sync_api import Page, Route, sync_playwright


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    if missing_playwright:
        missing("playwright", missing_playwright)
    path = needs("chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Wall:
    """The page at /wall, read as a person reads it."""

    def __init__(self, page: "Page", url: str, rate: str = "40") -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(f"{url}/wall")
        page.get_by_label("Rate").select_option(rate)

    def verdict(self) -> str:
        return self.page.inner_text("#verdict")

    def n(self) -> int:
        return int(re.search(r"\(n=(\d+)\)$", self.verdict())[1])

    def tiles(self) -> dict[str, dict]:
        """By name: count, share in per cent, whether it is a ghost, and all that it says."""
        read = """() => draw() || [...document.querySelectorAll("#tiles li")].map(
            tile => [tile.children[3].textContent, tile.children[1].textContent, tile.className, tile.innerText])"""
        found = {}
        for full, name, state, words in self.page.evaluate(read):
            key = name if state == "fail" else full
            count, share = int(re.search(r"(\d+)\u00d7", words)[1]), float(re.search(r"([\d.]+)%", words)[1])
            found[key] = {"count": count, "share": share, "state": state, "words": words}
        return found

    def lanes(self) -> dict[str, list[int]]:
        """By label: in which of the last 180 seconds it was seen."""
        read = """() => [...document.querySelectorAll("#lanes li")].map(
            lane => [lane.innerText, lane.querySelector("path").getAttribute("d") || ""])"""
        return {label.strip(): [int(at) for at in re.findall(r"M(\d+),", d)] for label, d in self.page.evaluate(read)}

    def gaps(self) -> tuple[int, int, int] | None:
        """How many, the latest and the longest in ms."""
        found = re.search(r"gaps (\d+): latest (\d+) ms, longest (\d+) ms", self.page.inner_text("#facts"))
        return found and tuple(map(int, found.groups()))

    def wait(self, condition: Callable[[], object], what: str) -> object:
        def checked() -> object:
            assert not self.errors
            return condition()

        return wait_until(checked, f"{what}; the verdict is {self.verdict()!r}")

    def wait_for_verdict(self, pattern: str) -> re.Match:
        return self.wait(lambda: re.match(pattern, self.verdict()), pattern)

    def stop(self) -> None:
        """Pause it, and let what is under way come in."""
        self.page.get_by_role("button", name="Pause").click()
        self.page.wait_for_function("() => busy === 0")
        self.page.evaluate("draw()")


@pytest.fixture
def wall(browser: object) -> Iterator[Callable[..., Wall]]:
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    opened: list[Wall] = []

    def open_one(url: str, **options: str) -> Wall:
        opened.append(Wall(context.new_page(), url, **options))
        return opened[-1]

    yield open_one
    context.close()
    assert [error for one in opened for error in one.errors] == []


@pytest.fixture(params=["processes", pytest.param("containers", marks=pytest.mark.containers)])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """Where the replicas are processes of this host, and where they are containers."""
    shape = Image(request.getfixturevalue("image")) if request.param == "containers" else PROCESSES
    with stage(tmp_path, shape) as made:
        yield made


only_processes = pytest.mark.parametrize("play", ["processes"], indirect=True)


def names(number: int) -> list[str]:
    return [f"web-{i + 1}" for i in range(number)]


def agree(wall: Wall, balancer: Balancer) -> None:
    """The shares of the wall are those of the balancer's own count, within 3 points."""
    wall.stop()
    tiles = wall.tiles()
    shown = sum(tile["count"] for tile in tiles.values())
    wait_until(lambda: sum(balancer.counted().values()) >= shown, "the balancer's count")
    counted = balancer.counted()
    whole = sum(counted.values())
    assert whole > 60
    for name, count in counted.items():
        assert tiles[name]["share"] == pytest.approx(100 * count / whole, abs=3)


def test_page_is_small_and_self_contained() -> None:
    sent = assembled()
    assert len(zlib.compress(sent, 9)) <= 4300  # as the static program has it
    assert re.findall(rb"(?:src|href)\s*=|https?:|@import|url\(", sent) == []


# Statistics: `judge` on draws whose distribution is known

JUDGE = """([runs, same, step]) => runs.flatMap(run => {
    const all = run.map(([who, bare, kept, nth]) => ({who, bare: !!bare, same: kept ? "?keep=1" : "", nth}));
    const ends = step ? Array.from({length: all.length / step}, (_, i) => (i + 1) * step) : [all.length];
    return ends.map(end => judge(all.slice(0, end), same));
})"""
LOOK = 50  # samples from one look at the wall to the next


@pytest.fixture(scope="module")
def judge(browser: object) -> Iterator[Callable]:
    """What the wall says of runs of samples: (replica, without cookies?, kept connection?, its number in that)."""
    page = browser.new_page()
    page.route("**/whoami*", lambda route: route.abort())
    page.route("**/wall", lambda route: route.fulfill(body=assembled(), content_type="text/html"))
    page.goto("http://127.0.0.1:9/wall")
    yield lambda runs, same="", step=0: page.evaluate(JUDGE, [runs, same, step])
    page.close()


def assembled() -> bytes:
    page = (ROOT / "build/csrc/wall.h").read_text()
    return bytes(map(int, re.search(r"\{([\d,]+)\};", page)[1].split(",")))


def drawn(weights: list[float], n: int, seed: int) -> list[list]:
    chance = random.Random(seed)
    return [[kind, chance.random() < 0.2, 0, 1] for kind in chance.choices(range(len(weights)), weights, k=n)]


def in_turn(pattern: list[int], n: int, seed: int = 1) -> list[list]:
    chance = random.Random(seed)
    return [[pattern[i % len(pattern)], chance.random() < 0.2, 0, 1] for i in range(n)]


@pytest.mark.parametrize("k", [2, 3, 5, 10])
def test_random_and_even_is_never_called_otherwise(judge: Callable, k: int) -> None:
    said = judge([drawn([1] * k, 1000, seed) for seed in range(40)], step=LOOK)
    assert {re.sub(r"\d+$", "", words) for words, _, _ in said} <= {"not enough samples yet", "even across "}
    assert k == 10 or [words for words, *_ in said[19::20]].count(f"even across {k}") >= 38  # of 40 that are complete


@pytest.mark.parametrize("k", [2, 3, 5, 10])
def test_turns_are_even(judge: Callable, k: int) -> None:
    said = judge([in_turn(list(range(k)), 1000)], step=LOOK)
    assert said[-1][0] == f"even across {k}"
    assert {words for words, _, _ in said} <= {"not enough samples yet", f"even across {k}"}


@pytest.mark.parametrize("weights", [[80, 20], [90, 10], [50, 30, 20], [95, 5], [70, 10, 10, 10]])
@pytest.mark.parametrize("way", ["random", "turns"])
def test_weights_are_within_what_is_claimed(judge: Callable, weights: list[int], way: str) -> None:
    pattern = [kind for kind, weight in enumerate(weights) for _ in range(weight)]
    random.Random(1).shuffle(pattern)
    runs = [drawn(weights, 1000, seed) if way == "random" else in_turn(pattern, 1000, seed) for seed in range(20)]
    said = judge(runs, step=LOOK)
    weighted = [(words, more) for words, more, _ in said if words.startswith("weighted about ")]
    claimed = [(words, int(re.search(r"\d+", more)[0])) for words, more in weighted]
    assert len(claimed) > 20 * 10
    for words, points in claimed:
        shares = [int(part) for part in words.removeprefix("weighted about ").split(":")]
        assert len(shares) == len(weights)
        assert [abs(a - b) <= points + 1 for a, b in zip(shares, weights, strict=True)] == [True] * len(weights)
    others = {re.sub(r"\d+", "", words) for words, _, _ in said if not words.startswith("weighted")}
    assert others <= {"not enough samples yet", "uneven across ", "one replica only"}
    assert all(n < 60 for words, _, n in said if words == "one replica only")  # of 20 runs of 95:5 and the like


@pytest.mark.parametrize("weights", [[60, 40], [45, 30, 25], [30, 20, 20, 15, 15]])
def test_a_slight_slope_is_not_even_beyond_what_is_said(judge: Callable, weights: list[int]) -> None:
    said = judge([drawn(weights, 1000, seed) for seed in range(40)], step=LOOK)
    for words, more, _ in said:
        if words.startswith("even"):
            points = int(re.search(r"\d+", more)[0])
            assert max(abs(weight - 100 / len(weights)) for weight in weights) <= points + 1
    assert sum(words.startswith("weighted") for words, _, _ in said) > 100


def test_too_few_samples_are_no_sample(judge: Callable) -> None:
    said = judge([[[0, 0, 0, 1]] * n for n in (0, 1, 29, 30)] + [in_turn([0, 1], 39), in_turn([0, 1, 2], 59)])
    assert [(words, n) for words, _, n in said] == [
        ("not enough samples yet", 0),
        ("not enough samples yet", 1),
        ("not enough samples yet", 29),
        ("one replica only", 30),
        ("not enough samples yet", 39),
        ("not enough samples yet", 59),
    ]
    assert said[3][1] == ", others under 15 %"  # 0.85 ** 30 is less than a hundredth


def test_a_cookie_holds_only_if_without_it_others_answer(judge: Callable) -> None:
    chance = random.Random(5)
    tied = [[chance.randrange(3), 1, 0, 1] if chance.random() < 0.2 else [0, 0, 0, 1] for _ in range(400)]
    lone = [[0, chance.random() < 0.2, 0, 1] for _ in range(400)]
    aside = [[1, 1, 0, 1] if chance.random() < 0.2 else [0, 0, 0, 1] for _ in range(400)]  # without: another, always
    early = tied[:60]
    said = judge([tied, lone, aside, early])
    assert [words for words, _, _ in said] == [
        "sticky by cookie",
        "one replica only",
        "not enough samples yet",
        "not enough samples yet",
    ]


def test_a_connection_holds_only_if_new_ones_differ(judge: Callable) -> None:
    fresh = [[kind, 0, 0, 1] for kind, *_ in drawn([1, 1, 1], 100, 3)]
    held = [[1, 0, 1, nth + 1] for nth in range(60)]
    pooled = [[nth % 3, 0, 1, 5 + nth // 3] for nth in range(300)]
    moved = held + [[2, 0, 1, nth + 1] for nth in range(60)]
    lone = [[1, 0, 0, 1]] * 100
    said = judge([fresh + held, held, fresh + pooled, fresh + moved, lone + held], "?keep=1")
    assert [words for words, _, _ in said] == [
        "sticky by connection",
        "one replica on this connection",
        "even across 3",
        "sticky by connection",
        "one replica on this connection",
    ]


def test_runs_are_not_weights(judge: Callable) -> None:
    run = [[i // 25 % 2, 0, 0, 1] for i in range(400)]
    assert judge([run])[0][0] == "in runs: sticky, or shifting"


def test_shares_that_change_are_judged_since(judge: Callable) -> None:
    run = drawn([1, 1], 500, 7) + drawn([9, 1], 500, 8)
    words, _, n = judge([run])[0]
    assert re.fullmatch(r"weighted about (8[6-9]|9[0-4]):\d+", words)
    assert n <= 500


# Real balancers


@pytest.mark.proxies
@pytest.mark.parametrize("number", [3, 5])
@pytest.mark.parametrize("tool", ["haproxy", "nginx"])
def test_round_robin(tool: str, number: int, play: Stage, wall: Callable[..., Wall]) -> None:
    play.add(*names(number))
    balancer = play.balance(tool)
    seen = wall(balancer.url)
    seen.wait_for_verdict(rf"even across {number}, ±\d+ points \(n=\d+\)")
    assert set(seen.tiles()) == set(names(number))
    assert {tile["state"] for tile in seen.tiles().values()} == {""}
    agree(seen, balancer)


@pytest.mark.proxies
@pytest.mark.parametrize("tool", ["haproxy", "nginx"])
def test_weighted(tool: str, play: Stage, wall: Callable[..., Wall]) -> None:
    play.add(*names(2))
    given = {"haproxy": ["weight 80", "weight 20"], "nginx": ["weight=80", "weight=20"]}[tool]
    balancer = play.balance(tool, server=given)
    seen = wall(balancer.url)
    found = seen.wait_for_verdict(r"weighted about (\d+):(\d+), ±(\d+) points")
    assert [int(found[1]), int(found[2])] == pytest.approx([80, 20], abs=int(found[3]))
    agree(seen, balancer)


@pytest.mark.proxies
@pytest.mark.parametrize("tool", ["haproxy", "nginx"])
def test_sticky_by_cookie(tool: str, play: Stage, wall: Callable[..., Wall]) -> None:
    play.add(*names(3))
    balancer = play.balance(tool, sticky=True)
    seen = wall(balancer.url)
    seen.wait_for_verdict(r"sticky by cookie \(n=\d+\)")
    agree(seen, balancer)


@pytest.mark.proxies
def test_layer_4_is_sticky_by_connection(play: Stage, wall: Callable[..., Wall]) -> None:
    play.add(*names(3))
    balancer = play.balance("haproxy", mode="tcp")
    seen = wall(balancer.url)
    seen.wait_for_verdict("even across 3")
    agree(seen, balancer)
    seen.page.get_by_role("button", name="Pause").click()
    seen.page.get_by_label("Connection").select_option("?keep=1")
    seen.wait_for_verdict(r"sticky by connection \(n=\d+\)")
    seen.page.get_by_role("button", name="Reset").click()  # what new connections did is forgotten
    seen.wait_for_verdict(r"one replica on this connection \(n=\d+\)")


@pytest.mark.proxies
@only_processes
def test_layer_7_is_not_sticky_by_connection(play: Stage, wall: Callable[..., Wall]) -> None:
    play.add(*names(3))
    seen = wall(play.balance("haproxy").url)
    seen.wait_for_verdict("even across 3")
    seen.page.get_by_label("Connection").select_option("?keep=1")
    seen.wait_for_verdict("not enough samples yet")
    seen.wait_for_verdict("even across 3")


@pytest.mark.proxies
@only_processes
def test_one_replica(play: Stage, wall: Callable[..., Wall]) -> None:
    play.add("web-1")
    seen = wall(play.balance("nginx").url)
    seen.wait_for_verdict(r"one replica only, others under \d+ % \(n=\d+\)")


class Client(threading.Thread):
    """Asks for /whoami as often as the wall does, by itself; how long it went without an answer, in ms."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.longest = 0.0
        self._port = port
        self._done = threading.Event()

    def run(self) -> None:
        good, failed = 0.0, False
        while not self._done.wait(1 / 40):
            answered = self._ask()
            now = time.monotonic() * 1000
            if answered:
                self.longest = max(self.longest, now - good) if failed and good else self.longest
                good = now
            failed = not answered

    def _ask(self) -> bool:
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=3)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(client):
            client.request("GET", "/whoami")
            with client.getresponse() as answer:
                return answer.status == 200
        return False

    def stop(self) -> None:
        self._done.set()
        self.join()


@pytest.mark.proxies
def test_killed_replica_leaves_a_gap_and_a_ghost(play: Stage, wall: Callable[..., Wall]) -> None:
    play.add(*names(2))
    checked = "check inter 500ms fall 3"
    balancer = play.balance("haproxy", server=[checked, f"{checked} backup"])
    seen = wall(balancer.url)
    seen.wait_for_verdict("one replica only")
    client = Client(balancer.port)
    client.start()
    try:
        wait_until(lambda: balancer.counted()["web-1"] > seen.n() + 20, "the client's own samples")
        play.replicas["web-1"].kill()
        gaps = seen.wait(seen.gaps, "the gap")
        seen.wait(lambda: seen.tiles().get("web-1", {}).get("state") == "gone", "the ghost")
        seen.wait_for_verdict("one replica only")
    finally:
        client.stop()
    tiles = seen.tiles()
    assert re.search(r"silent \d+ s", tiles["web-1"]["words"])
    assert "up " not in tiles["web-1"]["words"]
    assert tiles["web-2"]["state"] == ""
    assert tiles["HTTP 503"]["state"] == "fail"
    assert tiles["HTTP 503"]["count"] > 10
    assert gaps[2] >= 500
    assert gaps[2] == pytest.approx(client.longest, rel=0.2)


@pytest.mark.proxies
@only_processes
def test_failures_are_told_apart(play: Stage, wall: Callable[..., Wall]) -> None:
    play.add("web-1")
    balancer = play.balance("haproxy")
    seen = wall(balancer.url, rate="20")
    seen.wait(lambda: "web-1" in seen.tiles(), "its tile")
    other = play.replicas["plain"] = replica(play.folder, "plain", "--plain")
    balancer.replace("web-1", other)
    assert "no whoami" in seen.wait(lambda: seen.tiles().get("HTTP 200"), "a page instead")["words"]
    for process in (other.pid, *other.workers()):  # the parent first, which would replace a worker that hangs
        os.kill(process, signal.SIGSTOP)
    seen.wait(lambda: seen.tiles().get("timed out"), "a timeout")
    other.kill()
    seen.wait(lambda: seen.tiles().get("HTTP 503"), "what HAProxy says then")
    balancer.stop()
    assert "refused, reset, name or CORS" in seen.wait(lambda: seen.tiles().get("no connection"), "refusal")["words"]
    shares = [tile["share"] for tile in seen.tiles().values()]
    assert sum(shares) == pytest.approx(100, abs=0.5)


@pytest.mark.proxies
def test_rolling_deploy_shows_in_lanes(play: Stage, wall: Callable[..., Wall]) -> None:
    play.add(*names(3))
    balancer = play.balance("haproxy")
    seen = wall(balancer.url)
    seen.wait_for_verdict("even across 3")
    for number in (1, 2, 3):
        new, old = f"web-{number + 3}", f"web-{number}"
        play.add(new, version="v2")
        balancer.replace(old, play.replicas[new])
        assert play.replicas[old].stop() == 0
        seen.wait(lambda new=new: new in seen.tiles(), new)
        seen.wait(lambda old=old: seen.tiles()[old]["state"] == "gone", f"{old} to be missed")
    seen.wait_for_verdict("even across 3")
    lanes = seen.lanes()
    assert set(lanes) == {f"web-{i} v{1 + (i > 3)}" for i in range(1, 7)}
    for number in (1, 2, 3):
        assert max(lanes[f"web-{number} v1"]) <= min(lanes[f"web-{number + 3} v2"]) + 1
        assert max(lanes[f"web-{number + 3} v2"]) >= 178
    ends = [max(lanes[f"web-{number} v1"]) for number in (1, 2, 3)]
    assert ends == sorted(ends)
    assert ends[2] < 178


# The page


def answering(page: "Page", answer: Callable[[], dict]) -> None:
    """Have a page whose samples are answered by the test."""

    def fulfil(route: "Route") -> None:
        route.fulfill(json=answer())

    page.route("**/prefix/wall", lambda route: route.fulfill(body=assembled(), content_type="text/html"))
    page.route("**/prefix/whoami*", fulfil)


def test_a_rare_replica_is_not_forgotten(browser: object) -> None:
    turn = iter(range(10**6))
    page = browser.new_page()
    answering(page, lambda: {"host": f"web-{1 + (next(turn) == 5)}", "colours": ["#00b4b4", "#f5b800"]})
    seen = Wall(page, "http://127.0.0.1:9/prefix")
    seen.wait(lambda: seen.n() > 60, "samples since the second replica came")
    assert seen.verdict().startswith("not enough samples yet")
    assert seen.tiles()["web-2"]["state"] == ""
    page.close()


def test_hostile_names_and_colours_are_only_text(browser: object) -> None:
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
    page = browser.new_page()
    answering(page, lambda: hostile)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append("dialog"))
    seen = Wall(page, "http://127.0.0.1:9/prefix")
    tile = seen.wait(lambda: seen.tiles().get("<img src=x onerror=alert(1)>"), "its tile")
    assert "</b><script>alert(1)</script>" in tile["words"]
    assert "draining" in tile["words"]
    assert page.locator("#tiles img, #tiles script").count() == 0
    assert page.locator("#tiles li").first.get_attribute("style").startswith("--a: #888; --b: #888")
    assert set(asked) <= {"http://127.0.0.1:9/prefix/wall", "http://127.0.0.1:9/prefix/whoami"}
    assert seen.errors == []
    page.close()


def test_memory_is_bounded(browser: object) -> None:
    page = browser.new_page()
    page.clock.install()
    answering(page, dict)
    page.add_init_script("""asked = 0; fetch = async () => new Response(JSON.stringify(
        {host: "web-" + asked++, colours: ["#000000", "#ffffff"]}))""")  # without a way that takes time
    seen = Wall(page, "http://127.0.0.1:9/prefix")
    seconds = "Math.max(...[...kinds.values()].map(who => who.seconds.length))"
    sizes = "draw() || [log, [...kinds], tiles.children, lanes.children, stream.children].map(all => all.length)"
    for _ in range(12):
        page.clock.run_for(5000)
    assert page.evaluate("asked") > 1500
    assert page.evaluate(sizes) == [1000, 200, 200, 200, 100]
    page.evaluate("fetch = async () => new Response(JSON.stringify({host: 'web-0', colours: []}))")
    page.clock.run_for(45_000)  # a window full of it
    for _ in range(185):
        page.clock.fast_forward(1000)
    assert page.evaluate(sizes) == [1000, 1, 1, 1, 100]
    assert page.evaluate(seconds) in range(170, 182)
    assert seen.errors == []
    page.close()


def test_sleep_is_no_outage_and_no_burst_follows(browser: object) -> None:
    up = True
    asked = 0

    def answer(route: "Route") -> None:
        nonlocal asked
        asked += 1
        if up:
            route.fulfill(json={"host": "web-1", "colours": ["#000000", "#ffffff"]})
        else:
            route.abort()

    page = browser.new_page()
    page.clock.install()
    answering(page, dict)
    page.route("**/prefix/whoami*", answer)
    seen = Wall(page, "http://127.0.0.1:9/prefix")

    def passing(condition: Callable[[], object], what: str) -> None:
        """While the page's clock goes on; its samples take real time."""
        seen.wait(lambda: page.clock.run_for(100) or condition(), what)

    passing(lambda: "web-1" in seen.tiles(), "its tile")
    seen.wait(lambda: page.evaluate("busy") == 0, "what is under way")
    up = False
    before = asked
    page.clock.fast_forward(3600_000)
    assert asked <= before + 2
    passing(lambda: "no connection" in seen.tiles(), "a failure")
    up = True
    answers = seen.tiles()["web-1"]["count"]
    passing(lambda: seen.tiles()["web-1"]["count"] > answers, "its next answer")
    assert seen.gaps() is None
    page.close()


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (400, "light"), (1200, "dark"), (1920, "light")])
def test_layout_is_stable_and_legible(width: int, scheme: str, browser: object) -> None:
    turn = iter(range(10**6))
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    answering(page, lambda: {"host": f"yinyang-7d4b9c6f5-x2x{next(turn) % 4}", "colours": ["#00b4b4", "#f5b800"]})
    seen = Wall(page, "http://127.0.0.1:9/prefix")
    seen.wait(lambda: len(seen.tiles()) == 4, "all tiles")
    # from when the last tile has been painted
    page.evaluate("""() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {
        window.shifts = [];
        new PerformanceObserver(list => {
            for (const {sources} of list.getEntries())
                for (const {node, previousRect, currentRect} of sources)
                    if (!stream.contains(node))  // whose ticks are there to move
                        shifts.push([node?.outerHTML ?? node?.data, previousRect.toJSON(), currentRect.toJSON()]);
        }).observe({type: "layout-shift"});
        done();
    })))""")
    start = seen.n()
    seen.wait(lambda: seen.n() > start + 60 or seen.verdict().startswith("even"), "more samples")
    assert page.evaluate("shifts") == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for part in page.locator("#tiles circle:first-child, #tiles path").all():
        assert part.bounding_box()["height"] >= 50
    ratio = page.evaluate("""() => {
        const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
        const light = colour => {
            canvas.fillStyle = colour;
            canvas.fillRect(0, 0, 1, 1);
            const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(
                c => c / 255 <= .04045 ? c / 255 / 12.92 : ((c / 255 + .055) / 1.055) ** 2.4);
            return .2126 * r + .7152 * g + .0722 * b;
        };
        const tile = getComputedStyle(document.querySelector("#tiles li")).backgroundColor;
        return ["h1", "#facts", "#tiles small", "#tiles em", "#tiles b"].map(one => {
            const pair = [getComputedStyle(document.querySelector(one)).color, tile].map(light).sort((a, b) => b - a);
            return (pair[0] + .05) / (pair[1] + .05);
        });
    }""")
    assert min(ratio) >= 4.5
    assert seen.errors == []
    page.close()


def test_keyboard_and_screen_reader(browser: object) -> None:
    page = browser.new_page(reduced_motion="reduce")
    turn = iter(range(10**6))
    answering(page, lambda: {"host": f"web-{next(turn) % 2}", "colours": ["#00b4b4", "#f5b800"]})
    seen = Wall(page, "http://127.0.0.1:9/prefix")
    order = []
    page.locator("body").click(position={"x": 1, "y": 1})
    for _ in range(5):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id"))
    assert order == ["rate", "most", "keep", "pause", "reset"]
    for name in ("Rate", "In flight, at most", "Connection"):
        assert page.get_by_role("combobox", name=name).count() == 1
    live = page.get_by_role("status")
    said: list[str] = []

    def heard(words: str) -> None:
        said.append(words)

    page.expose_function("heard", heard)
    page.evaluate("""() => new MutationObserver(() => heard(live.textContent))
        .observe(live, {childList: true, characterData: true, subtree: true})""")
    seen.wait_for_verdict("even across 2")
    seen.wait(lambda: live.inner_text() == "even across 2", "what is said")
    assert len(said) <= 2  # not one for each sample
    assert page.evaluate('getComputedStyle(document.querySelector("#tiles svg")).rotate') == "none"
    page.get_by_role("button", name="Pause").press("Space")
    assert page.get_by_role("button", name="Pause", pressed=True).count() == 1
    seen.page.wait_for_function("() => busy === 0")
    stopped = page.evaluate("log.length")
    page.get_by_role("button", name="Reset").press("Enter")
    assert stopped >= 40
    assert page.evaluate("[log.length, kinds.size]") == [0, 0]
    assert seen.tiles() == seen.lanes() == {}
    page.close()
