"""When requests are sent."""

import itertools
import json
import statistics
import subprocess
import sys

import pytest
from conftest import PATIENCE

from watch.command import environment

pytestmark = pytest.mark.usefixtures("libraries")

# The sampler on a clock of its own, on which everything but waiting takes no time; prints when requests began, and how
# many there were at the same time.
SCRIPT = """import asyncio, json, sys, time
from yinyang._core import WatchOptions
from yinyang.watch.client import client_maker
from yinyang.watch.sampler import Outcome, Sampler

now, open_now, most = 0.0, 0, 0
idle, delay = sys.argv.pop(1) == "idle", float(sys.argv.pop(1))

async def sleep(seconds, real=asyncio.sleep):
    global now
    now += max(0.0, seconds)
    await real(0)

async def answer(slot, cookies):
    global open_now, most
    open_now += 1
    most = max(most, open_now)
    end = now + delay
    while now < end:
        await asyncio.sleep(0.001)
    open_now -= 1
    return Outcome(now, failure="none")

async def main():
    options = WatchOptions(sys.argv[1:])
    sampler, samples = Sampler(options, options.concurrency, client_maker(options), lambda: now if idle else 0.0), []
    sampler._get_whoami = answer
    await sampler.run(samples.append, asyncio.Event())
    print(json.dumps([[sample.start for sample in samples], most]))

time.monotonic = lambda: now
asyncio.sleep = sleep
asyncio.run(main())"""


def sent(state: str, delay: float, *options: str) -> tuple[list[float], int]:
    command = [sys.executable, "-c", SCRIPT, state, str(delay), "http://a/", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True, env=environment())
    starts, most = json.loads(done.stdout)
    return starts, most


def test_intervals_are_random_and_keep_the_mean_rate() -> None:
    """As of an exponential distribution: the mean and the standard deviation are alike; 1 run in 10 million fails."""
    starts, _ = sent("idle", 0, "--rate", "50", "--count", "5001", "--concurrency", "100")
    intervals = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert statistics.mean(intervals) == pytest.approx(1 / 50, rel=0.08)
    assert statistics.stdev(intervals) == pytest.approx(1 / 50, rel=0.16)


@pytest.mark.parametrize(("state", "expected"), [("idle", 16), ("busy", 1)])
def test_no_more_at_the_same_time_than_the_watch_has_time_for(state: str, expected: int) -> None:
    """A target that is slow has as many as it may; a watch that is itself too slow would only delay them."""
    _, most = sent(state, 1.0, "--rate", "100000", "--count", "40", "--concurrency", "16")
    assert most == expected


def test_none_is_sent_after_the_end() -> None:
    """Not even where requests are late."""
    starts, _ = sent("busy", 0.05, "--rate", "100", "--duration", "1s")
    assert max(starts) < 1
