"""Servers that do one thing with each request."""

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator

from conftest import PATIENCE


@contextlib.contextmanager
def answering(
    behave: Callable[[socket.socket], None], received: list[bytes] | None = None, host: str = "127.0.0.1"
) -> Iterator[int]:
    """The port of a server that does this with each connection that has sent something, and keeps what that was."""

    def serve() -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = listener.accept()
                with client:
                    request = client.recv(65536)
                    if received is not None:
                        received.append(request)
                    behave(client)

    with socket.create_server((host, 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def says(text: bytes) -> Callable[[socket.socket], None]:
    return lambda client: client.sendall(text)


def say_nothing(client: socket.socket) -> None:
    client.recv(1)  # until it has waited long enough


def whoami(host: str, version: str | None = None, zone: str | None = None, node: str | None = None) -> bytes:
    """The answer of a replica."""
    body = json.dumps({"host": host, "short": host[-1], "version": version, "zone": zone, "node": node}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def failing(host: str, version: str) -> bytes:
    """The answer of a replica that fails."""
    about = f"X-Served-By: {host}\r\nX-Version: {version}\r\n".encode()
    return b"HTTP/1.1 503 Service Unavailable\r\n%bContent-Length: 0\r\n\r\n" % about


def says_each(texts: Iterable[bytes]) -> Callable[[socket.socket], None]:
    """These, one after another."""
    following = iter(texts)
    return lambda client: client.sendall(next(following))
