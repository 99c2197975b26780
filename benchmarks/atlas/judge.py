"""What the watch would have said after each sample, by the lines of its --jsonl, and which of it is right."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from yinyang._core import Tally, WatchOptions, describe
from yinyang.watch.sample import Replica

LAST = 300  # requests
Verdict = Mapping[str, Any]
Names = Mapping[str, str]  # what a replica is called, by its host
IsRight = Callable[[Verdict, Names], bool]


class Sample(NamedTuple):
    start: float  # in seconds since 1970
    end: float
    told: dict[str, Any]


class Said(NamedTuple):
    """The verdict after a sample."""

    at: float
    samples: int
    verdict: Verdict


def read(path: Path) -> list[Sample]:
    """In order of their ends."""
    samples = []
    for line in path.read_text().splitlines()[1:]:
        told = json.loads(line)
        end = datetime.fromisoformat(told["at"]).timestamp()
        samples.append(Sample(end - told["ms"] / 1000, end, told))
    return samples


def names_in(samples: Sequence[Sample]) -> dict[str, str]:
    return {told["host"]: told["short"] for _, _, told in samples if "host" in told}


def replay(tally: Tally, samples: Sequence[Sample]) -> Iterator[Said]:
    """Count them, and say what is known after each."""
    starts = sorted(sample.start for sample in samples)
    begun = 0
    under_way: list[float] = []
    for number, (start, end, told) in enumerate(samples, 1):
        while begun < len(starts) and starts[begun] < end:
            under_way.append(starts[begun])
            begun += 1
        under_way.remove(start)
        replica = None
        if "host" in told:
            replica = Replica(*(told[key] for key in ("host", "short", "version", "colours", "zone", "node")))
        elif named := describe(b"", told.get("served_by", "").encode()):
            replica = Replica(**named)
        tally.add(start, end, replica, told.get("failure", ""), told["connection"], told.get("cookie_of"))
        tally.wait(len(under_way), min(under_way, default=0.0))
        yield Said(end, number, tally.verdict(end))


def judged(path: Path, by: str, event: float, is_right: IsRight) -> dict[str, Any]:
    """The figures of a scene. A verdict that nothing is answered is right, too, if nothing is until the end. What is
    said in the end is what was said most in the last requests."""
    samples = read(path)
    names = names_in(samples)
    begin = samples[0].start
    tally = Tally(WatchOptions(["http://a/", "--by", by]), begin)
    history = list(replay(tally, samples))
    end = history[-1].at
    report = json.loads(tally.report(end, "signal"))
    last_answer = max((sample.end for sample in samples if "host" in sample.told), default=0.0)
    before = sum(one.at < event for one in history)
    said = None
    for one in history[before:]:
        if is_right(one.verdict, names) or (one.verdict["kind"] == "down" and one.at > last_answer):
            seconds = round(one.at - event, 2)
            said = {"samples": one.samples - before, "seconds": seconds, "headline": one.verdict["headline"]}
            break
    [(in_the_end, _)] = Counter(one.verdict["kind"] for one in history[-LAST:]).most_common(1)
    gap, slowest = report["gap"]["longest"], tally.latency(1.0)
    return {
        "samples": report["samples"],
        "lost": report["errors"],
        "failures": report["failures"],
        "gap_ms": round(1000 * gap) if gap else 0,
        "slowest_ms": round(1000 * slowest) if slowest else None,
        "said": said,
        "in_the_end": next(one.verdict["headline"] for one in reversed(history) if one.verdict["kind"] == in_the_end),
        "seconds": round(end - begin, 2),
        "event": round(event - begin, 2),
    }


def words(verdict: Verdict) -> str:
    return "; ".join(filter(None, (verdict["headline"], verdict["detail"])))


# ---- what is right --------------------------------------------------------------------------------------------------


def number_of(count: int) -> IsRight:
    """So many replicas, all of whom answer."""
    pattern = re.compile(rf"\b{count} replicas(?= so far| take turns|;|$)|even across {count}\b")
    return lambda verdict, _names: bool(pattern.search(words(verdict)))


NO_TROUBLE = r"gets |has |have |is back|are back|so far|take turns|\d"  # what may be said of somebody


def gone(hosts: Sequence[str], left: Sequence[str], one: str = "replica") -> IsRight:
    """The headline says that these, and no others, are gone, silent, or fail; or that the others are all there are."""

    def is_right(verdict: Verdict, names: Names) -> bool:
        called = [re.escape(names.get(host, host)) for host in hosts]
        subjects = [" and ".join(order) for order in itertools.permutations(called)]
        subjects += [f"{len(called)} {one}s"] if len(called) > 1 else []
        trouble = rf"(?:^|[:;] )(?:{'|'.join(subjects)}) (?!{NO_TROUBLE}|and )"
        if len(left) == 1:
            others = re.escape(names.get(left[0], left[0]))
            calm = f"only {others} so far|one {one} only: {others}"
        else:
            calm = rf"\b{len(left)} {one}s(?= so far| take turns|;|$)|even across {len(left)}\b"
        return bool(re.search(f"{trouble}|{calm}", verdict["headline"]))

    return is_right


def share_of(name: str, share: float) -> IsRight:
    """The share is known, and right."""

    def is_right(verdict: Verdict, _names: Names) -> bool:
        if verdict["kind"] not in {"turns", "weighted"} or name not in verdict["shares"]:
            return False
        low, _, high = verdict["shares"][name]
        return low - 1e-9 <= share <= high + 1e-9

    return is_right


def kind(name: str) -> IsRight:
    return lambda verdict, _names: verdict["kind"] == name


def answers(host: str, status: int) -> IsRight:
    """It is said to answer so, and nobody else."""
    return lambda verdict, names: f": {names.get(host, host)} answers {status}" in words(verdict)
