"""What happened so far, counted: replicas and groups of them, failures, request rates, gaps and latencies.

Memory does not grow with time.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from yinyang.watch.groups import By, group_of
from yinyang.watch.sample import Replica, Sample
from yinyang.watch.verdict import Evidence, Verdict

BUCKET_RATIO = 1.02  # of the bounds of a bucket of latencies
MIN_LATENCY = 1e-6  # seconds
MIN_ABSENCE = 20  # seconds that a group was silent, to say that it came back
MAX_Z_SCORE = 4  # standard deviations of a number of requests
RATE_WINDOW = 5  # seconds over which the current rate is measured


class LatencyHistogram:
    """Counts latencies in buckets that grow exponentially, so that quantiles are right to 1 %.

    total: the sum of all, in seconds.
    """

    def __init__(self) -> None:
        self.total = 0.0
        self._counts: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one latency."""
        self.total += seconds
        self._counts[round(math.log(max(seconds, MIN_LATENCY), BUCKET_RATIO))] += 1

    def count_up_to(self, seconds: float) -> int:
        """How many latencies were at most as long as this, right to 1 % of the time."""
        return sum(count for bucket, count in self._counts.items() if BUCKET_RATIO**bucket <= seconds)

    def quantile(self, part: float) -> float | None:
        """The latency in seconds that this part (0 to 1) of all did not exceed; None if there is none."""
        rank = math.ceil(part * self._counts.total())
        for bucket in sorted(self._counts):
            rank -= self._counts[bucket]
            if rank <= 0:
                return BUCKET_RATIO**bucket
        return None


class Gaps:
    """Times without an answer around failures: each from the last answer before one to the first answer after it.

    The beginning counts as an answer, so that a gap there has a beginning too. All times are in seconds on the clock of
    samples. A gap is as precise as the interval between requests.
    """

    def __init__(self, begin: float) -> None:
        self._last_answer = begin
        self._failing = False
        self._longest: float | None = None
        self._latest: float | None = None

    def add(self, now: float, answered: bool) -> None:
        """A request was answered, or failed; a little earlier than the one before, at times."""
        if not answered:
            self._failing = True
            return
        if self._failing:
            self._latest = max(0.0, now - self._last_answer)
            self._longest = max(self._latest, self._longest or 0.0)
        self._last_answer, self._failing = max(now, self._last_answer), False

    def latest(self, now: float) -> float | None:
        """The length of the latest gap, which may last until now; None if there was none."""
        return now - self._last_answer if self._failing else self._latest

    def longest(self, now: float) -> float | None:
        """The length of the longest gap, which may last until now; None if there was none."""
        latest = self.latest(now)
        return latest if latest is None else max(latest, self._longest or 0.0)


@dataclass
class AnswerMetrics:
    """The answers of a replica or of a group of them.

    first, last: when it first and last answered, in seconds on the clock of samples.
    answers: all of them.
    answers_without_cookie: those to requests without a cookie, which show how the balancer chooses.
    """

    first: float
    last: float = 0.0
    answers: int = 0
    answers_without_cookie: int = 0

    def add(self, sample: Sample) -> None:
        """Count an answer."""
        self.last = sample.end
        self.answers += 1
        self.answers_without_cookie += sample.cookie_of is None


@dataclass(kw_only=True)
class ReplicaMetrics(AnswerMetrics):
    """A replica, as it described itself last, and its answers."""

    replica: Replica


@dataclass(kw_only=True)
class GroupMetrics(AnswerMetrics):
    """A group of replicas, and its answers.

    name: that of the group.
    replicas: those that were in the group when they last answered, by host.
    failures: answers of its replicas that were failures, as far as they said whose they were.
    last_failure: when the latest of these came, in seconds on the clock of samples.
    """

    name: str
    replicas: dict[str, Replica] = field(default_factory=dict)
    failures: int = 0
    last_failure: float = -math.inf


@dataclass
class FailureMetrics:
    """A kind of failure; `last` in seconds on the clock of samples."""

    last: float
    count: int = 0


@dataclass
class Metrics:
    """All that is counted.

    begin: seconds on the clock of samples.
    by: what the groups of replicas have in common.
    asked_rate: requests per second that were asked for; 0 if that is unknown.
    replicas: by host, in order of their first answers.
    groups: the groups of replicas by name, in order of their first answers.
    present: answers to requests without a cookie, by group, since the latest group came or came back.
    answers_by_version: by host, and by the version that it had then, or an empty text.
    failures: by name.
    waits: when each request that is under way began, in seconds on the clock of samples.
    """

    begin: float
    asked_rate: float = 0.0
    by: By = "replica"
    samples: int = 0
    replicas: dict[str, ReplicaMetrics] = field(default_factory=dict)
    groups: dict[str, GroupMetrics] = field(default_factory=dict)
    present: Counter[str] = field(default_factory=Counter)
    answers_by_version: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: dict[str, FailureMetrics] = field(default_factory=dict)
    waits: dict[object, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.gaps = Gaps(self.begin)
        self.latencies = LatencyHistogram()
        self._evidence_by_host = Evidence()
        self._evidence = self._evidence_by_host if self.by == "replica" else Evidence(self.by)
        self._samples_by_second: deque[list[int]] = deque(maxlen=RATE_WINDOW + 1)  # second, samples that ended in it

    @property
    def answers(self) -> int:
        """The number of requests that were answered."""
        return sum(replica.answers for replica in self.replicas.values())

    @property
    def answers_without_cookie(self) -> int:
        """The number of requests without a cookie that were answered, which shares are of."""
        return sum(replica.answers_without_cookie for replica in self.replicas.values())

    @property
    def errors(self) -> int:
        """The number of requests that failed."""
        return self.samples - self.answers

    def add(self, sample: Sample) -> None:
        """Count one sample."""
        self.samples += 1
        self._add_to_second(int(sample.end - self.begin))
        self.gaps.add(sample.end, sample.replica is not None)
        if sample.replica:
            self._add_answer(sample, sample.replica)
        else:
            self._add_failure(sample)
        self._evidence_by_host.add(sample)
        if self._evidence is not self._evidence_by_host:
            self._evidence.add(sample)

    def share(self, counted: AnswerMetrics) -> float:
        """The share of a replica or group in all answers to requests without a cookie, from 0 to 1."""
        total = self.answers_without_cookie
        return counted.answers_without_cookie / total if total else 0.0

    def is_silent(self, hosts: Iterable[str]) -> bool:
        """Whether all of these replicas are gone, or might be."""
        return all(self._evidence_by_host.is_silent(host) for host in hosts)

    def verdict(self, now: float) -> Verdict:
        """The verdict on the balancing at a moment, in seconds on the clock of samples."""
        return self._evidence.verdict(now, self.display_names(), self.waits)

    def display_names(self) -> dict[str, str]:
        """What to call each group, by name: a replica by its short name if no other replica has the same one."""
        if self.by != "replica":
            return {name: name for name in self.groups}
        replicas = [replica.replica for replica in self.replicas.values()]
        uses = Counter(replica.short for replica in replicas)
        return {replica.host: replica.short if uses[replica.short] == 1 else replica.host for replica in replicas}

    def _add_answer(self, sample: Sample, described: Replica) -> None:
        host, name = described.host, group_of(described, self.by)
        self.latencies.add(sample.end - sample.start)
        group = self.groups.get(name)
        if group is None or (sample.end - group.last > MIN_ABSENCE and self.is_silent(group.replicas)):
            self.present.clear()
        self.present[name] += sample.cookie_of is None
        group = self.groups.setdefault(name, GroupMetrics(sample.end, name=name))
        replica = self.replicas.setdefault(host, ReplicaMetrics(sample.end, replica=described))
        if (former := group_of(replica.replica, self.by)) != name:
            self.groups[former].replicas.pop(host)
        replica.replica = group.replicas[host] = described
        replica.add(sample)
        self.answers_by_version[host, described.version or ""] += 1
        group.add(sample)

    def _add_failure(self, sample: Sample) -> None:
        failure = self.failures.setdefault(sample.failure, FailureMetrics(sample.end))
        failure.count, failure.last = failure.count + 1, sample.end
        if replica := self.replicas.get(sample.served_by):
            group = self.groups[group_of(replica.replica, self.by)]
            group.failures, group.last_failure = group.failures + 1, sample.end

    def current_rate(self, now: float) -> float:
        """Requests per second that ended in the last 5 seconds."""
        passed = now - self.begin
        whole = int(passed)
        if whole < 1:
            return self.samples / passed if passed > 0 else 0.0
        recent = sum(count for second, count in self._samples_by_second if whole - RATE_WINDOW <= second < whole)
        return recent / min(RATE_WINDOW, whole)

    def average_rate(self, now: float) -> float:
        """Requests per second since the beginning."""
        return self.samples / (now - self.begin) if now > self.begin else 0.0

    def is_slow(self, now: float) -> bool:
        """Whether requests were sent more slowly than asked for, by more than a tenth and than chance explains."""
        expected = self.asked_rate * (now - self.begin)
        return self.samples < 0.9 * expected - MAX_Z_SCORE * math.sqrt(expected)

    def _add_to_second(self, second: int) -> None:
        if not self._samples_by_second or self._samples_by_second[-1][0] != second:
            self._samples_by_second.append([second, 0])
        self._samples_by_second[-1][1] += 1
