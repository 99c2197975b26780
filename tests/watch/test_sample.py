"""What is read from answers, whoever sent them."""

import json

import pytest

from yinyang.watch.cookies import CookieJar
from yinyang.watch.sample import DEFAULT_COLOURS, parse_whoami

pytestmark = pytest.mark.host


def test_answers_of_others_are_no_whoami() -> None:
    for body in [b"", b"<html>", b"[]", b"{}", b'{"host": 1}', b'{"host": ""}', b"[" * 100000, b"\xff"]:
        assert parse_whoami(body) is None


def test_what_replicas_say_does_nothing_to_a_terminal() -> None:
    told = {"host": "a\x1b[2J", "short": "b\n", "version": "\x9b1m\u202e", "colours": ["red", "\x1b"]}
    replica = parse_whoami(json.dumps(told).encode())
    assert replica is not None
    assert "".join([replica.host, replica.short, replica.version or ""]).isprintable()
    assert replica.colours == DEFAULT_COLOURS


def test_cookies_are_kept_as_a_browser_would() -> None:
    cookies = CookieJar(secure=False)
    cookies.store("a", ["SRV=x; Path=/", "gone=; Path=/", "old=1; Max-Age=0", "tls=1; Secure", "\x00"])
    found = {draw[0]: draw[1] for draw in (cookies.choose() for _ in range(500)) if draw}
    assert found == {"a": {"SRV": "x"}}
