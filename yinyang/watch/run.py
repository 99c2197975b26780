"""Runs a watch: samples, shows what happens, sums it up, and turns the expectations into an exit code."""

import asyncio
import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.live import Live

from yinyang._core import Tally, WatchOptions, run_line, sample_line
from yinyang.watch.client import UnusableError, client_maker
from yinyang.watch.exits import EXIT_EXPECTATION_FAILED, EXIT_OK, EXIT_SIGNAL, EXIT_USAGE, complain
from yinyang.watch.exporter import serving_metrics
from yinyang.watch.loop import Loop
from yinyang.watch.sample import Sample
from yinyang.watch.sampler import Sampler
from yinyang.watch.view import View

SPARE_FILES = 8  # that are left for what is opened for a moment: modules, look-ups of names, readers of metrics
FRAMES_PER_SECOND = 8  # of the live view
MARKS = "\N{CHECK MARK}\N{BALLOT X}"  # that tell which expectations hold


def run(options: WatchOptions) -> int:
    """Watch, and return the exit code."""
    begin = time.monotonic()
    try:
        make_client = client_maker(options)
        loop = Loop()
        sampler = Sampler(options, _possible_concurrency(options.concurrency), make_client, loop.idle_seconds)
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(_watch(options, sampler))
    except UnusableError as error:
        complain(f"yinyang.watch: {error}\n")
        with contextlib.suppress(OSError):  # which may be the error
            _write_junit(Tally(options, begin), time.monotonic(), f"{error}")
        return EXIT_USAGE
    except BrokenPipeError:  # the reader of the lines has ended
        _give_up_output()
        return EXIT_SIGNAL + signal.SIGPIPE
    except KeyboardInterrupt:
        return EXIT_SIGNAL + signal.SIGINT


def _possible_concurrency(wanted: int) -> int:
    """How many connections there can be, with the limit of open files raised as far as it may be."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if limit == resource.RLIM_INFINITY:
        return wanted
    possible = max(1, min(wanted, limit - len(os.listdir("/proc/self/fd")) - SPARE_FILES))
    if possible < wanted:
        words = f"at most {possible} requests at the same time, not {wanted}, as the limit of open files is {limit}"
        complain(f"yinyang.watch: {words}\n")
    return possible


def _say(text: str) -> None:
    """Print a line; raises BrokenPipeError, or UnusableError if it cannot be written for another reason."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _give_up_output()
        raise UnusableError(f"the output cannot be written: {error.strerror}") from None


def _give_up_output() -> None:
    """Write nothing more, at the end of the process either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _watch(options: WatchOptions, sampler: Sampler) -> int:
    stop = asyncio.Event()
    tally = Tally(options, time.monotonic())

    def now() -> float:
        """The moment, at which the tally knows what waits."""
        begins = sampler.waits.values()
        tally.wait(len(begins), min(begins, default=0.0), max(begins, default=0.0))
        return time.monotonic()

    def give_up() -> None:
        tally.end(now())
        stop.set()

    received = _on_signals(give_up)

    def on_sample(sample: Sample) -> None:
        now()  # the first request that waits may have begun before this one
        led_by = (sample.connection, sample.cookie_of)
        tally.add(sample.start, sample.end, sample.replica, sample.failure, *led_by)
        if options.jsonl:
            about = (sample.start, sample.end, sample.replica, sample.failure, *led_by)
            _say(sample_line(time.time(), *about))
        if tally.goal_reached is not None:
            stop.set()

    async with contextlib.AsyncExitStack() as stack:
        if options.metrics_port is not None:
            await stack.enter_async_context(serving_metrics(tally, options.metrics_port))
        if options.jsonl:
            _say(run_line(options, time.time()))
        sampling = asyncio.create_task(sampler.run(on_sample, stop))
        try:
            await _show(tally, now, sampling)
        finally:
            sampling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sampling
    end = now()
    if options.json:
        _say(tally.report(end, _end_reason(tally, received)))
    code = _tell(tally, end)
    has_end = options.duration is not None or options.count is not None or options.has_goal
    return EXIT_SIGNAL + received[0] if received and has_end else code


def _on_signals(give_up: Callable[[], None]) -> list[signal.Signals]:
    """Have SIGINT and SIGTERM call this; returns the list that signals are added to as they come."""
    received: list[signal.Signals] = []
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        received.append(number)
        give_up()
        loop.remove_signal_handler(number)  # a second one ends the process at once

    for number in signal.SIGINT, signal.SIGTERM:
        loop.add_signal_handler(number, on_signal, number)
    return received


def _end_reason(tally: Tally, received: list[signal.Signals]) -> str:
    if received:
        return "signal"
    if tally.goal_reached is not None:
        return "until"
    return "count" if tally.samples == tally.options.count else "duration"


def _tell(tally: Tally, now: float) -> int:
    """Tell which expectations hold, and return the exit code."""
    is_github = os.environ.get("GITHUB_ACTIONS") == "true"
    complain(tally.closing(now, _can_encode(MARKS, sys.stderr), is_github))
    try:
        _write_junit(tally, now)
    except OSError as error:
        raise UnusableError(f"{tally.options.junit!r} cannot be written: {error.strerror}") from None
    return EXIT_OK if all(holds for _, _, holds in tally.expectations(now)) else EXIT_EXPECTATION_FAILED


def _write_junit(tally: Tally, now: float, problem: str | None = None) -> None:
    """Write the file, if there is to be one; raises OSError."""
    if tally.options.junit is not None:
        Path(tally.options.junit).write_text(tally.junit(now, problem), "utf-8")


def _can_encode(text: str, file: TextIO) -> bool:
    try:
        text.encode(file.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


async def _show(tally: Tally, now: Callable[[], float], sampling: asyncio.Task[None]) -> None:
    """Show what happens until sampling ends."""
    if tally.options.json or tally.options.jsonl:
        await sampling
    elif sys.stdout.isatty():
        await _show_live(tally, now, sampling)
    else:
        await _print_lines(tally, now, sampling)


async def _show_live(tally: Tally, now: Callable[[], float], sampling: asyncio.Task[None]) -> None:
    console = Console(highlight=False)
    connections = "same connections" if tally.options.keep_alive else "new connections"
    title = f"{tally.options.display_url} ({connections})"
    with Live(console=console, screen=True, auto_refresh=False) as live:  # a screen of its own survives any resize
        _leave_on_signals(live)
        while not sampling.done():
            live.update(View(title, tally, now()), refresh=True)
            await asyncio.wait([sampling], timeout=1 / FRAMES_PER_SECOND)
    sampling.result()
    console.print(View(title, tally, now(), show_all=True))


def _leave_on_signals(live: Live) -> None:
    """Have signals that stop or end the process give the terminal back before."""
    loop = asyncio.get_running_loop()

    def leave(number: signal.Signals) -> None:
        live.stop()
        loop.remove_signal_handler(number)
        os.kill(os.getpid(), number)
        loop.add_signal_handler(number, leave, number)
        live.start()

    for number in signal.SIGTSTP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2:
        loop.add_signal_handler(number, leave, number)


async def _print_lines(tally: Tally, now: Callable[[], float], sampling: asyncio.Task[None]) -> None:
    """Print a line each second, and a last one."""
    due = tally.begin + 1
    while not (await asyncio.wait([sampling], timeout=max(0.0, due - time.monotonic())))[0]:
        _say(tally.line(now()))
        due += 1
    sampling.result()
    _say(tally.line(now()))
