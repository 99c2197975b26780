"""Asks for whoami at a steady rate, whatever becomes of the answers."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable

import httpx

from yinyang.watch.cookies import Cookies
from yinyang.watch.failures import NOT_WHOAMI, TIMED_OUT, name_failure, name_status
from yinyang.watch.options import Options
from yinyang.watch.sample import Replica, Sample, read_whoami

LONGEST = 65536  # bytes of an answer; whoami has some hundred


class Lane:
    """A place for one request at a time: a client that holds at most one connection."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.connection = 0


class Sampler:
    """Sends the requests, and hands over a sample of each as it ends.

    A request is due each 1 / rate seconds. One that finds all lanes taken waits for the first that is free, and the
    next is due 1 / rate after that: what is late is not made up for with a burst.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._context = httpx.create_ssl_context(verify=not options.insecure)
        self._note: Callable[[Sample], None] = lambda sample: None
        self._connections = 0
        self._cookies = Cookies(options.url.startswith("https:"))
        self._free: list[Lane] = []
        self._freed = asyncio.Event()

    async def run(self, note: Callable[[Sample], None], stop: asyncio.Event) -> None:
        """Ask until all is asked and answered; or until told to stop, without waiting for what is on its way."""
        self._note = note
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(self._options.concurrency):
                self._free.append(Lane(await stack.enter_async_context(self._client())))
            tasks: set[asyncio.Task[None]] = set()
            stopped = asyncio.create_task(stop.wait())
            asking = asyncio.create_task(self._ask_all(tasks))
            try:
                await asyncio.wait([asking, stopped], return_when=asyncio.FIRST_COMPLETED)
                if asking.done():
                    asking.result()
            finally:
                for task in (asking, stopped, *tasks):
                    task.cancel()
                await asyncio.gather(asking, stopped, *tasks, return_exceptions=True)

    def _client(self) -> httpx.AsyncClient:
        keep = self._options.keep
        headers = {"User-Agent": "yinyang-watch", "Accept": "application/json", "Accept-Encoding": "identity"}
        return httpx.AsyncClient(
            verify=self._context,
            headers=headers if keep else headers | {"Connection": "close"},
            timeout=None,  # a request has one for all that it does
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=int(keep), keepalive_expiry=None),
        )

    async def _ask_all(self, tasks: set[asyncio.Task[None]]) -> None:
        options = self._options
        begin = due = time.monotonic()
        asked = 0
        while options.count is None or asked < options.count:
            end = None if options.duration is None else begin + options.duration
            if end is not None and due >= end:
                await asyncio.sleep(end - time.monotonic())
                break
            await asyncio.sleep(due - time.monotonic())
            if (lane := await self._take(end)) is None:
                break
            task = asyncio.create_task(self._ask(lane))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            asked += 1
            due = max(due + 1 / options.rate, time.monotonic())
        await asyncio.gather(*tasks)

    async def _take(self, end: float | None) -> Lane | None:
        """A free lane, at random; None if there is none until the end."""
        while not self._free:
            self._freed.clear()
            try:
                async with asyncio.timeout(None if end is None else end - time.monotonic()):
                    await self._freed.wait()
            except TimeoutError:
                return None
        return self._free.pop(random.randrange(len(self._free)))

    async def _ask(self, lane: Lane) -> None:
        start = time.monotonic()
        carried = None if self._options.keep else self._cookies.draw()
        replica, failure = None, ""
        set_cookies: list[str] = []
        try:
            async with asyncio.timeout(self._options.timeout):
                replica, failure, set_cookies = await self._answer(lane, carried[1] if carried else {})
        except TimeoutError:
            failure = TIMED_OUT
        except (httpx.HTTPError, OSError) as wrong:
            failure = name_failure(wrong)
        finally:
            self._free.append(lane)
            self._freed.set()
        if replica and not carried and not self._options.keep:
            self._cookies.note(replica.host, set_cookies)
        cookie_of, names = (carried[0], tuple(carried[1])) if carried else (None, ())
        self._note(Sample(start, time.monotonic(), replica, failure, lane.connection, cookie_of, names))

    async def _answer(self, lane: Lane, cookies: dict[str, str]) -> tuple[Replica | None, str, list[str]]:
        """Who answered, or why that is no answer, and what cookies it sets."""

        async def trace(event: str, _info: object) -> None:
            if event == "connection.connect_tcp.complete":
                self._connections += 1
                lane.connection = self._connections

        lane.client.cookies.clear()
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())} if cookies else {}
        url, body = self._options.url, b""
        async with lane.client.stream("GET", url, headers=headers, extensions={"trace": trace}) as answer:
            if answer.status_code != 200:
                return None, name_status(answer.status_code), []
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > LONGEST:
                    return None, NOT_WHOAMI, []
        replica = read_whoami(body)
        return replica, "" if replica else NOT_WHOAMI, answer.headers.get_list("set-cookie")
