"""Makes one file of the wall, as it is sent: style and scripts in the page, minified."""

import base64
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "yinyang/wall"


def bundle_wall() -> bytes:
    """The page at /wall."""
    return bundle(_read("wall.html"))


def bundle(page: str) -> bytes:
    """A page in one file, made of one that names its style and its scripts.

    The program `minify` (https://github.com/tdewolff/minify, in Debian the package of this name) makes it half as long.
    Without it, only comments and indentation are left out.

    Raises OSError if a file that the page names is missing, and subprocess.CalledProcessError if `minify` fails.
    """
    page = "".join(_stripped_lines(page))  # a line break there separates no words
    page = re.sub(r'<link rel="stylesheet" href="([^"]+)">', _style, page)
    page = re.sub(r'(<script src="[^"]+"></script>)+', _script, page)
    if not shutil.which("minify"):
        return page.encode()
    return subprocess.run(["minify", "--type=html"], input=page.encode(), stdout=subprocess.PIPE, check=True).stdout


def allowed_sources(page: bytes) -> str:
    """What a Content-Security-Policy has to allow, so that the page has its style and runs its script, and no other:
    the hashes of their elements."""
    return "".join(
        f"{directive} '{_hash(re.search(element, page, re.DOTALL)[1])}'; "
        for directive, element in (
            ("script-src", rb"<script>(.*?)</script>"),
            ("style-src", rb"<style>(.*?)</style>"),
        )
    )


def _hash(text: bytes) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text).digest()).decode()


def _style(link: re.Match[str]) -> str:
    without_comments = re.sub(r"/\*.*?\*/", "", _read(link[1]), flags=re.DOTALL)
    return "<style>" + "\n".join(_stripped_lines(without_comments)) + "</style>"


def _script(tags: re.Match[str]) -> str:
    """All scripts in one function, so that their names are local, and `minify` may shorten them."""
    lines = [line for name in re.findall(r'src="([^"]+)"', tags[0]) for line in _stripped_lines(_read(name))]
    return "\n".join(["<script>(() => {", *(line for line in lines if not line.startswith("//")), "})()</script>"])


def _read(name: str) -> str:
    return (SOURCES / name).read_text(encoding="utf-8")


def _stripped_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
