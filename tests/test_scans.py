"""The scans of csrc/simd_scan.h, 16 bytes at a time and one at a time, against loops over bytes (scans.c)."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT, compiled, missing


@pytest.mark.parametrize("options", [(), ("-DYINYANG_NO_SIMD",)], ids=["blocks", "bytes"])
def test_scans(options: tuple[str, ...], tmp_path: Path) -> None:
    if not (ROOT / "csrc/simd_scan.h").exists():
        missing("static", "there is no source tree to build it from")
    program = compiled("scans.c", tmp_path, "-O2", "-Wextra", "-Werror", *options)
    line = [*shlex.split(os.environ.get("RUN_WITH", "")), str(program)]
    # under QEMU, beside other tests, it takes minutes
    done = subprocess.run(line, capture_output=True, text=True, timeout=4 * PATIENCE, check=False)
    how, *differences = done.stdout.splitlines()
    assert (done.returncode, differences) == (0, [])
    if options:
        assert how == "one byte at a time"
