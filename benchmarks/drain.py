"""What is lost when a server is told to end under load: ours in both shapes, and Go's net/http.

    python benchmarks/drain.py [--runs 20]

Prints tables in Markdown. A server that is missing is named with the reason. The server has one CPU, the load another:
1,000 kept connections with together 3,000 requests a second, and 300 new connections a second with a request each.
After half a second of it the server is sent SIGTERM. Half a second later the load does what a balancer of connections
does that has taken the server out: it begins no connection any more, not even for a kept one that has ended, while
those that are there go on with their requests until they are told to close. The servers take turns. Needs Linux with
two CPUs, and Go (on Debian: golang).

requests        Of all runs. None is sent again.
failed          Those without the whole right answer, and how: refused, reset, closed before the answer was whole.
resets          Of connections that had been established, with an answer or without.
answered,       Pages that the clients got, and lines of them in the log; and in how many runs the two differ.
logged
after the       Seconds from the end of the drain, or from SIGTERM if there is none, to the end of the process: the
drain           median of the runs, and their range.
idle            The same with `--drain 0`, and no load: without any connection, and with 100 that have made a request
                and wait; each is closed by its client as soon as that sees the server's end.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Self

from contestants import Contestant
from endings import FOLDER, Ending, go, ours, servers
from figures import extent
from network import leave_shared_network
from processes import free_port, serving, wait_until_it_answers
from steady import LAST, Load

SERVER_CPU, CLIENT_CPU = 1, 0
DRAIN = 2  # seconds
KEPT, REQUESTS, NEW = 1000, 3000.0, 300.0
IDLE = 100  # connections
BEFORE = 0.5  # seconds of load until the signal, and from then until no new connections come
PATIENCE = 10.0  # seconds from there to the end


@dataclass
class Run:
    requests: int
    answered: int
    failures: Counter[str]
    resets: int
    logged: int
    code: int
    took: float  # seconds


class Trial:
    """A server of its own under a load, told to end once."""

    def __init__(self, ending: Ending, kept: int, requests: float, new: float) -> None:
        self._ending = ending
        self._told = 0.0
        self._stack = contextlib.ExitStack()
        port = free_port()
        self.server = self._stack.enter_context(serving(ending.line(port), SERVER_CPU, FOLDER / "log"))
        page = wait_until_it_answers(port, LAST).partition(b"\r\n\r\n")[2]
        self.load = self._stack.enter_context(Load(("127.0.0.1", port), page, kept, requests, new))

    def tell(self) -> None:
        self.load.watch_exit(self.server.pid)
        self._told = time.monotonic()
        self.server.send_signal(signal.SIGTERM)

    def end(self) -> Run:
        load = self.load
        load.finish(PATIENCE)
        if load.exited is None:
            raise TimeoutError(f"does not end within {PATIENCE:.0f} s")
        took = load.exited - self._told - self._ending.drain
        logged = (FOLDER / "log").read_bytes().count(b" Served image, ") - 1  # the first was not the load's
        return Run(load.requests, load.answered, load.failures, load.resets, logged, self.server.wait(), took)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def under_load(ending: Ending) -> Run:
    with Trial(ending, KEPT, REQUESTS, NEW) as trial:
        trial.load.run(BEFORE)
        trial.tell()
        trial.load.run(BEFORE)
        trial.load.opens = False
        trial.load.run(PATIENCE, lambda: trial.load.exited is not None)
        return trial.end()


def when_idle(ending: Ending, connections: int) -> Run:
    with Trial(ending, connections, REQUESTS, 0) as trial:
        trial.load.run(PATIENCE, lambda: trial.load.answered >= connections)
        trial.tell()
        return trial.end()


# ---- tables -------------------------------------------------------------------------------------------------------


def failed_words(runs: list[Run]) -> str:
    total = sum((run.failures for run in runs), Counter())
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in total.most_common())
    return f"{total.total():,} ({kinds})" if kinds else "0"


def counts_row(runs: list[Run]) -> str:
    differ = sum(run.answered != run.logged for run in runs)
    answered, logged = sum(run.answered for run in runs), sum(run.logged for run in runs)
    return " | ".join(
        [
            f"{sum(run.requests for run in runs):,}",
            failed_words(runs),
            f"{sum(run.resets for run in runs):,}",
            f"{answered:,}, {logged:,}; differ in {differ} of {len(runs)}",
            codes(runs),
            extent([run.took for run in runs], 1),
        ]
    )


def codes(runs: list[Run]) -> str:
    """Exit codes; a signal is a negative one."""
    return ", ".join(str(code) for code in sorted({run.code for run in runs}))


def turns(title: str, taking_part: list[Ending], count: int, trial: Callable[[Ending], Run]) -> dict[str, list[Run]]:
    """The runs of each that is not missing, by its title."""
    found: dict[str, list[Run]] = {each.title: [] for each in taking_part if not each.server.missing}
    for turn in range(count):
        print(f"{title}, run {turn + 1} of {count}", file=sys.stderr)
        for each in taking_part:
            if not each.server.missing:
                found[each.title].append(trial(each))
    return found


def rows(taking_part: list[Ending], cells: Callable[[str], str], columns: int) -> str:
    return "\n".join(
        f"| {each.title} | {each.server.missing + ' |' * (columns - 1) if each.server.missing else cells(each.title)} |"
        for each in taking_part
    )


def table_under_load(found: dict[str, Contestant], count: int) -> str:
    taking_part = [*ours(found, DRAIN, 1), *ours(found, DRAIN, 2), *ours(found, 0, 2), *go(found, DRAIN)]
    runs = turns("under load", taking_part, count, under_load)
    heads = "requests | failed | resets | answered, logged | exit code | after the drain, s"
    lines = rows(taking_part, lambda title: counts_row(runs[title]), 6)
    return f"### under load\n\n| | {heads} |\n{'| --- ' * 7}|\n{lines}\n"


def table_when_idle(found: dict[str, Contestant], count: int) -> str:
    taking_part = [*ours(found, 0, 1), *ours(found, 0, 2), *go(found, 0)]
    cells: dict[str, list[str]] = {each.title: [] for each in taking_part}
    for connections in (0, IDLE):
        found = turns(
            f"{connections} idle connections", taking_part, count, partial(when_idle, connections=connections)
        )
        for title, runs in found.items():
            cells[title].append(f"{extent([run.took for run in runs], 1000)} | {sum(run.resets for run in runs)}")
    heads = f"no connection, ms | resets | {IDLE} connections, ms | resets"
    lines = rows(taking_part, lambda title: " | ".join(cells[title]), 4)
    return f"### idle, no drain\n\n| | {heads} |\n{'| --- ' * 5}|\n{lines}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CPU})
    leave_shared_network()
    found = servers()
    print(table_under_load(found, options.runs), flush=True)
    print(table_when_idle(found, options.runs))


if __name__ == "__main__":
    main()
