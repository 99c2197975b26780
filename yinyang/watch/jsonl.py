"""Prints each sample as a line of JSON when it ends.

The first line describes the run, with the keys `at`, `url`, `connection`, `asked_rate`, `concurrency`, `timeout` and
`by`. Each other line is a sample. Unknown values are null, times like `2026-11-26T08:00:00.123Z`:

    at            when the request ended
    ms            how long it took
    connection    the number of its connection
    cookie_of     the host of the replica whose cookies it carried; only if it carried any
    host, short, version, zone, node, colours    of the replica that answered, as /whoami tells them
    failure       the kind of failure, such as "refused", instead of these
    served_by     the host of the replica that a failed answer named in X-Served-By; only if it did
"""

import json
from datetime import UTC, datetime

from yinyang.watch.options import Options
from yinyang.watch.sample import Sample


def print_run(options: Options) -> None:
    """The first line."""
    _print(
        {
            "at": _now(),
            "url": options.display_url,
            "connection": "same" if options.keep_alive else "new",
            "asked_rate": options.rate,
            "concurrency": options.concurrency,
            "timeout": options.timeout,
            "by": options.by,
        }
    )


def print_sample(sample: Sample) -> None:
    """The line of a sample that has just ended."""
    line: dict[str, object] = {
        "at": _now(),
        "ms": round(1000 * (sample.end - sample.start), 3),
        "connection": sample.connection,
    }
    if sample.cookie_of is not None:
        line["cookie_of"] = sample.cookie_of
    if replica := sample.replica:
        line |= {
            "host": replica.host,
            "short": replica.short,
            "version": replica.version,
            "zone": replica.zone,
            "node": replica.node,
            "colours": replica.colours,
        }
    else:
        line["failure"] = sample.failure
        if sample.served_by:
            line["served_by"] = sample.served_by
    _print(line)


def _print(line: dict[str, object]) -> None:
    print(json.dumps(line), flush=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
