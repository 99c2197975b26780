"""Requests lost in rolling restarts behind a real proxy: our server in both shapes, and Go's net/http.

    python -m benchmarks.studies.rolling [--seconds 60] [--proxy haproxy]

Prints a table in Markdown for each proxy, HAProxy and nginx; a missing program is named (on Debian: haproxy,
nginx-light, golang). Three replicas and the proxy have one CPU, the load has the other: 100 kept connections to the
proxy with 500 requests per second together, and 50 new connections per second with one request each. All the time one
replica is taken out, sent SIGTERM, waited for, started again on the same port, and put back as soon as it answers;
then the next one.

told            The proxy is told before SIGTERM and after the start: HAProxy through its socket (`set server ...
                state drain`, `ready`); nginx, which has no health checks, by a reload of a configuration without the
                replica, and later with it.
not told        HAProxy checks each replica every 200 ms; nginx notices a failed request, and avoids that replica for
                a second.
failed          Requests of the clients without the complete expected response, by reason. Both proxies try another
                replica by default.
sent again      Requests on a connection to the proxy that had served before and ended without a byte of the response.
                Clients send such a request once more on a new connection, and so does the load. nginx ends idle
                connections when it reloads, even if a request is on its way.

Each proxy also has a row without restarts, in which the proxy is told all the same: failures there are not caused by
the replicas.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.lib.contestants import Contestant
from benchmarks.lib.figures import row
from benchmarks.lib.http_requests import GET_CLOSE
from benchmarks.lib.network import isolate_network
from benchmarks.lib.open_loop import OpenLoop
from benchmarks.lib.processes import CLIENT_CPU, PATIENCE, SERVER_CPU, free_ports, serving, wait_until_ready
from benchmarks.studies.drain import failures_text
from benchmarks.studies.shutdown_cases import FOLDER, ShutdownCase, go_cases, our_cases, prepared_servers

DRAIN = 3  # seconds
REPLICAS = 3
KEPT, REQUESTS, NEW = 100, 500.0, 50.0
SETTLE = 1.5  # seconds between two restarts
HEADS = ("", "the proxy is", "restarts", "requests", "failed", "sent again")

HAPROXY = """
global
    stats socket {folder}/control level admin
    nbthread 1
defaults
    mode http
    option redispatch
    timeout connect 2s
    timeout client 60s
    timeout server 60s
frontend clients
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    option httpchk GET /
    default-server check inter 200ms fall 1 rise 1
{servers}
"""
NGINX = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/errors;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    upstream replicas {{
{servers}
        keepalive 16;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://replicas;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


class Proxy:
    """A proxy in front of the replicas, and the commands by which its operator tells it of a restart."""

    key: str
    title: str

    def __init__(self, ports: list[int]) -> None:
        [self.port] = free_ports(1)
        self.ports = ports
        self.folder = FOLDER / self.key
        self.folder.mkdir(exist_ok=True)

    def write_config(self, template: str, servers: list[str]) -> Path:
        """Fill in the configuration; the path of its file."""
        config = self.folder / "config"
        config.write_text(template.format(folder=self.folder, port=self.port, servers="\n".join(servers)))
        return config

    def command(self) -> list[str]:
        """The command that starts it."""
        raise NotImplementedError

    def take_out(self, number: int) -> None:
        """Send no more requests to a replica."""
        raise NotImplementedError

    def put_back(self, number: int) -> None:
        """Send requests to a replica again."""
        raise NotImplementedError


class HAProxy(Proxy):
    """HAProxy, told through its control socket."""

    key = "haproxy"
    title = "HAProxy"

    def command(self) -> list[str]:
        servers = [f"    server replica{number} 127.0.0.1:{port}" for number, port in enumerate(self.ports)]
        return ["haproxy", "-db", "-f", str(self.write_config(HAPROXY, servers))]

    def take_out(self, number: int) -> None:
        self._send(f"set server replicas/replica{number} state drain")

    def put_back(self, number: int) -> None:
        self._send(f"set server replicas/replica{number} state ready")

    def _send(self, command: str) -> None:
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.folder / "control"))
            control.sendall(command.encode() + b"\n")
            if reply := control.recv(4096).strip():
                raise OSError(reply.decode())


class Nginx(Proxy):
    """nginx, told by a reload of its configuration."""

    key = "nginx"
    title = "nginx"

    def command(self) -> list[str]:
        return ["nginx", "-e", str(self.folder / "errors"), "-c", str(self._write_config())]

    def take_out(self, number: int) -> None:
        self._reload(without=number)

    def put_back(self, number: int) -> None:
        self._reload()

    def _write_config(self, without: int | None = None) -> Path:
        ports = [port for number, port in enumerate(self.ports) if number != without]
        return self.write_config(NGINX, [f"        server 127.0.0.1:{port} fail_timeout=1s;" for port in ports])

    def _reload(self, without: int | None = None) -> None:
        config = self._write_config(without)
        subprocess.run(["nginx", "-e", str(self.folder / "errors"), "-c", str(config), "-s", "reload"], check=True)


class Operator:
    """Restarts the replicas one after another, in a thread of its own."""

    def __init__(self, case: ShutdownCase, ports: list[int], told: bool, restarts: bool) -> None:
        self.restarted = 0
        self.failure: BaseException | None = None
        self._case = case
        self._ports = ports
        self._told = told
        self._restarts = restarts
        self._stack = contextlib.ExitStack()
        self._replicas = [self._start(number) for number in range(REPLICAS)]
        for port in ports:
            self.page = wait_until_ready(port, GET_CLOSE).partition(b"\r\n\r\n")[2]

    def _start(self, number: int) -> subprocess.Popen:
        command = self._case.command(self._ports[number])
        return self._stack.enter_context(serving(command, SERVER_CPU, FOLDER / f"log{number}"))

    def work(self, proxy: Proxy, seconds: float) -> None:
        """Restart replicas for so many seconds."""
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                number = self.restarted % REPLICAS
                if self._told:
                    proxy.take_out(number)
                if self._restarts:
                    self._replicas[number].send_signal(signal.SIGTERM)
                    self._replicas[number].wait(PATIENCE)
                    self._replicas[number] = self._start(number)
                    wait_until_ready(self._ports[number], GET_CLOSE)
                if self._told:
                    proxy.put_back(number)
                self.restarted += 1
                time.sleep(SETTLE)
        except (OSError, subprocess.SubprocessError) as error:
            self.failure = error

    def __enter__(self) -> "Operator":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def restart_replicas(
    kind: type[Proxy], case: ShutdownCase, seconds: float, told: bool, restarts: bool = True
) -> tuple[OpenLoop, int]:
    """The load with its outcome, and the number of restarts."""
    ports = free_ports(REPLICAS)
    proxy = kind(ports)
    with (
        Operator(case, ports, told, restarts) as operator,
        serving(proxy.command(), SERVER_CPU, FOLDER / f"{proxy.key}.log"),
    ):
        wait_until_ready(proxy.port, GET_CLOSE)
        with OpenLoop(("127.0.0.1", proxy.port), operator.page, KEPT, REQUESTS, NEW, retries=True) as load:
            thread = threading.Thread(target=operator.work, args=(proxy, seconds))
            thread.start()
            load.run(seconds + PATIENCE, lambda: not thread.is_alive())
            load.finish(2)
            thread.join()
        if operator.failure:
            raise operator.failure
        return load, operator.restarted


def rows(kind: type[Proxy], servers: dict[str, Contestant], seconds: float) -> Iterator[str]:
    """The rows of the table of a proxy, as they are measured."""
    if shutil.which(kind.key) is None:
        yield row([f"{kind.title} is not installed", *[""] * 5])
        return
    cases = [*our_cases(servers, DRAIN, 1), *go_cases(servers, DRAIN)]
    plan = [(each, told, True) for told in (True, False) for each in cases]
    for each, told, restarts in [(cases[0], True, False), *plan]:
        title = each.title if restarts else "without restarts"
        telling = "told" if told else "not told"
        print(f"{kind.title}, {telling}: {title}", file=sys.stderr)
        if each.server.missing:
            yield row([title, telling, each.server.missing, *[""] * 3])
            continue
        load, count = restart_replicas(kind, each, seconds, told, restarts)
        yield row([title, telling, count if restarts else 0, f"{load.requests:,}", failures_text([load]), load.retried])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="length of the load for each row")
    parser.add_argument("--proxy", choices=["haproxy", "nginx"])
    options = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/usr/local/sbin"
    os.sched_setaffinity(0, {CLIENT_CPU})
    isolate_network()
    servers = prepared_servers()
    for kind in (HAProxy, Nginx):
        if options.proxy in (None, kind.key):
            print(f"### {kind.title}\n\n{row(HEADS)}\n{row(['---'] * len(HEADS))}", flush=True)
            for line in rows(kind, servers, options.seconds):
                print(line, flush=True)
            print()


if __name__ == "__main__":
    main()
