"""What the core is given of a watch's samples; tests/verdict has what it makes of them."""

from typing import Any

import pytest

from yinyang.watch.groups import By
from yinyang.watch.sample import DEFAULT_COLOURS, Replica, Sample, parse_time
from yinyang.watch.verdict import Evidence, Verdict

pytestmark = pytest.mark.host


def answer(place: int, host: str, *, version: str = "v1", started: int = 0, **led_by: Any) -> Sample:
    return Sample(place / 10, place / 10, Replica(host, host, version, DEFAULT_COLOURS, started=started), **led_by)


def judge(samples: list[Sample], by: By = "replica") -> Verdict:
    evidence = Evidence(by)
    for sample in samples:
        evidence.add(sample)
    return evidence.verdict(samples[-1].end + 6, {}, {})


def test_replicas_and_versions() -> None:
    samples = [answer(place, "abcd"[place % 4], version="v2" if place % 4 == 3 else "v1") for place in range(80)]
    assert judge(samples).words == "4 replicas take turns"
    assert judge(samples, "version").words == "v1 gets 75 %, v2 25 %"
    assert judge(samples, "zone").words == "one zone only: no zone"
    assert judge(samples).shares == dict.fromkeys("abcd", (0.25, 0.25, 0.25))


def test_cookies_and_connections() -> None:
    cookies = [answer(place, "abc"[place // 2 % 3], cookie_of="abc"[place // 2 % 3] if place % 2 else None)
               for place in range(200)]  # fmt: skip
    assert judge(cookies).kind == "sticky by cookie"
    connections = [answer(place, "abc"[place % 7 % 3], connection=1 + place % 7) for place in range(200)]
    assert judge(connections).kind == "sticky by connection"
    new = [answer(place, "abc"[place % 3], connection=1 + place) for place in range(200)]
    assert judge(new).kind == "turns"


@pytest.mark.parametrize(
    ("failure", "words"),
    [("status 502", "HTTP 502"), ("refused", "refused"), ("status 999", "failed"), ("SomeError", "failed")],
)
def test_failures(failure: str, words: str) -> None:
    samples = [answer(0, "a"), *(Sample(place, place, failure=failure) for place in range(1, 20))]
    assert judge(samples).words == f"every request fails: {words}, for 25 s"
    named = [answer(0, "a"), *(Sample(place, place, failure="status 500", served_by="a") for place in range(1, 20))]
    assert judge(named).words == "every request fails: a answers 500, for 25 s"


def test_a_restart_is_noticed() -> None:
    samples = [answer(place, "ab"[place % 2], started=5 + (place >= 100 and place % 2)) for place in range(102)]
    evidence = Evidence()
    for sample in samples:
        evidence.add(sample)
    assert evidence.verdict(10.2, {"b": "web-b"}, {}).words == "web-b has restarted"


def test_names_without_end() -> None:
    evidence = Evidence()
    for place in range(20_000):
        evidence.add(answer(place, f"host-{place // 50}", connection=place))
    assert not evidence.is_silent("host-399")
    assert evidence.is_silent("host-1")
    assert evidence.verdict(2000.0, {}, {}).kind in ("changed", "one", "one so far", "silent")


def test_requests_that_wait() -> None:
    evidence = Evidence()
    evidence.add(answer(0, "a"))
    assert evidence.verdict(3.0, {}, {1: 0.5, 2: 1.0}).words == "2 requests wait for an answer, for 3 s"


def test_times() -> None:
    assert parse_time("1970-01-01T00:01:00Z") == 60
    assert [parse_time(value) for value in ("never", 5, None, "9999-99-99")] == [0, 0, 0, 0]
