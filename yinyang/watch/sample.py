"""A sample: one request, and the replica that answered it or the failure."""

import json
import re
from dataclasses import dataclass
from datetime import datetime

COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
DEFAULT_COLOURS = ("#808080", "#000000")
MAX_TEXT_LENGTH = 255  # characters that are kept of a text that a replica sends


@dataclass(frozen=True)
class Replica:
    """A replica, as it describes itself in /whoami.

    colours: of the circle and of the path in it, as `#rrggbb` in lower case.
    started: in seconds since 1970, by the clock of its host; 0 if it did not say.
    """

    host: str
    short: str
    version: str | None
    colours: tuple[str, str]
    zone: str | None = None
    node: str | None = None
    started: int = 0


@dataclass(frozen=True)
class Sample:
    """One request that was answered, or failed.

    start, end: seconds on a monotonic clock.
    replica: the replica that answered; None if the request failed.
    failure: the kind of failure, as failures.py names it; empty if the request was answered.
    connection: a number that each connection has for itself.
    cookie_of: the host of the replica whose cookies the request carried; None if it carried none.
    served_by: the host of the replica that a failed answer named in X-Served-By; empty if there is none.
    """

    start: float
    end: float
    replica: Replica | None = None
    failure: str = ""
    connection: int = 0
    cookie_of: str | None = None
    served_by: str = ""


def parse_whoami(body: bytes) -> Replica | None:
    """The replica that an answer describes; None if this is not an answer of `/whoami`."""
    try:
        whoami = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(whoami, dict) or not isinstance(whoami.get("host"), str) or not whoami["host"]:
        return None
    host = printable(whoami["host"])
    return Replica(
        host,
        _text(whoami.get("short")) or host,
        _text(whoami.get("version")),
        parse_colours(whoami.get("colours")),
        _text(whoami.get("zone")),
        _text(whoami.get("node")),
        parse_time(whoami.get("started")),
    )


def _text(value: object) -> str | None:
    return printable(value) if isinstance(value, str) else None


def parse_colours(value: object) -> tuple[str, str]:
    """Two colours in lower case; grey and black if the value is not a list of two colours."""
    if not isinstance(value, list) or len(value) != 2 or not all(map(is_colour, value)):
        return DEFAULT_COLOURS
    return value[0].lower(), value[1].lower()


def parse_time(value: object) -> int:
    """The seconds since 1970 of a time as in ISO 8601; 0 if the value is none."""
    try:
        return int(datetime.fromisoformat(value).timestamp()) if isinstance(value, str) else 0
    except (ValueError, OverflowError):
        return 0


def is_colour(value: object) -> bool:
    """Whether this is `#rrggbb`."""
    return isinstance(value, str) and COLOUR.fullmatch(value) is not None


def printable(text: str) -> str:
    """The text without characters that control a terminal, as anybody may have written it; cut to 255 characters."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)[:MAX_TEXT_LENGTH]
