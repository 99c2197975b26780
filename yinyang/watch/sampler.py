"""Sends requests for whoami at a constant mean rate, however long the answers take."""

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx

from yinyang._core import CookieJar, WatchOptions, describe, printable
from yinyang.watch.client import UnusableError
from yinyang.watch.failures import NOT_WHOAMI, TIMED_OUT, name_failure, name_status
from yinyang.watch.sample import Replica, Sample

MAX_BODY_SIZE = 65536  # bytes of an answer; whoami has some hundred
FIRST_STEPS = ("connection.connect_tcp.started", "http11.send_request_headers.started")  # as httpx calls them
MIN_IDLE = 0.2  # part of the time that the watch itself is to be idle, for one more request at the same time
ABOUT = (b"x-served-by", b"x-version", b"x-zone", b"x-node")  # fields by which an answer tells whose it is
IDLE_CHECK = 0.001  # seconds between looks at whether it is
MAX_LAG = 0.1  # seconds of lateness that are made up for


class Slot:
    """Room for one request at a time.

    client: it has at most one connection.
    connection: the number of that connection.
    start: when the request went to the network; None if it has not. What httpx does before is not the target's time.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.connection = 0
        self.start: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a request, and when; see Sample. set_cookie_lines: those of an answer."""

    end: float
    replica: Replica | None = None
    failure: str = ""
    set_cookie_lines: tuple[bytes, ...] = ()


class Sampler:
    """Sends the requests, and hands over a sample of each when it ends.

    The times between requests are random, from an exponential distribution with the mean 1 / rate: what happens at
    random times sees a rotation as it is, while two clients with exact timers may each keep step with a part of it. If
    no slot is free, a request waits for one. Requests that are later than MAX_LAG do not come in a burst.

    Where the watch itself is what limits the rate, more requests at the same time would only wait for each other, and
    their latencies would be its own. So one more is sent only while it is idle for a part of the time.
    """

    def __init__(
        self,
        options: WatchOptions,
        concurrency: int,
        make_client: Callable[[], httpx.AsyncClient],
        idle_seconds: Callable[[], float],
    ) -> None:
        """concurrency: how many requests there can be at the same time. idle_seconds: for how long the event loop has
        had nothing to do, since any moment."""
        self._options = options
        self._concurrency = concurrency
        self._make_client = make_client
        self._idle_seconds = idle_seconds
        self._on_sample: Callable[[Sample], None] = lambda sample: None
        self._connections = 0
        self._cookie_jar = CookieJar(secure=options.url.startswith("https:"))
        self._free_slots: list[Slot] = []
        self._slot_freed = asyncio.Event()
        self.waits: dict[object, float] = {}  # when each request that is under way began, by its slot
        self._may_need_login = "@" not in urlsplit(options.url).netloc

    async def run(self, on_sample: Callable[[Sample], None], stop: asyncio.Event) -> None:
        """Send requests until the count or the duration is reached, and wait for their answers.

        When `stop` is set, return at once, without waiting for answers. Raises UnusableError if one needs to log in
        before a replica answers.
        """
        self._on_sample = on_sample
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(self._concurrency):
                self._free_slots.append(Slot(await stack.enter_async_context(self._make_client())))
            stopped = asyncio.create_task(stop.wait())
            sending = asyncio.create_task(self._send_all())
            try:
                await asyncio.wait([sending, stopped], return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()
            except ExceptionGroup as group:
                raise group.exceptions[0] from None
            finally:
                for task in sending, stopped:
                    task.cancel()
                await asyncio.gather(sending, stopped, return_exceptions=True)

    async def _send_all(self) -> None:
        options = self._options
        latest = due = time.monotonic()
        end = math.inf if options.duration is None else due + options.duration
        sent, idle = 0, self._idle_seconds()
        async with asyncio.TaskGroup() as requests:
            while options.count is None or sent < options.count:
                await asyncio.sleep(min(due, end) - time.monotonic())
                while self._is_sending() and self._idle_seconds() - idle < MIN_IDLE * (time.monotonic() - latest):
                    await asyncio.sleep(IDLE_CHECK)
                if max(due, time.monotonic()) >= end:
                    break
                if (slot := await self._take_slot(end)) is None:
                    break
                latest, idle = time.monotonic(), self._idle_seconds()
                requests.create_task(self._send(slot))
                sent += 1
                due = max(due + random.expovariate(options.rate), time.monotonic() - MAX_LAG)

    def _is_sending(self) -> bool:
        return len(self._free_slots) < self._concurrency

    async def _take_slot(self, end: float) -> Slot | None:
        """A free slot, chosen at random; None if there is none until the end."""
        while not self._free_slots:
            self._slot_freed.clear()
            try:
                async with asyncio.timeout(None if end == math.inf else end - time.monotonic()):
                    await self._slot_freed.wait()
            except TimeoutError:
                return None
        return self._free_slots.pop(random.randrange(len(self._free_slots)))

    async def _send(self, slot: Slot) -> None:
        """Send one request, and hand over its sample."""
        keep_alive = self._options.keep_alive
        chosen = None if keep_alive else self._cookie_jar.choose(random.getrandbits(64))
        cookie_of, cookies = chosen or (None, b"")
        slot.start, begin = None, time.monotonic()
        self.waits[slot] = begin
        try:
            async with asyncio.timeout(self._options.timeout):
                outcome = await self._get_whoami(slot, cookies)
        except TimeoutError:
            outcome = Outcome(time.monotonic(), failure=TIMED_OUT)
        except UnusableError:
            raise
        except Exception as error:  # whatever the answer was: each request is an answer or a failure
            outcome = Outcome(time.monotonic(), failure=name_failure(error))
        finally:
            del self.waits[slot]
            self._free_slots.append(slot)
            self._slot_freed.set()
        replica = outcome.replica
        if replica and not outcome.failure:
            self._may_need_login = False
            if cookie_of is None and not keep_alive:
                self._cookie_jar.store(replica.host, outcome.set_cookie_lines)
        start = begin if slot.start is None else slot.start
        self._on_sample(Sample(start, outcome.end, replica, outcome.failure, slot.connection, cookie_of))

    async def _get_whoami(self, slot: Slot, cookies: bytes) -> Outcome:
        """The replica that answered, or else the failure and whose it is.

        Raises an exception, most often httpx.HTTPError or OSError, if there is no complete answer, and UnusableError if
        it asks to log in.
        """

        async def trace(event: str, _info: object) -> None:
            if slot.start is None and event in FIRST_STEPS:
                slot.start = time.monotonic()
            if event == "connection.connect_tcp.complete":
                self._connections += 1
                slot.connection = self._connections

        slot.client.cookies.clear()
        headers = [(b"Cookie", cookies)] if cookies else []
        url, body = self._options.url, b""
        async with slot.client.stream("GET", url, headers=headers, extensions={"trace": trace}) as response:
            fields = [(name.lower(), value) for name, value in response.headers.raw]
            first = dict(reversed(fields))
            about = [first.get(name) for name in ABOUT]
            named = describe(b"", *about)
            failing = Replica(**named) if named else None
            if response.status_code != HTTPStatus.OK:
                if self._may_need_login and not failing:
                    self._check_login(response)
                return Outcome(time.monotonic(), failing, name_status(response.status_code))
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > MAX_BODY_SIZE:
                    return Outcome(time.monotonic(), failing, NOT_WHOAMI)
            end = time.monotonic()
        described = describe(body, *about)
        if not described:
            return Outcome(end, failing, NOT_WHOAMI)
        lines = [value for name, value in fields if name == b"set-cookie"]
        return Outcome(end, Replica(**described), set_cookie_lines=tuple(lines))

    def _check_login(self, response: httpx.Response) -> None:
        """Raise UnusableError if this is the answer to somebody who is to log in, and not a failure of replicas."""
        answers = f"{self._options.display_url} answers {response.status_code}"
        if response.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise UnusableError(f"needs a login: {answers}; give one as in http://USER:PASSWORD@localhost:8080/")
        if response.has_redirect_location:
            place = printable(response.headers["Location"].partition("?")[0].encode())
            raise UnusableError(f"needs a login, or another URL: {answers}, and leads to {place}")
