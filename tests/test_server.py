"""`yinyang.Server`, as a program uses it."""

import contextlib
import json
import logging
import os
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from conftest import wait_until

import yinyang
from yinyang.log import LineHandler


def fetch(server: yinyang.Server) -> bytes:
    with urllib.request.urlopen(server.url, timeout=20) as answer:
        return answer.read()


@pytest.mark.usefixtures("no_thread_left")
def test_two_servers_in_one_program() -> None:
    with yinyang.Server(name="one", workers=1) as one, yinyang.Server("127.0.0.1", name="two", workers=1) as two:
        assert fetch(one) == yinyang.render_page(yinyang.identify("one"))
        assert fetch(two) == yinyang.render_page(yinyang.identify("two"))
        assert one.port != two.port
        assert two.address == ("127.0.0.1", two.port)
        wait_until(lambda: two.counts.open == 0)
        assert two.counts == (1, 1, 0)
    assert two.counts == (1, 1, 0)


def test_start_ms_counts_from_when_it_was_made_or_as_it_is_told() -> None:
    def start_ms(server: yinyang.Server) -> int:
        with urllib.request.urlopen(server.url + "whoami", timeout=20) as answer:
            return json.load(answer)["start_ms"]

    begin = time.monotonic()
    with yinyang.Server(name="one", workers=1) as server:
        assert 0 <= start_ms(server) <= 1000 * (time.monotonic() - begin) + 1
    server = yinyang.Server(name="two", workers=1)
    for seconds in (-1.0, 1e9, float("nan")):
        with pytest.raises(ValueError, match="nothing is older than its host"):
            server.set_age(seconds)
    server.set_age(2.5)
    with server:
        assert 2500 <= start_ms(server) <= 2501 + 1000 * (time.monotonic() - begin)


def test_start_and_stop_a_hundred_times() -> None:
    def one() -> None:
        with yinyang.Server(name="vm", workers=2) as server:
            assert fetch(server)

    def memory() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors() -> set[str]:
        return set(os.listdir("/proc/self/fd"))

    def children() -> str:
        return Path(f"/proc/self/task/{os.getpid()}/children").read_text()

    for _ in range(10):
        one()
    before, memory_before, children_before = descriptors(), memory(), children()
    for _ in range(100):
        one()
    assert descriptors() == before
    assert children() == children_before
    assert memory() - memory_before < 2 << 20


def test_in_a_program_with_other_threads() -> None:
    ends = threading.Event()
    lock = threading.Lock()

    def busy() -> None:
        while not ends.is_set():
            with lock:
                bytes(10_000)

    threads = [threading.Thread(target=busy) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            with yinyang.Server(name="vm", workers=2) as server:
                assert fetch(server) == yinyang.render_page(server.identity)
    finally:
        ends.set()
        for thread in threads:
            thread.join()


def test_a_program_s_own_handlers_get_a_record_for_each_page(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "yinyang"), yinyang.Server(name="vm", workers=1) as server:
        for _ in range(3):
            fetch(server)
    served = [record.getMessage() for record in caplog.records if "Served" in record.getMessage()]
    assert served == ["Served image, host: vm, colour: #b8d868"] * 3


def test_lines_wait_for_a_reader_that_does_not_read() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    filler = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filler += os.write(writer, bytes(4096))
    logger, handler = logging.getLogger("yinyang"), LineHandler(writer)
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        with yinyang.Server(name="vm", workers=2, sandbox="off") as server:
            for _ in range(3):
                fetch(server)
            logger.info("a line of the program's own")
            lines = b""
            while lines.count(b"\n") < 6:  # while it serves, it notices that it can write
                lines += os.read(reader, 65536)
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()
        os.close(reader)
        os.close(writer)
    assert lines[:filler] == bytes(filler)
    said = [line[20:].decode() for line in lines[filler:].splitlines()]
    assert any(line.startswith(f"Listening on http://[::]:{server.port} ") for line in said)
    assert said.count("Served image, host: vm, colour: #b8d868") == 3
    assert said.count("Serving image, host: vm, colour: #b8d868") == 1
    assert said.count("a line of the program's own") == 1


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"name": ""}, ValueError, "the name must be"),
        ({"name": "a\nb"}, ValueError, "the name must be"),
        ({"title": "x" * 256}, ValueError, "the title must be"),
        ({"workers": 0}, ValueError, "workers must be"),
        ({"host": "192.0.2.1"}, OSError, "does not have that address"),
        ({"host": "localhost"}, ValueError, "numeric address"),
        ({"port": 70000}, ValueError, "0 to 65535"),
        ({"drain": -1}, ValueError, "drain must be from 0.0 to 3600 seconds, not -1"),
        ({"idle_timeout": 0}, ValueError, "idle_timeout must be from 0.001 to 3600 seconds, not 0"),
        ({"sandbox": "on"}, ValueError, "sandbox must be auto, off or require, not 'on'"),
        ({"sandbox": b"auto\0"}, ValueError, "sandbox must be auto, off or require, not"),
        ({"sandbox": None}, TypeError, "str"),
        ({"palette": b"distinct\0"}, ValueError, "palette must be original or distinct, not"),
        ({"host": "::1\0"}, ValueError, "numeric address"),
        ({"title": "a\0b"}, ValueError, "the title must be 0 to 255 bytes without control characters, not 'a.x00b'"),
        ({"drain": None}, TypeError, "NoneType"),
        ({"port": None}, TypeError, "NoneType"),
    ],
)
def test_says_what_cannot_be(settings: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        yinyang.Server(**settings)


def test_serves_on_while_it_drains() -> None:
    server = yinyang.Server(name="vm", workers=1, drain=3600).start()
    assert fetch(server)
    server.request_stop()
    assert fetch(server) == yinyang.render_page(server.identity)
    server.stop()  # the second time, so at once
    assert server.counts == (2, 2, 0)


def test_is_started_once_and_stopped_as_often_as_you_like() -> None:
    server = yinyang.Server(workers=1)
    server.start()
    with pytest.raises(RuntimeError, match="once"):
        server.start()
    server.stop()
    server.stop()
    with pytest.raises(RuntimeError, match="once"):
        server.start()


def test_can_be_stopped_without_having_been_started() -> None:
    server = yinyang.Server(workers=1)
    port = server.port
    server.stop()
    yinyang.Server(port=port, workers=1).stop()
