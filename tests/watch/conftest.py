"""What the tests of the command need."""

import importlib.util
import shlex
import sys
from collections.abc import Iterator

import pytest
from balancers import PROCESSES
from conftest import missing, serving

from watch.command import HTTPX, Watch

CORE = "yinyang watch"  # what the watch in the core calls itself
WITHOUT_SANDBOX = ["--sandbox", "off"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test of a watch runs against each of them."""
    if "watch" in metafunc.fixturenames:
        watches = ["httpx", "python", pytest.param("static", marks=pytest.mark.static)]
        if metafunc.config.getoption("program"):
            watches = ["program"]
        metafunc.parametrize("watch", watches, indirect=True, scope="session")


@pytest.fixture(scope="session")
def watch(request: pytest.FixtureRequest) -> Watch:
    if request.param == "httpx":
        request.getfixturevalue("libraries")
        return Watch(*HTTPX, name="yinyang.watch")
    if request.param == "python":
        return Watch(sys.executable, "-m", "yinyang", "watch", name=CORE)
    if request.param == "static":
        return Watch(str(request.getfixturevalue("static_program")), "watch", name=CORE)
    program = shlex.split(request.config.getoption("program"))
    if program[-2:] == WITHOUT_SANDBOX:
        return Watch(*program[:-2], "watch", name=CORE, YINYANG_SANDBOX="off")
    return Watch(*program, "watch", name=CORE)


@pytest.fixture
def httpx_watch(libraries: None) -> Watch:
    """The one with httpx, for what only that can do."""
    return Watch(*HTTPX, name="yinyang.watch")


@pytest.fixture(scope="session")
def libraries() -> None:
    for name in "httpx", "rich":
        if not importlib.util.find_spec(name):
            missing("watch", f"{name} is not installed")


@pytest.fixture(scope="session")
def web_lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a replica of this name that nothing happens to."""
    log = tmp_path_factory.mktemp("web-lone") / "log"
    options = ("--host", "127.0.0.1", "--workers", "1", "--name", "web-lone", "--app-version", "1.2.3")
    with serving(PROCESSES, log, *options) as replica:
        yield replica.port
