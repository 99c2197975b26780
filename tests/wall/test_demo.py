"""The wall over a simulated cluster, in a file that needs no server."""

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import PATIENCE, ROOT, missing

from wall.page import Wall

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = ROOT / "tools/make_demo.py"
    if not path.exists():
        missing("sources", "there is no source tree to make it from")
    made = tmp_path_factory.mktemp("demo") / "wall.html"
    subprocess.run([sys.executable, path, made], check=True, capture_output=True, timeout=PATIENCE)
    return made


def test_it_is_one_file(demo: Path) -> None:
    assert re.findall(rb"<[a-z][^>]*\s(?:src|href)\s*=|https?://(?!demo/)", demo.read_bytes()) == []


def test_a_kill_a_rollout_and_a_cookie(demo: Path, browser: "Browser") -> None:
    with browser.new_page(viewport={"width": 1400, "height": 900}) as page:
        wall = Wall(page, f"file://{demo.parent}", path="wall.html")
        cluster = page.locator("#cluster")
        wall.wait_for_verdict("3 replicas take turns")
        cluster.get_by_role("button", name="health checks").click()
        cluster.get_by_role("button", name="killed").nth(1).click()
        wall.wait_for_verdict("1 in 3 requests fails: HTTP 503, for \\d+ s; v1-1 is silent")
        cluster.get_by_role("button", name="health checks").click()
        wall.wait_for_verdict("v1-1 is gone|2 replicas take turns")
        cluster.get_by_role("button", name="killed").nth(1).click()
        wall.wait_for_verdict("v1-1 is back")
        cluster.get_by_label("Balancer").select_option("by lot")
        wall.wait_for_verdict("about even so far: 3 replicas|shares are shifting")
        cluster.get_by_role("button", name="roll out v2").click()
        wall.wait(lambda: any("v2" in tile.text for tile in wall.tiles().values()), "the new version")
        assert wall.errors == []
