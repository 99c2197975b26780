"""Building the package: what is said where it cannot be built, and what is in the wheel."""

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT, clean_environment, copy_sources, missing

SETUP = """
import runpy, sys, urllib.request, setuptools.command.bdist_wheel, setuptools.command.build_ext
{change}
sys.argv[1:] = {arguments}
runpy.run_path("setup.py", run_name="__main__")
"""
OLD_PYTHON = "collections.namedtuple('V', 'major minor micro releaselevel serial')(3, 10, 12, 'final', 0)"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the package is built from."""
    if not (ROOT / "setup.py").exists():
        missing("static", "there is no source tree to build it from")
    for module in "Cython", "setuptools":
        if not importlib.util.find_spec(module):
            missing("static", f"{module} is not installed")
    copy_sources(tmp_path)
    return tmp_path


def set_up(tree: Path, *arguments: str, change: str = "pass", **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", SETUP.format(change=change, arguments=arguments)],
        cwd=tree,
        env=clean_environment() | variables,
        check=False,
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sys.platform = 'darwin'", "yinyang needs Linux and CPython, this is "),
        ("sys.implementation.name = 'pypy'", "yinyang needs Linux and CPython, this is "),
        (f"import collections; sys.version_info = {OLD_PYTHON}", "yinyang requires Python >= 3.11, this is "),
        ("import sysconfig; sysconfig.get_path = lambda name: '/none'", "yinyang: /none/Python.h is missing, "),
    ],
)
@pytest.mark.parametrize("command", ["bdist_wheel", "build_ext"])
def test_where_it_cannot_be_built(command: str, change: str, message: str, tree: Path) -> None:
    """One line, and before anything is made."""
    done = set_up(tree, "-q", command, change=change)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert not (tree / "build").exists()


def test_without_a_compiler(tree: Path) -> None:
    done = set_up(tree, "-q", "bdist_wheel", CC="no-such-compiler -O")
    assert done.returncode == 1
    assert done.stderr.startswith("yinyang: no-such-compiler is missing, to compile the extension; install gcc and ")
    assert done.stderr.count("\n") == 1


def test_two_wheels_are_equal(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """From two folders; neither these nor debug information are in the extension, and no source is in the wheel."""
    wheels = []
    trees = [tree, tmp_path_factory.mktemp("other")]
    copy_sources(trees[1])
    for folder in trees:
        done = set_up(folder, "-q", "bdist_wheel", SOURCE_DATE_EPOCH="1700000000", CFLAGS="-O0")
        assert done.returncode == 0, done.stderr
        [wheel] = (folder / "dist").iterdir()
        wheels.append(wheel)
    assert wheels[0].name == wheels[1].name
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    with zipfile.ZipFile(wheels[0]) as wheel:
        names = wheel.namelist()
        [extension] = (name for name in names if name.endswith(".so"))
        binary = wheel.read(extension)
    assert not [name for name in names if Path(name).suffix in {".c", ".h", ".pyx", ".pxd"}]
    assert b".debug_" not in binary
    assert os.fsencode(tree) not in binary


def test_a_program_beside_the_clone(tmp_path: Path) -> None:
    """The clone's folder has the package's name, and no module in it."""
    (tmp_path / "yinyang").symlink_to(ROOT)
    program = tmp_path / "program.py"
    program.write_text("import yinyang; print(yinyang.identify('vm').colour)")
    done = subprocess.run([sys.executable, program], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("#b8d868\n", "")
