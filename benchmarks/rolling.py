"""Replicas that are restarted one after another behind a real proxy: ours in both shapes, and Go's net/http.

    python benchmarks/rolling.py [--seconds 60] [--proxy haproxy]

Prints a table in Markdown for each proxy, HAProxy and nginx; what is missing is named as missing (on Debian: haproxy,
nginx-light, golang). Three replicas and the proxy have one CPU, the load the other: 100 kept connections to the proxy
with together 500 requests a second, and 50 new connections a second with a request each. All the time one replica is
taken out, sent SIGTERM, waited for, started again on the same port, and put back as soon as it answers; then the next.

told            The proxy is told before SIGTERM and after the start: HAProxy through its socket (`set server ... state
                drain`, `ready`), nginx, which checks nothing by itself, by a reload of a configuration without the
                replica, and of the whole one.
not told        The proxy finds out by itself: HAProxy asks each replica every 200 ms whether it is well, nginx sees
                that a request fails, and leaves that replica alone for a second.
failed          Requests of the clients without the whole right answer, and how. A proxy may try another replica, by
                its defaults.
sent again      Requests on a connection to the proxy that had served before and ended without a byte of the answer: any
                client sends such a request once more on a new connection, and so does the load. nginx ends idle
                connections when it reloads, whatever comes on them.

Each proxy has a row without restarts too, in which it alone is told: what fails there is not the replicas' fault.
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

from drain import CLIENT_CPU, SERVER_CPU, failed_words
from endings import FOLDER, Ending, go, ours, servers
from network import leave_shared_network
from processes import PATIENCE, free_port, serving, wait_until_it_answers
from steady import LAST, Load

DRAIN = 3  # seconds
REPLICAS = 3
KEPT, REQUESTS, NEW = 100, 500.0, 50.0
SETTLE = 1.5  # seconds between one replica and the next

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


class HAProxy:
    """The proxy, and how its operator tells it of a replica."""

    key = "haproxy"
    title = "HAProxy"

    def __init__(self, ports: list[int]) -> None:
        self.port = free_port()
        self._folder = FOLDER / self.key
        rows = "\n".join(f"    server replica{number} 127.0.0.1:{port}" for number, port in enumerate(ports))
        config = configured(self._folder, HAPROXY.format(folder=self._folder, port=self.port, servers=rows))
        self.line = ["haproxy", "-db", "-f", str(config)]

    def take_out(self, number: int) -> None:
        self._command(f"set server replicas/replica{number} state drain")

    def put_back(self, number: int) -> None:
        self._command(f"set server replicas/replica{number} state ready")

    def _command(self, words: str) -> None:
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self._folder / "control"))
            control.sendall(words.encode() + b"\n")
            if reply := control.recv(4096).strip():
                raise OSError(reply.decode())


class Nginx:
    """Likewise."""

    key = "nginx"
    title = "nginx"

    def __init__(self, ports: list[int]) -> None:
        self.port = free_port()
        self._folder = FOLDER / self.key
        self._ports = ports
        self.line = ["nginx", "-e", str(self._folder / "errors"), "-c", str(self._configure(-1))]

    def take_out(self, number: int) -> None:
        self._configure(number)
        self._reload()

    def put_back(self, _: int) -> None:
        self._configure(-1)
        self._reload()

    def _configure(self, without: int) -> Path:
        rows = "\n".join(
            f"        server 127.0.0.1:{port} fail_timeout=1s;"
            for number, port in enumerate(self._ports)
            if number != without
        )
        return configured(self._folder, NGINX.format(folder=self._folder, port=self.port, servers=rows))

    def _reload(self) -> None:
        subprocess.run([*self.line, "-s", "reload"], check=True)


def configured(folder: Path, words: str) -> Path:
    folder.mkdir(exist_ok=True)
    config = folder / "config"
    config.write_text(words)
    return config


class Operator:
    """Restarts the replicas one after another, in a thread of its own."""

    def __init__(self, ending: Ending, ports: list[int], told: bool, restarts: bool) -> None:
        self.restarted = 0
        self.failure: BaseException | None = None
        self._ending = ending
        self._ports = ports
        self._told = told
        self._restarts = restarts
        self._stack = contextlib.ExitStack()
        self._replicas = [self._started(number) for number in range(REPLICAS)]
        for port in ports:
            self.page = wait_until_it_answers(port, LAST).partition(b"\r\n\r\n")[2]

    def _started(self, number: int) -> subprocess.Popen:
        line = self._ending.line(self._ports[number])
        return self._stack.enter_context(serving(line, SERVER_CPU, FOLDER / f"log{number}"))

    def work(self, proxy: HAProxy | Nginx, seconds: float) -> None:
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                number = self.restarted % REPLICAS
                if self._told:
                    proxy.take_out(number)
                if self._restarts:
                    self._replicas[number].send_signal(signal.SIGTERM)
                    self._replicas[number].wait(PATIENCE)
                    self._replicas[number] = self._started(number)
                    wait_until_it_answers(self._ports[number], LAST)
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


def rolled(
    kind: type[HAProxy | Nginx], ending: Ending, seconds: float, told: bool, restarts: bool = True
) -> tuple[Load, int]:
    """What became of the load, and how many restarts there were."""
    ports = [free_port() for _ in range(REPLICAS)]
    proxy = kind(ports)
    with (
        Operator(ending, ports, told, restarts) as operator,
        serving(proxy.line, SERVER_CPU, FOLDER / f"{proxy.key}.log"),
    ):
        wait_until_it_answers(proxy.port, LAST)
        with Load(("127.0.0.1", proxy.port), operator.page, KEPT, REQUESTS, NEW, tries_again=True) as load:
            thread = threading.Thread(target=operator.work, args=(proxy, seconds))
            thread.start()
            load.run(seconds + PATIENCE, lambda: not thread.is_alive())
            load.finish(2)
            thread.join()
        if operator.failure:
            raise operator.failure
        return load, operator.restarted


def rows(kind: type[HAProxy | Nginx], seconds: float) -> Iterator[str]:
    found = servers()
    if shutil.which(kind.key) is None:
        yield f"| {kind.title} is not installed | | | | | |"
        return
    taking_part = [*ours(found, DRAIN, 1), *go(found, DRAIN)]
    plan = [(each, told, True) for told in (True, False) for each in taking_part]
    for each, told, restarts in [(taking_part[0], True, False), *plan]:
        title = each.title if restarts else "without restarts"
        words = "told" if told else "not told"
        print(f"{kind.title}, {words}: {title}", file=sys.stderr)
        if each.server.missing:
            yield f"| {title} | {words} | {each.server.missing} | | | |"
            continue
        load, count = rolled(kind, each, seconds, told, restarts)
        cells = [title, words, str(count if restarts else 0), f"{load.requests:,}", failed_words([load])]
        yield f"| {' | '.join(cells)} | {load.tried_again:,} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="of load, for each row")
    parser.add_argument("--proxy", choices=["haproxy", "nginx"])
    options = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/usr/local/sbin"
    os.sched_setaffinity(0, {CLIENT_CPU})
    leave_shared_network()
    for kind in (HAProxy, Nginx):
        if options.proxy in (None, kind.key):
            heads = "| | the proxy is | restarts | requests | failed | sent again |"
            print(f"### {kind.title}\n\n{heads}\n{'| --- ' * 6}|", flush=True)
            for row in rows(kind, options.seconds):
                print(row, flush=True)
            print()


if __name__ == "__main__":
    main()
