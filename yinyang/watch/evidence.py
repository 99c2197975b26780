"""What the answers show about the balancing, kept up to date with each answer.

Shares mean something only while the same replicas are there. So the answers are divided into segments: a new one begins
when a replica answers for the first time, or again after it was gone, or is gone, or when the shares have changed.
Where a segment begins depends only on the answers before it, so that answers within it are still independent.

Memory grows with the number of replicas, not with the number of answers.
"""

from collections import Counter
from dataclasses import dataclass, field

from yinyang.watch.sample import Sample
from yinyang.watch.statistics import chi_square_of_same_shares, chi_square_p_value, silence_probability

GONE_PROBABILITY = 1e-6  # a replica is gone if a silence as long as its own is less likely than this
SILENT_PROBABILITY = 1e-3  # ... and might be gone if it is less likely than this
CHANGE_P_VALUE = 1e-6  # the shares before and after a moment differ if the p-value is less than this
MIN_CELL_COUNT = 5  # answers of each replica, before and after such a moment
MAX_CHUNKS = 16  # of a segment, to compare them; when there are more, each two become one
FIRST_CHUNK_SIZE = 16  # answers
MAX_CONNECTIONS = 4096  # whose last replica is remembered


@dataclass
class ActiveReplica:
    """A replica that is there, by its answers to requests without a cookie.

    first, last: the numbers of its first and its latest answer, among the answers of all replicas.
    """

    first: int
    last: int
    answers: int = 1

    def silence_probability(self, now: int) -> float:
        """How likely it would be silent for so long, if it were there; `now` is the number of the latest answer."""
        return silence_probability(self.answers, now - self.first + 1, now - self.last)


@dataclass
class Segment:
    """Answers during which the same replicas were there.

    counts: answers of each replica, by host; those to requests with a cookie do not count.
    chunks: the same, in order of time.
    connections: connections whose first answer was by this replica.
    stays, switches: pairs of answers in a row on one connection, by the replica that gave the first one: the second
        was by the same replica, or by another.
    repeats, pairs: pairs of answers in a row on any connection: those by the same replica, and all.
    cookie_hits, cookie_misses: answers to requests with a cookie, by the replica that had set it: from this replica,
        or from another.
    cookie_names: how often cookies of this name were sent.
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
    """The replicas that are there, and the current segment.

    keep_alive: whether connections are used for several requests.
    active: replicas that are there, by host.
    change: what began the current segment, in words; empty if that was the first answer of a replica.
    """

    def __init__(self, keep_alive: bool = False) -> None:
        self.keep_alive = keep_alive
        self.active: dict[str, ActiveReplica] = {}
        self.change = ""
        self.segment = Segment()
        self._now = 0  # number of the latest answer
        self._previous_host: str | None = None
        self._chunk_size = FIRST_CHUNK_SIZE
        self._host_of_connection: dict[int, str] = {}  # that answered last on it, in this segment
        self._gone: set[str] = set()

    def add(self, sample: Sample) -> None:
        """Take a sample into account; a failure says nothing about shares."""
        if sample.replica is None:
            return
        host = sample.replica.host
        if sample.cookie_of is not None:
            self._add_cookie(sample.cookie_of, host, sample.cookies)
            return
        self._now += 1
        if host not in self.active:
            self._add_replica(host)
        else:
            replica = self.active[host]
            replica.answers, replica.last = replica.answers + 1, self._now
            self._count(host, sample)
        for gone in self._hosts_silent_beyond(GONE_PROBABILITY):
            self._remove_replica(gone)

    def silent_hosts(self) -> list[str]:
        """Replicas that have been silent for so long that they might be gone."""
        return self._hosts_silent_beyond(SILENT_PROBABILITY)

    def is_silent(self, host: str) -> bool:
        """Whether this replica is gone, or might be."""
        replica = self.active.get(host)
        return replica is None or replica.silence_probability(self._now) < SILENT_PROBABILITY

    def _hosts_silent_beyond(self, probability: float) -> list[str]:
        return [host for host, replica in self.active.items() if replica.silence_probability(self._now) < probability]

    def _add_replica(self, host: str) -> None:
        is_back = host in self._gone
        self._gone.discard(host)
        self._begin_segment(f"{host} came back" if is_back else "")
        self.active[host] = ActiveReplica(self._now, self._now)

    def _remove_replica(self, host: str) -> None:
        del self.active[host]
        self._gone.add(host)
        self._begin_segment(f"{host} went")

    def _begin_segment(self, change: str) -> None:
        self.segment, self.change = Segment(), change
        self._previous_host, self._chunk_size = None, FIRST_CHUNK_SIZE
        self._host_of_connection.clear()

    def _add_cookie(self, owner: str, host: str, names: tuple[str, ...]) -> None:
        if owner in self.active:
            answers = self.segment.cookie_hits if owner == host else self.segment.cookie_misses
            answers[owner] += 1
            self.segment.cookie_names.update(names)

    def _count(self, host: str, sample: Sample) -> None:
        segment = self.segment
        segment.counts[host] += 1
        if self._previous_host is not None:
            segment.pairs += 1
            segment.repeats += self._previous_host == host
        self._previous_host = host
        self._count_in_chunk(host)
        before = self._host_of_connection.pop(sample.connection, None)
        if before is not None:
            (segment.stays if before == host else segment.switches)[before] += 1
        else:
            segment.connections[host] += 1
        if self.keep_alive:
            self._host_of_connection[sample.connection] = host
            if len(self._host_of_connection) > MAX_CONNECTIONS:
                del self._host_of_connection[next(iter(self._host_of_connection))]

    def _count_in_chunk(self, host: str) -> None:
        chunks = self.segment.chunks
        if chunks[-1].total() == self._chunk_size:
            if len(chunks) == MAX_CHUNKS:
                chunks[:] = [one + other for one, other in zip(chunks[::2], chunks[1::2], strict=True)]
                self._chunk_size *= 2
            if self._shares_changed():
                self._begin_segment("the shares changed")
                return
            chunks.append(Counter())
        chunks[-1][host] += 1

    def _shares_changed(self) -> bool:
        """Whether there is a moment at which they changed, by a chi-square test of the answers before and after it."""
        before, after = Counter[str](), self.segment.counts.copy()
        for chunk in self.segment.chunks[:-1]:
            before += chunk
            after -= chunk
            rows = [[counts[host] for host in self.active] for counts in (before, after)]
            if min(map(min, rows)) < MIN_CELL_COUNT:
                continue
            if chi_square_p_value(*chi_square_of_same_shares(rows)) < CHANGE_P_VALUE:
                return True
        return False
