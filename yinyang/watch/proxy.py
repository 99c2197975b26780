"""Finds the proxy that the environment names for a URL, in the variables that curl knows too."""

import ipaddress
import re
from urllib.parse import urlsplit
from urllib.request import getproxies_environment


def proxy_for(url: str) -> str | None:
    """The URL of the proxy, by `http_proxy`, `https_proxy` or `all_proxy`; None for none, as `no_proxy` may say.

    The names of the variables may be in upper case. A proxy without a scheme is one of HTTP.
    """
    proxies, parts = getproxies_environment(), urlsplit(url)
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    exceptions = proxies.get("no", "").lower().split(",")
    if not proxy or any(_matches(parts.hostname or "", parts.port, exception.strip()) for exception in exceptions):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _matches(host: str, port: int | None, exception: str) -> bool:
    """Whether a host is this one: `*`, an address or a range of them, or a name, which stands for all below it too.

    A name or an address may have a port, and an IPv6 address brackets.
    """
    if exception == "*":
        return True
    found = re.fullmatch(r"\[([^]]*)\](?::(\d+))?|([^:]*):(\d+)", exception)
    if found and (given := found[2] or found[4]) and given != str(port):
        return False
    name = (found[1] or found[3]) if found else exception
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = name.removeprefix("*").removeprefix(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False
