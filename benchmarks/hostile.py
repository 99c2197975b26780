"""What hostile clients do to a server, and to a client that behaves: ours in both shapes, Go's net/http, and nginx.

    python benchmarks/hostile.py [--only SCENARIO] [--contestants a,b] [--scale 0.1] [--json FILE]

Prints tables in Markdown. A contestant that cannot take part is named with the reason. The server has one CPU and a
worker; the load and the client that behaves share another CPU. Needs Linux with two CPUs, a hard limit of some
12,000 descriptors, and prlimit (util-linux). As root it runs itself and the servers before other programs (SCHED_RR),
and keeps the CPUs from halting (/dev/cpu_dma_latency), as both would be measured instead of the servers.

How each figure is got:

ended           What the clients saw: the status of the first answer, if any, and then a close, a reset, or neither
                within 16 s (greedy: 20 s) after the last connection sent its first byte.
still held      Descriptors that the server then had more than before the crowd.
time to the end From a connection's first byte to when its client saw the end: median, and the longest.
p99             Of a client with one connection and a request every 5 ms for 4 s, timed from when a request was due, so
                an answer that is late counts for all that it delays. In each round a window without the crowd, on the
                same new server, and one with it; the median of the rounds, and their range. Without the crowd the
                generator sends as many bytes, to a connection of its own.
memory          Growth of the proportional set size of the server's processes (user space only) for each connection
                that is open when the window with the crowd begins; the median of the rounds.
open            Connections when that window began and when it ended, of the last round.
longest while   Of crowds that send all at once: the slowest answer to the same client while they do so, on a server of
it came         its own. The windows of the p99 begin when that is over: when the server has been quiet for a second.

descriptors: CPU is the share of a CPU that the server ran while all clients were idle for 10 s; a new client has 2 s to
be answered, 10 try one after another, and 10 more at once after the idle ones have left. resets: of the descriptors
and processes of the server's whole tree, and its proportional set size.
"""

import argparse
import contextlib
import json
import os
import resource
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from attacks import ATTACKS, DESCRIPTORS, LINGER, Attack, Round, attack_once
from contestants import Contestant, made_ready, table
from figures import extent, number
from shortages import FEW, IDLE_CLIENTS, RELEASE_MOST, RESETS, Resets, Shortage, descriptors_once, resets_once

CLIENT_CPU = 0
ROUNDS = 3
KEYS = ("static", "python", "go", "nginx")

Failures = dict[str, str]  # by key of contestant


def attack_row(rounds: list[Round]) -> list[str]:
    last = rounds[-1]
    memory = [each.memory for each in rounds if each.memory is not None]
    longest = [each.longest for each in rounds if each.longest is not None]
    return [
        "; ".join(f"{words}: {count:,}" for words, count in last.outcomes.items()),
        f"{last.held:,}",
        f"{statistics.median(last.took):.2f} (max {max(last.took):.2f})" if last.took else "",
        extent([each.p99_without for each in rounds], 1000),
        extent([each.p99_with for each in rounds], 1000),
        extent([each.p99_with / each.p99_without for each in rounds], 1),
        f"{statistics.median(memory):,.0f}" if memory else "none was open",
        f"{last.open_before:,} to {last.open_after:,}",
        *([extent(longest, 1000)] if longest else []),
    ]


def attacked(attack: Attack, servers: list[Contestant], scale: float) -> tuple[str, dict]:
    """The rounds of an attack, in which the contestants take turns; only the last is observed to its end."""
    count = max(1, round(attack.count * scale))
    rounds: dict[str, list[Round]] = {each.key: [] for each in servers if not each.missing}
    failures: Failures = {}
    for turn in range(ROUNDS):
        for each in servers:
            if each.missing or each.key in failures:
                continue
            print(f"{attack.key}, round {turn + 1} of {ROUNDS}: {each.name}", file=sys.stderr)
            try:
                rounds[each.key].append(attack_once(attack, each, count, turn == ROUNDS - 1))
            except OSError as error:
                failures[each.key] = f"failed: {error}"
    heads = [
        "ended",
        "still held",
        "time to the end, s",
        "p99 without, ms",
        "p99 with, ms",
        "ratio",
        "memory, B",
        "open",
    ]
    if not attack.drips():
        heads.append("longest while it came, ms")
    rows = {key: attack_row(done) for key, done in rounds.items() if key not in failures}
    others = [share.others for done in rounds.values() for share in done]
    text = f"### {attack.key}\n\n{count:,} connections: {attack.title}.\n\n{table(heads, servers, rows, failures)}\n"
    if others:
        text += f"\nOther programs took {statistics.median(others):.1%} of the CPUs in a median window, "
        text += f"{max(others):.1%} in the worst.\n"
    return text, {key: [asdict(each) for each in done] for key, done in rounds.items()}


def shortage_row(figures: Shortage) -> list[str]:
    def tries(times: list[float | None]) -> str:
        answered = [time for time in times if time is not None]
        words = f"{len(answered)} of {len(times)}"
        if answered:
            words += f", {number(statistics.median(answered) * 1000)} (max {number(max(answered) * 1000)})"
        return words

    return [
        f"{figures.answered:,}",
        f"{figures.closed:,}",
        f"{figures.cpu:.2%}",
        tries(figures.during),
        tries(figures.after),
    ]


def resets_row(figures: Resets) -> list[str]:
    before, half, after = (f"{size / 1000:,.0f}" for size in figures.memory)
    return [
        f"{figures.descriptors[0]}, {figures.descriptors[1]:,}",
        f"not in {RELEASE_MOST:.0f}" if figures.released is None else f"{max(0.0, figures.released - LINGER):.1f}",
        f"{figures.died}, {figures.new}",
        f"{before}, {half}, {after}",
        "yes" if figures.answers else "no",
    ]


def once(
    key: str, servers: list[Contestant], measure: Callable[[Contestant], Shortage | Resets]
) -> tuple[dict[str, Shortage | Resets], Failures]:
    results = {}
    failures: Failures = {}
    for each in servers:
        if each.missing:
            continue
        print(f"{key}: {each.name}", file=sys.stderr)
        try:
            results[each.key] = measure(each)
        except OSError as error:
            failures[each.key] = f"failed: {error}"
    return results, failures


def short(servers: list[Contestant], scale: float) -> tuple[str, dict]:
    # fewer idle clients than descriptors would be no shortage
    count = max(round(IDLE_CLIENTS * scale), FEW + 50)
    results, failures = once("descriptors", servers, lambda each: descriptors_once(each, count))
    heads = [
        "idle ones answered",
        "of them closed",
        "CPU",
        "new clients answered, in ms",
        "once the idle ones are gone",
    ]
    text = (
        f"### descriptors\n\nA server with {FEW} descriptors, and {count:,} clients that made a request and stay.\n\n"
    )
    text += table(heads, servers, {key: shortage_row(each) for key, each in results.items()}, failures) + "\n"
    return text, {key: asdict(each) for key, each in results.items()}


def resets(servers: list[Contestant], scale: float) -> tuple[str, dict]:
    count = max(400, round(RESETS * scale))
    results, failures = once("resets", servers, lambda each: resets_once(each, count))
    heads = [
        f"descriptors before, and {LINGER} s after",
        "all given back, s later",
        "processes gone, new",
        "memory before, half-way, after, kB",
        "answers afterwards",
    ]
    text = f"### resets\n\n{count:,} connections, reset at random points.\n\n"
    text += table(heads, servers, {key: resets_row(each) for key, each in results.items()}, failures) + "\n"
    return text, {key: asdict(each) for key, each in results.items()}


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Run this and its servers before other programs, and keep the CPUs from halting, if that is permitted.

    To wake a virtual CPU that has halted takes longer than to answer, and as long as its host likes.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        with contextlib.suppress(OSError):
            latency = stack.enter_context(open("/dev/cpu_dma_latency", "wb", buffering=0))
            latency.write(bytes(4))  # for as long as it is open
        yield


def main() -> None:
    scenarios = {attack.key: attack for attack in ATTACKS} | {"descriptors": short, "resets": resets}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=scenarios)
    parser.add_argument("--contestants", help=f"of {','.join(KEYS)}", default=",".join(KEYS))
    parser.add_argument("--scale", type=float, default=1.0, help="factor for the number of connections")
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()
    keys = [key for key in KEYS if key in options.contestants.split(",")]
    if unknown := set(options.contestants.split(",")) - set(KEYS):
        parser.error(f"no such contestant: {', '.join(sorted(unknown))}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    os.sched_setaffinity(0, {CLIENT_CPU})
    servers = made_ready(keys)
    figures = {}
    with undisturbed():
        for key, scenario in scenarios.items():
            if options.only in (None, key):
                run = partial(attacked, scenario) if isinstance(scenario, Attack) else scenario
                text, figures[key] = run(servers, options.scale)
                print(text, flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
