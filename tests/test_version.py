"""The version stands in pyproject.toml; wherever else it must be written, it is the same."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT, missing

PLACES = [  # files that may name a version of the image, or of the program that they start
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *(path for path in ROOT.glob("deploy/**/*") if path.is_file()),
]
NAMED = re.compile(
    r"\byinyang:v?(\d+\.\d+\S*?)(?=[\s`\"',]|$)"  # an image
    r"|app\.kubernetes\.io/version: *\"?(\d+\.[^\s\"]+)"
    r"|^(?:appVersion|version): *\"?(\d+\.\d+\.[^\s\"]+)"  # of the chart; that of a Compose file has two numbers
    r"|--build-arg VERSION=([\d.]+\d)",
    re.M,
)


@pytest.fixture(scope="module")
def version() -> str:
    if not (ROOT / "pyproject.toml").exists():
        missing("static", "there is no source tree")
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def named(path: Path) -> set[str]:
    return {next(filter(None, found.groups())) for found in NAMED.finditer(path.read_text())}


def test_files_that_name_an_image_name_this_version(version: str) -> None:
    """Or the next one, which examples deploy."""
    major, minor, _ = version.split(".")
    wrong = {path: named(path) - {version, f"{major}.{int(minor) + 1}.0"} for path in PLACES}
    assert {str(path.relative_to(ROOT)): found for path, found in wrong.items() if found} == {}


@pytest.mark.parametrize(
    "path", ["README.md", "docs/watch.md", "deploy/kubernetes/base/yinyang.yaml", "deploy/watch.github.yml"]
)
def test_there_are_such_files(path: str) -> None:
    """What is looked for above is found where it is known to be."""
    assert named(ROOT / path)


def test_changelog_begins_with_this_version(version: str) -> None:
    newest = re.search(r"^## (\S+), (?:unreleased|\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest[1] == version


def test_program_says_it(version: str) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "yinyang.serve", "--version"], check=True, capture_output=True, text=True
    ).stdout
    assert told.split()[:2] == ["yinyang", version]
