"""Makes the HTTP clients that send the samples, as the options and the environment say."""

import os
import re
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx

from yinyang._core import WatchOptions
from yinyang.watch.proxy import proxy_for

HEADERS = {"User-Agent": "yinyang-watch", "Accept": "application/json", "Accept-Encoding": "identity"}


class UnusableError(Exception):
    """The options or the environment name something that cannot be used; the text says what, and why."""


def client_maker(options: WatchOptions) -> Callable[[], httpx.AsyncClient]:
    """A function that makes a client with at most one connection.

    Raises UnusableError if the URL, the proxy or the certificates cannot be used.
    """
    try:
        httpx.URL(options.url)
    except httpx.InvalidURL as error:
        raise UnusableError(f"{options.display_url!r} is not a URL: {error}") from None
    proxy = proxy_for(options.url)
    keep_alive = options.keep_alive
    verify = _ssl_context(options.insecure) if options.url.startswith("https:") else False

    def make() -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=verify,
            proxy=proxy,
            trust_env=False,  # of httpx: it does not start with an IPv6 range in NO_PROXY
            headers=HEADERS if keep_alive else HEADERS | {"Connection": "close"},
            timeout=None,  # the sampler has one for the request as a whole
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=int(keep_alive), keepalive_expiry=None),
        )

    try:
        if proxy is not None:
            _check_proxy(proxy)
        make()
    except (ValueError, ImportError, httpx.InvalidURL) as error:  # only a proxy is left to be wrong
        raise UnusableError(_proxy_text(proxy or "", error)) from None
    return make


def _check_proxy(proxy: str) -> None:
    """Raise ValueError if it has no host, or a port that there is not; httpx would fail with each request."""
    parts = urlsplit(proxy)
    if not (parts.hostname or "").strip() or parts.port == 0:
        raise ValueError(proxy)


def _ssl_context(insecure: bool) -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context(verify=not insecure)
    except OSError as error:  # which ssl.SSLError is too
        if error.filename and error.filename == os.environ.get("SSLKEYLOGFILE"):
            words = f"the file that SSLKEYLOGFILE names cannot be written: {error.strerror}"
            raise UnusableError(words) from None
        raise UnusableError(
            f"the certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read: {error}"
        ) from None


def _proxy_text(proxy: str, error: Exception) -> str:
    shown = re.sub(".*@", f"{proxy.partition(':')[0]}://", proxy)  # without a password
    if isinstance(error, ImportError):
        return f"the proxy {shown} of the environment needs socksio; install it with pip install 'httpx[socks]'"
    return f"the proxy {shown} of the environment cannot be used: it wants http://, https:// or socks5://, and a host"
