"""The log: a line for each page, of which a second may hold tens of thousands, all equal.

Everything goes through the logger `yinyang`, so a program's own handlers and formatters get what they are used to: a
record for each page. `LineHandler`, which the command line uses, is told how often a record occurred instead; it
formats it once and repeats its bytes, never blocks, and owes what its reader has not yet taken.

The command line does without this module as long as nobody else has imported `logging`: see lines.py.
"""

import logging
from collections.abc import Iterator

from yinyang.lines import TIME_FORMAT, Lines

logger = logging.getLogger("yinyang")


class LineHandler(logging.Handler):
    """Writes lines to a file descriptor, stderr's by default, without ever blocking."""

    def __init__(self, fd: int = 2) -> None:
        super().__init__()
        self._lines = Lines(fd)
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", TIME_FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line, or owe it."""
        self._put(record, 1)

    def repeat(self, record: logging.LogRecord, count: int) -> None:
        """Handle `count` records equal to this one."""
        if self.filter(record):
            with self.lock:
                self._put(record, count)

    def _put(self, record: logging.LogRecord, count: int) -> None:
        try:
            self._lines.put(self.format(record), count)
        except Exception:  # as logging asks: a wrong format must not end the program
            self.handleError(record)

    def pay(self) -> None:
        """Write what is owed, as far as it can be written now."""
        with self.lock:
            self._lines.pay()

    def wants(self) -> tuple[int, int]:
        """What to wait for before `pay` is worth calling; see `Lines.wants`."""
        return self._lines.wants()


class Log:
    """What a server has to say, for the logger `yinyang`."""

    def tell(self, message: str, *args: object) -> None:
        """A record about the server."""
        logger.info(message, *args)

    def warn(self, message: str, *args: object) -> None:
        """A record about what went wrong."""
        logger.warning(message, *args)

    def pages(self, second: int, count: int, message: str, *args: object) -> None:
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
                handler.repeat(record, count)
            else:
                for _ in range(count):
                    handler.handle(record)

    def pay(self) -> None:
        """Write the lines that handlers owe, as far as they can be written now."""
        for handler in _line_handlers():
            handler.pay()

    def wants(self) -> tuple[int, int]:
        """What to wait for before `pay` is worth calling; see `Lines.wants`."""
        wants = [handler.wants() for handler in _line_handlers()]
        return max((fd for fd, _ in wants), default=-1), min((most for _, most in wants if most >= 0), default=-1)


def log_for_command_line() -> Log:
    """The logger, with lines on stderr unless somebody has given it a handler."""
    if not logger.handlers:
        logger.addHandler(LineHandler())
        logger.setLevel(logging.INFO)
        logger.propagate = False
    return Log()


def _line_handlers() -> list[LineHandler]:
    """The handlers of the logger that may owe lines."""
    return [handler for handler in _handlers() if isinstance(handler, LineHandler)]


def _handlers() -> Iterator[logging.Handler]:
    """Those that a record for the logger reaches, as logging itself finds them."""
    place: logging.Logger | None = logger
    while place:
        yield from place.handlers
        place = place.parent if place.propagate else None
