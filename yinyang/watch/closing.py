"""Tells at the end which expectations hold: for people, and for GitHub's pages of a run."""

import os
from typing import TextIO

from yinyang.watch.expectations import Expectation

MARKS = ("\N{CHECK MARK}", "\N{BALLOT X}")
ASCII_MARKS = ("ok  ", "FAIL")


def print_expectations(expectations: list[Expectation], file: TextIO) -> None:
    """A line for each, with a mark for whether it holds; none if only the one holds that is always there."""
    if len(expectations) == 1 and expectations[0].holds:
        return
    holds, fails = MARKS if _can_encode("".join(MARKS), file) else ASCII_MARKS
    width = max(len(one.expected) for one in expectations) + 1
    for one in expectations:
        expected = f"{one.expected},"
        print(f"{holds if one.holds else fails} expected {expected:<{width}} seen: {one.seen}", file=file)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for one in expectations:
            if not one.holds:
                message = _escaped(f"expected {one.expected}, seen: {one.seen}")
                print(f"::error title=yinyang.watch::{message}", file=file)


def _can_encode(text: str, file: TextIO) -> bool:
    try:
        text.encode(file.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _escaped(text: str) -> str:
    """For a workflow command of GitHub, which is one line."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
