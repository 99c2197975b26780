"""The command line: options, the log, signals, exit codes."""

import errno
import http.client
import inspect
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
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
    clean_environment,
    free_port,
    injecting,
    naming,
    needs,
    read_all,
    receive_page,
    started_with,
    switches,
    wait_until,
)

import yinyang
from yinyang import _core

ON_OR_OFF = "on or off, true or false, yes or no, 1 or 0"
END_MOST = 8  # seconds that a server takes to end if something keeps it from it
Start = Callable[..., Replica]


# ---- bad use ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "99999"], "--port wants a number from 0 to 65535, not '99999'"),
        (["--port", "x"], "--port wants a number from 0 to 65535, not 'x'"),
        (["--port=-1"], "--port wants a number from 0 to 65535, not '-1'"),
        (["--port"], "--port wants a value: --port N"),
        (["--prot", "8080"], "unknown option '--prot'; --help lists the options that there are"),
        (["8080"], "unexpected argument '8080'; --help lists the options that there are"),
        (["--access-log=yes"], "--access-log takes no value"),
        (["--name", ""], "--name wants 1 to 255 bytes without control characters, not ''"),
        (
            ["--name", "x" * 256],
            f"--name wants 1 to 255 bytes without control characters, not '{'x' * 64}...' (256 bytes)",
        ),
        (["--name", "a\nb"], "--name wants 1 to 255 bytes without control characters, not 'a?b'"),
        (
            ["--host", "localhost"],
            "--host wants a numeric address of this host such as 127.0.0.1 or ::1, not 'localhost'",
        ),
        (["--healthcheck", "--port", "0"], "--healthcheck wants the port of a server, not 0"),
        (["--workers", "0"], "--workers wants a number from 1 to 1024, not '0'"),
        (["--drain", "1h"], "--drain wants a time of at most 3600 s, such as 1, 1s or 500ms, not '1h'"),
        (
            ["--plain", "--control"],
            "--plain serves the page of the original and nothing else; --control does not go with it, "
            "nor does its variable",
        ),
        (["--sandbox", "on"], "--sandbox wants auto, off or require, not 'on'"),
    ],
)
def test_bad_use_exits_with_2_and_one_line(options: list[str], words: str, shape: Shape) -> None:
    done = shape.run(*options)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"yinyang: {words}\n")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"YINYANG_PORT": "x"}, "YINYANG_PORT wants a number from 0 to 65535, not 'x'"),
        ({"PORT": "80a"}, "PORT wants a number from 0 to 65535, not '80a'"),
        ({"YINYANG_PORT": "65536"}, "YINYANG_PORT wants a number from 0 to 65535, not '65536'"),
        ({"PORT": "65536"}, "PORT wants a number from 0 to 65535, not '65536'"),
        ({"YINYANG_PORT": "tcp://10.96.0.17:80", "PORT": "abc"}, "PORT wants a number from 0 to 65535, not 'abc'"),
        ({"YINYANG_WORKERS": "1025"}, "YINYANG_WORKERS wants a number from 1 to 1024, not '1025'"),
        (
            {"YINYANG_NAME": "x" * 256},
            f"YINYANG_NAME wants 1 to 255 bytes without control characters, not '{'x' * 64}...' (256 bytes)",
        ),
        (
            {"YINYANG_TITLE": "a\x07b"},
            "YINYANG_TITLE wants 0 to 255 bytes without control characters, not 'a?b'",
        ),
        (
            {"YINYANG_HOST": "::g"},
            "YINYANG_HOST wants a numeric address of this host such as 127.0.0.1 or ::1, not '::g'",
        ),
        ({"YINYANG_ACCESS_LOG": "maybe"}, f"YINYANG_ACCESS_LOG wants {ON_OR_OFF}, not 'maybe'"),
        ({"YINYANG_FAULTS": "none"}, f"YINYANG_FAULTS wants {ON_OR_OFF}, not 'none'"),
        ({"YINYANG_CONTROL": "\x10"}, f"YINYANG_CONTROL wants {ON_OR_OFF}, not '?'"),
        ({"YINYANG_PALETTE": "Distinct"}, "YINYANG_PALETTE wants original or distinct, not 'Distinct'"),
        ({"YINYANG_PORT": "http://a:80"}, "YINYANG_PORT wants a number from 0 to 65535, not 'http://a:80'"),
        ({"PORT": "tcp://10.0.0.1:80"}, "PORT wants a number from 0 to 65535, not 'tcp://10.0.0.1:80'"),
        ({"YINYANG_WORKERS": "tcp://a"}, "YINYANG_WORKERS wants a number from 1 to 1024, not 'tcp://a'"),
    ],
)
def test_bad_environment_names_the_variable(variables: dict[str, str], words: str, shape: Shape) -> None:
    done = shape.run(**variables)
    assert (done.returncode, done.stderr) == (2, f"yinyang: {words}\n")


def test_address_of_a_link(shape: Shape) -> None:
    """Neither way leads to an option that does not exist."""
    done = shape.run("--port", "0", "--host", "fe80::1")
    assert done.returncode == 1
    assert "an address of one link needs its interface too, and --host cannot tell it; leave out --host" in done.stderr
    for zone in "%lo", "%1", "%":
        done = shape.run("--port", "0", "--host", f"fe80::1{zone}")
        words = f"not 'fe80::1{zone}'; an address with a zone is not supported, use :: for all addresses\n"
        assert (done.returncode, done.stderr.endswith(words)) == (2, True), done.stderr


def test_port_in_use(shape: Shape, shared_replica: Replica) -> None:
    done = shape.run("--port", str(shared_replica.port))
    assert done.returncode == 1
    assert re.fullmatch(
        r"yinyang: cannot listen on port \d+: another program listens there; [^\n]*--port[^\n]*\n", done.stderr
    )


@pytest.mark.parametrize("address", ["192.0.2.1", "224.0.0.1", "239.1.2.3", "255.255.255.255", "ff02::1", "ff05::2"])
def test_address_that_is_not_here(address: str, shape: Shape) -> None:
    """Nobody can connect to one of many hosts either."""
    done = shape.run("--port", "0", "--host", address)
    assert done.returncode == 1
    assert re.fullmatch(r"yinyang: cannot listen [^\n]*this host does not have that address[^\n]*\n", done.stderr)


@pytest.mark.strace
@pytest.mark.parametrize(
    ("error", "words"),
    [("EACCES", "ports below 1024 need privilege here; use --port 8080"), ("EPERM", "operation not permitted")],
)
def test_port_without_the_right(error: str, words: str, shape: Shape) -> None:
    done = shape.run(wrap=injecting(f"bind:error={error}"))
    assert done.returncode == 1
    assert re.fullmatch(rf"yinyang: cannot listen on port 80: {words}[^\n]*\n", done.stderr)


@pytest.mark.strace
@pytest.mark.needs("root", "unshare")
def test_port_without_the_right_where_another_limit_holds(shape: Shape) -> None:
    """In a network of its own, where nobody else sees the limit."""
    limited = 'echo $0 >/proc/sys/net/ipv4/ip_unprivileged_port_start; exec "$@"'
    for limit, port, words in (
        (100, 99, "ports below 100 need privilege here; use --port 8080, or allow it with: sysctl net"),
        (9000, 8080, "ports below 9000 need privilege here; use --port 9000, or allow it with: sysctl net"),
        (80, 80, "permission denied"),
        (0, 1, "permission denied"),
    ):
        with naming(f"limit {limit}, port {port}"):
            wrap = [needs("unshare"), "--net", "sh", "-c", limited, str(limit), *injecting("bind:error=EACCES")]
            done = shape.run("--port", str(port), wrap=wrap)
            assert done.returncode == 1
            assert done.stderr.startswith(f"yinyang: cannot listen on port {port}: {words}")


@pytest.mark.strace
@pytest.mark.parametrize(
    ("error", "ends"),
    [
        ("ECONNABORTED", False),
        ("EPROTO", False),
        ("EINTR", False),
        ("EMFILE", False),
        ("ENOMEM", False),
        ("EINVAL", False),
        ("EBADF", True),
    ],
)
def test_errors_of_accept(error: str, ends: bool, shape: Shape, tmp_path: Path) -> None:
    """One connection's own trouble, or a shortage, costs nobody an answer; what cannot pass ends the worker."""
    with started_with(f"accept4:error={error}:when=2", shape, tmp_path / "log") as replica, replica.connect() as client:
        client.sendall(LAST)
        if ends:
            wait_until(lambda: "could not go on: bad file descriptor, restarted as pid" in replica.log.read_text())
        else:
            assert PAGE in read_all(client)
            assert "could not go on" not in replica.log.read_text()


@pytest.mark.contained
def test_help_and_version(shape: Shape) -> None:
    assert shape.run("--help").returncode == 0
    assert shape.run("--version").stdout == f"yinyang {yinyang.__version__}\n"
    assert shape.run("--help", YINYANG_PORT="x").returncode == 0


def test_help_has_a_row_for_each_option(shape: Shape) -> None:
    """Its columns stand apart, each at the same place in all rows."""
    rows = {}
    for line in shape.run("--help").stdout.splitlines():
        if line.startswith("  --"):
            row = re.fullmatch(r"  --([a-z-]+)(?: [A-Z]+)? {2,}(?:(YINYANG_[A-Z_]+) {2,})?(\S.*?)(?: \((.+)\))?", line)
            assert row, line
            rows[row[1].replace("-", "_")] = row
    assert len({row.start(3) for row in rows.values()}) == 1
    assert len({row.start(2) for row in rows.values() if row[2]}) == 1
    settings = {name: it for name, it in inspect.signature(yinyang.Server).parameters.items() if name != "listener"}
    assert set(rows) == {*settings, "no_access_log", "healthcheck", "version", "help"}
    for name, row in rows.items():
        assert row[2] == (f"YINYANG_{name.upper()}" if name in settings else None)
        if name in settings and isinstance(settings[name].default, (str, float)) and name != "port":
            assert row[4] == str(settings[name].default)
    assert rows["port"][4] == "80"


def test_server_has_the_defaults_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the port, which is any free one, and the listener, which is no option."""
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    parameters = inspect.signature(yinyang.Server).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items() if name != "listener"}
    assert _core.parse_options(["--port", "0"]) == ("serve", defaults, "")


@pytest.mark.contained
def test_options_win_over_environment(start: Start) -> None:
    replica = start("--name", "option", "--title=t<", YINYANG_NAME="variable", YINYANG_TITLE="other", YINYANG_HOST="")
    page = yinyang.render_page(yinyang.identify("option"), "t<")
    assert page in replica.ask(LAST)


def test_environment_wins_over_defaults(start: Start) -> None:
    process_variables = {"YINYANG_TITLE": "T", "YINYANG_HOST": "127.0.0.1", "PORT": str(free_port())}
    replica = start("--workers", "1", "--port", "0", **process_variables)
    assert b"<title>T</title>" in replica.ask(LAST)
    assert "Listening on http://127.0.0.1:" in replica.log.read_text()


def test_all_that_is_on_or_off_knows_the_same_words(start: Start) -> None:
    for on, off in ("on", "off"), ("true", "false"), ("Yes", "No"), ("TRUE", "FALSE"), ("oN", "OFF"), ("1", "0"):
        for word, is_on in (on, True), (off, False):
            with naming(word):
                replica = start("--workers", "1", YINYANG_FAULTS=word, YINYANG_CONTROL=word, YINYANG_ACCESS_LOG=word)
                assert replica.ask(LAST).endswith(PAGE)
                asked = replica.ask(LAST.replace(b" / ", b" /status/418 "))
                told = replica.ask(LAST.replace(b"GET / ", b"POST /readyz/enable "))
                assert asked.startswith(b"HTTP/1.1 418 " if is_on else b"HTTP/1.1 403 ")
                assert told.startswith(b"HTTP/1.1 202 " if is_on else b"HTTP/1.1 403 ")
                assert replica.stop() == 0
                assert len(replica.served()) == is_on
    assert b" 403 " in start("--faults", "No").ask(LAST.replace(b" / ", b" /status/418 "))


def test_a_word_switches_an_argument_of_server() -> None:
    for word, code in ("off", 403), ("True", 202), (True, 202), (False, 403):
        with yinyang.Server(name="vm", workers=1, control=word) as server:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
            connection.request("POST", "/readyz/enable")
            assert connection.getresponse().status == code
            connection.close()
    with pytest.raises(ValueError, match=f"control must be {ON_OR_OFF}, not 'maybe'"):
        yinyang.Server(control="maybe")


@pytest.mark.parametrize("module", ["yinyang", "yinyang.serve"])
def test_modules_are_the_same(module: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
        cwd=tmp_path,
    )
    assert done.stdout == f"yinyang {yinyang.__version__}\n"


# ---- asking for health ----------------------------------------------------------------------------------------------


def test_healthcheck_of_a_server(shape: Shape, shared_replica: Replica) -> None:
    for options in ((), ("--host", "127.0.0.1"), ("--host", "::1"), ("--host", "::"), ("--host", "0.0.0.0")):
        done = shape.run("--healthcheck", "--port", str(shared_replica.port), *options)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert shape.run("--healthcheck", YINYANG_PORT=str(shared_replica.port)).returncode == 0


@pytest.mark.parametrize("link", ["tcp://10.0.0.1:80", "udp://[fd00::1]:80", "sctp://10.0.0.1:80"])
def test_service_link_of_kubernetes_is_no_port(link: str, shape: Shape, shared_replica: Replica) -> None:
    """Beside a Service called yinyang, Kubernetes sets YINYANG_PORT in each pod."""
    done = shape.run("--healthcheck", YINYANG_PORT=link, PORT=str(shared_replica.port))
    assert (done.returncode, done.stderr) == (0, "")
    assert shape.run("--healthcheck", "--port", str(shared_replica.port), YINYANG_PORT=link).returncode == 0


def test_service_link_beside_an_option_is_not_looked_at(start: Start) -> None:
    replica = start(YINYANG_PORT="tcp://10.96.0.17:80")  # beside --port, it is not looked at
    assert "YINYANG_PORT" not in replica.log.read_text()


def test_links_are_ignored_in_words(shape: Shape, tmp_path: Path) -> None:
    """Docker's --link x:yinyang sets YINYANG_NAME=/web/yinyang beside the port. One without such a port is meant."""
    port = "YINYANG_PORT names a Service of Kubernetes or a link of Docker and no port, so it is ignored: 'tcp://a:80'"
    name = "YINYANG_NAME names a link of Docker, so it is ignored: '/web/yinyang'"
    link = {"YINYANG_PORT": "tcp://a:80"}
    for options, variables, words, host in (
        ([], link | {"YINYANG_NAME": "web-1"}, port, "web-1"),
        ([], link | {"YINYANG_NAME": "/web/yinyang", "POD_NAME": "pod"}, f"{port}; {name}", "pod"),
        (["--port", "0"], link | {"YINYANG_NAME": "/web/yinyang", "POD_NAME": "pod"}, name, "pod"),
        (["--port", "0", "--name", "vm"], link | {"YINYANG_NAME": "/web/yinyang"}, "", "vm"),
        ([], {"YINYANG_PORT": "0", "YINYANG_NAME": "/web/yinyang"}, "", "/web/yinyang"),
    ):
        with naming(f"{options} {variables}"), (tmp_path / "log").open("wb") as file:
            environment = clean_environment() | {"PORT": "0"} | variables
            replica = Replica(subprocess.Popen(shape.command(*options), stderr=file, env=environment), tmp_path / "log")
            try:
                replica.wait_for_port()
                assert [line for line in replica.lines() if "ignored" in line] == [f"yinyang: {words}"] * bool(words)
                assert replica.ask(LAST.replace(b" / ", b" /hostname ")).endswith(f"\r\n\r\n{host}\n".encode())
                assert replica.stop() == 0
            finally:
                replica.kill()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "timed out"),
        (b"", "the connection was closed without an answer"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "the answer begins with 'HTTP/1.1 503 '"),
        (b"\x00\x1b]0;x", "the answer begins with '??]0;x'"),
    ],
)
def test_healthcheck_of_something_else(answer: bytes | None, words: str, shape: Shape) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        server.settimeout(PATIENCE)

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)
                if answer is None:
                    client.recv(1)  # until it gives up
                else:
                    client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        done = shape.run("--healthcheck", "--port", str(port))
        thread.join()
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        f"yinyang: no healthy server at http://127.0.0.1:{port}: {words}\n",
    )


def test_healthcheck_of_a_slow_server(shape: Shape) -> None:
    """It has 2 s for all of its answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)
                for piece in b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", b"\r\nok\n":
                    time.sleep(0.6)
                    client.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        done = shape.run("--healthcheck", "--port", str(server.getsockname()[1]))
        thread.join()
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.contained
def test_healthcheck_of_nothing(shape: Shape) -> None:
    port = free_port()
    done = shape.run("--healthcheck", "--port", str(port))
    words = f"yinyang: no healthy server at http://127.0.0.1:{port}: connection refused\n"
    assert (done.returncode, done.stderr) == (1, words)


# ---- addresses ----------------------------------------------------------------------------------------------------


def test_both_families_by_default(start: Start) -> None:
    replica = start()
    for host in ("127.0.0.1", "::1"):
        with replica.connect(host) as client:
            client.sendall(LAST)
            assert PAGE in read_all(client)


@pytest.mark.strace
def test_ipv4_alone_where_ipv6_is_off(shape: Shape, tmp_path: Path) -> None:
    with started_with("socket:error=EAFNOSUPPORT:when=1", shape, tmp_path / "log") as replica:
        assert "http://0.0.0.0:" in replica.log.read_text()
        assert PAGE in replica.ask(LAST)


# ---- the log ------------------------------------------------------------------------------------------------------


def load(port: int, connections: int, requests: int) -> int:
    """Pages answered to `requests` requests on each of several connections."""
    answered = []

    def client() -> None:
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            for begin in range(0, requests, 50):
                count = min(50, requests - begin)
                connection.sendall(GET * count)
                received = b""
                while received.count(b"</html>") < count:
                    piece = connection.recv(1 << 18)
                    assert piece
                    received += piece
                answered.append(count)

    threads = [threading.Thread(target=client) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answered)


def read_first_lines(reader: int) -> bytes:
    """What a server writes to a pipe until it serves."""
    head = b""
    while b"workers:" not in head:
        piece = os.read(reader, 4096)
        assert piece, f"the server ended: {head!r}"
        head += piece
    return head


@pytest.mark.contained
def test_first_lines_are_those_of_the_original(start: Start) -> None:
    replica = start("--workers", "1")
    first, second = replica.lines()[:2]
    assert re.fullmatch(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d Serving image, host: vm, colour: #b8d868", first)
    assert re.fullmatch(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d Listening on http://\[::\]:\d+ .*, workers: 1", second)


@pytest.mark.contained
def test_a_line_for_each_page(start: Start) -> None:
    replica = start()
    begin = int(time.time())
    assert load(replica.port, 64, 1600) == 102_400
    end = int(time.time())
    wait_until(lambda: len(replica.served()) >= 102_400, "the last line")
    assert replica.stop() == 0
    lines = replica.served()
    assert len(lines) == 102_400
    assert all(re.fullmatch(SERVED, line) for line in set(lines))
    for stamp in Counter(line[:19] for line in lines):
        assert begin - 1 <= datetime.strptime(f"{stamp} +0000", "%Y/%m/%d %H:%M:%S %z").timestamp() <= end


def test_no_line_for_what_is_no_page(start: Start) -> None:
    replica = start()
    for request in (
        b"GET /favicon.ico HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET //x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        replica.ask(request, half_close=True)
    assert replica.stop() == 0
    assert len(replica.served()) == 1  # for HEAD, as the page was answered


@pytest.mark.contained
def test_no_access_log(start: Start) -> None:
    replica = start("--no-access-log")
    assert PAGE in replica.ask(LAST)
    assert replica.stop() == 0
    assert not replica.served()


def test_a_stopped_reader_stops_no_client_and_loses_no_line(start: Start) -> None:
    reader, writer = os.pipe()
    replica = start("--workers", "2", log=writer)
    os.close(writer)
    head = read_first_lines(reader)
    replica.port = int(re.search(rb"http://\S+:(\d+)", head)[1])
    begin = time.monotonic()
    answered = 0
    while time.monotonic() - begin < 10:
        answered += load(replica.port, 8, 500)
        time.sleep(0.2)  # it is the time that matters, and others want the CPU
    written = bytearray(head)
    process_ends = threading.Thread(target=replica.stop)
    process_ends.start()
    while piece := os.read(reader, 65536):
        written += piece
    process_ends.join()
    os.close(reader)
    assert replica.process.returncode == 0
    lines = [line for line in written.decode().splitlines() if "Served" in line]
    assert len(lines) == answered
    assert all(re.fullmatch(SERVED, line) for line in set(lines))


def test_a_log_whose_reader_is_gone_stops_nothing(start: Start) -> None:
    reader, writer = os.pipe()
    replica = start("--workers", "1", log=writer)
    os.close(writer)
    head = read_first_lines(reader)
    replica.port = int(re.search(rb"http://\S+:(\d+)", head)[1])
    os.close(reader)
    assert load(replica.port, 4, 100) == 400
    begin = time.monotonic()
    assert replica.stop() == 0
    assert time.monotonic() - begin < END_MOST  # nobody is waited for


def test_serves_without_standard_descriptors(shape: Shape, tmp_path: Path) -> None:
    port = free_port()
    line = [
        "sh",
        "-c",
        'exec "$@" <&- >&- 2>&-',
        "sh",
        *shape.command("--port", str(port), "--name", "vm", "--workers", "2"),
    ]
    process = subprocess.Popen(line, cwd=tmp_path, env=clean_environment())
    replica = Replica(process, tmp_path / "none")
    replica.port = port

    def answered() -> bool:
        try:
            return PAGE in replica.ask(LAST)
        except ConnectionError:
            return False

    try:
        wait_until(answered)
        assert all(answered() for _ in range(20))
        assert replica.stop() == 0
    finally:
        process.kill()
        process.wait()


# ---- signals ------------------------------------------------------------------------------------------------------


@pytest.mark.contained
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_ends_when_told_to(number: int, start: Start) -> None:
    replica = start()
    assert replica.stop(number) == 0
    assert len(replica.lines()) <= 3  # and no traceback


@pytest.mark.contained
def test_finishes_what_is_being_answered(start: Start) -> None:
    replica = start()
    with replica.connect() as idle, replica.connect() as busy:
        idle.sendall(GET)
        assert idle.recv(1000)
        busy.sendall(GET + b"GET / HTTP/1.1\r\n")
        wait_until(lambda: len(replica.served()) == 2)
        replica.send_signal(signal.SIGTERM)
        assert idle.recv(1000) == b""
        busy.sendall(b"Host: a\r\n\r\n")
        received = read_all(busy)
    assert received.count(PAGE) == 2
    assert received.count(b"Connection: close\r\n") == 1
    assert replica.process.wait(PATIENCE) == 0
    assert len(replica.served()) == 3


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    replica = start()
    with replica.connect() as busy:
        busy.sendall(b"GET / HTTP/1.1\r\n")
        wait_until(lambda: not_read(replica.port) == 0)
        replica.send_signal(signal.SIGTERM)
        wait_until(lambda: refused(replica.port))
        assert replica.process.poll() is None
        replica.send_signal(signal.SIGINT)
        begin = time.monotonic()
        assert replica.process.wait(PATIENCE) == 0
        assert time.monotonic() - begin < END_MOST


def not_read(port: int) -> int:
    """Bytes that arrived at connections of a port and are not read yet; -1 while there is no connection."""
    queues = [-1]
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rsplit(":", 1)[1], 16) == port and fields[3] == "01":
                queues.append(int(fields[4].split(":")[1], 16))
    return max(queues)


def refused(port: int) -> bool:
    """Does nobody accept any more?"""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


@pytest.mark.contained
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_with_busy_connections(number: int, start: Start) -> None:
    replica = start()
    ends = threading.Event()
    pages = []

    def client() -> None:
        try:
            with replica.connect() as connection:
                while not ends.is_set():
                    connection.sendall(GET)
                    receive_page(connection)
                    pages.append(1)
        except ConnectionError:
            return

    threads = [threading.Thread(target=client) for _ in range(64)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(pages) > 1000)
    assert replica.stop(number) == 0
    ends.set()
    for thread in threads:
        thread.join()
    assert len(replica.served()) >= len(pages)
    assert "Traceback" not in replica.log.read_text()


@pytest.mark.contained
def test_is_idle_when_idle(start: Start) -> None:
    replica = start()
    with replica.connect() as client:
        client.sendall(GET)
        assert client.recv(1000)
        wait_until(lambda: len(replica.served()) == 1)
        pids = [replica.pid, *replica.workers()]

        def is_at_rest() -> bool:
            """Is a second over in which none of them ran?"""
            before = [switches(pid) for pid in pids]
            time.sleep(1)
            return [switches(pid) for pid in pids] == before

        wait_until(is_at_rest)  # the log takes a while to come to rest


# ---- the workers --------------------------------------------------------------------------------------------------


@pytest.mark.contained
def test_a_killed_worker_is_restarted(start: Start) -> None:
    replica = start("--workers", "2")
    victim = replica.workers()[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in replica.workers() and len(replica.workers()) == 2)
    text = r"Worker \d \(pid \d+\) was killed by signal 9, restarted as pid \d+"
    wait_until(lambda: re.search(text, replica.log.read_text()))
    assert PAGE in replica.ask(LAST)


@pytest.mark.contained
def test_a_killed_worker_under_load_costs_its_own_connections_alone(start: Start) -> None:
    replica = start("--workers", "2")
    ends = threading.Event()
    pages, failures = [], []

    def client() -> None:
        done = 0
        try:
            with replica.connect() as connection:
                while not ends.is_set():
                    connection.sendall(GET)
                    receive_page(connection)
                    done += 1
        except ConnectionError:
            failures.append(1)
        pages.append(done)

    threads = [threading.Thread(target=client) for _ in range(20)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(replica.served()) > 2000)
    # workers share connections, but need not do so evenly: of 20, the one with fewer has at most half
    os.kill(min(replica.workers(), key=lambda pid: len(os.listdir(f"/proc/{pid}/fd"))), signal.SIGKILL)
    wait_until(lambda: "restarted as pid" in replica.log.read_text())
    ends.set()
    for thread in threads:
        thread.join()
    assert replica.stop() == 0
    assert len(failures) <= 10
    assert sum(pages) <= len(replica.served()) <= sum(pages) + len(failures)


def test_no_worker_outlives_its_parent(start: Start) -> None:
    replica = start("--workers", "2")
    workers = replica.workers()
    replica.process.kill()
    replica.process.wait()
    wait_until(lambda: all(is_over(pid) for pid in workers))
    with socket.create_server(("127.0.0.1", replica.port)):
        pass


def is_over(pid: int) -> bool:
    """Is a process gone, with all that it held? (Nobody may have waited for it yet; and under QEMU, it has a thread of
    QEMU's.)"""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "Z" and len(os.listdir(f"/proc/{pid}/task")) == 1
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.contained
def test_workers_share_the_connections(start: Start) -> None:
    replica = start("--workers", "4")
    workers = replica.workers()
    clients = []
    try:
        for _ in range(800):  # a process may have no more than 1024 descriptors
            client = replica.connect()  # one after the other: a queue is not left for long to workers without a CPU
            clients.append(client)
            client.sendall(GET)
            assert client.recv(100)
        counts = [len(os.listdir(f"/proc/{pid}/fd")) for pid in workers]
        assert max(counts) <= 1.5 * min(counts), counts
    finally:
        for client in clients:
            client.close()
