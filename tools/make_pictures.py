"""Draws docs/replicas.png: the page of three replicas, as headless Chromium shows it.

pip install -e . pillow
python tools/make_pictures.py            # needs Chromium
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

import yinyang

DOCS = Path(__file__).parents[1] / "docs"
NAMES = ["yinyang-7d4b9c6f5-x2x9z", "web-1", "vm"]
WIDTH, HEIGHT = 380, 200  # pixels of one page


def screenshot(url: str, path: Path, width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """What a browser shows at a URL."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("Chromium is not installed")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--user-data-dir={profile}",
                f"--window-size={width},{height}",
                f"--screenshot={path}",
                url,
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
    with Image.open(path) as image:
        return image.convert("RGB")


def main() -> None:
    """Three pages side by side."""
    picture = Image.new("RGB", (WIDTH * len(NAMES), HEIGHT), "white")
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(NAMES):
            with yinyang.Server("127.0.0.1", name=name, workers=1) as server:
                picture.paste(screenshot(server.url, Path(folder) / "page.png"), (WIDTH * number, 0))
    picture.quantize(64).save(DOCS / "replicas.png", optimize=True)


if __name__ == "__main__":
    main()
