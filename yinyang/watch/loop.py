"""An event loop that ends at once, even if a name server does not answer."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any


class Loop(asyncio.SelectorEventLoop):
    """Looks up each name in a thread that nobody waits for at the end, as getaddrinfo(3) cannot be cancelled."""

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
