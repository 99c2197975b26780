"""Takes docs/wall-*: the wall as headless Chromium shows it, in front of real replicas behind a real HAProxy.

pip install -e '.[test]'
python tools/make_screenshots.py [NAME...]    # needs Chromium and HAProxy; the names are those of SCENES, and kill
"""

import io
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from balancers import Stage, stage

DOCS = Path(__file__).parents[1] / "docs"
SECONDS = 60  # length of a scene that fills the lanes
COLOURS, FILM_COLOURS = 128, 32  # of a picture
SCREEN, PHONE = (1200, 800), (390, 844)
CHECKED = "check inter 1s fall 3 rise 2"

Show = Callable[..., Page]


class Scene(NamedTuple):
    play: Callable[[Stage, Show], None]
    size: tuple[int, int] = SCREEN
    scheme: str = "light"


def hosts(*ends: str, group: str = "web-6d5f8c7b9") -> list[str]:
    """Names as Kubernetes gives them."""
    return [f"{group}-{end}" for end in ends]


def says(page: Page, words: str) -> None:
    """Wait until the verdict begins with these words."""
    begins = "words => document.getElementById('verdict').textContent.startsWith(words)"
    page.wait_for_function(begins, arg=words, timeout=120_000)


def even(made: Stage, show: Show) -> None:
    """Round robin across five."""
    made.add(*hosts("x2x4k", "m9q7d", "b4zlw", "t8vhn", "kq5cj"), version="1.4.2")
    page = show(made.balance("haproxy").url)
    time.sleep(SECONDS)
    says(page, "5 replicas take turns")


def canary(made: Stage, show: Show) -> None:
    """A tenth for the next version, counted by version."""
    made.add(*hosts("x2x4k", "m9q7d", "b4zlw"), version="v1")
    made.add(*hosts("7wmzp", group="web-canary-58c6d7f4d"), version="v2")
    page = show(made.balance("haproxy", server=["weight 30"] * 3 + ["weight 10"]).url, "#by=version")
    time.sleep(SECONDS)
    says(page, "v1 gets 90 %, v2 10 %")


def failure(made: Stage, show: Show) -> None:
    """One of three is killed, and nothing checks their health."""
    names = hosts("x2x4k", "m9q7d", "b4zlw")
    made.add(*names, version="1.4.2")
    page = show(made.balance("haproxy").url)
    time.sleep(SECONDS / 2)
    made.replicas[names[1]].kill()
    says(page, "1 in 3 requests fails")
    time.sleep(SECONDS / 12)
    says(page, "1 in 3 requests fails")


def rolling(made: Stage, show: Show) -> None:
    """Three replicas of one version are replaced by three of the next."""
    old, new = hosts("x2x4k", "m9q7d", "b4zlw"), hosts("c7rfs", "p2ngt", "zj6xb", group="web-5c8d6f9b7")
    made.add(*old, version="1.4.2")
    balancer = made.balance("haproxy")
    page = show(balancer.url)
    time.sleep(SECONDS / 3)
    for before, after in zip(old, new, strict=True):
        made.add(after, version="1.5.0")
        balancer.replace(before, made.replicas[after])
        made.replicas[before].stop()
        time.sleep(SECONDS / 4)
    says(page, "3 replicas take turns")


def sticky(made: Stage, show: Show) -> None:
    """A cookie that names a replica."""
    made.add(*hosts("x2x4k", "m9q7d", "b4zlw"), version="1.4.2")
    page = show(made.balance("haproxy", sticky=True).url)
    time.sleep(SECONDS / 2)
    says(page, "sticky by cookie")


def dense(made: Stage, show: Show) -> None:
    """Sixty replicas, in two versions."""
    for number in range(60):
        made.add(f"web-{number}", version="v1" if number < 40 else "v2")
    page = show(made.balance("haproxy").url, "#rate=40")
    time.sleep(SECONDS)
    says(page, "60 replicas take turns")


SCENES = {
    "even": Scene(even),
    "canary": Scene(canary, scheme="dark"),
    "failure": Scene(failure),
    "rolling": Scene(rolling),
    "sticky": Scene(sticky, scheme="dark"),
    "dense": Scene(dense),
    "phone": Scene(failure, PHONE),
}


def shot(page: Page) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def quantised(picture: Image.Image, colours: int = COLOURS) -> Image.Image:
    return picture.quantize(colours, dither=Image.Dither.NONE)


def take(browser: Browser, name: str) -> None:
    """The picture of a scene."""
    scene = SCENES[name]
    page = browser.new_page(
        viewport={"width": scene.size[0], "height": scene.size[1]},
        device_scale_factor=2 if scene.size == PHONE else 1,
        color_scheme=scene.scheme,
    )

    def show(url: str, fragment: str = "") -> Page:
        page.goto(f"{url}/wall{fragment}")
        return page

    with tempfile.TemporaryDirectory() as folder, stage(Path(folder)) as made:
        scene.play(made, show)
        page.wait_for_timeout(500)
        path = DOCS / f"wall-{name}.png"
        quantised(shot(page)).save(path, optimize=True)
        tell(path, page)
    page.close()


def tell(path: Path, page: Page) -> None:
    words = page.evaluate("['verdict', 'detail'].map(id => document.getElementById(id).textContent).join(' | ')")
    print(f"{path.name}: {path.stat().st_size} bytes, {words}", flush=True)


# ---- the moving picture -------------------------------------------------------------------------------------------

FILM_SIZE = (960, 600)
FILM_INTERVAL = 250  # ms between its pictures, as often as the wall draws
BEFORE, FAILING, AFTER = 1.2, 3.2, 1.6  # seconds of it


def film(browser: Browser) -> None:
    """One of three is killed; three failed checks later the balancer passes over it."""
    page = browser.new_page(viewport={"width": FILM_SIZE[0], "height": FILM_SIZE[1]}, color_scheme="light")
    names = hosts("x2x4k", "m9q7d", "b4zlw")
    with tempfile.TemporaryDirectory() as folder, stage(Path(folder)) as made:
        made.add(*names, version="1.4.2")
        page.goto(f"{made.balance('haproxy', server=[CHECKED] * 3).url}/wall#rate=20")
        time.sleep(SECONDS / 3)
        pictures = shoot(page, BEFORE)
        made.replicas[names[1]].kill()
        pictures += shoot(page, FAILING)
        says(page, "2 replicas take turns")
        pictures += shoot(page, AFTER)
        path = DOCS / "wall-kill.webp"
        pictures[0].save(
            path, save_all=True, append_images=pictures[1:], duration=FILM_INTERVAL, loop=0, lossless=True, method=6
        )
        tell(path, page)
    page.close()


def shoot(page: Page, seconds: float) -> list[Image.Image]:
    """Pictures at equal intervals."""
    start = time.monotonic()
    pictures = []
    for number in range(round(1000 * seconds / FILM_INTERVAL)):
        page.wait_for_timeout(max(0, 1000 * (start - time.monotonic()) + number * FILM_INTERVAL))
        pictures.append(quantised(shot(page), FILM_COLOURS).convert("RGB"))
    print(f"{len(pictures)} pictures in {time.monotonic() - start:.1f} s", flush=True)
    return pictures


def main() -> None:
    """Take the pictures of these names, or all."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in sys.argv[1:] or [*SCENES, "kill"]:
            if name == "kill":
                film(browser)
            else:
                take(browser, name)


if __name__ == "__main__":
    main()
