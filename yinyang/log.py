"""The log: a line for each page, of which a second may hold tens of thousands, all equal.

Everything goes through the logger `yinyang`, so a program's own handlers and formatters get what they are used to: a
record for each page. `LineHandler`, which the command line uses, is told how often a record occurred instead; it
formats it once and repeats its bytes, never blocks, and owes what its reader has not yet taken.
"""

import logging
import time
from collections import deque
from collections.abc import Iterator

from yinyang._core import write_lines

logger = logging.getLogger("yinyang")

RETRY_SECONDS = 1.0  # between two attempts to write to a log that refuses to be written


class LineHandler(logging.Handler):
    """Writes lines to a file descriptor, stderr's by default, without ever blocking.

    What cannot be written now is owed, as a line and how often; `pay` writes it when it can be. When writing fails (the
    reader is gone, the disk is full), it is tried again a second later, so no line is lost to a fault that passes.
    """

    def __init__(self, fd: int = 2) -> None:
        super().__init__()
        self.fd = fd
        self._owed: deque[list] = deque()  # [line, how often, bytes of the first one that are written]
        self._refused_until = 0.0
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y/%m/%d %H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line, or owe it."""
        self._owe(record, 1)

    def repeat(self, record: logging.LogRecord, count: int) -> None:
        """Handle `count` records equal to this one."""
        if self.filter(record):
            with self.lock:
                self._owe(record, count)

    def _owe(self, record: logging.LogRecord, count: int) -> None:
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "surrogateescape")
        except Exception:  # as logging asks: a wrong format must not end the program
            self.handleError(record)
            return
        if self._owed and self._owed[-1][0] == line:
            self._owed[-1][1] += count
        else:
            self._owed.append([line, count, 0])
        self._pay()

    def pay(self) -> None:
        """Write what is owed, as far as it can be written now."""
        with self.lock:
            self._pay()

    def _pay(self) -> None:
        if self._owed and time.monotonic() < self._refused_until:
            return
        while self._owed:
            line, count, offset = self._owed[0]
            try:
                written = write_lines(self.fd, line, count, offset)
            except OSError:
                self._refused_until = time.monotonic() + RETRY_SECONDS
                return
            if written == 0:
                return
            lines, offset = divmod(offset + written, len(line))
            if lines == count:
                self._owed.popleft()
            else:
                self._owed[0][1:] = count - lines, offset

    def wants(self) -> tuple[int, int]:
        """What to wait for before `pay` is worth calling, as arguments for `Crew.wait`: a descriptor that must be
        writable, or -1; milliseconds that must pass, or -1."""
        if not self._owed:
            return -1, -1
        refused = self._refused_until - time.monotonic()
        return (-1, int(refused * 1000) + 1) if refused > 0 else (self.fd, -1)


def line_handlers() -> list[LineHandler]:
    """The handlers of the logger that may owe lines."""
    return [handler for handler in _handlers() if isinstance(handler, LineHandler)]


def log_pages(second: int, count: int, message: str, *args: object) -> None:
    """Log the message `count` times, as of `second` since 1970."""
    if not logger.isEnabledFor(logging.INFO):
        return
    record = logger.makeRecord(logger.name, logging.INFO, __file__, 0, message, args, None, "log_pages")
    record.created = float(second)
    record.msecs = 0.0
    if not logger.filter(record):
        return
    for handler in _handlers():
        if record.levelno < handler.level:
            continue
        if isinstance(handler, LineHandler):
            handler.repeat(record, count)
        else:
            for _ in range(count):
                handler.handle(record)


def _handlers() -> Iterator[logging.Handler]:
    """Those that a record for the logger reaches, as logging itself finds them."""
    place: logging.Logger | None = logger
    while place:
        yield from place.handlers
        place = place.parent if place.propagate else None
