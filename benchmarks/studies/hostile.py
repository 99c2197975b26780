"""Effect of hostile clients on a server and on a well-behaved client: our server in both shapes, Go's net/http and
nginx.

    python -m benchmarks.studies.hostile [--only SCENARIO] [--contestants a,b] [--scale 0.1] [--json FILE]

Prints tables in Markdown; the row of a contestant that cannot take part has the reason. The server has one worker and
one CPU; the attack and the well-behaved client share the other CPU. Needs Linux with two CPUs, a hard limit of about
12,000 descriptors, and prlimit (util-linux). As root, the script gives itself and the servers priority over other
programs (SCHED_RR), and keeps the CPUs from halting (/dev/cpu_dma_latency), because both would distort the latency.

ended           Outcome for the clients: the status of the first response, if any, and then a close, a reset, or
                neither within 16 s (greedy: 20 s) after the first byte of the last connection.
still held      Additional descriptors of the server at that time.
time to the end Seconds from the first byte of a connection until its client notices the end: median and maximum.
p99             Latency of a client with one connection and a request every 5 ms for 4 s, counted from the moment at
                which a request was due, so one late response also counts for the requests that it delays. Each round
                has a window without the attack and a window with it, on the same new server; the table has the median
                and the range of the rounds. In the window without it, the generator sends as many bytes to a socket
                of its own.
p99 beside      Likewise of a second client, in the window with the attack: its server is one more of the same kind, on
                the same CPU, which nobody attacks. So it tells what the clients wait for because the attack is on the
                same two CPUs, and the ratio, of "with" to "beside", what the attack costs beyond that.
CPU             Share of a CPU that the attacked server uses in the window with the attack.
memory          Growth of the proportional set size of the server's processes (user space only) per connection that is
                open when the window under attack begins; the median of the rounds.
kernel          Likewise, the buffers that the kernel has for the server's connections (ss -tm); the client's side has
                its own, which are not counted.
open            Number of open connections at the beginning and at the end of that window, in the last round.
slowest during  For attacks that send everything at once: the slowest response to the same client meanwhile, on a new
the attack      server. The windows of the p99 begin later, when the server has been quiet for a second.

descriptors: CPU is the share of one CPU that the server uses while all clients are idle for 10 s. 10 new clients try
one after the other, with a timeout of 2 s; 10 more try after the idle clients have left. resets: descriptors,
processes and proportional set size of the server and all its descendants.
"""

import argparse
import json
import os
import resource
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks.lib.contestants import Contestant, contestant_table, prepare
from benchmarks.lib.figures import extent, number
from benchmarks.lib.processes import CLIENT_CPU, real_time_priority
from benchmarks.studies.attacks import ATTACKS, DESCRIPTORS, LINGER, Attack, Round, attack_once
from benchmarks.studies.shortages import (
    FEW,
    IDLE_CLIENTS,
    RELEASE_TIMEOUT,
    RESETS,
    Resets,
    Shortage,
    descriptors_once,
    resets_once,
)

ROUNDS = 3
KEYS = ("static", "python", "go", "nginx")

Failures = dict[str, str]  # by key of contestant


def attack_row(rounds: list[Round]) -> list[str]:
    last = rounds[-1]
    memory = [each.memory for each in rounds if each.memory is not None]
    kernel = [each.kernel_memory for each in rounds if each.kernel_memory is not None]
    longest = [each.longest for each in rounds if each.longest is not None]
    return [
        "; ".join(f"{outcome}: {count:,}" for outcome, count in last.outcomes.items()),
        f"{last.held:,}",
        f"{statistics.median(last.durations):.2f} (max {max(last.durations):.2f})" if last.durations else "",
        extent([each.p99_without for each in rounds], 1000),
        extent([each.p99_with for each in rounds], 1000),
        extent([each.p99_beside for each in rounds], 1000),
        extent([each.p99_with / each.p99_beside for each in rounds], 1),
        extent([each.cpu for each in rounds], 100),
        f"{statistics.median(memory):,.0f}" if memory else "none open",
        f"{statistics.median(kernel):,.0f}" if kernel else "none open",
        f"{last.open_before:,} to {last.open_after:,}",
        *([extent(longest, 1000)] if longest else []),
    ]


def attacked(attack: Attack, servers: list[Contestant], scale: float) -> tuple[str, dict]:
    """All rounds of an attack; the contestants take turns, and only the last round is observed to its end."""
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
        "p99 beside, ms",
        "ratio to beside",
        "CPU, %",
        "memory, B",
        "kernel, B",
        "open",
    ]
    if not attack.is_slow():
        heads.append("slowest during the attack, ms")
    rows = {key: attack_row(done) for key, done in rounds.items() if key not in failures}
    others = [share.others for done in rounds.values() for share in done]
    text = f"### {attack.key}\n\n{count:,} connections: {attack.title}.\n\n"
    text += contestant_table(heads, servers, rows, failures) + "\n"
    if others:
        text += f"\nOther programs used {statistics.median(others):.1%} of the CPUs in the median window, "
        text += f"{max(others):.1%} in the worst one.\n"
    return text, {key: [asdict(each) for each in done] for key, done in rounds.items()}


def shortage_row(figures: Shortage) -> list[str]:
    def tries(times: list[float | None]) -> str:
        answered = [time for time in times if time is not None]
        text = f"{len(answered)} of {len(times)}"
        if answered:
            text += f", {number(statistics.median(answered) * 1000)} (max {number(max(answered) * 1000)})"
        return text

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
        f"not in {RELEASE_TIMEOUT:.0f}" if figures.released is None else f"{max(0.0, figures.released - LINGER):.1f}",
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
    # there is no shortage with fewer idle clients than descriptors
    count = max(round(IDLE_CLIENTS * scale), FEW + 50)
    results, failures = once("descriptors", servers, lambda each: descriptors_once(each, count))
    heads = [
        "idle clients answered",
        "of these closed",
        "CPU",
        "new clients answered, ms",
        "after the idle ones have left, ms",
    ]
    text = f"### descriptors\n\nA server with {FEW} descriptors, and {count:,} clients that send a request and keep "
    text += "their connections.\n\n"
    text += (
        contestant_table(heads, servers, {key: shortage_row(each) for key, each in results.items()}, failures) + "\n"
    )
    return text, {key: asdict(each) for key, each in results.items()}


def resets(servers: list[Contestant], scale: float) -> tuple[str, dict]:
    count = max(400, round(RESETS * scale))
    results, failures = once("resets", servers, lambda each: resets_once(each, count))
    heads = [
        f"descriptors before, and {LINGER} s after",
        "all closed, s later",
        "processes died, new",
        "memory before, half-way, after, kB",
        "answers afterwards",
    ]
    text = f"### resets\n\n{count:,} connections, reset at random points.\n\n"
    text += contestant_table(heads, servers, {key: resets_row(each) for key, each in results.items()}, failures) + "\n"
    return text, {key: asdict(each) for key, each in results.items()}


def main() -> None:
    scenarios = {attack.key: attack for attack in ATTACKS} | {"descriptors": short, "resets": resets}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=scenarios)
    parser.add_argument("--contestants", help=f"of {','.join(KEYS)}", default=",".join(KEYS))
    parser.add_argument("--scale", type=float, default=1.0, help="factor for the number of connections")
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args()
    keys = [key for key in KEYS if key in options.contestants.split(",")]
    if unknown := set(options.contestants.split(",")) - set(KEYS):
        parser.error(f"unknown contestant: {', '.join(sorted(unknown))}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    os.sched_setaffinity(0, {CLIENT_CPU})
    servers = prepare(keys)
    figures = {}
    with real_time_priority():
        for key, scenario in scenarios.items():
            if options.only in (None, key):
                run = partial(attacked, scenario) if isinstance(scenario, Attack) else scenario
                text, figures[key] = run(servers, options.scale)
                print(text, flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
