"""What fuzzing has found to differ from everything else, framed again: those oracles of fuzz/framing.pyx that can be
asked from Python."""

import itertools
from pathlib import Path

import pytest

import yinyang

INPUTS = sorted((Path(__file__).parent / "fuzz/corpus/framing").iterdir())
REQUEST_LEAST = 25  # bytes of the shortest request that keeps its connection open


def framed(data: bytes, size: int) -> list[tuple]:
    """What comes of the bytes in pieces of this size, and after how many pieces."""
    framing = yinyang._core.Parser()
    return [
        (number, outcome)
        for number, at in enumerate(range(0, len(data), size))
        for outcome in framing.feed(data[at : at + size])
    ]


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name[:8])
def test_corpus(path: Path) -> None:
    first, *rest = path.read_bytes()
    data = bytes(rest)
    whole = [outcome for _, outcome in framed(data, max(1, len(data)))]
    assert [outcome for _, outcome in framed(data, first + 2)] == whole
    bytewise = framed(data, 1)
    assert [outcome for _, outcome in bytewise] == whole
    # nothing is wrong before the end of a valid request, and nothing is read after a wrong one
    assert all(outcome[0] == 200 for outcome in whole[:-1])
    ends = [-1, *(number for number, outcome in bytewise if outcome[0] == 200 and outcome[1])]
    assert all(end - begin >= REQUEST_LEAST for begin, end in itertools.pairwise(ends))
