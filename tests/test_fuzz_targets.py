"""The fuzz targets, with what fuzzing has found: each input that differs from all others in what it makes run."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT, needs

FUZZ = ROOT / "tests/fuzz"
TARGETS = sorted(path.stem for path in FUZZ.glob("*.pyx"))


@pytest.mark.static  # needs Cython too
@pytest.mark.needs("gcc")
@pytest.mark.parametrize("target", TARGETS)
def test_replay(target: str, tmp_path: Path) -> None:
    """Without libFuzzer, and with what of the sanitizers needs no library."""
    generate = [sys.executable, "tools/generate.py", str(FUZZ / f"{target}.pyx"), str(tmp_path)]
    made = subprocess.run(generate, cwd=ROOT, check=True, capture_output=True, text=True)
    program = tmp_path / target
    compile_it = [
        *(needs("gcc"), "-O1", "-w", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"),
        *("-fvisibility=hidden", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"),
        "-DCYTHON_NO_PYINIT_EXPORT",
        *(f"-I{sysconfig.get_path('include')}", "-Icsrc", "-Ibuild/csrc"),
        *("-o", str(program), str(FUZZ / "replay.c"), made.stdout.strip(), "-lm"),
    ]
    subprocess.run(compile_it, cwd=ROOT, check=True, timeout=PATIENCE)
    inputs = sorted(map(str, (FUZZ / "corpus" / target).iterdir()))
    assert inputs
    done = subprocess.run([program, *inputs], check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-200:]
