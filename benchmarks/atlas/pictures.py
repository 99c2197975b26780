"""Pictures of some scenes: the walls of all balancers, which play back what the watch saw."""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from balancers import PROCESSES
from conftest import ROOT, serving
from PIL import Image, ImageDraw
from playwright.sync_api import Page, sync_playwright

from benchmarks.atlas.lanes import BALANCERS, CONFIGURATIONS
from benchmarks.atlas.scenes import SCENES, samples_of

FOLDER = ROOT / "docs/atlas"
PICTURED = ("kill -9", "rolling deploy", "one hangs", "zone loss")  # scenes in which balancers differ most
VIEWPORT = {"width": 900, "height": 340}  # without the history, which such a short scene does not fill
TILE = (375, 142)
MARGIN = 15  # of the words above each
AFTER = 4.0  # seconds after what happens

Cell = dict[str, Any]


def wall(page: Page, url: str, samples: Path, cell: Cell) -> Image.Image:
    """The wall, some seconds after what happens."""
    page.goto("about:blank")  # as another fragment alone would load nothing
    page.goto(f"{url}/wall#by={SCENES[cell['scene']].by}")
    page.locator("#open").set_input_files(samples)
    page.wait_for_selector("#position-label:not([hidden])", state="attached")
    percent = round(100 * min(1, (cell["event"] + AFTER) / cell["seconds"]))
    page.evaluate(f"position.value = {percent}; position.dispatchEvent(new Event('input'))")
    page.evaluate("document.body.classList.add('full')")
    shot = page.screenshot(animations="disabled")
    return Image.open(io.BytesIO(shot)).convert("RGB").resize(TILE, Image.Resampling.LANCZOS)


def sheet(show: Callable[[Cell], Image.Image], cells: list[Cell]) -> Image.Image:
    """The defaults on the left, tuned on the right."""
    width, height = TILE[0], TILE[1] + MARGIN
    made = Image.new("RGB", (width * len(CONFIGURATIONS), height * len(BALANCERS)), "white")
    draw = ImageDraw.Draw(made)
    for cell in cells:
        left = width * CONFIGURATIONS.index(cell["configuration"])
        top = height * list(BALANCERS).index(cell["balancer"])
        draw.text((left + 4, top + 2), f"{BALANCERS[cell['balancer']]}, {cell['configuration']}", "black")
        made.paste(show(cell), (left, top + MARGIN))
    return made


def draw_all(cells: list[Cell], samples: Path) -> None:
    """Of the run whose samples are in this folder."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        options = ("--host", "127.0.0.1", "--workers", "1", "--no-access-log")
        with serving(PROCESSES, Path(folder) / "log", *options) as replica, browser.new_page(viewport=VIEWPORT) as page:
            url = f"http://127.0.0.1:{replica.port}"

            def show(cell: Cell) -> Image.Image:
                path = samples_of(samples, cell["scene"], cell["balancer"], cell["configuration"])
                return wall(page, url, path, cell)

            for scene in PICTURED:
                if chosen := [cell for cell in cells if cell["scene"] == scene]:
                    sheet(show, chosen).save(FOLDER / f"{scene.replace(' ', '-')}.webp", quality=50, method=6)
        browser.close()
