"""A balancer in one of its two configurations, and clusters of replicas behind it."""

import contextlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
    """Starts clusters of three replicas, of which the second and the third are in zone-b."""

    balancer: str
    configuration: str
    balanced: Balanced
    folder: Path

    @property
    def is_tuned(self) -> bool:
        return self.configuration == "tuned"

    @contextlib.contextmanager
    def started(self, *, canary: bool = False, sticky: bool = False) -> Iterator[Cluster]:
        """All replicas answer. A canary is one more line of the list where it is a list; such a list has no cookies."""
        profile = ["--profile", "canary"] if canary else []
        with self._one_replica(profile, canary=canary, sticky=sticky) as cluster:
            cluster.compose(*profile, "up", "--detach", "--no-recreate", ZONE="zone-b")
            hosts = {self.host(cluster, number) for number in (1, 2, 3)}
            cluster.wait_for(hosts | ({cluster.host("canary", 1)} if canary else set()))
            yield cluster

    def _one_replica(
        self, profile: list[str], *, canary: bool, sticky: bool
    ) -> contextlib.AbstractContextManager[Cluster]:
        if self.is_tuned:
            variables = {"ZONE": "zone-a", "STICKY": "1"} if sticky else {"ZONE": "zone-a"}
            return self.balanced(self.balancer, *profile, up=("--scale", "web=1"), **variables)
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
            up=("web-1",),
            file=FOLDER / "defaults/compose.yaml",
            ZONE="zone-a",
            NET=f"10.{random.randrange(100, 200)}.{random.randrange(256)}",  # Podman's own begin with 10.88 and 10.89
            REPLICA=self.balanced.image,
            BALANCER=self.balanced.balancer_image(self.balancer),
            LIST=str(path),
            PLACE=place,
            COMMAND=command.format(place),
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


def configuration_file(balancer: str, configuration: str) -> Path:
    """What a reader wants to see of it."""
    if configuration == "default":
        return FOLDER / "defaults" / DEFAULTS[balancer][0]
    folder = FILES[balancer].parent
    names = {"haproxy": "haproxy.cfg", "nginx": "http.conf", "caddy": "Caddyfile", "envoy": "http.yaml"}
    return folder / names.get(balancer, "compose.yaml")
