"""Host name -> hash -> colour."""

import json
import pickle
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import yinyang

PALETTE = json.loads((Path(__file__).parent / "vectors" / "palette.json").read_text())
ROWS = json.loads((Path(__file__).parent / "vectors" / "colours.json").read_text())


def twin(name: bytes) -> tuple[int, str]:
    """The same in Python, as plainly as it can be said."""
    number = 0
    for byte in name:
        number = byte + (number << 5) - number
    number = (number + 2**63) % 2**64 - 2**63
    return number, "#" + "".join(f"{(number >> i) * 8 & 0xFF:02x}" for i in range(3))


def test_agrees_with_the_original() -> None:
    for row in ROWS:
        identity = yinyang.identify(bytes.fromhex(row["name_hex"]))
        assert (identity.hash, identity.colour) == (row["hash"], row["colour"]), row["name_hex"]


@given(st.binary(min_size=1, max_size=255))
def test_agrees_with_its_twin(name: bytes) -> None:
    identity = yinyang.identify(name)
    assert (identity.hash, identity.colour) == twin(name)
    assert identity.name.encode("utf-8", "surrogateescape") == name


def test_of_this_host() -> None:
    assert yinyang.identify() == yinyang.identify(socket.gethostname())


@pytest.mark.parametrize("name", ["", b"", "x" * 256, "é" * 128])
def test_refuses_a_name_of_wrong_length(name: str | bytes) -> None:
    with pytest.raises(ValueError, match="1 to 255 bytes"):
        yinyang.identify(name)


def test_refuses_what_is_no_text() -> None:
    with pytest.raises(TypeError):
        yinyang.identify(7)


@pytest.mark.parametrize(("name", "colours"), PALETTE.items())
def test_distinct_colours(name: str, colours: list[str]) -> None:
    identity = yinyang.identify(name, palette="distinct")
    assert list(identity.colours) == colours
    assert identity.colour == colours[0]
    assert identity.hash == yinyang.identify(name).hash


def test_refuses_a_palette_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="palette must be original or distinct, not 'blue'"):
        yinyang.identify("vm", palette="blue")


def test_is_a_value() -> None:
    identity = yinyang.identify("vm")
    assert identity == yinyang.identify(b"vm")
    assert identity != yinyang.identify("wm")
    assert identity != yinyang.identify("vm", "distinct")
    assert pickle.loads(pickle.dumps(yinyang.identify("vm", "distinct"))) == yinyang.identify("vm", palette="distinct")
    assert len({identity, yinyang.identify("vm")}) == 1
    assert pickle.loads(pickle.dumps(identity)) == identity
    assert repr(identity) == "Identity(name='vm', hash=3767, colours=('#b8d868', '#000000'))"
    with pytest.raises(AttributeError):
        identity.name = "other"
