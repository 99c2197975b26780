"""What the wall costs its browser while it runs for minutes, at the highest rate, with 200 replicas.

    make static
    python -m benchmarks.studies.wall_endurance [--minutes N] [--replicas N]

The replicas are static programs with one worker each, in two versions, behind HAProxy, which shares requests out in
turn. Headless Chromium shows the wall in a window of 1920 x 1080. For each minute, prints a row of a table in Markdown:
the JavaScript heap after a garbage collection, the nodes of the document, the CPU time of the page's own process (the
renderer) and of all processes of the browser, in % of one CPU, and how many messages of errors there have been. The
exit code is 1 if there was an error, or if the page's process took more than 25 % of a CPU.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import CDPSession, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from balancers import stage
from conftest import Shape

PROGRAM = Path(__file__).parents[2] / "build/static/yinyang"
HIGHEST_RATE = 40  # that the wall offers, samples per second
CPU_MAX = 25.0  # % of one CPU, of the renderer
HAS_ALL = "replicas => document.querySelectorAll('#tiles li').length >= replicas"


class Browser:
    """What the processes of a browser have used, and a page in it."""

    def __init__(self, all_of_it: CDPSession, page: CDPSession) -> None:
        self._all, self._page = all_of_it, page
        self._before = self._cpu_times()
        self._at = time.monotonic()

    def _cpu_times(self) -> tuple[float, float]:
        """Of the renderers and of all processes, in seconds."""
        found = self._all.send("SystemInfo.getProcessInfo")["processInfo"]
        renderers = sum(one["cpuTime"] for one in found if one["type"] == "renderer")
        return renderers, sum(one["cpuTime"] for one in found)

    def cpu_since(self) -> tuple[float, float]:
        """The same since it was last asked, in % of one CPU."""
        now, at = self._cpu_times(), time.monotonic()
        used = [100 * (after - before) / (at - self._at) for before, after in zip(self._before, now, strict=True)]
        self._before, self._at = now, at
        return used[0], used[1]

    def heap(self) -> float:
        """MB, after a garbage collection."""
        self._page.send("HeapProfiler.collectGarbage")
        return self._page.send("Runtime.getHeapUsage")["usedSize"] / 1e6

    def nodes(self) -> int:
        """Of all documents, those that scripts still hold included."""
        return self._page.send("Memory.getDOMCounters")["nodes"]


def watch_errors(page: Page) -> list[str]:
    """All that the page complains of, as it comes."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("requestfailed", lambda request: errors.append(f"{request.url}: {request.failure}"))
    return errors


def run(url: str, minutes: int, replicas: int) -> bool:
    """Print the rows; whether all is as it should be."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1920, "height": 1080})
        errors = watch_errors(page)
        page.goto(f"{url}/wall#rate={HIGHEST_RATE}")
        page.wait_for_function(HAS_ALL, arg=replicas, timeout=120_000)
        browser = Browser(chromium.new_browser_cdp_session(), page.context.new_cdp_session(page))
        print("| minute | heap, MB | nodes | renderer, % | browser, % | errors | headline |")
        print("| ---: | ---: | ---: | ---: | ---: | ---: | --- |", flush=True)
        busy = 0.0
        for minute in range(minutes + 1):
            if minute:
                page.wait_for_timeout(60_000)
            cells = [str(minute), f"{browser.heap():.1f}", f"{browser.nodes():,}"]
            renderer, whole = browser.cpu_since()
            cells += [f"{renderer:.0f}", f"{whole:.0f}"] if minute else ["", ""]
            busy = max(busy, renderer if minute else 0)
            cells += [str(len(errors)), page.inner_text("#verdict")]
            print("|", " | ".join(cells), "|", flush=True)
        print(f"\n{page.inner_text('#facts')}")
        for error in errors[:10]:
            print(f"error: {error}", file=sys.stderr)
        chromium.close()
    return not errors and busy <= CPU_MAX


def main() -> int:
    """Start everything, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--replicas", type=int, default=200)
    options = parser.parse_args()
    if not os.access(PROGRAM, os.X_OK):
        parser.error(f"{PROGRAM} is missing: run make static")
    with tempfile.TemporaryDirectory() as folder, stage(Path(folder), Shape(str(PROGRAM))) as made:
        for number in range(options.replicas):
            made.add(f"web-{number + 1}", version="v1" if number < options.replicas // 2 else "v2")
        balancer = made.balance("haproxy")
        return 0 if run(balancer.url, options.minutes, options.replicas) else 1


if __name__ == "__main__":
    raise SystemExit(main())
