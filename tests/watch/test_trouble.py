"""What happens around a watch: readers, files, terminals and signals that are not as they should be."""

import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PATIENCE, missing, wait_until

from watch.command import Watch, environment, report
from watch.servers import answering, says, whoami

HTTPX = "yinyang.watch"
IGNORES_HANGUP = ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")


@contextlib.contextmanager
def running(watch: Watch, *arguments: object, by: tuple[str, ...] = (), stdout: int = -1) -> Iterator[subprocess.Popen]:
    """A watch that is started by another command, or writes elsewhere."""
    command = [*by, *watch.command, *map(str, arguments)]
    variables = environment() | watch.variables | {"TERM": "xterm"}
    with subprocess.Popen(command, stdout=stdout, stderr=-1, env=variables) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_server_that_ends_the_connection_with_its_answer(watch: Watch) -> None:
    """It does not say so, and is asked again on another connection."""

    def answer_and_end(client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)  # in one segment
        client.sendall(whoami("a"))

    with answering(answer_and_end) as port:
        limits = ["--count", 12, "--rate", 100, "--concurrency", 1]
        found = report(watch(f"http://127.0.0.1:{port}/", *limits, "--connection", "same", "--json"))
    assert (found["answers"], found["failures"]) == (12, {})


def test_an_outage_without_a_failure_is_a_gap(watch: Watch) -> None:
    """All requests wait, so no more are sent, and each is answered in the end."""
    asked = iter(range(1000))

    def stall_once(client: socket.socket) -> None:
        if next(asked) == 20:
            time.sleep(1)
        client.sendall(whoami("a"))

    limits = ["--count", 60, "--rate", 100, "--max-errors", 0]
    with answering(stall_once) as port:
        done = watch(f"http://127.0.0.1:{port}/", *limits, "--max-gap", "500ms", "--json")
        found = report(done)
        assert (done.returncode, found["failures"]) == (1, {})
        [seen] = [one["seen"] for one in found["expectations"] if not one["holds"]]
        assert re.fullmatch(r"one of \d\.\d{3} s", seen)
        assert watch(f"http://127.0.0.1:{port}/", *limits, "--max-gap", f"{PATIENCE:g}s").returncode == 0


def test_nobody_answers_until_a_signal(watch: Watch) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, running(watch, f"http://127.0.0.1:{listener.getsockname()[1]}/", "--timeout", "1m") as process:
        assert any(b"wait for an answer" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        told, said = process.communicate(timeout=PATIENCE)
    assert b"wait for" not in told.splitlines()[-1]
    assert process.returncode == 1
    assert re.fullmatch("\u2717 expected an answer, seen: none for [\\d.]+ s\n", said.decode())


def test_a_rate_close_to_none(web_lone: int, watch: Watch) -> None:
    """There is one request, and the duration is kept."""
    done = watch(f"http://127.0.0.1:{web_lone}/", "--rate", "0.00000000000001", "--duration", "500ms", "--json")
    found = report(done)
    assert (done.returncode, found["samples"], found["ended"]) == (0, 1, "duration")
    assert found["seconds"] >= 0.5


def test_a_duration_close_to_none(web_lone: int, watch: Watch) -> None:
    done = watch(f"http://127.0.0.1:{web_lone}/", "--duration", "0.001ms", "--json")
    found = report(done)
    assert (done.returncode, found["ended"]) == (0, "duration")
    if watch.name != HTTPX:
        assert found["samples"] == 1


def test_a_terminal_that_is_closed_under_nohup(web_lone: int, watch: Watch) -> None:
    with running(watch, f"http://127.0.0.1:{web_lone}/", by=IGNORES_HANGUP) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.stdout.readline()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def test_expectations_to_a_pipe(web_lone: int, watch: Watch) -> None:
    done = watch(f"http://127.0.0.1:{web_lone}/", "--count", 1, "--json", "--junit", "/dev/stdout")
    assert done.returncode == 0
    assert done.stdout.rstrip().endswith("</testsuites>")


def test_expectations_to_a_disk_that_is_full(web_lone: int, watch: Watch) -> None:
    done = watch(f"http://127.0.0.1:{web_lone}/", "--count", 1, "--json", "--junit", "/dev/full")
    assert done.returncode == 2
    assert report(done)["answers"] == 1
    last = done.stderr.splitlines()[-1].lower()
    assert last.startswith(f"{watch.name}: '/dev/full' cannot be written: no space left")


@pytest.mark.parametrize("form", [[], ["--json"], ["--jsonl"]], ids=str)
def test_output_to_a_disk_that_is_full(form: list[str], web_lone: int, tmp_path: Path, watch: Watch) -> None:
    junit = tmp_path / "watch.xml"
    command = [f"http://127.0.0.1:{web_lone}/", "--count", 3, "--junit", junit, *form]
    with open("/dev/full", "w") as full, running(watch, *command, stdout=full.fileno()) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert errors.decode().lower().startswith(f"{watch.name}: the output cannot be written: no space left")
    assert errors.count(b"\n") == 1
    assert '<error message="the output cannot be written: ' in junit.read_text()


def is_full(reader: int) -> bool:
    """Whether the pipe is full, or nearly."""
    return (
        int.from_bytes(fcntl.ioctl(reader, termios.FIONREAD, bytes(4)), "little") > 50000
    )  # a line that does not fit into a page begins the next one


def test_no_line_is_lost_when_the_terminal_changes_its_size(web_lone: int, watch: Watch) -> None:
    """Whatever the reader does meanwhile."""
    with running(watch, f"http://127.0.0.1:{web_lone}/", "--count", 600, "--rate", 5000, "--jsonl") as process:
        wait_until(lambda: is_full(process.stdout.fileno()), "a full pipe")
        for _ in range(20):
            process.send_signal(signal.SIGWINCH)
            time.sleep(0.01)  # so that there are several of them
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert len([json.loads(line) for line in output.splitlines()]) == 600 + 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
@pytest.mark.parametrize("is_terminal", [False, True], ids=["pipe", "terminal"])
def test_a_reader_that_takes_nothing(is_terminal: bool, number: int, web_lone: int, watch: Watch) -> None:
    """A signal ends it nevertheless."""
    if watch.name == HTTPX:
        pytest.skip("Python goes on with a write that a signal has interrupted")
    reader, writer = pty.openpty() if is_terminal else os.pipe()
    if is_terminal:
        termios.tcflow(writer, termios.TCOOFF)  # rather than full, which a busy kernel takes back
    with running(watch, f"http://127.0.0.1:{web_lone}/", "--rate", 5000, "--jsonl", stdout=writer) as process:
        os.close(writer)
        stuck = f"/proc/{process.pid}/wchan"
        wait_until(lambda: waits_for_its_reader(stuck), "that it waits")
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
    os.close(reader)
    assert process.returncode == 128 + number


def waits_for_its_reader(path: str) -> bool:
    """Whether a process waits in poll(2) or write(2), as this file of /proc says, for a while."""
    for _ in range(20):
        if not any(word in Path(path).read_text() for word in ("poll_schedule", "do_sys_poll", "n_tty_write", "pipe_")):
            return False
        if "ep_poll" in Path(path).read_text():
            return False
        time.sleep(0.005)
    return True


def test_a_watch_that_is_stopped_for_a_while(watch: Watch) -> None:
    """That is no time of its requests."""
    if watch.name == HTTPX:
        pytest.skip("its event loop does not know of it")
    asked, goes_on = threading.Event(), threading.Event()

    def answer_when_it_goes_on(client: socket.socket) -> None:
        asked.set()
        goes_on.wait(PATIENCE)
        client.sendall(whoami("a"))

    limits = ["--count", 1, "--timeout", "1s", "--max-p99", "1s", "--json"]
    with answering(answer_when_it_goes_on) as port, running(watch, f"http://127.0.0.1:{port}/", *limits) as process:
        asked.wait(PATIENCE)
        process.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.1)
        goes_on.set()
        output, errors = process.communicate(timeout=PATIENCE)
    found = json.loads(output)
    assert (process.returncode, found["answers"], found["failures"]) == (0, 1, {}), errors


def test_fewer_files_than_requests(web_lone: int, watch: Watch) -> None:
    """It asks for no more at the same time than there can be connections."""
    by = ("sh", "-c", 'ulimit -n 20; exec "$@"', "sh")
    limits = ("--count", 60, "--rate", 200, "--concurrency", 50, "--json")
    with running(watch, f"http://127.0.0.1:{web_lone}/?latency=100ms", *limits, by=by) as process:
        output, errors = process.communicate(timeout=PATIENCE)
    found = json.loads(output)
    assert (process.returncode, found["answers"], found["failures"]) == (0, 60, {})
    words = r"at most (\d+) requests at the same time, not 50, as the limit of open files is 20\n"
    told = re.search(rf"{re.escape(watch.name)}: {words}", errors.decode())
    assert 1 < int(told[1]) < 20


def test_a_location_with_control_characters(watch: Watch) -> None:
    """Neither those of ASCII nor the others reach the terminal."""
    head = b"HTTP/1.1 302 Found\r\nLocation: http://b/\xc2\x9b31m\x9b\xff?x\r\nContent-Length: 0\r\n\r\n"
    with answering(says(head)) as port, running(watch, f"http://127.0.0.1:{port}/") as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "leads to http://b/" in errors.decode()
    assert all(char.isprintable() for char in errors.decode().rstrip("\n"))


@pytest.mark.parametrize("url", [b"http://127.0.0.1:9/\xc2\x9b31m", b"http://127.0.0.1:9/\xff", b"http://\xc0\x80/"])
def test_a_url_that_is_no_text(url: bytes, watch: Watch) -> None:
    done = watch(os.fsdecode(url), "--count", 1)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a URL" in done.stderr


def is_running(pid: int) -> bool:
    """Whether there is this process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("refuses", [False, True])
def test_a_server_that_has_no_room_at_first(refuses: bool, watch: Watch) -> None:
    """The connection is made, or refused, when the kernel asks again."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1))
        listener.settimeout(PATIENCE)
        port = listener.getsockname()[1]
        for _ in range(2):  # they take all places
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        process = stack.enter_context(running(watch, f"http://127.0.0.1:{port}/", "--count", 1, "--json"))
        waits = re.compile(rf":{port:04X} 02 ")  # SYN_SENT
        wait_until(lambda: waits.search(Path("/proc/net/tcp").read_text()), "a connection that waits")
        if refuses:
            listener.close()
        else:
            for _ in range(2):
                listener.accept()[0].close()
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                client.sendall(whoami("a"))
        output, _ = process.communicate(timeout=PATIENCE)
    found = json.loads(output)
    assert (found["answers"], found["failures"]) == ((0, {"refused": 1}) if refuses else (1, {}))


def in_namespaces(*options: str, mount: str, at: str) -> tuple[str, ...]:
    """What starts a command where another file is at this path; skips where that cannot be done."""
    by = ("unshare", "--mount", *options, "sh", "-c", f'mount --bind {mount} {at} && exec "$@"', "sh")
    if os.getuid() != 0:
        by = (by[0], "--map-root-user", *by[1:])
    if not shutil.which("unshare") or subprocess.run([*by, "true"], capture_output=True, check=False).returncode:
        missing("watch", "no namespaces can be made here")
    return by


def test_a_name_with_an_address_that_refuses(tmp_path: Path, watch: Watch) -> None:
    """The next address is tried."""
    (tmp_path / "hosts").write_text("127.0.0.1 a.example\n127.0.0.2 a.example\n")
    by = in_namespaces(mount=str(tmp_path / "hosts"), at="/etc/hosts")
    with answering(says(whoami("a")), host="127.0.0.2") as port:
        limits = ("--count", 10, "--rate", 100, "--json")
        with running(watch, f"http://a.example:{port}/", *limits, by=by) as process:
            found = json.loads(process.communicate(timeout=PATIENCE)[0])
    assert (found["answers"], found["failures"]) == (10, {})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=str)
def test_a_name_server_that_does_not_answer(number: int, tmp_path: Path, watch: Watch) -> None:
    """Nothing is left of a watch that waits for it."""
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\noptions timeout:30 attempts:5\n")
    by = in_namespaces("--net", mount=str(tmp_path / "resolv.conf"), at="/etc/resolv.conf")
    with running(watch, "http://a.example/", "--duration", "1h", "--timeout", "1h", "--json", by=by) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        tasks = Path(f"/proc/{process.pid}/task")
        cmdline = Path(f"/proc/{process.pid}/cmdline")
        wait_until(lambda: cmdline.read_text().startswith("\0".join(watch.command)), "the watch, after what starts it")
        wait_until(lambda: children.read_text() or len(list(tasks.iterdir())) > 1, "what looks up")
        left = [int(pid) for pid in children.read_text().split()]
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    wait_until(lambda: not any(map(is_running, left)), "the end of the process that looks up")
