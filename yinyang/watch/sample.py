"""What one request brought."""

import json
import re
from dataclasses import dataclass

COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
NO_COLOURS = ("#808080", "#000000")


@dataclass(frozen=True)
class Replica:
    """Who answered, in its own words."""

    host: str
    short: str
    version: str | None
    colours: tuple[str, str]  # of the circle and of the path, #rrggbb


@dataclass(frozen=True)
class Sample:
    """One request that was answered, or failed.

    start, end: seconds on a clock that never goes back.
    replica: who answered; None if that did not happen, and `failure` says why in a word or two.
    connection: a number of its own for each connection.
    cookie_of: the replica whose cookie the request carried, if it carried one.
    cookies: names of the cookies that it carried, or else that its answer sets.
    """

    start: float
    end: float
    replica: Replica | None = None
    failure: str = ""
    connection: int = 0
    cookie_of: str | None = None
    cookies: tuple[str, ...] = ()


def read_whoami(body: bytes) -> Replica | None:
    """The replica that an answer describes; None if it is no answer of `/whoami`."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or not isinstance(told.get("host"), str) or not told["host"]:
        return None
    host = printable(told["host"])
    short, version, colours = told.get("short"), told.get("version"), told.get("colours")
    return Replica(
        host,
        printable(short) if isinstance(short, str) and short else host,
        printable(version) if isinstance(version, str) else None,
        read_colours(colours),
    )


def read_colours(told: object) -> tuple[str, str]:
    """Two colours in lower case; grey and black if these are none."""
    if not isinstance(told, list) or len(told) != 2 or not all(map(is_colour, told)):
        return NO_COLOURS
    return told[0].lower(), told[1].lower()


def is_colour(value: object) -> bool:
    """Is this `#rrggbb`?"""
    return isinstance(value, str) and COLOUR.fullmatch(value) is not None


def printable(text: str) -> str:
    """Text that does nothing to a terminal but be shown, whoever wrote it."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)[:255]
