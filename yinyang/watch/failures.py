"""Why a request failed, in a word or two."""

import errno
import re
import socket
import ssl
from collections.abc import Iterator

import httpx

WORDS = {  # of errno
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


def name_failure(wrong: BaseException) -> str:
    """What an exception of httpx comes from, as precisely as its causes tell."""
    for cause in _causes(wrong):
        if word := _word(cause):
            return word
    if isinstance(wrong, httpx.RemoteProtocolError):
        return "closed" if re.search("disconnected|closed", str(wrong)) else "not HTTP"
    if isinstance(wrong, httpx.ReadError | httpx.WriteError):
        return "reset"  # where the system does not say more
    return type(wrong).__name__


def _word(cause: BaseException) -> str | None:
    if isinstance(cause, TimeoutError | httpx.TimeoutException):
        return TIMED_OUT
    if isinstance(cause, socket.gaierror):
        return "name not found"
    if isinstance(cause, ssl.SSLError):
        return "TLS"
    return WORDS.get(cause.errno or 0) if isinstance(cause, OSError) else None


def name_status(status: int) -> str:
    """The failure of an answer with another status than 200."""
    return f"status {status}"


def _causes(wrong: BaseException) -> Iterator[BaseException]:
    """The exception and all that it comes from, the nearest first."""
    waiting, seen = [wrong], set()
    while waiting:
        cause = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            waiting.extend(cause.exceptions)
        waiting.extend(source for source in (cause.__cause__, cause.__context__) if source)
