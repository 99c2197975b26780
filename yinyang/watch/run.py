"""A watch from its beginning to its exit code: samples, shows, sums up, and judges what was expected."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time

import httpx
from rich.console import Console
from rich.live import Live

from yinyang.watch.expectations import Expectation, check
from yinyang.watch.options import Options
from yinyang.watch.sampling import Sampler
from yinyang.watch.summary import line, report
from yinyang.watch.tally import Tally
from yinyang.watch.view import Picture

EXIT_VIOLATED = 1
EXIT_SIGNALLED = 128  # and the number of the signal
FRAMES = 8  # a second, of the live view


def wrong_url(options: Options) -> str:
    """What is wrong with the URL, which looked like one; empty if nothing is."""
    try:
        httpx.URL(options.url)
    except httpx.InvalidURL as wrong:
        return f"{options.shown!r} is no URL: {wrong}"
    return ""


def run(options: Options) -> int:
    """Watch, and return the exit code."""
    try:
        return asyncio.run(_watch(options))
    except BrokenPipeError:  # whoever read the lines has enough of them
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_SIGNALLED + signal.SIGPIPE
    except KeyboardInterrupt:
        return EXIT_SIGNALLED + signal.SIGINT


async def _watch(options: Options) -> int:
    stop, received = asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def end(number: signal.Signals) -> None:
        received.append(number)
        stop.set()
        loop.remove_signal_handler(number)  # a second one ends it at once

    for number in signal.SIGINT, signal.SIGTERM:
        loop.add_signal_handler(number, end, number)
    sampler = Sampler(options)
    tally = Tally(time.monotonic(), options.keep)
    sampling = asyncio.create_task(sampler.run(tally.note, stop))
    try:
        await _show(options, tally, sampling)
    finally:
        sampling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sampling
    now = time.monotonic()
    expectations = check(options, tally, now)
    if options.json:
        print(json.dumps(report(options, tally, now, _ended(options, tally, received), expectations)))
        sys.stdout.flush()
    if received and (options.duration is not None or options.count is not None):
        return EXIT_SIGNALLED + received[0]
    return _judge(expectations)


def _ended(options: Options, tally: Tally, received: list[signal.Signals]) -> str:
    if received:
        return "signal"
    return "count" if tally.samples == options.count else "duration"


def _judge(expectations: list[Expectation]) -> int:
    for one in expectations:
        if not one.holds:
            print(f"yinyang.watch: expected {one.expected}, seen: {one.seen}", file=sys.stderr)
    return 0 if all(one.holds for one in expectations) else EXIT_VIOLATED


async def _show(options: Options, tally: Tally, sampling: asyncio.Task[None]) -> None:
    """Show what happens until the sampling ends."""
    if options.json:
        await sampling
    elif sys.stdout.isatty():
        await _show_live(options, tally, sampling)
    else:
        await _print_lines(tally, sampling)


async def _show_live(options: Options, tally: Tally, sampling: asyncio.Task[None]) -> None:
    console = Console(highlight=False)
    title = f"{options.shown} ({'same connections' if options.keep else 'new connections'})"
    with Live(console=console, screen=True, auto_refresh=False) as live:  # a screen of its own survives any resize
        while not sampling.done():
            live.update(Picture(title, tally, time.monotonic()), refresh=True)
            await asyncio.wait([sampling], timeout=1 / FRAMES)
    sampling.result()
    console.print(Picture(title, tally, time.monotonic(), whole=True))


async def _print_lines(tally: Tally, sampling: asyncio.Task[None]) -> None:
    """A line each second, and a last one."""
    due = tally.begin + 1
    while not (await asyncio.wait([sampling], timeout=max(0.0, due - time.monotonic())))[0]:
        print(line(tally, time.monotonic()), flush=True)
        due += 1
    sampling.result()
    print(line(tally, time.monotonic()), flush=True)
