"""Servers for the tests, started as users start them."""

import contextlib
import fcntl
import functools
import importlib.util
import itertools
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

import yinyang

ROOT = Path(__file__).parent.parent
PATIENCE = 120.0  # seconds until a test that waits for something gives up: only a test that fails takes them

PAGE = yinyang.render_page(yinyang.identify("vm"))  # of the servers that tests start
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
SERVED = r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d Served image, host: vm, colour: #b8d868"  # a line of the log

# variables that servers read although they are not named after them
PLATFORM = {"PORT", *re.findall(r'\{OPTION_\w+, "(\w+)"\}', (ROOT / "csrc/option_table.h").read_text())}

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # servers inherit it, and these tests may run under nohup(1)


def wait_until(condition: Callable[[], object], what: str = "") -> object:
    """Poll until the condition holds, and return what it returned."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.005)
    raise AssertionError(f"waited in vain for {what or condition}")


@contextlib.contextmanager
def naming(what: str) -> Iterator[None]:
    """Have a failure tell with what of many it was."""
    try:
        yield
    except Exception as error:
        error.add_note(f"with {what}")
        raise


class Replica:
    """A server process, its log, and connections to it."""

    def __init__(self, process: subprocess.Popen, log: Path) -> None:
        self.process = process
        self.log = log
        self.port = 0

    @property
    def pid(self) -> int:
        """The server's own; it is not `process` where something stands in between."""
        return self.process.pid

    def lines(self) -> list[str]:
        return self.log.read_bytes().decode("utf-8", "surrogateescape").splitlines()

    def served(self) -> list[str]:
        return [line for line in self.lines() if " Served image, " in line]

    def wait_for_port(self) -> None:
        def listening() -> re.Match | None:
            log = self.log.read_text(errors="replace")
            assert self.process.poll() is None, log
            return re.search(r"Listening on http://\S+:(\d+)\b", log)

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
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.send_signal(number)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class ContainedReplica(Replica):
    """A server that is the first process of a container, whose port 80 is published."""

    def __init__(self, process: subprocess.Popen, log: Path, name: str) -> None:
        super().__init__(process, log)
        self.name = name
        self.first = 0

    @property
    def pid(self) -> int:
        return self.first

    def wait_for_port(self) -> None:
        super().wait_for_port()
        self.first = int(podman("inspect", "--format", "{{.State.Pid}}", self.name))
        self.port = int(podman("port", self.name, "80").rpartition(":")[2])

    def kill(self) -> None:
        podman("rm", "--force", "--time", "0", "--ignore", self.name)
        self.process.wait(PATIENCE)


def podman(*arguments: str) -> str:
    done = subprocess.run(["podman", *arguments], check=True, capture_output=True, text=True, timeout=6 * PATIENCE)
    return done.stdout.strip()


def free_port() -> int:
    """One that nobody listens on, for a program that cannot choose one by itself."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def read_all(client: socket.socket) -> bytes:
    """What comes until the end of the connection."""
    received = b""
    while piece := client.recv(65536):
        received += piece
    return received


def switches(pid: int) -> int:
    """How often a process has begun to wait, or was made to."""
    return sum(map(int, re.findall(r"ctxt_switches:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())))


def receive_page(client: socket.socket) -> bytes:
    """The next answer of a connection, which is a page."""
    received = b""
    while not received.endswith(b"</html>"):
        piece = client.recv(4096)
        if not piece:
            raise ConnectionResetError(f"it ends within a page: {received!r}")
        received += piece
    return received


def clean_environment() -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if name not in PLATFORM and not name.startswith("YINYANG_")
    }
    return kept | {"TZ": "UTC0"}


class Shape:
    """A form that the server comes in, as a command."""

    def __init__(self, *command: str) -> None:
        self._command = command

    def command(self, *options: str, **_variables: str) -> list[str]:
        return [*self._command, *options]

    def run(self, *options: str, wrap: Sequence[str] = (), **variables: str) -> subprocess.CompletedProcess:
        """Run one that is expected to end by itself."""
        return subprocess.run(
            [*wrap, *self.command(*options, **variables)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            env=clean_environment() | variables,
        )

    def replica(self, log: Path, *options: str, stderr: int | None = None, **variables: str) -> Replica:
        """Start one, on a free port."""
        with log.open("wb") as file:
            process = subprocess.Popen(
                self.command("--port", "0", "--name", "vm", *options),
                stderr=file if stderr is None else stderr,
                env=clean_environment() | variables,
                cwd=log.parent,
            )
        return Replica(process, log)


class Image(Shape):
    """The image in containers: as tight as one would be run, and with its port published."""

    def command(self, *options: str, **variables: str) -> list[str]:
        variables = {"YINYANG_DRAIN": "0"} | variables  # the image's own would make each test take seconds
        given = [item for name, value in variables.items() for item in ("--env", f"{name}={value}")]
        return [
            *("podman", "--runtime", "runc", "run", "--rm", "--read-only", "--cap-drop", "ALL"),
            *("--security-opt", "no-new-privileges", "--memory", "8m", "--log-driver", "none", "--no-healthcheck"),
            *("--sysctl", "net.ipv4.ip_unprivileged_port_start=0"),  # as Docker does by itself
            *("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=4096:4096"),  # may not be raised everywhere
            *(*given, *self._command, *options),
        ]

    def replica(self, log: Path, *options: str, stderr: int | None = None, **variables: str) -> Replica:
        name = f"yinyang-test-{os.getpid()}-{next(NUMBERS)}"
        line = self.command("--name", "vm", *options, **variables)
        line[line.index("--rm") : line.index("--rm")] = ["--name", name, "--publish", "127.0.0.1::80"]
        with log.open("wb") as file:
            process = subprocess.Popen(line, stderr=file if stderr is None else stderr, cwd=log.parent)
        return ContainedReplica(process, log, name)


NUMBERS = itertools.count()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--program", help="the server to test, as a command, instead of its shapes")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test of a server runs against each of its programs; one that may end otherwise in a container, there too;
    one of containers, only there."""
    if "shape" in metafunc.fixturenames:
        shapes = [pytest.param("python"), pytest.param("static", marks=pytest.mark.static)]
        container = pytest.param("container", marks=pytest.mark.containers)
        if metafunc.config.getoption("program"):
            shapes = ["program"]
        elif metafunc.definition.get_closest_marker("containers"):
            shapes = [container]
        elif metafunc.definition.get_closest_marker("contained"):
            shapes.append(container)
        metafunc.parametrize("shape", shapes, indirect=True, scope="session")


@contextlib.contextmanager
def first_of_all_processes(factory: pytest.TempPathFactory, name: str) -> Iterator[bool]:
    """Is this the first process of this run, of which pytest-xdist may start several, that does what is named? The
    others wait until it is done."""
    base = factory.getbasetemp()
    done = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"{name}.done"
    with done.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not done.exists()
        done.touch()


def copy_sources(folder: Path) -> None:
    """Copy what the package and the static program are built from."""
    for name in "setup.py", "pyproject.toml", "README.md", "LICENSE":
        shutil.copy(ROOT / name, folder)
    for name in "yinyang", "csrc", "tools":
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))


@pytest.fixture(scope="session")
def static_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of the static program, built from this tree."""
    if reason := what_static_lacks():
        missing("static", reason)
    with first_of_all_processes(tmp_path_factory, "static") as first:
        if first:
            build = [sys.executable, "setup.py", "-q", "build_static"]
            subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return ROOT / "build/static/yinyang"


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of the image, built from this tree."""
    if reason := what_containers_lack():
        missing("containers", reason)
    name = "localhost/yinyang-test"
    with first_of_all_processes(tmp_path_factory, "image") as first:
        if first:
            build_image(name)
    return name


def build_image(name: str, *options: str, folder: Path = ROOT) -> str:
    """Build the image of a folder's Dockerfile under this name; what does not depend on the options is built once."""
    build = ["buildah", "bud", "--layers", "--isolation", "chroot", "--format", "docker", *options]
    done = subprocess.run([*build, "-t", name, str(folder)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return name


def archive(image: str, name: str, folder: Path) -> Path:
    """An image of Podman as a file, under another name."""
    path = folder / f"{name.rpartition('/')[2].replace(':', '-')}.tar"
    podman("push", "--quiet", image, f"docker-archive:{path}:{name}")
    return path


@pytest.fixture(scope="session")
def image_program(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of the program of the image, taken out of it."""
    folder = tmp_path_factory.mktemp("image")
    container = podman("create", image)
    try:
        podman("cp", f"{container}:/yinyang", str(folder))
    finally:
        podman("rm", container)
    return folder / "yinyang"


@pytest.fixture(scope="session")
def shape(request: pytest.FixtureRequest) -> Shape:
    """What the server is started as. The static program is the very one of the image, where that can be built: so what
    holds for it need not be tried once more in a container."""
    if request.param == "program":
        return Shape(*shlex.split(request.config.getoption("program")))
    if request.param == "python":
        return Shape(sys.executable, "-m", "yinyang.serve")
    if request.param == "static":
        name = "static_program" if what_containers_lack() else "image_program"
        return Shape(str(request.getfixturevalue(name)))
    return Image(request.getfixturevalue("image"))


@pytest.fixture
def start(shape: Shape, tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    """Starts servers on free ports, and ends them; `start("--workers", "1")`."""
    replicas: list[Replica] = []

    def start_one(*options: str, log: int | None = None, **variables: str) -> Replica:
        replica = shape.replica(tmp_path / f"log-{len(replicas)}", *options, stderr=log, **variables)
        replicas.append(replica)
        if log is None:
            replica.wait_for_port()
        return replica

    yield start_one
    for replica in replicas:
        replica.kill()


@pytest.fixture(scope="session")
def shared_replica(shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """One server for all tests that only ask it something."""
    with serving(shape, tmp_path_factory.mktemp("shared") / "log") as replica:
        yield replica


@pytest.fixture(scope="session")
def lone_replica(shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """The same with one worker, which does one thing after another."""
    with serving(shape, tmp_path_factory.mktemp("lone") / "log", "--workers", "1") as replica:
        yield replica


@contextlib.contextmanager
def serving(shape: Shape, log: Path, *options: str) -> Iterator[Replica]:
    replica = shape.replica(log, *options)
    try:
        replica.wait_for_port()
        yield replica
        assert replica.stop() == 0
    finally:
        replica.kill()


def injecting(fault: str) -> list[str]:
    """strace, as the beginning of a command all of whose processes are to have a fault."""
    return [needs("strace"), "-f", "-qq", "-o", "/dev/null", "-e", f"inject={fault}"]


@contextlib.contextmanager
def started_with(fault: str, shape: Shape, log: Path) -> Iterator[Replica]:
    """A server all of whose processes have a fault from their beginning, and which ends as it should."""
    replica = Shape(*injecting(fault), *shape.command()).replica(log, "--workers", "1")
    try:
        replica.wait_for_port()
        yield replica
        os.kill(replica.workers()[0], signal.SIGTERM)  # strace's only child, to which strace passes no signals on
        assert replica.process.wait(PATIENCE) == 0
    finally:
        if replica.process.poll() is None:
            for pid in replica.workers():
                os.kill(pid, signal.SIGKILL)
            replica.kill()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry of the tests' own."""
    crane = needs(str(ROOT / "build/release-tools/bin/crane"))
    address, log = f"127.0.0.1:{free_port()}", tmp_path_factory.mktemp("registry") / "log"
    with log.open("w") as file:
        process = subprocess.Popen([crane, "registry", "serve", "--address", address], stdout=file, stderr=file)
    try:
        wait_until(lambda: "serving on" in log.read_text(), "the registry")
        yield address
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def missing(requirement: str, reason: str) -> NoReturn:
    """The test is skipped, or fails where YINYANG_REQUIRE says that it must run."""
    (pytest.fail if requirement in os.environ.get("YINYANG_REQUIRE", "").split(",") else pytest.skip)(reason)


def needs(tool: str) -> str:
    """The path of a tool without which a test cannot run. A test that opens something before it comes here is marked
    to need the tool as well, as pytest keeps open what a skipped test has opened."""
    places = [os.environ.get("PATH", os.defpath), "/usr/sbin", str(Path(sys.executable).parent)]  # where servers are
    path = shutil.which(tool, path=":".join(places))
    if path is None:
        missing(tool, f"{tool} is not installed")
    return path


def compiled(source: str, folder: Path, *options: str) -> Path:
    """The program of a C source in this folder, by the compiler in CC, if that is set."""
    program = folder / Path(source).stem
    compiler, *first = shlex.split(os.environ.get("CC", "gcc"))
    command = [needs(compiler), *first, "-O1", "-Wall", *options, "-I", str(ROOT / "csrc"), "-o", str(program)]
    subprocess.run([*command, str(Path(__file__).with_name(source))], check=True)
    return program


@functools.cache
def what_static_lacks() -> str:
    """What is missing to build the static program."""
    if not (ROOT / "setup.py").exists():
        return "there is no source tree to build the static program from"
    if not list(Path("/usr/include").glob("*-linux-musl/stdio.h")):
        return "musl-dev is not installed"
    lacking = [name for name in ("Cython", "setuptools") if not importlib.util.find_spec(name)]
    return f"{lacking[0]} is not installed" if lacking else ""


@functools.cache
def what_containers_lack() -> str:
    """What is missing to build the image and to run it."""
    lacking = [tool for tool in ("buildah", "podman", "runc") if not shutil.which(tool)]
    if lacking:
        return f"{lacking[0]} is not installed"
    if not (ROOT / "Dockerfile").exists():
        return "there is no Dockerfile to build the image from"
    base = re.search(r"^FROM .*(debian:\S+) AS tools$", (ROOT / "Dockerfile").read_text(), re.M)[1]
    if subprocess.run(["podman", "image", "exists", base], check=False).returncode:
        return f"there is no image {base}; tools/base-image makes one"
    return ""


LACKS = {"static": what_static_lacks, "containers": what_containers_lack}  # for tests with these markers
TOOLS = {"browser": "chromium", "prometheus": "prometheus", "strace": "strace"}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Ask for all that a test needs before its fixtures open anything."""
    for marker in item.iter_markers():
        if marker.name == "release" and "release" not in item.config.option.markexpr:
            pytest.skip("takes minutes: make release-test")
        if marker.name in LACKS and (reason := LACKS[marker.name]()):
            missing(marker.name, reason)
        for name in marker.args if marker.name == "needs" else filter(None, [TOOLS.get(marker.name)]):
            if name != "root":
                needs(name)
            elif os.geteuid() != 0:
                missing("root", "only root may do what it does")


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks, and pytest-xdist reads those
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `-n 2 --dist loadgroup` of pytest-xdist, one process has all that is done with clusters of containers, which
    share names and networks, one all servers in containers of their own, and one all tests of a proxy of one kind,
    whose connections are counted in the end."""
    for item in items:
        given = item.callspec.params if hasattr(item, "callspec") else {}
        fixtures = getattr(item, "fixturenames", ())
        if "shape" in fixtures or "watch" in fixtures:
            item.add_marker("program")
        if not config.pluginmanager.hasplugin("xdist"):
            continue
        if item.get_closest_marker("containers"):
            group = "contained" if given.get("shape") == "container" else "containers"
            item.add_marker(pytest.mark.xdist_group(group))
        elif "proxy" in fixtures:
            item.add_marker(pytest.mark.xdist_group(f"proxy {given.get('proxy')}"))
