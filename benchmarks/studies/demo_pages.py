"""What an audience sees of the same events on the pages of rollouts-demo and faces-demo, and on the wall.

    benchmarks/install-peers                                        # the two demos among others, on Debian, as root
    pip install -e '.[test]' && python setup.py -q build_static
    python -m benchmarks.studies.demo_pages [rollouts-demo faces-demo wall]

Three replicas stand behind HAProxy, which shares requests out in turn, checks nobody's health, and tries nothing again.
Headless Chromium shows a page, and then something happens to web-2. Prints a table in Markdown, and leaves pictures in
build/demo_pages, 10 s after the event. The columns are

mark            Seconds from the event to the first mark of an error: on rollouts-demo, a square or a bar with a border;
                on faces-demo, a face that does not grin, or that fades; on the wall, a headline of what is wrong.
named           Seconds until the page names web-2 with it: on faces-demo, a mark at its pod; on the wall, the headline.
answers         How many squares are lit, or cells are bright, at least: before the event, and in the 15 s after it.
new words       That the page did not have before, without figures; of the wall, its headlines.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from balancers import Balancer, replica
from conftest import ROOT, Replica, Shape, clean_environment, free_port, wait_until

from benchmarks.lib.figures import row

PEERS = ROOT / "build/peers"
PICTURES = ROOT / "build/demo_pages"
STATIC = Shape(str(ROOT / "build/static/yinyang"))
BEFORE, AFTER, PICTURE_AT = 6.0, 15.0, 10.0  # seconds
NAMES = ("web-1", "web-2", "web-3")


class Started(contextlib.ExitStack):
    """Programs, which end together."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def program(self, command: Sequence[str], log: str, cwd: Path, port: int, **variables: str) -> Replica:
        path = self.folder / log
        with path.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, cwd=cwd, env=clean_environment() | variables)
        started = Replica(process, path)
        started.port = port
        self.callback(started.kill)
        wait_until(lambda: listens(started), f"{command[0]}, which listens")
        return started


def listens(started: Replica) -> bool:
    assert started.process.poll() is None, started.log.read_text()
    try:
        started.connect().close()
    except OSError:
        return False
    return True


@dataclass
class Demo:
    """A page, and replicas by name; `fault` is "", "500" or "slow", and `version` is 1 or 2."""

    started: Started

    def replica(self, name: str, fault: str = "", version: int = 1) -> Replica:
        raise NotImplementedError

    def page_of(self, balancer: Balancer) -> str:
        return f"{balancer.url}/"

    look = ""  # a function of JavaScript, which returns how many marks and answers can be seen, and what has a mark


class Rollouts(Demo):
    """A colour is a version. Here each replica has one, so that they can be told apart."""

    look = """() => ({
        marks: document.querySelectorAll(".pixel--error, .bar__fill--error").length,
        answers: document.querySelectorAll("[class*=pixel__]").length,
        second: document.querySelectorAll(".pixel__yellow").length,
        marked: "",
    })"""

    def replica(self, name: str, fault: str = "", version: int = 1) -> Replica:
        folder, port = PEERS / "rollouts-demo", free_port()
        colours = dict(zip(NAMES, ("blue", "yellow", "green"), strict=True))
        variables = {"COLOR": colours[name]}
        # of 100 requests, all but so many fail
        variables |= {"500": {"ERROR_RATE": "1"}, "slow": {"LATENCY": "1"}}.get(fault, {})
        command = ["./bin/rollouts-demo", "--listen-addr", f"127.0.0.1:{port}", "--termination-delay", "0"]
        return self.started.program(command, f"{name}{fault}", folder, port, **variables)


class Faces(Demo):
    """What has replicas is its part `face`, each with a `smiley` and a `color`. Its page is told to show the pods."""

    look = r"""() => {
        const isOdd = cell => {
            const face = cell.querySelector(".cell-smiley").textContent;
            const count = cell.querySelector(".cell-count").textContent;
            return Boolean(face && face != "\u{1F603}" && face != "\u{1F60D}" || count > 0);
        };
        const isFaded = cell => getComputedStyle(cell).opacity < .5;
        const cells = [...document.querySelectorAll("#cells .cell")];
        const pods = [...document.querySelectorAll(".cell-pod-info")];
        return {
            marks: cells.filter(isOdd).length,
            answers: cells.filter(cell => !isFaded(cell)).length,
            second: cells.filter(cell => cell.textContent.includes("\u{1F60D}")).length,
            marked: pods.filter(pod => isOdd(pod) || pod.querySelector(".faded-pod-id")).map(
                pod => pod.querySelector(".cell-pod-id").textContent).join(" "),
        };
    }"""

    def part(self, name: str, log: str, port: int, **variables: str) -> Replica:
        command = [f"./bin/{name}", "--port", str(port)]
        given = {"ENABLE_PROMETHEUS": "false"} | variables
        return self.started.program(command, log, PEERS / "faces-demo", port, **given)

    def replica(self, name: str, fault: str = "", version: int = 1) -> Replica:
        smiley, colour, port = free_port(), free_port(), free_port()
        self.part("smiley", f"smiley-{name}{fault}", smiley, SMILEY=["Grinning", "HeartEyes"][version - 1])
        self.part("color", f"color-{name}{fault}", colour)
        variables = {"500": {"ERROR_FRACTION": "100"}, "slow": {"DELAY_BUCKETS": "1000"}}.get(fault, {})
        services = {"SMILEY_SERVICE": f"127.0.0.1:{smiley}", "COLOR_SERVICE": f"127.0.0.1:{colour}"}
        return self.part("face", f"{name}{fault}", port, HOSTNAME=name, **services, **variables)

    def page_of(self, balancer: Balancer) -> str:
        """Of its program `gui`, which forwards what its page asks for, here to the balancer."""
        port = free_port()
        data = {"DATA_PATH": "assets/html", "SHOW_PODS": "true", "HOSTNAME": "faces-gui"}
        self.part("gui", "gui", port, FACE_SERVICE=f"127.0.0.1:{balancer.port}", **data)
        return f"http://127.0.0.1:{port}/"


class Wall(Demo):
    look = """() => {
        const words = document.querySelector("#verdict").textContent;
        const isWrong = /fail|gone|silent|restarted/.test(words);
        return {
            marks: Number(isWrong), marked: isWrong ? words : "", headline: words,
            answers: document.querySelectorAll("#tiles li:not(.gone, .silent, .failure)").length,
        };
    }"""

    def replica(self, name: str, fault: str = "", version: int = 1) -> Replica:
        faults = {"500": ("--error-rate", "100%", "--error-code", "500"), "slow": ("--latency", "1s")}
        folder = self.started.folder / f"{name}{fault}"
        folder.mkdir()
        made = replica(folder, name, "--app-version", f"v{version}", *faults.get(fault, ()), shape=STATIC)
        self.started.callback(made.kill)
        return made

    def page_of(self, balancer: Balancer) -> str:
        return f"{balancer.url}/wall"


DEMOS = {"rollouts-demo": Rollouts, "faces-demo": Faces, "wall": Wall}


def words_of(page: Page) -> set[str]:
    return set(re.findall(r"[^\W\d]\S*", page.inner_text("body")))


def watched(page: Page, look: str, seconds: float, picture: Path | None = None) -> list[tuple[float, dict[str, Any]]]:
    """What can be seen, ten times a second."""
    begin, seen = time.monotonic(), []
    while (age := time.monotonic() - begin) < seconds:
        seen.append((age, page.evaluate(look)))
        if picture and age > PICTURE_AT:
            page.screenshot(path=picture)
            picture = None
        page.wait_for_timeout(100)
    return seen


def after(seen: Sequence[tuple[float, dict[str, Any]]], condition: Callable[[dict[str, Any]], bool]) -> str:
    return next((f"{age:.1f} s" for age, one in seen if condition(one)), "never")


def happen(scene: str, demo: Demo, balancer: Balancer, replicas: dict[str, Replica], spare: Replica | None) -> None:
    two = replicas["web-2"]
    if scene == "one is killed":
        two.kill()
    elif scene == "one hangs":
        for pid in (two.pid, *two.workers()):  # the parent first, which would replace a worker that hangs
            os.kill(pid, signal.SIGSTOP)
    elif spare:
        balancer.replace("web-2", spare)


FAULTS = {"one is killed": "", "one answers 500": "500", "one hangs": "", "one is late by 1 s": "slow"}
CANARY = "canary 90:10"


@contextlib.contextmanager
def shown(demo: Demo, browser: Browser, names: Sequence[str], **options: Any) -> Iterator[tuple[Page, Balancer, dict]]:
    replicas = {name: demo.replica(name, version=1 + (bool(options) and name == "web-2")) for name in names}
    folder = demo.started.folder / "balancer"
    folder.mkdir()
    balancer = Balancer("haproxy", folder, replicas, **options)
    try:
        with browser.new_page(viewport={"width": 1500, "height": 800}) as page:
            page.goto(demo.page_of(balancer) + ("#by=version" if options and isinstance(demo, Wall) else ""))
            yield page, balancer, replicas
    finally:
        balancer.stop()


def play(name: str, scene: str, browser: Browser) -> list[str]:
    """A row of the table."""
    picture = PICTURES / f"{name}-{scene.replace(' ', '-').replace(':', '-')}.png"
    with tempfile.TemporaryDirectory() as folder, Started(Path(folder)) as started:
        demo = DEMOS[name](started)
        fault = FAULTS[scene]
        spare = demo.replica("web-2", fault) if fault else None
        with shown(demo, browser, NAMES) as (page, balancer, replicas):
            page.wait_for_timeout(1000 * BEFORE)
            if isinstance(demo, Wall):
                wait_until(lambda: not page.evaluate(demo.look)["marks"], "a calm wall")
            before = watched(page, demo.look, BEFORE)
            known = words_of(page)
            happen(scene, demo, balancer, replicas, spare)
            seen = watched(page, demo.look, AFTER, picture)
            new = words_of(page) - known
        least = [min(one["answers"] for _, one in part) for part in (before, seen)]
        headlines = dict.fromkeys(re.sub(r", for \d+ s", "", one["headline"]) for _, one in seen if "headline" in one)
        return [
            scene,
            name,
            after(seen, lambda one: one["marks"] > max(was["marks"] for _, was in before)),
            after(seen, lambda one: "web-2" in one["marked"]),
            f"{least[0]}, {least[1]}",
            " / ".join(headlines) or " ".join(sorted(new)) or "none",
        ]


def canary(name: str, browser: Browser) -> list[str]:
    """Two replicas, of which the second one has another version, and a tenth of the requests."""
    with tempfile.TemporaryDirectory() as folder, Started(Path(folder)) as started:
        demo = DEMOS[name](started)
        with shown(demo, browser, NAMES[:2], server=["weight 90", "weight 10"]) as (page, _balancer, _replicas):
            seen = watched(page, demo.look, AFTER, PICTURES / f"{name}-canary.png")
            headline = [f"{age:.1f} s: {one['headline']}" for age, one in seen if "%" in one.get("headline", "")]
            second = [100 * one["second"] / max(one["answers"], 1) for age, one in seen if "second" in one and age > 5]
    told = headline[0] if headline else f"none; {min(second):.0f} to {max(second):.0f} % of the squares or faces"
    return [CANARY, name, "", "", "", told]


def main() -> None:
    """Play them all, and print the table."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    rows = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for scene in (*FAULTS, CANARY):
            for name in sys.argv[1:] or DEMOS:
                rows.append(canary(name, browser) if scene == CANARY else play(name, scene, browser))
                print(rows[-1], file=sys.stderr)
        browser.close()
    heads = ["scene", "page", "mark", "named", "answers", "new words"]
    print("\n".join(map(row, [heads, ["---"] * len(heads), *rows])))


if __name__ == "__main__":
    main()
