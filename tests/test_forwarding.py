"""Behind proxies that forward without having been told much: what reaches the replica, and PROXY headers that they
send. The configurations are in forwarders.py."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, Replica, needs
from forwarders import (
    NAMES,
    PLAIN,
    PROXIES,
    PROXY_HEADERS,
    TOLD,
    TRAEFIK_ROUTES,
    TRAEFIK_TCP,
    USUAL,
    asked,
    echoed,
    forwarded,
    forwarding,
    row,
)

pytestmark = pytest.mark.proxies
Start = Callable[..., Replica]


@pytest.mark.parametrize("tool", PROXIES)
def test_the_guide_says_what_a_proxy_adds(tool: str, shared_replica: Replica) -> None:
    needs(tool)
    guide = (ROOT / "docs/commands.md").read_text()
    assert row(NAMES[tool], forwarded(tool, PLAIN[tool], shared_replica.port)) in guide
    assert row(f"{NAMES[tool]} {TOLD[tool]}", forwarded(tool, USUAL[tool], shared_replica.port)) in guide


@pytest.mark.parametrize("sender", PROXY_HEADERS)
def test_a_proxy_tells_the_client(sender: str, start: Start, tmp_path: Path) -> None:
    """Each connection, and the requests on it, are answered as if nobody stood in between."""
    tool, configuration = PROXY_HEADERS[sender]
    needs(tool)
    if tool == "nginx" and not Path("/usr/lib/nginx/modules/ngx_stream_module.so").exists():
        pytest.skip("nginx has no stream module")
    replica = start("--proxy-protocol", "--host", "127.0.0.1")
    routes = TRAEFIK_TCP.replace("{version}", sender[-1]) if tool == "traefik" else ""
    with forwarding(tool, configuration, tmp_path, replica.port, routes) as port:
        for _ in range(3):
            told, own = echoed(port)
            assert told["remoteAddr"] == own
            assert told["localAddr"] == f"127.0.0.1:{replica.port}"


@pytest.mark.parametrize("tool", PROXIES)
def test_without_the_option_a_proxy_may_send_none(tool: str, start: Start, tmp_path: Path) -> None:
    """And with it, one that sends none gets an answer that says so."""
    needs(tool)
    replica = start("--host", "127.0.0.1")
    with forwarding(tool, PLAIN[tool], tmp_path, replica.port, TRAEFIK_ROUTES) as port:
        told, _ = echoed(port)
        assert told["remoteAddr"].startswith("127.0.0.1:")
        assert b"HTTP/1.1 503 " in asked(port, "/status/503")[0]
