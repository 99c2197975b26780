"""Names the reason why a request failed, in a word or two, as csrc/verdict.h does."""

import errno
import re
import socket
import ssl
from collections.abc import Iterator

import httpx

NAME_OF_ERRNO = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ECONNABORTED: "reset",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EADDRNOTAVAIL: "no local port free",
    errno.EMFILE: "too many open files",
    errno.ETIMEDOUT: "timed out",
}
TIMED_OUT = "timed out"
NOT_WHOAMI = "not whoami"
FAILED = "failed"  # in another way


def name_failure(error: BaseException) -> str:
    """The name of the failure that an exception of httpx stands for, as precise as the exception's causes are."""
    for cause in _causes(error):
        if name := _name_cause(cause):
            return name
    if isinstance(error, httpx.RemoteProtocolError):
        return "closed" if re.search("disconnected|closed", str(error)) else "not HTTP"
    if isinstance(error, httpx.ReadError | httpx.WriteError):
        return "reset"  # where the system does not say more
    return FAILED


def name_status(status: int) -> str:
    """The name of the failure that an answer with another status than 200 is."""
    return f"status {status}"


def _name_cause(cause: BaseException) -> str | None:
    if isinstance(cause, TimeoutError | httpx.TimeoutException):
        return TIMED_OUT
    if isinstance(cause, socket.gaierror):
        return "name not found"
    if isinstance(cause, ssl.SSLError):
        return "TLS"
    return NAME_OF_ERRNO.get(cause.errno or 0) if isinstance(cause, OSError) else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and all exceptions that it comes from, the nearest first."""
    waiting, seen = [error], set()
    while waiting:
        cause = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            waiting.extend(cause.exceptions)
        waiting.extend(source for source in (cause.__cause__, cause.__context__) if source)
