"""The wall's controls: groups, faults, recordings, keys, and how it sends requests."""

import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from wall.page import SIMULATED, Wall

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.browser

NewPage = Callable[..., "Page"]
COLOURS = ["#00b4b4", "#f5b800"]


class Cluster:
    """Four replicas that take turns, one of which has another version; notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.times: list[float] = []
        self._turns = itertools.cycle(range(4))

    def answer(self, route: "Route") -> None:
        self.asked.append(route.request.url)
        self.times.append(time.monotonic())
        number = next(self._turns)
        version = "v2" if number == 3 else "v1"
        route.fulfill(json={"host": f"web-{number}", "version": version, "zone": f"z{number % 2}", "colours": COLOURS})

    def queries(self) -> list[dict[str, list[str]]]:
        return [parse_qs(urlsplit(url).query) for url in self.asked]


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def wall(cluster: Cluster, new_page: NewPage) -> Wall:
    return Wall(new_page(cluster.answer))


def test_groups(wall: Wall) -> None:
    wall.wait_for_verdict("4 replicas take turns")
    wall.page.locator("#by").select_option("version")
    assert len(wall.tiles()) == 2  # what was seen before is counted anew
    wall.wait_for_verdict("v1 gets 75 %, v2 25 %")
    wall.page.locator("#by").select_option("zone")
    wall.wait_for_verdict("2 zones take turns|z0 gets 50 %, z1 50 %")
    assert "by=zone" in wall.page.url
    assert wall.page.get_by_role("img").get_attribute("aria-label").startswith("z")


def test_the_address_keeps_the_controls(wall: Wall, cluster: Cluster) -> None:
    wall.page.goto(f"{SIMULATED}/wall#rate=20&by=node&connection=same&fail=30&latency=500&target=v2&unknown=1&rate=7")
    for control, value in (("#rate", "20"), ("#by", "node"), ("#connection", "same"), ("#target", "v2")):
        wall.wait(lambda at=control, value=value: wall.page.locator(at).input_value() == value, control)
    wall.wait(
        lambda: cluster.queries()[-1] == {"keep": ["1"], "fail": ["30"], "latency": ["500ms"], "if": ["v2"]},
        "what is asked for",
    )


def test_faults_are_asked_for_and_shown(wall: Wall, cluster: Cluster) -> None:
    wall.wait_for_verdict("4 replicas take turns")
    assert not any(cluster.queries())
    wall.page.get_by_text("Faults and recording").click()
    wall.page.locator("#target").select_option("v2")
    wall.page.get_by_label("fails").fill("50")
    wall.page.get_by_label("is late").fill("300")
    wall.wait(lambda: cluster.queries()[-1] == {"fail": ["50"], "latency": ["300ms"], "if": ["v2"]}, "the fault")
    wall.wait(lambda: "you cause: 50 % fail, 300 ms late" in wall.tiles()["web-3"].text, "the words on its tile")
    assert "you cause" not in wall.tiles()["web-0"].text
    assert "you cause for v2: 50 % fail, 300 ms late" in wall.page.inner_text("#facts")


def test_a_recording_is_saved_and_opened_again(wall: Wall, tmp_path: Path) -> None:
    wall.wait_for_verdict("4 replicas take turns")
    wall.stop()
    wall.page.get_by_text("Faults and recording").click()
    with wall.page.expect_download() as download:
        wall.press("Save")
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    records = [json.loads(line) for line in saved.read_text().splitlines()]
    assert len(records) == wall.total()
    assert {"at", "ms", "host", "version", "zone", "colours"} <= set(records[0])
    assert all(before["at"] <= after["at"] for before, after in itertools.pairwise(records))
    before = wall.tiles()
    wall.press("Reset")
    assert wall.tiles() == {}
    # as the watch writes it: a first line about the run, and whose a failure was
    failed = {"at": records[-1]["at"], "ms": 5, "failure": 500, "served_by": "web-3"}
    lines = [{"url": "http://x/"}, *records, failed]
    saved.write_text("".join(json.dumps(line) + "\n" for line in lines))
    wall.page.get_by_label("Open").set_input_files(saved)
    wall.wait(lambda: wall.total() == len(records) + 1, "the recording")
    after = {name: tile.count for name, tile in wall.tiles().items()}
    assert after == {name: tile.count + (name == "web-3") for name, tile in before.items()}
    assert "a recording, at" in wall.page.inner_text("#facts")
    wall.page.get_by_label("Position").fill("50")
    wall.wait(lambda: 0 < wall.total() < len(records), "a part of it")
    wall.page.get_by_label("Open").set_input_files({"name": "x.jsonl", "mimeType": "", "buffer": b"no\n{}\n"})
    wall.wait(lambda: "x.jsonl has no samples" in wall.page.inner_text("#said"), "what is wrong")


def test_keys(wall: Wall) -> None:
    wall.wait_for_verdict("4 replicas take turns")
    wall.page.locator("body").press("f")
    wall.wait(lambda: not wall.page.locator("#facts").is_visible(), "the full screen")
    wall.page.locator("body").press("f")
    wall.wait(lambda: wall.page.locator("#facts").is_visible(), "the controls again")
    wall.page.locator("body").press("p")
    assert wall.page.get_by_role("button", name="Pause", pressed=True).count() == 1
    wall.wait(lambda: wall.in_flight == 0, "what is under way")
    wall.page.locator("body").press("r")
    assert wall.total() == 0
    wall.page.locator("#rate").press("p")  # a letter that is typed into a control is none
    assert wall.page.get_by_role("button", name="Pause", pressed=True).count() == 1


def test_burst(wall: Wall, cluster: Cluster) -> None:
    wall.page.get_by_label("Rate").select_option("1")
    wall.wait(lambda: wall.total() > 1, "the first samples")
    before = len(cluster.asked)
    wall.press("Burst")
    wall.wait(lambda: len(cluster.asked) > before + 15, "many at once")


def test_intervals_are_random(wall: Wall, cluster: Cluster) -> None:
    """Exact ones would keep step with a rotation that somebody else uses too."""
    wall.wait(lambda: len(cluster.times) > 120, "many requests")
    intervals = [after - before for before, after in itertools.pairwise(cluster.times[20:])]
    assert statistics.stdev(intervals) > 0.5 * statistics.mean(intervals)


def test_late_timers_do_not_lower_the_rate(cluster: Cluster, new_page: NewPage) -> None:
    """On a clock of the page's own, whose timers come 5 ms late; nor does a sleep of an hour raise it."""
    page = new_page(cluster.answer)
    page.clock.install()
    page.add_init_script("""asked = 0;
        fetch = async () => { asked++; return new Response('{"host": "web-1"}'); };
        const inTime = setTimeout;
        setTimeout = (act, ms, ...given) => inTime(act, Math.max(ms, 0) + 5, ...given);""")
    wall = Wall(page)
    for _ in range(3):
        before = page.evaluate("asked")
        page.clock.run_for(100_000)
        # their number is random, with a standard deviation of 63
        assert page.evaluate("asked") - before == pytest.approx(4000, abs=400)
        page.clock.fast_forward(3600_000)
    assert wall.errors == []


def test_one_that_hangs_does_not_stop_the_others(new_page: NewPage) -> None:
    """Not more than six wait, as a browser allows, and they are given up when others need their connections."""
    turns = itertools.count()
    waiting: list[Route] = []

    def answer(route: "Route") -> None:
        if next(turns) > 30 and next(turns) % 3 == 0:
            waiting.append(route)
        else:
            route.fulfill(json={"host": "web-1", "colours": COLOURS})

    wall = Wall(new_page(answer), rate="20")
    wall.wait_for_verdict(r".*requests? fail.*: timed out")
    assert wall.in_flight <= 6
    before = wall.tiles()["web-1"].count
    wall.wait(lambda: wall.tiles()["web-1"].count > before + 20, "more answers")
    assert wall.tiles()["timed out"].count >= 3


@pytest.mark.parametrize("login", ["401", "redirect"])
def test_a_login_in_front(login: str, new_page: NewPage) -> None:
    """A probe without cookies that meets a login is no failure of a replica, and no more are sent."""
    without = itertools.count()

    def answer(route: "Route") -> None:
        if "cookie" in route.request.all_headers():
            route.fulfill(json={"host": "web-1", "colours": COLOURS})
            return
        next(without)
        if login == "401":
            route.fulfill(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        else:
            route.fulfill(status=302, headers={"Location": "https://login.example/"})

    page = new_page(answer)
    page.context.add_cookies([{"name": "session", "value": "1", "url": SIMULATED}])
    wall = Wall(page)
    wall.wait_for_verdict("one replica only: web-1")
    assert list(wall.tiles()) == ["web-1"]
    assert "as nothing else passes the login" in wall.page.inner_text("#facts")
    assert wall.longest_gap() is None
    assert next(without) < 10


def test_an_address_with_a_password(cluster: Cluster, new_page: NewPage) -> None:
    page = new_page(cluster.answer)
    wall = Wall(page, SIMULATED.replace("://", "://user:secret@"))
    wall.wait_for_verdict("4 replicas take turns")
    assert all("secret" not in url for url in cluster.asked)


def test_a_policy_that_forbids_the_script(page_as_sent: tuple[bytes, dict[str, str]], new_page: NewPage) -> None:
    page = new_page(lambda route: route.abort())
    fields = page_as_sent[1] | {"Content-Security-Policy": "default-src 'self'"}
    page.route("**/prefix/wall", lambda route: route.fulfill(body=page_as_sent[0], headers=fields))
    page.goto(f"{SIMULATED}/wall")
    assert page.inner_text("#verdict") == "The wall cannot start"
    assert "Content-Security-Policy" in page.inner_text("#detail")
