"""Faults on purpose: whether shares are exact, delays right, waiting free, and what a loop of wget costs a replica.

    python -m benchmarks.studies.faults [--answers 2000] [--late 2000] [--waiting 10000] [--seconds 10]

Prints tables in Markdown. The first one is for --error-rate: errors among the answers to requests on as many
connections as there are workers, and the longest run of errors on one of them; beside similar servers, as far as they
are in build/peers.

The second one is for late answers, while 1,000 other clients wait for /delay/10: how much later than asked for they
come, as the client sees it; and how many come too early.

The third one is for clients that wait for /delay/10, in a network namespace of its own, so it needs root and ip (on
Debian: iproute2):

memory          Proportional set size of the server while they wait, less that before, for each of them.
CPU time        Of the server, from 2 s after the last request to 1 s before the first answer, in all.
answered        Clients that got their answer; the time is from the first request to the last answer.

The fourth one is for `while true; do wget -q -O- URL; done` as the documentation of the HorizontalPodAutoscaler has it,
and with its `sleep 0.01`, on a replica with one worker and --burn 20ms: requests/s, thousandths of a CPU that the
replica uses, and the replicas for which those of deploy/kubernetes would use what its autoscaler aims at.
"""

import argparse
import math
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path

from benchmarks.lib.contestants import STATIC
from benchmarks.lib.figures import table
from benchmarks.lib.http_requests import SMALL, SMALL_CLOSE, with_target
from benchmarks.lib.network import enter_network_namespace
from benchmarks.lib.processes import (
    CLIENT_CPU,
    SERVER_CPU,
    cpu_time,
    fetch,
    free_port,
    pss,
    serving,
    wait_until_ready,
)

SERVERS = {
    "static program": [str(STATIC)],
    "on Python": [sys.executable, "-m", "yinyang.serve"],
}
RATES = ("20%", "0.7", "33%", "1%", "99%")
PEERS = {  # similar servers in build/peers (benchmarks/install-peers): how they are started, and asked for 20 % errors
    "go-httpbin": (["go-httpbin", "-host", "127.0.0.1", "-port", "{port}"], "/unstable?failure_rate=0.2"),
    "fortio": (["fortio", "server", "-http-port", "127.0.0.1:{port}", "-grpc-port", "disabled"], "/echo?status=503:20"),
}
PATIENCE = 30.0  # seconds


def command(server: str, port: int, *options: str, workers: int = 1) -> list[str]:
    common = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers), "--no-access-log"]
    return [*SERVERS[server], *common, *options]


def answer(client: socket.socket, request: bytes) -> bytes:
    """A short answer on a connection that is kept: it comes as one."""
    client.sendall(request)
    return client.recv(65536)


# ---- shares -------------------------------------------------------------------------------------------------------


def errors_of(server: str, rate: str, workers: int, answers: int) -> list[str]:
    """A row of the first table."""
    port = free_port()
    failed, longest = [], 0
    with serving(command(server, port, "--error-rate", rate, workers=workers), SERVER_CPU, None):
        wait_until_ready(port, with_target(SMALL_CLOSE, "/livez"))
        for _ in range(workers):  # idle workers take turns
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                found = [b" 503 " in answer(client, with_target(SMALL))[:20] for _ in range(answers // workers)]
            failed.append(sum(found))
            longest = max([longest, *(len(list(run)) for fails, run in groupby(found) if fails)])
    return [
        server,
        str(workers),
        rate,
        " + ".join(map(str, failed)),
        f"{100 * sum(failed) / answers:g} %",
        str(longest),
    ]


def errors_of_peer(name: str, answers: int) -> list[str]:
    """A row for a similar server; empty if it is not installed."""
    (program, *options), target = PEERS[name]
    path, port = Path("build/peers", program), free_port()
    if not path.exists():
        return []
    with serving([str(path), *(option.format(port=port) for option in options)], SERVER_CPU, None):
        wait_until_ready(port, with_target(SMALL_CLOSE, target))
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            found = [b" 50" in answer(client, with_target(SMALL, target))[:13] for _ in range(answers)]
    longest = max([0, *(len(list(run)) for fails, run in groupby(found) if fails)])
    return [name, "", "20%", str(sum(found)), f"{100 * sum(found) / answers:g} %", str(longest)]


# ---- lateness -----------------------------------------------------------------------------------------------------


def lateness(server: str, options: list[str], target: str, asked: float, count: int) -> list[str]:
    """A row of the second table."""
    port = free_port()
    late = []
    with serving(command(server, port, *options), SERVER_CPU, None):
        wait_until_ready(port, with_target(SMALL_CLOSE, "/livez"))
        waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(1000)]
        clients = [socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(10)]
        begin = time.monotonic()
        for client in waiting:
            client.sendall(with_target(SMALL, "/delay/10"))
        while len(late) < count:
            if time.monotonic() > begin + 9:  # before they are answered
                for client in waiting:
                    client.recv(4096)
                    client.sendall(with_target(SMALL, "/delay/10"))
                begin = time.monotonic()
            sent = {}
            for client in clients:
                sent[client] = time.monotonic()
                client.sendall(with_target(SMALL, target))
            while sent:
                for client in select.select([*sent], [], [], PATIENCE)[0]:
                    client.recv(65536)
                    late.append(time.monotonic() - sent.pop(client) - asked)
        for client in [*waiting, *clients]:
            client.close()
    late.sort()
    shown = [f"{1000 * late[int(len(late) * share)]:.1f} ms" for share in (0.5, 0.99)]
    return [
        server,
        target if target != "/" else " ".join(options),
        *shown,
        f"{1000 * late[-1]:.1f} ms",
        str(sum(x < 0 for x in late)),
    ]


# ---- waiting ------------------------------------------------------------------------------------------------------


def waiting(server: str, count: int) -> list[str]:
    """A row of the third table."""
    port = free_port()
    with serving(command(server, port), SERVER_CPU, None) as process:
        wait_until_ready(port, with_target(SMALL_CLOSE, "/livez"))
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        for client in clients:  # what a connection takes anyway is no part of it
            answer(client, with_target(SMALL, "/hostname"))
        before = pss(process.pid)
        begin = time.monotonic()
        for client in clients:
            client.sendall(with_target(SMALL, "/delay/10"))
        asked = time.monotonic()
        time.sleep(max(asked + 2 - time.monotonic(), 0))
        memory = pss(process.pid) - before
        used = cpu_time(process.pid)
        time.sleep(max(begin + 9 - time.monotonic(), 0))
        used = cpu_time(process.pid) - used
        answered = 0
        for client in clients:
            client.settimeout(PATIENCE)
            answered += b" 200 OK" in client.recv(4096)
        took = time.monotonic() - begin
        for client in clients:
            client.close()
    return [server, str(count), f"{memory / count:.0f} B", f"{1000 * used:.1f} ms", str(answered), f"{took:.2f} s"]


# ---- the loop of autoscaling --------------------------------------------------------------------------------------


def autoscaler() -> tuple[int, int, int]:
    """What deploy/kubernetes aims at: thousandths of a CPU of a replica; the fewest and the most replicas."""
    text = Path("deploy/kubernetes/base/yinyang.yaml").read_text(encoding="utf-8")
    [request], [percent] = re.findall(r"cpu: (\d+)m", text), re.findall(r"averageUtilization: (\d+)", text)
    [fewest], [most] = re.findall(r"minReplicas: (\d+)", text), re.findall(r"maxReplicas: (\d+)", text)
    return int(request) * int(percent) // 100, int(fewest), int(most)


def loop(server: str, pause: str, seconds: float) -> list[str]:
    """A row of the fourth table."""
    port = free_port()
    aim, fewest, most = autoscaler()
    with serving(command(server, port, "--burn", "20ms"), SERVER_CPU, None) as process:
        wait_until_ready(port, with_target(SMALL_CLOSE, "/livez"))
        script = f"while {pause}; do wget -q -O- http://127.0.0.1:{port}/; done"
        loop_command = ["taskset", "-c", str(CLIENT_CPU), "sh", "-c", script]
        with subprocess.Popen(loop_command, stdout=subprocess.DEVNULL, start_new_session=True) as client:
            time.sleep(0.5)
            used, begin, pages = cpu_time(process.pid), time.monotonic(), pages_of(port)
            time.sleep(seconds)
            pages = pages_of(port) - pages
            took = time.monotonic() - begin
            used = (cpu_time(process.pid) - used) / took
            os.killpg(client.pid, signal.SIGKILL)
    wanted = min(max(math.ceil(1000 * used / aim), fewest), most)
    return [server, f"`while {pause}`", f"{pages / took:.0f}", f"{1000 * used:.0f}m", str(wanted)]


def pages_of(port: int) -> int:
    found = re.search(rb"yinyang_pages_total (\d+)", fetch(port, with_target(SMALL_CLOSE, "/metrics")) or b"")
    if found is None:
        raise ValueError("no figure in /metrics")
    return int(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=2000)
    parser.add_argument("--late", type=int, default=2000)
    parser.add_argument("--waiting", type=int, default=10000)
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.sched_setaffinity(0, {CLIENT_CPU})
    rows = [
        errors_of(server, rate, workers, given.answers) for server in SERVERS for workers in (1, 2) for rate in RATES
    ]
    rows += [row for row in (errors_of_peer(name, given.answers) for name in PEERS) if row]
    print(table(["workers", "asked", "errors", "in all", "longest run"], rows))
    rows = []
    for server in SERVERS:
        rows.append(lateness(server, ["--latency", "300ms"], "/", 0.3, given.late))
        rows.append(lateness(server, [], "/delay/0.3", 0.3, given.late))
    print("\n" + table(["asked", "p50 later by", "p99", "most", "early"], rows))
    rows = [loop(server, pause, given.seconds) for server in SERVERS for pause in ("true", "sleep 0.01")]
    loops = table(["loop", "requests/s", "CPU", "replicas"], rows)
    enter_network_namespace()
    rows = [waiting(server, given.waiting) for server in SERVERS]
    print("\n" + table(["clients", "memory of each", "CPU time", "answered", "after"], rows))
    print("\n" + loops)


if __name__ == "__main__":
    main()
