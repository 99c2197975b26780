"""The watch in a terminal."""

import fcntl
import importlib
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import PATIENCE, wait_until

from watch.command import Watch, environment
from watch.tallies import replica, tally_for
from yinyang import identify
from yinyang._core import Tally
from yinyang.watch.sample import Replica

pytestmark = pytest.mark.usefixtures("libraries")


@pytest.mark.parametrize("width", [20, 30, 50, 80, 200])
@pytest.mark.parametrize("height", [5, 24])
def test_view_fits(width: int, height: int) -> None:
    console_of = importlib.import_module("rich.console").Console
    view = importlib.import_module("yinyang.watch.view").View
    tally = tally_for()
    for number in range(300):
        host = f"yinyang-7d4b9c6f5-{number % 30:05}"
        replica = Replica(host, host[-5:], "1.2.3-beta", ("#b8d868", "#000000"))
        tally.add(number / 10, number / 10 + 0.001, replica)
        if number % 100 == 99:
            tally.add(number / 10, number / 10, failure="refused")
    shown = io.StringIO()
    console = console_of(file=shown, width=width, height=height)
    console.print(view("http://localhost/whoami", tally, 30.0))
    lines = shown.getvalue().splitlines()
    assert all(len(line.rstrip()) <= width for line in lines)
    assert sum("\N{YIN YANG}" in line for line in lines) == max(1, height - 8 - 1)
    if width >= 30:
        assert any("refused 3" in line for line in lines)
        assert any("more" in line for line in lines)
        assert any("00000" in line for line in lines)
    shown.truncate(0)
    console.print(view("http://localhost/whoami", tally, 30.0, show_all=True))
    assert shown.getvalue().count("\N{YIN YANG}") == 30


class Terminal:
    """A watch in a terminal of its own.

    The watch's end stays open here too: Linux may drop what was written to a terminal that nobody holds any more."""

    def __init__(self, watch: Watch, *arguments: object, columns: int, **variables: str) -> None:
        self.master, self.slave = pty.openpty()
        os.set_blocking(self.master, False)
        self.resize(columns)
        given = environment() | watch.variables | {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | variables
        command = [*watch.command, *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdin=self.slave, stdout=self.slave, stderr=self.slave, env=given, process_group=0
        )
        self.ended = os.pidfd_open(self.process.pid)
        self.text = ""

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 20, columns, 0, 0))

    def read(self) -> bool:
        """Wait for more, and say whether there was some: there is none when the watch has ended."""
        ready, _, _ = select.select([self.master, self.ended], [], [], PATIENCE)
        assert ready, self.text
        try:
            piece = os.read(self.master, 65536)
        except BlockingIOError:
            return self.ended not in ready
        self.text += piece.decode(errors="replace")
        return True

    def read_until(self, condition: Callable[[str], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition(self.text):
            assert time.monotonic() < deadline, self.text
            assert self.read(), self.text

    def read_to_end(self) -> int:
        """The exit code."""
        deadline = time.monotonic() + PATIENCE
        while self.read():
            assert time.monotonic() < deadline, self.text
        return self.process.wait(PATIENCE)

    def end(self) -> int:
        os.kill(self.process.pid, signal.SIGINT)
        return self.read_to_end()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for fd in self.master, self.slave, self.ended:
            os.close(fd)


@pytest.fixture
def terminal(watch: Watch) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_one(*arguments: object, columns: int = 90, **variables: str) -> Terminal:
        opened.append(Terminal(watch, *arguments, columns=columns, **variables))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


HOME = "\x1b[H"  # where each frame begins


def frames(text: str) -> list[list[str]]:
    """The lines of the whole frames, as they are seen."""
    plain = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame) for frame in text.split(HOME)[1:-1]]
    return [re.split("\r+\n", frame) for frame in plain]


def test_in_a_terminal(web_lone: int, terminal: Callable[..., Terminal]) -> None:
    """It shows the replica in its two colours, fits into each size that the window takes, and leaves the screen."""
    shown = terminal(f"http://127.0.0.1:{web_lone}", "--rate", 50)
    circle, path = identify("web-lone").colour, "#000000"
    inside = [";".join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5)) for colour in (circle, path)]
    shown.read_until(lambda text: f"\x1b[38;2;{inside[1]};48;2;{inside[0]}m" in text)
    assert "web-lone" in shown.text
    for columns in 40, 120, 25:
        before = len(frames(shown.text))
        shown.resize(columns)

        def fitted(text: str, before: int = before, columns: int = columns) -> bool:
            late = frames(text)[before:]
            return len(late) > 3 and all(len(line) <= columns for frame in late[-2:] for line in frame)

        shown.read_until(fitted)
        late = frames(shown.text)[-1]
        assert columns > 100 or max(map(len, late)) == columns  # all that there is fits into so many
        assert any("web" in line for line in late)
    assert shown.end() == 0
    screen, _, left = shown.text.rpartition("\x1b[?1049l")
    assert "\x1b[?1049h" in screen
    assert "web-l" in left


LEFT = "\x1b[?1049l"  # the screen of its own


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_stopped_and_continued(web_lone: int, terminal: Callable[..., Terminal]) -> None:
    """The terminal is as it was meanwhile."""
    shown = terminal(f"http://127.0.0.1:{web_lone}", "--rate", 50)
    shown.read_until(lambda text: "web-lone" in text)
    os.kill(shown.process.pid, signal.SIGTSTP)
    wait_until(lambda: state_of(shown.process.pid) == "T", "that it is stopped")
    shown.read_until(lambda text: LEFT in text)
    assert shown.text.rpartition("\x1b[?25")[2][0] == "h"
    os.kill(shown.process.pid, signal.SIGCONT)
    shown.read_until(lambda text: "web-lone" in text.rpartition(LEFT)[2])
    assert "\x1b[?1049h" in shown.text.rpartition(LEFT)[2]
    assert shown.end() == 0


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_that_ends_it_at_once(number: int, web_lone: int, terminal: Callable[..., Terminal]) -> None:
    shown = terminal(f"http://127.0.0.1:{web_lone}", "--rate", 50)
    shown.read_until(lambda text: "web-lone" in text)
    os.kill(shown.process.pid, number)
    assert shown.read_to_end() == -number
    assert LEFT in shown.text
    assert shown.text.rpartition("\x1b[?25")[2][0] == "h"


def test_without_colours(web_lone: int, terminal: Callable[..., Terminal]) -> None:
    shown = terminal(f"http://127.0.0.1:{web_lone}", "--rate", 50, NO_COLOR="1")
    shown.read_until(lambda text: "web-lone" in text and "\N{YIN YANG}" in text)
    assert shown.end() == 0
    assert not re.search(r"\x1b\[[0-9;]*[34]8;", shown.text)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_that_lacks_characters(encoding: str, web_lone: int, terminal: Callable[..., Terminal]) -> None:
    """Names that are cut have an ellipsis, which is replaced too."""
    limits = ["--expect-replicas", 1]
    variables = {"PYTHONIOENCODING": encoding, "LC_ALL": "C"}
    shown = terminal(f"http://127.0.0.1:{web_lone}", *limits, "--rate", 50, columns=25, **variables)
    shown.read_until(lambda text: " @ " in text and re.search(r"[\w.,/][?~]", text))
    assert shown.end() == 0
    assert "Traceback" not in shown.text
    assert "ok   expected exactly 1 replica," in shown.text


def test_expectations_at_the_end(web_lone: int, terminal: Callable[..., Terminal]) -> None:
    shown = terminal(f"http://127.0.0.1:{web_lone}", "--count", 5, "--rate", 50, "--expect-replicas", 2)
    assert shown.read_to_end() == 1
    _, _, left = shown.text.rpartition("\x1b[?1049l")
    assert "\N{CHECK MARK} expected an answer," in left
    assert "\N{BALLOT X} expected exactly 2 replicas, seen: 1: web-lone" in left


def drawn(tally: Tally, now: float, width: int = 80, height: int = 24) -> list[str]:
    console_of = importlib.import_module("rich.console").Console
    view = importlib.import_module("yinyang.watch.view").View
    shown = io.StringIO()
    console_of(file=shown, width=width, height=height).print(view("http://localhost/whoami", tally, now))
    return [line.rstrip() for line in shown.getvalue().splitlines()]


def rollout(by: str = "replica") -> tuple[Tally, float]:
    """18 old replicas, of which the first 6 went when 6 new ones came, and one of the others fails."""
    tally, moment = tally_for("--by", by), 0.0
    names = [f"old-{number:02}" for number in range(18)]
    for number in range(3000):
        moment += 0.01
        if number == 2200:
            names = [*names[6:], *(f"new-{new}" for new in range(6))]
        name = names[number % len(names)]
        version = "v2" if name.startswith("new") else "v1"
        tally.add(moment, moment + 0.001, Replica(name, name, version, ("#b8d868", "#000000")))
        if number % 100 == 99:
            tally.add(moment, moment + 0.002, replica("old-17"), "status 503")
    return tally, moment


@pytest.mark.parametrize("width", [40, 64, 80])
def test_what_matters_comes_first(width: int) -> None:
    """The verdict, the replica that fails, and the new version; those that went are what does not fit."""
    tally, now = rollout()
    lines = drawn(tally, now, width)
    assert len(lines) <= 24
    rows = [line for line in lines if "\N{YIN YANG}" in line]
    assert [re.search(r"(old|new)-\d+", row)[0] for row in rows[:8]] == [
        "old-17", *(f"new-{new}" for new in range(6)), "old-06",
    ]  # fmt: skip
    assert all(" v2 " in row for row in rows[1:7])
    assert not any("silent" in row for row in rows)
    assert tally.verdict(now)["headline"][:20] in lines[1]
    assert ("\N{BOX DRAWINGS HEAVY HORIZONTAL}" in rows[1]) == (width >= 64)
    if width >= 64:
        assert "30 failed" in rows[0]
        assert rows[1].endswith("new")


def test_bars_are_scaled_to_the_largest() -> None:
    tally, now = rollout()
    bar = "\N{BOX DRAWINGS HEAVY HORIZONTAL}"
    assert max(line.count(bar) for line in drawn(tally, now)) == 24


def test_groups_in_a_terminal() -> None:
    tally, now = rollout("version")
    rows = [line for line in drawn(tally, now) if "\N{YIN YANG}" in line]
    assert [row.split()[1:5] for row in rows] == [["v1", "12", "of", "18"], ["v2", "6", "of", "6"]]
