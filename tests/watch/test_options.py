"""The command line, as it is read."""

from argparse import ArgumentTypeError

import pytest

from yinyang.watch.options import duration, parse_options, whoami_url

pytestmark = pytest.mark.host


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("1s", 1), ("2m", 120), ("1.5s", 1.5), ("1h", 3600), (".5s", 0.5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "s", "-1s", "1 s", "0s", "1e3s", "1d", "nans", "\u0661s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        duration(text)


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://a", "http://a/whoami"),
        ("http://a:81/", "http://a:81/whoami"),
        ("https://[::1]:8/x", "https://[::1]:8/x/whoami"),
        ("http://a/x/", "http://a/x/whoami"),
        ("http://a/x/whoami", "http://a/x/whoami"),
        ("http://a/?b=1#c", "http://a/whoami?b=1"),
    ],
)
def test_url_of_whoami(url: str, asked: str) -> None:
    assert whoami_url(url, keep_alive=False) == (asked, asked.partition("?")[0])
    kept = whoami_url(url, keep_alive=True)[0]
    assert kept == asked + ("&" if "?" in asked else "?") + "keep=1"


def test_passwords_are_not_shown() -> None:
    options = parse_options(["http://me:secret@a/x"])
    assert "secret" in options.url
    assert options.display_url == "http://a/x/whoami"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["localhost:8080"],
        ["ftp://a/"],
        ["http://"],
        ["http://a:99999/"],
        ["http://a/", "--rate", "0"],
        ["http://a/", "--rate", "nan"],
        ["http://a/", "--count", "0"],
        ["http://a/", "--concurrency", "1001"],
        ["http://a/", "--duration", "10"],
        ["http://a/", "--min-share", "101%"],
        ["http://a/", "--expect-replicas", "x"],
        ["http://a/", "--dur", "1s"],
    ],
    ids=" ".join,
)
def test_bad_use(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_options(arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err
