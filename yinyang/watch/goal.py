"""Notices when a group has the share of the latest answers that the watch waits for, such as a new version."""

from collections import deque

from yinyang.watch.groups import By, is_named
from yinyang.watch.sample import Sample
from yinyang.watch.share_texts import LeastShare

WINDOW = 20.0  # seconds, of the latest answers
MIN_ANSWERS = 20  # in that time, to judge a share


class Goal:
    """A group's share of the latest answers to requests without a cookie, and when it was large enough.

    reached: the moment on the clock of samples, in seconds; None if that has not been yet.
    """

    def __init__(self, wanted: LeastShare, by: By) -> None:
        self.wanted = wanted
        self.reached: float | None = None
        self._by = by
        self._answers: deque[tuple[float, bool]] = deque()  # when, and whether by this group
        self._hits = 0

    @property
    def answers(self) -> int:
        """The number of the latest answers."""
        return len(self._answers)

    @property
    def share(self) -> float:
        """The group's share of the latest answers, from 0 to 1; 0 if there is none."""
        return self._hits / len(self._answers) if self._answers else 0.0

    def add(self, sample: Sample) -> None:
        """Take a sample into account, until the share is reached."""
        if self.reached is not None or sample.replica is None or sample.cookie_of is not None:
            return
        is_hit = is_named(sample.replica, self._by, self.wanted.name)
        self._answers.append((sample.end, is_hit))
        self._hits += is_hit
        while self._answers[0][0] < sample.end - WINDOW:
            self._hits -= self._answers.popleft()[1]
        if self.answers >= MIN_ANSWERS and self.share >= self.wanted.share:
            self.reached = sample.end
