"""Instructions per request that parsing takes, counted by callgrind: the same count each time, on a busy machine too.

    python -m benchmarks.instructions             print the counts
    python -m benchmarks.instructions --check     exit with 1 if a count is more than 5 % above the committed one
    python -m benchmarks.instructions --update    commit the current counts

The parser (benchmarks/lib/replay.pyx) is compiled with the options of the extension, and with those of the static
program; each of a few kinds of segments is fed to it 100 and 1,100 times. The difference of the two counts, which
excludes the start of the program, is divided by the requests in 1,000 segments. Needs gcc (or CC) and valgrind.
"""

import argparse
import ast
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
WORK = ROOT / "build/instructions"
COMMITTED = ROOT / "benchmarks/results/instructions.json"
GROWTH = 1.05
FEW, MANY = 100, 1100  # times that a segment is fed to the parser
SMALL_REQUEST, BROWSER_REQUEST = with_target(SMALL), with_target(BROWSER)
CORPUS = {  # kind: segment, and the number of requests that end in it
    "small": (SMALL_REQUEST, 1),
    "browser": (BROWSER_REQUEST, 1),
    "malformed": (BROWSER_REQUEST.replace(b"Accept-Language: ", b"Accept-Language : "), 1),
    "pipelined": (SMALL_REQUEST * 16, 16),
}

DIRECTIVES = (("cdivision", True), ("boundscheck", False), ("wraparound", False))  # as in setup.py

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
    """Those of build_static in setup.py that change what code is made."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    build = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "BuildStatic")
    found = {}
    for node in build.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            found[target.id] = node.value
    by_machine = dict(zip((key.value for key in found["COMPILE_FOR"].keys), found["COMPILE_FOR"].values, strict=True))
    parts = [found["COMPILE"], found["HARDENING"]]
    if platform.machine() in by_machine:
        parts.append(by_machine[platform.machine()])
    if "clang" not in compiler_version():
        parts.append(found["COMPILE_GCC"])
    texts = [node.value for part in parts for node in ast.walk(part) if isinstance(node, ast.Constant)]
    return ["-DNDEBUG", *(text for text in texts if re.match(r"-[fmO]|-std", text))]


def build(name: str, options: list[str]) -> Path:
    """The parser as a program; the generated C that needs Python is unreachable, and the linker drops it."""
    generated = WORK / "replay_core.c"
    directives = [f"{each}={value}" for each, value in DIRECTIVES]
    cython = [sys.executable, "-m", "cython", "--3str", *(part for each in directives for part in ("-X", each))]
    subprocess.run([*cython, "-I", ".", "-o", generated, "benchmarks/lib/replay.pyx"], cwd=ROOT, check=True)
    program = WORK / f"replay-{name}"
    drop = ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-DCYTHON_NO_PYINIT_EXPORT", "-w"]
    where = ["-I", sysconfig.get_path("include"), "-I", "csrc", "-include", str(generated)]
    line = [*compiler(), *options, *drop, "-fvisibility=hidden", *where, "-o", str(program), "benchmarks/lib/replay.c"]
    subprocess.run(line, cwd=ROOT, check=True)
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
