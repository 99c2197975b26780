"""A cluster for the tests, and a namespace in it for each."""

import functools
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import LACKS, PATIENCE, ROOT, archive, build_image, missing, needs, wait_until, what_containers_lack

from kubernetes.cluster import IMAGE, LATER, NETWORKS, PAUSE, Cluster
from kubernetes.record import Record
from kubernetes.workload import DEPLOYMENT, RATE, Watch, Workload

PROGRAMS = Path(os.environ.get("YINYANG_KUBERNETES", ROOT / "build/kubernetes"))
BUILT = ["kubernetes", "coredns", "metrics-server", "rollouts-controller", "flagger", "k6-operator", "k6-operator.yaml"]
KUBECTL = ROOT / "build/kubectl/kubectl"
CRDS = ROOT / "build/crds"
TOOLS = "catatonit conntrack containerd ctr etcd ip nft nsenter openssl setpriv sysctl unshare"
NUMBERS = itertools.count(1)
PAUSE_IMAGE = """\
FROM scratch
COPY catatonit /catatonit
ENTRYPOINT ["/catatonit", "-P"]
"""


@functools.cache
def what_kubernetes_lacks() -> str:
    """What is missing to start a cluster."""
    for path in [*(PROGRAMS / name for name in BUILT), KUBECTL]:
        if not path.exists():
            return f"{path.name} is not there; `make kubernetes` makes it"
    if os.geteuid() != 0:
        return "only root may start a cluster"
    for tool in TOOLS.split():
        if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin"):
            return f"{tool} is not installed"
    if not (NETWORKS / "ptp").exists():
        return "containernetworking-plugins is not installed"
    return what_containers_lack()


LACKS["kubernetes"] = what_kubernetes_lacks


@pytest.fixture(scope="session")
def images(image: str, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Archives of all images that the nodes need."""
    folder = tmp_path_factory.mktemp("images")
    shutil.copy(needs("catatonit"), folder)  # static, and waits as the first process of each pod has to
    (folder / "Dockerfile").write_text(PAUSE_IMAGE)
    build_image(PAUSE, folder=folder)
    later = build_image(f"{image}:0.2.0", "--build-arg=VERSION=0.2.0")  # a next version, to roll out
    return [archive(image, IMAGE, folder), archive(later, LATER, folder), archive(PAUSE, PAUSE, folder)]


@pytest.fixture(scope="session")
def cluster(images: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(PROGRAMS, KUBECTL, tmp_path_factory.mktemp("cluster"))
    try:
        made.start(images)
        yield made
    finally:
        made.stop()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """One in which only pods of the security standard "restricted" may run."""
    name = f"test-{next(NUMBERS)}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")  # the cluster ends anyway


@pytest.fixture
def workload(cluster: Cluster, namespace: str) -> Workload:
    """Ready replicas, which do without the CPU time that they burn for the autoscaler to see."""
    made = Workload(cluster, namespace)
    made.apply("--server-side")
    made.kubectl("set", "env", DEPLOYMENT, "YINYANG_BURN=0")
    wait_until(lambda: made.replicas() == 3, "the autoscaler to want three replicas")
    made.rolled_out()
    return made


@pytest.fixture
def look(cluster: Cluster, static_program: Path, tmp_path: Path) -> Iterator[Callable[..., Watch]]:
    """Starts a watch of a URL."""
    started: list[Watch] = []

    def start(url: str, *options: str) -> Watch:
        started.append(Watch(cluster, url, static_program, tmp_path / f"samples-{len(started)}", *options))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def watch(workload: Workload, look: Callable[..., Watch]) -> Callable[..., Watch]:
    """Starts a watch of the Service."""

    def start(*options: str) -> Watch:
        started = look(workload.url(), f"--rate={RATE}", "--concurrency=50", *options)
        started.wait(RATE)  # before anything is done to the replicas
        return started

    return start


@pytest.fixture(scope="session")
def definitions(cluster: Cluster) -> None:
    """The custom resources of deploy/."""
    if not (CRDS / "made-by").exists():
        missing("crds", "there are no custom resource definitions; tools/install-crds brings them")
    cluster.kubectl("apply", "--server-side", f"--filename={CRDS}")
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", f"--timeout={PATIENCE:g}s")


@pytest.fixture(scope="session")
def record() -> Iterator[Record]:
    """What the tests saw, written at the end if it is asked for."""
    made = Record()
    yield made
    made.write()
