"""The servers that the benchmarks compare, each with one worker: how each is found, built and started."""

import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import yinyang
from benchmarks.lib.figures import table

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build/contestants"
PROGRAMS = WORK / "programs"  # programs built by a benchmark
PEERS = ROOT / "build/peers"  # Go programs that benchmarks/install-peers installs
PYTHON = ROOT / "build/peers-venv/bin/python"
APPS = ROOT / "benchmarks/peers/apps.py"
STATIC = ROOT / "build/static/yinyang"
PAGE = yinyang.render_page(yinyang.identify("vm")).decode()
NGINX_OWN = 16  # descriptors of nginx itself: listener, logs, epoll, the channel to the master, and some spare ones


class MissingError(Exception):
    """A contestant cannot take part; the message has the reason."""


@dataclass
class Contestant:
    """A server. Its command and its files may have placeholders: @PORT@, @HERE@ (the folder of the files),
    @DESCRIPTORS@ (its limit of file descriptors) and @CONNECTIONS@ (the number of these for clients)."""

    key: str
    name: str
    template: tuple[str, ...]  # of the command
    find_version: Callable[[], str]
    files: dict[str, str] = field(default_factory=dict)
    build: tuple[str, ...] = ()  # command
    piped: bool = False  # its log goes to a pipe instead of a file
    modes: tuple[str, ...] = ()  # the only modes of compare.py in which it takes part; none: all
    path: str = "/"
    body: str = PAGE  # expected at this path
    whoami: str = ""  # the path that says who answers; none: it does not take part where that is asked
    version: str = ""
    missing: str = ""  # the reason why it does not take part

    def prepare(self) -> None:
        """Find its version and build it, or note the reason why it is missing."""
        try:
            self.version = self.find_version()
            if self.build:
                run_build(self.build)
        except MissingError as error:
            self.missing = str(error)

    def command(self, port: int, descriptors: int) -> list[str]:
        """The command that starts it; writes its files."""
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
        return [program(self.template[0]), *map(filled, self.template[1:])]


@functools.cache
def run_build(command: tuple[str, ...]) -> None:
    """Run a build command, the first time that it is asked for."""
    try:
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        message = (getattr(error, "stderr", None) or str(error)).strip()
        raise MissingError(f"cannot be built: {message.splitlines()[-1]}") from None


def program(name: str) -> str:
    """The path of a command."""
    path = name if "/" in name else shutil.which(name) or shutil.which(name, path=MORE_PATH)
    if path is None:
        raise MissingError(f"{name} is not installed")
    return path


def version_of_program(name: str, *options: str, pattern: str = r"(\d+(?:\.\d+)+)") -> Callable[[], str]:
    """Asks a program for its version."""

    def find() -> str:
        done = subprocess.run([program(name), *options], capture_output=True, text=True, check=False)
        found = re.search(pattern, done.stdout + done.stderr)
        if not found:
            raise MissingError(f"{name} does not tell a version")
        return found[1]

    return find


def version_of_go_module(name: str) -> Callable[[], str]:
    """Asks Go for the version of the module from which it installed a program."""

    def find() -> str:
        if not (PEERS / name).exists():
            raise MissingError(f"{name} is not installed")
        return version_of_program("go", "version", "-m", str(PEERS / name), pattern=r"\tmod\t\S+\t(\S+)")()

    return find


def versions_of_packages(*modules: str) -> Callable[[], str]:
    """Asks the peers' Python for the versions of its packages."""

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


def ours(
    key: str, name: str, *options: str, command: tuple[str, ...] = (str(STATIC),), piped: bool = False
) -> Contestant:
    """Our server, in one of its shapes."""
    build = (sys.executable, "setup.py", "-q", "build_static") if command[0] == str(STATIC) else ()
    template = (*command, "--name", "vm", "--workers", "1", "--port", "@PORT@", *options)
    find_version = version_of_program(sys.executable, "-m", "yinyang.serve", "--version")
    return Contestant(key, f"yinyang, {name}", template, find_version, build=build, piped=piped, whoami="/whoami")


def floor(key: str, name: str, depth: int, *modes: str, body: str = PAGE) -> Contestant:
    """The floor server of peers/floor.c; it sends the same bytes as Go's program, with this body."""
    answer = (
        f"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: text/html; charset=utf-8\r\n{'' if depth else CLOSE}\r\n{body}"
    )
    template = (str(PROGRAMS / "floor"), "@PORT@", str(depth), "@HERE@/answer")
    build = ("gcc", "-O2", "-Wall", "-Wextra", "-o", str(PROGRAMS / "floor"), "benchmarks/peers/floor.c")
    files = {"answer": answer}
    find_version = version_of_program("gcc", "--version")
    return Contestant(key, f"floor, {name}", template, find_version, files, build, modes=modes, body=body, whoami="/")


def configured(key: str, name: str, command: str, config: str) -> Contestant:
    """A server that reads a configuration file and serves the page from a file."""
    template = tuple(command.split())
    return Contestant(
        key, name, template, version_of_program(template[0], "-v"), {"config": config, "index.html": PAGE}
    )


def nginx(key: str, name: str, log: str) -> Contestant:
    """Nginx with one value of access_log."""
    config = NGINX.replace("@LOG@", log).replace("@PAGE@", PAGE)
    return configured(key, name, "nginx -p @HERE@ -e @HERE@/error -c @HERE@/config", config)


def on_python(name: str, *command: str, modules: tuple[str, ...] = ()) -> Contestant:
    """A Python server that runs peers/apps.py."""
    modules = modules or (name,)
    template = (str(PYTHON), *(command or (str(APPS), name, "@PORT@")))
    return Contestant(modules[0], name, template, versions_of_packages(*modules))


def by_each_client(*modes: str) -> tuple[str, ...]:
    """These modes of compare.py, with our load and with wrk."""
    return (*modes, *(f"{mode}-wrk" for mode in modes))


def whoami_server(key: str, name: str, path: str, body: str, whoami: str, *options: str) -> Contestant:
    """A Go program for the same purpose as ours. It does not have this page, so its name tells what it is asked for."""
    name = f"{name}, {path}: {len(body)} byte{'' if len(body) == 1 else 's'}"
    command = (str(PEERS / key), *(options or ("--port", "@PORT@")))
    return Contestant(key, name, command, version_of_go_module(key), path=path, body=body, whoami=whoami)


CLOSE = "Connection: close\r\n"
FORTIO = (
    "server -quiet -http-port 127.0.0.1:@PORT@ -grpc-port disabled -tcp-port disabled -udp-port disabled "
    "-redirect-port disabled"
)
WHOAMI_SIZE = 690  # bytes of our response to /whoami, with three digits of requests; what others send differs
WHOAMI_BODY = WHOAMI_SIZE - 133  # what floor() sends before the body
MORE_PATH = "/usr/sbin:/usr/local/sbin:/usr/local/go/bin"
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
        floor("floor", "1 at a time", 1, *by_each_client("keep-alive", "varied", "browser"), "open", "open-h2load"),
        floor("floor-pipelined", "16 at a time", 16, *by_each_client("pipelined")),
        floor("floor-close", "a connection each", 0, *by_each_client("close")),
        floor("floor-whoami", f"{WHOAMI_SIZE} bytes, a connection each", 0, "whoami-wrk", body="x" * WHOAMI_BODY),
        ours("static", "static program"),
        ours("static-pipe", "static program, log to a pipe", piped=True),
        ours("static-no-log", "static program, no log", "--no-access-log"),
        ours("static-no-sandbox", "static program, no sandbox", "--sandbox", "off"),
        ours("python", "on Python", command=ON_PYTHON),
        ours("python-pipe", "on Python, log to a pipe", command=ON_PYTHON, piped=True),
        ours("python-no-log", "on Python, no log", "--no-access-log", command=ON_PYTHON),
        Contestant(
            "go",
            "Go net/http",
            (GO[3], "--name", "vm", "--port", "@PORT@"),
            version_of_program("go", "version"),
            build=GO,
        ),
        whoami_server("whoami", "traefik/whoami", "/bench", "1", "/api"),
        whoami_server("podinfo", "podinfo", "/healthz", '{\n  "status": "OK"\n}', "/api/info"),
        whoami_server("go-httpbin", "go-httpbin", "/base64/MQ==", "1", "/get", "-host", "127.0.0.1", "-port", "@PORT@"),
        whoami_server("fortio", "fortio", "/", "", "/debug", *FORTIO.split()),
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


def prepare(keys: Iterable[str], others: Iterable[Contestant] = ()) -> list[Contestant]:
    """Empty the working folder, and prepare the contestants with these keys, and others."""
    shutil.rmtree(WORK, ignore_errors=True)
    PROGRAMS.mkdir(parents=True)
    run_build.cache_clear()
    found = [*(CONTESTANTS[key] for key in keys), *others]
    for each in found:
        each.prepare()
    return found


def contestant_table(
    heads: list[str], servers: list[Contestant], rows: dict[str, list[str]], failures: dict[str, str]
) -> str:
    """A table with a row for each contestant, from cells by key; a missing or failed one has the reason instead."""
    cells = [rows.get(each.key) or reason_row(each.missing or failures[each.key], len(heads)) for each in servers]
    return table(heads, [[each.name, *row] for each, row in zip(servers, cells, strict=True)])


def reason_row(reason: str, columns: int) -> list[str]:
    """The cells of a contestant without figures."""
    return [reason] + [""] * (columns - 1)
