"""The servers that drain.py and rolling.py shut down: ours in both shapes, and Go's net/http in two ways."""

import shutil
from dataclasses import dataclass

from benchmarks.lib.contestants import ROOT, Contestant, prepare

FOLDER = ROOT / "build/shutdown"
DESCRIPTORS = 4096  # limit that a server's configuration is given


@dataclass
class ShutdownCase:
    """A server, and the way in which it shuts down on SIGTERM."""

    title: str
    server: Contestant
    options: list[str]
    drain: float  # seconds

    def command(self, port: int) -> list[str]:
        """The command that starts it."""
        return [*self.server.command(port, DESCRIPTORS), *self.options]


def prepared_servers() -> dict[str, Contestant]:
    """The servers by key, ready to start unless they are missing."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    return {each.key: each for each in prepare(["static", "python", "go"])}


def our_cases(servers: dict[str, Contestant], drain: int, workers: int) -> list[ShutdownCase]:
    """Our server in both shapes."""
    settings = f"{workers} worker{'s' if workers > 1 else ''}, {f'drain {drain} s' if drain else 'no drain'}"
    options = ["--workers", str(workers), "--drain", str(drain)]
    return [
        ShutdownCase(f"{servers[key].name}, {settings}", servers[key], options, drain) for key in ("static", "python")
    ]


def go_cases(servers: dict[str, Contestant], drain: int) -> list[ShutdownCase]:
    """Go's server with Shutdown, as its documentation advises, and without."""
    server = servers["go"]
    return [
        ShutdownCase(f"{server.name}, Shutdown after {drain} s", server, ["--drain", f"{drain}s"], drain),
        ShutdownCase(f"{server.name}, dies of SIGTERM", server, [], 0),
    ]
