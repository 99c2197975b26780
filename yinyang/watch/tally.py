"""What happened so far, counted: replicas, failures, the pace, gaps and latencies. Its size does not grow with time."""

import math
from collections import Counter, deque
from dataclasses import dataclass, field

from yinyang.watch.evidence import Evidence
from yinyang.watch.sample import Replica, Sample

STEP = 1.02  # the ratio of neighbouring latencies that are told apart
PACE = 5  # seconds over which the present pace is measured


class Latencies:
    """Quantiles of times, to 1 %."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def note(self, seconds: float) -> None:
        """Count one."""
        self._counts[round(math.log(max(seconds, 1e-6), STEP))] += 1

    def quantile(self, part: float) -> float | None:
        """The time within which this part of all was done, in seconds; None if there is none."""
        rank = math.ceil(part * self._counts.total())
        for step in sorted(self._counts):
            rank -= self._counts[step]
            if rank <= 0:
                return STEP**step
        return None


class Gaps:
    """Times without an answer around failures: from the last answer before one to the first after it.

    The beginning counts as an answer, so that a gap there has a beginning too. Gaps are known to one interval of
    requests.
    """

    def __init__(self, begin: float) -> None:
        self._answered = begin
        self._failing = False
        self._longest: float | None = None
        self._latest: float | None = None

    def note(self, now: float, answered: bool) -> None:
        """A request was answered, or failed."""
        if not answered:
            self._failing = True
            return
        if self._failing:
            self._latest = now - self._answered
            self._longest = max(self._latest, self._longest or 0.0)
        self._answered, self._failing = now, False

    def latest(self, now: float) -> float | None:
        """In seconds; one that lasts still counts until now."""
        return now - self._answered if self._failing else self._latest

    def longest(self, now: float) -> float | None:
        """The same of the longest."""
        latest = self.latest(now)
        return latest if latest is None else max(latest, self._longest or 0.0)


@dataclass
class Row:
    """A replica, and what it answered."""

    replica: Replica
    last: float  # seconds, on the clock of samples
    answers: int = 0
    drawn: int = 0  # answers that no cookie led to it


@dataclass
class Failure:
    """A kind of failure."""

    last: float
    count: int = 0


@dataclass
class Tally:
    """All that is counted, from `begin`, in seconds on the clock of samples."""

    begin: float
    keeping: bool = False
    samples: int = 0
    rows: dict[str, Row] = field(default_factory=dict)  # by host, in order of their first answers
    failures: dict[str, Failure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.gaps = Gaps(self.begin)
        self.latencies = Latencies()
        self.evidence = Evidence(self.keeping)
        self._ends: deque[list[int]] = deque(maxlen=PACE + 1)  # second, and samples that ended in it

    @property
    def answers(self) -> int:
        """Requests that were answered."""
        return sum(row.answers for row in self.rows.values())

    @property
    def errors(self) -> int:
        """Requests that failed."""
        return self.samples - self.answers

    def note(self, sample: Sample) -> None:
        """Count one."""
        self.samples += 1
        second = int(sample.end - self.begin)
        if not self._ends or self._ends[-1][0] != second:
            self._ends.append([second, 0])
        self._ends[-1][1] += 1
        self.gaps.note(sample.end, sample.replica is not None)
        self.evidence.note(sample)
        if sample.replica is None:
            failure = self.failures.setdefault(sample.failure, Failure(sample.end))
            failure.count, failure.last = failure.count + 1, sample.end
            return
        self.latencies.note(sample.end - sample.start)
        row = self.rows.setdefault(sample.replica.host, Row(sample.replica, sample.end))
        row.replica, row.last = sample.replica, sample.end
        row.answers += 1
        row.drawn += sample.cookie_of is None

    def share(self, row: Row) -> float:
        """A replica's part of all answers that no cookie led anywhere, from 0 to 1."""
        drawn = sum(other.drawn for other in self.rows.values())
        return row.drawn / drawn if drawn else 0.0

    def pace(self, now: float) -> float:
        """Requests per second that ended in the last seconds."""
        passed = now - self.begin
        whole = int(passed)
        if whole < 1:
            return self.samples / passed if passed > 0 else 0.0
        counted = sum(count for second, count in self._ends if whole - PACE <= second < whole)
        return counted / min(PACE, whole)

    def rate(self, now: float) -> float:
        """Requests per second, since the beginning."""
        return self.samples / (now - self.begin) if now > self.begin else 0.0
