"""Generates what a C compiler is given: the C of the core, and the page at /wall as constant data.

    python tools/generate.py [--line-directives] SOURCE.pyx FOLDER

generates the C of another source, such as a fuzz target, under a folder, and prints its path. The C includes wall.h,
which is then in build/csrc.
"""

import gzip
import sys
from pathlib import Path

from bundle_wall import allowed_sources, bundle_wall

WALL = Path("build/csrc/wall.h")
INCLUDES = ("csrc", str(WALL.parent))  # for the C compiler
DIRECTIVES = {
    "language_level": "3str",  # string literals become char pointers; Cython 3.1 and later do so without asking
    "cdivision": True,  # division as in C: the core never divides by zero, and minds the sign where it matters
    "boundscheck": False,  # the core indexes C arrays only, which Cython does not check anyway
    "wraparound": False,
}


def generate(source, folder="build", directives=None, line_directives=False):
    """Generate C from a Cython source, and wall.h; the path of the C."""
    from Cython.Build import cythonize  # noqa: PLC0415  (metadata is made without it)

    write_wall_header()
    [extension] = cythonize(
        source,
        build_dir=folder,
        compiler_directives=DIRECTIVES | (directives or {}),
        emit_linenums=line_directives,
        quiet=True,
    )
    return extension.sources[0]


def write_wall_header():
    """Write the wall as constant data, compressed, to a file that changes only when the wall does."""
    page = bundle_wall()
    compressed = gzip.compress(page, mtime=0)
    text = "\n".join(
        [
            "#pragma once",
            f"enum {{ WALL_SIZE = {len(compressed)} }};",
            f'#define WALL_SOURCES "{allowed_sources(page)}"',
            f"static const unsigned char wall[] = {{{','.join(map(str, compressed))}}};",
            "",
        ]
    )
    if not WALL.exists() or WALL.read_text() != text:
        WALL.parent.mkdir(parents=True, exist_ok=True)
        WALL.write_text(text)


if __name__ == "__main__":
    *options, source, folder = sys.argv[1:]
    print(generate(source, folder, line_directives="--line-directives" in options))
