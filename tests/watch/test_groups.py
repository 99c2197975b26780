"""Replicas by version, zone or node, and what is expected of them."""

import itertools

import pytest

from watch.command import Watch, report
from watch.servers import answering, failing, reset, says_each, whoami
from watch.tallies import replica, tally_for
from yinyang._core import Tally

CANARY = [
    whoami("web-a", "v1", "north", "n1"),
    whoami("web-b", "v1", "south", "n2"),
    whoami("web-c", "v1", "north", "n1"),
    whoami("web-d", "v2"),
]
QUICK = ("--rate", 500, "--json")


def test_replicas_as_they_describe_themselves(watch: Watch) -> None:
    with answering(says_each(CANARY)) as port:
        found = report(watch(f"http://127.0.0.1:{port}", "--count", 4, *QUICK))
    told = {one["host"]: (one["version"], one["zone"], one["node"]) for one in found["replicas"]}
    assert told["web-b"] == ("v1", "south", "n2")
    assert told["web-d"] == ("v2", None, None)
    assert [*told] == [group["name"] for group in found["groups"]]


def test_a_request_that_is_sent_back_is_nobody(web_lone: int, watch: Watch) -> None:
    """Its host is the one that was asked; who answers is in the header."""
    found = report(watch(f"http://127.0.0.1:{web_lone}/echo", "--count", 3, *QUICK))
    assert [one["host"] for one in found["replicas"]] == ["web-lone"]


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("version", {"v1": ["web-a", "web-b", "web-c"], "v2": ["web-d"]}),
        ("zone", {"north": ["web-a", "web-c"], "south": ["web-b"], "no zone": ["web-d"]}),
        ("node", {"n1": ["web-a", "web-c"], "n2": ["web-b"], "no node": ["web-d"]}),
    ],
)
def test_groups(by: str, groups: dict[str, list[str]], watch: Watch) -> None:
    with answering(says_each(itertools.cycle(CANARY))) as port:
        url = f"http://127.0.0.1:{port}"
        found = report(watch(url, "--count", 40, *QUICK, "--by", by))
        lines = watch(url, "--count", 40, "--rate", 500, "--by", by)
    assert found["by"] == by
    assert {group["name"]: sorted(group["replicas"]) for group in found["groups"]} == groups
    assert {group["name"]: group["share"] for group in found["groups"]} == {
        name: len(hosts) / 4 for name, hosts in groups.items()
    }
    for name, hosts in groups.items():
        assert f"{name} {25 * len(hosts)} %" in lines.stdout


def test_a_replica_that_is_in_another_group_by_now(watch: Watch) -> None:
    with answering(says_each([whoami("web-a", "v1"), whoami("web-a", "v2")])) as port:
        found = report(watch(f"http://127.0.0.1:{port}", "--count", 2, "--concurrency", 1, *QUICK, "--by", "version"))
    assert [(one["name"], one["replicas"], one["answers"]) for one in found["groups"]] == [
        ("v1", [], 1),
        ("v2", ["web-a"], 1),
    ]


@pytest.mark.parametrize(
    ("by", "texts", "failed"),
    [
        ("version", ["v1=75%±1", "v2 = 25 % +- 1", "v2=20", "v3=0%"], []),
        ("version", ["v2=10%", "v1=75%"], ["v2 gives 10 % of the answers, give or take 5, seen: 25.0 % of 40"]),
        ("version", ["v3=5%"], ["v3 gives 5 % of the answers, give or take 5, seen: no version v3, but v1, v2"]),
        ("version", ["v3=10%"], ["v3 gives 10 % of the answers, give or take 5, seen: no version v3, but v1, v2"]),
        ("replica", ["web-d=25%", "d=25%"], []),
        (
            "replica",
            ["v2=25%±3"],
            ["v2 gives 25 % of the answers, give or take 3, seen: "
             "no replica v2, but web-a, web-b, web-c, web-d; it is a version: use --by version"],
        ),
    ],
)  # fmt: skip
def test_expected_shares(by: str, texts: list[str], failed: list[str], watch: Watch) -> None:
    expected = [argument for text in texts for argument in ("--expect", text)]
    with answering(says_each(itertools.cycle(CANARY))) as port:
        url = f"http://127.0.0.1:{port}"
        done = watch(url, "--count", 40, "--concurrency", 1, *QUICK, "--by", by, *expected)
    found = [one for one in report(done)["expectations"] if not one["holds"]]
    assert [f"{one['expected']}, seen: {one['seen']}" for one in found] == failed
    assert done.returncode == int(bool(failed))


@pytest.mark.parametrize(("by", "name"), [("replica", "web-2"), ("version", "v2")])
def test_a_replica_that_only_fails(by: str, name: str, watch: Watch) -> None:
    """It is one of those that share, and gives no answer."""
    expected = ("--by", by, "--min-share", "10%", "--expect", f"{name}=5%", "--expect-replicas", 1)
    with answering(says_each(itertools.cycle([whoami("web-1", "v1"), failing("web-2", "v2")]))) as port:
        url = f"http://127.0.0.1:{port}"
        found = report(watch(url, "--count", 40, "--concurrency", 1, *QUICK, *expected))
    assert found["verdict"]["words"].startswith(f"1 in 2 requests fails: {name} answers 503")
    [_, group] = found["groups"]
    assert (group["name"], group["replicas"], group["answers"], group["failures"]) == (name, ["web-2"], 0, 20)
    assert (group["share"], group["silent_for"], group["silent"]) == (0, None, False)
    assert [(one["seen"], one["holds"]) for one in found["expectations"][1:]] == [
        ("1: web-1", True),
        (f"{name} 0.0 % of 19", False),  # since it came
        ("0.0 % of 20", False),
    ]


def test_two_versions_of_one_name(watch: Watch) -> None:
    """They are two, as both go on to answer."""
    expected = ("--min-share", "60%", "--expect", "v1=50%+-2", "--by", "version")
    limits = ("--count", 60, "--concurrency", 1)
    with answering(says_each(itertools.cycle([whoami("web", "v1"), whoami("web", "v2")]))) as port:
        url = f"http://127.0.0.1:{port}"
        found = report(watch(url, *limits, *QUICK, *expected))
        one_by_one = report(watch(url, *limits, *QUICK))
    assert [(one["name"], one["replicas"], one["silent"]) for one in found["groups"]] == [
        ("v1", ["web"], False),
        ("v2", ["web"], False),
    ]
    assert [one["holds"] for one in found["expectations"]] == [True, False, True]
    assert found["verdict"]["words"] == "2 versions take turns"
    assert [one["name"] for one in one_by_one["groups"]] == ["web", "web (2)"]
    assert one_by_one["verdict"]["words"] == "2 replicas take turns"


def lives(*given: tuple[float, str, int], by: str = "version") -> Tally:
    """Answers of a replica of one name: when, and its version and when it was started."""
    tally = tally_for("--by", by, "--min-share", "90%", "--expect-replicas", "1")
    for moment, version, started in given:
        tally.add(moment, moment, replica("web", version, started=started))
    return tally


def test_an_update_under_the_same_name() -> None:
    """It is one replica, which has begun another life; also if an answer of the former one comes late."""
    update = [*((number, "v1", 1) for number in range(20)), *((number, "v2", 2) for number in range(20, 25))]
    assert lives(*update, by="replica").verdict(24)["headline"] == "web has restarted"
    for late in False, True:
        tally = lives(*update)
        if late:
            tally.add(19.5, 25, replica("web", "v1", started=1))
        assert [(one["name"], one["replicas"], one["is_silent"]) for one in tally.groups()] == [
            ("v1", [], True),
            ("v2", ["web"], False),
        ]
        assert [holds for _, _, holds in tally.expectations(25)] == [True, True, True]


def test_two_of_one_name_and_version() -> None:
    """They are known by when they were started; neither has restarted."""
    tally = lives(*((number / 10, "v1", 1 + number % 2) for number in range(60)), by="replica")
    assert tally.verdict(6)["headline"] == "2 replicas take turns"


def test_no_share_is_seen_without_an_answer(watch: Watch) -> None:
    with answering(reset) as port:
        expected = ("--expect", "v1=0%", "--expect", "v2=5%", "--min-share", "0%")
        done = watch(f"http://127.0.0.1:{port}", "--count", 3, *QUICK, *expected)
    assert [(one["seen"], one["holds"]) for one in report(done)["expectations"][1:]] == 3 * [("no answer", False)]


def test_until_a_share_is_reached(watch: Watch) -> None:
    """It ends the watch; where the count comes first, it is an expectation that does not hold."""
    rollout = [whoami("web-a", "v1")] * 30
    until = ["--concurrency", 1, *QUICK, "--by", "version", "--until", "v2 >= 50%"]
    with answering(says_each(itertools.chain(rollout, itertools.repeat(whoami("web-b", "v2"))))) as port:
        done = watch(f"http://127.0.0.1:{port}", "--count", 10000, *until)
    found = report(done)
    assert (done.returncode, found["ended"], found["samples"]) == (0, "until", 60)
    assert found["expectations"][-1]["seen"].startswith("reached after ")
    with answering(says_each(rollout)) as port:
        done = watch(f"http://127.0.0.1:{port}", "--count", 30, *until)
    found = report(done)
    assert (done.returncode, found["ended"]) == (1, "count")
    assert found["expectations"][-1] == {
        "expected": "v2 to reach 50 % of the answers of the last 20 s",
        "seen": "no version v2, but v1",
        "holds": False,
    }


def add(tally: Tally, moment: float, host: str) -> None:
    tally.add(moment, moment, replica(host))


def test_a_goal_is_about_the_latest_answers() -> None:
    tally = tally_for("--until", "b >= 100%")
    for number in range(100):
        add(tally, number / 100, "a")
    for number in range(20):
        add(tally, 2 + number / 100, "b")
    assert (tally.goal_reached, tally.goal) == (None, (20 / 120, 120))
    add(tally, 20.5, "a")
    add(tally, 18.0, "a")  # a little earlier than the one before
    assert tally.goal[1] == 40 + 20 + 2  # those of the last 200 tenths of a second
    for number in range(20):
        tally.add(45, 45, replica("b"), cookie_of="b")
        tally.add(45, 45, failure="refused")
        add(tally, 45 + number / 100, "b")
    assert tally.goal_reached == 45.19
    add(tally, 46, "a")
    assert tally.goal == (1.0, 20)  # as it was then


def test_the_least_share_is_of_those_that_are_there() -> None:
    """A roll-out in which three replace three, one by one: none of them gave a fifth of all answers."""
    tally, moment = tally_for("--min-share", "33%"), 0.0
    there = ["a", "b", "c"]
    for new in ["", "d", "e", "f"]:
        there = [new, *there[:2]] if new else there
        for number in range(100 * len(there)):
            moment += 0.01
            add(tally, moment, there[number % len(there)])
    [_, (_, seen, holds)] = tally.expectations(moment)
    assert holds
    assert seen.endswith(" 33.3 % of 300")
    add(tally, moment + 30, "a")  # it is back, and answers count anew
    [_, (_, seen, holds)] = tally.expectations(moment + 30)
    assert (seen, holds) == ("too few to tell: 1 answer since the latest came", True)
    for number in range(60):
        add(tally, moment + 31 + number / 100, "a" if number % 10 else "f")
    [_, (_, seen, holds)] = tally.expectations(moment + 32)
    assert (seen, holds) == ("f 9.8 % of 61", False)


def test_late_answers_are_no_slow_requests(web_lone: int, watch: Watch) -> None:
    limits = ("--count", 20, "--rate", 20, "--concurrency", 100)
    done = watch(f"http://127.0.0.1:{web_lone}/?latency=2s", *limits)
    assert done.returncode == 0
    assert "asked for" not in done.stdout


def test_latency(web_lone: int, watch: Watch) -> None:
    url = f"http://127.0.0.1:{web_lone}"
    assert watch(url, "--count", 5, "--rate", 100, "--max-p99", "2m").returncode == 0
    done = watch(f"{url}/?latency=100ms", "--count", 5, "--rate", 100, "--max-p99", "1ms", "--json")
    [_, latency] = report(done)["expectations"]
    assert (done.returncode, latency["expected"], latency["holds"]) == (1, "99 % of answers within 1 ms", False)
