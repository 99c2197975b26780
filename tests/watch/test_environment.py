"""What the environment does to the watch: proxies, certificates, encodings, name servers."""

import json
import signal
import subprocess
import sys

import pytest
from conftest import PATIENCE

from watch.command import Watch, environment, report
from yinyang.watch.proxy import proxy_for

pytestmark = pytest.mark.usefixtures("libraries")

PROXY = "http://127.0.0.1:9"  # where nobody is


@pytest.mark.parametrize(
    ("exceptions", "url", "is_excepted"),
    [
        ("", "http://a/", False),
        ("*", "http://a/", True),
        ("b, A", "http://a/", True),
        ("a", "http://x.a/", True),
        (".a", "http://x.a/", True),
        ("*.a", "http://x.a/", True),
        ("a", "http://xa/", False),
        ("a:80", "http://a:80/", True),
        ("a:80", "http://a:81/", False),
        ("[::1]", "http://[::1]:8080/", True),
        ("::1", "http://[::1]/", True),
        ("[::1]:80", "http://[::1]:81/", False),
        ("fd00::/8", "http://[fd00::1]/", True),
        ("fd00::/8", "http://[fe80::1]/", False),
        ("10.0.0.0/8", "http://10.1.2.3/", True),
        ("10.1.2.3:80", "http://10.1.2.3:80/", True),
        ("10.0.0.0/8", "http://ten/", False),
        ("[,]:x,/8", "http://10.1.2.3/", False),
    ],
)
def test_hosts_without_a_proxy(exceptions: str, url: str, is_excepted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert proxy_for(url) == (None if is_excepted else PROXY)


def test_the_proxy_of_a_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "http_proxy", "https_proxy", "all_proxy", "no_proxy":
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert proxy_for("http://a/") is None
    monkeypatch.setenv("HTTP_PROXY", "b:3128")
    monkeypatch.setenv("ALL_PROXY", PROXY)
    assert (proxy_for("http://a/"), proxy_for("https://a/")) == ("http://b:3128", PROXY)


@pytest.mark.parametrize("exception", ["[::1]", "fd00::/8", "127.0.0.0/8"])
def test_a_proxy_is_used_where_none_is_excepted(exception: str, web_lone: int, httpx_watch: Watch) -> None:
    done = httpx_watch(f"http://127.0.0.1:{web_lone}/", "--count", 1, "--json", HTTP_PROXY=PROXY, NO_PROXY=exception)
    assert report(done)["answers"] == int(exception == "127.0.0.0/8")


@pytest.mark.parametrize(
    "proxy",
    [
        "socks://me:secret@127.0.0.1:9",
        "http://127.0.0.1:x",
        "socks://[",
        "http://[",
        "http://:80",
        "http://127.0.0.1:99999",
        "http:// ",
    ],
)
def test_a_proxy_that_cannot_be_used(proxy: str, web_lone: int, httpx_watch: Watch) -> None:
    done = httpx_watch(f"http://127.0.0.1:{web_lone}/", "--count", 1, ALL_PROXY=proxy)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"yinyang.watch: the proxy {proxy.replace('me:secret@', '')} of the environment")
    done = httpx_watch(f"http://127.0.0.1:{web_lone}/", "--count", 1, ALL_PROXY=proxy, NO_PROXY="127.0.0.1")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("closed", ["1", "2"])
def test_a_standard_stream_that_is_closed_or_full(closed: str, web_lone: int, watch: Watch) -> None:
    """What is expected holds all the same; only a report that nobody can read is an error."""
    for to in "&-", "/dev/full":
        line = f'exec "$@" {closed}>{to}'
        command = [
            "sh",
            "-c",
            line,
            "sh",
            *watch.command,
            f"http://127.0.0.1:{web_lone}/",
            "--count",
            "3",
            "--rate",
            "50",
        ]
        done = subprocess.run(
            [*command, "--max-errors", "0"], check=False, timeout=PATIENCE, capture_output=True, text=True,
            env=environment() | watch.variables,
        )  # fmt: skip
        is_lost = (closed, to) == ("1", "/dev/full")
        assert (done.returncode, "Traceback" in done.stderr) == (2 if is_lost else 0, False)
        assert ("no space left" in done.stderr.lower()) == is_lost


def test_certificates_that_are_not_there(web_lone: int, httpx_watch: Watch) -> None:
    """They are read only where they are needed."""
    done = httpx_watch(f"https://127.0.0.1:{web_lone}/", "--count", 1, SSL_CERT_FILE="/not/there")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "SSL_CERT_FILE" in done.stderr
    done = httpx_watch(f"http://127.0.0.1:{web_lone}/", "--count", 1, SSL_CERT_FILE="/not/there")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_log_of_keys_that_cannot_be_written(web_lone: int, httpx_watch: Watch) -> None:
    done = httpx_watch(f"https://127.0.0.1:{web_lone}/", "--count", 1, SSLKEYLOGFILE="/not/there")
    assert (done.returncode, done.stdout) == (2, "")
    words = "the file that SSLKEYLOGFILE names cannot be written: No such file or directory"
    assert done.stderr == f"yinyang.watch: {words}\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_that_lacks_characters(encoding: str, web_lone: int, httpx_watch: Watch) -> None:
    done = httpx_watch(f"http://127.0.0.1:{web_lone}/\u2603?", "--count", 1, PYTHONIOENCODING=encoding)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert httpx_watch("--help", PYTHONIOENCODING=encoding).returncode == 0


# The look-up of a name that never ends, as no name server answers.
SILENT_NAME_SERVER = """import runpy, socket, sys, threading
def look_up(*args, **options):
    print("looks up", file=sys.stderr, flush=True)
    threading.Event().wait()
socket.getaddrinfo = look_up
runpy.run_module("yinyang.watch", run_name="__main__")"""


def test_a_name_server_that_does_not_answer_holds_up_no_end() -> None:
    command = [sys.executable, "-c", SILENT_NAME_SERVER, "http://a.example/", "--json", "--duration"]
    quick = [*command, "100ms", "--timeout", "100ms"]
    done = subprocess.run(quick, capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment())
    assert done.returncode == 1
    assert {*json.loads(done.stdout)["failures"]} == {"timed out"}
    slow = [*command, "1h", "--timeout", "1h"]
    with subprocess.Popen(slow, stdout=-1, stderr=-1, text=True, env=environment()) as process:
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGINT
