"""A balancer in one of its two configurations, and clusters of replicas behind it."""

import contextlib
import os
import random
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conftest import podman
from test_balancers import FILES, Balanced
from test_deploy import Cluster, composed

FOLDER = Path(__file__).parent
BALANCERS = {"nginx": "nginx", "haproxy": "HAProxy", "caddy": "Caddy", "traefik": "Traefik", "envoy": "Envoy"}
CONFIGURATIONS = ("default", "tuned")
DEFAULTS = {  # the list of servers, where it belongs, and the command that reads it
    "nginx": ("nginx.conf", "/etc/nginx/nginx.conf", "nginx -e /dev/stderr -c {} -g 'daemon off; pid /tmp/nginx.pid;'"),
    "haproxy": ("haproxy.cfg", "/usr/local/etc/haproxy/haproxy.cfg", "haproxy -W -db -f {}"),
    "caddy": ("Caddyfile", "/etc/caddy/Caddyfile", "caddy run --adapter caddyfile --config {}"),
    "traefik": (
        "traefik.yaml",
        "/etc/traefik/routes.yaml",
        "traefik --entrypoints.http.address=:8080 --providers.file.filename={} --global.checknewversion=false",
    ),
    "envoy": ("envoy.yaml", "/etc/envoy/envoy.yaml", "envoy -c {}"),
}


@dataclass(frozen=True)
class Lane:
    """Starts clusters of three replicas."""

    balancer: str
    configuration: str
    balanced: Balanced
    folder: Path

    @property
    def is_tuned(self) -> bool:
        return self.configuration == "tuned"

    @contextlib.contextmanager
    def started(self, *, canary: bool = False, sticky: bool = False, zones: bool = False) -> Iterator[Cluster]:
        """All replicas answer. A canary is one more line of the list where it is a list; such a list has no cookies. Of
        zones, the first replica is in zone-a, and the two others are in zone-b."""
        profile = ["--profile", "canary"] if canary else []
        with self._begun(profile, canary=canary, sticky=sticky, zones=zones) as cluster:
            if zones:
                cluster.compose("up", "--detach", "--no-recreate", ZONE="zone-b")
            self.wait_for_all(cluster, canary=canary)
            yield cluster

    def wait_for_all(self, cluster: Cluster, *, canary: bool = False) -> None:
        hosts = {self.host(cluster, number) for number in (1, 2, 3)}
        cluster.wait_for(hosts | ({cluster.host("canary", 1)} if canary else set()))

    def _begun(
        self, profile: list[str], *, canary: bool, sticky: bool, zones: bool
    ) -> contextlib.AbstractContextManager[Cluster]:
        """Of zones, only the first one."""
        variables = {"ZONE": "zone-a"} if zones else {}
        if self.is_tuned:
            variables |= {"STICKY": "1"} if sticky else {}
            return self.balanced(self.balancer, *profile, up=("--scale", "web=1") if zones else (), **variables)
        name, place, command = DEFAULTS[self.balancer]
        path = FOLDER / "defaults" / name
        if canary:
            text = re.sub(r"(?m)^(.*)web-3(.*)$", lambda line: f"{line[0]}\n{line[0].replace('web-3', 'canary')}",
                          path.read_text())  # fmt: skip
            path = self.folder / f"canary-{name}"
            path.write_text(text)
        return composed(
            self.balanced.image,
            *profile,
            up=("web-1",) if zones else (),
            file=FOLDER / "defaults/compose.yaml",
            NET=f"10.{random.randrange(100, 200)}.{random.randrange(256)}",  # Podman's own begin with 10.88 and 10.89
            REPLICA=self.balanced.image,
            BALANCER=self.balanced.balancer_image(self.balancer),
            LIST=str(path),
            PLACE=place,
            COMMAND=command.format(place),
            **variables,
        )

    def container(self, cluster: Cluster, number: int) -> str:
        return cluster.container("web", number) if self.is_tuned else cluster.container(f"web-{number}", 1)

    def host(self, cluster: Cluster, number: int) -> str:
        return cluster.host("web", number) if self.is_tuned else cluster.host(f"web-{number}", 1)

    def scale_out(self, cluster: Cluster) -> None:
        """Have five replicas."""
        if self.is_tuned:
            cluster.compose("up", "--detach", "--no-recreate", "--scale", "web=5")
        else:
            cluster.compose("--profile", "more", "up", "--detach", "--no-recreate")

    def restore(self, cluster: Cluster) -> None:
        """Have the first three replicas again, and no others."""
        more = [self.container(cluster, number) for number in (4, 5)]
        podman("rm", "--force", "--ignore", "--time", "0", *more)
        podman("start", *(self.container(cluster, number) for number in (1, 2, 3)))
        for number in 1, 2, 3:
            for pid in self.processes(cluster, number):
                os.kill(pid, signal.SIGCONT)
        self.wait_for_all(cluster)

    def processes(self, cluster: Cluster, number: int) -> list[int]:
        """The parent first, which would replace a worker that hangs."""
        pid = int(podman("inspect", "--format", "{{.State.Pid}}", self.container(cluster, number)))
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def configuration_file(balancer: str, configuration: str) -> Path:
    """What a reader wants to see of it."""
    if configuration == "default":
        return FOLDER / "defaults" / DEFAULTS[balancer][0]
    folder = FILES[balancer].parent
    names = {"haproxy": "haproxy.cfg", "nginx": "http.conf", "caddy": "Caddyfile", "envoy": "http.yaml"}
    return folder / names.get(balancer, "compose.yaml")
