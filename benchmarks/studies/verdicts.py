"""Whether verdicts are right: balancers are simulated, and what is said of them is compared with what is true.

    python -m benchmarks.studies.verdicts [--streams 50] [--only round] [--seed 1]

Prints tables in Markdown. A stream is a run of a simulated balancer, whose answers are given to `Evidence`, of
`yinyang._core`, at random times, 100 ms apart in the mean. There is a look at the verdict after each five samples. The
same seed gives the same figures.

A claim is a verdict that would be wrong of another balancer: "even" (wrong unless each true share is within 30 % of an
equal one), "weighted" (unless each true share is between its bounds), "turns" (unless there is a rotation and its
shares are exact), "one" (unless it gets 90 %), "runs", "sticky", "down", and "changed" (unless that source has come,
returned, restarted or gone). "So far", "early", "shifting", "silent" and "failing" claim nothing.

wrong           Streams with a wrong claim at any look; then such looks, of all; then what was claimed, in how many
                streams.
stale           A claim that was true before the latest change, or about shares that lie between what was true and what
                is true now, is not wrong but stale. Of all changes, the number of samples from the change to the last
                look with one: the median, and the 95th percentile.
shifting        Looks that say so.
right           Samples until the right word is said for the first time, since the beginning or since the last event:
                the median, and the 95th percentile; "never" where it is not.
best            What no method can beat on average. For tests, it is Wald's bound on sequential ones, log(1 / error)
                divided by KL: the error is that of claims, 1 %, and KL (of Kullback and Leibler) is by how much each
                answer favours what is true over the nearest of what is not, as the mean logarithm of the ratio of their
                likelihoods. What is nearest depends on the word: for "even", one share that is off by 30 %; for
                "weighted", equal shares, or a share that is off by the largest margin that is claimed, whichever is
                nearer; for "one", another source with 10 %. For rotations, it is two turns: after one, nothing has been
                repeated. For equal sources that take turns with exceptions, it is that of random ones.
promise         The samples that it took until "even", divided by what the first "even so far" promised; the median.
"""

import argparse
import functools
import heapq
import itertools
import math
import multiprocessing
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from benchmarks.lib.figures import row
from yinyang import _core

INTERVAL = 100.0  # ms between samples, in the mean
SAMPLES_PER_LOOK = 5
EVENT_AT = 60_000.0  # ms
ERROR, EVEN_TOLERANCE, UNNOTICED_SHARE, MAX_MARGIN = 0.01, 0.3, 0.1, 0.15  # as in csrc/verdict.h
TIMED_OUT, REFUSED = (_core.failure_kinds.index(kind) for kind in ("timed out", "refused"))
COOKIE, CONNECTION = 1, 2
NAMES = [f"s{number}" for number in range(64)]

Weights = Mapping[int, float]  # by source; or shares
Found = Mapping[str, Any]  # a verdict


# ---- balancers ----------------------------------------------------------------------------------------------------


class Rule(Protocol):
    def choose(self, at: float, weights: Weights) -> tuple[int, float]:
        """The source that gets a request, and the ms that its answer takes."""


class Random:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def choose(self, at: float, weights: Weights) -> tuple[int, float]:
        return self.rng.choices(list(weights), list(weights.values()))[0], 0


class Smooth:
    """Turns, as nginx has them: each source gains its weight, and the richest one pays for all."""

    def __init__(self, rng: random.Random) -> None:
        self.credits: Counter[int] = Counter()

    def choose(self, at: float, weights: Weights) -> tuple[int, float]:
        for source, weight in weights.items():
            self.credits[source] += weight
        chosen = max(weights, key=self.credits.__getitem__)
        self.credits[chosen] -= sum(weights.values())
        return chosen, 0


class Deadlines:
    """Turns, as HAProxy and Envoy have them: each source is due again after 1 / weight."""

    def __init__(self, rng: random.Random) -> None:
        self.due: dict[int, float] = {}
        self.now = 0.0

    def choose(self, at: float, weights: Weights) -> tuple[int, float]:
        chosen = min(weights, key=lambda source: (round(self.due.get(source, self.now), 9), source))
        self.now = self.due.get(chosen, self.now)
        self.due[chosen] = self.now + 1 / weights[chosen]
        return chosen, 0


class LeastConnections:
    """The least busy source, of all or of two that are drawn; of equal ones, that which was chosen longest ago, or one
    at random if two are drawn. Requests take 100 ms in the mean, and there are those of others, too."""

    def __init__(self, rng: random.Random, drawn: int = 0, others: int = 3) -> None:
        self.rng = rng
        self.drawn = drawn
        self.others_apart = INTERVAL / others if others else math.inf  # ms
        self.next_other = 0.0 if others else math.inf
        self.busy: Counter[int] = Counter()
        self.ends: list[tuple[float, int]] = []
        self.last_chosen: dict[int, int] = {}
        self.number = 0

    def choose(self, at: float, weights: Weights) -> tuple[int, float]:
        while self.next_other <= at:
            self.serve(self.next_other, weights)
            self.next_other += self.rng.expovariate(1 / self.others_apart)
        return self.serve(at, weights)

    def serve(self, at: float, weights: Weights) -> tuple[int, float]:
        while self.ends and self.ends[0][0] <= at:
            self.busy[heapq.heappop(self.ends)[1]] -= 1
        sources = list(weights)
        if self.drawn:
            sources = self.rng.sample(sources, min(self.drawn, len(sources)))
            chosen = min(sources, key=self.busy.__getitem__)
        else:
            chosen = min(sources, key=lambda source: (self.busy[source], self.last_chosen.get(source, 0)))
        self.number += 1
        self.last_chosen[chosen] = self.number
        self.busy[chosen] += 1
        took = self.rng.expovariate(1 / INTERVAL)
        heapq.heappush(self.ends, (at + took, chosen))
        return chosen, took


class Tiers:
    """Two proxies, each with turns of its own, that get requests in turn or at random."""

    def __init__(self, rng: random.Random, at_random: bool = False) -> None:
        self.rng = rng
        self.proxies = [Smooth(rng), Smooth(rng)]
        self.at_random = at_random
        self.number = 0
        self.is_new = True

    def choose(self, at: float, weights: Weights) -> tuple[int, float]:
        if self.is_new:
            self.is_new = False
            for _ in range(self.rng.randrange(len(weights))):
                self.proxies[0].choose(at, weights)
        self.number += 1
        return self.proxies[self.rng.randrange(2) if self.at_random else self.number % 2].choose(at, weights)


class Shared:
    """Turns that a second viewer takes part in, as often."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.turns = Smooth(rng)

    def choose(self, at: float, weights: Weights) -> tuple[int, float]:
        while self.rng.random() < 0.5:
            self.turns.choose(at, weights)
        return self.turns.choose(at, weights)


# ---- streams ------------------------------------------------------------------------------------------------------


class Failing(NamedTuple):
    kind: int
    part: float = 1  # of requests to the source
    after: float = 0  # ms
    is_known: bool = False  # whose failure it is


@dataclass(frozen=True)
class Phase:
    """What a balancer does from a moment on."""

    begins: float  # ms
    weights: Weights
    failing: Mapping[int, Failing] = field(default_factory=dict)
    started: Mapping[int, int] = field(default_factory=dict)

    @functools.cached_property
    def shares(self) -> dict[int, float]:
        """Of samples that show whose they are."""
        seen = {
            source: weight * (1 if not (fault := self.failing.get(source)) or fault.is_known else 1 - fault.part)
            for source, weight in self.weights.items()
        }
        total = sum(seen.values())
        return {source: part / total for source, part in seen.items() if part}

    @property
    def is_down(self) -> bool:
        return all(source in self.failing and self.failing[source].part == 1 for source in self.weights)


class Sample(NamedTuple):
    at: int
    source: int
    failure: int = -1
    tie: int = 0
    owner: int = -1
    started: int = 0


@dataclass(frozen=True)
class Case:
    name: str
    k: int  # replicas
    rule: Callable[[random.Random], Rule]
    phases: Sequence[Phase]
    word: str  # the right one, at last; '' if none is expected
    best: float = math.nan  # samples
    tie: str = ""  # cookie, connection; ignored: a cookie that has no effect; unseen: connections that are not told
    number: int = 1500  # samples
    turns: bool = False  # there is a rotation


def samples_of(case: Case, rng: random.Random) -> list[Sample]:
    rule = case.rule(rng)
    samples = []
    at = 0.0
    owner = -1
    phases = [*case.phases, Phase(math.inf, {})]
    position = 0
    for _ in range(case.number):
        at += rng.expovariate(1 / INTERVAL)
        while phases[position + 1].begins <= at:
            position += 1
        phase = phases[position]
        tie = 0
        if case.tie in ("connection", "unseen"):
            tie = CONNECTION if owner >= 0 and rng.random() < 0.8 else 0
        elif case.tie:
            tie = COOKIE if rng.random() < 0.5 else 0
        if tie and owner >= 0 and case.tie != "ignored":
            source, took = owner, 0.0
        else:
            source, took = rule.choose(at, phase.weights)
        fault = phase.failing.get(source)
        if fault and rng.random() < fault.part:
            samples.append(Sample(round(at + fault.after), source if fault.is_known else -1, fault.kind))
            continue
        told = tie if case.tie != "unseen" else 0
        samples.append(Sample(round(at + took), source, -1, told, owner if told else -1, phase.started.get(source, 1)))
        if tie or case.tie in ("connection", "unseen"):
            owner = source
    return sorted((sample for sample in samples if sample.at <= at), key=lambda sample: sample.at)


# ---- truth --------------------------------------------------------------------------------------------------------


def events_until(phases: Sequence[Phase]) -> set[tuple[str, int]]:
    """What can be said of sources after these phases, as the last word of a headline: what each did last."""
    there = set(phases[0].shares)
    seen = set(there)
    events: dict[int, set[str]] = {}
    for before, phase in itertools.pairwise(phases):
        now = set(phase.shares)
        for source in there - now:
            events[source] = {"gone"}
        for source in now - there:
            events[source] = {"back" if source in seen else "come"}
        for source in now:
            if before.started.get(source, 1) != phase.started.get(source, 1) or source in seen - there:
                events.setdefault(source, set()).add("restarted")
        there = now
        seen |= now
    return {(word, source) for source, words in events.items() for word in words}


def is_within(shares: Weights, found: Mapping[int, tuple[float, float, float]]) -> bool:
    return all(low - 1e-9 <= shares.get(source, 0) <= high + 1e-9 for source, (low, _, high) in found.items())


def is_right(case: Case, phases: Sequence[Phase], found: Found) -> bool | None:  # noqa: PLR0911
    """Whether a claim is true after these phases; None if there is none."""
    shares = phases[-1].shares
    kind = found["kind"]
    same_sources = set(shares) == set(found["shares"])
    if kind == "even":
        return same_sources and all(abs(share * len(shares) - 1) <= EVEN_TOLERANCE for share in shares.values())
    if kind == "weighted":
        return same_sources and is_within(shares, found["shares"])
    if kind == "turns":
        is_even = max(shares.values()) - min(shares.values()) < 1e-9 if shares else True
        is_told = is_even == ("take turns" in found["headline"])
        return case.turns and same_sources and is_within(shares, found["shares"]) and is_told
    if kind == "one":
        return shares.get(next(iter(found["shares"])), 0) >= 1 - UNNOTICED_SHARE - 1e-9
    if kind == "runs":
        return case.tie == "unseen" and len(shares) > 1
    if kind.startswith("sticky"):
        return kind == f"sticky by {case.tie}" and len(shares) > 1
    if kind == "down":
        return phases[-1].is_down
    if kind == "changed":
        return (found["headline"].split()[-1], found["subjects"][0]) in events_until(phases)
    return None


def is_stale(case: Case, phases: Sequence[Phase], found: Found) -> bool:
    """Whether a claim was true before the latest change, or about shares is in between."""
    if any(is_right(case, phases[:number], found) for number in range(1, len(phases))):
        return True
    if len(phases) < 2 or found["kind"] not in ("weighted", "even"):
        return False
    for source, (low, _, high) in found["shares"].items():
        shares = [phase.shares.get(source, 0) for phase in phases]
        if low > max(shares) or high < min(shares):
            return False
    return True


# ---- results ------------------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """Of a stream."""

    looks: int = 0
    wrong: Counter[str] = field(default_factory=Counter)  # looks, by claim
    shifting: int = 0
    right_after: float = math.inf
    stale: list[int] = field(default_factory=list)  # for each change, samples from it to the last stale claim
    promised: int = 0  # samples in all, when "even so far" was said first
    needed: int = 0  # when "even" was


def outcome_of(case: Case, seed: str) -> Outcome:
    outcome = Outcome(stale=[0] * (len(case.phases) - 1))
    evidence = _core.Evidence()
    begins = [phase.begins for phase in case.phases[1:]] + [math.inf]
    first_of_phase = 0
    known = 1  # phases that have begun
    for number, sample in enumerate(samples_of(case, random.Random(seed)), 1):
        evidence.add(*sample)
        while sample.at >= begins[known - 1]:
            known += 1
            first_of_phase = number
        if number % SAMPLES_PER_LOOK:
            continue
        found = evidence.verdict(sample.at, NAMES)
        kind = found["kind"]
        phases = case.phases[:known]
        outcome.looks += 1
        outcome.shifting += kind == "shifting"
        right = is_right(case, phases, found)
        if right is False:
            if is_stale(case, phases, found):
                outcome.stale[known - 2] = number - first_of_phase
            else:
                outcome.wrong[kind if kind != "changed" else found["headline"].split()[-1]] += 1
        if kind in case.word.split("/") and right is not False and known == len(case.phases):
            outcome.right_after = min(outcome.right_after, number - first_of_phase)
        if kind == "even so far" and not outcome.promised:
            outcome.promised = found["samples"] + found["more"]
        if kind == "even" and not outcome.needed:
            outcome.needed = found["samples"]
    return outcome


def percentile(values: Iterable[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(math.ceil(part * len(ordered)), len(ordered)) - 1]


def samples_text(value: float) -> str:
    return "never" if math.isinf(value) else "" if math.isnan(value) else f"{value:.0f}"


def row_of(case: Case, outcomes: Sequence[Outcome]) -> str:
    wrong = sum((outcome.wrong for outcome in outcomes), Counter())
    looks = sum(outcome.looks for outcome in outcomes)
    after = [outcome.right_after for outcome in outcomes]
    stale = [samples for outcome in outcomes for samples in outcome.stale]
    streams: Counter[str] = Counter(kind for outcome in outcomes for kind in outcome.wrong)
    cells = [
        case.name,
        case.k,
        f"{100 * sum(bool(outcome.wrong) for outcome in outcomes) / len(outcomes):.1f} %",
        f"{100 * wrong.total() / looks:.2f} %",
        ", ".join(f"{kind} {count}" for kind, count in streams.most_common()),
        f"{100 * sum(outcome.shifting for outcome in outcomes) / looks:.1f} %",
        case.word or "",
        f"{samples_text(statistics.median(after))}, {samples_text(percentile(after, 0.95))}" if case.word else "",
        samples_text(case.best),
    ]
    if stale:
        cells.append(f"{statistics.median(stale):.0f}, {percentile(stale, 0.95):.0f}")
    return row(cells)


# ---- what is best possible ----------------------------------------------------------------------------------------


def divergence(share: float, other: float) -> float:
    """By how much an answer favours a share over another one."""
    return share * math.log(share / other) + (1 - share) * math.log((1 - share) / (1 - other))


def best_for_even(k: int) -> float:
    share = 1 / k
    nearest = min(divergence(share, share * (1 + EVEN_TOLERANCE)), divergence(share, share * (1 - EVEN_TOLERANCE)))
    return math.log(1 / ERROR) / nearest


def best_for_weighted(weights: Weights) -> float:
    total = sum(weights.values())
    shares = [weight / total for weight in weights.values()]
    from_equal = sum(share * math.log(share * len(shares)) for share in shares)
    from_margin = min(
        divergence(share, other)
        for share in shares
        for other in (share - MAX_MARGIN, share + MAX_MARGIN)
        if 0 < other < 1
    )
    return math.log(1 / ERROR) / min(from_equal, from_margin)


BEST_FOR_ONE = math.log(1 / ERROR) / -math.log(1 - UNNOTICED_SHARE)


# ---- cases --------------------------------------------------------------------------------------------------------


def equal(k: int) -> dict[int, float]:
    return dict.fromkeys(range(k), 1.0)


def weights_of(text: str) -> dict[int, float]:
    return dict(enumerate(map(float, text.split(":"))))


def replicas(
    name: str,
    rule: Callable[[random.Random], Rule],
    word: str,
    ks: Sequence[int],
    *,
    tie: str = "",
    turns: bool = False,
) -> Iterator[Case]:
    """Any number of equal ones."""
    for k in ks:
        right = "one" if k == 1 else word
        best = (
            BEST_FOR_ONE if k == 1 else 2 * k if word == "turns" else best_for_even(k) if word == "even" else math.nan
        )
        number = 1500 if word != "even" or k < 4 else 3000 if k < 10 else 7000
        yield Case(name, k, rule, [Phase(0, equal(k))], right, best, tie, number, turns)


def steady_cases() -> Iterator[Case]:
    ks = (1, 2, 3, 5, 10, 20)
    yield from replicas("round robin", Smooth, "turns", ks, turns=True)
    yield from replicas("random", Random, "even", ks)
    yield from replicas("power of two choices", functools.partial(LeastConnections, drawn=2), "even", ks[1:])
    yield from replicas("least connections", LeastConnections, "even", ks[1:])
    yield from replicas(
        "least connections, alone", functools.partial(LeastConnections, others=0), "", ks[1:], turns=True
    )
    yield from replicas("two tiers in turn", Tiers, "turns", ks[1:], turns=True)
    yield from replicas("two tiers at random", functools.partial(Tiers, at_random=True), "even", ks[1:], turns=True)
    yield from replicas("turns shared by two viewers", Shared, "even", ks[1:], turns=True)
    yield from replicas("sticky cookie, turns", Smooth, "sticky by cookie", ks[1:], tie="cookie", turns=True)
    yield from replicas("sticky cookie, random", Random, "sticky by cookie", ks[1:], tie="cookie")
    yield from replicas("cookie without effect", Random, "", ks[1:], tie="ignored")
    yield from replicas(
        "sticky connections, turns", Smooth, "sticky by connection", ks[1:], tie="connection", turns=True
    )
    yield from replicas("sticky connections, random", Random, "sticky by connection", ks[1:], tie="connection")
    yield from replicas("connections that nobody tells of", Random, "runs", ks[1:], tie="unseen")
    yield Case("source hash", 3, Random, [Phase(0, {1: 1})], "one", BEST_FOR_ONE)
    for text in ("90:10", "75:25", "2:1", "60:40", "50:30:20"):
        weights = weights_of(text)
        phases = [Phase(0, weights)]
        yield Case(f"random {text}", len(weights), Random, phases, "weighted", best_for_weighted(weights))
        divisor = math.gcd(*map(int, weights.values()))
        period = sum(weights.values()) / divisor
        for name, rule in (("nginx", Smooth), ("HAProxy", Deadlines)):
            yield Case(f"turns {text}, {name}", len(weights), rule, phases, "turns", 2 * period, turns=True)


def event_cases() -> Iterator[Case]:
    for name, rule, turns in (("random", Random, False), ("turns", Smooth, True)):
        for k in (2, 3, 5, 10, 20):
            yield from events_of(name, rule, turns, k)
        canary = [Phase(0, weights_of("90:10"))]
        canary += [Phase(30_000.0 * step, {0: 100 - share, 1: share}) for step, share in enumerate((25, 50, 75), 1)]
        yield Case(f"{name}: canary 10, 25, 50, 75 %", 2, rule, canary, "turns" if turns else "weighted", turns=turns)


def events_of(name: str, rule: type[Random] | type[Smooth], turns: bool, k: int) -> Iterator[Case]:
    def case(event: str, phases: Sequence[Phase], word: str) -> Case:
        return Case(f"{name}: {event}", k, rule, [Phase(0, equal(k)), *phases], word, turns=turns)

    first = {0: Failing(REFUSED)}
    others = dict.fromkeys(range(1, k), 1.0)
    yield case("one is killed and times out", [Phase(EVENT_AT, equal(k), {0: Failing(TIMED_OUT, 1, 3000)})], "failing")
    yield case("one is killed and refuses", [Phase(EVENT_AT, equal(k), first)], "failing")
    taken_out = [Phase(EVENT_AT, equal(k), first), Phase(EVENT_AT + 2000, others)]
    yield case("... and is taken out after 2 s", taken_out, "one" if k == 2 else "turns" if turns else "even")
    yield case("one is taken out without a failure", [Phase(EVENT_AT, others)], "changed")
    back = Phase(EVENT_AT + 20_000, equal(k), started={0: 2})
    yield case("... and is back after 20 s, restarted", [*taken_out, back], "changed")
    yield case("one more comes", [Phase(EVENT_AT, equal(k + 1))], "changed")
    yield case("one restarts", [Phase(EVENT_AT, equal(k), started={0: 2})], "changed")
    for part in (5, 25, 100):
        errors = {0: Failing(500, part / 100, is_known=True)}
        yield case(f"one answers 500 to {part} %", [Phase(EVENT_AT, equal(k), errors)], "failing")
    everybody = {source: Failing(REFUSED) for source in range(k)}
    all_back = [Phase(EVENT_AT, equal(k), everybody), Phase(EVENT_AT + 20_000, equal(k))]
    yield case("all are down", all_back[:1], "down")
    yield case("all are down and back after 20 s", all_back, "turns" if turns else "even")
    deploy = [
        Phase(EVENT_AT + 2000 * number, dict.fromkeys(range(number + 1, number + 1 + k), 1.0)) for number in range(k)
    ]
    yield case("rolling deploy", deploy, "turns" if turns else "even")


# ---- tables -------------------------------------------------------------------------------------------------------


def outcome_of_job(job: tuple[str, int, int]) -> Outcome:
    part, position, seed = job
    case = cases_of(part)[position]
    return outcome_of(case, f"{case.name} {case.k} {seed}")


@functools.cache
def cases_of(part: str) -> list[Case]:
    return list(steady_cases() if part == "steady" else event_cases())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=50, help="for each row")
    parser.add_argument("--only", default="", help="rows whose name has this")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    heads = ["balancer", "k", "wrong streams", "looks", "claims", "shifting", "word", "right after, p95", "best"]
    total = 0
    with multiprocessing.Pool(2) as pool:
        for part in ("steady", "events"):
            columns = heads if part == "steady" else [*heads, "stale, p95"]
            print(f"{row(columns)}\n{row(['---'] * len(columns))}")
            promises = {}
            for position, case in enumerate(cases_of(part)):
                if options.only not in case.name:
                    continue
                jobs = [(part, position, options.seed * 1_000_000 + stream) for stream in range(options.streams)]
                outcomes = pool.map(outcome_of_job, jobs, chunksize=5)
                total += len(outcomes)
                print(row_of(case, outcomes), flush=True)
                ratios = [
                    outcome.needed / outcome.promised for outcome in outcomes if outcome.needed and outcome.promised
                ]
                if case.name == "random" and ratios:
                    promises[case.k] = statistics.median(ratios)
            print()
            if promises:
                print(f"{row(['k', *promises])}\n{row(['---'] * (len(promises) + 1))}")
                print(row(["promise", *(f"{ratio:.2f}" for ratio in promises.values())]), end="\n\n")
    print(f"{total:,} streams.")


if __name__ == "__main__":
    main()
