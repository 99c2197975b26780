"""What the watch writes for programs: a line of JSON for each sample, JUnit XML, metrics, annotations."""

import importlib.util
import itertools
import json
import re
import signal
import socket
import urllib.request
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from conftest import PATIENCE, free_port, missing, read_all

from watch.command import Watch
from watch.servers import answering, says, says_each, whoami

FAILED = b"HTTP/1.1 503 Unavailable\r\nX-Served-By: web-b\r\nContent-Length: 0\r\n\r\n"


def test_a_line_for_each_sample(watch: Watch) -> None:
    answers = [whoami("web-a", "v1", "north", "n1"), FAILED, b"SSH-2.0\r\n\r\n"]
    with answering(says_each(answers)) as port:
        done = watch(f"http://127.0.0.1:{port}", "--count", 3, "--rate", 100, "--concurrency", 1, "--jsonl")
    run, answer, failed, other = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, done.stderr) == (0, "")
    assert (run["url"], run["connection"], run["asked_rate"]) == (f"http://127.0.0.1:{port}/whoami", "new", 100)
    assert [*answer] == ["at", "ms", "connection", "host", "short", "version", "zone", "node", "colours", "start_ms"]
    assert [answer[key] for key in ("connection", "host", "version", "zone", "node")] == [
        1, "web-a", "v1", "north", "n1",
    ]  # fmt: skip
    assert [*failed] == ["at", "ms", "connection", "failure", "served_by"]
    assert (failed["failure"], failed["served_by"]) == ("status 503", "web-b")
    assert [*other] == ["at", "ms", "connection", "failure"]
    moments = [datetime.fromisoformat(line["at"]) for line in (run, answer, failed, other)]
    assert moments == sorted(moments)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", run["at"])
    assert answer["ms"] > 0


def test_samples_with_a_cookie_say_whose_it_is(watch: Watch) -> None:
    body = whoami("web-a")
    with answering(says_each(itertools.repeat(body.replace(b"OK\r\n", b"OK\r\nSet-Cookie: SRV=a\r\n")))) as port:
        done = watch(f"http://127.0.0.1:{port}", "--count", 80, "--rate", 500, "--jsonl")
    lines = [json.loads(line) for line in done.stdout.splitlines()[1:]]
    assert {line.get("cookie_of") for line in lines} == {None, "web-a"}


def test_a_reader_of_samples_that_has_enough(web_lone: int, watch: Watch) -> None:
    with watch.started(f"http://127.0.0.1:{web_lone}", "--jsonl") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == 128 + signal.SIGPIPE


def test_expectations_as_junit(web_lone: int, tmp_path: Path, watch: Watch) -> None:
    path = tmp_path / "watch.xml"
    url = f"http://127.0.0.1:{web_lone}"
    done = watch(url, "--count", 5, "--rate", 100, "--max-errors", 0, "--expect", "<v2>=10%", "--junit", path)
    assert done.returncode == 1
    [suite] = ET.parse(path).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    names = {case.get("name"): case.find("failure") for case in suite}
    failed = names.pop("<v2> gives 10 % of the answers, give or take 5")
    assert failed.get("message").endswith("seen: no replica <v2>, but web-lone")
    assert names == {"an answer": None, "at most 0 errors": None}


def test_junit_of_a_watch_that_cannot_go_on(tmp_path: Path, watch: Watch) -> None:
    """One test case in error, where a pipeline would read an empty file, or that of a watch before."""
    path = tmp_path / "watch.xml"
    path.write_text("<testsuites />" * 99)
    with answering(says(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")) as port:
        done = watch(f"http://127.0.0.1:{port}", "--count", 1, "--max-errors", 0, "--junit", path)
    assert done.returncode == 2
    [suite] = ET.parse(path).getroot()
    assert [suite.get(key) for key in ("tests", "failures", "errors")] == ["1", "0", "1"]
    [case] = suite
    assert done.stderr == f"{watch.name}: {case.find('error').get('message')}\n"


def test_a_file_that_cannot_be_written(tmp_path: Path, watch: Watch) -> None:
    """It is found out at once."""
    done = watch("http://127.0.0.1:9/", "--duration", "1h", "--junit", tmp_path / "none" / "watch.xml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be written: no such file" in done.stderr.lower()


def test_annotations_for_github(web_lone: int, watch: Watch) -> None:
    url = f"http://127.0.0.1:{web_lone}"
    limits = ["--count", 5, "--rate", 100, "--expect", "v2=10%", "--max-errors", 0]
    done = watch(url, *limits, GITHUB_ACTIONS="true")
    [annotation] = [line for line in done.stderr.splitlines() if line.startswith("::")]
    assert annotation == (
        "::error title=yinyang.watch::"
        "expected v2 gives 10 %25 of the answers, give or take 5, seen: no replica v2, but web-lone"
    )
    assert "::" not in watch(url, *limits).stderr


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as response:
        return response.read().decode()


def ask(port: int, method: bytes, path: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(b"%b %b HTTP/1.1\r\n\r\n" % (method, path))
        return read_all(client)


def test_metrics_for_prometheus(watch: Watch) -> None:
    answers = itertools.cycle([whoami("web-a", "v1"), whoami('web-"b', "v2"), FAILED])
    port = free_port()
    with answering(says_each(answers)) as target:
        arguments = ["--concurrency", 1, "--rate", 200, "--jsonl", "--metrics", port]
        with watch.started(f"http://127.0.0.1:{target}", *arguments) as process:
            for _ in range(1 + 7):  # of the run, and of samples
                process.stdout.readline()
            text = get(port, "/metrics")
            refused = (b"GET / 404 Not Found", b"POST / 404 Not Found", b"POST /metrics 405 Method Not Allowed")
            for method, path, status in (line.split(b" ", 2) for line in refused):
                assert ask(port, method, path).startswith(b"HTTP/1.1 %b\r\n" % status)
            head, _, body = ask(port, b"HEAD", b"/metrics").partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert (int(re.search(rb"Content-Length: (\d+)", head)[1]) > 1000, body) == (True, b"")
            with socket.create_connection(("127.0.0.1", port), PATIENCE):  # one that says nothing holds nothing up
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    if not importlib.util.find_spec("prometheus_client"):
        missing("watch", "prometheus_client is not installed")
    parser = importlib.import_module("prometheus_client.parser")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }
    counted = [
        found["yinyang_watch_answers_total", "web-a", "v1"],
        found["yinyang_watch_answers_total", 'web-"b', "v2"],
        found["yinyang_watch_failures_total", "status 503"],
    ]
    assert min(counted) >= 2
    assert found["yinyang_watch_latency_seconds_count",] == sum(counted[:2])
    buckets = [value for key, value in found.items() if key[0] == "yinyang_watch_latency_seconds_bucket"]
    assert buckets == sorted(buckets)
    assert buckets[-1] == sum(counted[:2])
    assert found["yinyang_watch_longest_gap_seconds",] > 0


def test_a_port_that_is_taken(web_lone: int, watch: Watch) -> None:
    done = watch(f"http://127.0.0.1:{web_lone}", "--count", 1, "--metrics", web_lone)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"{watch.name}: cannot serve metrics at port {web_lone}: \S*ddress\b.* in use\n", done.stderr)
