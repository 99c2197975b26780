"""The servers that benchmarks/hostile.py compares: ours in both shapes, Go's net/http, and nginx."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
WORK = ROOT / "build/hostile"
PAGE = "<!DOCTYPE html><html><head><title>nginx</title></head><body>" + "." * 316 + "</body></html>"  # 390 bytes
NGINX = """
daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
pid nginx.pid;
error_log error.log;
events {{ worker_connections {connections}; }}
http {{
    access_log access.log combined;
    default_type text/html;
    charset utf-8;
    tcp_nodelay on;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        return 200 '{page}';
    }}
}}
"""
NGINX_OWN = 16  # descriptors that are no client's: listener, logs, epoll, the channel to the master, and some to spare

Starter = Callable[[int, int], list[str]]  # port, descriptors that it may have -> command line


class MissingError(Exception):
    """A contestant that cannot take part, and why."""


@dataclass
class Contestant:
    key: str
    name: str
    prepare: Callable[[], Starter]
    start: Starter | None = None
    missing: str = ""  # why it does not take part

    def make_ready(self) -> None:
        try:
            self.start = self.prepare()
        except MissingError as error:
            self.missing = str(error)


def made(line: list[str], what: str) -> None:
    """Run a build."""
    try:
        subprocess.run(line, cwd=ROOT, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        words = getattr(error, "stderr", None) or str(error)
        raise MissingError(f"{what} cannot be built: {words.strip().splitlines()[-1]}") from None


def static() -> Starter:
    made([sys.executable, "setup.py", "-q", "build_static"], "the static program")
    return lambda port, _: [str(ROOT / "build/static/yinyang"), "--port", str(port), "--name", "vm", "--workers", "1"]


def python() -> Starter:
    if importlib.util.find_spec("yinyang") is None:
        raise MissingError("yinyang is not installed for this Python")
    line = [sys.executable, "-m", "yinyang.serve", "--name", "vm", "--workers", "1"]
    return lambda port, _: [*line, "--port", str(port)]


def go() -> Starter:
    if shutil.which("go") is None:
        raise MissingError("Go is not installed")
    program = WORK / "go-server"
    made(["go", "build", "-o", str(program), "benchmarks/peers/main.go"], "the Go program")
    return lambda port, _: [str(program), "--name", "vm", "--port", str(port)]


def nginx() -> Starter:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise MissingError("nginx is not installed")

    def start(port: int, descriptors: int) -> list[str]:
        folder = WORK / "nginx"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        config = folder / "nginx.conf"
        connections = descriptors - NGINX_OWN
        config.write_text(NGINX.format(port=port, descriptors=descriptors, connections=connections, page=PAGE))
        return [program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)]

    return start


def contestants() -> list[Contestant]:
    return [
        Contestant("static", "yinyang, static program", static),
        Contestant("python", "yinyang, on Python", python),
        Contestant("go", "Go net/http", go),
        Contestant("nginx", "nginx", nginx),
    ]
