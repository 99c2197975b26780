"""Size of the static program on each architecture.

    tools/cross-toolchains                       installs the compilers, on Debian, as root
    python -m benchmarks.architectures

Builds the program for each architecture, with CFLAGS and LDFLAGS as they are in the environment. Prints a table in
Markdown: the program, the image (a layer with this one file), and what is transferred when the image is pulled (the
layer, compressed by gzip).
"""

import gzip
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from benchmarks.lib.figures import table

ROOT = Path(__file__).parents[1]
ARCHITECTURES = ("amd64", "arm64", "armhf", "i386", "ppc64el", "riscv64", "s390x")


def build(architecture: str) -> Path:
    """The program for an architecture."""
    command = [sys.executable, "setup.py", "-q", "build_static"]
    environment = os.environ | {"ARCH": architecture}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return ROOT / done.stdout.splitlines()[-1].rpartition(": ")[0]


def layer(program: Path) -> bytes:
    """The layer of an image that has this file alone."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("yinyang")
        entry.size = program.stat().st_size
        entry.mode = 0o755
        with program.open("rb") as content:
            archive.addfile(entry, content)
        end = archive.offset + 2 * tarfile.BLOCKSIZE  # a file for tapes would be longer
    return buffer.getvalue()[:end]


def main() -> None:
    if len(sys.argv) > 1:
        raise SystemExit(__doc__)
    rows = []
    for architecture in ARCHITECTURES:
        program = build(architecture)
        image = layer(program)
        sizes = (program.stat().st_size, len(image), len(gzip.compress(image, 9, mtime=0)))
        rows.append([architecture, *(f"{size:,}" for size in sizes)])
    print(table(["program, bytes", "image, bytes", "pulled, bytes"], rows))


if __name__ == "__main__":
    main()
