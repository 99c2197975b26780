"""Identity -> page."""

import hashlib
import html

from hypothesis import given
from hypothesis import strategies as st

import yinyang

PLAIN = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_", min_size=1, max_size=255)


def test_is_the_page_of_the_original() -> None:
    page = yinyang.render_page(yinyang.identify("vm"))
    assert len(page) == 390
    assert hashlib.sha256(page).hexdigest() == "05654eb4a73b043a5d5346d3f091c40b9b1c71a57c36077a3d9bb0311b5a0aa7"


@given(PLAIN)
def test_is_388_bytes_and_the_name(name: str) -> None:
    page = yinyang.render_page(yinyang.identify(name))
    assert len(page) == 388 + len(name)
    assert f"<h1>{name}</h1>".encode() in page


def test_every_length_of_name() -> None:
    for length in range(1, 256):
        assert len(yinyang.render_page(yinyang.identify("n" * length))) == 388 + length


@given(st.text("<>&\"'ab", min_size=1, max_size=60), st.text("<>&\"'ab", max_size=60))
def test_escapes_name_and_title(name: str, title: str) -> None:
    page = yinyang.render_page(yinyang.identify(name), title).decode()
    shown_title, rest = page.removeprefix("<!DOCTYPE html><html><head><title>").split("</title>", 1)
    shown_name = rest.removeprefix("</head><body><h1>").split("</h1>", 1)[0]
    assert (html.unescape(shown_name), html.unescape(shown_title)) == (name, title)
    assert not set("<>\"'") & set(shown_name + shown_title)


def test_distinct_colours_are_in_both_halves_and_the_short_name_below() -> None:
    identity = yinyang.identify("web-6d5f8c7b9-<2x4>", palette="distinct")
    page = yinyang.render_page(identity).decode()
    first, second = identity.colours
    assert page.count(f"fill='{first}'") == page.count(f"fill='{second}'") == 2
    assert page.count(f"fill='%23{first[1:]}'") == page.count(f"fill='%23{second[1:]}'") == 2  # the icon's
    assert ">&lt;2x4&gt;</text>" in page
    assert "#000" not in page.replace("stroke='#000'", "")
    assert 'name="viewport"' in page
