"""The log of a server by way of the module `logging`: a record for each page, of which a second may have thousands.

Everything goes through the logger `yinyang`, so a program's own handlers and formatters get what they are used to: one
record for each page. `LineHandler`, which the command line uses, is told how often a record occurred instead. It
formats the record once; the core's queue of lines does the rest, without ever blocking.

The command line does without this module as long as nobody else has imported `logging`.
"""

import contextlib
import logging
from collections.abc import Iterator

from yinyang import _core

logger = logging.getLogger("yinyang")


class LineHandler(logging.Handler):
    """Writes lines to a file descriptor, stderr's by default, without ever blocking."""

    def __init__(self, fd: int = 2) -> None:
        super().__init__()
        self._queue = _core.LogQueue(fd)
        self._pages = 0  # that the record at hand stands for; 0: it is of something else
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y/%m/%d %H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line, or keep it until that is possible."""
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "surrogateescape")
            self._queue.put(line, self._pages or 1, self._pages > 0)
        except Exception:  # as logging asks: a wrong format must not end the program
            self.handleError(record)

    def handle_pages(self, record: logging.LogRecord, count: int) -> None:
        """Handle `count` records of pages, all equal to this one."""
        with self._locked():
            self._pages = count
            try:
                self.handle(record)
            finally:
                self._pages = 0

    def flush(self) -> None:
        """Write the lines that are kept, as far as that is possible now."""
        with self._locked():
            self._queue.flush()

    def wait_for(self) -> tuple[int, int]:
        """What to wait for before `flush` is worth calling; see `_core.LogQueue.wait_for`."""
        with self._locked():
            return self._queue.wait_for()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()


class Log:
    """Gives what a server has to log to the logger `yinyang`."""

    def write(self, server: _core.Server) -> None:
        """Log what there is, and write the lines that handlers keep, as far as that is possible now."""
        while record := server.next_record():
            kind, second, count, message, args = record
            if kind == "pages":
                _log_pages(second, count, message, args)
            else:
                logger.log(logging.WARNING if kind == "warning" else logging.INFO, message, *args)
        for handler in _line_handlers():
            handler.flush()

    def wait_for(self) -> tuple[int, int]:
        """What to wait for before `write` is worth calling; see `_core.LogQueue.wait_for`."""
        waits = [handler.wait_for() for handler in _line_handlers()]
        return max((fd for fd, _ in waits), default=-1), min((ms for _, ms in waits if ms >= 0), default=-1)


def log_for_command_line() -> Log:
    """The logger, with lines on stderr unless somebody has given it a handler."""
    if not logger.handlers:
        logger.addHandler(LineHandler())
        logger.setLevel(logging.INFO)
        logger.propagate = False
    return Log()


def _log_pages(second: int, count: int, message: str, args: tuple[str, ...]) -> None:
    """A record, `count` times, as of `second` since 1970."""
    if not logger.isEnabledFor(logging.INFO):
        return
    record = logger.makeRecord(logger.name, logging.INFO, __file__, 0, message, args, None, "pages")
    record.created = float(second)
    record.msecs = 0.0
    if not logger.filter(record):
        return
    for handler in _handlers():
        if record.levelno < handler.level:
            continue
        if isinstance(handler, LineHandler):
            handler.handle_pages(record, count)
        else:
            for _ in range(count):
                handler.handle(record)


def _line_handlers() -> list[LineHandler]:
    """The handlers of the logger that may keep lines."""
    return [handler for handler in _handlers() if isinstance(handler, LineHandler)]


def _handlers() -> Iterator[logging.Handler]:
    """Those that a record for the logger reaches, as logging itself finds them."""
    place: logging.Logger | None = logger
    while place:
        yield from place.handlers
        place = place.parent if place.propagate else None
