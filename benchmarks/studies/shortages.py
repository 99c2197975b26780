"""Servers that run out of file descriptors, and servers whose connections are reset at any point."""

import contextlib
import random
import socket
import time
from dataclasses import dataclass

from benchmarks.lib.contestants import WORK, Contestant
from benchmarks.lib.http_requests import GET, GET_CLOSE
from benchmarks.lib.many_connections import ManyConnections, reset, watch
from benchmarks.lib.processes import (
    SERVER_CPU,
    cpu_time,
    descriptors,
    fetch,
    free_port,
    process_tree,
    pss,
    serving,
    wait_until_ready,
)
from benchmarks.studies.attacks import LINGER, new_server

POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
FEW = 256  # limit of descriptors in the shortage
IDLE_CLIENTS = 400
IDLE_SECONDS = 10.0
NEW_CLIENTS = 10
NEW_CLIENT_TIMEOUT = 2.0  # seconds
RESETS = 20_000
BATCH = 200  # connections open at once
RELEASE_TIMEOUT = 90.0  # seconds for a server to close all descriptors
SEED = 2016


@dataclass
class Shortage:
    """Figures of one server with too few descriptors."""

    answered: int  # number of idle clients
    closed: int  # number of idle clients closed by the server
    cpu: float  # share of one CPU while all clients are idle
    during: list[float | None]  # seconds of each new client; None: no response
    after: list[float | None]  # the same after the idle clients have left


@dataclass
class Resets:
    """Figures of one server whose connections were reset."""

    descriptors: tuple[int, int]  # before, and LINGER seconds after
    released: float | None  # seconds from the last reset until all descriptors are closed; None: RELEASE_TIMEOUT passed
    memory: tuple[int, int, int]  # bytes before, after half of the resets, and after all
    died: int  # number of processes
    new: int  # number of processes
    answers: bool  # whether a request afterwards has a response


def new_client(port: int) -> float | None:
    """Seconds until a new client has its response; None if it has none."""
    start = time.monotonic()
    with socket.socket() as client, contextlib.suppress(OSError):
        client.settimeout(NEW_CLIENT_TIMEOUT)
        client.connect(("127.0.0.1", port))
        client.sendall(GET)
        if client.recv(4096).startswith(b"HTTP/1.1 200 "):
            return time.monotonic() - start
    return None


def descriptors_once(contestant: Contestant, count: int) -> Shortage:
    """More clients than the server has descriptors: each sends a request and keeps its connection."""
    port = free_port()
    limit = ["prlimit", f"--nofile={FEW}:{FEW}"]  # replaces itself with the server, by exec
    with serving([*limit, *contestant.command(port, FEW)], SERVER_CPU, WORK / "log") as server:
        wait_until_ready(port, GET_CLOSE)
        with ManyConnections(port, reads=True) as many:
            for _ in range(count):
                if connection := many.connect():
                    many.send(connection, GET)
                many.watch(0)
            watch(many, lambda: False, 1.0)
            before, start = cpu_time(server.pid), time.monotonic()
            watch(many, lambda: False, IDLE_SECONDS)
            cpu = (cpu_time(server.pid) - before) / (time.monotonic() - start)
            during = [new_client(port) for _ in range(NEW_CLIENTS)]
            answered = sum(each.status == "200" for each in many.connections)
            closed = sum(bool(each.end) for each in many.connections)
        return Shortage(answered, closed, cpu, during, [new_client(port) for _ in range(NEW_CLIENTS)])


def parts(rng: random.Random) -> tuple[bytes, int]:
    """Bytes that a connection sends before its reset, and the number of bytes that it reads."""
    cut = rng.randrange(1, len(GET))
    body = b"x" * rng.randrange(50_000)
    return rng.choice(
        [
            (b"", 0),
            (GET[:cut], 0),
            (GET, 0),
            (GET, rng.randrange(1, 1000)),  # a part of the response, or all of it
            (GET * 20 + GET[:cut], 0),
            (GET * 20, rng.randrange(1, 10_000)),
            (POST + body, 0),
        ]
    )


def reset_all(port: int, count: int, rng: random.Random) -> None:
    """Reset connections in batches: half of a batch while the server handles them, half while it waits for them."""
    for _ in range(count // BATCH):
        waiting = []
        for _ in range(BATCH):
            client = socket.create_connection(("127.0.0.1", port), NEW_CLIENT_TIMEOUT)
            sent, read = parts(rng)
            with contextlib.suppress(OSError):
                client.sendall(sent)
            if rng.randrange(2):
                reset(client)
            else:
                waiting.append((client, read))
        rng.shuffle(waiting)
        for client, read in waiting:
            with contextlib.suppress(OSError):
                if read:
                    client.recv(read)
            reset(client)


def resets_once(contestant: Contestant, count: int) -> Resets:
    """Connections that are reset at random points."""
    rng = random.Random(SEED)
    with new_server(contestant) as (port, server):
        time.sleep(LINGER)
        processes, open_before, memory = set(process_tree(server.pid)), descriptors(server.pid), [pss(server.pid)]
        for _ in range(2):
            reset_all(port, count // 2, rng)
            end = time.monotonic()
            time.sleep(LINGER)
            memory.append(pss(server.pid))
        open_after, left = descriptors(server.pid), set(process_tree(server.pid))
        answers = (fetch(port, GET_CLOSE) or b"").startswith(b"HTTP/1.1 200 ")
        while (more := descriptors(server.pid) > open_before) and time.monotonic() < end + RELEASE_TIMEOUT:
            time.sleep(0.1)
        return Resets(
            (open_before, open_after),
            None if more else time.monotonic() - end,
            tuple(memory),
            len(processes - left),
            len(left - processes),
            answers,
        )
