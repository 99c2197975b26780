"""The proxies of uploads.py: how each is started in front of two replicas, and how it says that it took one out."""

import contextlib
import json
import re
import socket
import subprocess
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.lib.contestants import PYTHON, program, version_of_program
from benchmarks.lib.processes import free_ports

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors warn;
events {{}}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream replicas {{ server 127.0.0.1:{first}; server 127.0.0.1:{second}; {kept} }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://replicas; {more} }}
    }}
}}
"""
KEPT = {"kept": "keepalive 16;", "more": 'proxy_http_version 1.1; proxy_set_header Connection "";'}
UNBUFFERED = KEPT | {"more": KEPT["more"] + " proxy_request_buffering off;"}
HAPROXY = """
global
    stats socket {folder}/control
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend clients
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    option httpchk GET /
    default-server check inter 200ms fall 1 rise 1 observe layer7 error-limit 1 on-error mark-down
    server first 127.0.0.1:{first}
    server second 127.0.0.1:{second}
"""
APACHE = """
ServerRoot {folder}
ServerName localhost
PidFile {folder}/pid
ErrorLog {folder}/errors
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule slotmem_shm_module {modules}/mod_slotmem_shm.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
LoadModule proxy_balancer_module {modules}/mod_proxy_balancer.so
LoadModule lbmethod_byrequests_module {modules}/mod_lbmethod_byrequests.so
User #65534
Group #65534
StartServers 1
ServerLimit 1
ThreadsPerChild 64
MaxRequestWorkers 64
<Proxy balancer://replicas>
    BalancerMember http://127.0.0.1:{first}
    BalancerMember http://127.0.0.1:{second}
</Proxy>
ProxyPass / balancer://replicas/
"""
VARNISH = """
vcl 4.1;
import directors;
probe page {{ .url = "/"; .interval = 0.2s; .timeout = 2s; .window = 1; .threshold = 1; .initial = 1; }}
backend first {{ .host = "127.0.0.1"; .port = "{first}"; .probe = page; }}
backend second {{ .host = "127.0.0.1"; .port = "{second}"; .probe = page; }}
sub vcl_init {{
    new replicas = directors.round_robin();
    replicas.add_backend(first);
    replicas.add_backend(second);
}}
sub vcl_recv {{
    set req.backend_hint = replicas.backend();
    return (pass);
}}
"""
CADDY = """
{{
    admin 127.0.0.1:{admin}
    persist_config off
    auto_https off
    storage file_system {folder}
    grace_period 1s
}}
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{first} 127.0.0.1:{second} {{
        lb_policy round_robin
        fail_duration 10s
    }}
}}
"""
ENVOY = """
admin:
  address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: replicas}}}}]}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: replicas
    connect_timeout: 5s
    outlier_detection: {{consecutive_5xx: 1, interval: 1s, base_ejection_time: 10s, max_ejection_percent: 100}}
    load_assignment:
      cluster_name: replicas
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {first}}}}}}}
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {second}}}}}}}
"""
TRAEFIK = """
http:
  routers:
    all: {{rule: "PathPrefix(`/`)", service: replicas}}
  services:
    replicas:
      loadBalancer:
        passiveHealthCheck: {{failureWindow: 10s, maxFailedAttempts: 1}}
        servers: [{{url: "http://127.0.0.1:{first}"}}, {{url: "http://127.0.0.1:{second}"}}]
"""


@dataclass
class Proxy:
    """A proxy. Its configuration and its command may have placeholders: {folder} (of its files), {config} (the file
    with the configuration), {port}, {admin} (another port), {first} and {second} (the ports of the replicas)."""

    name: str
    template: str
    command: tuple[str, ...]
    values: dict[str, str] = field(default_factory=dict)  # of other placeholders
    version_option: str = "-v"

    @property
    def key(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower())

    def find_version(self) -> str:
        """Raises MissingError."""
        return version_of_program(self._program(), self.version_option)()

    def prepare(self, folder: Path, ports: list[int]) -> list[str]:
        """Write the configuration; the command that starts it."""
        self.folder = folder
        self.port, self.admin = free_ports(2)
        self.down_before: set[str] = set()
        self.times_down = 0
        self.config = folder / "config.yaml"  # Envoy and Traefik go by the ending
        values = self.values | {
            "folder": folder,
            "config": self.config,
            "port": self.port,
            "admin": self.admin,
            "first": ports[0],
            "second": ports[1],
        }
        self.config.write_text(self.template.format(**values))
        return [self._program(), *(each.format(**values) for each in self.command[1:])]

    def look(self) -> None:
        """Called a few times a second, for a proxy that tells only which replicas are down at the moment."""
        with contextlib.suppress(OSError):
            now = self.down_now()
            self.times_down += len(now - self.down_before)
            self.down_before = now

    def down_now(self) -> set[str]:
        """The replicas that are taken out at the moment."""
        return set()

    def marked_down(self) -> int:
        """How often a replica was taken out."""
        return self.times_down

    def _program(self) -> str:
        """Its path: from a package of the system, or from a wheel that benchmarks/install-peers installs."""
        name = self.command[0]
        wheel = PYTHON.with_name(name)
        return str(wheel) if wheel.exists() else program(name)

    def _ask(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=5) as reply:
            return str(reply.read(), "utf-8")


@dataclass
class LoggingProxy(Proxy):
    """A proxy whose log says when it takes a replica out: nginx and Apache."""

    line: str = ""

    def marked_down(self) -> int:
        return (self.folder / "errors").read_text().count(self.line)


class HAProxy(Proxy):
    """Counts for itself."""

    def marked_down(self) -> int:
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.folder / "control"))
            control.sendall(b"show stat\n")
            heads, *rows = control.makefile().read().strip().splitlines()
        parsed = [dict(zip(heads.removeprefix("# ").split(","), each.split(","), strict=True)) for each in rows]
        return sum(int(each["chkdown"]) for each in parsed if each["svname"] in ("first", "second"))


class Varnish(Proxy):
    """Logs the result of each probe in memory."""

    def marked_down(self) -> int:
        command = [program("varnishlog"), "-n", str(self.folder), "-d", "-g", "raw", "-i", "Backend_health"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.count("Went sick")


class Caddy(Proxy):
    """Tells the failures of the last 10 s; one is enough to take a replica out."""

    def down_now(self) -> set[str]:
        return {each["address"] for each in json.loads(self._ask("/reverse_proxy/upstreams")) if each["fails"]}


class Envoy(Proxy):
    """Counts for itself."""

    def marked_down(self) -> int:
        name = "cluster.replicas.outlier_detection.ejections_enforced_total"
        return int(self._ask(f"/stats?filter=^{name}$").split()[-1])


class Traefik(Proxy):
    """Tells whether a replica is up."""

    def down_now(self) -> set[str]:
        return set(re.findall(r'^traefik_service_server_up\{.*url="(.*?)"\} 0', self._ask("/metrics"), re.M))


def nginx(name: str, values: dict[str, str]) -> Proxy:
    command = ("nginx", "-e", "{folder}/errors", "-c", "{config}")
    return LoggingProxy(name, NGINX, command, values, line="temporarily disabled")


PROXIES = [
    nginx("nginx, HTTP/1.0", {"kept": "", "more": ""}),
    nginx("nginx, kept connections", KEPT),
    nginx("nginx, kept connections, not buffered", UNBUFFERED),
    HAProxy("HAProxy", HAPROXY, ("haproxy", "-db", "-f", "{config}")),
    LoggingProxy(
        "Apache",
        APACHE,
        ("apache2", "-DFOREGROUND", "-f", "{config}"),
        {"modules": "/usr/lib/apache2/modules"},
        line="disabling worker",
    ),
    Varnish(
        "Varnish",
        VARNISH,
        (
            "varnishd",
            "-F",
            "-j",
            "none",
            "-a",
            "127.0.0.1:{port}",
            "-f",
            "{config}",
            "-n",
            "{folder}",
            "-s",
            "malloc,64m",
        ),
        version_option="-V",
    ),
    Caddy("Caddy", CADDY, ("caddy", "run", "--adapter", "caddyfile", "--config", "{config}"), version_option="version"),
    Envoy(
        "Envoy",
        ENVOY,
        ("envoy", "--config-path", "{config}", "--concurrency", "1", "--disable-hot-restart", "-l", "warning"),
        version_option="--version",
    ),
    Traefik(
        "Traefik",
        TRAEFIK,
        (
            "traefik",
            "--entrypoints.web.address=127.0.0.1:{port}",
            "--entrypoints.admin.address=127.0.0.1:{admin}",
            "--providers.file.filename={config}",
            "--metrics.prometheus.entrypoint=admin",
            "--global.checknewversion=false",
            "--global.sendanonymoususage=false",
        ),
        version_option="version",
    ),
]
