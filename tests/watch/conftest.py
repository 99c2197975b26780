"""What the tests of the command need."""

import importlib.util
from collections.abc import Iterator

import pytest
from balancers import PROCESSES
from conftest import missing, serving


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
