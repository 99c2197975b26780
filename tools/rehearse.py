"""Plays the steps of docs/cluster.md and docs/talk.md without containers: with processes, behind HAProxy with the rules
of deploy/haproxy.cfg. Prints what the wall and the watch say at each step, and how long after its beginning.

pip install -e '.[test]'
python tools/rehearse.py [wall|watch] [STEP...]    # needs Chromium and HAProxy; STEPS has the names
"""

import fcntl
import hashlib
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from conftest import ROOT, free_port, wait_until

PYTHON = [sys.executable, "-m"]
SLOTS = {"web": 6, "canary": 1}
LOOK = 0.1  # seconds
VIEWERS = ["wall", "watch"]


def host(name: str) -> str:
    """As the host name of a container: 12 digits."""
    return hashlib.sha256(name.encode()).hexdigest()[:12]


class Cluster:
    """The containers of deploy/compose.yaml as processes."""

    is_unchecked = False

    def __init__(self, folder: Path, **variables: str) -> None:
        self.ports = {
            f"{service}-{number + 1}": free_port() for service, count in SLOTS.items() for number in range(count)
        }
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._processes: dict[str, subprocess.Popen] = {}
        self._configuration = folder / "haproxy.cfg"
        self._configuration.write_text(self._with_addresses((ROOT / "deploy/haproxy.cfg").read_text()))
        self._variables = {"MODE": "http", "STICKY": "", "CHECKS": ""} | variables

    def _with_addresses(self, text: str) -> str:
        """HAProxy's rules with an address for each replica, where a container finds them by name."""
        text = re.sub(r"(?ms)^resolvers .*?(?=^defaults)", "", text)
        text = re.sub(r"(?m)^    default-server resolvers .*$", "", text)
        text = text.replace("bind :8080", f"bind 127.0.0.1:{self.port}").replace("log stdout", "log /dev/null")
        for service, count in SLOTS.items():
            [weight] = re.findall(rf"server-template {service}-.*weight (\d+)", text)
            servers = [f"{service}-{number + 1}" for number in range(count)]
            if self.is_unchecked:
                servers = servers[:3] if service == "web" else []
            lines = [f"    server {name} 127.0.0.1:{self.ports[name]} weight {weight}" for name in servers]
            text = re.sub(rf"(?m)^    server-template {service}-.*$", "\n".join(lines), text)
        return text

    def balance(self) -> None:
        command = [shutil.which("haproxy"), "-db", "-f", str(self._configuration)]
        self._processes["balancer"] = subprocess.Popen(
            command, env=os.environ | self._variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def start(self, *names: str, version: str = "v1") -> None:
        for name in names:
            options = ["--host", "127.0.0.1", "--port", str(self.ports[name]), "--name", host(name)]
            options += ["--app-version", version, "--palette", "distinct", "--workers", "1", "--drain", "3"]
            self._processes[name] = subprocess.Popen(
                [*PYTHON, "yinyang.serve", "--no-access-log", *options], stderr=subprocess.DEVNULL
            )

    def kill(self, name: str) -> None:
        """As docker kill: at once, with all that it started."""
        self._processes[name].kill()
        self._processes.pop(name).wait()

    def stop(self, name: str, wait: bool = True) -> None:
        process = self._processes.pop(name)
        process.terminate()
        if wait:
            process.wait()

    def end(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()


class Unchecked(Cluster):
    """With CHECKS=off, where nobody notices which replicas there are."""

    is_unchecked = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, CHECKS="off")


class Audience:
    """Who looks at the wall, or at the watch if there is no page: at one of them, as two would share a rotation."""

    def __init__(self, page: Page | None) -> None:
        self._page = page
        self._begin = 0.0
        self._said = ""

    def sees(self, url: str, fragment: str = "") -> None:
        if self._page:
            self._page.goto("about:blank")
            self._page.goto(f"{url}wall{fragment}")

    def begin(self, title: str) -> None:
        """A new step, with Reset."""
        self._tell(f"\n== {title}")
        self._begin, self._said = time.monotonic(), ""
        if self._page:
            self._page.keyboard.press("r")

    def note(self, what: str) -> None:
        self._tell(f"   {self._at()} -- {what}")

    def look(self, seconds: float) -> None:
        """Tell each new headline, but for its figures."""
        end = time.monotonic() + seconds
        while self._page and time.monotonic() < end:
            self._hear(" | ".join(self._read()))
            self._page.wait_for_timeout(1000 * LOOK)
        time.sleep(max(0, end - time.monotonic()))
        if self._page:
            self._tell(f"   {self._at()} at last: {' | '.join(self._read())}")
            facts, groups = self._page.inner_text("#facts"), self._page.get_attribute("#groups", "aria-label")
            self._tell(f"           {facts} | {groups}")

    def sets(self, **controls: str) -> None:
        for name, value in controls.items() if self._page else ():
            self._page.evaluate(
                """([name, value]) => {
                    const control = document.getElementById(name);
                    control.value = value;
                    control.dispatchEvent(new Event("input", {bubbles: true}));
                    control.dispatchEvent(new Event("change", {bubbles: true}));
                }""",
                [name, value],
            )

    @contextmanager
    def watches(self, url: str, *options: str) -> Iterator[None]:
        """A watch meanwhile, of which each new verdict and the last lines are told."""
        if self._page:
            yield
            return
        command = [*PYTHON, "yinyang.watch", url, *options]
        self.note(f"yinyang.watch {' '.join(options)}")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        listener = threading.Thread(target=self._listen, args=[process.stdout])
        listener.start()
        try:
            yield
        finally:
            if "--duration" not in options:
                process.send_signal(signal.SIGINT)
            listener.join()
            self.note(f"exit code {process.wait()}")

    def _listen(self, output: IO[str]) -> None:
        line = ""
        for line in output:
            if re.match(r"\d+ s: ", line):
                self._hear(re.sub(r".*p99 [^;]*; ", "", line.strip()))
            else:
                self._tell(f"   {line.rstrip()}")

    def _hear(self, words: str) -> None:
        kind = re.sub(r"[\d.]+", "", words.partition(" | ")[0].partition("; ")[0])
        if kind != self._said:
            self._tell(f"   {self._at()} {words}")
        self._said = kind

    def _read(self) -> list[str]:
        return self._page.evaluate("['verdict', 'detail'].map(id => document.getElementById(id).textContent)")

    def _tell(self, words: str) -> None:
        print(words, flush=True)

    def _at(self) -> str:
        return f"{time.monotonic() - self._begin:5.1f} s"


# ---- the steps ----------------------------------------------------------------------------------------------------

Play = Callable[[Path, Audience, ExitStack], None]


def made(cluster: Cluster, audience: Audience, stack: ExitStack, names: list[str], fragment: str = "") -> Cluster:
    """The cluster with these replicas, as soon as the wall can be seen."""
    stack.callback(cluster.end)
    cluster.start(*names)
    cluster.balance()

    def is_up() -> bool:
        ask = ["curl", "-sf", "--noproxy", "*", cluster.url]
        return subprocess.run(ask, check=False, stdout=subprocess.DEVNULL).returncode == 0

    wait_until(is_up, "the balancer")
    time.sleep(2)  # until all are checked
    audience.sees(cluster.url, fragment)
    time.sleep(1)
    return cluster


THREE = ["web-1", "web-2", "web-3"]


def one(folder: Path, audience: Audience, stack: ExitStack) -> None:
    cluster = Cluster(folder)
    stack.callback(cluster.end)
    cluster.start("web-1")
    time.sleep(1.5)
    audience.sees(f"http://127.0.0.1:{cluster.ports['web-1']}/")
    audience.begin("one replica")
    audience.look(14)
    audience.note("kill")
    cluster.kill("web-1")
    audience.look(5)


def scale(folder: Path, audience: Audience, stack: ExitStack) -> None:
    cluster = made(Cluster(folder), audience, stack, THREE)
    audience.begin("three replicas")
    with audience.watches(cluster.url, "--duration", "10s"):
        audience.look(10)
    audience.begin("two more")
    cluster.start("web-4", "web-5")
    with audience.watches(cluster.url):
        audience.look(15)
    audience.begin("back to three: two are stopped, which drain")
    audience.look(3)
    audience.note("stop")
    cluster.stop("web-4", wait=False)
    cluster.stop("web-5", wait=False)
    audience.look(18)


def kill_and_start(cluster: Cluster, audience: Audience, *expected: str) -> None:
    """Kill one while the watch looks, and start it again."""
    with audience.watches(cluster.url, *expected):
        time.sleep(2)
        audience.note("kill")
        cluster.kill("web-2")
        audience.look(15)
    audience.note("start")
    cluster.start("web-2")


def kill(folder: Path, audience: Audience, stack: ExitStack) -> None:
    cluster = made(Cluster(folder), audience, stack, THREE)
    audience.begin("one is killed, with health checks")
    audience.look(3)
    kill_and_start(cluster, audience, "--max-errors", "0")
    audience.look(15)
    audience.begin("one is drained")
    audience.look(3)
    audience.note("stop")
    cluster.stop("web-3", wait=False)
    audience.look(15)


def unchecked(folder: Path, audience: Audience, stack: ExitStack) -> None:
    cluster = made(Unchecked(folder), audience, stack, THREE)
    audience.begin("one is killed, without health checks")
    audience.look(3)
    kill_and_start(cluster, audience)
    audience.look(20)


def rolling(folder: Path, audience: Audience, stack: ExitStack) -> None:
    cluster = made(Cluster(folder), audience, stack, THREE, "#by=version")
    audience.begin("a rolling deploy")
    audience.look(3)
    expected = ["--by", "version", "--until", "v2 >= 99%", "--duration", "5m", "--max-errors", "0"]
    with audience.watches(cluster.url, *expected):
        audience.note("start three of v2")
        cluster.start("web-4", "web-5", "web-6", version="v2")
        audience.look(8)
        for name in THREE:
            audience.note(f"stop {name}")
            cluster.stop(name)
            audience.look(2)
        audience.look(25)


def canary(folder: Path, audience: Audience, stack: ExitStack) -> None:
    cluster = made(Cluster(folder), audience, stack, ["web-1"], "#by=version")
    cluster.start("canary-1", version="v2")
    time.sleep(3)
    audience.begin("a canary beside one")
    with audience.watches(cluster.url, "--by", "version", "--expect", "v2=20%±5", "--duration", "20s"):
        audience.look(20)
    audience.begin("sliders: v2 fails in 50 %")
    audience.look(2)
    audience.sets(target="v2", fail="50")
    audience.look(12)
    audience.sets(fail="0", latency="500")
    audience.note("sliders: 500 ms late instead")
    audience.look(10)
    audience.sets(fail="0", latency="0")
    audience.note("sliders back")
    audience.look(15)
    cluster.start("web-2", "web-3")
    time.sleep(3)
    audience.begin("a canary beside three")
    audience.look(15)


def sliders(folder: Path, audience: Audience, stack: ExitStack) -> None:
    made(Cluster(folder), audience, stack, THREE)
    audience.begin("sliders: one replica fails always")
    audience.look(3)
    audience.sets(target=host("web-2")[:8], fail="100")
    audience.note("fails 100 %")
    audience.look(10)
    audience.sets(fail="0", latency="500")
    audience.note("500 ms late instead")
    audience.look(12)


def sticky(folder: Path, audience: Audience, stack: ExitStack) -> None:
    cluster = made(Cluster(folder, STICKY="1"), audience, stack, THREE)
    audience.begin("a cookie")
    with audience.watches(cluster.url):
        audience.look(15)


def connections(folder: Path, audience: Audience, stack: ExitStack) -> None:
    cluster = made(Cluster(folder, MODE="tcp"), audience, stack, THREE)
    audience.begin("a balancer of connections: new")
    audience.look(8)
    audience.sets(connection="same")
    audience.note("connection: same")
    with audience.watches(cluster.url, "--connection", "same", "--duration", "15s"):
        audience.look(15)


def screen(folder: Path, audience: Audience, stack: ExitStack) -> None:
    """What a watch in a terminal shows at its end, where one of three is killed and nothing checks it."""
    cluster = made(Unchecked(folder), audience, stack, THREE)
    command = [*PYTHON, "yinyang.watch", cluster.url, "--rate", "40", "--duration", "12s"]
    command += ["--max-errors", "0", "--max-gap", "500ms", "--min-share", "20%"]
    master, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(command, stdout=terminal, stderr=subprocess.PIPE, text=True) as process:
        os.close(terminal)
        threading.Timer(5, cluster.kill, ["web-2"]).start()
        output = b"".join(iter(lambda: read_terminal(master), b"")).decode()
        expectations = process.stderr.read()
    last = re.split(r"\x1b\[(?:\d*A|H|\?1049l)", output)[-1]
    print("\n== the watch in a terminal, 80 by 24")
    print(re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", last).replace("\r", ""))
    print(f"{expectations}exit code {process.returncode}")


def read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # it is at its end
        return b""


STEPS: dict[str, Play] = {
    step.__name__: step for step in (one, scale, kill, unchecked, rolling, canary, sliders, sticky, connections, screen)
}


def main() -> None:
    """Play the steps of these names, or all, for the wall and then for the watch."""
    names = [f"{service}-{number + 1}" for service, count in SLOTS.items() for number in range(count)]
    print(", ".join(f"{name} is {host(name)}" for name in names))
    viewers = [word for word in sys.argv[1:] if word in VIEWERS] or VIEWERS
    steps = [word for word in sys.argv[1:] if word not in VIEWERS] or STEPS
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for viewer in viewers:
            for step in steps:
                with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
                    print(f"\n==== {step}, seen by the {viewer}", flush=True)
                    page = stack.enter_context(browser.new_page()) if viewer == "wall" else None
                    STEPS[step](Path(folder), Audience(page), stack)


if __name__ == "__main__":
    main()
