"""The servers that benchmarks/drain.py and rolling.py end: ours in both shapes, and Go's net/http in two ways."""

import shutil
from dataclasses import dataclass

from contestants import ROOT, Contestant, made_ready

FOLDER = ROOT / "build/endings"
DESCRIPTORS = 4096  # what a starter is told that its server may have


@dataclass
class Ending:
    """A server, and how it is to end on SIGTERM."""

    title: str
    server: Contestant
    options: list[str]
    drain: float  # seconds

    def line(self, port: int) -> list[str]:
        return [*self.server.start(port, DESCRIPTORS), *self.options]


def servers() -> dict[str, Contestant]:
    """By key, ready to start unless they are missing."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    return {each.key: each for each in made_ready(["static", "python", "go"])}


def ours(found: dict[str, Contestant], drain: int, workers: int) -> list[Ending]:
    """Both shapes."""
    words = f"{workers} worker{'s' if workers > 1 else ''}, {f'drain {drain} s' if drain else 'no drain'}"
    options = ["--workers", str(workers), "--drain", str(drain)]
    return [Ending(f"{found[key].name}, {words}", found[key], options, drain) for key in ("static", "python")]


def go(found: dict[str, Contestant], drain: int) -> list[Ending]:
    """As its documentation advises, and as it is."""
    server = found["go"]
    return [
        Ending(f"{server.name}, Shutdown after {drain} s", server, ["--drain", f"{drain}s"], drain),
        Ending(f"{server.name}, dies of SIGTERM", server, [], 0),
    ]
