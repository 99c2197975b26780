"""What the core finds out about a terminal."""

import fcntl
import os
import pty
import struct
import termios
from collections.abc import Iterator

import pytest

from yinyang import _core

VARIABLES = ["TERM", "COLORTERM", "NO_COLOR", "COLUMNS", "LINES", "LC_ALL", "LC_CTYPE", "LANG"]
ALL_COLOURS = 1 << 24


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
        os.unsetenv(variable)  # GNU Readline has set some that os.environ does not know of


@pytest.fixture
def slave() -> Iterator[int]:
    """The user's end of a terminal of 120 columns and 40 lines."""
    master, other = pty.openpty()
    resize(other, 120, 40)
    yield other
    os.close(master)
    os.close(other)


def resize(fd: int, width: int, height: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


def size_of(fd: int) -> tuple[int, int]:
    found = _core.terminal(fd)
    return found["width"], found["height"]


def test_size(slave: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _core.terminal(slave)["is_terminal"]
    assert size_of(slave) == (120, 40)
    resize(slave, 0, 0)  # as a serial line may have it
    assert size_of(slave) == (80, 24)
    resize(slave, 65535, 65535)
    assert size_of(slave) == (1000, 1000)
    monkeypatch.setenv("COLUMNS", "33")
    monkeypatch.setenv("LINES", "7")
    assert size_of(slave) == (33, 7)


@pytest.mark.parametrize("value", ["", "0", "wide", "12x", "-5", " 9"])
def test_a_size_that_is_none(value: str, slave: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", value)
    assert size_of(slave) == (120, 40)


def test_no_terminal() -> None:
    reader, writer = os.pipe()
    found = _core.terminal(writer)
    os.close(reader)
    os.close(writer)
    assert not found["is_terminal"]
    assert (found["width"], found["height"]) == (80, 24)
    assert not _core.terminal(-1)["is_terminal"]


@pytest.mark.parametrize("name", [None, "", "dumb", "unknown"])
def test_dumb(name: str | None, slave: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    if name is not None:
        monkeypatch.setenv("TERM", name)
    found = _core.terminal(slave)
    assert found["is_dumb"]
    assert found["colours"] == 0


@pytest.mark.parametrize(
    ("variables", "colours"),
    [
        ({"TERM": "xterm"}, 16),
        ({"TERM": "linux"}, 16),
        ({"TERM": "vt220"}, 16),
        ({"TERM": "xterm-256color"}, 256),
        ({"TERM": "tmux-256color", "COLORTERM": "truecolor"}, ALL_COLOURS),
        ({"TERM": "xterm", "COLORTERM": "24bit"}, ALL_COLOURS),
        ({"TERM": "xterm", "COLORTERM": "yes"}, 16),
        ({"TERM": "xterm-direct"}, ALL_COLOURS),
        ({"TERM": "xterm-kitty"}, ALL_COLOURS),
        ({"TERM": "alacritty"}, ALL_COLOURS),
        ({"TERM": "xterm-mono"}, 0),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"}, 0),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, 256),
    ],
)
def test_colours(variables: dict[str, str], colours: int, slave: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = _core.terminal(slave)
    assert not found["is_dumb"]
    assert found["colours"] == colours


@pytest.mark.parametrize(
    ("variables", "unicode"),
    [
        ({}, True),  # as in most containers
        ({"TERM": "linux"}, False),
        ({"TERM": "linux", "LANG": "en_GB.UTF-8"}, True),
        ({"LANG": "C"}, False),
        ({"LANG": "C.UTF-8"}, True),
        ({"LANG": "de_DE.utf8"}, True),
        ({"LANG": "de_DE@euro"}, False),
        ({"LC_ALL": "C", "LANG": "en_GB.UTF-8"}, False),
        ({"LC_ALL": "", "LC_CTYPE": "en_GB.utf-8", "LANG": "C"}, True),
        ({"LC_CTYPE": "POSIX", "LANG": "en_GB.UTF-8"}, False),
    ],
)
def test_unicode(variables: dict[str, str], unicode: bool, slave: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert _core.terminal(slave)["unicode"] == unicode
