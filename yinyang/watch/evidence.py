"""What the answers show about the balancing, kept while they come; it grows with the replicas, not with the answers.

Shares mean something only while the same replicas are there. So the answers are divided into stretches: a new one
begins when a replica answers for the first time, or again after it was gone, or is gone, or when the shares have
changed. Where a stretch begins depends only on what came before, so whatever is random within it still is.
"""

from collections import Counter
from dataclasses import dataclass, field

from yinyang.watch.chances import chi_square_alike, chi_square_chance, silence_chance
from yinyang.watch.sample import Sample

GONE = 1e-6  # a silence of a replica that is less likely than this, while it is there, means that it is gone
SILENT = 1e-3  # ... and one that is less likely than this, that it might be
CHANGED = 1e-6  # shares before and after a moment that differ by more than by a chance like this have changed
CELL = 5  # answers of each replica that it takes on either side of such a moment
CHUNKS = 16  # parts of a stretch that are kept apart, to compare them; two become one when there are more
CHUNK = 16  # answers in each of them at first
CONNECTIONS_KEPT = 4096  # whose last replica is remembered


@dataclass
class Member:
    """A replica that is there, by answers that no cookie led to it."""

    joined: int  # number of the first of them, among all replicas' answers
    last: int
    answers: int = 1

    def silence(self, now: int) -> float:
        """The chance that one that is there has been silent for so long."""
        return silence_chance(self.answers, now - self.joined + 1, now - self.last)


@dataclass
class Stretch:
    """Answers during which the same replicas were there.

    counts: answers of each replica, by host; of its cookies, none.
    chunks: the same, in parts as they came.
    connections: how many it was the first to answer on.
    stays, switches: pairs of answers in a row on one connection, by the replica of the former.
    repeats, pairs: of answers in a row on whatever connection, those by the same replica, and all.
    cookie_hits, cookie_misses: answers to a cookie, by the replica that had set it: from it, or not.
    """

    counts: Counter[str] = field(default_factory=Counter)
    chunks: list[Counter[str]] = field(default_factory=lambda: [Counter()])
    connections: Counter[str] = field(default_factory=Counter)
    stays: Counter[str] = field(default_factory=Counter)
    switches: Counter[str] = field(default_factory=Counter)
    repeats: int = 0
    pairs: int = 0
    cookie_hits: Counter[str] = field(default_factory=Counter)
    cookie_misses: Counter[str] = field(default_factory=Counter)
    cookie_names: Counter[str] = field(default_factory=Counter)


class Evidence:
    """All of it: who is there, and the present stretch."""

    def __init__(self, keeping: bool = False) -> None:
        """keeping: connections are used again."""
        self.keeping = keeping
        self.members: dict[str, Member] = {}
        self.changed = ""  # what began the present stretch, unless it is a first answer
        self.stretch = Stretch()
        self._now = 0  # number of the latest answer
        self._previous: str | None = None
        self._chunk = CHUNK
        self._on: dict[int, str] = {}  # the replica that answered last on a connection, in this stretch
        self._gone: set[str] = set()

    def note(self, sample: Sample) -> None:
        """Take an answer in; failures show nothing about shares."""
        if sample.replica is None:
            return
        host = sample.replica.host
        if sample.cookie_of is not None:
            self._note_cookie(sample.cookie_of, host, sample.cookies)
            return
        self._now += 1
        if host not in self.members:
            self._join(host)
        else:
            member = self.members[host]
            member.answers, member.last = member.answers + 1, self._now
            self._count(host, sample)
        for gone in [name for name, member in self.members.items() if member.silence(self._now) < GONE]:
            self._leave(gone)

    def silent(self) -> list[str]:
        """Replicas that are so silent that they might be gone."""
        return [name for name, member in self.members.items() if member.silence(self._now) < SILENT]

    def is_silent(self, host: str) -> bool:
        """Is it gone, or might it be?"""
        return host not in self.members or self.members[host].silence(self._now) < SILENT

    def _join(self, host: str) -> None:
        again = host in self._gone
        self._gone.discard(host)
        self._begin(f"{host} came back" if again else "")
        self.members[host] = Member(self._now, self._now)

    def _leave(self, host: str) -> None:
        del self.members[host]
        self._gone.add(host)
        self._begin(f"{host} went")

    def _begin(self, why: str) -> None:
        self.stretch, self.changed = Stretch(), why
        self._previous, self._chunk = None, CHUNK
        self._on.clear()

    def _note_cookie(self, owner: str, host: str, names: tuple[str, ...]) -> None:
        if owner in self.members:
            (self.stretch.cookie_hits if owner == host else self.stretch.cookie_misses)[owner] += 1
            self.stretch.cookie_names.update(names)

    def _count(self, host: str, sample: Sample) -> None:
        stretch = self.stretch
        stretch.counts[host] += 1
        if self._previous is not None:
            stretch.pairs += 1
            stretch.repeats += self._previous == host
        self._previous = host
        self._count_chunk(host)
        before = self._on.pop(sample.connection, None)
        if before is not None:
            (stretch.stays if before == host else stretch.switches)[before] += 1
        else:
            stretch.connections[host] += 1
        if self.keeping:
            self._on[sample.connection] = host
            if len(self._on) > CONNECTIONS_KEPT:
                del self._on[next(iter(self._on))]

    def _count_chunk(self, host: str) -> None:
        chunks = self.stretch.chunks
        if chunks[-1].total() == self._chunk:
            if len(chunks) == CHUNKS:
                chunks[:] = [one + other for one, other in zip(chunks[::2], chunks[1::2], strict=True)]
                self._chunk *= 2
            if self._shares_changed():
                self._begin("the shares changed")
                return
            chunks.append(Counter())
        chunks[-1][host] += 1

    def _shares_changed(self) -> bool:
        """Is there a moment before and after which they differ, by a chi-square test?"""
        before, after = Counter[str](), self.stretch.counts.copy()
        for chunk in self.stretch.chunks[:-1]:
            before += chunk
            after -= chunk
            rows = [[side[host] for host in self.members] for side in (before, after)]
            if min(map(min, rows)) < CELL:
                continue
            if chi_square_chance(*chi_square_alike(rows)) < CHANGED:
                return True
        return False
