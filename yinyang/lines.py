"""Writing lines to a descriptor without ever blocking, and the log of the command line, which is such lines.

Nothing here needs the module `logging`, which imports much more than this package.
"""

import time
from collections import deque

from yinyang._core import write_log_lines

RETRY_SECONDS = 1.0  # between two attempts to write to a log that refuses to be written
TIME_FORMAT = "%Y/%m/%d %H:%M:%S"


class Lines:
    """Lines for a file descriptor, stderr's by default.

    What cannot be written now is owed, as a line and how often; `pay` writes it when it can be. When writing fails (the
    reader is gone, the disk is full), it is tried again a second later, so no line is lost to a fault that passes.
    """

    def __init__(self, fd: int = 2) -> None:
        self.fd = fd
        self._owed: deque[list] = deque()  # [line, how often, bytes of the first one that are written]
        self._refused_until = 0.0

    def put(self, text: str, count: int = 1) -> None:
        """Write a line `count` times, or owe it."""
        line = f"{text}\n".encode("utf-8", "surrogateescape")
        if self._owed and self._owed[-1][0] == line:
            self._owed[-1][1] += count
        else:
            self._owed.append([line, count, 0])
        self.pay()

    def pay(self) -> None:
        """Write what is owed, as far as it can be written now."""
        if self._owed and time.monotonic() < self._refused_until:
            return
        while self._owed:
            line, count, offset = self._owed[0]
            try:
                written = write_log_lines(self.fd, line, count, offset)
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
        """What to wait for before `pay` is worth calling, as arguments for `Supervisor.wait`: a descriptor that must be
        writable, or -1; milliseconds that must pass, or -1."""
        if not self._owed:
            return -1, -1
        refused = self._refused_until - time.monotonic()
        return (-1, int(refused * 1000) + 1) if refused > 0 else (self.fd, -1)


class LineLog(Lines):
    """The log of a server as lines, each with its time, where nobody has set up logging; see `log.Log`."""

    def tell(self, message: str, *args: object) -> None:
        """A line about the server."""
        self._put(time.time(), message, args, 1)

    warn = tell

    def pages(self, second: int, count: int, message: str, *args: object) -> None:
        """A line, `count` times, as of `second` since 1970."""
        self._put(second, message, args, count)

    def _put(self, second: float, message: str, args: tuple, count: int) -> None:
        self.put(f"{time.strftime(TIME_FORMAT, time.localtime(second))} {message % args}", count)
