"""Requests lost when a server is shut down under load: our server in both shapes, and Go's net/http.

    python -m benchmarks.studies.drain [--runs 20]

Prints tables in Markdown; the row of a missing server has the reason. The server has one CPU, the load the other:
1,000 kept connections with 3,000 requests per second together, and 300 new connections per second with one request
each. After half a second the server is sent SIGTERM. Half a second later the load behaves like a load balancer that
has taken the server out: it opens no more connections, also not in place of kept ones that have ended, while the open
ones go on with their requests until the server ends them. The servers take turns. Needs Linux with two CPUs, and Go
(on Debian: golang).

requests        Number in all runs. None is sent again.
failed          Requests without the complete expected response, by reason: refused, reset, closed.
resets          Number of established connections that were reset, with a response or without.
responses, log  Pages that the clients received, and their lines in the log; and the number of runs in which these
                differ.
after the       Seconds from the end of the drain, or from SIGTERM without a drain, to the end of the process: median
drain           and range of the runs.
idle            The same with `--drain 0` and without load: without connections, and with 100 idle connections that
                have had one response; each client closes its connection when it notices the server's end.
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

from benchmarks.lib.contestants import Contestant, reason_row
from benchmarks.lib.figures import extent, table
from benchmarks.lib.http_requests import GET_CLOSE
from benchmarks.lib.network import isolate_network
from benchmarks.lib.open_loop import OpenLoop
from benchmarks.lib.processes import CLIENT_CPU, SERVER_CPU, free_port, serving, wait_until_ready
from benchmarks.studies.shutdown_cases import FOLDER, ShutdownCase, go_cases, our_cases, prepared_servers

DRAIN = 2  # seconds
KEPT, REQUESTS, NEW = 1000, 3000.0, 300.0
IDLE = 100  # connections
BEFORE = 0.5  # seconds of load before SIGTERM, and from then until the load opens no more connections
PATIENCE = 10.0  # seconds from then to the end


@dataclass
class Run:
    """Figures of one run."""

    requests: int
    answered: int
    failures: Counter[str]
    resets: int
    logged: int
    code: int
    duration: float  # seconds from the end of the drain


class Trial:
    """A new server under load that is shut down once."""

    def __init__(self, case: ShutdownCase, kept: int, requests: float, new: float) -> None:
        self._case = case
        self._signalled_at = 0.0
        self._stack = contextlib.ExitStack()
        port = free_port()
        self.server = self._stack.enter_context(serving(case.command(port), SERVER_CPU, FOLDER / "log"))
        page = wait_until_ready(port, GET_CLOSE).partition(b"\r\n\r\n")[2]
        self.load = self._stack.enter_context(OpenLoop(("127.0.0.1", port), page, kept, requests, new))

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.load.watch_exit(self.server.pid)
        self._signalled_at = time.monotonic()
        self.server.send_signal(signal.SIGTERM)

    def end(self) -> Run:
        """Wait for the end of the server."""
        load = self.load
        load.finish(PATIENCE)
        if load.exited_at is None:
            raise TimeoutError(f"the server does not end within {PATIENCE:.0f} s")
        duration = load.exited_at - self._signalled_at - self._case.drain
        logged = (FOLDER / "log").read_bytes().count(
            b" Served image, "
        ) - 1  # the first page was not requested by the load
        return Run(load.requests, load.answered, load.failures, load.resets, logged, self.server.wait(), duration)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def under_load(case: ShutdownCase) -> Run:
    """One run under load."""
    with Trial(case, KEPT, REQUESTS, NEW) as trial:
        trial.load.run(BEFORE)
        trial.terminate()
        trial.load.run(BEFORE)
        trial.load.opens = False
        trial.load.run(PATIENCE, lambda: trial.load.exited_at is not None)
        return trial.end()


def when_idle(case: ShutdownCase, connections: int) -> Run:
    """One run with idle connections."""
    with Trial(case, connections, REQUESTS, 0) as trial:
        trial.load.run(PATIENCE, lambda: trial.load.answered >= connections)
        trial.terminate()
        return trial.end()


# ---- tables -------------------------------------------------------------------------------------------------------


def failures_text(runs: list[Run]) -> str:
    total = sum((run.failures for run in runs), Counter())
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in total.most_common())
    return f"{total.total():,} ({kinds})" if kinds else "0"


def counts_row(runs: list[Run]) -> list[str]:
    differ = sum(run.answered != run.logged for run in runs)
    answered, logged = sum(run.answered for run in runs), sum(run.logged for run in runs)
    return [
        f"{sum(run.requests for run in runs):,}",
        failures_text(runs),
        f"{sum(run.resets for run in runs):,}",
        f"{answered:,}, {logged:,}; differ in {differ} of {len(runs)}",
        exit_codes(runs),
        extent([run.duration for run in runs]),
    ]


def exit_codes(runs: list[Run]) -> str:
    """The exit codes; a negative one is a signal."""
    return ", ".join(str(code) for code in sorted({run.code for run in runs}))


def run_cases(
    title: str, cases: list[ShutdownCase], count: int, trial: Callable[[ShutdownCase], Run]
) -> list[list[Run]]:
    """The runs of each case, in which the cases take turns; a missing server has none."""
    runs: list[list[Run]] = [[] for _ in cases]
    for turn in range(count):
        print(f"{title}, run {turn + 1} of {count}", file=sys.stderr)
        for case, its_runs in zip(cases, runs, strict=True):
            if not case.server.missing:
                its_runs.append(trial(case))
    return runs


def cases_table(heads: list[str], cases: list[ShutdownCase], cells: list[list[str]]) -> str:
    """A row for each case; that of a missing server has the reason."""
    rows = [
        [case.title, *(reason_row(case.server.missing, len(heads)) if case.server.missing else its_cells)]
        for case, its_cells in zip(cases, cells, strict=True)
    ]
    return table(heads, rows)


def table_under_load(servers: dict[str, Contestant], count: int) -> str:
    cases = [*our_cases(servers, DRAIN, 1), *our_cases(servers, DRAIN, 2), *our_cases(servers, 0, 2)]
    cases += go_cases(servers, DRAIN)
    runs = run_cases("under load", cases, count, under_load)
    heads = ["requests", "failed", "resets", "responses, log", "exit code", "after the drain, s"]
    rows = [counts_row(each) if each else [] for each in runs]
    return f"### under load\n\n{cases_table(heads, cases, rows)}\n"


def table_when_idle(servers: dict[str, Contestant], count: int) -> str:
    cases = [*our_cases(servers, 0, 1), *our_cases(servers, 0, 2), *go_cases(servers, 0)]
    rows: list[list[str]] = [[] for _ in cases]
    for connections in (0, IDLE):
        trial = partial(when_idle, connections=connections)
        for row, runs in zip(rows, run_cases(f"{connections} idle connections", cases, count, trial), strict=True):
            if runs:
                row += [extent([run.duration for run in runs], 1000), str(sum(run.resets for run in runs))]
    heads = ["no connection, ms", "resets", f"{IDLE} connections, ms", "resets"]
    return f"### idle, no drain\n\n{cases_table(heads, cases, rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CPU})
    isolate_network()
    servers = prepared_servers()
    print(table_under_load(servers, options.runs), flush=True)
    print(table_when_idle(servers, options.runs))


if __name__ == "__main__":
    main()
