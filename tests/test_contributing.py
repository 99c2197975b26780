"""CONTRIBUTING.md: its patches apply, what they make builds in both shapes, and it does what the text says."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT, Replica, Shape, clean_environment, copy_sources, needs

pytestmark = [pytest.mark.static, pytest.mark.needs("patch"), pytest.mark.xdist_group("contributing")]

MESSAGE = "a <line>"
PATCHES = re.findall(r"^## ([^\n]+)$|^```diff\n(.*?)^```$", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S)


def patches() -> dict[str, str]:
    """The patch in each section that has one."""
    found, heading = {}, ""
    for title, patch in PATCHES:
        heading = title or heading
        if patch:
            assert heading not in found
            found[heading] = patch
    return found


@pytest.fixture(scope="module")
def patched(static_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with all patches, and both shapes built. (The fixture before makes sure that they can be.)"""
    folder = tmp_path_factory.mktemp("patched")
    copy_sources(folder)
    ignored = shutil.ignore_patterns("__pycache__", "corpus")
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignored)
    for patch in patches().values():
        run(folder, needs("patch"), "--strip=1", "--fuzz=0", stdin=patch)
    run(folder, sys.executable, "setup.py", "-q", "build_static")
    run(folder, sys.executable, "setup.py", "-q", "build_ext", "--inplace", CFLAGS="-O0")
    return folder


@pytest.fixture(scope="module", params=["python", "static"])
def patched_shape(patched: Path, request: pytest.FixtureRequest) -> Shape:
    program = str(patched / "build/static/yinyang")
    return Shape(sys.executable, "-m", "yinyang.serve") if request.param == "python" else Shape(program)


@pytest.fixture
def replica(patched: Path, patched_shape: Shape) -> Iterator[Replica]:
    replica = patched_shape.replica(patched / "log", "--workers", "1", YINYANG_MESSAGE=MESSAGE)
    replica.wait_for_port()
    yield replica
    replica.kill()


def get(replica: Replica, path: str) -> bytes:
    return replica.ask(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())


def run(folder: Path, *command: str, stdin: str = "", **variables: str) -> str:
    """The output of a command that succeeds in this folder."""
    done = subprocess.run(
        command,
        cwd=folder,
        input=stdin,
        env=clean_environment() | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=20 * PATIENCE,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_each_patch_is_tried_here() -> None:
    assert list(patches()) == ["Add a route", "Add an option", "Add a counter", "Add a fault"]


def test_the_route_answers(replica: Replica) -> None:
    assert get(replica, "/colour").endswith(b"\r\n\r\n#b8d868\n")
    assert b'http_requests_total{code="200",route="colour"} 1\n' in get(replica, "/metrics")


def test_the_option_is_on_the_page(patched: Path, patched_shape: Shape, replica: Replica) -> None:
    assert b"<h1>vm</h1><p>a &lt;line&gt;</p><svg " in get(replica, "/")
    helped = run(patched, *patched_shape.command("--help"))
    assert re.search(r"^ +--message TEXT +YINYANG_MESSAGE +line under the heading of the page", helped, re.M)


def test_the_option_is_an_argument_too(patched: Path) -> None:
    statement = f"import yinyang; yinyang.Server(message={MESSAGE!r}); print(yinyang.__file__)"
    assert run(patched, sys.executable, "-c", statement) == f"{patched / 'yinyang/__init__.py'}\n"


def test_the_counter_counts(replica: Replica) -> None:
    def received() -> int:
        return int(re.search(rb"^yinyang_received_bytes_total (\d+)$", get(replica, "/metrics"), re.M)[1])

    before = received()
    assert received() > before


@pytest.mark.strace
def test_the_fault_costs_nothing(patched: Path) -> None:
    needs("strace")
    tried = run(
        patched,
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/test_faults.py",
        "-k",
        "accept4 and EHOSTUNREACH",
    )
    assert re.search(r"^[1-9]\d* passed", tried, re.M), tried
