"""Sends requests for whoami at a constant rate, however long the answers take."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable

import httpx

from yinyang.watch.cookies import CookieJar
from yinyang.watch.failures import NOT_WHOAMI, TIMED_OUT, name_failure, name_status
from yinyang.watch.options import Options
from yinyang.watch.sample import Replica, Sample, parse_whoami

MAX_BODY_SIZE = 65536  # bytes of an answer; whoami has some hundred


class Slot:
    """Room for one request at a time: a client with at most one connection, and the number of that connection."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.connection = 0


class Sampler:
    """Sends the requests, and hands over a sample of each when it ends.

    A request is due each 1 / rate seconds. If no slot is free, it waits for one, and the next request is due 1 / rate
    seconds after it: requests that are late do not come in a burst.
    """

    def __init__(self, options: Options, make_client: Callable[[], httpx.AsyncClient]) -> None:
        self._options = options
        self._make_client = make_client
        self._on_sample: Callable[[Sample], None] = lambda sample: None
        self._connections = 0
        self._cookie_jar = CookieJar(secure=options.url.startswith("https:"))
        self._free_slots: list[Slot] = []
        self._slot_freed = asyncio.Event()

    async def run(self, on_sample: Callable[[Sample], None], stop: asyncio.Event) -> None:
        """Send requests until the count or the duration is reached, and wait for their answers.

        When `stop` is set, return at once, without waiting for answers.
        """
        self._on_sample = on_sample
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(self._options.concurrency):
                self._free_slots.append(Slot(await stack.enter_async_context(self._make_client())))
            requests: set[asyncio.Task[None]] = set()
            stopped = asyncio.create_task(stop.wait())
            sending = asyncio.create_task(self._send_all(requests))
            try:
                await asyncio.wait([sending, stopped], return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()
            finally:
                for task in (sending, stopped, *requests):
                    task.cancel()
                await asyncio.gather(sending, stopped, *requests, return_exceptions=True)

    async def _send_all(self, requests: set[asyncio.Task[None]]) -> None:
        options = self._options
        begin = due = time.monotonic()
        sent = 0
        while options.count is None or sent < options.count:
            end = None if options.duration is None else begin + options.duration
            if end is not None and due >= end:
                await asyncio.sleep(end - time.monotonic())
                break
            await asyncio.sleep(due - time.monotonic())
            if (slot := await self._take_slot(end)) is None:
                break
            request = asyncio.create_task(self._send(slot))
            requests.add(request)
            request.add_done_callback(requests.discard)
            sent += 1
            due = max(due + 1 / options.rate, time.monotonic())
        await asyncio.gather(*requests)

    async def _take_slot(self, end: float | None) -> Slot | None:
        """A free slot, chosen at random; None if there is none until the end."""
        while not self._free_slots:
            self._slot_freed.clear()
            try:
                async with asyncio.timeout(None if end is None else end - time.monotonic()):
                    await self._slot_freed.wait()
            except TimeoutError:
                return None
        return self._free_slots.pop(random.randrange(len(self._free_slots)))

    async def _send(self, slot: Slot) -> None:
        """Send one request, and hand over its sample."""
        keep_alive = self._options.keep_alive
        chosen = None if keep_alive else self._cookie_jar.choose()
        cookie_of, cookies = chosen or (None, {})
        replica, failure = None, ""
        set_cookie_lines: list[str] = []
        start = time.monotonic()
        try:
            async with asyncio.timeout(self._options.timeout):
                replica, failure, set_cookie_lines = await self._get_whoami(slot, cookies)
        except TimeoutError:
            failure = TIMED_OUT
        except Exception as error:  # whatever the answer was: each request is an answer or a failure
            failure = name_failure(error)
        finally:
            self._free_slots.append(slot)
            self._slot_freed.set()
        if replica and cookie_of is None and not keep_alive:
            self._cookie_jar.store(replica.host, set_cookie_lines)
        end = time.monotonic()
        self._on_sample(Sample(start, end, replica, failure, slot.connection, cookie_of, tuple(cookies)))

    async def _get_whoami(self, slot: Slot, cookies: dict[str, str]) -> tuple[Replica | None, str, list[str]]:
        """The replica that answered, or else the failure, and the Set-Cookie lines of the answer.

        Raises an exception, most often httpx.HTTPError or OSError, if there is no complete answer.
        """

        async def trace(event: str, _info: object) -> None:
            if event == "connection.connect_tcp.complete":
                self._connections += 1
                slot.connection = self._connections

        slot.client.cookies.clear()
        cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        headers = [(b"Cookie", cookie.encode("latin-1"))] if cookie else []
        url, body = self._options.url, b""
        async with slot.client.stream("GET", url, headers=headers, extensions={"trace": trace}) as response:
            if response.status_code != 200:
                return None, name_status(response.status_code), []
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > MAX_BODY_SIZE:
                    return None, NOT_WHOAMI, []
        replica = parse_whoami(body)
        # not as text: a server may send any bytes, which go back as they came
        lines = [value.decode("latin-1") for name, value in response.headers.raw if name.lower() == b"set-cookie"]
        return replica, "" if replica else NOT_WHOAMI, lines
