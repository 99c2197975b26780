"""Runs a watch: samples, shows what happens, sums it up, and turns the expectations into an exit code."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time

from rich.console import Console
from rich.live import Live

from yinyang.watch.client import UnusableError, client_maker
from yinyang.watch.closing import print_expectations
from yinyang.watch.expectations import Expectation, check_expectations
from yinyang.watch.exporter import serving_metrics
from yinyang.watch.goal import Goal
from yinyang.watch.jsonl import print_run, print_sample
from yinyang.watch.junit import write_junit
from yinyang.watch.loop import Loop
from yinyang.watch.metrics import Metrics
from yinyang.watch.options import EXIT_USAGE, Options
from yinyang.watch.sample import Sample
from yinyang.watch.sampler import Sampler
from yinyang.watch.summary import make_report, summary_line
from yinyang.watch.view import View

EXIT_OK = 0
EXIT_EXPECTATION_FAILED = 1
EXIT_SIGNAL = 128  # plus the number of the signal
FRAMES_PER_SECOND = 8  # of the live view


def run(options: Options) -> int:
    """Watch, and return the exit code."""
    try:
        make_client = client_maker(options)
        loop = Loop()
        sampler = Sampler(options, make_client, loop.idle_seconds)
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(_watch(options, sampler))
    except UnusableError as error:
        print(f"yinyang.watch: {error}", file=sys.stderr)
        return EXIT_USAGE
    except BrokenPipeError:  # the reader of the lines has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_SIGNAL + signal.SIGPIPE
    except KeyboardInterrupt:
        return EXIT_SIGNAL + signal.SIGINT


async def _watch(options: Options, sampler: Sampler) -> int:
    stop = asyncio.Event()
    received = _stop_on_signals(stop)
    metrics = Metrics(time.monotonic(), options.rate, options.by, waits=sampler.waits)
    goal = Goal(options.until, options.by) if options.until else None

    def on_sample(sample: Sample) -> None:
        metrics.add(sample)
        if options.jsonl:
            print_sample(sample)
        if goal:
            goal.add(sample)
            if goal.reached is not None:
                stop.set()

    async with contextlib.AsyncExitStack() as stack:
        if options.metrics_port is not None:
            await stack.enter_async_context(serving_metrics(metrics, options.metrics_port))
        if options.jsonl:
            print_run(options)
        sampling = asyncio.create_task(sampler.run(on_sample, stop))
        try:
            await _show(options, metrics, sampling)
        finally:
            sampling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sampling
    now = time.monotonic()
    expectations = check_expectations(options, metrics, goal, now)
    if options.json:
        ended = _end_reason(options, metrics, goal, received)
        print(json.dumps(make_report(options, metrics, now, ended, expectations)))
        sys.stdout.flush()
    code = _tell(options, expectations, now - metrics.begin)
    has_end = options.duration is not None or options.count is not None or options.until is not None
    return EXIT_SIGNAL + received[0] if received and has_end else code


def _stop_on_signals(stop: asyncio.Event) -> list[signal.Signals]:
    """Have SIGINT and SIGTERM set the event; returns the list that signals are added to as they come."""
    received: list[signal.Signals] = []
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        received.append(number)
        stop.set()
        loop.remove_signal_handler(number)  # a second one ends the process at once

    for number in signal.SIGINT, signal.SIGTERM:
        loop.add_signal_handler(number, on_signal, number)
    return received


def _end_reason(options: Options, metrics: Metrics, goal: Goal | None, received: list[signal.Signals]) -> str:
    if received:
        return "signal"
    if goal and goal.reached is not None:
        return "until"
    return "count" if metrics.samples == options.count else "duration"


def _tell(options: Options, expectations: list[Expectation], seconds: float) -> int:
    """Tell which expectations hold, and return the exit code."""
    print_expectations(expectations, sys.stderr)
    if options.junit is not None:
        try:
            write_junit(options.junit, options.display_url, seconds, expectations)
        except OSError as error:
            raise UnusableError(f"{options.junit!r} cannot be written: {error.strerror}") from None
    return EXIT_OK if all(one.holds for one in expectations) else EXIT_EXPECTATION_FAILED


async def _show(options: Options, metrics: Metrics, sampling: asyncio.Task[None]) -> None:
    """Show what happens until sampling ends."""
    if options.json or options.jsonl:
        await sampling
    elif sys.stdout.isatty():
        await _show_live(options, metrics, sampling)
    else:
        await _print_lines(metrics, sampling)


async def _show_live(options: Options, metrics: Metrics, sampling: asyncio.Task[None]) -> None:
    console = Console(highlight=False)
    title = f"{options.display_url} ({'same connections' if options.keep_alive else 'new connections'})"
    with Live(console=console, screen=True, auto_refresh=False) as live:  # a screen of its own survives any resize
        while not sampling.done():
            live.update(View(title, metrics, time.monotonic()), refresh=True)
            await asyncio.wait([sampling], timeout=1 / FRAMES_PER_SECOND)
    sampling.result()
    console.print(View(title, metrics, time.monotonic(), show_all=True))


async def _print_lines(metrics: Metrics, sampling: asyncio.Task[None]) -> None:
    """Print a line each second, and a last one."""
    due = metrics.begin + 1
    while not (await asyncio.wait([sampling], timeout=max(0.0, due - time.monotonic())))[0]:
        print(summary_line(metrics, time.monotonic()), flush=True)
        due += 1
    sampling.result()
    print(summary_line(metrics, time.monotonic()), flush=True)
