"""The static program: how it is built, what is in it, and where it runs."""

import contextlib
import os
import platform
import re
import shutil
import signal
import struct
import subprocess
import sys
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import LAST, PAGE, PATIENCE, ROOT, Shape, clean_environment, copy_sources, missing, needs, wait_until

pytestmark = pytest.mark.static

SIZE_MOST = 480 * 1024  # bytes, whatever the tools; test_image.py has the limit of what is shipped


def build(folder: Path, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "setup.py", "-q", "build_static"],
        cwd=folder,
        env=clean_environment() | {"SOURCE_DATE_EPOCH": "1"} | variables,
        check=False,
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
    )


@pytest.fixture
def tree(static_program: Path, tmp_path: Path) -> Path:
    """A copy of what the program is built from. (The fixture before makes sure that it can be.)"""
    copy_sources(tmp_path)
    return tmp_path


@pytest.fixture
def generated(tree: Path) -> Path:
    """The same with the C that was generated for the program, which is not generated again while it is newer."""
    for file in "build/yinyang/_core.c", "build/csrc/wall.h":
        (tree / file).parent.mkdir(parents=True)
        shutil.copy2(ROOT / file, tree / file)
    return tree


# ---- building -----------------------------------------------------------------------------------------------------


def test_two_builds_in_two_folders_are_equal(tree: Path, static_program: Path) -> None:
    done = build(tree)
    assert done.returncode == 0, done.stderr
    assert (tree / "build/static/yinyang").read_bytes() == static_program.read_bytes()


def test_clang_and_lld_build_it_too(generated: Path) -> None:
    needs("clang")
    needs("ld.lld")
    done = build(generated, CC="clang", LDFLAGS="-fuse-ld=lld")
    assert done.returncode == 0, done.stderr
    program = generated / "build/static/yinyang"
    check_program(program)
    shown = subprocess.run([program, "--version"], check=True, capture_output=True, timeout=PATIENCE)
    assert shown.stdout.startswith(b"yinyang ")


QUICK = {"CFLAGS": "-O1"}  # compiles in half the time, where the compiler is another but its code is the same


def test_musl_gcc_builds_it_too(generated: Path) -> None:
    done = build(generated, CC=needs("musl-gcc"), **QUICK)
    assert done.returncode == 0, done.stderr
    check_program(generated / "build/static/yinyang")


def test_a_compiler_that_compiles_for_musl_is_used_as_it_is(generated: Path) -> None:
    """As on Alpine, of whose compiler this is a stand-in: it knows where musl is."""
    [libraries] = Path("/usr/lib").glob(f"{platform.machine()}-linux-musl")
    compiler = generated / "cc"
    compiler.write_text(
        f"""#!/bin/sh
        case $* in -dumpmachine) echo {platform.machine()}-alpine-linux-musl; exit ;; esac
        exec gcc -B{libraries} -nostdinc -isystem /usr/include/{libraries.name} \
            -isystem "$(gcc -print-file-name=include)" "$@"
        """
    )
    compiler.chmod(0o755)
    done = build(generated, CC=str(compiler), **QUICK)
    assert done.returncode == 0, done.stderr
    check_program(generated / "build/static/yinyang")


def test_python_that_is_reachable_fails_the_build(tree: Path) -> None:
    source = tree / "yinyang/core/text/buffer.pxd"
    text = source.read_text()
    changed = text.replace("<llu>error", '<llu>"0123456789"[error % 10]')
    assert changed != text
    source.write_text(changed)
    done = build(tree, **QUICK)
    assert done.returncode != 0
    assert "build_static: Python is reachable from main: " in done.stderr
    assert "PyGILState_Ensure" in done.stderr


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("gcc", "gcc is missing; install gcc, or name another compiler with CC"),
        ("nm", "nm is missing; install binutils"),
        ("strip", "strip is missing; install binutils"),
    ],
)
def test_a_missing_tool_is_named(tool: str, words: str, tree: Path) -> None:
    folder = tree / "bin"
    folder.mkdir()
    for name in {"gcc", "nm", "strip"} - {tool}:
        (folder / name).symlink_to(shutil.which(name) or "/bin/false")
    done = build(tree, PATH=str(folder))
    assert (done.returncode, done.stderr) == (1, f"build_static: {words}\n")


# ---- what is in it ------------------------------------------------------------------------------------------------


def check_program(program: Path) -> None:
    """It is static, position-independent and small; what is relocated is then read-only, and no memory is both written
    and executed."""
    image = program.read_bytes()
    assert image[:6] == b"\x7fELF\x02\x01"
    kind, _machine, _version, _entry, headers = struct.unpack_from("<HHIQQ", image, 16)
    size, count = struct.unpack_from("<HH", image, 54)
    segments = [struct.unpack_from("<II", image, headers + i * size) for i in range(count)]
    load, interpreter, stack, relro = 1, 3, 0x6474E551, 0x6474E552
    executable, writable = 1, 2
    assert kind == 3  # position-independent
    kinds = [kind for kind, _ in segments]
    assert interpreter not in kinds
    assert relro in kinds  # what is relocated at the start is read-only from then on
    assert [flags & executable for kind, flags in segments if kind == stack] == [0]
    for kind, flags in segments:
        assert kind != load or flags & (writable | executable) != writable | executable
    assert len(image) <= SIZE_MOST
    symbols = subprocess.run(
        ["nm", program.with_name("yinyang.unstripped")], check=True, capture_output=True, text=True
    ).stdout
    assert " T main\n" in symbols
    assert " __stack_chk_fail\n" in symbols
    assert not re.search(r"\b_?Py[A-Z_]", symbols)


def test_program(static_program: Path) -> None:
    check_program(static_program)


def test_file_says_static(static_program: Path) -> None:
    said = subprocess.run([needs("file"), static_program], check=True, capture_output=True, text=True).stdout
    assert re.search(r"\bstatic-pie linked\b.*\bstripped\b", said)


def test_help_is_that_of_the_python_shape(static_program: Path) -> None:
    shown = [
        subprocess.run([*line, "--help"], check=True, capture_output=True).stdout
        for line in ([static_program], [sys.executable, "-m", "yinyang.serve"])
    ]
    assert shown[0] == shown[1]


# ---- where it runs ------------------------------------------------------------------------------------------------


@pytest.fixture
def alone(static_program: Path, tmp_path: Path) -> Iterator[list[str]]:
    """A command that runs the program in a folder that holds nothing else."""
    if os.geteuid() != 0:
        missing("root", "only root may call chroot")
    shutil.copy(static_program, tmp_path)
    return ["chroot", str(tmp_path), "/yinyang"]


def test_in_an_empty_folder(alone: list[str], tmp_path: Path) -> None:
    assert sorted(path.name for path in tmp_path.iterdir()) == ["yinyang"]
    log = tmp_path / "log"
    replica = Shape(*alone).replica(log)
    try:
        replica.wait_for_port()
        assert PAGE in replica.ask(LAST)
        assert Shape(*alone).run("--healthcheck", "--port", str(replica.port)).returncode == 0
        assert replica.stop() == 0
        assert len(replica.served()) == 1
    finally:
        replica.kill()


def test_in_an_empty_folder_without_standard_descriptors(alone: list[str]) -> None:
    closed = Shape("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *alone)
    assert closed.run("--version").returncode == 0
    assert closed.run("--port", "x").returncode == 2


@pytest.mark.parametrize("command", [["python"], ["static"]], ids=["python", "static"])
def test_first_process_reaps_orphans(command: list[str], static_program: Path, tmp_path: Path) -> None:
    """In a PID namespace, as in a container: a grandchild whose parent ends is handed to the first process."""
    unshare = needs("unshare")
    if os.geteuid() != 0:
        missing("root", "only root may make a PID namespace")
    server = [str(static_program)] if command == ["static"] else [sys.executable, "-m", "yinyang.serve"]
    # the shell starts orphans to be, of which one has ended before it becomes the server
    script = '(sleep 0.2 & sleep 0.1 & true) & sh -c "true & exit 0"; sleep 0.3; (sleep 1 &) ; exec "$@"'
    line = [unshare, "-fp", "--mount-proc", "sh", "-c", script, "sh", *server]
    replica = Shape(*line).replica(tmp_path / "log", "--workers", "1")
    try:
        replica.wait_for_port()
        first = replica.workers()[0]

        def children() -> list[str]:
            pids = Path(f"/proc/{first}/task/{first}/children").read_text().split()
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one is gone meanwhile
                return [Path(f"/proc/{pid}/stat").read_text().split()[2] for pid in pids]
            return []

        wait_until(lambda: children() == ["S"], "the one worker to be the only child")
        victim = int(Path(f"/proc/{first}/task/{first}/children").read_text())
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: "was killed by signal 9, restarted as pid" in replica.log.read_text())
        assert PAGE in replica.ask(LAST)
        os.kill(first, signal.SIGTERM)
        assert replica.process.wait(PATIENCE) == 0
    finally:
        replica.kill()


def test_stamps_are_in_local_time(static_program: Path) -> None:
    """As the zones of this host have it, and as rules say that stand in TZ."""
    if not Path("/usr/share/zoneinfo/Europe/Berlin").exists():
        missing("tzdata", "there are no time zones on this host")
    rules = {
        "": "UTC",
        ":Asia/Kolkata": "Asia/Kolkata",
        "/usr/share/zoneinfo/America/St_Johns": "America/St_Johns",
        "CET-1CEST,M3.5.0,M10.5.0/3": "Europe/Berlin",
        "EST5EDT": "America/New_York",
        "NZST-12NZDT,M9.5.0,M4.1.0/3": "Pacific/Auckland",
        "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0": "Australia/Lord_Howe",
        "IST-1GMT0,M10.5.0,M3.5.0/1": "Europe/Dublin",
        "XXX-1YYY-2,J1/0,J365/25": "Etc/GMT-2",
        "XXX-1YYY-2,0/0,364/48": "Etc/GMT-2",
        "nonsense,": "UTC",
    }
    names = {name: name for name in ("Africa/Casablanca", "Asia/Kathmandu", "Asia/Gaza", "Pacific/Chatham", "Etc/UTC")}
    for name, zone in (rules | names).items():
        process = subprocess.Popen(
            [static_program, "--port", "0", "--workers", "1"],
            stderr=subprocess.PIPE,
            env=clean_environment() | {"TZ": name},
        )
        stamp = process.stderr.readline()[:19].decode()
        process.terminate()
        process.communicate(timeout=PATIENCE)
        there = datetime.strptime(stamp, "%Y/%m/%d %H:%M:%S").replace(tzinfo=zoneinfo.ZoneInfo(zone))
        assert abs((datetime.now(UTC) - there).total_seconds()) < PATIENCE, (name, stamp)
