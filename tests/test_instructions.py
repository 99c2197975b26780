"""The gate of benchmarks/instructions.py; what it counts, it counts itself."""

import importlib.util

import pytest
from conftest import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(scope="module")
def instructions(module_monkeypatch: pytest.MonkeyPatch) -> object:
    module_monkeypatch.syspath_prepend(BENCHMARKS)
    spec = importlib.util.spec_from_file_location("instructions", BENCHMARKS / "instructions.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def module_monkeypatch() -> pytest.MonkeyPatch:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_five_percent_more_are_allowed(instructions: object) -> None:
    committed = {"static": {"small": 1000.0, "browser": 4000.0}}
    assert instructions.grown({"static": {"small": 1050.0, "browser": 3000.0}}, committed) == []


def test_more_is_named_with_both_figures(instructions: object) -> None:
    committed = {"static": {"small": 1000.0, "browser": 4000.0}}
    assert instructions.grown({"static": {"small": 1050.5, "browser": 4000.0}}, committed) == [
        "static, small: 1,050.5 instructions a request, committed are 1,000.0"
    ]


def test_figure_that_is_not_committed_is_named(instructions: object) -> None:
    assert instructions.grown({"static": {"small": 10.0}}, {}) == [
        "static, small: 10.0 instructions a request, and no committed figure"
    ]


def test_options_are_those_of_the_static_program(instructions: object) -> None:
    options = instructions.static_options()
    assert {"-Oz", "-std=gnu11"} <= set(options)
    assert all(option.startswith(("-f", "-m", "-O", "-std", "-DNDEBUG")) for option in options)
