"""Serves what is counted to Prometheus, at http://127.0.0.1:PORT/metrics."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator

from yinyang._core import Tally
from yinyang.watch.client import UnusableError

MAX_WAIT = 5.0  # seconds for a request


@contextlib.asynccontextmanager
async def serving_metrics(tally: Tally, port: int) -> AsyncIterator[None]:
    """Serve them in the meantime; raises UnusableError if the port cannot be had."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(MAX_WAIT):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(head, tally))
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


def _response(head: bytes, tally: Tally) -> bytes:
    method, _, target = head.partition(b" ")
    if not target.startswith((b"/metrics ", b"/metrics?")):
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    if method not in (b"GET", b"HEAD"):
        allow = b"Allow: GET, HEAD\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        return b"HTTP/1.1 405 Method Not Allowed\r\n" + allow
    body = tally.metrics(time.monotonic()).encode()
    fields = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    )
    return fields if method == b"HEAD" else fields + body
