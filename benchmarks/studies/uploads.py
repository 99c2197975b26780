"""Uploads to a server that drops them: our server in both shapes, and Go's net/http, directly and behind proxies.

    python -m benchmarks.studies.uploads [--only PROXY] [--upstream ours|go] [--clients a/b] [--sizes 400000,...]
                                         [--count 60]

Prints tables in Markdown; a missing program is named, and what failed is listed below each table. Each client of
upload_clients/ uploads COUNT bodies of each size one after another, a tenth as many of more than 50 MB, on connections
that it keeps if it likes to. aiohttp and Node's http stream. Where curl expects `100-continue`, there is a process for
each upload, or one for all. Behind each proxy stand two replicas: of ours one is the static program and one runs on
Python; of the other server both are alike. Everything is started anew for each client. Replicas and proxy have one
CPU, the clients have the other. The proxies have their defaults, but take a replica out after one failure, as nginx
does, and let bodies of any size pass. Needs Linux with two CPUs, root, and what benchmarks/install-peers installs.

a client        Uploads that failed: with an error at the client, or with another status than expected.
resets          TCP segments with RST that the replicas sent.
marked down     How often the proxy took a replica out; by its own statistics or log.
others          Requests of another client that failed; it asks for the page every 20 ms meanwhile, on a new connection
                each time, and expects the page within 30 s.

The second part has requests that our server refuses while their bodies are on the way, directly: each client sends
COUNT / 3 of them with 1, 2 and 3 MB, and must read the status. Go's server refuses only one of them.
"""

import argparse
import collections
import contextlib
import ctypes
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.lib.contestants import PROGRAMS, PYTHON, ROOT, Contestant, MissingError, prepare, program, run_build
from benchmarks.lib.figures import row, table
from benchmarks.lib.http_requests import GET_CLOSE
from benchmarks.lib.network import isolate_network
from benchmarks.lib.processes import CLIENT_CPU, PATIENCE, SERVER_CPU, fetch, free_ports, serving
from benchmarks.studies.upload_proxies import PROXIES, Proxy

HERE = ROOT / "benchmarks/studies/upload_clients"
FOLDER = ROOT / "build/uploads"
SIZES = (400_000, 1_000_000, 2_000_000, 5_000_000, 100_000_000)  # bytes
ERROR_SIZES = (1_000_000, 2_000_000, 3_000_000)
LARGE = 50_000_000
DESCRIPTORS = 4096
PAUSE = 0.02  # seconds between two requests of the other client
LOOKS = 0.25  # seconds between two looks at the proxy
CLIENT_PATIENCE = 400.0  # seconds for all uploads of a client
OF_PYTHON = ("aiohttp", "http.client", "requests", "httpx")
OF_CURL = {  # Expect, and uploads of one process
    "curl": ("", "1000000"),
    "curl, Expect": ("100-continue", "1"),
    "curl, Expect, one process": ("100-continue", "1000000"),
}
CLIENTS = ["Node fetch", "Node http", "Go", *OF_PYTHON, *OF_CURL, "Java"]
GO = ("go", "build", "-o", str(PROGRAMS / "upload"), str(HERE / "upload.go"))


@dataclass
class Refusal:
    """A request that our server refuses while its body is on the way."""

    status: int
    title: str
    method: str = "POST"
    header: tuple[str, str] = ("", "")
    query: str = ""
    not_by: tuple[str, ...] = ()  # clients that cannot send it
    by_go: bool = False  # Go's server refuses it, too


REFUSALS = [
    Refusal(400, "`Host: a:b`", header=("Host", "a:b"), not_by=("Node fetch",)),
    Refusal(414, "60,000 bytes of target", query="a" * 60_000),
    Refusal(417, "`Expect: tea`", header=("Expect", "tea"), not_by=("Node fetch",), by_go=True),
    Refusal(431, "70,000 bytes of a field", header=("X-Long", "a" * 70_000)),
    Refusal(501, "method `BREW`", method="BREW"),
]


class Filter(ctypes.Structure):
    """A classic BPF program (struct sock_fprog of linux/filter.h)."""

    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]


class Resets(threading.Thread):
    """Counts the segments with RST that leave from each port."""

    # With an offset into an IPv4 packet: is it TCP (9), is RST among the flags (13, after the header of IP)?
    CODE = (
        (0x30, 0, 0, 9),
        (0x15, 0, 4, socket.IPPROTO_TCP),
        (0xB1, 0, 0, 0),
        (0x50, 0, 0, 13),
        (0x45, 0, 1, 4),
        (0x06, 0, 0, 64),
        (0x06, 0, 0, 0),
    )

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ports: collections.Counter[int] = collections.Counter()
        code = b"".join(
            op.to_bytes(2, sys.byteorder) + bytes((true, false)) + value.to_bytes(4, sys.byteorder)
            for op, true, false, value in self.CODE
        )
        buffer = ctypes.create_string_buffer(code, len(code))
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
        self.socket.setsockopt(
            socket.SOL_SOCKET,
            26,
            bytes(Filter(len(self.CODE), ctypes.addressof(buffer))),  # SO_ATTACH_FILTER
        )
        self.socket.bind(("lo", 0x0800))  # ETH_P_IP

    def run(self) -> None:
        while True:
            packet = self.socket.recv(64)
            start = (packet[0] & 15) * 4
            self.ports[int.from_bytes(packet[start : start + 2], "big")] += 1


def is_page(response: bytes) -> bool:
    return response.startswith(b"HTTP/1.1 200 ") and b"</html>" in response


class OtherClient(threading.Thread):
    """Asks for the page all the time, and looks at the proxy."""

    def __init__(self, port: int, proxy: Proxy | None) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.proxy = proxy
        self.requests = 0
        self.failures: collections.Counter[str] = collections.Counter()
        self.ending = threading.Event()

    def run(self) -> None:
        looked = time.monotonic()
        while not self.ending.wait(PAUSE):
            self.requests += 1
            if failure := self.ask():
                self.failures[failure] += 1
            if self.proxy and time.monotonic() - looked > LOOKS:
                looked = time.monotonic()
                self.proxy.look()

    def ask(self) -> str:
        """The reason why a request failed, if it did."""
        try:
            response = fetch(self.port, GET_CLOSE) or b""
        except OSError as error:
            return type(error).__name__
        if is_page(response):
            return ""
        return str(response[9:12], "latin-1") or "no response"


@dataclass
class Uploads:
    """What came of the uploads of one client."""

    done: int
    failures: collections.Counter[str] = field(default_factory=collections.Counter)
    resets: int = 0
    marked_down: int = 0
    others: int = 0
    others_failures: collections.Counter[str] = field(default_factory=collections.Counter)


def client_command(client: str, url: str, method: str, header: tuple[str, str], plan: dict[int, int]) -> list[str]:
    """The command of a client. All get the URL, the method, the name and the value of a header field, or two empty
    ones, and SIZExCOUNT for each size. They print the size and the status of each upload, or the error. Raises
    MissingError."""
    if client in OF_CURL:
        program("curl")
        command = [str(HERE / "curl"), *OF_CURL[client]]
    elif client in OF_PYTHON:
        command = [str(PYTHON) if PYTHON.exists() else sys.executable, str(HERE / "python.py"), client]
        if (
            client != "http.client"
            and subprocess.run([command[0], "-c", f"import {client}"], capture_output=True, check=False).returncode
        ):
            raise MissingError(f"{client} is not installed")
    elif client == "Go":
        run_build(GO)
        command = [GO[3]]
    elif client == "Java":
        command = [program("java"), "-Djdk.httpclient.allowRestrictedHeaders=host,expect", str(HERE / "Upload.java")]
    else:
        command = [program("node"), str(HERE / {"Node fetch": "node_fetch.mjs", "Node http": "node_http.mjs"}[client])]
    return [*command, url, method, *header, *(f"{size}x{count}" for size, count in plan.items())]


def run_client(command: list[str], plan: dict[int, int], expected: int) -> Uploads:
    """Let a client upload, and count what it says."""
    uploads = Uploads(sum(plan.values()))
    left = dict(plan)
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=CLIENT_PATIENCE, check=False)
        output, end = ran.stdout, f"the client ended: {ran.stderr.strip().splitlines()[-1:]}"
    except subprocess.TimeoutExpired as error:
        output, end = (error.stdout or b"").decode(), "the client did not end"
    for line in output.splitlines():
        size, result = line.split(" ", 1)
        left[int(size)] -= 1
        if result.removesuffix(" 0 ") != str(expected):  # curl adds its exit code and the text of the error
            uploads.failures[f"{int(size) / 1e6:g} MB: {shortened(result)}"] += 1
    for number, count in left.items():
        if count:
            uploads.failures[f"{number / 1e6:g} MB: {shortened(end)}"] += count
    return uploads


def shortened(text: str) -> str:
    """A reason without what differs each time."""
    text = re.sub(r"http://127\S+", "URL", text)
    return re.sub(r"\b\d{4,}\b|0x[0-9a-f]+", "N", text)[:160].replace("|", "/").strip()


@contextlib.contextmanager
def replicas(servers: list[Contestant]) -> Iterator[list[int]]:
    """Run the servers; their ports."""
    ports = free_ports(len(servers))
    with contextlib.ExitStack() as stack:
        for number, (server, port) in enumerate(zip(servers, ports, strict=True)):
            stack.enter_context(serving(server.command(port, DESCRIPTORS), SERVER_CPU, FOLDER / f"log{number}"))
        for port in ports:
            wait_for_page(port)
        yield ports


def wait_for_page(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError):
            if is_page(fetch(port, GET_CLOSE) or b""):
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"no page on port {port}")
        time.sleep(0.02)


def upload_through(
    proxy: Proxy | None, servers: list[Contestant], client: str, plan: dict[int, int], resets: Resets
) -> Uploads:
    """The uploads of a client, through a proxy or else directly to the only server."""
    with contextlib.ExitStack() as stack:
        ports = stack.enter_context(replicas(servers))
        port = ports[0]
        if proxy:
            folder = FOLDER / proxy.key
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            command = proxy.prepare(folder, ports)
            port = proxy.port
            stack.enter_context(serving(command, SERVER_CPU, folder / "log"))
            wait_for_page(port)
        before = sum(resets.ports[each] for each in ports)
        other = OtherClient(port, proxy)
        other.start()
        uploads = run_client(client_command(client, f"http://127.0.0.1:{port}/", "POST", ("", ""), plan), plan, 200)
        other.ending.set()
        other.join()
        uploads.resets = sum(resets.ports[each] for each in ports) - before
        uploads.others, uploads.others_failures = other.requests, other.failures
        if proxy:
            proxy.look()
            uploads.marked_down = proxy.marked_down()
    return uploads


def listed(reasons: collections.Counter[str]) -> str:
    return "; ".join(f"{count} x {reason}" for reason, count in reasons.items())


def upload_table(
    cases: list[tuple[str, Proxy | None, list[Contestant]]], clients: list[str], plan: dict[int, int]
) -> None:
    """Print the rows as they are measured, and then what failed."""
    heads = ["", *clients, "resets", "marked down", "others"]
    print(f"{row(heads)}\n{row(['---'] * len(heads))}", flush=True)
    resets = Resets()
    resets.start()
    notes = []
    for title, proxy, servers in cases:
        missing = next((each.missing for each in servers if each.missing), "")
        try:
            if proxy:
                proxy.find_version()
        except MissingError as error:
            missing = str(error)
        if missing:
            print(row([title, missing, *[""] * (len(heads) - 2)]), flush=True)
            continue
        cells, found = [], []
        for client in clients:
            print(f"{title}: {client}", file=sys.stderr)
            try:
                uploads = upload_through(proxy, servers, client, plan, resets)
            except (MissingError, TimeoutError) as error:
                cells.append(str(error))
                continue
            found.append(uploads)
            failed = sum(uploads.failures.values())
            cells.append(f"{failed} of {uploads.done}")
            notes += [f"- {title}, {client}: {listed(uploads.failures)}"] if failed else []
            if uploads.others_failures:
                notes.append(f"- {title}, others during {client}: {listed(uploads.others_failures)}")
        others_failed = sum(sum(each.others_failures.values()) for each in found)
        cells.append(str(sum(each.resets for each in found)))
        cells.append(str(sum(each.marked_down for each in found)) if proxy else "")
        cells.append(f"{others_failed} of {sum(each.others for each in found):,}")
        print(row([title, *cells]), flush=True)
    print("\n" + "\n".join(notes) + "\n" if notes else "", flush=True)


def refusal_table(servers: list[Contestant], clients: list[str], count: int) -> None:
    """Print the uploads that were refused, and whose client did not read the status."""
    plan = dict.fromkeys(ERROR_SIZES, max(1, count // 3))
    rows, notes = [], []
    for server in servers:
        if server.missing:
            rows.append([server.name, server.missing, *[""] * len(clients)])
            continue
        for refusal in REFUSALS if server.key != "go" else (each for each in REFUSALS if each.by_go):
            cells = []
            for client in clients:
                if client in refusal.not_by:
                    cells.append("cannot send it")
                    continue
                print(f"{server.name}, {refusal.status}: {client}", file=sys.stderr)
                with replicas([server]) as [port]:
                    url = f"http://127.0.0.1:{port}/" + (f"?{refusal.query}" if refusal.query else "")
                    try:
                        command = client_command(client, url, refusal.method, refusal.header, plan)
                    except MissingError as error:
                        cells.append(str(error))
                        continue
                    uploads = run_client(command, plan, refusal.status)
                failed = sum(uploads.failures.values())
                cells.append(f"{failed} of {uploads.done}")
                notes += [f"- {server.name}, {refusal.status}, {client}: {listed(uploads.failures)}"] if failed else []
            rows.append([server.name, f"{refusal.status}: {refusal.title}", *cells])
    print(table(["refused", *clients], rows))
    print("\n" + "\n".join(notes) + "\n" if notes else "", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["direct", "refused", *(each.key for each in PROXIES)])
    parser.add_argument("--upstream", choices=["ours", "go"])
    parser.add_argument("--clients", type=lambda text: text.split("/"), default=CLIENTS, help="names with / between")
    parser.add_argument("--sizes", type=lambda text: [int(each) for each in text.split(",")], default=SIZES)
    parser.add_argument("--count", type=int, default=60, help="uploads of each size by each client")
    options = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CPU})
    isolate_network()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    static, python, go = prepare(["static", "python", "go"])
    plan = {size: options.count if size < LARGE else max(1, options.count // 10) for size in options.sizes}
    for key, title, servers in (("ours", "yinyang", [static, python]), ("go", go.name, [go, go])):
        if options.upstream not in (None, key) or options.only == "refused":
            continue
        print(f"### Uploads to {title}\n")
        cases: list[tuple[str, Proxy | None, list[Contestant]]] = []
        for each in {each.key: each for each in servers}.values():
            cases.append((f"direct, {each.name.removeprefix('yinyang, ')}", None, [each]))
        cases += [(proxy.name, proxy, servers) for proxy in PROXIES]
        chosen = [each for each in cases if options.only in (None, each[1].key if each[1] else "direct")]
        upload_table(chosen, options.clients, plan)
    if options.only in (None, "refused"):
        print("### Errors while sending\n")
        servers = {"ours": [static, python], "go": [go], None: [static, python, go]}[options.upstream]
        refusal_table(servers, [each for each in options.clients if "Expect" not in each], options.count)


if __name__ == "__main__":
    main()
