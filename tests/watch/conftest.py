"""Replicas for the watch to look at."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Replica, Shape, missing, serving

SERVER = Shape(sys.executable, "-m", "yinyang.serve")
OPTIONS = ("--host", "127.0.0.1", "--workers", "1")


@pytest.fixture(scope="session")
def libraries() -> None:
    """What the command needs."""
    for name in "httpx", "rich":
        if not importlib.util.find_spec(name):
            missing("watch", f"{name} is not installed")


@pytest.fixture
def start_replica(tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    """Starts replicas, and ends them: `start_replica("web-1", port=0)`."""
    replicas: list[Replica] = []

    def start(name: str, port: int = 0) -> Replica:
        log = tmp_path / f"log-{len(replicas)}"
        replica = SERVER.replica(log, *OPTIONS, "--name", name, "--port", str(port))
        replicas.append(replica)
        replica.wait_for_port()
        return replica

    yield start
    for replica in replicas:
        replica.kill()


@pytest.fixture(scope="session")
def web_lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a replica of this name that nothing happens to."""
    log = tmp_path_factory.mktemp("web-lone") / "log"
    with serving(SERVER, log, *OPTIONS, "--name", "web-lone", "--app-version", "1.2.3") as replica:
        yield replica.port
