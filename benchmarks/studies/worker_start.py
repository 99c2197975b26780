"""What it costs to execute a worker anew, so that it has addresses of its own, instead of copying its parent.

    python -m benchmarks.studies.worker_start

Prints a table in Markdown: the time from fork(2) to the end of a process that ends at once, as a copy of a small
program and executed. An interpreter with nothing to do shows the least that a worker on Python would take.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.lib.contestants import STATIC
from benchmarks.lib.figures import table

SOURCE = Path(__file__).with_suffix(".c")


def main() -> None:
    """Measure, and print the table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "worker_start")
        subprocess.run(["musl-gcc", "-static", "-O2", "-o", program, SOURCE], check=True)
        for what, command in (
            ("the static program", [STATIC, "--version"]),
            ("an interpreter", [sys.executable, "-I", "-S", "-c", ""]),
            ("the server on Python", [sys.executable, "-m", "yinyang.serve", "--version"]),
        ):
            done = subprocess.run([program, *command], check=True, stdout=subprocess.PIPE, text=True)
            copied, executed = ([int(word) / 1000 for word in line.split()] for line in done.stdout.splitlines())
            rows.append((what, f"{copied[0]:.2f}", f"{executed[0]:.2f}", f"{executed[1]:.2f}"))
    print(table(["ms, as a copy", "ms, executed", "the least"], rows))


if __name__ == "__main__":
    main()
