"""What verdicts claim of samples of which it is known how a balancer chose."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watch.samples import QUICK, SEEDS, answer, drawn, in_turn, judge_all, on_connections, verdicts_of, with_cookies
from yinyang.watch.evidence import MAX_CHUNKS, MAX_CONNECTIONS, Evidence
from yinyang.watch.statistics import chi_square_of_equal_shares, chi_square_p_value
from yinyang.watch.verdict import ERROR, Verdict, samples_for_even

pytestmark = pytest.mark.host


@pytest.mark.parametrize("cells", [2, 3, 5])
def test_even_replicas_are_hardly_ever_called_weighted(cells: int) -> None:
    """The stated error holds for the whole segment, however often one looks."""
    wrong = Counter(
        kind for seed in SEEDS for kind in {verdict.kind for verdict in verdicts_of(drawn([1] * cells, seed))}
    )
    assert wrong["weighted"] <= ERROR * len(SEEDS)
    assert wrong["too few"] == len(SEEDS)
    assert set(wrong) <= {"too few", "weighted", "even"}


def test_chi_square_alone_would_be_wrong_more_often() -> None:
    """That is what the e-value is for: looked at after every answer, a p-value is small sooner or later."""
    wrong = 0
    for seed in SEEDS:
        counts = [0, 0]
        for choice in random.Random(seed).choices((0, 1), k=300):
            counts[choice] += 1
            if sum(counts) >= 10 and chi_square_p_value(chi_square_of_equal_shares(counts), 1) < ERROR:
                wrong += 1
                break
    assert wrong > 3 * ERROR * len(SEEDS)


@pytest.mark.parametrize("weights", [[2, 1], [2, 1, 1], [3, 1], [9, 1]], ids=str)
def test_weighted_replicas_are_found_and_hardly_ever_called_even(weights: list[int]) -> None:
    runs = [verdicts_of(drawn(weights, seed, 600)) for seed in SEEDS]
    assert sum(any(verdict.kind == "even" for verdict in run) for run in runs) <= ERROR * len(SEEDS)
    assert sum(run[-1].kind == "weighted" for run in runs) >= 0.9 * len(SEEDS)
    assert not any(verdict.kind == "unsteady" for run in runs for verdict in run)


def test_weights_are_named_with_how_closely_they_are_known() -> None:
    verdict = verdicts_of(in_turn("aaab", 800))[-1]
    assert verdict.words.startswith("weighted about 3:1: a 75")
    assert "give or take" in verdict.words
    assert f"n = {verdict.samples}" in verdict.words
    low, seen, high = verdict.shares["a"]
    assert low < 0.75 < high
    assert seen == pytest.approx(0.75, abs=0.01)
    assert verdict.p_value < ERROR


@QUICK
@given(st.integers(2, 8), st.integers(0, 900))
def test_rotation_is_even_or_not_yet_known(cells: int, number: int) -> None:
    kinds = {verdict.kind for verdict in verdicts_of(in_turn("abcdefgh"[:cells], number))}
    assert kinds <= {"too few", "even"}


@pytest.mark.parametrize("cells", [2, 3, 5])
def test_as_many_samples_as_are_wanted_are_enough(cells: int) -> None:
    order = "abcde"[:cells]
    start = cells  # the answers that began the segment do not count
    assert verdicts_of(in_turn(order, start + samples_for_even(cells)), look=1)[-1].kind == "even"
    assert verdicts_of(in_turn(order, start + samples_for_even(cells) - cells), look=1)[-1].kind == "too few"


@QUICK
@given(st.randoms(use_true_random=False), st.integers(1, 200))
def test_names_do_not_matter(draw: random.Random, number: int) -> None:
    hosts = [draw.choice("abc") for _ in range(number)]
    there = judge_all(answer(host) for host in hosts)
    other = judge_all(answer({"a": "z", "b": "y", "c": "x"}[host]) for host in hosts)
    assert (there.kind, there.samples, there.p_value) == (other.kind, other.samples, pytest.approx(other.p_value))


def test_nothing_is_claimed_of_few_samples() -> None:
    assert judge_all([]) == Verdict("too few", "no answer yet", 0)
    for answers in ["a", "ab", "aaaa", "abab", "aaab"]:
        assert judge_all(map(answer, answers)).kind == "too few"


def test_one_replica_only() -> None:
    verdict = judge_all(in_turn("a", 301))
    assert verdict.kind == "one replica"
    assert verdict.samples == 300
    assert f"{100 * (1 - verdict.shares['a'][0]):.3g} %" in verdict.words


def test_one_replica_only_on_few_connections_is_not_enough() -> None:
    """A thousand answers on eight connections are eight draws, if connections are what is shared out."""
    verdict = judge_all((answer("a", number % 8) for number in range(1000)), keep_alive=True)
    assert (verdict.kind, verdict.samples) == ("too few", 8)


def test_a_replica_that_goes_and_comes_back() -> None:
    verdicts = verdicts_of(in_turn("abc", 300) + in_turn("ab", 300) + in_turn("abc", 600))
    assert not {verdict.kind for verdict in verdicts} - {"too few", "even"}
    assert any("c may be gone" in verdict.words for verdict in verdicts)
    assert any(
        verdict.kind == "even" and "2 replicas" in verdict.words and "since c went" in verdict.words
        for verdict in verdicts
    )
    assert "since c came back" in verdicts[-1].words
    assert verdicts[-1].kind == "even"


def test_a_replica_that_is_too_rare_has_no_weight() -> None:
    verdict = judge_all(map(answer, "ab" + 100 * "a"))
    assert verdict.kind == "too few"
    assert "b answered too rarely" in verdict.words


@pytest.mark.parametrize("run", [5, 10, 20, 50])
def test_answers_in_runs_are_never_judged_as_independent(run: int) -> None:
    verdicts = verdicts_of(in_turn("a" * run + "b" * run, 400), look=1)
    kinds = [verdict.kind for verdict in verdicts]
    assert not set(kinds) & {"even", "weighted"}
    if run <= 10:  # in longer ones, each replica seems to be gone sooner or later
        assert kinds[-1] == "unsteady"


@pytest.mark.parametrize("order", [["web-0", "web-0", "web-1"], ["web-0", "web-1", "web-1"]], ids=str)
def test_shares_that_change_are_judged_since_then(order: list[str]) -> None:
    verdicts = verdicts_of(drawn([1, 1], 0, 500) + in_turn(order, 900))
    assert "2:1" in verdicts[-1].words
    assert verdicts[-1].words.endswith("since the shares changed)")
    assert verdicts[-1].samples < 900


def test_shares_that_stay_hardly_ever_seem_to_change() -> None:
    for seed in SEEDS:
        for weights in [1, 1], [5, 1], [1, 1, 1, 1]:
            assert "changed" not in judge_all(drawn(weights, seed, 600)).words


def test_sticky_by_connection() -> None:
    for seed in SEEDS:
        verdict = verdicts_of(on_connections(lambda connection, place: "abc"[connection % 3], seed, 200), True)[-1]
        assert (verdict.kind, verdict.samples) == ("sticky by connection", 8)


def test_independent_answers_never_stick_to_connections() -> None:
    for seed in SEEDS:
        draw = random.Random(-1 - seed)
        independent = on_connections(lambda connection, place, draw=draw: draw.choice("ab"), seed, 200)
        rotation = on_connections(lambda connection, place: "ab"[place % 2], seed, 200)
        for answers in independent, rotation:
            assert not {verdict.kind for verdict in verdicts_of(answers, True)} & {"sticky by connection", "unsteady"}


def test_connections_that_mostly_stick_are_unsteady() -> None:
    some = on_connections(lambda connection, place: "ab"[(connection + (place % 10 == 0)) % 2], 0, 400)
    assert verdicts_of(some, True)[-1].kind == "unsteady"


def test_sticky_by_cookie() -> None:
    verdict = judge_all(with_cookies(lambda owner: owner, 600))
    assert verdict.kind == "sticky by cookie"
    assert "SRV" in verdict.words
    assert "without it, even" in verdict.words


def test_cookies_that_lead_nowhere() -> None:
    draw = random.Random(0)
    assert judge_all(with_cookies(lambda owner: draw.choice("abc"), 600)).kind == "even"
    assert judge_all(with_cookies(lambda owner: owner, 10)).kind == "too few"
    alone = [*in_turn("a", 200), *(answer("a", cookie_of="a") for _ in range(100))]
    assert judge_all(alone).kind == "one replica"  # where there is but one, a cookie shows nothing


def test_evidence_does_not_grow_with_answers() -> None:
    evidence = Evidence(keep_alive=True)
    for number in range(3 * MAX_CONNECTIONS):
        evidence.add(answer("ab"[number % 2], number))
    assert len(evidence.segment.chunks) <= MAX_CHUNKS
    assert sum(evidence.segment.chunks, Counter()) == evidence.segment.counts
    assert len(evidence._host_of_connection) <= MAX_CONNECTIONS
