"""A real Prometheus scrapes the server, and counts what was asked."""

import json
import os
import re
import signal
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from conftest import LAST, PATIENCE, Replica, free_port, needs, wait_until
from manifests import DEPLOY, module, parse
from test_routes import metrics

pytestmark = pytest.mark.prometheus
ASKED = {"/": ("page", 7), "/whoami": ("whoami", 5), "/wall": ("wall", 3), "/livez": ("livez", 2)}
CONFIGURATION = """
global:
  scrape_interval: 100ms
  scrape_timeout: 100ms
  evaluation_interval: 100ms
rule_files: {rules}
scrape_configs:
  - job_name: yinyang
    static_configs: {targets}
"""
# What Flagger asks for a canary that no mesh counts (pkg/metrics/observers/http.go), with the labels that a pod's
# annotations give.
LABELS = 'kubernetes_namespace="shop",kubernetes_pod_name=~"web-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)"'
COUNT, BUCKET = "http_request_duration_seconds_count", "http_request_duration_seconds_bucket"
SUCCESSES = f'sum(rate({COUNT}{{{LABELS},status!~"5.*"}}[1m])) / sum(rate({COUNT}{{{LABELS}}}[1m])) * 100'
MONITORING = DEPLOY / "monitoring"
ADAPTER = DEPLOY / "kubernetes/autoscaling/prometheus-adapter.yaml"
DURATION = f"histogram_quantile(0.99, sum(rate({BUCKET}{{{LABELS}}}[1m])) by (le))"


@contextmanager
def prometheus(targets: dict[int, dict[str, str]], folder: Path, *rules: Path) -> Iterator[int]:
    """One that scrapes ports, labels what they tell, and evaluates rules; its own port."""
    configured = [{"targets": [f"127.0.0.1:{port}"], "labels": labels} for port, labels in targets.items()]
    configuration = CONFIGURATION.format(targets=json.dumps(configured), rules=json.dumps([*map(str, rules)]))
    (folder / "prometheus.yml").write_text(configuration)
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                needs("prometheus"),
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stderr=log,
        )
    try:
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


def query(port: int, expression: str) -> list[dict]:
    """What it knows; nothing while it is starting."""
    url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return json.load(answer)["data"]["result"]
    except OSError:
        return []


def test_is_scraped_and_counts_what_was_asked(start: Callable[..., Replica], tmp_path: Path) -> None:
    replica = start("--workers", "2", "--app-version", "1.2")
    for path, (_, count) in ASKED.items():
        for _ in range(count):
            replica.ask(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    with prometheus({replica.port: {}}, tmp_path) as port:
        wait_until(lambda: query(port, 'http_requests_total{path="metrics"} > 1'), "two scrapes")
        counts = {row["metric"]["path"]: float(row["value"][1]) for row in query(port, "http_requests_total > 0")}
        assert counts.pop("metrics") > 1
        assert counts == dict(ASKED.values())
        assert query(port, "up")[0]["value"][1] == "1"
        assert query(port, "yinyang_build_info")[0]["metric"]["app_version"] == "1.2"
        assert query(port, "yinyang_pages_total")[0]["value"][1] == "7"


def test_flagger_sees_a_canary_that_fails_and_is_late(start: Callable[..., Replica], tmp_path: Path) -> None:
    """One of three: a sixth of all answers fails, and more than one in a hundred takes 300 ms."""
    faults = ("--error-rate", "50%", "--latency", "300ms")
    replicas = [start("--workers", "1", *options) for options in ((), (), faults)]
    labels = [{"kubernetes_namespace": "shop", "kubernetes_pod_name": f"web-7d4b9-{number}"} for number in range(3)]
    get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with prometheus(dict(zip((one.port for one in replicas), labels, strict=True)), tmp_path) as port:
        for replica in replicas:
            replica.ask(get * 9 + LAST)  # a series begins with its first sample, whatever that is
        wait_until(lambda: len(query(port, f'{COUNT}{{path="page"}} > 0')) == 4, "each series")
        before = [counted(replica) for replica in replicas]
        for _ in range(5):
            for replica in replicas:
                replica.ask(get * 19 + LAST)
        after = [counted(replica) for replica in replicas]
        failed, all_ = (sum(new[i] - old[i] for old, new in zip(before, after, strict=True)) for i in range(2))
        assert failed == 50
        wait_until(lambda: float(query(port, f'sum({COUNT}{{path="page"}})')[0]["value"][1]) == 330)
        found = float(query(port, SUCCESSES)[0]["value"][1])
        assert abs(found - 100 * (1 - failed / all_)) < 6  # a rate is extrapolated to the ends of its range
        assert 0.25 < float(query(port, DURATION)[0]["value"][1]) <= 0.5


def counted(replica: Replica) -> tuple[float, float]:
    """Answers that are errors, and all of them."""
    found = metrics(replica)
    counts = {key: value for key, value in found.items() if key[0] == COUNT}
    return sum(value for key, value in counts.items() if ("status", "5xx") in key), sum(counts.values())


# ---- what deploy/ has for Prometheus and Grafana --------------------------------------------------------------------


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The rules of the PrometheusRule, as the operator hands them to Prometheus."""
    [item] = parse((MONITORING / "rules.yaml").read_text())
    file = tmp_path / "rules.yml"
    file.write_text(module("yaml", "kubernetes-validate").safe_dump(item["spec"]))
    return file


def promtool(*arguments: str | Path) -> None:
    command = [needs("promtool"), *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_are_without_fault(rules: Path) -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", rules)


LABELLED = 'namespace="shop",pod="web-1"'
BUCKETS = [f'{BUCKET}{{{LABELLED},path="page",status="2xx",le="{le}"}}' for le in ("0.25", "0.5", "1", "+Inf")]
ALL_IS_WELL = {  # from one minute to the next
    f'http_requests_total{{{LABELLED},path="page",status="200"}}': "0+1000x10",
    f'http_requests_total{{{LABELLED},path="page",status="5xx"}}': "0+40x10",
    f'http_requests_total{{{LABELLED},path="readyz",status="503"}}': "0+1000x10",
    **dict(zip(BUCKETS, ["0+995x10", "0+995x10", "0+1000x10", "0+1000x10"], strict=True)),
    f"yinyang_workers{{{LABELLED}}}": "2x10",
    f"yinyang_workers_ready{{{LABELLED}}}": "2x10",
    f"yinyang_draining{{{LABELLED}}}": "0x10",
    f"yinyang_connections_shed_total{{{LABELLED}}}": "7x10",
    f'yinyang_build_info{{{LABELLED},app_version="v1"}}': "1x10",
}
ALERTS = {  # what is different when each is there
    "YinyangErrors": {f'http_requests_total{{{LABELLED},path="page",status="5xx"}}': "0+60x10"},
    "YinyangLate": dict.fromkeys(BUCKETS[:2], "0+985x10"),
    "YinyangWorkerMissing": {f"yinyang_workers_ready{{{LABELLED}}}": "1x10"},
    "YinyangConnectionsShed": {f"yinyang_connections_shed_total{{{LABELLED}}}": "7+1x10"},
    "YinyangGone": {f'yinyang_build_info{{{LABELLED},app_version="v1"}}': "_x10"},
}
NO_ALERTS = {
    "all is well": {},
    "draining": {f"yinyang_draining{{{LABELLED}}}": "1x10", f"yinyang_workers_ready{{{LABELLED}}}": "0x10"},
}


@pytest.mark.parametrize("case", [*ALERTS, *NO_ALERTS])
def test_alerts(case: str, rules: Path, tmp_path: Path) -> None:
    """Each is there when it should be, and then alone."""
    yaml = module("yaml", "kubernetes-validate")
    series = ALL_IS_WELL | (ALERTS | NO_ALERTS)[case]
    found = {rule["alert"]: rule for rule in yaml.safe_load(rules.read_text())["groups"][0]["rules"]}
    assert set(found) == set(ALERTS)
    query = 'count by (alertname, severity) (ALERTS{alertstate="firing"})'
    labels = f'{{alertname="{case}", severity="{found[case]["labels"]["severity"]}"}}' if case in found else ""
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": query, "eval_time": "8m", "exp_samples": [{"labels": labels, "value": 1}] if labels else []}
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [test]}))
    promtool("test", "rules", file)


def panels() -> list[dict]:
    return json.loads((MONITORING / "dashboard.json").read_text())["panels"]


def test_dashboard_is_complete() -> None:
    """What Grafana needs of each panel, of which none covers another."""
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    variables = {one["name"] for one in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard["panels"]))) - {"__rate_interval"}
    assert used == variables
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    taken = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24
    assert all(panel["title"] and panel["targets"] for panel in dashboard["panels"])


def of_metric(rule: dict) -> str:
    """What prometheus-adapter asks for its metric, of the pods of a namespace (its template is Go's)."""
    filled = rule["metricsQuery"].replace("<<.Series>>", rule["seriesQuery"].partition("{")[0])
    return filled.replace("<<.LabelMatchers>>", 'namespace="shop"').replace("<<.GroupBy>>", "pod")


def test_expressions_find_what_replicas_tell(start: Callable[..., Replica], rules: Path, tmp_path: Path) -> None:
    """Those of the dashboard, of the autoscaler and of the alerts, of which all that replicas can cause are caused."""
    faults = ("--error-rate", "50%", "--latency", "600ms", "--max-connections", "8")
    replicas = [start("--app-version", version, *options) for version, options in (("v1", ()), ("v2", faults))]
    labels = [{"namespace": "shop", "pod": f"web-{number}"} for number in range(2)]
    targets = dict(zip((one.port for one in replicas), labels, strict=True))
    with ExitStack() as opened, prometheus(targets, tmp_path, rules) as port:

        def found(expression: str) -> list[dict]:
            """What there is, once it is no division by zero; clients ask meanwhile."""
            filled = expression.replace("$namespace", ".*").replace("$__rate_interval", "1m")

            def rows() -> list[dict]:
                for replica in replicas:
                    replica.ask(LAST)
                rows = query(port, filled)
                return rows if all(row["value"][1] != "NaN" for row in rows) else []

            return wait_until(rows, expression)

        wait_until(lambda: len(query(port, "count_over_time(up[1m]) > 2")) == 2, "rates of both")
        for panel in panels():
            for target in panel["targets"]:
                rows = found(target["expr"])
                for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                    seen = {row["metric"][label] for row in rows}
                    assert seen == {"pod": {"web-0", "web-1"}, "app_version": {"v1", "v2"}}[label]
        [rule] = parse(ADAPTER.read_text())[0]["rules"]["custom"]
        assert found(rule["seriesQuery"])
        assert {row["metric"]["pod"] for row in found(of_metric(rule))} == {"web-0", "web-1"}
        assert query(port, "absent(yinyang_build_info)") == []

        os.kill(replicas[0].workers()[0], signal.SIGSTOP)  # it is replaced in a while
        for alert in "YinyangErrors", "YinyangLate", "YinyangWorkerMissing":
            found(f'ALERTS{{alertname="{alert}"}}')
        for _ in range(40):
            opened.enter_context(socket.create_connection(("127.0.0.1", replicas[1].port)))
        wait_until(lambda: query(port, 'ALERTS{alertname="YinyangConnectionsShed"}'), "shed connections")


def test_argo_rollouts_sees_a_canary_that_fails(start: Callable[..., Replica], tmp_path: Path) -> None:
    """The query of its template, about two versions of which one makes errors."""
    [template] = parse((DEPLOY / "rollouts/argo/prometheus.yaml").read_text())
    [metric] = template["spec"]["metrics"]
    assert metric["successCondition"] == "result[0] >= 0.99"
    replicas = [start("--workers", "1", "--error-rate", rate) for rate in ("0", "2%")]
    labels = [{"pod": f"yinyang-{version}-x2x4z"} for version in ("7d4b9", "86cfb")]
    targets = dict(zip((one.port for one in replicas), labels, strict=True))
    get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with prometheus(targets, tmp_path) as port:
        wait_until(lambda: len(query(port, "count_over_time(up[1m]) > 2")) == 2, "rates of both")
        for replica in replicas:
            replica.ask(get * 99 + LAST)
        wait_until(lambda: float(query(port, 'sum(http_requests_total{path="page"})')[0]["value"][1]) == 200)

        def share(version: str) -> float:
            asked = metric["provider"]["prometheus"]["query"].replace("{{args.version}}", version)
            return float(query(port, asked)[0]["value"][1])

        assert share("7d4b9") == 1
        assert 0.97 < share("86cfb") < 0.99
