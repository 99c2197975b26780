"""Tallies of samples that a test makes up."""

from yinyang._core import Tally, WatchOptions
from yinyang.watch.sample import DEFAULT_COLOURS, Replica


def tally_for(*arguments: object, begin: float = 0.0) -> Tally:
    """An empty one, for a watch with these arguments."""
    return Tally(WatchOptions(["http://a/", *map(str, arguments)]), begin)


def replica(host: str, version: str | None = None, *, short: str = "", started: int = 0) -> Replica:
    return Replica(host, short or host, version, DEFAULT_COLOURS, started=started)
