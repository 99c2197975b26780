"""How a server ends: draining, signals, workers that hang; and time that stands still."""

import os
import platform
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from conftest import (
    GET,
    LAST,
    PAGE,
    PATIENCE,
    SERVED,
    Replica,
    Shape,
    free_port,
    needs,
    read_all,
    receive_page,
    started_with,
    wait_until,
)

CLOSE = b"\r\nConnection: close\r\n"
Start = Callable[..., Replica]


# ---- draining -----------------------------------------------------------------------------------------------------


@pytest.mark.contained
def test_while_it_drains_all_are_answered_for_the_last_time(start: Start) -> None:
    replica = start("--workers", "2", "--drain", "4")
    with replica.connect() as idle, replica.connect() as old:
        for client in idle, old:
            client.sendall(GET)
            assert CLOSE not in receive_page(client)
        replica.send_signal(signal.SIGTERM)
        wait_until(lambda: drains(replica))
        old.sendall(GET)
        assert CLOSE in receive_page(old)
        assert old.recv(1) == b""
        assert idle.recv(1) == b""  # at the end of the drain, and not reset
    assert replica.process.wait(PATIENCE) == 0
    with pytest.raises(ConnectionRefusedError):
        replica.connect()


def drains(replica: Replica) -> bool:
    """Is a new connection accepted, and told that it ends with its first answer?"""
    with replica.connect() as client:
        client.sendall(GET)
        return CLOSE in receive_page(client)


@pytest.mark.contained
@pytest.mark.parametrize("drain", ["0", "1"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_connection_is_reset_when_it_ends(workers: str, drain: str, start: Start) -> None:
    """Whoever has a connection gets an answer, to the last moment; the others are refused."""
    replica = start("--workers", workers, "--drain", drain)
    answered: list[int] = []
    failures: list[str] = []

    def connect_again_and_again() -> None:
        while True:
            try:
                client = replica.connect()
            except ConnectionRefusedError:
                return
            except OSError as error:
                # what Docker's own proxy does for a container that is gone
                failures.append(f"connecting: {error}")
                return
            with client:
                try:
                    client.sendall(LAST)
                    received = read_all(client)
                except ConnectionError as error:
                    failures.append(f"after {len(answered)}: {error}")
                    return
                if not received.endswith(PAGE):
                    failures.append(f"after {len(answered)}: {received!r}")
                    return
            answered.append(1)

    threads = [threading.Thread(target=connect_again_and_again) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answered) > 500)
    assert replica.stop() == 0
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(replica.served()) == len(answered)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", None])
def test_who_connects_early_and_asks_late_is_answered(host: str | None, start: Start) -> None:
    """The kernel holds back a connection without a request, for a second. The server waits that long if there is one,
    and no longer."""
    replica = start("--workers", "2", *(["--host", host] if host else []))
    with replica.connect(host or "127.0.0.1") as late, replica.connect(host or "127.0.0.1") as silent:
        replica.send_signal(signal.SIGTERM)
        time.sleep(0.3)  # by then it would be over
        late.sendall(GET)
        assert CLOSE in receive_page(late)
        assert late.recv(1) == b""
        assert silent.recv(1) == b""
    assert replica.process.wait(PATIENCE) == 0
    assert len(replica.served()) == 1


@pytest.mark.contained
def test_a_second_signal_ends_the_drain(start: Start) -> None:
    replica = start("--workers", "1", "--drain", "3600")
    replica.send_signal(signal.SIGTERM)
    wait_until(lambda: drains(replica))
    assert replica.stop() == 0


@pytest.mark.contained
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_the_signals_of_a_terminal_do_not_drain(number: int, start: Start) -> None:
    """Answers are completed nevertheless."""
    replica = start("--drain", "3600", "--workers", "1")
    with replica.connect() as client:
        client.sendall(GET + LAST[:10])
        receive_page(client)
        replica.send_signal(number)
        client.sendall(LAST[10:])
        assert receive_page(client).endswith(b"</html>")
    assert replica.process.wait(PATIENCE) == 0


@pytest.mark.contained
def test_a_worker_that_dies_while_it_drains_is_restarted(start: Start) -> None:
    replica = start("--workers", "1", "--drain", "3600")
    replica.send_signal(signal.SIGTERM)
    wait_until(lambda: drains(replica))
    os.kill(replica.workers()[0], signal.SIGKILL)
    wait_until(lambda: "restarted as pid" in replica.log.read_text())
    assert drains(replica)
    assert replica.stop() == 0


# ---- signals ------------------------------------------------------------------------------------------------------


def test_ignores_the_end_of_its_terminal_under_nohup(shape: Shape, tmp_path: Path) -> None:
    wrapped = Shape("sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *shape.command())
    replica = wrapped.replica(tmp_path / "log", "--workers", "1")
    try:
        replica.wait_for_port()
        replica.send_signal(signal.SIGHUP)
        assert PAGE in replica.ask(LAST)
        assert replica.stop() == 0
    finally:
        replica.kill()


@pytest.mark.needs("root", "unshare")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_as_the_first_process(number: int, shape: Shape, tmp_path: Path) -> None:
    """Signals that mean nothing change nothing; one that means the end, ends it."""
    wrapped = Shape(needs("unshare"), "--fork", "--pid", "--mount-proc", *shape.command())
    replica = wrapped.replica(tmp_path / "log", "--workers", "2")
    try:
        replica.wait_for_port()
        first = replica.workers()[0]  # unshare's only child
        for meaningless in signal.SIGPIPE, signal.SIGCHLD, signal.SIGXFSZ, signal.SIGURG:
            os.kill(first, meaningless)
        assert PAGE in replica.ask(LAST)
        os.kill(first, number)
        assert replica.process.wait(PATIENCE) == 0
    finally:
        replica.kill()
    assert len(replica.served()) == 1


# ---- a log that cannot grow ---------------------------------------------------------------------------------------


def limit_files(pid: int, most: int | str) -> None:
    """As the user that the server has become: another one may not, not even root in a container."""
    status = Path(f"/proc/{pid}/status").read_text()
    user, group = (int(re.search(rf"^{name}:\s(\d+)", status, re.M)[1]) for name in ("Uid", "Gid"))
    ours = {"user": user, "group": group, "extra_groups": []} if os.getuid() == 0 else {}
    subprocess.run([needs("prlimit"), "--pid", str(pid), f"--fsize={most}:unlimited"], check=True, **ours)


@pytest.mark.needs("prlimit")
def test_a_log_at_its_size_limit_stops_nothing_and_loses_nothing(shape: Shape, tmp_path: Path) -> None:
    """As with a full disk: it is written to the last byte that fits, and goes on there when there is room again."""
    # still this user's, or prlimit(1) could not raise the limit again
    replica = shape.replica(tmp_path / "log", "--workers", "1", "--sandbox", "off")
    try:
        replica.wait_for_port()
        limit = replica.log.stat().st_size + 100
        limit_files(replica.pid, limit)
        for _ in range(5):
            assert PAGE in replica.ask(LAST)
        wait_until(lambda: replica.log.stat().st_size == limit)
        limit_files(replica.pid, limit + 1)
        wait_until(lambda: replica.log.stat().st_size == limit + 1)
        assert PAGE in replica.ask(LAST)
        limit_files(replica.pid, "unlimited")
        wait_until(lambda: len(replica.served()) == 6)
        assert replica.stop() == 0
    finally:
        replica.kill()
    assert [bool(re.fullmatch(SERVED, served)) for served in replica.lines()[2:]] == [True] * 6


def test_a_log_that_takes_nothing_stops_nothing(start: Start) -> None:
    port = free_port()
    with open("/dev/full", "wb") as full:
        replica = start("--workers", "1", "--port", str(port), log=full.fileno())
    replica.port = port
    wait_until(lambda: answers(replica))
    for _ in range(5):
        assert PAGE in replica.ask(LAST)
    assert replica.stop() == 0


def answers(replica: Replica) -> bool:
    try:
        return PAGE in replica.ask(LAST)
    except ConnectionRefusedError:
        return False


# ---- workers that hang --------------------------------------------------------------------------------------------


@pytest.mark.contained
def test_a_stopped_worker_is_replaced(start: Start) -> None:
    replica = start("--workers", "1")
    os.kill(replica.workers()[0], signal.SIGSTOP)
    text = r"Worker 1 \(pid \d+\) did nothing for too long, restarted as pid \d+"
    wait_until(lambda: re.search(text, replica.log.read_text()))
    assert PAGE in replica.ask(LAST)
    assert replica.stop() == 0


@pytest.mark.strace
def test_a_worker_is_replaced_that_was_stopped_just_after_its_parent_had_looked(shape: Shape, tmp_path: Path) -> None:
    with started_with("waitid:delay_exit=500000", shape, tmp_path / "log") as replica:
        server = replica.workers()[0]
        worker = int(Path(f"/proc/{server}/task/{server}/children").read_text().split()[0])
        assert PAGE in replica.ask(LAST)  # whose line in the log is what the parent wakes for
        os.kill(worker, signal.SIGSTOP)
        wait_until(lambda: "did nothing for too long, restarted as pid" in replica.log.read_text())


@pytest.mark.contained
def test_a_connection_that_waited_for_a_new_worker_is_as_any_other(start: Start) -> None:
    replica = start("--workers", "1")
    worker = replica.workers()[0]
    os.kill(worker, signal.SIGSTOP)
    with replica.connect() as client:
        client.sendall(GET)
        killed = time.time()
        os.kill(worker, signal.SIGKILL)
        assert_date_is_after(killed, receive_page(client))
        wait_until(lambda: len(replica.served()) == 1)


def assert_date_is_after(then: float, answer: bytes) -> None:
    date = re.search(rb"\r\nDate: ([^\r]*)", answer)[1].decode()
    # in whole seconds, and by a clock that may be a tick of the kernel behind
    assert int(then - 0.02) <= parsedate_to_datetime(date).timestamp() <= time.time()


@pytest.mark.contained
def test_a_worker_that_is_continued_is_not(start: Start) -> None:
    replica = start("--workers", "1")
    worker = replica.workers()[0]
    for _ in range(3):
        os.kill(worker, signal.SIGSTOP)
        time.sleep(2)
        os.kill(worker, signal.SIGCONT)
        assert PAGE in replica.ask(LAST)
    assert replica.workers() == [worker]


@pytest.mark.needs("root")  # to write into another user's memory
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the instruction is one of x86-64")
def test_a_stuck_worker_is_replaced(start: Start) -> None:
    """Its next instruction is overwritten with a jump to itself."""
    replica = start("--workers", "1")
    worker = replica.workers()[0]
    wait_until(lambda: Path(f"/proc/{worker}/syscall").read_text().startswith(("232 ", "281 ")), "epoll_wait")
    at = int(Path(f"/proc/{worker}/syscall").read_text().split()[-1], 16)
    with open(f"/proc/{worker}/mem", "r+b", buffering=0) as memory:
        memory.seek(at)
        memory.write(b"\xeb\xfe")
    with replica.connect() as client:
        client.sendall(GET)
        text = r"Worker 1 \(pid \d+\) was stuck, restarted as pid \d+"
        wait_until(lambda: re.search(text, replica.log.read_text()))
    assert PAGE in replica.ask(LAST)
    assert replica.stop() == 0


# ---- time that stands still ---------------------------------------------------------------------------------------


@pytest.mark.contained
def test_clients_are_not_late_while_the_server_is_stopped(start: Start) -> None:
    replica = start("--workers", "1", "--head-timeout", "3", "--idle-timeout", "3")
    with replica.connect() as slow, replica.connect() as idle:
        idle.sendall(GET)
        receive_page(idle)
        slow.sendall(GET[:-2])
        wait_until(lambda: len(replica.served()) == 1)
        pids = [replica.pid, *replica.workers()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(4.5)
        continued = time.time()
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.2)  # for what could end them now
        slow.sendall(GET[-2:])
        idle.sendall(GET)
        for client in slow, idle:
            assert_date_is_after(continued, receive_page(client))
    assert replica.stop() == 0


# ---- a worker that is not there -----------------------------------------------------------------------------------


@pytest.mark.strace
@pytest.mark.needs("root")
def test_a_worker_in_its_restart_pause_has_no_share(start: Start, tmp_path: Path) -> None:
    """Others do not leave connections to it, by the eventfd that workers wake each other with."""
    replica = start("--workers", "2")
    keeps = replica.workers()[0]
    trace = tmp_path / "trace"
    while other := other_worker(replica, keeps):
        os.kill(other, signal.SIGKILL)
        wait_until(lambda other=other: other not in replica.workers())
    tracer = subprocess.Popen([needs("strace"), "-qq", "-p", str(keeps), "-o", str(trace), "-e", "trace=accept4,write"])
    try:
        wait_until(lambda: re.search(r"TracerPid:\t[1-9]", Path(f"/proc/{keeps}/status").read_text()))
        clients = [replica.connect() for _ in range(30)]
        for client in clients:
            client.sendall(GET)
            receive_page(client)
        assert replica.workers() == [keeps]
        for client in clients:
            client.close()
    finally:
        tracer.terminate()
        tracer.wait()
    assert "accept4" in trace.read_text()
    assert "write" not in trace.read_text()


def other_worker(replica: Replica, worker: int) -> int:
    """The other one; 0 if there is none for 3 s, as in the longest pauses only."""
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        if found := [other for other in replica.workers() if other != worker]:
            return found[0]
        time.sleep(0.005)
    return 0
