"""deploy/kubernetes/canary behind Traefik as a Gateway: do clients get the weights?"""

import json
import shlex
from collections.abc import Callable

import pytest
from conftest import PATIENCE, ROOT, needs, wait_until

from kubernetes.cluster import OUTSIDE, Cluster
from kubernetes.record import Record
from kubernetes.workload import Watch, Workload

pytestmark = [pytest.mark.kubernetes, pytest.mark.containers, pytest.mark.static, pytest.mark.needs("traefik")]
CANARY = "deploy/kubernetes/canary"
CLASS = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "eg"},  # the class that the file names
    "spec": {"controllerName": "traefik.io/gateway-controller"},
}


@pytest.fixture(scope="session")
def traefik(cluster: Cluster, definitions: None) -> None:
    cluster.apply([CLASS])
    cluster.start_program(
        "traefik",
        cluster.outside,
        *("env", f"KUBECONFIG={cluster.kubeconfig}", needs("traefik")),
        *(f"--entrypoints.web.address={OUTSIDE}:80", "--providers.kubernetesgateway=true"),
        *(f"--providers.kubernetesgateway.statusaddress.ip={OUTSIDE}", "--global.checknewversion=false"),
    )
    condition = "jsonpath={.status.conditions[?(@.type=='Accepted')].status}"
    accepted = ("get", "gatewayclass", "eg", "--output", condition)
    cluster.wait_for("traefik", lambda: cluster.try_kubectl(*accepted) == "True", "Traefik to take the class")


def test_canary_gets_its_weight(
    traefik: None,
    cluster: Cluster,
    namespace: str,
    look: Callable[..., Watch],
    record: Record,
) -> None:
    """By the command of docs/kubernetes.md; then with other weights, of which the watch says that they are others."""
    workload = Workload(cluster, namespace)
    workload.apply_idle(CANARY)
    for deployment in "deployment/yinyang-v1", "deployment/yinyang-v2":
        wait_until(lambda one=deployment: workload.get(one)["status"].get("readyReplicas") == 3, "three replicas")
        workload.kubectl("rollout", "status", deployment, f"--timeout={PATIENCE:g}s")
    address = "jsonpath={.status.addresses[0].value}"
    wait_until(lambda: workload.kubectl("get", "gateway", "yinyang", f"--output={address}") == OUTSIDE, "an address")
    url = f"http://{OUTSIDE}/"
    serving = ("curl", "--silent", "--fail", "--output", "/dev/null", url)
    wait_until(lambda: cluster.succeeds(*serving), "the route")
    [line] = [
        line for line in (ROOT / "docs/kubernetes.md").read_text().splitlines() if " watch http://GATEWAY/ " in line
    ]
    options = shlex.split(line.partition(" watch http://GATEWAY/ ")[2])
    for weight, code in (10, 0), (90, 1):
        change = [{"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": weight}]
        workload.kubectl("patch", "httproute", "yinyang", "--type=json", f"--patch={json.dumps(change)}")
        looking = look(url, *options, "--max-errors=0")
        found = looking.end(interrupt=False)
        samples = looking.samples()
        assert found == code, looking.expectations
        assert not [sample for sample in samples if "failure" in sample]
        got = sum(sample["version"] == "v2" for sample in samples)
        record.add(
            CANARY,
            f"`yinyang watch --by version --expect 'v2=10%+-3'`, behind Traefik with the weights 90 and {weight}",
            f"v2 answered {got:,} of {len(samples):,} requests, 0 failed; "
            f"the expectation {'holds' if code == 0 else 'does not hold'}",
        )
