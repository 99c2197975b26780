"""Cookies that replicas, or a balancer in front of them, have set: the latest ones of each replica."""

import random
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie

COOKIE_PROBABILITY = 0.2  # that a request carries a cookie, once there is one
MAX_REPLICAS = 64  # whose cookies are kept


class CookieJar:
    """Chooses the cookies that a request carries, to find out whether they lead to the replica that they came with.

    Which request carries cookies, and those of which replica, is random: in turn, it might keep step with a rotation.
    """

    def __init__(self, secure: bool) -> None:
        """secure: the connection is encrypted, so that cookies with the attribute Secure may be sent."""
        self._secure = secure
        self._by_host: dict[str, dict[str, str]] = {}  # names and values

    def store(self, host: str, set_cookie_lines: Iterable[str]) -> None:
        """Keep the cookies that an answer of this replica sets, given its Set-Cookie header lines."""
        cookies = {name: value for line in set_cookie_lines for name, value in self._parse(line)}
        if cookies:
            self._by_host.pop(host, None)
            self._by_host[host] = cookies
            if len(self._by_host) > MAX_REPLICAS:
                del self._by_host[next(iter(self._by_host))]

    def choose(self) -> tuple[str, dict[str, str]] | None:
        """A replica's host, and its cookies for the next request; None if that is to carry none."""
        if not self._by_host or random.random() >= COOKIE_PROBABILITY:
            return None
        host = random.choice(list(self._by_host))
        return host, self._by_host[host]

    def _parse(self, line: str) -> list[tuple[str, str]]:
        cookie: SimpleCookie = SimpleCookie()
        try:
            cookie.load(line)
        except CookieError:
            return []
        return [
            (name, morsel.coded_value)
            for name, morsel in cookie.items()
            if morsel.value and morsel["max-age"] != "0" and (self._secure or not morsel["secure"])
        ]
