"""What starting on Python does without, as it would take most of the start and of the memory."""

import subprocess
import sys
from pathlib import Path

import pytest

import yinyang

HEAVY = ("inspect", "logging", "typing", "threading", "enum", "re")
PACKAGES = str(Path(yinyang.__file__).parent.parent)


def run(program: str) -> str:
    """What a program prints for which nothing has been imported before."""
    begin = f"import sys; sys.path.insert(0, {PACKAGES!r}); "
    line = [sys.executable, "-I", "-S", "-c", begin + program]
    done = subprocess.run(line, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_nothing_heavy_is_imported() -> None:
    already = run("print(*sys.modules)").split()
    now = run("import yinyang.serve; print(*sys.modules)").split()
    assert [name for name in HEAVY if name in now and name not in already] == []


def test_module_that_was_stood_in_for_is_there_afterwards() -> None:
    assert run("import yinyang, inspect; print(*inspect.signature(yinyang.Server.stop).parameters)") == "self\n"


def test_stand_in_has_what_the_module_has() -> None:
    program = (
        "import yinyang._light as light; it = light.StandIn('inspect'); sys.modules['inspect'] = it; print("
        "it.isfunction(print), sys.modules['inspect'] is not it)"
    )
    assert run(program) == "False True\n"


@pytest.mark.parametrize("name", ["CO_" + name for name in ("OPTIMIZED", "GENERATOR", "COROUTINE")])
def test_numbers_of_the_stand_in_are_those_of_the_module(name: str) -> None:
    assert run(f"import inspect, yinyang._light as light; print(light.NUMBERS[{name!r}] == inspect.{name})") == "True\n"


@pytest.mark.parametrize("before", ["", "import logging; "])
def test_log_of_the_command_line_is_the_same_however_it_is_written(before: str) -> None:
    program = (
        "import _signal, os, sys; from yinyang.serve import main; sys.argv[1:] = "
        "['--port', '0', '--name', 'vm', '--workers', '1', '--sandbox', 'off']; "
        "_signal.pthread_sigmask(_signal.SIG_BLOCK, [15]); os.kill(os.getpid(), 15); "
        "from yinyang.server import Server; start = Server.run; "
        "Server.run = lambda self, log: (print(type(log).__name__, file=sys.stderr), "
        "_signal.pthread_sigmask(_signal.SIG_UNBLOCK, [15]), start(self, log)); main()"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {PACKAGES!r}); {before}{program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    kind, *lines = done.stderr.splitlines()
    assert kind == ("Log" if before else "LogQueue")
    assert [line[20:].partition(":")[0] for line in lines] == ["Serving image, host", "Listening on http"]
    assert all(line[4] == line[7] == "/" and line[10] == " " and line[13] == line[16] == ":" for line in lines)
