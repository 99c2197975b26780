"""benchmarks/atlas: a cell for real, what it takes for right, and the document that it writes."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT
from test_balancers import Balanced, engine

NAMES = {"host-1": "web-1", "host-2": "web-2", "host-3": "web-3"}
RUNS = sorted((ROOT / "benchmarks/results/atlas").glob("*.json"))


def atlas(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.atlas.{name}")


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)


@pytest.fixture
def balanced(image: str, tmp_path: Path) -> Iterator[Balanced]:
    with engine(tmp_path) as settings:
        yield Balanced(image, settings)


@pytest.mark.containers
@pytest.mark.parametrize("configuration", ["default", "tuned"])
def test_a_cell(configuration: str, balanced: Balanced, tmp_path: Path) -> None:
    """No balancer here minds who answers 500."""
    lane = atlas("lanes").Lane("nginx", configuration, balanced, tmp_path)
    [found] = atlas("scenes").play(lane, ["one answers 500"], tmp_path)
    assert found["failures"] == {"status 500": found["lost"]}
    assert 0.2 < found["lost"] / found["samples"] < 0.4
    assert "web-2 answers 500" in found["said"]["headline"]
    assert "web-2 answers 500" in found["in_the_end"]


def verdict(text: str, kind: str = "") -> dict:
    headline, _, detail = text.partition(" | ")
    return {"kind": kind, "headline": headline, "detail": detail}


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        ("web-2 may be gone | silent for 1 s", True),
        ("web-2 is gone | 1 s ago; 2 replicas take turns", True),
        ("no failure for 1 s | 3 of the last 90 failed: HTTP 502; web-2 is silent", False),
        ("web-3 may be gone | silent for 1 s", False),
        ("web-2 and web-3 may be gone", False),
        ("2 replicas are gone | 1 s ago; only web-1 so far", False),
        ("1 in 3 requests fails: web-2 times out, for 2 s", True),
        ("1 in 3 requests fails: HTTP 502, for 2 s; web-2 is silent", True),
        ("1 in 3 requests fails: HTTP 502, for 2 s", False),
        ("2 replicas take turns", True),
        ("about even so far: 2 replicas | each gets 40 % to 60 %", True),
        ("even across 2: each gets 50 %", True),
        ("3 replicas take turns", False),
        ("uneven so far: web-2 gets 60 %, web-1 20 %, web-3 20 %", False),
        ("web-2 is back", False),
        ("web-2 has come", False),
    ],
)
def test_what_is_right_when_one_is_gone(text: str, is_right: bool) -> None:
    assert atlas("judge").gone(["host-2"], ["host-1", "host-3"])(verdict(text), NAMES) == is_right


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        ("2 replicas are gone | 0 s ago; only web-1 so far", True),
        ("web-3 and web-2 may be gone", True),
        ("web-2 may be gone", False),
        ("2 in 3 requests fail: web-2 and web-3 time out, for 2 s", True),
        ("2 replicas take turns", False),
        ("one replica only: web-1", True),
        ("one replica only: web-2", False),
    ],
)
def test_what_is_right_when_two_are_gone(text: str, is_right: bool) -> None:
    assert atlas("judge").gone(["host-2", "host-3"], ["host-1"])(verdict(text), NAMES) == is_right


def test_what_is_right_of_a_share() -> None:
    is_right = atlas("judge").share_of("v2", 0.1)
    shares = {"v1": (0.85, 0.9, 0.95), "v2": (0.05, 0.1, 0.15)}
    assert is_right({"kind": "weighted", "shares": shares}, {})
    assert not is_right({"kind": "uneven so far", "shares": shares}, {})
    assert not is_right({"kind": "weighted", "shares": {"v2": (0.2, 0.25, 0.3)}}, {})
    assert not is_right({"kind": "one", "shares": {"v1": (1, 1, 1)}}, {})


def test_the_document_has_the_figures() -> None:
    document = atlas("document")
    text = document.DOCUMENT.read_text()
    assert document.rendered(text, [json.loads(run.read_text()) for run in RUNS]) == text


def test_each_run_has_all_cells() -> None:
    assert RUNS
    for run in RUNS:
        cells = {
            (cell["scene"], cell["balancer"], cell["configuration"]) for cell in json.loads(run.read_text())["cells"]
        }
        lanes = atlas("lanes")
        assert len(cells) == len(atlas("scenes").SCENES) * len(lanes.BALANCERS) * len(lanes.CONFIGURATIONS)
