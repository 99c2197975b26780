"""A real Prometheus scrapes the server, and counts what was asked."""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import PATIENCE, Replica, free_port, needs, wait_until

pytestmark = [pytest.mark.prometheus, pytest.mark.host]
ASKED = {"/": ("page", 7), "/whoami": ("whoami", 5), "/wall": ("wall", 3), "/livez": ("livez", 2)}
CONFIGURATION = """
global:
  scrape_interval: 100ms
  scrape_timeout: 100ms
scrape_configs:
  - job_name: yinyang
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


@contextmanager
def prometheus(target: int, folder: Path) -> Iterator[int]:
    """One that scrapes a port; its own."""
    (folder / "prometheus.yml").write_text(CONFIGURATION.format(port=target))
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
    with prometheus(replica.port, tmp_path) as port:
        wait_until(lambda: query(port, 'http_requests_total{route="metrics"} > 1'), "two scrapes")
        counts = {row["metric"]["route"]: float(row["value"][1]) for row in query(port, "http_requests_total > 0")}
        assert counts.pop("metrics") > 1
        assert counts == dict(ASKED.values())
        assert query(port, "up")[0]["value"][1] == "1"
        assert query(port, "yinyang_build_info")[0]["metric"]["app_version"] == "1.2"
        assert query(port, "yinyang_pages_total")[0]["value"][1] == "7"
