"""Makes one file of the wall, as it is sent: style and scripts in the page, without comments and indentation."""

import re
from pathlib import Path

import rjsmin

SOURCES = Path(__file__).parent


def bundle_wall() -> bytes:
    """The page at /wall.

    Raises OSError if a file that it names is missing.
    """
    page = "".join(_stripped_lines(_read("wall.html")))  # a line break there separates no words
    page = re.sub(r'<link rel="stylesheet" href="([^"]+)">', _style, page)
    return re.sub(r'<script src="([^"]+)"></script>', _script, page).encode()


def _style(link: re.Match[str]) -> str:
    without_comments = re.sub(r"/\*.*?\*/", "", _read(link[1]), flags=re.DOTALL)
    return "<style>" + "\n".join(_stripped_lines(without_comments)) + "</style>"


def _script(script: re.Match[str]) -> str:
    return f"<script>{rjsmin.jsmin(_read(script[1]))}</script>"


def _read(name: str) -> str:
    return (SOURCES / name).read_text(encoding="utf-8")


def _stripped_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
