"""The wall's verdict: the vectors, and that it says what the core says, whatever the samples are."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT
from verdict.streams import NAMES, Look, Sample, each, judge, random_stream, read_vectors

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

JUDGE = """([samples, looks, names]) => {
    const evidence = newEvidence(), naming = {names, one: "replica", several: "replicas"};
    let added = 0;
    return looks.map(([after, now, waiting, since]) => {
        for (; added < after; added++) {
            const [at, source, failure, tie, owner, started] = samples[added];
            addSample(evidence, {at, source, failure, tie, owner, started});
        }
        const found = findVerdict(evidence, now, waiting, since);
        return [after, now, waiting, since, verdictKind(found), headline(found, naming), detail(found, naming)];
    });
}"""


@pytest.fixture(scope="module")
def judge_on_wall(browser: "Browser") -> Iterator[Callable[[Sequence[Sample], Sequence[Look]], list[Look]]]:
    page = browser.new_page()
    page.add_script_tag(path=ROOT / "yinyang/wall/verdict.js")
    yield lambda stream, looks: [Look(*found) for found in page.evaluate(JUDGE, [stream, looks, NAMES])]
    page.close()


def test_vectors(judge_on_wall: Callable) -> None:
    for stream, looks in read_vectors().values():
        assert judge_on_wall(stream, looks) == looks


def test_wall_and_core_say_the_same(judge_on_wall: Callable) -> None:
    for seed in range(300):
        stream = random_stream(seed)
        looks = [
            look._replace(waiting=place % 7 if place % 5 == 0 else 0, waiting_since=look.now - place % 3000)
            for place, look in enumerate(each(stream, 3))
        ]
        assert judge_on_wall(stream, looks) == judge(stream, looks)
