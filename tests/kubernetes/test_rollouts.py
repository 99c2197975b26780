"""deploy/rollouts with the controllers of Argo Rollouts and Flagger, and a Prometheus: which canary stays?"""

import json
from collections.abc import Callable

import pytest
from conftest import needs, wait_until

from kubernetes.cluster import OUTSIDE, Cluster, beside
from kubernetes.record import Record
from kubernetes.workload import DEPLOYMENT, Watch, Workload

pytestmark = [pytest.mark.kubernetes, pytest.mark.containers, pytest.mark.static, pytest.mark.prometheus]
ARGO, FLAGGER = "deploy/rollouts/argo", "deploy/rollouts/flagger"
METRICS = "http://prometheus-operated.monitoring:9090"  # as ARGO has it; the Prometheus Operator's name for it
NEXT = ("set", "image", DEPLOYMENT, "yinyang=yinyang:0.2.0")
# The Prometheus of Debian has no discovery of Kubernetes, so its targets are in a file: what the PodMonitor of
# deploy/monitoring selects, with its labels, and with those that Flagger asks for.
PROMETHEUS = {
    "global": {"scrape_interval": "5s"},
    "scrape_configs": [{"job_name": "pods", "file_sd_configs": [{"files": [""], "refresh_interval": "5s"}]}],
}
PODS = ("--all-namespaces", "--field-selector=status.phase=Running")
PODS += ("--selector=app.kubernetes.io/name in (yinyang, yinyang-primary)",)
TARGETS = """\
[{"targets": []}{{range .items}}, {
    "targets": ["{{.status.podIP}}:{{index .metadata.annotations "prometheus.io/port"}}"],
    "labels": {
        "namespace": "{{.metadata.namespace}}", "kubernetes_namespace": "{{.metadata.namespace}}",
        "pod": "{{.metadata.name}}", "kubernetes_pod_name": "{{.metadata.name}}"
    }
}{{end}}]
"""
KEEP = 'file=$1; shift; while sleep 2; do "$@" >"$file.new" && mv "$file.new" "$file"; done'


@pytest.fixture(scope="session")
def prometheus(cluster: Cluster) -> None:
    """One that scrapes the pods, behind a Service."""
    targets, file = cluster.folder / "targets.json", cluster.folder / "prometheus.json"
    kubectl = (str(cluster.kubectl_path), f"--kubeconfig={cluster.kubeconfig}")
    listing = (*kubectl, "get", "pods", *PODS, f"--output=go-template={TARGETS}")
    cluster.start_program("targets", cluster.outside, "sh", "-c", KEEP, "sh", str(targets), *listing)
    PROMETHEUS["scrape_configs"][0]["file_sd_configs"][0]["files"][0] = str(targets)
    file.write_text(json.dumps(PROMETHEUS))
    cluster.start_program(
        "prometheus",
        cluster.outside,
        *(needs("prometheus"), f"--config.file={file}", "--storage.tsdb.path=/var/lib/prometheus"),
        f"--web.listen-address={OUTSIDE}:9090",
    )
    cluster.kubectl("create", "namespace", "monitoring")
    cluster.apply(beside("prometheus-operated", "monitoring", 9090, 9090))
    ready = ("curl", "--silent", "--fail", f"{METRICS}/-/ready")  # by its name, as for the controllers
    cluster.wait_for("prometheus", lambda: cluster.succeeds(*ready), "Prometheus")


def start_controller(cluster: Cluster, health: int, name: str, *options: str) -> None:
    """And wait until it says at this port that it is healthy."""
    program = str(cluster.programs / name)
    cluster.start_program(name, cluster.outside, program, f"--kubeconfig={cluster.kubeconfig}", *options)
    healthy = ("curl", "--silent", "--fail", f"http://127.0.0.1:{health}/healthz")
    cluster.wait_for(name, lambda: cluster.succeeds(*healthy), name)


# ---- Argo Rollouts --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def argo(cluster: Cluster, definitions: None, prometheus: None) -> None:
    ports = ("--metricsPort=8090", "--healthzPort=8091")
    start_controller(cluster, 8091, "rollouts-controller", "--leader-elect=false", *ports)


class Rollout(Workload):
    """deploy/rollouts/argo in a namespace of its own."""

    def state(self) -> dict:
        return self.get("rollout/yinyang")["status"]

    def is_(self, phase: str) -> bool:
        """Whether it is in this phase, and has come to the latest change of the Deployment."""
        status = self.state()
        generation = str(self.get(DEPLOYMENT)["metadata"]["generation"])
        return (status.get("phase"), status.get("workloadObservedGeneration")) == (phase, generation)

    def analysis(self) -> dict[str, str]:
        """The outcome of each metric, as soon as there is one of the whole analysis."""

        def ended() -> list[dict]:
            return [
                one for one in runs() if one.get("status", {}).get("phase", "Running") not in {"Pending", "Running"}
            ]

        def runs() -> list[dict]:
            return self.get("analysisruns")["items"]

        wait_until(runs, "an analysis to begin")
        [run] = wait_until(ended, "the analysis to end")
        return {metric["name"]: metric["phase"] for metric in run["status"]["metricResults"]}

    def said(self) -> str:
        """The last lines of the watch that was the Job."""
        [pod] = self.pods("--selector=app.kubernetes.io/name=yinyang-watch")
        return pod["status"]["containerStatuses"][0]["state"]["terminated"].get("message", "")


@pytest.fixture
def rollout(argo: None, cluster: Cluster, namespace: str) -> Rollout:
    """Five replicas, which serve instead of the Deployment's own."""
    made = Rollout(cluster, namespace)
    made.apply_idle(ARGO)
    wait_until(lambda: made.get("rollout/yinyang")["spec"].get("replicas") == 5, "the autoscaler to want five replicas")
    wait_until(lambda: made.is_("Healthy") and made.state()["availableReplicas"] == 5, "the Rollout to be healthy")
    wait_until(lambda: len(made.pods()) == 5, "the Deployment to be without pods")
    return made


def versions(samples: list[dict]) -> set[str]:
    return {sample["version"] for sample in samples if "version" in sample}


def test_argo_rollouts_promotes_what_holds(rollout: Rollout, look: Callable[..., Watch], record: Record) -> None:
    before = rollout.state()["stableRS"]
    looking = look(rollout.url(), "--rate=20", "--by=version", "--max-errors=0")
    looking.wait(20)
    assert versions(looking.samples()) == {before}
    rollout.kubectl(*NEXT)
    assert rollout.analysis() == {"watch": "Successful", "successes": "Successful"}
    wait_until(lambda: rollout.is_("Healthy"), "the Rollout to be healthy")
    after = rollout.state()["stableRS"]
    wait_until(lambda: len(rollout.pods()) == 5, "the replicas before to be gone")
    looking.wait(100)
    assert looking.end() == 0, looking.expectations
    samples = looking.samples()
    assert versions(samples) == {before, after}
    assert versions(samples[-100:]) == {after} != {before}
    record.add(
        ARGO,
        f"`kubectl {' '.join(NEXT)}`; Argo Rollouts",
        f"both gates hold, and the canary is promoted; {len(samples):,} requests, 0 failed",
    )


@pytest.mark.parametrize(
    ("change", "failed"), [("YINYANG_LATENCY=600ms", "watch"), ("YINYANG_ERROR_RATE=20%", "successes")]
)
def test_argo_rollouts_aborts_what_does_not(
    change: str, failed: str, rollout: Rollout, look: Callable[..., Watch], record: Record
) -> None:
    """Late answers are no errors, so that only the Job can object to them."""
    before = rollout.state()["stableRS"]
    looking = look(rollout.url(), "--rate=20", "--by=version")
    looking.wait(20)
    rollout.kubectl("set", "env", DEPLOYMENT, change)
    outcomes = rollout.analysis()
    assert outcomes[failed] == "Failed", outcomes
    if failed == "watch":
        assert outcomes["successes"] == "Successful"
        assert "✗ expected 99 % of answers within 500 ms" in rollout.said()
    wait_until(lambda: rollout.is_("Degraded"), "the Rollout to be aborted")
    status = rollout.state()
    assert status["abort"]
    assert f'Metric "{failed}" assessed Failed' in status["message"]
    assert status["stableRS"] == before
    wait_until(lambda: {pod["metadata"]["labels"]["rollouts-pod-template-hash"] for pod in rollout.pods()} == {before})
    wait_until(lambda: len(rollout.pods()) == 5, "the stable replicas alone")
    looking.wait(100)
    looking.end()
    samples = looking.samples()
    assert versions(samples[-100:]) == {before}
    assert not [sample for sample in samples[-100:] if "failure" in sample]
    [canary] = versions(samples) - {before}
    errors = sum("failure" in sample for sample in samples)
    got = errors + sum(sample.get("version") == canary for sample in samples)
    assert all(sample["failure"] == "status 503" for sample in samples if "failure" in sample)
    assert bool(errors) == (failed == "successes")
    record.add(
        ARGO,
        f"`kubectl set env deployment/yinyang {change}`; Argo Rollouts",
        f"{'the Job' if failed == 'watch' else 'Prometheus'} objects, and the canary is aborted; of {len(samples):,} "
        f"requests it answered {got:,}, {errors} with errors; then all is as before",
    )


# ---- Flagger --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def flagger(cluster: Cluster, definitions: None, prometheus: None) -> None:
    start_controller(cluster, 8092, "flagger", "-mesh-provider=kubernetes", f"-metrics-server={METRICS}", "-port=8092")


class Canary(Workload):
    """deploy/rollouts/flagger in a namespace of its own."""

    def state(self) -> dict:
        return self.get("canary/yinyang").get("status", {})

    def becomes(self, *phases: str) -> str:
        """The one that comes first."""
        wait_until(lambda: self.state().get("phase") in phases, f"it to be {' or '.join(phases)}")
        return self.state()["phase"]

    def outcome(self) -> str:
        """Whether it has succeeded or failed, after checks that take half a minute each."""

        def checked(times: int) -> bool:
            state = self.state()
            return state["phase"] != "Progressing" or state["iterations"] >= times

        for times in 1, 3:
            wait_until(lambda enough=times: checked(enough), f"{times} checks to hold")
        self.becomes("Promoting", "Finalising", "Succeeded", "Failed")
        return self.becomes("Succeeded", "Failed")


@pytest.fixture
def canary(flagger: None, cluster: Cluster, namespace: str) -> Canary:
    made = Canary(cluster, namespace)
    made.apply_idle(FLAGGER)
    made.becomes("Initialized")
    return made


@pytest.mark.parametrize(
    ("change", "outcome"),
    [(NEXT, "Succeeded"), (("set", "env", DEPLOYMENT, "YINYANG_ERROR_RATE=20%"), "Failed")],
    ids=["holds", "fails"],
)
def test_flagger(
    change: tuple[str, ...], outcome: str, canary: Canary, look: Callable[..., Watch], record: Record
) -> None:
    """All clients stay at the primary meanwhile, and a watch of the canary gives it something to do."""
    clients = look(canary.url(), "--rate=10", "--max-errors=0")
    canary.kubectl(*change)
    canary.becomes("Progressing")
    trying = look(canary.url("yinyang-canary"), "--rate=20")
    assert canary.outcome() == outcome
    trying.end()
    clients.wait(50)
    assert clients.end() == 0, clients.expectations
    answered = [sample for sample in trying.samples() if sample.get("failure") in {None, "status 503"}]
    assert answered
    image = canary.get("deployment/yinyang-primary")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == ("yinyang:0.2.0" if outcome == "Succeeded" else "yinyang:0.1.0")
    errors = sum("failure" in sample for sample in answered)
    assert bool(errors) == (outcome == "Failed")
    record.add(
        FLAGGER,
        f"`kubectl {' '.join(change)}`; Flagger",
        f"{outcome}; the canary answered {len(answered):,} requests, {errors} with errors; "
        f"the clients had {len(clients.samples()):,}, 0 failed",
    )
