"""CPU time that importing a module adds to the start of the interpreter, such as `inspect`, which yinyang/_light.py
avoids.

    python -m benchmarks.imports [--rounds 40] [MODULE...]

Each round starts an interpreter for nothing and one for each module, in turn. Prints a table in Markdown: medians of
the CPU time that an import adds within its round, with the first and third quartile.
"""

import argparse
import resource
import subprocess
import sys

from benchmarks.lib.figures import spread, table

LIGHT = "yinyang"  # with the stand-in of yinyang/_light.py


def cpu_time(statement: str) -> float:
    """Seconds that an interpreter runs for a statement."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("modules", metavar="MODULE", nargs="*", default=["inspect", LIGHT, f"inspect, {LIGHT}"])
    options = parser.parse_args()
    added: dict[str, list[float]] = {module: [] for module in options.modules}
    for _ in range(options.rounds):
        nothing = cpu_time("pass")
        for module, times in added.items():
            times.append(cpu_time(f"import {module}") - nothing)
    print(table(["CPU time, ms"], [[f"import {module}", spread(times, 1000)] for module, times in added.items()]))


if __name__ == "__main__":
    main()
