"""Uploads with a library of Python: http.client, requests, httpx, or aiohttp, which streams. The first argument names
it; the others, and the output, are those of every client of benchmarks/studies/uploads.py."""

import asyncio
import http.client
import importlib
import sys
import urllib.parse
from collections.abc import AsyncIterator, Callable
from typing import Any

PATIENCE = 30
PIECE = bytes(65536)
LIBRARY, URL, METHOD, HEADER, VALUE, *PLAN = sys.argv[1:]
HEADERS = {HEADER: VALUE} if HEADER else {}


def standard() -> Callable[[int], int]:
    target = urllib.parse.urlsplit(URL)
    connection = http.client.HTTPConnection(target.netloc, timeout=PATIENCE)

    def upload(size: int) -> int:
        try:
            connection.request(METHOD, target._replace(scheme="", netloc="").geturl(), bytes(size), HEADERS)
            response = connection.getresponse()
            response.read()
        except BaseException:
            connection.close()
            raise
        return response.status

    return upload


def with_session(library: Any) -> Callable[[int], int]:
    """Requests or httpx."""
    session = library.Session() if LIBRARY == "requests" else library.Client()

    def upload(size: int) -> int:
        body = {"data" if LIBRARY == "requests" else "content": bytes(size)}
        return int(session.request(METHOD, URL, headers=HEADERS, timeout=PATIENCE, **body).status_code)

    return upload


async def streamed(library: Any) -> None:
    async def pieces(size: int) -> AsyncIterator[bytes]:
        for sent in range(0, size, len(PIECE)):
            yield PIECE[: size - sent]

    async with library.ClientSession(timeout=library.ClientTimeout(total=PATIENCE)) as session:

        async def upload(size: int) -> int:
            async with session.request(METHOD, URL, headers=HEADERS, data=pieces(size)) as response:
                await response.read()
                return int(response.status)

        for size, count in plan():
            for _ in range(count):
                try:
                    result: object = await upload(size)
                except Exception as error:
                    result = text(error)
                print(size, result)


def text(error: Exception) -> str:
    return f"{type(error).__name__} {error}".replace("\n", " ")


def plan() -> list[tuple[int, int]]:
    pairs = [each.split("x") for each in PLAN]
    return [(int(size), int(count)) for size, count in pairs]


def main() -> None:
    library = importlib.import_module(LIBRARY)
    if LIBRARY == "aiohttp":
        asyncio.run(streamed(library))
        return
    upload = standard() if LIBRARY == "http.client" else with_session(library)
    for size, count in plan():
        for _ in range(count):
            try:
                result: object = upload(size)
            except Exception as error:
                result = text(error)
            print(size, result)


if __name__ == "__main__":
    main()
