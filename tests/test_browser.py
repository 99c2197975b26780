"""The page in a real browser: is the circle there, and in the right colour?"""

import importlib.util
from pathlib import Path

import pytest
from conftest import Replica, needs

import yinyang

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("name", ["vm", "web-1", "yinyang-7d4b9c6f5-x2x9z"])
def test_circle_has_the_colour_of_the_identity(name: str, start: object, tmp_path: Path) -> None:
    needs("chromium")
    spec = importlib.util.spec_from_file_location("pictures", Path(__file__).parents[1] / "tools" / "make_pictures.py")
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    replica: Replica = start("--name", name)
    image = pictures.screenshot(f"http://127.0.0.1:{replica.port}/", tmp_path / "page.png", 416, 500)
    # The picture is 400 units wide in a window of 416 pixels with margins of 8; the circle's centre is (50, 50), its
    # bright half lies to the left. Its top left corner is below the heading, whose height the browser chooses, so the
    # circle is found by its colour.
    colour = tuple(bytes.fromhex(yinyang.identify(name).colour[1:]))
    at = [(x, y) for x in range(image.width) for y in range(image.height) if image.getpixel((x, y)) == colour]
    assert 3000 < len(at) < 3900  # half of a circle of radius 48, less the dark eye
    left, right = min(x for x, _ in at), max(x for x, _ in at)
    top, bottom = min(y for _, y in at), max(y for _, y in at)
    assert 88 <= bottom - top <= 97  # where the circle narrows to its outline, the colours mix
    assert (left + 47 - 58, right) == (pytest.approx(0, abs=3), pytest.approx(82, abs=4))
    assert image.getpixel((58 + 36, top + 47)) == (0, 0, 0)
