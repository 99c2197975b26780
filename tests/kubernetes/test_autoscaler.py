"""deploy/kubernetes/base/yinyang.yaml with metrics-server: does its autoscaler act under load?"""

from collections.abc import Callable, Iterator

import pytest
from conftest import wait_until

from kubernetes.cluster import Cluster
from kubernetes.record import Record
from kubernetes.workload import DEPLOY, Watch, Workload

pytestmark = [pytest.mark.kubernetes, pytest.mark.containers, pytest.mark.static]


@pytest.fixture(scope="module")
def metrics(cluster: Cluster) -> Iterator[None]:
    """For these tests alone: in others, no autoscaler is to act."""
    cluster.start_metrics_server()
    yield
    cluster.kubectl("delete", "apiservice", "v1beta1.metrics.k8s.io")


@pytest.mark.usefixtures("metrics")
def test_autoscaler_follows_the_load(
    cluster: Cluster, namespace: str, look: Callable[..., Watch], record: Record
) -> None:
    """Each request costs 20 ms of CPU time; 30 a second are more than half of what three replicas ask for."""
    workload = Workload(cluster, namespace)
    workload.apply()

    wait_until(lambda: workload.replicas() == 3, "three replicas")
    workload.rolled_out()
    looking = look(workload.url(), "--rate=30", "--max-errors=0")
    wait_until(lambda: workload.replicas() > 3, "the autoscaler to act")
    wait_until(lambda: len({sample.get("host") for sample in looking.samples()[-200:]}) > 3, "more to answer")
    most = workload.replicas()
    workload.apply()  # while it is scaled out
    assert workload.replicas() >= most
    code = looking.end()
    samples = looking.samples()
    wait_until(lambda: workload.replicas() == 3, "the autoscaler to go back")
    assert code == 0, looking.expectations
    record.add(
        DEPLOY,
        "`yinyang watch --rate 30`, with metrics-server",
        f"from 3 replicas to {most} and back to 3; {len(samples):,} requests, 0 failed",
    )
