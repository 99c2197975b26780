"""What is in deploy/ for Kubernetes: do the manifests render, follow their schemas, and fit together?"""

import copy
import itertools
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Replica
from manifests import DEPLOY, MANIFEST, kustomized, module, parse, run, validate

KUSTOMIZATIONS = sorted(file.parent for file in DEPLOY.rglob("kustomization.yaml"))
FILES = sorted(
    file
    for file in DEPLOY.rglob("*.yaml")
    if re.search(r"^kind: ", file.read_text(), re.MULTILINE)
    and file.name != "kustomization.yaml"
    and "templates" not in file.parts
)


def name(path: Path) -> str:
    return str(path.relative_to(DEPLOY))


@pytest.fixture(params=KUSTOMIZATIONS, ids=name)
def rendered(request: pytest.FixtureRequest) -> list[dict]:
    """What `kubectl apply -k` sends."""
    return kustomized(request.param)


def test_there_is_something_to_test() -> None:
    assert {name(folder) for folder in KUSTOMIZATIONS} >= {
        f"kubernetes/{overlay}" for overlay in ("base", "canary", "blue-green", "zones", "autoscaling")
    }
    assert MANIFEST in FILES


@pytest.mark.parametrize("file", FILES, ids=name)
def test_files_follow_their_schemas(file: Path) -> None:
    for item in parse(file.read_text()):
        check_strictly(item)


def test_kustomizations_follow_the_schemas(rendered: list[dict]) -> None:
    for item in rendered:
        check_strictly(item)


def check_strictly(item: dict) -> None:
    """A property that there is not is an error, as the test of the test shows."""
    validate(item)
    wrong = copy.deepcopy(item)
    wrong.setdefault("spec", wrong)["replica"] = 3
    if item["kind"] != "ConfigMap":
        errors = module("kubernetes_validate", "kubernetes-validate"), module("jsonschema", "kubernetes-validate")
        with pytest.raises(tuple(one.ValidationError for one in errors)):
            validate(wrong)


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=name)
def test_nothing_critical_is_missing(folder: Path) -> None:
    """As kube-score sees it, which wants a limit of the CPU time as well; that would only delay answers."""
    text = run("kubectl", "kustomize", folder)
    found = run("kube-score", "score", "--ignore-container-cpu-limit", "--output-format", "ci", "-", text=text)
    assert "[CRITICAL]" not in found


def test_what_is_missing_is_found() -> None:
    unlimited = MANIFEST.read_text().replace("memory: 16Mi", "cpu: 1")
    with pytest.raises(AssertionError, match=r"\[CRITICAL\] .* Memory limit is not set"):
        run("kube-score", "score", "--output-format", "ci", "-", text=unlimited)


# ---- the chart ------------------------------------------------------------------------------------------------------


CHART = DEPLOY / "helm/yinyang"


def charted(*options: str) -> list[dict]:
    return parse(run("helm", "template", "yinyang", CHART, *options))


def as_sets(objects: list[dict]) -> dict[str, dict]:
    """The same without the order of objects and variables, which has no meaning."""
    for item in of("Deployment", objects):
        item["spec"]["template"]["spec"]["containers"][0]["env"].sort(key=lambda variable: variable["name"])
    return {item["kind"]: item for item in objects}


def test_chart_is_the_base() -> None:
    assert as_sets(charted()) == as_sets(parse(MANIFEST.read_text()))


def test_chart_is_without_fault() -> None:
    run("helm", "lint", "--strict", CHART)


def test_chart_has_the_version_of_the_project() -> None:
    [chart] = parse((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert chart["version"] == chart["appVersion"] == version


def test_chart_does_what_its_values_say() -> None:
    """Each value, and a second installation in the same namespace."""
    options = ("--set", "image.repository=registry.example/yinyang,image.tag=0.2.0,image.pullPolicy=Always")
    options += ("--set", "imagePullSecrets[0].name=registry,env.YINYANG_BURN=null,env.YINYANG_TITLE=Ours")
    options += ("--set", "service.type=NodePort,service.port=8000,resources.limits.memory=32Mi")
    options += ("--set", "autoscaling.minReplicas=1,autoscaling.maxReplicas=2,autoscaling.averageUtilization=80")
    objects = parse(run("helm", "template", "other", CHART, *options))
    for item in objects:
        validate(item)
        assert item["metadata"]["name"] == "other"
    [deployment], [service] = of("Deployment", objects), of("Service", objects)
    [scaler] = of("HorizontalPodAutoscaler", objects)
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("registry.example/yinyang:0.2.0", "Always")
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    variables = variables_of(deployment)
    assert "YINYANG_BURN" not in variables
    assert variables["YINYANG_TITLE"]["value"] == "Ours"
    assert container["resources"]["limits"]["memory"] == "32Mi"
    assert (service["spec"]["type"], service["spec"]["ports"][0]["port"]) == ("NodePort", 8000)
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (1, 2)
    assert scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 80
    assert all(selector == {"matchLabels": {"app.kubernetes.io/name": "other"}} for selector in selectors(objects))


@pytest.mark.parametrize(
    "wrong", ["replicas=3", "env.YINYANG_PORT=80", "env.PORT=80", "service.type=External", "image.repository="]
)
def test_chart_refuses_values_that_it_does_not_have(wrong: str) -> None:
    with pytest.raises(AssertionError, match="values don't meet the specifications of the schema"):
        charted("--set-string", wrong)


# ---- what refers to each other, which a schema cannot know ----------------------------------------------------------


def of(kind: str, objects: list[dict]) -> list[dict]:
    return [item for item in objects if item["kind"] == kind]


def selects(selector: dict, deployment: dict) -> bool:
    """Whether a label selector, of the two kinds that there are here, finds the pods."""
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    assert all(one["operator"] == "In" for one in selector.get("matchExpressions", []))
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", [])
    )


def selectors(objects: list[dict]) -> Iterator[dict]:
    """Of the pods, by all who have one."""
    for item in objects:
        match item["kind"]:
            case "Service":
                yield {"matchLabels": item["spec"]["selector"]}
            case "PodDisruptionBudget" | "Deployment":
                yield item["spec"]["selector"]
            case "NetworkPolicy":
                yield item["spec"]["podSelector"]
        if item["kind"] == "Deployment":
            for spread in item["spec"]["template"]["spec"]["topologySpreadConstraints"]:
                yield spread["labelSelector"]


def test_selectors_find_pods(rendered: list[dict]) -> None:
    deployments = of("Deployment", rendered)
    for selector in selectors(rendered):
        assert any(selects(selector, deployment) for deployment in deployments), selector
    for one, other in itertools.permutations(deployments, 2):
        assert not selects(one["spec"]["selector"], other)


def test_ports_are_there(rendered: list[dict]) -> None:
    for deployment in of("Deployment", rendered):
        pod = deployment["spec"]["template"]
        container = pod["spec"]["containers"][0]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        variables = {item["name"]: item.get("value") for item in container["env"]}
        assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(ports["http"]) == variables["YINYANG_PORT"]
        for service in of("Service", rendered):
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(ports)
        for policy in of("NetworkPolicy", rendered):
            assert {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]} <= set(ports)


def test_pods_end_within_their_time(rendered: list[dict]) -> None:
    for deployment in of("Deployment", rendered):
        pod = deployment["spec"]["template"]["spec"]
        container = pod["containers"][0]
        [drain] = (int(item["value"]) for item in container["env"] if item["name"] == "YINYANG_DRAIN")
        assert pod["terminationGracePeriodSeconds"] >= container["lifecycle"]["preStop"]["sleep"]["seconds"] + drain + 8


def test_autoscalers_choose_the_number_of_replicas_alone(rendered: list[dict]) -> None:
    """A Deployment that has one as well would be set back to it by each `kubectl apply`."""
    scaled = {(item["apiVersion"], item["kind"], item["metadata"]["name"]): item for item in rendered}
    left = {item["metadata"]["name"] for item in of("Deployment", rendered)}
    for scaler in of("HorizontalPodAutoscaler", rendered):
        target = scaler["spec"]["scaleTargetRef"]
        while target:  # a Rollout leads to a Deployment
            item = scaled[target["apiVersion"], target["kind"], target["name"]]
            assert "replicas" not in item["spec"]
            target = item["spec"].get("workloadRef")
        left.remove(item["metadata"]["name"])
    assert not left  # each has one


@pytest.mark.parametrize("file", FILES, ids=name)
def test_files_say_what_the_server_would_add(file: Path) -> None:
    """Where it is missing, `kubectl apply --server-side` is a conflict with what `kubectl apply` has sent before."""
    for found in walk(parse(file.read_text())):
        if "fieldRef" in found:
            assert found["fieldRef"]["apiVersion"] == "v1"
        if found.get("kind") == "NetworkPolicy":
            rules = found["spec"]["ingress"] + found["spec"].get("egress", [])
            assert all("protocol" in port for rule in rules for port in rule["ports"])


def walk(part: object) -> Iterator[dict]:
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from walk(inner)


def variables_of(deployment: dict) -> dict[str, dict]:
    return {item["name"]: item for item in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}


def found_by(service: dict, objects: list[dict]) -> set[str]:
    """The versions that a Service leads to."""
    return {
        variables_of(item)["YINYANG_APP_VERSION"]["value"]
        for item in of("Deployment", objects)
        if selects({"matchLabels": service["spec"]["selector"]}, item)
    }


def test_canary_gets_a_tenth() -> None:
    objects = kustomized(DEPLOY / "kubernetes/canary")
    services = {item["metadata"]["name"]: item for item in of("Service", objects)}
    [gateway], [route] = of("Gateway", objects), of("HTTPRoute", objects)
    assert [parent["name"] for parent in route["spec"]["parentRefs"]] == [gateway["metadata"]["name"]]
    [rule] = route["spec"]["rules"]
    shares = {}
    for backend in rule["backendRefs"]:
        service = services[backend["name"]]
        assert backend["port"] in {port["port"] for port in service["spec"]["ports"]}
        [version] = found_by(service, objects)
        shares[version] = backend["weight"]
    assert shares == {"v1": 90, "v2": 10}


def test_blue_green_is_switched_by_its_command() -> None:
    folder = DEPLOY / "kubernetes/blue-green"
    objects = kustomized(folder)
    [service] = (item for item in of("Service", objects) if item["metadata"]["name"] == "yinyang")
    assert found_by(service, objects) == {"v1"}
    [patch] = re.findall(r"kubectl patch service yinyang -p '(.*)'", (folder / "kustomization.yaml").read_text())
    changed = run("kubectl", "patch", "--local", "-f", folder / "service.yaml", "-p", patch, "-o", "yaml")
    assert found_by(parse(changed)[0], objects) == {"v2"}


def test_zones() -> None:
    objects = kustomized(DEPLOY / "kubernetes/zones")
    [service], [deployment] = of("Service", objects), of("Deployment", objects)
    assert service["spec"]["trafficDistribution"] == "PreferSameZone"
    spread = {one["topologyKey"] for one in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]}
    assert spread == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    zone = variables_of(deployment)["YINYANG_ZONE"]["valueFrom"]["fieldRef"]
    assert zone["fieldPath"] == "metadata.labels['topology.kubernetes.io/zone']"


def test_autoscaler_asks_for_the_metric_of_the_rule() -> None:
    [scaler] = of("HorizontalPodAutoscaler", kustomized(DEPLOY / "kubernetes/autoscaling"))
    [metric] = scaler["spec"]["metrics"]
    [rule] = adapter_rules()
    series = rule["seriesQuery"].partition("{")[0]
    assert (
        re.sub(rule["name"]["matches"], rule["name"]["as"].replace("${1}", r"\1"), series)
        == (metric["pods"]["metric"]["name"])
    )


def adapter_rules() -> list[dict]:
    [values] = parse((DEPLOY / "kubernetes/autoscaling/prometheus-adapter.yaml").read_text())
    return values["rules"]["custom"]


# ---- controllers of roll-outs ---------------------------------------------------------------------------------------


def test_gates_of_argo_rollouts_get_what_they_ask_for() -> None:
    """Each step names templates that are there, and gives all arguments that have no value of their own."""
    objects = kustomized(DEPLOY / "rollouts/argo")
    templates = {item["metadata"]["name"]: item["spec"] for item in of("AnalysisTemplate", objects)}
    [rollout] = of("Rollout", objects)
    steps = rollout["spec"]["strategy"]["canary"]["steps"]
    weights = [step.get("setWeight") for step in steps]
    [(number, analysis)] = ((i, step["analysis"]) for i, step in enumerate(steps) if "analysis" in step)
    given = {one["name"]: one for one in analysis["args"]}
    assert given["share"]["value"] == str(weights[number - 1])
    named = [one["templateName"] for one in analysis["templates"]]
    assert set(named) == set(templates)
    for name in named:
        declared = {one["name"]: one for one in templates[name]["args"]}
        assert {one for one in declared if "value" not in declared[one]} <= set(given)
        assert set(re.findall(r"{{args\.(\w+)}}", str(templates[name]["metrics"]))) == set(declared)
    [deployment] = of("Deployment", objects)
    version = variables_of(deployment)["YINYANG_APP_VERSION"]["valueFrom"]["fieldRef"]
    assert version["fieldPath"] == "metadata.labels['rollouts-pod-template-hash']"
    assert given["version"]["valueFrom"] == {"podTemplateHashValue": "Latest"}
    [scaler] = of("HorizontalPodAutoscaler", objects)
    assert min(filter(None, weights)) * scaler["spec"]["minReplicas"] >= 100  # one replica at least


def test_flagger_has_what_it_needs() -> None:
    objects = kustomized(DEPLOY / "rollouts/flagger")
    [canary], [deployment] = of("Canary", objects), of("Deployment", objects)
    [scaler] = of("HorizontalPodAutoscaler", objects)
    for key, item in ("targetRef", deployment), ("autoscalerRef", scaler):
        found = canary["spec"][key]
        assert found == {"apiVersion": item["apiVersion"], "kind": item["kind"], "name": item["metadata"]["name"]}
    assert canary["spec"]["service"]["name"] == "yinyang"
    assert not of("Service", objects)  # Flagger makes it
    both = {"key": "app.kubernetes.io/name", "operator": "In", "values": ["yinyang", "yinyang-primary"]}
    for kind, key in ("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector"):
        [item] = of(kind, objects)
        assert item["spec"][key] == {"matchExpressions": [both]}
    assert deployment["spec"]["template"]["metadata"]["annotations"]["prometheus.io/scrape"] == "true"


def test_replica_on_knative_shows_its_revision(start: Callable[..., Replica]) -> None:
    """With the variables of the manifest, and those that Knative adds."""
    [service] = parse((DEPLOY / "rollouts/knative/service.yaml").read_text())
    [container] = service["spec"]["template"]["spec"]["containers"]
    variables = {item["name"]: item["value"] for item in container["env"]}
    replica = start(**variables, K_REVISION="yinyang-00001")
    answer = replica.ask(b"GET /whoami HTTP/1.1\r\nHost: a\r\n\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["version"] == "yinyang-00001"
