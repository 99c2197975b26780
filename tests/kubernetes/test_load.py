"""deploy/k6-testrun.yaml with the operator of k6: what do two runners see of the Service, and is their verdict that of
their Jobs? The programs are those of k6's projects; their images are made here."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT, archive, build_image
from load_engines import program
from manifests import parse

from kubernetes.cluster import Cluster
from kubernetes.record import Record
from kubernetes.workload import DEPLOYMENT, Workload

pytestmark = [pytest.mark.kubernetes, pytest.mark.containers]
TESTRUN = ROOT / "deploy/k6-testrun.yaml"
LINES = re.findall(r"^# {5}kubectl (.*)$", TESTRUN.read_text(), re.MULTILINE)  # at its head
CREATE, APPLY, FINISHED, LOGS, VERDICT, DELETE = (shlex.split(line, comments=True) for line in LINES)
OPERATOR = "docker.io/library/k6-operator:test"
STARTER = "ghcr.io/grafana/k6-operator:latest-starter"  # what the operator has start the runners
DOCKERFILE = """\
FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends curl
COPY k6 k6-operator /usr/bin/
USER 65532:65532
"""


@pytest.fixture(scope="session")
def operator(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> None:
    """As its project installs it, but for the image, and without the proxy before its metrics."""
    folder = tmp_path_factory.mktemp("k6")
    for file in Path(program("k6")), cluster.programs / "k6-operator":
        shutil.copy(file, folder)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    name = build_image("localhost/yinyang-k6", folder=folder)
    [testrun] = parse(TESTRUN.read_text())
    for image in OPERATOR, STARTER, f"docker.io/{testrun['spec']['runner']['image']}":
        file = archive(name, image, folder)
        cluster.import_images([file], *cluster.nodes.values())
        file.unlink()
    objects = parse((cluster.programs / "k6-operator.yaml").read_text())
    [manager] = [item for item in objects if item["kind"] == "Deployment"]
    pod = manager["spec"]["template"]["spec"]
    pod["containers"] = [one for one in pod["containers"] if one["name"] == "manager"]
    pod["containers"][0] |= {"image": OPERATOR, "command": ["k6-operator"]}
    cluster.apply(objects)
    where = f"--namespace={manager['metadata']['namespace']}"
    cluster.kubectl("rollout", "status", where, f"deployment/{manager['metadata']['name']}", f"--timeout={PATIENCE:g}s")


@pytest.mark.parametrize("error_rate", ["0", "20%"], ids=["holds", "fails"])
def test_testrun(error_rate: str, operator: None, workload: Workload, record: Record) -> None:
    """By the lines at the head of the file."""
    if error_rate != "0":
        workload.kubectl("set", "env", DEPLOYMENT, f"YINYANG_ERROR_RATE={error_rate}")
        workload.rolled_out()
    for line in CREATE, APPLY:
        workload.kubectl(*(str(ROOT / word) if word.startswith("deploy/") else word for word in line))
    # it takes a minute, and more until it begins
    finished = ("--namespace", workload.namespace, *FINISHED)
    subprocess.run(
        workload.cluster.kubectl_command(*finished), check=True, timeout=6 * PATIENCE, stdout=subprocess.DEVNULL
    )
    said = workload.kubectl(*LOGS)
    workload.cluster.try_kubectl(f"--namespace={workload.namespace}", *VERDICT)
    jobs = workload.get("jobs", "--selector=k6_cr=load,runner=true")["items"]
    [outcome] = {kind for job in jobs for kind in ("succeeded", "failed") if job["status"].get(kind)}
    sums = [tuple(map(int, found)) for found in re.findall(r"^(\d+) requests, .*, (\d+) failed$", said, re.MULTILINE)]
    assert len(jobs) == len(sums) == 2, said
    requests, failed = map(sum, zip(*sums, strict=True))
    assert requests >= 0.95 * 100 * 60, said
    assert outcome == ("succeeded" if error_rate == "0" else "failed"), said
    assert bool(failed) == (error_rate != "0"), said
    workload.kubectl(*DELETE)
    record.add(
        "deploy/k6-testrun.yaml",
        "`kubectl apply`, with the k6-operator" + (f"; {error_rate} of the answers are errors" if failed else ""),
        f"two runners sent {requests:,} requests, {failed:,} failed; their Jobs have {outcome}",
    )
