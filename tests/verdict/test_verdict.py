"""The verdict of the core: the vectors that all implementations share, and what it claims of balancers that are known.

`benchmarks/studies/verdicts.py` measures how often it is wrong, and how soon it is right.
"""

from collections.abc import Iterable, Sequence

import pytest

from verdict.streams import (
    VECTORS,
    Core,
    Look,
    Sample,
    after,
    drawn,
    each,
    in_turn,
    judge,
    on_connections,
    random_stream,
    read_vectors,
    scenes,
    with_ties,
)
from yinyang import _core

SEEDS = range(100)
CLAIMS_OF_SHARES = {"even", "weighted", "one", "turns"}


def kinds(streams: Iterable[Sequence[Sample]], step: int = 10) -> set[str]:
    return {look.kind for stream in streams for look in judge(stream, each(stream, step))}


def test_vectors_are_those_of_the_scenes() -> None:
    assert {name: stream for name, (stream, _) in read_vectors().items()} == scenes()


@pytest.mark.parametrize("name", list(read_vectors()) if VECTORS.exists() else [])
def test_vector(name: str) -> None:
    stream, looks = read_vectors()[name]
    assert judge(stream, looks) == looks


def test_it_depends_on_samples_alone_and_not_on_looks() -> None:
    for seed in SEEDS[:20]:
        stream = random_stream(seed)
        last = each(stream, len(stream))
        assert judge(stream, [*each(stream, 1), *last])[-1] == judge(stream, last)[0]


@pytest.mark.parametrize("replicas", [2, 3, 5, 10, 20])
def test_who_takes_turns_is_soon_known(replicas: int) -> None:
    stream = in_turn(range(replicas), 6 * replicas + 20)
    looks = judge(stream, each(stream, 1))
    assert looks[-1].kind == "turns"
    assert looks[-1].headline == f"{replicas} replicas take turns"
    assert next(look.after for look in looks if look.kind == "turns") <= 4 * replicas + 16


def test_the_weights_of_a_rotation_are_exact() -> None:
    stream = in_turn([0, 1, 0, 2, 0, 1, 0], 100)
    assert judge(stream, each(stream, 100))[0].headline == "web-1 gets 57 %, web-2 29 %, web-3 14 %"


@pytest.mark.parametrize("replicas", [2, 3, 5])
def test_random_and_even_is_hardly_ever_called_otherwise(replicas: int) -> None:
    streams = [drawn([1] * replicas, 300, seed) for seed in SEEDS]
    wrong = sum(bool(kinds([stream]) & {"weighted", "turns", "runs", "one"}) for stream in streams)
    assert wrong <= len(SEEDS) / 100


@pytest.mark.parametrize("weights", [[2, 1], [2, 1, 1], [3, 1], [9, 1]], ids=str)
def test_weights_are_found_and_hardly_ever_called_even(weights: list[int]) -> None:
    found = [kinds([drawn(weights, 700, seed)]) for seed in SEEDS]
    assert sum("even" in one or "turns" in one for one in found) <= len(SEEDS) / 100
    assert sum("weighted" in one for one in found) >= 0.9 * len(SEEDS)


def test_shares_are_within_their_bounds() -> None:
    wrong = 0
    for seed in SEEDS:
        core, missed = Core(), False
        for place, sample in enumerate(drawn([0.7, 0.2, 0.1], 400, seed)):
            core.add(sample)
            if place % 20 == 19:
                shares = core.evidence.verdict(sample.at, [])["shares"]
                missed |= any(
                    not shares[source][0] <= share <= shares[source][2]
                    for source, share in enumerate([0.7, 0.2, 0.1])
                    if source in shares and len(shares) == 3
                )
        wrong += missed
    assert wrong <= len(SEEDS) / 100


def test_so_many_samples_as_are_wanted_are_enough_in_the_median() -> None:
    for replicas in (2, 3, 5):
        needed = []
        for seed in SEEDS[:40]:
            core = Core()
            promised = None
            for place, sample in enumerate(drawn([1] * replicas, 3000, seed)):
                core.add(sample)
                if place < 100 or place % 10:
                    continue
                found = core.evidence.verdict(sample.at, [])
                if promised is None:
                    promised = found["samples"] + found["more"]
                if found["kind"] == "even":
                    needed.append(found["samples"] / promised)
                    break
        assert 0.75 < sorted(needed)[len(needed) // 2] < 1.3


def test_nothing_is_claimed_of_few_samples() -> None:
    for number in range(9):
        for order in [0], [0, 1], [0, 0, 1], [0, 1, 2]:
            stream = in_turn(order, number)
            assert not {look.kind for look in judge(stream, each(stream, 1))} & CLAIMS_OF_SHARES


def test_failures_come_before_shares() -> None:
    """A quarter of all fails, from replicas that share evenly."""
    stream = after(in_turn([0, 1], 200), lambda at, place: Sample(at, place % 2, 500 if place % 4 == 3 else None))
    [look] = judge(stream, each(stream, len(stream)))
    assert look.headline == "1 in 4 requests fails: web-2 answers 500, for 5 s"


def test_a_replica_is_known_by_its_failures_alone() -> None:
    stream = scenes()["one never answers"]
    [look] = judge(stream, each(stream, len(stream)))
    assert look.headline == "1 in 2 requests fails: web-2 answers 503, for 6 s"


def test_a_failure_that_is_no_longer_kept_names_nobody() -> None:
    """So many samples have followed within five seconds, in which a replica that rarely answers fell silent."""
    stream = scenes()["a failure that is no longer kept"]
    [look] = judge(stream, [Look(len(stream), 6200)])
    assert look.headline == "web-3 may be gone"


def test_one_that_restarts_again_and_again_is_one() -> None:
    stream = scenes()["one restarts again and again"]
    [look] = judge(stream, each(stream, len(stream)))
    assert look.headline == "web-1 has restarted"


def test_an_outage_is_no_outage_where_most_fails_anyway() -> None:
    def mostly(at: int, place: int) -> Sample:
        return Sample(at, 0) if place % 10 == 0 else Sample(at, None, "timed out")

    stream = [mostly(100 * place, place) for place in range(300)]
    assert "down" not in {look.kind for look in judge(stream[100:], each(stream[100:], 1))[30:]}


@pytest.mark.parametrize("run", [5, 10, 20])
def test_runs_are_never_judged_as_independent(run: int) -> None:
    order = [0] * run + [1] * (run + 1) + [0] * (run - 1) + [1] * run
    stream = in_turn(order, 2 * len(order))
    assert not kinds([stream], 1) & {"even", "weighted"}


def test_a_cookie_that_is_kept_is_told_from_one_that_leads_nowhere() -> None:
    for tie in "cookie", "connection":
        assert all(f"sticky by {tie}" in kinds([with_ties(tie, 200, seed)]) for seed in SEEDS[:20])
        free = [kinds([with_ties(tie, 200, seed, kept=0)]) for seed in SEEDS]
        assert sum(f"sticky by {tie}" in one for one in free) <= len(SEEDS) / 100
    alone = with_ties("cookie", 200, 1, replicas=1)
    assert judge(alone, each(alone, 200))[0].kind == "one"  # where there is but one, a cookie shows nothing


@pytest.mark.parametrize("replicas", [2, 3, 5])
def test_connections_that_are_all_kept_are_enough_to_tell(replicas: int) -> None:
    """Nothing but the first sample on each of them is without a tie."""
    told = [
        "sticky by connection" in kinds([stream])
        for stream in (on_connections(8, 120, seed, replicas) for seed in SEEDS)
        if len({sample.source for sample in stream}) > 1
    ]
    assert sum(told) >= 0.95 * len(told)
    free = [kinds([on_connections(8, 200, seed, replicas, kept=False)]) for seed in SEEDS]
    assert sum("sticky by connection" in one for one in free) <= len(SEEDS) / 100


def test_evidence_from_before_a_return_is_stale() -> None:
    """A replica that was away for a while does not stay short of its share."""
    stream = after(
        [sample._replace(started=1) for sample in in_turn([0, 1, 2], 90)],
        lambda at, place: Sample(at, place % 2),
        lambda at, place: Sample(at, place % 3, started=2 if place % 3 == 2 else None),
    )
    looks = judge(stream, each(stream, 5))
    assert "weighted" not in {look.kind for look in looks}
    assert "web-3 is back" in {look.headline for look in looks}
    assert looks[-1].headline == "3 replicas take turns"


def test_numbers_can_be_used_again() -> None:
    core = Core()
    for sample in in_turn([0, 1], 40):
        core.add(sample)
    with pytest.raises(ValueError, match="only a source that is gone"):
        core.evidence.forget(0)
    for sample in in_turn([1], 200):
        core.add(sample._replace(at=sample.at + 9000))
    assert not core.evidence.is_there(0)
    core.evidence.forget(0)
    core.add(Sample(2_000_000, 0))
    assert core.look(0, 2_000_000).headline == "web-1 has come"


@pytest.mark.parametrize("wrong", [{"source": 256}, {"source": -2}, {"failure": 600}, {"tie": 3}, {"owner": 300}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"out of range|is from 0 to 255"):
        _core.Evidence().add(0, **wrong)


def test_times_may_be_anything() -> None:
    evidence = _core.Evidence()
    for at in (0, 2**53 - 1, 3, 0):
        evidence.add(at, 0, 500)
        for now in (0, 2**53 - 1):
            assert evidence.verdict(now, [])["kind"]
    for wrong in (-1, 2**53):
        with pytest.raises(ValueError, match="a time is from 0"):
            evidence.add(wrong, 0)
        with pytest.raises(ValueError, match="a time is from 0"):
            evidence.verdict(wrong, [])
