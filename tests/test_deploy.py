"""What is in deploy/: do the files say what their specifications allow, and do they do what docs/cluster.md says?"""

import contextlib
import copy
import importlib.util
import itertools
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT, build_image, clean_environment, free_port, missing, needs, podman, wait_until
from manifests import MANIFEST, module, parse, run

from yinyang import identify

COMPOSE = ROOT / "deploy/compose.yaml"
STACK = ROOT / "deploy/stack.yaml"
LOCUST = ROOT / "deploy/compose.locust.yaml"
HAPROXY = ROOT / "deploy/haproxy.cfg"
UNITS = [ROOT / "deploy/yinyang.socket", ROOT / "deploy/yinyang.service"]
ENGINE = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]  # may not be raised everywhere
[engine]
runtime = "runc"  # the usual one refuses some kernels' control groups
"""
COMPOSE_FILES = [COMPOSE, STACK, LOCUST, *sorted((ROOT / "deploy/balancers").glob("*/compose.yaml"))]


@pytest.mark.parametrize("file", COMPOSE_FILES, ids=lambda file: str(file.relative_to(ROOT / "deploy")))
def test_compose_file_follows_its_specification(file: Path) -> None:
    if not importlib.util.find_spec("check_jsonschema"):
        missing("check-jsonschema", "check-jsonschema is not installed")
    check = ["check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    done = subprocess.run([sys.executable, "-m", *check], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def objects() -> dict[str, dict]:
    """The objects of the Kubernetes file, by kind."""
    return {item["kind"]: item for item in parse(MANIFEST.read_text())}


@pytest.mark.proxies
@pytest.mark.parametrize("mode", ["http", "tcp"])
@pytest.mark.parametrize("sticky", ["", "1"])
@pytest.mark.parametrize("checks", ["", "off"])
def test_haproxy_takes_its_configuration(mode: str, sticky: str, checks: str) -> None:
    """Without a warning, and where no name of a replica resolves."""
    variables = clean_environment() | {"MODE": mode, "STICKY": sticky, "CHECKS": checks}
    check = [needs("haproxy"), "-dW", "-c", "-f", str(HAPROXY)]
    done = subprocess.run(check, check=False, capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Podman with the options that this machine may need, which are no business of the files."""
    settings = tmp_path_factory.mktemp("engine") / "containers.conf"
    settings.write_text(ENGINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_CONF", str(settings))
        yield


# Kubernetes, as far as Podman knows it


FIELDS = {"metadata.namespace": "trial", "spec.nodeName": "node-a"}  # as a cluster would fill them in


def for_podman(objects: Sequence[dict], name: str, port: int) -> list[dict]:
    """The objects with what the cluster does and Podman 4 does not: some fields as variables. Its probes, which
    Podman would do with a curl(1) inside the container, are left to the test. The pod, only one, gets a port of this
    host."""
    changed = copy.deepcopy(list(objects))
    deployment = next(item for item in changed if item["kind"] == "Deployment")
    deployment["metadata"]["name"] = name
    deployment["spec"]["replicas"] = 1
    pod = deployment["spec"]["template"]
    container = pod["spec"]["containers"][0]
    for variable in container["env"]:
        path = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        if path in FIELDS:
            del variable["valueFrom"]
            variable["value"] = FIELDS[path]
    container["ports"][0] |= {"hostIP": "127.0.0.1", "hostPort": port}
    for probe in "readinessProbe", "livenessProbe":
        del container[probe]
    return changed


def ask(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, bytes]:
    """Status and body, by a connection of its own."""
    client = HTTPConnection(host, port, timeout=PATIENCE)
    try:
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


@contextlib.contextmanager
def played(objects: Sequence[dict], image: str, folder: Path) -> Iterator[int]:
    """The port of the pod of these objects, run by Podman."""
    yaml = module("yaml", "kubernetes-validate")
    name, port = f"yinyang-test-{os.getpid()}", free_port()
    [deployment] = (item for item in objects if item["kind"] == "Deployment")
    tag = f"localhost/{deployment['spec']['template']['spec']['containers'][0]['image']}"
    podman("tag", image, tag)
    file = folder / "kubernetes.yaml"
    file.write_text(yaml.safe_dump_all(for_podman(objects, name, port)))
    try:
        podman("kube", "play", "--log-driver", "k8s-file", str(file))
        yield port
    finally:
        podman("pod", "rm", "--force", "--ignore", "--time", "1", f"{name}-pod-0")
        podman("untag", tag, tag)  # once: all the names; twice: that one


@pytest.fixture
def pod_port(engine: None, image: str, objects: dict[str, dict], tmp_path: Path) -> Iterator[int]:
    needs("catatonit")  # the first process of each pod
    with played(list(objects.values()), image, tmp_path) as port:
        yield port


@pytest.mark.containers
@pytest.mark.needs("catatonit")
@pytest.mark.usefixtures("engine")
def test_version_after_set_image(image: str, objects: dict[str, dict], tmp_path: Path) -> None:
    """It is that of the new image."""
    deployment = json.dumps(objects["Deployment"])
    changed = run(
        "kubectl", "set", "image", "--local", "-f", "-", "yinyang=yinyang:0.2.0", "-o", "yaml", text=deployment
    )
    built = build_image(f"{image}-next", "--build-arg", "VERSION=0.2.0")
    try:
        with played(parse(changed), built, tmp_path) as port:
            assert json.loads(ask(port, "/whoami")[1])["version"] == "0.2.0"
    finally:
        podman("rmi", "--force", built)


@pytest.mark.containers
def test_pod_of_the_kubernetes_file(pod_port: int, objects: dict[str, dict]) -> None:
    container = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    for probe in container["readinessProbe"], container["livenessProbe"]:
        assert ask(pod_port, probe["httpGet"]["path"]) == (200, b"ok\n")
    told = json.loads(ask(pod_port, "/whoami")[1])
    assert (told["namespace"], told["node"]) == ("trial", "node-a")
    assert "version" not in told  # as this image was built without one
    assert told["colours"] == list(identify(told["host"], "distinct").colours)
    running = json.loads(podman("inspect", f"yinyang-test-{os.getpid()}-pod-0-yinyang"))[0]
    assert (running["Config"]["User"], running["HostConfig"]["ReadonlyRootfs"]) == ("65534:65534", True)
    assert running["HostConfig"]["Memory"] == 16 << 20
    status = Path(f"/proc/{running['State']['Pid']}/status").read_text()
    assert {"CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} <= set(status.splitlines())


# Compose


class Cluster:
    """What a Compose file starts, under a name and on a port of its own."""

    def __init__(self, name: str, port: int, file: Path = COMPOSE, **variables: str) -> None:
        self.name = name
        self.file = file
        self.port = port
        self.variables = clean_environment() | {"PORT": f"127.0.0.1:{port}"} | variables

    def compose(self, *arguments: str, **variables: str) -> None:
        command = [sys.executable, "-m", "podman_compose", "-p", self.name, "-f", str(self.file), *arguments]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=6 * PATIENCE, env=self.variables | variables
        )
        assert done.returncode == 0, done.stderr

    def container(self, service: str, number: int) -> str:
        return f"{self.name}_{service}_{number}"

    def host(self, service: str, number: int) -> str:
        return podman("inspect", "--format", "{{.Config.Hostname}}", self.container(service, number))

    def sample(self, count: int = 60) -> Counter[str]:
        """How often each replica answered, by its host name; "" for who else did."""
        answers = [ask(self.port, "/whoami") for _ in range(count)]
        return Counter(json.loads(body)["host"] if status == 200 else "" for status, body in answers)

    def wait_for(self, hosts: set[str]) -> None:
        def seen() -> bool:
            try:
                return set(self.sample()) == hosts
            except (OSError, HTTPException):
                return False  # it is not listening yet

        wait_until(seen, f"{len(hosts)} replicas")


class Visitors(threading.Thread):
    """One who asks until told to stop, a connection for each request, and keeps what went wrong."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.cluster = cluster
        self.hosts: list[str] = []
        self.failures: list[str] = []
        self.enough = threading.Event()

    def run(self) -> None:
        for _ in range(5000):
            try:
                status, body = ask(self.cluster.port, "/whoami")
                if status == 200:
                    self.hosts.append(json.loads(body)["host"])
                else:
                    self.failures.append(f"status {status}")
            except (OSError, HTTPException) as error:
                self.failures.append(repr(error))
            if self.enough.wait(0.01):
                return

    def __enter__(self) -> "Visitors":
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.enough.set()
        self.join()

    def wait_without(self, host: str, count: int = 100) -> None:
        """Until so many answers in a row came from others."""
        wait_until(lambda: len(self.hosts) >= count and host not in self.hosts[-count:], "answers of the others")


def stand_in(name: str, dockerfile: str, folder: Path, *options: str) -> None:
    """An image under its name: a local one, of a file of tests/, where that is all there is."""
    if not shutil.which("buildah"):
        missing("containers", "buildah is not installed")
    if subprocess.run(["podman", "image", "exists", name], check=False).returncode == 0:
        return
    build = ["buildah", "bud", "--isolation", "chroot", "--format", "docker", "--quiet", "-t", f"localhost/{name}"]
    subprocess.run(
        [*build, *options, "-f", str(ROOT / "tests" / dockerfile), str(folder)], check=True, stdout=subprocess.DEVNULL
    )


@pytest.fixture(scope="module")
def balancer_image() -> None:
    """HAProxy's image."""
    stand_in("haproxy:lts", "haproxy.Dockerfile", ROOT / "deploy")


@pytest.fixture
def cluster(engine: None, image: str, balancer_image: None) -> Iterator[Cluster]:
    """The containers of compose.yaml."""
    with composed(image) as started:
        yield started


@contextlib.contextmanager
def composed(
    image: str, *options: str, up: Sequence[str] = (), file: Path = COMPOSE, **variables: str
) -> Iterator[Cluster]:
    """The containers of a Compose file: the images are there, so nothing is built or pulled."""
    if not importlib.util.find_spec("podman_compose"):
        missing("podman-compose", "podman-compose is not installed")
    started = Cluster(f"yinyang-test-{os.getpid()}-{next(NUMBERS)}", free_port(), file, **variables)
    tags = [f"localhost/{started.name}_{service}" for service in ("web", "canary")]
    with TAGGING:
        podman("tag", image, *tags)
    try:
        started.compose(*options, "up", "--detach", *up)
        yield started
    finally:
        all_of_it = ("ps", "--all", "--quiet", "--filter", f"label=io.podman.compose.project={started.name}")
        if started_now := podman(*all_of_it).split():
            podman("rm", "--force", "--time", "0", *started_now)  # all at once, while `down` takes a second for each
        started.compose("--profile", "canary", "down", "--remove-orphans", "--timeout", "1")
        assert podman(*all_of_it) == ""
        with TAGGING:
            for tag in tags:
                podman("untag", tag, tag)  # the name twice, as above


NUMBERS = itertools.count()
TAGGING = threading.Lock()  # podman(1) reads all names of an image, and then writes them


@pytest.fixture
def locust_image() -> None:
    """Locust's image under its name: a local one where that is all there is."""
    name = re.search(r"image: (locustio/.+)", LOCUST.read_text())[1]
    stand_in(name, "locust.Dockerfile", ROOT / "tests", "--volume", "/etc/ssl/certs:/certificates:ro")


@pytest.mark.containers
@pytest.mark.parametrize(("expect", "code"), [("v1=100%", 0), ("v2=50%", 1)])
def test_load_by_locust(expect: str, code: int, cluster: Cluster, locust_image: None) -> None:
    """A master and two workers beside the replicas and their balancer; tests/test_load.py has the rest."""
    hosts = {cluster.host("web", number) for number in (1, 2, 3)}
    cluster.wait_for(hosts)
    given = {"WORKERS": "2", "USERS": "10", "DURATION": "6s", "EXPECT": expect, "NETWORK": f"{cluster.name}_default"}
    load = Cluster(f"{cluster.name}-load", cluster.port, LOCUST, **given)
    try:
        load.compose("up", "--detach", "--scale", "worker=2")
        assert int(podman("wait", load.container("master", 1))) == code
        output = podman("logs", load.container("master", 1))
    finally:
        load.compose("down", "--timeout", "1")
    table = re.search(r"^replica +requests  failed    share\n((?:.+\n)*)", output, re.M)[1]
    assert {line.split()[0] for line in table.splitlines()} == hosts
    assert f"{'✗' if code else '✓'} expected {expect.split('=', maxsplit=1)[0]} to give" in output


def guide_lines() -> list[str]:
    """The watches of docs/cluster.md, as they stand there."""
    text = (ROOT / "docs/cluster.md").read_text().replace("\\\n        ", "")
    return re.findall(r"^    (docker run .* yinyang watch http://localhost:8080/.*?)(?:  +#.*)?$", text, re.M)


def look(cluster: Cluster, image: str, *options: str) -> dict:
    """What the line of the guide with these options reports, when all that it expects holds. What is added makes it
    shorter."""
    [line] = {line for line in guide_lines() if line.endswith(" ".join(["http://localhost:8080/", *options]))}
    words = shlex.split(line)
    assert words[:3] == ["docker", "run", "--rm"]
    words = [word for word in words if word not in {"docker", "-it"}]
    words[words.index("yinyang")] = image
    words[words.index("http://localhost:8080/")] = f"http://127.0.0.1:{cluster.port}/"
    return json.loads(podman(*words, "--json", "--rate", "100", "--count", "300"))


@pytest.mark.containers
def test_compose(cluster: Cluster, image: str) -> None:
    """Three replicas, then five; one is killed, one is stopped, and no request fails."""
    three = {cluster.host("web", number) for number in (1, 2, 3)}
    assert len(three) == 3
    cluster.wait_for(three)
    with urllib.request.urlopen(f"http://127.0.0.1:{cluster.port}/wall", timeout=PATIENCE) as wall:
        assert wall.headers["Content-Type"].startswith("text/html")
    shares = cluster.sample(60)
    assert all(abs(count - 20) <= 1 for count in shares.values()), shares  # in turn
    found = look(cluster, image)
    assert {one["host"] for one in found["replicas"]} == three
    run = ("run", "--rm", "--network", f"{cluster.name}_default", image)  # whose name server knows the balancer
    found = json.loads(podman(*run, "watch", "http://balancer:8080/", "--json", "--count", "300", "--rate", "100"))
    assert ({one["host"] for one in found["replicas"]}, found["failures"]) == (three, {})

    cluster.compose("up", "--detach", "--scale", "web=5")
    five = three | {cluster.host("web", number) for number in (4, 5)}
    assert len(five) == 5
    cluster.wait_for(five)

    killed, stopped = cluster.host("web", 2), cluster.host("web", 4)
    with Visitors(cluster) as visitors:
        wait_until(lambda: set(visitors.hosts) == five)
        podman("kill", cluster.container("web", 2))
        visitors.wait_without(killed)
        podman("stop", "--time", "15", cluster.container("web", 4))
        visitors.wait_without(stopped)
    assert visitors.failures == []
    cluster.wait_for(five - {killed, stopped})


@pytest.mark.containers
def test_compose_with_a_canary(cluster: Cluster, image: str) -> None:
    """One replica of each version, and one answer in five from the next one."""
    cluster.compose("--profile", "canary", "down", "--remove-orphans", "--timeout", "1")
    cluster.compose("--profile", "canary", "up", "--detach", "--scale", "web=1")
    web, canary = cluster.host("web", 1), cluster.host("canary", 1)
    cluster.wait_for({web, canary})
    wait_until(lambda: cluster.sample(50) == {web: 40, canary: 10}, "one in five")
    found = look(cluster, image, "--by", "version", "--expect", "'v2=20%+-5'", "--duration", "1m")
    assert [group["name"] for group in found["groups"]] == ["v1", "v2"]


@pytest.mark.containers
def test_compose_with_a_cookie(cluster: Cluster, image: str) -> None:
    """Who sends the cookie back is always answered by the same replica; who does not, by all."""
    cluster.compose("down", "--timeout", "1")
    cluster.compose("up", "--detach", STICKY="1")
    cluster.wait_for({cluster.host("web", number) for number in (1, 2, 3)})
    url = f"http://127.0.0.1:{cluster.port}/whoami"
    visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    hosts = set()
    for _ in range(30):
        with visitor.open(url, timeout=PATIENCE) as answer:
            hosts.add(json.load(answer)["host"])
    assert len(hosts) == 1
    assert look(cluster, image)["verdict"]["kind"] == "sticky by cookie"


@pytest.mark.containers
def test_compose_with_a_balancer_of_connections(cluster: Cluster, image: str) -> None:
    """Who keeps a connection stays at one replica, and /whoami ends it unless told otherwise."""
    cluster.compose("down", "--timeout", "1")
    cluster.compose("up", "--detach", MODE="tcp")
    cluster.wait_for({cluster.host("web", number) for number in (1, 2, 3)})
    client = HTTPConnection("127.0.0.1", cluster.port, timeout=PATIENCE)
    hosts, reconnected = {"keep": [], "new": []}, []
    for path, kind in [("/whoami?keep=1", "keep")] * 12 + [("/whoami", "new")] * 12:
        client.request("GET", path)
        answer = client.getresponse()
        hosts[kind].append(json.loads(answer.read())["host"])
        reconnected.append(client.sock is None)
    client.close()
    assert len(set(hosts["keep"])) == 1
    assert reconnected == [False] * 12 + [True] * 12
    assert len(set(hosts["new"])) == 3
    assert look(cluster, image)["verdict"]["kind"] in {"turns", "even so far", "early"}
    found = look(cluster, image, "--connection", "same", "--concurrency", "50")
    assert found["verdict"]["kind"] == "sticky by connection"


# ---- systemd --------------------------------------------------------------------------------------------------------


@pytest.fixture
def units(static_program: Path, tmp_path: Path) -> Path:
    """A folder with the units, for the program where it is here."""
    for unit in UNITS:
        text = unit.read_text()
        (tmp_path / unit.name).write_text(text.replace("/usr/local/bin/yinyang", str(static_program)))
    return tmp_path


def analyze(*arguments: str | Path) -> str:
    """What systemd-analyze says if it succeeds. It looks at files alone, so nothing of systemd need run."""
    line = [needs("systemd-analyze"), "--no-pager", *arguments]
    done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.static
@pytest.mark.needs("systemd-analyze")
def test_units_are_valid(units: Path) -> None:
    assert analyze("verify", "--man=no", *(units / unit.name for unit in UNITS)) == ""


@pytest.mark.static
@pytest.mark.needs("systemd-analyze")
def test_service_is_hardly_exposed(units: Path) -> None:
    """On the scale from 0 to 10 of `systemd-analyze security`, which takes its threshold in tenths."""
    assert "SAFE" in analyze("security", "--offline=true", "--threshold=3", units / "yinyang.service")


@pytest.mark.static
@pytest.mark.needs("root", "unshare", "setpriv")
def test_service_needs_neither_network_nor_user(units: Path) -> None:
    """As PrivateNetwork= and DynamicUser= have it, with the options of the unit."""
    [start] = re.findall("^ExecStart=(.*)$", (units / "yinyang.service").read_text(), re.MULTILINE)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        script = (
            f"exec 3<&{fd}; LISTEN_FDS=1 LISTEN_PID=$$ exec setpriv --reuid 12345 --clear-groups --no-new-privs {start}"
        )
        process = subprocess.Popen(
            ["unshare", "--net", "bash", "-c", script],
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[fd],
            env=clean_environment(),
        )
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{listener.getsockname()[1]}/hostname", timeout=PATIENCE
            ) as answer:
                assert answer.read().decode().strip() == socket.gethostname()
        finally:
            process.terminate()
            _, log = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "Sandbox: no new privileges, no files, no connections out, few system calls" in log
