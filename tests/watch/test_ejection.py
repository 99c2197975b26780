"""Balancers that eject a replica for its errors, and take it back: what --error-rate is for."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Replica, wait_until
from forwarders import PLAIN, asked, forwarding

from watch.command import Watch, report

pytestmark = pytest.mark.proxies
Start = Callable[..., Replica]

# Three errors in a row eject a replica, for a moment.
ENVOY = PLAIN["envoy"].replace(
    "  - name: replica\n",
    """  - name: replica
    outlier_detection:
      consecutive_5xx: 3
      interval: 0.2s
      base_ejection_time: 1s
      max_ejection_time: 1s
      max_ejection_time_jitter: 0s
      max_ejection_percent: 40
""",
)
HAPROXY = PLAIN["haproxy"].replace(
    "    server replica 127.0.0.1:{replica}\n",
    """    balance roundrobin
    option httpchk GET /readyz
    default-server check inter 500ms rise 2 fall 2 observe layer7 error-limit 3 on-error mark-down
""",
)
EJECTING = {"envoy": ENVOY, "haproxy": HAPROXY}


@contextlib.contextmanager
def balancing(tool: str, replicas: list[Replica], folder: Path) -> Iterator[int]:
    configuration = EJECTING[tool]
    if tool == "envoy":
        [line] = re.findall(r" *- endpoint: .*\n", configuration)
        lines = [line.replace("{replica}", str(one.port)) for one in replicas]
        configuration = configuration.replace(line, "".join(lines))
    else:
        configuration += "".join(f"    server web-{i} 127.0.0.1:{one.port}\n" for i, one in enumerate(replicas))
    with forwarding(tool, configuration, folder, 0) as port:
        yield port


def served_by(port: int, count: int) -> list[str]:
    answers = [asked(port, "/whoami")[0] for _ in range(count)]
    return [re.search(rb"(?i)\r\nX-Served-By: (\S+)", answer)[1].decode() for answer in answers]


@pytest.mark.parametrize("tool", EJECTING)
def test_a_replica_that_fails_is_ejected_and_comes_back(tool: str, start: Start, tmp_path: Path) -> None:
    """Nobody else is, and none of its own errors says more than that it is one."""
    names = ["web-0", "web-1", "web-2"]
    rates = ["0", "0", "50%"]
    replicas = [
        start("--host", "127.0.0.1", "--workers", "1", "--name", name, "--error-rate", rate)
        for name, rate in zip(names, rates, strict=True)
    ]
    with balancing(tool, replicas, tmp_path) as port:
        assert {*served_by(port, 3)} == {*names}
        wait_until(lambda: "web-2" not in served_by(port, 9), "web-2 to be ejected")
        wait_until(lambda: "web-2" in served_by(port, 9), "web-2 to be back")
        assert {"web-0", "web-1"} <= {*served_by(port, 9)}


@pytest.mark.parametrize("tool", EJECTING)
def test_the_watch_tells_it(tool: str, start: Start, tmp_path: Path, watch: Watch) -> None:
    """The errors, by their status; and that one replica gives fewer answers than the others."""
    replicas = [
        start("--host", "127.0.0.1", "--workers", "1", "--name", f"web-{i}", "--error-rate", "50%" if i == 2 else "0")
        for i in range(3)
    ]
    with balancing(tool, replicas, tmp_path) as port:
        told = report(watch(f"http://127.0.0.1:{port}", "--count", 400, "--rate", 100, "--json", "--max-errors", 0))
    assert [*told["failures"]] == ["status 503"]
    assert told["errors"] == told["failures"]["status 503"] > 0
    answers = {one["host"]: one["answers"] for one in told["replicas"]}
    assert answers["web-2"] < min(answers["web-0"], answers["web-1"]) / 2
    assert {one["expected"]: one["holds"] for one in told["expectations"]}["at most 0 errors"] is False
