"""The one file that is made of the wall's sources."""

import gzip
import importlib.util
import re
import shutil
from collections.abc import Callable
from types import ModuleType

import pytest
from conftest import ROOT, missing, needs

from wall.page import SIMULATED, Wall

pytestmark = pytest.mark.browser

LIMITS = {"minified": 16 * 1024, "plain": 24 * 1024}  # bytes, compressed as it is sent


@pytest.fixture(scope="module")
def bundle_wall() -> ModuleType:
    """The tool."""
    path = ROOT / "tools/bundle_wall.py"
    if not path.exists():
        missing("sources", "there is no source tree to build it from")
    spec = importlib.util.spec_from_file_location("bundle_wall", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=list(LIMITS))
def made(request: pytest.FixtureRequest, bundle_wall: ModuleType, monkeypatch: pytest.MonkeyPatch) -> tuple[str, bytes]:
    """How it is made, and the page: where `minify` is installed, and where it is not."""
    with monkeypatch.context() as patch:
        if request.param == "minified":
            needs("minify")
        else:
            patch.setattr(shutil, "which", lambda name: None)
        return request.param, bundle_wall.bundle_wall()


def test_it_is_small_and_self_contained(made: tuple[str, bytes]) -> None:
    way, page = made
    assert len(gzip.compress(page)) <= LIMITS[way]
    assert re.findall(rb"<[a-z][^>]*\s(?:src|href)\s*=|https?:|@import|url\(", page) == []


def test_it_samples_and_judges(made: tuple[str, bytes], bundle_wall: ModuleType, new_page: Callable) -> None:
    page = new_page(lambda route: route.fulfill(json={"host": "web-1", "colours": ["#000000", "#ffffff"]}))
    policy = f"default-src 'none'; connect-src 'self'; {bundle_wall.allowed_sources(made[1])}"
    fields = {"Content-Type": "text/html", "Content-Security-Policy": policy}
    page.route("**/prefix/wall", lambda route: route.fulfill(body=made[1], headers=fields))
    wall = Wall(page, SIMULATED)
    wall.wait_for_verdict("one replica only: web-1")
    assert list(wall.tiles()) == ["web-1"]
    assert wall.errors == []
