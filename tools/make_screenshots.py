"""Takes docs/wall-*.png: the wall as headless Chromium shows it, in front of real replicas behind a real HAProxy.

pip install -e '.[test]'
python tools/make_screenshots.py [NAME...]    # needs Chromium and HAProxy; even, weighted, failure, rolling, sticky
"""

import io
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from balancers import Stage, stage

DOCS = Path(__file__).parents[1] / "docs"
SECONDS = 60  # length of a scene that fills the lanes


def hosts(*ends: str, group: str = "web-6d5f8c7b9") -> list[str]:
    """Names as Kubernetes gives them."""
    return [f"{group}-{end}" for end in ends]


def says(page: Page, words: str) -> None:
    """Wait until the verdict begins with these words."""
    page.wait_for_function("words => verdict.textContent.startsWith(words)", arg=words, timeout=120_000)


def even(made: Stage, show: Callable[[str], Page]) -> None:
    """Round robin across five."""
    made.add(*hosts("x2x4k", "m9q7d", "b4zlw", "t8vhn", "kq5cj"), version="1.4.2")
    page = show(made.balance("haproxy").url)
    time.sleep(SECONDS)
    says(page, "even across 5")


def weighted(made: Stage, show: Callable[[str], Page]) -> None:
    """A canary with a fifth of the weight."""
    made.add(*hosts("x2x4k"), version="1.4.2")
    made.add(*hosts("7wmzp", group="web-canary-58c6d7f4d"), version="1.5.0-rc1")
    page = show(made.balance("haproxy", server=["weight 80", "weight 20"]).url)
    time.sleep(SECONDS)
    says(page, "weighted about")


def failure(made: Stage, show: Callable[[str], Page]) -> None:
    """The active replica is killed, and the backup takes over after three failed checks."""
    names = hosts("x2x4k", "m9q7d")
    made.add(*names, version="1.4.2")
    checked = "check inter 500ms fall 3"
    page = show(made.balance("haproxy", server=[checked, f"{checked} backup"]).url)
    time.sleep(SECONDS / 2)
    made.replicas[names[0]].kill()
    page.wait_for_selector("#tiles .gone", timeout=120_000)
    says(page, "one replica only")


def rolling(made: Stage, show: Callable[[str], Page]) -> None:
    """Three replicas of one version are replaced by three of the next."""
    old, new = hosts("x2x4k", "m9q7d", "b4zlw"), hosts("c7rfs", "p2ngt", "zj6xb", group="web-5c8d6f9b7")
    made.add(*old, version="1.4.2")
    balancer = made.balance("haproxy")
    page = show(balancer.url)
    time.sleep(SECONDS / 2)
    for before, after in zip(old, new, strict=True):
        made.add(after, version="1.5.0")
        balancer.replace(before, made.replicas[after])
        made.replicas[before].stop()
        time.sleep(SECONDS / 3)
    says(page, "even across 3")


def sticky(made: Stage, show: Callable[[str], Page]) -> None:
    """A cookie that names a replica."""
    made.add(*hosts("x2x4k", "m9q7d", "b4zlw"), version="1.4.2")
    page = show(made.balance("haproxy", sticky=True).url)
    time.sleep(SECONDS / 2)
    says(page, "sticky by cookie")


def main() -> None:
    """Take each scene in light and in dark mode."""
    scenes = {scene.__name__: scene for scene in (even, weighted, failure, rolling, sticky)}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in sys.argv[1:] or scenes:
            page = browser.new_page(viewport={"width": 1200, "height": 800})

            def show(url: str, page: Page = page) -> Page:
                page.goto(f"{url}/wall")
                return page

            with tempfile.TemporaryDirectory() as folder, stage(Path(folder)) as made:
                scenes[name](made, show)
                for scheme in "light", "dark":
                    page.emulate_media(color_scheme=scheme)
                    page.wait_for_timeout(500)
                    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
                    path = DOCS / f"wall-{name}-{scheme}.png"
                    picture.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
                    print(f"{path.name}: {path.stat().st_size} bytes, {page.inner_text('#verdict')}")
            page.close()


if __name__ == "__main__":
    main()
