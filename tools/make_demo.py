"""Makes the wall over a simulated cluster, which needs no server: one HTML file.

python tools/make_demo.py [FILE]    # build/demo.html, unless another is named
"""

import sys
from pathlib import Path

from bundle_wall import SOURCES, bundle

CLUSTER = Path(__file__).parents[1] / "docs/demo/cluster.js"


def make_demo() -> bytes:
    """The page: that of the wall, with one more script before its own."""
    page = (SOURCES / "wall.html").read_text(encoding="utf-8")
    first = '<script src="verdict.js">'
    return bundle(page.replace(first, f'<script src="{CLUSTER}"></script>\n{first}'))


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "build/demo.html")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(make_demo())
    print(path)
