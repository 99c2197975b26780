"""deploy/stack.yaml on a Docker Swarm of one node: are replicas replaced one by one, and does a version that is not
healthy leave the old one where it was? And does the deployment of .gitlab-ci.yml say so?

The engine has namespaces of its own, and keeps what it has in memory. Its routing mesh needs IPVS in the kernel, which
many have not, so replicas are asked at their own addresses.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT, Replica, archive, build_image, clean_environment, needs, wait_until
from kubernetes.cluster import Namespaces, only_child, remove_control_groups
from manifests import module
from pipelines import read_pipeline, run_job

STACK = ROOT / "deploy/stack.yaml"
COMMANDS = re.search(r"(?:^    .*\n)+", (ROOT / "docs/balancers.md").read_text().partition("Docker Swarm")[2], re.M)[0]
IMAGE = "registry.example/yinyang"  # as the guide has it
SERVICE = "yinyang_web"
DOCKERFILE = ROOT / "Dockerfile"
START = """\
for folder in /run /var/lib; do mount -t tmpfs tmpfs $folder; done
ip link set lo up; ip link add eth0 type bridge; ip address add 10.126.0.1/24 dev eth0; ip link set eth0 up
exec dockerd --host "unix://$1" --storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "$2"
"""
DOCKER = '#!/bin/sh\n[ "$1" = login ] || exec {docker} "$@"\n'  # there is no registry to log in at


class Swarm:
    """Docker's command, for an engine of the tests."""

    def __init__(self, socket: Path, place: Namespaces) -> None:
        self.host = f"unix://{socket}"
        self.place = place

    def sh(self, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        environment = clean_environment() | {"DOCKER_HOST": self.host} | environment
        return subprocess.run(
            ["sh", "-ec", script],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE,
            env=environment,
        )

    def docker(self, *arguments: str) -> str:
        done = self.sh('exec docker "$@"'.replace('"$@"', " ".join(f"'{word}'" for word in arguments)))
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

    def events(self) -> list[tuple[str, str]]:
        """What befell containers so far, and whose image it was, in order."""
        form = "{{.Action}} {{.Actor.Attributes.image}}"
        lines = self.docker("events", "--since=1h", "--until=0s", "--filter=type=container", f"--format={form}")
        return [tuple(line.rsplit(" ", 1)) for line in lines.splitlines()]


@pytest.fixture(scope="module")
def swarm(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    """An engine that is a swarm of itself, with three versions; the replicas of the last one do not start."""
    folder = tmp_path_factory.mktemp("swarm")
    later = build_image(f"{image}:0.2.0", "--build-arg=VERSION=0.2.0")
    control_group = f"/yinyang-test-{os.getpid()}-swarm"
    socket, log = folder / "socket", folder / "log"
    unshare = [needs("setpriv"), "--pdeathsig", "KILL", needs("unshare"), "--mount", "--net", "--pid", "--fork"]
    start = [*unshare, "--kill-child", "--mount-proc", "sh", "-ec", START, "sh", str(socket), control_group]
    with log.open("w") as output, subprocess.Popen(start, stdout=output, stderr=output) as process:
        try:
            made = Swarm(socket, Namespaces(only_child(process.pid)))
            with contextlib.suppress(AssertionError):
                wait_until(lambda: process.poll() is not None or made.sh("docker info").returncode == 0)
            assert process.poll() is None, log.read_text()[-3000:]
            for source, version in (image, "0.1.0"), (later, "0.2.0"):
                made.docker("load", f"--input={archive(source, f'{IMAGE}:{version}', folder)}")
            made.docker("create", "--name=broken", f"{IMAGE}:0.2.0")
            made.docker("commit", '--change=CMD ["--no-such-option"]', "broken", f"{IMAGE}:0.3.0")
            made.docker("rm", "broken")
            made.docker("swarm", "init")
            yield made
        finally:
            process.kill()
            process.wait(PATIENCE)
            remove_control_groups(control_group)


@pytest.fixture
def stack(swarm: Swarm) -> Iterator[Swarm]:
    """Three replicas, by the command of the guide."""
    init, deploy = COMMANDS.split("\n", 1)
    assert init.strip() == "docker swarm init"
    done = swarm.sh(deploy)
    assert done.returncode == 0, done.stderr
    yield swarm
    swarm.docker("stack", "rm", "yinyang")
    wait_until(lambda: not swarm.docker("ps", "--all", "--quiet"), "the replicas to be gone")


def deployed(swarm: Swarm, version: str, folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    """The job of the pipeline; that nobody answers where users ask would be seen after it."""
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
        "DEPLOY_SERVICE": SERVICE,
        "DEPLOY_URL": url,
    }
    return run_job("deploy", folder, **variables)


@pytest.mark.containers
@pytest.mark.needs("root", "dockerd", "docker", "unshare", "setpriv", "ip", "nsenter", "curl")
def test_replicas_are_replaced_one_by_one(stack: Swarm, shared_replica: Replica, tmp_path: Path) -> None:
    """Each old one serves until a new one is healthy."""
    before = stack.replicas()
    assert len({one["host"] for one in before.values()}) == 3
    [node] = json.loads(stack.docker("node", "inspect", "self"))
    assert {one["node"] for one in before.values()} == {node["Description"]["Hostname"]}
    already = len(stack.events())
    done = deployed(stack, "0.2.0", tmp_path, f"http://127.0.0.1:{shared_replica.port}/")
    assert done.returncode == 0, done.stderr
    healthy = stopping = 0
    for action, of in stack.events()[already:]:
        healthy += action == "health_status: healthy" and of.startswith(f"{IMAGE}:0.2.0")
        stopping += action == "kill" and of.startswith(f"{IMAGE}:0.1.0")
        assert stopping <= healthy
    wait_until(lambda: len(stack.docker("ps", "--quiet").split()) == 3, "the old ones to be gone")
    after = stack.replicas()
    assert {one["version"] for one in after.values()} == {"0.2.0"}
    assert len({one["host"] for one in [*before.values(), *after.values()]}) == 6


@pytest.mark.containers
@pytest.mark.needs("root", "dockerd", "docker", "unshare", "setpriv", "ip", "nsenter", "curl")
def test_a_version_that_fails_is_taken_back(stack: Swarm, tmp_path: Path) -> None:
    """Docker's command then succeeds; the job does not."""
    before = {one["host"] for one in stack.replicas().values()}
    done = deployed(stack, "0.3.0", tmp_path, "http://127.0.0.1:9/")
    assert done.returncode == 1
    assert re.search(
        rf"^new replicas were not healthy; the service is back at {IMAGE}:0\.1\.0\b.*\n\Z", done.stderr, re.M
    )
    assert {one["host"] for one in stack.replicas().values()} == before


def test_image_has_to_be_named() -> None:
    deploy = [needs("docker"), "stack", "deploy", "--compose-file", str(STACK), "yinyang"]
    done = subprocess.run(deploy, check=False, capture_output=True, text=True, env=clean_environment())
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
