"""The page at /wall in a browser, read as a person reads it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conftest import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page, Request

SIMULATED = "http://127.0.0.1:9/prefix"  # where a test answers what the wall asks


@dataclass
class Tile:
    """What a tile says; `state` has its classes, such as "gone", "silent", "failing" and "failure"."""

    count: int  # of its samples
    share: float | None  # in per cent; None if it has none
    state: str
    text: str


class Wall:
    """A wall that samples what is at a URL."""

    def __init__(self, page: "Page", url: str = SIMULATED, rate: str = "40", path: str = "wall") -> None:
        self.page = page
        self.errors: list[str] = []
        self.asked = 0  # requests for whoami
        self.in_flight = 0
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._note_violation)
        page.on("request", lambda request: self._count(request, 1))
        page.on("requestfinished", lambda request: self._count(request, -1))
        page.on("requestfailed", lambda request: self._count(request, -1))
        page.goto(f"{url}/{path}")
        page.get_by_label("Rate").select_option(rate)

    def verdict(self) -> str:
        return self.page.inner_text("#verdict")

    def tiles(self) -> dict[str, Tile]:
        """By host, or by kind of failure, as they were last drawn."""
        read = """() => [...document.querySelectorAll("#tiles li")].map(tile => [
            tile.source.record?.host ?? tile.source.name,
            tile.source.count,
            tile.querySelector(".share").textContent,
            tile.className,
            tile.innerText,
        ])"""
        return {
            name: Tile(count, None if share == "\u2013" else float(share.removesuffix(" %")), state, text)
            for name, count, share, state, text in self.page.evaluate(read)
            if share  # else it has not been drawn yet
        }

    def replicas(self) -> dict[str, Tile]:
        """Tiles of those that are replicas: a browser also fails, by itself, when the host's network changes."""
        return {name: tile for name, tile in self.tiles().items() if "failure" not in tile.state}

    def lanes(self) -> dict[str, list[int]]:
        """By label: in which of the last 180 seconds it was seen."""
        read = """() => [...document.querySelectorAll("#lanes li")].map(
            lane => [lane.querySelector(".name").textContent, lane.querySelector("path").getAttribute("d") || ""])"""
        return {
            label.strip(): [int(second) for second in re.findall(r"M(\d+),", path)]
            for label, path in self.page.evaluate(read)
        }

    def longest_gap(self) -> int | None:
        """In ms; None if there was none."""
        found = re.search(r"longest gap (\d+) ms", self.page.inner_text("#facts"))
        return found and int(found[1])

    def wait(self, condition: Callable[[], object], what: str) -> object:
        def checked() -> object:
            self.page.evaluate("0")  # any call lets events of the page come in
            assert not self.errors
            return condition()

        return wait_until(checked, f"{what}; the verdict is {self.verdict()!r}")

    def wait_for_verdict(self, pattern: str) -> re.Match:
        return self.wait(lambda: re.match(pattern, self.verdict()), pattern)

    def press(self, button: str) -> None:
        self.page.get_by_role("button", name=button).click()

    def total(self) -> int:
        """How many samples the page has."""
        return int(re.search(r"failed \d+ of (\d+)", self.page.inner_text("#facts"))[1])

    def stop(self) -> None:
        """Pause it, and let what is under way come in."""
        self.press("Pause")
        self.wait(lambda: self.in_flight == 0 and self.total() == self.asked, "the requests in flight")

    def _note_violation(self, message: "ConsoleMessage") -> None:
        """Of the Content-Security-Policy; a failed request is another message."""
        if "Content Security Policy" in message.text:
            self.errors.append(message.text)

    def _count(self, request: "Request", change: int) -> None:
        if "/whoami" in request.url:
            self.in_flight += change
            self.asked += change > 0
