"""What the evidence is given of a watch's samples; tests/verdict has what it makes of them."""

from dataclasses import dataclass
from typing import Any

import pytest

from watch.tallies import replica, tally_for
from yinyang._core import Tally
from yinyang.watch.sample import Replica


@dataclass
class Given:
    """A sample, with a tenth of a second between two."""

    place: int
    replica: Replica | None
    about: dict[str, Any]


def answer(place: int, host: str, *, version: str = "v1", started: int = 0, **led_by: Any) -> Given:
    return Given(place, replica(host, version, started=started), led_by)


def failure(place: int, kind: str, host: str | None = None, version: str | None = None) -> Given:
    return Given(place, replica(host, version) if host else None, {"failure": kind})


def tally_of(samples: list[Given], by: str = "replica") -> Tally:
    tally = tally_for("--by", by)
    for one in samples:
        tally.add(one.place / 10, one.place / 10, one.replica, **one.about)
    return tally


def judge(samples: list[Given], by: str = "replica") -> Any:
    return tally_of(samples, by).verdict(samples[-1].place / 10 + 6)


def test_replicas_and_versions() -> None:
    samples = [answer(place, "abcd"[place % 4], version="v2" if place % 4 == 3 else "v1") for place in range(80)]
    assert judge(samples)["headline"] == "4 replicas take turns"
    assert judge(samples, "version")["headline"] == "v1 gets 75 %, v2 25 %"
    assert judge(samples, "zone")["headline"] == "one zone only: no zone"
    assert judge(samples)["shares"] == dict.fromkeys("abcd", (0.25, 0.25, 0.25))


@pytest.mark.parametrize("by", ["replica", "version"])
def test_cookies_and_connections(by: str) -> None:
    def one(place: int, number: int, **led_by: Any) -> Given:
        return answer(place, "abc"[number % 3], version="xyz"[number % 3], **led_by)

    cookies = [one(place, place // 2, cookie_of="abc"[place // 2 % 3] if place % 2 else None) for place in range(200)]
    assert judge(cookies, by)["kind"] == "sticky by cookie"
    connections = [one(place, place % 7, connection=1 + place % 7) for place in range(200)]
    assert judge(connections, by)["kind"] == "sticky by connection"
    new = [one(place, place, connection=1 + place) for place in range(200)]
    assert judge(new, by)["kind"] == "turns"
    none = [one(place, place, connection=0) for place in range(200)]
    assert judge(none, by)["kind"] == "turns"


@pytest.mark.parametrize(
    ("kind", "words"),
    [("status 502", "HTTP 502"), ("refused", "refused"), ("status 999", "failed"), ("SomeError", "failed")],
)
def test_failures(kind: str, words: str) -> None:
    samples = [answer(0, "a"), *(failure(10 * place, kind) for place in range(1, 20))]
    assert judge(samples)["headline"] == f"every request fails: {words}, for 25 s"
    named = [answer(0, "a"), *(failure(10 * place, "status 500", "a") for place in range(1, 20))]
    assert judge(named)["headline"] == "every request fails: a answers 500, for 25 s"
    assert judge(named, "version")["headline"] == "every request fails: v1 answers 500, for 25 s"
    assert tally_of(named).failures() == [("status 500", 19, 19.0)]


def test_a_restart_is_noticed() -> None:
    samples = [answer(place, "ab"[place % 2], started=5 + (place >= 100 and place % 2)) for place in range(102)]
    assert tally_of(samples).verdict(10.2)["headline"] == "b has restarted"
    assert "restarted" not in tally_of(samples, "version").verdict(10.2)["headline"]


def test_names_without_end() -> None:
    samples = [answer(place, f"host-{place // 50}", connection=place) for place in range(20_000)]
    tally = tally_of(samples)
    groups = {group["name"]: group for group in tally.groups()}
    assert len(groups) == 400
    assert not groups["host-399"]["is_silent"]
    assert groups["host-1"]["is_silent"]
    assert tally.verdict(2000.0)["kind"] in ("changed", "one", "one so far", "silent")


def test_a_connection_does_not_lead_to_whoever_has_the_number_of_another() -> None:
    """A number of a source is used again when all are; what was on a connection is forgotten with it."""
    gone = [answer(place, f"host-{place // 50}", connection=1 if place == 49 else 0) for place in range(50 * 260)]
    samples = [*gone, answer(50 * 260, "host-259", connection=1)]
    assert "sticky" not in judge(samples)["kind"]


def test_requests_that_wait() -> None:
    tally = tally_of([answer(0, "a")])
    tally.wait(2, 0.5)
    assert tally.verdict(3.0)["headline"] == "2 requests wait for an answer, for 3 s"


def test_samples_that_come_late() -> None:
    tally = tally_of([answer(20, "a"), answer(10, "a"), failure(15, "refused")])
    assert tally.verdict(2.0)["headline"] == "1 request failed: refused"
