"""When requests are sent."""

import itertools
import json
import statistics
import subprocess
import sys

import pytest
from conftest import PATIENCE

from watch.command import environment

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("libraries")]

# The sampler on a clock of its own, on which everything but waiting takes no time; prints when requests began.
SCRIPT = """import asyncio, json, sys, time
from yinyang.watch.client import client_maker
from yinyang.watch.options import parse_options
from yinyang.watch.sampler import Outcome, Sampler

now = 0.0

async def sleep(seconds, real=asyncio.sleep):
    global now
    now += max(0.0, seconds)
    await real(0)

async def answer(slot, cookies):
    return Outcome(failure="none")

async def main():
    options = parse_options(sys.argv[1:])
    sampler, samples = Sampler(options, client_maker(options)), []
    sampler._get_whoami = answer
    await sampler.run(samples.append, asyncio.Event())
    print(json.dumps([sample.start for sample in samples]))

time.monotonic = lambda: now
asyncio.sleep = sleep
asyncio.run(main())"""


def test_intervals_are_random_and_keep_the_mean_rate() -> None:
    """As of an exponential distribution: the mean and the standard deviation are alike; 1 run in 10 million fails."""
    command = [sys.executable, "-c", SCRIPT, "http://a/", "--rate", "50", "--count", "5001", "--concurrency", "100"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True, env=environment())
    starts = json.loads(done.stdout)
    intervals = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert statistics.mean(intervals) == pytest.approx(1 / 50, rel=0.08)
    assert statistics.stdev(intervals) == pytest.approx(1 / 50, rel=0.16)
