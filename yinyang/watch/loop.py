"""An event loop that ends at once, even if a name server does not answer, and that knows how idle it is."""

import asyncio
import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any


class IdleSelector(selectors.DefaultSelector):
    """Adds up the seconds that it waits: there is nothing else to do then."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events."""
        begin = time.monotonic()
        events = super().select(timeout)
        if timeout is None or timeout > 0:
            self.idle += time.monotonic() - begin
        return events


class Loop(asyncio.SelectorEventLoop):
    """Looks up each name in a thread that nobody waits for at the end, as getaddrinfo(3) cannot be cancelled."""

    def __init__(self) -> None:
        self._idle_selector = IdleSelector()
        super().__init__(self._idle_selector)

    def idle_seconds(self) -> float:
        """For how long it had nothing to do, since it was made."""
        return self._idle_selector.idle

    async def getaddrinfo(self, host: Any, port: Any, **options: int) -> Any:
        """What socket.getaddrinfo returns or raises."""
        found: asyncio.Future[Any] = self.create_future()

        def settle(settler: Callable[[Any], None], outcome: object) -> None:
            if not found.done():  # it may have been cancelled
                settler(outcome)

        def look_up() -> None:
            settler: Callable[[Any], None]
            outcome: object
            try:
                settler, outcome = found.set_result, socket.getaddrinfo(host, port, **options)
            except Exception as error:
                settler, outcome = found.set_exception, error
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self.call_soon_threadsafe(settle, settler, outcome)

        threading.Thread(target=look_up, daemon=True).start()
        return await found
