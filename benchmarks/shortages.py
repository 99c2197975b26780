"""Servers that are short of descriptors, and servers whose clients vanish in the middle."""

import contextlib
import random
import socket
import time
from dataclasses import dataclass

from attacks import DESCRIPTORS, LAST, LINGER, SERVER_CPU
from contestants import WORK, Contestant
from crowd import Crowd, reset, watch
from processes import answer, cpu_time, descriptors, free_port, resident, serving, tree, wait_until_it_answers

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
FEW = 256  # descriptors of a server that is short of them
IDLE_CLIENTS = 400
IDLE_SECONDS = 10.0
TRIES = 10
TRY_PATIENCE = 2.0  # seconds
RESETS = 20_000
BATCH = 200  # connections that are open at once before they are reset
RELEASE_MOST = 90.0  # seconds for a server to give back all descriptors
SEED = 2016


@dataclass
class Shortage:
    answered: int  # of the idle clients
    closed: int  # by the server, to have room for others
    cpu: float  # share of one CPU, while all are idle
    during: list[float | None]  # seconds until a new client was answered, None if it was not
    after: list[float | None]  # the same when the idle clients are gone


@dataclass
class Resets:
    descriptors: tuple[int, int]  # before, and LINGER seconds after
    released: (
        float | None
    )  # seconds after the last reset until there were no more than before; None: not in RELEASE_MOST
    memory: tuple[int, int, int]  # bytes before, after half of the resets, and after all
    died: int  # processes that were there before and are not after
    new: int  # processes that are there after and were not before
    answers: bool  # a healthy request afterwards


def new_client(port: int) -> float | None:
    """Seconds until a new client has its answer, or None."""
    start = time.monotonic()
    with socket.socket() as client, contextlib.suppress(OSError):
        client.settimeout(TRY_PATIENCE)
        client.connect(("127.0.0.1", port))
        client.sendall(REQUEST)
        if client.recv(4096).startswith(b"HTTP/1.1 200 "):
            return time.monotonic() - start
    return None


def descriptors_once(contestant: Contestant, count: int) -> Shortage:
    """More clients than the server has descriptors; each has made a request, and keeps its connection."""
    port = free_port()
    limit = ["prlimit", f"--nofile={FEW}:{FEW}"]  # becomes the server, by exec
    with serving([*limit, *contestant.start(port, FEW)], SERVER_CPU, WORK / "log") as server:
        wait_until_it_answers(port, LAST)
        with Crowd(port, reads=True) as crowd:
            for _ in range(count):
                if member := crowd.connect():
                    crowd.send(member, REQUEST)
                crowd.watch(0)
            watch(crowd, lambda: False, 1.0)
            before, start = cpu_time(server.pid), time.monotonic()
            watch(crowd, lambda: False, IDLE_SECONDS)
            cpu = (cpu_time(server.pid) - before) / (time.monotonic() - start)
            during = [new_client(port) for _ in range(TRIES)]
            answered = sum(member.status == "200" for member in crowd.members)
            closed = sum(bool(member.end) for member in crowd.members)
        return Shortage(answered, closed, cpu, during, [new_client(port) for _ in range(TRIES)])


def parts(chance: random.Random) -> tuple[bytes, int]:
    """What a connection sends before its reset, and how much it reads."""
    cut = chance.randrange(1, len(REQUEST))
    body = b"x" * chance.randrange(50_000)
    return chance.choice(
        [
            (b"", 0),
            (REQUEST[:cut], 0),
            (REQUEST, 0),
            (REQUEST, chance.randrange(1, 1000)),  # a part of the answer, or all of it
            (REQUEST * 20 + REQUEST[:cut], 0),
            (REQUEST * 20, chance.randrange(1, 10_000)),
            (POST + body, 0),
        ]
    )


def reset_all(port: int, count: int, chance: random.Random) -> None:
    """Connections in batches: half of each are reset while the server is at them, half when it waits for them."""
    for _ in range(count // BATCH):
        waiting = []
        for _ in range(BATCH):
            client = socket.create_connection(("127.0.0.1", port), TRY_PATIENCE)
            sent, read = parts(chance)
            with contextlib.suppress(OSError):
                client.sendall(sent)
            if chance.randrange(2):
                reset(client)
            else:
                waiting.append((client, read))
        chance.shuffle(waiting)
        for client, read in waiting:
            with contextlib.suppress(OSError):
                if read:
                    client.recv(read)
            reset(client)


def resets_once(contestant: Contestant, count: int) -> Resets:
    port = free_port()
    chance = random.Random(SEED)
    with serving(contestant.start(port, DESCRIPTORS), SERVER_CPU, WORK / "log") as server:
        wait_until_it_answers(port, LAST)
        time.sleep(LINGER)
        processes, open_before, memory = set(tree(server.pid)), descriptors(server.pid), [resident(server.pid)]
        for _ in range(2):
            reset_all(port, count // 2, chance)
            end = time.monotonic()
            time.sleep(LINGER)
            memory.append(resident(server.pid))
        open_after, left = descriptors(server.pid), set(tree(server.pid))
        answers = (answer(port, LAST) or b"").startswith(b"HTTP/1.1 200 ")
        while (more := descriptors(server.pid) > open_before) and time.monotonic() < end + RELEASE_MOST:
            time.sleep(0.1)
        return Resets(
            (open_before, open_after),
            None if more else time.monotonic() - end,
            tuple(memory),
            len(processes - left),
            len(left - processes),
            answers,
        )
