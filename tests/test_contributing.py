"""CONTRIBUTING.md: its patches apply, what they make builds in both shapes, and it does what the text says."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import PAGE, PATIENCE, ROOT, Replica, Shape, clean_environment, copy_sources, needs

pytestmark = [pytest.mark.static, pytest.mark.needs("patch"), pytest.mark.xdist_group("contributing")]

Start = Callable[..., Replica]

MESSAGE = "a <line>"
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
PATCHES = re.findall(r"^## ([^\n]+)$|^```diff\n(.*?)^```$", TEXT, re.M | re.S)
NUMBERS = {1: "one file", 3: "three files", 4: "four files"}  # as the text has them
FILES = {"Add a route": 3, "Add an option": 4, "Add a counter": 3, "Add a fault": 1}  # that its patch changes


def patches() -> dict[str, str]:
    """The patch in each section that has one."""
    found, heading = {}, ""
    for title, patch in PATCHES:
        heading = title or heading
        if patch:
            assert heading not in found
            found[heading] = patch
    return found


def apply_patches(folder: Path) -> None:
    """To a copy of the tree."""
    copy_sources(folder)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__", "corpus"))
    for patch in patches().values():
        run(folder, needs("patch"), "--strip=1", "--fuzz=0", stdin=patch)


@pytest.fixture(scope="module")
def patched(static_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with all patches, and both shapes built. (The fixture before makes sure that they can be.)"""
    folder = tmp_path_factory.mktemp("patched")
    apply_patches(folder)
    run(folder, sys.executable, "setup.py", "-q", "build_static", CFLAGS="-O1")
    run(folder, sys.executable, "setup.py", "-q", "build_ext", "--inplace", CFLAGS="-O0")
    return folder


@pytest.fixture(scope="module", params=["python", "static"])
def patched_shape(patched: Path, request: pytest.FixtureRequest) -> Shape:
    program = str(patched / "build/static/yinyang")
    return Shape(sys.executable, "-m", "yinyang.serve") if request.param == "python" else Shape(program)


@pytest.fixture
def start(patched: Path, patched_shape: Shape) -> Iterator[Callable[..., Replica]]:
    """Starts one server with all patches, and ends it."""
    replicas: list[Replica] = []

    def start_one(*options: str, **variables: str) -> Replica:
        replicas.append(patched_shape.replica(patched / "log", "--workers", "1", *options, **variables))
        replicas[-1].wait_for_port()
        return replicas[-1]

    yield start_one
    for replica in replicas:
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
    assert {heading: patch.count("\n+++ b/") for heading, patch in patches().items()} == FILES
    assert TEXT.count("```diff") == len(FILES)


def test_the_patches_apply(tmp_path: Path) -> None:
    """In seconds, for whoever changes the lines beside one."""
    apply_patches(tmp_path)


def test_the_text_says_how_many_files_change() -> None:
    for heading, count in FILES.items():
        introduction = TEXT.partition(f"## {heading}\n")[2].partition("```diff")[0]
        assert introduction.endswith(f"in {NUMBERS[count]}:\n\n")


def test_the_route_answers(start: Start) -> None:
    replica = start()
    assert get(replica, "/colour").endswith(b"\r\n\r\n#b8d868\n")
    assert b'http_requests_total{status="200",path="colour"} 1\n' in get(replica, "/metrics")


@pytest.mark.parametrize(
    ("options", "variables"),
    [(("--message", MESSAGE), {}), ((), {"YINYANG_MESSAGE": MESSAGE})],
    ids=["option", "variable"],
)
def test_the_option_is_on_the_page(options: tuple[str, ...], variables: dict[str, str], start: Start) -> None:
    page = get(start(*options, **variables), "/").partition(b"\r\n\r\n")[2]
    assert page == PAGE.replace(b"</h1>", b"</h1><p>a &lt;line&gt;</p>")


def test_the_page_without_the_option_is_the_page_without_the_patch(start: Start) -> None:
    assert get(start(), "/").partition(b"\r\n\r\n")[2] == PAGE


def test_the_option_is_in_the_help(patched: Path, patched_shape: Shape) -> None:
    helped = run(patched, *patched_shape.command("--help"))
    assert re.search(r"^ +--message TEXT +YINYANG_MESSAGE +line under the heading of the page", helped, re.M)


def test_the_option_is_an_argument_too(patched: Path) -> None:
    statement = f"import yinyang; yinyang.Server(message={MESSAGE!r}); print(yinyang.__file__)"
    assert run(patched, sys.executable, "-c", statement) == f"{patched / 'yinyang/__init__.py'}\n"


def test_the_counter_counts(start: Start) -> None:
    replica = start("--body-timeout", "1")

    def timeouts() -> int:
        return int(re.search(rb"^yinyang_timeouts_total (\d+)$", get(replica, "/metrics"), re.M)[1])

    assert timeouts() == 0
    late = replica.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
    assert late.startswith(b"HTTP/1.1 408 ")
    assert timeouts() > 0


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
