"""Clients that connect and say nothing: whether they keep others out, and whether they are reset.

    python -m benchmarks.studies.silent_clients [--silent 10000] [--rounds 5]

Prints tables in Markdown. Needs root, because each server runs in a network namespace of its own, and ip (on Debian:
iproute2). The first table is for silent clients that connect as fast as they can, with and without SYN cookies; a
healthy client connects before every hundredth of them, then 100 times a second.

longest         The longest time from connect(2) of the healthy client to its response: before the silent clients
                connect, meanwhile, and in the 5 s afterwards.
open            Connections that the server has accepted by the end of these 5 s, with the one that asks.

The second table is for clients of a server that ends without a drain: each connects, and asks 0.5 s after SIGTERM.

answered        Clients that got their response; the rest were reset or closed.
end             The time that the server took to end.
"""

import argparse
import contextlib
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.lib.contestants import STATIC
from benchmarks.lib.figures import extent, table
from benchmarks.lib.http_requests import GET_CLOSE, SMALL_CLOSE, with_target
from benchmarks.lib.network import enter_network_namespace
from benchmarks.lib.processes import CLIENT_CPU, SERVER_CPU, exchange, fetch, free_port, serving, wait_until_ready

COOKIES = Path("/proc/sys/net/ipv4/tcp_syncookies")
SERVERS = {
    "static program": [str(STATIC)],
    "on Python": [sys.executable, "-m", "yinyang.serve"],
}
PATIENCE = 10.0  # seconds
EARLY = 100  # clients that connect before the end


def timed(port: int) -> float:
    begin = time.monotonic()
    if b" 200 OK\r\n" not in (fetch(port, GET_CLOSE) or b""):
        raise ValueError("the healthy client got no page")
    return time.monotonic() - begin


def open_connections(port: int) -> int:
    metrics = fetch(port, with_target(SMALL_CLOSE, "/metrics")) or b""
    found = re.search(rb"yinyang_connections_open (\d+)", metrics)
    if found is None:
        raise ValueError("no figure in /metrics")
    return int(found[1])


def crowd(command: list[str], silent: int, log: Path) -> tuple[float, float, float, int]:
    """The longest times, and how many connections are open at the end."""
    port = free_port()
    clients = []
    with serving([*command, "--port", str(port), "--workers", "1"], SERVER_CPU, log):
        wait_until_ready(port, GET_CLOSE)
        before = max(timed(port) for _ in range(100))
        during = 0.0
        for number in range(silent):
            if number % 100 == 0:
                during = max(during, timed(port))
            clients.append(socket.socket())
            clients[-1].setblocking(False)
            clients[-1].connect_ex(("127.0.0.1", port))
        after = 0.0
        until = time.monotonic() + 5
        while time.monotonic() < until:
            after = max(after, timed(port))
            time.sleep(0.01)
        count = open_connections(port)
    for client in clients:
        client.close()
    return before, during, after, count


def end(command: list[str], log: Path) -> tuple[int, float]:
    """How many clients were answered, and the seconds to the end."""
    port = free_port()
    answered = 0
    with serving([*command, "--port", str(port), "--workers", "1"], SERVER_CPU, log) as server:
        wait_until_ready(port, GET_CLOSE)
        clients = [socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(EARLY)]
        begin = time.monotonic()
        server.terminate()
        time.sleep(0.5)
        for client in clients:
            with contextlib.suppress(ConnectionError):
                answered += b" 200 OK\r\n" in exchange(client, GET_CLOSE)
            client.close()
        server.wait(PATIENCE)
        return answered, time.monotonic() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--silent", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if not STATIC.exists():
        subprocess.run([sys.executable, "setup.py", "-q", "build_static"], check=True)
    enter_network_namespace()
    os.sched_setaffinity(0, {CLIENT_CPU})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        rows = []
        for cookies in "1", "0":
            COOKIES.write_text(cookies)
            for name, command in SERVERS.items():
                runs = [crowd(command, arguments.silent, log) for _ in range(arguments.rounds)]
                before, during, after, opened = zip(*runs, strict=True)
                times = [extent(figures, 1000) for figures in (before, during, after)]
                rows.append([f"{name}, {'with' if cookies == '1' else 'without'} SYN cookies", *times, extent(opened)])
        print(table(["longest before, ms", "meanwhile, ms", "after, ms", "open"], rows))
        COOKIES.write_text("1")
        rows = []
        for name, command in SERVERS.items():
            answered, durations = zip(*(end(command, log) for _ in range(arguments.rounds)), strict=True)
            rows.append([name, f"{sum(answered)} of {EARLY * arguments.rounds}", extent(durations)])
        print()
        print(table(["answered", "end, s"], rows))


if __name__ == "__main__":
    main()
