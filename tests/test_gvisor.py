"""Serving under gVisor, whose kernel is its own: the static program in a sandbox of runsc, asked from within it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT, missing

import yinyang

CLIENT = """
import re, signal, subprocess, sys, urllib.request
server = subprocess.Popen(sys.argv[1:], stderr=subprocess.PIPE, text=True)
log = ""
while not (found := re.search(r"Listening on http://\\S+:(\\d+)(?s:.*)Sandbox: ", log)):
    line = server.stderr.readline()
    assert line, log
    log += line
with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/", timeout=20) as response:
    print(response.read().decode(), end="")
subprocess.run([sys.argv[1], "--healthcheck"], check=True, env={"YINYANG_PORT": found[1]}, timeout=20)
server.send_signal(signal.SIGTERM)
log += server.communicate(timeout=20)[1]
sys.stderr.write(log)
sys.exit(server.returncode)
"""


@pytest.mark.gvisor
@pytest.mark.static
@pytest.mark.parametrize("platform", ["systrap", "ptrace"])
def test_a_page_from_gvisor(platform: str, static_program: Path) -> None:
    runsc = shutil.which("runsc", path=f"{ROOT}/build/gvisor") or shutil.which("runsc")
    if not runsc:
        missing("gvisor", "runsc is not there; tools/runsc builds it")
    server = [str(static_program), "--port", "0", "--name", "vm", "--workers", "2"]
    done = subprocess.run(
        [
            *(runsc, "--network=none", "--ignore-cgroups", f"--platform={platform}", "do"),
            *(sys.executable, "-I", "-S", "-c", CLIENT, *server),
        ],
        capture_output=True,
        text=True,
        timeout=6 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == yinyang.render_page(yinyang.identify("vm")).decode()
    assert " Served image, host: vm, " in done.stderr
    assert " Sandbox: " in done.stderr
