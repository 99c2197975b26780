"""The servers that the benchmarks compare, each with one worker: what they need, how they are built and started."""

import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import yinyang

ROOT = Path(__file__).parent.parent
WORK = ROOT / "build/contestants"
PROGRAMS = WORK / "programs"  # that are built here
PEERS = ROOT / "build/peers"  # what benchmarks/install-peers had Go install
PYTHON = ROOT / "build/peers-venv/bin/python"
APPS = ROOT / "benchmarks/peers/apps.py"
STATIC = ROOT / "build/static/yinyang"
PAGE = yinyang.render_page(yinyang.identify("vm")).decode()
NGINX_OWN = 16  # descriptors that are no client's: listener, logs, epoll, the channel to the master, and some to spare


class MissingError(Exception):
    """A contestant that cannot take part, and why."""


@dataclass
class Contestant:
    """A server. In its command line and its files @PORT@, @HERE@ (their folder), @DESCRIPTORS@ that it may have, and
    @CONNECTIONS@ of them are filled in."""

    key: str
    name: str
    line: tuple[str, ...]
    find: Callable[[], str]  # its version
    files: dict[str, str] = field(default_factory=dict)
    build: tuple[str, ...] = ()  # the command line for that
    piped: bool = False  # its log is read from a pipe, not written to a file
    modes: tuple[str, ...] = ()  # of compare.py, in which alone it takes part
    path: str = "/"
    body: str = PAGE  # what it answers there
    version: str = ""
    missing: str = ""  # why it does not take part

    def make_ready(self) -> None:
        try:
            self.version = self.find()
            if self.build:
                made(self.build)
        except MissingError as error:
            self.missing = str(error)

    def start(self, port: int, descriptors: int) -> list[str]:
        """The command line, when its files are written."""
        here = WORK / self.key
        values = {
            "@PORT@": port,
            "@HERE@": here,
            "@DESCRIPTORS@": descriptors,
            "@CONNECTIONS@": descriptors - NGINX_OWN,
        }

        def filled(text: str) -> str:
            return re.sub("|".join(values), lambda match: str(values[match[0]]), text)

        if self.files:
            shutil.rmtree(here, ignore_errors=True)
            here.mkdir()
        for name, text in self.files.items():
            (here / name).write_text(filled(text))
        return [program(self.line[0]), *map(filled, self.line[1:])]


@functools.cache
def made(line: tuple[str, ...]) -> None:
    """Run a build, once."""
    try:
        subprocess.run(line, cwd=ROOT, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        words = (getattr(error, "stderr", None) or str(error)).strip()
        raise MissingError(f"cannot be built: {words.splitlines()[-1]}") from None


def program(name: str) -> str:
    """The path of a command; a path is one already."""
    path = name if "/" in name else shutil.which(name) or shutil.which(name, path=ELSEWHERE)
    if path is None:
        raise MissingError(f"{name} is not installed")
    return path


def says(name: str, *options: str, pattern: str = r"(\d+(?:\.\d+)+)") -> Callable[[], str]:
    """The version that a program tells."""

    def find() -> str:
        done = subprocess.run([program(name), *options], capture_output=True, text=True, check=False)
        found = re.search(pattern, done.stdout + done.stderr)
        if not found:
            raise MissingError(f"{name} does not tell a version")
        return found[1]

    return find


def of_module(name: str) -> Callable[[], str]:
    """The version of the module that Go has installed a program from."""

    def find() -> str:
        if not (PEERS / name).exists():
            raise MissingError(f"{name} is not installed")
        return says("go", "version", "-m", str(PEERS / name), pattern=r"\tmod\t\S+\t(\S+)")()

    return find


def of_python(*modules: str) -> Callable[[], str]:
    """The versions of modules of the peers' Python."""

    def find() -> str:
        versions = []
        for each in modules:
            ask = [PYTHON, "-c", f"import {each}; from importlib.metadata import version; print(version({each!r}))"]
            done = subprocess.run(ask, capture_output=True, text=True, check=False) if PYTHON.exists() else None
            if done is None or done.returncode:
                raise MissingError(f"{each} is not installed")
            versions.append(f"{each} {done.stdout.split()[-1]}")
        return ", ".join(versions)

    return find


def ours(key: str, name: str, *options: str, line: tuple[str, ...] = (str(STATIC),), piped: bool = False) -> Contestant:
    build = (sys.executable, "setup.py", "-q", "build_static") if line[0] == str(STATIC) else ()
    line += ("--name", "vm", "--workers", "1", "--port", "@PORT@", *options)
    find = says(sys.executable, "-m", "yinyang.serve", "--version")
    return Contestant(key, f"yinyang, {name}", line, find, build=build, piped=piped)


def floor(key: str, name: str, depth: int, *modes: str) -> Contestant:
    """Sends what Go does."""
    answer = (
        f"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: {len(PAGE)}\r\n"
        f"Content-Type: text/html; charset=utf-8\r\n{'' if depth else CLOSE}\r\n{PAGE}"
    )
    line = (str(PROGRAMS / "floor"), "@PORT@", str(depth), "@HERE@/answer")
    build = ("gcc", "-O2", "-Wall", "-Wextra", "-o", str(PROGRAMS / "floor"), "benchmarks/peers/floor.c")
    return Contestant(key, f"floor, {name}", line, says("gcc", "--version"), {"answer": answer}, build, modes=modes)


def configured(key: str, name: str, line: str, config: str, version: str = "-v") -> Contestant:
    """A server with a file of configuration, and one of the page."""
    words = tuple(line.split())
    return Contestant(key, name, words, says(words[0], version), {"config": config, "index.html": PAGE})


def nginx(key: str, name: str, log: str) -> Contestant:
    config = NGINX.replace("@LOG@", log).replace("@PAGE@", PAGE)
    return configured(key, name, "nginx -p @HERE@ -e @HERE@/error -c @HERE@/config", config)


def on_python(name: str, *line: str, modules: tuple[str, ...] = ()) -> Contestant:
    """A Python server of the peers."""
    modules = modules or (name,)
    return Contestant(modules[0], name, (str(PYTHON), *(line or (str(APPS), name, "@PORT@"))), of_python(*modules))


def of_go(key: str, name: str, path: str, body: str) -> Contestant:
    """Programs that show who answers, as ours does, but not with this page: the name says with what."""
    name = f"{name}, {path}: {len(body)} byte{'s' if len(body) > 1 else ''}"
    return Contestant(key, name, (str(PEERS / key), "--port", "@PORT@"), of_module(key), path=path, body=body)


CLOSE = "Connection: close\r\n"
ELSEWHERE = "/usr/sbin:/usr/local/sbin:/usr/local/go/bin"
NGINX = """
daemon off; worker_processes 1; worker_rlimit_nofile @DESCRIPTORS@; pid nginx.pid; error_log error;
events { worker_connections @CONNECTIONS@; }
http {
    access_log @LOG@; default_type text/html; charset utf-8; tcp_nodelay on; keepalive_requests 1000000000;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server { listen 127.0.0.1:@PORT@ backlog=4096; return 200 '@PAGE@'; }
}
"""
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
ASGI = ("--interface", "asgi", "--no-log", "--host", "127.0.0.1", "--port", "@PORT@", "--workers", "1")
ON_PYTHON = (sys.executable, "-m", "yinyang.serve")
GO = ("go", "build", "-o", str(PROGRAMS / "go"), "benchmarks/peers/main.go")

CONTESTANTS = {
    each.key: each
    for each in (
        floor("floor", "1 at a time", 1, "keep-alive", "varied", "browser", "open"),
        floor("floor-pipelined", "16 at a time", 16, "pipelined"),
        floor("floor-close", "a connection each", 0, "close"),
        ours("static", "static program"),
        ours("static-pipe", "static program, log to a pipe", piped=True),
        ours("static-no-log", "static program, no log", "--no-access-log"),
        ours("static-no-sandbox", "static program, no sandbox", "--sandbox", "off"),
        ours("python", "on Python", line=ON_PYTHON),
        ours("python-pipe", "on Python, log to a pipe", line=ON_PYTHON, piped=True),
        ours("python-no-log", "on Python, no log", "--no-access-log", line=ON_PYTHON),
        Contestant("go", "Go net/http", (GO[3], "--name", "vm", "--port", "@PORT@"), says("go", "version"), build=GO),
        of_go("whoami", "traefik/whoami", "/bench", "1"),
        of_go("podinfo", "podinfo", "/healthz", '{\n  "status": "OK"\n}'),
        nginx("nginx", "nginx", "access combined"),
        nginx("nginx-buffered", "nginx, log buffered", "access combined buffer=64k flush=1s"),
        nginx("nginx-no-log", "nginx, log off", "off"),
        configured("haproxy", "HAProxy", "haproxy -f @HERE@/config", HAPROXY),
        configured("h2o", "h2o", "h2o -c @HERE@/config", H2O),
        configured("lighttpd", "lighttpd", "lighttpd -D -f @HERE@/config", LIGHTTPD),
        on_python(
            "uvicorn, httptools, uvloop",
            *("-m", "uvicorn", "--app-dir", str(APPS.parent), "--no-access-log", "--port", "@PORT@", "apps:asgi"),
            modules=("uvicorn", "httptools", "uvloop"),
        ),
        on_python("granian", "-m", "granian", *ASGI, "--working-dir", str(APPS.parent), "apps:asgi"),
        on_python("fastpysgi"),
        on_python("socketify"),
        on_python("robyn"),
    )
}


def made_ready(keys: Iterable[str]) -> list[Contestant]:
    """Those with these keys, in an empty folder, and ready to start unless they are missing."""
    shutil.rmtree(WORK, ignore_errors=True)
    PROGRAMS.mkdir(parents=True)
    found = [CONTESTANTS[key] for key in keys]
    for each in found:
        each.make_ready()
    return found


def table(heads: list[str], servers: list[Contestant], rows: dict[str, list[str]], failures: dict[str, str]) -> str:
    """In Markdown, a row for each, by key; one that is missing or failed has the reason instead."""
    lines = [f"| | {' | '.join(heads)} |", "| --- " * (len(heads) + 1) + "|"]
    for each in servers:
        row = rows.get(each.key) or [each.missing or failures[each.key]] + [""] * (len(heads) - 1)
        lines.append(f"| {each.name} | {' | '.join(row)} |")
    return "\n".join(lines)
