"""The command against real replicas, and against servers that fail."""

import contextlib
import errno
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from balancers import replica, stage
from conftest import PATIENCE, injecting, wait_until

from watch.command import Watch, metric, report, sampled
from watch.servers import answering, reset, say_nothing, says
from yinyang import __version__, identify
from yinyang.watch.__main__ import main


def test_one_replica_as_json(web_lone: int, watch: Watch) -> None:
    done = watch(f"http://127.0.0.1:{web_lone}/", "--count", 80, "--rate", 400, "--json", "--expect-replicas", 1)
    found = report(done)
    assert done.returncode == 0
    assert done.stderr.count("\u2713") == 2
    assert (found["samples"], found["errors"], found["ended"]) == (80, 0, "count")
    [replica] = found["replicas"]
    assert (replica["host"], replica["version"], replica["answers"]) == ("web-lone", "1.2.3", 80)
    assert replica["colours"][0] == identify("web-lone").colour
    assert found["verdict"]["kind"] == "one"
    assert found["gap"] == {"latest": None, "longest": None}
    assert 0 < found["latency"]["p50"] <= found["latency"]["p99"]


def test_lines_in_a_pipe(web_lone: int, watch: Watch) -> None:
    done = watch(f"http://127.0.0.1:{web_lone}", "--duration", "1500ms", "--rate", 50)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) >= 2
    assert all(re.match(r"\d+ s: \d+ samples?, [\d.]+/s; ", line) for line in lines)
    assert re.search(r"/s; \S+ 100 %; no failure; p50 \S+ ms, p99 \S+ ms; ", lines[-1])
    assert "\x1b" not in done.stdout


def test_connections_are_used_again_or_not(web_lone: int, watch: Watch) -> None:
    """As the replica counts them."""
    before = metric(web_lone, "yinyang_connections_accepted_total")
    watch(f"http://127.0.0.1:{web_lone}", "--count", 40, "--rate", 500, "--concurrency", 4)
    between = metric(web_lone, "yinyang_connections_accepted_total")
    watch(f"http://127.0.0.1:{web_lone}", "--count", 40, "--rate", 500, "--concurrency", 4, "--connection", "same")
    assert between - before == 40 + 1
    assert metric(web_lone, "yinyang_connections_accepted_total") - between <= 4 + 1


def test_nobody_answers(watch: Watch) -> None:
    with socket.socket() as unused:  # bound, but nobody listens
        unused.bind(("127.0.0.1", 0))
        done = watch(f"http://127.0.0.1:{unused.getsockname()[1]}", "--count", 3, "--rate", 100, "--json")
    found = report(done)
    assert done.returncode == 1
    assert found["failures"] == {"refused": 3}
    assert found["gap"]["longest"] > 0
    assert done.stderr == "\u2717 expected an answer, seen: none to 3 requests (3 refused)\n"


def test_expectations(web_lone: int, watch: Watch) -> None:
    """Each has its line, with a mark for whether it holds."""
    url = f"http://127.0.0.1:{web_lone}"
    held = ["--expect-replicas", 1, "--max-errors", 0, "--max-gap", "1m", "--min-share", "100%"]
    done = watch(url, "--count", 5, "--rate", 100, *held)
    assert done.returncode == 0
    assert re.fullmatch("(\u2713 expected .*, +seen: .*\n){5}", done.stderr)
    done = watch(url, "--count", 5, "--rate", 100, "--expect-replicas", 2, "--max-errors", 0)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "\u2713 expected an answer,          seen: 5 answers",
        "\u2717 expected exactly 2 replicas, seen: 1: web-lone",
        "\u2713 expected at most 0 errors,   seen: 0 of 5 requests (none)",
    ]
    done = watch(url, "--count", 5, "--rate", 100, "--expect-replicas", 2, PYTHONIOENCODING="ascii", LC_ALL="C")
    assert [line[:13] for line in done.stderr.splitlines()] == ["ok   expected", "FAIL expected"]
    # The query is passed on, and is no path.
    done = watch(f"{url}/elsewhere?/whoami", "--count", 1, *held, "--max-gap", "1ms")
    assert done.returncode == 1
    assert done.stderr.count("\u2717") == 5


OK = b"HTTP/1.1 200 OK\r\nContent-Length: "
FAILURES: dict[str, tuple[Callable[[socket.socket], None], str]] = {
    "reset": (reset, "reset"),
    "closed": (lambda client: None, "closed"),
    "cut": (says(OK + b"99\r\n\r\n{"), "closed"),
    "silent": (say_nothing, "timed out"),
    "502": (says(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"), "status 502"),
    "304": (says(b"HTTP/1.1 304 Not Modified\r\n\r\n"), "status 304"),
    "of a replica": (says(b"HTTP/1.1 403 Forbidden\r\nX-Served-By: a\r\nContent-Length: 0\r\n\r\n"), "status 403"),
    "page": (says(OK + b"6\r\n\r\n<html>"), "not whoami"),
    "endless": (lambda client: client.sendall(OK + b"1000000\r\n\r\n" + 100000 * b" "), "not whoami"),
    "ssh": (says(b"SSH-2.0-OpenSSH\r\n\r\n"), "not HTTP"),
}


@pytest.mark.parametrize(
    ("head", "body", "version"),
    [
        ("X-Served-By: web-a\r\nX-Version: v2\r\n", "<html>", "v2"),  # our page, with --served-by
        ("", "host: web-a\nshort: a\nversion: v2\n", "v2"),  # ours, with ?format=text
        ("", "Hostname: web-a\nIP: 127.0.0.1\nGET / HTTP/1.1\n", None),  # traefik/whoami's
    ],
)
def test_who_answers_is_told_in_many_ways(head: str, body: str, version: str | None, watch: Watch) -> None:
    with answering(says(f"HTTP/1.1 200 OK\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())) as port:
        done = watch(f"http://127.0.0.1:{port}/", "--count", 2, "--rate", 100, "--json")
    [replica] = report(done)["replicas"]
    assert (replica["host"], replica["version"], replica["answers"]) == ("web-a", version, 2)
    assert replica["colours"][0] == identify("web-a").colour


@pytest.mark.parametrize("cookie", [b'a="\xe9"', b"b=\x80\xff", b"\xe9=1", b'c="\\351"', b";;=;"])
def test_cookies_of_any_bytes(cookie: bytes, watch: Watch) -> None:
    """Each sample is an answer or a failure; what is sent back is what came."""
    received: list[bytes] = []
    body = b'{"host":"a"}'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nSet-Cookie: " % len(body)

    def answer(client: socket.socket) -> None:
        client.sendall(head + cookie + b"; Path=/\r\nConnection: close\r\n\r\n" + body)

    with answering(answer, received) as port:
        done = watch(f"http://127.0.0.1:{port}/", "--count", 60, "--rate", 300, "--json")
    found = report(done)
    assert (done.stderr, found["samples"], found["errors"]) == ("", 60, 0)
    sent = {value for request in received for value in re.findall(rb"\r\n[Cc]ookie: ([^\r]*)\r\n", request)}
    assert sent <= {cookie}


@pytest.mark.parametrize("name", FAILURES)
def test_failures_are_told_apart(name: str, watch: Watch) -> None:
    behave, word = FAILURES[name]
    limit = ["--timeout", "300ms"] if word == "timed out" else []

    def safely(client: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            behave(client)

    with answering(safely) as port:
        done = watch(f"http://127.0.0.1:{port}", "--count", 2, "--rate", 100, *limit, "--json")
    assert report(done)["failures"] == {word: 2}
    assert done.returncode == 1


@pytest.mark.parametrize("head", ["401 Unauthorized", "403 Forbidden", "302 Found\r\nLocation: http://b/login?state=1"])
def test_a_login_is_needed(head: str, watch: Watch) -> None:
    """One who has no user is told so, and sends no more; with a user, it is a failure."""
    received: list[bytes] = []
    status = head.partition(" ")[0]
    behave = says(f"HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    with answering(behave, received) as port:
        done = watch(f"http://127.0.0.1:{port}", "--concurrency", 1, "--rate", 100)
        assert (done.returncode, done.stdout, len(received)) == (2, "", 1)
        assert re.match(
            rf"{watch.name}: needs a login[^\n]* http://127.0.0.1:{port}/whoami answers {status}", done.stderr
        )
        assert done.stderr.count("\n") == 1
        assert "state" not in done.stderr
        done = watch(f"http://me:secret@127.0.0.1:{port}", "--count", 2, "--rate", 100, "--json")
    assert (done.returncode, report(done)["failures"]) == (1, {f"status {status}": 2})


def test_a_rate_that_is_not_reached(watch: Watch) -> None:
    """It is said in the last line and in the object."""
    with answering(say_nothing) as port:
        limits = [f"http://127.0.0.1:{port}", "--concurrency", 1, "--timeout", "100ms", "--duration", "300ms"]
        done = watch(*limits, "--rate", 100000)
        found = report(watch(*limits, "--rate", 100000, "--json"))
    assert re.search(r"; asked for 100000/s, reached [\d.]+/s; ", done.stdout.splitlines()[-1])
    assert found["asked_rate"] == 100000
    assert found["rate"] < 1000


@pytest.mark.parametrize(
    ("arguments", "number", "code"),
    [
        ([], signal.SIGINT, 0),
        (["--expect-replicas", 7], signal.SIGINT, 1),
        (["--duration", "1h"], signal.SIGINT, 130),
        (["--count", 10**9], signal.SIGINT, 130),
        (["--until", "v2 >= 1%"], signal.SIGINT, 130),
        (["--duration", "1h"], signal.SIGTERM, 143),
    ],
    ids=str,
)
def test_told_to_end(arguments: list[object], number: int, code: int, web_lone: int, watch: Watch) -> None:
    with watch.started(f"http://127.0.0.1:{web_lone}", *arguments) as process:
        assert re.match(r"\d+ s: ", process.stdout.readline())
        process.send_signal(number)
        rest, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert re.match(r"\d+ s: ", rest.splitlines()[-1])


def test_a_reader_that_has_enough(web_lone: int, watch: Watch) -> None:
    with watch.started(f"http://127.0.0.1:{web_lone}") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == 128 + signal.SIGPIPE


def test_a_host_that_is_none(watch: Watch) -> None:
    done = watch("http://-\u00f6..x/", "--count", 1)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert ("is not a URL" if watch.name == "yinyang.watch" else "is not in ASCII") in done.stderr


@pytest.mark.parametrize("name", ["httpx", "rich"])
def test_without_the_extra(name: str) -> None:
    code = f"""import runpy, sys
sys.modules[{name!r}] = None
sys.argv = ["watch", "http://127.0.0.1/"]
runpy.run_module("yinyang.watch", run_name="__main__")"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (2, "")
    assert name in done.stderr
    assert "yinyang-serve[watch]" in done.stderr
    assert done.stderr.count("\n") == 1


def test_version(watch: Watch) -> None:
    done = watch("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{watch.name.replace('.', '-')} {__version__}\n", "")


def test_help_names_the_command_as_installed(watch: Watch) -> None:
    [command] = entry_points(group="console_scripts", name="yinyang-watch")
    assert command.load() is main
    assert watch("--help").stdout.startswith(f"usage: {watch.name.replace('.', '-')} ")


def test_the_server_does_without_it() -> None:
    code = """import sys, yinyang.serve
print([name for name in sys.modules if name.startswith(("yinyang.watch", "httpx", "rich"))])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert done.stdout == "[]\n"


def test_a_gap_is_as_long_as_nobody_was_there(tmp_path: Path, watch: Watch) -> None:
    with stage(tmp_path) as made:
        made.add("web-1")
        port = made.replicas["web-1"].port
        with watch.started(f"http://127.0.0.1:{port}", "--rate", 50, "--max-gap", "1ms") as process:
            wait_until(lambda: sampled(port) > 5, "some samples")
            made.replicas["web-1"].kill()
            wait_until(lambda: refuses(port), "the end of its workers")
            gone = time.monotonic()
            assert any(" refused" in line for line in process.stdout)
            back = time.monotonic()
            made.replicas["web-1"] = replica(tmp_path, "web-1", "--port", str(port))
            wait_until(lambda: sampled(port) > 5, "samples again")
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    longest = float(re.search(r"; gap [\d.]+ s, longest ([\d.]+) s; ", output.splitlines()[-1])[1])
    assert longest >= back - gone - 0.01  # as it is rounded
    assert re.search(r"\u2717 expected no gap longer than 0.001 s, seen: one of [\d.]+ s\n", errors)


def refuses(port: int) -> bool:
    """Does nobody listen there?"""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def test_the_url_is_told_with_its_query_and_without_its_user(web_lone: int, tmp_path: Path, watch: Watch) -> None:
    junit = tmp_path / "watch.xml"
    url = f"http://me:secret@127.0.0.1:{web_lone}/?latency=1ms"
    found = report(watch(url, "--count", 1, "--connection", "same", "--json", "--junit", junit))
    assert found["url"] == f"http://127.0.0.1:{web_lone}/whoami?latency=1ms"
    assert f"127.0.0.1:{web_lone}/whoami?latency=1ms" in junit.read_text()
    assert "secret" not in junit.read_text()


def test_what_is_not_there_is_refused(watch: Watch) -> None:
    """The core's watch knows no TLS, and the one with httpx no sandbox."""
    has_tls = watch.name == "yinyang.watch"
    assert ("--insecure" in watch("--help").stdout) == has_tls
    if not has_tls:
        done = watch("http://127.0.0.1:9/", "--insecure")
        assert (done.returncode, done.stdout, "https is what" in done.stderr) == (2, "", True)
        done = watch("http://127.0.0.1:9/", YINYANG_SANDBOX="foo")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"{watch.name}: YINYANG_SANDBOX wants auto, off or require, not 'foo'\n"


@pytest.mark.strace
def test_a_sandbox_that_is_required(web_lone: int, watch: Watch) -> None:
    """Else the watch takes what there is; the one with httpx has none."""
    if watch.name == "yinyang.watch":
        pytest.skip("it has no sandbox")
    less = Watch(*injecting("landlock_create_ruleset:error=ENOSYS"), *watch.command[:-2], name=watch.name)
    url = f"http://127.0.0.1:{web_lone}/"
    done = less(url, "--count", 1, YINYANG_SANDBOX="require")
    assert (done.returncode, done.stdout) == (2, "")
    lack = "no sandbox, as this kernel has no Landlock (Linux 5.13 or later, and on in its parameter lsm)"
    assert done.stderr == f"{watch.name}: {lack}; YINYANG_SANDBOX=auto uses what is allowed\n"
    assert less(url, "--count", 1).returncode == 0
    assert watch(url, "--count", 1, YINYANG_SANDBOX="require").returncode == 0
