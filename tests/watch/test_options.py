"""The command line, as it is read."""

import pytest

from watch.command import Watch
from yinyang._core import WatchOptions


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("1s", 1), ("2m", 120), ("1.5s", 1.5), ("1h", 3600), (".5s", 0.5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert WatchOptions(["http://a/", "--duration", text]).duration == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1 s", "0s", "1e3s", "1d", "nans", "\u0661s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="--duration wants a time"):
        WatchOptions(["http://a/", "--duration", text])


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://a", "http://a/whoami"),
        ("localhost:81", "http://localhost:81/whoami"),
        ("http://a:81/", "http://a:81/whoami"),
        ("https://[::1]:8/x", "https://[::1]:8/x/whoami"),
        ("http://a/x/", "http://a/x/whoami"),
        ("http://a/x/whoami", "http://a/x/whoami"),
        ("http://a/whoami/", "http://a/whoami"),
        ("http://a/?b=1#c", "http://a/whoami?b=1"),
        ("HTTPS://a", "https://a/whoami"),
        ("a:81/?then=http://b/", "http://a:81/whoami?then=http://b/"),
    ],
)
def test_url_of_whoami(url: str, asked: str) -> None:
    options = WatchOptions([url])
    assert (options.url, options.display_url) == (asked, asked)
    kept = WatchOptions([url, "--connection", "same"])
    assert (kept.url, kept.display_url) == (asked + ("&" if "?" in asked else "?") + "keep=1", asked)


def test_passwords_are_not_shown() -> None:
    options = WatchOptions(["http://me:secret@a/x"])
    assert "secret" in options.url
    assert options.display_url == "http://a/x/whoami"


def test_defaults() -> None:
    options = WatchOptions(["http://a/"])
    assert (options.rate, options.concurrency, options.timeout, options.by) == (10, 8, 3, "replica")
    assert (options.duration, options.count, options.junit, options.metrics_port) == (None, None, None, None)
    assert not any([options.keep_alive, options.json, options.jsonl, options.insecure, options.has_goal])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["ftp://a/"],
        ["FTP://a/"],
        ["http://"],
        ["http://a:99999/"],
        ["http://a/", "--rate", "0"],
        ["http://a/", "--rate", "nan"],
        ["http://a/", "--count", "0"],
        ["http://a/", "--concurrency", "1001"],
        ["http://a/", "--min-share", "101%"],
        ["http://a/", "--min-share", "0.2"],
        ["http://a/", "--min-share", "1"],
        ["http://a/", "--max-gap", "500"],
        ["http://a/", "--max-p99", "0.2"],
        ["http://a/", "--max-p99", ""],
        ["http:/a:81/"],
        ["https:/a/"],
        ["http://a/", "--expect-replicas", "x"],
        ["http://a/", "--dur", "1s"],
        ["http://a/", "--json", "--jsonl"],
        ["http://a/", "--until", "a >= 50%", "--until", "b >= 50%"],
        ["http://a/", "--duration", "100000h"],
        ["http://a/", "--json=1"],
        ["http://a/", "http://b/"],
        ["http://a/", "--count"],
    ],
    ids=" ".join,
)
def test_bad_use(arguments: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        WatchOptions(arguments)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v2",
        "=10%",
        "v2=",
        "v2=101%",
        "v2=10%±",
        "v2=10%±101",
        "v2=x",
        "v2=10%-3",
        "v2=0.5",
        "v2>=10%",
        "v2<=10%",
        "v1=90,v2=10",
        "v1=90%,v2=10%",
    ],
)
def test_no_expected_shares(text: str) -> None:
    with pytest.raises(ValueError, match="--expect wants a name and a share"):
        WatchOptions(["http://a/", "--expect", text])


@pytest.mark.parametrize("text", ["", "v2", "v2=99%", "v2 > 99%", ">= 99%", "v2 >= 101%", "v2 >= 0%", "v2 >= 0.5"])
def test_no_shares_to_reach(text: str) -> None:
    with pytest.raises(ValueError, match="--until wants a name and the share to reach"):
        WatchOptions(["http://a/", "--until", text])


def test_bad_use_of_the_command(httpx_watch: Watch) -> None:
    done = httpx_watch("http://a/", "--rate", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "yinyang.watch: --rate wants a number above 0 and up to a million, not '0'\n"
