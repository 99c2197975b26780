"""Reads what the command line says of the share of a group, such as `v2=10%` or `v2 >= 99%`."""

import argparse
import re
from dataclasses import dataclass

DEFAULT_MARGIN = 0.05
PERCENT = r"(\d{1,3}(?:\.\d+)?)\s*%?"


@dataclass(frozen=True)
class ExpectedShare:
    """A share from 0 to 1 that a group should have, give or take the margin, which is a difference of shares."""

    name: str
    share: float
    margin: float


@dataclass(frozen=True)
class LeastShare:
    """A share from 0 to 1 that a group should reach."""

    name: str
    share: float


def percent(text: str) -> float:
    """The share from 0 to 1 in `20%` or `20`; raises argparse.ArgumentTypeError for other text."""
    found = re.fullmatch(PERCENT, text, re.ASCII)
    if not found or float(found[1]) > 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share, such as 20%")
    return float(found[1]) / 100


def expected_share(text: str) -> ExpectedShare:
    """What `v2=10%±3`, `v2=10%+-3` or `v2=10%` says; raises argparse.ArgumentTypeError for other text."""
    found = re.fullmatch(rf"\s*(\S.*?)\s*=\s*{PERCENT}\s*(?:(?:±|\+/?-)\s*{PERCENT}\s*)?", text, re.ASCII)
    if not found or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is not a name and a share, such as v2=10% or v2=10%+-3")
    return ExpectedShare(found[1], percent(found[2]), percent(found[3]) if found[3] else DEFAULT_MARGIN)


def least_share(text: str) -> LeastShare:
    """What `v2 >= 99%` says; raises argparse.ArgumentTypeError for other text."""
    found = re.fullmatch(rf"\s*(\S.*?)\s*>=\s*{PERCENT}\s*", text, re.ASCII)
    if not found or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is not a name and the share to reach, such as 'v2 >= 99%'")
    return LeastShare(found[1], percent(found[2]))
