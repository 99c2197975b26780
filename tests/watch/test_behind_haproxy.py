"""The watch behind a real balancer: does it find out what HAProxy does?"""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from balancers import Stage, replica, stage
from conftest import PATIENCE, wait_until

from watch.command import Watch, report, sampled

pytestmark = pytest.mark.proxies

SAME = ["--json", "--connection", "same"]


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[Stage]:
    """Three replicas."""
    with stage(tmp_path) as made:
        made.add("web-0", "web-1", "web-2")
        yield made


def test_even(replicas: Stage, watch: Watch) -> None:
    url = replicas.balance("haproxy").url
    found = report(watch(url, "--count", 300, "--rate", 1000, "--json", "--min-share", "30%"))
    assert [round(100 * replica["share"]) for replica in found["replicas"]] == [33, 33, 33]
    # the order of answers is not always that of requests
    assert found["verdict"]["kind"] in ("turns", "even so far", "early")
    assert all(one["holds"] for one in found["expectations"])


def test_weighted(replicas: Stage, watch: Watch) -> None:
    url = replicas.balance("haproxy", server=["weight 4", "weight 2", "weight 2"]).url
    done = watch(url, "--count", 800, "--rate", 1000, "--concurrency", 1, "--json", "--min-share", "30")  # in order
    found = report(done)
    assert found["verdict"]["kind"] in ("turns", "weighted")
    assert found["verdict"]["words"].startswith("web-0 gets ")
    shares = {replica["host"]: replica["share"] for replica in found["replicas"]}
    assert shares == pytest.approx({"web-0": 0.5, "web-1": 0.25, "web-2": 0.25}, abs=0.02)
    assert done.returncode == 1
    expected = r"\u2717 expected each replica gives at least 30 % of the answers, seen: web-[12] 2[3-5]\.\d % of \d+\n"
    assert re.search(expected, done.stderr)


def test_layer_4_is_sticky_by_connection(replicas: Stage, watch: Watch) -> None:
    url = replicas.balance("haproxy", mode="tcp").url
    found = report(watch(url, "--count", 600, "--rate", 500, "--concurrency", 50, *SAME))
    assert found["verdict"]["kind"] == "sticky by connection"
    assert found["connection"] == "same"


def test_layer_7_is_not_sticky_by_connection(replicas: Stage, watch: Watch) -> None:
    url = replicas.balance("haproxy").url
    found = report(watch(url, "--count", 300, "--rate", 500, *SAME))
    assert found["verdict"]["kind"] in ("turns", "even so far", "early")


def test_sticky_by_cookie(replicas: Stage, watch: Watch) -> None:
    url = replicas.balance("haproxy", sticky=True).url
    found = report(watch(url, "--count", 400, "--rate", 1000, "--json"))
    assert found["verdict"]["kind"] == "sticky by cookie"
    assert "that carried a cookie went back" in found["verdict"]["detail"]


def test_one_replica_by_source_address(replicas: Stage, watch: Watch) -> None:
    url = replicas.balance("haproxy", algorithm="source").url
    found = report(watch(url, "--count", 200, "--rate", 1000, "--json"))
    assert found["verdict"]["kind"] == "one"


def test_a_replica_is_killed(replicas: Stage, watch: Watch) -> None:
    url = replicas.balance("haproxy").url
    limits = ["--max-errors", 0, "--max-gap", "1ms", "--expect-replicas", 3]
    with watch.started(url, "--rate", 200, "--json", *limits) as process:
        killed, other = replicas.replicas["web-1"], replicas.replicas["web-2"]
        wait_until(lambda: sampled(killed.port) > 30, "some samples")
        killed.kill()
        before = sampled(other.port)
        wait_until(lambda: sampled(other.port) > before + 100, "more samples")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    found = report(subprocess.CompletedProcess([], process.returncode, output, errors))
    assert process.returncode == 1
    assert found["failures"].get("status 503", 0) > 30
    assert found["gap"]["longest"] > 0
    assert {replica["host"] for replica in found["replicas"] if replica["silent"]} == {"web-1"}
    assert "web-1" in found["verdict"]["words"]
    assert re.search(r"\u2717 expected at most 0 errors, +seen: \d+ of \d+ requests \(", errors)
    assert [line[0] for line in errors.splitlines()] == [*"\u2713\u2713\u2717\u2717"]


def test_a_rollout_that_nobody_notices(replicas: Stage, tmp_path: Path, watch: Watch) -> None:
    """Those that left give no share any more, and this is no failure; the new version reaches the share waited for."""
    balancer = replicas.balance("haproxy")
    limits = ["--max-errors", 0, "--min-share", "20%", "--rate", 200]
    waits = ["--by", "version", "--until", "v2 >= 50%", "--rate", 200, "--json"]
    with watch.started(balancer.url, *limits) as process, watch.started(balancer.url, *waits) as waiting:
        for number in range(3):
            wait_until(lambda number=number: sampled(replicas.replicas[f"web-{number}"].port) > 20, "some samples")
            new = replicas.replicas[f"new-{number}"] = replica(tmp_path, f"new-{number}", "--app-version", "v2")
            balancer.replace(f"web-{number}", new)
            wait_until(lambda new=new: sampled(new.port) > 20, "samples of the new one")
        wait_until(lambda: sampled(new.port) > 200, "enough of them")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
        told, _ = waiting.communicate(timeout=PATIENCE)
    assert (process.returncode, waiting.returncode) == (0, 0), output + errors
    assert "web-0 " in output.splitlines()[-1]
    assert json.loads(told)["ended"] == "until"
