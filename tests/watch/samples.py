"""Samples of which it is known how a balancer chose, and the verdicts on them."""

import random
from collections.abc import Callable, Iterable, Sequence

from hypothesis import settings

from yinyang.watch.evidence import Evidence
from yinyang.watch.sample import DEFAULT_COLOURS, Replica, Sample
from yinyang.watch.verdict import Verdict, judge

SEEDS = range(100)
QUICK = settings(max_examples=50, deadline=None, derandomize=True)


def answer(host: str, connection: int = 0, cookie_of: str | None = None) -> Sample:
    """One by this replica."""
    replica = Replica(host, host, None, DEFAULT_COLOURS)
    return Sample(0, 0, replica, connection=connection, cookie_of=cookie_of, cookies=("SRV",) if cookie_of else ())


def verdicts_of(answers: Iterable[Sample], keep_alive: bool = False, look: int = 10) -> list[Verdict]:
    """The verdicts, one after each `look` answers."""
    evidence, seen = Evidence(keep_alive), []
    for number, one in enumerate(answers, 1):
        evidence.add(one)
        if number % look == 0:
            seen.append(judge(evidence))
    return seen


def drawn(weights: list[int], seed: int, number: int = 300) -> list[Sample]:
    """Answers of replicas drawn at random."""
    chosen = random.Random(seed).choices(range(len(weights)), weights, k=number)
    return [answer(f"web-{choice}", number) for number, choice in enumerate(chosen)]


def in_turn(order: Sequence[str], number: int) -> list[Sample]:
    """Answers of replicas in this order, again and again."""
    return [answer(order[place % len(order)], place) for place in range(number)]


def judge_all(answers: Iterable[Sample], keep_alive: bool = False) -> Verdict:
    """The verdict at the end."""
    evidence = Evidence(keep_alive)
    for one in answers:
        evidence.add(one)
    return judge(evidence)


def on_connections(host_of: Callable[[int, int], str], seed: int, number: int) -> list[Sample]:
    """Eight connections, used at random; the replica may depend on the connection and on the number of the answer."""
    draw = random.Random(seed)
    used = [draw.randrange(8) for _ in range(number)]
    return [answer(host_of(connection, place), connection) for place, connection in enumerate(used)]


def with_cookies(hit: Callable[[str], str], number: int) -> list[Sample]:
    """A rotation, and every fifth answer carries a cookie of one of its replicas."""
    found = in_turn("abc", number)
    for place in range(0, number, 5):
        found.insert(place, answer(hit("abc"[place % 3]), cookie_of="abc"[place % 3]))
    return found
