"""The gates of deploy/: do the files say what their specifications allow, and does the program do what they ask for?"""

import copy
import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from balancers import Balancer, stage
from conftest import PATIENCE, Shape, clean_environment, podman
from manifests import DEPLOY, MANIFEST, module, parse, validate
from test_deploy import ENGINE

ARGO = "rollouts/argo/watch.yaml"
GITLAB, GITHUB = DEPLOY / "watch.gitlab-ci.yml", DEPLOY / "watch.github.yml"
URL = {"watch-job.yaml": "http://yinyang/", "watch-cronjob.yaml": "http://yinyang/"}
COLLECTED = "/dev/termination-log"  # which the kubelet makes


def loaded(name: str) -> dict:
    return module("yaml", "kubernetes-validate").safe_load((DEPLOY / name).read_text())


def job_of(name: str) -> dict:
    """The specification of the Job in a file."""
    item = loaded(name)
    return {
        "Job": lambda: item["spec"],
        "CronJob": lambda: item["spec"]["jobTemplate"]["spec"],
        "AnalysisTemplate": lambda: item["spec"]["metrics"][0]["provider"]["job"]["spec"],
    }[item["kind"]]()


JOBS = ["watch-job.yaml", "watch-cronjob.yaml", ARGO]


# ---- what the files say ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", JOBS)
def test_jobs_follow_the_newest_schemas(name: str) -> None:
    """The Job in each, as test_manifests.py checks the files."""
    validate({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "watch"}, "spec": job_of(name)})


def test_analysis_template_declares_what_it_uses() -> None:
    declared = {one["name"] for one in loaded(ARGO)["spec"]["args"]}
    [container] = job_of(ARGO)["template"]["spec"]["containers"]
    assert set(re.findall(r"\{\{args\.(\w+)\}\}", " ".join(container["args"]))) == declared


@pytest.mark.parametrize("name", JOBS)
def test_jobs_end_once_without_rights_and_are_no_replicas(name: str) -> None:
    replicas = {item["kind"]: item for item in parse(MANIFEST.read_text())}
    job = job_of(name)
    pod, model = job["template"]["spec"], replicas["Deployment"]["spec"]["template"]["spec"]
    [container], [other] = pod["containers"], model["containers"]
    assert (job["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
    assert pod["securityContext"] == model["securityContext"]
    for key in "securityContext", "image", "imagePullPolicy":
        assert container[key] == other[key]
    for key in "automountServiceAccountToken", "enableServiceLinks":
        assert pod[key] is False
    selector = replicas["Service"]["spec"]["selector"].items()
    assert not selector <= job["template"]["metadata"]["labels"].items()
    assert "--duration=1m" in container["args"]
    assert job["activeDeadlineSeconds"] > 60 + 3  # as long as the watch takes at most


@pytest.mark.parametrize(
    ("file", "schema"),
    [(GITLAB, ["vendor.gitlab-ci", "--data-transform", "gitlab-ci"]), (GITHUB, ["vendor.github-workflows"])],
    ids=["gitlab", "github"],
)
def test_pipelines_follow_their_schemas(file: Path, schema: list[str]) -> None:
    module("check_jsonschema", "check-jsonschema")
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", *schema, str(file)]
    done = subprocess.run(check, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# ---- what their arguments do ----------------------------------------------------------------------------------------


def script_of(file: Path) -> str:
    """What the job of a pipeline runs."""
    text = loaded(file.name)
    if file == GITLAB:
        [line] = text["watch"]["script"]
        return line
    [step] = text["jobs"]["watch"]["steps"]
    return step["run"]


def arguments(name: str, **given: str) -> list[str]:
    """What the program gets, with what is given for the parameters of the file."""
    if name in JOBS:
        [container] = job_of(name)["template"]["spec"]["containers"]
        line = container["args"]
        assert name not in URL or line[1] == URL[name]
    else:
        words = shlex.split(script_of(DEPLOY / name))
        line = words[words.index("watch") :]
        assert line[1] in {"$WATCH_URL", "$URL"}
    filled = [re.sub(r"\{\{args\.(\w+)\}\}", lambda found: given[found[1]], word) for word in line]
    return [filled[0], given["url"], *filled[2:]]


GATES = [*JOBS, GITLAB.name, GITHUB.name]
SHORTER = [
    "--rate",
    "300",
    "--count",
    "600",
    "--max-p99",
    f"{PATIENCE:g}s",
]  # the last one for machines with other work


@pytest.fixture(scope="module")
def canary(static_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """HAProxy with four parts for v1, and one for v2."""
    with stage(tmp_path_factory.mktemp("canary"), Shape(str(static_program))) as made:
        made.add("web-0", version="v1")
        made.add("web-1", version="v2")
        yield made.balance("haproxy", server=["weight 80", "weight 20"])


def run(program: Path, line: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the program with these arguments; a file that is written is in this folder."""
    words = [re.sub(rf"{COLLECTED}|/out/watch\.xml", str(folder / "junit"), word) for word in line]
    return subprocess.run(
        [str(program), *words, *SHORTER],
        check=False,
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        env=clean_environment(),
    )


def check_junit(text: str, code: int) -> None:
    """It is what GitLab reads, it is short enough for Kubernetes, and it has the failures."""
    assert 0 < len(text.encode()) <= 4096
    root = ET.fromstring(text)
    assert bool(root.findall(".//failure")) == bool(code)
    assert len(root.findall(".//testcase")) >= 3


@pytest.mark.static
@pytest.mark.proxies
@pytest.mark.parametrize("asks", ["", "?fail=10"], ids=["holds", "fails"])
@pytest.mark.parametrize("name", GATES)
def test_gate(name: str, asks: str, canary: Balancer, static_program: Path, tmp_path: Path) -> None:
    """Its arguments, where no request fails, and where one in ten does."""
    line = arguments(name, url=f"{canary.url}/{asks}", version="v2", share="20")
    done = run(static_program, line, tmp_path)
    assert done.returncode == bool(asks), done.stderr
    assert ("✗ expected at most" in done.stderr) == bool(asks)
    if any("--junit" in word for word in line):
        check_junit((tmp_path / "junit").read_text(), done.returncode)


@pytest.mark.static
@pytest.mark.proxies
def test_canary_without_its_share(canary: Balancer, static_program: Path, tmp_path: Path) -> None:
    done = run(static_program, arguments(ARGO, url=canary.url, version="v2", share="50"), tmp_path)
    assert done.returncode == 1
    assert "✗ expected v2 gives 50 % of the answers, give or take 10" in done.stderr


@pytest.mark.static
@pytest.mark.proxies
@pytest.mark.parametrize("name", GATES)
def test_gate_is_closed_by_late_answers(name: str, canary: Balancer, static_program: Path) -> None:
    line = arguments(name, url=f"{canary.url}/?latency=600ms", version="v2", share="20")
    kept = [word for word in line if "junit" not in word and "watch.xml" not in word]
    done = subprocess.run(
        [str(static_program), *kept, "--count", "4"],
        check=False,
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        env=clean_environment(),
    )
    assert done.returncode == 1
    assert "✗ expected 99 % of answers within 500 ms" in done.stderr


# ---- in containers --------------------------------------------------------------------------------------------------


DOCKER = """#!/bin/sh
if [ "$1" = run ]; then
    shift
    case " $* " in *" --network host "*) set -- run "$@" ;; *) set -- run --network host "$@" ;; esac
fi
exec podman "$@"
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Podman with the options that this machine may need, and under the name docker, on the network of the host."""
    settings = tmp_path / "containers.conf"
    settings.write_text(ENGINE)
    monkeypatch.setenv("CONTAINERS_CONF", str(settings))
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:{os.environ['PATH']}")


Sh = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sh(engine: None, tmp_path: Path) -> Sh:
    """Runs the script of a pipeline, which ends at the first line that fails."""

    def run_script(*lines: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-e", "-c", "\n".join(lines)],
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
            timeout=6 * PATIENCE,
            env=clean_environment() | variables,
        )

    return run_script


def shorter(script: str) -> str:
    assert " --duration 1m " in script
    return script.rstrip().replace(" --duration 1m ", " --rate 300 --count 100 ").replace("500ms", f"{PATIENCE:g}s")


@pytest.mark.static
@pytest.mark.containers
@pytest.mark.proxies
@pytest.mark.parametrize("asks", ["", "?fail=10"], ids=["holds", "fails"])
def test_job_of_gitlab(asks: str, canary: Balancer, image: str, sh: Sh, tmp_path: Path) -> None:
    job = loaded(GITLAB.name)["watch"]
    given = {"WATCH_IMAGE": image, "WATCH_URL": f"{canary.url}/{asks}", "CI_JOB_ID": f"{os.getpid()}{len(asks)}"}
    script = shorter(script_of(GITLAB))
    try:
        done = sh(script, **given)
        assert done.returncode == bool(asks), done.stderr
    finally:
        after = sh(*job["after_script"], **given)
    assert after.returncode == 0, after.stderr
    check_junit((tmp_path / job["artifacts"]["reports"]["junit"]).read_text(), done.returncode)


@pytest.mark.static
@pytest.mark.containers
@pytest.mark.proxies
@pytest.mark.parametrize("asks", ["", "?fail=10"], ids=["holds", "fails"])
def test_job_of_github(asks: str, canary: Balancer, image: str, sh: Sh) -> None:
    given = {"IMAGE": image, "URL": f"{canary.url}/{asks}", "GITHUB_ACTIONS": "true"}
    done = sh(shorter(script_of(GITHUB)), **given)
    assert done.returncode == bool(asks), done.stderr
    assert done.stderr.count("::error title=") == bool(asks)


@pytest.mark.static
@pytest.mark.containers
@pytest.mark.proxies
@pytest.mark.usefixtures("engine")
@pytest.mark.needs("catatonit")
@pytest.mark.parametrize("asks", ["", "?fail=10"], ids=["holds", "fails"])
def test_pod_of_the_job(asks: str, canary: Balancer, image: str, tmp_path: Path) -> None:
    """By Podman, on the network of the host, with a file as the kubelet makes one."""
    yaml = module("yaml", "kubernetes-validate")
    spec = copy.deepcopy(job_of("watch-job.yaml")["template"]["spec"])
    [container] = spec["containers"]
    collected = tmp_path / "collected"
    collected.touch()
    collected.chmod(0o666)
    container["args"][1] = f"{canary.url}/{asks}"
    container["args"] += SHORTER
    container["volumeMounts"] = [{"name": "collected", "mountPath": COLLECTED}]
    spec |= {"hostNetwork": True, "volumes": [{"name": "collected", "hostPath": {"path": str(collected)}}]}
    name = f"yinyang-watch-test-{os.getpid()}"
    tag = f"localhost/{container['image']}"
    podman("tag", image, tag)
    file = tmp_path / "pod.yaml"
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}))
    try:
        podman("kube", "play", "--log-driver", "k8s-file", str(file))
        code = int(podman("wait", f"{name}-watch"))
        log = subprocess.run(["podman", "logs", f"{name}-watch"], check=True, capture_output=True, text=True)
        running = podman("inspect", f"{name}-watch")
    finally:
        podman("pod", "rm", "--force", "--ignore", "--time", "1", name)
        podman("untag", tag, tag)
    assert code == bool(asks), log
    assert '"User": "65534:65534"' in running
    check_junit(collected.read_text(), code)
