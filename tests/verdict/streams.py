"""Streams of samples, as balancers make them, and what the core says of them; also as the vectors for all
implementations.

python tests/verdict/streams.py    # writes tests/vectors/verdicts.json anew
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from yinyang import _core

VECTORS = Path(__file__).parents[1] / "vectors/verdicts.json"
TIES = (None, "cookie", "connection")
NAMES = [f"web-{number + 1}" for number in range(256)]
INTERVAL = 100  # ms between samples, in the mean


class Sample(NamedTuple):
    """See docs/verdict.md."""

    at: int
    source: int | None
    failure: str | int | None = None
    tie: str | None = None
    owner: int | None = None
    started: int | None = None


class Look(NamedTuple):
    """What is asked after so many samples, and what is said."""

    after: int
    now: int
    waiting: int = 0
    waiting_since: int = 0
    kind: str = ""
    headline: str = ""
    detail: str = ""


class Core:
    """The verdict of the core, asked as a stream goes on."""

    def __init__(self) -> None:
        self.evidence = _core.Evidence()

    def add(self, sample: Sample) -> None:
        at, source, failure, tie, owner, started = sample
        self.evidence.add(
            at,
            -1 if source is None else source,
            -1 if failure is None else failure if isinstance(failure, int) else _core.failure_kinds.index(failure),
            TIES.index(tie),
            -1 if owner is None else owner,
            started or 0,
        )

    def look(self, after: int, now: int, waiting: int = 0, waiting_since: int = 0) -> Look:
        found = self.evidence.verdict(now, NAMES, waiting, waiting_since)
        return Look(after, now, waiting, waiting_since, found["kind"], found["headline"], found["detail"])


def judge(stream: Sequence[Sample], looks: Sequence[Look]) -> list[Look]:
    """What the core says at these looks."""
    core, found, added = Core(), [], 0
    for look in looks:
        for sample in stream[added : look.after]:
            core.add(sample)
        added = look.after
        found.append(core.look(*look[:4]))
    return found


def each(stream: Sequence[Sample], step: int) -> list[Look]:
    """A look after each `step` samples, a little later."""
    return [Look(after, stream[after - 1].at + after % 7 * 10) for after in range(step, len(stream) + 1, step)]


# ---- balancers ----------------------------------------------------------------------------------------------------


def times(draw: random.Random, start: int = 1_000_000) -> Iterator[int]:
    """When samples end, at random."""
    at = float(start)
    while True:
        at += draw.expovariate(1 / INTERVAL)
        yield int(at)


def in_turn(order: Sequence[int], number: int, seed: int = 0) -> list[Sample]:
    clock = times(random.Random(seed))
    return [Sample(next(clock), order[place % len(order)]) for place in range(number)]


def drawn(weights: Sequence[float], number: int, seed: int) -> list[Sample]:
    draw = random.Random(seed)
    clock = times(draw)
    return [Sample(next(clock), source) for source in draw.choices(range(len(weights)), weights, k=number)]


def with_ties(tie: str, number: int, seed: int, replicas: int = 3, kept: float = 1.0) -> list[Sample]:
    """Every other sample carries what leads it to the replica of the one before that did, mostly."""
    draw = random.Random(seed)
    clock = times(draw)
    owner: int | None = None
    stream = []
    for _ in range(number):
        source = draw.randrange(replicas)
        if draw.random() < 0.5:
            stream.append(Sample(next(clock), source))
            continue
        if owner is not None and draw.random() < kept:
            source = owner
        stream.append(Sample(next(clock), source, None, tie, owner))
        owner = source
    return stream


def on_connections(connections: int, number: int, seed: int, replicas: int = 3, kept: bool = True) -> list[Sample]:
    """Each sample uses one of so many connections; if they are kept, each leads to the replica that it was made to."""
    draw = random.Random(seed)
    clock = times(draw)
    owners: dict[int, int] = {}
    stream = []
    for _ in range(number):
        connection = draw.randrange(connections)
        owner = owners.get(connection)
        source = owner if kept and owner is not None else draw.randrange(replicas)
        owners[connection] = source
        stream.append(Sample(next(clock), source, None, None if owner is None else "connection", owner))
    return stream


def after(stream: Sequence[Sample], *others: Callable[[int, int], Sample]) -> list[Sample]:
    """The stream, and behind it what each function makes of (time, number) for 60 samples."""
    made = list(stream)
    draw = random.Random(len(stream))
    for other in others:
        clock = times(draw, made[-1].at)
        made += [other(next(clock), place) for place in range(60)]
    return made


def scenes() -> dict[str, list[Sample]]:
    """What happens at demonstrations, by name."""
    three = in_turn([0, 1, 2], 60)
    return {
        "three in turn": three,
        "ten in turn": in_turn(range(10), 90),
        "two hundred in turn, of which one is killed": [
            Sample(at, None, 503) if place >= 650 and source == 7 else Sample(at, source)
            for place, (at, source, *_) in enumerate(in_turn(range(200), 1200))
        ],
        "a canary in turn": in_turn([0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 120),
        "three by lot": drawn([1, 1, 1], 1000, 3),
        "two by lot": drawn([1, 1], 400, 3),
        "a canary by lot": drawn([9, 1], 700, 7),
        "five of different weights": drawn([5, 1, 1, 1, 1], 400, 8),
        "one": in_turn([0], 160),
        "twenty by lot": drawn([1] * 20, 400, 4),
        "a rare one": drawn([40, 1], 200, 6),
        "in runs": in_turn([0] * 6 + [1] * 6 + [0] * 5 + [1] * 7, 200),
        "a cookie": with_ties("cookie", 120, 1),
        "a cookie that leads nowhere": with_ties("cookie", 300, 2, kept=0),
        "connections": with_ties("connection", 120, 3),
        "eight connections": on_connections(8, 120, 4),
        "one is killed, without health checks": after(
            three,
            lambda at, place: Sample(at, None, "timed out") if place % 3 == 1 else Sample(at, place % 3),
            lambda at, place: Sample(at, place % 3, started=5 if place % 3 == 1 else None),
        ),
        "one is refused, then ejected": after(
            three,
            lambda at, place: Sample(at, None, 503) if place < 6 and place % 3 == 1 else Sample(at, place % 3 and 2),
        ),
        "one answers 500": after(
            three,
            lambda at, place: Sample(at, place % 3, 500 if place % 3 == 2 else None),
            lambda at, place: Sample(at, place % 3),
        ),
        "one never answers": [Sample(100 * place, place % 2, 503 if place % 2 else None) for place in range(60)],
        "a quarter of all fails": after(
            drawn([1, 1], 100, 9), lambda at, place: Sample(at, place % 2, 502 if place % 4 == 3 else None)
        ),
        "all are down, and back": after(
            three, lambda at, _: Sample(at, None, "refused"), lambda at, place: Sample(at, place % 3)
        ),
        "never an answer": [Sample(1000 * place, None, "no connection") for place in range(8)],
        "a rolling deploy": after(
            three,
            lambda at, place: Sample(at, [3, 1, 2][place % 3]),
            lambda at, place: Sample(at, [3, 4, 2][place % 3]),
            lambda at, place: Sample(at, [3, 4, 5][place % 3]),
        ),
        "one restarts": after(
            [sample._replace(started=1) for sample in three],
            lambda at, place: Sample(at, place % 3, started=2 if place % 3 == 0 else 1),
        ),
        "a failure that is no longer kept": [
            Sample(2 * place, None, 503)
            if place == 1000
            else Sample(2 * place, 2 if place in range(50, 1250, 100) else place * 7 % 11 % 2)
            for place in range(3100)
        ],
        "one restarts again and again": [
            Sample(100 * place, place % 3, started=1 + place // 10 * (place % 3 == 0)) for place in range(90)
        ],
        "weights change": [
            *drawn([9, 1], 300, 11),
            *(sample._replace(at=sample.at + 60_000) for sample in drawn([1, 1], 300, 12)),
        ],
        "one a second, and one in three is dead": [
            Sample(1000 * place, place % 3) if place < 30 or place % 3 else Sample(1000 * place, None, "timed out")
            for place in range(90)
        ],
    }


class Cluster:
    """Replicas that come, go, restart, fail and recover, in any order, behind some balancer."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.way = draw.choice(["turns", "lot", "weights", "cookie", "connection", "runs"])
        self.alive = list(range(draw.choice([1, 2, 2, 3, 3, 4, 5, 8, 20])))
        self.next = len(self.alive)
        self.weights = [draw.random() + 0.05 for _ in NAMES]
        self.started: dict[int, int] = {}
        self.owner: int | None = None
        self.failing: int | None = None  # None: all
        self.failure: str | int | None = None
        self.failure_is_attributed = False

    def change(self, at: int) -> None:
        """Something happens."""
        draw = self.draw
        event = draw.choice(["kill", "add", "restart", "fail", "heal", "down", "shift"])
        if event == "kill" and len(self.alive) > 1:
            self.alive.remove(draw.choice(self.alive))
        elif event == "add" and self.next < 64:
            self.alive.append(self.next)
            self.next += 1
        elif event == "restart":
            self.started[draw.choice(self.alive)] = at
        elif event == "shift":
            draw.shuffle(self.weights)
        else:
            self.failing = draw.choice(self.alive) if event == "fail" else None
            self.failure = None if event == "heal" else draw.choice(["timed out", "refused", 500, 503])
            self.failure_is_attributed = event == "fail" and draw.random() < 0.5

    def choose(self, place: int) -> int:
        if self.way == "turns":
            return self.alive[place % len(self.alive)]
        if self.way == "runs":
            return self.alive[place // 7 % len(self.alive)]
        weights = [self.weights[one] if self.way == "weights" else 1 for one in self.alive]
        return self.draw.choices(self.alive, weights)[0]

    def sample(self, at: int, place: int) -> Sample:
        source = self.choose(place)
        tie = self.way if self.way in TIES and self.draw.random() < 0.5 else None
        owner = self.owner if tie else None
        if owner in self.alive and self.draw.random() < 0.995:
            source = owner
        if tie:
            self.owner = source
        if self.failure is None or self.failing not in (None, source):
            return Sample(at, source, None, tie, owner, self.started.get(source))
        if self.failure_is_attributed:
            return Sample(at, source, self.failure, tie, owner)
        return Sample(at, None, self.failure)


def random_stream(seed: int) -> list[Sample]:
    """Whatever may happen."""
    draw = random.Random(seed)
    cluster = Cluster(draw)
    stream = []
    for place, at in zip(range(draw.choice([60, 200, 600])), times(draw), strict=False):
        if draw.random() < 0.01:
            cluster.change(at)
        stream.append(cluster.sample(at, place))
    return stream


# ---- vectors ------------------------------------------------------------------------------------------------------


def read_vectors() -> dict[str, tuple[list[Sample], list[Look]]]:
    return {
        name: ([Sample(*sample) for sample in scene["samples"]], [Look(*look) for look in scene["looks"]])
        for name, scene in json.loads(VECTORS.read_text()).items()
    }


def write_vectors() -> None:
    """A line for each scene's samples, and one for each look."""
    lines = []
    for name, stream in scenes().items():
        looks = each(stream, max(10, len(stream) // 12))
        last = stream[-1].at
        looks += [Look(len(stream), last + 2000, 3, last - 1000), Look(len(stream), last + 9000)]
        samples = json.dumps([_shortened(sample) for sample in stream], separators=(",", ":"))
        said = ",\n".join(json.dumps(look) for look in judge(stream, looks))
        lines.append(f'{json.dumps(name)}: {{"samples": {samples},\n"looks": [\n{said}\n]}}')
    VECTORS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _shortened(sample: Sample) -> list[object]:
    """Without what is missing at the end."""
    values: list[object] = list(sample)
    while len(values) > 2 and values[-1] is None:
        values.pop()
    return values


if __name__ == "__main__":
    write_vectors()
