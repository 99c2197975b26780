"""docs/watch.md: each line of its table of moments in tutorials, played with the static program behind a real proxy.

A play runs the line as it stands there, with the address of the proxy as the host, where it should hold, and mostly
where it should not as well. What is added makes it shorter: more requests a second, and an end.
"""

import contextlib
import json
import re
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from balancers import Stage, stage
from conftest import PATIENCE, ROOT, Replica, Shape, clean_environment, free_port, wait_until
from forwarders import PLAIN, forwarding
from test_activation import handing, listening
from watch.command import report, sampled

pytestmark = [pytest.mark.static, pytest.mark.proxies]

ROW = re.compile(r"^\| (.+?) \| (.+?) \| (`watch .+) \|$", re.M)


def moments() -> dict[str, list[str]]:
    """The lines for each page."""
    text = (ROOT / "docs/watch.md").read_text()
    return {page: re.findall(r"`(watch .+?)`", lines) for page, _, lines in ROW.findall(text)}


MOMENTS = moments()


def at(line: str, port: int) -> list[str]:
    """The arguments of a line, for a proxy at this port."""
    command, url, *options = shlex.split(line)
    assert command == "watch"
    parts = urlsplit(url)
    return [command, urlunsplit(parts._replace(netloc=f"127.0.0.1:{port}")), *options]


class Scene:
    """Replicas of the static program, a folder for a proxy, and the watch."""

    def __init__(self, program: Path, cast: Stage) -> None:
        self.program = program
        self.cast = cast
        self.folder = cast.folder

    def replica(self, name: str, *options: str, **variables: str) -> Replica:
        common = ("--host", "127.0.0.1", "--workers", "1", "--name", name, *options)
        started = Shape(str(self.program)).replica(self.folder / name, *common, **variables)
        self.cast.replicas[name] = started
        started.wait_for_port()
        return started

    def versions(self, *versions: str) -> list[Replica]:
        """One replica of each."""
        return [self.replica(f"web-{version}", "--app-version", version) for version in versions]

    def watch(self, line: str, port: int, *more: object) -> tuple[int, dict]:
        """Run a line that ends; its exit code and its report."""
        with self.watching(line, port, *more) as process:
            output, errors = process.communicate(timeout=3 * PATIENCE)
        return process.returncode, report(subprocess.CompletedProcess([], process.returncode, output, errors))

    @contextlib.contextmanager
    def watching(self, line: str, port: int, *more: object) -> Iterator[subprocess.Popen[str]]:
        command = [str(self.program), *at(line, port), "--json", *map(str, more)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=clean_environment()) as process:
            try:
                yield process
            finally:
                process.kill()

    def stop(self, process: subprocess.Popen[str]) -> dict:
        """Press Ctrl-C; the report."""
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
        return report(subprocess.CompletedProcess([], process.returncode, output, errors))


@pytest.fixture
def scene(static_program: Path, tmp_path: Path) -> Iterator[Scene]:
    with stage(tmp_path, Shape(str(static_program))) as cast:
        yield Scene(static_program, cast)


# ---- the proxies ----------------------------------------------------------------------------------------------------


def template(configuration: object) -> str:
    """A configuration as JSON, which is YAML too, for str.format(); "PORT" becomes the port."""
    return json.dumps(configuration).replace("{", "{{").replace("}", "}}").replace('"PORT"', "{port}")


def address(port: object) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


TYPE = "type.googleapis.com/envoy.extensions.filters"


def envoy(routes: Sequence[dict], clusters: dict[str, dict]) -> str:
    router = {"name": "router", "typed_config": {"@type": f"{TYPE}.http.router.v3.Router"}}
    manager = {
        "@type": f"{TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "all",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": list(routes)}]},
        "http_filters": [router],
    }
    listener = {
        "address": address("PORT"),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    named = [{"name": name, **cluster} for name, cluster in clusters.items()]
    return template({"static_resources": {"listeners": [listener], "clusters": named}})


def cluster(name: str, replicas: Sequence[Replica], **settings: object) -> dict:
    endpoints = [{"endpoint": {"address": address(one.port)}} for one in replicas]
    return {"load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}, **settings}


def split(weights: dict[str, int], replicas: Sequence[Replica]) -> str:
    """Envoy with a weight for each of the replicas, as a VirtualService or an HTTPRoute has it."""
    targets = [{"name": name, "weight": weight} for name, weight in weights.items()]
    route = {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": targets}}}
    return envoy([route], {name: cluster(name, [one]) for name, one in zip(weights, replicas, strict=True)})


def traefik(weights: dict[int, int]) -> str:
    """The routes of Traefik, with weights of ports."""
    servers = {f"at-{port}": {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{port}"}]}} for port in weights}
    weighted = {"services": [{"name": f"at-{port}", "weight": weight} for port, weight in weights.items()]}
    router = {"rule": "PathPrefix(`/`)", "service": "all"}
    return template({"http": {"routers": {"all": router}, "services": {**servers, "all": {"weighted": weighted}}}})


# ---- the plays ------------------------------------------------------------------------------------------------------

Play = Callable[[Scene, list[str]], None]
PLAYS: dict[str, Play] = {}


def plays(page: str) -> Callable[[Play], Play]:
    def register(play: Play) -> Play:
        PLAYS[page] = play
        return play

    return register


@plays("Kubernetes, *Running Multiple Instances of Your App*")
def instances(scene: Scene, lines: list[str]) -> None:
    """Four replicas behind a balancer of connections, which chooses at random; and two."""
    scene.cast.add("web-0", "web-1", "web-2", "web-3")
    balancer = scene.cast.balance("haproxy", mode="tcp", algorithm="random(1)")
    code, found = scene.watch(lines[0], balancer.port, "--rate", 300, "--count", 400)
    assert (code, len(found["replicas"])) == (0, 4)
    for gone in "web-2", "web-3":
        balancer.tell(f"set server replicas/{gone} state maint")
    assert scene.watch(lines[0], balancer.port, "--rate", 300, "--count", 100)[0] == 1


SCALING = PLAIN["haproxy"].replace(
    "    server replica 127.0.0.1:{replica}\n",
    """    balance roundrobin
    retries 3
    option redispatch 1
    retry-on conn-failure
    option httpchk GET /readyz
    default-server check inter 200ms rise 1 fall 1
""",
)


@plays("Kubernetes, *HorizontalPodAutoscaler Walkthrough*")
def autoscaler(scene: Scene, lines: list[str]) -> None:
    """Answers cost CPU time; two replicas are added, which get their part of it."""
    later = [free_port(), free_port()]
    replicas = [scene.replica(f"web-{number}", "--burn", "20ms") for number in range(2)]
    ports = [*(one.port for one in replicas), *later]
    servers = "".join(f"    server web-{number} 127.0.0.1:{port}\n" for number, port in enumerate(ports))
    with forwarding("haproxy", SCALING + servers, scene.folder, 0) as port, scene.watching(lines[0], port) as process:
        wait_until(lambda: all(sampled(one.port) > 10 for one in replicas), "load on both")
        for one in replicas:  # no other work could have cost so much
            assert cpu_time(one) >= 10 * 0.02
        for number, port_ in enumerate(later, 2):
            replicas.append(scene.replica(f"web-{number}", "--burn", "20ms", "--port", str(port_)))
        wait_until(lambda: all(sampled(one.port) > 10 for one in replicas), "load on all four")
        found = scene.stop(process)
    assert (len(found["replicas"]), found["errors"], process.returncode) == (4, 0, 0)


def cpu_time(replica: Replica) -> float:
    """Seconds that its workers have had."""
    ticks = 0
    for pid in replica.workers():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


@plays("container.training, *Exposing containers*")
def interruption(scene: Scene, lines: list[str]) -> None:
    """A Service with one replica: it is steady, and then it is replaced by one that comes late."""
    one = scene.replica("web-0")
    balancer = scene.cast.balance("haproxy", mode="tcp")
    assert scene.watch(lines[0], balancer.port, "--rate", 300, "--count", 100)[0] == 0
    with scene.watching(lines[0], balancer.port, "--rate", 200) as process:
        wait_until(lambda: sampled(one.port) > 150, "some samples")
        one.kill()
        time.sleep(0.6)  # it is this late
        other = scene.replica("web-1", "--port", str(one.port))
        wait_until(lambda: sampled(other.port) > 20, "samples of the new one")
        found = scene.stop(process)
    assert found["gap"]["longest"] > 0.6
    assert found["errors"] > 0
    [limit] = [one for one in found["expectations"] if "gap" in one["expected"]]
    assert not limit["holds"]


@plays("EKS Workshop, Gateway API canary")
def eks(scene: Scene, lines: list[str]) -> None:
    """Traefik with 90:10, and with 80:20."""
    old, new = scene.versions("v1", "v2")
    for weights, expected in ((90, 10), 0), ((80, 20), 1):
        routes = traefik(dict(zip((old.port, new.port), weights, strict=True)))
        with forwarding("traefik", PLAIN["traefik"], scene.folder, 0, routes) as port:
            code, found = scene.watch(lines[0], port, "--rate", 300, "--count", 600)
        assert code == expected
        shares = {group["name"]: group["share"] for group in found["groups"]}
        assert shares["v2"] == pytest.approx(weights[1] / 100, abs=0.03)


def halves(old: str, new: str) -> Play:
    """Envoy with 50:50, and with 90:10."""

    def play(scene: Scene, lines: list[str]) -> None:
        replicas = scene.versions(old, new)
        for weights, expected in ((50, 50), 0), ((90, 10), 1):
            configuration = split(dict(zip((old, new), weights, strict=True)), replicas)
            with forwarding("envoy", configuration, scene.folder, 0) as port:
                count = (1600, 400)[expected]  # of 1,600, chance alone misses half by 5 points once in 10,000
                assert scene.watch(lines[0], port, "--rate", 400, "--count", count)[0] == expected

    return play


plays("Cilium, *Traffic Splitting*")(halves("v1", "v2"))
plays("Istio, *Traffic Shifting*")(halves("v1", "v3"))


@plays("Istio, *Locality Failover*")
def failover(scene: Scene, lines: list[str]) -> None:
    """Envoy prefers the first zone, until its replica is gone."""
    near, far = (scene.replica(zone, "--zone", zone) for zone in ("eu-1a", "eu-1b"))
    check = {
        "timeout": "1s",
        "interval": "0.1s",
        "no_traffic_interval": "0.1s",
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "http_health_check": {"path": "/readyz"},
    }
    zones = [
        {
            "locality": {"zone": f"zone-{priority}"},
            "priority": priority,
            "lb_endpoints": [{"endpoint": {"address": address(one.port)}}],
        }
        for priority, one in enumerate((near, far))
    ]
    both = {"load_assignment": {"cluster_name": "web", "endpoints": zones}, "health_checks": [check]}
    configuration = envoy([{"match": {"prefix": "/"}, "route": {"cluster": "web"}}], {"web": both})
    with forwarding("envoy", configuration, scene.folder, 0) as port:
        code, found = scene.watch(lines[0], port, "--rate", 100, "--count", 50)
        assert (code, [group["name"] for group in found["groups"]]) == (1, ["eu-1a"])
        with scene.watching(lines[0], port, "--rate", 200) as process:
            before = sampled(near.port)
            wait_until(lambda: sampled(near.port) > before + 5, "some samples of the first zone")
            near.kill()
            output, errors = process.communicate(timeout=3 * PATIENCE)
    found = report(subprocess.CompletedProcess([], process.returncode, output, errors))
    assert (process.returncode, found["ended"]) == (0, "until")
    assert {group["name"] for group in found["groups"]} == {"eu-1a", "eu-1b"}


@plays("Flagger, *Canary Deployments*")
def flagger(scene: Scene, lines: list[str]) -> None:
    """All of the watch's requests fail, or are late, and nobody else's."""
    scene.cast.add("web-0")
    balancer = scene.cast.balance("nginx")
    failing, late = lines
    code, found = scene.watch(failing, balancer.port, "--rate", 300, "--count", 100)
    assert (code, found["failures"]) == (1, {"status 500": 100})
    code, found = scene.watch(late, balancer.port, "--count", 3)
    assert (code, found["errors"]) == (0, 0)
    assert found["latency"]["p50"] >= 1
    code, found = scene.watch("watch http://web/", balancer.port, "--count", 3)
    assert (code, found["errors"]) == (0, 0)


CADDY_WEIGHTED = PLAIN["caddy"].replace(
    "127.0.0.1:{replica}", "127.0.0.1:OLD 127.0.0.1:NEW {{\n lb_policy weighted_round_robin 4 1\n }}"
)


@plays("Argo Rollouts, *Job Metrics*")
def rollouts(scene: Scene, lines: list[str]) -> None:
    """Caddy with a canary that is as it should be, one that fails, and one that is late."""
    old = scene.replica("web-old", "--app-version", "v1")
    patience = ("--max-p99", f"{PATIENCE:g}s")  # on a machine that has other work
    for faults, expected in ((), 0), (("--error-rate", "50%"), 1), (("--latency", "600ms"), 1):
        new = scene.replica(f"web-{len(faults)}{expected}{faults[:1]}", "--app-version", "v2", *faults)
        configuration = CADDY_WEIGHTED.replace("OLD", str(old.port)).replace("NEW", str(new.port))
        with forwarding("caddy", configuration, scene.folder, 0) as port:
            more = () if "--latency" in faults else patience
            code, found = scene.watch(lines[0], port, "--rate", 100, "--count", 100, *more)
        assert code == expected, found["expectations"]


@plays("Linkerd, *Circuit Breaking*")
def breaking(scene: Scene, lines: list[str]) -> None:
    """Envoy ejects the replica that always fails; without that, half of the requests do."""
    replicas = [scene.replica("good"), scene.replica("bad", "--error-rate", "100%")]
    ejecting = {
        "consecutive_5xx": 7,
        "interval": "0.1s",
        "base_ejection_time": "600s",
        "max_ejection_time": "600s",
        "max_ejection_percent": 50,
    }
    for settings, expected in ({"outlier_detection": ejecting}, 0), ({}, 1):
        both = cluster("web", replicas, **settings)
        configuration = envoy([{"match": {"prefix": "/"}, "route": {"cluster": "web"}}], {"web": both})
        with forwarding("envoy", configuration, scene.folder, 0) as port:
            code, found = scene.watch(lines[0], port, "--rate", 50, "--count", 100)
        assert code == expected
        assert found["errors"] > 0


@plays("Linkerd, *Dynamic Request Routing*")
def routing(scene: Scene, lines: list[str]) -> None:
    """Envoy sends whoever asks for it to v2, and all others to v1."""
    names = ("v1", "v2")
    clusters = {name: cluster(name, [one]) for name, one in zip(names, scene.versions(*names), strict=True)}
    query = {"name": "to", "string_match": {"exact": "v2"}}
    chosen = {"match": {"prefix": "/", "query_parameters": [query]}, "route": {"cluster": "v2"}}
    others = {"match": {"prefix": "/"}, "route": {"cluster": "v1"}}
    with forwarding("envoy", envoy([chosen, others], clusters), scene.folder, 0) as port:
        assert scene.watch(lines[0], port, "--rate", 300, "--count", 100)[0] == 0
        assert scene.watch(lines[0].replace("?to=v2", ""), port, "--rate", 300, "--count", 100)[0] == 1


@plays("Traefik, sticky sessions")
def sticky(scene: Scene, lines: list[str]) -> None:
    """The cookie is found to be what leads back."""
    replicas = [scene.replica(f"web-{number}") for number in range(3)]
    servers = [{"url": f"http://127.0.0.1:{one.port}"} for one in replicas]
    service = {"loadBalancer": {"servers": servers, "sticky": {"cookie": {"name": "at"}}}}
    router = {"rule": "PathPrefix(`/`)", "service": "all"}
    routes = template({"http": {"routers": {"all": router}, "services": {"all": service}}})
    with forwarding("traefik", PLAIN["traefik"], scene.folder, 0, routes) as port:
        code, found = scene.watch(lines[0], port, "--rate", 300, "--count", 300)
    assert (code, found["verdict"]["kind"]) == (0, "sticky by cookie")


@plays("Docker, Swarm's rolling update")
def swarm(scene: Scene, lines: list[str]) -> None:
    """One after another is replaced by one of the next version, and no request fails. Before that, the line fails."""
    scene.cast.add("web-0", "web-1", "web-2")
    balancer = scene.cast.balance("haproxy", mode="tcp")
    assert scene.watch(lines[0], balancer.port, "--rate", 300, "--count", 60)[0] == 1
    before = sampled(scene.cast.replicas["web-2"].port)
    with scene.watching(lines[0], balancer.port, "--rate", 300) as process:
        wait_until(lambda: sampled(scene.cast.replicas["web-2"].port) > before + 2, "some samples")
        for number in range(3):
            balancer.replace(f"web-{number}", scene.replica(f"new-{number}", "--app-version", "v2"))
        output, errors = process.communicate(timeout=3 * PATIENCE)
    found = report(subprocess.CompletedProcess([], process.returncode, output, errors))
    assert (process.returncode, found["ended"], found["errors"]) == (0, "until", 0)


@plays("kind, *LoadBalancer*")
def kind(scene: Scene, lines: list[str]) -> None:
    """Two replicas behind Envoy; and one."""
    replicas = [scene.replica("foo"), scene.replica("bar")]
    for count, expected in (2, 0), (1, 1):
        configuration = envoy(
            [{"match": {"prefix": "/"}, "route": {"cluster": "web"}}], {"web": cluster("web", replicas[:count])}
        )
        with forwarding("envoy", configuration, scene.folder, 0) as port:
            assert scene.watch(lines[0], port, "--rate", 300, "--count", 100)[0] == expected


@plays("Knative, first autoscaling")
def cold_start(scene: Scene, lines: list[str]) -> None:
    """Requests wait until there is a replica, and none is lost."""
    with listening() as listener, scene.watching(lines[0], listener.getsockname()[1]) as process:
        assert select.select([listener], [], [], PATIENCE)[0]
        fd = listener.fileno()
        command = handing([str(scene.program), "--workers", "1", "--name", "hello"], [fd])
        with subprocess.Popen(command, pass_fds=[fd], env=clean_environment(), stderr=subprocess.DEVNULL) as replica:
            output, errors = process.communicate(timeout=3 * PATIENCE)
            replica.terminate()
    found = report(subprocess.CompletedProcess([], process.returncode, output, errors))
    assert (process.returncode, found["answers"]) == (0, 20)


@plays("Knative, traffic splitting")
def revisions(scene: Scene, lines: list[str]) -> None:
    """Envoy with two revisions, which tell their names by K_REVISION."""
    names = ("hello-00001", "hello-00002")
    replicas = [scene.replica(f"pod-{name}", K_REVISION=name) for name in names]
    for weights, expected in ((50, 50), 0), ((90, 10), 1):
        configuration = split(dict(zip(names, weights, strict=True)), replicas)
        with forwarding("envoy", configuration, scene.folder, 0) as port:
            assert scene.watch(lines[0], port, "--rate", 400, "--count", (1600, 400)[expected])[0] == expected


@pytest.mark.parametrize("page", MOMENTS)
def test_its_line_does_what_the_page_wants(page: str, scene: Scene) -> None:
    PLAYS[page](scene, MOMENTS[page])


def test_each_row_is_played() -> None:
    assert {*MOMENTS} == {*PLAYS}
