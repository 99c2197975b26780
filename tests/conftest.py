"""Servers for the tests, started as users start them."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATIENCE = 20.0  # seconds until a test that waits for something gives up


def wait_until(condition: Callable[[], object], what: str = "") -> object:
    """Poll until the condition holds, and return what it returned."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.005)
    raise AssertionError(f"waited in vain for {what or condition}")


class Replica:
    """A server process, its log, and connections to it."""

    def __init__(self, process: subprocess.Popen, log: Path) -> None:
        self.process = process
        self.log = log
        self.port = 0

    def lines(self) -> list[str]:
        return self.log.read_bytes().decode("utf-8", "surrogateescape").splitlines()

    def served(self) -> list[str]:
        return [line for line in self.lines() if " Served image, " in line]

    def wait_for_port(self) -> None:
        def listening() -> re.Match | None:
            assert self.process.poll() is None, self.log.read_text()
            return re.search(r"Listening on http://\S+:(\d+)\b", self.log.read_text())

        self.port = int(wait_until(listening, "the line with the port")[1])

    def connect(self, host: str = "127.0.0.1", timeout: float = PATIENCE) -> socket.socket:
        return socket.create_connection((host, self.port), timeout)

    def ask(self, request: bytes, half_close: bool = False) -> bytes:
        """All that is answered to a request that ends its connection."""
        with self.connect() as client:
            client.sendall(request)
            if half_close:
                client.shutdown(socket.SHUT_WR)
            return read_all(client)

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def read_all(client: socket.socket) -> bytes:
    """What comes until the end of the connection."""
    received = b""
    while piece := client.recv(65536):
        received += piece
    return received


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "yinyang.serve", *options]


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PORT" and not name.startswith("YINYANG_")}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    """Starts servers on free ports, and ends them; `start("--workers", "1")`."""
    replicas: list[Replica] = []

    def start_one(*options: str, log: int | None = None, **variables: str) -> Replica:
        path = tmp_path / f"log-{len(replicas)}"
        with path.open("wb") as file:
            process = subprocess.Popen(
                command("--port", "0", "--name", "vm", *options),
                stderr=file if log is None else log,
                env=clean_environment() | variables,
                cwd=tmp_path,
            )
        replica = Replica(process, path)
        replicas.append(replica)
        if log is None:
            replica.wait_for_port()
        return replica

    yield start_one
    for replica in replicas:
        with contextlib.suppress(ProcessLookupError):
            replica.process.kill()
        replica.process.wait()


@pytest.fixture(scope="session")
def shared_replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """One server for all tests that only ask it something."""
    folder = tmp_path_factory.mktemp("shared")
    with (folder / "log").open("wb") as file:
        process = subprocess.Popen(
            command("--port", "0", "--name", "vm"), stderr=file, env=clean_environment(), cwd=folder
        )
    replica = Replica(process, folder / "log")
    try:
        replica.wait_for_port()
        yield replica
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def needs(tool: str) -> str:
    """The path of a tool; without it the test is skipped, or fails where YINYANG_REQUIRE says that it must run."""
    path = shutil.which(tool)
    if path is None:
        reason = f"{tool} is not installed"
        (pytest.fail if tool in os.environ.get("YINYANG_REQUIRE", "").split(",") else pytest.skip)(reason)
    return path
