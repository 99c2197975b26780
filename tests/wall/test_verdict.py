"""What the wall's verdict claims of samples whose distribution is known."""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from conftest import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.host]

JUDGE = """([runs, kept, step]) => runs.flatMap(run => {
    const ends = step ? Array.from({length: run.length / step}, (_, look) => (look + 1) * step) : [run.length];
    return ends.map(end => judge(run.slice(0, end), kept)).map(({words, detail, samples}) => [words, detail, samples]);
})"""
LOOK = 50  # samples from one look at the wall to the next
WITHOUT_COOKIES = 0.2  # the part of samples that the wall sends so

Samples = list[dict[str, Any]]


class Verdict(NamedTuple):
    words: str
    detail: str | None
    samples: int


@pytest.fixture(scope="module")
def judge(browser: "Browser") -> Iterator[Callable[..., list[Verdict]]]:
    """The verdicts on runs of samples: one at the end of each, or one each `step` samples."""
    page = browser.new_page()
    page.add_script_tag(path=ROOT / "yinyang/wall/verdict.js")

    def judged(runs: list[Samples], kept: bool = False, step: int = 0) -> list[Verdict]:
        return [Verdict(*found) for found in page.evaluate(JUDGE, [runs, kept, step])]

    yield judged
    page.close()


def sample(source: int, with_cookies: bool = True, kept: bool = False, request_number: int = 1) -> dict[str, Any]:
    return {"source": source, "withCookies": with_cookies, "kept": kept, "requestNumber": request_number}


def drawn(weights: Sequence[float], number: int, seed: int) -> Samples:
    """At random."""
    draw = random.Random(seed)
    sources = draw.choices(range(len(weights)), weights, k=number)
    return [sample(source, draw.random() >= WITHOUT_COOKIES) for source in sources]


def in_turn(pattern: Sequence[int], number: int, seed: int = 1) -> Samples:
    draw = random.Random(seed)
    return [sample(pattern[place % len(pattern)], draw.random() >= WITHOUT_COOKIES) for place in range(number)]


def all_words(verdicts: list[Verdict]) -> list[str]:
    return [verdict.words for verdict in verdicts]


@pytest.mark.parametrize("replicas", [2, 3, 5, 10])
def test_random_and_even_is_never_called_otherwise(judge: Callable, replicas: int) -> None:
    words = all_words(judge([drawn([1] * replicas, 1000, seed) for seed in range(40)], step=LOOK))
    assert {re.sub(r"\d+$", "", one) for one in words} <= {"not enough samples yet", "even across "}
    complete = words[19::20]
    assert replicas == 10 or complete.count(f"even across {replicas}") >= 38  # of 40


@pytest.mark.parametrize("replicas", [2, 3, 5, 10])
def test_turns_are_even(judge: Callable, replicas: int) -> None:
    words = all_words(judge([in_turn(range(replicas), 1000)], step=LOOK))
    assert words[-1] == f"even across {replicas}"
    assert set(words) <= {"not enough samples yet", f"even across {replicas}"}


@pytest.mark.parametrize("weights", [[80, 20], [90, 10], [50, 30, 20], [95, 5], [70, 10, 10, 10]])
@pytest.mark.parametrize("way", ["random", "turns"])
def test_weights_are_within_what_is_claimed(judge: Callable, weights: list[int], way: str) -> None:
    pattern = [source for source, weight in enumerate(weights) for _ in range(weight)]
    random.Random(1).shuffle(pattern)
    runs = [drawn(weights, 1000, seed) if way == "random" else in_turn(pattern, 1000, seed) for seed in range(20)]
    verdicts = judge(runs, step=LOOK)
    weighted = [verdict for verdict in verdicts if verdict.words.startswith("weighted about ")]
    assert len(weighted) > 20 * 10
    for words, detail, _ in weighted:
        shares = [int(part) for part in words.removeprefix("weighted about ").split(":")]
        points = int(re.search(r"\d+", detail)[0])
        assert len(shares) == len(weights)
        assert all(abs(share - weight) <= points + 1 for share, weight in zip(shares, weights, strict=True))
    others = {re.sub(r"\d+", "", words) for words in all_words(verdicts) if not words.startswith("weighted")}
    assert others <= {"not enough samples yet", "uneven across ", "one replica only"}
    lonely = [verdict.samples for verdict in verdicts if verdict.words == "one replica only"]
    assert all(samples < 60 for samples in lonely)  # of 20 runs of 95:5 and the like


@pytest.mark.parametrize("weights", [[60, 40], [45, 30, 25], [30, 20, 20, 15, 15]])
def test_slightly_uneven_is_not_even_beyond_what_is_said(judge: Callable, weights: list[int]) -> None:
    verdicts = judge([drawn(weights, 1000, seed) for seed in range(40)], step=LOOK)
    for words, detail, _ in verdicts:
        if words.startswith("even"):
            points = int(re.search(r"\d+", detail)[0])
            assert max(abs(weight - 100 / len(weights)) for weight in weights) <= points + 1
    assert sum(words.startswith("weighted") for words in all_words(verdicts)) > 100


def test_too_few_samples_have_no_verdict(judge: Callable) -> None:
    one_replica = [[sample(0)] * number for number in (0, 1, 29, 30)]
    verdicts = judge([*one_replica, in_turn([0, 1], 39), in_turn([0, 1, 2], 59)])
    assert [(verdict.words, verdict.samples) for verdict in verdicts] == [
        ("not enough samples yet", 0),
        ("not enough samples yet", 1),
        ("not enough samples yet", 29),
        ("one replica only", 30),
        ("not enough samples yet", 39),
        ("not enough samples yet", 59),
    ]
    assert verdicts[3].detail == ", others under 15 %"  # 0.85 ** 30 is less than a hundredth


def test_a_cookie_is_sticky_only_if_others_answer_without_it(judge: Callable) -> None:
    draw = random.Random(5)

    def run(without_cookie: Callable[[], int]) -> Samples:
        """One replica for all samples with the cookie."""
        bare = [draw.random() < WITHOUT_COOKIES for _ in range(400)]
        return [sample(without_cookie(), with_cookies=False) if one else sample(0) for one in bare]

    spread = run(lambda: draw.randrange(3))
    alone = run(lambda: 0)
    another = run(lambda: 1)
    assert all_words(judge([spread, alone, another, spread[:60]])) == [
        "sticky by cookie",
        "one replica only",
        "not enough samples yet",
        "not enough samples yet",
    ]


def test_a_connection_is_sticky_only_if_new_ones_go_elsewhere(judge: Callable) -> None:
    new = [sample(one["source"]) for one in drawn([1, 1, 1], 100, 3)]
    kept = [sample(1, kept=True, request_number=number + 1) for number in range(60)]
    turns = [sample(number % 3, kept=True, request_number=5 + number // 3) for number in range(300)]
    second = [sample(2, kept=True, request_number=number + 1) for number in range(60)]
    new_go_there_too = [sample(1)] * 100
    assert all_words(
        judge([new + kept, kept, new + turns, new + kept + second, new_go_there_too + kept], kept=True)
    ) == [
        "sticky by connection",
        "one replica on this connection",
        "even across 3",
        "sticky by connection",
        "one replica on this connection",
    ]


def test_runs_are_not_weights(judge: Callable) -> None:
    run = [sample(place // 25 % 2) for place in range(400)]
    assert all_words(judge([run])) == ["in runs: sticky, or shifting"]


def test_shares_that_change_are_judged_since(judge: Callable) -> None:
    [verdict] = judge([drawn([1, 1], 500, 7) + drawn([9, 1], 500, 8)])
    assert re.fullmatch(r"weighted about (8[6-9]|9[0-4]):\d+", verdict.words)
    assert verdict.samples <= 500
