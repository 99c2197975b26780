"""The field: every server that benchmarks/compare.py compares, each with one worker, and the files that it needs."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yinyang

ROOT = Path(__file__).parent.parent
WORK = ROOT / "build/compare"
PYTHON = ROOT / "build/peers-venv/bin/python"
PAGE = WORK / "page"
FLOOR = ("floor, 1 at a time", "floor, 16 at a time", "floor, a connection each")


@dataclass(frozen=True)
class Contestant:
    """A server: its command line for a port, and what it needs to be there."""

    name: str
    line: Callable[[int], list[str]]
    needs: tuple[str, ...] = ()  # programs, or modules of the peers' Python
    logs: str = "file"  # where its stderr goes: a file, a pipe that is read, or nowhere
    modes: tuple[str, ...] = ()  # in which alone it takes part

    def missing(self) -> str:
        """What it needs and is not there."""
        for need in self.needs:
            if need.startswith("python:"):
                here = (
                    PYTHON.exists()
                    and not subprocess.run(
                        [PYTHON, "-c", f"import {need[7:]}"], capture_output=True, check=False
                    ).returncode
                )
            else:
                here = program(need) is not None
            if not here:
                return f"{need.removeprefix('python:')} is not installed"
        return ""


def program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/local/go/bin")


def prepare() -> None:
    """Build ours, the floor, the load generator and the Go program, and put the page where servers of files find it."""
    WORK.mkdir(parents=True, exist_ok=True)
    PAGE.write_bytes(yinyang.render_page(yinyang.identify("vm")))
    flags = ["-O2", "-Wall", "-Wextra"]
    subprocess.run(["gcc", *flags, "-o", WORK / "load", "benchmarks/load.c"], cwd=ROOT, check=True)
    subprocess.run(["gcc", *flags, "-o", WORK / "floor", "benchmarks/peers/floor.c"], cwd=ROOT, check=True)
    subprocess.run([sys.executable, "setup.py", "-q", "build_static"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    if go := program("go"):
        subprocess.run([go, "build", "-o", WORK / "go", "benchmarks/peers/main.go"], cwd=ROOT, check=True)


def ours(*options: str) -> Callable[[int], list[str]]:
    line = [str(ROOT / "build/static/yinyang"), "--name", "vm", "--workers", "1", *options]
    return lambda port: [*line, "--port", str(port)]


def on_python(port: int) -> list[str]:
    return [sys.executable, "-m", "yinyang.serve", "--name", "vm", "--workers", "1", "--port", str(port)]


def floor(depth: int, closes: bool = False) -> Callable[[int], list[str]]:
    answer = (
        b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 390\r\n"
        b"Content-Type: text/html; charset=utf-8\r\n" + (b"Connection: close\r\n" if closes else b"") + b"\r\n"
    )

    def line(port: int) -> list[str]:
        file = WORK / f"floor-{depth}"
        file.write_bytes(answer + PAGE.read_bytes())
        return [str(WORK / "floor"), str(port), str(depth), str(file)]

    return line


def configured(name: str, options: Callable[[str, Path], list[str]], text: str) -> Callable[[int], list[str]]:
    """A server with a file of configuration, in which @PORT@, @PAGE@ and @HERE@ are filled in."""

    def line(port: int) -> list[str]:
        here = WORK / f"{name}-{port}"
        shutil.rmtree(here, ignore_errors=True)
        here.mkdir()
        (here / "index.html").write_bytes(PAGE.read_bytes())
        config = here / "config"
        filled = text.replace("@PORT@", str(port)).replace("@PAGE@", PAGE.read_text()).replace("@HERE@", str(here))
        config.write_text(filled)
        return options(program(name.partition("-")[0]), config)

    return line


def nginx(log: str) -> Callable[[int], list[str]]:
    return configured(
        f"nginx-{log.partition(' ')[0]}",
        lambda path, config: [path, "-p", str(config.parent), "-e", str(config.parent / "error"), "-c", str(config)],
        f"""
daemon off; worker_processes 1; pid nginx.pid; error_log error;
events {{ worker_connections 20000; }}
http {{
    access_log {log}; default_type text/html; charset utf-8; tcp_nodelay on; keepalive_requests 1000000000;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{ listen 127.0.0.1:@PORT@ backlog=4096; return 200 '@PAGE@'; }}
}}
""",
    )


HAPROXY = """
global
    nbthread 1
defaults
    mode http
    timeout client 60s
    timeout http-keep-alive 60s
frontend page
    bind 127.0.0.1:@PORT@
    http-request return status 200 content-type "text/html; charset=utf-8" file @HERE@/index.html
"""
LIGHTTPD = """
server.document-root = "@HERE@"
server.bind = "127.0.0.1"
server.port = @PORT@
server.max-keep-alive-requests = 1000000000
index-file.names = ("index.html")
mimetype.assign = (".html" => "text/html; charset=utf-8")
"""
H2O = """
num-threads: 1
http1-request-timeout: 60
hosts:
  default:
    listen: {host: 127.0.0.1, port: @PORT@}
    paths: {"/": {file.dir: @HERE@}}
"""


def apps(*line: str) -> Callable[[int], list[str]]:
    """A Python server; @PORT@ is filled in."""
    return lambda port: [str(PYTHON), *(each.replace("@PORT@", str(port)) for each in line)]


APPS = str(ROOT / "benchmarks/peers/apps.py")
ASGI = ("--interface", "asgi", "--no-log", "--host", "127.0.0.1", "--port", "@PORT@", "--workers", "1")
FIELD = [
    Contestant(FLOOR[0], floor(1), modes=("keep-alive", "browser")),
    Contestant(FLOOR[1], floor(16), modes=("pipelined",)),
    Contestant(FLOOR[2], floor(0, closes=True), modes=("close",)),
    Contestant("yinyang, static program", ours()),
    Contestant("yinyang, static program, log to a pipe", ours(), logs="pipe"),
    Contestant("yinyang, static program, no log", ours("--no-access-log")),
    Contestant("yinyang, static program, no sandbox", ours("--sandbox", "off")),
    Contestant("yinyang, on Python", on_python),
    Contestant("Go net/http", lambda port: [str(WORK / "go"), "--name", "vm", "--port", str(port)], ("go",)),
    Contestant("nginx, log off", nginx("off"), ("nginx",)),
    Contestant("nginx, log buffered", nginx("access combined buffer=64k flush=1s"), ("nginx",)),
    Contestant("HAProxy", configured("haproxy", lambda path, config: [path, "-f", str(config)], HAPROXY), ("haproxy",)),
    Contestant("h2o", configured("h2o", lambda path, config: [path, "-c", str(config)], H2O), ("h2o",)),
    Contestant(
        "lighttpd",
        configured("lighttpd", lambda path, config: [path, "-D", "-f", str(config)], LIGHTTPD),
        ("lighttpd",),
    ),
    Contestant(
        "uvicorn, httptools, uvloop",
        apps("-m", "uvicorn", "--app-dir", str(Path(APPS).parent), "--no-access-log", "--port", "@PORT@", "apps:asgi"),
        ("python:uvicorn", "python:httptools", "python:uvloop"),
    ),
    Contestant(
        "granian",
        apps("-m", "granian", *ASGI, "--working-dir", str(Path(APPS).parent), "apps:asgi"),
        ("python:granian",),
    ),
    Contestant("fastpysgi", apps(APPS, "fastpysgi", "@PORT@"), ("python:fastpysgi",)),
    Contestant("socketify", apps(APPS, "socketify", "@PORT@"), ("python:socketify",)),
    Contestant("robyn", apps(APPS, "robyn", "@PORT@"), ("python:robyn",)),
]
