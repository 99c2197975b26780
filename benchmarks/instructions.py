"""Instructions per request outside the kernel, counted by callgrind: the same count each time, on a busy machine too.

    python -m benchmarks.instructions             print the counts
    python -m benchmarks.instructions --check     exit with 1 if a count is more than 5 % above the committed one
    python -m benchmarks.instructions --update    commit the current counts

Parsing, routing and rendering (benchmarks/lib/replay.pyx) are compiled with the options of the extension, and with
those of the static program; each of a few kinds of segments is taken 100 and 1,100 times. The page is not rendered, as
its responses are prebuilt; /whoami and a redirect are. The difference of the two counts, which excludes the start of
the program, is divided by the requests in 1,000 segments. Needs gcc (or CC) and valgrind.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

from benchmarks.lib.http_requests import BROWSER, SMALL, with_target

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from generate import INCLUDES, generate  # noqa: E402
from static_program import COMPILE, HARDENING  # noqa: E402

WORK = ROOT / "build/instructions"
COMMITTED = ROOT / "benchmarks/results/instructions.json"
GROWTH = 1.05
FEW, MANY = 100, 1100  # times that a segment is taken
SMALL_REQUEST, BROWSER_REQUEST = with_target(SMALL), with_target(BROWSER)
CORPUS = {  # kind: segment, and the number of requests that end in it
    "small": (SMALL_REQUEST, 1),
    "browser": (BROWSER_REQUEST, 1),
    "malformed": (BROWSER_REQUEST.replace(b"Accept-Language: ", b"Accept-Language : "), 1),
    "pipelined": (SMALL_REQUEST * 16, 16),
    "whoami": (with_target(SMALL, "/whoami"), 1),
    "redirect": (with_target(SMALL, "/a//b/../c"), 1),
}

Figures = dict[str, dict[str, float]]  # instructions per request, by build and kind of segment


def compiler() -> list[str]:
    return os.environ.get("CC", "gcc").split()


def compiler_version() -> str:
    done = subprocess.run([*compiler(), "--version"], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[0]


def extension_options() -> list[str]:
    """As setuptools has them from the interpreter."""
    return f"{sysconfig.get_config_var('CFLAGS')} {sysconfig.get_config_var('CCSHARED')}".split()


def static_options() -> list[str]:
    """Those of tools/static_program.py that change the generated code."""
    return [each for each in (*COMPILE, *HARDENING) if re.match(r"-[fmO]|-std|-DNDEBUG|-DCYTHON", each)]


def build(name: str, options: list[str]) -> Path:
    """The core without connections, as a program; the linker drops the generated C that needs Python."""
    generated = generate("benchmarks/lib/replay.pyx", str(WORK))
    program = WORK / f"replay-{name}"
    drop = ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-DCYTHON_NO_PYINIT_EXPORT", "-w"]
    drop.append('-DYINYANG_VERSION="0"')
    include = [f"-I{folder}" for folder in (sysconfig.get_path("include"), *INCLUDES)]
    sources = ["-include", generated, "benchmarks/lib/replay.c"]
    command = [*compiler(), *options, *drop, "-fvisibility=hidden", *include, "-o", str(program), *sources]
    subprocess.run(command, cwd=ROOT, check=True)
    return program


def instructions(program: Path, segment: Path, times: int, requests: int) -> int:
    """Number of instructions that the program executes."""
    report = WORK / "callgrind"
    line = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={report}", str(program), str(segment)]
    done = subprocess.run([*line, str(times), str(requests)], check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"instructions.py: wrong number of requests in {segment.name}: {done.stderr}")
    return int(re.search(r"^(?:summary|totals): (\d+)", report.read_text(), re.MULTILINE)[1])


def count_all() -> Figures:
    WORK.mkdir(parents=True, exist_ok=True)
    figures: Figures = {}
    for name, options in (("extension", extension_options()), ("static", static_options())):
        program = build(name, options)
        figures[name] = {}
        for kind, (data, requests) in CORPUS.items():
            segment = WORK / kind
            segment.write_bytes(data)
            few, many = (instructions(program, segment, times, requests) for times in (FEW, MANY))
            figures[name][kind] = (many - few) / (MANY - FEW) / requests
    return figures


def grown(figures: Figures, committed: Figures) -> list[str]:
    """A line for each count that is too high, or that has no committed count."""
    lines = []
    for name, kinds in figures.items():
        for kind, now in kinds.items():
            before = committed.get(name, {}).get(kind)
            if before is None:
                lines.append(f"{name}, {kind}: {now:,.1f} instructions per request, no committed count")
            elif now > before * GROWTH:
                lines.append(f"{name}, {kind}: {now:,.1f} instructions per request, committed: {before:,.1f}")
    return lines


def table(figures: Figures, committed: Figures) -> str:
    rows = ["| instructions per request | " + " | ".join(CORPUS) + " |", "| --- " * (len(CORPUS) + 1) + "|"]
    for name, kinds in figures.items():
        rows.append(f"| {name} | " + " | ".join(f"{kinds[kind]:,.1f}" for kind in CORPUS) + " |")
        if before := committed.get(name):
            rows.append(f"| {name}, committed | " + " | ".join(f"{before[kind]:,.1f}" for kind in before) + " |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true")
    what.add_argument("--update", action="store_true")
    options = parser.parse_args()
    machine, version = platform.machine(), compiler_version()
    all_committed = json.loads(COMMITTED.read_text()) if COMMITTED.exists() else {}
    committed = all_committed.get(machine, {})
    figures = count_all()
    print(table(figures, committed.get("figures", {})))
    if options.update:
        all_committed[machine] = {"compiler": version, "figures": figures}
        COMMITTED.write_text(json.dumps(all_committed, indent=1) + "\n")
        return 0
    if not committed:
        print(f"No counts are committed for {machine}.")
        return 0
    if committed["compiler"] != version:
        print(f"The compiler differs: {version}; the committed counts are from {committed['compiler']}.")
    lines = grown(figures, committed["figures"])
    for line in lines:
        print(f"more than 5 % above: {line}")
    return 1 if options.check and lines else 0


if __name__ == "__main__":
    raise SystemExit(main())
