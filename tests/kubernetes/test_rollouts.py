"""deploy/watch-analysistemplate.yaml with the controller of Argo Rollouts: does a canary go on, or back?"""

import copy

import pytest
import yaml
from conftest import ROOT, missing, wait_until

from kubernetes.cluster import Cluster
from kubernetes.record import Record
from kubernetes.workload import DEPLOY, Workload

pytestmark = [pytest.mark.kubernetes, pytest.mark.containers]

TEMPLATE = "deploy/watch-analysistemplate.yaml"
OLD, NEW = "0.1.0", "0.2.0"


@pytest.fixture(scope="session")
def rollouts(cluster: Cluster) -> None:
    if not (cluster.programs / "rollouts-controller").exists():
        missing(
            "argo-rollouts", "rollouts-controller is not there; `make build/kubernetes/rollouts-controller` makes it"
        )
    cluster.start_rollouts()


def rollout(version: str, **variables: str) -> str:
    """The Deployment of deploy/ as a Rollout, whose strategy is that of the comment in the template."""
    found = list(yaml.safe_load_all((ROOT / DEPLOY).read_text()))
    made = copy.deepcopy(next(item for item in found if item["kind"] == "Deployment"))
    text = (ROOT / TEMPLATE).read_text()
    lines = [line.removeprefix("#").removeprefix(" ") for line in text.splitlines() if line.startswith("#")]
    begin = next(number for number, line in enumerate(lines) if line.strip() == "strategy:")
    strategy = yaml.safe_load("\n".join(lines[begin : lines.index("", begin)]))["strategy"]
    for step in strategy["canary"]["steps"]:
        for given in step.get("analysis", {}).get("args", []):
            if given["name"] == "version":
                given["value"] = version
    made |= {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
    made["spec"] |= {"replicas": 5, "strategy": strategy}
    made["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/version"] = version
    [container] = made["spec"]["template"]["spec"]["containers"]
    container["env"] = [item for item in container["env"] if item["name"] != "YINYANG_BURN"]
    container["env"] += [{"name": name, "value": value} for name, value in variables.items()]
    service = next(item for item in found if item["kind"] == "Service")
    return yaml.safe_dump_all([made, service])


@pytest.mark.usefixtures("rollouts")
@pytest.mark.parametrize("error_rate", ["0", "50%"], ids=["good", "bad"])
def test_canary(error_rate: str, cluster: Cluster, namespace: str, record: Record) -> None:
    workload = Workload(cluster, namespace)

    def status() -> dict:
        return workload.get("rollout", "yinyang").get("status", {})

    workload.kubectl("apply", f"--filename={ROOT / TEMPLATE}")
    workload.kubectl("apply", "--filename=-", given=rollout(OLD))
    wait_until(lambda: status().get("phase") == "Healthy", "the first version")
    workload.kubectl("apply", "--filename=-", given=rollout(NEW, YINYANG_ERROR_RATE=error_rate))
    ends = {"0": "Healthy", "50%": "Degraded"}
    wait_until(lambda: status().get("phase") == "Progressing" or workload.get("analysisruns")["items"], "the canary")
    wait_until(lambda: workload.get("analysisruns")["items"], "the analysis")

    def analysed() -> str:
        [run] = workload.get("analysisruns")["items"]
        phase = run.get("status", {}).get("phase", "")
        return phase if phase in {"Successful", "Failed", "Error", "Inconclusive"} else ""

    phase = wait_until(analysed, "the end of the analysis")
    assert phase == {"0": "Successful", "50%": "Failed"}[error_rate]
    wait_until(lambda: status().get("phase") == ends[error_rate], ends[error_rate])
    serving = NEW if error_rate == "0" else OLD

    def versions() -> set[str]:
        return {pod["metadata"]["labels"]["app.kubernetes.io/version"] for pod in workload.pods()}

    wait_until(lambda: versions() == {serving}, f"{serving} alone")
    assert bool(status().get("abort")) == (error_rate != "0")
    record.add(
        TEMPLATE,
        f"Argo Rollouts: a canary is 1 of 5 replicas; {error_rate.rstrip('%')} % of its answers are errors",
        f"the analysis is {phase}; afterwards all replicas are {serving}",
    )
