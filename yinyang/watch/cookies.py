"""Cookies that replicas, or whatever stands in front of them, have set: the latest of each replica."""

import random
from http.cookies import CookieError, SimpleCookie

PROBED = 0.2  # the part of requests that carry a cookie, once there is one
MOST = 64  # replicas whose cookies are kept


class Cookies:
    """What to send back, to find out whether it leads to the replica that it came with.

    Which request carries one, and whose, is drawn at random: in turn, it might keep step with a rotation.
    """

    def __init__(self, secure: bool) -> None:
        """secure: the connection is encrypted, so that cookies may be carried which ask for that."""
        self._secure = secure
        self._of: dict[str, dict[str, str]] = {}  # by host: name and value

    def note(self, host: str, lines: list[str]) -> None:
        """Keep what an answer of this replica sets, by its Set-Cookie fields."""
        found = {name: value for line in lines for name, value in self._read(line)}
        if found:
            self._of.pop(host, None)
            self._of[host] = found
            if len(self._of) > MOST:
                del self._of[next(iter(self._of))]

    def draw(self) -> tuple[str, dict[str, str]] | None:
        """A replica and its cookies for the next request; None if it carries none."""
        if not self._of or random.random() >= PROBED:
            return None
        host = random.choice(list(self._of))
        return host, self._of[host]

    def _read(self, line: str) -> list[tuple[str, str]]:
        cookie: SimpleCookie = SimpleCookie()
        try:
            cookie.load(line)
        except CookieError:
            return []
        return [
            (name, one.coded_value)
            for name, one in cookie.items()
            if one.value and one["max-age"] != "0" and (self._secure or not one["secure"])
        ]
