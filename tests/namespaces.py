"""Namespaces in which tests start programs that would otherwise change this machine, and their control groups."""

import contextlib
import os
import subprocess
from pathlib import Path

from conftest import PATIENCE, needs, wait_until

CONTROL_GROUPS = Path("/sys/fs/cgroup")


def only_child(pid: int) -> int:
    """The process that a process has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return int(str(wait_until(lambda: children.read_text().strip(), f"a child of {pid}")))


def control_groups() -> list[Path]:
    """The root of each hierarchy: one, or with version 1 of control groups, one a controller."""
    if (CONTROL_GROUPS / "cgroup.controllers").exists():
        return [CONTROL_GROUPS]
    return sorted({path.resolve() for path in CONTROL_GROUPS.iterdir() if path.is_dir()})


def remove_control_groups(name: str) -> None:
    """Remove this control group and those below it, in each hierarchy; its processes have ended."""

    def removed() -> bool:
        for controller in control_groups():
            top = controller / name.lstrip("/")
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):  # busy until the kernel has taken the last process out
                    os.rmdir(folder)
            if top.exists():
                return False
        return True

    wait_until(removed, "control groups to be empty")


class Namespaces:
    """A place for programs: namespaces that one process keeps."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def enter(self, *command: str) -> list[str]:
        """The command, run there; its folder is the root."""
        return [needs("nsenter"), f"--target={self.pid}", "--mount", "--net", "--pid", "--", *command]

    def run(self, *command: str, **options: object) -> str:
        """Run something there that ends by itself; what it prints."""
        done = subprocess.run(
            self.enter(*command), check=False, capture_output=True, text=True, timeout=PATIENCE, **options
        )
        assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
        return done.stdout
