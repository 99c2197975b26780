"""The check of benchmarks/instructions.py against the committed counts."""

import importlib
from types import ModuleType

import pytest
from conftest import ROOT


@pytest.fixture
def instructions(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.chdir(ROOT)  # tools/generate.py reads files of the project
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.instructions")


def test_five_percent_more_are_allowed(instructions: ModuleType) -> None:
    committed = {"static": {"small": 1000.0, "browser": 4000.0}}
    assert instructions.grown({"static": {"small": 1050.0, "browser": 3000.0}}, committed) == []


def test_a_higher_count_is_named_with_the_committed_one(instructions: ModuleType) -> None:
    committed = {"static": {"small": 1000.0, "browser": 4000.0}}
    assert instructions.grown({"static": {"small": 1050.5, "browser": 4000.0}}, committed) == [
        "static, small: 1,050.5 instructions per request, committed: 1,000.0"
    ]


def test_a_count_without_a_committed_one_is_named(instructions: ModuleType) -> None:
    assert instructions.grown({"static": {"small": 10.0}}, {}) == [
        "static, small: 10.0 instructions per request, no committed count"
    ]


def test_options_are_those_of_the_static_program(instructions: ModuleType) -> None:
    options = instructions.static_options()
    assert {"-O2", "-std=gnu11", "-DNDEBUG", "-fstack-protector-strong"} <= set(options)
    assert all(option.startswith(("-f", "-m", "-O", "-std", "-D")) for option in options)
