"""A listening socket that is handed over at the start (sd_listen_fds(3)), and a server that replaces another one."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import (
    LAST,
    PAGE,
    PATIENCE,
    ROOT,
    Replica,
    Shape,
    clean_environment,
    free_port,
    read_all,
    receive_page,
    wait_until,
)

import yinyang

Hand = Callable[..., Replica]

HANDING = """
import fcntl, os, sys
fds, variables, command = eval(sys.argv[1]), eval(sys.argv[2]), sys.argv[3:]
copies = [fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in fds]
os.closerange(3, 64)
for number, fd in enumerate(copies):
    os.dup2(fd, 3 + number)
os.closerange(64, 128)
os.environ |= {"LISTEN_FDS": str(len(fds)), "LISTEN_PID": str(os.getpid())} | variables
os.execvp(command[0], command)
"""


def listening() -> socket.socket:
    """As systemd hands one over by default: it blocks."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def handing(command: list[str], fds: list[int], **variables: str) -> list[str]:
    """A program that becomes a command to which it hands these descriptors."""
    return [sys.executable, "-I", "-S", "-c", HANDING, repr(fds), repr(variables), *command]


@pytest.fixture
def hand(shape: Shape, tmp_path: Path) -> Iterator[Hand]:
    """Starts servers to which a listening socket is handed over, and ends them."""
    replicas: list[Replica] = []

    def start_one(listener: socket.socket, *options: str, **variables: str) -> Replica:
        command = shape.command("--name", "vm", "--workers", "1", *options)
        log = tmp_path / f"log-{len(replicas)}"
        fd = listener.fileno()
        with log.open("wb") as file:
            line = handing(command, [fd], **variables)
            process = subprocess.Popen(line, stderr=file, pass_fds=[fd], env=clean_environment())
        replicas.append(Replica(process, log))
        replicas[-1].wait_for_port()
        return replicas[-1]

    yield start_one
    for replica in replicas:
        replica.kill()


def refusal(shape: Shape, fds: list[int], **variables: str) -> str:
    """What a server says that does not start with these descriptors."""
    done = subprocess.run(
        handing(shape.command("--port", "0", "--name", "vm"), fds, **variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        pass_fds=fds,
        env=clean_environment(),
    )
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def test_serves_the_socket_and_leaves_it_open(hand: Hand) -> None:
    with listening() as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as early:  # before there is a server
            early.sendall(LAST)
            replica = hand(listener, "--port", "1", "--host", "192.0.2.1")
            assert PAGE in read_all(early)
        assert replica.port == port
        assert (
            f"Listening on http://127.0.0.1:{port}, by a socket that was handed over, workers: 1" in replica.lines()[1]
        )
        assert PAGE in replica.ask(LAST)
        assert replica.stop() == 0
        with replica.connect() as waiting:
            waiting.sendall(LAST)
            assert hand(listener).port == port
            assert PAGE in read_all(waiting)


@pytest.mark.parametrize(("only", "words"), [(0, "all addresses, IPv6 and IPv4"), (1, "all addresses, IPv6")])
def test_names_the_addresses(only: int, words: str, hand: Hand) -> None:
    with socket.socket(socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        listener.bind(("::", 0))
        listener.listen()
        assert f"({words}), by a socket that was handed over, " in hand(listener).log.read_text()


@pytest.mark.parametrize(
    "variables", [{"LISTEN_PID": "1"}, {"LISTEN_PID": "x"}, {"LISTEN_PID": ""}, {"LISTEN_FDS": "0"}]
)
def test_what_is_meant_for_another_process_is_passed_over(variables: dict[str, str], hand: Hand) -> None:
    with listening() as listener:
        replica = hand(listener, "--port", "0", "--host", "127.0.0.1", **variables)
        assert replica.port != listener.getsockname()[1]
        assert "handed over" not in replica.log.read_text()


@pytest.mark.parametrize("kind", ["datagrams", "unix", "no listener", "file"])
def test_refuses_what_is_no_listening_socket(kind: str, shape: Shape, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        if kind == "file":
            handed = stack.enter_context((tmp_path / "file").open("w"))
        elif kind == "datagrams":
            handed = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        elif kind == "unix":
            handed = stack.enter_context(socket.socket(socket.AF_UNIX))
            handed.bind(str(tmp_path / "socket"))
            handed.listen()
        else:
            handed = stack.enter_context(socket.socket())
        words = refusal(shape, [handed.fileno()])
    assert words == "yinyang: descriptor 3, which was handed over, is not a TCP socket that listens\n"


def test_refuses_a_descriptor_that_is_not_there(shape: Shape) -> None:
    assert "descriptor 3, which was handed over" in refusal(shape, [], LISTEN_FDS="1")


def test_refuses_more_than_one(shape: Shape) -> None:
    with listening() as one, listening() as other:
        words = refusal(shape, [one.fileno(), other.fileno()], LISTEN_FDNAMES="http:https")
    assert re.fullmatch(r"yinyang: 2 sockets were handed over \(http:https\), and only one can be served; .*\n", words)


@pytest.mark.parametrize("number", ["x", "1x", "-1"])
def test_refuses_a_count_that_is_none(number: str, shape: Shape) -> None:
    assert refusal(shape, [], LISTEN_FDS=number) == "yinyang: LISTEN_FDS wants a number\n"


def test_serves_on_when_another_start_makes_the_socket_block(hand: Hand) -> None:
    """As systemd does for each process that it hands the socket to."""
    with listening() as listener:
        replica = hand(listener)
        assert not os.get_blocking(listener.fileno())
        os.set_blocking(listener.fileno(), True)
        for _ in range(3):
            assert PAGE in replica.ask(LAST)
        assert replica.stop() == 0


def test_server_of_a_program_takes_a_socket() -> None:
    with listening() as listener:
        for name in "one", "two":
            with (
                yinyang.Server(name=name, workers=1, listener=os.dup(listener.fileno())) as server,
                urllib.request.urlopen(server.url, timeout=PATIENCE) as answer,
            ):
                assert server.port == listener.getsockname()[1]
                assert answer.read() == yinyang.render_page(server.identity)
    with socket.socket() as other, pytest.raises(ValueError, match="is not a TCP socket that listens"):
        yinyang.Server(listener=other.fileno())


@pytest.mark.parametrize("drain", ["0", "1"])
def test_replaces_without_a_failed_request(drain: str, hand: Hand) -> None:
    """The next server is started with the socket, then the one before it is stopped, again and again, under load on new
    connections and, with a drain, on kept ones."""
    with listening() as listener:
        address = listener.getsockname()
        ends = threading.Event()
        failures: list[Exception] = []
        answered = [0]

        def load(kept: bool) -> None:
            request = LAST.replace(b"Connection: close\r\n", b"") if kept else LAST
            try:
                while not ends.is_set():
                    with socket.create_connection(address, PATIENCE) as client:
                        closes = False
                        while not closes and not ends.is_set():
                            client.sendall(request)
                            head, _, body = receive_page(client).partition(b"\r\n\r\n")
                            assert body == PAGE
                            answered[0] += 1
                            closes = b"Connection: close" in head
            except (OSError, AssertionError) as failure:
                failures.append(failure)

        replica = hand(listener, "--drain", drain)
        kinds = [False] * 3 + [True] * (3 if drain != "0" else 0)
        threads = [threading.Thread(target=load, args=[kept]) for kept in kinds]
        for thread in threads:
            thread.start()
        for _ in range(5):
            before, replica = replica, hand(listener, "--drain", drain)
            seen = answered[0]
            assert before.stop() == 0
            wait_until(lambda seen=seen: answered[0] > seen + 20 or failures)
        ends.set()
        for thread in threads:
            thread.join()
        assert failures == []


@pytest.mark.skipif(not (ROOT / "docs").exists(), reason="there is no source tree")
def test_holder_of_the_guide(shape: Shape, tmp_path: Path) -> None:
    """The program that docs/systemd.md shows replaces the server, and ends with it."""
    _, _, code = (ROOT / "docs/systemd.md").read_text().partition('    """python3 hold.py')
    (tmp_path / "hold.py").write_text(textwrap.dedent('    """python3 hold.py' + code))
    log = tmp_path / "log"
    port = free_port()
    server = shape.command("--name", "vm", "--workers", "1")
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, tmp_path / "hold.py", str(port), *server], stderr=file, env=clean_environment()
        )
    holder = Replica(process, log)
    try:
        for count in 1, 2, 3:
            wait_until(lambda count=count: log.read_text().count("Listening on") == count)
            holder.port = port
            assert PAGE in holder.ask(LAST)
            if count < 3:
                holder.send_signal(signal.SIGHUP)
        wait_until(lambda: len(holder.workers()) == 1)
        assert holder.stop() == 0
    finally:
        holder.kill()
