"""Serves what is counted to Prometheus, at http://127.0.0.1:PORT/metrics."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator

from yinyang.watch.client import UnusableError
from yinyang.watch.metrics import Metrics

MAX_WAIT = 5.0  # seconds for a request
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds, of the histogram
ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


@contextlib.asynccontextmanager
async def serving_metrics(metrics: Metrics, port: int) -> AsyncIterator[None]:
    """Serve them in the meantime; raises UnusableError if the port cannot be had."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(MAX_WAIT):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(head, metrics))
                await writer.drain()
        writer.close()

    try:
        server = await asyncio.start_server(answer, "127.0.0.1", port)
    except OSError as error:
        raise UnusableError(f"cannot serve metrics at port {port}: {os.strerror(error.errno or 0)}") from None
    try:
        yield
    finally:
        server.close()  # without waiting for clients


def _response(head: bytes, metrics: Metrics) -> bytes:
    if not head.startswith((b"GET /metrics ", b"GET /metrics?")):
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    body = metrics_text(metrics, time.monotonic()).encode()
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
    )


def metrics_text(metrics: Metrics, now: float) -> str:
    """The counters in the text format of Prometheus; `now` in seconds on the clock of samples."""
    return "".join(f"{line}\n" for line in _lines(metrics, now))


def _lines(metrics: Metrics, now: float) -> Iterator[str]:
    name = "yinyang_watch_answers_total"
    yield from _head(name, "counter", "answers by replica and version")
    for (host, version), count in metrics.answers_by_version.items():
        yield f'{name}{{replica="{host.translate(ESCAPES)}",version="{version.translate(ESCAPES)}"}} {count}'
    name = "yinyang_watch_failures_total"
    yield from _head(name, "counter", "failures by kind")
    for kind, failure in metrics.failures.items():
        yield f'{name}{{kind="{kind.translate(ESCAPES)}"}} {failure.count}'
    name = "yinyang_watch_latency_seconds"
    yield from _head(name, "histogram", "how long answers took, right to 1 %")
    for bound in BOUNDS:
        yield f'{name}_bucket{{le="{bound}"}} {metrics.latencies.count_up_to(bound)}'
    yield f'{name}_bucket{{le="+Inf"}} {metrics.answers}'
    yield f"{name}_sum {metrics.latencies.total:.6f}"
    yield f"{name}_count {metrics.answers}"
    name = "yinyang_watch_longest_gap_seconds"
    yield from _head(name, "gauge", "the longest time without an answer around failures")
    yield f"{name} {metrics.gaps.longest(now) or 0.0:.6f}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
