"""Gives the samples of a watch to the core, which judges them: docs/verdict.md says how."""

from collections.abc import Mapping
from dataclasses import dataclass

from yinyang import _core
from yinyang.watch.groups import By, group_of
from yinyang.watch.sample import Sample

NOBODY = -1
COOKIE, CONNECTION = 1, 2  # what leads a request to a certain replica
FAILED = 0  # the number of a failure that has no name of its own
MAX_SOURCES = 256  # that the core tells apart
MAX_CONNECTIONS = 4096  # whose latest source is remembered


@dataclass(frozen=True)
class Verdict:
    """What the samples show.

    kind: one of those in docs/verdict.md.
    words, detail: for people; what was found, and what that rests on.
    samples: the number of samples that a finding about shares rests on.
    more: about how many more it takes to be sure.
    shares: by name: the least possible, the observed and the largest possible share, from 0 to 1.
    """

    kind: str
    words: str
    detail: str
    samples: int
    more: int
    shares: dict[str, tuple[float, float, float]]


class Evidence:
    """The samples so far, counted by groups of replicas. Memory does not grow with their number."""

    def __init__(self, by: By = "replica") -> None:
        self._by = by
        self._core = _core.Evidence()
        self._names: list[str | None] = []  # of groups, by number
        self._numbers: dict[str, int] = {}  # by name
        self._groups_of_hosts: dict[str, str] = {}
        self._latest_of_connections: dict[int, int] = {}  # source by connection

    def add(self, sample: Sample) -> None:
        """Take a sample into account."""
        host = sample.replica.host if sample.replica else sample.served_by
        if sample.replica:
            self._groups_of_hosts[host] = group_of(sample.replica, self._by)
        source = self._number_of_host(host)
        tie, owner = self._led_by(sample, source)
        self._core.add(
            at=int(sample.end * 1000),
            source=source,
            failure=NOBODY if sample.replica else _failure_number(sample.failure),
            tie=tie,
            owner=owner,
            started=sample.replica.started if sample.replica and self._by == "replica" else 0,
        )

    def is_silent(self, name: str) -> bool:
        """Whether this group is gone, or might be."""
        number = self._numbers.get(name, NOBODY)
        return not self._core.is_there(number) or self._core.may_be_gone(number)

    def verdict(self, now: float, display_names: Mapping[str, str], waits: Mapping[object, float]) -> Verdict:
        """The verdict now; `waits` has when each request under way began; in seconds on the clock of samples."""
        names = [display_names.get(name, name) if name is not None else "?" for name in self._names]
        since = int(min(waits.values(), default=0.0) * 1000)
        found = self._core.verdict(int(now * 1000), names, len(waits), since, self._by, f"{self._by}s")
        shares = {name: found["shares"][number] for name, number in self._numbers.items() if number in found["shares"]}
        return Verdict(found["kind"], found["headline"], found["detail"], found["samples"], found["more"], shares)

    def _led_by(self, sample: Sample, source: int) -> tuple[int, int]:
        """What led a request, and to which source."""
        if sample.cookie_of is not None:
            return COOKIE, self._number_of_host(sample.cookie_of)
        if not sample.connection or source == NOBODY:
            return 0, NOBODY
        owner = self._latest_of_connections.pop(sample.connection, None)
        self._latest_of_connections[sample.connection] = source
        if len(self._latest_of_connections) > MAX_CONNECTIONS:
            del self._latest_of_connections[next(iter(self._latest_of_connections))]
        return (0, NOBODY) if owner is None else (CONNECTION, owner)

    def _number_of_host(self, host: str) -> int:
        name = self._groups_of_hosts.get(host)
        if name is None:
            return NOBODY
        if name not in self._numbers:
            number = self._free_number()
            if number == NOBODY:
                return NOBODY
            self._numbers[name] = number
            self._names[number] = name
        return self._numbers[name]

    def _free_number(self) -> int:
        """A number that stands for nobody; NOBODY if all stand for somebody who is there."""
        if len(self._names) < MAX_SOURCES:
            self._names.append(None)
            return len(self._names) - 1
        for name, number in self._numbers.items():
            if not self._core.is_there(number):
                self._core.forget(number)
                del self._numbers[name]
                return number
        return NOBODY


def _failure_number(name: str) -> int:
    kind, _, status = name.partition("status ")
    if not kind and status.isdecimal() and 100 <= int(status) < 600:
        return int(status)
    return _core.failure_kinds.index(name) if name in _core.failure_kinds else FAILED
