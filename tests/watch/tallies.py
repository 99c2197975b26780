"""Tallies of the core, and what they count."""

from typing import NamedTuple

from yinyang import _core

COLOURS = ("#808080", "#000000")


class Replica(NamedTuple):
    """As a replica describes itself."""

    host: str
    short: str
    version: str | None = None
    zone: str | None = None
    node: str | None = None
    colours: tuple[str, str] = COLOURS
    started: int = 0


def tally(*arguments: str, begin: float = 0.0) -> _core.Tally:
    """One that has counted nothing, of a watch with these arguments."""
    return _core.Tally(_core.WatchOptions(["http://a/", *arguments]), begin)


def answer(counted: _core.Tally, moment: float, host: str, version: str | None = None, took: float = 0.0) -> None:
    """Count an answer of this host that came at this moment."""
    counted.add(moment - took, moment, Replica(host, host, version))


def fail(counted: _core.Tally, moment: float, failure: str = "refused", served_by: str = "") -> None:
    """Count a failure that came at this moment."""
    counted.add(moment, moment, failure=failure, served_by=served_by)
