"""The picture that the core draws of a watch."""

import re
import unicodedata
from collections.abc import Iterable

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from watch.screen import Screen, columns_of
from watch.tallies import replica
from yinyang import _core
from yinyang.watch.sample import Replica

SIZES = [(80, 24), (40, 10), (200, 50), (20, 5), (1, 1), (64, 12), (30, 6), (2, 3), (7, 2), (1000, 3)]
COLOURS = ("#b8d868", "#000000")
TITLE = "http://localhost/whoami (new connections)"
ALL_COLOURS = 1 << 24
HOSTILE = [
    "日本語の名前" * 20,  # wide
    "e\u0301\u0302\u0303" * 40,  # combining
    "a" * 255,
    "\u0301" * 127,  # combining, with nothing before it
    "\x1b[31m\x1b]0;title\x07\r\n\x9b2J",
    "\u202eright to left\u202c \u200d\ufeff\u00ad",
    "\N{FAMILY}\N{WOMAN}\u200d\N{GIRL}\ufe0f" * 9,
    "\N{REGIONAL INDICATOR SYMBOL LETTER D}\N{REGIONAL INDICATOR SYMBOL LETTER E}" * 9,
    " ",
    "\ue000\U0010fffd\uffff",
]


def tally_of(*names: str, by: str = "replica", version: str = "1.2.3-beta", rounds: int = 3) -> _core.Tally:
    """Replicas that took turns at 10 requests per second, of which some failed."""
    tally = _core.Tally(_core.WatchOptions(["--by", by, "http://localhost/whoami"]), 0.0)
    for number in range(rounds * len(names)):
        name = names[number % len(names)]
        tally.add(number / 10, number / 10 + 0.001, Replica(f"{number % len(names)}-{name}", name, version, COLOURS))
        if number % 100 == 99:
            tally.add(number / 10, number / 10, failure="refused")
    return tally


def rollout(by: str = "replica") -> tuple[_core.Tally, float]:
    """18 old replicas, of which the first 6 went when 6 new ones came, and one of the others fails."""
    tally, moment = _core.Tally(_core.WatchOptions(["--by", by, "http://localhost/whoami"]), 0.0), 0.0
    names = [f"old-{number:02}" for number in range(18)]
    for number in range(3000):
        moment += 0.01
        if number == 2200:
            names = [*names[6:], *(f"new-{new}" for new in range(6))]
        name = names[number % len(names)]
        tally.add(moment, moment + 0.001, Replica(name, name, "v2" if name.startswith("new") else "v1", COLOURS))
        if number % 100 == 99:
            tally.add(moment, moment + 0.002, replica("old-17"), "status 503")
    return tally, moment


def drawn(tally: _core.Tally, now: float, width: int = 80, height: int = 24, colours: int = ALL_COLOURS) -> list[str]:
    """The lines on the screen."""
    return Screen(width, height).show(tally.draw(now, width, height, colours, title=TITLE)).lines()


def rows_of(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if "\N{YIN YANG}" in line]


def plain(frame: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", frame)


@pytest.mark.parametrize("colours", [0, 16, 256, ALL_COLOURS])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_fits(width: int, height: int, colours: int) -> None:
    """No line wraps, nothing scrolls, and there is a group as soon as there are three lines."""
    tally = tally_of(*(f"yinyang-7d4b9c6f5-{number:05}" for number in range(30)), rounds=10)
    lines = drawn(tally, 30.0, width, height, colours)
    if height >= 3 and width > 2:
        assert rows_of(lines)
    if width >= 30 and height >= 6:
        assert any("refused 3" in line for line in lines)
        assert any(re.fullmatch(r"\.\.\. and \d+ more", line) for line in lines) == (height < 36)


@pytest.mark.parametrize("by", ["replica", "version"])
@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_hostile_names(width: int, height: int, unicode: bool, by: str) -> None:
    tally = tally_of(*HOSTILE, by=by, version=HOSTILE[0])
    for number, name in enumerate(HOSTILE):
        tally.add(4.0, 4.0, replica(f"{number}-{name}"), "status 503")
    frame = tally.draw(5.0, width, height, ALL_COLOURS, unicode, title="".join(HOSTILE))
    Screen(width, height).show(frame)
    assert unicode or frame.isascii()
    whole = tally.draw(5.0, width, height, 0, unicode, True, "".join(HOSTILE))
    assert all(sum(map(columns_of, line)) <= width for line in plain(whole).split("\n"))
    assert whole.count(("\N{YIN YANG}" if unicode else "@")[: width > 1]) >= (len(HOSTILE) if by == "replica" else 1)


@given(
    st.lists(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=40), min_size=1, max_size=5),
    st.integers(1, 100),
    st.integers(1, 20),
    st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_any_names_fit(names: list[str], width: int, height: int, unicode: bool) -> None:
    tally = tally_of(*names, version=names[0])
    Screen(width, height).show(tally.draw(2.0, width, height, 256, unicode, title=names[-1]))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_frame_leaves_nothing_of_the_one_before(width: int, height: int) -> None:
    many = tally_of(*(f"{number:05}-{'a' * number}" for number in range(40)))
    few = tally_of("a", rounds=1)
    frame = few.draw(1.0, width, height, 256, title="b")
    after = Screen(width, height).show(many.draw(30.0, width, height, 256, title=TITLE)).show(frame)
    fresh = Screen(width, height).show(frame)
    assert (after.cells, after.styles) == (fresh.cells, fresh.styles)


def test_before_the_first_answer() -> None:
    tally = _core.Tally(_core.WatchOptions(["http://localhost/whoami"]), 0.0)
    lines = drawn(tally, 0.5)
    assert lines[0] == f"00:00 0 samples, 0.0/s, 0 failed {TITLE}"
    assert lines[1] == "waiting for the first answer"
    assert not any(lines[2:])


@pytest.mark.parametrize(("seconds", "clock"), [(0, "00:00"), (61.9, "01:01"), (3599, "59:59"), (36000, "10:00:00")])
def test_clock(seconds: float, clock: str) -> None:
    assert drawn(tally_of("a"), seconds)[0].startswith(f"{clock} 3 samples")


def test_two_hundred_replicas() -> None:
    tally = tally_of(*(f"replica-{number:03}" for number in range(200)))
    lines = drawn(tally, 60.0, 200, 50)
    assert lines.count("") == 1  # between failures and groups; all others are used
    assert len(rows_of(lines)) == 50 - lines.index("") - 3
    assert f"... and {200 - len(rows_of(lines))} more" in lines
    whole = plain(tally.draw(60.0, 80, 24, show_all=True))
    assert len(rows_of(whole.splitlines())) == 200
    assert "more" not in whole.split("\N{YIN YANG}")[-1]
    assert "\x1b[K" not in whole
    assert "\r" not in whole


@pytest.mark.parametrize("width", [40, 64, 80])
def test_what_matters_comes_first(width: int) -> None:
    """The verdict, the replica that fails, and the new version; those that went are what does not fit."""
    tally, now = rollout()
    lines = drawn(tally, now, width)
    rows = rows_of(lines)
    assert [re.search(r"(old|new)-\d+", row)[0] for row in rows[:8]] == [
        "old-17", *(f"new-{new}" for new in range(6)), "old-06",
    ]  # fmt: skip
    assert all(" v2 " in row for row in rows[1:7])
    assert not any("silent" in row for row in rows)
    assert tally.verdict(now)["headline"][:20] in lines[1]
    assert ("\N{BOX DRAWINGS HEAVY HORIZONTAL}" in rows[1]) == (width >= 64)
    if width >= 64:
        assert rows[0].endswith(" 30 failed")
        assert rows[1].endswith(" new")
    last = rows_of(drawn(tally, now, 80, 50))[-1]
    assert re.search(r"old-05 v1 +\d+ +\d\.\d % ", last)
    assert re.search(r" silent \d+ s$", last)


@pytest.mark.parametrize("height", [3, 4, 5, 8, 12])
def test_the_verdict_leaves_room(height: int) -> None:
    """A verdict that is cut has an ellipsis, and there is a group below it."""
    tally, now = rollout()
    lines = drawn(tally, now, 20, height)
    verdict = lines[1 : next(number for number, line in enumerate(lines) if re.match(" !| \N{YIN YANG}", line))]
    assert len(verdict) <= height // 2
    words = " ".join(" ".join(verdict).split())
    whole = f"{tally.verdict(now)['headline']} {tally.verdict(now)['detail']}"
    assert whole.startswith(words.removesuffix("…"))
    assert words == whole or words.endswith("…")
    assert rows_of(lines)


def test_words_are_wrapped() -> None:
    tally, now = rollout()
    lines = drawn(tally, now, 40)
    assert lines[1:3] == ["1 % of requests fail: old-17 answers", "503, for 29 s  6 of the last 507"]


def test_many_kinds_of_failure() -> None:
    tally = tally_of("a")
    for status in range(400, 420):
        tally.add(1.0, 1.0, failure=f"status {status}")
    tally.add(1.0, 1.0, failure="no local port free")
    lines = drawn(tally, 4.4, 80, 12)
    assert " !  status 400 1, last 3 s ago" in lines
    assert re.fullmatch(r" !  \d+ other kinds", [line for line in lines if line.startswith(" !")][-1])
    assert rows_of(lines)
    assert " !  no local port free 1, last 3 s ago" in plain(tally.draw(4.4, 80, 12, show_all=True)).splitlines()


def test_bars_are_scaled_to_the_largest() -> None:
    tally, now = rollout()
    bar = "\N{BOX DRAWINGS HEAVY HORIZONTAL}"
    half = "\N{BOX DRAWINGS HEAVY LEFT}"
    rows = rows_of(drawn(tally, now, colours=0))
    assert max(row.count(bar) for row in rows) == 24
    largest = max(group["share"] for group in tally.groups())
    for row in rows:
        share = next(group["share"] for group in tally.groups() if f" {group['name']} " in row)
        assert 2 * row.count(bar) + row.count(half) == int(48 * share / largest)
    ascii_rows = [line for line in plain(tally.draw(now, 80, 24, 0, False)).splitlines() if " @ " in line]
    for row, ascii_row in zip(rows, ascii_rows, strict=True):
        assert ascii_row.count("#") == row.count(bar)
        assert ascii_row.count("=") == row.count(half)


def test_groups() -> None:
    tally, now = rollout("version")
    rows = rows_of(drawn(tally, now))
    assert [row.split()[1:5] for row in rows] == [["v1", "12", "of", "18"], ["v2", "6", "of", "6"]]


def test_names_are_cut() -> None:
    tally = tally_of("a-very-long-name-of-a-replica" * 3, "b", version="v" * 40)
    row = rows_of(drawn(tally, 1.0))[0]
    assert re.match(r" ☯  a-very-long-na[\w-]*… v{7,15}… +3 50\.0 % ━+ ", row)
    assert "~ " in tally.draw(1.0, 80, 24, 0, False)


def symbol_style(colours: int, circle: str, path: str) -> str:
    tally = _core.Tally(_core.WatchOptions(["http://localhost/whoami"]), 0.0)
    tally.add(0.0, 0.1, Replica("a", "a", None, (circle, path)))
    screen = Screen(80, 24).show(tally.draw(0.2, 80, 24, colours))
    row, column = next(
        (number, line.index("\N{YIN YANG}")) for number, line in enumerate(screen.lines()) if "☯" in line
    )
    assert screen.styles[row][column - 1] == screen.styles[row][column] == screen.styles[row][column + 1]
    return screen.styles[row][column]


@pytest.mark.parametrize(
    ("colours", "circle", "path", "style"),
    [
        (0, "#b8d868", "#000000", ""),
        (ALL_COLOURS, "#b8d868", "#01fe0a", "38;2;1;254;10;48;2;184;216;104"),
        (256, "#ff0000", "#000000", "38;5;16;48;5;196"),
        (256, "#808080", "#ffffff", "38;5;231;48;5;244"),
        (256, "#5f87af", "#070809", "38;5;232;48;5;67"),
        (16, "#ffffff", "#000000", "30;107"),
        (16, "#a80101", "#50ff50", "92;41"),
        (16, "#fefefe", "#ffffff", "30;107"),  # never the same two
        (16, "#010101", "#000000", "97;40"),
    ],
)
def test_colours_of_the_symbol(colours: int, circle: str, path: str, style: str) -> None:
    assert symbol_style(colours, circle, path) == style


def test_without_colours() -> None:
    """The verdict stands out still."""
    tally, now = rollout()
    styles = set(re.findall(r"\x1b\[([0-9;]*)m", tally.draw(now, 80, 50)))
    assert styles == {"0", "1", "2", "1;7"}


@pytest.mark.parametrize("colours", [16, 256, ALL_COLOURS])
def test_no_more_colours_than_there_are(colours: int) -> None:
    tally, now = rollout()
    frame = tally.draw(now, 80, 50, colours)
    assert ("8;2;" in frame) == (colours == ALL_COLOURS)
    assert ("8;5;" in frame) == (colours == 256)
    assert "\x1b[1;37;41m" in frame


def test_a_title_with_nul() -> None:
    with pytest.raises(ValueError, match="NUL"):
        tally_of("a").draw(1.0, 80, 24, title="\0")


@pytest.mark.parametrize(("width", "height"), [(0, 0), (-1, 5), (5, -1)])
def test_no_screen(width: int, height: int) -> None:
    assert not tally_of("a").draw(1.0, width, height)


# ---- the widths of characters -------------------------------------------------------------------------------------

WIDTHS = (ROOT / "csrc/char_widths.h").read_text()


def chars_of(name: str) -> set[str]:
    table = re.search(rf"{name}\[\] = {{(.*?)}};", WIDTHS, re.DOTALL)
    ranges = [(int(first, 16), int(last, 16)) for first, last in re.findall(r"{0x(\w+), 0x(\w+)}", table[1])]
    assert ranges == sorted(ranges)
    return {chr(code) for first, last in ranges for code in range(first, last + 1)}


def test_widths() -> None:
    """No character takes more columns than is counted, and those that are counted as hidden are not seen."""
    combining, wide, hidden = map(chars_of, ("combining_chars", "wide_chars", "hidden_chars"))
    assert {unicodedata.category(char) for char in combining} <= {"Mn", "Me", "Cn"}
    every = {chr(code) for code in range(0x110000)}
    assigned = {char for char in every if unicodedata.category(char) != "Cn"}
    assert not {char for char in assigned if unicodedata.east_asian_width(char) in "WF"} - wide - combining
    unseen = {char for char in assigned if unicodedata.category(char) in {"Cc", "Cf", "Zl", "Zp", "Co"}}
    assert unseen <= hidden
    assert {unicodedata.category(char) for char in hidden - unseen} <= {"Cn", "So", "Mn"}
