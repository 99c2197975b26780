"""Lines of the log, many at a time: what is written continues what was written before."""

import os
import random
from pathlib import Path

import pytest

from yinyang._core import write_log_lines

LENGTHS = (1, 2, 60, 1000, 4095, 4096, 4097, 8192, 65_536, 65_537, 200_000)  # about what is written to a pipe or a file


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("count", [1, 2, 69, 10**9])
def test_lines_of_any_length(length: int, count: int, tmp_path: Path) -> None:
    line = random.Random(length).randbytes(length)
    for offset in {0, 1 % length, length // 2, length - 1}:
        wanted = (line * min(count, 200_000 // length + 2))[offset:]
        ours, theirs = os.pipe()
        with open(ours, "rb", buffering=0) as reader, open(theirs, "wb", buffering=0) as pipe:
            written = write_log_lines(pipe.fileno(), line, count, offset)
            assert reader.read(1 << 20) == wanted[:written]
            assert 1 <= written <= 4096  # which a pipe that is writable takes without blocking
        with (tmp_path / "log").open("w+b") as file:
            written = write_log_lines(file.fileno(), line, count, offset)
            file.seek(0)
            assert file.read() == wanted[:written]
            assert 1 <= written <= 65_536
