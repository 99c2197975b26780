"""A real Prometheus scrapes the server, and counts what was asked."""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import LAST, PATIENCE, Replica, free_port, needs, wait_until
from test_routes import metrics

pytestmark = [pytest.mark.prometheus, pytest.mark.host]
ASKED = {"/": ("page", 7), "/whoami": ("whoami", 5), "/wall": ("wall", 3), "/livez": ("livez", 2)}
CONFIGURATION = """
global:
  scrape_interval: 100ms
  scrape_timeout: 100ms
scrape_configs:
  - job_name: yinyang
    static_configs: {targets}
"""
# What Flagger asks for a canary that no mesh counts (pkg/metrics/observers/http.go), with the labels that a pod's
# annotations give.
LABELS = 'kubernetes_namespace="shop",kubernetes_pod_name=~"web-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)"'
COUNT, BUCKET = "http_request_duration_seconds_count", "http_request_duration_seconds_bucket"
SUCCESSES = f'sum(rate({COUNT}{{{LABELS},status!~"5.*"}}[1m])) / sum(rate({COUNT}{{{LABELS}}}[1m])) * 100'
DURATION = f"histogram_quantile(0.99, sum(rate({BUCKET}{{{LABELS}}}[1m])) by (le))"


@contextmanager
def prometheus(targets: dict[int, dict[str, str]], folder: Path) -> Iterator[int]:
    """One that scrapes ports, and labels what they tell; its own port."""
    configured = [{"targets": [f"127.0.0.1:{port}"], "labels": labels} for port, labels in targets.items()]
    (folder / "prometheus.yml").write_text(CONFIGURATION.format(targets=json.dumps(configured)))
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
