"""The image: what is in it, and how it runs where little is allowed. Tests that may end otherwise in a container run
against it besides (`contained`)."""

import json
import socket
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, Replica, Shape, build_image, clean_environment, podman

pytestmark = pytest.mark.containers

SIZE_MOST = 400 * 1024  # bytes of the image, all that is around the program included


def test_health(start: Callable[..., Replica]) -> None:
    replica = start()
    podman("exec", replica.name, "/yinyang", "--healthcheck")
    metrics = replica.ask(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b'http_requests_total{status="200",path="livez"} 1\n' in metrics
    with pytest.raises(subprocess.CalledProcessError) as failure:
        podman("exec", replica.name, "/yinyang", "--healthcheck", "--port", "81")
    assert "no healthy server at http://127.0.0.1:81: connection refused" in failure.value.stderr


def test_without_a_network(shape: Shape) -> None:
    line = shape.command("--name", "vm", "--workers", "1")
    line[line.index("--rm") : line.index("--rm")] = [
        "--name",
        "yinyang-test-alone",
        "--network",
        "none",
        "--detach",
    ]
    subprocess.run(line, check=True, capture_output=True)
    try:
        podman("exec", "yinyang-test-alone", "/yinyang", "--healthcheck")
    finally:
        podman("rm", "--force", "--time", "0", "yinyang-test-alone")


def test_a_port_that_is_refused(shape: Shape) -> None:
    line = shape.command()
    line[line.index("net.ipv4.ip_unprivileged_port_start=0")] = "net.ipv4.ip_unprivileged_port_start=1024"
    done = subprocess.run(line, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "yinyang: cannot listen on port 80: ports below 1024 need privilege here; use --port 8080, "
        "or allow it with: sysctl net.ipv4.ip_unprivileged_port_start=0\n"
    )


def test_check_of_the_image(image: str) -> None:
    """What the pipeline asks of an image, here with Podman."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    options = "--runtime runc --no-healthcheck --sysctl net.ipv4.ip_unprivileged_port_start=0 --log-driver k8s-file"
    limits = "--ulimit nofile=20000:20000 --ulimit nproc=4096:4096"
    variables = {"ENGINE": "podman", "BIND": "127.0.0.1", "PORT": str(port), "RUN_OPTIONS": f"{options} {limits}"}
    check = [str(ROOT / "tests/check-image"), image]
    done = subprocess.run(check, check=False, capture_output=True, text=True, env=clean_environment() | variables)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_in_the_image(image: str, image_program: Path, tmp_path: Path) -> None:
    """One program: the very one that the suite runs against as the static shape."""
    archive = tmp_path / "image.tar"
    podman("save", "--quiet", "--format", "docker-archive", "-o", str(archive), image)
    with tarfile.open(archive) as saved:
        manifest = json.load(saved.extractfile("manifest.json"))[0]
        assert len(manifest["Layers"]) == 1
        assert saved.getmember(manifest["Layers"][0]).size <= SIZE_MOST
        with tarfile.open(fileobj=saved.extractfile(manifest["Layers"][0])) as layer:
            assert [(member.name, member.mode & 0o777) for member in layer] == [("yinyang", 0o755)]
            assert layer.extractfile("yinyang").read() == image_program.read_bytes()
    config = json.loads(podman("image", "inspect", image))[0]
    assert config["User"] == "65534:65534"
    assert list(config["Config"]["ExposedPorts"]) == ["80/tcp"]
    assert config["Config"]["Entrypoint"] == ["/yinyang"]
    assert config["Healthcheck"]["Test"] == ["CMD", "/yinyang", "--healthcheck"]
    assert "YINYANG_DRAIN=3" in config["Config"]["Env"]
    assert config["Labels"]["org.opencontainers.image.title"] == "yinyang"


def test_the_program_builds_without_the_options_of_the_image(image: str) -> None:
    """On the image's system, whose GCC may be newer than that of the tests, and without link-time optimisation, which
    drops unreached Python in another way."""
    name = build_image(f"{image}-sources", "--target=build")
    made = subprocess.run(["buildah", "from", name], check=True, capture_output=True, text=True).stdout.strip()
    try:
        again = ["buildah", "run", "--isolation", "chroot", made, "--", "python3", "setup.py", "-q", "build_static"]
        done = subprocess.run(again, check=False, capture_output=True, text=True)
    finally:
        subprocess.run(["buildah", "rm", made], check=True, stdout=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
