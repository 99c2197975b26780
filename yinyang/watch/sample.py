"""A sample: one request, and the replica that answered it or the failure."""

from dataclasses import dataclass

DEFAULT_COLOURS = ("#808080", "#000000")


@dataclass(frozen=True)
class Replica:
    """A replica, as it describes itself in /whoami.

    colours: of the circle and of the path in it, as `#rrggbb` in lower case.
    started: in seconds since 1970, by the clock of its host; 0 if it did not say.
    start_ms: how long its start took; None if it did not say.
    """

    host: str
    short: str
    version: str | None
    colours: tuple[str, str]
    zone: str | None = None
    node: str | None = None
    started: int = 0
    start_ms: int | None = None


@dataclass(frozen=True)
class Sample:
    """One request that was answered, or failed.

    start, end: seconds on a monotonic clock.
    replica: the replica that answered, or that a failed answer names in its header; None if nobody knows.
    failure: the kind of failure, as failures.py names it; empty if the request was answered.
    connection: a number that each connection has for itself.
    cookie_of: the host of the replica whose cookies the request carried; None if it carried none.
    """

    start: float
    end: float
    replica: Replica | None = None
    failure: str = ""
    connection: int = 0
    cookie_of: str | None = None
