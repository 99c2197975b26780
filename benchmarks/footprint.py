"""The size of the server and what it costs to start: ours in both shapes, and a Go net/http program that does the same
job, built plain, stripped, and packed with UPX.

    python benchmarks/footprint.py [--rounds 30] [--engine podman] [--json FILE]

Builds the images (with docker, or with buildah and podman), takes the programs out of them, and runs these on the host,
each on one CPU, asked from another one; the contestants take turns. Prints a table in Markdown.
"""

import argparse
import gzip
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from figures import spread
from processes import cpu_time, free_port, resident, serving, wait_until_it_answers

ROOT = Path(__file__).parent.parent
WORK = ROOT / "build/footprint"
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
REQUESTS = 10_000
CONNECTIONS = 16
SERVER_CPU, CLIENT_CPU = 1, 0


@dataclass
class Contestant:
    name: str
    target: str  # of the Dockerfile
    dockerfile: str = "benchmarks/footprint.Dockerfile"
    program: Path = Path()
    line: list[str] = field(default_factory=list)
    image: int = 0  # bytes, of all layers
    pulled: int = 0  # bytes, of all layers when compressed
    size: int = 0  # bytes, of the program
    start: list[float] = field(default_factory=list)  # seconds
    idle: list[int] = field(default_factory=list)  # bytes
    after: list[int] = field(default_factory=list)  # bytes
    cpu: list[float] = field(default_factory=list)  # seconds a request


def run(*line: str) -> None:
    subprocess.run(line, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def build(contestant: Contestant, engine: str) -> None:
    """Make the image, measure its layers, and take the program out."""
    name = f"localhost/footprint-{contestant.target}"
    options = ["-t", name, "-f", contestant.dockerfile, "."]
    if contestant.dockerfile != "Dockerfile":
        # what .dockerignore leaves out for the product's image
        options = ["--ignorefile", "/dev/null", "--target", contestant.target, *options]
    run(*(["buildah", "bud", "--isolation", "chroot"] if engine == "podman" else [engine, "build"]), *options)
    archive = WORK / f"{contestant.target}.tar"
    archive.unlink(missing_ok=True)
    form = ["--format", "docker-archive"] if engine == "podman" else []
    run(engine, "save", *form, "-o", str(archive), name)
    folder = WORK / contestant.target
    with tarfile.open(archive) as saved:
        for layer in json.load(saved.extractfile("manifest.json"))[0]["Layers"]:
            content = saved.extractfile(layer).read()
            contestant.image += len(content)
            contestant.pulled += len(gzip.compress(content, 9, mtime=0))
            if contestant.target != "python":
                layer_file = WORK / "layer.tar"
                layer_file.write_bytes(content)
                with tarfile.open(layer_file) as files:
                    files.extractall(folder, filter="data")
    if contestant.target != "python":
        contestant.program = next(folder.iterdir())
        contestant.size = contestant.program.stat().st_size
        contestant.line = [str(contestant.program), "--name", "vm"]
    archive.unlink()


def load(port: int) -> None:
    """REQUESTS requests on CONNECTIONS connections, in turn."""
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    for number in range(REQUESTS):
        client = clients[number % CONNECTIONS]
        client.sendall(REQUEST)
        received = b""
        while not received.endswith(b"</html>"):
            piece = client.recv(4096)
            if not piece:
                raise ConnectionError("the server closed a connection")
            received += piece
    for client in clients:
        client.close()


def round_of(contestant: Contestant) -> None:
    port = free_port()
    log = WORK / "log"
    begin = time.perf_counter()
    with serving([*contestant.line, "--port", str(port)], SERVER_CPU, log) as process:
        received = wait_until_it_answers(port, LAST)
        contestant.start.append(time.perf_counter() - begin)
        if not received.startswith(b"HTTP/1.1 200 OK\r\n") or not received.endswith(b"</html>"):
            raise RuntimeError(f"{contestant.name} answers {received!r}")
        time.sleep(0.2)  # what runs after the start
        contestant.idle.append(resident(process.pid))
        before = cpu_time(process.pid)
        load(port)
        time.sleep(0.2)  # the log is written
        contestant.cpu.append((cpu_time(process.pid) - before) / REQUESTS)
        contestant.after.append(resident(process.pid))


def table(contestants: list[Contestant]) -> str:
    rows = [
        "| | image, kB | pulled, kB | program, kB | exec to first answer, ms | memory idle, kB "
        "| after 10,000 requests, kB | CPU a request, us |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in contestants:
        sizes = (f"{size / 1000:,.1f}" if size else "" for size in (each.image, each.pulled, each.size))
        kilo = (f"{statistics.median(values) / 1000:,.0f}" for values in (each.idle, each.after))
        rows.append(
            f"| {each.name} | {' | '.join(sizes)} | {spread(each.start, 1000)} | {' | '.join(kilo)} "
            f"| {spread(each.cpu, 1e6)} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--engine", default="podman" if shutil.which("podman") else "docker")
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()
    shutil.rmtree(WORK, ignore_errors=True)
    (WORK / "site").mkdir(parents=True)
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(WORK / "site"), ".")
    contestants = [
        Contestant("yinyang, static program", "yinyang", dockerfile="Dockerfile"),
        Contestant("yinyang, on Python", "python"),
        Contestant("Go net/http, plain", "go"),
        Contestant("Go net/http, stripped", "go-stripped"),
        Contestant("Go net/http, packed with UPX", "go-packed"),
    ]
    for each in contestants:
        print(f"building {each.name}", file=sys.stderr)
        build(each, options.engine)
    contestants[0].line += ["--workers", "1"]
    contestants[1].line = [sys.executable, "-m", "yinyang.serve", "--name", "vm", "--workers", "1"]
    os.environ["PYTHONPATH"] = str(WORK / "site")
    os.sched_setaffinity(0, {CLIENT_CPU})
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        for each in contestants:
            round_of(each)
    print(table(contestants))
    if options.json:
        figures = [{**vars(each), "program": each.program.name, "line": each.line[1:]} for each in contestants]
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
