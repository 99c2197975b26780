"""HAProxy and nginx on 127.0.0.1 in front of replicas, and what they themselves count."""

import contextlib
import csv
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from conftest import PATIENCE, Image, Replica, Shape, wait_until
from proxies import NGINX_BEGIN, start_proxy

HAPROXY = """
global
    nbthread 1
    stats socket {folder}/admin level admin
defaults
    mode {mode}
    timeout connect 1s
    timeout client 20s
    timeout server 20s
    retries 0
frontend clients
    bind fd@{listener}
    default_backend replicas
backend replicas
    balance {algorithm}
    {policy}
    {servers}
"""
NGINX = (
    NGINX_BEGIN
    + """
    log_format upstream $upstream_addr;
    access_log {folder}/access upstream;
    map $cookie_route $route {{ "" $request_id; default $cookie_route; }}
    upstream replicas {{
        {policy}
        {servers}
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            {location}
            proxy_pass http://replicas;
        }}
    }}
}}
"""
)
COOKIE = {  # what makes a cookie hold a replica: in the group of servers, for each of them, in the answer
    "haproxy": ("cookie held insert indirect nocache", "cookie {name}", ""),
    "nginx": ("hash $route;", "", "add_header Set-Cookie route=$route;"),
}


PROCESSES = Shape(sys.executable, "-m", "yinyang.serve")


def replica(folder: Path, name: str, *options: str, shape: Shape = PROCESSES) -> Replica:
    """One that serves, in colours that can be told apart."""
    host = () if isinstance(shape, Image) else ("--host", "127.0.0.1")
    common = ("--workers", "1", "--palette", "distinct", "--no-access-log", "--name", name)
    started = shape.replica(folder / name, *host, *common, *options)
    started.wait_for_port()
    return started


class Balancer:
    """One of the two, in front of replicas by name; `server` is set for each of them, as `weight=4`."""

    def __init__(
        self,
        tool: str,
        folder: Path,
        replicas: dict[str, Replica],
        *,
        server: Sequence[str] = (),
        mode: str = "http",
        algorithm: str = "roundrobin",
        sticky: bool = False,
    ) -> None:
        self._tool, self._folder, self._mode = tool, folder, mode
        self._ports = {str(one.port): name for name, one in replicas.items()}
        policy, each, location = COOKIE[tool] if sticky else ("", "", "")
        servers = []
        for number, (name, one) in enumerate(replicas.items()):
            label = f"{name} " if tool == "haproxy" else ""
            options = f"{server[number] if server else ''} {each.format(name=name)}"
            servers.append(f"server {label}127.0.0.1:{one.port} {options}" + (";" if tool == "nginx" else ""))
        given = {
            "mode": mode,
            "algorithm": algorithm,
            "policy": policy,
            "servers": "\n    ".join(servers),
            "location": location,
        }
        template = {"haproxy": HAPROXY, "nginx": NGINX}[tool]
        self._process, self.port = start_proxy(tool, template, folder, subprocess.DEVNULL, **given)
        self.url = f"http://127.0.0.1:{self.port}"

    def tell(self, command: str) -> str:
        """What HAProxy answers on its socket."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(f"{self._folder}/admin")
            client.sendall(command.encode() + b"\n")
            return client.makefile().read()

    def counted(self) -> dict[str, int]:
        """Answers by replica (at layer 4, connections), by the balancer's own count."""
        if self._tool == "nginx":
            addresses = Path(self._folder, "access").read_text().split()
            return dict(Counter(self._ports[address.rpartition(":")[2]] for address in addresses if address != "-"))
        rows = csv.DictReader(self.tell("show stat").removeprefix("# ").splitlines())
        field = "hrsp_2xx" if self._mode == "http" else "stot"
        return {row["svname"]: int(row[field]) for row in rows if row["svname"] in self._ports.values()}

    def replace(self, name: str, other: Replica) -> None:
        """Have another replica in the place of one (HAProxy)."""
        self.tell(f"set server replicas/{name} state maint")
        self.tell(f"set server replicas/{name} addr 127.0.0.1 port {other.port}")
        self.tell(f"set server replicas/{name} state ready")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)


class Stage:
    """Replicas and a balancer, which end together."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self.folder = folder
        self._shape = shape
        self.replicas: dict[str, Replica] = {}
        self.balancer: Balancer | None = None

    def add(self, *names: str, version: str = "v1") -> None:
        for name in names:
            self.replicas[name] = replica(self.folder, name, "--app-version", version, shape=self._shape)

    def balance(self, tool: str, **options: object) -> Balancer:
        self.balancer = Balancer(tool, self.folder, self.replicas, **options)
        wait_until(self._up, f"{tool} to answer")
        return self.balancer

    def _up(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.balancer.port), PATIENCE) as client,
        ):
            client.sendall(b"GET /livez HTTP/1.0\r\nHost: a\r\n\r\n")
            return b" 200 " in client.recv(65536)
        return False


@contextlib.contextmanager
def stage(folder: Path, shape: Shape = PROCESSES) -> Iterator[Stage]:
    """For a play with replicas and a balancer."""
    made = Stage(folder, shape)
    try:
        yield made
    finally:
        if made.balancer:
            made.balancer.stop()
        for one in made.replicas.values():
            one.kill()
