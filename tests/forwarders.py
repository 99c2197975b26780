"""Five proxies on 127.0.0.1 with no more than they need to forward to one replica, and what they add to a request.

As a program, it prints the table of docs/commands.md: `python tests/forwarders.py`.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # as a program

from conftest import Shape, free_port, needs, read_all, wait_until
from proxies import NGINX_BEGIN

PROXIES = ("nginx", "haproxy", "caddy", "traefik", "envoy")
NAMES = {"nginx": "nginx", "haproxy": "HAProxy", "caddy": "Caddy", "traefik": "Traefik", "envoy": "Envoy"}

# What each is told: to forward HTTP, without a word on header fields.
PLAIN = {
    "nginx": NGINX_BEGIN
    + "    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{replica}; }} }}\n}}",
    "haproxy": """
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
listen all
    bind 127.0.0.1:{port}
    server replica 127.0.0.1:{replica}
""",
    "caddy": """
{{
    admin off
    auto_https off
    storage file_system {folder}
}}
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{replica}
}}
""",
    "traefik": """
entryPoints:
  web:
    address: 127.0.0.1:{port}
providers:
  file:
    filename: {folder}/routes.yaml
""",
    "envoy": """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: all
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: /}}, route: {{cluster: replica}}}}]
          http_filters:
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: replica
    load_assignment:
      cluster_name: replica
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {replica}}}}}}}
""",
}
TRAEFIK_ROUTES = """
http:
  routers: {{all: {{rule: "PathPrefix(`/`)", service: replica}}}}
  services: {{replica: {{loadBalancer: {{servers: [{{url: "http://127.0.0.1:{replica}"}}]}}}}}}
"""
# The same with what operators add to tell the client's address, or to trace a request.
USUAL = {
    "nginx": PLAIN["nginx"].replace(
        "proxy_pass",
        "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $host; "
        "proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; "
        "proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-ID $request_id; proxy_pass",
    ),
    "haproxy": PLAIN["haproxy"].replace(
        "    bind",
        "    option forwardfor\n    unique-id-format %{{+X}}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid\n"
        "    unique-id-header X-Unique-ID\n    http-request set-header X-Forwarded-Proto http\n    bind",
    ),
    "caddy": PLAIN["caddy"].replace("    reverse_proxy", "    tracing\n    reverse_proxy"),
    "traefik": PLAIN["traefik"] + "tracing: {{otlp: {{http: {{endpoint: 'http://127.0.0.1:9/v1/traces'}}}}}}\n",
    "envoy": PLAIN["envoy"].replace(
        "          stat_prefix: all", "          stat_prefix: all\n          use_remote_address: true"
    ),
}
TOLD = {
    "nginx": "told to tell who asks",
    "haproxy": "told to tell who asks",
    "caddy": "with `tracing`",
    "traefik": "with tracing",
    "envoy": "with `use_remote_address`",
}

# By a PROXY header, on connections of TCP or HTTP.
PROXY_HEADERS = {
    "haproxy 1": ("haproxy", PLAIN["haproxy"].replace("{replica}", "{replica} send-proxy")),
    "haproxy 2": ("haproxy", PLAIN["haproxy"].replace("{replica}", "{replica} send-proxy-v2")),
    "haproxy 2 with more": (
        "haproxy",
        PLAIN["haproxy"].replace("{replica}", "{replica} send-proxy-v2 proxy-v2-options unique-id,crc32c"),
    ),
    "nginx 1": (
        "nginx",
        "include /usr/share/nginx/modules-available/mod-stream.conf;\n"
        + NGINX_BEGIN.replace("http {{", "stream {{").split("    client_body")[0]
        + "    server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{replica}; proxy_protocol on; }}\n}}",
    ),
    **{
        f"envoy {version}": (
            "envoy",
            PLAIN["envoy"].replace(
                "  - name: replica\n",
                f"""  - name: replica
    transport_socket:
      name: proxy
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport
        config: {{{{version: V{version}}}}}
        transport_socket:
          name: raw
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer
""",
            ),
        )
        for version in (1, 2)
    },
    **{f"traefik {version}": ("traefik", PLAIN["traefik"]) for version in (1, 2)},
}
TRAEFIK_TCP = """
tcp:
  routers: {{all: {{rule: "HostSNI(`*`)", service: replica, entryPoints: [web]}}}}
  services:
    replica: {{loadBalancer: {{serversTransport: proxied, servers: [{{address: "127.0.0.1:{replica}"}}]}}}}
  serversTransports: {{proxied: {{proxyProtocol: {{version: {version}}}}}}}
"""


@contextlib.contextmanager
def forwarding(tool: str, configuration: str, folder: Path, replica: int, routes: str = "") -> Iterator[int]:
    """Run a proxy; its port."""
    port = free_port()
    path = folder / ("configuration.yaml" if tool in {"traefik", "envoy"} else "configuration")
    path.write_text(configuration.format(folder=folder, port=port, replica=replica))
    (folder / "routes.yaml").write_text(routes.format(replica=replica))
    command = {
        "nginx": ["-e", f"{folder}/errors", "-c", str(path)],
        "haproxy": ["-db", "-f", str(path)],
        "caddy": ["run", "--adapter", "caddyfile", "--config", str(path)],
        "traefik": [f"--configFile={path}"],
        "envoy": ["--base-id", str(port), "--concurrency", "1", "-l", "warning", "-c", str(path)],
    }[tool]
    environment = os.environ | {"HOME": str(folder)}
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen([needs(tool), *command], stdout=output, stderr=output, env=environment)
    try:
        wait_until(lambda: is_forwarding(process, folder, port), f"{tool}, which forwards")
        yield port
    finally:
        process.kill()
        process.wait()


def is_forwarding(process: subprocess.Popen, folder: Path, port: int) -> bool:
    assert process.poll() is None, (folder / "output").read_text()
    try:
        return b" 200 OK\r\n" in asked(port, "/livez")[0]
    except OSError:
        return False


def asked(port: int, target: str) -> tuple[bytes, str]:
    """An answer, and the address of the client."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(
            f"GET {target} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: browser\r\nConnection: close\r\n\r\n".encode()
        )
        return read_all(client), "{}:{}".format(*client.getsockname())


def echoed(port: int) -> tuple[dict, str]:
    """What the replica got, and the address of the client."""
    answer, own = asked(port, "/echo")
    return json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1]), own


def forwarded(tool: str, configuration: str, replica: int) -> dict:
    """What a replica gets behind a proxy, where what differs each time is replaced by a word for it."""
    folder = Path(tempfile.mkdtemp())
    try:
        with forwarding(tool, configuration, folder, replica, TRAEFIK_ROUTES) as port:
            told, own = echoed(port)
    finally:
        shutil.rmtree(folder)
    text = json.dumps(told).replace(f":{replica}", ":REPLICA").replace(f'"{port}"', '"PORT"').replace(own, "CLIENT")
    text = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{32}\b|\b[0-9a-f]{16}\b", "ID", text)
    told = json.loads(re.sub(r"\b[0-9A-F]{8}:[0-9A-F]{4}_[0-9A-F]{8}:[0-9A-F]{4}_[0-9A-F_:]+", "ID", text))
    for name in "X-Forwarded-Server", "x-forwarded-for" if tool == "envoy" else "":  # Envoy's is its own address
        if name in told["headers"]:
            told["headers"][name] = ["HOST"]
    return told


def row(name: str, told: dict) -> str:
    """A row of the table."""
    fields = told["headers"]
    kept = {"User-Agent": ["browser"], "Host": ["shop.example"]}
    added = [
        f"`{field}: {value}`"
        for field, values in fields.items()
        for value in values
        if [value] != kept.get("-".join(part.capitalize() for part in field.split("-")))
    ]
    return f"| {name} | {told['proto']} | {', '.join(added) or 'nothing'} |"


def table(replica: int) -> str:
    """In Markdown."""
    lines = ["| proxy | forwards as | adds or changes |", "| --- | --- | --- |"]
    for tool in PROXIES:
        lines.append(row(NAMES[tool], forwarded(tool, PLAIN[tool], replica)))
        if tool in USUAL:
            lines.append(row(f"{NAMES[tool]} {TOLD[tool]}", forwarded(tool, USUAL[tool], replica)))
    return "\n".join(lines)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        replica = Shape(sys.executable, "-m", "yinyang.serve", "--host", "127.0.0.1").replica(Path(folder) / "log")
        try:
            replica.wait_for_port()
            print(table(replica.port))
        finally:
            replica.kill()


if __name__ == "__main__":
    main()
