"""The core's folders use each other in one direction only."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT


@pytest.fixture
def import_graph(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("import_graph")


def test_no_arrow_of_the_core_runs_back_up(import_graph: ModuleType) -> None:
    graph = import_graph.graph()
    assert len(graph) > 20
    assert Path("text/buffer.pxd") in graph[Path("http/responses.pxd")]
    assert import_graph.problems(graph) == []


@pytest.mark.parametrize(
    ("sources", "problem"),
    [
        ({"os/a": "from ..worker.b cimport c\n", "worker/b": ""}, "os/a.pxd uses worker/b.pxd: os comes before worker"),
        ({"os/a": "from yinyang.core.worker cimport (\n    b\n)\n", "worker/b": ""}, "os comes before worker"),
        ({"os/a": "cimport yinyang.core.worker.b as c\n", "worker/b": ""}, "os comes before worker"),
        ({"os/a": "from .b cimport c\n", "os/b": "from . cimport a\n"}, "a cycle: "),
        ({"elsewhere/a": ""}, "elsewhere/a.pxd: its folder has no place in the order"),
    ],
)
def test_what_breaks_the_order_is_named(
    sources: dict[str, str], problem: str, tmp_path: Path, import_graph: ModuleType
) -> None:
    for name, text in sources.items():
        path = tmp_path / f"{name}.pxd"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    [found] = import_graph.problems(import_graph.graph(tmp_path))
    assert problem in found
