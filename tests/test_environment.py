"""What differs from machine to machine: networks, control groups, locales, limits, descriptors, threads."""

import contextlib
import errno
import os
import re
import shutil
import subprocess
import sys
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
    injecting,
    missing,
    needs,
    wait_until,
)

import yinyang

Start = Callable[..., Replica]


def output_of(program: str, *options: str, wrap: list[str] | None = None) -> str:
    """What a Python program prints that ends well."""
    line = [*(wrap or []), sys.executable, *options, "-c", program]
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False, env=clean_environment())
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# ---- networks -------------------------------------------------------------------------------------------------------

WITHOUT_IPV6 = (
    'echo 1 >/proc/sys/net/ipv6/conf/lo/disable_ipv6; ip link set lo up; exec "$@"'  # in a network of its own
)


@pytest.fixture
def without_ipv6() -> list[str]:
    """The beginning of a command that runs where ::1 is not there, but IPv6 is."""
    return [needs("unshare"), "--net", "sh", "-c", WITHOUT_IPV6, "sh"]


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
def test_healthcheck_without_127_0_0_1(shape: Shape) -> None:
    """Where only ::1 is there, a server of all addresses is found, and one of IPv4 alone is not looked for there."""
    lone = 'ip link set lo up; ip addr del 127.0.0.1/8 dev lo; exec "$@"'
    script = (
        '"$@" --port 8080 --name vm & server=$!; '
        "until grep -q ' 00000000000000000000000000000000:1F90 ' /proc/net/tcp6; do sleep 0.05; done; "
        'for host in "" ::; do YINYANG_HOST=$host "$@" --port 8080 --healthcheck || exit 3; done; '
        '"$@" --port 8080 --host 0.0.0.0 --healthcheck; [ $? = 1 ] || exit 4; '
        '"$@" --port 8081 --healthcheck; [ $? = 1 ] || exit 5; '
        "kill $server; wait $server"
    )
    done = subprocess.run(
        [needs("unshare"), "--net", "sh", "-c", lone, "sh", "sh", "-c", script, "sh", *shape.command()],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=clean_environment(),
    )
    assert done.returncode == 0, done.stderr
    assert "no healthy server at http://127.0.0.1:8080: " in done.stderr
    assert "no healthy server at http://[::1]:8081: connection refused" in done.stderr


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
    'mount -t tmpfs groups /sys/fs/cgroup && cp -a "$1/tree/." /sys/fs/cgroup && '
    'mount --bind "$1/cgroup" /proc/$$/cgroup && shift && exec "$@"'
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


# ---- locales --------------------------------------------------------------------------------------------------------

NAMES = [
    "käse-ß".encode(),
    b"\xff\xfe\xe7x",  # no UTF-8
    "日本".encode("shift_jis"),
    b"\x80\xa0\xfd",  # what the C library and Python read differently as Big5
    b'a~\\|"<b>',
]
LOCALES = {"C": "", "C.UTF-8": "", "tr_TR": "ISO-8859-9", "zh_TW": "BIG5", "ja_JP": "SHIFT_JIS"}


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with those that are not part of the C library."""
    folder = tmp_path_factory.mktemp("locales")
    for name, charset in LOCALES.items():
        if charset and shutil.which("localedef"):
            build = ["localedef", "-c", "-i", name, "-f", charset, str(folder / name)]
            subprocess.run(build, check=False, capture_output=True)  # its warnings are errors
    return folder


@pytest.mark.parametrize("by_variable", [False, True], ids=["option", "variable"])
@pytest.mark.parametrize("locale", LOCALES)
def test_bytes_stay_as_they_are_given(
    locale: str, by_variable: bool, shape: Shape, locales: Path, tmp_path: Path
) -> None:
    """On the page, in the log, in what is said of wrong values: whatever they mean in the locale."""
    if LOCALES[locale] and not (locales / locale).exists():
        missing("localedef", f"there is no locale {locale}, and localedef cannot make it")
    environment = clean_environment() | {"LC_ALL": locale, "LOCPATH": str(locales)}
    for number, name in enumerate(NAMES):
        given = {"YINYANG_NAME": os.fsdecode(name)} if by_variable else {}
        options = [] if by_variable else ["--name", os.fsdecode(name)]
        with (tmp_path / f"{number}").open("wb") as file:
            process = subprocess.Popen(
                [*shape.command("--port", "0", "--workers", "1"), *options], stderr=file, env=environment | given
            )
        replica = Replica(process, tmp_path / f"{number}")
        try:
            replica.wait_for_port()
            assert yinyang.render_page(yinyang.identify(name)) in replica.ask(LAST)
            assert b"\r\n\r\n" + name + b"\n" in replica.ask(LAST.replace(b" / ", b" /hostname "))
            assert replica.stop() == 0
        finally:
            replica.kill()
        assert replica.log.read_bytes().count(b"ed image, host: " + name + b", colour: #") == 1
        wrong = subprocess.run(
            [*shape.command("--port"), os.fsdecode(b"x" + name)], capture_output=True, check=False, env=environment
        )
        words = b"yinyang: --port wants a number from 0 to 65535, not 'x" + name + b"'\n"
        assert (wrong.returncode, wrong.stderr) == (2, words)


# ---- what the one who starts it has left ----------------------------------------------------------------------------


@contextlib.contextmanager
def started_by(wrap: list[str], shape: Shape, log: Path | None, port: int = 0) -> Iterator[Replica]:
    """A server that something else starts, with its log in a file, or with what `wrap` gives it."""
    command = [*wrap, *shape.command("--port", str(port), "--name", "vm", "--workers", "1")]
    with log.open("wb") if log else contextlib.nullcontext() as file:
        process = subprocess.Popen(command, stderr=file, env=clean_environment())
    replica = Replica(process, log or Path(os.devnull))
    replica.port = port
    try:
        if log:
            replica.wait_for_port()
        yield replica
        assert replica.stop() == 0
    finally:
        replica.kill()


def first_answer(replica: Replica) -> bytes:
    """Of a server that begins to serve at some time."""

    def answer() -> bytes:
        with contextlib.suppress(ConnectionRefusedError):
            return replica.ask(LAST)
        return b""

    return wait_until(answer)


CLOSED = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
NOTHING_MOUNTED = 'mount -t tmpfs none /dev && umount -l /proc && exec "$@"'  # in a file system of its own


@pytest.mark.parametrize(
    "mounted",
    [True, pytest.param(False, marks=pytest.mark.needs("root", "unshare"))],
    ids=["usual", "no /dev, no /proc"],
)
def test_no_socket_is_a_standard_descriptor(mounted: bool, shape: Shape) -> None:
    """Started without any; a line of the log would go to a client."""
    away = [] if mounted else ["unshare", "--mount", "sh", "-c", NOTHING_MOUNTED, "sh"]
    port = free_port()
    with started_by([*away, *CLOSED], shape, None, port) as replica:
        assert PAGE in first_answer(replica)
        for fd in range(3):
            aim = os.readlink(f"/proc/{replica.pid}/fd/{fd}")
            assert aim == "/dev/null" if mounted else aim.startswith("socket:")
            for worker in replica.workers():
                assert os.readlink(f"/proc/{worker}/fd/{fd}") == "anon_inode:[eventpoll]"
        listening = re.findall(
            r"^ *\d+: [0-9A-F]+:([0-9A-F]{4}) .* 0A .* (\d+) 1 ", Path("/proc/net/tcp6").read_text(), re.M
        )
        inodes = {inode for number, inode in listening if int(number, 16) == port}
        for fd in range(3):
            assert os.readlink(f"/proc/{replica.pid}/fd/{fd}") not in {f"socket:[{inode}]" for inode in inodes}


@pytest.mark.needs("prlimit")
def test_a_log_that_may_have_no_byte(shape: Shape, tmp_path: Path) -> None:
    log = tmp_path / "log"
    into_log = ["sh", "-c", 'exec "$@" 2>' + str(log), "sh", "prlimit", "--fsize=0"]
    with started_by(into_log, shape, None, free_port()) as replica:
        assert PAGE in first_answer(replica)
    assert log.read_bytes() == b""


def test_a_mask_that_takes_all_permissions(shape: Shape, tmp_path: Path) -> None:
    with started_by(["sh", "-c", 'umask 0777; exec "$@"', "sh"], shape, tmp_path / "log") as replica:
        assert PAGE in replica.ask(LAST)


@pytest.mark.needs("prlimit", "setpriv", "root")
def test_no_process_left_for_a_worker(shape: Shape) -> None:
    """The user has none besides."""
    other = ["setpriv", "--reuid", "54321", "--clear-groups"]
    if shape.run("--version", wrap=other).returncode:
        pytest.skip("other users may not read where it is installed")
    wrap = ["prlimit", "--nproc=1", *other]
    done = shape.run("--port", "0", "--name", "vm", "--workers", "2", wrap=wrap)
    assert (done.returncode, done.stderr) == (
        1,
        "yinyang: too many processes, or too little memory (system call fork)\n",
    )


@pytest.mark.needs("prlimit")
def test_no_descriptor_left(shape: Shape) -> None:
    """Python itself needs some at its start."""
    for limit in (6, 7, 8):
        done = shape.run("--port", "0", "--name", "vm", wrap=["prlimit", f"--nofile={limit}"], YINYANG_DRAIN="x")
        assert done.returncode == 2
        done = shape.run("--port", "0", "--name", "vm", "--workers", "8", wrap=["prlimit", f"--nofile={limit}"])
        assert done.returncode == 1
        assert re.search(r"this process has too many open files( \(system call \w+\))?\n$", done.stderr)
        assert done.stderr.count("\n") == 1
