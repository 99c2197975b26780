"""What happens to a cluster while it is watched."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import PATIENCE, clean_environment, podman, wait_until
from test_deploy import Cluster, ask

from benchmarks.atlas import judge
from benchmarks.atlas.judge import IsRight
from benchmarks.atlas.lanes import Lane

RATE = 100  # requests a second
CONCURRENCY = 1000  # so that requests that hang keep no others from being sent
BEFORE = 3.0  # seconds of a watch until something happens


class Stage:
    """A cluster, and the watch of it."""

    def __init__(self, lane: Lane, cluster: Cluster, output: Path) -> None:
        self.lane = lane
        self.cluster = cluster
        self.output = output
        self.event = 0.0  # in seconds since 1970
        self.hosts = {number: lane.host(cluster, number) for number in (1, 2, 3)}

    @contextlib.contextmanager
    def watching(self, by: str, query: str) -> Iterator[None]:
        url = f"http://127.0.0.1:{self.cluster.port}/{query}"
        command = [sys.executable, "-m", "yinyang", "watch", url, "--jsonl", "--by", by]
        command += ["--rate", str(RATE), "--concurrency", str(CONCURRENCY)]
        with self.output.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL, env=clean_environment())
        try:
            wait_until(lambda: self.output.stat().st_size, "the first line of the watch")
            self.happens()
            yield
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()

    def happens(self) -> None:
        """What the scene is about happens now."""
        self.event = time.time()

    def kill(self, *numbers: int) -> None:
        ends = [os.pidfd_open(self.lane.processes(self.cluster, number)[0]) for number in numbers]
        containers = [self.lane.container(self.cluster, number) for number in numbers]
        with subprocess.Popen(["podman", "kill", *containers], stdout=subprocess.DEVNULL) as killing:
            assert select.select(ends, [], [], PATIENCE)[0]
            self.happens()
        assert killing.returncode == 0
        for end in ends:
            os.close(end)

    def stop(self, *numbers: int) -> None:
        """SIGTERM, and wait until they have ended, as each wants to drain."""
        containers = [self.lane.container(self.cluster, number) for number in numbers]
        self.happens()
        podman("stop", "--time", "15", *containers)

    def replace(self, number: int, version: str) -> None:
        """Stop one, and start one of another version under its name."""
        self.stop(number)
        podman("rm", self.lane.container(self.cluster, number))
        self.cluster.compose("up", "--detach", "--no-recreate", VERSION=version)
        where = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        address = podman("inspect", "--format", where, self.lane.container(self.cluster, number))
        wait_until(lambda: is_ready(address), "the replica of the next version")


def is_ready(address: str) -> bool:
    try:
        return ask(8080, "/readyz", address)[0] == 200
    except OSError:
        return False


@dataclass(frozen=True)
class Scene:
    """`play` has it happen, and returns what is right to say then."""

    play: Callable[[Stage], IsRight]
    by: str = "replica"
    start: dict[str, bool] = field(default_factory=lambda: {"zones": True})  # arguments for Lane.started
    query: Callable[[Stage], str] = lambda _stage: ""


def scale_out(stage: Stage) -> IsRight:
    time.sleep(BEFORE)
    stage.happens()
    stage.lane.scale_out(stage.cluster)
    time.sleep(8)
    return judge.number_of(5)


def scale_in(stage: Stage) -> IsRight:
    time.sleep(BEFORE)
    stage.stop(2, 3)
    time.sleep(9)
    return judge.gone([stage.hosts[2], stage.hosts[3]], [stage.hosts[1]])


def kill(stage: Stage) -> IsRight:
    time.sleep(BEFORE)
    stage.kill(2)
    time.sleep(15)
    return judge.gone([stage.hosts[2]], [stage.hosts[1], stage.hosts[3]])


def terminate(stage: Stage) -> IsRight:
    time.sleep(BEFORE)
    stage.stop(2)
    time.sleep(9)
    return judge.gone([stage.hosts[2]], [stage.hosts[1], stage.hosts[3]])


def rolling_deploy(stage: Stage) -> IsRight:
    time.sleep(BEFORE)
    for number in 1, 2, 3:
        stage.replace(number, "v2")
    time.sleep(6)
    return judge.gone(["v1"], ["v2"], "version")


def canary(stage: Stage) -> IsRight:
    time.sleep(12)
    if not stage.lane.is_tuned:
        return judge.share_of("v2", 1 / 4)
    return judge.share_of("v2", 20 / 260 if stage.lane.balancer == "haproxy" else 1 / 10)


def sticky(stage: Stage) -> IsRight:
    begin = stage.event
    time.sleep(5)
    stage.kill(2)
    stage.event = begin
    time.sleep(10)
    return judge.kind("sticky by cookie")


def answers_500(stage: Stage) -> IsRight:
    time.sleep(8)
    return judge.answers(stage.hosts[2], 500)


def hangs(stage: Stage) -> IsRight:
    time.sleep(BEFORE)
    stage.happens()
    for pid in stage.lane.processes(stage.cluster, 2):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(15)
    return judge.gone([stage.hosts[2]], [stage.hosts[1], stage.hosts[3]])


def zone_loss(stage: Stage) -> IsRight:
    time.sleep(BEFORE)
    stage.kill(2, 3)
    time.sleep(15)
    return judge.gone(["zone-b"], ["zone-a"], "zone")


SCENES = {
    "scale out": Scene(scale_out),
    "scale in": Scene(scale_in),
    "kill -9": Scene(kill),
    "SIGTERM": Scene(terminate),
    "canary": Scene(canary, by="version", start={"canary": True}),
    "sticky": Scene(sticky, start={"sticky": True}),
    # Not all, as who has never answered is not known to the watch.
    "one answers 500": Scene(answers_500, query=lambda stage: f"?fail=90&code=500&if={stage.hosts[2]}"),
    "one hangs": Scene(hangs),
    "zone loss": Scene(zone_loss, by="zone"),
    "rolling deploy": Scene(rolling_deploy, by="version"),  # the last one, as the version remains
}


Meet = Callable[[], object]


def play(lane: Lane, names: Sequence[str], folder: Path, meet: Meet = lambda: None) -> Iterator[dict[str, Any]]:
    """The figures of scenes, with one cluster for all that begin with the same one. The samples are in `folder`. `meet`
    waits for the others who play at the same time, of whom none may change its cluster while another is watched."""
    starts = {tuple(SCENES[name].start.items()) for name in names}
    for start in sorted(starts):
        with lane.started(**dict(start)) as cluster:
            chosen = [name for name in names if tuple(SCENES[name].start.items()) == start]
            for name in chosen:
                if name != chosen[0]:
                    lane.restore(cluster)
                yield cell(lane, cluster, name, folder, meet)


def cell(lane: Lane, cluster: Cluster, name: str, folder: Path, meet: Meet) -> dict[str, Any]:
    scene = SCENES[name]
    stage = Stage(lane, cluster, samples_of(folder, name, lane.balancer, lane.configuration))
    meet()
    with stage.watching(scene.by, scene.query(stage)):
        is_right = scene.play(stage)
    meet()
    about = {"scene": name, "balancer": lane.balancer, "configuration": lane.configuration}
    found = about | judge.judged(stage.output, scene.by, stage.event, is_right)
    text = json.dumps(found, ensure_ascii=False)
    for number, host in stage.hosts.items():  # a container's name is another one each time
        text = text.replace(host[:8], f"web-{number}")
    return json.loads(text)


def samples_of(folder: Path, scene: str, balancer: str, configuration: str) -> Path:
    return folder / f"{scene}.{balancer}.{configuration}.jsonl".replace(" ", "-")
