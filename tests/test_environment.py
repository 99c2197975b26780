"""What differs from machine to machine: networks, control groups, locales, limits, descriptors, threads."""

import contextlib
import errno
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import LAST, PATIENCE, ROOT, Replica, Shape, clean_environment, injecting, missing, needs, wait_until

import yinyang

Start = Callable[..., Replica]


def output_of(program: str, *options: str, wrap: list[str] | None = None) -> str:
    """What a Python program prints that ends well."""
    line = [*(wrap or []), sys.executable, *options, "-c", program]
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False, env=clean_environment())
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# ---- networks -------------------------------------------------------------------------------------------------------

WITHOUT_IPV6 = 'echo 1 >/proc/sys/net/ipv6/conf/lo/disable_ipv6; ip link set lo up; exec "$@"'  # in a network of its own


@pytest.fixture
def without_ipv6() -> list[str]:
    """The beginning of a command that runs where ::1 is not there, but IPv6 is."""
    return [needs("unshare"), "--net", "sh", "-c", WITHOUT_IPV6, "sh"]


@pytest.mark.host
@pytest.mark.needs("root", "unshare", "ip")
@pytest.mark.parametrize("host", ["", "::", "0:0::0"])
def test_healthcheck_without_ipv6(host: str, shape: Shape, without_ipv6: list[str]) -> None:
    script = (
        '"$@" --port 8080 --name vm & '
        'until "$@" --port 8080 --healthcheck 2>/dev/null; do sleep 0.05; done; kill $!; wait $!'
    )
    done = subprocess.run(
        [*without_ipv6, "sh", "-c", script, "sh", *shape.command()],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=clean_environment() | {"YINYANG_HOST": host},
    )
    assert done.returncode == 0
    assert "Listening on http://[::]:8080 (all addresses, IPv6 and IPv4)" in done.stderr


@pytest.mark.needs("root", "unshare", "ip")
@pytest.mark.parametrize("host", [None, "::", "0.0.0.0"])
def test_url_without_ipv6(host: str | None, without_ipv6: list[str]) -> None:
    program = (
        "import urllib.request, yinyang\n"
        f"with yinyang.Server({host!r}, name='vm') as server:\n"
        "    print(urllib.request.urlopen(server.url + 'hostname').read())"
    )
    assert output_of(program, wrap=without_ipv6) == "b'vm\\n'\n"


@pytest.mark.parametrize(
    ("given", "shown", "url"),
    [
        ("::", "::", "http://127.0.0.1:"),
        ("0:0:0:0:0:0:0:0", "::", "http://127.0.0.1:"),
        ("0.0.0.0", "0.0.0.0", "http://127.0.0.1:"),
        ("0:0:0:0::1", "::1", "http://[::1]:"),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", "http://[::ffff:127.0.0.1]:"),
        ("127.1.2.3", "127.1.2.3", "http://127.1.2.3:"),
    ],
)
def test_addresses_are_shown_as_the_socket_has_them(given: str, shown: str, url: str) -> None:
    server = yinyang.Server(given, workers=1)
    try:
        assert server.address == (shown, server.port)
        assert server.url == f"{url}{server.port}/"
    finally:
        server.stop()


@pytest.mark.strace
@pytest.mark.host
@pytest.mark.parametrize("call", ["socket", "bind", "listen", "eventfd2"])
@pytest.mark.parametrize("error", ["EADDRNOTAVAIL", "ENETDOWN", "EPROTONOSUPPORT", "EOPNOTSUPP", "EDQUOT"])
def test_errors_have_words(error: str, call: str, shape: Shape) -> None:
    done = shape.run("--port", "0", "--name", "vm", wrap=injecting(f"{call}:error={error}"))
    assert done.returncode == 1
    assert re.fullmatch(r"yinyang: [^\n]*[a-z]{3}[^\n]*\n", done.stderr)
    assert "system error" not in done.stderr


def test_table_of_errors_has_all_that_sockets_and_files_give() -> None:
    if not (table := ROOT / "csrc/messages.h").exists():
        pytest.skip("there is no source tree")
    codes = {getattr(errno, name) for name in re.findall(r"\{(E[A-Z0-9]+), \"", table.read_text())}
    of_old_machines = {errno.ENOTBLK}
    assert set(range(1, 35)) - codes <= of_old_machines | {errno.EXDEV}
    assert {number for number in errno.errorcode if errno.ENOTSOCK <= number <= errno.EINPROGRESS} <= codes


# ---- control groups -------------------------------------------------------------------------------------------------

FAKE_GROUPS = (
    'mount -t tmpfs groups /sys/fs/cgroup && cp -a "$1/tree/." /sys/fs/cgroup && mount --bind "$1/cgroup" /proc/$$/cgroup'
    ' && shift && exec "$@"'
)


@pytest.mark.needs("root", "unshare")
@pytest.mark.parametrize(
    ("lines", "files", "cpus"),
    [
        ("0::/a/b\n", {"a/cpu.max": "50000 100000\n"}, 1),
        ("0::/a\n", {"a/cpu.max": "max 100000\n"}, 64),
        ("2:cpuset:/\n1:cpu:/a\n", {"cpu/a/cpu.cfs_quota_us": "50000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 1),
        (
            "4:cpu,cpuacct:/a\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "50000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            1,
        ),
        (
            "4:cpuacct,cpu:/a/b:c\n0::/\n",
            {"cpu/a/b:c/cpu.cfs_quota_us": "50000\n", "cpu/a/b:c/cpu.cfs_period_us": "100000\n"},
            1,
        ),
        ("4:cpu:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 64),
        ("4:cpuset:/a\n", {"cpu/a/cpu.cfs_quota_us": "50000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 64),
        ("4:name=cpu:/a\n", {"cpu/a/cpu.cfs_quota_us": "50000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 64),
        ("", {}, 64),
    ],
)
def test_quota_of_control_groups(lines: str, files: dict[str, str], cpus: int, tmp_path: Path) -> None:
    """In a file system of its own."""
    (tmp_path / "cgroup").write_text(lines)
    (tmp_path / "tree").mkdir()
    for name, text in files.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    program = "from yinyang import _core; import os; print(_core.usable_cpus(), len(os.sched_getaffinity(0)))"
    wrap = [needs("unshare"), "--mount", "sh", "-c", FAKE_GROUPS, "sh", str(tmp_path)]
    counted, allowed = map(int, output_of(program, wrap=wrap).split())
    assert counted == min(cpus, allowed)


# ---- programs that embed a server -----------------------------------------------------------------------------------


def test_program_that_never_stops_its_server_ends() -> None:
    """And what was served is in its log, though the program did not wait for it."""
    program = (
        "import logging, sys, urllib.request, yinyang\n"
        "logging.basicConfig(stream=sys.stdout, level='INFO', format='%(message)s')\n"
        "server = yinyang.Server(name='vm', workers=1).start()\n"
        "urllib.request.urlopen(server.url).read()"
    )
    assert "Served image, host: vm, colour: #b8d868\n" in output_of(program)


def test_end_of_a_fork_of_the_program_ends_no_worker() -> None:
    program = (
        "import os, sys, urllib.request, yinyang\n"
        "server = yinyang.Server(name='vm', workers=1).start()\n"
        "if not (child := os.fork()):\n"
        "    server._core.close()  # as when it is deallocated\n"
        "    sys.exit(7)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "print(urllib.request.urlopen(server.url + 'hostname').read())\n"
        "print(server.counts.pages)"
    )
    assert output_of(program, "-W", "ignore").splitlines()[:2] == ["7", "b'vm\\n'"]


@pytest.mark.parametrize(
    ("library", "patch"),
    [("gevent", "import gevent.monkey as m; m.patch_all()"), ("eventlet", "import eventlet as m; m.monkey_patch()")],
)
def test_patched_threads_are_an_error_in_words(library: str, patch: str) -> None:
    if subprocess.run([sys.executable, "-c", f"import {library}"], check=False, capture_output=True).returncode:
        missing(library, f"{library} is not installed")
    program = (
        f"{patch}\n"
        "import yinyang\n"
        "try:\n"
        "    yinyang.Server(name='vm').start()\n"
        "except RuntimeError as error:\n"
        "    print(error)"
    )
    assert "a server needs a thread of its own, and here threads are coroutines" in output_of(program, "-W", "ignore")
