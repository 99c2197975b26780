"""The scripts of .gitlab-ci.yml, run as the runner runs them. Only what is outside is played: the API of GitLab by a
server of the test, Docker by Podman or, for a swarm, by a script that notes what it is told."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Replica, clean_environment, free_port, missing, needs
from pipelines import GitLab, run_job

# ---- the page of a release ----------------------------------------------------------------------------------------


@pytest.fixture
def gitlab() -> Iterator[GitLab]:
    with GitLab.serving() as server:
        yield server


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    folder.mkdir()
    for name in "yinyang-1.2.3-linux-amd64", "yinyang_serve-1.2.3.tar.gz", "SHA256SUMS", "SHA256SUMS.sig":
        (folder / name).write_text(f"content of {name}")
    (folder / "provenance.json").write_text("{}")
    (folder / "release-notes.md").write_text('- "Quotes", `code` and\n  $(no command).\n')
    return folder


def publish(gitlab: GitLab, files: Path, token: str) -> subprocess.CompletedProcess:
    for tool in "curl", "jq":
        needs(tool)
    variables = {"CI_API_V4_URL": gitlab.url, "CI_PROJECT_ID": "7", "CI_COMMIT_TAG": "v1.2.3", "CI_JOB_TOKEN": token}
    script = [str(ROOT / "tools/publish-gitlab"), str(files)]
    return subprocess.run(script, check=False, capture_output=True, text=True, env=clean_environment() | variables)


def test_page_links_the_files(gitlab: GitLab, files: Path) -> None:
    done = publish(gitlab, files, "token")
    assert (done.returncode, done.stderr) == (0, "")
    *uploads, (method, path, page) = gitlab.got
    names = [path.name for path in sorted(files.iterdir()) if path.is_file() and path.suffix != ".md"]
    packages = "/api/v4/projects/7/packages/generic/yinyang/1.2.3"
    expected = {("PUT", f"{packages}/{name}", (files / name).read_bytes()) for name in names}
    assert set(uploads) == expected
    assert (method, path) == ("POST", "/api/v4/projects/7/releases")
    told = json.loads(page)
    assert told["description"] == (files / "release-notes.md").read_text()
    assert told["tag_name"] == "v1.2.3"
    links = {link["name"]: link["url"].removeprefix(gitlab.url) for link in told["assets"]["links"]}
    assert links == {name: f"{packages}/{name}".removeprefix("/api/v4") for name in names}


def test_there_is_no_page_if_a_file_is_refused(gitlab: GitLab, files: Path) -> None:
    gitlab.refuses.add("SHA256SUMS")
    done = publish(gitlab, files, "token")
    assert done.returncode != 0
    assert "POST" not in {method for method, _, _ in gitlab.got}


def test_a_token_that_is_refused(gitlab: GitLab, files: Path) -> None:
    assert publish(gitlab, files, "another").returncode != 0
    assert gitlab.got == []


# ---- an image on its way to the registry --------------------------------------------------------------------------

DOCKER = """#!/bin/sh
# Podman with what Docker does by itself, or what this machine needs
command=$1
shift
case $command in
build) exec buildah bud --isolation chroot --format docker "$@" ;;
login | push) exec podman "$command" --tls-verify=false "$@" ;;
load | save) exec podman "$command" --quiet "$@" ;;
run) exec podman --runtime runc run --no-healthcheck --sysctl net.ipv4.ip_unprivileged_port_start=0 \\
    --log-driver k8s-file --ulimit nofile=20000:20000 --ulimit nproc=4096:4096 "$@" ;;
*) exec podman "$command" "$@" ;;
esac
"""


@pytest.mark.release
@pytest.mark.containers
def test_image_is_built_tried_pushed_and_promoted(registry: str, clone: Path, tmp_path: Path) -> None:
    """The four jobs of a commit on the default branch; the image is handed on as a file."""
    needs("wget")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker").write_text(DOCKER)
    (tmp_path / "bin/docker").chmod(0o755)
    (tmp_path / "auth.json").write_text("{}")  # for Podman, which wants it to be there before the job that logs in
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=clone, check=True, capture_output=True, text=True).stdout
    variables = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json"),
        "CI_REGISTRY": registry,
        "CI_REGISTRY_IMAGE": f"{registry}/branch/yinyang",
        "CI_REGISTRY_USER": "user",
        "CI_REGISTRY_PASSWORD": "secret",
        "CI_COMMIT_SHA": head.strip(),
        "HOST": "127.0.0.1",
        "BIND": "127.0.0.1",
        "PORT": str(free_port()),
    }
    name = f"{registry}/branch/yinyang"
    try:
        for job in "build-image", "image-works", "push", "promote":
            done = run_job(job, clone, **variables)
            assert done.returncode == 0, (job, done.stdout, done.stderr)
    finally:
        subprocess.run(["podman", "rmi", "--force", f"{name}:{head.strip()}"], check=False, capture_output=True)
    inspect = ["skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}} {{.Labels}}"]
    told = {
        subprocess.run([*inspect, f"docker://{name}:{tag}"], check=True, capture_output=True, text=True).stdout
        for tag in ("edge", head.strip())
    }
    assert len(told) == 1
    assert f"org.opencontainers.image.revision:{head.strip()}" in told.pop()


# ---- what a release refuses to be ---------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    if not (ROOT / ".git").exists():
        missing("static", "there is no history to build a release from")
    subprocess.run(["git", "clone", "--quiet", ROOT, tmp_path / "clone"], check=True)
    return tmp_path / "clone"


def refused(clone: Path, tag: str) -> str:
    done = subprocess.run(
        [needs("python3"), "tools/release.py", clone / "out"],
        cwd=clone,
        check=False,
        capture_output=True,
        text=True,
        env=clean_environment() | {"CI_COMMIT_TAG": tag},
    )
    assert done.returncode == 1
    assert sorted(path.name for path in (clone / "out").iterdir()) == []
    return done.stderr


def test_tag_of_another_version(clone: Path) -> None:
    assert re.match(r"release: the tag is v9\.9\.9, but pyproject.toml says \d+\.\d+\.\d+\n$", refused(clone, "v9.9.9"))


def test_version_that_is_not_dated(clone: Path) -> None:
    changes = (clone / "CHANGELOG.md").read_text()
    version, undated = re.search(r"^## (\S+), (.*)$", changes, re.M).groups()
    if undated != "unreleased":
        pytest.skip("the newest version is released")
    assert refused(clone, f"v{version}").startswith(f"release: the section of {version} in CHANGELOG.md has no date")


# ---- deployment ---------------------------------------------------------------------------------------------------

SWARM = """#!/bin/sh
echo "docker $*" >>"$TOLD"
[ "$1" != login ] || cat >>"$TOLD"
[ "$1 $2" != "service inspect" ] || echo "$STATE"
"""


@pytest.fixture
def swarm(tmp_path: Path) -> dict[str, str]:
    """Variables of a deployment; docker notes what it is told, as does sleep."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in ("docker", SWARM), ("sleep", "#!/bin/sh\n"):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    return {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "TOLD": str(tmp_path / "told"),
        "CI_REGISTRY": "registry.example",
        "CI_REGISTRY_IMAGE": "registry.example/yinyang",
        "CI_REGISTRY_USER": "user",
        "CI_REGISTRY_PASSWORD": "secret\n",
        "CI_COMMIT_SHA": "abc",
        "DEPLOY_SERVICE": "web",
        "DEPLOY_HOST": "ssh://manager.example",
        "STATE": "completed",
    }


def commands(swarm: dict[str, str]) -> list[str]:
    return [line for line in Path(swarm["TOLD"]).read_text().splitlines() if line.startswith("docker")]


def test_deployment_that_answers(swarm: dict, shared_replica: Replica, tmp_path: Path) -> None:
    needs("wget")
    url = f"http://127.0.0.1:{shared_replica.port}/"
    done = run_job("deploy", tmp_path, **swarm, DEPLOY_URL=url)
    assert done.returncode == 0, done.stderr
    login, update, inspect = commands(swarm)
    assert login == "docker login --username user --password-stdin registry.example"
    assert Path(swarm["TOLD"]).read_text().splitlines()[1] == "secret"  # by a pipe: an argument could be seen
    assert update.startswith("docker service update --detach=false --with-registry-auth ")
    assert update.endswith("--image registry.example/yinyang:abc web")
    assert inspect.startswith("docker service inspect ")


@pytest.mark.parametrize("state", ["rollback_completed", "rollback_paused", "rollback_started"])
def test_deployment_that_docker_has_taken_back(state: str, swarm: dict, tmp_path: Path) -> None:
    """Nobody is asked whether they answer: the old replicas do."""
    done = run_job("deploy", tmp_path, **(swarm | {"STATE": state}), DEPLOY_URL="http://127.0.0.1:9/")
    assert done.returncode == 1
    words = "registry.example/yinyang:abc was not healthy: Docker has taken the update back"
    assert done.stderr.endswith(f"{words} ({state})\n")
    assert [line.split()[2] for line in commands(swarm)[1:]] == ["update", "inspect"]


def test_deployment_that_does_not_answer(swarm: dict, tmp_path: Path) -> None:
    needs("wget")
    done = run_job("deploy", tmp_path, **swarm, DEPLOY_URL="http://127.0.0.1:9/")
    assert done.returncode == 1
    assert "rolling back" in done.stderr
    assert commands(swarm)[-1] == "docker service rollback --detach=false web"
