"""Size, start and memory of our server in both shapes, beside a Go net/http program with the same function, built
plain, stripped, and packed with UPX.

    python -m benchmarks.footprint [--rounds 30] [--engine podman] [--json FILE]

Builds the images (with docker, or with buildah and podman), extracts the programs and runs them on the host, each on
one CPU, with the load on the other; they take turns. Prints a table in Markdown.
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

from benchmarks.lib.figures import spread, table
from benchmarks.lib.http_requests import GET, GET_CLOSE
from benchmarks.lib.processes import CLIENT_CPU, SERVER_CPU, cpu_time, free_port, pss, serving, wait_until_ready

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build/footprint"
REQUESTS = 10_000
CONNECTIONS = 16


@dataclass
class Contestant:
    """A program in an image, and its figures; the lists have a value for each round."""

    name: str
    target: str  # of the Dockerfile
    dockerfile: str = "benchmarks/footprint.Dockerfile"
    program: Path = Path()
    command: list[str] = field(default_factory=list)
    image: int = 0  # bytes of all layers
    pulled: int = 0  # bytes of all layers, compressed
    size: int = 0  # bytes of the program
    start: list[float] = field(default_factory=list)  # seconds
    idle: list[int] = field(default_factory=list)  # bytes
    after: list[int] = field(default_factory=list)  # bytes
    cpu: list[float] = field(default_factory=list)  # seconds per request


def run(*line: str) -> None:
    subprocess.run(line, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def build(contestant: Contestant, engine: str) -> None:
    """Build the image, measure its layers, and extract the program."""
    name = f"localhost/footprint-{contestant.target}"
    options = ["-t", name, "-f", contestant.dockerfile, "."]
    if contestant.dockerfile != "Dockerfile":
        # .dockerignore excludes the files that these images need
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
        contestant.command = [str(contestant.program), "--name", "vm"]
    archive.unlink()


def load(port: int) -> None:
    """Send REQUESTS requests, on CONNECTIONS connections in turn."""
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    for number in range(REQUESTS):
        client = clients[number % CONNECTIONS]
        client.sendall(GET)
        received = b""
        while not received.endswith(b"</html>"):
            piece = client.recv(4096)
            if not piece:
                raise ConnectionError("the server closed a connection")
            received += piece
    for client in clients:
        client.close()


def measure(contestant: Contestant) -> None:
    """Run the program once, and note its figures."""
    port = free_port()
    log = WORK / "log"
    begin = time.perf_counter()
    with serving([*contestant.command, "--port", str(port)], SERVER_CPU, log) as process:
        received = wait_until_ready(port, GET_CLOSE)
        contestant.start.append(time.perf_counter() - begin)
        if not received.startswith(b"HTTP/1.1 200 OK\r\n") or not received.endswith(b"</html>"):
            raise RuntimeError(f"{contestant.name}: the response is {received!r}")
        time.sleep(0.2)  # until the start is complete
        contestant.idle.append(pss(process.pid))
        before = cpu_time(process.pid)
        load(port)
        time.sleep(0.2)  # until the log is written
        contestant.cpu.append((cpu_time(process.pid) - before) / REQUESTS)
        contestant.after.append(pss(process.pid))


def figures_table(contestants: list[Contestant]) -> str:
    """A row for each contestant."""
    heads = ["image, kB", "pulled, kB", "program, kB", "exec to first response, ms", "memory idle, kB"]
    heads += ["after 10,000 requests, kB", "CPU per request, us"]
    rows = []
    for each in contestants:
        sizes = (f"{size / 1000:,.1f}" if size else "" for size in (each.image, each.pulled, each.size))
        memory = (f"{statistics.median(values) / 1000:,.0f}" for values in (each.idle, each.after))
        rows.append([each.name, *sizes, spread(each.start, 1000), *memory, spread(each.cpu, 1e6)])
    return table(heads, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--engine", default="podman" if shutil.which("podman") else "docker")
    parser.add_argument("--json", type=Path, help="file for all figures")
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
    contestants[0].command += ["--workers", "1"]
    contestants[1].command = [sys.executable, "-m", "yinyang.serve", "--name", "vm", "--workers", "1"]
    os.environ["PYTHONPATH"] = str(WORK / "site")
    os.sched_setaffinity(0, {CLIENT_CPU})
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        for each in contestants:
            measure(each)
    print(figures_table(contestants))
    if options.json:
        figures = [{**vars(each), "program": each.program.name, "command": each.command[1:]} for each in contestants]
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
