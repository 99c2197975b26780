"""The base of the manifests on a real cluster: does it serve, and what do clients see when replicas come and go?

The requests go through the Service, so through kube-proxy. YINYANG_REQUESTS says how many each scenario takes at least;
it repeats what it does until then.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable

import pytest
from conftest import PATIENCE, wait_until

from kubernetes.cluster import NODES, Cluster
from kubernetes.record import Record
from kubernetes.workload import DEPLOY, DEPLOYMENT, RATE, REQUESTS, Watch, Workload, first_process

pytestmark = [pytest.mark.kubernetes, pytest.mark.containers, pytest.mark.static]


def test_file_is_applied_and_serves(workload: Workload, watch: Callable[..., Watch], record: Record) -> None:
    """In a namespace with the enforced level "restricted"; the replicas are on both nodes."""
    pods = workload.pods()
    assert {pod["spec"]["nodeName"] for pod in pods} == set(NODES)
    looking = watch("--expect-replicas=3", "--max-errors=0", "--by=node")
    assert looking.end() == 0, looking.expectations
    answered = Counter(sample["node"] for sample in looking.samples())
    assert set(answered) == set(NODES)
    hosts = {sample["host"] for sample in looking.samples()}
    assert hosts == {pod["metadata"]["name"] for pod in pods}
    record.add(
        DEPLOY,
        "`kubectl apply --server-side`, `yinyang watch`",
        f"{len(pods)} pods on {len(NODES)} nodes are ready; {sum(answered.values())} requests, 0 failed",
    )


def test_watch_as_a_pod(workload: Workload, record: Record) -> None:
    """From a pod, whose requests the node of the pod sends on."""
    report = workload.watch_as_a_pod("--count=200", "--rate=100", "--expect-replicas=3")
    assert report["errors"] == 0
    assert len(report["replicas"]) == 3
    record.add(
        DEPLOY,
        "`kubectl run look --image=yinyang:0.1.0 -- watch`",
        f"{report['samples']} requests from a pod, 0 failed",
    )


# ---- replicas come and go -------------------------------------------------------------------------------------------


def roll(workload: Workload) -> None:
    workload.kubectl("rollout", "restart", DEPLOYMENT)
    workload.rolled_out()


def scale(workload: Workload) -> None:
    for replicas in 6, 3:
        workload.kubectl("scale", DEPLOYMENT, f"--replicas={replicas}")
        workload.rolled_out()


def drain(workload: Workload) -> None:
    """Both nodes in turn, each of which is put back; the drain waits until its pods are gone."""
    for node in NODES:
        drained = ("drain", node, "--ignore-daemonsets", f"--timeout={PATIENCE:g}s")
        workload.kubectl(*drained)
        workload.rolled_out()
        workload.kubectl("uncordon", node)


def delete(workload: Workload) -> None:
    workload.kubectl("delete", "pod", workload.pods()[0]["metadata"]["name"])
    workload.rolled_out()


CHANGES = {
    roll: "`kubectl rollout restart`",
    scale: "`kubectl scale`, to 6 and back to 3",
    drain: "`kubectl drain` of each node, `kubectl uncordon`",
    delete: "`kubectl delete pod`",
}


@pytest.mark.parametrize("connection", ["new", "same"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_no_request_is_lost(
    change: Callable[[Workload], None],
    connection: str,
    workload: Workload,
    watch: Callable[..., Watch],
    record: Record,
) -> None:
    before = {pod["metadata"]["name"] for pod in workload.pods()}
    looking = watch(f"--connection={connection}", "--max-errors=0")
    times = 0
    while not times or looking.count() < REQUESTS:
        change(workload)
        times += 1
    looking.wait(RATE)
    code = looking.end()
    samples = looking.samples()
    failed = Counter(sample["failure"] for sample in samples if "failure" in sample)
    hosts = {sample["host"] for sample in samples if "host" in sample}
    record.add(
        DEPLOY,
        f"{CHANGES[change]}, {times} times; `yinyang watch --connection {connection}`",
        f"{len(samples):,} requests, {sum(failed.values())} failed; {len(hosts)} replicas answered",
    )
    if connection == "new" or change in {roll, drain}:  # a kept connection may find a replica that was there before
        assert hosts - before, "nothing happened"
    assert code == 0, f"{failed} {looking.expectations}"
    assert not failed


def test_killed_replica(workload: Workload, watch: Callable[..., Watch], record: Record) -> None:
    """Nothing saves the requests to a process that is killed, but only those: the kubelet starts it again."""
    pod = workload.pods()[0]
    name = pod["metadata"]["name"]
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    looking = watch("--timeout=2s")
    os.kill(first_process(pod), signal.SIGKILL)

    def restarted() -> bool:
        [container] = workload.get("pod", name)["status"]["containerStatuses"]
        return container["restartCount"] == 1 and container["ready"]

    wait_until(restarted, f"{name} to be started again")
    looking.wait(RATE)
    behind = looking.count()
    looking.wait(3 * RATE)
    looking.end()
    samples = looking.samples()
    failed = Counter(sample["failure"] for sample in samples if "failure" in sample)
    record.add(
        DEPLOY,
        "`kill -9` of a replica; `yinyang watch`",
        f"{len(samples):,} requests, {sum(failed.values())} failed ({', '.join(failed) or 'none'})",
    )
    assert not [sample for sample in samples[behind:] if "failure" in sample]
    assert name in {sample["host"] for sample in samples[behind:]}


# ---- applied again --------------------------------------------------------------------------------------------------


def test_apply_leaves_the_scale_to_the_autoscaler(cluster: Cluster, namespace: str, record: Record) -> None:
    """As it was set by others than the file, whose HorizontalPodAutoscaler does so by the same subresource."""
    workload = Workload(cluster, namespace)
    workload.apply()
    wait_until(lambda: workload.replicas() == 3, "three replicas")
    workload.kubectl("scale", DEPLOYMENT, "--replicas=5")
    workload.apply()
    assert workload.replicas() == 5
    workload.apply("--server-side")  # fails if there is a conflict
    assert workload.replicas() == 5
    record.add(DEPLOY, "`kubectl apply` twice, then `kubectl apply --server-side`", "5 replicas stay 5; no conflict")


def test_service_of_the_same_name(cluster: Cluster, record: Record) -> None:
    """Pods that begin after a Service called yinyang find its address in YINYANG_PORT."""
    workload = Workload(cluster, "default")
    made = [DEPLOYMENT, "service/yinyang"]
    try:
        workload.kubectl("create", "deployment", "yinyang", "--image=yinyang:0.1.0")
        workload.kubectl("expose", "deployment", "yinyang", "--port=80")
        workload.kubectl("rollout", "status", DEPLOYMENT, f"--timeout={PATIENCE:g}s")
        workload.kubectl("rollout", "restart", DEPLOYMENT)
        workload.kubectl("rollout", "status", DEPLOYMENT, f"--timeout={PATIENCE:g}s")
        wait_until(lambda: len(workload.pods("--selector=app=yinyang")) == 1, "the later pod alone")
        [pod] = workload.pods("--selector=app=yinyang")
        log = workload.kubectl("logs", pod["metadata"]["name"])
        address = workload.get("service/yinyang")["spec"]["clusterIP"]
        assert f"tcp://{address}:80" in log
        assert [status["restartCount"] for status in pod["status"]["containerStatuses"]] == [0]
        page = workload.cluster.outside.run("curl", "--silent", "--fail", f"http://{address}/whoami")
        assert pod["metadata"]["name"] in page
    finally:
        workload.kubectl("delete", "--ignore-not-found", *made)
        wait_until(lambda: not workload.pods("--selector=app=yinyang"), "no pod")
    record.add(
        "", "`kubectl create deployment yinyang`, `kubectl expose`, `kubectl rollout restart`", "the later pod serves"
    )
