"""deploy/k6.js and deploy/locustfile.py, and the files for several machines: load on replicas behind HAProxy."""

import contextlib
import csv
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from balancers import Balancer, Stage, replica, stage
from conftest import PATIENCE, ROOT, Shape, clean_environment, free_port, wait_until
from load_engines import program
from manifests import module
from watch.command import metric, sampled

pytestmark = [pytest.mark.static, pytest.mark.proxies]

SCRIPT, LOCUSTFILE = ROOT / "deploy/k6.js", ROOT / "deploy/locustfile.py"
TESTRUN, COMPOSE = ROOT / "deploy/k6-testrun.yaml", ROOT / "deploy/compose.locust.yaml"
GUIDE = ROOT / "docs/load.md"
ENVIRONMENT = {"K6_NO_USAGE_REPORT": "true", "LC_ALL": "C.UTF-8"}
FAILED = {"k6": 99, "locust": 1}  # the exit code if an expectation does not hold


class Row(NamedTuple):
    requests: int
    failed: int
    share: float


class Seen:
    """What an engine has printed at its end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.output, self.log = process.communicate(timeout=3 * PATIENCE)
        self.code = process.returncode
        assert re.search(r"^\d+ requests, ", self.output, re.M), self.log
        self.requests, self.failed = map(int, re.search(r"(\d+) requests, .*, (\d+) failed", self.output).groups())
        self.versions, self.replicas = self.table("version"), self.table("replica")
        self.expectations = dict(re.findall(r"^[✓✗] expected (.*), seen: (.*)$", self.output, re.M))
        self.broken = re.findall(r"^✗ expected (.*), seen: ", self.output, re.M)
        for table in self.versions, self.replicas:
            assert sum(row.requests for row in table.values()) == self.requests
            assert sum(row.failed for row in table.values()) == self.failed

    def table(self, by: str) -> dict[str, Row]:
        lines = re.search(rf"^{by} +requests  failed    share\n((?:.+\n)*)", self.output, re.M)[1]
        rows = re.findall(r"^(.+?) +(\d+) +(\d+) +([\d.]+) %$", lines, re.M)
        return {name: Row(int(requests), int(failed), float(share)) for name, requests, failed, share in rows}


@contextlib.contextmanager
def started(command: Sequence[str], **variables: str) -> Iterator[subprocess.Popen[str]]:
    given = clean_environment() | ENVIRONMENT | variables
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=given, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


LONG = f"{PATIENCE:g}s"  # longer than a test


def command(engine: str, url: str, *, users: int = 15, seconds: int = 2, **expected: str) -> list[str]:
    """Ten requests a second for each user: by k6 for so many seconds. What is expected has the names of Locust's
    options."""
    if engine == "locust":
        options = [f"--{name.replace('_', '-')}={value}" for name, value in expected.items()]
        load = [f"--users={users}", f"--spawn-rate={users}", f"--run-time={LONG}"]
        return [program(engine), "-f", str(LOCUSTFILE), "--headless", f"--host={url}", *load, *options]
    variables = {"url": url, "rate": str(10 * users), "duration": f"{seconds}s"} | expected
    options = [word for name, value in variables.items() for word in ("-e", f"{name.upper()}={value}")]
    return [program(engine), "run", "--quiet", "--address=127.0.0.1:0", *options, str(SCRIPT)]


def ended(process: subprocess.Popen[str], cast: Stage, answers: int = 300) -> Seen:
    """Locust is ended after so many answers, as nobody knows how long its start takes; k6 ends by itself."""
    if "k6" not in Path(process.args[0]).name:
        wait_until(lambda: sum(sampled(one.port) for one in cast.replicas.values()) >= answers, "load")
        process.terminate()
    return Seen(process)


def run(engine: str, cast: Stage, **given: object) -> Seen:
    with started(command(engine, cast.balancer.url, **given)) as process:
        return ended(process, cast)


@pytest.fixture
def cast(static_program: Path, tmp_path: Path) -> Iterator[Stage]:
    """Replicas of two versions, without a balancer."""
    with stage(tmp_path, Shape(str(static_program))) as made:
        made.add("web-0", version="v1")
        made.add("web-1", version="v2")
        yield made


def weighted(cast: Stage, *weights: int, **options: object) -> Balancer:
    return cast.balance("haproxy", server=[f"weight {weight}" for weight in weights], **options)


engines = pytest.mark.parametrize("engine", ["k6", "locust"])


@engines
@pytest.mark.parametrize(("weights", "broken"), [((90, 10), False), ((50, 50), True)], ids=["holds", "fails"])
def test_shares(engine: str, weights: tuple[int, int], broken: bool, cast: Stage) -> None:
    balancer = weighted(cast, *weights)
    seen = run(engine, cast, expect="v2=10%+-3", expect_replicas="2")
    assert seen.code == (FAILED[engine] if broken else 0), seen.output
    assert seen.broken == ["v2 to give 10 % of the answers, give or take 3"] * broken
    assert seen.expectations["2 replicas"] == "2"
    assert seen.failed == 0
    counted = balancer.counted()
    for version, name, weight in ("v1", "web-0", weights[0]), ("v2", "web-1", weights[1]):
        assert seen.versions[version] == seen.replicas[name]
        assert seen.versions[version].share == pytest.approx(weight, abs=3)
        assert seen.replicas[name].requests <= counted[name]


@engines
def test_replica_that_is_missing(engine: str, cast: Stage) -> None:
    """No health check, no request: nobody but the number of replicas shows it."""
    weighted(cast, 100, 0)
    seen = run(engine, cast, expect_replicas="2", seconds=1)
    assert (seen.code, seen.broken) == (FAILED[engine], ["2 replicas"])
    assert [*seen.replicas] == ["web-0"]


@engines
@pytest.mark.parametrize(("allowed", "broken"), [("0", True), ("99", False)])
def test_replica_that_is_killed(engine: str, allowed: str, broken: bool, cast: Stage) -> None:
    """HAProxy does not check, and answers 503, which no replica has signed."""
    balancer = weighted(cast, 50, 50)
    one = cast.replicas["web-1"]
    with started(command(engine, balancer.url, seconds=5, max_failed=allowed)) as process:
        wait_until(lambda: sampled(one.port) > 120, "load")  # k6 looks at the replicas first, with 120 requests
        one.kill()
        del cast.replicas["web-1"]
        seen = ended(process, cast)
    assert seen.code == (FAILED[engine] if broken else 0), seen.output
    assert seen.broken == ["at most 0 % of requests to fail"] * broken
    assert 0 < seen.failed == seen.replicas["(none)"].failed == seen.replicas["(none)"].requests
    assert seen.replicas["web-1"].failed == seen.replicas["web-0"].failed == 0
    assert 0 < seen.replicas["web-1"].requests < seen.replicas["web-0"].requests


@engines
def test_failures_have_the_name_of_the_replica(engine: str, static_program: Path, tmp_path: Path) -> None:
    with stage(tmp_path, Shape(str(static_program))) as cast:
        cast.add("web-0", version="v1")
        faulty = ("--app-version", "v2", "--error-rate", "20%")
        cast.replicas["web-1"] = replica(tmp_path, "web-1", *faulty, shape=Shape(str(static_program)))
        weighted(cast, 50, 50)
        seen = run(engine, cast, max_failed="11")
    assert seen.replicas["web-0"].failed == 0
    assert 0 < seen.replicas["web-1"].failed == seen.versions["v2"].failed
    assert seen.failed / seen.requests == pytest.approx(0.1, abs=0.05)


@engines
def test_answers_of_others_are_failures(engine: str, cast: Stage) -> None:
    """A page of something else that stands there, with status 200."""
    one = cast.replicas["web-0"]
    with started(command(engine, f"{weighted(cast, 100, 0).url}/somewhere", max_failed="100")) as process:
        if engine == "locust":
            wait_until(lambda: metric(one.port, 'http_requests_total{status="200",path="page"}') > 20, "load")
            process.terminate()
        seen = Seen(process)
    assert seen.code != 0
    assert seen.broken == ["an answer"]


@engines
def test_nobody_answers(engine: str) -> None:
    arguments = command(engine, f"http://127.0.0.1:{free_port()}", seconds=1)
    with started([word.replace(LONG, "2s") for word in arguments]) as process:
        output, log = process.communicate(timeout=3 * PATIENCE)
    assert process.returncode != 0
    assert "no replica answers at http" in log or "✗ expected an answer, seen: 0 answers" in output


@engines
@pytest.mark.parametrize("expect", ["v2", "v2=", "=10"])
def test_share_that_is_none(engine: str, expect: str) -> None:
    with started(command(engine, "http://127.0.0.1:9", expect=expect)) as process:
        _, log = process.communicate(timeout=3 * PATIENCE)
    assert process.returncode != 0
    assert f"{expect} is not a share such as v2=10%+-3" in log


@engines
@pytest.mark.parametrize("kept", ["connection", "cookie"])
@pytest.mark.parametrize(("connection", "replicas"), [("new", 8), ("same", 1)])
def test_client_that_comes_again(engine: str, kept: str, connection: str, replicas: int, cast: Stage) -> None:
    """One client, behind a balancer of connections or one that sets a cookie."""
    cast.add(*(f"web-{number}" for number in range(2, 8)))
    balancer = cast.balance("haproxy", mode="tcp") if kept == "connection" else cast.balance("haproxy", sticky=True)
    arguments = command(engine, balancer.url, users=1, connection=connection)
    if engine == "k6":
        arguments[2:2] = ["--vus=1", "--iterations=20"]
    with started(arguments) as process:
        seen = ended(process, cast, 20)
    assert seen.code == 0, seen.output
    assert len(seen.replicas) == replicas
    assert {*seen.replicas} <= {*cast.replicas}
    if kept == "cookie":
        connections = int(re.search(r"^CumConns: (\d+)$", balancer.tell("show info"), re.M)[1])
        answers = sum(balancer.counted().values())
        assert connections >= answers if connection == "new" else connections < answers / 2


@engines
def test_replica_that_comes_later(engine: str, static_program: Path, cast: Stage) -> None:
    balancer = weighted(cast, 50, 50)
    arguments = command(engine, balancer.url, seconds=5, expect="v3=50%+-49")
    points = cast.folder / "points"
    if engine == "k6":
        arguments[2:2] = ["--out", f"json={points}"]
    with started(arguments) as process:
        wait_until(lambda: sampled(cast.replicas["web-1"].port) > 120, "load")
        later = ("--app-version", "v3")
        cast.replicas["web-2"] = replica(cast.folder, "web-2", *later, shape=Shape(str(static_program)))
        balancer.replace("web-1", cast.replicas["web-2"])
        wait_until(lambda: sampled(cast.replicas["web-2"].port) > 30, "load on the new one")
        seen = ended(process, cast)
    assert seen.code == 0, seen.output
    assert seen.versions["v3"].requests == seen.replicas["(others)" if engine == "k6" else "web-2"].requests > 0
    if engine == "k6":
        assert re.search(r'"replica":"web-2".*"version":"v3"', points.read_text())


def test_tables_of_locust(cast: Stage) -> None:
    """Its own, as a file, by replica and version. It is written each second."""
    table = cast.folder / "load_stats.csv"
    arguments = command("locust", weighted(cast, 50, 50).url)
    with started([*arguments, f"--csv={cast.folder / 'load'}"]) as process:
        wait_until(
            lambda: table.exists() and {"web-0", "web-1"} <= {*re.split("[,\n]", table.read_text())}, "the table"
        )
        seen = ended(process, cast)
    with table.open() as file:
        rows = {(row["Type"], row["Name"]): int(row["Request Count"]) for row in csv.DictReader(file)}
    assert 0 < rows[("v1", "web-0")] <= seen.replicas["web-0"].requests
    assert 0 < rows[("v2", "web-1")] <= seen.replicas["web-1"].requests


def test_watch_agrees_with_k6(cast: Stage, static_program: Path) -> None:
    """Both look at the same time, through the same balancer, whose turns each of them sees a part of."""
    balancer = weighted(cast, 80, 20)
    look = ["watch", balancer.url, "--by", "version", "--rate", "100", "--count", "300", "--json"]
    with started(command("k6", balancer.url, seconds=4)) as k6, started([str(static_program), *look]) as watch:
        output, log = watch.communicate(timeout=3 * PATIENCE)
        seen = Seen(k6)
    assert (watch.returncode, seen.code) == (0, 0), log
    shares = {group["name"]: 100 * group["share"] for group in json.loads(output)["groups"]}
    assert shares == pytest.approx({version: row.share for version, row in seen.versions.items()}, abs=15)
    assert shares["v2"] == pytest.approx(20, abs=10)


# ---- several machines -----------------------------------------------------------------------------------------------


def loaded(file: Path) -> dict:
    return module("yaml", "kubernetes-validate").safe_load(file.read_text())


def test_runners_of_the_operator(cast: Stage, tmp_path: Path) -> None:
    """The variables of the TestRun, in what the k6-operator starts: `k6 archive`, `k6 inspect`, and then a runner for
    each segment of the load."""
    spec = loaded(TESTRUN)["spec"]
    variables = {one["name"]: one["value"] for one in spec["runner"]["env"]}
    cast.add("web-2")
    variables |= {"URL": weighted(cast, 10, 10, 10).url, "DURATION": "2s"}
    k6, archive = program("k6"), str(tmp_path / "k6.tar")
    given = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
    for step in ["archive", str(SCRIPT), *given, "-O", archive], ["inspect", "--execution-requirements", archive]:
        with started([k6, *step]) as process:
            output, log = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, log
    assert json.loads(output)["maxVUs"] >= int(variables["RATE"]) / 10
    assert spec["parallelism"] == 2
    parts = [("0:1/2", "0,1/2,1"), ("1/2:1", "0,1/2,1")]
    with contextlib.ExitStack() as runners:
        processes = [
            runners.enter_context(
                started(
                    [
                        *(k6, "run", "--quiet", f"--execution-segment={part}", f"--execution-segment-sequence={all_}"),
                        *(str(SCRIPT), "--address=127.0.0.1:0"),
                    ],
                    **variables,
                )
            )
            for part, all_ in parts
        ]
        seen = [Seen(process) for process in processes]
    for one in seen:
        assert one.code == 0, one.log
        assert 0 < one.requests <= 101


def test_testrun_and_its_lines() -> None:
    testrun, text = loaded(TESTRUN), TESTRUN.read_text()
    config = testrun["spec"]["script"]["configMap"]
    assert f"kubectl create configmap {config['name']} --from-file deploy/{config['file']}\n" in text
    assert SCRIPT.name == config["file"]
    assert text.count(f"k6_cr={testrun['metadata']['name']},runner=true") == 2
    assert testrun["spec"]["runner"]["image"].endswith(
        ":" + re.search(r" go\.k6\.io/k6@v(\S+) ", (ROOT / "tools/install-k6").read_text())[1]
    )


def filled(command: Sequence[str], **given: str) -> list[str]:
    """With the defaults of the variables of Compose, where they are not given."""
    return [re.sub(r"\$\{(\w+):-(.*?)\}", lambda found: given.get(found[1], found[2]), word) for word in command]


def with_workers(master: Sequence[str], worker: Sequence[str], cast: Stage) -> Seen:
    """What a master with two workers has seen, on a port of their own."""
    port = free_port()
    first = [program("locust"), *master, "--master-bind-host=127.0.0.1", f"--master-bind-port={port}"]
    others = [program("locust"), *worker, f"--master-port={port}"]
    with started(first) as leader, started(others) as one, started(others) as two:
        seen = ended(leader, cast)
        for process in one, two:
            output, log = process.communicate(timeout=PATIENCE)
            assert "expected" not in output
            assert process.returncode == 0, log
    return seen


@pytest.mark.parametrize(("expect", "code"), [("v1=90%", 0), ("v1=100%", 1)])
def test_workers_of_the_compose_file(expect: str, code: int, cast: Stage) -> None:
    """Its arguments, as processes."""
    services = loaded(COMPOSE)["services"]
    balancer = weighted(cast, 90, 10)
    master = filled(services["master"]["command"], WORKERS="2", DURATION=LONG, EXPECT=expect)
    master[master.index("--host=http://balancer:8080")] = f"--host={balancer.url}"
    assert services["worker"]["command"] == ["--worker", "--master-host=master"]
    file = ["-f", str(LOCUSTFILE)]
    seen = with_workers([*file, *master], [*file, "--worker", "--master-host=127.0.0.1"], cast)
    assert seen.code == code, seen.output
    assert seen.versions["v1"].share == pytest.approx(90, abs=3)
    assert 0 < seen.requests <= sum(balancer.counted().values())


def test_workers_of_the_guide(cast: Stage) -> None:
    master, worker = [line for line in guide_lines() if re.search("--(master|worker) ", line)]
    balancer = weighted(cast, 80, 20)
    shorter = shlex.split(master.replace("http://localhost:8080", balancer.url).replace("30s", LONG))
    assert with_workers(shorter[1:], shlex.split(worker)[1:], cast).code == 0


def test_compose_file() -> None:
    """It follows its specification, and joins the network of the replicas."""
    module("check_jsonschema", "check-jsonschema")
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(check, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    compose, replicas = loaded(COMPOSE), loaded(ROOT / "deploy/compose.yaml")
    assert filled([compose["networks"]["replicas"]["name"]]) == [f"{replicas['name']}_default"]
    assert "balancer" in replicas["services"]
    assert compose["services"]["worker"]["depends_on"] == ["master"]
    pinned = re.search(r"^locust==(.+)$", (ROOT / "tests/requirements-load.txt").read_text(), re.M)[1]
    for service in compose["services"].values():
        assert service["image"] == f"locustio/locust:{pinned}"
        [volume] = service["volumes"]
        assert volume.startswith(f"./{LOCUSTFILE.name}:{service['working_dir']}/locustfile.py")


# ---- the guide ------------------------------------------------------------------------------------------------------


def guide_lines() -> list[str]:
    text = GUIDE.read_text().replace("\\\n        ", "")
    return re.findall(r"^    ((?:k6|locust) .*)$", text, re.M)


@pytest.mark.parametrize("line", [line for line in guide_lines() if not re.search("--(master|worker) ", line)])
def test_line_of_the_guide(line: str, cast: Stage) -> None:
    """Each holds behind the weights of deploy/haproxy.cfg, and not behind others if it expects a share."""
    for weights, broken in ((80, 20), False), ((50, 50), True):
        if broken and "v2=20%" not in line:
            continue
        balancer = weighted(cast, *weights)
        words = [word.replace("http://localhost:8080", balancer.url) for word in shlex.split(line)]
        engine = words[0]
        other = [word.replace("30s", "3s" if engine == "k6" else LONG) for word in words]
        assert other != words
        before = sum(sampled(one.port) for one in cast.replicas.values())
        with started([program(engine), *other[1:]]) as process:
            seen = ended(process, cast, before + 300)
        assert seen.code == (FAILED[engine] if broken else 0), seen.output + seen.log
        balancer.stop()


def test_guide_shows_both_engines_and_all_settings() -> None:
    text = GUIDE.read_text()
    assert {line.split()[0] for line in guide_lines()} == {"k6", "locust"}
    settings = {
        *re.findall(r"^// ([A-Z_]{3,})", SCRIPT.read_text(), re.M),
        *re.findall(r'"(--[a-z-]+)"', LOCUSTFILE.read_text()),
    }
    assert len(settings) == 6 + 4
    for setting in settings:
        assert setting in text, setting
