"""The wall behind real balancers: does it show what they do?"""

import contextlib
import http.client
import itertools
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from balancers import COOKIE, PROCESSES, Balancer, Stage, replica, stage
from conftest import PATIENCE, Image, needs, wait_until
from proxies import start_proxy

from wall.page import Wall

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Response

pytestmark = [pytest.mark.browser, pytest.mark.proxies]

OpenWall = Callable[..., Wall]


@pytest.fixture
def replicas(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """Replicas that are processes of this host, or containers."""
    in_containers = getattr(request, "param", "processes") == "containers"
    with stage(tmp_path, Image(request.getfixturevalue("image")) if in_containers else PROCESSES) as made:
        yield made


also_containers = pytest.mark.parametrize(  # for replicas that come and go
    "replicas", ["processes", pytest.param("containers", marks=pytest.mark.containers)], indirect=True
)


def names(number: int) -> list[str]:
    return [f"web-{place + 1}" for place in range(number)]


def check_shares(wall: Wall, balancer: Balancer) -> None:
    """The shares of the wall are those of the balancer's own count, within 3 points."""
    wall.wait(lambda: wall.total() > 60, "some samples")
    wall.stop()
    tiles = wall.replicas()
    shown = sum(tile.count for tile in tiles.values())
    wait_until(lambda: sum(balancer.counted().values()) >= shown, "the balancer's count")
    counted = balancer.counted()
    total = sum(counted.values())
    for name, count in counted.items():
        assert 100 * tiles[name].count / shown == pytest.approx(100 * count / total, abs=3)


@pytest.mark.parametrize("number", [3, 5])
@pytest.mark.parametrize("tool", ["haproxy", "nginx"])
def test_round_robin(tool: str, number: int, replicas: Stage, open_wall: OpenWall) -> None:
    replicas.add(*names(number))
    balancer = replicas.balance(tool)
    wall = open_wall(balancer.url)
    wall.wait_for_verdict(rf"{number} replicas take turns|even across {number}: each gets \d+ %")
    assert set(wall.replicas()) == set(names(number))
    check_shares(wall, balancer)


@pytest.mark.parametrize("tool", ["haproxy", "nginx"])
def test_weighted(tool: str, replicas: Stage, open_wall: OpenWall) -> None:
    replicas.add(*names(2))
    weights = {"haproxy": ["weight 80", "weight 20"], "nginx": ["weight=80", "weight=20"]}[tool]
    balancer = replicas.balance(tool, server=weights)
    wall = open_wall(balancer.url)
    wall.wait_for_verdict("web-1 gets 80 %, web-2 20 %")
    check_shares(wall, balancer)


@pytest.mark.parametrize("tool", ["haproxy", "nginx"])
def test_sticky_by_cookie(tool: str, replicas: Stage, open_wall: OpenWall) -> None:
    replicas.add(*names(3))
    balancer = replicas.balance(tool, sticky=True)
    wall = open_wall(balancer.url)
    wall.wait_for_verdict("sticky by cookie")
    # the shares are of what no cookie led, as half of the samples always go to the same one
    wall.wait(lambda: all(tile.share == pytest.approx(33, abs=9) for tile in wall.replicas().values()), "even shares")
    check_shares(wall, balancer)


def test_layer_4_is_sticky_by_connection(replicas: Stage, open_wall: OpenWall) -> None:
    replicas.add(*names(3))
    balancer = replicas.balance("haproxy", mode="tcp")
    wall = open_wall(balancer.url)
    wall.wait_for_verdict("3 replicas take turns")
    check_shares(wall, balancer)
    wall.press("Pause")
    wall.page.get_by_label("Connection").select_option("same")
    wall.wait_for_verdict("sticky by connection")
    wall.press("Reset")  # what new connections did is forgotten
    wall.wait_for_verdict(r"only web-\d so far")


def test_a_page_that_asks_for_itself_anew_shows_all(replicas: Stage, browser: "Browser") -> None:
    """Behind a balancer of connections, and while half of the answers are errors."""
    for name in names(3):
        replicas.replicas[name] = replica(replicas.folder, name, "--error-rate", "50%", "--error-code", "500")
    balancer = replicas.balance("haproxy", mode="tcp")
    page = browser.new_page()
    seen: set[tuple[int, str]] = set()

    def note(response: "Response") -> None:
        name = re.search(rb"web-\d", response.body())
        seen.add((response.status, name[0].decode()))

    page.on("response", note)
    page.goto(f"{balancer.url}/?every=1")
    while seen != set(itertools.product((200, 500), names(3))):
        page.wait_for_event("response")
    page.close()


def test_layer_7_is_not_sticky_by_connection(replicas: Stage, open_wall: OpenWall) -> None:
    replicas.add(*names(3))
    wall = open_wall(replicas.balance("haproxy").url)
    wall.wait_for_verdict("3 replicas take turns")
    wall.page.get_by_label("Connection").select_option("same")
    wall.press("Reset")
    wall.wait_for_verdict("3 replicas take turns")


HTTP_2 = """
defaults
    mode http
    timeout connect 1s
    timeout client 20s
    timeout server 20s
listen clients
    mode {mode}
    bind fd@{listener} {tls}
    balance roundrobin
    {policy}
    {servers}
{proxies}
"""


@contextlib.contextmanager
def over_http_2(replicas: Stage, mode: str, *, sticky: bool = False) -> Iterator[str]:
    """The address of HAProxy, which speaks HTTP/2 with browsers; or, at layer 4, gives their connections to three
    proxies that do, each in front of one replica."""
    folder = replicas.folder
    command = [needs("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", folder / "key", "-out", folder / "crt"], check=True, capture_output=True)
    (folder / "pem").write_text((folder / "key").read_text() + (folder / "crt").read_text())
    tls = f"ssl crt {folder}/pem alpn h2"
    policy, each, _ = COOKIE["haproxy"] if sticky else ("", "", "")
    addresses = {name: f"127.0.0.1:{one.port}" for name, one in replicas.replicas.items()}
    proxies = ""
    if mode == "tcp":
        for name, address in addresses.items():
            addresses[name] = f"unix@{folder}/{name}.socket"
            proxies += f"listen {name}\n    bind {addresses[name]} {tls}\n    server replica {address}\n"
        tls = ""
    servers = "\n    ".join(f"server {name} {at} {each.format(name=name)}" for name, at in addresses.items())
    given = {"mode": mode, "tls": tls, "policy": policy, "servers": servers, "proxies": proxies}
    process, port = start_proxy("haproxy", HTTP_2, folder, subprocess.DEVNULL, **given)
    try:
        yield f"https://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.parametrize(
    ("mode", "sticky", "expected"),
    [
        ("tcp", False, "sticky by connection"),
        ("http", False, "3 replicas take turns"),
        ("http", True, "sticky by cookie"),
    ],
)
def test_http_2(mode: str, sticky: bool, expected: str, replicas: Stage, browser: "Browser") -> None:
    replicas.add(*names(3))
    with over_http_2(replicas, mode, sticky=sticky) as url:
        context = browser.new_context(ignore_https_errors=True)
        wall = Wall(context.new_page(), url)
        wall.wait_for_verdict(expected)
        assert "HTTP/2: requests share connections" in wall.page.inner_text("#facts")
        assert wall.errors == []
        context.close()


def test_one_replica(replicas: Stage, open_wall: OpenWall) -> None:
    replicas.add("web-1")
    wall = open_wall(replicas.balance("nginx").url)
    wall.wait_for_verdict("one replica only: web-1")
    assert re.match(r"another would get less than \d+ %; \d+ samples", wall.page.inner_text("#detail"))


class Client(threading.Thread):
    """Asks for /whoami as often as the wall does, by itself; how long it went without an answer, in ms."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.longest = 0.0
        self._port = port
        self._done = threading.Event()

    def run(self) -> None:
        last_answer, failed = 0.0, False
        while not self._done.wait(1 / 40):
            answered = self._ask()
            now = time.monotonic() * 1000
            if answered:
                if failed and last_answer:
                    self.longest = max(self.longest, now - last_answer)
                last_answer = now
            failed = not answered

    def _ask(self) -> bool:
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=3)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(client):
            client.request("GET", "/whoami")
            with client.getresponse() as answer:
                return answer.status == 200
        return False

    def stop(self) -> None:
        self._done.set()
        self.join()


@also_containers
def test_killed_replica_leaves_a_gap_and_is_shown_as_gone(replicas: Stage, open_wall: OpenWall) -> None:
    replicas.add(*names(2))
    checked = "check inter 500ms fall 3"
    balancer = replicas.balance("haproxy", server=[checked, f"{checked} backup"])
    wall = open_wall(balancer.url)
    wall.wait_for_verdict("one replica only")
    client = Client(balancer.port)
    client.start()
    try:
        wait_until(lambda: balancer.counted()["web-1"] > wall.total() + 20, "the client's own samples")
        replicas.replicas["web-1"].kill()
        wall.wait_for_verdict("every request fails: HTTP 503, for ")
        wall.wait(lambda: "web-1" in wall.tiles() and wall.tiles()["web-1"].state == "gone", "the replica to be gone")
        wall.wait_for_verdict("no failure for|web-1 is gone|one replica only: web-2|only web-2 so far")
        longest = wall.longest_gap()
        wall.wait_for_verdict("one replica only: web-2")
    finally:
        client.stop()
    tiles = wall.tiles()
    assert re.search(r"gone, \d+ s", tiles["web-1"].text)
    assert tiles["web-1"].share is None
    assert tiles["HTTP 503"].count > 10
    assert longest >= 500
    assert longest == pytest.approx(client.longest, rel=0.2)


def test_a_replica_that_fails_is_shown_and_ejected(replicas: Stage, open_wall: OpenWall) -> None:
    """HAProxy passes over it after three errors in a row, until its checks bring it back."""
    replicas.add("web-1", "web-2")
    replicas.replicas["web-3"] = replica(replicas.folder, "web-3", "--error-rate", "50%")
    ejecting = "check inter 500ms rise 2 observe layer7 error-limit 3 on-error mark-down"
    balancer = replicas.balance("haproxy", server=[ejecting] * 3)
    wall = open_wall(balancer.url)
    wall.wait_for_verdict(r".* requests? fail.*: web-3 answers 503")
    wall.wait(lambda: wall.total() > 200, "some ejections")
    wall.stop()
    tiles = wall.tiles()
    assert "HTTP 503" not in tiles
    assert tiles["web-3"].count < min(tiles["web-1"].count, tiles["web-2"].count)


def test_failures_are_told_apart(replicas: Stage, open_wall: OpenWall) -> None:
    replicas.add("web-1")
    balancer = replicas.balance("haproxy")
    wall = open_wall(balancer.url, rate="20")
    wall.wait(lambda: "web-1" in wall.tiles(), "its tile")
    other = replicas.replicas["plain"] = replica(replicas.folder, "plain", "--plain")
    balancer.replace("web-1", other)
    assert "another page answers" in wall.wait(lambda: wall.tiles().get("not whoami"), "a page instead").text
    for process in (other.pid, *other.workers()):  # the parent first, which would replace a worker that hangs
        os.kill(process, signal.SIGSTOP)
    wall.wait(lambda: "timed out" in wall.tiles(), "a timeout")
    other.kill()
    wall.wait(lambda: "HTTP 503" in wall.tiles(), "what HAProxy says then")
    balancer.stop()
    assert "refused, reset, name or CORS" in wall.wait(lambda: wall.tiles().get("no connection"), "refusal").text


@also_containers
def test_rolling_deploy_shows_in_lanes(replicas: Stage, open_wall: OpenWall) -> None:
    replicas.add(*names(3))
    balancer = replicas.balance("haproxy")
    wall = open_wall(balancer.url)
    wall.wait_for_verdict("3 replicas take turns")
    for number in (1, 2, 3):
        new, old = f"web-{number + 3}", f"web-{number}"
        replicas.add(new, version="v2")
        balancer.replace(old, replicas.replicas[new])
        assert replicas.replicas[old].stop() == 0
        wall.wait(lambda new=new: new in wall.tiles(), new)
        wall.wait(lambda old=old: wall.tiles()[old].state == "gone", f"{old} to be missed")
    wall.wait_for_verdict("3 replicas take turns")
    lanes = {label: seconds for label, seconds in wall.lanes().items() if label.startswith("web-")}
    assert set(lanes) == set(names(6))
    for number in (1, 2, 3):
        assert max(lanes[f"web-{number}"]) <= min(lanes[f"web-{number + 3}"]) + 1
        assert max(lanes[f"web-{number + 3}"]) >= 177
    ends = [max(lanes[f"web-{number}"]) for number in (1, 2, 3)]
    assert ends == sorted(ends)
    assert ends[2] < 178
