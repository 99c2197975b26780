"""The core's queue of log lines: its reader gets each line, whole and in order, however much it reads at a time."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from yinyang._core import LogQueue

LENGTHS = (1, 2, 60, 1000, 4095, 4096, 4097, 8192, 65_536, 65_537, 200_000)  # about what is written to a pipe or a file
QUEUE_SIZE = 16 << 20  # bytes


class Pipe:
    """A pipe that is full as soon as nobody reads it, and a queue of lines for it."""

    def __init__(self, reader: int, writer: int) -> None:
        self.reader = reader
        self.queue = LogQueue(writer)

    def read(self, size: int) -> bytes:
        """What comes next, of lines that are pending."""
        received = b""
        while len(received) < size:
            received += os.read(self.reader, min(size - len(received), 5000))  # another size than is written
            self.queue.flush()
        return received

    def read_all(self) -> bytes:
        """What comes until nothing is pending."""
        received = b""
        while self.queue.wait_for() != (-1, -1):
            received += os.read(self.reader, 1 << 20)
            self.queue.flush()
        os.set_blocking(self.reader, False)
        return received + os.read(self.reader, 1 << 20)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    yield Pipe(reader, writer)
    os.close(reader)
    os.close(writer)


def a_line(length: int) -> bytes:
    return random.Random(length).randbytes(length)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("count", [1, 2, 69, 10**9])
def test_lines_of_any_length_for_a_pipe(length: int, count: int, pipe: Pipe) -> None:
    line = a_line(length)
    wanted = line * min(count, 400_000 // length + 2)
    pipe.queue.put(line, count)
    assert pipe.read(len(wanted)) == wanted


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("count", [1, 2, 69])
def test_lines_of_any_length_for_a_file(length: int, count: int, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+b") as file:
        queue = LogQueue(file.fileno())
        queue.put(a_line(length), count)
        while queue.wait_for() == (file.fileno(), -1):  # so much at once would hold up everything else
            queue.flush()
        assert queue.wait_for() == (-1, -1)
        file.seek(0)
        assert file.read() == a_line(length) * count


def test_lines_of_many_kinds_in_their_order(pipe: Pipe) -> None:
    kinds = random.Random(1)
    wanted = b""
    for number in range(3000):
        line, count = b"%d %s\n" % (number // 2, b"x" * kinds.randrange(300)), kinds.randrange(1, 50)
        pipe.queue.put(line, count, kinds.random() < 0.9)
        wanted += line * count
        if kinds.random() < 0.1:
            take = min(kinds.randrange(9000), len(wanted))
            assert pipe.read(take) == wanted[:take]
            wanted = wanted[take:]
    assert pipe.read_all() == wanted


def test_a_full_queue_loses_no_page(pipe: Pipe) -> None:
    pages = QUEUE_SIZE // 80
    for second in range(pages):
        pipe.queue.put(b"%060d\n" % second, 1, True)
    pipe.queue.put(b"a message that has no room\n")
    pipe.queue.put(b"%060d\n" % pages, 7, True)
    lines = pipe.read_all().splitlines()
    numbers = [int(line) for line in lines]
    assert len(numbers) == pages + 7
    assert numbers == sorted(numbers)
    assert numbers[-1] < pages  # the last ones are counted as of an earlier second
    pipe.queue.put(b"there is room again\n")
    assert pipe.read_all() == b"there is room again\n"


def test_a_reader_that_is_gone_is_tried_again_later() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    queue = LogQueue(writer)
    queue.put(b"x\n")
    fd, delay = queue.wait_for()
    assert fd == -1
    assert 0 < delay <= 1000
    os.close(writer)


@pytest.mark.parametrize(("line", "count"), [(b"", 1), (b"x\n", 0)])
def test_there_must_be_a_line(line: bytes, count: int) -> None:
    with pytest.raises(ValueError, match="there must be a line"):
        LogQueue(2).put(line, count)
