"""deploy/stack.yaml on a Docker Swarm of one node: are replicas replaced one by one, and does the old version stay if
those of a new one are not healthy? And does the deployment of .gitlab-ci.yml say so?

The engine has namespaces and memory of its own for its network and its files. Its routing mesh needs IPVS in the
kernel, which many have not, so replicas are asked at their own addresses.
"""

import collections
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT, Shape, archive, build_image, clean_environment, needs, serving, wait_until
from manifests import module
from namespaces import Namespaces, only_child, remove_control_groups
from pipelines import read_pipeline, run_job

STACK, DOCKERFILE = ROOT / "deploy/stack.yaml", ROOT / "Dockerfile"
INIT, DEPLOY, *_ = re.findall(  # the commands of the guide; the second has two lines
    r"^    (docker .*|IMAGE=.*\n.*)$",
    (ROOT / "docs/balancers.md").read_text().partition("Docker Swarm")[2],
    re.MULTILINE,
)
IMAGE = "registry.example/yinyang"  # as the guide has it
TOOLS = ("dockerd", "docker", "unshare", "setpriv", "nsenter", "ip", "iptables", "curl", "wget")
START = """\
mkdir -p /etc/docker
for folder in /run /var/lib /etc/docker; do mount -t tmpfs tmpfs $folder; done
ip link set lo up; ip link add eth0 type bridge; ip address add 10.126.0.1/24 dev eth0; ip link set eth0 up
exec dockerd --host "unix://$1" --storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "$2"
"""
DOCKER = '#!/bin/sh\n[ "$1" = login ] || exec {docker} "$@"\n'  # there is no registry to log in at
BROKEN = {  # versions that are not healthy
    "0.3.0": 'CMD ["--no-such-option"]',  # ends at once
    "0.4.0": 'ENTRYPOINT ["/yinyang", "--port", "8081"]',  # its health check asks at 8080
}
AS_THE_STACK_SAYS = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.Memory}}"


class Swarm:
    """Docker's command, for an engine of the tests."""

    def __init__(self, socket: Path, place: Namespaces) -> None:
        self.host = f"unix://{socket}"
        self.place = place

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = clean_environment() | {"DOCKER_HOST": self.host}
        return subprocess.run(
            command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=3 * PATIENCE, env=environment
        )

    def docker(self, *arguments: str) -> str:
        done = self.run(needs("docker"), *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def replicas(self) -> dict[str, dict]:
        """What each tells of itself, by its address."""
        network = json.loads(self.docker("network", "inspect", "docker_gwbridge"))[0]
        addresses = {
            one["IPv4Address"].partition("/")[0] for key, one in network["Containers"].items() if key != "ingress-sbox"
        }
        curl = ("curl", "--silent", "--fail", "--max-time", "5")
        return {one: json.loads(self.place.run(*curl, f"http://{one}:8080/whoami?json")) for one in sorted(addresses)}

    def hosts(self) -> set[str]:
        return {one["host"] for one in self.replicas().values()}

    def healthy(self) -> list[str]:
        """The containers that are."""
        return self.docker("ps", "--quiet", "--filter=health=healthy").split()

    @contextlib.contextmanager
    def told(self, events: Path) -> Iterator[None]:
        """Meanwhile, have a line in this file when a container has become healthy or is told to stop."""
        names = [f"--filter=event={name}" for name in ("health_status", "kill")]
        line = "{{.ID}} {{.Actor.Attributes.image}} {{.Action}}"
        command = [needs("docker"), "events", *names, f"--format={line}"]
        with (
            events.open("w") as output,
            subprocess.Popen(command, stdout=output, env=clean_environment() | {"DOCKER_HOST": self.host}) as process,
        ):
            try:
                yield
            finally:
                process.kill()


@pytest.fixture(scope="module")
def swarm(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    """An engine that is a swarm of itself, with versions to update to."""
    folder = tmp_path_factory.mktemp("swarm")
    later = build_image(f"{image}:0.2.0", "--build-arg=VERSION=0.2.0")
    control_group = f"/yinyang-test-{os.getpid()}-swarm"
    socket, log = folder / "socket", folder / "log"
    unshare = [needs("setpriv"), "--pdeathsig", "KILL", needs("unshare"), "--mount", "--net", "--pid", "--fork"]
    start = [*unshare, "--kill-child", "--mount-proc", "sh", "-ec", START, "sh", str(socket), control_group]
    with log.open("w") as output, subprocess.Popen(start, stdout=output, stderr=output) as process:
        try:
            wait_until(lambda: socket.exists() or process.poll() is not None, f"the engine; see {log}")
            assert process.poll() is None, log.read_text()[-3000:]
            made = Swarm(socket, Namespaces(only_child(process.pid)))
            for source, version in (image, "0.1.0"), (later, "0.2.0"):
                made.docker("load", f"--input={archive(source, f'{IMAGE}:{version}', folder)}")
            for version, change in BROKEN.items():
                made.docker("create", f"--name={version}", f"{IMAGE}:0.2.0")
                made.docker("commit", f"--change={change}", version, f"{IMAGE}:{version}")
                made.docker("rm", version)
            made.docker(*INIT.split()[1:])
            yield made
        finally:
            process.kill()
            process.wait(PATIENCE)
            remove_control_groups(control_group)


@pytest.fixture
def stack(swarm: Swarm) -> Iterator[Swarm]:
    """Three replicas, by the command of the guide."""
    waits = "--detach=false "  # since Docker 26
    known = waits.partition("=")[0] in swarm.docker("stack", "deploy", "--help")
    try:
        done = swarm.run("sh", "-ec", DEPLOY if known else DEPLOY.replace(waits, ""))
        assert done.returncode == 0, done.stderr
        wait_until(lambda: len(swarm.healthy()) == 3, "three replicas")
        yield swarm
    finally:
        networks = ("network", "ls", "--quiet", "--filter=label=com.docker.stack.namespace=yinyang")
        wait_until(lambda: swarm.run("docker", "stack", "rm", "yinyang").returncode == 0, "the stack to go")
        wait_until(lambda: not swarm.docker("ps", "--all", "--quiet") + swarm.docker(*networks), "all of it to be gone")


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Where users ask. The routing mesh would lead there to the replicas; a server of the tests answers instead."""
    with serving(Shape(sys.executable, "-m", "yinyang.serve"), tmp_path / "log", "--workers", "1") as replica:
        yield f"http://127.0.0.1:{replica.port}/"


def deployed(swarm: Swarm, version: str, folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    """The job of the pipeline."""
    (folder / "docker").write_text(DOCKER.format(docker=shutil.which("docker")))
    (folder / "docker").chmod(0o755)
    variables = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "CI_REGISTRY": "registry.example",
        "CI_REGISTRY_IMAGE": IMAGE,
        "CI_REGISTRY_USER": "user",
        "CI_REGISTRY_PASSWORD": "secret",
        "CI_COMMIT_SHA": version,
        "DEPLOY_HOST": swarm.host,
        "DEPLOY_SERVICE": "yinyang_web",
        "DEPLOY_URL": url,
    }
    return run_job("deploy", folder, **variables)


@pytest.mark.containers
@pytest.mark.needs("root", *TOOLS)
def test_replicas_are_replaced_one_by_one(stack: Swarm, url: str, tmp_path: Path) -> None:
    """Each old one serves until a new one is healthy."""
    before = stack.replicas()
    assert len({one["host"] for one in before.values()}) == 3
    [node] = json.loads(stack.docker("node", "inspect", "self"))
    assert {one["node"] for one in before.values()} == {node["Description"]["Hostname"]}
    for container in stack.healthy():
        assert stack.docker("inspect", f"--format={AS_THE_STACK_SAYS}", container).split() == [
            "true",
            "[ALL]",
            "16777216",
        ]
    events = tmp_path / "events"
    with stack.told(events):
        done = deployed(stack, "0.2.0", tmp_path, url)
        assert done.returncode == 0, done.stderr
        wait_until(lambda: len(stack.docker("ps", "--quiet").split()) == 3, "the old ones to be gone")
    seen: dict[str, set[str]] = collections.defaultdict(set)
    for container, image, action in (line.split(" ", 2) for line in events.read_text().splitlines()):
        seen[f"{action} {image.partition('@')[0]}"].add(container)
        assert len(seen[f"kill {IMAGE}:0.1.0"]) <= len(seen[f"health_status: healthy {IMAGE}:0.2.0"])
    assert len(seen[f"kill {IMAGE}:0.1.0"]) == 3
    after = stack.replicas()
    assert {one["version"] for one in after.values()} == {"0.2.0"}
    assert len({one["host"] for one in [*before.values(), *after.values()]}) == 6


@pytest.mark.containers
@pytest.mark.needs("root", *TOOLS)
def test_a_version_that_is_not_healthy_is_taken_back(stack: Swarm, url: str, tmp_path: Path) -> None:
    """Docker's command then succeeds; the job does not. To deploy the old version once more changes nothing, and is no
    failure."""
    before = stack.hosts()
    for version in BROKEN:
        done = deployed(stack, version, tmp_path, "http://127.0.0.1:9/")
        assert done.returncode == 1
        words = f"{IMAGE}:{version} was not healthy: Docker has taken the update back (rollback_completed)\n"
        assert done.stderr.endswith(words)
        wait_until(lambda: len(stack.docker("ps", "--quiet").split()) == 3, "the new ones to be gone")
        assert stack.hosts() == before
    done = deployed(stack, "0.1.0", tmp_path, url)
    assert done.returncode == 0, done.stderr
    assert stack.hosts() == before


@pytest.mark.needs("docker")
def test_image_has_to_be_named() -> None:
    deploy = [needs("docker"), "stack", "deploy", "--compose-file", str(STACK), "yinyang"]
    environment = clean_environment() | {"DOCKER_HOST": "unix:///nonexistent", "IMAGE": ""}
    done = subprocess.run(deploy, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode != 0
    assert "the image, in a registry that all nodes reach" in done.stderr


def test_the_pipeline_updates_the_stack_as_it_says() -> None:
    """The options of the pipeline's update are those of the stack, and its service has the name that the file tells."""
    [(name, service)] = module("yaml", "kubernetes-validate").safe_load(STACK.read_text())["services"].items()
    update = next(line for line in read_pipeline()["deploy"]["script"] if "service update" in line)
    options = dict(re.findall(r"--update-([a-z-]+) (\S+)", update))
    asked = {key.replace("-", "_"): value for key, value in options.items()}
    assert asked.items() <= service["deploy"]["update_config"].items()
    assert f"The service is yinyang_{name} (DEPLOY_SERVICE" in STACK.read_text()
    check = json.loads(re.search(r"HEALTHCHECK.* CMD (.+)", DOCKERFILE.read_text())[1])
    assert service["healthcheck"]["test"] == ["CMD", *check]
